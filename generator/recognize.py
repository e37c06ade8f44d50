"""Find the design that builds a net: by the command in its header, or among the published ones."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from ..errors import SqgenError
from ..nets.definition import NetDefinition, parse_net
from .build import build
from .design import Design
from .layer_list import NET_PHASES, design_naming
from .naming import layer_name
from .options import design_of_words
from .presets import PRESETS, preset

_HEADER = re.compile(r"\A# sqgen build(.*)$", re.MULTILINE)


class BuiltNet(NamedTuple):
    """A design, and which of its nets it is: `trainval`, `train`, `val` or `deploy`."""

    design: Design
    net: str


def has_header(net: NetDefinition) -> bool:
    """Whether a net's text begins with the command that built it."""
    return _HEADER.search(net.text) is not None


def find_design(net: NetDefinition) -> BuiltNet | None:
    """Return the design that builds exactly this net, or None.

    A net that was edited is another than its header's command builds.
    """
    names = {layer.name for layer in net.param.layer}
    for design in _candidates(net):
        if layer_name(design_naming(design).squeeze, 2) not in names:
            continue  # spares building what it can't be
        for kind in _kinds(net):
            with suppress(SqgenError):
                if parse_net(build(design, kind)).param == net.param:
                    return BuiltNet(design, kind)
    return None


def _kinds(net: NetDefinition) -> tuple[str, ...]:
    """Return which of a design's nets it may be, by what feeds it."""
    if any(layer.type == "Input" for layer in net.param.layer):
        return ("deploy",)
    return tuple(kind for kind in NET_PHASES if kind != "deploy")


def _candidates(net: NetDefinition) -> Iterator[Design]:
    header = _HEADER.search(net.text)
    if header is not None:
        with suppress(SqgenError, ValueError):
            yield design_of_words(shlex.split(header[1]))
    for name in PRESETS:
        yield preset(name)
