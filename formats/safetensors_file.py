"""Read and write `.safetensors` files of floats with the library of that name.

The library checks that header and offsets fit the file before it copies anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import FormatError
from ..extras import required
from ..text import printable

_TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_BFLOAT16 = "BF16"  # the upper half of a float32


def _package() -> Any:
    """Import safetensors, which is an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    with required("safetensors", "a .safetensors file"):
        import safetensors.numpy
    return safetensors


def read_safetensors(data: bytes, shown: str) -> dict[str, np.ndarray]:
    """Return the arrays of a `.safetensors`, bfloat16 as float32; `shown` names it in messages.

    Raises:
        FormatError: it is damaged, or has a tensor that is not of floats.
        MissingExtraError: safetensors is not installed.
    """
    package = _package()
    try:
        tensors = package.deserialize(data)
    except package.SafetensorError as error:
        reason = printable(str(error))
        raise FormatError(f"{shown}: damaged safetensors: {reason}; fetch it again") from None
    # The library returns them in another order each time.
    ordered = sorted(tensors, key=lambda each: each[0])
    return {name: _array(name, tensor, shown) for name, tensor in ordered}


def _array(name: str, tensor: dict[str, Any], shown: str) -> np.ndarray:
    kind, values = tensor["dtype"], tensor["data"]
    if kind == _BFLOAT16:
        flat = (np.frombuffer(values, "<u2").astype("<u4") << 16).view("<f4")
    elif kind in _TYPES:
        flat = np.frombuffer(values, _TYPES[kind])
    else:
        what = printable(str(kind))
        raise FormatError(f"{shown}: tensor '{printable(name)}' is of {what}; weights are floats")
    return flat.reshape(tensor["shape"])


def write_safetensors(tensors: Mapping[str, np.ndarray], shown: str) -> bytes:
    """Return the bytes of a `.safetensors`.

    Raises:
        FormatError: a name is not Unicode.
        MissingExtraError: safetensors is not installed.
    """
    for name in tensors:
        if any(0xD800 <= ord(character) < 0xE000 for character in name):
            where = f"the name '{printable(name)}'"
            raise FormatError(f"{shown}: safetensors can't have {where}, which is not Unicode")
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    return bytes(_package().numpy.save(arrays))
