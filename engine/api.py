"""A net from Python: arrays in, arrays out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NetError
from ..formats.caffemodel import read_caffemodel, serialize
from ..formats.files import write_files
from ..formats.schema import PHASES
from ..nets.definition import NetDefinition, read_net
from ..text import did_you_mean, printable
from . import executor as running
from .parameters import to_model
from .workers import Workers


class Net:
    """A net that runs.

        net = sqgen.Net("deploy.prototxt", "squeezenet.caffemodel")
        probabilities = net.forward(images)["prob"]

    Args:
        prototxt: the net's file, or what `sqgen.read_net` or `sqgen.parse_net` gave.
        weights: a `.caffemodel`; without one the net starts from its fillers.
        phase: `TEST` or `TRAIN`.
        precision: `fp32`, `bf16` or `fp64`.
        threads: to compute with; one a core where not given.
        seed: of fillers and dropout.
        partial: whether weights may leave layers out, which then start from their fillers.

    Attributes:
        inputs: names of the blobs that `forward` takes, and their shapes.
        outputs: names of the blobs that it gives.
        layers: names of the layers that have parameters.

    Raises:
        SqgenError: a file can't be read, the net is one that Caffe would refuse, or the weights
            are another net's.
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
        if precision not in running.PRECISIONS:
            hint = did_you_mean(precision, running.PRECISIONS)
            raise NetError(f"no precision '{printable(precision)}'{hint}; fp32, bf16 or fp64")
        if threads is not None and threads < 1:
            raise NetError(f"{threads} threads; give one or more")
        definition = prototxt if isinstance(prototxt, NetDefinition) else read_net(prototxt)
        self._net = running.Net(
            definition, phase, precision=precision, workers=Workers(threads), seed=seed
        )
        if weights is not None:
            self._load(weights, partial)
        self.inputs = {
            name: shape
            for layer in self._net.feeding
            if layer.type != "DummyData"
            for name, shape in zip(layer.tops, layer.top_shapes, strict=True)
        }
        self.outputs = list(self._net.outputs)
        self.layers = [layer.name for layer in self._net.wiring.layers if layer.blobs]

    def _load(self, weights: str | os.PathLike[str], partial: bool) -> None:
        shown = printable(os.fspath(weights))
        self._net.load(read_caffemodel(weights), shown)
        if self._net.uninitialized and not partial:
            where = printable(self._net.definition.source)
            names = ", ".join(f"'{printable(name)}'" for name in self.uninitialized[:3])
            raise NetError(
                f"{shown}: has no weights for {len(self._net.uninitialized)} layers of {where},"
                f" such as {names}; give the net's own, or partial=True to start those from fillers"
            )

    @property
    def uninitialized(self) -> list[str]:
        """Layers with parameters that no weights were given for: they start from fillers."""
        return sorted(self._net.uninitialized)

    def __repr__(self) -> str:
        return f"Net({printable(self._net.definition.source)}: {', '.join(self.inputs)})"

    def forward(self, inputs: Any = None, /, **named: Any) -> dict[str, np.ndarray]:
        """Run a batch.

        Args:
            inputs: an array (batch, channels, height, width) for the only input, or a mapping from
                input names to arrays. The batch may be any, whatever the prototxt says; images
                are in Caffe's form: BGR, mean subtracted.
            named: inputs by name.

        Returns:
            Each output blob as an array.

        Raises:
            NetError: an input is missing, unknown, or of another shape.
        """
        given: dict[str, Any] = dict(inputs) if isinstance(inputs, Mapping) else {}
        given.update(named)
        if inputs is not None and not isinstance(inputs, Mapping):
            if len(self.inputs) != 1:
                names = ", ".join(self.inputs) or "none"
                raise NetError(f"the net's inputs are {names}; give a mapping from name to array")
            given[next(iter(self.inputs))] = inputs
        missing = self.inputs.keys() - given.keys()
        if missing:
            raise NetError(f"no array for input '{sorted(missing)[0]}'")
        return self._net.forward(given)

    def makes(self, blob: str) -> str:
        """The type of the layer that makes a blob, such as `Softmax`."""
        for layer in reversed(self._net.wiring.layers):
            if blob in layer.tops:
                return layer.type
        raise NetError(f"no layer makes '{printable(blob)}'")

    def blobs(self, layer: str) -> list[np.ndarray]:
        """Copies of a layer's parameter blobs: weights, then biases.

        Raises:
            NetError: no such layer.
        """
        return self._net.blobs(layer)

    def set_blobs(self, layer: str, arrays: list[np.ndarray]) -> None:
        """Replace a layer's parameter blobs.

        Raises:
            NetError: no such layer, or other shapes.
        """
        self._net.set_blobs(layer, arrays)

    def save(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write the parameters as a `.caffemodel`, whole or not at all.

        Raises:
            OutputError: it can't be written, or is there already and not to be replaced (`force`).
        """
        net = self._net
        model = to_model(net.name, net.parameters, PHASES[net.phase], diffs=False)
        write_files({Path(path): serialize(model, os.fspath(path))}, force)
