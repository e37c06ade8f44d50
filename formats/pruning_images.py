"""Which images weights were pruned on: a note in their caffemodel, which copies keep.

It is a field of NetParameter that `caffe.proto` lacks: all programs that read the file by protobuf
skip it. Weights that are trained on, or written in another format, don't have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from .schema import NetParameter

_FIELD = 77436  # SQGEN on the keys of a telephone
_LENGTH_DELIMITED = 2  # wire type
_NOTE = re.compile(rb"pruned on ([a-z0-9]{1,10}-[0-9]{1,12}-[0-9a-f]{16})")


def note_images(model: NetParameter, digests: Iterable[str]) -> None:
    """Note in weights that they were pruned on datasets, by their digests (`nets/dataset.py`)."""
    for digest in digests:
        text = b"pruned on " + digest.encode()
        assert _NOTE.fullmatch(text), text
        tag = _varint(_FIELD << 3 | _LENGTH_DELIMITED)
        model.MergeFromString(tag + _varint(len(text)) + text)


def noted_images(model: NetParameter) -> list[str]:
    """Return the digests of the datasets that weights were pruned on, where these say so."""
    unknown: Any = UnknownFieldSet(model)  # its type lacks iteration
    texts = (
        field.data
        for field in unknown
        if (field.field_number, field.wire_type) == (_FIELD, _LENGTH_DELIMITED)
    )
    found = filter(None, map(_NOTE.fullmatch, texts))
    return list(dict.fromkeys(match[1].decode() for match in found))


def _varint(number: int) -> bytes:
    """Encode a number as protobuf does: seven bits a byte, the lowest first."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
