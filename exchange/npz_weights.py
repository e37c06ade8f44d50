"""Weights as the arrays of an `.npz`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import FormatError
from ..formats.files import unpacked_limit
from ..formats.npz import decode_npz, encode_npz
from ..text import printable

_MAX_NAME = 1 << 15  # bytes


def read_npz(data: bytes, shown: str) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` in the file's order; `shown` is its name in messages.

    Raises:
        FormatError: it is damaged, holds Python objects, or unpacks to far more than its size.
    """
    try:
        return decode_npz(data, unpacked_limit(len(data)))
    except ValueError as error:
        raise FormatError(f"{shown}: no npz of weights: {printable(str(error))}") from None


def write_npz(tensors: Mapping[str, np.ndarray], shown: str) -> bytes:
    """Return the bytes of an `.npz`.

    Raises:
        FormatError: a name can't be in it.
    """
    for name in tensors:
        if not _can_name(name):
            raise FormatError(f"{shown}: an npz can't have the name '{printable(name)}'")
    return encode_npz(tensors)


def _can_name(name: str) -> bool:
    """Whether a zip can hold a name: nulls end it, and Windows takes `\\` for `/`."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return False
    return length < _MAX_NAME and "\0" not in name and "\\" not in name
