"""Records of an LMDB as pixels, and a bad one told by its key."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError
from ..formats.datum import Record, Value, raw_values, read_datum
from ..formats.images import UNCHANGED, decode, opencv
from ..formats.lmdb_pages import find_leaf, read_meta
from ..formats.lmdb_reader import DATA_FILE, LmdbReader, lmdb_package
from ..text import printable
from .encode_record import Shape
from .ordered_map import in_order

Array = np.ndarray[Any, np.dtype[Any]]


class Seen(NamedTuple):
    """A record.

    Attributes:
        size: bytes of its value.
        encoded, label: as told.
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


def seen(opened: LmdbReader, jobs: int) -> Generator[Seen | FormatError, None, None]:
    """All records in order; of a bad one what is wrong, without its place.

    The pixels of raw records are views into the file. Close the iterator before the file: until
    then, threads look at it.
    """

    def look(value: Value) -> Seen | FormatError:
        try:
            record = read_datum(value, _HERE)
        except FormatError as error:
            return _bad(error)
        if record.encoded:
            opencv()  # where it is missing, no record is to blame
        try:
            return _seen(record, len(value))
        except FormatError as error:
            return _bad(error)

    values = opened.values(copy=False)
    first = next(values)
    # Raw records are there already: threads would only pass them around.
    one = look(first)
    spread = not isinstance(one, Seen) or one.encoded
    with closing(in_order(look, chain([first], values), jobs if spread else 1)) as results:
        yield from results


_HERE = "record"


def _bad(error: FormatError) -> FormatError:
    return FormatError(str(error).removeprefix(f"{_HERE}: "))


def _seen(record: Record, size: int) -> Seen:
    if record.encoded:
        pixels: Array = decode(record.data, UNCHANGED, _HERE).transpose(2, 0, 1)
    else:
        pixels = raw_values(record, _HERE)
    return Seen(size, record.encoded, record.label, pixels)


def key_of(path: str, number: int) -> str:
    """The key of record `number` (from 0), as it can be printed. No reader may have it open.

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
