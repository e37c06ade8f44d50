"""What `compress eval` measured, as its JSON has it (docs/compression.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..formats.files import display_name, read_bytes
from ..json_form import from_json, loads
from ..text import printable
from .tradeoff import FORMAT, TABLE, Point, as_dict

LIMIT = 1 << 26  # bytes of the JSON


@dataclass(frozen=True)
class MeasuredLayer:
    """A layer of compressed weights: see `compress.layer_change.LayerChange`."""

    layer: str
    type: str
    weights: int
    density: float
    values: int
    bits: int
    error: float


@dataclass(frozen=True)
class MeasuredPoint:
    """Weights, their size and their scores.

    Attributes:
        name: of the weights; the first are those before compression.
        path: the file whose size counts.
        bytes, images: its size, and the images of the test.
        folder: the run's.
        scores, changes, standard_errors: by score; only accuracies have standard errors.
        times_smaller: than the first.
        layers: empty where they were not measured.
    """

    name: str
    path: str
    bytes: int
    images: int
    folder: str
    scores: Mapping[str, float]
    times_smaller: float
    changes: Mapping[str, float]
    standard_errors: Mapping[str, float]
    layers: tuple[MeasuredLayer, ...] = ()


@dataclass(frozen=True)
class Tradeoff:
    """Sizes and scores of weights, those before compression first.

    Attributes:
        format: of the JSON.
        images: of each test.
        points: at least one.
    """

    format: int
    images: int
    points: tuple[MeasuredPoint, ...]

    @property
    def before(self) -> MeasuredPoint:
        """The weights before compression."""
        return self.points[0]

    @property
    def after(self) -> list[MeasuredPoint]:
        """The others, the smallest first."""
        return sorted(self.points[1:], key=lambda point: point.bytes)

    @property
    def accuracies(self) -> list[str]:
        """The names of the accuracies."""
        return [name for name in self.before.scores if name in self.before.standard_errors]


def tradeoff_table(points: Sequence[Point]) -> Tradeoff:
    """Return what was measured as its JSON has it."""
    return from_json(Tradeoff, _plain(as_dict(points)))


def _plain(value: Any) -> Any:
    """Return plain data with lists for tuples, as JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def find_tradeoff(source: str) -> Path | None:
    """Return the JSON of a trade-off: a file that has one, or the run folder that holds it."""
    path = Path(source)
    if os.path.isdir(path):
        return path / TABLE if os.path.isfile(path / TABLE) else None
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        start = file.read(512)
    return path if start.lstrip().startswith(b"{") and b'"points": [' in start else None


def read_tradeoff(path: Path) -> Tradeoff:
    """Read the JSON of `compress eval`.

    Raises:
        FormatError: it can't be read, or is damaged.
    """
    shown = display_name(path)
    try:
        found = from_json(Tradeoff, loads(read_bytes(path, LIMIT, "a trade-off")))
    except ValueError as error:
        raise FormatError(f"{shown}: is no trade-off of size: {printable(str(error))}") from None
    if found.format != FORMAT:
        raise FormatError(f"{shown}: has the format {found.format}; this sqgen reads {FORMAT}")
    if not found.points or any(point.bytes < 1 for point in found.points):
        raise FormatError(f"{shown}: has no points, or one without bytes")
    return found
