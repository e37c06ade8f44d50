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
    place = labels[:, None]
    of_label = np.take_along_axis(scores, place, 1)
    last = (scores >= of_label).sum(1, keepdims=True) - 1  # the label's place, from 0
    order = np.argsort(-scores, axis=1, kind="stable")
    # In `order`, the label is the first or a later one of its equals: those behind it move up.
    ahead = np.arange(scores.shape[1])[None, :] < place
    first = (scores > of_label).sum(1, keepdims=True) + ((scores == of_label) & ahead).sum(
        1, keepdims=True
    )
    places = np.arange(min(count, scores.shape[1]))[None, :]
    moved = np.where((first <= places) & (places < last), places + 1, places)
    classes = np.where(places == last, place, np.take_along_axis(order, moved, 1))
    return last[:, 0] + 1, classes
