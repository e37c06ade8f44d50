"""The table of layer types: shapes, parameter blobs and multiply-accumulates of each.

A row computes what Caffe's `LayerSetUp` and `Reshape` do (src/caffe/layers/<type>_layer.cpp).
Shapes are tuples of axes, batch first. A rule raises ShapeError where Caffe's checks would fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from ..formats.schema import (
    BiasParameter,
    EltwiseParameter,
    LayerParameter,
    PoolingParameter,
    ScaleParameter,
)
from ..text import shape_text
from .windows import (
    ShapeError,
    UnknownSizeError,
    along_axes,
    axis_index,
    convolution_windows,
    pooling_window,
    window_extents,
)

AUTOMATIC = "(automatic)"  # the top of a loss layer that names none: no blob for users
Shape = tuple[int, ...]
Shapes = Sequence[Shape]


class Blob(NamedTuple):
    """A parameter blob of a layer: its shape, and whether the solver updates it."""

    shape: Shape
    learned: bool = True


class LayerType(NamedTuple):
    """A layer type.

    Attributes:
        top_shapes: (layer, bottom shapes, image or None) -> top shapes; `image` is the (channels,
            height, width) of the records of a data layer, where they are known.
        blobs: (layer, bottom shapes) -> parameter blobs, in Caffe's order.
        macs: (top shapes, blobs) -> multiply-accumulates for the whole batch.
        bottom_count, top_count: minimum and maximum of bottoms and tops; None is no limit.
        in_place: whether a top may be its bottom.
        ends_net: whether its tops are results, so that no layer has to read them.
        automatic_tops: the number of tops that Caffe adds to a layer without any (AutoTopBlobs).
    """

    top_shapes: Callable[[LayerParameter, Shapes, Shape | None], list[Shape]]
    blobs: Callable[[LayerParameter, Shapes], list[Blob]]
    macs: Callable[[Shapes, Sequence[Blob]], int]
    bottom_count: tuple[int, int | None]
    top_count: tuple[int, int | None]
    in_place: bool
    ends_net: bool
    automatic_tops: int


MAX_ELEMENTS = (1 << 31) - 1  # of a blob (src/caffe/blob.cpp)
ASSUMED_CHANNELS = 3  # of records, where the prototxt does not say

LAYER_TYPES: dict[str, LayerType] = {}

# Registered in BVLC Caffe, but not supported here.
UNSUPPORTED = frozenset(
    "AbsVal BNLL BatchReindex Clip ContrastiveLoss Crop Deconvolution Embed Exp Filter HDF5Data"
    " HDF5Output HingeLoss Im2col InfogainLoss LSTM LSTMUnit Log MVN MultinomialLogisticLoss"
    " Parameter Python RNN Reduction SPP SigmoidCrossEntropyLoss Swish Threshold Tile"
    " WindowData".split()
)


def _register(
    *names: str,
    top_shapes: Callable[[LayerParameter, Shapes, Shape | None], list[Shape]],
    blobs: Callable[[LayerParameter, Shapes], list[Blob]] = lambda layer, bottoms: [],
    macs: Callable[[Shapes, Sequence[Blob]], int] = lambda tops, blobs: 0,
    bottom_count: tuple[int, int | None] = (1, 1),
    top_count: tuple[int, int | None] = (1, 1),
    in_place: bool = False,
    ends_net: bool = False,
    automatic_tops: int = 0,
) -> None:
    for name in names:
        if name in LAYER_TYPES or name in UNSUPPORTED:
            raise ValueError(f"layer type {name} is registered twice")
        LAYER_TYPES[name] = LayerType(
            top_shapes, blobs, macs, bottom_count, top_count, in_place, ends_net, automatic_tops
        )


def _same(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    return [bottoms[0]]


def _label_and(layer: LayerParameter, shape: Shape) -> list[Shape]:
    return [shape, (shape[0],)][: len(layer.top)]


# Data


def _transformed(layer: LayerParameter, image: Shape, stored: Sequence[int] = (0, 0)) -> Shape:
    """Return (channels, height, width) after DataTransformer, which may crop."""
    crop = layer.transform_param.crop_size
    if crop and any(0 < side < crop for side in stored):
        raise ShapeError(f"crop_size {crop} is larger than its images, {stored[0]}x{stored[1]}")
    if not crop and 0 in image:
        raise UnknownSizeError(
            "the size of its images is not in the prototxt (no crop_size); give --image CxHxW"
        )
    return (image[0], crop or image[1], crop or image[2])


def _data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """Records' channels are not in the prototxt: as many as there are mean values, or three."""
    batch = layer.data_param.batch_size
    if image is not None:
        return _label_and(layer, (batch, *_transformed(layer, image, image[1:])))
    channels = channels_by_transform(layer) or ASSUMED_CHANNELS
    return _label_and(layer, (batch, *_transformed(layer, (channels, 0, 0))))


