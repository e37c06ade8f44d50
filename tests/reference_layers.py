"""Reference implementations of Caffe's layers, in plain NumPy in double precision.

Each function follows the formulas of src/caffe/layers/<type>_layer.cpp as directly as possible, for
small arrays, and shares no code with the engine. Recorded results of Caffe
(`data/engine/layers.json`) and numerical gradients check them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sqgen import parse_net
from sqgen.formats.schema import PHASES

Array = npt.NDArray[np.float64]
Gradients = list[Array | None]

FLT_MAX = float(np.finfo(np.float32).max)
FLT_MIN = float(np.finfo(np.float32).tiny)


@dataclass
class Result:
    """What a layer makes of its bottoms.

    Attributes:
        tops: its outputs, in order.
        backward: the gradients of the tops -> those of the bottoms and of the parameter blobs;
            None where Caffe computes none. A gradient of a top may be None for zero.
        blobs: the parameter blobs after the forward pass, which only BatchNorm changes.
    """

    tops: list[Array]
    backward: Callable[[Sequence[Array | None]], tuple[Gradients, Gradients]]
    blobs: list[Array]


@dataclass
class _Call:
    """One run of a layer: what its function is given."""

    layer: Any
    train: bool
    bottoms: list[Array]
    blobs: list[Array]

    @property
    def x(self) -> Array:
        return self.bottoms[0]

    @property
    def tops(self) -> int:
        return len(self.layer.top)


_Backward = Callable[[list[Array]], tuple[Gradients, Gradients]]
_Rule = Callable[[_Call], tuple[list[Array], _Backward]]
RULES: dict[str, _Rule] = {}


def _rule(name: str) -> Callable[[_Rule], _Rule]:
    def register(rule: _Rule) -> _Rule:
        if name in RULES:
            raise ValueError(f"{name} is registered twice")
        RULES[name] = rule
        return rule

    return register


def run(
    layer: Any,
    phase: str,
    bottoms: Sequence[npt.ArrayLike],
    blobs: Sequence[npt.ArrayLike] = (),
) -> Result:
    """Run one layer, a `LayerParameter` or the text of a net whose last layer it is."""
    if isinstance(layer, str):
        layer = parse_net(layer).param.layer[-1]
    call = _Call(
        layer,
        PHASES[phase] == PHASES["TRAIN"],
        [np.array(bottom, np.float64) for bottom in bottoms],
        [np.array(blob, np.float64) for blob in blobs],
    )
    with np.errstate(all="ignore"):  # C++ divides by zero without a word
        tops, rule = RULES[layer.type](call)

    def backward(gradients: Sequence[Array | None]) -> tuple[Gradients, Gradients]:
        filled = [
            np.zeros_like(top) if gradient is None else np.array(gradient, np.float64)
            for top, gradient in zip(tops, gradients, strict=True)
        ]
        with np.errstate(all="ignore"):
            return rule(filled)

    return Result(tops, backward, call.blobs)


def training_gradients(layer: Any, result: Result) -> list[Array | None]:
    """The gradients of a layer's own tops in training: its loss weights (Layer::SetLossWeights)."""
    weights = list(layer.loss_weight) or [float(layer.type.endswith("Loss"))]
    weights += [0.0] * (len(result.tops) - len(weights))
    pairs = zip(result.tops, weights, strict=True)
    return [np.full_like(top, weight) if weight else None for top, weight in pairs]


def _none(call: _Call) -> _Backward:
    """The backward pass of a layer that has none."""
    return lambda gradients: ([None] * len(call.bottoms), [None] * len(call.blobs))


# Windows


def _both(param: Any, stem: str, suffix: str = "") -> list[int]:
    """A pooling field along height and width."""
    if param.HasField(f"{stem}_h") or param.HasField(f"{stem}_w"):
        return [getattr(param, f"{stem}_h"), getattr(param, f"{stem}_w")]
    return [getattr(param, stem + suffix)] * 2


def _per_axis(param: Any, stem: str, suffix: str, axes: int, default: int) -> list[int]:
    """A convolution field along every spatial axis."""
    if stem != "dilation" and (param.HasField(f"{stem}_h") or param.HasField(f"{stem}_w")):
        return [getattr(param, f"{stem}_h"), getattr(param, f"{stem}_w")]
    values = list(getattr(param, stem + suffix)) or [default]
    return values if len(values) == axes else values * axes


