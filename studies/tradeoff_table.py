"""What `compress eval` measured, as its JSON has it (docs/compression.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..json_form import from_json
from .retrained_pairs import Pair, pair_files
from .tradeoff import Point, as_dict


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
        retrained_from: name of the file with the same codes whose values were trained, or None.
        gains: changes of the scores from that file.
        p_value: that the top-1 of both is equal; None where nothing tells it.
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
    retrained_from: str | None = None
    gains: Mapping[str, float] = field(default_factory=dict)
    p_value: float | None = None


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
    def pairs(self) -> list[Pair[MeasuredPoint]]:
        """All in their order, retrained files beside those that they started from."""
        return pair_files(self.points)

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
