"""Read the nets and weights that a command takes, and print their warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import warn

if TYPE_CHECKING:
    from ..exchange.weight_file import WeightFile
    from ..nets.definition import NetDefinition


def read_weights(path: str) -> WeightFile:
    """Read weights of any format; print the notes on them."""
    from ..exchange.weight_file import read_weights

    file = read_weights(path)
    warn(*file.notes)
    return file


def read_net(path: str) -> NetDefinition:
    """Read a net; print its warnings."""
    from ..nets.definition import read_net

    net = read_net(path)
    warn(*net.warnings)
    return net
