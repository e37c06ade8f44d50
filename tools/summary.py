"""`sqgen summary`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

import click

from ..errors import FormatError
from ..formats.schema import NetState
from ..nets.data_layers import has_countable_records
from ..nets.definition import NetDefinition, read_net
from ..nets.layer_types import Shape
from ..nets.shapes import assumed_channels
from ..nets.summary import Summary
from ..nets.summary import summary as summarize
from ..report.table import table
from ..text import bytes_text, csv_cell, escaped, first_few, printable, shape_text
from .state_options import stage_option
from .terminal import echo, parse_image, print_json, print_table, terminal_width, warn, write

UNKNOWN = "?"


@click.command()
@click.argument("net", metavar="NET")
@click.option(
    "--phase",
    type=click.Choice(["TEST", "TRAIN", "both"], case_sensitive=False),
    default="TEST",
    help="phase of the layers [TEST]",
)
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@stage_option
@click.option("--json", "as_json", is_flag=True, help="print JSON, a list with an entry per phase")
@click.option("--csv", "as_csv", is_flag=True, help="print CSV, a row per layer")
def summary(
    net: str,
    phase: str,
    image: str | None,
    stages: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
) -> None:
    """Print each layer's shapes, parameters, MACs and activation bytes, with totals.

    NET is a prototxt of any version of Caffe, or - for standard input. MACs are
    multiply-accumulates of convolutions and inner products for one image; activation bytes are
    float32 for the whole batch. Of a layer whose type is unknown, and of those below it, these
    are unknown (?), and the totals are lower bounds.

    \b
    Examples:
      sqgen summary trainval.prototxt
      sqgen build --preset v1.1 --net deploy | sqgen summary - --json
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: give one")
    definition = read_net(net).in_state(NetState(stage=stages))
    shape = parse_image(image)
    phases = _select_phases(definition, phase)
    warn(*definition.warnings, *_assumptions(definition, phases, shape))
    summaries = [summarize(definition, name, shape) for name in phases]
    warn(*dict.fromkeys(line for entry in summaries for line in entry.warnings))
    if as_json:
        print_json([entry.as_dict() for entry in summaries])
    elif as_csv:
        _print_csv(summaries)
    else:
        for entry in summaries:
            _print_table(entry, with_phase=len(summaries) > 1)


def _assumptions(net: NetDefinition, phases: list[str], image: Shape | None) -> Iterator[str]:
    """Yield warnings about assumptions that the prototxt does not confirm."""
    layers = [layer for phase in phases for layer in net.layers(phase)]
    if image is not None and not any(map(has_countable_records, layers)):
        yield f"--image {shape_text(image)}: no layer of the net reads images"
    if image is None:
        yield from assumed_channels(net, layers)


def _select_phases(net: NetDefinition, phase: str) -> list[str]:
    wanted = ["TRAIN", "TEST"] if phase.lower() == "both" else [phase.upper()]
    phases = [name for name in wanted if net.layers(name)]
    if not phases:
        raise FormatError(f"{printable(net.source)}: has no layers in {' or '.join(wanted)}")
    return phases


def _print_table(entry: Summary, with_phase: bool) -> None:
    rows = [
        [
            layer.name,
            layer.type,
            _shapes(layer.bottoms, UNKNOWN),
            _shapes(layer.tops, UNKNOWN),
            *map(_count, (layer.parameters, layer.macs, layer.activation_bytes)),
        ]
        for layer in entry.layers
    ]
    total = entry.totals
    sums = (total.parameters, total.macs, total.activation_bytes)
    least = "at least " if entry.unknown else ""
    rows.append([f"total {least}".rstrip(), "", "", "", *(f"{number:,}" for number in sums)])
    heads = ["layer", "type", "bottom", "top", "parameters", "MACs", "bytes"]
    lines = table(heads, rows, right=(4, 5, 6), width=terminal_width(), optional=(2,))
    if with_phase:
        echo(f"{entry.phase} {entry.name}".rstrip(), bold=True)
    print_table(lines[:-1])
    echo(lines[-1], bold=True)
    extra = f", {total.statistics:,} statistics of BatchNorm" if total.statistics else ""
    echo(
        f"{least}{total.parameters:,} parameters"
        f" ({bytes_text(total.weight_bytes)} of float32{extra}), "
        f"{total.macs:,} MACs an image, {bytes_text(total.activation_bytes)} of activations "
        f"at batch {total.batch}"
    )
    if entry.unknown:
        echo(f"unknown: {first_few(entry.unknown)}")


def _shapes(blobs: Iterable[tuple[str, Shape | None]], unknown: str) -> str:
    return " ".join(unknown if shape is None else shape_text(shape) for _, shape in blobs)


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}" if value else ""


def _print_csv(summaries: list[Summary]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ["phase", "layer", "type", "bottoms", "tops", "parameters", "statistics", "macs"]
    writer.writerow([*heads, "activation_bytes"])
    for entry in summaries:
        for layer in entry.layers:
            writer.writerow(
                [
                    entry.phase,
                    csv_cell(escaped(layer.name)),
                    csv_cell(escaped(layer.type)),
                    _shapes(layer.bottoms, ""),
                    _shapes(layer.tops, ""),
                    layer.parameters,
                    layer.statistics,
                    layer.macs,
                    layer.activation_bytes,
                ]
            )
    write(text.getvalue())
