"""Datum: one image with its label, as Caffe keeps it in an LMDB.

A Datum's pixels are most of its bytes, and protobuf copies them twice. `read_datum` reads the few
fields around them itself and leaves the pixels where they are; what it does not know, it hands to
protobuf. Both read the same (tested).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from ..errors import FormatError
from .schema import message_class

Datum = message_class("Datum")

# Tags of the wire format: field number * 8 + wire type.
_CHANNELS, _HEIGHT, _WIDTH, _LABEL, _ENCODED = 0x08, 0x10, 0x18, 0x28, 0x38
_DATA, _FLOATS_PACKED, _FLOAT = 0x22, 0x32, 0x35
_VARINTS = {_CHANNELS: 0, _HEIGHT: 1, _WIDTH: 2, _LABEL: 3, _ENCODED: 4}
_FLOAT_BYTES = 5  # a tag and 4 bytes

Value = bytes | memoryview
Floats = np.ndarray[Any, np.dtype[np.float32]]


class Record(NamedTuple):
    """The fields of a Datum.

    Attributes:
        channels, height, width: as told; 0 where not told, as for most encoded ones.
        label: 0 where not told.
        encoded: whether `data` is an image file.
        data: the bytes, a view of the value that was read; empty where there are floats.
        floats: float_data (n,), or None.
    """

    channels: int
    height: int
    width: int
    label: int
    encoded: bool
    data: Value
    floats: Floats | None


def parse_datum(value: Value, where: str) -> Any:
    """The `Datum` message that a value of an LMDB holds.

    Args:
        value: the value.
        where: file and record, for the message.

    Raises:
        FormatError: it is not a Datum.
    """
    try:
        return Datum.FromString(bytes(value))
    except DecodeError:
        raise FormatError(
            f"{where}: is not a Datum ({len(value):,} bytes); make the LMDB again"
        ) from None


def read_datum(value: Value, where: str) -> Record:
    """The fields of a Datum, its pixels not copied: they live as long as `value` does.

    Raises:
        FormatError: it is not a Datum.
    """
    return _scan(value) or _from_message(parse_datum(value, where))


def _from_message(datum: Any) -> Record:
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
    """The fields, or None where anything is unusual or broken, which protobuf then judges."""
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
                part, at = view[at : at + size], at + size
                if tag == _DATA:
                    data = part
                elif floats is None:
                    floats = np.frombuffer(part, "<f4")
                else:
                    return None
            elif tag == _FLOAT and floats is None:
                floats, at = _floats(view, at)
            else:
                return None
    except (IndexError, ValueError):
        return None
    if at != end or max(numbers) >> 31:  # a field that goes past the end; a negative number
        return None
    channels, height, width, label, encoded = numbers
    kept = floats if floats is not None and len(floats) else None
    return Record(channels, height, width, label, bool(encoded), data, kept)


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends; IndexError past the end, ValueError if long."""
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
    """The run of unpacked floats at `at`, as Caffe writes them, and where it ends."""
    count = (len(view) - at) // _FLOAT_BYTES
    if not count:
        raise ValueError("cut off")
    run = np.frombuffer(view, [("tag", "u1"), ("value", "<f4")], count, at)
    same = run["tag"] == _FLOAT
    if not same.all():
        run = run[: int(same.argmin())]
    return np.ascontiguousarray(run["value"]), at + len(run) * _FLOAT_BYTES


def raw_values(record: Record, name: str) -> np.ndarray[Any, Any]:
    """The values of a Datum that is no image file: (C, H, W); bytes count before floats.

    Raises:
        FormatError: it holds another number of values than it says; `name` is whose record it is.
    """
    shape = (record.channels, record.height, record.width)
    said = "x".join(map(str, shape))
    if min(shape) < 1:
        raise FormatError(f"{name}: says it is {said}, which is no image; make the LMDB again")
    values = np.frombuffer(record.data, np.uint8) if len(record.data) else record.floats
    held = 0 if values is None else len(values)
    if values is None or held != shape[0] * shape[1] * shape[2]:
        raise FormatError(
            f"{name}: says it is {said}, and holds {held:,} values; make the LMDB again"
        )
    return values.reshape(shape)
