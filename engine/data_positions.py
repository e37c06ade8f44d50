"""How far the nets of a run have read their data: saved in snapshots, restored on resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .executor import Executor


class DataPositions(NamedTuple):
    """The positions of a run's nets, the trained net first.

    Attributes:
        passes: batches that each net computed.
        records: for each net, data layer -> records read.
    """

    passes: Sequence[int]
    records: Sequence[Mapping[str, int]]

    @classmethod
    def of(cls, nets: Sequence[Executor]) -> DataPositions:
        """Return the current positions."""
        records = [{name: loader.position for name, loader in net.loaders.items()} for net in nets]
        return cls([net.passes for net in nets], records)

    def fits(self, nets: Sequence[Executor]) -> bool:
        """Return whether the nets have the data layers of these positions."""
        layers = [set(net.loaders) for net in nets]
        return layers == [set(records) for records in self.records]

    def restore(self, nets: Sequence[Executor]) -> None:
        """Let the nets continue from these positions; before they read their first batch."""
        for net, passes, records in zip(nets, self.passes, self.records, strict=True):
            net.passes = passes
            for name, position in records.items():
                net.loaders[name].seek(position)
