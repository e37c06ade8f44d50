"""Data and ImageData layers as sources of batches, read ahead in the background.

A source says the shape of its top when it is opened, and reads from the first `next()` (or
`start()`) on. The order is that of the records, whatever the threads; a run that stopped at a
`position` goes on from there with `seek`, and gets what it would have got.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError
from ..nets.data_layers import data_param, has_countable_records
from .prefetch import Prefetch, Task, Works
from .reader import ImageListReader, LmdbRecordReader, RecordReader
from .transform import Array, Floats, Image, Transformer

AHEAD_BYTES = 256 << 20  # of batches that wait
TASK_RECORDS = 4  # that a worker decodes at a time
LMDB = 1  # DataParameter.DB


class Batch(NamedTuple):
    """What one `next()` gives.

    Attributes:
        data: (N, C, H, W); in memory N, H, W, C. uint8, or float32 where finished.
        labels: (N,), or None where the layer has one top.
        finished: whether mean and scale are in already.
    """

    data: Array
    labels: Floats | None
    finished: bool


class EndOfData(Exception):  # noqa: N818 - it is no error
    """Every record was handed out once."""


class Loader:
    """The batches of a layer; made by `open_loader`.

    Attributes:
        shape: (C, H, W) of the top.
        batch_size: records in a batch.
        mean: (C,) to subtract where a batch is not finished, or None.
        scale: to multiply by after that, where a batch is not finished.
        records: in one pass.
        position: records handed out since the start of the run.
        warnings: what Caffe logs as an error and goes on with.
    """

    def __init__(
        self,
        records: RecordReader[Any],
        transformer: Transformer,
        first: Image,
        *,
        batch_size: int,
        labels: bool,
        exact: bool,
        prefetch: int,
        threads: int,
    ) -> None:
        """Take the shape from the first record; nothing is read ahead yet.

        Raises:
            FormatError: the first record does not fit the transformation.
        """
        self.shape = transformer.fit(first)
        self.batch_size = batch_size
        self.mean, self.scale = transformer.mean, transformer.scale
        self.records = records.count
        self.position = 0
        self.warnings = records.warnings
        self._records, self._transformer = records, transformer
        self._labels, self._exact = labels, exact
        self._finished = transformer.finished
        self._type = np.dtype(np.float32 if self._finished else np.uint8)
        size = batch_size * int(np.prod(self.shape, dtype=object)) * self._type.itemsize
        self._depth = max(1, min(prefetch, AHEAD_BYTES // size))
        spread = records.spread or self._finished
        self._workers = threads if spread and threads > 1 else 0
        self._ahead: Prefetch[Batch] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to read ahead; `next()` does it where this was not called."""
        if self._closed:
            raise ValueError("the source is closed")
        if self._ahead is None:
            self._ahead = Prefetch(self._works(self.position), self._depth, self._workers)

    def next(self) -> Batch:
        """The next batch; waits for it.

        Raises:
            EndOfData: the source is exact, and every record was handed out.
            FormatError: a record of the batch can't be read; batches before it were handed out.
        """
        self.start()
        assert self._ahead is not None
        try:
            batch = self._ahead.next()
        except StopIteration:
            raise EndOfData(f"all {self.records} records were handed out") from None
        self.position += len(batch.data)
        return batch

    def seek(self, position: int) -> None:
        """Go on as a run that handed out `position` records; only before the first batch.

        Raises:
            ValueError: it is too late, or a negative position.
        """
        if self._ahead is not None or position < 0:
            raise ValueError("seek() comes before start() and next(), and takes 0 or more")
        self.position = position

    def close(self) -> None:
        """End the threads and let go of the files. Twice is no error."""
        self._closed = True
        if self._ahead is not None:
            self._ahead.close()
            if self._ahead.alive:  # it may still read the mapped file
                return
        self._records.close()

    def _works(self, position: int) -> Works[Batch]:
        """Batches from `position` on, each with the tasks that fill it."""
        items = self._records.items(position, self._exact)
        while chunk := list(islice(items, self.batch_size)):
            yield self._work(chunk, position)
            position += len(chunk)

    def _work(self, items: list[Any], position: int) -> tuple[Batch, list[Task]]:
        channels, height, width = self.shape
        count = len(items)
        pixels = np.empty((count, height, width, channels), self._type)
        labels = np.empty(count, np.float32)
        numbers = self._transformer.draws(position, count)
        tasks: list[Task] = []
        for a in range(0, count, TASK_RECORDS):
            part = slice(a, a + TASK_RECORDS)
            arguments = (items[part], numbers[part], pixels[part], labels[part])
            tasks.append(partial(self._fill, *arguments))
        top = pixels.transpose(0, 3, 1, 2)
        return Batch(top, labels if self._labels else None, self._finished), tasks

    def _fill(self, items: list[Any], numbers: list[int], pixels: Array, labels: Floats) -> None:
        for index, item in enumerate(items):
            image = self._records.load(item)
            self._transformer.put(image, numbers[index], pixels[index])
            labels[index] = image.label


def open_loader(
    layer: Any,
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
        seed: of crops, mirrors, order and skip; two sources of one seed draw the same.
        where: the layer's place, for messages.
        base: the folder that relative paths start from; the current one if None.
        exact: whether each record comes once, in a last batch that may be smaller. rand_skip
            skips nothing then.
        on_restart: called when the last record of a Data layer's pass was read, as Caffe logs
            it then; from the reading thread, ahead of `next()`.
        threads: that decode, where decoding is work.

    Raises:
        FormatError: the data can't be read, or the first record does not fit; one line.
    """
    folder = base or Path()
    records: RecordReader[Any]
    if not has_countable_records(layer):
        raise FormatError(f"{where}: a layer of type {layer.type} has no data to open")
    batch_size = _batch_size(data_param(layer), where)
    if layer.type == "Data" and layer.data_param.backend != LMDB:
        default = "" if layer.data_param.HasField("backend") else " (the default)"
        raise FormatError(
            f"{where}: backend LEVELDB{default} can't be read yet;"
            " convert the data and write backend: LMDB"
        )
    transformer = Transformer(layer.transform_param, phase, seed, where, base)
    if layer.type == "Data":
        path = folder / layer.data_param.source
        records = LmdbRecordReader(path, layer.transform_param, where, on_restart)
    else:
        records = ImageListReader(layer.image_data_param, folder, seed, where)
    try:
        return Loader(
            records,
            transformer,
            _first(records),
            batch_size=batch_size,
            labels=len(layer.top) > 1,
            exact=exact,
            prefetch=int(layer.data_param.prefetch),
            threads=threads,
        )
    except BaseException:
        records.close()
        raise


def _batch_size(param: Any, where: str) -> int:
    if not param.batch_size:
        raise FormatError(f"{where}: batch_size must be 1 or more")
    if not param.source:
        raise FormatError(f"{where}: no source; name the data")
    return int(param.batch_size)


def _first(records: RecordReader[Any]) -> Image:
    return records.load(next(iter(records.items(0, once=True))))
