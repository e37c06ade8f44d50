"""Draw nets as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import hypot
from typing import NamedTuple

from .. import templates
from .blocks import Block, BlockGraph, Connection, Role
from .boxes import LINE, PADDING, SMALL, TEXT, TITLE, Bar, Box, make_boxes
from .colours import Theme, colours
from .compare import Marked
from .layout import Direction, Line, Part, PlacedNet, Point, labelled_blocks, lay_out
from .text_width import FONT, fit, text_width

MARGIN = 14.0
NAME = 14.0  # size of the font of a net's name
HEADING_HEIGHT = 40.0
NUMBER_WIDTH = 30.0  # of a bar's share in writing
BAR_HEIGHT = 4.0
ARROW = 3.2  # half the width of an arrow
LEGEND_LINE = 18.0
SAMPLE = 26.0  # width of a sample in the legend
COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Drawable:
    """A net to draw.

    Attributes:
        graph: its blocks.
        name: its heading.
        marks: of its blocks; none where nets aren't compared.
    """

    graph: BlockGraph
    name: str
    marks: Sequence[Marked] = ()


class _Text(NamedTuple):
    x: float
    y: float
    text: str


class _DrawnBar(NamedTuple):
    x: float
    y: float
    width: float
    filled: float
    bar: Bar

    @property
    def end(self) -> float:
        return _round(self.x + self.width)


class _DrawnBlock(NamedTuple):
    id: str
    block: Block
    marked: Marked
    x: float
    y: float
    width: float
    height: float
    title: _Text
    lines: list[_Text]
    bars: list[_DrawnBar]
    label: str
    labels: Sequence[Connection]

    @property
    def bottom(self) -> float:
        return _round(self.y + self.height)


class _DrawnLine(NamedTuple):
    source: int
    target: int
    blob: str
    role: Role
    path: str
    arrow: str
    text: _Text | None


class _DrawnNet(NamedTuple):
    name: _Text
    costs: _Text
    frames: list[tuple[float, float, float, float, str]]
    lines: list[_DrawnLine]
    blocks: list[_DrawnBlock]


class _Sample(NamedTuple):
    """An entry of the legend."""

    kind: str
    x: float
    y: float
    text: str


def draw(nets: Sequence[Drawable], direction: Direction = "down", theme: Theme = "light") -> str:
    """Draw nets beside each other.

    Args:
        nets: one or more.
        direction: in which data flows.
        theme: its colours; `page` is for an SVG inside a page, and has no ground.

    Raises:
        MissingExtraError: Graphviz is not installed.
    """
    boxes = [make_boxes(net.graph) for net in nets]
    parts = [
        Part(net.graph, sizes, _heading_size(net)) for net, sizes in zip(nets, boxes, strict=True)
    ]
    layout = lay_out(parts, direction)
    drawn = [
        _draw_net(number, net, sizes, placed)
        for number, (net, sizes, placed) in enumerate(zip(nets, boxes, layout.nets, strict=True))
    ]
    width = layout.width
    legend, below = _legend(drawn, width)
    return templates.render(
        "drawing.svg.j2",
        nets=drawn,
        legend=legend,
        legend_y=layout.height + LEGEND_LINE,
        left=-MARGIN,
        top=-MARGIN,
        width=_round(width + 2 * MARGIN),
        height=_round(layout.height + below + 2 * MARGIN),
        title=", ".join(net.name for net in nets),
        colours=colours(theme),
        font=FONT,
        has_ground=theme != "page",
    )


def _heading_size(net: Drawable) -> tuple[float, float]:
    widths = text_width(net.name, NAME, bold=True), text_width(_costs_text(net.graph), TEXT)
    return min(max(widths), 400.0) + PADDING, HEADING_HEIGHT


def _costs_text(graph: BlockGraph) -> str:
    """Return the sums of a net, `1.25 M parameters, 861 M MACs`; nothing where one is unknown."""
    parameters = [block.parameters for block in graph.blocks]
    macs = [block.macs for block in graph.blocks]
    if None in parameters or not any(parameters):
        return ""
    sums = (sum(value or 0 for value in values) for values in (parameters, macs))
    return ", ".join(
        f"{count_text(value)} {noun}"
        for value, noun in zip(sums, ("parameters", "MACs"), strict=True)
    )


def count_text(count: int) -> str:
    """Format a count with three digits: `918`, `1.25 M`, `4.1 G`."""
    for size, letter in COUNTS:
        if count >= size:
            return f"{count / size:{'.3g' if count < 999.5 * size else '.0f'}} {letter}"
    return str(count)


def _draw_net(number: int, net: Drawable, boxes: Sequence[Box], placed: PlacedNet) -> _DrawnNet:
    x, y = placed.heading
    graph = net.graph
    labels = labelled_blocks(graph)
    return _DrawnNet(
        _Text(x, _round(y - 4), fit(net.name, 400.0, NAME, bold=True)),
        _Text(x, _round(y + 12), _costs_text(graph)),
        [
            (frame.corner.x, frame.corner.y, frame.width, frame.height, frame.title)
            for frame in placed.frames
        ],
        [
            _draw_line(each.source, each.target, each.blob, each.role, line)
            for each, line in zip(graph.connections, placed.lines, strict=True)
            if line is not None
        ],
        [
            _draw_block(
                f"b{number}-{index}",
                block,
                box,
                centre,
                net.marks[index] if net.marks else Marked(),
                labels.get(index, []),
            )
            for index, (block, box, centre) in enumerate(
                zip(graph.blocks, boxes, placed.centres, strict=True)
            )
        ],
    )


def _draw_line(source: int, target: int, blob: str, role: Role, line: Line) -> _DrawnLine:
    start, *rest = line.points
    path = f"M{_pair(start)}C{' '.join(map(_pair, rest))}"
    base, tip = line.points[-1], line.tip
    length = hypot(tip.x - base.x, tip.y - base.y) or 1.0
    across = Point(-(tip.y - base.y) / length * ARROW, (tip.x - base.x) / length * ARROW)
    corners = (
        Point(base.x + across.x, base.y + across.y),
        tip,
        Point(base.x - across.x, base.y - across.y),
    )
    text = None
    if line.middle is not None:
        # Beside a line down, and above one to the right.
        is_level = abs(base.y - start.y) < abs(base.x - start.x)
        shift = -2.0 if is_level and abs(line.middle.y - start.y) < SMALL else SMALL * 0.35
        text = _Text(line.middle.x, _round(line.middle.y + shift), line.text)
    return _DrawnLine(source, target, blob, role, path, " ".join(map(_pair, corners)), text)


def _draw_block(
    name: str,
    block: Block,
    box: Box,
    centre: Point,
    marked: Marked,
    labels: Sequence[Connection],
) -> _DrawnBlock:
    left, top = centre.x - box.width / 2, centre.y - box.height / 2
    first = centre.y + TITLE * 0.36 if not box.lines and not box.bars else top + 8.0 + TITLE * 0.85
    texts = [
        _Text(_round(centre.x), _round(first + LINE * (number + 1)), line)
        for number, line in enumerate(box.lines)
    ]
    bars_y = top + box.height - 12.0
    return _DrawnBlock(
        name,
        block,
        marked,
        _round(left),
        _round(top),
        _round(box.width),
        _round(box.height),
        _Text(_round(centre.x), _round(first), box.title),
        texts,
        list(_draw_bars(box, left, bars_y)),
        fit(", ".join(each.blob for each in labels), box.width / 2 - PADDING, SMALL),
        labels,
    )


def _draw_bars(box: Box, left: float, y: float) -> Iterator[_DrawnBar]:
    """Yield the bars of a box, each with its number behind it, beside each other."""
    room = (box.width - 2 * PADDING) / 2
    track = room - NUMBER_WIDTH
    for number, bar in enumerate(box.bars):
        x = left + PADDING + number * (room + 4)
        yield _DrawnBar(_round(x), _round(y), _round(track), _round(track * bar.length), bar)


_LEGEND = {
    "identity": "identity bypass",
    "convolution": "convolution bypass",
    "macs": "share of MACs",
    "parameters": "share of parameters",
    "added": "only in B",
    "removed": "only in A",
    "changed": "differs",
}


def _legend(nets: Sequence[_DrawnNet], width: float) -> tuple[list[_Sample], float]:
    """Return the entries of what the nets have, in lines that fit, and their height."""
    present: set[str] = {line.role for net in nets for line in net.lines}
    present |= {bar.bar.kind for net in nets for block in net.blocks for bar in block.bars}
    present |= {block.marked.mark for net in nets for block in net.blocks}
    samples, x, y = [], 0.0, 0.0
    for kind, text in _LEGEND.items():
        if kind not in present:
            continue
        room = SAMPLE + text_width(text, SMALL) + 22
        if x and x + room > width:
            x, y = 0.0, y + LEGEND_LINE
        samples.append(_Sample(kind, _round(x), _round(y), text))
        x += room
    return samples, y + 2 * LEGEND_LINE if samples else 0.0


def _pair(point: Point) -> str:
    return f"{_round(point.x):g},{_round(point.y):g}"


def _round(value: float) -> float:
    return round(value, 2)