@_rule("Convolution")
def _convolution(call: _Call) -> tuple[list[Array], _Backward]:
    """y[o] = b[o] + sum over c, k of w[o, c, k] * x[c, stride * position + dilation * k - pad]."""
    param = call.layer.convolution_param
    axis = param.axis % call.x.ndim
    size = call.x.shape[axis + 1 :]
    axes = len(size)
    kernel = _per_axis(param, "kernel", "_size", axes, 0)
    stride = _per_axis(param, "stride", "", axes, 1)
    pad = _per_axis(param, "pad", "", axes, 0)
    dilation = _per_axis(param, "dilation", "", axes, 1)
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    # C++ rounds towards zero: a window may stick out of the image by less than a stride.
    out = [int((size[i] + 2 * pad[i] - span[i]) / stride[i]) + 1 for i in range(axes)]
    behind = [max(0, (out[i] - 1) * stride[i] + span[i] - size[i] - pad[i]) for i in range(axes)]
    group, outputs = param.group, param.num_output
    weights = call.blobs[0]
    channels = call.x.shape[axis]

    def padded(x: Array) -> Array:
        images = x.reshape(-1, channels, *size)
        return np.pad(images, [(0, 0), (0, 0), *zip(pad, behind, strict=True)])

    def steps() -> Iterator[tuple[slice, slice, tuple[Any, ...], tuple[slice, ...]]]:
        """Every group and kernel offset: outputs, inputs, the weights' place, the image's."""
        for g in range(group):
            outs = slice(g * outputs // group, (g + 1) * outputs // group)
            ins = slice(g * channels // group, (g + 1) * channels // group)
            for offset in np.ndindex(*kernel):
                place = tuple(slice(offset[i] * dilation[i], None, stride[i]) for i in range(axes))
                cut = tuple(
                    slice(p.start, p.start + (out[i] - 1) * stride[i] + 1, stride[i])
                    for i, p in enumerate(place)
                )
                yield outs, ins, (slice(None), *offset), cut

    def forward(x: Array) -> Array:
        image = padded(x)
        top = np.zeros((len(image), outputs, math.prod(out)))
        for outs, ins, at, cut in steps():
            patch = image[:, ins][(slice(None), slice(None), *cut)].reshape(
                len(image), -1, top.shape[2]
            )
            top[:, outs] += np.einsum("oc,ncp->nop", weights[outs][(slice(None), *at)], patch)
        if param.bias_term:
            top += call.blobs[1][:, None]
        return top.reshape(*x.shape[:axis], outputs, *out)

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        d_weights, d_bias = np.zeros_like(weights), np.zeros(outputs)
        d_bottoms: Gradients = []
        for x, gradient in zip(call.bottoms, gradients, strict=True):
            image = padded(x)
            d_image = np.zeros_like(image)
            g = gradient.reshape(len(image), outputs, -1)
            d_bias += g.sum((0, 2))
            for outs, ins, at, cut in steps():
                window = (slice(None), slice(None), *cut)
                patch = image[:, ins][window]
                flat = patch.reshape(len(image), -1, g.shape[2])
                d_weights[outs][(slice(None), *at)] += np.einsum("nop,ncp->oc", g[:, outs], flat)
                spread = np.einsum("oc,nop->ncp", weights[outs][(slice(None), *at)], g[:, outs])
                d_image[:, ins][window] += spread.reshape(patch.shape)
            inner = tuple(slice(pad[i], pad[i] + size[i]) for i in range(axes))
            d_bottoms.append(d_image[(slice(None), slice(None), *inner)].reshape(x.shape))
        d_blobs: Gradients = [d_weights, d_bias]
        return d_bottoms, d_blobs[: len(call.blobs)]

    return [forward(x) for x in call.bottoms], backward


@_rule("Deconvolution")
def _deconvolution(call: _Call) -> tuple[list[Array], _Backward]:
    """y[o, stride * position + dilation * k - pad] += w[c, o, k] * x[c, position], plus b[o]."""
    param = call.layer.convolution_param
    axis = param.axis % call.x.ndim
    channels, *size = call.x.shape[axis:]
    axes, group, outputs = len(size), param.group, param.num_output
    kernel = _per_axis(param, "kernel", "_size", axes, 0)
    stride = _per_axis(param, "stride", "", axes, 1)
    pad = _per_axis(param, "pad", "", axes, 0)
    dilation = _per_axis(param, "dilation", "", axes, 1)
    weights = call.blobs[0]
    whole = [stride[i] * (size[i] - 1) + dilation[i] * (kernel[i] - 1) + 1 for i in range(axes)]
    inner = (slice(None), slice(None), *(slice(pad[i], whole[i] - pad[i]) for i in range(axes)))

    def pairs() -> Iterator[tuple[int, int, tuple[int, ...], tuple[Any, ...]]]:
        """Every input, output of its group, kernel offset, and the places it is added to."""
        each = outputs // group
        for c in range(channels):
            for o in range(each):
                for k in np.ndindex(*kernel):
                    starts = [k[i] * dilation[i] for i in range(axes)]
                    ends = [s + stride[i] * (size[i] - 1) + 1 for i, s in enumerate(starts)]
                    cut = tuple(map(slice, starts, ends, stride))
                    yield c, o, k, (slice(None), c // (channels // group) * each + o, *cut)

    def forward(x: Array) -> Array:
        images = x.reshape(-1, channels, *size)
        y = np.zeros((len(images), outputs, *whole))
        for c, o, k, place in pairs():
            y[place] += weights[(c, o, *k)] * images[:, c]
        y = y[inner]
        if param.bias_term:
            y = y + call.blobs[1].reshape(-1, *[1] * axes)
        return y.reshape(*x.shape[:axis], outputs, *y.shape[2:])

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        d_weights, d_bias = np.zeros_like(weights), np.zeros(outputs)
        d_bottoms: Gradients = []
        for x, gradient in zip(call.bottoms, gradients, strict=True):
            images = x.reshape(-1, channels, *size)
            d_images = np.zeros_like(images)
            padded = np.zeros((len(images), outputs, *whole))
            padded[inner] = gradient.reshape(len(images), outputs, *gradient.shape[axis + 1 :])
            d_bias += padded[inner].sum((0, *range(2, 2 + axes)))
            for c, o, k, place in pairs():
                d_weights[(c, o, *k)] += (padded[place] * images[:, c]).sum()
                d_images[:, c] += weights[(c, o, *k)] * padded[place]
            d_bottoms.append(d_images.reshape(x.shape))
        d_blobs: Gradients = [d_weights, d_bias]
        return d_bottoms, d_blobs[: len(call.blobs)]

    return [forward(x) for x in call.bottoms], backward


@_rule("Im2col")
def _im2col(call: _Call) -> tuple[list[Array], _Backward]:
    """y[c, k, position] = x[c, stride * position + dilation * k - pad], or 0 outside."""
    param, x = call.layer.convolution_param, call.x
    axis = param.axis % x.ndim
    channels, *size = x.shape[axis:]
    axes = len(size)
    kernel = _per_axis(param, "kernel", "_size", axes, 0)
    stride = _per_axis(param, "stride", "", axes, 1)
    pad = _per_axis(param, "pad", "", axes, 0)
    dilation = _per_axis(param, "dilation", "", axes, 1)
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    out = [int((size[i] + 2 * pad[i] - span[i]) / stride[i]) + 1 for i in range(axes)]
    images = x.reshape(-1, channels, *size)
    shape = (len(images), channels, *kernel, *out)

    def inside() -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The offset and position, and the pixel, of each place that is no padding."""
        for place in np.ndindex(*kernel, *out):
            at = [place[axes + i] * stride[i] + place[i] * dilation[i] for i in range(axes)]
            pixel = tuple(at[i] - pad[i] for i in range(axes))
            if all(0 <= pixel[i] < size[i] for i in range(axes)):
                yield place, pixel

    every: Any = (slice(None), slice(None))
    y = np.zeros(shape)
    for place, pixel in inside():
        y[every + place] = images[every + pixel]

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g, bottom = gradients[0].reshape(shape), np.zeros_like(images)
        for place, pixel in inside():
            bottom[every + pixel] += g[every + place]
        return [bottom.reshape(x.shape)], []

    return [y.reshape(*x.shape[:axis], channels * math.prod(kernel), *out)], backward


def _pooling_windows(
    param: Any, size: Sequence[int]
) -> tuple[tuple[int, ...], list[list[tuple[int, int, int]]]]:
    """The extents, and along each axis (start, end, length with padding) of every window."""
    kernel, stride, pad = (
        _both(param, "kernel", "_size"),
        _both(param, "stride"),
        _both(param, "pad"),
    )
    if param.global_pooling:
        kernel, stride, pad = list(size), [1, 1], [0, 0]
    rounded = math.ceil if param.round_mode == 0 else math.floor
    windows = []
    for i in (0, 1):
        extent = int(rounded((size[i] + 2 * pad[i] - kernel[i]) / stride[i])) + 1
        # With any padding, the last window must start inside the image or the padding before it.
        if any(pad) and (extent - 1) * stride[i] >= size[i] + pad[i]:
            extent -= 1
        starts = [at * stride[i] - pad[i] for at in range(extent)]
        ends = [min(start + kernel[i], size[i] + pad[i]) for start in starts]
        windows.append(
            [(max(s, 0), min(e, size[i]), e - s) for s, e in zip(starts, ends, strict=True)]
        )
    return (len(windows[0]), len(windows[1])), windows


@_rule("Pooling")
def _pooling(call: _Call) -> tuple[list[Array], _Backward]:
    pool = call.layer.pooling_param.pool
    return (_max_pooling, _average_pooling, _stochastic_pooling)[pool](call)


def _max_pooling(call: _Call) -> tuple[list[Array], _Backward]:
    """The first of the largest elements; a window wholly outside the image is -FLT_MAX."""
    x = call.x
    extents, (rows, columns) = _pooling_windows(call.layer.pooling_param, x.shape[2:])
    top = np.full((*x.shape[:2], *extents), -FLT_MAX)
    mask = np.full(top.shape, -1)
    for n, c, i, j in np.ndindex(*top.shape):
        for h in range(*rows[i][:2]):
            for w in range(*columns[j][:2]):
                if x[n, c, h, w] > top[n, c, i, j]:
                    top[n, c, i, j] = x[n, c, h, w]
                    mask[n, c, i, j] = h * x.shape[3] + w

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        bottom = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3]))
        for n, c, i, j in np.ndindex(*top.shape):
            if mask[n, c, i, j] >= 0:  # Caffe writes before its array; nobody means that
                bottom[n, c, mask[n, c, i, j]] += gradients[0][n, c, i, j]
        return [bottom.reshape(x.shape)], []

    return [top, mask.astype(np.float64)][: call.tops], backward


def _average(x: Array, param: Any) -> tuple[Array, Callable[[Array], Array]]:
    """Means over windows cut at the padding's end: padding counts in the divisor."""
    extents, (rows, columns) = _pooling_windows(param, x.shape[2:])
    top = np.zeros((*x.shape[:2], *extents))
    for i, j in np.ndindex(*extents):
        (top_row, end_row, height), (left, end_column, width) = rows[i], columns[j]
        window = x[:, :, top_row:end_row, left:end_column]
        top[:, :, i, j] = window.sum((2, 3)) / np.float64(height * width)

    def spread(gradient: Array) -> Array:
        bottom = np.zeros_like(x)
        for i, j in np.ndindex(*extents):
            (top_row, end_row, height), (left, end_column, width) = rows[i], columns[j]
            share = gradient[:, :, i, j, None, None] / np.float64(height * width)
            bottom[:, :, top_row:end_row, left:end_column] += share
        return bottom

    return top, spread


def _average_pooling(call: _Call) -> tuple[list[Array], _Backward]:
    top, spread = _average(call.x, call.layer.pooling_param)
    return [top], lambda gradients: ([spread(gradients[0])], [])


def _stochastic_pooling(call: _Call) -> tuple[list[Array], _Backward]:
    """In TEST the expectation, sum of x^2 / sum of x; Caffe has it on the GPU alone."""
    if call.train:
        raise NotImplementedError("stochastic pooling in TRAIN draws at random")
    extents, (rows, columns) = _pooling_windows(call.layer.pooling_param, call.x.shape[2:])
    top = np.zeros((*call.x.shape[:2], *extents))
    for n, c, i, j in np.ndindex(*top.shape):
        window = call.x[n, c, slice(*rows[i][:2]), slice(*columns[j][:2])]
        total = window.sum()
        top[n, c, i, j] = (window**2).sum() / total if total > 0 else 0
    return [top], _none(call)


@_rule("SPP")
def _spp(call: _Call) -> tuple[list[Array], _Backward]:
    """Poolings into 2^level x 2^level windows, flattened and joined where there are several."""
    param, x = call.layer.spp_param, call.x
    levels = []
    for level in range(param.pyramid_height):
        bins = 2**level
        pooling = parse_net('layer { name: "p" type: "Pooling" bottom: "x" top: "p" }')
        layer = pooling.param.layer[0]
        layer.pooling_param.pool = param.pool
        for side, size in (("h", x.shape[2]), ("w", x.shape[3])):
            kernel = math.ceil(size / bins)
            setattr(layer.pooling_param, f"kernel_{side}", kernel)
            setattr(layer.pooling_param, f"stride_{side}", kernel)
            setattr(layer.pooling_param, f"pad_{side}", (kernel * bins - size + 1) // 2)
        levels.append(_pooling(_Call(layer, call.train, [x], [])))
    tops = [made[0][0] for made in levels]
    flat = [top.reshape(len(x), -1) for top in tops]
    ends = np.cumsum([top.shape[1] for top in flat])[:-1]

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        parts = np.split(gradients[0].reshape(len(x), -1), ends, 1)
        total = np.zeros_like(x)
        for (_, back), top, part in zip(levels, tops, parts, strict=True):
            gradient = back([part.reshape(top.shape)])[0][0]
            assert gradient is not None
            total += gradient
        return [total], []

    return tops if len(tops) == 1 else [np.concatenate(flat, 1)], backward


@_rule("LRN")
def _lrn(call: _Call) -> tuple[list[Array], _Backward]:
    """y = x * s^-beta; see the two regions for s."""
    param = call.layer.lrn_param
    return _lrn_within(call, param) if param.norm_region == 1 else _lrn_across(call, param)


def _lrn_across(call: _Call, param: Any) -> tuple[list[Array], _Backward]:
    """s = k + alpha / size * the sum of x^2 over `size` channels around, zeros outside."""
    x, reach = call.x, (param.local_size - 1) // 2
    share = param.alpha / param.local_size

    def around(values: Array) -> Array:
        total = np.zeros_like(values)
        for c in range(values.shape[1]):
            total[:, c] = values[:, max(0, c - reach) : c + reach + 1].sum(1)
        return total

    scale = param.k + share * around(x**2)
    y = x * scale**-param.beta

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0]
        ratio = around(g * y / scale)
        return [g * scale**-param.beta - 2 * share * param.beta * x * ratio], []

    return [y], backward


def _lrn_within(call: _Call, param: Any) -> tuple[list[Array], _Backward]:
    """s = 1 + alpha * average pooling of x^2; `k` is not used."""
    x, reach = call.x, (param.local_size - 1) // 2
    pooling = parse_net(
        'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param {'
        f" pool: AVE kernel_size: {param.local_size} pad: {reach} }} }}"
    )
    mean, spread = _average(x**2, pooling.param.layer[0].pooling_param)
    scale = 1 + param.alpha * mean
    y = x * scale**-param.beta

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0]
        d_scale = -param.beta * g * x * scale ** (-param.beta - 1)
        return [g * scale**-param.beta + 2 * x * spread(param.alpha * d_scale)], []

    return [y], backward


@_rule("InnerProduct")
def _inner_product(call: _Call) -> tuple[list[Array], _Backward]:
    """y = x w' + b over all axes from `axis` on; `transpose` says that w is stored as w'."""
    param, x = call.layer.inner_product_param, call.x
    axis = param.axis % x.ndim
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    weights = call.blobs[0] if param.transpose else call.blobs[0].T
    y = rows @ weights
    if param.bias_term:
        y = y + call.blobs[1]

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0].reshape(len(rows), -1)
        d_weights = rows.T @ g
        blobs: Gradients = [d_weights if param.transpose else d_weights.T, g.sum(0)]
        return [(g @ weights.T).reshape(x.shape)], blobs[: len(call.blobs)]

    return [y.reshape(*x.shape[:axis], param.num_output)], backward


@_rule("Embed")
def _embed(call: _Call) -> tuple[list[Array], _Backward]:
    """y = w[x] + b, with x cut to an integer."""
    index = np.trunc(call.x).astype(np.int64)
    y = call.blobs[0][index]
    if call.layer.embed_param.bias_term:
        y = y + call.blobs[1]

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        d_weights = np.zeros_like(call.blobs[0])
        rows = gradients[0].reshape(index.size, -1)
        np.add.at(d_weights, index.ravel(), rows)
        blobs: Gradients = [d_weights, rows.sum(0)]
        return [None], blobs[: len(call.blobs)]

    return [y], backward


# Element by element


def _slope(y: Array, slope: Array) -> tuple[list[Array], _Backward]:
    return [y], lambda gradients: ([gradients[0] * slope], [])


@_rule("ReLU")
def _relu(call: _Call) -> tuple[list[Array], _Backward]:
    """At 0 the slope is the negative one."""
    negative = call.layer.relu_param.negative_slope
    x = call.x
    return _slope(np.maximum(x, 0) + negative * np.minimum(x, 0), np.where(x > 0, 1.0, negative))


@_rule("PReLU")
def _prelu(call: _Call) -> tuple[list[Array], _Backward]:
    x = call.x
    negative = call.blobs[0].reshape(-1, *[1] * (x.ndim - 2))
    others = tuple(i for i in range(x.ndim) if i != 1)

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0]
        d_slope = (g * np.minimum(x, 0)).sum(others)
        if call.layer.prelu_param.channel_shared:
            d_slope = d_slope.sum()
        blob = np.reshape(d_slope, call.blobs[0].shape)
        return [g * np.where(x > 0, 1.0, negative)], [blob]

    return [np.maximum(x, 0) + negative * np.minimum(x, 0)], backward


