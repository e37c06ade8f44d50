"""Read the files that a command is given, and print what is to be known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import warn

if TYPE_CHECKING:
    from ..exchange.weight_file import WeightFile
    from ..nets.definition import NetDefinition


def read_weights(path: str) -> WeightFile:
    """Read weights of any format."""
    from ..exchange.weight_file import read_weights

    file = read_weights(path)
    warn(*file.notes)
    return file


def read_net(path: str) -> NetDefinition:
    """Read a net."""
    from ..nets.definition import read_net

    net = read_net(path)
    warn(*net.warnings)
    return net
