"""The boxes of blocks: the lines of text in each, its bars of costs, its size, in CSS pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .blocks import JOINS, Block, BlockGraph
from .text_width import fit, text_width

TITLE, TEXT, SMALL = 12.0, 11.0, 9.5  # sizes of fonts
LINE = 15.0  # from line to line
PADDING = 10.0  # between the frame and its text
BAR_ROOM = 14.0  # height of the bars and their numbers
NARROWEST, WIDEST = 150.0, 260.0
JOIN = 20.0  # height of a sum or a Concat
CONCAT_WIDTH = 60.0


@dataclass(frozen=True)
class Bar:
    """A bar of costs.

    Attributes:
        kind: `macs` or `parameters`.
        length: 0 to 1, where 1 is the largest share of that kind in the net.
        text: the share of the net, such as `12%`.
    """

    kind: str
    length: float
    text: str


@dataclass(frozen=True)
class Box:
    """A box before it is placed.

    Attributes:
        width, height: of its frame.
        title, lines: the first line, in bold, and the others, shortened to fit.
        bars: of its costs, beside each other below the lines; none where it has no costs.
    """

    width: float
    height: float
    title: str
    lines: tuple[str, ...]
    bars: tuple[Bar, ...]


def make_boxes(graph: BlockGraph) -> list[Box]:
    """Make a box for each block; all but those of joins and bypasses are equally wide."""
    beside = {each.target for each in graph.connections if each.role == "convolution"}
    wanted = [
        _wanted_width(block)
        for index, block in enumerate(graph.blocks)
        if block.kind not in JOINS and index not in beside
    ]
    width = min(max(wanted, default=0.0), WIDEST)
    shares = _shares(graph.blocks)
    return [
        _join(block)
        if block.kind in JOINS
        else _box(block, min(width, _wanted_width(block)) if index in beside else width, bars)
        for index, (block, bars) in enumerate(zip(graph.blocks, shares, strict=True))
    ]


def _wanted_width(block: Block) -> float:
    lines = [
        text_width(block.title, TITLE, bold=True),
        *(text_width(s, TEXT) for s in _lines(block)),
    ]
    return max(NARROWEST, max(lines) + 2 * PADDING)


def _lines(block: Block) -> Sequence[str]:
    return () if block.text in ("", block.title) else (block.text,)


def _join(block: Block) -> Box:
    if block.kind == "concat":
        return Box(CONCAT_WIDTH, JOIN, "concat", (), ())
    return Box(max(JOIN, text_width(block.text, TITLE, bold=True) + 12), JOIN, block.text, (), ())


def _box(block: Block, width: float, bars: tuple[Bar, ...]) -> Box:
    room = width - 2 * PADDING
    lines = tuple(fit(line, room, TEXT) for line in _lines(block))
    height = 8.0 + LINE * (1 + len(lines)) + BAR_ROOM * bool(bars) + 4.0
    return Box(width, height, fit(block.title, room, TITLE, bold=True), lines, bars)


def _shares(blocks: Sequence[Block]) -> list[tuple[Bar, ...]]:
    """Return the bars of each block: its part of all MACs and parameters."""
    columns = [
        _column("macs", [block.macs or 0 for block in blocks]),
        _column("parameters", [block.parameters or 0 for block in blocks]),
    ]
    return [
        bars if block.macs or block.parameters else ()
        for block, bars in zip(blocks, zip(*columns, strict=True), strict=True)
    ]


def _column(kind: str, values: Sequence[int]) -> list[Bar]:
    total, largest = sum(values) or 1, max(values, default=0) or 1
    return [Bar(kind, value / largest, percent_text(value / total)) for value in values]


def percent_text(share: float) -> str:
    """Format a share with two digits at most: `0%`, `0.4%`, `12%`; a small one is `<0.1%`."""
    percent = 100 * share
    if 0 < percent < 0.05:
        return "<0.1%"
    return f"{percent:.1f}%" if 0 < percent < 0.95 else f"{percent:.0f}%"