@_rule("ELU")
def _elu(call: _Call) -> tuple[list[Array], _Backward]:
    alpha, x = call.layer.elu_param.alpha, call.x
    y = np.maximum(x, 0) + alpha * (np.exp(np.minimum(x, 0)) - 1)
    return _slope(y, np.where(x > 0, 1.0, alpha + y))


@_rule("Sigmoid")
def _sigmoid(call: _Call) -> tuple[list[Array], _Backward]:
    y = 0.5 * np.tanh(0.5 * call.x) + 0.5
    return _slope(y, y * (1 - y))


@_rule("TanH")
def _tanh(call: _Call) -> tuple[list[Array], _Backward]:
    y = np.tanh(call.x)
    return _slope(y, 1 - y**2)


@_rule("Power")
def _power(call: _Call) -> tuple[list[Array], _Backward]:
    """y = (shift + scale * x)^power; without an effect of x the gradient is 0, never nan."""
    param, x = call.layer.power_param, call.x
    power, scale, shift = param.power, param.scale, param.shift
    if power * scale == 0:
        y = np.full_like(x, 1.0 if power == 0 else np.float64(shift) ** power)
        return _slope(y, np.zeros_like(x))
    base = shift + scale * x
    y = base if power == 1 else base**power
    if power == 1:
        return _slope(y, np.full_like(x, scale))
    if power == 2:
        return _slope(y, 2 * scale * base)
    # Caffe divides, so that where the base is 0 the gradient is nan.
    return _slope(y, power * y / x if shift == 0 else power * scale * y / base)


