"""The table of a study: heads and cells, in whatever form it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..text import counted
from .plan import is_accuracy, is_score
from .points import short_name
from .results import Difference, PointResult, StudyResult
from .study_file import LIST
from .t_interval import Mean

PLUS_MINUS = "+-"
UNITS = {"bytes": "bytes", "seconds": "seconds", "ms": "ms", "macs": "MACs"}


class ResultTable(NamedTuple):
    """Heads, rows of cells, numbers of the columns of numbers, and what to know of them."""

    heads: list[str]
    rows: list[list[str]]
    right: list[int]
    notes: list[str]


def result_table(result: StudyResult) -> ResultTable:
    """Return the table of a study: a row a point.

    The first measure has its difference to the baseline beside it.
    """
    names = [name for name in result.measures if any(name in p.means for p in result.points)]
    has_difference = any(names and names[0] in p.differences for p in result.points)
    axes = list(result.axes)
    heads = [_axis_head(axis, axes) for axis in axes] or ["point"]
    texts = len(heads)
    heads.append("n")
    for name in names:
        heads.append(measure_head(name))
        if name == names[0] and has_difference:
            heads.append("difference [95%]")
    rows = [_row(point, axes, names, has_difference) for point in result.points]
    return ResultTable(heads, rows, list(range(texts, len(heads))), _notes(result, has_difference))


def _axis_head(axis: str, axes: Sequence[str]) -> str:
    return "" if axis == LIST else short_name(axis, axes)


def measure_head(name: str) -> str:
    """Return the head of a measure's column."""
    return f"{name} %" if is_accuracy(name) else UNITS.get(name, name)


def _row(
    point: PointResult, axes: Sequence[str], names: Sequence[str], has_difference: bool
) -> list[str]:
    cells = [point.point.axes[axis] for axis in axes] or [point.point.label]
    failed = len(point.failed)
    cells.append(f"{len(point.finished)}" + (f" ({failed} failed)" if failed else ""))
    for name in names:
        cells.append(mean_text(point.means.get(name), name))
        if name == names[0] and has_difference:
            cells.append(difference_text(point.differences.get(name), name))
    return cells


def mean_text(mean: Mean | None, name: str) -> str:
    """Return `85.10 +- 0.32`, or the value alone where all runs have the same or there is one."""
    if mean is None:
        return ""
    if not mean.error:
        return _number(mean.value, name)
    return f"{_number(mean.value, name)} {PLUS_MINUS} {_number(mean.error, name)}"


def difference_text(difference: Difference | None, name: str) -> str:
    """Return `+1.00 [+0.31, +1.69]`."""
    if difference is None:
        return ""
    text = _signed(difference.mean.value, name)
    if difference.low is None or difference.high is None:
        return text
    return f"{text} [{_signed(difference.low, name)}, {_signed(difference.high, name)}]"


def _signed(value: float, name: str) -> str:
    return f"{'+' if value >= 0 else ''}{_number(value, name)}"


def _number(value: float, name: str) -> str:
    if is_accuracy(name):
        return f"{100 * value:.2f}"
    if name in ("parameters", "macs", "bytes"):
        return f"{value:,.0f}"
    if not is_score(name):
        return f"{value:.1f}"
    return f"{value:.4f}"


def _notes(result: StudyResult, has_difference: bool) -> list[str]:
    notes = ["means over n seeds +- their standard errors"]
    if has_difference:
        bases = dict.fromkeys(p.baseline for p in result.points if p.baseline is not None)
        against = next(iter(bases)) if len(bases) == 1 else "the baseline of each"
        what = "points" if is_accuracy(result.measures[0]) else result.measures[0]
        notes.append(
            f"differences in {what} from {against}, paired by seed, with the t interval of 95%,"
            " not adjusted for how many are compared"
        )
    finished = [run for point in result.points for run in point.finished]
    unknown = [m for m in result.measures if not any(m in p.means for p in result.points)]
    if finished and unknown:
        notes.append(f"no run has {', '.join(unknown)}")
    if result.failed:
        notes.append(f"{counted(len(result.failed), 'run')} failed:")
        notes += [f"  {run.folder}: {run.outcome.failed}" for run in result.failed if run.outcome]
    if result.missing:
        are = "is" if len(result.missing) == 1 else "are"
        notes.append(f"{counted(len(result.missing), 'run')} {are} missing")
    return notes
