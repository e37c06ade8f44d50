"""How long the runs of a study will take, by multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .outcome import read_outcome
from .plan import Plan, Trial

# Of one core of 2020, training small nets with sqgen-caffe; and what a run takes besides.
MACS_A_SECOND, START_SECONDS = 1e10, 5.0


class Estimate(NamedTuple):
    """How long runs take.

    Attributes:
        seconds: of each trial that is missing; None: unknown.
        total: of all, at so many at a time; None: unknown.
        measured: how many finished runs it is based on.
    """

    seconds: dict[str, float | None]
    total: float | None
    measured: int


def estimate(root: Path, plan: Plan, slots: int, threads: int) -> Estimate:
    """Estimate how long the missing runs take.

    Args:
        root: folder of the study, which may not be there.
        plan: its runs.
        slots: how many go at a time.
        threads: of each; finished runs are taken to have had as many.
    """
    done, missing = _split(root, plan.trials)
    taken = [seconds for _, seconds in done]
    known = [(trial.cost, seconds) for trial, seconds in done if trial.cost]
    rate = 1 / (MACS_A_SECOND * threads)
    if known:
        own = sum(max(seconds - START_SECONDS, seconds / 2) for _, seconds in known)
        rate = own / sum(cost for cost, _ in known)
    mean = sum(taken) / len(taken) if taken else None
    seconds: dict[str, float | None] = {
        trial.folder: mean if trial.cost is None else START_SECONDS + trial.cost * rate
        for trial in missing
    }
    values = [value for value in seconds.values() if value is not None]
    total = sum(values) / slots if len(values) == len(seconds) else None
    return Estimate(seconds, total, len(taken))


def _split(root: Path, trials: Sequence[Trial]) -> tuple[list[tuple[Trial, float]], list[Trial]]:
    """Return the runs that finished with their seconds, and those that are missing."""
    done, missing = [], []
    for trial in trials:
        outcome = read_outcome(root / trial.folder)
        if outcome is None:
            missing.append(trial)
        elif outcome.failed is None:
            done.append((trial, outcome.seconds))
    return done, missing


def duration_text(seconds: float) -> str:
    """Return `40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
