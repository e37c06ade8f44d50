"""What tells two blobs of two nets apart: what layers do, and to what."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ..errors import NetError
from ..nets.diff import canonical
from ..nets.inference_graph import InferenceGraph
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes
from ..nets.windows import pooling_window
from ..text import printable
from .channel_order import behaviour, channels

Settings = tuple[tuple[str, Hashable], ...]

MOST_CHANNELS = 1 << 22
# What has no part in TEST's outcome, beside fillers; coefficients go with what is summed.
_NO_MATTER = frozenset({"engine", "moving_average_fraction", "stable_prod_grad", "coeff"})


def settings_of(item: LayerShapes) -> Settings:
    """What a layer does in TEST beside its weights, each meaning written in one way."""
    layer = canonical(item.layer)
    param = _own_param(layer)
    axes = len(item.bottoms[0])
    found: list[tuple[str, Hashable]] = [("type", layer.type)]
    if layer.type == "Pooling":
        found.append(("pool", param.pool))
        for axis, size in enumerate(item.bottoms[0][2:]):
            window, extent = pooling_window(param, axis, size), item.tops[0][axis + 2]
            values = (window.kernel, window.stride, window.pad, extent)
            if extent == 1 and not window.pad:  # of all there is, like global_pooling
                values = (min(window.kernel, size), 1, 0, 1)
            found.append((f"(kernel, stride, pad, outputs) along axis {axis + 2}", values))
        return tuple(found)
    for descriptor in param.DESCRIPTOR.fields if param is not None else ():
        name = descriptor.name
        value = getattr(param, name)
        if name in _NO_MATTER or name.endswith("filler"):
            continue
        if name == "use_global_stats":
            value = value or not param.HasField(name)  # as TEST has it
        elif name in ("axis", "end_axis") and axes:
            value %= axes
        elif hasattr(value, "append"):
            value = tuple(value)
        elif descriptor.message_type is not None:
            value = str(value)
        found.append((name, value))
    return tuple(found)


def _own_param(layer: Any) -> Any:
    """The message with the parameters of a layer's type; None where it has none."""
    wanted = f"{layer.type.lower()}param"
    for descriptor in layer.DESCRIPTOR.fields:
        if descriptor.name.replace("_", "") == wanted:
            return getattr(layer, descriptor.name)
    return None


class Keys:
    """Keys as numbers, the same for both nets."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def number(self, key: Hashable) -> int:
        """The number of a key; a new one where it is new."""
        return self._numbers.setdefault(key, len(self._numbers))


class Side:
    """One of the nets: its layers, and the key of every blob that has one.

    Attributes:
        flow: the net.
        items: its layers with their shapes.
        weighted: those with parameters, by name.
        settings: what each layer does, by name.
        keys: blob -> number of its key.
    """

    def __init__(self, flow: InferenceGraph, shapes: Mapping[str, Shape]) -> None:
        self.flow = flow
        self.items = flow.shaped(shapes)
        for item in self.items:
            if any(channels(top) > MOST_CHANNELS for top in item.tops):
                name = printable(item.layer.name)
                raise NetError(
                    f"{printable(flow.source)}: layer '{name}' has more channels than can be"
                    f" followed ({MOST_CHANNELS})"
                )
        self.weighted = {item.layer.name: item for item in self.items if item.blobs}
        self.settings = {item.layer.name: settings_of(item) for item in self.items}
        self.keys: dict[str, int] = {}

    def reads(self, item: LayerShapes) -> tuple[Hashable, ...]:
        """The keys of what a layer reads; where its order does not matter, sorted."""
        layer = item.layer
        keys = [self.keys[name] for name in layer.bottom]
        if layer.type == "Eltwise":
            coefficients = list(layer.eltwise_param.coeff) or [1.0] * len(keys)
            return tuple(sorted(zip(keys, coefficients, strict=True)))
        return tuple(sorted(keys) if behaviour(item) == "join" else keys)
