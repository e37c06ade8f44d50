"""Place bypasses around Fire modules.

SqueezeNet's section 6: `simple` puts an identity around each module whose input and output
have the same channels; `complex` also puts a 1x1 convolution around each other one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..errors import DesignError
from ..text import did_you_mean, printable
from .fire import Fire

IDENTITY = "identity"
CONV = "conv"
WORDS = ("none", "simple", "complex")
_ITEM = re.compile(r"(?:fire)?(\d{1,4})(?::(\w+))?")


def parse(spec: str) -> dict[int, str]:
    """Parse a list such as `3,5,7,9` or `2:conv,3,8:conv`; the default kind is identity.

    Returns:
        Module -> kind of bypass.

    Raises:
        DesignError: the text is not a list of modules, or has a module twice.
    """
    placed: dict[int, str] = {}
    for item in spec.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise DesignError(
                f"--bypass {printable(spec)}: '{printable(item.strip())}' is not a module;"
                f" write none, simple, complex, or modules such as 3,5,7,9 or 2:conv,3"
                f"{did_you_mean(item.strip(), WORDS)}"
            )
        module, kind = int(match[1]), match[2] or IDENTITY
        if kind not in (IDENTITY, CONV):
            raise DesignError(
                f"--bypass {printable(spec)}: a bypass is identity or conv, not '{kind}'"
                f"{did_you_mean(kind, (IDENTITY, CONV))}"
            )
        if module in placed:
            raise DesignError(f"--bypass {printable(spec)}: fire{module} is named twice")
        placed[module] = kind
    return placed


def normalize(spec: str) -> str:
    """Return the canonical spelling: `none`, `simple`, `complex` or a sorted list."""
    word = spec.strip().lower()
    if word in WORDS:
        return word
    return spell(parse(word))


def spell(placed: Mapping[int, str]) -> str:
    """Return module -> kind of bypass as a sorted list such as `2:conv,3`, or `none`."""
    items = sorted(placed.items())
    words = [str(module) + (f":{CONV}" if kind == CONV else "") for module, kind in items]
    return ",".join(words) or "none"


def place(spec: str, fires: Sequence[Fire]) -> dict[int, str]:
    """Return module -> kind of bypass for a normalized placement.

    Raises:
        DesignError: a module does not exist, or an identity does not fit its channels.
    """
    if spec == "none":
        return {}
    if spec in WORDS:
        kinds = {f.module: IDENTITY if f.inputs == f.outputs else CONV for f in fires}
        return {m: k for m, k in kinds.items() if k == IDENTITY or spec == "complex"}
    by_module = {fire.module: fire for fire in fires}
    placed = parse(spec)
    for module, kind in placed.items():
        fire = by_module.get(module)
        if fire is None:
            raise DesignError(
                f"--bypass {spec}: there is no fire{module};"
                f" this net has fire2 to fire{fires[-1].module}"
            )
        if kind == IDENTITY and fire.inputs != fire.outputs:
            raise DesignError(
                f"--bypass {spec}: fire{module} has {fire.inputs} input and {fire.outputs} output"
                f" channels, so an identity does not fit; use {module}:conv"
            )
    return placed
