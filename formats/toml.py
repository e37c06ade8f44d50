"""Read TOML files; errors name the file and the line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from ..errors import FormatError
from ..text import printable
from .files import read_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_RULES_LIMIT = 1 << 20  # bytes
_MAX_PATTERN = 1000  # characters: fnmatch takes quadratic time for very many brackets
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


def read_rules(path: str, name: str, example: str) -> dict[str, Any]:
    """Read rules for layers: pattern of their names -> a value, in the order of the file.

    Args:
        path: a TOML file of `PATTERN = VALUE`.
        name: of the values, in the plural.
        example: of a rule.

    Raises:
        FormatError: the file can't be read or parsed, has no rules, or one is too long.
    """
    return parse_rules(read_bytes(path, _RULES_LIMIT, f"a table of {name}"), path, name, example)


def parse_rules(data: bytes, source: str, name: str, example: str) -> dict[str, Any]:
    """Parse the content of such a file; `source` names it in messages.

    Raises:
        FormatError: as `read_rules`.
    """
    shown = printable(source)
    table = parse(data, source)
    if not table:
        raise FormatError(f"{shown}: has no {name}; write {example}")
    check_patterns(table, shown)
    return table


def check_patterns(patterns: Iterable[str], where: str) -> None:
    """Check that patterns of layers' names, which stand at `where`, are not too long.

    Raises:
        FormatError: one is.
    """
    for pattern in patterns:
        if len(pattern) > _MAX_PATTERN:
            raise FormatError(f"{where}: '{printable(pattern, 60)}' is too long for a pattern")
