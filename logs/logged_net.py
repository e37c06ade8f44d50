"""The nets that Caffe prints in a log: which outputs are accuracies and losses, batch, classes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ..errors import FormatError
from ..formats import prototxt
from ..formats.schema import LayerParameter, SolverParameter
from ..nets.data_layers import declared_batch_size
from ..nets.definition import parse_net
from .scores import LOSS, OTHER, TOP1, TOP_K


class LoggedNet(NamedTuple):
    """A net of the log.

    Attributes:
        name: its name.
        phase: `TRAIN` or `TEST`.
        top_k: output -> k, of Accuracy layers.
        losses: outputs of loss layers.
        batch: images in a batch, where a data layer sets it.
        classes: num_output of the last layer that has one.
        digest: of its layers, wherever their data lies.
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
    """Return the net of a dump; None where it can't be read (cut, or mixed with other lines)."""
    try:
        param = parse_net(_prototxt_lines(text)).param
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


class LoggedNets:
    """The nets of one run, read when they are first needed.

    `warn` receives a message where one of them can't be read.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._texts: list[str] = []
        self._nets: list[LoggedNet] | None = None

    def add(self, text: str) -> None:
        """Add a net as Caffe printed it."""
        self._texts.append(text)
        self._nets = None

    def read(self) -> list[LoggedNet]:
        """Return the nets, in the order of the log, without those that can't be read."""
        if self._nets is None:
            nets = [read_logged_net(text) for text in self._texts]
            if None in nets:
                self._warn("a net in the log can't be read; outputs go by their names")
            self._nets = [net for net in nets if net is not None]
        return self._nets

    def test_net(self, index: int) -> LoggedNet | None:
        """Return the TEST net of that number, if there is one."""
        nets = [net for net in self.read() if net.phase == "TEST"]
        return nets[index] if index < len(nets) else None


@lru_cache(maxsize=1)
def _field_names() -> frozenset[str]:
    messages = SolverParameter.DESCRIPTOR.file.message_types_by_name.values()
    return frozenset(field.name for message in messages for field in message.fields)


def _prototxt_lines(text: str) -> str:
    """Return a dump without the lines that other programs wrote into it."""
    words = ((line, re.split(r"[ :]", line.strip(), maxsplit=1)[0]) for line in text.split("\n"))
    return "\n".join(line for line, word in words if word in _field_names() or word == "}")


def _digest(layers: list[LayerParameter]) -> str:
    """Return a digest that is equal for equal layers, wherever their data lies."""
    digest = hashlib.sha256()
    for layer in layers:
        hashed = layer
        if not layer.bottom:  # a data layer: only its transform changes the net
            hashed = type(layer)(transform_param=layer.transform_param)
            hashed.transform_param.ClearField("mean_file")
        digest.update(hashed.SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]


def read_logged_solver(text: str) -> SolverParameter | None:
    """Return the SolverParameter of a dump; None where it can't be read."""
    solver = SolverParameter()
    try:
        prototxt.parse(_prototxt_lines(text), solver, "solver")
    except FormatError:
        return None
    return solver


def role_of(name: str, weighted: bool, net: LoggedNet | None) -> tuple[str, int | None, str]:
    """Return an output's role, its k, and whether the `net` or its `name` tells them."""
    if net is not None and name in net.top_k:
        k = net.top_k[name]
        return (TOP1 if k == 1 else TOP_K), k, "net"
    if weighted or (net is not None and name in net.losses):
        return LOSS, None, "net"
    if net is not None:
        return OTHER, None, "net"  # a layer of another type makes it
    lower = name.lower()
    if re.search(r"err(?:or)?s?(?![a-z])", lower):
        return OTHER, None, "name"
    match = re.search(r"(?<![a-z])(?:top|acc(?:uracy)?)[-_@ /]*([0-9]{1,6})|@([0-9]{1,6})", lower)
    if match:
        k = int(match[1] or match[2])
        return (TOP1 if k == 1 else TOP_K), k, "name"
    if "loss" in lower:
        return LOSS, None, "name"
    if re.search(r"(?<![a-z])acc(?:uracy)?(?![a-z])", lower):
        return TOP1, 1, "name"
    return OTHER, None, "name"
