"""Scores and losses over several batches, as Caffe sums and prints them."""

from __future__ import annotations

import numpy as np

from ..text import number_text
from .executor import BatchResult, Executor
from .kernels.base import ScoreCounts


class ScoreSums:
    """Sums of a net's loss and output elements over batches.

    By default they are in float32 and give means over batches, as in Caffe. Exact sums give those
    over the records, or over the labels that count, of batches that need not be of one size.

    A Filter may make the outputs of a batch longer or shorter: an element counts in the batches
    that have it.

    Attributes:
        batches, records: how many were added.
    """

    def __init__(self, net: Executor, exact: bool = False) -> None:
        self.net, self.exact = net, exact
        self.batches = self.records = 0
        self._dtype = np.float64 if exact else np.float32
        self._sums: dict[str, np.ndarray] = {name: np.zeros(0, self._dtype) for name in net.outputs}
        self._weights = {name: np.zeros(0) for name in net.outputs}
        self._loss = self._dtype(0)  # if exact, of blobs that are no outputs

    def add(self, result: BatchResult) -> list[tuple[str, float]]:
        """Add a batch; return (name, value) of its output elements."""
        loss, by_record = result.loss, ScoreCounts(result.records, result.records)
        for name in self.net.outputs:
            values = result.blobs[name].detach().double().reshape(-1).cpu().numpy()
            divisor, items = (
                result.score_counts.get(name, by_record) if self.exact else ScoreCounts(1, 1)
            )
            grown = (0, max(0, len(values) - len(self._sums[name])))
            self._sums[name] = np.pad(self._sums[name], grown)
            self._weights[name] = np.pad(self._weights[name], grown)
            self._sums[name][: len(values)] += (values * divisor).astype(self._dtype)
            self._weights[name][: len(values)] += items
            loss -= self._loss_weight(name) * float(values.sum()) if self.exact else 0.0
        self._loss += self._dtype(loss * (result.records if self.exact else 1))
        self.batches += 1
        self.records += result.records
        return flatten_outputs(self.net, result)

    def means(self) -> list[tuple[str, float, str]]:
        """Return name, mean and loss suffix of every output element; 0 where nothing counts."""
        return [
            (name, mean, loss_suffix(self.net, name, mean))
            for name, weights in self._weights.items()
            for mean in self._mean(name, weights).tolist()
        ]

    def _mean(self, name: str, weights: np.ndarray) -> np.ndarray:
        mean: np.ndarray = self._sums[name] / np.where(weights, weights, 1).astype(self._dtype)
        return mean

    def mean_loss(self) -> float:
        """Return the mean loss."""
        if not self.exact:
            return float(self._loss / np.float32(self.batches))
        outputs = sum(self._loss_weight(name) * mean for name, mean, _ in self.means())
        return float(outputs + self._loss / self.records)

    def _loss_weight(self, name: str) -> float:
        return self.net.wiring.loss_weights.get(name, 0.0)


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
