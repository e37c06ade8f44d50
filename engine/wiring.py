"""From a net's definition to its layers in order, wired, with what each must propagate.

What Net::Init does (src/caffe/net.cpp): layers filtered by state, splits inserted, blobs and
parameters counted, backward needs worked out from both ends, and a log line for each of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ..errors import NetError
from ..formats.prototxt import to_text
from ..formats.schema import PHASES, NetParameter, message_class
from ..nets.definition import NetDefinition, layer_is_in
from ..nets.layer_types import LAYER_TYPES, Blob, Shape
from ..nets.shapes import Problem, infer_shapes
from ..text import printable
from . import glog
from .insert_splits import insert_splits

AUTOMATIC = "(automatic)"  # the top of a loss layer that names none
FLOAT_BYTES = 4  # of Caffe's build, which its "Memory required" counts

_ParamSpec = message_class("ParamSpec")


@dataclass
class WiredLayer:
    """A layer of a net, set up.

    Attributes:
        param: its LayerParameter, in which loss layers and BatchNorm have what Caffe adds.
        tops: names, with the one that a loss layer is given.
        top_shapes, blobs: as formats/layers.py works them out.
        loss_weights: one a top.
        bottom_needs: whether a gradient goes down each bottom.
        needs_backward: whether the layer has any part in the backward pass.
    """

    param: Any
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
        """As in the prototxt."""
        return str(self.param.name)

    @property
    def type(self) -> str:
        """As in the prototxt."""
        return str(self.param.type)

    def spec(self, index: int) -> Any:
        """The ParamSpec of a parameter blob; Caffe's default where the prototxt has none."""
        return self.param.param[index] if index < len(self.param.param) else _ParamSpec()


@dataclass
class Wiring:
    """A net's layers in order; `outputs` are the blobs that nobody reads, sorted as Caffe does."""

    name: str
    layers: list[WiredLayer]
    outputs: list[str]
    loss_weights: dict[str, float]


def filtered(net: NetDefinition, phase: str) -> list[Any]:
    """The layers of a phase; says why each of the others is left out."""
    kept = []
    for layer in net.param.layer:
        if layer_is_in(layer, PHASES[phase], net.level, net.stages):
            kept.append(layer)
        else:
            _log_left_out(layer, PHASES[phase])
    return kept


def _log_left_out(layer: Any, phase: int) -> None:
    for rule in (*layer.include, *layer.exclude):
        if rule.HasField("phase") and rule.phase != phase:
            glog.info(
                f"The NetState phase ({phase}) differed from the phase ({rule.phase}) specified"
                f" by a rule in layer {layer.name}",
                "net.cpp:296",
            )


def log_parameters(net: NetDefinition, layers: Sequence[Any], phase: str) -> None:
    """The whole net as text, as Caffe shows it before it builds it."""
    shown = NetParameter()
    shown.CopyFrom(net.param)
    shown.ClearField("layer")
    shown.layer.extend(layers)
    shown.state.phase = PHASES[phase]
    shown.state.level = net.level
    del shown.state.stage[:]
    shown.state.stage.extend(sorted(net.stages) or [""])
    glog.info(f"Initializing net from parameters: \n{to_text(shown)}", "net.cpp:53")


def wire(
    net: NetDefinition, phase: str, known: Mapping[str, Sequence[Shape]], log: bool = True
) -> Wiring:
    """Build the layers of `phase`.

    Args:
        net: the net, in its state.
        phase: `TRAIN` or `TEST`.
        known: tops of layers that only the data tells, by the layer's name.
        log: whether to write what Caffe writes of each layer.

    Raises:
        NetError: what Caffe would refuse, with file:line and the layer's name.
    """
    for layer in net.param.layer:
        _check_rules(net, layer)
    layers = net.layers(phase)
    if not layers:
        raise NetError(f"{printable(net.source)}: no layers in phase {phase}; nothing to run")
    shapes = infer_shapes(net, phase, known=known)
    for problem in shapes.problems:
        if problem.rule == "image-size":
            where = f"{net.place(problem.layer)}: layer '{printable(problem.layer.name)}'"
            raise NetError(f"{where}: no data tells the size of its images; use the deploy net")
        hint = _made_elsewhere(net, problem, layers, phase)
        raise NetError(f"{net.place(problem.layer)}: {problem.message}{hint}")
    blob_shapes = dict(shapes.blobs)
    by_layer = iter(shapes.layers)
    wired = []
    for param in insert_splits(layers):
        split = param.type == "Split" and len(param.bottom) == 1
        if split and param.top[0] not in shapes.blobs:
            bottom = blob_shapes[param.bottom[0]]
            made, blobs = [bottom] * len(param.top), []
        else:
            item = next(by_layer)
            made, blobs = list(item.tops), list(item.blobs)
        layer = _set_up(param, made, blobs, [blob_shapes[name] for name in param.bottom])
        blob_shapes.update(zip(layer.tops, layer.top_shapes, strict=True))
        wired.append(layer)
    outputs = _outputs(wired)
    _propagate(wired, bool(net.param.force_backward))
    weights = {
        name: weight
        for layer in wired
        for name, weight in zip(layer.tops, layer.loss_weights, strict=True)
    }
    result = Wiring(net.param.name, wired, outputs, weights)
    if log:
        _log(result)
    return result


