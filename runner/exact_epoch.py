"""Plan a test that scores every record exactly once, and check the coverage of `--iterations`.

Caffe tests whole batches and wraps around after the last record. A real caffe therefore gets a
batch size that divides the number of records. If there is no divisor near the net's own batch size,
a second run over the W records that were read twice yields a correction: with the mean S over n
batches of B and the mean s over those W records, the mean over all N is (n B S - W s) / N. A mean
over labels that are not ignored is computed likewise from the batches and their numbers of labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..logs.result import LogResult
from ..logs.scores import LOSS, OTHER, Score
from ..nets.solver_rules import lint_test_iter
from .score_means import ScoreMean

MAXIMUM_SHRINK = 4  # a dividing batch size is at least the net's own divided by this


class EpochPlan(NamedTuple):
    """Batches that a test reads.

    Attributes:
        records: in the dataset; None if unknown.
        batch_size: images in a batch.
        iterations: batches of the first run.
        repeated: records that the first run reads twice and a second run once more.
        engine_stops: whether the engine itself stops after the last record (`--exact`).
    """

    records: int | None
    batch_size: int
    iterations: int
    repeated: int = 0
    engine_stops: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether each record counts exactly once."""
        tested = self.iterations * self.batch_size - self.repeated
        return self.engine_stops or (self.records is not None and tested == self.records)

    @property
    def images(self) -> int:
        """Number of images behind the scores."""
        if self.engine_stops and self.records is not None:
            return self.records
        return self.iterations * self.batch_size - self.repeated

    @property
    def last_images(self) -> int:
        """Number of images in the last batch."""
        if self.engine_stops and self.records is not None:
            return self.records - (self.iterations - 1) * self.batch_size
        return self.batch_size

    def __str__(self) -> str:
        of = f" of {self.records:,}" if self.records is not None else ""
        return f"{min(self.images, self.records or self.images):,}{of} images"


def plan_exact_epoch(records: int, batch_size: int, engine_stops: bool) -> EpochPlan:
    """Plan batches that count each of `records` exactly once."""
    if engine_stops:
        return EpochPlan(records, batch_size, -(-records // batch_size), engine_stops=True)
    batch_size = min(batch_size, records)
    minimum = -(-batch_size // MAXIMUM_SHRINK)
    sizes = range(batch_size, minimum - 1, -1)
    divisor = next((size for size in sizes if records % size == 0), None)
    if divisor is not None:
        return EpochPlan(records, divisor, records // divisor)
    iterations = -(-records // batch_size)
    return EpochPlan(records, batch_size, iterations, iterations * batch_size - records)


def lint_iterations(plan: EpochPlan) -> str | None:
    """Return what `--iterations` leaves out or counts twice, or None."""
    return lint_test_iter(plan.iterations, plan.batch_size, plan.records, None, "--iterations")


def score_records(
    first: LogResult, second: LogResult | None, plan: EpochPlan, means: Mapping[str, ScoreMean]
) -> LogResult:
    """Return the first run's result with its scores over each record once.

    Drops scores that can't be had: outputs of several elements, such as a blob that no layer reads,
    and means over labels of which it is unknown which are ignored.

    Args:
        first: the result of the plan's batches.
        second: of one batch of the records that these read twice; None where there are none.
        plan: the plan.
        means: output -> what it is a mean of; records for others.
    """
    again = {score.name: score.value for score in second.scores} if second is not None else {}
    names = {*again, *(score.name for score in first.scores)}
    scores = []
    for score in first.scores:
        output, mean = score.name.partition("[")[0], means.get(score.name, ScoreMean())
        if second is not None and (score.name not in again or f"{output}[1]" in names):
            continue
        if mean.counts is not None:
            values = [row.outputs.get(score.name, math.nan) for row in first.batches]
            value = _mean_over_labels(values, again.get(score.name), plan, mean.counts)
            scores.append(replace(score, value=_round_score(score, value, sum(mean.counts))))
        elif second is None:
            scores.append(score)
        elif mean.known:
            records, repeated = plan.images, plan.repeated
            # A sum is that of a batch of the plan's size.
            other = again[score.name] * (plan.batch_size / repeated if mean.is_sum else 1)
            total = plan.iterations * plan.batch_size * score.value - repeated * other
            whole = records if mean.is_whole else 0
            scores.append(replace(score, value=_round_score(score, total / records, whole)))
    return replace(first, scores=tuple(scores), images=plan.images)


def _mean_over_labels(
    values: Sequence[float], again: float | None, plan: EpochPlan, counts: Sequence[bool]
) -> float:
    """Return the mean of a score over the labels that count, from its values in the batches."""
    total = 0.0
    for number, value in enumerate(values):
        start = number * plan.batch_size
        labels = (counts[index % len(counts)] for index in range(start, start + plan.batch_size))
        total += value * sum(labels)
    if again is not None:
        total -= again * sum(counts[: plan.repeated])
    return total / max(1, sum(counts))


def _round_score(score: Score, value: float, whole: int) -> float:
    """Round an accuracy to whole records of `whole`, others to the six digits of the logs."""
    if not whole or score.role in (LOSS, OTHER) or not math.isfinite(value):
        return float(f"{value:.6g}")
    return float(f"{round(value * whole) / whole:.6g}")
