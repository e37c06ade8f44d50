"""Weights of classes, by which rare ones count as much as frequent ones in a loss.

As a matrix of InfogainLoss (src/caffe/layers/infogain_loss_layer.cpp), whose row of a label holds
the weights of -log of the probabilities: the weights are its diagonal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from ..errors import FormatError
from ..formats.caffemodel import fill_blob
from ..formats.datum import record_labels
from ..formats.lmdb_reader import open_lmdb
from ..formats.schema import BlobProto
from ..text import printable

CLASS_LIMIT = 1 << 12  # a matrix of 64 MiB


def count_labels(path: str) -> Counter[int]:
    """Count the records of each label of an LMDB.

    Raises:
        FormatError: it can't be read, or a record is no Datum.
    """
    with open_lmdb(path) as reader:
        return Counter(record_labels(reader.values(), printable(path)))


def balanced_weights(counts: Mapping[int, int], classes: int) -> list[float]:
    """Return a weight for each class, N / (C n) for n of N images and C classes that have any.

    Their mean over the images is 1, as of scikit-learn's `class_weight="balanced"`.

    Args:
        counts: label -> number of images.
        classes: their number; one without images weighs 1.

    Raises:
        FormatError: a label is none of the classes.
    """
    wrong = next((label for label in counts if not 0 <= label < classes), None)
    if wrong is not None:
        raise FormatError(f"a label is {wrong}, and the classes are 0 to {classes - 1}")
    total, present = sum(counts.values()), len(counts)
    return [total / (present * counts.get(c, 0)) if counts.get(c) else 1.0 for c in range(classes)]


def infogain_matrix(weights: list[float]) -> bytes:
    """Return the diagonal matrix of weights as a BlobProto (1, 1, classes, classes).

    Raises:
        FormatError: there are too many classes.
    """
    if len(weights) > CLASS_LIMIT:
        raise FormatError(f"{len(weights)} classes; an infogain matrix takes {CLASS_LIMIT}")
    blob = BlobProto()
    fill_blob(blob, np.diag(weights).astype(np.float32)[None, None])
    return bytes(blob.SerializeToString())
