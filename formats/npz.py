"""NumPy's `.npz`: a zip of arrays. Equal arrays give equal bytes; reading executes nothing."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from tokenize import TokenError
from typing import Any

import numpy as np

MAGIC = b"PK"  # of a zip
_SUFFIX = ".npy"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What zipfile and NumPy raise at damage, beside ValueError.
_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)
_HEADER_DAMAGE = (SyntaxError, TokenError, TypeError, RecursionError, MemoryError)

Array = np.ndarray[Any, np.dtype[Any]]


def encode_npz(arrays: Mapping[str, Array]) -> bytes:
    """Return arrays, which hold no Python objects, as a compressed .npz."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # A ZipInfo has a fixed date, unlike a name.
            file.writestr(zipfile.ZipInfo(name + _SUFFIX), member.getvalue(), zipfile.ZIP_DEFLATED)
    return data.getvalue()


def decode_npz(data: bytes, limit: int) -> dict[str, Array]:
    """Return the arrays of an .npz by name, read-only.

    Args:
        data: the file.
        limit: the most bytes of all arrays together.

    Raises:
        ValueError: it is damaged, has more than `limit` bytes, a name twice, or Python objects.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = file.infolist()
            if sum(member.file_size for member in members) > limit:
                raise ValueError(f"its arrays have more than {limit >> 20} MiB")
            names = [member.filename.removesuffix(_SUFFIX) for member in members]
            if len(set(names)) < len(names):
                raise ValueError("an array twice")
            read = zip(names, members, strict=True)
            return {name: _decode_array(file.read(member), name) for name, member in read}
    except _ZIP_DAMAGE as error:
        raise ValueError(f"a damaged zip ({error})") from None


def _decode_array(data: bytes, name: str) -> Array:
    """Return the array of an .npy, whose size its header has to tell right."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"version {version[0]}.{version[1]}")
        shape, by_columns, dtype = _HEADERS[version](stream)
    except (*_HEADER_DAMAGE, ValueError) as error:
        raise ValueError(f"array {name}: no .npy ({error})") from None
    shape, start = tuple(map(int, shape)), stream.tell()  # True is an int, but no axis
    if dtype.hasobject:
        raise ValueError(f"array {name}: holds Python objects, which could run code")
    if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"array {name}: has {len(data) - start} bytes for shape {shape}")
    flat = np.frombuffer(data, dtype, offset=start) if len(data) > start else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if by_columns else "C")
