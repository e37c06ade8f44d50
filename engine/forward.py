"""The forward loop: every step of a schedule on the blobs of a batch or a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .hooks import Hooks
from .kernels.base import LazyConcat, PaddedPlane, PassContext
from .schedule import Step
from .tape import Tape
from .tensors import whole

Tensor = torch.Tensor


class ForwardPass:
    """One run over a schedule.

    Args:
        context: parameters, random numbers, whether gradients are computed.
        blobs: the tops of the data layers, by name; the tops of layers come in, and released blobs
            go out.
        defer_scores: whether losses and accuracies wait for the whole batch.
        hooks: observers of layers.
        tape: what records every layer for a backward pass of its own, or None.

    Attributes:
        objective: the sum of losses to differentiate; 0.0 where there is none.
        loss: the part of the net's loss that is computed, not deferred.
        deferred: number of a step -> the bottoms of a loss or accuracy that waits.
    """

    def __init__(
        self,
        context: PassContext,
        blobs: dict[str, Any],
        *,
        defer_scores: bool = False,
        hooks: Hooks | None = None,
        tape: Tape | None = None,
    ) -> None:
        self.context, self.blobs = context, blobs
        self.objective: Any = 0.0
        self.loss = 0.0
        self.deferred: dict[int, list[Tensor]] = {}
        self._defer = defer_scores
        self._hooks = hooks or Hooks()
        self._tape = tape

    def run(self, steps: Sequence[Step]) -> None:
        """Run every step."""
        for number, step in enumerate(steps):
            bottoms = self._bottoms(step)
            if step.kernel.reduces and self._defer:
                self._defer_score(number, step, bottoms)
            else:
                self._run_step(step, bottoms)
            for name in step.release:
                self.blobs.pop(name, None)

    def _bottoms(self, step: Step) -> list[Any]:
        """Return the bottoms of a step: whole where the kernel takes no lazy blob, cut off where
        no gradient flows down."""
        kernel = step.kernel
        bottoms = []
        for name, stopped in zip(step.bottoms, step.stop_gradient, strict=True):
            value = self.blobs[name]
            if (isinstance(value, LazyConcat) and not kernel.accepts_lazy_concat) or (
                isinstance(value, PaddedPlane) and not kernel.accepts_padded_plane
            ):
                value = self.blobs[name] = value.whole()
            cut = stopped and self.context.gradients and self._tape is None
            bottoms.append(value.detach() if cut else value)
        return bottoms

    def _defer_score(self, number: int, step: Step, bottoms: list[Tensor]) -> None:
        self.deferred[number] = [bottom.detach() for bottom in bottoms]
        if self.context.gradients and step.is_loss:
            term = step.loss_weights[0] * step.kernel.objective(self.context, bottoms)
            self.objective = self.objective + term

    def _run_step(self, step: Step, bottoms: list[Any]) -> None:
        if self._hooks and step.layer.name in self._hooks:
            tops = self._observe(step, [whole(bottom) for bottom in bottoms])
        else:
            tops = self._compute(step, bottoms)
        self.blobs.update(zip(step.tops, tops, strict=True))
        for weight, top in zip(step.loss_weights, tops, strict=True):
            if weight:
                term = weight * whole(top).sum()
                self.loss += float(term.detach())
                self.objective = self.objective + term

    def _observe(self, step: Step, bottoms: list[Tensor]) -> list[Any]:
        """Run a step between the calls of its hooks."""
        layer, hooks = step.layer, self._hooks.of(step.layer)
        for hook in hooks:
            hook.before_forward(layer, bottoms)
        tops: Sequence[Any] = [whole(top) for top in self._compute(step, bottoms)]
        for hook in hooks:
            replaced = hook.after_forward(layer, tops)
            tops = tops if replaced is None else replaced
        return list(tops)

    def _compute(self, step: Step, bottoms: list[Any]) -> list[Any]:
        if self._tape is not None:
            bottoms = self._tape.enter(step, [whole(bottom) for bottom in bottoms])
        parameters = [self.context.weights.tensors[index] for index in step.parameters]
        tops = step.kernel.forward(self.context, bottoms, parameters)
        if step.kernel.reduces and self.context.gradients and step.is_loss:
            # The value that Caffe reports, with the gradient that Caffe uses.
            smooth = step.kernel.objective(self.context, bottoms)
            tops[0] = smooth + (tops[0] - smooth).detach()
        if self._tape is not None:
            tops = [whole(top) for top in tops]
            self._tape.leave(step, bottoms, tops)
        return tops
