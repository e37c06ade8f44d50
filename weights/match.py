"""Match a caffemodel's blobs to a net's layers by name and shape; report missing and unused ones.

Layers match by name, as in Net::CopyTrainedLayersFrom (src/caffe/net.cpp).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import NetError
from ..formats.caffemodel import blob_array, blob_shape, is_shared_blob, same_blob_shape
from ..formats.schema import BlobProto, LayerParameter, NetParameter
from ..nets.layer_types import Shape
from ..nets.shapes import NetShapes
from ..text import printable, shape_text


class WeightMatch(NamedTuple):
    """Names of layers, each list in the order of its file.

    Attributes:
        matched: layers of the net that get all their blobs.
        missing: layers of the net with parameters that no caffemodel has.
        unused: layers with blobs that the net does not have.
        all_zero: matched layers whose first blob, the weights, is all zeros.
        not_finite: matched layers with a value that is nan or infinite.
    """

    matched: list[str]
    missing: list[str]
    unused: list[str]
    all_zero: list[str]
    not_finite: list[str]

    @property
    def layer_count(self) -> int:
        """Number of the net's layers with parameters."""
        return len(self.matched) + len(self.missing)


def fits_few(matched: int, missing: int) -> bool:
    """Decide whether weights fit so few layers that others were probably meant: less than half."""
    return matched < missing


def match_weights(shapes: NetShapes, models: Iterable[tuple[str, NetParameter]]) -> WeightMatch:
    """Match caffemodels to the layers of a net in one phase.

    Where several have a layer, the last one counts, as for `--weights a,b`.

    Args:
        shapes: the net.
        models: (file name for messages, NetParameter) of each caffemodel.

    Raises:
        NetError: a layer has other blobs than the net's layer of that name, which stops Caffe.
    """
    net_blobs: dict[str, list[Shape]] = {}
    for item in shapes.layers:
        net_blobs.setdefault(item.layer.name, [blob.shape for blob in item.blobs])
    shared = _shared_blobs(shapes)
    stored: dict[str, Sequence[BlobProto]] = {}
    unused: dict[str, None] = {}
    for source, model in models:
        for layer in model.layer:
            if layer.name in net_blobs:
                _check_blobs(source, layer, net_blobs[layer.name], shared[layer.name])
                stored[layer.name] = layer.blobs
            elif layer.blobs:
                unused[layer.name] = None
    weighted = [name for name, blobs in net_blobs.items() if blobs]
    matched = [name for name in weighted if name in stored]
    missing = [name for name in weighted if name not in stored]
    result = WeightMatch(matched, missing, list(unused), [], [])
    for name in matched:
        arrays = [blob_array(blob) for blob in stored[name] if not is_shared_blob(blob)]
        if arrays and arrays[0].size and not arrays[0].any():
            result.all_zero.append(name)
        # The sum in float64 is faster to check than each value, and overflows for none of float32.
        if not all(abs(float(array.sum(dtype="f8"))) < float("inf") for array in arrays):
            result.not_finite.append(name)
    return result


def _shared_blobs(shapes: NetShapes) -> dict[str, list[bool]]:
    """Return for each layer which of its blobs are a layer's before it, shared by name."""
    owned: set[str] = set()
    shared: dict[str, list[bool]] = {}
    for item in shapes.layers:
        names = [spec.name for spec in item.layer.param]
        shared.setdefault(item.layer.name, [name in owned for name in names])
        owned |= {*names} - {""}
    return shared


def _check_blobs(
    source: str, layer: LayerParameter, shapes: Sequence[Shape], shared: Sequence[bool]
) -> None:
    mismatch = describe_mismatch(layer.name, layer.blobs, shapes, shared)
    if mismatch is not None:
        raise NetError(
            f"{printable(source)}: {mismatch}; give the net's own weights, or rename the layer to"
            " start it fresh"
        )


def describe_mismatch(
    name: str,
    blobs: Sequence[BlobProto],
    shapes: Sequence[Shape],
    shared: Sequence[bool] = (),
) -> str | None:
    """Return how stored blobs differ from those of a net's layer; None where they fit.

    Args:
        name: the layer's name.
        blobs: the BlobProtos stored under it.
        shapes: the shapes of the blobs in the net.
        shared: which of them a layer before has, so that HDF5 lacks them here.
    """
    layer = f"layer '{printable(name)}'"
    present = {i: blob for i, blob in enumerate(blobs) if not is_shared_blob(blob)}
    required = {i for i in range(len(shapes)) if not (i < len(shared) and shared[i])}
    if len(blobs) > len(shapes) or not required <= present.keys():
        return f"{layer} has {len(present)} blobs there and {len(shapes)} in the net"
    for index, blob in present.items():
        if not same_blob_shape(blob, shapes[index]):
            there, here = shape_text(blob_shape(blob)), shape_text(shapes[index])
            return f"{layer}, blob {index} is {there} there and {here} in the net"
    return None
