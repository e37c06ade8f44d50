"""The tables of a study's file that say no more than a few values: resources and chart."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DesignError
from ..text import did_you_mean, printable

RESOURCES, CHART = "resources", "chart"
CORES = 4096  # at most
# What is measured of every run; all else is a score.
COUNTS = ("parameters", "macs", "bytes", "seconds", "ms")
PARETO_X = "parameters"  # what a pareto chart has across, unless it says
CHART_KINDS = BARS, DOTS, CURVE, PARETO = ("bars", "dots", "curve", "pareto")
CURVE_FROM = 3  # values of an option that make a curve
# As sbatch takes them: 8000, 8G; 30, 2:00:00, 1-12, 1-12:00:00.
_SLURM = {
    "memory": (r"\d+(?:[KMGTkmgt][Bb]?)?", "8G"),
    "time": (r"\d+(?::\d\d?){0,2}|\d+-\d\d?(?::\d\d?){0,2}|(?i:infinite|unlimited)", "2:00:00"),
}
_KIND_TEXT = {int: "a whole number", str: "a text", list: "a list of texts"}


@dataclass(frozen=True)
class Resources:
    """What a run takes.

    Attributes:
        threads: None shares the cores among the runs.
        gpus: that it trains on; 0 for a run on CPUs.
        memory: as Slurm writes it, such as `8G`.
        time: as Slurm writes it, such as `2:00:00`.
        sbatch: more options of sbatch.
    """

    threads: int | None = None
    gpus: int = 0
    memory: str | None = None
    time: str | None = None
    sbatch: tuple[str, ...] = ()


def parse_resources(table: Mapping[str, Any]) -> Resources:
    """Return what a run takes.

    Raises:
        DesignError: a key is unknown, or a value makes no sense.
    """
    kinds = {"threads": int, "gpus": int, "memory": str, "time": str, "sbatch": list}
    for key, value in table.items():
        if key not in kinds:
            hint = did_you_mean(key, kinds) or f"; {', '.join(kinds)}"
            raise DesignError(f"[{RESOURCES}] has no '{printable(key)}'{hint}")
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise DesignError(f"[{RESOURCES}] {key}: give {_KIND_TEXT[kinds[key]]}")
        least = 0 if key == "gpus" else 1
        if isinstance(value, int) and not least <= value <= CORES:
            raise DesignError(f"[{RESOURCES}] {key}: give {least} to {CORES}, not {value}")
    if not all(isinstance(word, str) and word.isprintable() for word in table.get("sbatch", [])):
        raise DesignError(f"[{RESOURCES}] sbatch: give a list of options of sbatch")
    for key, (pattern, example) in _SLURM.items():
        if key in table and not re.fullmatch(pattern, table[key]):
            raise DesignError(f"[{RESOURCES}] {key}: give it as Slurm takes it, such as {example}")
    return Resources(**{**table, "sbatch": tuple(table.get("sbatch", ()))})


def parse_chart(table: Mapping[str, Any]) -> dict[str, str]:
    """Return what the picture shows; raises a DesignError for what it can't."""
    for key, value in table.items():
        if key not in ("kind", "x"):
            raise DesignError(f"[{CHART}] has no '{printable(key)}'; kind and x")
        if not isinstance(value, str):
            raise DesignError(f"[{CHART}] {key}: give a text")
    kind = table.get("kind")
    if kind is not None and kind not in CHART_KINDS:
        hint = did_you_mean(kind, CHART_KINDS) or f"; {', '.join(CHART_KINDS)}"
        raise DesignError(f"[{CHART}] kind: no '{printable(kind)}'{hint}")
    return dict(table)


def check_chart(
    chart: Mapping[str, str], axes: Mapping[str, Sequence[str]], measures: Sequence[str]
) -> None:
    """Check that what goes across the picture is measured, or varies.

    Args:
        chart: the table.
        axes: what varies -> its values as text.
        measures: of the study.

    Raises:
        DesignError: it is not, or can't go across a picture of this kind.
    """
    x, kind = chart.get("x"), chart.get("kind")
    known = [*COUNTS, *axes]
    if x is not None and x not in known:
        hint = did_you_mean(x, known) or f"; {', '.join(known)}"
        raise DesignError(f"[{CHART}] x: no '{printable(x)}'{hint}")
    if x is not None and kind in (BARS, DOTS):
        raise DesignError(f"[{CHART}] x: {kind} have none; leave it out, or give another kind")
    if kind == PARETO or (kind is None and x in COUNTS):
        _check_cost(x, measures)
    elif kind == CURVE or x is not None:
        _check_curve(x, axes)


def _check_cost(x: str | None, measures: Sequence[str]) -> None:
    """Check that what a pareto chart has across is measured."""
    if x is not None and x not in COUNTS:
        raise DesignError(f"[{CHART}] x: of pareto, give {', '.join(COUNTS)}")
    cost = x or PARETO_X
    if cost not in measures:
        raise DesignError(f"[{CHART}] x: {cost} is not measured; add it to measure")


def _check_curve(x: str | None, axes: Mapping[str, Sequence[str]]) -> None:
    """Check that a curve has an option of numbers to go across."""
    numbers = [axis for axis, values in axes.items() if makes_curve(values)]
    if x in numbers or (x is None and numbers):
        return
    key = "kind" if x is None else "x"
    there = f"there: {', '.join(numbers)}" if numbers else "none varies"
    raise DesignError(
        f"[{CHART}] {key}: a curve needs an option of {CURVE_FROM} or more numbers; {there}"
    )


def makes_curve(values: Collection[str]) -> bool:
    """Return whether the values of what varies, as text, are numbers, and enough for a curve."""
    return len(values) >= CURVE_FROM and all(map(_is_number, values))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