def channels_by_transform(layer: LayerParameter) -> int | None:
    """Return the channels of a Data layer's records; None where `transform_param` does not say."""
    transform = layer.transform_param
    if transform.force_gray:
        return 1
    means = len(transform.mean_value)
    return 3 if transform.force_color else means if means > 1 else None


def _image_data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.image_data_param
    stored = (param.new_height, param.new_width)
    height, width = stored if any(stored) else (image or (0, 0, 0))[1:]
    image = (3 if param.is_color else 1, height, width)
    return _label_and(layer, (param.batch_size, *_transformed(layer, image, stored)))


def _memory_data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.memory_data_param
    shape = (param.batch_size, param.channels, param.height, param.width)
    if 0 in shape:
        raise ShapeError("batch_size, channels, height and width must all be positive")
    return _label_and(layer, shape)


def _dummy_data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.dummy_data_param
    shapes = [tuple(shape.dim) for shape in param.shape]
    legacy = param.num or param.channels or param.height or param.width
    if shapes and legacy:
        raise ShapeError("give shape, or num, channels, height and width, not both")
    if len(param.data_filler) not in (0, 1, len(layer.top)):
        raise ShapeError("give data_filler once, or once a top")
    if not shapes:
        axes = [list(axis) for axis in (param.num, param.channels, param.height, param.width)]
        if any(len(axis) not in (1, len(layer.top)) for axis in axes):
            raise ShapeError("give shape, or num, channels, height and width once or per top")
        tops = len(layer.top)
        each = (axis if len(axis) == tops else axis * tops for axis in axes)
        shapes = list(zip(*each, strict=True))
    return _per_top(layer, shapes)


