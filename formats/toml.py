"""TOML in, with the file and line of what is wrong."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import FormatError, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parse(data: bytes, source: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        FormatError: it is not one.
    """
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(f"{printable(source)}: not a TOML file: {error}") from None
