"""What `sqgen compress` measured, read from its JSON as a part of a report."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..formats.files import STDIN, display_name, read_bytes
from ..json_form import from_json, loads
from ..report.names import distinct_names
from ..report.page import Section
from ..report.report_page import numbered_block
from ..runner.run_folder import TESTS
from ..text import printable
from .encoded_sections import EncodedFile, encoded_sections
from .tradeoff import FORMAT, TABLE
from .tradeoff_sections import tradeoff_sections
from .tradeoff_table import Tradeoff

LIMIT = 1 << 26  # bytes of the JSON
WEIGHTS = 500  # that a report compares, at most
_HEAD = 1 << 12  # bytes that tell what it is


@dataclass(frozen=True)
class Compression:
    """What was measured of compressed weights.

    Attributes:
        source: as typed.
        plain: the JSON.
        sections: of a report.
    """

    source: str
    plain: dict[str, Any]
    sections: Sequence[Section]


def read_compression(source: str) -> Compression | None:
    """Read the JSON of `compress eval` or `compress encode`; None where a source is neither.

    Args:
        source: a file, or the run folder of `compress eval`.

    Raises:
        FormatError: it can't be read, or is damaged.
    """
    path = Path(source, TABLE) if os.path.isdir(source) else Path(source)
    if source == STDIN or not os.path.isfile(path):
        return None
    kind = _kind(path)
    if kind is None:
        return None
    shown = display_name(path)
    try:
        plain = loads(read_bytes(path, LIMIT, "what sqgen compress prints"))
        found = from_json(kind, plain)
        _check(found)
    except ValueError as error:
        reason = printable(str(error))
        raise FormatError(f"{shown}: is not what sqgen compress prints: {reason}") from None
    if isinstance(found, Tradeoff):
        return Compression(source, plain, tradeoff_sections(found))
    return Compression(source, plain, encoded_sections(found))


def read_stages(run: str) -> Compression | None:
    """Read what `compress train` measured of its stages, in its run folder; None of other runs.

    Links are not followed: a run may be a stranger's.

    Raises:
        FormatError: it can't be read, or is damaged.
    """
    table = Path(run, TESTS, TABLE)
    if table.is_symlink() or table.parent.is_symlink():
        return None
    found = read_compression(str(table))
    return None if found is None else replace(found, source=run)


def compression_sections(found: Sequence[Compression]) -> list[Section]:
    """Return the sections of all, with names that tell several apart."""
    if len(found) < 2:
        return [section for each in found for section in each.sections]
    names = distinct_names([each.source for each in found])
    return [
        Section(
            printable(f"{section.title}: {name}"),
            f"{section.id}-{number}",
            [numbered_block(block, number) for block in section.blocks],
        )
        for number, (name, each) in enumerate(zip(names, found, strict=True), 1)
        for section in each.sections
    ]


def _kind(path: Path) -> type[Tradeoff] | type[EncodedFile] | None:
    """Return what a file holds by the first bytes, as sqgen writes them."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if not head.lstrip().startswith(b"{"):
        return None
    if b'"points": [' in head:
        return Tradeoff
    return EncodedFile if b'"float_bytes": ' in head else None


def _check(found: Tradeoff | EncodedFile) -> None:
    """Refuse what no chart shows.

    Raises:
        ValueError: a number that is nan or infinite, a size below 1, or too many weights.
    """
    if found.format != FORMAT:
        raise ValueError(f"its format is {found.format}, and {FORMAT} is known")
    if not _is_finite(asdict(found)):
        raise ValueError("a number is nan or infinite")
    sizes = [p.bytes for p in found.points] if isinstance(found, Tradeoff) else [found.bytes]
    if not 0 < len(sizes) <= WEIGHTS or min(sizes) < 1:
        raise ValueError(f"it has no weights, more than {WEIGHTS}, or some without bytes")
    if isinstance(found, Tradeoff):
        _check_starts(found)


def _check_starts(table: Tradeoff) -> None:
    """Refuse a file that is retrained from one that isn't there.

    Raises:
        ValueError: there is one.
    """
    names = {point.name for point in table.points}
    for point in table.points:
        if point.retrained_from is not None and point.retrained_from not in names:
            raise ValueError(f"{point.name} is retrained from {point.retrained_from}: not there")


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
