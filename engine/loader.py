"""Loaders: the batches of a data layer, read ahead in the background.

A loader knows its shapes when it opens, and reads ahead from the first `next()` or `start()`. The
number of threads does not change the order. `seek` resumes a run at a saved `position` with the
batches that it would have read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .distributed.shards import ONE_SHARD, Shards
from .distributed.watch import ACTIVITY
from .prefetch import Prefetch

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

AHEAD_BYTES = 256 << 20  # of batches read ahead


class Batch(NamedTuple):
    """A batch of records.

    Attributes:
        tops: for each top of the layer an array (N, ...): float32, or uint8 for pixels that are not
            finished.
        finished: whether mean and scale are applied.
    """

    tops: Sequence[Array]
    finished: bool

    @property
    def data(self) -> Array:
        """The first top; of images (N, C, H, W), in memory N, H, W, C."""
        return self.tops[0]

    @property
    def labels(self) -> Array | None:
        """The second top; None where the layer has a single one."""
        return self.tops[1] if len(self.tops) > 1 else None


class EndOfData(Exception):  # noqa: N818 - not an error
    """An exact loader has returned every record once."""


class Loader(ABC):
    """The batches of a layer, read ahead; opened by `open_loader`.

    Args:
        top_shapes: of a batch, for each top.
        records: number of records in a pass.
        shards: whose batches are returned, those of a window one after another.

    Attributes:
        batch_size: records in a batch.
        mean: (C,) to subtract from a batch that is not finished, or None.
        scale: to multiply such a batch by afterwards.
        position: records that all shards returned since the start of the run.
        warnings: messages that Caffe logs as errors but continues after.
    """

    mean: Any = None
    scale = 1.0

    def __init__(
        self, top_shapes: Sequence[Shape], records: int, shards: Shards = ONE_SHARD
    ) -> None:
        self.top_shapes = list(top_shapes)
        self.batch_size = top_shapes[0][0]
        self.records = records
        self.shards = shards
        self.position = 0
        self._returned = 0  # batches of the current window
        self.warnings: list[str] = []
        self._ahead: Prefetch[Batch] | None = None
        self._closed = False

    @abstractmethod
    def keys(self) -> Iterator[str]:
        """Yield the printable name of each record of the first pass, in the order of `next`."""

    @abstractmethod
    def _read_ahead(self) -> Prefetch[Batch]:
        """Start reading batches from `position` on."""

    def start(self) -> None:
        """Start reading ahead, before the first `next()`."""
        if self._closed:
            raise ValueError("the loader is closed")
        if self._ahead is None:
            self._ahead = self._read_ahead()

    def next(self) -> Batch:
        """Wait for the next batch and return it.

        Raises:
            EndOfData: the loader is exact, and has returned every record.
            FormatError: a record of the batch can't be read.
        """
        self.start()
        assert self._ahead is not None
        try:
            with ACTIVITY.marked("reading data"):
                batch = self._ahead.next()
        except StopIteration:
            raise EndOfData(f"all {self.records} records were read") from None
        self._returned += 1
        if self._returned == len(self.shards.own):
            self._returned = 0
            self.position += self.shards.window(self.batch_size)
        return batch

    def seek(self, position: int) -> None:
        """Continue at a position of the run; only before reading starts.

        Raises:
            ValueError: reading has started, or a negative position.
        """
        if self._ahead is not None or position < 0:
            raise ValueError("seek() comes before start() and next(), and takes 0 or more")
        self.position, self._returned = position, 0

    def rewind(self, position: int) -> None:
        """Stop reading ahead, and continue at a position of the run.

        Raises:
            ValueError: a negative position.
        """
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
        self.seek(position)

    @contextmanager
    def undivided(self) -> Iterator[None]:
        """Read the records of all shards in their order; afterwards go on from here."""
        shards, position = self.shards, self.position
        self.shards = ONE_SHARD
        self.rewind(position)
        try:
            yield
        finally:
            self.shards = shards
            self.rewind(position)

    def close(self) -> None:
        """Stop the threads and close the files; calling it again has no effect."""
        self._closed = True
        if self._ahead is not None:
            self._ahead.close()
            if self._ahead.alive:  # a thread may still read the file
                return
        self._close_files()

    @abstractmethod
    def _close_files(self) -> None:
        """Close what is open."""
