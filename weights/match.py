"""Weights held against a net: which layers get theirs, which don't, and what is left over.

By name, blob by blob, as Net::CopyTrainedLayersFrom does (src/caffe/net.cpp).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import NetError
from ..formats.caffemodel import blob_array, blob_shape, same_blob_shape
from ..nets.layer_types import Shape
from ..nets.shapes import NetShapes
from ..text import printable, shape_text


@dataclass
class Matching:
    """Names of layers, each list in the order of its file.

    Attributes:
        matched: layers of the net that get all their blobs.
        missing: layers of the net with blobs that no file has.
        unused: layers with blobs that the net does not have.
        zero: matched layers whose first blob, the weights, is all zeros.
        odd: matched layers with a value that is nan or infinite.
    """

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    zero: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def match_weights(shapes: NetShapes, models: Iterable[tuple[str, Any]]) -> Matching:
    """Hold caffemodels, each with its name for messages, against the layers of a phase.

    Where several have a layer, the last one counts, as for `--weights a,b`.

    Raises:
        NetError: a layer has other blobs than the net's of that name, or has none and the net's
            has, or the other way round, which all stop Caffe.
    """
    wanted: dict[str, list[Shape]] = {}
    for item in shapes.layers:
        wanted.setdefault(item.layer.name, [blob.shape for blob in item.blobs])
    found: dict[str, Any] = {}
    result = Matching()
    for source, model in models:
        for layer in model.layer:
            if layer.name in wanted:
                differs = mismatch(layer.name, layer.blobs, wanted[layer.name])
                if differs is not None:
                    raise NetError(
                        f"{printable(source)}: {differs}; give the net's own weights, or rename the"
                        " layer to start it fresh"
                    )
                found[layer.name] = layer
            elif layer.blobs and layer.name not in result.unused:
                result.unused.append(layer.name)
    for name in (name for name, blobs in wanted.items() if blobs):
        (result.matched if name in found else result.missing).append(name)
    for name in result.matched:
        arrays = [blob_array(blob) for blob in found[name].blobs]
        if arrays[0].size and not arrays[0].any():
            result.zero.append(name)
        # A sum is finite unless a value is not, or the sum of float32 overflows, which is odd too.
        if not all(abs(float(array.sum(dtype="f8"))) < float("inf") for array in arrays):
            result.odd.append(name)
    return result


def mismatch(name: str, blobs: Sequence[Any], shapes: Sequence[Shape]) -> str | None:
    """How BlobProtos differ from what a layer of a net takes; None where they fit.

    Args:
        name: the layer's.
        blobs: that are stored under it.
        shapes: of the blobs that the net has there.
    """
    layer = f"layer '{printable(name)}'"
    if len(blobs) != len(shapes):
        return f"{layer} has {len(blobs)} blobs there and {len(shapes)} in the net"
    for index, (blob, shape) in enumerate(zip(blobs, shapes, strict=True)):
        if not same_blob_shape(blob, shape):
            there, here = shape_text(blob_shape(blob)), shape_text(shape)
            return f"{layer}, blob {index} is {there} there and {here} in the net"
    return None
