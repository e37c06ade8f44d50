"""Set up a net: the layers of a phase (`nets/layer_setup.py`), its outputs and loss weights.

This is Net::Init (src/caffe/net.cpp) without the parameters' values; setup_log logs its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import NetError
from ..formats.fork_fields import COMPUTED
from ..formats.schema import LayerParameter
from ..nets.definition import NetDefinition
from ..nets.graph import build_graph
from ..nets.layer_setup import WiredLayer, blocked_gradient, set_up_layers
from ..nets.layer_types import AUTOMATIC, Shape
from ..nets.shapes import Problem, infer_shapes, stage_hint
from ..text import printable

__all__ = ["WiredLayer", "Wiring", "wire_net"]


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
    wired = set_up_layers(layers, shapes)
    blocked = next(filter(blocked_gradient, wired), None) if phase == "TRAIN" else None
    if blocked is not None:
        place = net.place(next(each for each in layers if each.name == blocked.name))
        raise NetError(f"{place}: {blocked_gradient(blocked)}")
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


def _outputs(layers: Sequence[WiredLayer]) -> list[str]:
    """Return the blobs that no layer reads, without the tops that Caffe adds to losses."""
    graph = build_graph(layers, lambda layer: (layer.bottoms, layer.tops, layer.loss_weights))
    return [name for name in graph.output_names() if name != AUTOMATIC]


def _force_backward(layers: list[WiredLayer]) -> None:
    for layer in layers:
        layer.needs_backward = True
        layer.bottom_needs = [True] * len(layer.bottoms)
