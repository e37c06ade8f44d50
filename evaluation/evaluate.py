"""Evaluate predictions: scores and their errors, classes, confusion, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..formats.predictions import Predictions
from .calibration import Calibration, calibrate
from .confusion import ClassResult, Confusion, class_results, count_confusions
from .intervals import mean_error, standard_error, wilson_interval

TOP_K = (1, 5)


@dataclass(frozen=True)
class Accuracy:
    """A top-k accuracy: images that are right, and their part with its error.

    Attributes:
        k: classes that may hold the label.
        right: images whose label is among them.
        value: right / images.
        standard_error: of the value (binomial).
        interval: the 95% interval (Wilson).
    """

    k: int
    right: int
    value: float
    standard_error: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """What predictions say of a net.

    Attributes:
        images: how many there are.
        accuracies: top-1, and top-5 where images have five classes or more.
        loss: the mean of -log of the labels' probabilities, in nats.
        loss_error: its standard error; None for one image.
        majority: the most frequent label, the lowest of equals.
        majority_accuracy: the accuracy of always predicting it.
        calibration: of the most probable class.
        confusions: label, prediction and images, the most frequent first, right ones included.
        classes: the result of each class that occurs.
    """

    images: int
    accuracies: tuple[Accuracy, ...]
    loss: float
    loss_error: float | None
    majority: int
    majority_accuracy: float
    calibration: Calibration
    confusions: tuple[Confusion, ...]
    classes: tuple[ClassResult, ...]


def evaluate_predictions(predictions: Predictions) -> Evaluation:
    """Evaluate predictions of at least one image."""
    images = len(predictions)
    confusions = count_confusions(predictions.labels, predictions.predicted)
    classes = class_results(confusions)
    majority = max(classes, key=lambda each: each.images)
    losses = predictions.losses.tolist()
    return Evaluation(
        images,
        tuple(_accuracy(predictions, k) for k in TOP_K if k <= predictions.classes.shape[1]),
        float(np.mean(losses)),
        mean_error(losses),
        majority.class_index,
        majority.images / images,
        calibrate(predictions.confidences, predictions.correct),
        tuple(confusions),
        tuple(classes),
    )


def _accuracy(predictions: Predictions, k: int) -> Accuracy:
    right, images = int((predictions.ranks <= k).sum()), len(predictions)
    value = right / images
    error = standard_error(value, images) or 0.0
    return Accuracy(k, right, value, error, wilson_interval(right, images))


def highest_losses(predictions: Predictions, count: int) -> list[int]:
    """Return the numbers of the images with the highest losses, the worst first."""
    order: list[int] = np.argsort(-predictions.losses, kind="stable")[:count].tolist()
    return order


def lowest_confidences(predictions: Predictions, count: int) -> list[int]:
    """Return the numbers of the images of which the net is least sure, these first."""
    order: list[int] = np.argsort(predictions.confidences, kind="stable")[:count].tolist()
    return order
