"""The dataset of a data layer: number of records, image size, and a digest that tells sets apart.

The digest is cheap enough to store with every result. `lmdb-N-H` is an LMDB of N records; H is
the first 16 hex digits of SHA-256 over N and a fixed sample of `SAMPLE_SIZE` records, spaced evenly
from the first to the last, each as its length and value. `list-N-H` is a list of N images; H is
over the list itself and the sizes of such a sample of its files. `hdf5-N-H` is N records of an
HDF5Data layer; H is over N and such a sample, each the values of its tops as float32, whatever the
files' own types. See docs/running.md.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError, MissingExtraError
from ..formats.class_names import read_lmdb_class_names
from ..formats.datum import read_datum, record_labels
from ..formats.files import error_reason, read_bytes
from ..formats.hdf5_data import open_hdf5_data
from ..formats.list_file import LIST_LIMIT, label_warnings, parse_list
from ..formats.lmdb_reader import LmdbReader, open_lmdb
from ..formats.near_path import missing_hint
from ..formats.schema import (
    DataParameter,
    ImageDataParameter,
    LayerParameter,
    TransformationParameter,
)
from ..text import printable
from .data_layers import data_param
from .layer_types import LAYER_TYPES, Shape

SAMPLE_SIZE = 64
LABEL_SECONDS = 1.0  # for reading the labels of an LMDB
DIGEST_DIGITS = 16


class Dataset(NamedTuple):
    """The records that a data layer reads.

    Attributes:
        source: the folder of an LMDB, or the list of images or HDF5 files.
        records: number of records; None if unknown (a LEVELDB).
        image: (channels, height, width) of the first record; None if unknown.
        digest: see above; None if the records are unknown.
        record_shapes: of each top of an HDF5Data layer, whose files alone say them.
        labels: the two smallest and the two largest of the labels; one of them may be ignored.
        labels_read: of so many records, less than all of a large LMDB; None without labels, or if
            only those of the sample were read.
        names: lines of an LMDB's labels.txt; None without one.
        warnings: about the labels of a list.
    """

    source: str
    records: int | None
    image: Shape | None
    digest: str | None
    record_shapes: Sequence[Shape] = ()
    labels: tuple[int, ...] = ()
    labels_read: int | None = None
    names: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """What was not checked: the labels of a dataset that is too large; else empty."""
        if self.labels_read is None or self.labels_read >= (self.records or 0):
            return ""
        return (
            f"{printable(self.source)}: labels of {self.labels_read:,} of {self.records:,} records"
            " are checked against the net's classes"
        )


def inspect_dataset(
    layer: LayerParameter,
    where: str,
    flag: str = "--data",
    all_labels: bool = True,
    base: Path = Path(),
) -> Dataset:
    """Open the dataset of a Data, ImageData or HDF5Data layer; count and sample its records.

    Args:
        layer: the LayerParameter.
        where: its place and name, for messages.
        flag: the option that replaces the dataset, for messages.
        all_labels: whether to read more labels of an LMDB than those of its sample.
        base: the folder of relative names.

    Raises:
        FormatError: the dataset is missing, damaged or empty.
    """
    source = data_param(layer).source
    if not source or not os.path.exists(base / source):
        hint = missing_hint(source, f"set it with {flag}")
        raise FormatError(f"{where}: source '{printable(source)}' not found{hint}")
    try:
        if layer.type == "ImageData":
            return _inspect_list(layer.image_data_param, base)
        if layer.type == "HDF5Data":
            return _inspect_hdf5(layer, base)
        return _inspect_lmdb(layer.data_param, layer.transform_param, all_labels, base)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None


def top_shapes(layer: LayerParameter, dataset: Dataset) -> list[Shape] | None:
    """Return the shapes of a data layer's tops; None where the records don't say.

    Raises:
        ShapeError: the layer crops more than there is.
    """
    if dataset.record_shapes:
        return [(data_param(layer).batch_size, *shape) for shape in dataset.record_shapes]
    if dataset.image is None:
        return None
    return LAYER_TYPES[layer.type].top_shapes(layer, [], dataset.image)


def _inspect_lmdb(
    param: DataParameter, transform: TransformationParameter, all_labels: bool, base: Path
) -> Dataset:
    folder = base / param.source
    if param.backend == DataParameter.LEVELDB and os.path.exists(folder / "CURRENT"):
        return Dataset(param.source, None, None, None)
    with open_lmdb(folder) as lmdb:
        first = next(lmdb.values())
        image = _record_shape(first, transform, printable(param.source))
        labels, digest = _sample_lmdb(lmdb, printable(param.source))
        read = _read_labels(lmdb, labels, printable(param.source)) if all_labels else None
        names = read_lmdb_class_names(folder)
        return Dataset(
            param.source,
            lmdb.entries,
            image,
            digest,
            labels=_extremes(labels),
            labels_read=read,
            names=None if names is None else len(names),
        )


def _record_shape(
    value: bytes | memoryview, transform: TransformationParameter, source: str
) -> Shape | None:
    datum = read_datum(value, f"{source}: record 0")
    if not datum.encoded:
        return datum.channels, datum.height, datum.width
    try:
        from ..formats.images import COLOR, GRAY, UNCHANGED, decode, opencv

        opencv()
    except MissingExtraError:
        return None  # without OpenCV, only the prototxt can tell
    flag = COLOR if transform.force_color else GRAY if transform.force_gray else UNCHANGED
    height, width, channels = decode(datum.data, flag, f"{source}: record 0").shape
    return channels, height, width


def _read_labels(lmdb: LmdbReader, labels: set[int], source: str) -> int:
    """Add the labels of all records to those of the sample, or of as many as the time allows.

    Returns:
        The number of records that were read.
    """
    end, count = time.monotonic() + LABEL_SECONDS, 0
    for label in record_labels(lmdb.values(), source):
        labels.add(label)
        count += 1
        if time.monotonic() > end:
            break
    return count


def lmdb_digest(source: str) -> str:
    """Return the digest of an LMDB.

    Raises:
        FormatError: it is missing, damaged or empty.
    """
    with open_lmdb(source) as lmdb:
        return _sample_lmdb(lmdb, printable(source))[1]


def _extremes(labels: Iterable[int]) -> tuple[int, ...]:
    """Return the two smallest and the two largest labels."""
    different = sorted(set(labels))
    return tuple(dict.fromkeys(different[:2] + different[-2:]))


def _sample_lmdb(lmdb: LmdbReader, source: str) -> tuple[set[int], str]:
    """Return the labels of the sample, and the digest."""
    digest, labels = sha256(b"%d" % lmdb.entries), set()
    for index in sample_indices(lmdb.entries):
        value = next(lmdb.values(index))
        digest.update(b" %d " % len(value))
        digest.update(value)
        labels.add(read_datum(value, f"{source}: record {index}").label)
    hexdigest = f"lmdb-{lmdb.entries}-{digest.hexdigest()[:DIGEST_DIGITS]}"
    return labels, hexdigest


def sample_indices(count: int) -> Iterator[int]:
    """Yield up to `SAMPLE_SIZE` indices, spaced evenly from the first to the last."""
    size = min(count, SAMPLE_SIZE)
    for index in range(size):
        yield index * (count - 1) // max(1, size - 1)


def _inspect_list(param: ImageDataParameter, base: Path) -> Dataset:
    source = printable(param.source)
    text = read_bytes(base / param.source, LIST_LIMIT, "a list of images")
    lines = parse_list(text, source)
    channels = 3 if param.is_color else 1
    resizes = param.new_height and param.new_width
    image = (channels, param.new_height, param.new_width) if resizes else None
    digest = sha256(text)
    for index in sample_indices(len(lines)):
        file = param.root_folder + lines[index].file
        size = _file_size(base, file, f"{source}: line {index + 1}")
        digest.update(b" %d" % size)
    name = f"list-{len(lines)}-{digest.hexdigest()[:DIGEST_DIGITS]}"
    return Dataset(
        param.source,
        len(lines),
        image,
        name,
        labels=_extremes(line.label for line in lines),
        labels_read=len(lines),
        warnings=tuple(label_warnings(lines, source)),
    )


def read_labels(layer: LayerParameter) -> list[int]:
    """Return the label of each record that a Data or ImageData layer reads.

    Raises:
        FormatError: the dataset is damaged.
    """
    source = data_param(layer).source
    if layer.type == "ImageData":
        text = read_bytes(source, LIST_LIMIT, "a list of images")
        return [line.label for line in parse_list(text, printable(source))]
    with open_lmdb(source) as lmdb:
        return list(record_labels(lmdb.values(), printable(source)))


def _file_size(base: Path, file: str, where: str) -> int:
    try:
        return (base / file).stat().st_size
    except (OSError, ValueError) as error:
        reason = error_reason(error)
        raise FormatError(f"{where}: {printable(file)}: {reason}") from None


def _inspect_hdf5(layer: LayerParameter, base: Path) -> Dataset:
    data = open_hdf5_data(layer, base)
    count = sum(data.records)
    ends = list(accumulate(data.records))  # of the files
    digest = sha256(b"%d" % count)
    for index in sample_indices(count):
        file = bisect_right(ends, index)
        row = index - ends[file] + data.records[file]
        for values in data.read(file, slice(row, row + 1)):
            digest.update(values.astype("<f4").tobytes())
    name = f"hdf5-{count}-{digest.hexdigest()[:DIGEST_DIGITS]}"
    return Dataset(layer.hdf5_data_param.source, count, None, name, data.shapes)
