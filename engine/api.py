"""`sqgen.Net`: a net run from Python on NumPy arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..compress.bits_file import BitsFile, read_bits_file
from ..errors import NetError
from ..formats.caffemodel import encode_caffemodel, read_caffemodel
from ..formats.files import write_files
from ..formats.schema import PHASES
from ..nets.definition import NetDefinition, read_net
from ..text import did_you_mean, printable
from .calibration import observe_bottoms
from .executor import Executor
from .flags import INT8
from .parameters import to_caffemodel
from .precision import ARRAY_PRECISIONS, array_precision, compute_in_integers, integer_bits
from .quantization import Quantization
from .workers import Workers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    Inputs = ArrayLike | Mapping[str, ArrayLike]


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)  # of who makes a Net


class Net:
    """A net with its weights.

        net = sqgen.Net("deploy.prototxt", "squeezenet.caffemodel")
        probabilities = net.forward(images)["prob"]

    Args:
        prototxt: the net's file, or the result of `sqgen.read_net` or `sqgen.parse_net`.
        weights: a `.caffemodel` or `.caffemodel.h5`; without one, fillers initialize the net.
        phase: `TEST` or `TRAIN`.
        precision: `fp32`, `bf16`, `fp64`; `int8`, which runs convolutions with integer kernels in
            the ranges of `quantize` or of `calibration`; or `auto`, the fastest here of int8, where
            there are such ranges, bf16 and fp32.
        threads: compute threads; one per core by default.
        seed: of fillers and dropout.
        partial: whether weights may lack layers, which their fillers then initialize.
        quantize: a file of bits (docs/quantization.md); in other precisions than int8, layers of
            few bits are simulated.
        calibration: images, as `forward` takes them, on which the ranges are found that `quantize`
            lacks.

    Attributes:
        precision: which one runs.
        inputs: names and shapes of the blobs that `forward` takes.
        outputs: names of the blobs that it returns.
        layers: names of the layers with parameters.

    Raises:
        SqgenError: an unreadable file, a net that Caffe would refuse, another net's weights, or a
            quantized net whose ranges nothing tells.
    """

    def __init__(
        self,
        prototxt: str | os.PathLike[str] | NetDefinition,
        weights: str | os.PathLike[str] | None = None,
        *,
        phase: str = "TEST",
        precision: str = "fp32",
        threads: int | None = None,
        seed: int = 0,
        partial: bool = False,
        quantize: str | os.PathLike[str] | None = None,
        calibration: Inputs | None = None,
    ) -> None:
        if precision not in ARRAY_PRECISIONS:
            hint = did_you_mean(precision, ARRAY_PRECISIONS)
            *most, last = ARRAY_PRECISIONS
            choices = f"{', '.join(most)} or {last}"
            raise NetError(f"no precision '{printable(precision)}'{hint}; {choices}")
        if threads is not None and threads < 1:
            raise NetError(f"{threads} threads; give one or more")
        definition = prototxt if isinstance(prototxt, NetDefinition) else read_net(prototxt)
        bits = None if quantize is None else read_bits_file(os.fspath(quantize))
        has_images = calibration is not None
        self.precision = array_precision(precision, phase, definition, bits, has_images)
        in_integers = self.precision == INT8
        computed = "fp32" if in_integers else self.precision
        self._executor = Executor(
            definition, phase, precision=computed, workers=Workers(threads), seed=seed
        )
        if weights is not None:
            self._load(weights, partial)
        self.inputs = {
            name: shape
            for layer in self._executor.inputs.layers
            if layer.type != "DummyData"
            for name, shape in zip(layer.tops, layer.top_shapes, strict=True)
        }
        self.outputs = list(self._executor.outputs)
        self.layers = [layer.name for layer in self._executor.wiring.layers if layer.blobs]
        self._is_quantized = in_integers or bits is not None
        if in_integers:
            bits = integer_bits(bits, _warn)
        if bits is not None:
            self._quantize(bits, calibration, in_integers)

    def _load(self, weights: str | os.PathLike[str], partial: bool) -> None:
        file = printable(os.fspath(weights))
        self._executor.load(read_caffemodel(weights), file)
        if self._executor.uninitialized and not partial:
            where = printable(self._executor.definition.source)
            names = ", ".join(f"'{printable(name)}'" for name in self.uninitialized[:3])
            raise NetError(
                f"{file}: has no weights for {len(self._executor.uninitialized)} layers of {where},"
                f" such as {names}; give the net's own, or partial=True to use their fillers"
            )

    def _quantize(self, bits: BitsFile, calibration: Inputs | None, in_integers: bool) -> None:
        net = self._executor
        quantization = Quantization(bits, net)
        missing = quantization.uncalibrated
        if missing and calibration is None:
            raise NetError(
                f"{printable(net.definition.source)}: no range of what layer"
                f" '{printable(missing[0])}' reads; give calibration=images, or quantize=FILE with"
                " [ranges]"
            )
        if missing and calibration is not None:
            arrays = self._named_arrays(calibration)

            def run() -> None:
                net.forward(arrays)

            quantization.calibrate(observe_bottoms(net, missing, run))
        quantization.start()
        net.quantize(quantization.quantizers)
        if in_integers:
            compute_in_integers(net, quantization)

    @property
    def source(self) -> str:
        """The net's file, or what stands for it in messages."""
        return self._executor.definition.source

    @property
    def uninitialized(self) -> list[str]:
        """Layers with parameters that the weights lack: they keep their fillers' values."""
        return sorted(self._executor.uninitialized)

    def __repr__(self) -> str:
        return f"Net({printable(self._executor.definition.source)}: {', '.join(self.inputs)})"

    def forward(self, inputs: Inputs | None = None, /, **named: ArrayLike) -> dict[str, np.ndarray]:
        """Run a batch.

        Args:
            inputs: an array (batch, channels, height, width) for the only input, or a mapping from
                input names to arrays. The batch size may differ from the prototxt's; images are
                in Caffe's form: BGR, mean subtracted.
            named: inputs by name.

        Returns:
            Each output blob as an array.

        Raises:
            NetError: an input is missing, unknown, given twice, or of another shape.
        """
        return self._executor.forward(self._named_arrays(inputs, named))

    def _named_arrays(
        self, inputs: Inputs | None, named: Mapping[str, ArrayLike] | None = None
    ) -> dict[str, ArrayLike]:
        """Return the arrays of all inputs by name; the arguments are those of `forward`."""
        named = named or {}
        arrays: dict[str, ArrayLike] = dict(inputs) if isinstance(inputs, Mapping) else {}
        if inputs is not None and not isinstance(inputs, Mapping):
            if len(self.inputs) != 1:
                names = ", ".join(self.inputs) or "none"
                raise NetError(f"the net's inputs are {names}; give a mapping from name to array")
            arrays[next(iter(self.inputs))] = inputs
        twice = arrays.keys() & named.keys()
        if twice:
            raise NetError(f"two arrays for input '{printable(min(twice))}'; give one")
        arrays.update(named)
        missing = self.inputs.keys() - arrays.keys()
        if missing:
            raise NetError(f"no array for input '{sorted(missing)[0]}'")
        return arrays

    def producer_type(self, blob: str) -> str:
        """Return the type of the last layer with this top, such as `Softmax`.

        Raises:
            NetError: no layer has it.
        """
        for layer in reversed(self._executor.wiring.layers):
            if blob in layer.tops:
                return layer.type
        raise NetError(f"no layer has the top '{printable(blob)}'")

    def blobs(self, layer: str) -> list[np.ndarray]:
        """Return copies of a layer's parameter blobs: weights, then biases.

        Raises:
            NetError: no such layer.
        """
        return self._executor.blobs(layer)

    def set_blobs(self, layer: str, arrays: list[np.ndarray]) -> None:
        """Replace a layer's parameter blobs.

        Raises:
            NetError: no such layer, arrays of other shapes, or the net is quantized.
        """
        if self._is_quantized:
            raise NetError(
                "a quantized net keeps its weights; set those of a float net, save() it, and"
                " quantize that"
            )
        self._executor.set_blobs(layer, arrays)

    def save(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write the parameters as a `.caffemodel`, or as HDF5 where `path` ends in `.h5`.

        A failure leaves no partial file.

        Raises:
            OutputError: the file can't be written, or exists and `force` is not set.
        """
        net = self._executor
        model = to_caffemodel(net.name, net.parameters, PHASES[net.phase], diffs=False)
        write_files({Path(path): encode_caffemodel(model, os.fspath(path))}, force)
