"""What a net costs without some groups of channels: resources, and those that `summary` counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..nets.totals import batch_size
from ..weights.channel_order import ChannelUse, Order, classify_layer, permute_blobs
from .channel_groups import ChannelGroups, WiredLayer

if TYPE_CHECKING:
    from .pruned_net import PrunedNet

_PHASE = "TEST"


class Resource:
    """Something that a net takes, and of which a budget can be given.

    Args:
        flag: of its budget, as `--macs`.
        name: in sentences, as `MACs`.
        cost: how much a net takes of it without some groups, given their roots; never more than
            with them.
        form: how an amount is written, as `format` takes it.
        is_estimate: whether `cost` is, which `exact` and `measure` then correct.
        details: options that say more of it, as they are typed.
        basis: a digest of what else amounts depend on besides the net; empty of nothing.
    """

    def __init__(
        self,
        flag: str,
        name: str,
        cost: Callable[[Sequence[int]], float],
        form: str = ",.0f",
        *,
        is_estimate: bool = False,
        details: str = "",
        basis: str = "",
    ) -> None:
        self.flag, self.name, self.cost, self.form = flag, name, cost, form
        self.is_estimate, self.details, self.basis = is_estimate, details, basis

    def text(self, amount: float) -> str:
        """Return an amount as it is written."""
        return f"{amount:{self.form}}"

    def exact(self, removed: Sequence[int]) -> float:
        """Return what a net takes without some groups, however long that lasts."""
        return self.cost(removed)

    def measure(self, removed: Sequence[int], pruned: PrunedNet) -> float:
        """Return what a pruned net takes; an estimate learns from it."""
        return self.exact(removed)


class ChannelPlaces:
    """A number for each group of channels, so that those that stay are a mask.

    Args:
        groups: of the net.
    """

    def __init__(self, groups: ChannelGroups) -> None:
        self._groups = groups
        self._places: dict[int, int] = {}

    def of(self, channels: Order) -> Order:
        """Return the places of the groups of channels."""
        roots = self._groups.roots(channels).tolist()
        return np.array(
            [self._places.setdefault(root, len(self._places)) for root in roots], dtype=np.int64
        )

    def of_layer(self, wired: WiredLayer) -> tuple[Order, Order]:
        """Return the places of the channels that a layer reads first, and of its filters."""
        bottom = wired.bottoms[0] if wired.bottoms else wired.filters
        return self.of(bottom), self.of(wired.filters)

    def kept(self, removed: Iterable[int]) -> np.ndarray:
        """Return a mask of the places that stay without some groups, given their roots."""
        kept = np.ones(len(self._places), dtype=bool)
        kept[[self._places[root] for root in removed if root in self._places]] = False
        return kept


class Term(NamedTuple):
    """An amount that is proportional to channels that are read, and to filters.

    Attributes:
        amount: of the whole net.
        factors: places of channels; the amount shrinks as each of these does.
    """

    amount: int
    factors: tuple[Order, ...]

    def left(self, kept: np.ndarray) -> int:
        """Return what is left where `kept` channels stay."""
        left = self.amount
        for places in self.factors:
            left = left * int(kept[places].sum()) // len(places)
        return left


def left(terms: Iterable[Term], kept: np.ndarray) -> int:
    """Return what is left of a sum of terms."""
    return sum(term.left(kept) for term in terms)


class NetCosts:
    """Multiply-accumulates and parameters of a net, exactly, for any choice of channels.

    Args:
        groups: of the net, which has a TEST phase.

    Attributes:
        macs: of one image.
        parameters: those that are learned, shared ones once.
    """

    def __init__(self, groups: ChannelGroups) -> None:
        self._places = ChannelPlaces(groups)
        macs: list[Term] = []
        parameters: list[Term] = []
        shared: set[str] = set()
        batch = batch_size(groups.shapes[_PHASE])
        for wired in groups.wired[_PHASE]:
            bottom, filters = self._places.of_layer(wired)
            both = (filters,) if wired.is_depthwise else (bottom, filters)
            macs.append(Term(wired.item.macs // batch, both if wired.filters.size else ()))
            names = [spec.name for spec in wired.item.layer.param]
            for index, blob in enumerate(wired.item.blobs):
                name = names[index] if index < len(names) else ""
                if blob.learned and (not name or name not in shared):
                    factors = blob_factors(wired, bottom, filters, index)
                    parameters.append(Term(prod(blob.shape), factors))
                shared.add(name)
        self.macs = Resource("--macs", "MACs", lambda removed: self._left(macs, removed))
        self.parameters = Resource(
            "--parameters", "parameters", lambda removed: self._left(parameters, removed)
        )

    def _left(self, terms: Sequence[Term], removed: Iterable[int]) -> int:
        return left(terms, self._places.kept(removed))


def blob_factors(wired: WiredLayer, bottom: Order, filters: Order, index: int) -> tuple[Order, ...]:
    """Return what a parameter blob of a layer shrinks with.

    Args:
        wired: the layer.
        bottom, filters: places of the channels that it reads, and of its filters.
        index: of the blob.
    """
    if wired.filters.size:
        if index:
            return (filters,)
        return (filters,) if wired.is_depthwise else (bottom, filters)
    return (bottom,) if _is_by_channel(wired, index) else ()


def _is_by_channel(wired: WiredLayer, index: int) -> bool:
    """Whether a blob of a layer without filters has a part for each channel of its bottom."""
    if classify_layer(wired.item) is not ChannelUse.CHANNELWISE:
        return False
    arrays = [np.broadcast_to(np.float32(1), blob.shape) for blob in wired.item.blobs]
    one = permute_blobs(wired.item, arrays, np.zeros(1, dtype=np.int64), np.arange(0))
    return bool(one[index].size < arrays[index].size)
