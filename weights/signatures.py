"""Signatures of blobs: which layer makes a blob, and from what.

The signature of a blob holds the settings of the layer that makes it, the layer of the source whose
weights that one has, and the signatures of what it reads. Blobs of two nets with one signature are
equal, up to the order of their channels.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from google.protobuf.message import Message

from ..errors import NetError
from ..formats.ristretto import plain_type
from ..formats.schema import LayerParameter, PoolingParameter
from ..nets.diff import canonical
from ..nets.inference_graph import InferenceGraph
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes
from ..nets.windows import pooling_window
from ..text import printable
from .channel_order import ChannelUse, channel_count, classify_layer

Settings = tuple[tuple[str, Hashable], ...]

MAX_CHANNELS = 1 << 22
# Fields without effect in TEST, besides fillers; coefficients go with what is summed.
_WITHOUT_EFFECT = frozenset({"engine", "moving_average_fraction", "stable_prod_grad", "coeff"})


def layer_settings(item: LayerShapes) -> Settings:
    """Return (field, value) of all that a layer does in TEST besides its weights.

    Fields that mean the same get the same value, however they are written.
    """
    layer = canonical(item.layer)
    if layer.type == "Pooling":
        pooling = layer.pooling_param
        return (("type", layer.type), ("pool", pooling.pool), *_pooling_settings(item, pooling))
    settings: list[tuple[str, Hashable]] = [("type", layer.type)]
    if layer.HasField("quantization_param"):
        settings.append(("quantization_param", " ".join(str(layer.quantization_param).split())))
    param = _type_param(layer)
    if param is None:
        return tuple(settings)
    axes = len(item.bottoms[0]) if item.bottoms else 0
    for descriptor in param.DESCRIPTOR.fields:
        name = descriptor.name
        value = getattr(param, name)
        if name in _WITHOUT_EFFECT or name.endswith("filler"):
            continue
        if name == "use_global_stats":
            value = value or not param.HasField(name)  # the default in TEST
        elif name in ("axis", "end_axis") and axes:
            value %= axes
        elif hasattr(value, "append"):
            value = tuple(value)
        elif descriptor.message_type is not None:
            value = str(value)
        settings.append((name, value))
    return tuple(settings)


def _pooling_settings(item: LayerShapes, param: PoolingParameter) -> list[tuple[str, Hashable]]:
    settings: list[tuple[str, Hashable]] = []
    for axis, size in enumerate(item.bottoms[0][2:]):
        window, extent = pooling_window(param, axis, size), item.tops[0][axis + 2]
        values = (window.kernel, window.stride, window.pad, extent)
        if extent == 1 and not window.pad:  # one window over the whole axis, like global_pooling
            values = (min(window.kernel, size), 1, 0, 1)
        settings.append((f"(kernel, stride, pad, outputs) along axis {axis + 2}", values))
    return settings


def _type_param(layer: LayerParameter) -> Message | None:
    """Return the message with the parameters of a layer's type; None where it has none."""
    kind = plain_type(layer.type)
    if kind in ("Deconvolution", "Im2col"):
        return layer.convolution_param
    wanted = f"{kind.lower()}param"
    for descriptor in layer.DESCRIPTOR.fields:
        if descriptor.name.replace("_", "") == wanted:
            param: Message = getattr(layer, descriptor.name)
            return param
    return None


class SignatureTable:
    """A number for each signature, shared by both nets."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def number(self, signature: Hashable) -> int:
        """Return the number of a signature; a new one at first sight."""
        return self._numbers.setdefault(signature, len(self._numbers))


class SignedNet:
    """One of the two nets, with the signatures of its blobs.

    Attributes:
        graph: the net.
        layers: its layers with their shapes.
        weighted: name -> layer, of layers with parameters.
        settings: name of each layer -> what it does.
        signatures: blob -> number of its signature, where it has one.
    """

    def __init__(self, graph: InferenceGraph, shapes: Mapping[str, Shape]) -> None:
        self.graph = graph
        self.layers = graph.infer_shapes(shapes)
        for item in self.layers:
            if any(channel_count(top) > MAX_CHANNELS for top in item.tops):
                raise NetError(
                    f"{self.place(item)} has more channels than can be followed ({MAX_CHANNELS})"
                )
        self.weighted = {item.layer.name: item for item in self.layers if item.blobs}
        self.settings = {item.layer.name: layer_settings(item) for item in self.layers}
        self.signatures: dict[str, int] = {}

    def place(self, item: LayerShapes) -> str:
        """Return the net's file and the name of a layer, for messages."""
        return f"{printable(self.graph.source)}: layer '{printable(item.layer.name)}'"

    def can_sign(self, item: LayerShapes) -> bool:
        """Whether all that a layer reads has a signature."""
        return all(blob in self.signatures for blob in item.layer.bottom)

    def sign_tops(self, item: LayerShapes, weights: str | None, table: SignatureTable) -> list[int]:
        """Return the numbers of a layer's tops, if it has the weights of a layer of the source."""
        signature = (self.settings[item.layer.name], weights, self._inputs(item))
        return [table.number((signature, index)) for index in range(len(item.layer.top))]

    def operation(self, item: LayerShapes) -> Hashable:
        """Return what a layer does to which blobs; None where one has no signature."""
        if not self.can_sign(item):
            return None
        return (self.settings[item.layer.name], self._inputs(item))

    def maker_name(self, blob: str) -> str:
        """Return the name of the layer that makes a blob, or of the input."""
        makers = (item.layer.name for item in self.layers if blob in item.layer.top)
        return next(makers, blob)

    def _inputs(self, item: LayerShapes) -> tuple[Hashable, ...]:
        """Return the signatures of a layer's bottoms, sorted where their order has no effect."""
        layer = item.layer
        inputs = [self.signatures[blob] for blob in layer.bottom]
        if layer.type == "Eltwise":
            coefficients = list(layer.eltwise_param.coeff) or [1.0] * len(inputs)
            return tuple(sorted(zip(inputs, coefficients, strict=True)))
        return tuple(sorted(inputs) if classify_layer(item) is ChannelUse.CONCAT else inputs)
