"""Find the layers of a net that have weights, and read their blobs from a caffemodel.

Compression shares the weights of convolutions and inner products; all other blobs stay exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import FormatError, NetError
from ..formats.caffemodel import blob_array
from ..formats.files import BINARY_LIMIT
from ..formats.ristretto import plain_type
from ..formats.schema import BlobProto, NetParameter
from ..nets.definition import NetDefinition
from ..nets.layer_types import Shape
from ..nets.shapes import require_shapes
from ..nets.totals import FLOAT_BYTES
from ..text import printable, shape_text
from ..weights.make_caffemodel import make_caffemodel
from ..weights.match import describe_mismatch

SHARED_TYPES = ("Convolution", "InnerProduct")


class WeightedLayer(NamedTuple):
    """A layer with weights, as the net defines it.

    Attributes:
        name: of the layer.
        type: of the layer; of one of Ristretto's, that which it quantizes.
        shapes: of its blobs: weights, then biases if it has them.
        transposed: whether an InnerProduct's weights are (inputs, outputs).
    """

    name: str
    type: str
    shapes: tuple[Shape, ...]
    transposed: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether compression shares its weights."""
        return self.type in SHARED_TYPES

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return f"layer '{printable(self.name)}'"

    def to_filters(self, weights: np.ndarray) -> np.ndarray:
        """Reshape weights to (outputs, channels, weights of a kernel)."""
        if self.transposed:
            weights = weights.T
        return weights.reshape(len(weights), weights.shape[1], -1)

    def from_filters(self, filters: np.ndarray) -> np.ndarray:
        """Invert `to_filters`."""
        shape = self.shapes[0]
        return filters[:, :, 0].T if self.transposed else filters.reshape(shape)


def find_weighted_layers(net: NetDefinition, image: Shape | None = None) -> list[WeightedLayer]:
    """Return the layers with blobs of a net's TEST phase, in order.

    Args:
        net: the net.
        image: (channels, height, width) of the records of data layers that don't define it.

    Raises:
        NetError: Caffe would refuse the net, no layer has blobs, two of them share a name, or the
            blobs exceed the size of a caffemodel.
    """
    layers = []
    for item in require_shapes(net, "TEST", image).layers:
        if item.blobs:
            layer = item.layer
            kind = plain_type(layer.type)
            transposed = kind == "InnerProduct" and layer.inner_product_param.transpose
            shapes = tuple(blob.shape for blob in item.blobs)
            layers.append(WeightedLayer(layer.name, kind, shapes, transposed))
    _check_names([layer.name for layer in layers], net.source)
    if not layers:
        raise NetError(f"{printable(net.source)}: none of its layers has weights in TEST")
    total = FLOAT_BYTES * sum(prod(shape) for layer in layers for shape in layer.shapes)
    if total > BINARY_LIMIT:
        raise NetError(
            f"{printable(net.source)}: its weights take {total >> 20:,} MiB, more than the 2 GiB"
            " of a caffemodel"
        )
    return layers


def _check_names(names: Sequence[str], source: str) -> None:
    """Refuse two layers with weights of one name, which a caffemodel can't distinguish."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise NetError(
            f"{printable(source)}: two layers with weights have the name '{printable(twice)}';"
            " rename one"
        )


def digest(layers: Sequence[WeightedLayer]) -> bytes:
    """Return 16 bytes that identify a net by types and shapes, not by names.

    They are from the SHA-256 of a line a layer, such as `Convolution 96x3x7x7 96`.
    """
    lines = (" ".join([layer.type, *map(shape_text, layer.shapes)]) + "\n" for layer in layers)
    return sha256("".join(lines).encode()).digest()[:16]


def read_blobs(
    model: NetParameter, layers: Sequence[WeightedLayer], source: str
) -> list[list[np.ndarray]]:
    """Return the float32 blobs of each layer.

    Args:
        model: the weights, as `formats.caffemodel.read_caffemodel` returns them.
        layers: of the net.
        source: the name of the weights' file, for errors.

    Raises:
        NetError: the weights don't fit the net, or two layers share a name.
        FormatError: a weight is not a finite number.
    """
    _check_names([saved.name for saved in model.layer if saved.blobs], source)
    saved_blobs = {saved.name: saved.blobs for saved in model.layer}
    blobs = []
    for layer in layers:
        where = f"{printable(source)}: {layer.shown}"
        if layer.name not in saved_blobs:
            raise NetError(f"{where} of the net has no weights here; give the net's own")
        difference = describe_mismatch(layer.name, saved_blobs[layer.name], layer.shapes)
        if difference is not None:
            raise NetError(f"{printable(source)}: {difference}; give the net's own")
        pairs = zip(saved_blobs[layer.name], layer.shapes, strict=True)
        blobs.append([_read_blob(blob, shape, where) for blob, shape in pairs])
    return blobs


def _read_blob(blob: BlobProto, shape: Shape, where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = blob_array(blob).reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise FormatError(f"{where} has a value that is not a finite float32")
    return array


def unused_layers(model: NetParameter, layers: Sequence[WeightedLayer]) -> list[str]:
    """Return the names of the layers in `model` whose weights the net does not use."""
    used = {layer.name for layer in layers}
    return [saved.name for saved in model.layer if saved.blobs and saved.name not in used]


def to_model(
    net: NetDefinition, layers: Sequence[WeightedLayer], blobs: Sequence[Sequence[np.ndarray]]
) -> NetParameter:
    """Return the caffemodel of a net's TEST phase with these blobs.

    Raises:
        NetError: layers that share a blob would get different weights.
    """
    names = [layer.name for layer in layers]
    return make_caffemodel(net, dict(zip(names, blobs, strict=True)))