@_rule("Exp")
def _exp(call: _Call) -> tuple[list[Array], _Backward]:
    """y = base^(shift + scale * x); a base of -1 is e."""
    param = call.layer.exp_param
    log_base = 1.0 if param.base == -1 else math.log(param.base)
    y = np.exp(log_base * (param.shift + param.scale * call.x))
    return _slope(y, y * log_base * param.scale)


@_rule("Log")
def _log(call: _Call) -> tuple[list[Array], _Backward]:
    """y = log(shift + scale * x) / log(base); a base of -1 is e."""
    param = call.layer.log_param
    log_base = 1.0 if param.base == -1 else math.log(param.base)
    inner = param.shift + param.scale * call.x
    return _slope(np.log(inner) / log_base, param.scale / log_base / inner)


@_rule("AbsVal")
def _abs_val(call: _Call) -> tuple[list[Array], _Backward]:
    return _slope(np.abs(call.x), np.sign(call.x))


@_rule("BNLL")
def _bnll(call: _Call) -> tuple[list[Array], _Backward]:
    """y = log(1 + exp(x))."""
    x = call.x
    power = np.exp(np.minimum(x, 50))
    return _slope(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), power / (power + 1))


@_rule("Swish")
def _swish(call: _Call) -> tuple[list[Array], _Backward]:
    """y = x / (1 + exp(-beta * x))."""
    beta, x = call.layer.swish_param.beta, call.x
    sigmoid = 0.5 * np.tanh(0.5 * beta * x) + 0.5
    y = x * sigmoid
    return _slope(y, beta * y + sigmoid * (1 - beta * y))


