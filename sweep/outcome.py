"""What came of a run: its scores and costs, or why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import FormatError
from ..formats.files import read_bytes, write_files
from ..json_form import dumps, from_json, loads
from ..text import printable

OUTCOME = "outcome.json"
FORMAT = 1
LIMIT = 1 << 20  # bytes


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        measures: name -> value; scores as `top1` and as `STEP.top1`.
        failed: why it failed; None if it did not.
        seconds: that its last start took.
        sqgen: the version that ran.
        format: of the file.
    """

    measures: Mapping[str, float] = field(default_factory=dict)
    failed: str | None = None
    seconds: float = 0.0
    sqgen: str = ""
    format: int = FORMAT


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write the outcome of the run in a folder."""
    write_files({folder / OUTCOME: dumps(outcome).encode()}, force=True)


def read_outcome(folder: Path) -> Outcome | None:
    """Return the outcome of the run in a folder; None: it has not ended.

    Raises:
        FormatError: the file is damaged, or of another version.
    """
    path = folder / OUTCOME
    if not path.exists():
        return None
    try:
        found = from_json(Outcome, loads(read_bytes(path, LIMIT, "the outcome of a run")))
    except ValueError as error:
        shown, why = printable(str(path)), printable(str(error), 80)
        raise FormatError(f"{shown}: damaged ({why}); remove it to run that again") from None
    if found.format != FORMAT:
        raise FormatError(f"{printable(str(path))}: is of format {found.format}, not {FORMAT}")
    return found