def _input(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    return _per_top(layer, [tuple(shape.dim) for shape in layer.input_param.shape])


def _per_top(layer: LayerParameter, shapes: list[Shape]) -> list[Shape]:
    if len(shapes) not in (1, len(layer.top)):
        raise ShapeError(f"it has {len(layer.top)} tops but {len(shapes)} shapes; give 1 or each")
    return shapes if len(shapes) == len(layer.top) else shapes * len(layer.top)


# Windows


def _convolution(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.convolution_param
    if len(layer.top) != len(bottoms):
        raise ShapeError(f"it has {len(bottoms)} bottoms but {len(layer.top)} tops; give as many")
    tops = []
    for bottom in bottoms:
        if bottom != bottoms[0]:
            raise ShapeError("all its bottoms must have the same shape")
        axis = axis_index(param.axis, len(bottom))
        channels, group = bottom[axis], param.group
        if not param.num_output:
            raise ShapeError("num_output must be positive")
        if not group or channels % group or param.num_output % group:
            raise ShapeError(
                f"group {group} must divide its {channels} input and {param.num_output} output"
                " channels"
            )
        spatial = bottom[axis + 1 :]
        windows = convolution_windows(param, len(spatial))
        extents = window_extents(windows, spatial)
        if prod(extents) * channels * prod(w.kernel for w in windows) > MAX_ELEMENTS:
            raise ShapeError("its column buffer has more elements than Caffe can count (2^31 - 1)")
        tops.append((*bottom[:axis], param.num_output, *extents))
    return tops


def _convolution_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    param, bottom = layer.convolution_param, bottoms[0]
    axis = axis_index(param.axis, len(bottom))
    kernel = along_axes(param, "kernel_size", len(bottom) - axis - 1)
    weights = Blob((param.num_output, bottom[axis] // param.group, *kernel))
    return [weights, Blob((param.num_output,))] if param.bias_term else [weights]


def _convolution_macs(tops: Shapes, blobs: Sequence[Blob]) -> int:
    """Count one multiply-accumulate for each output element and weight of its filter, no biases."""
    return sum(map(prod, tops)) * prod(blobs[0].shape[1:])


def _pooling(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    bottom = bottoms[0]
    if len(layer.top) > 1 and layer.pooling_param.pool != PoolingParameter.MAX:
        raise ShapeError("only MAX pooling has a second top, the mask")
    pads = layer.pooling_param
    if pads.pool == PoolingParameter.STOCHASTIC and (pads.pad or pads.pad_h or pads.pad_w):
        raise ShapeError("STOCHASTIC pooling takes no pad")
    if len(bottom) != 4:
        raise ShapeError(f"pools images of 4 axes (batch, channels, height, width), not {bottom}")
    windows = [pooling_window(layer.pooling_param, i, bottom[i + 2]) for i in (0, 1)]
    extents = window_extents(windows, bottom[2:])
    return [(*bottom[:2], *extents)] * len(layer.top)


def _lrn(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if layer.lrn_param.local_size % 2 == 0:
        raise ShapeError(f"local_size {layer.lrn_param.local_size} must be odd")
    if len(bottoms[0]) != 4:
        raise ShapeError(f"takes 4 axes (batch, channels, height, width), not {bottoms[0]}")
    return [bottoms[0]]


# Channels and axes


def _inner_product(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.inner_product_param
    if not param.num_output:
        raise ShapeError("num_output must be positive")
    axis = axis_index(param.axis, len(bottoms[0]))
    return [(*bottoms[0][:axis], param.num_output)]


def _inner_product_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    param = layer.inner_product_param
    inputs = prod(bottoms[0][axis_index(param.axis, len(bottoms[0])) :])
    shape = (inputs, param.num_output) if param.transpose else (param.num_output, inputs)
    return [Blob(shape), Blob((param.num_output,))] if param.bias_term else [Blob(shape)]


def _inner_product_macs(tops: Shapes, blobs: Sequence[Blob]) -> int:
    return prod(blobs[0].shape) * prod(tops[0][:-1])


def _channelled(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if len(bottoms[0]) < 2:
        raise ShapeError(f"needs channels, which are axis 1, but its bottom is {bottoms[0]}")
    return [bottoms[0]]


def _batch_norm_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    """Mean, variance and the factor that scales both: statistics that no solver updates."""
    channels = (bottoms[0][1],)
    return [Blob(channels, False), Blob(channels, False), Blob((1,), False)]


def _prelu_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    return [Blob(() if layer.prelu_param.channel_shared else (bottoms[0][1],))]


def _spanned(param: ScaleParameter | BiasParameter, bottom: Shape) -> Shape:
    """Return the axes that a Scale or Bias blob covers: `num_axes` of them from `axis` on."""
    axis = axis_index(param.axis, len(bottom))
    end = len(bottom) if param.num_axes == -1 else axis + param.num_axes
    if param.num_axes < -1 or end > len(bottom):
        raise ShapeError(f"num_axes {param.num_axes} from axis {axis} goes past shape {bottom}")
    return bottom[axis:end]


def _scale_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    param = layer.scale_param
    if len(bottoms) > 1:
        return [Blob(bottoms[1])] if param.bias_term else []
    return [Blob(_spanned(param, bottoms[0]))] * (2 if param.bias_term else 1)


def _bias_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    return [] if len(bottoms) > 1 else [Blob(_spanned(layer.bias_param, bottoms[0]))]


def _scaled(field: str) -> Callable[[LayerParameter, Shapes, Shape | None], list[Shape]]:
    def rule(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
        param, bottom = getattr(layer, field), bottoms[0]
        if len(bottoms) == 1:
            _spanned(param, bottom)
        elif bottoms[1]:
            axis = axis_index(param.axis, len(bottom))
            if bottom[axis : axis + len(bottoms[1])] != bottoms[1]:
                raise ShapeError(f"{bottoms[1]} does not match {bottom} from axis {axis} on")
        return [bottom]

    return rule


def concat_axis(layer: LayerParameter) -> int:
    """Return the axis of a Concat or Slice, maybe negative; older files have another field."""
    param, old = _concat_fields(layer)
    return int(getattr(param, old if param.HasField(old) else "axis"))


def rename_old_axis(layer: LayerParameter) -> None:
    """Write `concat_dim` of a Concat, or `slice_dim` of a Slice, as `axis`."""
    param, old = _concat_fields(layer)
    if param.HasField(old):
        param.axis = getattr(param, old)
        param.ClearField(old)


def _concat_fields(layer: LayerParameter) -> tuple[Any, str]:
    """Return the message with the axis of a Concat or Slice, and its older field."""
    if layer.type == "Concat":
        return layer.concat_param, "concat_dim"
    return layer.slice_param, "slice_dim"


def _checked_axis(layer: LayerParameter, bottom: Shape) -> int:
    param, old = _concat_fields(layer)
    if param.HasField(old) and param.HasField("axis"):
        raise ShapeError(f"give axis or {old}, not both")
    return axis_index(concat_axis(layer), len(bottom))


def _concat(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    axis = _checked_axis(layer, bottoms[0])
    if len({len(bottom) for bottom in bottoms}) > 1:
        raise ShapeError(f"{_shape_list(bottoms)} differ in their number of axes")
    rest = {bottom[:axis] + bottom[axis + 1 :] for bottom in bottoms}
    if len(rest) > 1:
        raise ShapeError(f"{_shape_list(bottoms)} differ in another axis than {axis}")
    first = bottoms[0]
    return [(*first[:axis], sum(bottom[axis] for bottom in bottoms), *first[axis + 1 :])]


def _slice(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param, bottom, count = layer.slice_param, bottoms[0], len(layer.top)
    axis = _checked_axis(layer, bottom)
    points = [0, *param.slice_point, bottom[axis]]
    if not param.slice_point:
        if bottom[axis] % count:
            raise ShapeError(f"{count} tops do not divide axis {axis} of {bottom}")
        points = list(range(0, bottom[axis] + 1, bottom[axis] // count))
    sizes = [end - start for start, end in pairwise(points)]
    if len(sizes) != count or min(sizes) <= 0:
        raise ShapeError(f"slice_point {points[1:-1]} does not cut {bottom[axis]} into {count}")
    return [(*bottom[:axis], size, *bottom[axis + 1 :]) for size in sizes]


def _split(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    return [bottoms[0]] * len(layer.top)


def _eltwise(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if len(set(bottoms)) > 1:
        raise ShapeError(f"its bottoms differ in shape: {_shape_list(bottoms)}")
    coefficients = len(layer.eltwise_param.coeff)
    if coefficients and layer.eltwise_param.operation == EltwiseParameter.PROD:
        raise ShapeError("coeff is for sums; a product takes none")
    if coefficients not in (0, len(bottoms)):
        raise ShapeError(f"it has {len(bottoms)} bottoms but {coefficients} coeff; give each one")
    return [bottoms[0]]


def _flatten(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param, bottom = layer.flatten_param, bottoms[0]
    start, end = (axis_index(axis, len(bottom)) for axis in (param.axis, param.end_axis))
    if start > end + 1:
        raise ShapeError(f"axis {param.axis} lies behind end_axis {param.end_axis}")
    return [(*bottom[:start], prod(bottom[start : end + 1]), *bottom[end + 1 :])]


def _reshape(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """A 0 copies the bottom's axis; a single -1 takes the elements that are left."""
    param, bottom = layer.reshape_param, bottoms[0]
    start = param.axis if param.axis >= 0 else len(bottom) + param.axis + 1
    end = len(bottom) if param.num_axes == -1 else start + param.num_axes
    if not 0 <= start <= end <= len(bottom):
        raise ShapeError(f"axis {param.axis} and num_axes {param.num_axes} go past {bottom}")
    wanted = list(param.shape.dim)
    for index, size in enumerate(wanted):
        if size == 0 and start + index >= len(bottom):
            raise ShapeError(f"a 0 in its shape has no axis of {bottom} to copy")
        wanted[index] = bottom[start + index] if size == 0 else size
    shape = [*bottom[:start], *wanted, *bottom[end:]]
    if wanted.count(-1) == 1:
        rest = -prod(shape)
        shape[start + wanted.index(-1)] = prod(bottom) // rest if rest else 0
    if prod(shape) != prod(bottom) or min(shape, default=1) < 0:
        raise ShapeError(f"{bottom} has not the elements of {tuple(param.shape.dim)}")
    return [tuple(shape)]


# Ends


def _softmax(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    axis_index(layer.softmax_param.axis, len(bottoms[0]))
    return [bottoms[0]]


def _arg_max(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param, bottom = layer.argmax_param, bottoms[0]
    if not bottom:
        raise ShapeError("its bottom is a scalar, which has no largest element")
    if param.HasField("axis"):
        axis = axis_index(param.axis, len(bottom))
        candidates, shape = bottom[axis], (*bottom[:axis], param.top_k, *bottom[axis + 1 :])
    else:
        candidates = prod(bottom[1:])
        pair = 2 if param.out_max_val else 1
        shape = (bottom[0], pair, param.top_k, *(1,) * (len(bottom) - 3))
    if not 1 <= param.top_k <= candidates:
        raise ShapeError(f"top_k {param.top_k} is not between 1 and its {candidates} candidates")
    return [shape]


def _check_labels(bottoms: Shapes, axis: int) -> int:
    """Return the axis of the classes; check that each prediction has a label."""
    axis = axis_index(axis, len(bottoms[0]))
    predictions = prod(bottoms[0]) // max(bottoms[0][axis], 1)
    if predictions != prod(bottoms[1]):
        raise ShapeError(
            f"{prod(bottoms[1])} labels for {predictions} predictions"
            f" (scores {bottoms[0]}, labels {bottoms[1]})"
        )
    return axis


def _softmax_loss(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """One top: Caffe allows a second, the probabilities, but then fails on its loss_weight."""
    _check_labels(bottoms, layer.softmax_param.axis)
    if bottoms[0][:1] != bottoms[1][:1]:
        raise ShapeError(f"scores and labels are of other batches: {_shape_list(bottoms)}")
    return [()]


def _euclidean_loss(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if bottoms[0][:1] != bottoms[1][:1] or prod(bottoms[0]) != prod(bottoms[1]):
        raise ShapeError(f"its bottoms differ in shape: {_shape_list(bottoms)}")
    return [()]


def _accuracy(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    axis, top_k = _check_labels(bottoms, layer.accuracy_param.axis), layer.accuracy_param.top_k
    if top_k > bottoms[0][axis]:
        raise ShapeError(f"top_k {top_k} is above its {bottoms[0][axis]} classes")
    return [(), (bottoms[0][axis],)][: len(layer.top)]


def _shape_list(shapes: Shapes) -> str:
    return " and ".join(map(shape_text, shapes))


_register("Data", top_shapes=_data, bottom_count=(0, 0), top_count=(1, 2))
_register("ImageData", top_shapes=_image_data, bottom_count=(0, 0), top_count=(2, 2))
_register("MemoryData", top_shapes=_memory_data, bottom_count=(0, 0), top_count=(2, 2))
_register("DummyData", top_shapes=_dummy_data, bottom_count=(0, 0), top_count=(1, None))
_register("Input", top_shapes=_input, bottom_count=(0, 0), top_count=(1, None))
_register(
    "Convolution",
    top_shapes=_convolution,
    blobs=_convolution_blobs,
    macs=_convolution_macs,
    bottom_count=(1, None),
    top_count=(1, None),
)
_register("Pooling", top_shapes=_pooling, top_count=(1, 2))
_register("LRN", top_shapes=_lrn)
_register(
    "InnerProduct",
    top_shapes=_inner_product,
    blobs=_inner_product_blobs,
    macs=_inner_product_macs,
)
_register("ReLU", "ELU", "Sigmoid", "TanH", "Power", "Dropout", top_shapes=_same, in_place=True)
_register("PReLU", top_shapes=_channelled, blobs=_prelu_blobs, in_place=True)
_register("BatchNorm", top_shapes=_channelled, blobs=_batch_norm_blobs, in_place=True)
_register(
    "Scale",
    top_shapes=_scaled("scale_param"),
    blobs=_scale_blobs,
    bottom_count=(1, 2),
    in_place=True,
)
_register(
    "Bias", top_shapes=_scaled("bias_param"), blobs=_bias_blobs, bottom_count=(1, 2), in_place=True
)
_register("Concat", top_shapes=_concat, bottom_count=(1, None))
_register("Slice", top_shapes=_slice, top_count=(1, None))
_register("Split", top_shapes=_split, top_count=(1, None))
_register("Eltwise", top_shapes=_eltwise, bottom_count=(2, None), in_place=True)
_register("Flatten", top_shapes=_flatten)
_register("Reshape", top_shapes=_reshape)
_register("Softmax", top_shapes=_softmax, in_place=True, ends_net=True)
_register(
    "SoftmaxWithLoss",
    top_shapes=_softmax_loss,
    bottom_count=(2, 2),
    top_count=(0, 1),
    ends_net=True,
    automatic_tops=1,
)
_register(
    "EuclideanLoss",
    top_shapes=_euclidean_loss,
    bottom_count=(2, 2),
    top_count=(0, 1),
    ends_net=True,
    automatic_tops=1,
)
_register("Accuracy", top_shapes=_accuracy, bottom_count=(2, 2), top_count=(1, 2), ends_net=True)
_register("ArgMax", top_shapes=_arg_max, ends_net=True)
_register(
    "Silence", top_shapes=lambda layer, bottoms, image: [], bottom_count=(1, None), top_count=(0, 0)
)