@_rule("Clip")
def _clip(call: _Call) -> tuple[list[Array], _Backward]:
    param, x = call.layer.clip_param, call.x
    y = np.maximum(param.min, np.minimum(x, param.max))
    return _slope(y, ((x >= param.min) & (x <= param.max)).astype(np.float64))


@_rule("Threshold")
def _threshold(call: _Call) -> tuple[list[Array], _Backward]:
    return [(call.x > call.layer.threshold_param.threshold).astype(np.float64)], _none(call)


@_rule("Dropout")
def _dropout(call: _Call) -> tuple[list[Array], _Backward]:
    if call.train:
        raise NotImplementedError("Dropout in TRAIN draws at random")
    return _slope(call.x.copy(), np.ones_like(call.x))


# Channels


@_rule("BatchNorm")
def _batch_norm(call: _Call) -> tuple[list[Array], _Backward]:
    """y = (x - mean) / sqrt(variance + eps).

    The mean and (biased) variance are the batch's, or the stored sums over the stored factor; a
    factor of 0 makes both 0. With the batch's, the stored ones decay and add the batch's, of
    the variance the unbiased one, in either phase.
    """
    param, x = call.layer.batch_norm_param, call.x
    others = tuple(i for i in range(x.ndim) if i != 1)
    stored = param.use_global_stats if param.HasField("use_global_stats") else not call.train
    count = x.size // x.shape[1]
    if stored:
        factor = 0.0 if call.blobs[2].item() == 0 else 1 / call.blobs[2].item()
        mean, variance = call.blobs[0] * factor, call.blobs[1] * factor
    else:
        mean, variance = x.mean(others), x.var(others)
        keep = param.moving_average_fraction
        unbiased = variance * (count / (count - 1) if count > 1 else 1)
        for blob, value in zip(call.blobs, (mean, unbiased, 1.0), strict=True):
            blob[...] = blob * keep + value
    over = (-1, *[1] * (x.ndim - 2))
    deviation = np.sqrt(variance + param.eps).reshape(over)
    y = (x - mean.reshape(over)) / deviation

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0]
        if not stored:
            g = g - g.mean(others, keepdims=True) - y * (g * y).mean(others, keepdims=True)
        return [g / deviation], [None] * 3

    return [y], backward


@_rule("MVN")
def _mvn(call: _Call) -> tuple[list[Array], _Backward]:
    """y = (x - mean) / (sqrt(variance) + eps); the gradient takes eps for part of the root."""
    param = call.layer.mvn_param
    x = call.x.reshape(call.x.shape + (1,) * (4 - call.x.ndim))
    axes = (1, 2, 3) if param.across_channels else (2, 3)
    y = x - x.mean(axes, keepdims=True)
    deviation = np.ones(1)
    if param.normalize_variance:
        deviation = np.sqrt((y**2).mean(axes, keepdims=True)) + param.eps
        y = y / deviation

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0] - gradients[0].mean(axes, keepdims=True)
        if param.normalize_variance:
            g = (g - y * (gradients[0] * y).mean(axes, keepdims=True)) / deviation
        return [g.reshape(call.x.shape)], []

    return [y], backward


def _cover(small: Array, x: Array, axis: int) -> tuple[Array, tuple[int, ...]]:
    """A blob broadcast over x from `axis` on, and the axes of x that it lacks."""
    axis = axis % x.ndim if small.ndim else 0
    end = axis + small.ndim
    lacks = tuple(i for i in range(x.ndim) if not axis <= i < end)
    return small.reshape(small.shape + (1,) * (x.ndim - end)), lacks


