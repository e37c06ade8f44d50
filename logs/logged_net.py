"""What the nets that Caffe prints in a log tell of its outputs: top-k, losses, batch, classes."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any, NamedTuple

from ..errors import FormatError
from ..formats import prototxt
from ..formats.schema import SolverParameter
from ..nets.data_layers import declared_batch_size
from ..nets.definition import parse_net
from .result import LOSS, OTHER, TOP1, TOP_K


class LoggedNet(NamedTuple):
    """A net of the log.

    Attributes:
        name: its name.
        phase: `TRAIN` or `TEST`.
        top_k: output -> k, of Accuracy layers.
        losses: outputs of loss layers.
        batch: images in a batch, where a data layer says.
        classes: filters of the last layer that has any.
        digest: of its layers, but for those that read data.
    """

    name: str
    phase: str
    top_k: dict[str, int]
    losses: frozenset[str]
    batch: int | None
    classes: int | None
    digest: str


@lru_cache(maxsize=16)
def read_logged_net(text: str) -> LoggedNet | None:
    """The net of a dump; None where it can't be read (cut, or mixed with other lines)."""
    try:
        param = parse_net(_own_lines(text)).param
    except FormatError:
        return None
    layers = list(param.layer)
    losses = [layer for layer in layers if layer.type.endswith("Loss") or any(layer.loss_weight)]
    filters = [
        count
        for layer in layers
        if (count := layer.convolution_param.num_output or layer.inner_product_param.num_output)
    ]
    return LoggedNet(
        param.name,
        "TEST" if param.state.phase else "TRAIN",
        {
            layer.top[0]: layer.accuracy_param.top_k
            for layer in layers
            if layer.type == "Accuracy" and layer.top
        },
        frozenset(top for layer in losses for top in layer.top),
        next(filter(None, map(declared_batch_size, layers)), None),
        filters[-1] if filters else None,
        _digest(layers),
    )


@lru_cache(maxsize=1)
def _field_names() -> frozenset[str]:
    messages = SolverParameter.DESCRIPTOR.file.message_types_by_name.values()
    return frozenset(field.name for message in messages for field in message.fields)


def _own_lines(text: str) -> str:
    """A dump without the lines that somebody else wrote into it."""
    words = ((line, re.split(r"[ :]", line.strip(), maxsplit=1)[0]) for line in text.split("\n"))
    return "\n".join(line for line, word in words if word in _field_names() or word == "}")


def _digest(layers: list[Any]) -> str:
    """The same for nets that compute the same layers, wherever their data lies."""
    digest = hashlib.sha256()
    for layer in layers:
        part = layer
        if not layer.bottom:  # where its data lies is another question than how it is taken
            part = type(layer)(transform_param=layer.transform_param)
            part.transform_param.ClearField("mean_file")
        digest.update(part.SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]


def read_logged_solver(text: str) -> Any:
    """The SolverParameter of a dump; None where it can't be read."""
    solver = SolverParameter()
    try:
        prototxt.parse(_own_lines(text), solver, "solver")
    except FormatError:
        return None
    return solver


def role_of(name: str, weighted: bool, net: LoggedNet | None) -> tuple[str, int | None, str]:
    """(role, k, where that is from) of an output."""
    if net is not None and name in net.top_k:
        k = net.top_k[name]
        return (TOP1 if k == 1 else TOP_K), k, "net"
    if weighted or (net is not None and name in net.losses):
        return LOSS, None, "net"
    if net is not None:
        return OTHER, None, "net"  # the net says that it is neither
    lower = name.lower()
    if re.search(r"err(?:or)?s?(?![a-z])", lower):
        return OTHER, None, "name"
    found = re.search(r"(?<![a-z])(?:top|acc(?:uracy)?)[-_@ /]*([0-9]{1,6})|@([0-9]{1,6})", lower)
    if found:
        k = int(found[1] or found[2])
        return (TOP1 if k == 1 else TOP_K), k, "name"
    if "loss" in lower:
        return LOSS, None, "name"
    if re.search(r"(?<![a-z])acc(?:uracy)?(?![a-z])", lower):
        return TOP1, 1, "name"
    return OTHER, None, "name"
