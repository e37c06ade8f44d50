"""The loader of an HDF5Data layer (src/caffe/layers/hdf5_data_layer.cpp).

As in Caffe, a file is in memory as a whole while its records are read, and a batch may begin in one
file and end in another. Unlike Caffe, which shuffles the previous order again, the order of the
files in a pass, and of the records in a file, depends only on the seed, the pass and the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import prod

import numpy as np

from ..counter_rng import domain, key, permutation
from ..formats.hdf5_data import Hdf5Data
from ..text import escaped
from .distributed.shards import ONE_SHARD, Shards
from .loader import AHEAD_BYTES, Array, Batch, Loader
from .prefetch import Jobs, Prefetch

_SHUFFLE = domain("shuffle")
PREFETCH = 2  # batches; a file is read while the net computes


class Hdf5Loader(Loader):
    """The batches of an HDF5Data layer.

    Attributes:
        files: the files that it reads.
    """

    def __init__(
        self,
        data: Hdf5Data,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        exact: bool,
        shards: Shards = ONE_SHARD,
    ) -> None:
        shapes = [(batch_size, *shape) for shape in data.shapes]
        super().__init__(shapes, sum(data.records), shards)
        self.files, self._exact = data, exact
        self._shuffle_key = key(seed, _SHUFFLE) if shuffle else None
        self._file: tuple[int, list[np.ndarray]] = (-1, [])  # the last read

    def keys(self) -> Iterator[str]:
        """Yield file and row, such as `set.h5:12`."""
        for file, order in islice(self._orders(0), len(self.files.files)):
            name = escaped(str(self.files.files[file]))
            yield from (f"{name}:{row}" for row in order.tolist())

    def _read_ahead(self) -> Prefetch[Batch]:
        size = 4 * sum(map(prod, self.top_shapes))
        return Prefetch(self._jobs(), max(1, min(PREFETCH, AHEAD_BYTES // size)))

    def _close_files(self) -> None:
        self._file = (-1, [])

    def _jobs(self) -> Jobs[Batch]:
        window = self.shards.window(self.batch_size)
        batches, filled = self._new_window(), 0
        for file, order in self._orders(self.position):
            while len(order):
                taken, order = np.split(order, [window - filled])
                for batch, shard in zip(batches, self.shards.own, strict=True):
                    self._fill(batch, self._places(shard, filled, len(taken)), file, taken)
                filled += len(taken)
                if filled == window:
                    yield from ((Batch(tops, finished=True), []) for tops in batches)
                    batches, filled = self._new_window(), 0
        for tops, shard in zip(batches, self.shards.own, strict=True):
            count = len(self._places(shard, 0, filled)[0])
            if count:
                yield Batch([top[:count] for top in tops], finished=True), []

    def _places(self, shard: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which of `count` records at `start` in a window a shard has, and where."""
        numbers = self.shards.numbers(0, shard, self.batch_size)
        places = np.arange(self.batch_size)
        records = np.asarray(numbers) - start
        inside = (records >= 0) & (records < count)
        return records[inside], places[inside]

    def _fill(
        self, tops: list[Array], places: tuple[np.ndarray, np.ndarray], file: int, rows: np.ndarray
    ) -> None:
        chosen, at = places
        if len(chosen):
            for top, array in zip(tops, self._arrays(file), strict=True):
                top[at] = array[rows[chosen]]

    def _new_window(self) -> list[list[Array]]:
        return [self._new_batch() for _ in self.shards.own]

    def _new_batch(self) -> list[Array]:
        return [np.empty(shape, np.float32) for shape in self.top_shapes]

    def _orders(self, position: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield files and the order of their records from `position` on; endlessly if not exact."""
        epoch, skipped = divmod(position, self.records)
        while not (self._exact and epoch):
            for file in self._permutation(len(self.files.files), epoch, 0):
                count = self.files.records[file]
                if skipped < count:
                    yield int(file), self._permutation(count, epoch, 1 + int(file))[skipped:]
                skipped = max(0, skipped - count)
            epoch += 1

    def _permutation(self, count: int, epoch: int, stream: int) -> np.ndarray:
        if self._shuffle_key is None:
            return np.arange(count)
        return permutation(key(self._shuffle_key, epoch, stream), count)

    def _arrays(self, file: int) -> list[np.ndarray]:
        if self._file[0] != file:
            self._file = (-1, [])  # one file in memory at a time
            self._file = (file, list(self.files.read(file)))
        return self._file[1]
