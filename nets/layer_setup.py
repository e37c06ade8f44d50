"""Set up the layers of a phase: insert splits, give them shapes, decide the backward pass.

This is Net::Init (src/caffe/net.cpp) without the parameters' values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..formats.schema import LayerParameter, ParamSpec
from ..text import printable
from .insert_splits import insert_splits
from .layer_types import AUTOMATIC, LAYER_TYPES, Blob, Shape
from .shapes import NetShapes


@dataclass
class WiredLayer:
    """A layer of a net, set up.

    Attributes:
        param: its LayerParameter, completed as LayerSetUp completes those of losses and BatchNorm.
        tops: names, with those that Caffe adds to a loss layer.
        top_shapes, blobs: from the layer type's shape rule (nets/layer_types.py).
        loss_weights: one per top.
        bottom_needs: whether each bottom needs a gradient.
        needs_backward: whether the layer takes part in the backward pass.
    """

    param: LayerParameter
    bottoms: list[str]
    tops: list[str]
    bottom_shapes: list[Shape]
    top_shapes: list[Shape]
    blobs: list[Blob]
    loss_weights: list[float]
    bottom_needs: list[bool] = field(default_factory=list)
    needs_backward: bool = False

    @property
    def name(self) -> str:
        """The name in the prototxt."""
        return self.param.name

    @property
    def type(self) -> str:
        """The type in the prototxt."""
        return self.param.type

    def spec(self, index: int) -> ParamSpec:
        """Return the ParamSpec of a parameter blob; Caffe's default where the prototxt has none."""
        return self.param.param[index] if index < len(self.param.param) else ParamSpec()


def set_up_layers(layers: list[LayerParameter], shapes: NetShapes) -> list[WiredLayer]:
    """Insert splits, give every layer its shapes, and decide what takes part in the backward pass.

    Args:
        layers: of a phase.
        shapes: theirs, without problems.
    """
    blob_shapes = dict(shapes.blobs)
    inferred = iter(shapes.layers)
    wired = []
    for param in insert_splits(layers):
        inserted = param.type == "Split" and len(param.bottom) == 1
        if inserted and param.top[0] not in shapes.blobs:
            tops, blobs = [blob_shapes[param.bottom[0]]] * len(param.top), []
        else:
            item = next(inferred)
            tops, blobs = list(item.tops), list(item.blobs)
        layer = _set_up(param, tops, blobs, [blob_shapes[name] for name in param.bottom])
        blob_shapes.update(zip(layer.tops, layer.top_shapes, strict=True))
        wired.append(layer)
    _propagate_needs(wired)
    _drop_unneeded(wired)
    return wired


def _set_up(
    param: LayerParameter, tops: list[Shape], blobs: list[Blob], bottoms: list[Shape]
) -> WiredLayer:
    layer_type = LAYER_TYPES[param.type]
    names = list(param.top)
    names += [AUTOMATIC] * (layer_type.automatic_tops - len(names))
    tops = (tops + [()] * layer_type.automatic_tops)[: len(names)]
    if layer_type.automatic_tops and not param.loss_weight:
        param.loss_weight.extend([1.0] * len(names))  # LossLayer::LayerSetUp
    weights = list(param.loss_weight) or [0.0] * len(names)
    if param.type == "BatchNorm":
        while len(param.param) < len(blobs):  # BatchNormLayer::LayerSetUp
            param.param.add().lr_mult = 0
    return WiredLayer(param, list(param.bottom), names, bottoms, tops, blobs, weights)


def blocked_gradient(layer: WiredLayer) -> str:
    """Return why a layer can't pass on the gradient of a bottom, at which Caffe ends a training.

    Empty where it can, or no loss needs it.
    """
    kind, count = LAYER_TYPES[layer.type], len(layer.bottoms)
    constant = [i % count for i in kind.undifferentiable if i < count]
    needed = [i for i in constant if layer.needs_backward and layer.bottom_needs[i]]
    if not needed:
        return ""
    downs = (f"propagate_down: {str(i not in constant).lower()}" for i in range(count))
    scored = any(layer.loss_weights) and not kind.automatic_tops
    hint = "take its loss_weight out" if scored else f"give it {' '.join(downs)}"
    return (
        f"layer '{printable(layer.name)}': {layer.type} has no gradient for its bottom"
        f" '{printable(layer.bottoms[needed[0]])}', which depends on learned parameters; {hint}"
    )


def _propagate_needs(layers: list[WiredLayer]) -> None:
    """From the inputs up: what depends on a learned parameter needs a gradient."""
    needs: dict[str, bool] = {}
    for layer in layers:
        layer.bottom_needs = [needs[name] for name in layer.bottoms]
        if layer.param.propagate_down:
            layer.bottom_needs = list(layer.param.propagate_down)
        layer.needs_backward = any(needs[name] for name in layer.bottoms) or any(
            layer.spec(index).lr_mult != 0 for index in range(len(layer.blobs))
        )
        for name in layer.tops:
            needs[name] = layer.needs_backward or (name in layer.bottoms and needs[name])


def _drop_unneeded(layers: list[WiredLayer]) -> None:
    """From the losses down: what no loss depends on, or no gradient reaches, needs none."""
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for layer in reversed(layers):
        contributes = any(
            weight or name in under_loss
            for name, weight in zip(layer.tops, layer.loss_weights, strict=True)
        )
        if layer.needs_backward and all(name in skipped for name in layer.tops):
            layer.needs_backward = False
            layer.bottom_needs = [False] * len(layer.bottoms)
        if not contributes:
            layer.needs_backward = False
            layer.bottom_needs = [False] * len(layer.bottoms)
        for name, needed in zip(layer.bottoms, layer.bottom_needs, strict=True):
            if contributes:
                under_loss.add(name)
            if not needed:
                skipped.add(name)
