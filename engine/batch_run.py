"""One batch through a schedule: whole, or in micro-batches on several threads."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .forward import ForwardPass
from .hooks import Hooks
from .input_batch import InputBlob
from .kernels.base import PassContext, PassWeights
from .microbatch import loss_normalizers
from .schedule import Step
from .tensors import joined, whole
from .workers import Piece, Workers

Tensor = torch.Tensor
# Loss, blobs by name, and each worker's gradients of the parameters that have some.
Outcome = tuple[float, dict[str, Tensor], list[list[Tensor | None]]]


@dataclass
class _WorkerResult:
    """What one worker's micro-batches left."""

    blobs: list[dict[str, Tensor]] = field(default_factory=list)
    deferred: list[dict[int, list[Tensor]]] = field(default_factory=list)
    loss: float = 0.0
    gradients: list[Tensor | None] = field(default_factory=list)


@dataclass(frozen=True)
class BatchRun:
    """A batch and how it runs.

    Attributes:
        steps: the schedule.
        inputs: the blobs of the data layers.
        weights: the parameters.
        gradients: whether to differentiate the loss.
        keep: names of the blobs to return.
        hooks: observers of layers.
        random_key: record -> what random numbers depend on from there on.
        dtype: of the inputs.
        device: to compute on.
    """

    steps: Sequence[Step]
    inputs: Mapping[str, InputBlob]
    weights: PassWeights
    gradients: bool
    keep: Container[str]
    hooks: Hooks
    random_key: Callable[[int], tuple[int, int, int]]
    dtype: torch.dtype
    device: torch.device

    @property
    def records(self) -> int:
        """Records in the batch."""
        return next((blob.records for blob in self.inputs.values()), 1)

    @property
    def is_rectangular(self) -> bool:
        """Whether every input blob has the same number of records."""
        return all(blob.records == self.records for blob in self.inputs.values())

    def whole(self, workers: Workers) -> Outcome:
        """Run the batch unsplit; PyTorch spreads each layer over the cores."""

        def work(pieces: list[Piece]) -> _WorkerResult:
            result = _WorkerResult()
            self._run(result, None, {})
            return result

        (result,) = workers.run(work, [[(0, self.records)]])
        return result.loss, result.blobs[0], [result.gradients] if self.gradients else []

    def in_micro_batches(self, workers: Workers, record_bytes: int) -> Outcome:
        """Run the batch in micro-batches, and the scores on what they left.

        Args:
            workers: the threads.
            record_bytes: of the largest blob of one record.
        """
        shares = workers.pieces(self.records, record_bytes)
        normalizers = {}
        if self.gradients:
            normalizers = loss_normalizers(self.steps, self.inputs, self.records)

        def work(pieces: list[Piece]) -> _WorkerResult:
            result = _WorkerResult()
            for piece in pieces:
                self._run(result, piece, normalizers)
            return result

        results = workers.run(work, shares)
        # In the order of their records.
        order = sorted(
            (piece, worker, place)
            for worker, pieces in enumerate(shares)
            for place, piece in enumerate(pieces)
        )
        parts = [results[worker].blobs[place] for _, worker, place in order]
        blobs = {name: joined([part[name] for part in parts]) for name in parts[0]}
        deferred = [results[worker].deferred[place] for _, worker, place in order]
        loss = sum(result.loss for result in results) + self._score(blobs, deferred)
        return loss, blobs, [result.gradients for result in results] if self.gradients else []

    def _run(
        self, result: _WorkerResult, piece: Piece | None, normalizers: dict[str, float]
    ) -> None:
        """Run one micro-batch; None is the whole batch."""
        first = piece[0] if piece is not None else 0
        context = PassContext(self.weights, self.gradients, self.random_key(first), normalizers)
        with torch.set_grad_enabled(self.gradients), torch.inference_mode(not self.gradients):
            blobs: dict[str, Any] = {}
            for name, blob in self.inputs.items():
                start, end = piece or (0, blob.records)
                blobs[name] = blob.part(start, end, self.dtype, self.device)
            forward = ForwardPass(context, blobs, defer_scores=piece is not None, hooks=self.hooks)
            forward.run(self.steps)
            result.blobs.append(
                {name: whole(blob).detach() for name, blob in blobs.items() if name in self.keep}
            )
            result.deferred.append(forward.deferred)
            result.loss += forward.loss
            blobs.clear()
            if self.gradients:
                self._differentiate(result, forward.objective)

    def _differentiate(self, result: _WorkerResult, objective: Any) -> None:
        """Add the gradients of a micro-batch to its worker's."""
        wanted = [tensor for tensor in self.weights.tensors if tensor.requires_grad]
        if not isinstance(objective, torch.Tensor) or not objective.requires_grad:
            return
        gradients = torch.autograd.grad(objective, wanted, allow_unused=True)
        if not result.gradients:
            result.gradients = [
                # A copy: two parameters may share one gradient tensor.
                None if g is None else g.to(self.dtype, copy=True)
                for g in gradients
            ]
            return
        for index, (total, g) in enumerate(zip(result.gradients, gradients, strict=True)):
            if g is not None:
                result.gradients[index] = g if total is None else total.add_(g)

    def _score(
        self, blobs: dict[str, Tensor], deferred: Sequence[dict[int, list[Tensor]]]
    ) -> float:
        """Run losses and accuracies on the whole batch; return their part of the loss."""
        loss = 0.0
        context = PassContext(PassWeights([]), False, self.random_key(0))
        for number, step in enumerate(self.steps):
            if not step.kernel.reduces:
                continue
            columns = zip(*(bottoms[number] for bottoms in deferred), strict=True)
            bottoms = [joined(list(column)) for column in columns]
            with torch.inference_mode():
                tops = step.kernel.forward(context, bottoms, [])
            for name, weight, top in zip(step.tops, step.loss_weights, tops, strict=True):
                blobs[name] = top
                loss += weight * float(top.sum()) if weight else 0.0
        return loss
