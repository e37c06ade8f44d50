"""`sqgen weights convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..text import printable, shape_text
from .input_files import read_net
from .terminal import echo, parse_image, print_json, warn
from .weights_map import (
    FORMAT,
    bypass_option,
    check_streams,
    force_option,
    from_option,
    image_option,
    json_option,
    mapped_json,
    no_proof_option,
    partial_option,
    print_mapping,
    proof_text,
    warn_of_mapping,
)

if TYPE_CHECKING:
    from ..exchange.convert import Conversion


@click.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--to", "target", metavar="NET", help="a net to put the weights into [IN's layers]")
@from_option
@click.option(
    "--fold-preprocessing", is_flag=True, help="change conv1 to take the images that OUT's nets do"
)
@image_option
@partial_option
@bypass_option
@no_proof_option
@force_option
@json_option
def convert(
    source: str,
    out: str,
    target: str | None,
    trained: str | None,
    fold_preprocessing: bool,
    image: str | None,
    partial: bool,
    ignore_bypass: bool,
    no_proof: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Convert weights to the format of OUT's suffix, for Caffe or PyTorch.

    IN is a .caffemodel, HDF5 of Caffe or of rcmalli's SqueezeNet for Keras, npz, safetensors, a
    state dict of PyTorch, or .sqz or .net with --from. OUT ends in .caffemodel, .h5 (Caffe's),
    .keras.h5, .npz, .safetensors or .pth. Nothing in IN is executed.

    torchvision's SqueezeNets get Caffe's names, and in .pth theirs again; both nets run on random
    images, and OUT is written if they agree.

    \b
    Examples:
      sqgen weights convert squeezenet1_1.pth out.caffemodel --fold-preprocessing
      sqgen weights convert w.caffemodel w.safetensors
      sqgen weights convert w.npz w.caffemodel --to deploy.prototxt
      sqgen weights convert w.caffemodel w.pth --from deploy.prototxt \\
        --fold-preprocessing
    """
    check_streams(source, out, target, trained)
    shape = parse_image(image)
    from ..exchange.convert import convert_weights

    done = convert_weights(
        source,
        out,
        read_net(target) if target else None,
        read_net(trained) if trained else None,
        fold_preprocessing=fold_preprocessing,
        image=shape,
        partial=partial,
        ignore_bypass=ignore_bypass,
        proof=not no_proof,
        force=force,
    )
    warn(*done.notes)
    if done.mapping is not None:
        warn_of_mapping(done.mapping, done.proof)
    if done.torch_proof is not None and done.torch_proof.blind:
        warn("the scores hardly depend on the image, so comparing them hardly tests the weights")
    if as_json:
        print_json(_conversion_json(done))
    else:
        _print_conversion(done)


def _print_conversion(done: Conversion) -> None:
    if done.mapping is not None:
        print_mapping(done.mapping)
    known = f" of {done.known.name}" if done.known else ""
    if done.normalization is not None:
        echo(f"images: {done.normalization}")
    if done.known is not None:
        echo(f"net: {done.known.command}")
    if done.torch_proof is not None:
        images = shape_text(done.torch_proof.images)
        echo(
            f"PyTorch and Caffe's net run on random {images} in float64: scores agree within"
            f" {done.torch_proof.largest:.1e}"
        )
    if done.proof is not None:
        echo(proof_text(done.proof))
    elif done.mapping is not None:
        echo("not run to compare the nets")
    formats = f"{done.format} from {done.source_format}"
    echo(f"wrote {printable(done.out)}: {formats}, {done.layers} layers{known}", bold=True)


def _conversion_json(done: Conversion) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "out": done.out,
        "formats": [done.source_format, done.format],
        "net": done.known and {"name": done.known.name, "command": done.known.command},
        "images": done.normalization and done.normalization._asdict(),
        "mapping": done.mapping and mapped_json(done.mapping, done.proof),
        "torch_proof": done.torch_proof and done.torch_proof._asdict(),
        "notes": done.notes,
    }
