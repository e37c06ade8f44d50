"""Read a Datum: an image with its label, a value of Caffe's LMDBs.

Pixels are most of its bytes, and protobuf copies them twice. `read_datum` parses the few fields
around the pixels itself and returns a view of the pixels; it leaves unusual messages to protobuf.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..errors import FormatError
from ..text import shape_text
from .schema import Datum

# Tags of the wire format: field number * 8 + wire type.
_CHANNELS, _HEIGHT, _WIDTH, _LABEL, _ENCODED = 0x08, 0x10, 0x18, 0x28, 0x38
_DATA, _FLOATS_PACKED, _FLOAT = 0x22, 0x32, 0x35
_VARINTS = {_CHANNELS: 0, _HEIGHT: 1, _WIDTH: 2, _LABEL: 3, _ENCODED: 4}
_FLOAT_BYTES = 5  # a tag and 4 bytes

Value = bytes | memoryview
Floats = NDArray[np.float32]


class Record(NamedTuple):
    """The fields of a Datum.

    Attributes:
        channels, height, width: 0 if unset, as in most encoded ones.
        label: 0 if unset.
        encoded: whether `data` is an image file.
        data: a view of the value that was read; empty if the Datum has floats.
        floats: float_data (n,), or None.
    """

    channels: int
    height: int
    width: int
    label: int
    encoded: bool
    data: Value
    floats: Floats | None


def parse_datum(value: Value, where: str) -> Datum:
    """Parse a value of an LMDB.

    Args:
        value: the value.
        where: file and record, for the error.

    Raises:
        FormatError: the value is not a Datum.
    """
    try:
        return Datum.FromString(bytes(value))
    except DecodeError:
        raise FormatError(
            f"{where}: is not a Datum ({len(value):,} bytes); make the LMDB again"
        ) from None


def read_datum(value: Value, where: str) -> Record:
    """Parse a value of an LMDB without copying its pixels, which live as long as `value`.

    Raises:
        FormatError: the value is not a Datum.
    """
    return _scan(value) or _from_message(parse_datum(value, where))


def record_labels(values: Iterable[Value], where: str) -> Iterator[int]:
    """Yield the label of each value of an LMDB; `where` is its file, for messages.

    Raises:
        FormatError: a value is not a Datum.
    """
    for number, value in enumerate(values):
        yield read_datum(value, f"{where}: record {number}").label


def _from_message(datum: Datum) -> Record:
    floats = np.array(datum.float_data, np.float32) if datum.float_data else None
    return Record(
        datum.channels,
        datum.height,
        datum.width,
        datum.label,
        datum.encoded,
        datum.data,
        floats,
    )


def _scan(value: Value) -> Record | None:
    """Return the fields, or None if anything is unusual or broken and left to protobuf."""
    view = memoryview(value)
    numbers = [0, 0, 0, 0, 0]
    data: Value = b""
    floats: Floats | None = None
    at, end = 0, len(view)
    try:
        while at < end:
            tag = view[at]
            if tag in _VARINTS:
                numbers[_VARINTS[tag]], at = _varint(view, at + 1)
            elif tag in (_DATA, _FLOATS_PACKED):
                size, at = _varint(view, at + 1)
                field, at = view[at : at + size], at + size
                if tag == _DATA:
                    data = field
                elif floats is None:
                    floats = np.frombuffer(field, "<f4")
                else:
                    return None
            elif tag == _FLOAT and floats is None:
                floats, at = _floats(view, at)
            else:
                return None
    except (IndexError, ValueError):
        return None
    if at != end or max(numbers) >> 31:  # a field past the end; a negative number
        return None
    channels, height, width, label, encoded = numbers
    if floats is not None and not len(floats):
        floats = None
    return Record(channels, height, width, label, bool(encoded), data, floats)


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return the number at `at` and the position behind it.

    Raises:
        IndexError: it continues past the end.
        ValueError: it has more than 5 bytes.
    """
    number = view[at]
    if number < 0x80:
        return number, at + 1
    number &= 0x7F
    for shift in (7, 14, 21, 28):
        at += 1
        byte = view[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at + 1
    raise ValueError("a varint of more than 5 bytes")


def _floats(view: memoryview, at: int) -> tuple[Floats, int]:
    """Return the run of unpacked floats at `at`, as Caffe writes them, and the position behind."""
    count = (len(view) - at) // _FLOAT_BYTES
    if not count:
        raise ValueError("truncated")
    run = np.frombuffer(view, [("tag", "u1"), ("value", "<f4")], count, at)
    is_float = run["tag"] == _FLOAT
    if not is_float.all():
        run = run[: int(is_float.argmin())]
    return np.ascontiguousarray(run["value"]), at + len(run) * _FLOAT_BYTES


def raw_values(record: Record, name: str) -> NDArray[Any]:
    """Return the values (channels, height, width) of a Datum that is not an image file.

    Like Caffe, prefers `data` to `float_data`.

    Args:
        record: the Datum.
        name: of the record, for the error.

    Raises:
        FormatError: the number of values contradicts the shape.
    """
    shape = (record.channels, record.height, record.width)
    if min(shape) < 1:
        raise FormatError(f"{name}: has the empty shape {shape_text(shape)}; make the LMDB again")
    values = np.frombuffer(record.data, np.uint8) if len(record.data) else record.floats
    count = 0 if values is None else len(values)
    if values is None or count != prod(shape):
        raise FormatError(
            f"{name}: has {count:,} values for shape {shape_text(shape)}; make the LMDB again"
        )
    return values.reshape(shape)
