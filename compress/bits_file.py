"""Bits of layers in a TOML file, such as `"fire2/expand3x3" = 3`."""

from __future__ import annotations

from collections.abc import Mapping
from glob import escape

from ..errors import FormatError
from ..formats import toml
from ..text import printable

MINIMUM_BITS, MAXIMUM_BITS = 2, 8
_EXAMPLE = '"fire2/expand3x3" = 3'


def read_bits(path: str) -> tuple[tuple[str, int], ...]:
    """Read (shell pattern of layer names, bits); the first that matches a layer applies.

    Raises:
        FormatError: the file can't be read, or has anything else.
    """
    rules = toml.read_rules(path, "bits", _EXAMPLE)
    for pattern, bits in rules.items():
        is_whole = isinstance(bits, int) and not isinstance(bits, bool)
        if not is_whole or not MINIMUM_BITS <= bits <= MAXIMUM_BITS:
            raise FormatError(
                f"{printable(path)}: '{printable(pattern, 60)}' takes bits, {MINIMUM_BITS} to"
                f" {MAXIMUM_BITS}; write {_EXAMPLE}"
            )
    return tuple(rules.items())


def format_bits(bits: Mapping[str, int], header: str = "") -> str:
    """Return the TOML that `read_bits` reads.

    Args:
        bits: of each layer, by name.
        header: lines of comment.
    """
    import tomli_w

    return header + tomli_w.dumps({escape(name): number for name, number in bits.items()})
