"""The net in a caffemodel as a prototxt has it (Net::ToProto, src/caffe/net.cpp)."""

from __future__ import annotations

import re

from ..errors import FormatError
from ..formats.ristretto import RISTRETTO_TYPES
from ..formats.schema import LayerParameter, NetParameter
from ..text import printable
from .graph import build_graph

_SPLIT = re.compile(r".*_split_\d+", re.DOTALL)  # the tops that insert_splits.cpp makes


def stored_net(model: NetParameter, source: str) -> NetParameter:
    """Return the layers of a caffemodel without weights, phases, and the splits of Caffe.

    They are those of the phase that saved it, mostly TRAIN.

    Raises:
        FormatError: the file has names and weights alone.
    """
    bare = [layer.name for layer in model.layer if layer.blobs and not layer.top]
    if bare or not model.layer:
        what = f"such as '{printable(bare[0])}'" if bare else "or none"
        raise FormatError(
            f"{source}: has weights, but not the definitions of their layers, {what}; the net can't"
            " be written"
        )
    net = NetParameter()
    net.CopyFrom(model)
    for layer in net.layer:
        layer.ClearField("blobs")
        layer.ClearField("phase")
        if layer.type not in RISTRETTO_TYPES:
            layer.ClearField("quantization_param")  # its number is also that of other forks' fields
    _remove_splits(net)
    return net


def _remove_splits(net: NetParameter) -> None:
    """Let the readers of a split read its bottom: Caffe inserts the split again."""
    graph = build_graph(net.layer)
    renamed: dict[str, str] = {}
    dropped: set[int] = set()
    for node in graph.nodes:
        layer: LayerParameter = node.layer
        readers = [graph.nodes[bottom.layer] for tops in node.readers for bottom in tops]
        # A layer that works in place on its part would work on what the others read.
        in_place = any(set(reader.tops) & set(node.tops) for reader in readers)
        if layer.type == "Split" and all(map(_SPLIT.fullmatch, layer.top)) and not in_place:
            renamed |= dict.fromkeys(layer.top, layer.bottom[0])
            dropped.add(node.index)
    kept = [layer for index, layer in enumerate(net.layer) if index not in dropped]
    del net.layer[:]
    net.layer.extend(kept)
    for layer in net.layer:
        layer.bottom[:] = [renamed.get(name, name) for name in layer.bottom]
