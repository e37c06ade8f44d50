"""What a data layer reads: how many records, of which size, and a digest that tells sets apart.

The digest is cheap, so that it can stand beside every result: `lmdb-N-H` is of N records, H the
first 16 hex digits of SHA-256 over their number and a fixed sample of them, `SAMPLE` records evenly
from the first to the last, each as its length and its value. `list-N-H` is of a list of images: H
is over the list and the sizes of such a sample of its files. Docs: docs/running.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, MissingExtraError
from ..formats.datum import read_datum
from ..formats.files import error_reason, read_bytes
from ..formats.list_file import LIST_LIMIT, ListLine, parse_list
from ..formats.lmdb_reader import LmdbReader, open_lmdb
from ..nets.data_layers import data_param
from ..nets.layer_types import Shape
from ..text import printable

SAMPLE = 64
DIGITS = 16
LEVELDB, LMDB = 0, 1  # DataParameter.DB; the first is its default


class Dataset(NamedTuple):
    """The records that a data layer reads.

    Attributes:
        source: the folder of an LMDB, or the list of images.
        records: how many; None where it can't be told (a LEVELDB).
        image: (channels, height, width) of the first; None where that can't be told.
        digest: see above; None where the records are not.
    """

    source: str
    records: int | None
    image: Shape | None
    digest: str | None


def look(layer: Any, where: str, flag: str = "--data") -> Dataset:
    """Look at the data of a Data or ImageData layer.

    Args:
        layer: the LayerParameter.
        where: its place and name, for messages.
        flag: what gives other data, for messages.

    Raises:
        FormatError: it is not there, is damaged or empty.
    """
    source = data_param(layer).source
    if not os.path.exists(source):  # noqa: PTH110 - a path may hold a null
        raise FormatError(
            f"{where}: its data {printable(source)} is not there; {flag} says where it is"
        )
    try:
        if layer.type == "ImageData":
            return _list(layer.image_data_param)
        return _lmdb(layer.data_param, layer.transform_param)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None


def _lmdb(param: Any, transform: Any) -> Dataset:
    folder = Path(param.source)
    if param.backend == LEVELDB and (folder / "CURRENT").exists():
        return Dataset(param.source, None, None, None)
    with open_lmdb(param.source) as file:
        first = next(file.values())
        image = _image(first, transform, printable(param.source))
        return Dataset(param.source, file.entries, image, _lmdb_digest(file))


def _image(value: bytes | memoryview, transform: Any, shown: str) -> Shape | None:
    record = read_datum(value, f"{shown}: record 0")
    if not record.encoded:
        return record.channels, record.height, record.width
    try:
        from ..formats.images import COLOR, GRAY, UNCHANGED, decode, opencv

        opencv()
    except MissingExtraError:
        return None  # without OpenCV, what the net says has to do
    flag = COLOR if transform.force_color else GRAY if transform.force_gray else UNCHANGED
    height, width, channels = decode(record.data, flag, f"{shown}: record 0").shape
    return channels, height, width


def _lmdb_digest(file: LmdbReader) -> str:
    digest = sha256(b"%d" % file.entries)
    for number in sample(file.entries):
        value = next(file.values(number))
        digest.update(b" %d " % len(value))
        digest.update(value)
    return f"lmdb-{file.entries}-{digest.hexdigest()[:DIGITS]}"


def sample(count: int) -> Iterator[int]:
    """The numbers of up to `SAMPLE` records: the first, the last, and evenly between."""
    taken = min(count, SAMPLE)
    for number in range(taken):
        yield number * (count - 1) // max(1, taken - 1)


def _list(param: Any) -> Dataset:
    shown = printable(param.source)
    text = read_bytes(param.source, LIST_LIMIT, "a list of images")
    lines = parse_list(text, shown)
    channels = 3 if param.is_color else 1
    known = param.new_height and param.new_width
    image = (channels, param.new_height, param.new_width) if known else None
    digest = sha256(text)
    for number in sample(len(lines)):
        digest.update(
            b" %d" % _size(param.root_folder, lines[number], f"{shown}: line {number + 1}")
        )
    return Dataset(
        param.source, len(lines), image, f"list-{len(lines)}-{digest.hexdigest()[:DIGITS]}"
    )


def _size(root: str, line: ListLine, where: str) -> int:
    try:
        return Path(root + line.file).stat().st_size
    except (OSError, ValueError) as error:
        reason = error_reason(error)
        raise FormatError(f"{where}: {printable(root + line.file)}: {reason}") from None
