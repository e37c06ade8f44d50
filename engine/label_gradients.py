"""Gradients of the cross entropy to labels that are drawn from a net's own probabilities.

The mean of squares of such gradients is the Fisher information, and needs no labels. (To the net's
own probabilities themselves, the gradient of the loss is zero.)
"""

from __future__ import annotations

import numpy as np

from ..errors import NetError
from ..text import printable
from .probabilities import ClassOutput


def output_gradient(
    values: np.ndarray, output: ClassOutput, random: np.random.Generator, source: str
) -> np.ndarray:
    """Return the gradient of -log p(label) by an output, each image's label drawn from p."""
    shares = output.probabilities(values)
    if not np.isfinite(shares).all():
        raise NetError(
            f"{printable(source)}: the outputs of these images are nan or infinite; check the"
            " weights and --mean and --scale"
        )
    drawn = np.arange(len(shares)), sample_labels(shares, random)
    gradient = np.zeros_like(shares) if output.is_softmax else shares.copy()
    gradient[drawn] -= 1 / shares[drawn] if output.is_softmax else 1
    return gradient.reshape(values.shape)


def sample_labels(shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw a class for each row of probabilities, (images, classes); those of 0 never."""
    sums = np.cumsum(shares, axis=1)
    drawn = random.uniform(size=len(shares)) * sums[:, -1]
    labels: np.ndarray = (sums <= drawn[:, None]).sum(1)
    return labels
