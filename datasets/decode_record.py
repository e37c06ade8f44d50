"""Decode the records of an LMDB to pixels."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import chain
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..errors import FormatError
from ..formats.datum import Value, raw_values, read_datum
from ..formats.images import UNCHANGED, decode
from ..formats.lmdb_reader import LmdbReader
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
        damage: a line on damaged pixels, or empty.
    """

    size: int
    encoded: bool
    label: int
    pixels: Array
    damage: str

    @property
    def shape(self) -> Shape:
        """(channels, height, width)."""
        channels, height, width = self.pixels.shape
        return channels, height, width


def decode_records(
    reader: LmdbReader, jobs: int
) -> Generator[DecodedRecord | FormatError, None, None]:
    """Yield all records in order; for a bad one, the error without the record's number.

    Close the iterator before the reader: until then, threads read from it.
    """
    values = reader.values()
    first = next(values)
    result = _decode(first)
    # Raw records need no decoding, so threads would not help.
    needs_threads = not isinstance(result, DecodedRecord) or result.encoded
    jobs = jobs if needs_threads else 1
    with closing(map_in_order(_decode, chain([first], values), jobs)) as results:
        yield from results


_NAME = "record"  # stands for the record's number in errors


def _decode(value: Value) -> DecodedRecord | FormatError:
    damage: list[str] = []
    try:
        record = read_datum(value, _NAME)
        if record.encoded:
            pixels = decode(record.data, UNCHANGED, _NAME, damage.append).transpose(2, 0, 1)
        else:
            pixels = raw_values(record, _NAME)
    except FormatError as error:
        return FormatError(_without_name(str(error)))
    return DecodedRecord(
        len(value), record.encoded, record.label, pixels, _without_name("".join(damage))
    )


def _without_name(message: str) -> str:
    return message.removeprefix(f"{_NAME}: ")
