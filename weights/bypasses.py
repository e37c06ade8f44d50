"""Leave out the bypasses that only one of two nets has, so that the rest can be mapped.

A bypass adds what a module reads, or a convolution of it, to what the module makes (SqueezeNet,
arXiv:1602.07360, section 6). Of the bottoms of such a sum, the trunk is the one at the end of the
longest path from the inputs. Here a sum counts as its trunk, in both nets; what then has the same
signature in both is the same place, and a bypass there that adds the same is one that both have.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import NamedTuple

from ..formats.schema import EltwiseParameter
from ..nets.inference_graph import InferenceGraph
from ..nets.shapes import LayerShapes
from .signatures import SignatureTable, SignedNet


class Bypass(NamedTuple):
    """A sum that a bypass ends in.

    Attributes:
        layer: its name.
        top: its blob.
        trunk: the bottom that is its value without the bypass.
        place: signatures of the trunk and of what is added to it.
    """

    layer: str
    top: str
    trunk: str
    place: Hashable


def differing_bypasses(
    source: SignedNet,
    target: SignedNet,
    inputs: Mapping[str, str],
) -> tuple[list[Bypass], list[Bypass]]:
    """Return the bypasses that only the source has, and those that only the target has.

    Args:
        source, target: the nets, with no signatures yet.
        inputs: name of an input in the target -> its name in the source.
    """
    table = SignatureTable()
    for number, (name, other) in enumerate(inputs.items()):
        target.signatures[name] = source.signatures[other] = table.number(("input", number))
    theirs, ours = (_find_bypasses(net, table) for net in (source, target))
    places = [{bypass.place for bypass in found} for found in (theirs, ours)]
    common = places[0] & places[1]
    theirs, ours = ([b for b in found if b.place not in common] for found in (theirs, ours))
    return theirs, ours


def _find_bypasses(net: SignedNet, table: SignatureTable) -> list[Bypass]:
    """Sign all blobs of a net, without regard to weights; return its bypasses."""
    depths = dict.fromkeys(net.signatures, 0)  # layers on the longest path from an input
    found = []
    for item in filter(net.can_sign, net.layers):
        bottoms, tops = item.layer.bottom, item.layer.top
        trunk = _trunk(item, depths)
        if trunk is None:
            net.signatures |= zip(tops, net.sign_tops(item, None, table), strict=True)
        else:
            added = sorted(net.signatures[blob] for blob in bottoms if blob != trunk)
            place = (net.signatures[trunk], *added)
            found.append(Bypass(item.layer.name, tops[0], trunk, place))
            net.signatures[tops[0]] = net.signatures[trunk]
        depth = 1 + max(depths[blob] for blob in bottoms)
        depths |= dict.fromkeys(tops, depth)
    return found


def _trunk(item: LayerShapes, depths: Mapping[str, int]) -> str | None:
    """Return the trunk of a sum; None of another layer, and where two paths are as long."""
    param = item.layer.eltwise_param
    if item.layer.type != "Eltwise" or param.operation != EltwiseParameter.SUM:
        return None
    if any(factor != 1 for factor in param.coeff):
        return None
    *_, second, longest = sorted(item.layer.bottom, key=depths.__getitem__)
    return longest if depths[second] < depths[longest] else None


def without_bypasses(graph: InferenceGraph, bypasses: Collection[Bypass]) -> InferenceGraph:
    """Return a net whose sums are replaced by their trunks, without what only bypasses read."""
    trunks = {bypass.top: bypass.trunk for bypass in bypasses}

    def resolve(blob: str) -> str:
        while blob in trunks:
            blob = trunks[blob]
        return blob

    needed = set(map(resolve, graph.outputs))
    kept = []
    for layer in reversed(graph.layers):
        if layer.top[0] not in trunks and needed.intersection(layer.top):
            copy = type(layer)()
            copy.CopyFrom(layer)
            copy.bottom[:] = map(resolve, layer.bottom)
            needed.update(copy.bottom)
            kept.append(copy)
    inputs = {name: shape for name, shape in graph.inputs.items() if name in needed}
    return InferenceGraph(graph.source, inputs, kept[::-1])