@_rule("Scale")
def _scale(call: _Call) -> tuple[list[Array], _Backward]:
    """y = x * scale (+ bias); the scale is the first blob or the second bottom."""
    param, x = call.layer.scale_param, call.x
    learned = len(call.bottoms) == 1
    scale = call.blobs[0] if learned else call.bottoms[1]
    factor, lacks = _cover(scale, x, param.axis)
    y = x * factor
    if param.bias_term:
        y = y + _cover(call.blobs[-1], x, param.axis)[0]

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0]
        d_scale = (g * x).sum(lacks)
        d_bias: Gradients = [g.sum(lacks)] if param.bias_term else []
        return ([g * factor], [d_scale, *d_bias]) if learned else ([g * factor, d_scale], d_bias)

    return [y], backward


@_rule("Bias")
def _bias(call: _Call) -> tuple[list[Array], _Backward]:
    """y = x + bias; the bias is the blob or the second bottom."""
    learned = len(call.bottoms) == 1
    bias = call.blobs[0] if learned else call.bottoms[1]
    shift, lacks = _cover(bias, call.x, call.layer.bias_param.axis)

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0]
        return ([g], [g.sum(lacks)]) if learned else ([g, g.sum(lacks)], [])

    return [call.x + shift], backward


def _chosen_axis(param: Any, old: str, x: Array) -> int:
    return int(getattr(param, old) if param.HasField(old) else param.axis) % x.ndim


@_rule("Concat")
def _concat(call: _Call) -> tuple[list[Array], _Backward]:
    axis = _chosen_axis(call.layer.concat_param, "concat_dim", call.x)
    ends = np.cumsum([bottom.shape[axis] for bottom in call.bottoms])[:-1]
    return [np.concatenate(call.bottoms, axis)], lambda gradients: (
        list(np.split(gradients[0], ends, axis)),
        [],
    )


@_rule("Slice")
def _slice(call: _Call) -> tuple[list[Array], _Backward]:
    axis = _chosen_axis(call.layer.slice_param, "slice_dim", call.x)
    where: Any = list(call.layer.slice_param.slice_point) or call.tops
    tops = list(np.split(call.x, where, axis))
    return tops, lambda gradients: ([np.concatenate(gradients, axis)], [])


@_rule("Split")
def _split(call: _Call) -> tuple[list[Array], _Backward]:
    return [call.x.copy() for _ in range(call.tops)], lambda gradients: (
        [np.sum(gradients, axis=0)],
        [],
    )


@_rule("Eltwise")
def _eltwise(call: _Call) -> tuple[list[Array], _Backward]:
    param, bottoms = call.layer.eltwise_param, call.bottoms
    if param.operation == 0:
        return _product(call, param.stable_prod_grad)
    if param.operation == 1:
        coefficients = list(param.coeff) or [1.0] * len(bottoms)
        pairs = list(zip(coefficients, bottoms, strict=True))
        total = np.sum([c * x for c, x in pairs], axis=0)
        return [total], lambda gradients: ([c * gradients[0] for c in coefficients], [])
    # The largest; of equal ones among the first two the second, later ones must be larger.
    largest, winner = bottoms[1].copy(), np.ones(call.x.shape, int)
    first = bottoms[0] > bottoms[1]
    largest[first], winner[first] = bottoms[0][first], 0
    for i in range(2, len(bottoms)):
        larger = bottoms[i] > largest
        largest[larger], winner[larger] = bottoms[i][larger], i
    return [largest], lambda gradients: (
        [gradients[0] * (winner == i) for i in range(len(bottoms))],
        [],
    )


def _product(call: _Call, stable: bool) -> tuple[list[Array], _Backward]:
    """The gradient is the product of the others or, not `stable`, y / x: nan where x is 0."""
    y = np.prod(call.bottoms, axis=0)

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        others: Gradients = []
        for i, x in enumerate(call.bottoms):
            rest = call.bottoms[:i] + call.bottoms[i + 1 :]
            others.append(gradients[0] * (np.prod(rest, axis=0) if stable else y / x))
        return others, []

    return [y], backward


# Shapes


def _reshaped(x: Array, shape: Sequence[int]) -> tuple[list[Array], _Backward]:
    return [x.reshape(shape)], lambda gradients: ([gradients[0].reshape(x.shape)], [])


@_rule("Flatten")
def _flatten(call: _Call) -> tuple[list[Array], _Backward]:
    param, shape = call.layer.flatten_param, call.x.shape
    start, end = param.axis % len(shape), param.end_axis % len(shape) + 1
    return _reshaped(call.x, (*shape[:start], math.prod(shape[start:end]), *shape[end:]))


@_rule("Reshape")
def _reshape(call: _Call) -> tuple[list[Array], _Backward]:
    param, shape = call.layer.reshape_param, call.x.shape
    start = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
    end = len(shape) if param.num_axes == -1 else start + param.num_axes
    middle = [shape[start + i] if size == 0 else size for i, size in enumerate(param.shape.dim)]
    return _reshaped(call.x, (*shape[:start], *middle, *shape[end:]))


@_rule("Crop")
def _crop(call: _Call) -> tuple[list[Array], _Backward]:
    """The first bottom from its offsets on, as long as the second."""
    param, (x, reference) = call.layer.crop_param, call.bottoms
    axis = param.axis % x.ndim
    offsets = list(param.offset) or [0]
    offsets = [0] * axis + (offsets if len(offsets) > 1 else offsets * (x.ndim - axis))
    sizes = x.shape[:axis] + reference.shape[axis : x.ndim]
    part = tuple(slice(start, start + size) for start, size in zip(offsets, sizes, strict=True))

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        bottom = np.zeros_like(x)
        bottom[part] = gradients[0]
        return [bottom, None], []

    return [x[part].copy()], backward


