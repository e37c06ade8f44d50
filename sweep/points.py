"""The points of a study: each entry of its list with each combination of its grid."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

from ..errors import DesignError
from ..text import printable
from .study_file import LIST, POINTS, Entry, Study, Value, value_text

SLUG = 60  # characters of a folder's name


@dataclass(frozen=True)
class Point:
    """What a run asks for, but for the seed.

    Attributes:
        axes: axis (`list`, or an option) -> its value here, as text for people.
        options: step -> flag -> value, all that the study gives.
        steps: names of those that run.
    """

    axes: Mapping[str, str]
    options: Mapping[str, Mapping[str, Value]]
    steps: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name: values of the axes, of several with their names."""
        if len(self.axes) <= 1:
            return next(iter(self.axes.values()), "base")
        return ", ".join(
            value if axis == LIST else f"{short_name(axis, self.axes)}={value}"
            for axis, value in self.axes.items()
        )

    @property
    def slug(self) -> str:
        """The name of its folder: its label, and a digest where that can't be a name."""
        plain = re.sub(r"[^A-Za-z0-9=,.+_-]+", "_", self.label.replace(", ", ","))
        if plain == self.label.replace(", ", ",") and len(plain) <= SLUG and plain[0] not in ".-":
            return plain
        return f"{plain[:SLUG].lstrip('.-')}-{sha256(self.label.encode()).hexdigest()[:6]}"


def short_name(axis: str, axes: Sequence[str] | Mapping[str, str]) -> str:
    """Return the option of an axis, with its step only where two axes have the same option."""
    option = axis.partition(".")[2]
    shared = sum(each.partition(".")[2] == option for each in axes) > 1
    return axis if axis == LIST or shared else option


def points_of(study: Study) -> list[Point]:
    """Return all points, those of an entry of the list together.

    Raises:
        DesignError: there are too many, or two have the same name.
    """
    entries: Sequence[Entry | None] = study.entries or (None,)
    count = len(entries)
    for values in study.grid.values():
        count *= len(values)
    if count * len(study.seeds) > POINTS:
        raise DesignError(
            f"{printable(study.source)}: makes {count * len(study.seeds):,} runs; at most"
            f" {POINTS:,}"
        )
    points = [
        _point(study, entry, values)
        for entry in entries
        for values in product(*study.grid.values())
    ]
    labels: dict[str, str] = {}
    for point in points:
        other = labels.setdefault(point.slug.lower(), point.label)
        if other != point.label:
            raise DesignError(
                f"{printable(study.source)}: '{printable(other)}' and '{printable(point.label)}'"
                " would have one folder; rename one"
            )
    return points


def _point(study: Study, entry: Entry | None, values: Sequence[Value]) -> Point:
    options: dict[str, dict[str, Value]] = {step.name: dict(step.options) for step in study.steps}
    if study.data is not None:
        options["data"] = dict(study.data.options)
    axes: dict[str, str] = {}
    if entry is not None:
        axes[LIST] = entry.name
        _set(options, entry.options)
    chosen = dict(zip(study.grid, values, strict=True))
    _set(options, chosen)
    axes |= {option: value_text(value) for option, value in chosen.items()}
    steps = tuple(step.name for step in study.steps)
    if entry is not None and entry.steps is not None:
        steps = tuple(name for name in steps if name in entry.steps)
    return Point(axes, options, steps)


def _set(options: dict[str, dict[str, Value]], chosen: Mapping[str, Value]) -> None:
    for option, value in chosen.items():
        step, _, flag = option.partition(".")
        options[step][flag] = value


def baseline_of(study: Study, point: Point, points: Sequence[Point]) -> Point | None:
    """Return the point that another is compared with; None if it is that itself, or there is none.

    It has the value of the baseline on the baseline's axes, and else the point's own. Without a
    `[baseline]`, that is the first value of the first axis of the grid, or the first entry.
    """
    wanted = {axis: value_text(value) for axis, value in study.baseline.items()}
    if not wanted and points:
        axis = next(iter(study.grid), LIST if study.entries else None)
        wanted = {} if axis is None else {axis: points[0].axes[axis]}
    axes = {**point.axes, **wanted}
    if not wanted or axes == point.axes:
        return None
    return next((each for each in points if each.axes == axes), None)
