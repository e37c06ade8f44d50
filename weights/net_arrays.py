"""The parameter blobs of each layer of a net, from caffemodels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import NetError
from ..formats.caffemodel import blob_array, is_shared_blob
from ..formats.schema import BlobProto, NetParameter
from ..nets.shapes import NetShapes
from ..text import first_few
from .match import match_weights

Model = tuple[str, NetParameter]  # the file's name for messages, and its contents
Arrays = Mapping[str, Sequence[np.ndarray]]  # name of a layer -> its parameter blobs


def net_arrays(shapes: NetShapes, models: Sequence[Model]) -> dict[str, list[np.ndarray]]:
    """Return the blobs of each layer with parameters, in the shapes that the net gives them.

    Where several caffemodels have a layer, the last one counts. A blob that layers share by name is
    that of the last of them that stores it, since Caffe loads each into the same memory.

    Raises:
        NetError: a layer has no weights, or those of another shape.
    """
    match = match_weights(shapes, models)
    if match.missing:
        files = " and ".join(source for source, _ in models)
        raise NetError(
            f"{files}: has no weights for {len(match.missing)} layers of the net, such as"
            f" {first_few(match.missing)}; give the net's own"
        )
    stored: dict[str, Sequence[BlobProto]] = {
        layer.name: layer.blobs for _, model in models for layer in model.layer
    }
    shared: dict[str, np.ndarray] = {}
    arrays: dict[str, list[np.ndarray]] = {}
    for layer, _, _, blobs, _ in shapes.layers:
        names = [spec.name for spec in layer.param] + [""] * len(blobs)
        for index, blob in enumerate(blobs):
            there = stored[layer.name]
            if index < len(there) and not is_shared_blob(there[index]):
                array = blob_array(there[index]).reshape(blob.shape)
                if names[index]:
                    shared[names[index]] = array
    for layer, _, _, blobs, _ in shapes.layers:
        names = [spec.name for spec in layer.param] + [""] * len(blobs)
        arrays[layer.name] = [
            shared[names[index]]
            if names[index]
            else blob_array(stored[layer.name][index]).reshape(blob.shape)
            for index, blob in enumerate(blobs)
        ]
    return arrays
