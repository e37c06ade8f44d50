"""Read result.json without its rows, which are nearly all of it.

`json_form.dumps` writes a line per item, indented by its depth, and a string has no line breaks:
the lines that begin and end a list of rows are found without parsing what is between.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import FormatError
from ..formats.files import error_reason
from ..json_form import loads
from ..logs.result import LogResult
from ..text import printable
from .places import open_file

LIMIT = 1 << 26  # bytes; 250,000 rows
_LISTS = (
    (b'\n      "train": [\n', b"\n      ]", b"\n        {"),
    (b'\n      "test": [\n', b"\n      ]", b"\n        {"),
    (b'\n  "batches": [\n', b"\n  ]", b"\n    {"),
    (b'\n  "layer_times": [\n', b"\n  ]", b"\n    {"),
)


def read_short_result(path: Path, with_rows: bool = False) -> LogResult:
    """Read a result with only the last row of each kind and segment, and the last layer.

    Args:
        path: of the result.
        with_rows: keep them all.

    Raises:
        FormatError: it is damaged, or larger than `LIMIT`.
    """
    try:
        with open_file(path) as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise FormatError(f"{path.name}: {error_reason(error)}") from None
    if len(data) > LIMIT:
        raise FormatError(f"{path.name}: is larger than {LIMIT >> 20} MiB")
    try:
        plain = loads(data if with_rows else _without_rows(data))
    except ValueError as error:
        raise FormatError(f"{path.name}: is damaged: {printable(str(error))}") from None
    if not isinstance(plain, dict):
        raise FormatError(f"{path.name}: is damaged: expected an object")
    try:
        return LogResult.from_dict(plain)
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from None


def _without_rows(data: bytes) -> bytes:
    for begin, end, item in _LISTS:
        data = _without_items(data, begin, end, item)
    return data


def _without_items(data: bytes, begin: bytes, end: bytes, item: bytes) -> bytes:
    """Leave out all items but the last of each list that `begin` begins."""
    kept, at = [], 0
    while (start := data.find(begin, at)) >= 0:
        stop = data.find(end, start)
        last = data.rfind(item, start, stop)
        if stop < 0 or last < 0:
            break
        kept.append(data[at : start + len(begin)])
        at = last
    return b"".join([*kept, data[at:]])
