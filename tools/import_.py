"""`sqgen import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..extras import required
from ..formats.files import display_name, write_files
from ..text import agreement_text, first_few, printable
from ..version import __version__
from .progress_bar import print_note
from .terminal import echo, parse_image, print_json, warn

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..exchange.onnx_import import Imported
    from ..exchange.trained_net import Comparison

FORMAT = 1
NET, WEIGHTS, LABELS = "deploy.prototxt", "weights.caffemodel", "labels.txt"


@click.command("import")
@click.argument("model", metavar="MODEL.onnx")
@click.option("-o", "--out", required=True, metavar="DIR", help="folder to write")
@click.option("--image", metavar="CxHxW", help="size of images, if the model doesn't give it")
@click.option("--no-proof", is_flag=True, help="skip running the model to compare it")
@click.option("--force", is_flag=True, help="replace files that exist")
@click.option("--json", "as_json", is_flag=True, help="print JSON (docs/export.md)")
def import_(
    model: str, out: str, image: str | None, no_proof: bool, force: bool, as_json: bool
) -> None:
    """Make a deploy net and its weights of an ONNX model.

    DIR gets deploy.prototxt and weights.caffemodel, and labels.txt where the model has labels. An
    operator that Caffe has no layer for is named. The net is run on random inputs and compared with
    ONNX Runtime, where that is installed, before it is written.

    \b
    Example:
      sqgen import squeezenet1_1.onnx -o squeezenet
      sqgen summary squeezenet/deploy.prototxt
    """
    with required("onnx", "sqgen import"):
        from ..exchange.onnx_file import read_onnx
        from ..exchange.onnx_import import import_onnx
    shape = parse_image(image)
    source = display_name(model)
    read = read_onnx(model)
    made = import_onnx(read, source, shape)
    warn(*made.warnings)
    files = _files(made, source)
    done = None if no_proof else _compare(read, made)
    write_files({Path(out, name): data for name, data in files.items()}, force)
    paths = [str(Path(out, name)) for name in files]
    if as_json:
        comparison = None if done is None else done._asdict()
        print_json({"format": FORMAT, "files": paths, "comparison": comparison})
        return
    for path in paths:
        echo(path)
    if done is not None:
        agreement = agreement_text(done.blobs, "ONNX Runtime's", done.largest)
        print_note(f"run on random inputs: {agreement}")


def _compare(model: ModelProto, made: Imported) -> Comparison | None:
    from ..exchange.onnx_proof import compare, missing_packages

    missing = missing_packages()
    if missing:
        warn(f"not compared with the model, which needs {' and '.join(missing)}")
        return None
    done = compare(model, made.net, made.arrays, made.values)
    if done.constant:
        names = first_few(done.constant)
        warn(f"{names}: the same for two random inputs, which proves little about the weights")
    return done


def _files(made: Imported, source: str) -> dict[str, bytes]:
    """Return the files of a net: name -> contents."""
    from ..formats import prototxt
    from ..formats.caffemodel import encode_caffemodel
    from ..weights.make_caffemodel import make_caffemodel

    header = f"# sqgen import {source}\n# sqgen {__version__}\n"
    lines = made.metadata.get("preprocessing", "").splitlines()
    if lines:
        header += "".join(["# preprocessing\n", *(f"#   {printable(line)}\n" for line in lines)])
    files = {
        NET: f"{header}{prototxt.to_text(made.net.param)}".encode(),
        WEIGHTS: encode_caffemodel(make_caffemodel(made.net, made.arrays), WEIGHTS),
    }
    labels = made.metadata.get("labels", "").splitlines()
    if labels:
        files[LABELS] = "".join(f"{printable(label)}\n" for label in labels).encode()
    return files
