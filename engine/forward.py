"""The forward pass: every step of a schedule on the blobs of a batch or a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..nets.layer_types import AUTOMATIC
from .hooks import Hooks
from .kernels.base import (
    BlobValue,
    BottomChange,
    PaddedPlane,
    PassContext,
    ScoreCounts,
    map_lazy,
    materialize,
)
from .kernels.codes import Codes, Encoder
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
        score_counts: blob of a loss or accuracy -> what it is a mean of; without gradients only.
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
        self.score_counts: dict[str, ScoreCounts] = {}
        self._defer_scores = defer_scores
        self._hooks = hooks or Hooks()
        self._tape = tape
        self._last: tuple[BlobValue, BottomChange | Encoder, BlobValue] | None = None

    def run(self, steps: Sequence[Step]) -> None:
        """Run every step."""
        for number, step in enumerate(steps):
            if step.kernel.quantizes_bottoms:
                self._quantize_bottoms(step)
            bottoms = self._read_bottoms(step)
            if step.kernel.reduces and self._defer_scores:
                self._defer(number, step, [materialize(bottom) for bottom in bottoms])
            else:
                self.run_step(step, bottoms)
            for name in step.release:
                self.blobs.pop(name, None)

    def _quantize_bottoms(self, step: Step) -> None:
        """Quantize the bottoms of a step where they are, and the blobs that share their data."""
        for index, (name, others) in enumerate(zip(step.bottoms, step.sharing, strict=True)):
            value = step.kernel.quantize_bottom(self.context, index, self.blobs[name])
            self.blobs[name] = value
            for other in others:
                if other in self.blobs and other != name:
                    shape = materialize(self.blobs[other]).shape
                    self.blobs[other] = materialize(value).reshape(shape)

    def _read_bottoms(self, step: Step) -> list[BlobValue]:
        """Return the bottoms of a step.

        They are lazy only where the kernel accepts that, and detached where no gradient flows down.
        """
        kernel = step.kernel
        bottoms: list[BlobValue] = []
        for name, stopped in zip(step.bottoms, step.stop_gradient, strict=True):
            value = self.blobs[name]
            if not isinstance(value, torch.Tensor) and not kernel.accepts(value):
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

    def run_step(self, step: Step, bottoms: list[BlobValue]) -> None:
        """Run a step on these bottoms; add its tops to the blobs and its losses to the loss."""
        if step.layer.name in self._hooks or self._tape is not None:
            tops: Sequence[BlobValue] = self._run_alone(step, list(map(materialize, bottoms)))
        else:
            tops = self._call_kernel(step, bottoms)
        if step.kernel.reduces and not self.context.gradients:
            counts = step.kernel.score_counts(list(map(materialize, bottoms)))
            self.score_counts |= dict.fromkeys(step.tops, counts)
        for name, weight, top in zip(step.tops, step.loss_weights, tops, strict=True):
            if name != AUTOMATIC:
                self.blobs[name] = top
            if weight:
                self._add_loss(weight * materialize(top).sum())

    def _add_loss(self, term: Tensor) -> None:
        self.loss += float(term.detach())
        if self.context.gradients and self._tape is None:
            self._add_to_objective(term)

    def _run_alone(self, step: Step, bottoms: list[Tensor]) -> Sequence[Tensor]:
        """Run a step between the calls of its hooks, and record what they leave on the tape."""
        if self._tape is not None:
            bottoms = self._tape.detach_bottoms(step, bottoms)
        self._hooks.before_forward(step.layer, bottoms)
        tops = [materialize(top) for top in self._call_kernel(step, bottoms)]
        tops = list(self._hooks.after_forward(step.layer, tops))
        if self._tape is not None:
            self._tape.record_layer(step, bottoms, tops)
        return tops

    def _call_kernel(self, step: Step, bottoms: Sequence[BlobValue]) -> Sequence[BlobValue]:
        parameters = [self.context.weights.tensors[index] for index in step.parameters]
        change = step.kernel.encoder or self.context.weights.bottoms.get(step.layer.name)
        if change is not None:
            bottoms = [self._changed(bottom, change) for bottom in bottoms]
        return step.kernel.forward(self.context, list(bottoms), parameters)

    def _changed(self, bottom: BlobValue, change: BottomChange | Encoder) -> BlobValue:
        """Return a bottom as its reader gets it; the last is kept, since two may read it alike."""
        last = self._last
        if last is not None and last[0] is bottom and last[1] == change:
            return last[2]
        value = bottom.materialize() if isinstance(bottom, PaddedPlane) else bottom
        changed: BlobValue
        if isinstance(change, Encoder):
            changed = change(value if isinstance(value, Codes) else materialize(value))
        else:
            assert not isinstance(value, Codes)  # a kernel that accepts them has an encoder
            changed = map_lazy(change, value)
        self._last = bottom, change, changed
        return changed
