"""What Caffe logs while it sets up a net (Net::Init, src/caffe/net.cpp)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..formats.prototxt import debug_text
from ..formats.schema import PHASES, LayerParameter, NetParameter
from ..nets.definition import NetDefinition, layer_is_in
from ..text import number_text
from . import glog
from .wiring import WiredLayer, Wiring

_WITH_SOFTMAX = ("SoftmaxWithLoss", "InfogainLoss")  # losses that create a Softmax of their name
FLOAT_BYTES = 4  # of Caffe's build, which its "Memory required" counts


def log_net_parameters(net: NetDefinition, layers: Sequence[LayerParameter], phase: str) -> None:
    """Log the net with these layers as prototxt, as Caffe does before it builds it."""
    param = NetParameter()
    param.CopyFrom(net.param)
    param.ClearField("layer")
    param.layer.extend(layers)
    param.state.phase = PHASES[phase]
    param.state.level = net.level
    del param.state.stage[:]
    param.state.stage.extend(sorted(net.stages) or [""])
    glog.info("Initializing net from parameters: ", "net.cpp:53", body=debug_text(param))


def log_exclusions(net: NetDefinition, phase: str) -> None:
    """Log why layers are left out of a phase (Net::FilterNet)."""
    state = PHASES[phase]
    for layer in net.param.layer:
        if layer_is_in(layer, state, net.level, net.stages):
            continue
        for rule in (*layer.include, *layer.exclude):
            if rule.HasField("phase") and rule.phase != state:
                glog.info(
                    f"The NetState phase ({state}) differed from the phase ({rule.phase}) specified"
                    f" by a rule in layer {layer.name}",
                    "net.cpp:296",
                )


def log_wiring(wiring: Wiring) -> None:
    """Log each layer's blobs and the memory so far, then the backward needs and the outputs."""
    elements = 0
    for layer in wiring.layers:
        _log_layer(layer)
        elements += sum(map(prod, layer.top_shapes))
        glog.info(f"Memory required for data: {elements * FLOAT_BYTES}", "net.cpp:139")
    for layer in reversed(wiring.layers):
        if layer.needs_backward:
            glog.info(f"{layer.name} needs backward computation.", "net.cpp:200")
        else:
            glog.info(f"{layer.name} does not need backward computation.", "net.cpp:202")
    for name in wiring.outputs:
        glog.info(f"This network produces output {name}", "net.cpp:244")


def _log_layer(layer: WiredLayer) -> None:
    glog.info(f"Creating layer {layer.name}", "layer_factory.hpp:77")
    glog.info(f"Creating Layer {layer.name}", "net.cpp:86")
    for name in layer.bottoms:
        glog.info(f"{layer.name} <- {name}", "net.cpp:408")
    for index, name in enumerate(layer.tops):
        if index < len(layer.bottoms) and name == layer.bottoms[index]:
            glog.info(f"{layer.name} -> {name} (in-place)", "net.cpp:369")
        else:
            glog.info(f"{layer.name} -> {name}", "net.cpp:382")
    if layer.type in _WITH_SOFTMAX:
        glog.info(f"Creating layer {layer.name}", "layer_factory.hpp:77")
    glog.info(f"Setting up {layer.name}", "net.cpp:124")
    for shape, weight in zip(layer.top_shapes, layer.loss_weights, strict=True):
        glog.info(f"Top shape: {glog.format_shape(shape)}", "net.cpp:131")
        if weight:
            glog.info(f"    with loss weight {number_text(weight)}", "net.cpp:134")
