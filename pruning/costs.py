"""What a net costs without some groups of channels, as `sqgen summary` counts it."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

import numpy as np

from ..nets.totals import batch_size
from ..weights.channel_order import ChannelUse, Order, classify_layer, permute_blobs
from .channel_groups import ChannelGroups, WiredLayer

MACS, PARAMETERS = RESOURCES = ("macs", "parameters")
_PHASE = "TEST"


class _Term(NamedTuple):
    """An amount that is proportional to channels that are read, and to filters.

    Attributes:
        amount: of the whole net.
        factors: channels, by their places; the amount shrinks as each of these does.
    """

    amount: int
    factors: tuple[Order, ...]

    def left(self, kept: np.ndarray) -> int:
        """Return what is left where `kept` channels stay."""
        left = self.amount
        for places in self.factors:
            left = left * int(kept[places].sum()) // len(places)
        return left


class NetCosts:
    """Multiply-accumulates and parameters of a net, exactly, for any choice of channels.

    Args:
        groups: of the net, which has a TEST phase.
    """

    def __init__(self, groups: ChannelGroups) -> None:
        self._places: dict[int, int] = {}
        self._terms: dict[str, list[_Term]] = {MACS: [], PARAMETERS: []}
        shared: set[str] = set()
        batch = batch_size(groups.shapes[_PHASE])
        for wired in groups.wired[_PHASE]:
            bottom, filters = (
                np.array(
                    [self._place(int(root)) for root in groups.roots(channels)], dtype=np.int64
                )
                for channels in (
                    wired.bottoms[0] if wired.bottoms else wired.filters,
                    wired.filters,
                )
            )
            both = (filters,) if wired.is_depthwise else (bottom, filters)
            factors = both if wired.filters.size else ()
            self._terms[MACS].append(_Term(wired.item.macs // batch, factors))
            names = [spec.name for spec in wired.item.layer.param]
            for index, blob in enumerate(wired.item.blobs):
                name = names[index] if index < len(names) else ""
                if blob.learned and (not name or name not in shared):
                    own = (factors, (filters,))[min(index, 1)] if wired.filters.size else ()
                    if not wired.filters.size and _is_by_channel(wired, index):
                        own = (bottom,)
                    self._terms[PARAMETERS].append(_Term(prod(blob.shape), own))
                shared.add(name)

    def _place(self, root: int) -> int:
        return self._places.setdefault(root, len(self._places))

    def cost(self, resource: str, removed: Iterable[int]) -> int:
        """Return what is left of a resource.

        Args:
            resource: `macs` of one image, or `parameters`.
            removed: roots of the groups that go.
        """
        kept = np.ones(len(self._places), dtype=bool)
        kept[[self._places[root] for root in removed if root in self._places]] = False
        return sum(term.left(kept) for term in self._terms[resource])


def _is_by_channel(wired: WiredLayer, index: int) -> bool:
    """Whether a blob of a layer without filters has a part for each channel of its bottom."""
    if classify_layer(wired.item) is not ChannelUse.CHANNELWISE:
        return False
    arrays = [np.broadcast_to(np.float32(1), blob.shape) for blob in wired.item.blobs]
    one = permute_blobs(wired.item, arrays, np.zeros(1, dtype=np.int64), np.arange(0))
    return bool(one[index].size < arrays[index].size)
