"""The nets that runs ran: the drawing and the table of layers of each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import MissingExtraError, SqgenError
from ..logs.read_result import LOG
from ..nets.definition import NetDefinition, read_net
from ..nets.layer_types import Shape
from ..nets.shapes import NetShapes, infer_shapes
from ..nets.summary import LayerSummary, Summary, summarize_shapes
from ..text import bytes_text, escaped, first_few, shape_text
from .page import Block, Cell, Section, Svg, Table, Text
from .report_options import ReportOptions
from .reported_run import ReportedRun

MOST = 4  # nets to show
MANY = 80  # layers whose table is folded
LOG_HEAD = 1 << 20  # bytes of a log in which the data layer is set up
UNKNOWN = "?"
HEADS = ("layer", "type", "output", "parameters", "MACs", "bytes")


class _Net(NamedTuple):
    """A net of a run, its shapes and what it has by layer."""

    net: NetDefinition
    shapes: NetShapes
    summary: Summary


def net_section(runs: Sequence[ReportedRun], options: ReportOptions) -> Section | None:
    """Return the nets in the run folders, equal ones once; None without any."""
    nets: dict[str, tuple[_Net, list[str]]] = {}  # with the names of the runs of each
    faults: list[Block] = []
    for run in runs:
        path = _net_file(run)
        try:
            found = None if path is None else _read(path)
        except SqgenError as error:
            faults.append(Text(escaped(f"A net can't be shown: {error}."), "note"))
            continue
        if found is not None:
            # Wherever their data lies.
            key = repr((found.summary.phase, found.summary.layers))
            nets.setdefault(key, (found, []))[1].append(run.name)
    blocks: list[Block] = []
    for number, (found, names) in enumerate(list(nets.values())[:MOST]):
        if len(nets) > 1:
            blocks.append(Text(f"Of {first_few(names)}:"))
        blocks += _net_blocks(found, number)
    if len(nets) > MOST:
        blocks.append(Text(f"{len(nets) - MOST} more nets are not shown.", "note"))
    blocks += faults
    return Section("Net" if len(nets) == 1 else "Nets", "net", blocks) if blocks else None


def _net_file(run: ReportedRun) -> Path | None:
    """Return the net in a run folder: the tested or timed one, or the solver's."""
    if run.folder is None:
        return None
    solver = run.result.solver
    named = [solver.get("net"), solver.get("train_net")]
    names = ["net.prototxt", *(Path(each).name for each in named if isinstance(each, str))]
    return next((run.folder / name for name in names if os.path.isfile(run.folder / name)), None)


def _image_shape(log: Path) -> Shape | None:
    """Return the shape of the images as the data layer logged it; None where it did not."""
    try:
        with open(log, "rb") as file:
            match = re.search(rb"output data size: \d+,(\d+),(\d+),(\d+)\n", file.read(LOG_HEAD))
    except OSError:
        return None
    return None if match is None else tuple(int(side) for side in match.groups())


def _read(path: Path) -> _Net:
    net = read_net(str(path))
    phase = "TEST" if net.layers("TEST") else "TRAIN"
    shapes = infer_shapes(net, phase, _image_shape(path.with_name(LOG)))
    return _Net(net, shapes, summarize_shapes(net, phase, shapes))


def _net_blocks(found: _Net, number: int) -> Iterator[Block]:
    summary = found.summary
    yield _drawing(found.net, found.shapes, number)
    yield Text(_totals(summary), "note")
    rows = [_cells(layer) for layer in summary.layers]
    yield Table(
        HEADS, rows, (3, 4, 5), f"{len(rows)} layers in {summary.phase}", folded=len(rows) > MANY
    )


def _drawing(net: NetDefinition, shapes: NetShapes, number: int) -> Block:
    from ..drawing.blocks import block_graph
    from ..drawing.svg import Drawable, draw

    name = escaped(net.param.name or Path(net.source).stem)
    try:
        svg = draw([Drawable(block_graph(shapes, "module"), name)], "down", "page")
    except MissingExtraError as error:
        return Text(f"{error}.", "note")
    except SqgenError as error:
        return Text(escaped(f"The net can't be drawn: {error}."), "note")
    # Elements of several drawings in a page need names of their own.
    return Svg(svg.replace('id="b0-', f'id="net{number}-'), name)


def _totals(summary: Summary) -> str:
    totals = summary.totals
    least = "At least " if summary.unknown else ""
    return (
        f"{least}{totals.parameters:,} parameters ({bytes_text(totals.weight_bytes)} of float32),"
        f" {totals.macs:,} MACs an image, {bytes_text(totals.activation_bytes)} of activations at"
        f" batch {totals.batch}."
    )


def _cells(layer: LayerSummary) -> list[str | Cell]:
    shapes = " ".join(UNKNOWN if s is None else shape_text(s) for _, s in layer.tops)
    counts = (layer.parameters, layer.macs, layer.activation_bytes)
    return [escaped(layer.name), escaped(layer.type), shapes, *map(_count, counts)]


def _count(value: int | None) -> Cell:
    return Cell(UNKNOWN) if value is None else Cell(f"{value:,}" if value else "", value)
