"""Decode the records of an LMDB to pixels; find the key of a bad one."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..errors import FormatError
from ..formats.datum import Record, Value, raw_values, read_datum
from ..formats.images import UNCHANGED, decode
from ..formats.lmdb_pages import find_leaf, read_meta
from ..formats.lmdb_reader import DATA_FILE, LmdbReader, lmdb_package
from ..text import printable
from .encode_record import Shape
from .ordered_map import map_in_order

Array = NDArray[Any]


class DecodedRecord(NamedTuple):
    """A record with its pixels.

    Attributes:
        size: bytes of its value.
        encoded: whether it is an image file.
        label: 0 if unset.
        pixels: (channels, height, width), uint8 or float32.
    """

    size: int
    encoded: bool
    label: int
    pixels: Array

    @property
    def shape(self) -> Shape:
        """(channels, height, width)."""
        channels, height, width = self.pixels.shape
        return channels, height, width


def decode_records(
    reader: LmdbReader, jobs: int
) -> Generator[DecodedRecord | FormatError, None, None]:
    """Yield all records in order; for a bad one, the error without the record's number.

    The pixels of raw records are views into the file. Close the iterator before the reader: until
    then, threads read from it.
    """
    values = reader.values(copy=False)
    first = next(values)
    result = _decode(first)
    # Raw records need no decoding, so threads would not help.
    needs_threads = not isinstance(result, DecodedRecord) or result.encoded
    jobs = jobs if needs_threads else 1
    with closing(map_in_order(_decode, chain([first], values), jobs)) as results:
        yield from results


_NAME = "record"  # stands for the record's number in errors


def _decode(value: Value) -> DecodedRecord | FormatError:
    try:
        record = read_datum(value, _NAME)
        pixels = _pixels(record)
    except FormatError as error:
        return FormatError(str(error).removeprefix(f"{_NAME}: "))
    return DecodedRecord(len(value), record.encoded, record.label, pixels)


def _pixels(record: Record) -> Array:
    if record.encoded:
        return decode(record.data, UNCHANGED, _NAME).transpose(2, 0, 1)
    return raw_values(record, _NAME)


def read_key(path: str, number: int) -> str:
    """Return the printable key of record `number` (from 0); no reader may have the LMDB open.

    Raises:
        FormatError: the tree of pages is damaged.
    """
    shown = printable(path)
    data = os.fspath(Path(path) / DATA_FILE)
    key, passed = find_leaf(data, shown, read_meta(data, shown), number)
    with (
        lmdb_package().open(path, readonly=True, lock=False) as env,
        env.begin() as reading,
        reading.cursor() as cursor,
    ):
        cursor.set_key(key)
        for _ in range(number - passed):
            cursor.next()
        return printable(os.fsdecode(cursor.key()))
