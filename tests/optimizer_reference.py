"""The rules of the optimizers in float64, written from the papers and Caffe's docs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")


def reference(
    kind: str, solver: Any, w: Array, h: list[Array], g: Array, rate: float, time: int
) -> tuple[Array, list[Array]]:
    """New weights and history of one update; `time` counts from 1."""
    mu, beta, delta, decay = solver.momentum, solver.momentum2, solver.delta, solver.rms_decay
    if kind == "SGD":
        step = mu * h[0] + rate * g
        return w - step, [step]
    if kind == "Nesterov":
        velocity = mu * h[0] + rate * g
        return w - ((1 + mu) * velocity - mu * h[0]), [velocity]
    if kind == "AdaGrad":
        total = h[0] + g**2
        return w - rate * g / (np.sqrt(total) + delta), [total]
    if kind == "RMSProp":
        total = decay * h[0] + (1 - decay) * g**2
        return w - rate * g / (np.sqrt(total) + delta), [total]
    if kind == "AdaDelta":
        squares = mu * h[0] + (1 - mu) * g**2
        step = g * np.sqrt((h[1] + delta) / (squares + delta))
        return w - rate * step, [squares, mu * h[1] + (1 - mu) * step**2]
    mean, square = mu * h[0] + (1 - mu) * g, beta * h[1] + (1 - beta) * g**2
    corrected = rate * math.sqrt(1 - beta**time) / (1 - mu**time)
    return w - corrected * mean / (np.sqrt(square) + delta), [mean, square]
