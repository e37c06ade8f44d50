"""The layers of a net as what takes time: their kinds, and where each reads its channels.

Two layers of a *kind* take the same time with the same numbers of channels: a kind is a layer's
type with all of its geometry but these numbers. The embedded engine computes some layers together
(`engine/fusion.py`) and a Concat only where its reader needs it in one piece
(`engine/kernels/base.py`), so that a kind there also says what a layer absorbs and how many blobs
it reads as one; a plain kind, as of `caffe time`, doesn't.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from google.protobuf.message import Message

from ..formats.prototxt import to_text
from ..formats.schema import (
    EltwiseParameter,
    LayerParameter,
    LRNParameter,
    PoolingParameter,
)
from ..text import shape_text
from .graph import Graph, Node, Top
from .layer_families.shaping import concat_axis
from .layer_types import Shape
from .shapes import LayerShapes, NetShapes
from .windows import convolution_windows, pooling_window

Setting = int | str | bool | tuple[int, ...] | tuple[str, ...]

INPUT = "Input"
FREE = frozenset(["Split", "Dropout", "Silence", "HDF5Output", "Parameter"])  # in a deploy net
DEFAULTS: Mapping[str, Setting] = {
    **{
        "size": (),
        "bottoms": 1,
        "parts": 1,
        "padded": 0,
        "then": (),
        "stride": 1,
        "pad": 0,
        "dilation": 1,
    },
    **{"group": 1, "depthwise": False, "multiplier": 1, "kernel": 1, "param": ""},
    **{"method": "MAX", "operation": "SUM", "region": "ACROSS_CHANNELS", "local_size": 5},
}
_FILTERS = {"Convolution": "convolution_param", "Deconvolution": "convolution_param"}
_FILTERS["InnerProduct"] = "inner_product_param"
# Types whose parameters don't change how long they take.
_SIMPLE = frozenset(
    "ReLU PReLU ELU Sigmoid TanH AbsVal BNLL Power Exp Log Threshold Clip Swish Softmax Concat"
    " Flatten BatchNorm Scale Bias InnerProduct".split()
)


class LayerKind(NamedTuple):
    """What the time of a layer depends on besides its channels.

    Attributes:
        type: of the layer.
        settings: sorted pairs of a key of `DEFAULTS` and a value that is not the default.
    """

    type: str
    settings: tuple[tuple[str, Setting], ...] = ()

    @staticmethod
    def of(type_name: str, settings: Mapping[str, Setting]) -> LayerKind:
        """Return a kind; equal numbers along all axes are one number."""
        found = {name: _shortest(value) for name, value in settings.items()}
        rows = [(name, value) for name, value in found.items() if value != DEFAULTS[name]]
        return LayerKind(type_name, tuple(sorted(rows)))

    def number(self, name: str) -> int:
        """Return a setting that is a number."""
        value = dict(self.settings).get(name, DEFAULTS[name])
        assert isinstance(value, int)
        return value

    def without(self, *names: str) -> LayerKind:
        """Return the kind with the defaults of some settings."""
        return self._replace(settings=tuple(row for row in self.settings if row[0] not in names))

    def __str__(self) -> str:
        settings = dict(self.settings)
        words = [self.type]
        if "kernel" in settings:
            words.append(_sides(settings["kernel"]))
        if "then" in settings:
            words.append("with " + ", ".join(map(str, _listed(settings["then"]))))
        if "size" in settings:
            words.append("at " + _sides(settings["size"]))
        return " ".join(words)


def _shortest(value: Setting) -> Setting:
    is_row = isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1
    return value[0] if is_row and isinstance(value, tuple) else value


def _listed(value: Setting) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _sides(value: Setting) -> str:
    sides = _listed(value)
    return shape_text([int(str(side)) for side in (sides * 2 if len(sides) == 1 else sides)])


class TimedLayer(NamedTuple):
    """A layer of a net that takes time, with those that it absorbs.

    Attributes:
        kind: its kind.
        layers: it, then those that it absorbs.
        indexes: their places among the layers of the phase.
        bottoms: shapes of what it reads; of an input, of its first top.
        inputs: channels that it reads; of a Concat, of all bottoms.
        outputs: filters; 0 of a layer without.
    """

    kind: LayerKind
    layers: tuple[LayerParameter, ...]
    indexes: tuple[int, ...]
    bottoms: tuple[Shape, ...]
    inputs: int
    outputs: int

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.layers[0].name


def timed_layers(shapes: NetShapes, *, fused: bool) -> list[TimedLayer]:
    """Return the layers of a deploy net that take time.

    Args:
        shapes: of its TEST phase, without problems.
        fused: whether layers absorb others, as in the embedded engine.
    """
    return list(_timed(shapes, fused))


def _timed(shapes: NetShapes, fused: bool) -> Iterator[TimedLayer]:
    graph = shapes.graph
    absorbed: set[int] = set()
    for node, item in zip(graph.nodes, shapes.layers, strict=True):
        if node.index in absorbed or node.layer.type in FREE:
            continue
        chain = [node, *(_absorbed(graph, node, shapes.layers) if fused else ())]
        absorbed.update(each.index for each in chain)
        lazy = _lazy_bottom(graph, node, shapes) if fused else {}
        yield _timed_layer(item, chain, lazy)


def _timed_layer(
    item: LayerShapes, chain: Sequence[Node[LayerParameter]], lazy: Mapping[str, Setting]
) -> TimedLayer:
    layers, indexes = tuple(n.layer for n in chain), tuple(n.index for n in chain)
    if not item.bottoms:
        top = item.tops[0]
        kind = LayerKind.of(INPUT, {"size": top[2:]})
        return TimedLayer(kind, layers, indexes, (top,), _channels(top), 0)
    type_name, bottoms = item.layer.type, tuple(item.bottoms)
    settings = dict(_settings(item))
    settings |= {"size": bottoms[0][2:], "bottoms": len(bottoms), **lazy}
    settings["then"] = tuple(node.layer.type for node in chain[1:])
    is_joined = type_name == "Concat" and concat_axis(item.layer) % len(bottoms[0]) == 1
    inputs = sum(map(_channels, bottoms)) if is_joined else _channels(bottoms[0])
    outputs = 0
    if type_name in _FILTERS and not settings.get("depthwise"):
        outputs = int(getattr(item.layer, _FILTERS[type_name]).num_output)
    return TimedLayer(LayerKind.of(type_name, settings), layers, indexes, bottoms, inputs, outputs)


def _channels(shape: Shape) -> int:
    return shape[1] if len(shape) > 1 else 1


def _settings(item: LayerShapes) -> Iterator[tuple[str, Setting]]:
    """Yield what the type of a layer adds to its kind."""
    layer, bottom, type_name = item.layer, item.bottoms[0], item.layer.type
    if type_name in ("Convolution", "Deconvolution"):
        param = layer.convolution_param
        windows = convolution_windows(param, len(bottom) - 2)
        for field in ("kernel", "stride", "pad", "dilation"):
            yield field, tuple(getattr(window, field) for window in windows)
        if 1 < param.group == bottom[1]:
            yield "depthwise", True
            yield "multiplier", param.num_output // param.group
        else:
            yield "group", param.group
    elif type_name == "Pooling":
        pool = layer.pooling_param
        windows = [pooling_window(pool, axis, size) for axis, size in enumerate(bottom[2:])]
        yield "method", PoolingParameter.PoolMethod.Name(pool.pool)
        for field in ("kernel", "stride", "pad"):
            yield field, tuple(getattr(window, field) for window in windows)
    elif type_name == "LRN":
        lrn = layer.lrn_param
        yield "region", LRNParameter.NormRegion.Name(lrn.norm_region)
        yield "local_size", lrn.local_size
    elif type_name == "Eltwise":
        operation = layer.eltwise_param.operation
        yield "operation", EltwiseParameter.EltwiseOp.Name(operation)
    elif type_name not in _SIMPLE:
        yield "param", _param_text(layer)


def _param_text(layer: LayerParameter) -> str:
    """Return the fields that only the layer's type has, in one line."""
    fields = [
        (field.name, value)
        for field, value in layer.ListFields()
        if field.name.endswith("_param") and isinstance(value, Message)
    ]
    texts = [f"{n} {{ {' '.join(to_text(v).split())} }}" for n, v in fields if n[:9] != "transform"]
    return " ".join(texts)


