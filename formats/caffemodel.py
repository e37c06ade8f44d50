"""Read and write Caffe's files of weights and solver states; convert blobs from and to arrays.

Reading upgrades old binary files (V0 and V1 layers), as Caffe does. HDF5 files are known by their
contents when read, and by the ending `.h5` when written (hdf5_snapshot.py). They name no types of
layers and don't repeat shared blobs: such a blob is one without shape and data (`is_shared_blob`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ..errors import FormatError
from ..text import first_few, printable, shape_text
from .files import BINARY_LIMIT, display_name, is_text, read_bytes
from .foreign_weights import IS_ONNX, ONNX_SUFFIX, foreign_format
from .fork_layers import SCALED, group_depthwise, split_batch_norm
from .hdf5_file import is_hdf5
from .hdf5_snapshot import (
    SUFFIX,
    LayerArrays,
    StateArrays,
    read_state,
    read_weights,
    write_state,
    write_weights,
)
from .schema import BlobProto, NetParameter, SolverState
from .text_parser import is_repeated

_CHUNK = 1 << 26  # elements appended to a blob at a time: protobuf parses 2 GiB at most
_NOT_HERE = (
    "a blob that layers share is in HDF5 once, without the names of the others; give the weights as"
    " a .caffemodel"
)
BLOB_LIMIT = 1 << 30  # maximum bytes of a file with one blob
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}  # NVCaffe's DOUBLE, FLOAT, FLOAT16
_RAW_DATA_TYPE, _RAW_DATA = 10, 12  # fields of NVCaffe's BlobProto
_LENGTH_DELIMITED = 2  # wire type of a packed field


def read_caffemodel(path: str | os.PathLike[str], changes: list[str] | None = None) -> NetParameter:
    """Read a `.caffemodel` or `.caffemodel.h5`, or standard input for `-`, in today's format.

    Args:
        path: the file.
        changes: receives a phrase for each upgrade.

    Raises:
        FormatError: the file can't be read, is truncated, damaged or of another kind.
    """
    data = read_bytes(path, BINARY_LIMIT, "a caffemodel")
    return parse_caffemodel(data, display_name(path), [] if changes is None else changes)


def parse_caffemodel(data: bytes, source: str, changes: list[str]) -> NetParameter:
    """Parse the bytes of a `.caffemodel` or `.caffemodel.h5`; upgrade it to today's format.

    Args:
        data: the file's contents.
        source: its name, for messages.
        changes: receives a phrase for each upgrade.

    Raises:
        FormatError: the data is truncated, damaged or of another kind.
    """
    _check_not_empty(data, source)
    if is_hdf5(data):
        return _net_from_hdf5(data, source)
    foreign = foreign_format(data)
    if foreign is not None:
        what = f"is in {foreign} format; sqgen weights convert makes a .caffemodel of it"
        raise FormatError(f"{source}: {what}")
    net = _parse_net(data)
    if net is None:
        if source.endswith(ONNX_SUFFIX):
            raise FormatError(f"{source}: {IS_ONNX}")
        if _parse_solver_state(data) is not None:
            raise FormatError(f"{source}: is a solver state, not weights; give the .caffemodel")
        if source.endswith((".net", ".sqz")):
            what = "is a compressed file; sqgen compress decode makes a .caffemodel of it"
            raise FormatError(f"{source}: {what}")
        if is_text(data) and data[:1].isascii():  # a net, or a text that a server sent instead
            what = "is text, not a .caffemodel; give the weights, or fetch them again"
            raise FormatError(f"{source}: {what}")
        raise FormatError(f"{source}: is not a .caffemodel, or is truncated; fetch it again")
    from .upgrade import upgrade_net

    if _escape_strings(net):
        changes.append("strings that are not UTF-8: their bytes are escapes")
    changes += upgrade_net(net, source)
    changes += group_depthwise(net)
    for layer in net.layer:
        for index, blob in enumerate(layer.blobs):
            _read_raw_data(blob, f"{source}: layer '{printable(layer.name)}', blob {index}")
    changes += _split_batch_norm(net, source)
    for layer in net.layer:
        for index, blob in enumerate(layer.blobs):
            _check_blob(blob, f"{source}: layer '{printable(layer.name)}', blob {index}")
    return net


def split_weights(weights: str, what: str = "--weights") -> list[str]:
    """Split `a.caffemodel,b.caffemodel` into paths; `what` is the option or field that has it.

    Raises:
        FormatError: there is no path, or an empty one.
    """
    paths = [path.strip() for path in weights.split(",")]
    if not all(paths):
        problem = "an empty name between commas" if any(paths) else "names no file"
        raise FormatError(f"{what} '{printable(weights)}': {problem}; give a .caffemodel")
    return paths


def read_solver_state(path: str | os.PathLike[str]) -> SolverState:
    """Read a `.solverstate` or `.solverstate.h5`.

    Raises:
        FormatError: the file can't be read, is truncated, damaged or of another kind.
    """
    data = read_bytes(path, BINARY_LIMIT, "a solver state")
    return parse_solver_state(data, display_name(path))


def parse_solver_state(data: bytes, source: str) -> SolverState:
    """Parse the bytes of a `.solverstate` or `.solverstate.h5`; `source` is its file.

    Raises:
        FormatError: they are truncated, damaged or of another kind.
    """
    _check_not_empty(data, source)
    state = _state_from_hdf5(data, source) if is_hdf5(data) else _parse_solver_state(data)
    if state is None:
        if is_caffemodel(data):
            what = "is a .caffemodel; --snapshot takes the .solverstate beside it"
        else:
            what = "is not a solver state, or is truncated; use an earlier snapshot"
        raise FormatError(f"{source}: {what}")
    _escape_strings(state)
    if state.iter < 0 or state.current_step < 0:
        raise FormatError(f"{source}: is damaged; use an earlier snapshot")
    for index, blob in enumerate(state.history):
        _check_blob(blob, f"{source}: history {index}")
    return state


def read_blob(path: str | os.PathLike[str], kind: str, remedy: str) -> np.ndarray:
    """Read a file with one BlobProto (`.binaryproto`): float64 if it has double_data, else float32.

    Args:
        path: the file.
        kind: what it should be, for messages.
        remedy: what to do about a file that is none.

    Raises:
        FormatError: it can't be read, is none, or its values don't fill its shape.
    """
    data, shown = read_bytes(path, BLOB_LIMIT, kind), display_name(path)
    try:
        blob = BlobProto.FromString(data)
    except DecodeError:
        raise FormatError(f"{shown}: not a BlobProto; {remedy}") from None
    _check_blob(blob, shown)
    return blob_array(blob)


def blob_array(blob: BlobProto) -> np.ndarray:
    """Return the data of a BlobProto in its shape: float64 if it has double_data, else float32.

    Raises:
        FormatError: it is not in the file (`is_shared_blob`).
    """
    if is_shared_blob(blob):
        raise FormatError(_NOT_HERE)
    return _array(blob.double_data, blob.data, blob_shape(blob))


def is_finite(model: NetParameter) -> bool:
    """Decide whether no weight of a caffemodel is nan or infinite."""
    blobs = (blob for layer in model.layer for blob in layer.blobs if not is_shared_blob(blob))
    # The sum in float64 is faster to check than each value, and overflows for none of float32.
    return all(math.isfinite(float(blob_array(blob).sum(dtype="f8"))) for blob in blobs)


def _diff_array(blob: BlobProto) -> np.ndarray | None:
    has_diff = blob.diff or blob.double_diff
    return _array(blob.double_diff, blob.diff, blob_shape(blob)) if has_diff else None


def _array(doubles: Sequence[float], floats: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    flat = np.array(doubles) if doubles else np.array(floats, dtype=np.float32)
    return flat.reshape(shape)


def is_shared_blob(blob: BlobProto) -> bool:
    """Return whether a blob is not in the file, since HDF5 has it in another layer."""
    return not (blob.HasField("shape") or _has_old_shape(blob) or element_count(blob))


def blob_shape(blob: BlobProto) -> tuple[int, ...]:
    """Return the shape of a BlobProto; files before 2014 have four axes (Blob::FromProto)."""
    if _has_old_shape(blob):
        return (blob.num, blob.channels, blob.height, blob.width)
    return tuple(blob.shape.dim)


def element_count(blob: BlobProto) -> int:
    """Return the number of elements that a BlobProto holds."""
    return len(blob.double_data) or len(blob.data)


def same_blob_shape(blob: BlobProto, shape: tuple[int, ...]) -> bool:
    """Compare the shape of a BlobProto with `shape`, as Blob::ShapeEquals does.

    The four axes of an old file may begin with ones that `shape` lacks.
    """
    stored = blob_shape(blob)
    if not _has_old_shape(blob):
        return stored == shape
    return len(shape) <= 4 and stored == (1,) * (4 - len(shape)) + shape


def _has_old_shape(blob: BlobProto) -> bool:
    return (
        blob.HasField("num")
        or blob.HasField("channels")
        or blob.HasField("height")
        or blob.HasField("width")
    )


def fill_blob(blob: BlobProto, array: np.ndarray, diff: np.ndarray | None = None) -> None:
    """Write an array, and its gradient if given, into an empty BlobProto."""
    blob.shape.dim.extend(array.shape)
    for name, values in (("data", array), ("diff", diff)):
        if values is None:
            continue
        if values.dtype == np.float64:
            _append(blob, f"double_{name}", values.astype("<f8", copy=False))
        else:
            _append(blob, name, values.astype("<f4", copy=False))


def _append(blob: BlobProto, field: str, array: np.ndarray) -> None:
    """Append elements to a packed field as wire-format bytes: 40 times faster than `extend`."""
    tag = blob.DESCRIPTOR.fields_by_name[field].number << 3 | _LENGTH_DELIMITED
    flat = np.ascontiguousarray(array).reshape(-1)
    for chunk in (flat[at : at + _CHUNK] for at in range(0, flat.size, _CHUNK)):
        blob.MergeFromString(bytes([tag]) + _varint(chunk.nbytes) + chunk.tobytes())


def _varint(number: int) -> bytes:
    """Encode a number as protobuf does: 7 bits a byte, the lowest first."""
    groups = []
    while number >> 7:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def encode_caffemodel(model: NetParameter, path: str) -> bytes:
    """Return the bytes of weights for a file: HDF5 where its name ends in `.h5`, else binary.

    Raises:
        FormatError: HDF5 can't have its layers, or it is larger than 2 GiB, protobuf's limit.
        MissingExtraError: h5py is not installed.
    """
    if path.endswith(SUFFIX):
        return write_weights(_owned_arrays(model), printable(path))
    if any(map(is_shared_blob, (blob for layer in model.layer for blob in layer.blobs))):
        raise FormatError(f"{printable(path)}: {_NOT_HERE}")
    return serialize(model, path)


def encode_solver_state(state: SolverState, path: str) -> bytes:
    """Return the bytes of a solver state for a file; see `encode_caffemodel`."""
    if path.endswith(SUFFIX):
        learned_net = state.learned_net if state.HasField("learned_net") else None
        history = list(map(blob_array, state.history))
        return write_state(StateArrays(state.iter, learned_net, state.current_step, history))
    return serialize(state, path)


def _owned_arrays(model: NetParameter) -> list[LayerArrays]:
    """Return the blobs of each layer, without those that a layer before shares by name."""
    owned: set[str] = set()
    layers = []
    for layer in model.layer:
        names = [spec.name for spec in layer.param[: len(layer.blobs)]]
        names += [""] * (len(layer.blobs) - len(names))
        blobs = [
            None if name in owned or is_shared_blob(blob) else blob_array(blob)
            for name, blob in zip(names, layer.blobs, strict=True)
        ]
        owned |= {*names} - {""}
        diffs = list(map(_diff_array, layer.blobs))
        layers.append(LayerArrays(layer.name, blobs, diffs))
    return layers


def _net_from_hdf5(data: bytes, source: str) -> NetParameter:
    model = NetParameter()
    for name, blobs, _ in read_weights(data, source):
        layer = model.layer.add(name=name)
        for array in blobs:
            blob = layer.blobs.add()
            if array is not None:
                fill_blob(blob, array)
    return model


def _state_from_hdf5(data: bytes, source: str) -> SolverState:
    arrays = read_state(data, source)
    state = SolverState(iter=arrays.iteration, current_step=arrays.current_step)
    if arrays.learned_net is not None:
        state.learned_net = arrays.learned_net
    for array in arrays.history:
        fill_blob(state.history.add(), array)
    return state


def serialize(message: Message, name: str) -> bytes:
    """Return the bytes of a message; `name` stands for it in the error.

    Raises:
        FormatError: the message is larger than 2 GiB, protobuf's limit.
    """
    try:
        return bytes(message.SerializeToString())
    except (EncodeError, ValueError, MemoryError):
        raise FormatError(f"{name}: larger than the 2 GiB that protobuf can write") from None


def _check_not_empty(data: bytes, source: str) -> None:
    if not data:
        raise FormatError(f"{source}: is empty")


def _escape_strings(message: Message) -> bool:
    """Write the bytes of strings that are not UTF-8 as escapes; return whether there are any.

    Caffe takes such strings, and prototxts are read with the same escapes, so that names match.
    protobuf returns bytes for them, and sets none.
    """
    found = False
    for field, value in message.ListFields():
        if field.name in ("blobs", "history"):
            continue
        values = value if is_repeated(field) else [value]
        if field.message_type is not None:
            for each in values:
                found |= _escape_strings(each)
        elif any(isinstance(each, bytes) for each in values):
            found = True
            escaped = [_escaped(each) for each in values]
            if is_repeated(field):
                value[:] = escaped
            else:
                setattr(message, field.name, escaped[0])
    return found


def _escaped(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")


def _read_raw_data(blob: BlobProto, where: str) -> None:
    """Read the data of a blob that NVCaffe stored in fields of its own (Blob::ToProto)."""
    if element_count(blob):
        return
    unknown: Any = UnknownFieldSet(blob)  # its type lacks iteration
    fields = {field.field_number: field.data for field in unknown}
    if _RAW_DATA not in fields:
        return
    kind = _RAW_TYPES.get(fields.get(_RAW_DATA_TYPE, 0))
    if kind is None:
        raise FormatError(f"{where}: NVCaffe's raw data of a type that is no numbers of weights")
    try:
        values = np.frombuffer(fields[_RAW_DATA], kind)
    except ValueError:
        raise FormatError(f"{where}: NVCaffe's raw data of another size; damaged") from None
    blob.DiscardUnknownFields()
    double = values.dtype == np.float64
    _append(blob, "double_data" if double else "data", values if double else values.astype("<f4"))


def _split_batch_norm(net: NetParameter, source: str) -> list[str]:
    """Move scale and bias of BatchNorm layers to Scale layers; return a phrase if there are any."""
    scaled = {
        index: layer.name
        for index, layer in enumerate(net.layer)
        if layer.type == "BatchNorm" and len(layer.blobs) in (4, 5)
    }
    split_batch_norm(net, dict.fromkeys(scaled, (None, None)), source)
    return [f"{SCALED}: {first_few(list(scaled.values()))}"] if scaled else []


def _check_blob(blob: BlobProto, where: str) -> None:
    shape, elements = blob_shape(blob), element_count(blob)
    if any(axis < 0 for axis in shape) or prod(shape) != elements:
        raise FormatError(
            f"{where}: has {elements} elements for shape {shape_text(shape)}; the file is damaged"
        )
    if (len(blob.double_diff) or len(blob.diff)) not in (0, elements):
        raise FormatError(f"{where}: has a diff of another size; the file is damaged")


def is_caffemodel(data: bytes) -> bool:
    """Check whether bytes parse as a NetParameter that has layers."""
    return _parse_net(data) is not None


def _parse_net(data: bytes) -> NetParameter | None:
    try:
        net = NetParameter.FromString(data)
    except DecodeError:
        return None
    return net if net.layer or net.layers else None


def _parse_solver_state(data: bytes) -> SolverState | None:
    """Return None for bytes that Caffe could not have written as a solver state."""
    try:
        state = SolverState.FromString(data)
    except DecodeError:
        return None
    is_complete = state.HasField("iter") and (state.history or state.HasField("learned_net"))
    return state if is_complete else None
