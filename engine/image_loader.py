"""The loader of Data and ImageData layers: records are decoded and transformed on threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count, islice
from math import prod
from typing import Any

import numpy as np

from .distributed.shards import ONE_SHARD, Shards
from .loader import AHEAD_BYTES, Batch, Loader
from .prefetch import Jobs, Prefetch, Task
from .reader import RecordReader
from .transform import Array, Floats, Image, Transformer

TASK_RECORDS = 4  # decoded by one task


class ImageLoader(Loader):
    """The batches of a layer of images."""

    def __init__(
        self,
        reader: RecordReader[Any],
        transformer: Transformer,
        first: Image,
        *,
        batch_size: int,
        labels: bool,
        exact: bool,
        prefetch: int,
        threads: int,
        shards: Shards = ONE_SHARD,
    ) -> None:
        """Take the shape from the first record; reading ahead starts later.

        Raises:
            FormatError: the first record does not fit the transform.
        """
        self._shape = transformer.fit(first)
        tops = [(batch_size, *self._shape), (batch_size,)]
        super().__init__(tops[: 1 + labels], reader.count, shards)
        self.mean, self.scale = transformer.mean, transformer.scale
        self.warnings = reader.warnings
        self._reader, self._transformer = reader, transformer
        self._labels, self._exact = labels, exact
        self._finished = transformer.finished
        self._type = np.dtype(np.float32 if self._finished else np.uint8)
        size = batch_size * prod(self._shape) * self._type.itemsize
        self._depth = max(1, min(prefetch, AHEAD_BYTES // size))
        costly = reader.compressed or self._finished
        self._workers = threads if costly and threads > 1 else 0

    def keys(self) -> Iterator[str]:
        """Yield keys of an LMDB, or files of a list."""
        return self._reader.keys(self._exact)

    def _read_ahead(self) -> Prefetch[Batch]:
        return Prefetch(self._jobs(self.position), self._depth, self._workers)

    def _close_files(self) -> None:
        self._reader.close()

    def _jobs(self, position: int) -> Jobs[Batch]:
        """Yield batches from `position` on, each with the tasks that fill it."""
        streams = {shard: self._stream(position, shard) for shard in self.shards.own}
        while True:
            for shard, records in streams.items():
                numbers = self._numbers(position, shard)
                if not numbers:
                    return
                yield self._make_job(records, numbers)
            position += self.shards.window(self.batch_size)

    def _stream(self, position: int, shard: int) -> Iterator[Any]:
        """Yield the records of a shard, from the window at `position` on."""
        if not self.shards.by_batch:
            records = self._reader.raw_records(position + shard, self._exact)
            return islice(records, 0, None, self.shards.count)
        starts = count(position + shard * self.batch_size, self.shards.window(self.batch_size))
        batches = (self._reader.raw_records(start, self._exact) for start in starts)
        return (record for batch in batches for record in islice(batch, self.batch_size))

    def _numbers(self, position: int, shard: int) -> range:
        numbers = self.shards.numbers(position, shard, self.batch_size)
        if self._exact:
            numbers = range(numbers.start, min(numbers.stop, self.records), numbers.step)
        return numbers

    def _make_job(self, records: Iterator[Any], numbers: range) -> tuple[Batch, list[Task]]:
        channels, height, width = self._shape
        pixels = np.empty((len(numbers), height, width, channels), self._type)
        labels = np.empty(len(numbers), np.float32)
        bits = self._transformer.random_bits(numbers)
        tasks: list[Task] = []
        for start in range(0, len(numbers), TASK_RECORDS):
            part = slice(start, start + TASK_RECORDS)
            some: Iterable[Any] = islice(records, len(bits[part]))
            if self._workers:  # else the reader runs the tasks, and a record is read when it is due
                some = list(some)
            arguments = (some, bits[part], pixels[part], labels[part])
            tasks.append(partial(self._fill, *arguments))
        top = pixels.transpose(0, 3, 1, 2)
        return Batch([top, labels] if self._labels else [top], self._finished), tasks

    def _fill(self, records: Iterable[Any], bits: list[int], pixels: Array, labels: Floats) -> None:
        for index, record in enumerate(records):
            image = self._reader.decode(record)
            self._transformer.apply(image, bits[index], pixels[index])
            labels[index] = image.label
