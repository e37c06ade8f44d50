"""Suggest a path that is there where one is not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from ..text import first_few, printable

ENTRIES = 10_000  # of a folder, at most, that are compared with a name
CUTOFF = 0.75  # how alike two names must be, from 0 to 1
ENDING_CUTOFF = 0.85  # and two endings: .prototx for .prototxt, but not .npy for .npz


def missing_hint(
    path: str | os.PathLike[str],
    otherwise: str,
    is_right: Callable[[str], bool] = os.path.exists,
) -> str:
    """Return `; did you mean 'X'?` for the nearest path that is there, else `; OTHERWISE`.

    Args:
        path: the missing one.
        otherwise: what to do.
        is_right: whether a path is of the kind that is needed, such as `os.path.isdir`.
    """
    near = near_path(path)
    if near and is_right(near):
        return f"; did you mean '{printable(near)}'?"
    return f"; {otherwise}"


def near_path(path: str | os.PathLike[str]) -> str:
    """Return the path that is there and most like a missing one; an empty string without any.

    Each missing name is replaced by the one most like it in the same folder, of nearly the same
    ending and with the same numbers: another iteration is another file.
    """
    missing = Path(path)
    if "\0" in str(missing) or not missing.name:
        return ""
    place = Path(missing.anchor)
    for part in missing.relative_to(missing.anchor).parts:
        if not os.path.exists(place / part):
            part = _closest(part, place)
            if not part:
                return ""
        place /= part
    return str(place)


def _closest(name: str, folder: Path) -> str:
    import difflib  # slow to import, and only errors need it

    stem, ending, numbers = _split(name)
    found: dict[str, tuple[float, str]] = {}  # stem -> likeness of the ending, name
    for entry in islice(_entries(folder), ENTRIES):
        other, its_ending, its_numbers = _split(entry)
        likeness = difflib.SequenceMatcher(None, its_ending, ending).ratio()
        if its_numbers == numbers and likeness >= ENDING_CUTOFF:
            found[other] = max(found.get(other, (0.0, "")), (likeness, entry))
    match = difflib.get_close_matches(stem, found, n=1, cutoff=CUTOFF)
    return found[match[0]][1] if match else ""


def _split(name: str) -> tuple[str, str, list[str]]:
    """Return the stem of a name, its ending, and the numbers, which no slip changes."""
    path = Path(name.lower())
    return path.stem, path.suffix, re.findall(r"\d+", path.name)


def _entries(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except OSError:
        return


def lmdbs_inside(folder: Path, data_file: str) -> str:
    """Return `; did you mean ...?` for the LMDBs in a folder that is none itself, or nothing."""
    names = sorted(islice(_entries(folder), ENTRIES))
    found = [str(folder / name) for name in names if os.path.isfile(folder / name / data_file)]
    if not found:
        return ""
    if len(found) == 1:
        return f"; did you mean '{printable(found[0])}'?"
    return f"; in it are the LMDBs {first_few(found)}"
