"""Scores and losses over several batches, as Caffe sums and prints them."""

from __future__ import annotations

import numpy as np

from ..text import number_text
from .executor import BatchResult, Executor


class ScoreSums:
    """Sums of a net's loss and output elements over batches, in float32 as in Caffe.

    A Filter may make the outputs of a batch longer or shorter: an element counts in the batches
    that have it.

    Attributes:
        weight: the sum of the batches' weights.
    """

    def __init__(self, net: Executor) -> None:
        self.net = net
        self.weight = 0.0
        self._loss = np.float32(0)
        self._sums = {name: np.zeros(0, np.float32) for name in net.outputs}
        self._weights = {name: np.zeros(0) for name in net.outputs}

    def add(self, result: BatchResult, weight: float = 1.0) -> list[tuple[str, float]]:
        """Add a batch, multiplied by `weight`; return (name, value) of its output elements."""
        for name in self.net.outputs:
            values = result.blobs[name].detach().double().reshape(-1).cpu().numpy()
            grown = (0, max(0, len(values) - len(self._sums[name])))
            self._sums[name] = np.pad(self._sums[name], grown)
            self._weights[name] = np.pad(self._weights[name], grown)
            self._sums[name][: len(values)] += (values * weight).astype(np.float32)
            self._weights[name][: len(values)] += weight
        self._loss += np.float32(result.loss * weight)
        self.weight += weight
        return flatten_outputs(self.net, result)

    def means(self) -> list[tuple[str, float, str]]:
        """Return name, mean and loss suffix of every output element."""
        return [
            (name, mean, loss_suffix(self.net, name, mean))
            for name, sums in self._sums.items()
            for mean in (sums / self._weights[name].astype(np.float32)).tolist()
        ]

    def mean_loss(self) -> float:
        """Return the mean loss of the batches."""
        return float(self._loss / np.float32(self.weight))


class SmoothedLoss:
    """The mean loss of the last `window` iterations (Solver::UpdateSmoothedLoss).

    Attributes:
        losses: those of the window, oldest first, so that a resumed run drops the right one.
        value: their mean, updated as Caffe does.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.losses: list[float] = []
        self.value = 0.0

    def add(self, loss: float) -> None:
        """Add the loss of an iteration."""
        self.losses.append(loss)
        if len(self.losses) <= self.window:
            count = len(self.losses)
            self.value = (self.value * (count - 1) + loss) / count
        else:
            self.value += (loss - self.losses.pop(0)) / self.window

    def restore(self, losses: list[float], value: float) -> None:
        """Continue from saved losses; the window may be smaller than when they were saved."""
        self.losses, self.value = losses[-self.window :], value
        if len(losses) > self.window:
            self.value = sum(self.losses) / self.window


def flatten_outputs(net: Executor, result: BatchResult) -> list[tuple[str, float]]:
    """Return (blob name, value) of every element of every output, in Caffe's order."""
    return [
        (name, value)
        for name in net.outputs
        for value in result.blobs[name].detach().double().reshape(-1).tolist()
    ]


def loss_suffix(net: Executor, name: str, value: float) -> str:
    """Return what Caffe appends to a loss, such as ` (* 1 = 2.3 loss)`; empty for other blobs."""
    weight = net.wiring.loss_weights.get(name, 0.0)
    if not weight:
        return ""
    return f" (* {number_text(weight)} = {number_text(weight * value)} loss)"
