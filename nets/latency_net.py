"""The net that an engine runs to time layers: a branch of its own for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..formats.schema import LayerParameter, NetParameter
from .layer_types import Shape
from .timed_layers import TimedLayer


class Point(NamedTuple):
    """A layer with numbers of channels to time it at; `outputs` is 0 of one without filters."""

    layer: TimedLayer
    inputs: int
    outputs: int


class Branch(NamedTuple):
    """The layers of a branch, by name: those that make what is read, and those to time."""

    context: tuple[str, ...]
    timed: tuple[str, ...]


def latency_net(points: Sequence[Point], batch: int) -> tuple[NetParameter, list[Branch]]:
    """Return a net with a branch for each point, and the branches in this order."""
    net = NetParameter(name="latency")
    branches = []
    for number, point in enumerate(points):
        layers = list(_branch(point, f"b{number}", batch))
        net.layer.extend(layers)
        names, count = [layer.name for layer in layers], len(point.layer.layers)
        branches.append(Branch(tuple(names[:-count]), tuple(names[-count:])))
    return net, branches


def _branch(point: Point, name: str, batch: int) -> Iterator[LayerParameter]:
    count = point.layer.kind.number("parts")
    shapes = list(_input_shapes(point, batch))
    blobs = [f"{name}_in{place}" for place in range(len(shapes))]
    source = LayerParameter(name=f"{name}_in", type="Input", top=blobs)
    for shape in shapes:
        source.input_param.shape.add(dim=shape)
    if count > 1:
        parts = _split(point.inputs, count)
        source.ClearField("input_param")
        source.top[:] = [f"{name}_part{place}" for place in range(len(parts))]
        for part in parts:
            source.input_param.shape.add(dim=[batch, part, *shapes[0][2:]])
        yield source
        yield LayerParameter(name=f"{name}_join", type="Concat", bottom=source.top, top=blobs)
    elif pad := point.layer.kind.number("padded"):
        height, width = shapes[0][2:]
        source.input_param.shape[0].dim[1:] = [1, height - 2 * pad, width - 2 * pad]
        source.top[:] = [f"{name}_inner"]
        yield source
        maker = LayerParameter(name=f"{name}_pad", type="Convolution", bottom=source.top, top=blobs)
        maker.convolution_param.num_output = point.inputs
        maker.convolution_param.kernel_size.append(1)
        maker.convolution_param.pad.append(pad)
        yield maker
    else:
        yield source
    for place, layer in enumerate(point.layer.layers):
        copy = _resized(layer, point) if not place else _stripped(layer)
        copy.name = f"{name}_{place}"
        copy.bottom[:] = blobs
        copy.top[:] = [f"{copy.name}_{top}" for top in range(max(1, len(layer.top)))]
        blobs = list(copy.top)
        yield copy


def _input_shapes(point: Point, batch: int) -> Iterator[Shape]:
    bottoms = point.layer.bottoms
    counts = [point.inputs] * len(bottoms)
    if point.layer.kind.type == "Concat":
        counts = _split(point.inputs, len(bottoms))
    for shape, count in zip(bottoms, counts, strict=False):
        yield (batch, count, *shape[2:]) if len(shape) > 1 else (batch,)


def _split(count: int, parts: int) -> list[int]:
    """Split channels into nearly equal parts, or into fewer where there are too few."""
    parts = min(parts, count)
    return [count * (n + 1) // parts - count * n // parts for n in range(parts)]


def _stripped(layer: LayerParameter) -> LayerParameter:
    copy = LayerParameter()
    copy.CopyFrom(layer)
    for field in ("include", "exclude", "phase", "loss_weight", "propagate_down", "blobs", "param"):
        copy.ClearField(field)
    return copy


def _resized(layer: LayerParameter, point: Point) -> LayerParameter:
    copy = _stripped(layer)
    if point.outputs:
        if copy.type == "InnerProduct":
            copy.inner_product_param.num_output = point.outputs
        else:
            copy.convolution_param.num_output = point.outputs
    if dict(point.layer.kind.settings).get("depthwise"):
        each = layer.convolution_param.num_output // layer.convolution_param.group
        copy.convolution_param.group = point.inputs
        copy.convolution_param.num_output = point.inputs * each
    if copy.slice_param.slice_point:
        count, own = point.inputs, point.layer.inputs
        copy.slice_param.slice_point[:] = [
            max(at, each * count // own) for at, each in enumerate(layer.slice_param.slice_point, 1)
        ]
    return copy
