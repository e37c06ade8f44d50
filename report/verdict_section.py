"""The verdict of a run: how it ended, its scores, its gate, its troubles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..text import escaped, number_text, printable
from .curves import Training
from .page import Block, Cell, Fact, Facts, Section, Table, Text
from .report_options import ReportOptions
from .reported_run import ReportedRun
from .run_scores import (
    BAD,
    GOOD,
    TROUBLE,
    best_scores,
    error_text,
    last_values,
    outcome,
    score_rows,
    score_text,
)

VERDICT = "verdict"  # the section's id
MOST = 20  # scores, troubles or warnings to show
MESSAGE = 1000  # characters of one


def verdict_section(run: ReportedRun, options: ReportOptions) -> Section:
    """Return the section that begins a run's report."""
    ended = outcome(run)
    blocks: list[Block] = [Text(printable(ended.text, MESSAGE), ended.kind)]
    facts = list(_score_facts(run, options))
    if facts:
        blocks.append(Facts(facts, large=True))
    if run.result.images:
        blocks.append(Text(f"Scores of {run.result.images:,} images.", "note"))
    others = [[escaped(row.name), score_text(row)] for row in score_rows(run) if row.is_output]
    if others:
        blocks.append(Table(["output", "value"], others, (1,), "Other outputs", folded=True))
    blocks += _gate_blocks(run.verdict)
    blocks += _trouble_blocks(run)
    if len(run.trainings) > 1:
        blocks.append(_trainings_table(run.trainings))
    elif run.trainings:
        blocks.append(Facts(list(_training_facts(run.trainings[0]))))
    return Section("Verdict", VERDICT, blocks)


def _score_facts(run: ReportedRun, options: ReportOptions) -> Iterator[Fact]:
    for row in [row for row in score_rows(run) if not row.is_output][:MOST]:
        kind = "" if row.valid else "void"
        yield Fact(escaped(row.name), score_text(row), error_text(row), kind)
        if row.name == "top1" and run.evaluation is not None:
            most = run.evaluation.majority
            name = f"always {options.class_text(most)}"
            yield Fact("majority", number_text(run.evaluation.majority_accuracy), name)


def _training_facts(training: Training) -> Iterator[Fact]:
    for label, value in last_values(training).items():
        yield Fact(f"last {escaped(label)}", number_text(value))
    for best in best_scores(training):
        yield Fact(f"best {escaped(best.name)}", number_text(best.value), f"at {best.iteration:,}")


def _trainings_table(trainings: Sequence[Training]) -> Table:
    """Return a row for each training of a log."""
    facts = [{fact.name: fact for fact in _training_facts(each)} for each in trainings]
    names = list(dict.fromkeys(name for found in facts for name in found))
    rows: list[list[str | Cell]] = [
        [f"{each.number}", f"{each.last_iteration:,}", *(_fact_cell(found.get(n)) for n in names)]
        for each, found in zip(trainings, facts, strict=True)
    ]
    right = range(1, len(names) + 2)
    return Table(["training", "iteration", *names], rows, right, "Trainings in this log")


def _fact_cell(fact: Fact | None) -> Cell:
    if fact is None:
        return Cell("")
    return Cell(f"{fact.value} {fact.detail}".rstrip(), float(fact.value))


def _gate_blocks(verdict: Any) -> Iterator[Block]:
    if verdict is None:
        return
    checks = [check for check in verdict["checks"] if isinstance(check, dict)]
    passed = verdict.get("passed") is True
    count = f"{len(checks)} check{'s' if len(checks) != 1 else ''}"
    yield Text(f"Gate {'passed' if passed else 'failed'}: {count}", GOOD if passed else BAD)
    if checks:
        rows = [_check_cells(check) for check in checks]
        yield Table(["check", "expected", "got", "", "remark"], rows)


def _check_cells(check: dict[str, Any]) -> list[str | Cell]:
    passed = check.get("passed") is True
    texts = [escaped(str(check.get(key) or "")) for key in ("name", "expected", "got", "reason")]
    word = Cell("pass", None, GOOD) if passed else Cell("FAIL", None, BAD)
    return [*texts[:3], word, texts[3]]


def _trouble_blocks(run: ReportedRun) -> Iterator[Block]:
    result = run.result
    if result.fatal is not None:
        fatal = result.fatal
        place = f" ({fatal.place})" if fatal.place else ""
        text = f"{fatal.cause}{place}: {fatal.message}. To do: {fatal.remedy}."
        yield Text(printable(text, MESSAGE), TROUBLE)
    for trouble in result.troubles[:MOST]:
        which = f" in run {trouble.segment + 1}" if len(result.segments) > 1 else ""
        text = f"{trouble.name}{which}: {trouble.message}; {trouble.remedy}."
        yield Text(printable(text, MESSAGE), TROUBLE)
    for warning in result.warnings[:MOST]:
        yield Text(printable(f"Warning: {warning}", MESSAGE), "note")
    more = sum(max(0, len(texts) - MOST) for texts in (result.troubles, result.warnings))
    if more:
        yield Text(f"{more:,} more are in the result.", "note")
