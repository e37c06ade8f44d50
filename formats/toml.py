"""Parse TOML files; errors name the file and the line."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import FormatError
from ..text import printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_DOTS = 1000  # in a line: tomllib takes quadratic memory for a key of very many parts


def parse(data: bytes, source: str) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        FormatError: the bytes are not TOML.
    """
    if any(line.count(b".") > _MAX_DOTS for line in data.split(b"\n")):
        raise FormatError(f"{printable(source)}: not a TOML file: nested too deeply")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise FormatError(f"{printable(source)}: not a TOML file: nested too deeply") from None
    except ValueError as error:  # bad UTF-8, bad TOML, a number of thousands of digits
        reason = printable(str(error), 200)
        raise FormatError(f"{printable(source)}: not a TOML file: {reason}") from None
