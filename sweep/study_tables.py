"""The tables of a study's file that say no more than a few values: resources and chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DesignError
from ..text import did_you_mean, printable

RESOURCES, CHART = "resources", "chart"
CORES = 4096  # at most
# What is measured of every run; all else is a score.
COUNTS = ("parameters", "macs", "bytes", "seconds", "ms")
CHART_KINDS = BARS, DOTS, CURVE, PARETO = ("bars", "dots", "curve", "pareto")
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
    for key in ("memory", "time"):
        if not str(table.get(key, "")).isprintable() or " " in str(table.get(key, "")):
            raise DesignError(f"[{RESOURCES}] {key}: give it as Slurm writes it")
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


def check_chart(chart: Mapping[str, str], axes: Sequence[str]) -> None:
    """Check that what goes across the picture is measured, or varies.

    Raises:
        DesignError: it is not.
    """
    x = chart.get("x")
    known = [*COUNTS, *axes]
    if x is not None and x not in known:
        hint = did_you_mean(x, known) or f"; {', '.join(known)}"
        raise DesignError(f"[{CHART}] x: no '{printable(x)}'{hint}")
    if chart.get("kind") == PARETO and x in axes:
        raise DesignError(f"[{CHART}] x: of pareto, give {', '.join(COUNTS)}")
