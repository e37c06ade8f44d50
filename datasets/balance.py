"""The balance of a dataset: images of each class, and what always guessing the largest scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..text import printable

SHOWN = 10  # classes to print; of more, the largest and the smallest
_EACH_END = 3
_NAME = 30  # characters


class ClassCount(NamedTuple):
    """A class of a dataset.

    Attributes:
        label: its number.
        name: printable; None where nothing names it.
        records: its images.
        share: of all images, from 0 to 1.
    """

    label: int
    name: str | None
    records: int
    share: float

    @property
    def shown(self) -> str:
        """Label and name, for people."""
        return f"{self.label} {printable(self.name, _NAME)}" if self.name else str(self.label)


def count_classes(
    labels: Mapping[int, int], names: Sequence[str] | None = None
) -> list[ClassCount]:
    """Return the classes by label; those that are named, but have no images, too.

    Args:
        labels: label -> number of images.
        names: of the classes, by label.
    """
    total = sum(labels.values())
    named = dict(enumerate(names or ()))
    return [
        ClassCount(label, named.get(label), records, records / total if total else 0.0)
        for label in sorted({*labels, *named})
        for records in [labels.get(label, 0)]
    ]


def majority(classes: Sequence[ClassCount]) -> ClassCount | None:
    """Return the largest class, whose share is the top-1 of a net that always answers it."""
    return max(classes, key=lambda each: each.records, default=None)


def balance_rows(classes: Sequence[ClassCount]) -> list[list[str]]:
    """Return rows of a name and a value: the images of each class, and the majority's share.

    Of many classes, the largest and the smallest.
    """
    largest = majority(classes)
    if largest is None:
        return []
    if len(classes) <= SHOWN:
        rows = [_row(each) for each in classes]
    else:
        order = sorted(classes, key=lambda each: (-each.records, each.label))
        between = order[_EACH_END:-_EACH_END]
        few, many = between[-1].records, between[0].records
        counts = f"{few} records each" if few == many else f"{few} to {many} records"
        rows = [_row(each) for each in order[:_EACH_END]]
        rows += [["", f"{len(between)} classes of {counts}"]]
        rows += [_row(each) for each in order[-_EACH_END:]]
    return [*rows, ["majority", f"always answering {largest.shown} scores {largest.share:.1%}"]]


def _row(each: ClassCount) -> list[str]:
    return ["class", f"{each.shown}: {each.records} records, {each.share:.1%}"]
