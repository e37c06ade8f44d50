"""Make a caffemodel of a net and the arrays of its layers (Net::ToProto, src/caffe/net.cpp)."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np

from ..errors import NetError
from ..formats.caffemodel import fill_blob
from ..formats.schema import PHASES, NetParameter
from ..nets.definition import NetDefinition
from ..text import printable


def make_caffemodel(
    net: NetDefinition, arrays: Mapping[str, Sequence[np.ndarray]], missing: Container[str] = ()
) -> NetParameter:
    """Return the NetParameter that Net::ToProto would write: the TEST layers, with weights.

    Args:
        net: the net.
        arrays: name of a layer -> its parameter blobs.
        missing: names of layers without weights, which are left out.

    Raises:
        NetError: layers that share a blob would get different weights.
    """
    model = NetParameter(name=net.param.name)
    shared: dict[str, np.ndarray] = {}
    for layer in net.layers("TEST"):
        if layer.name in missing:
            continue  # Caffe would take a layer without blobs for one with too few
        written = model.layer.add()
        written.CopyFrom(layer)
        written.phase = PHASES["TEST"]
        del written.blobs[:]
        for index, array in enumerate(arrays.get(layer.name, ())):
            name = layer.param[index].name if index < len(layer.param) else ""
            first = shared.setdefault(name, array) if name else array
            if not np.array_equal(first.reshape(-1), array.reshape(-1), equal_nan=True):
                raise NetError(
                    f"layer '{printable(layer.name)}' shares '{printable(name)}' with one before"
                    " it, but would get other weights; give the layers blobs of their own"
                )
            fill_blob(written.blobs.add(), array)
    return model