def _made_elsewhere(net: NetDefinition, problem: Problem, layers: Sequence[Any], phase: str) -> str:
    """Where a blob that is missing is made in another phase or state."""
    if problem.rule != "unknown-blob":
        return ""
    here = {name for layer in layers for name in layer.top}
    everywhere = {name for layer in net.param.layer for name in layer.top}
    missing = [n for n in problem.layer.bottom if n in everywhere and n not in here]
    return f" in phase {phase}; the net makes it in another phase or stage" if missing else ""


def _check_rules(net: NetDefinition, layer: Any) -> None:
    where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
    if layer.include and layer.exclude:  # Net::FilterNet
        raise NetError(f"{where}: has include and exclude rules; use one kind")
    downs, bottoms = len(layer.propagate_down), len(layer.bottom)
    if downs not in (0, bottoms):  # Net::Init
        raise NetError(f"{where}: has {bottoms} bottoms but {downs} propagate_down; give each one")


def _set_up(param: Any, tops: list[Shape], blobs: list[Blob], bottoms: list[Shape]) -> WiredLayer:
    kind = LAYER_TYPES[param.type]
    names = list(param.top)
    names += [AUTOMATIC] * (kind.automatic_tops - len(names))
    tops = (tops + [()] * kind.automatic_tops)[: len(names)]
    if kind.automatic_tops and not param.loss_weight:
        param.loss_weight.extend([1.0] * len(names))  # LossLayer::LayerSetUp
    weights = list(param.loss_weight) or [0.0] * len(names)
    if param.type == "BatchNorm":
        while len(param.param) < len(blobs):  # BatchNormLayer::LayerSetUp
            param.param.add().lr_mult = 0
    return WiredLayer(param, list(param.bottom), names, bottoms, tops, blobs, weights)


def _outputs(layers: list[WiredLayer]) -> list[str]:
    available: set[str] = set()
    for layer in layers:
        available -= set(layer.bottoms)
        available |= set(layer.tops) - {AUTOMATIC}
    return sorted(available, key=lambda name: name.encode())


def _propagate(layers: list[WiredLayer], force: bool) -> None:
    """Which layers and bottoms take part in the backward pass (Net::Init)."""
    needs: dict[str, bool] = {}
    for layer in layers:
        layer.bottom_needs = [needs[name] for name in layer.bottoms]
        if layer.param.propagate_down:
            layer.bottom_needs = [bool(down) for down in layer.param.propagate_down]
        layer.needs_backward = any(needs[name] for name in layer.bottoms) or any(
            layer.spec(index).lr_mult != 0 for index in range(len(layer.blobs))
        )
        for name in layer.tops:
            needs[name] = layer.needs_backward or (name in layer.bottoms and needs[name])
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
    if force:
        for layer in layers:
            layer.needs_backward = True
            layer.bottom_needs = [True] * len(layer.bottoms)


def _log(wiring: Wiring) -> None:
    memory = 0
    for layer in wiring.layers:
        glog.info(f"Creating layer {layer.name}", "layer_factory.hpp:77")
        glog.info(f"Creating Layer {layer.name}", "net.cpp:86")
        for name in layer.bottoms:
            glog.info(f"{layer.name} <- {name}", "net.cpp:408")
        for index, name in enumerate(layer.tops):
            if index < len(layer.bottoms) and name == layer.bottoms[index]:
                glog.info(f"{layer.name} -> {name} (in-place)", "net.cpp:369")
            else:
                glog.info(f"{layer.name} -> {name}", "net.cpp:382")
        glog.info(f"Setting up {layer.name}", "net.cpp:124")
        for shape, weight in zip(layer.top_shapes, layer.loss_weights, strict=True):
            glog.info(f"Top shape: {shape_string(shape)}", "net.cpp:131")
            if weight:
                glog.info(f"    with loss weight {glog.number(weight)}", "net.cpp:134")
            memory += prod(shape)
        glog.info(f"Memory required for data: {memory * FLOAT_BYTES}", "net.cpp:139")
    for layer in reversed(wiring.layers):
        if layer.needs_backward:
            glog.info(f"{layer.name} needs backward computation.", "net.cpp:200")
        else:
            glog.info(f"{layer.name} does not need backward computation.", "net.cpp:202")
    for name in wiring.outputs:
        glog.info(f"This network produces output {name}", "net.cpp:244")


def shape_string(shape: Shape) -> str:
    """A shape as Blob::shape_string writes it: `32 3 227 227 (4946784)`."""
    return "".join(f"{axis} " for axis in shape) + f"({prod(shape)})"


def last_readers(layers: Sequence[Sequence[str]]) -> list[list[str]]:
    """For each step's names read, those that no later step reads."""
    seen: set[str] = set()
    result: list[list[str]] = []
    for names in reversed(layers):
        result.append([name for name in dict.fromkeys(names) if name not in seen])
        seen.update(names)
    return result[::-1]
