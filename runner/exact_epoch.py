"""Every record of a set tested once, and what `--iterations` would leave out or count twice.

Caffe tests whole batches and begins anew behind the last record. So a real caffe gets a batch that
divides the set; where none near the net's own does, a second run over the records that were read
again gives what is to be taken out: the mean over n batches of B is S, over the W records that came
twice it is s, so over the N records it is (n B S - W s) / N.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..logs.result import LogResult
from ..logs.scores import LOSS, OTHER, Score
from ..nets.solver_rules import lint_test_iter

LEAST_SHARE = 4  # a dividing batch is at least this part of the net's own


class Coverage(NamedTuple):
    """How a set is tested.

    Attributes:
        records: of the set; None where nobody knows.
        batch: images in a batch.
        iterations: batches of the first run.
        again: records that the first run reads twice, and a second run once more.
        exact: whether the engine itself stops at the last record.
    """

    records: int | None
    batch: int
    iterations: int
    again: int = 0
    exact: bool = False

    @property
    def whole(self) -> bool:
        """Whether each record counts once."""
        tested = self.iterations * self.batch - self.again
        return self.exact or (self.records is not None and tested == self.records)

    @property
    def images(self) -> int:
        """Images that the scores are of."""
        if self.exact and self.records is not None:
            return self.records
        return self.iterations * self.batch - self.again

    def __str__(self) -> str:
        of = f" of {self.records:,}" if self.records is not None else ""
        return f"{min(self.images, self.records or self.images):,}{of} images"


def all_once(records: int, batch: int, exact: bool) -> Coverage:
    """Each of `records` once; `exact` says that the engine does it by itself."""
    if exact:
        return Coverage(records, batch, -(-records // batch), exact=True)
    batch = min(batch, records)
    least = -(-batch // LEAST_SHARE)
    dividing = next((size for size in range(batch, least - 1, -1) if records % size == 0), None)
    if dividing is not None:
        return Coverage(records, dividing, records // dividing)
    iterations = -(-records // batch)
    return Coverage(records, batch, iterations, iterations * batch - records)


def remark(coverage: Coverage) -> str | None:
    """What is wrong with an asked-for number of iterations, if anything."""
    if coverage.records is None:
        return None
    found = lint_test_iter(coverage.iterations, coverage.batch, coverage.records, None)
    return found.replace("test_iter", "--iterations", 1) if found else None


def without_again(first: LogResult, again: LogResult, coverage: Coverage) -> LogResult:
    """Return the first run's result without the second count of the records that came twice.

    An output of several elements, such as a blob that no layer reads, is no mean over images: it is
    left out.
    """
    records, twice = coverage.images, coverage.again
    known = {score.name: score.value for score in again.scores}
    names = {*known, *(score.name for score in first.scores)}
    scores = []
    for score in first.scores:
        if score.name in known and f"{score.name.partition('[')[0]}[1]" not in names:
            total = coverage.iterations * coverage.batch * score.value
            mean = (total - twice * known[score.name]) / records
            scores.append(replace(score, value=_rounded(score, mean, records)))
    return replace(first, scores=tuple(scores), images=records)


def _rounded(score: Score, value: float, records: int) -> float:
    """An accuracy is a number of images over all; anything else has six digits, as in the logs."""
    if score.role in (LOSS, OTHER) or not abs(value) < float("inf"):
        return float(f"{value:.6g}")
    return float(f"{round(value * records) / records:.6g}")
