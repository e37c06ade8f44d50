"""That two nets compute the same with the weights they have: both run on the same random inputs.

What a layer makes shows something of its weights only if it changes with the input: behind a ReLU
that lets nothing through, any weights would do. So there are two inputs, and layers that make the
same of both are told.
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
from ..weights.mapping import Mapped

if TYPE_CHECKING:
    from .api import Net

PRECISION = "fp64"
TOLERANCE = 1e-9  # of a blob's largest element; another order of a sum costs about 1e-15
_INPUT_SCALE = 64.0  # about that of pixels
_INPUTS = 2
_TAP = "tap "


class Proof(NamedTuple):
    """What was compared.

    Attributes:
        inputs: shapes of the random inputs, by the target's names.
        blobs: how many blobs were compared: what layers with weights make, and the outputs.
        largest: the largest difference, relative to its blob's largest element.
        blind: layers that made the same of both inputs, so that little was seen of their weights.
    """

    inputs: dict[str, tuple[int, ...]]
    blobs: int
    largest: float
    blind: list[str]


def load_engine() -> type[Net]:
    """The class that runs nets.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    purpose = "the proof that both nets compute the same"
    with required("torch", purpose, ", and --no-proof goes without"):
        from .api import Net
    return Net


def prove(
    engine: type[Net], source: InferenceGraph, target: InferenceGraph, mapped: Mapped, model: Any
) -> Proof:
    """Run both nets on random inputs, and compare all that layers with weights make.

    Args:
        engine: from `load_engine`.
        source, target: the flows that were mapped.
        mapped: what `map_weights` made of them.
        model: the NetParameter with the source's weights.

    Raises:
        NetError: they differ, and in which layer first; or a blob is not finite.
    """
    random = np.random.default_rng(0)
    given = [
        {name: random.normal(0, _INPUT_SCALE, shape) for name, _, shape in mapped.inputs}
        for _ in range(_INPUTS)
    ]
    stored = {layer.name: list(map(blob_array, layer.blobs)) for layer in model.layer}
    taps = mapped.taps
    ours = _run(engine, target, mapped.layers[0], mapped.arrays, given, [t.target for t in taps])
    others = [{other: one[name] for name, other, _ in mapped.inputs} for one in given]
    theirs = _run(engine, source, mapped.layers[1], stored, others, [t.source for t in taps])
    largest, blind = 0.0, []
    for tap, one, other in zip(taps, ours, theirs, strict=True):
        where = f"{printable(target.source)}: layer '{printable(tap.layer)}'"
        expected = other[:, :, tap.order] if tap.order.size else other
        if not (np.isfinite(one).all() and np.isfinite(expected).all()):
            raise NetError(
                f"{where}: what it makes of a random input is not finite, so that nothing can be"
                " proven; look at the weights with sqgen weights show"
            )
        apart = float(np.abs(one - expected).max()) / (float(np.abs(expected).max()) or 1.0)
        if apart > TOLERANCE:
            raise NetError(
                f"{where}: the nets part here: on a random input the outcome differs by {apart:.1e}"
                f" of its largest element from what '{printable(tap.source)}' is in"
                f" {printable(source.source)}"
            )
        largest = max(largest, apart)
        if (one == one[0]).all():
            blind.append(tap.layer)
    return Proof({name: shape for name, _, shape in mapped.inputs}, len(taps), largest, blind)


def _run(
    engine: type[Net],
    flow: InferenceGraph,
    layers: Sequence[Any],
    arrays: Mapping[str, Sequence[np.ndarray]],
    inputs: Sequence[Mapping[str, np.ndarray]],
    wanted: Sequence[str],
) -> list[np.ndarray]:
    """The blobs `wanted` of a net of these layers, each as (inputs, batch, channels, ...)."""
    power = message_class("LayerParameter")
    taps = [
        power(name=f"{_TAP}{index}", type="Power", bottom=[blob], top=[f"{_TAP}{index}"])
        for index, blob in enumerate(wanted)
    ]
    shapes = {name: array.shape for name, array in inputs[0].items()}
    net = engine(flow.definition(shapes, [*layers, *taps]), precision=PRECISION)
    for name in net.layers:
        old = net.blobs(name)
        new = zip(arrays[name], old, strict=True)
        net.set_blobs(name, [array.reshape(own.shape) for array, own in new])
    made = [net.forward(one) for one in inputs]
    return [np.stack([one[tap.name] for one in made]) for tap in taps]
