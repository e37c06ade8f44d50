"""One batch through a schedule: whole, or in micro-batches on several threads."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch

from .forward import ForwardPass
from .hooks import Hooks
from .input_batch import InputBlob
from .kernels.base import BlobValue, PassContext, PassWeights, ScoreCounts, materialize
from .microbatch import loss_normalizers
from .schedule import Step
from .tensors import join_batches
from .workers import RecordRange, Workers

Tensor = torch.Tensor
OnGradient = Callable[[int, Tensor], None]  # number of the parameter among those learned, gradient


class Outcome(NamedTuple):
    """The result of a batch.

    Attributes:
        loss: of the whole batch.
        blobs: the kept blobs by name, (batch, ...).
        gradients: for each worker, one per learned parameter in their order, or an empty list;
            None where a parameter gets none.
        score_counts: blob of a loss or accuracy -> what it is a mean of, without gradients.
    """

    loss: float
    blobs: dict[str, Tensor]
    gradients: list[list[Tensor | None]]
    score_counts: dict[str, ScoreCounts]


@dataclass
class _WorkerResult:
    """The results of one worker's micro-batches; lists have an entry per micro-batch.

    Attributes:
        blobs: the kept blobs.
        deferred: number of a step -> the bottoms of its loss or accuracy.
        loss: the sum of losses that were not deferred.
        gradients: summed, one per learned parameter; empty before the first.
        score_counts: of the losses and accuracies that were not deferred.
    """

    blobs: list[dict[str, Tensor]] = field(default_factory=list)
    deferred: list[dict[int, list[Tensor]]] = field(default_factory=list)
    loss: float = 0.0
    gradients: list[Tensor | None] = field(default_factory=list)
    score_counts: dict[str, ScoreCounts] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchRun:
    """A batch and how it runs.

    Attributes:
        steps: the schedule.
        inputs: the blobs of the data layers.
        weights: the parameters.
        gradients: whether to differentiate the loss.
        labels: number of a loss layer -> the input with its labels; for micro-batches.
        keep: names of the blobs to return.
        hooks: observers of layers.
        random_key: first record of a micro-batch -> the key of its random numbers.
        dtype: of the inputs.
        device: of the inputs and parameters.
        keeps_nan: whether no kernel may hide nan.
        on_gradient: gets each gradient of a batch that runs whole, as soon as it is computed.
    """

    steps: Sequence[Step]
    inputs: Mapping[str, InputBlob]
    weights: PassWeights
    gradients: bool
    labels: Mapping[int, str]
    keep: Container[str]
    hooks: Hooks
    random_key: Callable[[int], tuple[int, int, int]]
    dtype: torch.dtype
    device: torch.device
    keeps_nan: bool = False
    on_gradient: OnGradient | None = None

    @property
    def records(self) -> int:
        """Records in the batch."""
        return next((blob.records for blob in self.inputs.values()), 1)

    @property
    def has_one_batch_size(self) -> bool:
        """Whether every input blob has the same number of records."""
        return all(blob.records == self.records for blob in self.inputs.values())

    def run_whole(self, workers: Workers) -> Outcome:
        """Run the batch unsplit; PyTorch spreads each layer over the cores."""

        def work(ranges: list[RecordRange]) -> _WorkerResult:
            result = _WorkerResult()
            self._run(result, None, {})
            return result

        (result,) = workers.run(work, [[(0, self.records)]])
        gradients = [result.gradients] if self.gradients else []
        return Outcome(result.loss, result.blobs[0], gradients, result.score_counts)

    def run_in_micro_batches(self, workers: Workers, record_bytes: int) -> Outcome:
        """Run the batch in micro-batches, then losses and accuracies on their joined bottoms.

        Args:
            workers: the threads.
            record_bytes: bytes of the largest blob of one record.
        """
        shares = workers.split_batch(self.records, record_bytes)
        normalizers: dict[int, float] = {}
        if self.gradients:
            normalizers = loss_normalizers(
                self.steps, self.labels, self.inputs, self.records, self.dtype
            )

        def work(ranges: list[RecordRange]) -> _WorkerResult:
            result = _WorkerResult()
            for records in ranges:
                self._run(result, records, normalizers)
            return result

        results = workers.run(work, shares)
        order = sorted(  # by record, whichever worker computed it
            (records, worker, place)
            for worker, ranges in enumerate(shares)
            for place, records in enumerate(ranges)
        )
        parts = [results[worker].blobs[place] for _, worker, place in order]
        blobs = {name: join_batches([part[name] for part in parts]) for name in parts[0]}
        deferred = [results[worker].deferred[place] for _, worker, place in order]
        scores = self._compute_scores(deferred)
        loss = sum(result.loss for result in results) + scores.loss
        gradients = [result.gradients for result in results] if self.gradients else []
        blobs |= self._kept(scores.blobs)
        return Outcome(loss, blobs, gradients, scores.score_counts)

    def _run(
        self, result: _WorkerResult, records: RecordRange | None, normalizers: dict[int, float]
    ) -> None:
        """Run the micro-batch of these records, or the whole batch; add its results to `result`."""
        first = records[0] if records is not None else 0
        key = self.random_key(first)
        context = PassContext(self.weights, self.gradients, key, normalizers, self.keeps_nan)
        with torch.set_grad_enabled(self.gradients), torch.inference_mode(not self.gradients):
            blobs: dict[str, BlobValue] = {}
            for name, blob in self.inputs.items():
                start, end = records or (0, blob.records)
                blobs[name] = blob.slice_records(start, end, self.dtype, self.device)
            forward = ForwardPass(
                context, blobs, defer_scores=records is not None, hooks=self.hooks
            )
            forward.run(self.steps)
            result.blobs.append(self._kept(blobs))
            result.deferred.append(forward.deferred)
            result.loss += forward.loss
            result.score_counts |= forward.score_counts
            blobs.clear()
            if self.gradients:
                with self._telling_gradients(records is None):
                    self._differentiate(result, forward.objective)

    @contextmanager
    def _telling_gradients(self, is_whole: bool) -> Iterator[None]:
        """Call `on_gradient` with what a backward pass computes."""
        handles = []
        if is_whole and self.on_gradient is not None:
            learned = (tensor for tensor in self.weights.tensors if tensor.requires_grad)
            handles = [
                tensor.register_hook(partial(self.on_gradient, number))  # type: ignore[no-untyped-call]
                for number, tensor in enumerate(learned)
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _differentiate(self, result: _WorkerResult, objective: Tensor | None) -> None:
        """Add the gradients of a micro-batch's objective to its worker's."""
        learned = [tensor for tensor in self.weights.tensors if tensor.requires_grad]
        if objective is None or not objective.requires_grad:
            return
        gradients = torch.autograd.grad(objective, learned, allow_unused=True)
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

    def _compute_scores(self, deferred: Sequence[dict[int, list[Tensor]]]) -> ForwardPass:
        """Run losses and accuracies on the whole batch."""
        context = PassContext(PassWeights([]), False, self.random_key(0))
        forward = ForwardPass(context, {}, hooks=self.hooks)
        with torch.inference_mode():
            for number, step in enumerate(self.steps):
                if step.kernel.reduces:
                    columns = zip(*(bottoms[number] for bottoms in deferred), strict=True)
                    forward.run_step(step, [join_batches(list(column)) for column in columns])
        return forward

    def _kept(self, blobs: Mapping[str, BlobValue]) -> dict[str, Tensor]:
        return {
            name: materialize(blob).detach() for name, blob in blobs.items() if name in self.keep
        }
