"""The most probable classes of each image, and the rank of its label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rank_classes(scores: Array, labels: Array, count: int) -> tuple[Array, Array]:
    """Rank the classes of each image by their scores.

    A class whose score equals the label's comes before the label, as in accuracy_layer.cpp, and
    other equal ones in their order.

    Args:
        scores: (N, C), finite.
        labels: (N,) integers from 0 to C - 1.
        count: how many classes to return.

    Returns:
        The rank of each label from 1 (N,), and the first `count` classes (N, min(count, C)).
    """
    label = labels[:, None]
    of_label = np.take_along_axis(scores, label, 1)
    last = (scores >= of_label).sum(1, keepdims=True) - 1  # the label's place, from 0
    order = _largest(scores, count + 1)
    # There the label is any of its equals, or not at all: those behind it move up.
    places = np.arange(min(count, scores.shape[1]))[None, :]
    is_label = order == label
    first = np.where(is_label.any(1, keepdims=True), is_label.argmax(1)[:, None], last)
    moved = np.where((first <= places) & (places < last), places + 1, places)
    classes = np.where(places == last, label, np.take_along_axis(order, moved, 1))
    return last[:, 0] + 1, classes


def _largest(scores: Array, count: int) -> Array:
    """Return the first `count` classes of each image by score, equal ones in order.

    A few maxima are found several times faster than all classes are sorted.
    """
    rest = scores.copy()
    rows = np.arange(len(rest))
    columns = []
    for _ in range(min(count, rest.shape[1])):
        columns.append(rest.argmax(1))
        rest[rows, columns[-1]] = -np.inf
    return np.stack(columns, 1)
