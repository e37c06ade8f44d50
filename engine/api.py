"""`sqgen.Net`: a net run from Python on NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import NetError
from ..formats.caffemodel import encode_caffemodel, read_caffemodel
from ..formats.files import write_files
from ..formats.schema import PHASES
from ..nets.definition import NetDefinition, read_net
from ..text import did_you_mean, printable
from .executor import PRECISIONS, Executor
from .parameters import to_caffemodel
from .workers import Workers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Net:
    """A net with its weights.

        net = sqgen.Net("deploy.prototxt", "squeezenet.caffemodel")
        probabilities = net.forward(images)["prob"]

    Args:
        prototxt: the net's file, or the result of `sqgen.read_net` or `sqgen.parse_net`.
        weights: a `.caffemodel` or `.caffemodel.h5`; without one, fillers initialize the net.
        phase: `TEST` or `TRAIN`.
        precision: `fp32`, `bf16` or `fp64`.
        threads: compute threads; one per core by default.
        seed: of fillers and dropout.
        partial: whether weights may lack layers, which their fillers then initialize.

    Attributes:
        inputs: names and shapes of the blobs that `forward` takes.
        outputs: names of the blobs that it returns.
        layers: names of the layers with parameters.

    Raises:
        SqgenError: an unreadable file, a net that Caffe would refuse, or another net's weights.
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
    ) -> None:
        if precision not in PRECISIONS:
            hint = did_you_mean(precision, PRECISIONS)
            raise NetError(f"no precision '{printable(precision)}'{hint}; fp32, bf16 or fp64")
        if threads is not None and threads < 1:
            raise NetError(f"{threads} threads; give one or more")
        definition = prototxt if isinstance(prototxt, NetDefinition) else read_net(prototxt)
        self._executor = Executor(
            definition, phase, precision=precision, workers=Workers(threads), seed=seed
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

    @property
    def uninitialized(self) -> list[str]:
        """Layers with parameters that the weights lack: they keep their fillers' values."""
        return sorted(self._executor.uninitialized)

    def __repr__(self) -> str:
        return f"Net({printable(self._executor.definition.source)}: {', '.join(self.inputs)})"

    def forward(
        self, inputs: ArrayLike | Mapping[str, ArrayLike] | None = None, /, **named: ArrayLike
    ) -> dict[str, np.ndarray]:
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
        return self._executor.forward(arrays)

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
            NetError: no such layer, or arrays of other shapes.
        """
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
