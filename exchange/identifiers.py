"""Names that a program which writes a net as Python can use (X2Paddle; MMdnn)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..formats.schema import NetParameter
from ..nets.deploy_lint import is_identifier
from ..weights.net_arrays import Arrays


def identifier(name: str, also: str = "") -> str:
    """Return a name, if it is an identifier, or one like it.

    Args:
        name: of a net, a layer or a blob.
        also: other characters that it may have.
    """
    if is_identifier(name, also):
        return name
    plain = re.sub(rf"[^A-Za-z0-9_{re.escape(also)}]", "_", name)
    return plain if is_identifier(plain, also) else f"_{plain}"


def rename_layers(net: NetParameter, arrays: Arrays) -> Arrays:
    """Give the layers and blobs of a net names that X2Paddle can use; return the renamed arrays.

    Args:
        net: changed in place.
        arrays: name of a layer -> its parameter blobs.
    """
    layers = _unique_names(layer.name for layer in net.layer)
    blobs = _unique_names(name for layer in net.layer for name in layer.top)
    for layer in net.layer:
        layer.name = layers[layer.name]
        layer.bottom[:] = [blobs[name] for name in layer.bottom]
        layer.top[:] = [blobs[name] for name in layer.top]
    return {layers[name]: blobs for name, blobs in arrays.items()}


def _unique_names(names: Iterable[str]) -> dict[str, str]:
    """Return name -> identifier; X2Paddle has `_` for `/` and `-`, and none twice."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        new = identifier(name, "/-")
        while re.sub("[/-]", "_", new) in taken:
            new += "_"
        taken.add(re.sub("[/-]", "_", new))
        result[name] = new
    return result
