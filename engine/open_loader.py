"""Open the data of a layer: choose its reader and loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FormatError
from ..formats.hdf5_data import Hdf5Data, open_hdf5_data
from ..formats.schema import DataParameter
from ..nets.data_layers import data_param, has_countable_records
from .distributed.shards import ONE_SHARD, Shards
from .hdf5_loader import Hdf5Loader
from .image_loader import ImageLoader
from .loader import Loader
from .reader import ImageListReader, LmdbRecordReader, RecordReader
from .transform import Image, Transformer

if TYPE_CHECKING:
    from ..formats.schema import LayerParameter


def open_loader(
    layer: LayerParameter,
    phase: str,
    *,
    seed: int,
    where: str,
    base: Path | None = None,
    exact: bool = False,
    on_restart: Callable[[], None] | None = None,
    on_damage: Callable[[str], None] | None = None,
    threads: int = 1,
    shards: Shards = ONE_SHARD,
) -> Loader:
    """Open the data of a Data, ImageData or HDF5Data layer.

    Args:
        layer: the LayerParameter, upgraded.
        phase: `TRAIN` or `TEST`.
        seed: of crops, mirrors, order and skip.
        where: file:line and name of the layer, for messages.
        base: the folder of relative paths; the current one if None.
        exact: read each record once, ignoring rand_skip; the last batch may be smaller.
        on_restart: called at the last record of each pass over a Data layer, where Caffe logs it;
            by the reading thread, ahead of `next()`.
        on_damage: called once with a line about each damaged image, by any thread.
        threads: workers that decode compressed records.
        shards: whose batches are read.

    Raises:
        FormatError: the data can't be read, or the first record does not fit the transform.
    """
    if not has_countable_records(layer):
        raise FormatError(f"{where}: layer type {layer.type} reads no data")
    batch_size = _batch_size(data_param(layer), where)
    if layer.type == "HDF5Data":
        data = _open_hdf5(layer, base or Path(), where)
        return Hdf5Loader(
            data,
            batch_size=batch_size,
            shuffle=layer.hdf5_data_param.shuffle,
            seed=seed,
            exact=exact,
            shards=shards,
        )
    transformer = Transformer(layer.transform_param, phase, seed, where, base)
    reader = _open_reader(layer, base or Path(), seed, where, on_restart, on_damage)
    try:
        return ImageLoader(
            reader,
            transformer,
            _read_first(reader),
            batch_size=batch_size,
            labels=len(layer.top) > 1,
            exact=exact,
            prefetch=layer.data_param.prefetch,
            threads=threads,
            shards=shards,
        )
    except BaseException:
        reader.close()
        raise


def _open_hdf5(layer: LayerParameter, base: Path, where: str) -> Hdf5Data:
    try:
        return open_hdf5_data(layer, base)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None


def _open_reader(
    layer: LayerParameter,
    base: Path,
    seed: int,
    where: str,
    on_restart: Callable[[], None] | None,
    on_damage: Callable[[str], None] | None,
) -> RecordReader[Any]:
    if layer.type == "ImageData":
        return ImageListReader(layer.image_data_param, base, seed, where, on_damage)
    if layer.data_param.backend != DataParameter.LMDB:
        default = "" if layer.data_param.HasField("backend") else " (the default)"
        raise FormatError(
            f"{where}: backend LEVELDB{default} can't be read; write backend: LMDB, and convert a"
            " LEVELDB as docs/data.md shows"
        )
    return LmdbRecordReader(
        base / layer.data_param.source, layer.transform_param, where, on_restart, on_damage
    )


def _batch_size(param: Any, where: str) -> int:
    if not param.batch_size:
        raise FormatError(f"{where}: batch_size must be 1 or more")
    if not param.source:
        raise FormatError(f"{where}: no source; name the data")
    return int(param.batch_size)


def _read_first(reader: RecordReader[Any]) -> Image:
    return reader.decode(next(iter(reader.raw_records(0, once=True))))
