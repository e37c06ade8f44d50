"""The executor of a net: runs batches forward and backward, whole, in part, or layer by layer.

Where each layer computes each record independently, a batch runs in micro-batches (`Workers`);
losses and accuracies then run on the joined bottoms. Otherwise, as with BatchNorm in TRAIN, the
batch runs whole and PyTorch spreads each layer over the cores.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..errors import NetError
from ..nets.definition import NetDefinition
from ..nets.layer_types import AUTOMATIC
from ..text import did_you_mean, printable
from . import glog, memory
from .batch_run import BatchRun, OnGradient
from .forward import ForwardPass
from .fusion import fused_schedule
from .hooks import Hook, Hooks
from .input_batch import InputBlob, InputLayers, read_array
from .integer_pass import integer_schedule
from .kernels import SOURCES
from .kernels.base import BlobValue, PassContext, PassWeights, ScoreCounts, materialize
from .kernels.convolution import is_fused
from .kernels.integer import IntegerConvolution
from .loader import Loader
from .microbatch import can_split, largest_blob, loss_labels
from .parameters import Parameter, load_weights, make_parameters
from .quantizers import LayerQuantizers, Quantizer
from .schedule import Step, layer_steps, schedule_releases, step_graph
from .setup_log import SourceLog, log_wiring
from .tape import Tape
from .tensors import all_finite, to_array
from .wiring import wire_net
from .workers import Workers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ..formats.schema import NetParameter

Tensor = torch.Tensor
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
_CODE_BYTES = 2  # a number in micro-batches of codes, some of which are floats: measured
_FILLER_PASS = 1 << 62  # the fillers' place in random keys: above the number of any pass


class BatchResult(NamedTuple):
    """The result of a batch.

    Attributes:
        loss: of the whole batch.
        blobs: the outputs in Caffe's order, then the kept blobs: (batch, ...) or a scalar.
        records: number of records in the batch.
        score_counts: blob of a loss or accuracy -> what it is a mean of, without gradients.
    """

    loss: float
    blobs: dict[str, Tensor]
    records: int
    score_counts: dict[str, ScoreCounts]


class Executor:
    """A net in one phase, with its parameters and its data.

    Args:
        definition: the net, in its state.
        phase: `TRAIN` or `TEST`.
        loaders: of data layers that read files, by layer name; other inputs come from arrays.
        precision: fp32, bf16 (activations; parameters stay float32) or fp64.
        device: PyTorch's name of the device.
        workers: the threads; None makes new ones.
        seed: of fillers, dropout and dummy data.
        number: of the net in its process, so that no two nets share random numbers.
        log: whether to log what Caffe logs as it sets up a net.
        source_logs: name of a data layer -> what Caffe logs of it.

    Attributes:
        quantizers: of layers whose weights or bottoms are quantized; see `quantize`.
        integers: whether batches without gradients run in integers where these quantizers allow it;
            see `compute_in_integers`.
        uninitialized: names of layers with parameters for which no weights were loaded.
        passes: number of batches run.
        splits_batches: whether batches run in micro-batches.

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
        source_logs: Mapping[str, SourceLog] | None = None,
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
        known = {name: loader.top_shapes for name, loader in self.loaders.items()}
        self.wiring = wire_net(definition, phase, known)
        if log:
            log_wiring(self.wiring, source_logs or {})
        self._check_parameter_memory()
        self.parameters = make_parameters(
            self.wiring.layers, self.input_dtype, self.device, (seed, number, _FILLER_PASS), log
        )
        self.quantizers = LayerQuantizers()
        self.integers = False
        self.steps = self._make_steps()
        self._schedules: dict[tuple[frozenset[str], frozenset[str]], list[Step]] = {}
        layers = [layer for layer in self.wiring.layers if layer.type in SOURCES]
        self.inputs = InputLayers(
            layers, self.loaders, definition.source, self.input_dtype, self.device
        )
        self._labels = loss_labels(self.wiring.layers)
        self.splits_batches = self.device.type == "cpu" and can_split(
            self.wiring.layers, self.steps, self._labels
        )
        self._record_bytes = largest_blob(self.wiring.layers) * self.dtype.itemsize
        self._weights: PassWeights | None = None
        self.uninitialized = {layer.name for layer in self.wiring.layers if layer.blobs}
        self._check_blob_memory()
        if log:
            glog.info("Network initialization done.", "net.cpp:257")
            if not self.splits_batches:
                self.workers.log_busy_cores()

    def _make_steps(self) -> list[Step]:
        try:
            return self._fused_steps(frozenset(self.outputs), frozenset())
        except ValueError as error:  # a kernel that lacks an option of its layer
            raise NetError(f"{printable(self.definition.source)}: {error}") from None

    def _fused_steps(self, keep: frozenset[str], observed: frozenset[str]) -> list[Step]:
        steps = fused_schedule(self.wiring, self.parameters, self.phase, keep, observed)
        if not self.integers:
            return steps
        return integer_schedule(
            steps, self.parameters, self.quantizers, self.outputs, keep, observed
        )

    def compute_in_integers(self) -> list[str]:
        """Let integer kernels run the layers whose quantizers they can apply; return their names.

        Parts of a net (`forward_between`) and tapes go on simulating. Call it again after a change
        of the quantizers.
        """
        self.integers = True
        self._record_bytes = largest_blob(self.wiring.layers) * _CODE_BYTES
        self.steps, self._schedules = self._make_steps(), {}
        self.clear_weight_cache()
        return [
            step.layer.name for step in self.steps if isinstance(step.kernel, IntegerConvolution)
        ]

    @cached_property
    def _unfused_steps(self) -> list[Step]:
        return layer_steps(self.wiring, self.parameters, self.phase)

    @property
    def threads(self) -> int:
        """The number of threads that compute a batch, which its rounding depends on."""
        return self.workers.threads if self.splits_batches else self.workers.layer_threads

    # Memory

    def _check_parameter_memory(self) -> None:
        training = self.phase == "TRAIN"
        needed = memory.parameter_bytes(self.wiring.layers, training, self.dtype.itemsize)
        where = printable(self.definition.source)
        memory.require(needed, f"{where}: its parameters", "use a smaller net")

    def check_whole_batch(self) -> None:
        """Check that a batch fits in memory unsplit, forward and backward.

        Raises:
            NetError: it does not.
        """
        self._check_blob_memory(whole_batch=True)

    def _check_blob_memory(self, whole_batch: bool = False) -> None:
        if self.device.type != "cpu":
            return
        layers = self.inputs.layers
        shapes = [shape for layer in layers for shape in layer.top_shapes]
        records = max((shape[0] for shape in shapes if shape), default=1)
        at_once = records
        kept = whole_batch or self.phase == "TRAIN"
        whole_batch = whole_batch or not self.splits_batches
        if not whole_batch:
            shares = self.workers.split_batch(records, self._record_bytes)
            at_once = sum(max(end - start for start, end in share) for share in shares)
        needed = memory.blob_bytes(self.wiring.layers, kept, records, at_once, self.dtype.itemsize)
        if kept:
            quantized = [
                each for each in self.wiring.layers if each.name in self.quantizers.bottoms
            ]
            needed += memory.quantized_bytes(quantized, records, at_once, self.dtype.itemsize)
        if whole_batch and kept:
            needed *= 2  # what layers keep for the backward pass, and gradients
        for layer in layers:  # the whole batch: bytes as read, or numbers
            element = 1 if layer.name in self.loaders else self.input_dtype.itemsize
            needed += element * sum(map(prod, layer.top_shapes))
        what = f"{printable(self.definition.source)}: its blobs for a batch of {records}"
        memory.require(needed, what, "use a smaller batch_size")

    def quantize(self, quantizers: LayerQuantizers) -> None:
        """Compute with these quantizers; `clear_weight_cache` follows a change of them.

        Raises:
            NetError: a batch needs more memory than there is.
        """
        self.quantizers = quantizers
        self.clear_weight_cache()
        self._check_blob_memory()

    # Names and parameters

    @property
    def name(self) -> str:
        """The net's name."""
        return self.wiring.name

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer reads, in Caffe's order."""
        return self.wiring.outputs

    def load(self, model: NetParameter, source: str) -> None:
        """Copy weights from a NetParameter by layer name (Net::CopyTrainedLayersFrom)."""
        self.uninitialized -= load_weights(self.parameters, model, source, self.log)
        self.clear_weight_cache()

    def clear_weight_cache(self) -> None:
        """Drop the cached forms of the parameters; call it after their values change."""
        self._weights = None

    def blobs(self, layer: str) -> list[np.ndarray]:
        """Return copies of the parameter blobs of a layer."""
        return [
            to_array(self.parameters.unique[number].data).copy()
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
        self.clear_weight_cache()

    def parameter(self, layer: str, index: int = 0) -> Parameter:
        """Return a parameter of a layer, by default its weights."""
        return self.parameters.unique[self._parameter_numbers(layer)[index]]

    def _parameter_numbers(self, layer: str) -> list[int]:
        return self.parameters.of_layer[self._layer_index(layer)]

    def _layer_index(self, layer: str) -> int:
        names = self.parameters.names()
        if layer not in names:
            hint = did_you_mean(layer, names)
            raise NetError(f"no layer '{printable(layer)}' in the net{hint}")
        return names.index(layer)

    def random_key(self, first: int) -> tuple[int, int, int]:
        """Return the key of random numbers of this pass, for records from number `first` on."""
        return (self.seed, self.number << 40 | self.passes, first)

    # Batches

    def forward(
        self,
        arrays: Mapping[str, ArrayLike] | None = None,
        *,
        keep: Container[str] = (),
        hooks: Sequence[Hook] = (),
    ) -> dict[str, np.ndarray]:
        """Run one batch without gradients; return the outputs and kept blobs by name.

        Args:
            arrays: blob name -> array (batch, ...), for the tops of data layers without a loader.
            keep: blobs to return besides the outputs; `schedule.EVERYTHING` for all.
            hooks: observers of layers.
        """
        result = self.test_batch(arrays, keep=keep, hooks=hooks)
        return {name: to_array(tensor) for name, tensor in result.blobs.items()}

    def test_batch(
        self,
        arrays: Mapping[str, ArrayLike] | None = None,
        *,
        keep: Container[str] = (),
        hooks: Sequence[Hook] = (),
    ) -> BatchResult:
        """Run one batch without gradients; the arguments are those of `forward`."""
        return self._run_batch(arrays, False, keep, Hooks(hooks))

    def train_batch(
        self,
        arrays: Mapping[str, ArrayLike] | None = None,
        *,
        keep: Container[str] = (),
        hooks: Sequence[Hook] = (),
        on_gradient: OnGradient | None = None,
    ) -> BatchResult:
        """Run one batch and add its gradients to `Parameter.grad`; see `forward`.

        Of a batch that runs whole, `on_gradient` gets each gradient before, as soon as it is
        computed, with the parameter's number among those that are learned.
        """
        return self._run_batch(arrays, True, keep, Hooks(hooks), on_gradient)

    def forward_between(
        self,
        blobs: Mapping[str, ArrayLike],
        start: str | None = None,
        end: str | None = None,
        *,
        keep: Container[str] = (),
        hooks: Sequence[Hook] = (),
    ) -> dict[str, np.ndarray]:
        """Run the layers from `start` to `end` inclusive, on the whole batch, without gradients.

        Args:
            blobs: blob name -> array (batch, ...), for every blob that these layers read but don't
                compute.
            start, end: layer names; None means the first, the last.
            keep: blobs to return besides those that no layer of the range reads.
            hooks: observers of layers.

        Raises:
            NetError: no such layer, or a blob is missing or of another shape.
        """
        steps = self._steps_between(start, end)
        values = self._range_inputs(steps, blobs)
        returned = {*step_graph(steps).output_names(), *self._select_blobs(keep)}
        steps = schedule_releases(steps, returned)
        context = PassContext(self.fixed_weights(), False, self.random_key(0))
        with torch.inference_mode():
            run = ForwardPass(context, values, hooks=Hooks(hooks))
            run.run(steps)
        self.passes += 1
        return {
            name: to_array(materialize(value))
            for name, value in run.blobs.items()
            if name in returned
        }

    def forward_on_tape(
        self,
        arrays: Mapping[str, ArrayLike] | None = None,
        *,
        force_backward: bool = False,
        hooks: Sequence[Hook] = (),
    ) -> Tape:
        """Run one batch whole and unfused; return its tape, for a backward pass layer by layer.

        Args:
            arrays: as for `forward`.
            force_backward: whether gradients flow to every input and parameter, even where
                `propagate_down` or `lr_mult` stop them.
            hooks: observers of layers, of data layers too.
        """
        observers = Hooks(hooks)
        context = PassContext(
            self._differentiable_weights(force_backward), True, self.random_key(0)
        )
        tape = Tape(context.weights.tensors, force_backward, self._gradient_passes())
        inputs = self.inputs.next(arrays, self.random_key(0), observers)
        blobs: dict[str, BlobValue] = {
            name: self.inputs.convert(blob) for name, blob in inputs.items()
        }
        run = ForwardPass(context, blobs, hooks=observers, tape=tape)
        with torch.enable_grad():
            run.run(self._unfused_steps)
        self.passes += 1
        tape.blobs = {name: materialize(value) for name, value in run.blobs.items()}
        tape.loss = run.loss
        return tape

    # How a batch runs

    def _run_batch(
        self,
        arrays: Mapping[str, ArrayLike] | None,
        gradients: bool,
        keep: Container[str],
        hooks: Hooks,
        on_gradient: OnGradient | None = None,
    ) -> BatchResult:
        kept = self._select_blobs(keep) | set(self.outputs)
        passes = self._learned_passes() if gradients else {}
        inputs = self.inputs.next(arrays, self.random_key(0), hooks)
        weights = self._differentiable_weights() if gradients else self.fixed_weights()
        run = BatchRun(
            steps=self._schedule(kept, hooks),
            inputs=inputs,
            weights=weights,
            gradients=gradients,
            labels=self._labels,
            keep=kept,
            hooks=hooks,
            random_key=self.random_key,
            dtype=self.input_dtype,
            device=self.device,
            keeps_nan=self._keeps_nan(weights, inputs),
            on_gradient=_cut(on_gradient, passes),
        )
        if self.splits_batches and hooks.per_record and run.has_one_batch_size:
            outcome = run.run_in_micro_batches(self.workers, self._record_bytes)
        else:
            outcome = run.run_whole(self.workers)
        self._add_gradients(outcome.gradients, passes)
        self.passes += 1
        blobs = {name: outcome.blobs[name] for name in (*self.outputs, *outcome.blobs)}
        return BatchResult(outcome.loss, blobs, run.records, outcome.score_counts)

    def _keeps_nan(self, weights: PassWeights, inputs: Mapping[str, InputBlob]) -> bool:
        """Return whether nan may come up in a batch, which oneDNN's fused ReLU would hide."""
        if not is_fused(self.dtype, self.device):
            return False
        return not (weights.finite and all(blob.is_finite() for blob in inputs.values()))

    def _select_blobs(self, keep: Container[str]) -> frozenset[str]:
        """Return the names of the net's blobs that are in `keep`."""
        names = {name for layer in self.wiring.layers for name in layer.tops} - {AUTOMATIC}
        return frozenset(name for name in names if name in keep)

    def _schedule(self, keep: frozenset[str], hooks: Hooks) -> list[Step]:
        """Return the steps, unfused where fusion would hide a kept blob or an observed layer."""
        observed = frozenset(layer.name for layer in self.wiring.layers if layer.name in hooks)
        key, plain = (keep, observed), (frozenset(self.outputs), frozenset[str]())
        if key == plain:
            return self.steps
        if key not in self._schedules:  # the last alone is kept
            self._schedules = {key: self._fused_steps(keep, observed)}
        return self._schedules[key]

    def _add_gradients(
        self, of_workers: list[list[Tensor | None]], passes: Mapping[int, Tensor]
    ) -> None:
        """Add each worker's gradients to the parameters', in the order of the workers.

        The order makes the rounding of the sums reproducible. They are cut where `passes` says.
        """
        learned = [parameter for parameter in self.parameters.unique if parameter.learned]
        for gradients in filter(None, of_workers):
            for parameter, g in zip(learned, gradients, strict=True):
                if g is not None and parameter.grad is None:
                    parameter.grad = g
                elif g is not None and parameter.grad is not None:
                    parameter.grad.add_(g)
        for number, where in passes.items():
            gradient = learned[number].grad
            if gradient is not None:
                gradient.mul_(where)

    # Part of a net

    def _steps_between(self, start: str | None, end: str | None) -> list[Step]:
        layers = self.wiring.layers
        first = 0 if start is None else self._layer_index(start)
        last = len(layers) - 1 if end is None else self._layer_index(end)
        if first > last:
            raise NetError(
                f"layer '{printable(start or '')}' runs after layer '{printable(end or '')}'"
            )
        return [step for step in self._unfused_steps if first <= step.kernel.index <= last]

    def _range_inputs(
        self, steps: Sequence[Step], blobs: Mapping[str, ArrayLike]
    ) -> dict[str, BlobValue]:
        """Return the blobs that the steps read but don't compute, by name.

        The top of a split may be given under the name of its bottom.
        """
        bottom_of_split = {
            name: layer.bottoms[0]
            for layer in self.wiring.layers
            if layer.type == "Split"
            for name in layer.tops
        }
        computed: set[str] = set()
        values: dict[str, BlobValue] = {}
        for step in steps:
            for name, shape in zip(step.bottoms, step.layer.bottom_shapes, strict=True):
                if name in computed or name in values:
                    continue
                key = name if name in blobs else bottom_of_split.get(name, name)
                if key not in blobs:
                    reader = printable(step.layer.name)
                    raise NetError(
                        f"layer '{reader}' reads blob '{printable(key)}': give its array"
                    )
                blob = read_array(step.layer, key, blobs[key], shape)
                values[name] = self.inputs.convert(blob)
            computed |= set(step.tops)
        return values

    # Parameters of a pass

    def _differentiable_weights(self, force: bool = False) -> PassWeights:
        """Return the parameters for a pass with gradients; `force` includes those of lr_mult 0."""
        return PassWeights(
            [
                tensor.detach().requires_grad_(
                    parameter.learned or (force and not parameter.statistic)
                )
                for parameter, tensor in zip(self.parameters.unique, self._tensors(), strict=True)
            ],
            self.quantizers.bottoms,
            self._has_finite_parameters(),
        )

    def fixed_weights(self) -> PassWeights:
        """Return the parameters for passes without gradients, cached until they change."""
        if self._weights is None:
            self._weights = PassWeights(
                list(self._tensors()), self.quantizers.bottoms, self._has_finite_parameters()
            )
        return self._weights

    def _has_finite_parameters(self) -> bool:
        """Return whether no parameter is nan or inf; not checked where no kernel hides that."""
        if not is_fused(self.dtype, self.device):
            return True
        return all_finite(parameter.data for parameter in self.parameters.unique)

    def _tensors(self) -> Iterator[Tensor]:
        """Yield each parameter quantized, and in the dtype of the computation."""
        pairs = zip(self.parameters.unique, self.weight_quantizers(), strict=True)
        for parameter, quantizer in pairs:
            values = parameter.data if quantizer is None else quantizer.quantize(parameter.data)
            yield values if parameter.statistic else values.to(self.dtype)

    def weight_quantizers(self) -> list[Quantizer | None]:
        """Return the quantizer of each parameter; None of one that has none."""
        found: list[Quantizer | None] = [None] * len(self.parameters.unique)
        names = self.parameters.names() if self.quantizers.weights else ()
        for name, numbers in zip(names, self.parameters.of_layer, strict=False):
            if name in self.quantizers.weights:
                found[numbers[0]] = self.quantizers.weights[name]
        return found

    def _gradient_passes(self) -> dict[int, Tensor]:
        """Return, by number of the parameter, where the gradients of quantized weights pass."""
        return {
            number: passes
            for number, quantizer in enumerate(self.weight_quantizers())
            if quantizer is not None
            and (passes := quantizer.passes(self.parameters.unique[number].data)) is not None
        }

    def _learned_passes(self) -> dict[int, Tensor]:
        """Return them by number of the parameter among those that are learned."""
        passes = self._gradient_passes()
        learned = [n for n, parameter in enumerate(self.parameters.unique) if parameter.learned]
        return {place: passes[n] for place, n in enumerate(learned) if n in passes}

    def close(self) -> None:
        """End the threads that read data."""
        self.inputs.close()


def _cut(on_gradient: OnGradient | None, passes: Mapping[int, Tensor]) -> OnGradient | None:
    """Return what gets gradients that are cut where `passes` says, by number of the parameter."""
    if on_gradient is None or not passes:
        return on_gradient

    def give(number: int, gradient: Tensor) -> None:
        on_gradient(number, gradient * passes[number] if number in passes else gradient)

    return give
