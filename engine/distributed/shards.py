"""Shards: which records of the data each of several processes reads.

The records of a run are dealt to N shards as Caffe deals them to N GPUs: shard s reads records s,
s + N, s + 2N, and so on (DataLayer::Skip in src/caffe/layers/data_layer.cpp). A window, the
records of one batch of every shard, is thereby one run of N batches. A process computes one shard
or several, and the result does not depend on how many.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...errors import NetError


@dataclass(frozen=True)
class Shards:
    """The shards of a data layer, and those that this process computes.

    Attributes:
        count: N, of all processes.
        own: those of this process, in order.
        by_batch: whether shard s reads batch s of each window, and not every N-th record: for a
            test, whose batches are then those of one process.
    """

    count: int = 1
    own: range = field(default=range(1))
    by_batch: bool = False

    @classmethod
    def of_process(cls, count: int, rank: int, processes: int, by_batch: bool = False) -> Shards:
        """Return those of a process: `count` in runs of equal length.

        Raises:
            NetError: they can't be dealt evenly.
        """
        if count % processes:
            raise NetError(
                f"{count} shards can't be dealt evenly to {processes} processes; give a number of"
                f" workers that divides {count}"
            )
        each = count // processes
        return cls(count, range(rank * each, (rank + 1) * each), by_batch)

    def window(self, batch_size: int) -> int:
        """Return the records of one batch of every shard."""
        return self.count * batch_size

    def batches(self, records: int, batch_size: int) -> int:
        """Return how many batches one process needs for records that all shards read in whole ones.

        In training, these are whole windows, which have the records that a batch of one process
        has whose size is that of a window.
        """
        if self.by_batch:
            return -(-records // batch_size)
        return -(-records // self.window(batch_size)) * self.count

    def numbers(self, start: int, shard: int, batch_size: int) -> range:
        """Return the numbers of the records of a shard's batch, in the window from `start` on."""
        if self.by_batch:
            first = start + shard * batch_size
            return range(first, first + batch_size)
        return range(start + shard, start + self.window(batch_size), self.count)


ONE_SHARD = Shards()
