"""The learning rate of an iteration (SGDSolver::GetLearningRate).

Each policy is computed in float or double, as Caffe's C++ has it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import glog

if TYPE_CHECKING:
    from ..formats.schema import SolverParameter


class LearningRate:
    """The learning rate policy of a solver; `current_step` is Caffe's, kept in solver states."""

    def __init__(self, solver: SolverParameter, current_step: int = 0) -> None:
        self.solver = solver
        self.current_step = current_step

    def at(self, iteration: int) -> float:
        """Return the rate, rounded to float32 as in Caffe."""
        solver = self.solver
        base, gamma, power = solver.base_lr, solver.gamma, solver.power
        policy = solver.lr_policy
        if policy == "step":
            self.current_step = iteration // solver.stepsize
            factor = _power(gamma, self.current_step)
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
        if self.current_step < len(values) and iteration >= values[self.current_step]:
            self.current_step += 1
            glog.info(
                f"MultiStep Status: Iteration {iteration}, step = {self.current_step}",
                "sgd_solver.cpp:50",
            )
        return _power(self.solver.gamma, self.current_step)


def _sigmoid(x: float) -> float:
    return _float(1 / _float(1 + _float(math.exp(-x)))) if x > -88 else 0.0


def _power(base: float, exponent: float) -> float:
    """Compute C's pow: an overflow is infinite."""
    try:
        return float(base**exponent)
    except (OverflowError, ZeroDivisionError):
        return math.inf


def _float(value: float) -> float:
    """Round to float32."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))
