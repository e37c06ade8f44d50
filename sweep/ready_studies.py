"""The studies that sqgen ships, by name."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import FormatError
from ..text import did_you_mean, printable

FOLDER = Path(__file__).parent / "ready"


def ready_names() -> list[str]:
    """Return their names."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_study(name: str) -> Path:
    """Return the file of a study: a path, or the name of one that is shipped.

    Raises:
        FormatError: there is no such file.
    """
    path = Path(name)
    # A folder of that name may be that of the study.
    if os.path.isfile(path) or path.suffix or "/" in name:
        return path
    names = ready_names()
    if name not in names:
        hint = did_you_mean(name, names) or f"; there: {', '.join(names)}"
        raise FormatError(f"{printable(name)}: no such file, and no study of that name{hint}")
    return FOLDER / f"{name}.toml"