@_rule("Tile")
def _tile(call: _Call) -> tuple[list[Array], _Backward]:
    param, x = call.layer.tile_param, call.x
    axis = param.axis % x.ndim
    apart = (*x.shape[:axis], param.tiles, *x.shape[axis:])
    return [np.concatenate([x] * param.tiles, axis)], lambda gradients: (
        [gradients[0].reshape(apart).sum(axis)],
        [],
    )


@_rule("Reduction")
def _reduction(call: _Call) -> tuple[list[Array], _Backward]:
    """coeff times the sum (1), sum of absolute values (2) or squares (3), or mean (4)."""
    param, x = call.layer.reduction_param, call.x
    axis = param.axis % x.ndim
    rows = x.reshape(*x.shape[:axis], -1)
    terms = (rows, np.abs(rows), rows**2, rows / rows.shape[-1])[param.operation - 1]
    ones = np.ones_like(rows)
    slopes = (ones, np.sign(rows), 2 * rows, ones / rows.shape[-1])[param.operation - 1]

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        return [(param.coeff * gradients[0][..., None] * slopes).reshape(x.shape)], []

    return [param.coeff * terms.sum(-1)], backward


def _selected(x: Array, index: Any) -> tuple[Array, Callable[[Array], Array]]:
    """Records of x, and the gradient of x from theirs."""

    def back(gradient: Array) -> Array:
        bottom = np.zeros_like(x)
        np.add.at(bottom, index, gradient)
        return bottom

    return x[index], back


@_rule("BatchReindex")
def _batch_reindex(call: _Call) -> tuple[list[Array], _Backward]:
    y, back = _selected(call.x, np.trunc(call.bottoms[1]).astype(np.int64))
    return [y], lambda gradients: ([back(gradients[0]), None], [])


@_rule("Filter")
def _filter(call: _Call) -> tuple[list[Array], _Backward]:
    """The records whose selector is not 0."""
    index = np.flatnonzero(call.bottoms[-1])
    parts = [_selected(x, index) for x in call.bottoms[:-1]]
    return [y for y, _ in parts], lambda gradients: (
        [*(back(g) for (_, back), g in zip(parts, gradients, strict=True)), None],
        [],
    )


@_rule("Parameter")
def _parameter(call: _Call) -> tuple[list[Array], _Backward]:
    return [call.blobs[0].copy()], lambda gradients: ([], [gradients[0]])


# Ends


