"""Bytes of a net's .sqz file: estimated, since encoding takes seconds, and counted in the end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from math import prod

import numpy as np

from ..compress.bits_file import MAXIMUM_BITS
from ..compress.encoding import Compressed, CompressedLayer, Settings, encode
from ..compress.layer_change import FLOAT_BITS
from ..formats.prototxt import to_text
from ..nets.definition import NetDefinition, parse_net
from ..nets.layer_types import Shape
from ..nets.totals import FLOAT_BYTES
from ..weights.make_caffemodel import make_caffemodel
from ..weights.net_arrays import Arrays
from .channel_groups import ChannelGroups, WiredLayer
from .costs import ChannelPlaces, Resource, Term, blob_factors, left
from .pruned_net import PrunedNet
from .shrink import Shrinking

_PHASE = "TEST"
_MARGIN = 1.01  # nets that are chosen once more take aim below the budget


class ByteCosts(Resource):
    """Bytes of the .sqz file that `sqgen compress encode` makes of a net by default.

    The estimate is the bytes that each weight of a layer takes in the whole net's file, and the
    layer's values and biases. It is exact of the whole net, and in between files that were counted
    it follows them.

    Args:
        net: the net.
        groups: of the net.
        arrays: its weights.
        image: (channels, height, width) of the records of data layers that don't say.
        bits: of the codes of weights, 2 to 8.

    Raises:
        SqgenError: the net's weights can't be encoded.
    """

    def __init__(
        self,
        net: NetDefinition,
        groups: ChannelGroups,
        arrays: Arrays,
        image: Shape | None,
        bits: int = MAXIMUM_BITS,
    ) -> None:
        details = "" if bits == MAXIMUM_BITS else f"--bits {bits}"
        super().__init__("--bytes", "bytes", self._estimate, is_estimate=True, details=details)
        self._settings = Settings(bits=bits)
        self._net, self._groups, self._arrays, self._image = net, groups, arrays, image
        whole = self._encode(net, arrays)
        self._counted: dict[frozenset[int], int] = {frozenset(): len(whole.bytes)}
        self._places = ChannelPlaces(groups)
        layers = {layer.layer: layer for layer in whole.layers}
        self._terms = [
            term
            for wired in groups.wired[_PHASE]
            if wired.name in layers
            for term in _layer_terms(wired, layers[wired.name], self._places)
        ]
        summed = self._sum(())
        # The layers' own bytes, and those of the file's header.
        self._points = [(0.0, float(len(whole.bytes) - summed)), (summed, float(len(whole.bytes)))]

    def _encode(self, net: NetDefinition, arrays: Arrays) -> Compressed:
        model = make_caffemodel(net, arrays)
        return encode(model, net, self._settings, source=net.source, image=self._image)

    def _sum(self, removed: Collection[int]) -> float:
        return float(left(self._terms, self._places.kept(removed)))

    def _estimate(self, removed: Sequence[int]) -> float:
        summed, counted = zip(*self._points, strict=True)
        return float(np.interp(self._sum(removed), summed, np.maximum.accumulate(counted)))

    def exact(self, removed: Collection[int]) -> int:
        """Encode the net without some groups, and count; its weights are not reconstructed."""
        key = frozenset(removed)
        if key not in self._counted:
            shrinking = Shrinking(self._groups, key)
            param = shrinking.shrink_net(self._net.param)
            left_net = parse_net(to_text(param), self._net.source)
            found = self._encode(left_net, shrinking.shrink_arrays(self._arrays))
            self._counted[key] = len(found.bytes)
        return self._counted[key]

    def measure(self, removed: Collection[int], pruned: PrunedNet) -> int:
        """Count the bytes of a pruned net's file; the estimate learns from it."""
        count = len(pruned.sqz(self._settings.bits))
        summed = self._sum(removed)
        others = [point for point in self._points if point[0] != summed]
        self._points = sorted([*others, (summed, count * _MARGIN)])
        return count


def _layer_terms(wired: WiredLayer, layer: CompressedLayer, places: ChannelPlaces) -> list[Term]:
    """Return what a layer's bytes consist of: values that its weights share, codes, and biases."""
    factors = partial(blob_factors, wired, *places.of_layer(wired))
    others = [FLOAT_BYTES * prod(blob.shape) for blob in wired.item.blobs[1:]]
    coded = layer.bytes - sum(others)
    is_shared = layer.bits < FLOAT_BITS
    values = min(FLOAT_BYTES * layer.values, coded) if is_shared else 0
    return [
        Term(values, ()),
        Term(coded - values, factors(0)),
        *(Term(size, factors(index)) for index, size in enumerate(others, 1)),
    ]
