"""Compare two tests image by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..formats.predictions import Predictions
from .mcnemar import exact_mcnemar


class PairedComparison(NamedTuple):
    """What changed between two tests of the same images, matched by their keys.

    Attributes:
        images: in both tests.
        newly_wrong: keys of the images whose top-1 was right and is wrong.
        newly_right: keys of those that were wrong and are right.
        only_before, only_after: how many images only one test has.
        relabelled: how many have another label in the second test.
    """

    images: int
    newly_wrong: tuple[str, ...]
    newly_right: tuple[str, ...]
    only_before: int
    only_after: int
    relabelled: int

    @property
    def p_value(self) -> float:
        """The two-sided p-value of McNemar's exact test."""
        return exact_mcnemar(len(self.newly_wrong), len(self.newly_right))

    def __str__(self) -> str:
        """Say it in a sentence."""
        wrong, right = len(self.newly_wrong), len(self.newly_right)
        text = (
            f"{wrong:,} images newly wrong, {right:,} newly right of {self.images:,}"
            f" (McNemar p = {self.p_value:.2g})"
        )
        differences = (
            (self.only_before, "only before"),
            (self.only_after, "only now"),
            (self.relabelled, "with another label"),
        )
        return text + "".join(f", {count:,} {what}" for count, what in differences if count)


def compare_predictions(before: Predictions, after: Predictions) -> PairedComparison:
    """Compare two tests by the keys of their images; of equal keys, the first with the first."""
    earlier = dict(zip(_unique(before.keys), range(len(before)), strict=True))
    wrong: list[str] = []
    right: list[str] = []
    images = relabelled = 0
    was_right, is_right = before.correct.tolist(), after.correct.tolist()
    for number, key in enumerate(_unique(after.keys)):
        other = earlier.get(key)
        if other is None:
            continue
        images += 1
        relabelled += bool(before.labels[other] != after.labels[number])
        if was_right[other] != is_right[number]:
            (right if is_right[number] else wrong).append(after.keys[number])
    only = len(before) - images, len(after) - images
    return PairedComparison(images, tuple(wrong), tuple(right), *only, relabelled)


def _unique(keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield each key with how often it came before."""
    seen: Counter[str] = Counter()
    for key in keys:
        yield key, seen[key]
        seen[key] += 1
