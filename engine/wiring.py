"""Set up a net's layers: filter by state, insert splits, infer shapes, decide backward needs.

This is Net::Init (src/caffe/net.cpp) without the parameters' values; setup_log logs its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import NetError
from ..formats.fork_fields import COMPUTED
from ..formats.schema import LayerParameter, ParamSpec
from ..nets.definition import NetDefinition
from ..nets.graph import build_graph
from ..nets.layer_types import AUTOMATIC, LAYER_TYPES, Blob, Shape
from ..nets.shapes import NetShapes, Problem, infer_shapes, stage_hint
from ..text import printable
from .insert_splits import insert_splits


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


@dataclass
class Wiring:
    """The layers of a net in order.

    Attributes:
        outputs: blobs that no layer reads, in Caffe's order.
        loss_weights: of every top, by name.
    """

    name: str
    layers: list[WiredLayer]
    outputs: list[str]
    loss_weights: dict[str, float]


def wire_net(net: NetDefinition, phase: str, known: Mapping[str, Sequence[Shape]]) -> Wiring:
    """Set up the layers of a phase.

    Args:
        net: the net, in its state.
        phase: `TRAIN` or `TEST`.
        known: layer name -> top shapes of layers whose data determines them.

    Raises:
        FormatError: a field of a fork changes what a layer computes.
        NetError: Caffe would refuse the net; names file:line and the layer.
    """
    for layer in net.param.layer:
        _check_rules(net, layer)
    layers = net.layers(phase)
    if not layers:
        raise NetError(f"{printable(net.source)}: no layers in phase {phase}; nothing to run")
    shapes = infer_shapes(net, phase, known=known)
    if shapes.problems:
        raise _shape_error(net, shapes.problems[0], layers, phase)
    net.require_caffe(phase, COMPUTED)
    wired = _set_up_layers(layers, shapes)
    _decide_backward(wired)
    if phase == "TRAIN":
        _check_differentiable(net, layers, wired)
    if net.param.force_backward:
        _force_backward(wired)
    weights = {
        name: weight
        for layer in wired
        for name, weight in zip(layer.tops, layer.loss_weights, strict=True)
    }
    return Wiring(net.param.name, wired, _outputs(wired), weights)


def _shape_error(
    net: NetDefinition, problem: Problem, layers: Sequence[LayerParameter], phase: str
) -> NetError:
    if problem.rule == "image-size":
        where = f"{net.place(problem.layer)}: layer '{printable(problem.layer.name)}'"
        return NetError(f"{where}: no data gives the size of its images; use the deploy net")
    hint = _hint_other_phase(net, problem, layers, phase)
    return NetError(f"{net.place(problem.layer)}: {problem.message}{hint}")


def _hint_other_phase(
    net: NetDefinition, problem: Problem, layers: Sequence[LayerParameter], phase: str
) -> str:
    """Return a hint if a missing blob exists in another phase or stage."""
    if problem.rule != "unknown-blob":
        return ""
    here = {name for layer in layers for name in layer.top}
    everywhere = {name for layer in net.param.layer for name in layer.top}
    missing = [n for n in problem.layer.bottom if n in everywhere and n not in here]
    if not missing:
        return ""
    return f" in phase {phase}{stage_hint(net) or '; it exists in another phase or stage'}"


def _check_rules(net: NetDefinition, layer: LayerParameter) -> None:
    where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
    if layer.include and layer.exclude:  # Net::FilterNet
        raise NetError(f"{where}: has include and exclude rules; use one kind")
    downs, bottoms = len(layer.propagate_down), len(layer.bottom)
    if downs not in (0, bottoms):  # Net::Init
        raise NetError(
            f"{where}: has {bottoms} bottoms but {downs} propagate_down; give one per bottom"
        )


def _set_up_layers(layers: list[LayerParameter], shapes: NetShapes) -> list[WiredLayer]:
    """Insert splits, and give every layer its shapes."""
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


def _outputs(layers: Sequence[WiredLayer]) -> list[str]:
    """Return the blobs that no layer reads, without the tops that Caffe adds to losses."""
    graph = build_graph(layers, lambda layer: (layer.bottoms, layer.tops, layer.loss_weights))
    return [name for name in graph.output_names() if name != AUTOMATIC]


def _decide_backward(layers: list[WiredLayer]) -> None:
    """Decide which layers and bottoms take part in the backward pass (Net::Init)."""
    _propagate_needs(layers)
    _drop_unneeded(layers)


def _force_backward(layers: list[WiredLayer]) -> None:
    for layer in layers:
        layer.needs_backward = True
        layer.bottom_needs = [True] * len(layer.bottoms)


def _check_differentiable(
    net: NetDefinition, layers: Sequence[LayerParameter], wired: Sequence[WiredLayer]
) -> None:
    """Refuse gradients that a layer can't pass on: there Caffe ends a training."""
    for layer in wired:
        kind, count = LAYER_TYPES[layer.type], len(layer.bottoms)
        constant = [i % count for i in kind.undifferentiable if i < count]
        needed = [i for i in constant if layer.needs_backward and layer.bottom_needs[i]]
        if not needed:
            continue
        downs = (f"propagate_down: {str(i not in constant).lower()}" for i in range(count))
        scored = any(layer.loss_weights) and not kind.automatic_tops
        hint = "take its loss_weight out" if scored else f"give it {' '.join(downs)}"
        place = net.place(next(each for each in layers if each.name == layer.name))
        raise NetError(
            f"{place}: layer '{printable(layer.name)}': {layer.type} has no gradient for its"
            f" bottom '{printable(layer.bottoms[needed[0]])}', which depends on learned"
            f" parameters; {hint}"
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
