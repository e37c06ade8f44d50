"""Names of tensors for the blobs of a caffemodel: `conv1.weight` and `conv1.bias`.

A layer with more than two blobs, such as a BatchNorm, has them under their numbers: `bn1.0`,
`bn1.1`, `bn1.2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count

import numpy as np

from ..errors import FormatError
from ..formats.caffemodel import blob_array, fill_blob, is_shared_blob
from ..formats.files import BINARY_LIMIT
from ..formats.schema import NetParameter
from ..text import printable

_PARTS = ("weight", "bias")
_NUMBER = re.compile("0|[1-9][0-9]?")
_FLOATS = (2, 4, 8)  # bytes


def model_from_tensors(tensors: Mapping[str, np.ndarray], shown: str) -> NetParameter:
    """Return the caffemodel of named tensors, without the definitions of its layers.

    Args:
        tensors: arrays of float16, which becomes float32, float32 or float64.
        shown: the file, for messages.

    Raises:
        FormatError: a name is of another form, a blob is missing, or they exceed a caffemodel.
    """
    blobs: dict[str, dict[int, np.ndarray]] = {}
    for name, array in tensors.items():
        layer, number = _blob_of(name, shown)
        if number in blobs.setdefault(layer, {}):
            raise FormatError(f"{shown}: blob {number} of '{printable(layer)}' is there twice")
        if array.dtype.kind != "f" or array.dtype.itemsize not in _FLOATS:
            what = f"'{printable(name)}' is of {printable(str(array.dtype))}"
            raise FormatError(f"{shown}: {what}; weights are floats of at most 64 bits")
        blobs[layer][number] = array
    if sum(array.nbytes for array in tensors.values()) > BINARY_LIMIT:
        raise FormatError(f"{shown}: its tensors take more than the 2 GiB of a caffemodel")
    model = NetParameter()
    for layer, numbered in blobs.items():
        written = model.layer.add(name=layer)
        for number in range(len(numbered)):
            if number not in numbered:
                raise FormatError(f"{shown}: lacks blob {number} of '{printable(layer)}'")
            fill_blob(written.blobs.add(), numbered[number])
    return model


def _blob_of(name: str, shown: str) -> tuple[str, int]:
    """Return the layer and the number of a tensor's blob."""
    layer, dot, part = name.rpartition(".")
    if dot and part in _PARTS:
        return layer, _PARTS.index(part)
    if dot and _NUMBER.fullmatch(part):
        return layer, int(part)
    raise FormatError(
        f"{shown}: what the tensor '{printable(name)}' is to Caffe is not known; blobs are named"
        " LAYER.weight, LAYER.bias or LAYER.NUMBER"
    )


def tensors_of_model(model: NetParameter, shown: str) -> dict[str, np.ndarray]:
    """Return the blobs of a caffemodel by name.

    Raises:
        FormatError: two layers have one name, or a blob that layers share is not in the file.
    """
    tensors: dict[str, np.ndarray] = {}
    for layer in model.layer:
        parts: Iterator[str] = iter(_PARTS) if len(layer.blobs) <= 2 else map(str, count())
        for blob, part in zip(layer.blobs, parts, strict=False):
            name = f"{layer.name}.{part}"
            if name in tensors:
                raise FormatError(
                    f"{shown}: two layers are called '{printable(layer.name)}'; rename one"
                )
            if is_shared_blob(blob):
                what = f"a blob of '{printable(layer.name)}' is in the file with another layer"
                raise FormatError(f"{shown}: {what}; convert the .caffemodel")
            tensors[name] = blob_array(blob)
    return tensors
