"""`sqgen weights`: inspect and compare caffemodels, and rename their layers."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import STDIN
from ..report.table import table
from ..text import bytes_text, first_few, printable, shape_text
from .group import Group
from .terminal import echo, parse_image, print_json, print_table, terminal_width, warn

if TYPE_CHECKING:
    from ..engine.equivalence import Proof
    from ..formats.schema import NetParameter
    from ..nets.definition import NetDefinition
    from ..nets.inference_graph import InferenceGraph
    from ..weights.mapping import MappedLayer, WeightMapping
    from ..weights.statistics import BlobStatistics, LayerDifference, LayerStatistics, Sums

FORMAT = 1
_json = click.option("--json", "as_json", is_flag=True, help="print JSON (docs/weights.md)")


@click.group(cls=Group, file_command="show")
def weights() -> None:
    """Inspect and compare caffemodels, and rename their layers for another net.

    \b
    Examples:
      sqgen weights show squeezenet_v1.0.caffemodel
      sqgen weights diff before.caffemodel after.caffemodel
      sqgen weights map in.caffemodel out.caffemodel --to deploy.prototxt
    """


# Show


@weights.command()
@click.argument("file", metavar="FILE")
@_json
def show(file: str, as_json: bool) -> None:
    """Print statistics of each parameter blob: shape, bytes, range, mean, std, zeros.

    FILE is a .caffemodel of any version of Caffe, or - for standard input. Range, mean and std
    are those of the finite elements.

    \b
    Example:
      sqgen weights show squeezenet_v1.0.caffemodel
    """
    from ..formats.caffemodel import read_caffemodel
    from ..weights.statistics import model_statistics

    model = read_caffemodel(file)
    layers, sums = model_statistics(model)
    if as_json:
        rows = [
            {"name": layer.name, "type": layer.type, "blobs": list(map(_blob_json, layer.blobs))}
            for layer in layers
        ]
        totals = {**sums._asdict(), "sparsity": sums.sparsity}
        print_json({"format": FORMAT, "net": model.name, "layers": rows, "totals": totals})
        return
    _print_statistics(layers, sums)


def _blob_json(blob: BlobStatistics) -> dict[str, Any]:
    extra = {"sparsity": blob.sparsity, "flags": blob.flags}
    return {**blob._asdict(), "shape": list(blob.shape), **extra}


def _print_statistics(layers: list[LayerStatistics], sums: Sums) -> None:
    rows = [
        [
            layer.name if index == 0 else "",
            layer.type if index == 0 else "",
            str(index),
            shape_text(blob.shape),
            f"{blob.elements:,}",
            f"{blob.bytes:,}",
            *map(_number, (blob.minimum, blob.maximum, blob.mean, blob.std)),
            f"{blob.sparsity:.1%}" if blob.zeros else "",
            _odd(blob),
        ]
        for layer in layers
        for index, blob in enumerate(layer.blobs)
    ]
    heads = "layer type blob shape elements bytes min max mean std zeros".split()
    optional = (1, 5, 2, 4)  # type, bytes, blob, elements
    width = terminal_width()
    print_table(table([*heads, ""], rows, right=range(4, 11), width=width, optional=optional))
    extra = f" and {sums.statistics:,} statistics of BatchNorm" if sums.statistics else ""
    odd = f", {sums.not_finite:,} not finite" if sums.not_finite else ""
    echo(
        f"{sums.layers} layers with {sums.blobs} blobs: {sums.parameters:,} parameters{extra},"
        f" {bytes_text(sums.bytes)}, {sums.sparsity:.1%} zeros{odd}",
        bold=True,
    )


def _odd(blob: BlobStatistics) -> str:
    words = {"not finite": f"{blob.not_finite:,} not finite"}
    return ", ".join(words.get(flag, flag) for flag in blob.flags)


# Diff


@weights.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--tolerance", default=0.0, metavar="X", help="largest difference to ignore [0]")
@_json
def diff(a: str, b: str, tolerance: float, as_json: bool) -> None:
    """Compare the parameters of two caffemodels layer by layer.

    Relative differences are relative to the root mean square of A's blob. Exit code 0 if no
    element differs by more than the tolerance; 1 if one does, a layer is missing, or shapes
    differ.

    \b
    Example:
      sqgen weights diff before.caffemodel after.caffemodel --tolerance 1e-6
    """
    if a == b == STDIN:
        raise click.UsageError("- and -: standard input can be read once")
    if not (tolerance >= 0 and math.isfinite(tolerance)):
        raise click.UsageError(f"--tolerance {tolerance}: give a number of at least 0")
    from ..formats.caffemodel import read_caffemodel
    from ..weights.statistics import EQUAL, WITHIN, compare

    rows = compare(read_caffemodel(a), read_caffemodel(b), tolerance)
    apart = [row for row in rows if row.status not in (EQUAL, WITHIN)]
    if as_json:
        layers = [
            {**row._asdict(), "shapes": [[list(s) for s in side] for side in row.shapes]}
            for row in rows
        ]
        result = {"format": FORMAT, "same": not apart, "tolerance": tolerance, "layers": layers}
        print_json(result)
    else:
        _print_differences(rows, len(apart))
    raise SystemExit(1 if apart else 0)


def _print_differences(rows: list[LayerDifference], apart: int) -> None:
    cells = [
        [
            row.name,
            row.status + _both_shapes(row),
            _number(row.absolute) if row.absolute else "",
            f"{row.relative:.3g}" if row.relative else "",
        ]
        for row in rows
    ]
    heads = ["layer", "", "largest difference", "relative"]
    print_table(table(heads, cells, right=[2, 3], width=terminal_width()))
    echo(f"{apart} of {len(rows)} layers differ" if apart else "no differences", bold=True)


def _both_shapes(row: LayerDifference) -> str:
    from ..weights.statistics import OTHER_SHAPES

    if row.status != OTHER_SHAPES:
        return ""
    return ": " + " against ".join(" and ".join(map(shape_text, side)) for side in row.shapes)


# Map


@weights.command("map")
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--to", "target", required=True, metavar="NET", help="the net that will load OUT")
@click.option("--from", "trained", metavar="NET", help="IN's net [the layers stored in IN]")
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@click.option("--partial", is_flag=True, help="allow layers of NET without weights")
@click.option(
    "--ignore-bypass", is_flag=True, help="leave out bypasses that only one of the nets has"
)
@click.option("--no-proof", is_flag=True, help="skip running both nets to compare them")
@click.option("--force", is_flag=True, help="replace OUT if it exists")
@_json
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
    if [source, target, trained].count(STDIN) > 1:
        raise click.UsageError("-: standard input can be read once")
    if out == STDIN:
        raise click.UsageError("- as OUT: give a file; the table goes to standard output")
    shape = parse_image(image)
    from ..engine.equivalence import load_engine, prove
    from ..formats.caffemodel import encode_caffemodel, read_caffemodel
    from ..formats.files import write_files
    from ..nets.definition import read_net
    from ..nets.inference_graph import inference_graph, inference_graph_of_model
    from ..weights.mapping import make_mapped_caffemodel

    model = read_caffemodel(source)
    net = read_net(target)
    if trained is None:
        theirs = inference_graph_of_model(model, source, shape)
    else:
        theirs = inference_graph(_warn_of_net(read_net(trained)), shape)
    ours = inference_graph(_warn_of_net(net), shape)
    mapped = _map_weights(theirs, ours, model, partial, ignore_bypass, source)
    data = encode_caffemodel(make_mapped_caffemodel(net, mapped), out)
    proof = None if no_proof else prove(load_engine(), theirs, ours, mapped, model)
    write_files({Path(out): data}, force)
    _report_mapping(mapped, proof, as_json, out)


def _map_weights(
    theirs: InferenceGraph,
    ours: InferenceGraph,
    model: NetParameter,
    partial: bool,
    ignore_bypass: bool,
    file: str,
) -> WeightMapping:
    """Map weights; an error names --ignore-bypass where that is all that is needed."""
    from ..errors import NetError
    from ..generator.naming import layer_role
    from ..weights.mapping import map_weights

    def map_them(ignoring: bool) -> WeightMapping:
        return map_weights(theirs, ours, model, layer_role, partial, ignoring, file)

    try:
        return map_them(ignore_bypass)
    except NetError as error:
        if not ignore_bypass:
            with suppress(NetError):
                map_them(True)
                error.args = (f"{error}; --ignore-bypass maps all but the bypasses",)
        raise


def _warn_of_net(net: NetDefinition) -> NetDefinition:
    """Print the warnings of a net, and return it."""
    warn(*net.warnings)
    return net


def _report_mapping(mapped: WeightMapping, proof: Proof | None, as_json: bool, out: str) -> None:
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
    if as_json:
        print_json(_mapped_json(mapped, proof, out))
        return
    rows = [[row.source, row.target, row.how, _moved(row)] for row in mapped.rows]
    heads = ["from", "to", "how", "channels moved"]
    print_table(table(heads, rows, width=terminal_width()))
    shown = "not run to compare the nets"
    if proof is not None:
        shapes = " and ".join(map(shape_text, proof.inputs.values()))
        shown = (
            f"both nets run on random {shapes} in float64: {proof.blobs} blobs agree within"
            f" {proof.largest:.1e}"
        )
    echo(f"wrote {printable(out)}: {len(mapped.rows)} layers; {shown}", bold=True)


def _mapped_json(mapped: WeightMapping, proof: Proof | None, out: str) -> dict[str, Any]:
    shown = None
    if proof is not None:
        shapes = {name: list(shape) for name, shape in proof.inputs.items()}
        shown = {**proof._asdict(), "inputs": shapes}
    return {
        "format": FORMAT,
        "out": out,
        "layers": [row._asdict() for row in mapped.rows],
        "unused": mapped.unused,
        "missing": mapped.missing,
        "bypasses": {"in": mapped.bypasses[0], "net": mapped.bypasses[1]},
        "proof": shown,
    }


def _moved(row: MappedLayer) -> str:
    moved = {"in": row.inputs, "out": row.outputs}
    return ", ".join(f"{count} {side}" for side, count in moved.items() if count)


# Numbers


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
