"""The table of data layer types: layers without bottoms, which bring a net's input in."""

from __future__ import annotations

import os
from typing import Any, Literal, NamedTuple

from ..formats.schema import LayerParameter

_DataParam = Literal[
    "data_param",
    "image_data_param",
    "memory_data_param",
    "hdf5_data_param",
    "window_data_param",
    "input_param",
    "dummy_data_param",
]


class DataLayerType(NamedTuple):
    """A data layer type.

    Attributes:
        param: the field of LayerParameter with its parameters.
        from_files: whether it reads files that the prototxt names.
        countable: whether sqgen can read those, and so count their records.
        transformed: whether `transform_param` says how its images are cropped and scaled.
    """

    param: _DataParam
    from_files: bool = False
    countable: bool = False
    transformed: bool = False


DATA_LAYER_TYPES = {
    "Data": DataLayerType("data_param", from_files=True, countable=True, transformed=True),
    "ImageData": DataLayerType(
        "image_data_param", from_files=True, countable=True, transformed=True
    ),
    "MemoryData": DataLayerType("memory_data_param", transformed=True),
    "HDF5Data": DataLayerType("hdf5_data_param", from_files=True, countable=True),
    "WindowData": DataLayerType("window_data_param", from_files=True, transformed=True),
    "Input": DataLayerType("input_param"),
    "DummyData": DataLayerType("dummy_data_param"),
}


def is_data_layer(layer: LayerParameter) -> bool:
    """Whether a layer is of a data layer type."""
    return layer.type in DATA_LAYER_TYPES


def reads_files(layer: LayerParameter) -> bool:
    """Whether a layer reads its data from files."""
    return is_data_layer(layer) and DATA_LAYER_TYPES[layer.type].from_files


def has_countable_records(layer: LayerParameter) -> bool:
    """Whether a layer reads records that sqgen can read and count."""
    return is_data_layer(layer) and DATA_LAYER_TYPES[layer.type].countable


def is_transformed(layer: LayerParameter) -> bool:
    """Whether a layer transforms its images as its `transform_param` says."""
    return is_data_layer(layer) and DATA_LAYER_TYPES[layer.type].transformed


def is_at_hand(layer: LayerParameter) -> bool:
    """Return whether the records that a layer reads are there, and of a kind that sqgen reads."""
    source = data_param(layer).source if has_countable_records(layer) else ""
    return bool(source) and os.path.exists(source)


def data_param(layer: LayerParameter) -> Any:
    """Return the parameters of a data layer, such as its `data_param`; their class varies."""
    return getattr(layer, DATA_LAYER_TYPES[layer.type].param)


def declared_batch_size(layer: LayerParameter) -> int | None:
    """Return the batch size that a layer's data parameters give; None where they give none.

    Goes by the fields that are set, since types of forks share them with Caffe's.
    """
    for kind in DATA_LAYER_TYPES.values():
        if layer.HasField(kind.param):
            param = getattr(layer, kind.param)
            if hasattr(param, "batch_size"):
                return int(param.batch_size) or None
            return int(param.shape[0].dim[0]) if param.shape and param.shape[0].dim else None
    return None
