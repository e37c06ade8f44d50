"""The forward pass: every step of a schedule on the blobs of a batch or a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .hooks import Hooks
from .kernels.base import BlobValue, LazyConcat, PaddedPlane, PassContext, materialize
from .schedule import Step
from .tape import Tape

Tensor = torch.Tensor


class ForwardPass:
    """One run of a schedule.

    Args:
        context: parameters, random numbers, whether a backward pass follows.
        blobs: the tops of the data layers, by name; `run` adds the tops of other layers and removes
            released blobs.
        defer_scores: whether losses and accuracies wait for the whole batch.
        hooks: observers of layers.
        tape: records every layer for a backward pass layer by layer; or None.

    Attributes:
        objective: the sum of losses to differentiate; None where there is none.
        loss: the part of the net's loss that was computed, not deferred.
        deferred: number of a step -> the bottoms of its deferred loss or accuracy.
    """

    def __init__(
        self,
        context: PassContext,
        blobs: dict[str, BlobValue],
        *,
        defer_scores: bool = False,
        hooks: Hooks | None = None,
        tape: Tape | None = None,
    ) -> None:
        self.context, self.blobs = context, blobs
        self.objective: Tensor | None = None
        self.loss = 0.0
        self.deferred: dict[int, list[Tensor]] = {}
        self._defer_scores = defer_scores
        self._hooks = hooks or Hooks()
        self._tape = tape

    def run(self, steps: Sequence[Step]) -> None:
        """Run every step."""
        for number, step in enumerate(steps):
            bottoms = self._read_bottoms(step)
            if step.kernel.reduces and self._defer_scores:
                self._defer(number, step, [materialize(bottom) for bottom in bottoms])
            else:
                self._run_step(step, bottoms)
            for name in step.release:
                self.blobs.pop(name, None)

    def _read_bottoms(self, step: Step) -> list[BlobValue]:
        """Return the bottoms of a step.

        They are lazy only where the kernel accepts that, and detached where no gradient flows down.
        """
        kernel = step.kernel
        bottoms: list[BlobValue] = []
        for name, stopped in zip(step.bottoms, step.stop_gradient, strict=True):
            value = self.blobs[name]
            if (isinstance(value, LazyConcat) and not kernel.accepts_lazy_concat) or (
                isinstance(value, PaddedPlane) and not kernel.accepts_padded_plane
            ):
                value = self.blobs[name] = value.materialize()
            # A tape detaches every bottom itself.
            detaches = stopped and self.context.gradients and self._tape is None
            bottoms.append(materialize(value).detach() if detaches else value)
        return bottoms

    def _defer(self, number: int, step: Step, bottoms: list[Tensor]) -> None:
        """Keep the bottoms of a score; add the micro-batch's part of a loss to the objective."""
        self.deferred[number] = [bottom.detach() for bottom in bottoms]
        if self.context.gradients and step.is_loss:
            loss = step.kernel.objective(self.context, bottoms)
            self._add_to_objective(step.loss_weights[0] * loss)

    def _add_to_objective(self, term: Tensor) -> None:
        self.objective = term if self.objective is None else self.objective + term

    def _run_step(self, step: Step, bottoms: list[BlobValue]) -> None:
        if self._hooks and step.layer.name in self._hooks:
            tops: Sequence[BlobValue] = self._observe(step, list(map(materialize, bottoms)))
        else:
            tops = self._compute(step, bottoms)
        self.blobs.update(zip(step.tops, tops, strict=True))
        for weight, top in zip(step.loss_weights, tops, strict=True):
            if weight:
                term = weight * materialize(top).sum()
                self.loss += float(term.detach())
                self._add_to_objective(term)

    def _observe(self, step: Step, bottoms: Sequence[Tensor]) -> Sequence[Tensor]:
        """Run a step between the calls of its hooks; return the tops, or their replacements."""
        layer, hooks = step.layer, self._hooks.of(step.layer)
        for hook in hooks:
            hook.before_forward(layer, bottoms)
        tops: Sequence[Tensor] = [materialize(top) for top in self._compute(step, bottoms)]
        for hook in hooks:
            replacements = hook.after_forward(layer, tops)
            tops = tops if replacements is None else replacements
        return tops

    def _compute(self, step: Step, bottoms: Sequence[BlobValue]) -> Sequence[BlobValue]:
        """Return the tops of a step; record it if there is a tape."""
        if self._tape is None:
            return self._call_kernel(step, bottoms)
        leaves = self._tape.detach_bottoms(step, [materialize(bottom) for bottom in bottoms])
        tops = [materialize(top) for top in self._call_kernel(step, leaves)]
        self._tape.record_layer(step, leaves, tops)
        return tops

    def _call_kernel(self, step: Step, bottoms: Sequence[BlobValue]) -> Sequence[BlobValue]:
        parameters = [self.context.weights.tensors[index] for index in step.parameters]
        tops = step.kernel.forward(self.context, list(bottoms), parameters)
        if not (step.kernel.reduces and self.context.gradients and step.is_loss):
            return tops
        # The value that Caffe reports, with the gradient that Caffe uses.
        smooth = step.kernel.objective(self.context, [materialize(bottom) for bottom in bottoms])
        loss = smooth + (materialize(tops[0]) - smooth).detach()
        return [loss, *tops[1:]]
