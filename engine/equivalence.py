"""Prove that two nets compute the same: run both on the same random inputs and compare blobs.

An output that does not depend on the input proves little: above a ReLU that is always 0, any
weights agree. So both nets run on two inputs, and the proof names the layers with the same output
for both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import NetError
from ..extras import required
from ..formats.caffemodel import blob_array
from ..formats.schema import LayerParameter, NetParameter
from ..nets.definition import NetDefinition
from ..nets.inference_graph import InferenceGraph
from ..text import printable
from ..weights.mapping import EqualBlobs, WeightMapping
from ..weights.net_arrays import Arrays

if TYPE_CHECKING:
    from .executor import Executor

PRECISION = "fp64"
TOLERANCE = 1e-9  # relative to a blob's largest element; reordering a sum changes about 1e-15
_INPUT_SCALE = 64.0  # standard deviation, about that of pixels
_INPUTS = 2


class Proof(NamedTuple):
    """The outcome of a comparison.

    Attributes:
        inputs: name in the target -> shape of the random input.
        blobs: number of blobs compared: the tops of layers with weights, and the outputs.
        largest: the largest difference, relative to its blob's largest element.
        blind: layers with the same output for both inputs, which proves little about their weights.
    """

    inputs: dict[str, tuple[int, ...]]
    blobs: int
    largest: float
    blind: list[str]


def load_engine() -> type[Executor]:
    """Import the class that runs nets.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    purpose = "the proof that both nets compute the same"
    with required("torch", purpose, ", and --no-proof goes without"):
        from .executor import Executor
    return Executor


def prove(
    engine: type[Executor],
    source: InferenceGraph,
    target: InferenceGraph,
    mapping: WeightMapping,
    model: NetParameter,
) -> Proof:
    """Run both nets on random inputs, and compare the tops of all layers with weights.

    Args:
        engine: from `load_engine`.
        source, target: the nets that `map_weights` mapped.
        mapping: its result.
        model: the source's weights.

    Raises:
        NetError: a blob differs or is not finite; names the first such layer.
    """
    random = np.random.default_rng(0)
    inputs = [
        {name: random.normal(0, _INPUT_SCALE, shape) for name, _, shape in mapping.inputs}
        for _ in range(_INPUTS)
    ]
    renamed = [{other: arrays[name] for name, other, _ in mapping.inputs} for arrays in inputs]
    stored = {layer.name: list(map(blob_array, layer.blobs)) for layer in model.layer}
    pairs = mapping.equal_blobs
    target_layers, source_layers = mapping.layers
    target_blobs = run_graph(
        engine, target, target_layers, mapping.arrays, inputs, [pair.target for pair in pairs]
    )
    source_blobs = run_graph(
        engine, source, source_layers, stored, renamed, [pair.source for pair in pairs]
    )
    largest, blind = 0.0, []
    for pair, blob, source_blob in zip(pairs, target_blobs, source_blobs, strict=True):
        largest = max(largest, _compare(source, target, pair, blob, source_blob))
        if (blob == blob[0]).all():
            blind.append(pair.layer)
    return Proof({name: shape for name, _, shape in mapping.inputs}, len(pairs), largest, blind)


