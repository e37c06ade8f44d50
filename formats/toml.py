"""TOML in, with the file and line of what is wrong."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import FormatError
from ..text import printable

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
        return tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise FormatError(f"{printable(source)}: not a TOML file: nested too deeply") from None
    except ValueError as error:  # of decoding, of TOML, of a number of thousands of digits
        reason = printable(str(error), 200)
        raise FormatError(f"{printable(source)}: not a TOML file: {reason}") from None
