"""Read ONNX files that may be damaged or hostile: what they claim is checked before it is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, numpy_helper

from ..errors import FormatError
from ..formats.files import BINARY_LIMIT, STDIN, display_name, read_bytes
from ..nets.layer_types import MAX_ELEMENTS, Shape
from ..text import printable

OLDEST_OPSET = 7  # broadcasting needed an attribute before
_DOMAINS = ("", "ai.onnx")
# Numbers of these types become weights or shapes -> bytes of an element in raw_data.
_TYPES = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.FLOAT16: 2,
    TensorProto.INT32: 4,
    TensorProto.INT64: 8,
    TensorProto.BOOL: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT8: 1,
}


def read_onnx(path: str | os.PathLike[str]) -> ModelProto:
    """Read an ONNX file, or standard input for `-`; data beside it becomes part of the model.

    Raises:
        FormatError: it can't be read, is damaged or of another kind, or its data lies elsewhere
            than in its folder.
    """
    data, shown = read_bytes(path, BINARY_LIMIT, "an ONNX model"), display_name(path)
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        raise FormatError(
            f"{shown}: is not an ONNX model, or is truncated; give a whole .onnx"
        ) from None
    if not model.graph.node or not model.opset_import:
        raise FormatError(f"{shown}: is not an ONNX model: it has no operators; give a .onnx")
    if any(isinstance(text, bytes) for text in _texts(model)):  # protobuf leaves it as it is
        raise FormatError(f"{shown}: has names that are not UTF-8; the file is damaged")
    _check_version(model, shown)
    folder = None if os.fspath(path) == STDIN else Path(path).parent
    for tensor in model.graph.initializer:
        where = f"{shown}: '{printable(tensor.name)}'"
        if tensor.data_location == TensorProto.EXTERNAL:
            _load_external(tensor, folder, where)
    return model


def _texts(model: ModelProto) -> Iterator[str | bytes]:
    """Yield the names of a model."""
    yield from (model.producer_name, model.graph.name)
    for opset in model.opset_import:
        yield opset.domain
    for pair in model.metadata_props:
        yield from (pair.key, pair.value)
    for named in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        yield named.name
    for tensor in model.graph.initializer:
        for pair in tensor.external_data:
            yield from (pair.key, pair.value)
    for node in model.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name


def _check_version(model: ModelProto, shown: str) -> None:
    versions = [each.version for each in model.opset_import if each.domain in _DOMAINS]
    if not versions or versions[0] < OLDEST_OPSET:
        have = f"opset {versions[0]}" if versions else "no opset of ONNX"
        raise FormatError(
            f"{shown}: has {have}; sqgen reads {OLDEST_OPSET} and later: convert it with"
            " onnx.version_converter"
        )
    if model.functions or model.graph.sparse_initializer:
        what = "functions" if model.functions else "sparse weights"
        raise FormatError(f"{shown}: has {what}, which Caffe lacks; export it without")


def _load_external(tensor: TensorProto, folder: Path | None, where: str) -> None:
    """Read a tensor's data from the file beside the model that it names."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    shown = printable(location)
    if folder is None:
        raise FormatError(f"{where}: its data is in '{shown}'; give the model as a file beside it")
    try:
        inside = (folder / location).resolve().is_relative_to(folder.resolve())
        offset = int(entries.get("offset", 0))
        length = int(entries["length"]) if "length" in entries else None
    except (OSError, ValueError):
        raise FormatError(f"{where}: where its data lies can't be read; damaged") from None
    if not location or not inside:
        raise FormatError(
            f"{where}: its data is in '{shown}', outside of the model's folder, and is not read"
        )
    data = read_bytes(folder / location, BINARY_LIMIT, "the data of a model")
    end = len(data) if length is None else offset + length
    if not 0 <= offset <= end <= len(data):
        raise FormatError(f"{where}: its data goes past the end of '{shown}'; truncated")
    tensor.raw_data = data[offset:end]
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def tensor_array(tensor: TensorProto, where: str) -> np.ndarray:
    """Return the values of a tensor.

    Raises:
        FormatError: its type is none of weights, or it has not the elements of its shape.
    """
    shape = tuple(tensor.dims)
    if tensor.data_type not in _TYPES or tensor.data_location == TensorProto.EXTERNAL:
        kind = TensorProto.DataType.Name(tensor.data_type) if _is_known(tensor) else "unknown"
        raise FormatError(f"{where}: is of type {kind}, which Caffe has not")
    if any(axis < 0 for axis in shape) or prod(shape) > MAX_ELEMENTS:
        raise FormatError(f"{where}: has a shape that Caffe can't have: {_short(shape)}")
    elements = prod(shape)
    there = len(tensor.raw_data) / _TYPES[tensor.data_type]
    if not tensor.HasField("raw_data"):
        there = max(
            map(len, (tensor.float_data, tensor.double_data, tensor.int32_data, tensor.int64_data))
        )
    if there != elements:
        raise FormatError(
            f"{where}: has {there:g} elements for shape {_short(shape)}; the file is damaged"
        )
    try:
        return np.array(numpy_helper.to_array(tensor))
    except (ValueError, TypeError):  # values in the field of another type
        raise FormatError(f"{where}: has values of another type; the file is damaged") from None


def _is_known(tensor: TensorProto) -> bool:
    return tensor.data_type in TensorProto.DataType.values()


def _short(shape: Shape) -> str:
    return printable("x".join(map(str, shape)), 80)
