"""The gate: check a result against expectations, published scores and a baseline.

Files are written elsewhere: a gate only reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import FormatError
from ..nets.imagenet import IMAGENET_VALIDATION
from .baseline import check_baseline, read_baseline, read_baseline_predictions
from .expectation import Check, Expectation, Tolerance, refuse_percent
from .kept_predictions import read_kept_predictions
from .result import LogResult
from .scores import LOSS, is_accuracy_name, require_score, score_names
from .trouble import DIVERGED, FORGEABLE

if TYPE_CHECKING:
    from ..evaluation.paired import PairedComparison

DEFAULT_TOLERANCE = Tolerance(0.001)
NOT_BY_IMAGE = "not compared by image: the result kept no predictions"


@dataclass(frozen=True)
class GateOptions:
    """What a result must satisfy, and the files that report it.

    Attributes:
        expectations: bounds on scores, published ones included.
        preset: the net whose published scores are among them, or None.
        baseline: the file of a baseline, or None.
        update_baseline: write the baseline from the result instead of checking against it.
        tolerance: for the scores of a baseline.
        junit: a JUnit XML file to write, or None.
        markdown: a Markdown file to append a table to, or None.
    """

    expectations: tuple[Expectation, ...] = ()
    preset: str | None = None
    baseline: Path | None = None
    update_baseline: bool = False
    tolerance: Tolerance = DEFAULT_TOLERANCE
    junit: Path | None = None
    markdown: str | None = None

    @property
    def has_checks(self) -> bool:
        """Whether there is anything to check."""
        return bool(self.expectations) or self.baseline is not None

    @property
    def compares_images(self) -> bool:
        """Whether the baseline keeps predictions, also one that is to be written again."""
        if self.baseline is None or not self.baseline.is_file():
            return False
        try:
            return read_baseline(self.baseline).predictions is not None
        except FormatError:  # it may be written anew; `validate` refuses it otherwise
            return False

    def validate(self) -> None:
        """Check the options as far as possible without a result.

        Raises:
            FormatError: there is no baseline, the file is none, or its predictions are not there.
            DesignError: an accuracy above 1.
        """
        for expectation in self.expectations:
            if is_accuracy_name(expectation.name):
                refuse_percent(expectation)
        if self.baseline is not None and not self.update_baseline:
            baseline = read_baseline(self.baseline)
            if baseline.predictions is not None:
                read_baseline_predictions(self.baseline, baseline.predictions)


class Verdict(NamedTuple):
    """What a gate found.

    Attributes:
        checks: they decide.
        images: number of images that the scores average, if known.
        by_image: the comparison with the predictions of the baseline, or None. It decides nothing:
            the tolerance of the scores does.
        remark: why there is no such comparison, where the baseline has predictions.
    """

    checks: list[Check]
    images: int | None
    by_image: PairedComparison | None = None
    remark: str = ""

    @property
    def passed(self) -> bool:
        """Whether every check passes."""
        return all(check.passed for check in self.checks)


def evaluate(
    options: GateOptions, result: LogResult, images: int | None, source: str = ""
) -> Verdict:
    """Check a result.

    Args:
        options: what it must satisfy.
        result: the result.
        images: number of images that its scores average, if known.
        source: what the result was read from, beside which its predictions may lie.

    Raises:
        DesignError: an expected score that the result does not have, or an accuracy above 1.
        FormatError: there is no baseline, or the file is none, or predictions are not there.
    """
    if options.preset is not None and images is None:
        images = IMAGENET_VALIDATION  # the published scores are of these
    _require_scores(result, options.expectations)
    checks = [*check_run(result), *(e.check(result, images) for e in options.expectations)]
    if options.baseline is None or options.update_baseline:
        return Verdict(checks, images)
    baseline = read_baseline(options.baseline)
    checks += check_baseline(baseline, result, images, options.tolerance)
    if baseline.predictions is None:
        return Verdict(checks, images)
    after = read_kept_predictions(result, source)
    if after is None:
        return Verdict(checks, images, remark=NOT_BY_IMAGE)
    from ..evaluation.paired import compare_predictions  # imports NumPy

    before = read_baseline_predictions(options.baseline, baseline.predictions)
    return Verdict(checks, images, compare_predictions(before, after))


def check_run(result: LogResult) -> Iterator[Check]:
    """Yield a failed check where the run did not complete, or its loss is not finite."""
    if result.fatal is not None:
        reason = f"{result.fatal.cause}; {result.fatal.remedy}"
        yield Check("run", "completed", "a fatal error", reason=reason)
    elif not result.completed:
        stops = result.stops
        reason = stops[-1] if stops else "the log ends before the run does"
        yield Check("run", "completed", "not completed", reason=reason)
    last = len(result.segments) - 1
    for trouble in result.troubles:
        if trouble.name == DIVERGED and trouble.segment == last:
            yield Check("loss", "a number", "not one", reason=trouble.message)
        elif trouble.name == FORGEABLE:
            yield Check("names", "none that can print lines", "one", reason=trouble.message)
    for name, score in zip(score_names(result.scores), result.scores, strict=True):
        if score.role == LOSS and not math.isfinite(score.value):
            reason = "the net has diverged: accuracies beside such a loss mean nothing"
            yield Check(name, "a number", f"{score.value:g}", reason=reason)
        elif score.k and not math.isfinite(score.value):
            reason = "of no image, as where every label is ignored"
            yield Check(name, "a number", f"{score.value:g}", reason=reason)
    if not result.scores:
        yield Check("scores", "some", "none", reason="the log has no test scores")


def _require_scores(result: LogResult, expectations: Sequence[Expectation]) -> None:
    """Refuse expectations of scores that a completed run does not have.

    Raises:
        DesignError: such a score, or an accuracy above 1.
    """
    for expectation in expectations:
        if result.completed and result.scores:
            score = require_score(result.scores, expectation.name, "the log")
            if score.k:
                refuse_percent(expectation)
