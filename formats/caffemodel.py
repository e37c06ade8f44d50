"""Weights and solver states in Caffe's binary files, to and from NumPy arrays.

Old files (V0 and V1 layers) are upgraded on reading, as Caffe does it. Nothing is written here:
`formats.files.write_files` takes what `SerializeToString` gives.
"""

from __future__ import annotations

import os
from math import prod
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, EncodeError

from ..errors import FormatError
from ..text import printable, shape_text
from .files import STDIN, read_bytes
from .schema import NetParameter, message_class

BINARY_LIMIT = (1 << 31) - 1  # of protobuf itself
SolverState = message_class("SolverState")

_PART = 1 << 26  # elements added to a blob at a time: protobuf parses 2 GiB at most
_LENGTH_DELIMITED = 2  # wire type of a packed field
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_caffemodel(path: str | os.PathLike[str]) -> Any:
    """The NetParameter of a `.caffemodel`, or of standard input for `-`, in today's format.

    Raises:
        FormatError: it can't be read, is truncated or corrupt, or is something else.
    """
    source = _shown(path)
    data = _read(path, "a caffemodel")
    net = NetParameter()
    if not is_caffemodel(data, net):
        if _is_solver_state(data, SolverState()):
            raise FormatError(f"{source}: is a solver state, not weights; give the .caffemodel")
        if source.endswith((".net", ".sqz")):
            what = "is a compressed file; sqgen compress decode makes a .caffemodel of it"
            raise FormatError(f"{source}: {what}")
        raise FormatError(f"{source}: is no .caffemodel, or is truncated; fetch it again")
    from .upgrade import upgrade_net

    if any(_is_no_text(layer.name) for layer in (*net.layer, *net.layers)):
        raise FormatError(f"{source}: a layer's name is no UTF-8; the file is damaged")
    try:
        upgrade_net(net, source)
    except UnicodeDecodeError:
        raise FormatError(f"{source}: a name in it is no UTF-8; the file is damaged") from None
    for layer in net.layer:
        for index, blob in enumerate(layer.blobs):
            _check_blob(blob, f"{source}: layer '{printable(layer.name)}', blob {index}")
    return net


def read_solver_state(path: str | os.PathLike[str]) -> Any:
    """The SolverState of a `.solverstate`.

    Raises:
        FormatError: it can't be read, is truncated or corrupt, or is something else.
    """
    source = _shown(path)
    data = _read(path, "a solver state")
    state = SolverState()
    if not _is_solver_state(data, state):
        if is_caffemodel(data, NetParameter()):
            what = "is a .caffemodel; --snapshot takes the .solverstate beside it"
        else:
            what = "is no solver state, or is truncated; take an earlier snapshot"
        raise FormatError(f"{source}: {what}")
    if _is_no_text(state.learned_net) or state.iter < 0 or state.current_step < 0:
        raise FormatError(f"{source}: is damaged; take an earlier snapshot")
    for index, blob in enumerate(state.history):
        _check_blob(blob, f"{source}: history {index}")
    return state


def blob_array(blob: Any) -> np.ndarray:
    """The elements of a BlobProto in its shape: float64 where it was saved so, else float32."""
    double = blob.double_data
    flat = np.array(double) if double else np.array(blob.data, dtype=np.float32)
    return flat.reshape(blob_shape(blob))


def blob_shape(blob: Any) -> tuple[int, ...]:
    """The shape of a BlobProto; files before 2014 have four axes (Blob::FromProto)."""
    if _has_old_shape(blob):
        return (blob.num, blob.channels, blob.height, blob.width)
    return tuple(blob.shape.dim)


def same_blob_shape(blob: Any, shape: tuple[int, ...]) -> bool:
    """Whether a BlobProto has the elements of `shape`: four old axes may lead with ones
    (Blob::ShapeEquals)."""
    stored = blob_shape(blob)
    if not _has_old_shape(blob):
        return stored == shape
    return len(shape) <= 4 and stored == (1,) * (4 - len(shape)) + shape


def _has_old_shape(blob: Any) -> bool:
    return any(blob.HasField(field) for field in ("num", "channels", "height", "width"))


def fill_blob(blob: Any, array: np.ndarray, diff: np.ndarray | None = None) -> None:
    """Put an array into an empty BlobProto, and its gradient where there is one."""
    blob.shape.dim.extend(array.shape)
    for name, values in (("data", array), ("diff", diff)):
        if values is None:
            continue
        if values.dtype == np.float64:
            _append(blob, f"double_{name}", values.astype("<f8", copy=False))
        else:
            _append(blob, name, values.astype("<f4", copy=False))


def _append(blob: Any, field: str, array: np.ndarray) -> None:
    """Add elements to a packed field as the bytes that stand in a file: some 40 times faster than
    one number after the other."""
    tag = blob.DESCRIPTOR.fields_by_name[field].number << 3 | _LENGTH_DELIMITED
    flat = np.ascontiguousarray(array).reshape(-1)
    for part in (flat[at : at + _PART] for at in range(0, flat.size, _PART)):
        blob.MergeFromString(bytes([tag]) + _varint(part.nbytes) + part.tobytes())


def _varint(number: int) -> bytes:
    """A number as protobuf writes it: 7 bits a byte, the lowest first."""
    groups = []
    while number >> 7:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def serialized(message: Any, what: str) -> bytes:
    """The bytes of a message.

    Raises:
        FormatError: it has more than the 2 GiB that protobuf takes.
    """
    try:
        return bytes(message.SerializeToString())
    except (EncodeError, ValueError, MemoryError):
        raise FormatError(f"{what}: larger than the 2 GiB that protobuf can write") from None


def _shown(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    return "standard input" if name == STDIN else printable(name)


def _read(path: str | os.PathLike[str], what: str) -> bytes:
    data = read_bytes(path, BINARY_LIMIT, what)
    source = _shown(path)
    if data.startswith(_HDF5):
        raise FormatError(f"{source}: is HDF5, which is not supported; give the binary proto file")
    if not data:
        raise FormatError(f"{source}: is empty")
    return data


def _is_no_text(value: Any) -> bool:
    """Whether a string of a message is no UTF-8: protobuf gives its bytes then."""
    return isinstance(value, bytes)


def _check_blob(blob: Any, where: str) -> None:
    shape = blob_shape(blob)
    elements = len(blob.double_data) or len(blob.data)
    if any(axis < 0 for axis in shape) or prod(shape) != elements:
        raise FormatError(
            f"{where}: has {elements} elements for shape {shape_text(shape)}; it is damaged"
        )


def is_caffemodel(data: bytes, net: Any) -> bool:
    """Parse into a NetParameter; whether that is one with layers."""
    try:
        net.ParseFromString(data)
    except DecodeError:
        return False
    return bool(net.layer or net.layers)


def _is_solver_state(data: bytes, state: Any) -> bool:
    """Parse into `state`; whether it is one that Caffe could have written."""
    try:
        state.ParseFromString(data)
    except DecodeError:
        return False
    return state.HasField("iter") and (bool(state.history) or state.HasField("learned_net"))
