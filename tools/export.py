"""`sqgen export`."""

from __future__ import annotations

from pathlib import Path

import click

from ..exchange.targets import TARGETS
from ..exchange.trained_net import Exported, ExportOptions
from ..extras import required
from ..formats.files import STDIN
from ..nets.family import is_imagenet
from ..nets.image_transform import ImageTransform
from ..nets.shapes import require_shapes
from ..text import agreement_text
from .class_names import labels_option, read_labels
from .deploy_net import MadeDeployNet, make_deploy_net
from .image_options import (
    PreprocessingOptions,
    check_preprocessing,
    declared_transform,
    preprocessing_options,
)
from .progress_bar import print_note
from .state_options import stage_option
from .terminal import echo, parse_image, print_json, warn

FORMAT = 1


@click.command()
@click.argument("net", metavar="NET")
@click.option("--weights", required=True, metavar="W", help="its .caffemodel, or several: a,b")
@click.option(
    "--for",
    "target",
    type=click.Choice(list(TARGETS)),
    default="caffe",
    show_default=True,
    help="who reads it",
)
@click.option(
    "-o", "--out", required=True, metavar="OUT", help="folder to write, or the model's file"
)
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@labels_option
@preprocessing_options
@click.option("--keep-batch-norm", is_flag=True, help="keep BatchNorm and Scale, don't fold them")
@click.option("--opset", type=int, metavar="N", help="version of ONNX's operators [13]")
@click.option(
    "--with-preprocessing",
    is_flag=True,
    help="let the ONNX model take RGB images, 0 to 255, and subtract the mean itself",
)
@click.option(
    "--as-bytes",
    is_flag=True,
    help="with it: images of uint8, (batch, height, width, channels)",
)
@click.option("--no-proof", is_flag=True, help="skip running the model to compare it")
@stage_option
@click.option("--force", is_flag=True, help="replace files that exist")
@click.option("--json", "as_json", is_flag=True, help="print JSON (docs/export.md)")
def export(
    net: str,
    weights: str,
    target: str,
    out: str,
    image: str | None,
    labels: str | None,
    resize: str | None,
    like: str | None,
    mean: str | None,
    scale: float | None,
    keep_batch_norm: bool,
    opset: int | None,
    with_preprocessing: bool,
    as_bytes: bool,
    no_proof: bool,
    stages: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write a net and its weights for another framework.

    NET is a deploy net, or any net, whose deploy net is made first. All but onnx read Caffe's
    files: a folder has these two, batch 1, BatchNorm folded into convolutions, with labels, how
    images are preprocessed, scripts that convert and run the net, and a test vector. What is
    written is run and compared with the net before.

    \b
    Examples:
      sqgen export train_val.prototxt --weights w.caffemodel --for mnn -o DIR
      sqgen export deploy.prototxt --weights w.caffemodel --for onnx \\
        --with-preprocessing -o squeezenet.onnx
    """
    is_pair = TARGETS[target].is_deploy_pair
    if out == STDIN:
        raise click.UsageError("-o -: give a folder or a file")
    if as_bytes and not with_preprocessing:
        raise click.UsageError("--as-bytes: goes with --with-preprocessing")
    if is_pair and (opset is not None or with_preprocessing):
        option = "--opset" if opset is not None else "--with-preprocessing"
        raise click.UsageError(f"{option}: goes with --for onnx")
    if keep_batch_norm and not is_pair:
        raise click.UsageError("--keep-batch-norm: --for onnx keeps them anyway")
    typed = PreprocessingOptions(resize, like, mean, scale)
    check_preprocessing(typed)
    from ..exchange.export_net import export_net

    names = None if labels is None else read_labels(labels)
    made = make_deploy_net(net, stages, parse_image(image), 1 if is_pair else None)
    transform = made.transform
    if is_pair or any(option is not None for option in typed):
        transform = _transform(made, net, typed, target)
    options = ExportOptions(opset, with_preprocessing, as_bytes, keep_batch_norm, not no_proof)
    exported = export_net(
        made.net,
        weights,
        target,
        transform=transform,
        labels=names or made.labels,
        options=options,
    )
    warn(*exported.warnings)
    paths = exported.save(out, force)
    _report(target, exported, paths, as_json)


def _transform(
    made: MadeDeployNet, net: str, typed: PreprocessingOptions, target: str
) -> ImageTransform | None:
    """Return how images become the input, as far as it is known; None where nothing tells it."""
    with required("torch", f"sqgen export --for {target}"):
        from ..engine.classify import Model

    shapes = require_shapes(made.net, "TEST")
    model = Model(made.net, made.transform, is_imagenet(shapes))
    inputs = [shape for item in shapes.layers if item.layer.type == "Input" for shape in item.tops]
    crop = next(((shape[2], shape[3]) for shape in inputs if len(shape) == 4), None)
    return declared_transform(model, net, typed, crop)


def _report(target: str, exported: Exported, paths: list[Path], as_json: bool) -> None:
    done = exported.comparison
    if as_json:
        sizes = map(len, exported.files.values())
        files = [{"file": str(p), "bytes": size} for p, size in zip(paths, sizes, strict=True)]
        proof = None if done is None else done._asdict()
        print_json({"format": FORMAT, "target": target, "files": files, "comparison": proof})
        return
    for path in paths:
        echo(str(path))
    for note in exported.notes:
        print_note(note)
    if done is not None:
        agreement = agreement_text(done.blobs, "the engine's", done.largest)
        print_note(f"run: {agreement}")
