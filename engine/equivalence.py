"""Prove that two nets compute the same: run both with their weights on the same random inputs.

A layer's output shows its weights only where it changes with the input: behind a ReLU that passes
nothing, any weights would agree. So both nets run on two inputs, and the proof names the layers
whose output is the same for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import NetError
from ..extras import required
from ..formats.caffemodel import blob_array
from ..formats.schema import message_class
from ..nets.inference_graph import InferenceGraph
from ..text import printable
from ..weights.mapping import EqualBlobs, WeightMapping

if TYPE_CHECKING:
    from .api import Net

PRECISION = "fp64"
TOLERANCE = 1e-9  # relative to a blob's largest element; reordering a sum changes about 1e-15
_INPUT_SCALE = 64.0  # standard deviation, about that of pixels
_INPUTS = 2
_COPY = "copy "  # name of the layer that copies a blob, so that none in place overwrites it


class Proof(NamedTuple):
    """The outcome of a comparison.

    Attributes:
        inputs: name in the target -> shape of the random input.
        blobs: number of blobs compared: the tops of layers with weights, and the outputs.
        largest: the largest difference, relative to its blob's largest element.
        blind: layers with the same output for both inputs, which shows little of their weights.
    """

    inputs: dict[str, tuple[int, ...]]
    blobs: int
    largest: float
    blind: list[str]


def load_engine() -> type[Net]:
    """Import the class that runs nets.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    purpose = "the proof that both nets compute the same"
    with required("torch", purpose, ", and --no-proof goes without"):
        from .api import Net
    return Net


def prove(
    engine: type[Net],
    source: InferenceGraph,
    target: InferenceGraph,
    mapping: WeightMapping,
    model: Any,
) -> Proof:
    """Run both nets on random inputs, and compare the tops of all layers with weights.

    Args:
        engine: from `load_engine`.
        source, target: the nets that were mapped.
        mapping: the result of `map_weights`.
        model: the NetParameter with the source's weights.

    Raises:
        NetError: a blob differs, with the first such layer; or a blob is not finite.
    """
    random = np.random.default_rng(0)
    inputs = [
        {name: random.normal(0, _INPUT_SCALE, shape) for name, _, shape in mapping.inputs}
        for _ in range(_INPUTS)
    ]
    renamed = [{other: arrays[name] for name, other, _ in mapping.inputs} for arrays in inputs]
    stored = {layer.name: list(map(blob_array, layer.blobs)) for layer in model.layer}
    pairs = mapping.equal_blobs
    layers, other_layers = mapping.layers
    ours = _run(engine, target, layers, mapping.arrays, inputs, [pair.target for pair in pairs])
    theirs = _run(engine, source, other_layers, stored, renamed, [pair.source for pair in pairs])
    largest, blind = 0.0, []
    for pair, blob, other in zip(pairs, ours, theirs, strict=True):
        largest = max(largest, _compare(source, target, pair, blob, other))
        if (blob == blob[0]).all():
            blind.append(pair.layer)
    return Proof({name: shape for name, _, shape in mapping.inputs}, len(pairs), largest, blind)


def _compare(
    source: InferenceGraph,
    target: InferenceGraph,
    pair: EqualBlobs,
    blob: np.ndarray,
    other: np.ndarray,
) -> float:
    """Return the largest difference of a blob from the source's, relative to its maximum."""
    where = f"{printable(target.source)}: layer '{printable(pair.layer)}'"
    expected = other[:, :, pair.order] if pair.order.size else other
    if not (np.isfinite(blob).all() and np.isfinite(expected).all()):
        raise NetError(
            f"{where}: what it makes of a random input is not finite, so that nothing can be"
            " proven; inspect the weights with sqgen weights show"
        )
    difference = float(np.abs(blob - expected).max()) / (float(np.abs(expected).max()) or 1.0)
    if difference > TOLERANCE:
        raise NetError(
            f"{where}: the nets differ here: on a random input the outcome differs by"
            f" {difference:.1e} of its largest element from what '{printable(pair.source)}' is in"
            f" {printable(source.source)}"
        )
    return difference


def _run(
    engine: type[Net],
    graph: InferenceGraph,
    layers: Sequence[Any],
    arrays: Mapping[str, Sequence[np.ndarray]],
    inputs: Sequence[Mapping[str, np.ndarray]],
    blobs: Sequence[str],
) -> list[np.ndarray]:
    """Return `blobs` of a net of these layers, each as (inputs, batch, channels, ...)."""
    power = message_class("LayerParameter")
    copies = [
        power(name=f"{_COPY}{index}", type="Power", bottom=[blob], top=[f"{_COPY}{index}"])
        for index, blob in enumerate(blobs)
    ]
    shapes = {name: array.shape for name, array in inputs[0].items()}
    net = engine(graph.definition(shapes, [*layers, *copies]), precision=PRECISION)
    for name in net.layers:
        pairs = zip(arrays[name], net.blobs(name), strict=True)
        net.set_blobs(name, [array.reshape(own.shape) for array, own in pairs])
    results = [net.forward(arrays) for arrays in inputs]
    return [np.stack([result[copy.name] for result in results]) for copy in copies]