def _absorbed(
    graph: Graph[LayerParameter], node: Node[LayerParameter], layers: Sequence[LayerShapes]
) -> Iterator[Node[LayerParameter]]:
    """Yield the layers that the embedded engine computes with another (`engine/fusion.py`)."""
    wanted = {"Convolution": ["ReLU"], "BatchNorm": ["Scale", "ReLU"]}.get(node.layer.type, [])
    for kind in wanted:
        if len(node.tops) != 1 or graph.use_count(Top(node.index, 0)) != 1:
            return
        reader = graph.nodes[graph.readers(Top(node.index, 0))[0].layer]
        if reader.layer.type == kind and _is_plain(layers[reader.index]):
            yield reader
            node = reader


def _is_plain(item: LayerShapes) -> bool:
    layer = item.layer
    if layer.type == "Scale":
        return len(item.blobs) == 2 and layer.scale_param.axis == 1
    return not layer.relu_param.negative_slope


def _lazy_bottom(
    graph: Graph[LayerParameter], node: Node[LayerParameter], shapes: NetShapes
) -> dict[str, Setting]:
    """Return in which form a layer gets its bottom (`engine/kernels/base.py`).

    The parts of a Concat, also through a pooling; or, of a global average, the plane of a padded
    1x1 convolution.
    """
    if len(node.sources) != 1 or node.sources[0] is None or node.layer.type == "Concat":
        return {}
    maker = graph.nodes[node.sources[0].layer]
    while maker.layer.type in ("ReLU", "Dropout") and maker.is_in_place(0) and maker.sources[0]:
        is_joined = graph.nodes[maker.sources[0].layer].layer.type == "Concat"
        if maker.layer.type == "ReLU" and is_joined:
            break  # copies it
        maker = graph.nodes[maker.sources[0].layer]
    item = shapes.layers[maker.index]
    if maker.layer.type == "Concat":
        is_lazy = len(item.bottoms[0]) == 4 and concat_axis(maker.layer) % 4 == 1
        return {"parts": len(item.bottoms)} if is_lazy else {}
    if maker.layer.type == "Pooling" and len(maker.tops) == 1:
        lazy = _lazy_bottom(graph, maker, shapes)
        return {"parts": lazy["parts"]} if "parts" in lazy else {}
    is_average = node.layer.pooling_param.pool == PoolingParameter.AVE
    if maker.layer.type == "Convolution" and node.layer.type == "Pooling" and is_average:
        windows = set(convolution_windows(maker.layer.convolution_param, len(item.bottoms[0]) - 2))
        size = shapes.layers[node.index].bottoms[0][2:]
        kernels = [
            pooling_window(node.layer.pooling_param, n, s).kernel for n, s in enumerate(size)
        ]
        pads = {window.pad for window in windows if window[:2] == (1, 1)}
        if len(windows) == len(pads) == 1 and kernels == list(size):
            return {"padded": pads.pop()}
    return {}
