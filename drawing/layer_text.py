"""What a layer does, in the few words that a box of a drawing has room for."""

from __future__ import annotations

from collections.abc import Sequence

from ..formats.ristretto import RISTRETTO_TYPES, plain_type
from ..formats.schema import (
    EltwiseParameter,
    LayerParameter,
    PoolingParameter,
    QuantizationParameter,
)
from ..nets.data_layers import is_data_layer
from ..nets.windows import ShapeError, along_axes

TIMES = "\N{MULTIPLICATION SIGN}"
POOLS = {PoolingParameter.MAX: "max", PoolingParameter.AVE: "average"}
OPERATIONS = {
    EltwiseParameter.SUM: "+",
    EltwiseParameter.PROD: TIMES,
    EltwiseParameter.MAX: "max",
}


def layer_text(layer: LayerParameter) -> str:
    """Describe a layer: `7x7 conv, 96, /2` is a convolution with 96 filters and stride 2."""
    kind = plain_type(layer.type)
    if kind in ("Convolution", "Deconvolution"):
        return _convolution_text(layer) + bits_text(layer)
    if layer.type == "Pooling":
        return _pooling_text(layer.pooling_param)
    if kind == "InnerProduct":
        return f"fully connected, {layer.inner_product_param.num_output}{bits_text(layer)}"
    if layer.type in RISTRETTO_TYPES:
        return f"{kind}{bits_text(layer)}"
    if layer.type == "Eltwise":
        return OPERATIONS.get(layer.eltwise_param.operation, "Eltwise")
    if layer.type == "Accuracy" and layer.accuracy_param.top_k > 1:
        return f"Accuracy, top {layer.accuracy_param.top_k}"
    if layer.type == "Dropout":
        return f"Dropout {layer.dropout_param.dropout_ratio:g}"
    if layer.type != "Input" and is_data_layer(layer):
        return layer.type if layer.type.endswith("Data") else f"{layer.type} data"
    return layer.type


def _convolution_text(layer: LayerParameter) -> str:
    param = layer.convolution_param
    kind = "conv" if plain_type(layer.type) == "Convolution" else "deconv"
    groups = f", {param.group} groups" if param.group > 1 else ""
    if 1 < param.group == param.num_output:
        kind, groups = f"depthwise {kind}", ""
    try:
        kernel, stride, dilation = (
            along_axes(param, field, 2) for field in ("kernel_size", "stride", "dilation")
        )
    except ShapeError:
        return f"{kind}, {param.num_output}{groups}"
    dilated = f", dilation {_size(dilation)}" if max(dilation) > 1 else ""
    return f"{_window(kernel)} {kind}, {param.num_output}{_stride(stride)}{groups}{dilated}"


def bits_text(layer: LayerParameter) -> str:
    """Describe the numbers of a layer of Ristretto; empty of any other."""
    if layer.type not in RISTRETTO_TYPES:
        return ""
    param = layer.quantization_param
    if param.precision == QuantizationParameter.MINIFLOAT:
        return f", {1 + param.exp_bits + param.mant_bits}-bit float"
    if param.precision == QuantizationParameter.INTEGER_POWER_OF_2_WEIGHTS:
        return ", powers of two"
    return f", {param.bw_params}-bit"


def _pooling_text(param: PoolingParameter) -> str:
    kind = POOLS.get(param.pool, "stochastic")
    if param.global_pooling:
        return f"global {kind} pool"
    kernel = [param.kernel_h or param.kernel_size, param.kernel_w or param.kernel_size]
    stride = [param.stride_h or param.stride, param.stride_w or param.stride]
    return f"{_window(kernel)} {kind} pool{_stride(stride)}"


def _window(sides: Sequence[int]) -> str:
    return TIMES.join(map(str, sides))


def _size(sides: Sequence[int]) -> str:
    return str(sides[0]) if len(set(sides)) == 1 else _window(sides)


def _stride(strides: Sequence[int]) -> str:
    return f", /{_size(strides)}" if max(strides) > 1 else ""
