"""What of a net is compressed: its layers with weights, in order, and their blobs as arrays.

Weights of convolutions and inner products are shared; what else a layer has stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError, NetError
from ..formats.caffemodel import BINARY_LIMIT, blob_array
from ..nets.definition import NetDefinition
from ..nets.layer_types import Shape
from ..nets.shapes import require_shapes
from ..nets.totals import FLOAT_BYTES
from ..text import printable, shape_text
from ..weights.make_caffemodel import make_caffemodel
from ..weights.match import describe_mismatch

SHARED_TYPES = ("Convolution", "InnerProduct")


class Slot(NamedTuple):
    """A layer with weights, as the net has it.

    Attributes:
        name, type: the layer's.
        shapes: of its blobs: weights, then biases where it has them.
        transposed: whether an InnerProduct's weights are (inputs, outputs).
    """

    name: str
    type: str
    shapes: tuple[Shape, ...]
    transposed: bool = False

    @property
    def shared(self) -> bool:
        """Whether its weights are shared."""
        return self.type in SHARED_TYPES

    @property
    def shown(self) -> str:
        """As a message names it."""
        return f"layer '{printable(self.name)}'"

    def filters(self, weights: np.ndarray) -> np.ndarray:
        """Weights of its first blob's shape as (outputs, channels, kernel)."""
        if self.transposed:
            weights = weights.T
        return weights.reshape(len(weights), weights.shape[1], -1)

    def unfiltered(self, filters: np.ndarray) -> np.ndarray:
        """The inverse of `filters`."""
        shape = self.shapes[0]
        return filters[:, :, 0].T if self.transposed else filters.reshape(shape)


def slots_of(net: NetDefinition, image: Shape | None = None) -> list[Slot]:
    """The layers with blobs of a net's TEST phase, in order.

    Raises:
        NetError: Caffe would refuse the net, none has, two have one name, or they are more than a
            caffemodel holds.
    """
    found = []
    for item in require_shapes(net, "TEST", image).layers:
        if item.blobs:
            layer = item.layer
            transposed = layer.type == "InnerProduct" and layer.inner_product_param.transpose
            shapes = tuple(blob.shape for blob in item.blobs)
            found.append(Slot(layer.name, layer.type, shapes, transposed))
    _check_names([slot.name for slot in found], net.source)
    if not found:
        raise NetError(f"{printable(net.source)}: none of its layers has weights in TEST")
    total = FLOAT_BYTES * sum(prod(shape) for slot in found for shape in slot.shapes)
    if total > BINARY_LIMIT:
        raise NetError(
            f"{printable(net.source)}: its weights take {total >> 20:,} MiB, more than the 2 GiB"
            " of a caffemodel"
        )
    return found


def _check_names(names: Sequence[str], source: str) -> None:
    """Refuse layers with weights that have one name: which is meant, nobody can tell."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise NetError(
            f"{printable(source)}: two layers with weights are called '{printable(twice)}'; give"
            " them names of their own"
        )


def digest(slots: Sequence[Slot]) -> bytes:
    """16 bytes that tell nets apart by types and shapes, not by names: SHA-256 of a line a layer,
    such as `Convolution 96x3x7x7 96`."""
    lines = (" ".join([slot.type, *map(shape_text, slot.shapes)]) + "\n" for slot in slots)
    return sha256("".join(lines).encode()).digest()[:16]


def blobs_of(model: Any, slots: Sequence[Slot], source: str) -> list[list[np.ndarray]]:
    """The blobs of each layer of a net in a NetParameter, in float32.

    Args:
        model: the weights, as `formats.caffemodel.read_caffemodel` gives them.
        slots: the layers of the net.
        source: the name of the weights' file, for messages.

    Raises:
        NetError: the weights are another net's, or two layers have one name.
        FormatError: one is not a finite number.
    """
    _check_names([layer.name for layer in model.layer if layer.blobs], source)
    layers = {layer.name: layer for layer in model.layer}
    found = []
    for slot in slots:
        where = f"{printable(source)}: {slot.shown}"
        if slot.name not in layers:
            raise NetError(f"{where} of the net has no weights here; give the net's own")
        blobs = layers[slot.name].blobs
        differs = describe_mismatch(slot.name, blobs, slot.shapes)
        if differs is not None:
            raise NetError(f"{printable(source)}: {differs}; give the net's own")
        arrays = []
        for blob, shape in zip(blobs, slot.shapes, strict=True):
            with np.errstate(over="ignore"):
                array = blob_array(blob).reshape(shape).astype(np.float32)
            if not np.isfinite(array).all():
                raise FormatError(f"{where} has a value that is not a finite float32")
            arrays.append(array)
        found.append(arrays)
    return found


def unused_layers(model: Any, slots: Sequence[Slot]) -> list[str]:
    """The names of layers that have weights which the net does not take."""
    taken = {slot.name for slot in slots}
    return [layer.name for layer in model.layer if layer.blobs and layer.name not in taken]


def to_model(
    net: NetDefinition, slots: Sequence[Slot], blobs: Sequence[Sequence[np.ndarray]]
) -> Any:
    """The NetParameter of a net's layers in TEST, with the blobs of its slots.

    Raises:
        NetError: layers that share a blob would get different weights.
    """
    names = [slot.name for slot in slots]
    return make_caffemodel(net, dict(zip(names, blobs, strict=True)))
