"""Nets of Ristretto for other programs: the plain nets that have the same weights."""

from __future__ import annotations

from dataclasses import replace

from ..formats.ristretto import RISTRETTO_TYPES, plain_type
from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition


def unquantized(net: NetDefinition) -> tuple[NetDefinition, list[str]]:
    """Return a net whose layers of Ristretto are those that they quantize, and their names."""
    names = [layer.name for layer in net.param.layer if layer.type in RISTRETTO_TYPES]
    if not names:
        return net, []
    origins = [net.origin(layer) for layer in net.param.layer]
    param = NetParameter()
    param.CopyFrom(net.param)
    for layer in param.layer:
        if layer.type in RISTRETTO_TYPES:
            layer.type = plain_type(layer.type)
            layer.ClearField("quantization_param")
    return replace(net, param=param, origins=origins), names
