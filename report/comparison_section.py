"""Several runs side by side: how they ended, their scores, and what differs in what they ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..text import escaped
from .page import Block, Cell, Section, Table
from .report_options import ReportOptions
from .reported_run import ReportedRun
from .run_facts import run_facts, solver_facts
from .run_scores import ScoreRow, best_scores, last_values, outcome, score_rows, score_text
from .verdict_section import VERDICT

# What differs between any two runs tells nothing.
SAME_ANYWAY = {
    "source",
    "started",
    "ended",
    "speed",
    "duration",
    "snapshots",
    "changes to the copies",
}


def comparison_section(runs: Sequence[ReportedRun], options: ReportOptions) -> Section | None:
    """Return a table of the runs and one of their differences; None for one run."""
    if len(runs) < 2:
        return None
    blocks: list[Block] = [_runs_table(runs)]
    differences = _differences(runs)
    if differences:
        heads = ["", *(escaped(run.name) for run in runs)]
        blocks.append(Table(heads, differences, caption="What differs"))
    return Section("Runs", "runs", blocks)


class _Column(NamedTuple):
    """A column of the table of runs: its head, and the cell of each run."""

    head: str
    cells: list[Cell]


def _runs_table(runs: Sequence[ReportedRun]) -> Table:
    outcomes = [outcome(run) for run in runs]
    columns = [
        _Column("run", [_name(number, run) for number, run in enumerate(runs, 1)]),
        _Column("outcome", [Cell(each.word, None, each.kind) for each in outcomes]),
        _Column("iteration", [_number(_last_iteration(run), ",") for run in runs]),
        *_named_columns("{}", [_scores(run) for run in runs]),
        *_named_columns("best {}", [_best(run) for run in runs]),
        *_named_columns("last {}", [_last(run) for run in runs]),
        _Column("iterations/s", [_number(run.speed, ".3g") for run in runs]),
    ]
    used = [column for column in columns if any(cell.text for cell in column.cells)]
    rows = [list(row) for row in zip(*(column.cells for column in used), strict=True)]
    return Table([column.head for column in used], rows, range(2, len(used)))


def _name(number: int, run: ReportedRun) -> Cell:
    return Cell(escaped(run.name), target=f"{VERDICT}-{number}")


def _named_columns(head: str, cells: Sequence[dict[str, Cell]]) -> list[_Column]:
    """Return a column for each name that a run has."""
    names = dict.fromkeys(name for found in cells for name in found)
    empty = Cell("")
    return [
        _Column(head.format(escaped(name)), [found.get(name, empty) for found in cells])
        for name in names
    ]


def _last_iteration(run: ReportedRun) -> int | None:
    return next((each.last_iteration for each in reversed(run.result.segments)), None)


def _scores(run: ReportedRun) -> dict[str, Cell]:
    return {row.name: _score_cell(row) for row in score_rows(run) if not row.is_output}


def _best(run: ReportedRun) -> dict[str, Cell]:
    best = [each for training in run.trainings[-1:] for each in best_scores(training)]
    return {each.name: _number(each.value) for each in best}


def _last(run: ReportedRun) -> dict[str, Cell]:
    last = [pair for training in run.trainings[-1:] for pair in last_values(training).items()]
    return {name: _number(value) for name, value in last}


def _number(value: float | None, form: str = ".6g") -> Cell:
    return Cell("") if value is None else Cell(format(value, form), value)


def _score_cell(row: ScoreRow) -> Cell:
    error = f" \N{PLUS-MINUS SIGN} {row.standard_error:.2g}" if row.standard_error else ""
    return Cell(score_text(row) + error, row.value, "" if row.valid else "void")


def _differences(runs: Sequence[ReportedRun]) -> list[list[str]]:
    """Return a row for each fact and solver's field that differs, where all ran the same command.

    A test has no solver, so that it would differ from a training in everything.
    """
    if len({run.result.command for run in runs}) > 1:
        return []
    facts = [
        dict(run_facts(run)) | {f"solver: {name}": value for name, value in solver_facts(run)}
        for run in runs
    ]
    names = dict.fromkeys(name for found in facts for name in found if name not in SAME_ANYWAY)
    rows = [[name, *(found.get(name, "") for found in facts)] for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]
