"""The predictions that a test kept, which its result names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FormatError
from ..formats.files import BINARY_LIMIT, STDIN, read_bytes
from ..text import printable
from .result import LogResult

if TYPE_CHECKING:
    from ..formats.predictions import Predictions


def read_kept_predictions(result: LogResult, source: str = "") -> Predictions | None:
    """Return the predictions of a result; None where it kept none.

    Args:
        result: of a test.
        source: the run folder or file that the result was read from, beside which they may lie.

    Raises:
        FormatError: they are not where the result says, or others are in their place.
    """
    kept = result.run.get("predictions")
    if kept is None:
        return None
    file, digest = (kept.get(key) if isinstance(kept, dict) else None for key in ("file", "digest"))
    if not isinstance(file, str) or not isinstance(digest, str):
        raise FormatError(f"{printable(result.source)}: names no file of predictions, as it says")
    for path in _places(file, result, source):
        if os.path.isfile(path):
            data = read_bytes(path, BINARY_LIMIT, "a file of predictions")
            if sha256(data).hexdigest() == digest:
                from ..formats.predictions import decode_predictions  # imports NumPy

                return decode_predictions(data, printable(str(path)))
    raise FormatError(
        f"{printable(file)}: the predictions of the result are gone, or replaced by others; test"
        " again, with --predictions"
    )


def _places(file: str, result: LogResult, source: str) -> Iterator[Path]:
    """Yield where a file may be: as named, in the folder of the run, and beside the result."""
    folder = result.run.get("working_folder")
    yield (Path(folder) if isinstance(folder, str) else Path()) / file
    if source != STDIN:
        path = Path(source)
        yield (path if path.is_dir() else path.parent) / Path(file).name
