"""The optimizers: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam (src/caffe/solvers/*.cpp).

Unlike in most libraries the history includes the learning rate: h = momentum * h + rate * g,
w -= h. Both forms agree while the rate is constant. An update leaves the amount subtracted in
`grad`, which Caffe saves as diff.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import torch

from ..nets.solver_rules import HISTORY_BLOBS
from ..text import number_text
from . import glog
from .constraints import Constrained
from .parameters import Parameter

if TYPE_CHECKING:
    from ..formats.schema import SolverParameter

Tensor = torch.Tensor


@dataclass
class StepParams:
    """The hyperparameters of one step; `rate` includes the parameter's lr_mult."""

    momentum: float
    momentum2: float
    delta: float
    rms_decay: float
    rate: float
    iteration: int

    @classmethod
    def of(cls, solver: SolverParameter, rate: float, iteration: int) -> StepParams:
        """Read them from a SolverParameter."""
        return cls(
            solver.momentum, solver.momentum2, solver.delta, solver.rms_decay, rate, iteration
        )


# (params, gradient, history) -> the amount to subtract; updates the history in place.
Rule = Callable[[StepParams, Tensor, list[Tensor]], Tensor]


def _sgd(params: StepParams, g: Tensor, history: list[Tensor]) -> Tensor:
    return history[0].mul_(params.momentum).add_(g, alpha=params.rate)


def _nesterov(params: StepParams, g: Tensor, history: list[Tensor]) -> Tensor:
    """(1 + momentum) * h_new - momentum * h_old."""
    momentum = params.momentum
    previous = history[0] * momentum
    history[0].mul_(momentum).add_(g, alpha=params.rate)
    return history[0] * (1 + momentum) - previous


def _adagrad(params: StepParams, g: Tensor, history: list[Tensor]) -> Tensor:
    history[0].addcmul_(g, g)
    return params.rate * (g / (history[0].sqrt() + params.delta))


def _rmsprop(params: StepParams, g: Tensor, history: list[Tensor]) -> Tensor:
    decay = params.rms_decay
    history[0].mul_(decay).addcmul_(g, g, value=1 - decay)
    return params.rate * (g / (history[0].sqrt() + params.delta))


def _adadelta(params: StepParams, g: Tensor, history: list[Tensor]) -> Tensor:
    """Zeiler, arXiv:1212.5701; the solver's rate multiplies the step."""
    momentum, delta = params.momentum, params.delta
    history[0].mul_(momentum).addcmul_(g, g, value=1 - momentum)
    step = g * ((history[1] + delta) / (history[0] + delta)).sqrt()
    history[1].mul_(momentum).addcmul_(step, step, value=1 - momentum)
    return step * params.rate


def _adam(params: StepParams, g: Tensor, history: list[Tensor]) -> Tensor:
    """Kingma and Ba, arXiv:1412.6980v8; delta is added to the root before the bias correction."""
    beta1, beta2, time = params.momentum, params.momentum2, params.iteration + 1
    correction = sqrt(1 - beta2**time) / (1 - beta1**time)
    history[0].mul_(beta1).add_(g, alpha=1 - beta1)
    history[1].mul_(beta2).addcmul_(g, g, value=1 - beta2)
    return history[0] / (history[1].sqrt() + params.delta) * (params.rate * correction)


_RULES: dict[str, Rule] = {
    "SGD": _sgd,
    "Nesterov": _nesterov,
    "AdaGrad": _adagrad,
    "RMSProp": _rmsprop,
    "AdaDelta": _adadelta,
    "Adam": _adam,
}


class Optimizer:
    """SGDSolver::ApplyUpdate: clip, normalize and regularize gradients, then step.

    Args:
        solver: the SolverParameter.
        parameters: those of the net.
        constrained: one a parameter, None where it has no constraint.
    """

    def __init__(
        self,
        solver: SolverParameter,
        parameters: Sequence[Parameter],
        constrained: Sequence[Constrained | None] = (),
    ) -> None:
        self.solver = solver
        self._of = list(constrained) or [None] * len(parameters)
        self._constrained = [each for each in self._of if each]
        self.parameters = [
            each.numbers if each else parameter
            for parameter, each in zip(parameters, self._of, strict=True)
        ]
        self.rule, self.history_blobs = _RULES[solver.type], HISTORY_BLOBS[solver.type]
        self._history = [
            torch.zeros_like(p.data) for _ in range(self.history_blobs) for p in self.parameters
        ]

    def impose(self) -> None:
        """Give constrained parameters values that obey, from those that they have."""
        with torch.no_grad():
            for each in self._constrained:
                each.impose()

    def apply(self, rate: float, iteration: int) -> None:
        """Update every parameter from its gradient at this learning rate."""
        with torch.no_grad():
            for each in self._constrained:
                each.collect()
            self._clip()
            for index, parameter in enumerate(self.parameters):
                self._update(index, parameter, rate, iteration)
            for each in self._constrained:
                each.distribute(self.solver.snapshot_diff)

    def _update(self, index: int, parameter: Parameter, rate: float, iteration: int) -> None:
        if parameter.grad is None:
            # As in Caffe, weight decay enters the history even where the rate is 0.
            if not (parameter.learned or self._decay(parameter)):
                return
            parameter.grad = torch.zeros_like(parameter.data)
        g = parameter.grad
        if self.solver.iter_size > 1:
            g.mul_(1 / self.solver.iter_size)
        self._regularize(parameter, g, self._of[index])
        params = StepParams.of(self.solver, rate * parameter.lr_mult, iteration)
        parameter.grad = self.rule(params, g, self._history[index :: len(self.parameters)])
        parameter.data.sub_(parameter.grad)

    # The history, in the order of a solver state: each parameter's first blob, then the second ones

    def history(self) -> list[Tensor]:
        """Return the history in the parameters' shapes; zero for weights that are constant."""
        return [
            constrained.spread(blob) if constrained else blob
            for blob, constrained in zip(self._history, self._of_history(), strict=True)
        ]

    def own_history(self) -> list[Tensor]:
        """Return the history as it is kept: of what is learned, not of what obeys constraints."""
        return self._history

    def load_history(self, blobs: Iterable[Tensor]) -> None:
        """Take a history of `history`'s shapes."""
        for own, blob, constrained in zip(self._history, blobs, self._of_history(), strict=True):
            own.copy_(constrained.gather(blob.to(own)) if constrained else blob)

    def _of_history(self) -> list[Constrained | None]:
        return self._of * self.history_blobs

    def _clip(self) -> None:
        """Scale all gradients to a joint L2 norm, before dividing by iter_size (ClipGradients)."""
        limit = self.solver.clip_gradients
        if limit < 0:
            return
        squares = [
            float((p.grad.double() ** 2).sum()) for p in self.parameters if p.grad is not None
        ]
        norm = sqrt(sum(squares))
        if norm > limit:
            factor = limit / norm
            glog.info(
                f"Gradient clipping: scaling down gradients (L2 norm {number_text(norm)} >"
                f" {number_text(limit)}) by scale factor {number_text(factor)}",
                "sgd_solver.cpp:99",
            )
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def _regularize(self, parameter: Parameter, g: Tensor, constrained: Constrained | None) -> None:
        """Add the decay; a shared value's is its members' together."""
        decay = self._decay(parameter)
        if not decay:
            return
        is_l1 = self.solver.regularization_type == "L1"
        term = parameter.data.sign() if is_l1 else parameter.data
        if constrained is not None:
            term = term * constrained.members
        g.add_(term, alpha=decay)

    def _decay(self, parameter: Parameter) -> float:
        return float(self.solver.weight_decay * parameter.decay_mult)
