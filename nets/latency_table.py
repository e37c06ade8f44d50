"""Tables of how long layers take by their numbers of channels, and what a net takes by them.

A table has, for each kind of layer (`timed_layers.py`), milliseconds at some numbers of channels:
it serves all nets of the same geometry. Between these, time is linear: in the channels read, and in
whole *blocks* of filters, since processors compute these by the width of their vectors.
docs/latency.md describes the file.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from ..errors import FormatError
from ..formats import toml
from ..formats.files import read_bytes
from ..text import did_you_mean, first_few, printable
from .shapes import NetShapes
from .timed_layers import DEFAULTS, INPUT, LayerKind, Setting, TimedLayer, timed_layers

FORMAT = 1
SIZE_LIMIT = 1 << 26
DIGITS = 5  # of a time
_SUSPECT = 1.5  # times as long as a layer of more channels
_KNOTS, _MS, _LAYERS = ("inputs", "outputs"), "ms", "layer"
_FACTS = {"format": int, "batch": int, "block": int, "conditions": dict, _LAYERS: list}
_TYPES: dict[type, str] = {int: "a whole number", dict: "a table", list: "[[layer]] tables"}


@dataclass
class Grid:
    """How long a kind of layer takes.

    Attributes:
        kind: of layer.
        inputs, outputs: numbers of channels, ascending; `outputs` is (0,) where there are no
            filters.
        ms: milliseconds of a batch: a row for each of `inputs`, a number for each of `outputs`; nan
            where nothing is measured yet.
    """

    kind: LayerKind
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ms: list[list[float]]

    @staticmethod
    def empty(kind: LayerKind, inputs: Sequence[int], outputs: Sequence[int]) -> Grid:
        """Return a grid without any time."""
        rows = [[math.nan] * len(outputs) for _ in inputs]
        return Grid(kind, tuple(inputs), tuple(outputs), rows)

    @property
    def missing(self) -> list[tuple[int, int]]:
        """The places of times that are not measured: row and column."""
        return [
            (row, column)
            for row, values in enumerate(self.ms)
            for column, value in enumerate(values)
            if math.isnan(value)
        ]

    def covers(self, inputs: int, outputs: int) -> bool:
        """Whether it has times for so many channels; fewer than its least take as long as that."""
        has_filters = bool(self.outputs[-1])
        return (
            inputs <= self.inputs[-1]
            and outputs <= self.outputs[-1]
            and (has_filters == bool(outputs))
        )

    def monotone(self) -> list[list[float]]:
        """Return the times so that no layer of more channels takes less.

        That is the mean of the least such times above, and the greatest below the measured ones.
        """
        above = _running(self.ms, max)
        return [
            [(high + low) / 2 for high, low in zip(*rows, strict=True)]
            for rows in zip(above, self._least_above, strict=True)
        ]

    @property
    def _least_above(self) -> list[list[float]]:
        """The least time of as many channels or more, at each place."""
        return [row[::-1] for row in _running([row[::-1] for row in self.ms[::-1]], min)[::-1]]

    @property
    def suspects(self) -> list[tuple[int, int]]:
        """The places of times that are far above one of as many channels or more."""
        return [
            (row, column)
            for row, pairs in enumerate(zip(self.ms, self._least_above, strict=True))
            for column, (value, least) in enumerate(zip(*pairs, strict=True))
            if value > _SUSPECT * least
        ]


def _running(rows: Sequence[Sequence[float]], choose: Any) -> list[list[float]]:
    """Return the running maximum or minimum along both axes."""
    along = [list(accumulate(row, choose)) for row in rows]
    columns = [list(accumulate(column, choose)) for column in zip(*along, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def position(count: int, knots: Sequence[int], block: int = 1) -> float:
    """Return where a number of channels is among ascending ones: 0 up to the first, then linear.

    Args:
        count: of channels, up to the last of `knots`.
        knots: where times are known.
        block: all channels in a block of so many are the same.
    """
    count, knots = -(-count // block), [-(-knot // block) for knot in knots]
    place = bisect_right(knots, count) - 1
    if place < 0:
        return 0.0
    if place == len(knots) - 1:
        return float(place)
    low, high = knots[place : place + 2]
    return place + (count - low) / (high - low)


class LayerTime(NamedTuple):
    """A layer of a net, and the grid of a table that tells how long it takes."""

    layer: TimedLayer
    grid: Grid


@dataclass
class LatencyTable:
    """How long layers take.

    Attributes:
        source: the file's name, for messages.
        batch: images of a batch.
        block: filters that are computed together.
        conditions: what was measured on which machine, as the file has it.
        grids: one or several a kind.
    """

    source: str
    batch: int = 1
    block: int = 1
    conditions: Mapping[str, Any] = field(default_factory=dict)
    grids: list[Grid] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """A digest of what it says."""
        return sha256(self.to_toml()).hexdigest()[:16]

    def find(self, layer: TimedLayer) -> Grid | None:
        """Return the largest grid that covers a layer, or one that says nothing of lazy blobs."""
        for kind in dict.fromkeys((layer.kind, layer.kind.without("parts", "padded"))):
            fitting = [
                grid
                for grid in self.grids
                if grid.kind == kind and grid.covers(layer.inputs, layer.outputs)
            ]
            if fitting:
                return max(fitting, key=lambda grid: (grid.inputs[-1], grid.outputs[-1]))
        return None

    def layer_times(self, shapes: NetShapes, where: str) -> list[LayerTime]:
        """Return the layers of a net that take time, with their grids.

        Args:
            shapes: of a phase of the net.
            where: the net's name, for messages.

        Raises:
            FormatError: layers are missing, or not measured to the end.
        """
        plain = {layer.indexes[0]: layer for layer in timed_layers(shapes, fused=False)}
        found, missing = [], []
        for fused in timed_layers(shapes, fused=True):
            grid = self.find(fused)
            alone = [] if grid is not None else [plain[index] for index in fused.indexes]
            times = [LayerTime(fused, grid)] if grid is not None else []
            times += [LayerTime(layer, own) for layer in alone if (own := self.find(layer))]
            if len(times) < max(1, len(alone)) and fused.kind.type != INPUT:
                missing.append(f"'{printable(fused.name)}' ({fused.kind}, {_counts(fused)})")
            found += times
        command = f"sqgen time --table {printable(self.source)} --space {printable(where)}"
        if missing:
            count = f"{len(missing)} layer{'s' if len(missing) > 1 else ''} of {printable(where)}"
            raise FormatError(
                f"{printable(self.source)}: lacks {count}: {first_few(missing)}; measure them:"
                f" {command}"
            )
        if any(time.grid.missing for time in found):
            raise FormatError(f"{printable(self.source)}: is not finished; go on: {command}")
        return found

    def predict(self, shapes: NetShapes, where: str) -> float:
        """Return the milliseconds that a net takes for a batch.

        Raises:
            FormatError: layers are missing.
        """
        return sum(self.time(*each) for each in self.layer_times(shapes, where))

    def set_pass_time(self, shapes: NetShapes, where: str, whole: float) -> None:
        """Let `Input` stand for what a pass takes besides its layers, where it has no time yet.

        Caches hold less in a pass than where a layer is timed by itself.

        Args:
            shapes: of a net.
            where: its name, for messages.
            whole: milliseconds of its pass.

        Raises:
            FormatError: layers are missing.
        """
        inputs = [grid for grid in self.grids if grid.kind.type == INPUT and grid.missing]
        for grid in inputs:
            grid.ms = [[0.0] * len(row) for row in grid.ms]
        rest = whole - self.predict(shapes, where)
        for grid in inputs:
            left = float(f"{max(0.0, rest):.{DIGITS}g}")
            grid.ms = [[left] * len(row) for row in grid.ms]

    def time(self, layer: TimedLayer, grid: Grid) -> float:
        """Return the milliseconds that a layer takes by a grid: linear along both axes."""
        rows = grid.monotone()
        row = position(layer.inputs, grid.inputs)
        column = position(layer.outputs, grid.outputs, self.block)
        at, across = int(row), int(column)
        below, right = min(at + 1, len(rows) - 1), min(across + 1, len(rows[0]) - 1)
        top, bottom = (
            rows[r][across] + (column - across) * (rows[r][right] - rows[r][across])
            for r in (at, below)
        )
        return top + (row - at) * (bottom - top)

    def to_toml(self) -> bytes:
        """Return the file."""
        lines = [
            "# Milliseconds of layers by their channels (docs/latency.md)",
            f"format = {FORMAT}",
            f"batch = {self.batch}",
            f"block = {self.block}",
        ]
        if self.conditions:
            lines += ["", "[conditions]"]
            lines += [f"{_key(name)} = {_value(value)}" for name, value in self.conditions.items()]
        for grid in self.grids:
            lines += ["", f"[[{_LAYERS}]]", f"type = {_value(grid.kind.type)}"]
            lines += [f"{name} = {_value(value)}" for name, value in grid.kind.settings]
            lines.append(f"inputs = {_value(grid.inputs)}")
            if grid.outputs != (0,):
                lines.append(f"outputs = {_value(grid.outputs)}")
                rows = [f"  [{', '.join(map(_milliseconds, row))}]," for row in grid.ms]
                lines += [f"{_MS} = [", *rows, "]"]
            else:
                lines.append(f"{_MS} = [{', '.join(_milliseconds(row[0]) for row in grid.ms)}]")
        return ("\n".join(lines) + "\n").encode()


def _counts(layer: TimedLayer) -> str:
    return f"{layer.inputs} -> {layer.outputs}" if layer.outputs else f"{layer.inputs} channels"


def _milliseconds(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.{DIGITS}g}"


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if is_bare else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(v)}" for name, v in value.items()) + " }"
    return str(value)


# Reading


def read_latency_table(path: str) -> LatencyTable:
    """Read a table.

    Raises:
        FormatError: it can't be read, or is none; names the file and the layer.
    """
    data = toml.parse(read_bytes(path, SIZE_LIMIT, "a latency table"), path)
    shown = printable(path)
    for name, value in data.items():
        if name not in _FACTS:
            known = did_you_mean(name, _FACTS)
            raise FormatError(f"{shown}: '{printable(name, 60)}' is not of a latency table{known}")
        if not isinstance(value, _FACTS[name]) or isinstance(value, bool):
            raise FormatError(f"{shown}: '{name}' is to be {_TYPES[_FACTS[name]]}")
    if data.get("format", FORMAT) != FORMAT:
        raise FormatError(f"{shown}: is of format {data['format']}; this sqgen reads {FORMAT}")
    numbers = {name: data.get(name, 1) for name in ("batch", "block")}
    for name, number in numbers.items():
        if number < 1:
            raise FormatError(f"{shown}: {name} = {number}: give 1 or more")
    if not data.get(_LAYERS):
        raise FormatError(
            f"{shown}: has no [[layer]]; sqgen time --table FILE --space NET makes it"
        )
    grids = [
        _grid(entry, f"{shown}: [[layer]] {number}")
        for number, entry in enumerate(data[_LAYERS], 1)
    ]
    return LatencyTable(path, **numbers, conditions=data.get("conditions", {}), grids=grids)


def _grid(entry: Any, where: str) -> Grid:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise FormatError(f'{where}: has no type; write type = "Convolution"')
    settings = dict(_entry_settings(entry, where))
    kind = LayerKind.of(entry["type"], settings)
    inputs, outputs = (_knots(entry, name, where) for name in _KNOTS)
    if inputs is None:
        raise FormatError(f"{where}: has no inputs; give numbers of channels, as inputs = [16, 32]")
    rows: Any = entry.get(_MS)
    rows = [[value] for value in rows] if outputs is None and isinstance(rows, list) else rows
    outputs = outputs or (0,)
    is_grid = isinstance(rows, list) and [_width(row) for row in rows] == [len(outputs)] * len(
        inputs
    )
    if not is_grid:
        size = f"{len(inputs)}" + (f" rows of {len(outputs)}" if outputs != (0,) else "")
        raise FormatError(f"{where}: ms is to be {size} numbers, one for each number of channels")
    for value in (value for row in rows for value in row):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise FormatError(f"{where}: ms has {printable(str(value), 40)}; give milliseconds")
        if math.isinf(value):
            raise FormatError(f"{where}: ms has inf; give milliseconds")
    return Grid(kind, inputs, outputs, [[float(value) for value in row] for row in rows])


def _width(row: Any) -> int:
    return len(row) if isinstance(row, list) else -1


def _entry_settings(entry: Mapping[str, Any], where: str) -> Iterator[tuple[str, Setting]]:
    for name, value in entry.items():
        if name in (*_KNOTS, _MS, "type"):
            continue
        if name not in DEFAULTS:
            known = did_you_mean(name, (*DEFAULTS, *_KNOTS, _MS))
            raise FormatError(f"{where}: has no setting '{printable(name, 60)}'{known}")
        values = tuple(value) if isinstance(value, list) else value
        wanted: type = str if name in ("then", "method", "operation", "region", "param") else int
        rows = values if isinstance(values, tuple) else (values,)
        wanted = bool if name == "depthwise" else wanted
        if any(type(each) is not wanted for each in rows):
            what = {int: "whole numbers", str: "words", bool: "true or false"}[wanted]
            raise FormatError(f"{where}: {name} takes {what}")
        yield name, rows if name == "then" else values


def _knots(entry: Mapping[str, Any], name: str, where: str) -> tuple[int, ...] | None:
    values = entry.get(name)
    if values is None:
        return None
    is_row = isinstance(values, list) and bool(values)
    if not is_row or any(type(each) is not int or each < 1 for each in values):
        raise FormatError(f"{where}: {name} takes numbers of channels, as {name} = [16, 32]")
    if any(low >= high for low, high in pairwise(values)):
        raise FormatError(f"{where}: {name} has to ascend")
    return tuple(values)
