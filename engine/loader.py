"""Loaders: the batches of Data and ImageData layers, read ahead in the background.

A loader takes its shape from the first record when it opens, and reads ahead from the first
`next()` or `start()`. The number of threads does not change the order. `seek` resumes a run at a
saved `position` with the batches that it would have read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import FormatError
from ..formats.schema import DataParameter
from ..nets.data_layers import data_param, has_countable_records
from .prefetch import Jobs, Prefetch, Task
from .reader import ImageListReader, LmdbRecordReader, RecordReader
from .transform import Array, Floats, Image, Transformer

if TYPE_CHECKING:
    from ..formats.schema import ImageDataParameter, LayerParameter

AHEAD_BYTES = 256 << 20  # of batches read ahead
TASK_RECORDS = 4  # decoded by one task


class Batch(NamedTuple):
    """A batch of records.

    Attributes:
        data: (N, C, H, W), in memory N, H, W, C; uint8, or float32 where finished.
        labels: (N,), or None where the layer has one top.
        finished: whether mean and scale are applied.
    """

    data: Array
    labels: Floats | None
    finished: bool


class EndOfData(Exception):  # noqa: N818 - not an error
    """An exact loader has returned every record once."""


class Loader:
    """The batches of a layer, read ahead; opened by `open_loader`.

    Attributes:
        shape: (C, H, W) of the top.
        batch_size: records in a batch.
        mean: (C,) to subtract from a batch that is not finished, or None.
        scale: to multiply such a batch by afterwards.
        records: number of records in a pass.
        position: records returned since the start of the run.
        warnings: messages that Caffe logs as errors but continues after.
    """

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
    ) -> None:
        """Take the shape from the first record; reading ahead starts later.

        Raises:
            FormatError: the first record does not fit the transform.
        """
        self.shape = transformer.fit(first)
        self.batch_size = batch_size
        self.mean, self.scale = transformer.mean, transformer.scale
        self.records = reader.count
        self.position = 0
        self.warnings = reader.warnings
        self._reader, self._transformer = reader, transformer
        self._labels, self._exact = labels, exact
        self._finished = transformer.finished
        self._type = np.dtype(np.float32 if self._finished else np.uint8)
        size = batch_size * prod(self.shape) * self._type.itemsize
        self._depth = max(1, min(prefetch, AHEAD_BYTES // size))
        costly = reader.compressed or self._finished
        self._workers = threads if costly and threads > 1 else 0
        self._ahead: Prefetch[Batch] | None = None
        self._closed = False

    def start(self) -> None:
        """Start reading ahead, before the first `next()`."""
        if self._closed:
            raise ValueError("the loader is closed")
        if self._ahead is None:
            self._ahead = Prefetch(self._jobs(self.position), self._depth, self._workers)

    def next(self) -> Batch:
        """Wait for the next batch and return it.

        Raises:
            EndOfData: the loader is exact, and has returned every record.
            FormatError: a record of the batch can't be read.
        """
        self.start()
        assert self._ahead is not None
        try:
            batch = self._ahead.next()
        except StopIteration:
            raise EndOfData(f"all {self.records} records were read") from None
        self.position += len(batch.data)
        return batch

    def seek(self, position: int) -> None:
        """Continue at a position of the run; only before reading starts.

        Raises:
            ValueError: reading has started, or a negative position.
        """
        if self._ahead is not None or position < 0:
            raise ValueError("seek() comes before start() and next(), and takes 0 or more")
        self.position = position

    def close(self) -> None:
        """Stop the threads and close the files; calling it again has no effect."""
        self._closed = True
        if self._ahead is not None:
            self._ahead.close()
            if self._ahead.alive:  # a thread may still read the file
                return
        self._reader.close()

    def _jobs(self, position: int) -> Jobs[Batch]:
        """Yield batches from `position` on, each with the tasks that fill it."""
        records = self._reader.raw_records(position, self._exact)
        while count := self._batch_count(position):
            yield self._make_job(records, position, count)
            position += count

    def _batch_count(self, position: int) -> int:
        return min(self.batch_size, self.records - position) if self._exact else self.batch_size

    def _make_job(
        self, records: Iterator[Any], position: int, count: int
    ) -> tuple[Batch, list[Task]]:
        channels, height, width = self.shape
        pixels = np.empty((count, height, width, channels), self._type)
        labels = np.empty(count, np.float32)
        bits = self._transformer.random_bits(position, count)
        tasks: list[Task] = []
        for start in range(0, count, TASK_RECORDS):
            part = slice(start, start + TASK_RECORDS)
            some: Iterable[Any] = islice(records, len(bits[part]))
            if self._workers:  # else the reader runs the tasks, and a record is read when it is due
                some = list(some)
            arguments = (some, bits[part], pixels[part], labels[part])
            tasks.append(partial(self._fill, *arguments))
        top = pixels.transpose(0, 3, 1, 2)
        return Batch(top, labels if self._labels else None, self._finished), tasks

    def _fill(self, records: Iterable[Any], bits: list[int], pixels: Array, labels: Floats) -> None:
        for index, record in enumerate(records):
            image = self._reader.decode(record)
            self._transformer.apply(image, bits[index], pixels[index])
            labels[index] = image.label


def open_loader(
    layer: LayerParameter,
    phase: str,
    *,
    seed: int,
    where: str,
    base: Path | None = None,
    exact: bool = False,
    on_restart: Callable[[], None] | None = None,
    threads: int = 1,
) -> Loader:
    """Open the data of a Data or ImageData layer.

    Args:
        layer: the LayerParameter, upgraded.
        phase: `TRAIN` or `TEST`.
        seed: of crops, mirrors, order and skip.
        where: file:line and name of the layer, for messages.
        base: the folder of relative paths; the current one if None.
        exact: read each record once, ignoring rand_skip; the last batch may be smaller.
        on_restart: called at the last record of each pass over a Data layer, where Caffe logs it;
            by the reading thread, ahead of `next()`.
        threads: workers that decode compressed records.

    Raises:
        FormatError: the data can't be read, or the first record does not fit the transform.
    """
    folder = base or Path()
    reader: RecordReader[Any]
    if not has_countable_records(layer):
        raise FormatError(f"{where}: layer type {layer.type} reads no data")
    batch_size = _batch_size(data_param(layer), where)
    if layer.type == "Data" and layer.data_param.backend != DataParameter.LMDB:
        default = "" if layer.data_param.HasField("backend") else " (the default)"
        raise FormatError(
            f"{where}: backend LEVELDB{default} can't be read yet;"
            " convert the data and write backend: LMDB"
        )
    transformer = Transformer(layer.transform_param, phase, seed, where, base)
    if layer.type == "Data":
        path = folder / layer.data_param.source
        reader = LmdbRecordReader(path, layer.transform_param, where, on_restart)
    else:
        reader = ImageListReader(layer.image_data_param, folder, seed, where)
    try:
        return Loader(
            reader,
            transformer,
            _read_first(reader),
            batch_size=batch_size,
            labels=len(layer.top) > 1,
            exact=exact,
            prefetch=layer.data_param.prefetch,
            threads=threads,
        )
    except BaseException:
        reader.close()
        raise


def _batch_size(param: DataParameter | ImageDataParameter, where: str) -> int:
    if not param.batch_size:
        raise FormatError(f"{where}: batch_size must be 1 or more")
    if not param.source:
        raise FormatError(f"{where}: no source; name the data")
    return param.batch_size


def _read_first(reader: RecordReader[Any]) -> Image:
    return reader.decode(next(iter(reader.raw_records(0, once=True))))
