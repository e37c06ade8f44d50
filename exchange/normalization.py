"""How pixels become a net's input, per channel; and the same net for other inputs.

x[c] = (pixel[c] - mean[c]) * scale[c], with pixels from 0 to 255. Frameworks differ in the order of
channels, in means and in scales; a convolution that reads the input can absorb the difference:
scales into its weights, and other means into its biases, if it does not pad (a padded pixel is 0
after the mean is subtracted, whatever the mean).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..nets.image_transform import ImageTransform

RGB, BGR = "RGB", "BGR"


class Normalization(NamedTuple):
    """What is done to the pixels of an image.

    Attributes:
        channels: `RGB` or `BGR`.
        mean: subtracted from pixels of 0 to 255, per channel in that order.
        scale: multiplied after, likewise.
    """

    channels: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def reordered(self, channels: str) -> Normalization:
        """Return what is done to the same channels in another order."""
        if channels == self.channels:
            return self
        return Normalization(channels, self.mean[::-1], self.scale[::-1])

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return the input for pixels (images, 3 channels as RGB, height, width)."""
        ordered = pixels if self.channels == RGB else pixels[:, ::-1]
        mean, scale = (np.reshape(each, (-1, 1, 1)) for each in (self.mean, self.scale))
        result: np.ndarray = (ordered - mean) * scale
        return result

    @property
    def is_caffes(self) -> bool:
        """Whether mean_value and one scale of Caffe's transform_param can say it."""
        return self.channels == BGR and len({*self.scale}) == 1

    def __str__(self) -> str:
        numbers = (",".join(f"{value:.6g}" for value in each) for each in (self.mean, self.scale))
        mean, scale = numbers
        scaled = "" if {*self.scale} == {1.0} else f", times {scale}"
        return f"{self.channels} of 0 to 255, minus {mean}{scaled}"


def from_transform(transform: ImageTransform | None) -> Normalization | None:
    """Return the normalization that a net's data layer or comment gives; None where unknown."""
    if transform is None or transform.channels not in (RGB, BGR) or transform.mean is None:
        return None
    mean = transform.mean * 3 if len(transform.mean) == 1 else transform.mean
    scale = 1.0 if transform.scale is None else transform.scale
    return Normalization(transform.channels, mean, (scale,) * 3) if len(mean) == 3 else None


def fold(
    blobs: Sequence[np.ndarray], source: Normalization, target: Normalization
) -> list[np.ndarray]:
    """Return the blobs of a net's first convolution, without padding, for another normalization.

    Computed in float64 and rounded once, to the type of the blobs.

    Args:
        blobs: weights (outputs, 3, height, width) and biases (outputs), made for `source`.
        source, target: of the images that the blobs, and the result, take.
    """
    weights = blobs[0].astype(np.float64)
    if source.channels != target.channels:
        weights = weights[:, ::-1]
    source = source.reordered(target.channels)
    gain = np.divide(source.scale, target.scale)
    shift = np.subtract(target.mean, source.mean) * source.scale
    biases = blobs[1].astype(np.float64) + weights.sum((2, 3)) @ shift
    folded = (weights * gain[:, None, None], biases)
    return [new.astype(old.dtype) for new, old in zip(folded, blobs, strict=True)]
