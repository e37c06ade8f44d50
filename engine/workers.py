"""Threads that compute a batch, each a share of the records in cache-sized micro-batches.

PyTorch's own parallelism, all threads on one layer of the whole batch, is half as fast on
SqueezeNet: the blobs of 50 images take hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import ceil
from threading import Barrier
from typing import TypeVar

import torch

from ..host import available_cores
from . import glog

Result = TypeVar("Result")
RecordRange = tuple[int, int]  # of a micro-batch: its first record, and one past its last

_IGNORED_LOAD = 0.25  # cores that processes take now and then
CACHED_BYTES = 15 << 20  # of a micro-batch's largest blob: 3 images of SqueezeNet v1.0, 6 in bf16


class Workers:
    """A pool of threads, shared by all nets of a process.

    Args:
        threads: their number; None is one per core.
        busy_cores: how many cores other processes keep busy, if `threads` is None.

    Attributes:
        threads: that share the micro-batches of a batch; beside other processes, too, each gets its
            part of a core.
        layer_threads: that compute a layer of a whole batch. They wait for each other at each
            layer: beside other processes, one on a free core is faster than several.
        is_chosen: whether the user chose the number.
    """

    def __init__(self, threads: int | None = None, busy_cores: float = 0.0) -> None:
        self.threads = threads or available_cores()
        self.is_chosen = threads is not None
        taken = 0 if self.is_chosen else ceil(busy_cores - _IGNORED_LOAD)
        self.layer_threads = max(1, self.threads - max(0, taken))
        self._has_logged = False
        self._pool: ThreadPoolExecutor | None = None
        self._count = 0

    def follow(self, threads: int) -> None:
        """Take the number of threads of a run to resume."""
        self.threads = self.layer_threads = threads

    def log_busy_cores(self) -> None:
        """Log once that layers of a whole batch leave the busy cores alone."""
        if self.layer_threads < self.threads and not self._has_logged:
            self._has_logged = True
            glog.info(
                f"Each layer runs on {self.layer_threads} of {self.threads} cores: other processes"
                " keep the rest busy (--threads sets the number)"
            )

    def split_batch(self, records: int, record_bytes: int) -> list[list[RecordRange]]:
        """Split a batch into micro-batches of nearly equal size; return each worker's.

        Args:
            records: number of records in the batch.
            record_bytes: bytes of the largest blob of one record.
        """
        workers = max(1, min(self.threads, records))
        maximum = max(1, CACHED_BYTES // max(1, record_bytes))
        rounds = -(-records // (workers * maximum))
        count = min(records, rounds * workers)
        bounds = [records * number // count for number in range(count + 1)]
        ranges = list(pairwise(bounds))
        return [ranges[number::workers] for number in range(workers)]

    def run(
        self, work: Callable[[list[RecordRange]], Result], shares: list[list[RecordRange]]
    ) -> list[Result]:
        """Call `work` on every share in parallel; return the results in the order of the shares."""
        if len(shares) == 1:
            previous = torch.get_num_threads()
            torch.set_num_threads(self.layer_threads)
            try:
                return [work(shares[0])]
            finally:
                torch.set_num_threads(previous)
        return list(self._executor(len(shares)).map(work, shares))

    def _executor(self, count: int) -> ThreadPoolExecutor:
        if self._pool is None or self._count != count:
            self.close()
            each = max(1, self.threads // count)
            barrier, previous = Barrier(count + 1), torch.get_num_threads()

            def start() -> None:
                # PyTorch sets a thread's number lazily at its first use: use it before setting it.
                torch.get_num_threads()
                torch.set_num_threads(each)
                barrier.wait()

            pool = ThreadPoolExecutor(count, "compute")
            try:
                for _ in range(count):
                    pool.submit(start)
                barrier.wait()
            except BaseException:  # Ctrl-C: the threads would wait for this one for ever
                barrier.abort()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                torch.set_num_threads(previous)
            self._pool, self._count = pool, count
        return self._pool

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
