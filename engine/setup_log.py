"""What Caffe logs while it sets up a net (Net::Init, src/caffe/net.cpp)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from ..formats.prototxt import debug_text
from ..formats.schema import PHASES, LayerParameter, NetParameter, NetStateRule
from ..nets.definition import NetDefinition
from ..text import number_text
from . import glog
from .wiring import WiredLayer, Wiring

# Losses that create a Softmax of their name, as a Scale creates a Bias.
_WITH_SOFTMAX = ("SoftmaxWithLoss", "InfogainLoss")
FLOAT_BYTES = 4  # of Caffe's build, which its "Memory required" counts


class SourceLog(NamedTuple):
    """What Caffe logs of a data layer: (text, file:line) when it creates and sets up the layer."""

    created: list[tuple[str, str]]
    set_up: list[tuple[str, str]]


def log_net_parameters(
    net: NetDefinition, layers: Sequence[LayerParameter], phase: str, of_flags: bool
) -> None:
    """Log the net with these layers as prototxt, as Caffe does before it builds it.

    Args:
        net: the net.
        layers: those of the phase.
        phase: `TRAIN` or `TEST`.
        of_flags: whether level and stages come from the flags, whose defaults are logged too.
    """
    param = NetParameter()
    param.CopyFrom(net.param)
    param.ClearField("layer")
    param.layer.extend(layers)
    param.state.phase = PHASES[phase]
    if of_flags or net.level:
        param.state.level = net.level
    param.state.stage[:] = sorted(net.stages) or ([""] if of_flags else [])
    glog.info("Initializing net from parameters: ", "net.cpp:53", body=debug_text(param))


def log_exclusions(net: NetDefinition, phase: str) -> None:
    """Log each rule that the state of the net does not meet (Net::FilterNet, StateMeetsRule)."""
    for layer in net.param.layer:
        for rule in layer.include or layer.exclude:
            broken = _broken_rule(rule, PHASES[phase], net)
            if broken is None:
                break
            text, place = broken
            glog.info(f"{text} specified by a rule in layer {layer.name}", place)


def _broken_rule(rule: NetStateRule, phase: int, net: NetDefinition) -> tuple[str, str] | None:
    """Return what breaks a rule, with Caffe's place; None where nothing does."""
    if rule.HasField("phase") and rule.phase != phase:
        text = f"The NetState phase ({phase}) differed from the phase ({rule.phase})"
        return text, "net.cpp:296"
    if rule.HasField("min_level") and net.level < rule.min_level:
        text = f"The NetState level ({net.level}) is above the min_level ({rule.min_level})"
        return text, "net.cpp:306"
    if rule.HasField("max_level") and net.level > rule.max_level:
        text = f"The NetState level ({net.level}) is above the max_level ({rule.max_level})"
        return text, "net.cpp:316"
    for stage in rule.stage:
        if stage not in net.stages:
            return f"The NetState did not contain stage '{stage}'", "net.cpp:332"
    for stage in rule.not_stage:
        if stage in net.stages:
            return f"The NetState contained a not_stage '{stage}'", "net.cpp:347"
    return None


def log_wiring(wiring: Wiring, sources: Mapping[str, SourceLog]) -> None:
    """Log each layer's blobs and the memory so far, then the backward needs and the outputs.

    Args:
        wiring: the net.
        sources: name of a data layer -> what it logs.
    """
    elements = 0
    for layer in wiring.layers:
        _log_layer(layer, sources.get(layer.name, SourceLog([], [])))
        elements += sum(map(prod, layer.top_shapes))
        glog.info(f"Memory required for data: {elements * FLOAT_BYTES}", "net.cpp:139")
    for layer in reversed(wiring.layers):
        if layer.needs_backward:
            glog.info(f"{layer.name} needs backward computation.", "net.cpp:200")
        else:
            glog.info(f"{layer.name} does not need backward computation.", "net.cpp:202")
    for name in wiring.outputs:
        glog.info(f"This network produces output {name}", "net.cpp:244")


def _log_layer(layer: WiredLayer, source: SourceLog) -> None:
    glog.info(f"Creating layer {layer.name}", "layer_factory.hpp:77")
    for line in source.created:
        glog.info(*line)
    glog.info(f"Creating Layer {layer.name}", "net.cpp:86")
    for name in layer.bottoms:
        glog.info(f"{layer.name} <- {name}", "net.cpp:408")
    for index, name in enumerate(layer.tops):
        if index < len(layer.bottoms) and name == layer.bottoms[index]:
            glog.info(f"{layer.name} -> {name} (in-place)", "net.cpp:369")
        else:
            glog.info(f"{layer.name} -> {name}", "net.cpp:382")
    for line in source.set_up:
        glog.info(*line)
    if layer.type in _WITH_SOFTMAX or (layer.type == "Scale" and layer.param.scale_param.bias_term):
        glog.info(f"Creating layer {layer.name}", "layer_factory.hpp:77")
    glog.info(f"Setting up {layer.name}", "net.cpp:124")
    for shape, weight in zip(layer.top_shapes, layer.loss_weights, strict=True):
        glog.info(f"Top shape: {glog.format_shape(shape)}", "net.cpp:131")
        if weight:
            glog.info(f"    with loss weight {number_text(weight)}", "net.cpp:134")
