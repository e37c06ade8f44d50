"""Errors of accuracies and means over a sample of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054  # standard deviations on each side that hold 95% of a normal distribution


def standard_error(accuracy: float, images: int | None) -> float | None:
    """Return sqrt(p (1 - p) / n), the standard error of an accuracy p over n images."""
    if images is None or images < 1 or not 0 <= accuracy <= 1:
        return None
    return math.sqrt(accuracy * (1 - accuracy) / images)


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """Return the 95% interval of an accuracy, sensible also at 0, at 1 and for few images.

    (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), with p = right / n (Wilson 1927,
    "Probable inference, the law of succession, and statistical inference").
    """
    p, z = right / images, Z95
    centre = p + z * z / (2 * images)
    half = z * math.sqrt(p * (1 - p) / images + z * z / (4 * images * images))
    scale = 1 + z * z / images
    # At the ends, rounding would leave 1e-17.
    low = (centre - half) / scale if right else 0.0
    high = (centre + half) / scale if right < images else 1.0
    return low, high


def mean_error(values: Sequence[float]) -> float | None:
    """Return the standard error of a mean, from the sample's variance; None below two values."""
    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return math.sqrt(variance / count)
