"""Weights held against a net: which layers get theirs, which don't, and what is left over.

By name, blob by blob, as Net::CopyTrainedLayersFrom does (src/caffe/net.cpp).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import NetError, printable
from .caffemodel import blob_array, blob_shape, same_blob_shape
from .shapes import NetShapes

SHOWN = 3  # names in a message


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
        NetError: a layer has other blobs than the net's of that name, which stops Caffe.
    """
    wanted = {item.layer.name: item.blobs for item in shapes.layers if item.blobs}
    known = {item.layer.name for item in shapes.layers}
    found: dict[str, Any] = {}
    result = Matching()
    for source, model in models:
        for layer in model.layer:
            if not layer.blobs:
                continue
            if layer.name in wanted:
                _check(layer, [blob.shape for blob in wanted[layer.name]], printable(source))
                found[layer.name] = layer
            elif layer.name not in known and layer.name not in result.unused:
                result.unused.append(layer.name)
    for name in wanted:
        (result.matched if name in found else result.missing).append(name)
    for name in result.matched:
        arrays = [blob_array(blob) for blob in found[name].blobs]
        if arrays[0].size and not arrays[0].any():
            result.zero.append(name)
        # A sum is finite unless a value is not, or the sum of float32 overflows, which is odd too.
        if not all(abs(float(array.sum(dtype="f8"))) < float("inf") for array in arrays):
            result.odd.append(name)
    return result


def _check(layer: Any, shapes: list[tuple[int, ...]], source: str) -> None:
    name = printable(layer.name)
    if len(layer.blobs) != len(shapes):
        raise NetError(
            f"{source}: layer '{name}' has {len(layer.blobs)} blobs there and {len(shapes)} in the"
            " net; give the net's own weights, or rename the layer to start it fresh"
        )
    for index, (blob, shape) in enumerate(zip(layer.blobs, shapes, strict=True)):
        if not same_blob_shape(blob, shape):
            there, here = ("x".join(map(str, one)) or "scalar" for one in (blob_shape(blob), shape))
            raise NetError(
                f"{source}: layer '{name}', blob {index} is {there} there and {here} in the net;"
                " give the net's own weights, or rename the layer to start it fresh"
            )


def names(layers: list[str]) -> str:
    """Layers as a message names them: the first few."""
    shown = ", ".join(printable(name) for name in layers[:SHOWN])
    return shown + (f" and {len(layers) - SHOWN} more" if len(layers) > SHOWN else "")
