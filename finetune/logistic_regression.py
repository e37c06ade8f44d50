"""Multinomial logistic regression with an L2 penalty, whose strength cross-validation chooses.

    loss(W, b) = mean_i w_i * -log softmax(W x_i + b)[y_i] + strength / 2 * |W|^2

The features are divided by their root mean square, so that a strength means the same for every
layer of every net; the bias is not penalized. scikit-learn's C is 1 / (n * strength) there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

Tensor = torch.Tensor

STRENGTHS = tuple(10 ** (exponent / 2) for exponent in range(2, -9, -1))  # 10 to 0.0001
FOLDS = 5
_LARGE = 5000  # samples from which one fold is enough
_ITERATIONS = 300
_RISES = 2  # of the loss, one after another, behind which no weaker penalty is tried
# Of the largest gradient, where a fit ends. To choose a strength needs less than its weights.
_ROUGH, _FINE = 1e-5, 1e-6


class LogisticRegression(NamedTuple):
    """A linear classifier.

    Attributes:
        weights: (classes, features).
        bias: (classes,).
        strength: of the penalty.
        loss: the mean loss of samples that were left out, without weights and penalty.
        accuracy: theirs.
    """

    weights: np.ndarray
    bias: np.ndarray
    strength: float
    loss: float
    accuracy: float


class _LBFGS(torch.optim.LBFGS):
    """PyTorch's, without the wrapper that loads PyTorch's compiler, which takes 2 s."""

    add_param_group = inspect.unwrap(torch.optim.LBFGS.add_param_group)


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    class_weights: Sequence[float] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> LogisticRegression:
    """Fit a classifier; the strength is that of the lowest loss in cross-validation.

    Args:
        features: (samples, features).
        labels: (samples,), from 0.
        classes: their number.
        class_weights: one for each class; None weighs all samples the same.
        strengths: to choose from, the strongest first.
        seed: of the folds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other at each small step cost far more
    try:
        return _fit(features, labels, class_weights or [1.0] * classes, strengths, seed)
    finally:
        torch.set_num_threads(threads)


def _fit(
    features: np.ndarray,
    labels: np.ndarray,
    class_weights: Sequence[float],
    strengths: Sequence[float],
    seed: int,
) -> LogisticRegression:
    scale = float(np.sqrt(np.mean(np.square(features, dtype=np.float64)))) or 1.0
    x = torch.from_numpy(features.astype(np.float64) / scale)
    y = torch.from_numpy(labels.astype(np.int64))
    weights = torch.tensor(class_weights, dtype=x.dtype)
    scores = _cross_validate(x, y, weights, strengths, seed)
    best = min(range(len(scores)), key=lambda index: scores[index][0])
    *_, (weight, bias) = _path(x, y, weights, strengths[: best + 1], _FINE)
    return LogisticRegression(weight.numpy() / scale, bias.numpy(), strengths[best], *scores[best])


def fold_numbers(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of each sample, so that each class is spread evenly over the folds."""
    order = np.random.default_rng(seed).permutation(len(labels))
    ranks = np.empty(len(labels), np.int64)
    ranks[order[np.argsort(labels[order], kind="stable")]] = np.arange(len(labels))
    return ranks % FOLDS


def _cross_validate(
    x: Tensor, y: Tensor, weights: Tensor, strengths: Sequence[float], seed: int
) -> list[tuple[float, float]]:
    """Return mean loss and accuracy over left out samples by strength, until they get worse."""
    folds = torch.from_numpy(fold_numbers(y.numpy(), seed))
    count = 0
    paths = []
    for fold in range(1 if len(x) > _LARGE else FOLDS):
        out = folds == fold
        count += int(out.sum())
        paths.append((out, _path(x[~out], y[~out], weights, strengths, _ROUGH)))
    scores: list[tuple[float, float]] = []
    while len(scores) < len(strengths) and not _rises(scores):
        loss = right = 0.0
        for out, path in paths:
            weight, bias = next(path)
            found = x[out] @ weight.T + bias
            loss += float(torch.nn.functional.cross_entropy(found, y[out], reduction="sum"))
            right += float((found.argmax(1) == y[out]).sum())
        scores.append((loss / count, right / count))
    return scores


def _rises(scores: Sequence[tuple[float, float]]) -> bool:
    """Whether the last losses were each above the one before: weaker penalties take longest."""
    losses = [loss for loss, _ in scores[-_RISES - 1 :]]
    return len(losses) > _RISES and losses == sorted(losses)


def _path(
    x: Tensor, y: Tensor, weights: Tensor, strengths: Sequence[float], tolerance: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield weights and bias at each strength, each started from the one before."""
    weight, bias = x.new_zeros(len(weights), x.shape[1]), x.new_zeros(len(weights))
    of_samples = weights[y] / len(y)
    wanted = torch.nn.functional.one_hot(y, len(weights)).to(x.dtype)
    for strength in strengths:
        optimizer = _LBFGS(
            [weight, bias],
            max_iter=_ITERATIONS,
            tolerance_grad=tolerance,
            tolerance_change=tolerance**2 * 100,
            line_search_fn="strong_wolfe",
        )

        def loss(strength: float = strength) -> Tensor:
            """Set its gradients too; on small sets, autograd would take as long as all else."""
            logs = torch.log_softmax(torch.addmm(bias, x, weight.T), 1)
            slopes = (logs.exp() - wanted) * of_samples[:, None]
            weight.grad = torch.addmm(weight, slopes.T, x, beta=strength)
            bias.grad = slopes.sum(0)
            return strength / 2 * weight.square().sum() - (logs * wanted).sum(1) @ of_samples

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        yield weight.clone(), bias.clone()
