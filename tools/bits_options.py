"""Options of a run whose layers are quantized, in simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option("--quantize", metavar="FILE", help="simulate layers in the bits of this file"),
    click.option("--bits", type=int, metavar="N", help="bits of all other layers' weights"),
    click.option(
        "--activation-bits", type=int, metavar="N", help="bits of what all other layers read"
    ),
)


def bits_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `quantize`, `bits` and `activation_bits` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
