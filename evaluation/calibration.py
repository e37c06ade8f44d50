"""Calibration: whether images of which a net is 80% sure are right in 80% of the cases."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of equal width, as in Guo et al.


class CalibrationBin(NamedTuple):
    """The images whose confidence is above `low` and at most `high`.

    Attributes:
        low, high: bounds of the confidence.
        images: how many there are.
        accuracy, confidence: their means; nan without images.
    """

    low: float
    high: float
    images: int
    accuracy: float
    confidence: float


class Calibration(NamedTuple):
    """The expected calibration error, and the bins that it is the mean of."""

    error: float
    bins: tuple[CalibrationBin, ...]


def calibrate(
    confidences: NDArray[Any], correct: NDArray[np.bool_], bins: int = BINS
) -> Calibration:
    """Compare confidences with accuracies.

    The expected calibration error is the sum over bins of n_b / N |accuracy_b - confidence_b|
    (Guo et al. 2017, "On calibration of modern neural networks", equation 5).

    Args:
        confidences: (N,) probabilities of the most probable classes.
        correct: (N,) whether these are the labels.
        bins: how many of equal width; one includes its upper bound.
    """
    numbers = np.clip(np.ceil(confidences.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    found, error = [], 0.0
    for number in range(bins):
        inside = numbers == number
        images = int(inside.sum())
        accuracy = float(correct[inside].mean()) if images else float("nan")
        confidence = float(confidences[inside].mean(dtype=np.float64)) if images else float("nan")
        if images:
            error += images / len(correct) * abs(accuracy - confidence)
        bounds = number / bins, (number + 1) / bins
        found.append(CalibrationBin(*bounds, images, accuracy, confidence))
    return Calibration(error, tuple(found))
