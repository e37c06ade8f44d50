"""The curves of all trainings of a report, overlaid."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import printable
from .page import Block, Charts, Section, Text
from .report_options import ReportOptions
from .reported_run import ReportedRun
from .training_charts import NamedTraining, describe_sampling, name_trainings, training_charts


def curves_section(runs: Sequence[ReportedRun], options: ReportOptions) -> Section | None:
    """Return losses, accuracies and learning rates; None without a training."""
    named = all_trainings(runs)
    if not named:
        return None
    blocks: list[Block] = [Charts(training_charts(named))]
    sampling = describe_sampling([each.training for each in named])
    if sampling:
        blocks.append(Text(sampling, "note"))
    for run in runs:
        if run.omitted:
            text = f"{run.name}: {run.omitted:,} earlier trainings in the log are not drawn."
            blocks.append(Text(printable(text), "note"))
    return Section("Curves", "curves", blocks)


def all_trainings(runs: Sequence[ReportedRun]) -> list[NamedTraining]:
    """Return the trainings of runs, named."""
    return [
        each for run in runs for each in name_trainings(run.name, run.trainings, run.result.run)
    ]
