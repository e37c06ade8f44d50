"""Which classes a net takes for which."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[Any]


class Confusion(NamedTuple):
    """Images of one class that were predicted as another, or as itself."""

    label: int
    predicted: int
    images: int


class ClassResult(NamedTuple):
    """The result of a class that is a label or a prediction.

    Attributes:
        class_index: the class.
        images: with this label.
        predicted: images predicted to be of this class.
        right: images of both kinds.
        confusion: the class that its images are most often taken for, wrongly; None if never.
    """

    class_index: int
    images: int
    predicted: int
    right: int
    confusion: Confusion | None

    @property
    def recall(self) -> float:
        """The part of its images that are right; nan without images."""
        return self.right / self.images if self.images else float("nan")

    @property
    def precision(self) -> float:
        """The part of the images predicted to be of it that are right; nan without any."""
        return self.right / self.predicted if self.predicted else float("nan")


def count_confusions(labels: Integers, predicted: Integers) -> list[Confusion]:
    """Count each pair of a label and a prediction that occurs, the most frequent first.

    Args:
        labels, predicted: (N,) classes.
    """
    pairs, counts = np.unique(np.stack([labels, predicted], 1), axis=0, return_counts=True)
    found = [
        Confusion(label, guess, images)
        for (label, guess), images in zip(pairs.tolist(), counts.tolist(), strict=True)
    ]
    return sorted(found, key=lambda pair: -pair.images)  # equal ones stay in order


def class_results(confusions: list[Confusion]) -> list[ClassResult]:
    """Return the result of each class that occurs, in the order of the classes.

    Args:
        confusions: all, from `count_confusions`.
    """
    images: Counter[int] = Counter()
    predicted: Counter[int] = Counter()
    right: Counter[int] = Counter()
    worst: dict[int, Confusion] = {}
    for pair in confusions:
        images[pair.label] += pair.images
        predicted[pair.predicted] += pair.images
        if pair.label == pair.predicted:
            right[pair.label] = pair.images
        else:
            worst.setdefault(pair.label, pair)
    return [
        ClassResult(c, images[c], predicted[c], right[c], worst.get(c))
        for c in sorted(images.keys() | predicted.keys())
    ]


def confusion_matrix(confusions: list[Confusion]) -> tuple[list[int], NDArray[np.int64]]:
    """Return the classes that occur, in order (M), and how many images of each are taken for each.

    Returns:
        The classes, and a matrix (M, M): rows are labels, columns predictions.
    """
    classes = sorted({c for pair in confusions for c in (pair.label, pair.predicted)})
    place = {c: number for number, c in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for pair in confusions:
        matrix[place[pair.label], place[pair.predicted]] = pair.images
    return classes, matrix
