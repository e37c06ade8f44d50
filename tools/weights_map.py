"""`sqgen weights map`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import STDIN
from ..report.table import table
from ..text import first_few, printable, shape_text
from .input_files import read_net, read_weights
from .terminal import echo, parse_image, print_json, print_table, terminal_width, warn

if TYPE_CHECKING:
    from ..engine.equivalence import Proof
    from ..weights.mapping import MappedLayer, WeightMapping

FORMAT = 1
json_option = click.option("--json", "as_json", is_flag=True, help="print JSON (docs/weights.md)")
from_option = click.option("--from", "trained", metavar="NET", help="IN's net [as the file says]")
image_option = click.option(
    "--image", metavar="CxHxW", help="size of images, if data layers don't give it"
)
partial_option = click.option("--partial", is_flag=True, help="allow layers of NET without weights")
bypass_option = click.option(
    "--ignore-bypass", is_flag=True, help="leave out bypasses that only one of the nets has"
)
no_proof_option = click.option(
    "--no-proof", is_flag=True, help="skip running both nets to compare them"
)
force_option = click.option("--force", is_flag=True, help="replace OUT if it exists")


@click.command("map")
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--to", "target", required=True, metavar="NET", help="the net that will load OUT")
@from_option
@image_option
@partial_option
@bypass_option
@no_proof_option
@force_option
@json_option
def map_command(
    source: str,
    out: str,
    target: str,
    trained: str | None,
    image: str | None,
    partial: bool,
    ignore_bypass: bool,
    no_proof: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Rename the layers of IN for another net that computes the same function.

    Matches layers by name, by the naming styles of the published nets, or by what they
    compute. Permutes weights where the nets order channels differently, such as the inputs of a
    Concat. Then runs both nets on random inputs, and writes OUT if they agree.

    \b
    Examples:
      sqgen weights map squeezenet.caffemodel out.caffemodel --to new.prototxt
      sqgen weights map in.caffemodel out.caffemodel --to bypass.prototxt \\
        --ignore-bypass
    """
    check_streams(source, out, target, trained)
    shape = parse_image(image)
    from ..exchange.map_stored import MappingOptions, map_stored
    from ..formats.caffemodel import encode_caffemodel
    from ..formats.files import write_files

    file = read_weights(source)
    if file.known is not None and not file.known.normalization.is_caffes:
        takes = f"takes {file.known.normalization}, as no data layer of Caffe gives"
        warn(f"{printable(source)}: {takes}; sqgen weights convert --fold-preprocessing changes it")
    net, own = read_net(target), read_net(trained) if trained else None
    options = MappingOptions(shape, partial, ignore_bypass, not no_proof)
    mapped = map_stored(file.model, source, net, own, options)
    write_files({Path(out): encode_caffemodel(mapped.model, out)}, force)
    _report_mapping(mapped.mapping, mapped.proof, as_json, out)


def check_streams(source: str, out: str, target: str | None, trained: str | None) -> None:
    """Refuse standard input for two files, or for OUT."""
    if [source, target, trained].count(STDIN) > 1:
        raise click.UsageError("-: standard input can be read once")
    if out == STDIN:
        raise click.UsageError("- as OUT: give a file; the table goes to standard output")


def _report_mapping(mapped: WeightMapping, proof: Proof | None, as_json: bool, out: str) -> None:
    warn_of_mapping(mapped, proof)
    if as_json:
        print_json({"format": FORMAT, "out": out, **mapped_json(mapped, proof)})
        return
    print_mapping(mapped)
    shown = proof_text(proof) if proof else "not run to compare the nets"
    echo(f"wrote {printable(out)}: {len(mapped.rows)} layers; {shown}", bold=True)


def warn_of_mapping(mapped: WeightMapping, proof: Proof | None) -> None:
    """Print what a mapping left out, and what its proof does not show."""
    if mapped.unused:
        warn(f"not used: {', '.join(map(printable, mapped.unused))}")
    if mapped.missing:
        names = ", ".join(map(printable, mapped.missing))
        warn(f"no weights for, so that they start from their fillers: {names}")
    for where, sums in zip(("IN", "NET"), mapped.bypasses, strict=True):
        if sums:
            names = ", ".join(map(printable, sums))
            warn(f"bypasses of {where} alone, so that the nets compute the same without: {names}")
    if proof is not None and proof.blind:
        warn(
            f"{first_few(proof.blind)}: the same output for both inputs, so comparing the nets"
            " hardly tests their weights"
        )


def print_mapping(mapped: WeightMapping) -> None:
    """Print where each layer's weights come from."""
    rows = [[row.source, row.target, row.how, _moved(row)] for row in mapped.rows]
    heads = ["from", "to", "how", "channels moved"]
    print_table(table(heads, rows, width=terminal_width()))


def proof_text(proof: Proof) -> str:
    """Say what was run, and how well it agrees."""
    shapes = " and ".join(map(shape_text, proof.inputs.values()))
    return (
        f"both nets run on random {shapes} in float64: {proof.blobs} blobs agree within"
        f" {proof.largest:.1e}"
    )


def mapped_json(mapped: WeightMapping, proof: Proof | None) -> dict[str, Any]:
    """Return a mapping and its proof as plain data."""
    shown = None
    if proof is not None:
        shapes = {name: list(shape) for name, shape in proof.inputs.items()}
        shown = {**proof._asdict(), "inputs": shapes}
    return {
        "layers": [row._asdict() for row in mapped.rows],
        "unused": mapped.unused,
        "missing": mapped.missing,
        "bypasses": {"in": mapped.bypasses[0], "net": mapped.bypasses[1]},
        "proof": shown,
    }


def _moved(row: MappedLayer) -> str:
    moved = {"in": row.inputs, "out": row.outputs}
    return ", ".join(f"{count} {side}" for side, count in moved.items() if count)
