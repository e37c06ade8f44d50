"""The executor of a net: batches forward, backward to the gradients of parameters, layer by layer.

Where each layer computes each record alone, a batch runs in micro-batches (`Workers`), and scores
of the whole batch (losses, accuracies) come from what the micro-batches left. Elsewhere, as with
BatchNorm in TRAIN, the batch runs whole and PyTorch spreads each layer over the cores.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import NetError
from ..nets.definition import NetDefinition
from ..nets.layer_types import Shape
from ..text import did_you_mean, printable
from . import glog, memory
from .batch_run import BatchRun
from .forward import ForwardPass
from .fusion import fused_schedule
from .hooks import Hook, Hooks
from .input_batch import InputBlob, InputLayers
from .kernels import SOURCES
from .kernels.base import PassContext, PassWeights
from .loader import Loader
from .microbatch import can_split, largest_blob
from .parameters import Parameter, load_weights, make_parameters
from .schedule import Either, Step, layer_steps, schedule_releases
from .setup_log import log_wiring
from .tape import Tape
from .tensors import to_array, whole
from .wiring import wire_net
from .workers import Workers

Tensor = torch.Tensor
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
_FILLING = 1 << 62  # apart from the numbers of passes


class BatchResult(NamedTuple):
    """A batch that has run: its loss, output blobs and kept blobs by name, number of records."""

    loss: float
    outputs: dict[str, Tensor]
    records: int
    kept: dict[str, Tensor]


class Executor:
    """A net in one phase, with its parameters and its data.

    Args:
        definition: the net, in its state.
        phase: `TRAIN` or `TEST`.
        loaders: of Data and ImageData layers, by name; tops of others come from arrays.
        precision: fp32, bf16 (activations; parameters stay float32) or fp64.
        device: PyTorch's name of it.
        workers: the threads; its own if None.
        seed: of fillers, dropout and dummy data.
        number: of the net among a process's, so that no two share random numbers.
        log: whether to log what Caffe logs as it sets a net up.

    Attributes:
        uninitialized: names of the layers with parameters that no weights were loaded for.
        passes: batches that have run.

    Raises:
        NetError: Caffe would refuse the net, or the engine can't run it.
    """

    def __init__(
        self,
        definition: NetDefinition,
        phase: str,
        *,
        loaders: Mapping[str, Loader] | None = None,
        precision: str = "fp32",
        device: str = "cpu",
        workers: Workers | None = None,
        seed: int = 0,
        number: int = 0,
        log: bool = False,
    ) -> None:
        self.definition = definition
        self.phase = phase
        self.loaders = dict(loaders or {})
        self.dtype = PRECISIONS[precision]
        # Labels don't fit into bf16: blobs take that type where they meet parameters.
        self.input_dtype = torch.float64 if precision == "fp64" else torch.float32
        self.device = torch.device(device)
        self.workers = workers or Workers()
        self.seed, self.number = seed, number
        self.log = log
        self.passes = 0
        known = {name: _loader_shapes(loader) for name, loader in self.loaders.items()}
        self.wiring = wire_net(definition, phase, known)
        if log:
            log_wiring(self.wiring)
        self._check_parameters()
        self.parameters = make_parameters(
            self.wiring.layers, self.input_dtype, self.device, (seed, number, _FILLING), log
        )
        try:
            self.steps = fused_schedule(self.wiring, self.parameters, phase)
        except ValueError as error:
            raise NetError(f"{printable(definition.source)}: {error}") from None
        layers = [layer for layer in self.wiring.layers if layer.type in SOURCES]
        self.inputs = InputLayers(layers, self.loaders, definition.source)
        self._can_split = self.device.type == "cpu" and can_split(self.wiring.layers, self.steps)
        self._largest = largest_blob(self.wiring.layers) * self.dtype.itemsize
        self._weights: PassWeights | None = None
        self.uninitialized = {layer.name for layer in self.wiring.layers if layer.blobs}
        self._check_blobs()
        if log:
            glog.info("Network initialization done.", "net.cpp:257")

    # Memory

    def _check_parameters(self) -> None:
        training = self.phase == "TRAIN"
        needed = memory.parameter_bytes(self.wiring.layers, training, self.dtype.itemsize)
        where = printable(self.definition.source)
        memory.check(needed, f"{where}: its parameters", "use a smaller net")

    def check_whole_batch(self) -> None:
        """Refuse a batch that does not fit in memory unsplit, forward and backward.

        Raises:
            NetError: with the memory it needs.
        """
        self._check_blobs(whole_batch=True)

    def _check_blobs(self, whole_batch: bool = False) -> None:
        layers = self.inputs.layers
        records = max((shape[0] for x in layers for shape in x.top_shapes if shape), default=1)
        at_once = records
        kept = whole_batch or self.phase == "TRAIN"
        whole_batch = whole_batch or not self._can_split
        if not whole_batch:
            shares = self.workers.pieces(records, self._largest)
            at_once = sum(max(end - start for start, end in share) for share in shares)
        needed = memory.blob_bytes(self.wiring.layers, kept, records, at_once, self.dtype.itemsize)
        if whole_batch and kept:
            needed *= 2  # what layers keep for the backward pass, and gradients
        for layer in layers:  # the whole batch: bytes as read, or numbers
            element = 1 if layer.name in self.loaders else self.input_dtype.itemsize
            needed += element * sum(map(prod, layer.top_shapes))
        where = printable(self.definition.source)
        if self.device.type == "cpu":
            what = f"{where}: its blobs for a batch of {records}"
            memory.check(needed, what, "use a smaller batch_size")

    # Names and parameters

    @property
    def name(self) -> str:
        """The net's name."""
        return self.wiring.name

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer reads, in Caffe's order."""
        return self.wiring.outputs

    def load(self, model: Any, source: str) -> None:
        """Copy weights from a NetParameter by layer name (Net::CopyTrainedLayersFrom)."""
        self.uninitialized -= load_weights(self.parameters, model, source, self.log)
        self.parameters_changed()

    def parameters_changed(self) -> None:
        """Forget what was derived from the parameters' old values."""
        self._weights = None

    def blobs(self, layer: str) -> list[np.ndarray]:
        """Return copies of the parameter blobs of a layer."""
        return [
            self.parameters.unique[number].data.detach().cpu().contiguous().numpy().copy()
            for number in self._parameter_numbers(layer)
        ]

    def set_blobs(self, layer: str, arrays: Sequence[np.ndarray]) -> None:
        """Replace the parameter blobs of a layer.

        Raises:
            NetError: their shapes differ.
        """
        blobs = [self.parameters.unique[number].data for number in self._parameter_numbers(layer)]
        values = [torch.from_numpy(np.array(array)) for array in arrays]
        shapes = [[tuple(tensor.shape) for tensor in column] for column in (blobs, values)]
        if shapes[0] != shapes[1]:
            raise NetError(
                f"layer '{printable(layer)}' has blobs of shapes {shapes[0]}, not {shapes[1]}"
            )
        for blob, value in zip(blobs, values, strict=True):
            blob.copy_(value)
        self.parameters_changed()

    def _parameter_numbers(self, layer: str) -> list[int]:
        return self.parameters.of_layer[self._layer_index(layer)]

    def _layer_index(self, layer: str) -> int:
        names = self.parameters.names()
        if layer not in names:
            hint = did_you_mean(layer, names)
            raise NetError(f"no layer '{printable(layer)}' in the net{hint}")
        return names.index(layer)

    def random_key(self, record: int) -> tuple[int, int, int]:
        """Return what the random numbers of this pass depend on, from a record on."""
        return (self.seed, self.number << 40 | self.passes, record)

    # Batches

    def forward(
        self,
        arrays: Mapping[str, Any] | None = None,
        *,
        keep: Container[str] = (),
        hooks: Sequence[Hook] = (),
    ) -> dict[str, np.ndarray]:
        """Run one batch without gradients.

        Args:
            arrays: blob name -> array (batch, ...), for tops of data layers without a loader.
            keep: blobs to return besides the outputs; `schedule.EVERYTHING` for all.
            hooks: observers of layers.
        """
        result = self.test_batch(arrays, keep=keep, hooks=hooks)
        blobs = {**result.kept, **result.outputs}
        return {name: to_array(tensor) for name, tensor in blobs.items()}

    def test_batch(
        self,
        arrays: Mapping[str, Any] | None = None,
        *,
        keep: Container[str] = (),
        hooks: Sequence[Hook] = (),
    ) -> BatchResult:
        """Run one batch without gradients."""
        return self._run_batch(arrays, False, keep, Hooks(hooks))

    def train_batch(
        self,
        arrays: Mapping[str, Any] | None = None,
        *,
        keep: Container[str] = (),
        hooks: Sequence[Hook] = (),
    ) -> BatchResult:
        """Run one batch and add its gradients to `Parameter.grad`."""
        return self._run_batch(arrays, True, keep, Hooks(hooks))

    def forward_between(
        self,
        blobs: Mapping[str, Any],
        start: str | None = None,
        end: str | None = None,
        *,
        keep: Container[str] = (),
        hooks: Sequence[Hook] = (),
    ) -> dict[str, np.ndarray]:
        """Run the layers from `start` to `end` inclusive, on the whole batch, without gradients.

        Args:
            blobs: blob name -> array, for every blob that these layers read and don't compute.
            start, end: layer names; None is the first and the last.
            keep: blobs to return besides those that no layer of the range reads.
            hooks: observers of layers.

        Raises:
            NetError: no such layer, or a blob is missing.
        """
        steps = self._steps_between(start, end)
        values = self._range_inputs(steps, blobs)
        read = {name for step in steps for name in step.bottoms}
        unread = {name for step in steps for name in step.tops} - read
        schedule_releases(steps, Either(keep, unread))
        context = PassContext(self._fixed_weights(), False, self.random_key(0))
        with torch.inference_mode():
            run = ForwardPass(context, values, hooks=Hooks(hooks))
            run.run(steps)
        self.passes += 1
        return {
            name: to_array(whole(value))
            for name, value in run.blobs.items()
            if name in unread or name in keep
        }

    def record(
        self,
        arrays: Mapping[str, Any] | None = None,
        *,
        force_backward: bool = False,
        hooks: Sequence[Hook] = (),
    ) -> Tape:
        """Run one batch whole and unfused, and keep every blob for a backward pass layer by layer.

        Args:
            arrays: as for `forward`.
            force_backward: whether gradients flow to every input and parameter, whatever
                `propagate_down` and `lr_mult` say.
            hooks: observers of layers; here they observe data layers, too.
        """
        observers = Hooks(hooks)
        context = PassContext(self._differentiable(force_backward), True, self.random_key(0))
        tape = Tape(context.weights.tensors, force_backward)
        run = ForwardPass(
            context, self._whole_inputs(arrays, observers), hooks=observers, tape=tape
        )
        with torch.enable_grad():
            run.run(layer_steps(self.wiring, self.parameters, self.phase))
        self.passes += 1
        tape.blobs = {name: whole(value) for name, value in run.blobs.items()}
        tape.loss = run.loss
        return tape

    # How a batch runs

    def _run_batch(
        self, arrays: Mapping[str, Any] | None, gradients: bool, keep: Container[str], hooks: Hooks
    ) -> BatchResult:
        inputs = self.inputs.next(arrays, self.random_key(0))
        run = BatchRun(
            steps=self._schedule(keep, hooks),
            inputs=inputs,
            weights=self._differentiable() if gradients else self._fixed_weights(),
            gradients=gradients,
            keep=Either(frozenset(self.outputs), keep),
            hooks=hooks,
            random_key=self.random_key,
            dtype=self.input_dtype,
            device=self.device,
        )
        if self._can_split and hooks.per_record and run.is_rectangular:
            loss, blobs, shares = run.in_micro_batches(self.workers, self._largest)
        else:
            loss, blobs, shares = run.whole(self.workers)
        self._accumulate(shares)
        self.passes += 1
        outputs = {name: blobs[name] for name in self.outputs}
        kept = {name: blob for name, blob in blobs.items() if name not in outputs}
        return BatchResult(loss, outputs, run.records, kept)

    def _schedule(self, keep: Container[str], hooks: Hooks) -> list[Step]:
        """Return the steps: unfused where a blob is kept or a layer observed."""
        if not keep and not hooks:
            return self.steps
        return fused_schedule(self.wiring, self.parameters, self.phase, keep, hooks)

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

    def _whole_inputs(self, arrays: Mapping[str, Any] | None, hooks: Hooks) -> dict[str, Any]:
        """Return the tops of the data layers, each layer between the calls of its hooks."""
        left = dict(arrays or {})
        blobs: dict[str, Any] = {}
        for number, layer in enumerate(self.inputs.layers):
            for hook in hooks.of(layer):
                hook.before_forward(layer, [])
            inputs = self.inputs.next_of(number, left, self.random_key(0))
            tops = {
                name: blob.part(0, blob.records, self.input_dtype, self.device)
                for name, blob in inputs.items()
            }
            for hook in hooks.of(layer):
                hook.after_forward(layer, list(tops.values()))
            blobs |= tops
        return blobs

    # Part of a net

    def _steps_between(self, start: str | None, end: str | None) -> list[Step]:
        layers = self.wiring.layers
        first = 0 if start is None else self._layer_index(start)
        last = len(layers) - 1 if end is None else self._layer_index(end)
        if first > last:
            raise NetError(f"layer '{start}' runs after layer '{end}'")
        inside = {id(layer) for layer in layers[first : last + 1]}
        steps = layer_steps(self.wiring, self.parameters, self.phase)
        return [step for step in steps if id(step.layer) in inside]

    def _range_inputs(self, steps: Sequence[Step], blobs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the blobs that steps read and don't compute; splits go by their bottom's name."""
        split = {
            name: layer.bottoms[0]
            for layer in self.wiring.layers
            if layer.type == "Split"
            for name in layer.tops
        }
        computed: set[str] = set()
        values: dict[str, Any] = {}
        for step in steps:
            for name in step.bottoms:
                if name in computed or name in values:
                    continue
                key = name if name in blobs else split.get(name, name)
                if key not in blobs:
                    reader = printable(step.layer.name)
                    raise NetError(
                        f"layer '{reader}' reads blob '{printable(key)}': give its array"
                    )
                blob = InputBlob(torch.from_numpy(np.asarray(blobs[key], order="C")))
                values[name] = blob.part(0, blob.records, self.input_dtype, self.device)
            computed |= set(step.tops)
        return values

    # Parameters of a pass

    def _differentiable(self, force: bool = False) -> PassWeights:
        """Return the parameters to differentiate by; with `force`, those of rate 0 too."""
        return PassWeights(
            [
                self._cast(parameter)
                .detach()
                .requires_grad_(parameter.learned or (force and not parameter.statistic))
                for parameter in self.parameters.unique
            ]
        )

    def _fixed_weights(self) -> PassWeights:
        """Return the parameters for passes without gradients, cached until they change."""
        if self._weights is None:
            self._weights = PassWeights([self._cast(one) for one in self.parameters.unique])
        return self._weights

    def _cast(self, parameter: Parameter) -> Tensor:
        return parameter.data if parameter.statistic else parameter.data.to(self.dtype)

    def close(self) -> None:
        """End the threads that read data."""
        self.inputs.close()


def _loader_shapes(loader: Loader) -> list[Shape]:
    return [(loader.batch_size, *loader.shape), (loader.batch_size,)]
