"""`sqgen export`."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import NetError
from ..exchange.targets import TARGETS
from ..exchange.trained_net import ExportOptions, TrainedNet
from ..formats.class_names import read_class_names
from ..formats.files import STDIN, write_files
from ..nets.family import is_squeezenet
from ..nets.imagenet import IMAGENET_CLASSES, imagenet_class_names
from ..nets.shapes import require_shapes
from ..text import printable
from .deploy_net import make_deploy_net
from .progress_bar import print_note
from .state_options import stage_option
from .terminal import echo, parse_image, print_json, warn

if TYPE_CHECKING:
    from ..nets.shapes import NetShapes

FORMAT = 1


@click.command()
@click.argument("net", metavar="NET")
@click.option("--weights", required=True, metavar="W", help="its .caffemodel, or several: a,b")
@click.option(
    "--for", "target", required=True, type=click.Choice(list(TARGETS)), help="who reads it"
)
@click.option(
    "-o", "--out", required=True, metavar="OUT", help="folder to write, or the model's file"
)
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@click.option("--labels", metavar="FILE", help="a line per class [ImageNet's, for its nets]")
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
    opset: int | None,
    with_preprocessing: bool,
    as_bytes: bool,
    no_proof: bool,
    stages: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write a net and its weights for another framework.

    NET is a deploy net, or any net, whose deploy net is made first. The model is run on random
    inputs and compared with sqgen's engine before it is written.

    \b
    Examples:
      sqgen export deploy.prototxt --weights w.caffemodel --for onnx \\
        -o squeezenet.onnx
      sqgen export train_val.prototxt --weights w.caffemodel --for onnx \\
        --with-preprocessing -o squeezenet_rgb.onnx
    """
    if out == STDIN:
        raise click.UsageError("-o -: give a folder or a file")
    if as_bytes and not with_preprocessing:
        raise click.UsageError("--as-bytes: goes with --with-preprocessing")
    from ..formats.caffemodel import read_caffemodel, split_weights
    from ..weights.net_arrays import net_arrays

    made = make_deploy_net(net, stages, parse_image(image))
    shapes = require_shapes(made.net, "TEST")
    models = [(printable(path), read_caffemodel(path)) for path in split_weights(weights)]
    trained = TrainedNet(
        made.net, net_arrays(shapes, models), made.transform, _labels(labels, shapes)
    )
    options = ExportOptions(opset, with_preprocessing, as_bytes, not no_proof)
    exported = TARGETS[target].write(trained, options)
    warn(*exported.warnings)
    is_file = out.endswith(TARGETS[target].suffix)
    paths = {
        Path(out) if is_file else Path(out, name): data for name, data in exported.files.items()
    }
    write_files(paths, force)
    done = exported.comparison
    if as_json:
        files = [{"file": str(path), "bytes": len(data)} for path, data in paths.items()]
        proof = None if done is None else done._asdict()
        print_json({"format": FORMAT, "target": target, "files": files, "comparison": proof})
        return
    for path in paths:
        echo(str(path))
    if done is not None:
        print_note(
            f"run on random inputs: {done.blobs} blobs equal the engine's within {done.largest:.1e}"
            " of each blob's largest element"
        )


def _labels(file: str | None, shapes: NetShapes) -> tuple[str, ...]:
    """Return the labels of the classes; none where they are unknown.

    Raises:
        FormatError: the file can't be read.
        NetError: it has another number of lines than the net has classes.
    """
    outputs = {prod(shapes.blobs[name][1:]) for name in shapes.graph.output_names()}
    if file is None:
        known = outputs == {IMAGENET_CLASSES} and is_squeezenet(shapes.graph)
        return tuple(imagenet_class_names()) if known else ()
    names = read_class_names(file)
    if outputs != {len(names)}:
        classes = " or ".join(map(str, sorted(outputs)))
        raise NetError(f"{printable(file)}: {len(names)} labels for {classes} classes")
    return tuple(names)
