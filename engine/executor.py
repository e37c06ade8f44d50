"""A net that runs: forward, and backward to the gradients of its parameters.

A batch is cut into pieces where each record is computed alone (`Workers`); scores that take the
whole batch (losses, accuracies) come from what the pieces left. Where records are not alone, as
in BatchNorm's TRAIN phase, the batch is one piece and PyTorch spreads each layer over the cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import NetError
from ..nets.definition import NetDefinition
from ..nets.layer_types import Shape
from ..text import did_you_mean, printable
from . import glog, memory
from .input_batch import InputBatch, batch_of_array, dummy_batch
from .kernels import SOURCES
from .kernels.base import LazyConcat, PaddedPlane, PassContext, PassWeights
from .loader import Loader
from .microbatch import is_separable, largest_blob, normalizers_of
from .parameters import Parameter, load_weights, make_parameters
from .schedule import Step, make_plan
from .setup_log import log_wiring
from .wiring import wire_net
from .workers import Piece, Workers

Tensor = torch.Tensor
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}


class Gradients(NamedTuple):
    """What one forward and backward pass gave, as arrays; None where no gradient goes."""

    outputs: dict[str, np.ndarray]
    bottoms: dict[str, np.ndarray | None]
    blobs: dict[tuple[str, int], np.ndarray | None]


class BatchResult(NamedTuple):
    """Of one batch: the loss, every output blob, and the number of records."""

    loss: float
    outputs: dict[str, Tensor]
    records: int


@dataclass
class _Share:
    """What a worker has of its pieces."""

    outputs: list[dict[str, Tensor]] = field(default_factory=list)
    scored: list[dict[int, list[Tensor]]] = field(default_factory=list)
    weighted: float = 0.0
    gradients: list[Tensor | None] = field(default_factory=list)


class Net:
    """A net in one phase, with its parameters and what feeds it.

    Args:
        definition: the net, in its state.
        phase: `TRAIN` or `TEST`.
        sources: of Data and ImageData layers, by name; those without one are fed by `forward`.
        precision: fp32, bf16 (activations; parameters stay float32) or fp64.
        device: where it computes.
        workers: the threads; made for it where not given.
        seed: of fillers, dropout and dummy data.
        number: of the net among a process's, so that none has another's random numbers.
        log: whether to log what Caffe logs as it sets a net up.

    Raises:
        NetError: what Caffe would refuse, or does not run here.
    """

    def __init__(
        self,
        definition: NetDefinition,
        phase: str,
        *,
        sources: Mapping[str, Loader] | None = None,
        precision: str = "fp32",
        device: str = "cpu",
        workers: Workers | None = None,
        seed: int = 0,
        number: int = 0,
        log: bool = False,
    ) -> None:
        self.definition = definition
        self.phase = phase
        self.sources = dict(sources or {})
        self.dtype = PRECISIONS[precision]
        # Labels don't fit into bf16: blobs take that type where they meet weights.
        self.fed = torch.float64 if precision == "fp64" else torch.float32
        self.device = torch.device(device)
        self.workers = workers or Workers()
        self.seed, self.number = seed, number
        self.log = log
        self.passes = 0
        known = {name: _tops(source) for name, source in self.sources.items()}
        self.wiring = wire_net(definition, phase, known)
        if log:
            log_wiring(self.wiring)
        self._check_parameters()
        self.parameters = make_parameters(
            self.wiring.layers, self.fed, self.device, (seed, number, _FILLING), log
        )
        try:
            self.steps = make_plan(self.wiring, self.parameters, phase)
        except ValueError as error:
            raise NetError(f"{printable(definition.source)}: {error}") from None
        self.feeding = [layer for layer in self.wiring.layers if layer.type in SOURCES]
        self.cut = self.device.type == "cpu" and is_separable(self.wiring.layers, self.steps)
        self._largest = largest_blob(self.wiring.layers) * self.dtype.itemsize
        self._weights: PassWeights | None = None
        # Layers with parameters that nothing was loaded for.
        self.uninitialized = {layer.name for layer in self.wiring.layers if layer.blobs}
        self._check_blobs()
        if log:
            glog.info("Network initialization done.", "net.cpp:257")

    def _check_parameters(self) -> None:
        training = self.phase == "TRAIN"
        needed = memory.parameter_bytes(self.wiring.layers, training, self.dtype.itemsize)
        where = printable(self.definition.source)
        memory.check(needed, f"{where}: its parameters", "use a smaller net")

    def check_whole_batch(self) -> None:
        """Refuse a batch that does not fit in one piece, forward and backward.

        Raises:
            NetError: with how much is needed.
        """
        self._check_blobs(whole=True)

    def _check_blobs(self, whole: bool = False) -> None:
        records = max((s[0] for x in self.feeding for s in x.top_shapes if s), default=1)
        at_once = records
        kept = whole or self.phase == "TRAIN"
        whole = whole or not self.cut
        if not whole:
            shares = self.workers.pieces(records, self._largest)
            at_once = sum(max(end - start for start, end in share) for share in shares)
        needed = memory.blob_bytes(self.wiring.layers, kept, records, at_once, self.dtype.itemsize)
        if whole and kept:
            needed *= 2  # what layers keep for the way back, and the gradients on it
        for layer in self.feeding:  # the whole batch: bytes that are read, numbers that are made
            each = 1 if layer.name in self.sources else self.fed.itemsize
            needed += each * sum(map(prod, layer.top_shapes))
        where = printable(self.definition.source)
        remedy = "use a smaller batch_size"
        if self.device.type == "cpu":
            memory.check(needed, f"{where}: its blobs for a batch of {records}", remedy)

    @property
    def name(self) -> str:
        """As in the prototxt."""
        return self.wiring.name

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer reads, in Caffe's order."""
        return self.wiring.outputs

    def load(self, model: Any, source: str) -> None:
        """Copy weights from a NetParameter by layer name (Net::CopyTrainedLayersFrom)."""
        self.uninitialized -= load_weights(self.parameters, model, source, self.log)
        self.changed()

    def changed(self) -> None:
        """Say that parameters are no longer what they were."""
        self._weights = None

    def blobs(self, layer: str) -> list[np.ndarray]:
        """Copies of the parameter blobs of a layer."""
        return [
            self.parameters.unique[number].data.detach().cpu().contiguous().numpy().copy()
            for number in self._numbers(layer)
        ]

    def set_blobs(self, layer: str, arrays: Sequence[np.ndarray]) -> None:
        """Replace the parameter blobs of a layer; shapes must agree."""
        found = [self.parameters.unique[number].data for number in self._numbers(layer)]
        new = [torch.from_numpy(np.array(array)) for array in arrays]
        shapes = [[tuple(one.shape) for one in column] for column in (found, new)]
        if shapes[0] != shapes[1]:
            raise NetError(
                f"layer '{printable(layer)}' has blobs of shapes {shapes[0]}, not {shapes[1]}"
            )
        for data, array in zip(found, new, strict=True):
            data.copy_(array)
        self.changed()

    def _numbers(self, layer: str) -> list[int]:
        names = self.parameters.names()
        if layer not in names:
            hint = did_you_mean(layer, names)
            raise NetError(f"no layer '{printable(layer)}' in the net{hint}")
        return self.parameters.of_layer[names.index(layer)]

    # Forward and backward

    def forward(self, inputs: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Run one batch without gradients.

        Args:
            inputs: blob name -> array (batch, ...), for tops of data layers that have no source.

        Returns:
            Every output blob.
        """
        result = self.test_pass(self.feeds(inputs))
        return {name: _to_array(tensor) for name, tensor in result.outputs.items()}

    def test_pass(self, feeds: Mapping[str, InputBatch]) -> BatchResult:
        """Run one batch without gradients."""
        return self._batch(feeds, gradients=False)

    def train_pass(self, feeds: Mapping[str, InputBatch]) -> BatchResult:
        """Run one batch and add its gradients to `Parameter.grad`."""
        return self._batch(feeds, gradients=True)

    def gradients(
        self, inputs: Mapping[str, Any], tops: Mapping[str, Any] | None = None
    ) -> Gradients:
        """One pass in one piece, with the gradients of inputs and parameters.

        Args:
            inputs: blob name -> array, for every input.
            tops: output name -> gradient of what is differentiated by it; of the net's own loss
                where None.
        """
        feeds = self.feeds(inputs)
        run = PassContext(self.leaves(every=True), True, self.key(0))
        blobs = {
            name: feed.part(0, feed.records, self.fed, self.device).requires_grad_()
            for name, feed in feeds.items()
        }
        leaves = dict(blobs)
        objective = self._steps(run, blobs, whole=True, scored={}, cuts=False)[0]
        outputs = {name: _whole(blobs[name]) for name in self.outputs}
        if tops is not None:
            objective = sum(
                (outputs[name] * torch.from_numpy(np.asarray(g))).sum() for name, g in tops.items()
            )
        wanted = [*leaves.values(), *run.weights.tensors]
        wanted = [tensor for tensor in wanted if tensor.requires_grad]
        found: list[Tensor | None] = [None] * len(wanted)
        if isinstance(objective, torch.Tensor) and objective.requires_grad:
            found = list(torch.autograd.grad(objective, wanted, allow_unused=True))
        of = {id(tensor): g for tensor, g in zip(wanted, found, strict=True)}

        def gradient(tensor: Tensor) -> np.ndarray | None:
            g = of.get(id(tensor))
            return None if g is None else _to_array(g)

        return Gradients(
            {name: _to_array(tensor) for name, tensor in outputs.items()},
            {name: gradient(tensor) for name, tensor in leaves.items()},
            {
                (layer.name, index): gradient(run.weights.tensors[number])
                for layer, numbers in zip(self.wiring.layers, self.parameters.of_layer, strict=True)
                for index, number in enumerate(numbers)
            },
        )

    def feeds(self, inputs: Mapping[str, Any] | None = None) -> dict[str, InputBatch]:
        """The next batch of every data layer.

        Raises:
            NetError: a layer that nothing feeds, or an input that is no blob of such a layer.
        """
        given = dict(inputs or {})
        result: dict[str, InputBatch] = {}
        for number, layer in enumerate(self.feeding):
            where = f"layer '{printable(layer.name)}'"
            source = self.sources.get(layer.name)
            if source is not None:
                result.update(zip(layer.tops, _loader_batches(source), strict=False))
                continue
            for index, (name, shape) in enumerate(zip(layer.tops, layer.top_shapes, strict=True)):
                if name in given:
                    try:
                        result[name] = batch_of_array(given.pop(name), shape, name)
                    except ValueError as error:
                        raise NetError(f"{where}: {error}") from None
                elif layer.type == "DummyData":
                    param = layer.param.dummy_data_param
                    result[name] = dummy_batch(param, index, shape, (*self.key(0), number), where)
                elif layer.type == "Input":
                    result[name] = InputBatch(torch.zeros(shape))
                elif layer.type in ("Data", "ImageData"):
                    raise NetError(f"{where}: nothing given for its blob '{printable(name)}'")
                elif layer.type == "MemoryData":
                    raise NetError(
                        f"{where}: MemoryDataLayer needs to be initialized by calling Reset, which"
                        " only a program can; use a Data layer, or sqgen.Net from Python"
                    )
        if given:
            raise NetError(
                f"{printable(self.definition.source)}: no input '{printable(next(iter(given)))}';"
                f" its inputs are {', '.join(name for x in self.feeding for name in x.tops)}"
            )
        return result

    def key(self, record: int) -> tuple[int, int, int]:
        """What the randomness of a pass depends on, from the record on that it starts with."""
        return (self.seed, self.number << 40 | self.passes, record)

    def _batch(self, feeds: Mapping[str, InputBatch], gradients: bool) -> BatchResult:
        records = next((feed.records for feed in feeds.values()), 1)
        cut = self.cut and all(feed.records == records for feed in feeds.values())
        if cut:
            shares = self.workers.pieces(records, self._largest)
            normalizers = normalizers_of(self.steps, feeds, records)
        else:
            shares, normalizers = [[(0, records)]], {}
        weights = self.leaves() if gradients else self._fixed()

        def work(pieces: list[Piece]) -> _Share:
            share = _Share()
            for piece in pieces:
                self._piece(share, piece, feeds, weights, normalizers, gradients, whole=not cut)
            return share

        done = self.workers.run(work, shares)
        if gradients:
            self._accumulate([share.gradients for share in done])
        result = self._gather(done, shares, records, cut)
        self.passes += 1
        return result

    def _piece(
        self,
        share: _Share,
        piece: Piece,
        feeds: Mapping[str, InputBatch],
        weights: PassWeights,
        normalizers: dict[str, float],
        gradients: bool,
        whole: bool,
    ) -> None:
        run = PassContext(weights, gradients, self.key(piece[0]), normalizers)
        scored: dict[int, list[Tensor]] = {}
        with torch.set_grad_enabled(gradients), torch.inference_mode(not gradients):
            blobs: dict[str, Any] = {}
            for name, feed in feeds.items():
                start, end = (0, feed.records) if whole else piece
                blobs[name] = feed.part(start, end, self.fed, self.device)
            objective, weighted = self._steps(run, blobs, whole, scored)
            share.outputs.append(
                {name: _whole(blobs[name]).detach() for name in self.outputs if name in blobs}
            )
            share.scored.append(scored)
            share.weighted += weighted
            blobs.clear()
            if gradients:
                self._differentiate(share, objective, weights)

    def _differentiate(self, share: _Share, objective: Any, weights: PassWeights) -> None:
        wanted = [tensor for tensor in weights.tensors if tensor.requires_grad]
        if not isinstance(objective, torch.Tensor) or not objective.requires_grad:
            return
        found = torch.autograd.grad(objective, wanted, allow_unused=True)
        if not share.gradients:
            share.gradients = [
                # A copy: two parameters may have been given one and the same gradient.
                None if g is None else g.to(self.parameters.unique[0].data.dtype, copy=True)
                for g in found
            ]
            return
        for index, (total, g) in enumerate(zip(share.gradients, found, strict=True)):
            if g is not None:
                share.gradients[index] = g if total is None else total.add_(g)

    def _steps(
        self,
        run: PassContext,
        blobs: dict[str, Any],
        whole: bool,
        scored: dict[int, list[Tensor]],
        cuts: bool = True,
    ) -> tuple[Any, float]:
        """Run every step on `blobs`; the objective, and the part of the loss of other layers."""
        objective: Any = 0.0
        weighted = 0.0
        for number, step in enumerate(self.steps):
            bottoms = self._bottoms(step, blobs, cuts and run.gradients)
            if step.kernel.reduces and not whole:
                scored[number] = [bottom.detach() for bottom in bottoms]
                if run.gradients and any(step.weights):
                    objective = objective + step.weights[0] * step.kernel.objective(run, bottoms)
            else:
                tops = self._compute(step, run, bottoms)
                blobs.update(zip(step.tops, tops, strict=True))
                for weight, top in zip(step.weights, tops, strict=True):
                    if weight:
                        term = weight * _whole(top).sum()
                        weighted += float(term.detach())
                        objective = objective + term
            for name in step.done:
                blobs.pop(name, None)
        return objective, weighted

    def _bottoms(self, step: Step, blobs: dict[str, Any], cuts: bool) -> list[Any]:
        bottoms = []
        for name, cut in zip(step.bottoms, step.cut, strict=True):
            value = blobs[name]
            kernel = step.kernel
            if (isinstance(value, LazyConcat) and not kernel.accepts_lazy_concat) or (
                isinstance(value, PaddedPlane) and not kernel.accepts_padded_plane
            ):
                value = blobs[name] = value.whole()
            bottoms.append(value.detach() if cut and cuts else value)
        return bottoms

    def _compute(self, step: Step, run: PassContext, bottoms: list[Any]) -> list[Any]:
        blobs = [run.weights.tensors[number] for number in step.blobs]
        tops = step.kernel.forward(run, bottoms, blobs)
        if step.kernel.reduces and run.gradients and any(step.weights):
            # The value Caffe reports, with the gradient Caffe uses.
            smooth = step.kernel.objective(run, bottoms)
            tops[0] = smooth + (tops[0] - smooth).detach()
        return tops

    def _gather(
        self, done: list[_Share], shares: list[list[Piece]], records: int, cut: bool
    ) -> BatchResult:
        """Pieces in the order of their records, then the scores of the whole batch."""
        order = sorted(
            (piece, worker, place)
            for worker, pieces in enumerate(shares)
            for place, piece in enumerate(pieces)
        )
        outputs = {
            name: _joined([done[worker].outputs[place][name] for _, worker, place in order])
            for name in done[0].outputs[0]
        }
        loss = sum(share.weighted for share in done)
        if cut:
            run = PassContext(PassWeights([]), False, self.key(0))
            for number, step in enumerate(self.steps):
                if step.kernel.reduces:
                    parts = [done[worker].scored[place][number] for _, worker, place in order]
                    bottoms = [_joined(list(column)) for column in zip(*parts, strict=True)]
                    with torch.inference_mode():
                        tops = step.kernel.forward(run, bottoms, [])
                    for name, weight, top in zip(step.tops, step.weights, tops, strict=True):
                        outputs[name] = top
                        loss += weight * float(top.sum()) if weight else 0.0
        return BatchResult(loss, {name: outputs[name] for name in self.outputs}, records)

    # Weights

    def leaves(self, every: bool = False) -> PassWeights:
        """Parameters to be differentiated by."""
        return PassWeights(
            [
                self._cast(parameter)
                .detach()
                .requires_grad_(parameter.learned or (every and not parameter.statistic))
                for parameter in self.parameters.unique
            ]
        )

    def _fixed(self) -> PassWeights:
        """Parameters for passes without gradients; kept until they change."""
        if self._weights is None:
            self._weights = PassWeights([self._cast(one) for one in self.parameters.unique])
        return self._weights

    def _cast(self, parameter: Parameter) -> Tensor:
        return parameter.data if parameter.statistic else parameter.data.to(self.dtype)

    def _accumulate(self, shares: list[list[Tensor | None]]) -> None:
        """Add the workers' gradients, always in the same order."""
        learned = [parameter for parameter in self.parameters.unique if parameter.learned]
        for column in zip(learned, *(share for share in shares if share), strict=True):
            parameter: Any = column[0]
            for g in column[1:]:
                if g is not None and parameter.grad is None:
                    parameter.grad = g
                elif g is not None:
                    parameter.grad.add_(g)

    def close(self) -> None:
        """End the threads that read data."""
        for source in self.sources.values():
            source.close()


_FILLING = 1 << 62  # apart from the numbers of passes


def _tops(source: Loader) -> list[Shape]:
    return [(source.batch_size, *source.shape), (source.batch_size,)]


def _loader_batches(source: Loader) -> list[InputBatch]:
    batch = source.next()
    mean = None if source.mean is None else torch.from_numpy(np.asarray(source.mean))
    feeds = [InputBatch(torch.from_numpy(batch.data), mean, source.scale, batch.finished)]
    if batch.labels is not None:
        feeds.append(InputBatch(torch.from_numpy(batch.labels)))
    return feeds


def _whole(value: Any) -> Tensor:
    return value if isinstance(value, torch.Tensor) else value.whole()


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _to_array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.asarray(tensor.contiguous().numpy())