def _probabilities(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


@_rule("Softmax")
def _softmax(call: _Call) -> tuple[list[Array], _Backward]:
    axis = call.layer.softmax_param.axis
    y = _probabilities(call.x, axis)

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        g = gradients[0]
        return [y * (g - (g * y).sum(axis, keepdims=True))], []

    return [y], backward


def _labels(call: _Call, param: Any, axis: int) -> tuple[npt.NDArray[np.int64], Any]:
    """Labels as (outer, inner), cut to integers, and which of them count."""
    axis %= call.x.ndim
    labels = np.trunc(call.bottoms[1]).astype(np.int64)
    labels = labels.reshape(math.prod(call.x.shape[:axis]), -1)
    counts = labels != param.ignore_label if param.HasField("ignore_label") else labels == labels
    return labels, counts


@_rule("SoftmaxWithLoss")
def _softmax_loss(call: _Call) -> tuple[list[Array], _Backward]:
    """-log(max(p[label], FLT_MIN)), added up and divided by at least 1."""
    param, x = call.layer.loss_param, call.x
    axis = call.layer.softmax_param.axis
    labels, counts = _labels(call, param, axis)
    outer, inner = labels.shape
    p = _probabilities(x, axis).reshape(outer, -1, inner)
    mode = param.normalization
    if param.HasField("normalize") and not param.HasField("normalization"):
        mode = 1 if param.normalize else 2
    divisor = max(1, (outer * inner, int(counts.sum()), outer, 1)[mode])
    places = [(i, labels[i, j], j) for i, j in np.ndindex(outer, inner) if counts[i, j]]
    loss = -sum(math.log(max(float(p[place]), FLT_MIN)) for place in places) / divisor

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        d = p * counts[:, None]
        for place in places:
            d[place] -= 1
        return [(gradients[0] * d / divisor).reshape(x.shape), None], []

    return [np.array(loss)], backward


@_rule("InfogainLoss")
def _infogain_loss(call: _Call) -> tuple[list[Array], _Backward]:
    """-sum over l of H[label, l] * log(max(p[l], 1e-20)), added up and divided by at least 1."""
    param, x = call.layer.loss_param, call.x
    axis = call.layer.infogain_loss_param.axis
    labels, counts = _labels(call, param, axis)
    outer, inner = labels.shape
    softmax = _probabilities(x, axis)
    p = softmax.reshape(outer, -1, inner)
    classes = p.shape[1]
    matrix = call.bottoms[2].reshape(classes, classes)
    divisor = max(1, (outer * inner, int(counts.sum()), outer, 1)[param.normalization])
    d, loss = np.zeros_like(p), 0.0
    for i, j in np.ndindex(outer, inner):
        if counts[i, j]:
            row = matrix[labels[i, j]]
            loss -= (row * np.log(np.maximum(p[i, :, j], 1e-20))).sum() / divisor
            d[i, :, j] = (p[i, :, j] * row.sum() - row) / divisor

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        return [(gradients[0] * d).reshape(x.shape), None, None], []

    return [np.array(loss), softmax][: call.tops], backward


@_rule("MultinomialLogisticLoss")
def _multinomial_loss(call: _Call) -> tuple[list[Array], _Backward]:
    """-log(max(p[label], 1e-20)) of one label a record, averaged over records."""
    x, records = call.x, len(call.x)
    rows = x.reshape(records, -1)
    places = (np.arange(records), np.trunc(call.bottoms[1].ravel()[:records]).astype(np.int64))
    chosen = np.maximum(rows[places], 1e-20)
    d = np.zeros_like(rows)
    d[places] = -1 / chosen / records
    loss = np.array(-np.log(chosen).sum() / records)
    return [loss], lambda gradients: ([(gradients[0] * d).reshape(x.shape), None], [])


@_rule("HingeLoss")
def _hinge_loss(call: _Call) -> tuple[list[Array], _Backward]:
    """max(0, 1 + x), for the label 1 - x; added up (L1) or squared (L2), averaged over records."""
    x, records = call.x, len(call.x)
    signs = np.ones((records, x.size // records))
    labels = np.trunc(call.bottoms[1].ravel()[:records]).astype(np.int64)
    signs[np.arange(records), labels] = -1
    margins = np.maximum(0, 1 + signs * x.reshape(records, -1))
    squared = call.layer.hinge_loss_param.norm == 2
    loss = np.array((margins**2 if squared else margins).sum() / records)
    slopes = signs * (2 * margins if squared else np.sign(margins)) / records
    return [loss], lambda gradients: ([(gradients[0] * slopes).reshape(x.shape), None], [])


@_rule("SigmoidCrossEntropyLoss")
def _sigmoid_loss(call: _Call) -> tuple[list[Array], _Backward]:
    """max(x, 0) - x * target + log(1 + exp(-|x|)), added up and divided by at least 1."""
    param, x = call.layer.loss_param, call.x
    targets = call.bottoms[1].reshape(x.shape)
    counts = np.ones(x.shape, bool)
    if param.HasField("ignore_label"):
        counts = np.trunc(targets) != param.ignore_label
    mode = param.normalization if param.HasField("normalization") else 2
    if param.HasField("normalize") and not param.HasField("normalization"):
        mode = 1 if param.normalize else 2
    divisor = max(1, (x.size, int(counts.sum()), len(x), 1)[mode])
    losses = np.maximum(x, 0) - x * targets + np.log1p(np.exp(-np.abs(x)))
    d = counts * (0.5 * np.tanh(0.5 * x) + 0.5 - targets) / divisor
    loss = np.array((losses * counts).sum() / divisor)
    return [loss], lambda gradients: ([gradients[0] * d, None], [])


@_rule("ContrastiveLoss")
def _contrastive_loss(call: _Call) -> tuple[list[Array], _Backward]:
    """Half of d^2 of similar pairs, of max(margin - d, 0)^2 of others, averaged over pairs."""
    param, records = call.layer.contrastive_loss_param, len(call.x)
    difference = call.x.reshape(records, -1) - call.bottoms[1].reshape(records, -1)
    squares = (difference**2).sum(1)
    distances = np.sqrt(squares)
    if param.legacy_version:  # max(margin - d^2, 0)
        others = np.maximum(param.margin - squares, 0)
        slopes = -np.sign(others)
    else:
        gaps = np.maximum(param.margin - distances, 0)
        others, slopes = gaps**2, -gaps / (distances + 1e-4)
    similar = np.trunc(call.bottoms[2].ravel()[:records]) != 0
    loss = np.array(np.where(similar, squares, others).sum() / records / 2)
    d = np.where(similar, 1.0, slopes)[:, None] * difference / records

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        first = (gradients[0] * d).reshape(call.x.shape)
        return [first, -first.reshape(call.bottoms[1].shape), None], []

    return [loss], backward


@_rule("EuclideanLoss")
def _euclidean_loss(call: _Call) -> tuple[list[Array], _Backward]:
    """The sum of squared differences over twice the batch."""
    difference = (call.x.ravel() - call.bottoms[1].ravel()) / len(call.x)
    loss = np.array((difference**2).sum() * len(call.x) / 2)
    shapes = [bottom.shape for bottom in call.bottoms]

    def backward(gradients: list[Array]) -> tuple[Gradients, Gradients]:
        first, second = (gradients[0] * difference.reshape(shape) for shape in shapes)
        return [first, -second], []

    return [loss], backward


@_rule("Accuracy")
def _accuracy(call: _Call) -> tuple[list[Array], _Backward]:
    """The share of labels with less than top_k others at least as good: ties count against."""
    param = call.layer.accuracy_param
    labels, counts = _labels(call, param, param.axis)
    outer, inner = labels.shape
    scores = call.x.reshape(outer, -1, inner)
    right, seen = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for i, j in np.ndindex(outer, inner):
        if counts[i, j]:
            label = labels[i, j]
            as_good = (scores[i, :, j] >= scores[i, label, j]).sum() - 1
            seen[label] += 1
            right[label] += as_good < param.top_k
    per_class = np.where(seen > 0, right / seen, 0)
    total = np.array(right.sum() / seen.sum() if seen.sum() else 0.0)
    return [total, per_class][: call.tops], _none(call)


@_rule("ArgMax")
def _arg_max(call: _Call) -> tuple[list[Array], _Backward]:
    """The top_k largest along an axis or over all but the batch; of equal ones the last first."""
    param, x = call.layer.argmax_param, call.x
    has_axis = param.HasField("axis")
    rows = np.moveaxis(x, param.axis, -1) if has_axis else x.reshape(len(x), -1)
    order = np.zeros((*rows.shape[:-1], param.top_k))
    values = np.zeros_like(order)
    for at in np.ndindex(*rows.shape[:-1]):
        ranked = sorted(zip(rows[at], range(rows.shape[-1]), strict=True), reverse=True)
        values[at], order[at] = zip(*ranked[: param.top_k], strict=False)
    if has_axis:
        chosen = values if param.out_max_val else order
        return [np.moveaxis(chosen, -1, param.axis)], _none(call)
    pair = np.stack([order, values] if param.out_max_val else [order], 1)
    return [pair.reshape(*pair.shape, *[1] * (x.ndim - 3))], _none(call)


@_rule("Silence")
def _silence(call: _Call) -> tuple[list[Array], _Backward]:
    return [], lambda gradients: ([np.zeros_like(bottom) for bottom in call.bottoms], [])
