"""How far a smaller net agrees with the whole one on images: divergence, and accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import NetError
from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from ..text import printable

if TYPE_CHECKING:
    from .input_images import InputImages

SCORES = DIVERGENCE, TOP1 = ("divergence", "top-1")  # of a search; the less, the better
_TINY = 1e-30  # below any probability that float32 tells from 0


class Agreement(NamedTuple):
    """What a net says of images, beside the whole net.

    Attributes:
        divergence: mean Kullback-Leibler divergence, in nats, of its probabilities from the whole
            net's.
        error: standard error of that mean.
        top1: share of right labels; None of images without labels.
    """

    divergence: float
    error: float
    top1: float | None

    def score(self, kind: str, images: int) -> float:
        """Return how bad the net is, as one of `SCORES`; the less, the better.

        `top-1` is the share of wrong labels. Nets with as many wrong ones are in the order of their
        divergences, which count less than one image: d / (1 + d).

        Args:
            kind: one of `SCORES`.
            images: how many there are, with labels for `top-1`.
        """
        if kind == DIVERGENCE:
            return self.divergence
        assert self.top1 is not None
        wrong = round((1 - self.top1) * images)
        distance = max(self.divergence, 0.0)  # below 0 by rounding; nan stays
        return (wrong + distance / (1 + distance)) / images


def probabilities(net: NetDefinition, model: NetParameter, images: InputImages) -> np.ndarray:
    """Return the probabilities of each image, (images, classes) in float64.

    Args:
        net: a deploy net with one input and one output: probabilities, or scores.
        model: its weights.
        images: as it reads them.

    Raises:
        NetError: the net has several outputs.
    """
    from .image_run import ImageRun  # loads PyTorch

    return ImageRun(net, images).probabilities(model)


def compare(whole: np.ndarray, smaller: np.ndarray, labels: np.ndarray | None) -> Agreement:
    """Compare probabilities, (images, classes) each."""
    logs = np.log(np.maximum(whole, _TINY)) - np.log(np.maximum(smaller, _TINY))
    each = (whole * logs).sum(1)
    error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
    top1 = None if labels is None else float((smaller.argmax(1) == labels).mean())
    return Agreement(float(each.mean()), float(error), top1)


def check_finite(whole: np.ndarray, source: str) -> None:
    """Check that others can be compared with the whole net's probabilities.

    Raises:
        NetError: some are not finite.
    """
    if not np.isfinite(whole).all():
        raise NetError(
            f"{printable(source)}: the outputs of these images are nan or infinite; check the"
            " weights and --mean and --scale"
        )


def check_labels(labels: np.ndarray | None, classes: int, source: str) -> None:
    """Check that labels can score a net.

    Raises:
        NetError: there are none, some are of no class, or they don't tell images apart.
    """
    why = ""
    if labels is None:
        why = "has no labels; a search for top-1 takes an LMDB"
    elif labels.max() >= classes or labels.min() < 0:
        bad = labels.max() if labels.max() >= classes else labels.min()
        why = f"has label {bad}, and the net classes 0 to {classes - 1}"
    elif len(labels) > 1 and (labels == labels[0]).all():
        why = f"all labels are {labels[0]}, so top-1 says little; search for the divergence"
    if why:
        raise NetError(f"{printable(source)}: {why}")
