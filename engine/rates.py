"""The learning rate at an iteration (SGDSolver::GetLearningRate)."""

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
            factor = gamma**self.step
        elif policy == "exp":
            factor = gamma**iteration
        elif policy == "inv":
            factor = (1 + gamma * iteration) ** -power
        elif policy == "multistep":
            factor = self._multistep(iteration)
        elif policy == "poly":
            factor = max(0.0, 1 - iteration / solver.max_iter) ** power
        elif policy == "sigmoid":
            factor = _sigmoid(gamma * (iteration - solver.stepsize))
        else:
            factor = 1.0
        return float(np.float32(base * factor))

    def _multistep(self, iteration: int) -> float:
        values = self.solver.stepvalue
        if self.step < len(values) and iteration >= values[self.step]:
            self.step += 1
            glog.info(
                f"MultiStep Status: Iteration {iteration}, step = {self.step}", "sgd_solver.cpp:51"
            )
        return float(self.solver.gamma**self.step)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
