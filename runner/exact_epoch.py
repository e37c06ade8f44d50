"""Plan a test that scores every record exactly once, and check the coverage of `--iterations`.

Caffe tests whole batches and wraps around after the last record. A real caffe therefore gets a
batch size that divides the number of records. If there is no divisor near the net's own batch size,
a second run over the W records that were read twice yields a correction: with the mean S over n
batches of B and the mean s over those W records, the mean over all N is (n B S - W s) / N.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from ..logs.result import LogResult
from ..logs.scores import LOSS, OTHER, Score
from ..nets.solver_rules import lint_test_iter

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


def subtract_repeated(first: LogResult, second: LogResult, plan: EpochPlan) -> LogResult:
    """Return the first run's result, its scores corrected for the records that it read twice.

    Drops outputs of several elements, such as a blob that no layer reads: they are not means over
    images.
    """
    records, repeated = plan.images, plan.repeated
    known = {score.name: score.value for score in second.scores}
    names = {*known, *(score.name for score in first.scores)}
    scores = []
    for score in first.scores:
        if score.name in known and f"{score.name.partition('[')[0]}[1]" not in names:
            total = plan.iterations * plan.batch_size * score.value
            mean = (total - repeated * known[score.name]) / records
            scores.append(replace(score, value=_round_score(score, mean, records)))
    return replace(first, scores=tuple(scores), images=records)


def _round_score(score: Score, value: float, records: int) -> float:
    """Round an accuracy to whole images, anything else to the six digits of the logs."""
    if score.role in (LOSS, OTHER) or not math.isfinite(value):
        return float(f"{value:.6g}")
    return float(f"{round(value * records) / records:.6g}")
