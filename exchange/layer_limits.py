"""What toolchains can't do of a layer: they refuse it, or compute something else without a word.

Measured with a net of each layer type, and of its fields, in the versions that docs/export.md
names; a toolchain that is not listed here was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..formats.schema import (
    EltwiseParameter,
    LayerParameter,
    LRNParameter,
    PoolingParameter,
    ReductionParameter,
)


def _is_averaged(layer: LayerParameter) -> bool:
    param = layer.pooling_param
    return param.pool == PoolingParameter.AVE and any((param.pad, param.pad_h, param.pad_w))


def _is_affine(layer: LayerParameter) -> bool:
    param = layer.log_param if layer.type == "Log" else layer.exp_param
    return (param.base, param.scale, param.shift) != (-1, 1, 0)


def _is_other_reduction(layer: LayerParameter) -> bool:
    param = layer.reduction_param
    plain = param.operation == ReductionParameter.SUM and param.coeff == 1
    return not plain or param.axis not in (0, 1)


def _has_other_axes(layer: LayerParameter) -> bool:
    param = layer.scale_param
    return len(layer.bottom) == 1 and (param.axis, param.num_axes) != (1, 1)


def _is_strided_average(layer: LayerParameter) -> bool:
    param = layer.pooling_param
    strides = param.stride, param.stride_h, param.stride_w
    return param.pool == PoolingParameter.AVE and not param.global_pooling and max(strides) > 1


def _is_other_mean(layer: LayerParameter) -> bool:
    param = layer.reduction_param
    return param.operation != ReductionParameter.MEAN or param.coeff != 1


def _has_coefficients(layer: LayerParameter) -> bool:
    return any(value != 1 for value in layer.eltwise_param.coeff)


# What a layer type does only where a field says so: phrase -> type, and whether a layer does it.
VARIANTS: dict[str, tuple[str, Callable[[LayerParameter], bool]]] = {
    "ArgMax of several classes": ("ArgMax", lambda e: e.argmax_param.top_k > 1),
    "BatchNorm with eps": ("BatchNorm", lambda e: e.batch_norm_param.HasField("eps")),
    "BatchNorm with eps above 0.001": ("BatchNorm", lambda e: e.batch_norm_param.eps > 0.001),
    "Crop with unequal offsets": ("Crop", lambda layer: len({*layer.crop_param.offset}) > 1),
    "Eltwise of three blobs": ("Eltwise", lambda e: len(e.bottom) > 2),
    "Eltwise of three blobs with coeff": (
        "Eltwise",
        lambda e: _has_coefficients(e) and len(e.bottom) > 2,
    ),
    "Eltwise with coeff": ("Eltwise", _has_coefficients),
    "Eltwise of maxima": (
        "Eltwise",
        lambda e: e.eltwise_param.operation == EltwiseParameter.MAX,
    ),
    "Exp with base, scale or shift": ("Exp", _is_affine),
    "InnerProduct with axis": ("InnerProduct", lambda e: e.inner_product_param.axis != 1),
    "InnerProduct without bias_term": (
        "InnerProduct",
        lambda e: not e.inner_product_param.bias_term,
    ),
    "InnerProduct with transpose": ("InnerProduct", lambda e: e.inner_product_param.transpose),
    "LRN within channels": (
        "LRN",
        lambda e: e.lrn_param.norm_region == LRNParameter.WITHIN_CHANNEL,
    ),
    "LRN within channels with k": (
        "LRN",
        lambda e: e.lrn_param.norm_region == LRNParameter.WITHIN_CHANNEL and e.lrn_param.k != 1,
    ),
    "LRN across channels with k": (
        "LRN",
        lambda e: e.lrn_param.norm_region == LRNParameter.ACROSS_CHANNELS and e.lrn_param.k != 1,
    ),
    "Log with base, scale or shift": ("Log", _is_affine),
    "MVN across channels": ("MVN", lambda e: e.mvn_param.across_channels),
    "MVN by the variance": ("MVN", lambda e: e.mvn_param.normalize_variance),
    "MVN with eps": ("MVN", lambda e: e.mvn_param.HasField("eps")),
    "PReLU with channel_shared": ("PReLU", lambda e: e.prelu_param.channel_shared),
    "Pooling of averages with stride": ("Pooling", _is_strided_average),
    "Pooling of averages with pad": ("Pooling", _is_averaged),
    "Pooling with round_mode": ("Pooling", lambda e: e.pooling_param.HasField("round_mode")),
    "Power other than 1": ("Power", lambda e: e.power_param.power != 1),
    "Reduction other than means": ("Reduction", _is_other_mean),
    "Reduction other than sums from axis 0 or 1": ("Reduction", _is_other_reduction),
    "Scale by one factor": ("Scale", lambda e: e.scale_param.num_axes == 0),
    "Reshape with axis or num_axes": (
        "Reshape",
        lambda e: (e.reshape_param.axis, e.reshape_param.num_axes) != (0, -1),
    ),
    "Reduction with coeff": ("Reduction", lambda e: e.reduction_param.coeff != 1),
    "Scale along other axes than the channels": ("Scale", _has_other_axes),
    "Scale of two blobs": ("Scale", lambda e: len(e.bottom) > 1),
    "Slice without slice_point": ("Slice", lambda e: not e.slice_param.slice_point),
    "Swish with beta": ("Swish", lambda e: e.swish_param.beta != 1),
}

LIMITS: dict[str, frozenset[str]] = {
    "opencv": frozenset(
        (
            *("ArgMax", "Bias", "Clip", "Im2col", "Parameter", "Reduction", "SPP", "Threshold"),
            "Tile",
            "InnerProduct with transpose",
            "LRN across channels with k",
            "Log with base, scale or shift",
            "MVN with eps",
            "PReLU with channel_shared",
            "Pooling with round_mode",
            "Scale by one factor",
            "Swish with beta",
        )
    ),
    "mnn": frozenset(
        (
            *("ArgMax", "Clip", "Im2col", "Log", "Parameter", "SPP", "Swish", "Tile"),
            "Eltwise with coeff",
            "LRN across channels with k",
            "MVN by the variance",
            "Pooling with round_mode",
            "Reduction with coeff",
            "Scale along other axes than the channels",
            "Scale of two blobs",
            "Slice without slice_point",
        )
    ),
    "ncnn": frozenset(
        (
            *("ArgMax", "Bias", "Clip", "Im2col", "Parameter", "SPP", "Tile"),
            "Crop with unequal offsets",
            "Exp with base, scale or shift",
            "InnerProduct with axis",
            "InnerProduct with transpose",
            "LRN across channels with k",
            "Log with base, scale or shift",
            "Pooling of averages with pad",
            "Pooling with round_mode",
            "Reduction other than sums from axis 0 or 1",
            "Scale along other axes than the channels",
            "Swish with beta",
        )
    ),
    "openvino": frozenset(
        (
            *("AbsVal", "BNLL", "Clip", "Exp", "Im2col", "Log", "Parameter", "Reduction", "SPP"),
            *("Split", "Threshold"),
            "Eltwise of three blobs with coeff",
            "InnerProduct with axis",
            "LRN within channels with k",
            "MVN across channels",
            "MVN with eps",
            "Pooling of averages with pad",
            "Pooling with round_mode",
            "Reshape with axis or num_axes",
            "Scale along other axes than the channels",
            "Swish with beta",
        )
    ),
    "rknn": frozenset(
        (
            *("AbsVal", "Bias", "Clip", "Crop", "ELU", "Exp", "Im2col", "Log", "MVN", "Parameter"),
            *("SPP", "Swish", "Threshold"),
            "ArgMax of several classes",
            "BatchNorm with eps",
            "Eltwise of three blobs",
            "Eltwise with coeff",
            "InnerProduct with transpose",
            "LRN across channels with k",
            "LRN within channels",
            "Pooling of averages with pad",
            "Pooling of averages with stride",
            "Reduction other than means",
            "Scale along other axes than the channels",
        )
    ),
    "x2paddle": frozenset(
        (
            *("AbsVal", "ArgMax", "BNLL", "Bias", "Clip", "ELU", "Exp", "Im2col", "LRN", "Log"),
            *("MVN", "Parameter", "Reduction", "SPP", "Split", "Swish", "Threshold", "Tile"),
            "BatchNorm with eps above 0.001",
            "Crop with unequal offsets",
            "Eltwise of maxima",
            "Eltwise of three blobs with coeff",
            "InnerProduct with axis",
            "InnerProduct with transpose",
            "InnerProduct without bias_term",
            "PReLU with channel_shared",
            "Pooling of averages with pad",
            "Power other than 1",
            "Scale along other axes than the channels",
            "Scale of two blobs",
        )
    ),
}


def limits(layer: LayerParameter, toolchain: str) -> Iterator[str]:
    """Yield what a layer does that a toolchain can't: its type, or phrases of `VARIANTS`."""
    refused = LIMITS.get(toolchain, frozenset())
    if layer.type in refused:
        yield layer.type
    for phrase in sorted(refused & VARIANTS.keys()):
        kind, applies = VARIANTS[phrase]
        if layer.type == kind and applies(layer):
            yield phrase
