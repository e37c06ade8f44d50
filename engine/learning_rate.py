"""The learning rate at an iteration (SGDSolver::GetLearningRate).

Caffe computes it in float, or in double, as the C++ of each policy has it; so it is done here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import glog


class LearningRate:
    """The policy of a solver; `step` is Caffe's current_step, which a solver state keeps."""

    def __init__(self, solver: Any, step: int = 0) -> None:
        self.solver = solver
        self.step = step

    def at(self, iteration: int) -> float:
        """The rate, rounded to float32 as Caffe computes it."""
        solver = self.solver
        base, gamma, power = solver.base_lr, solver.gamma, solver.power
        policy = solver.lr_policy
        if policy == "step":
            self.step = iteration // solver.stepsize
            factor = _power(gamma, self.step)
        elif policy == "exp":
            factor = _power(gamma, iteration)
        elif policy == "inv":
            factor = _float(_power(_float(1 + _float(gamma * iteration)), -power))
        elif policy == "multistep":
            factor = self._multistep(iteration)
        elif policy == "poly":
            left = _float(1 - _float(_float(iteration) / _float(solver.max_iter)))
            factor = _float(_power(max(0.0, left), power))
        elif policy == "sigmoid":
            factor = _sigmoid(_float(gamma * (iteration - solver.stepsize)))
        else:
            factor = 1.0
        return _float(base * factor)

    def _multistep(self, iteration: int) -> float:
        values = self.solver.stepvalue
        if self.step < len(values) and iteration >= values[self.step]:
            self.step += 1
            glog.info(
                f"MultiStep Status: Iteration {iteration}, step = {self.step}", "sgd_solver.cpp:51"
            )
        return _power(self.solver.gamma, self.step)


def _sigmoid(x: float) -> float:
    return _float(1 / _float(1 + _float(math.exp(-x)))) if x > -88 else 0.0


def _power(base: float, exponent: float) -> float:
    """As C's pow: what is too large is infinite."""
    try:
        return float(base**exponent)
    except (OverflowError, ZeroDivisionError):
        return math.inf


def _float(value: float) -> float:
    """Rounded to float32."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))
