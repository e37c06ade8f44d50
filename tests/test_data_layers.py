"""The table of data layer types."""

from __future__ import annotations

import pytest

from sqgen import parse_net
from sqgen.formats.schema import message_class
from sqgen.nets.data_layers import (
    DATA_LAYER_TYPES,
    data_param,
    declared_batch_size,
    has_countable_records,
    is_data_layer,
    is_transformed,
    reads_files,
)
from sqgen.nets.layer_types import LAYER_TYPES, UNSUPPORTED

LayerParameter = message_class("LayerParameter")


def test_every_type_without_bottoms_is_in_the_table() -> None:
    without = {name for name, kind in LAYER_TYPES.items() if kind.bottom_count == (0, 0)}
    assert set(DATA_LAYER_TYPES) - UNSUPPORTED == without - {"Parameter"}
    assert set(DATA_LAYER_TYPES) <= {*LAYER_TYPES, *UNSUPPORTED}


@pytest.mark.parametrize("name", DATA_LAYER_TYPES)
def test_parameters_are_those_of_the_type(name: str) -> None:
    param = data_param(LayerParameter(type=name))
    assert param.DESCRIPTOR.name == f"{name}Parameter"
    assert hasattr(param, "batch_size") or hasattr(param, "shape")


def test_columns() -> None:
    layers = {name: LayerParameter(type=name) for name in [*DATA_LAYER_TYPES, "Convolution", "X"]}
    assert not is_data_layer(layers["Convolution"])
    assert not is_data_layer(layers["X"])
    assert {name for name in layers if reads_files(layers[name])} == {
        *("Data", "ImageData", "HDF5Data", "WindowData")
    }
    assert {name for name in layers if has_countable_records(layers[name])} == {
        *("Data", "ImageData", "HDF5Data")
    }
    assert {name for name in layers if is_transformed(layers[name])} == {
        *("Data", "ImageData", "MemoryData", "WindowData")
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('type: "Data" data_param { batch_size: 7 }', 7),
        ('type: "AnnotatedData" data_param { batch_size: 7 }', 7),
        ('type: "Data" data_param { source: "x" }', None),
        ('type: "Data"', None),
        ('type: "ImageData" image_data_param { source: "x" }', 1),  # Caffe's default
        ('type: "WindowData" window_data_param { batch_size: 3 }', 3),
        ('type: "Input" input_param { shape { dim: 5 dim: 2 } }', 5),
        ('type: "Input" input_param { }', None),
        ('type: "DummyData" dummy_data_param { shape { } shape { dim: 2 } }', None),
        ('type: "Convolution" convolution_param { num_output: 4 }', None),
    ],
)
def test_declared_batch_size(text: str, expected: int | None) -> None:
    layer = parse_net(f'layer {{ name: "l" {text} }}').param.layer[0]
    assert declared_batch_size(layer) == expected