def prove_rewritten(
    engine: type[Executor],
    source: NetDefinition,
    source_arrays: Arrays,
    target: NetDefinition,
    arrays: Arrays,
    blobs: Collection[str] | None = None,
    tolerance: float = TOLERANCE,
) -> Proof:
    """Run a deploy net, and what it was rewritten as, on random inputs; compare blobs of both.

    Args:
        engine: from `load_engine`.
        source, source_arrays: the net, and name of a layer -> its parameter blobs.
        target, arrays: what it was rewritten as; its blobs have the names of the source's.
        blobs: names of those to compare; None compares all.
        tolerance: the largest difference, relative to a blob's largest element.

    Raises:
        NetError: a blob differs or is not finite; names the first such layer, with file:line.
    """
    makers = {name: layer for layer in target.layers("TEST") for name in layer.top}
    nets = [_load(engine, source, source_arrays), _load(engine, target, arrays)]
    shapes = {
        name: shape
        for layer in nets[1].inputs.layers
        for name, shape in zip(layer.tops, layer.top_shapes, strict=True)
    }
    random = np.random.default_rng(0)
    names = [n for n in makers if n not in shapes and (blobs is None or n in blobs)]
    results = []
    for _ in range(_INPUTS):
        inputs = {name: random.normal(0, _INPUT_SCALE, shape) for name, shape in shapes.items()}
        results.append([net.forward(inputs, keep=set(names)) for net in nets])
    largest, blind = 0.0, []
    for name in names:
        layer = makers[name]
        where = f"{target.place(layer)}: layer '{printable(layer.name)}'"
        for ours, theirs in results:
            other = f"'{printable(name)}' in the net before"
            largest = max(largest, _difference(where, theirs[name], ours[name], other, tolerance))
        if np.array_equal(results[0][1][name], results[1][1][name]):
            blind.append(layer.name)
    return Proof(shapes, len(names), largest, blind)


def _compare(
    source: InferenceGraph,
    target: InferenceGraph,
    pair: EqualBlobs,
    blob: np.ndarray,
    source_blob: np.ndarray,
) -> float:
    """Return the largest difference of a blob from the source's, relative to its largest element.

    Both are (inputs, batch, channels, ...).
    """
    where = f"{printable(target.source)}: layer '{printable(pair.layer)}'"
    expected = source_blob[:, :, pair.order] if pair.order.size else source_blob
    other = f"'{printable(pair.source)}' in {printable(source.source)}"
    return _difference(where, blob, expected, other)


def _difference(
    where: str,
    blob: np.ndarray,
    expected: np.ndarray,
    other: str,
    tolerance: float = TOLERANCE,
) -> float:
    """Return the largest difference of a blob, relative to the largest element of `expected`.

    Raises:
        NetError: it is above the tolerance, or a value is not finite.
    """
    if not (np.isfinite(blob).all() and np.isfinite(expected).all()):
        raise NetError(
            f"{where}: its output for a random input is not finite, so that nothing can be"
            " proven; inspect the weights with sqgen weights show"
        )
    difference = float(np.abs(blob - expected).max()) / (float(np.abs(expected).max()) or 1.0)
    if difference > tolerance:
        raise NetError(
            f"{where}: the nets differ here: on a random input the output differs by"
            f" {difference:.1e} of its largest element from {other}"
        )
    return difference


def run_graph(
    engine: type[Executor],
    graph: InferenceGraph,
    layers: Sequence[LayerParameter],
    arrays: Arrays,
    inputs: Sequence[Mapping[str, np.ndarray]],
    blobs: Sequence[str],
) -> list[np.ndarray]:
    """Run a net in float64; return `blobs`, each as (inputs, batch, channels, ...).

    Args:
        engine: from `load_engine`.
        graph: the net.
        layers: those of its layers to run.
        arrays: name of a layer -> its parameter blobs.
        inputs: for each run, name of an input -> its values (batch, ...).
        blobs: names of blobs.
    """
    shapes = {name: array.shape for name, array in inputs[0].items()}
    net = _load(engine, graph.definition(shapes, layers), arrays)
    # Each blob of the graph is the top of one layer: none is overwritten.
    results = [net.forward(arrays, keep=set(blobs)) for arrays in inputs]
    return [np.stack([result[blob] for result in results]) for blob in blobs]


def _load(engine: type[Executor], definition: NetDefinition, arrays: Arrays) -> Executor:
    net = engine(definition, "TEST", precision=PRECISION)
    for layer in net.wiring.layers:
        if layer.blobs:
            pairs = zip(arrays[layer.name], net.blobs(layer.name), strict=True)
            net.set_blobs(layer.name, [array.reshape(blob.shape) for array, blob in pairs])
    return net
