"""What lies in the folder of a board: run folders, also those of studies, and logs.

Links are not followed: they may lead out of the folder, and what they lead to inside is listed
anyway.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import FormatError
from ..formats.files import error_reason, unreadable_folder
from ..formats.near_path import missing_hint
from ..logs.read_result import LOG, RESULT
from ..runner.run_folder import COMMAND
from ..text import printable

RUN, LOG_FILE, LINK, UNREADABLE = "run", "log", "link", "unreadable"
MAX_PLACES = 10_000
_LOG_NAME = re.compile(r"\.(?:log|INFO)(?:\.|$)")


class Place(NamedTuple):
    """A run folder or a log.

    Attributes:
        id: what the board's addresses call it; no part of a path.
        name: relative to the board's folder.
        path: its own.
        kind: `run`, `log`, `link`, or `unreadable`.
        files: names in a run folder.
    """

    id: str
    name: str
    path: Path
    kind: str
    files: frozenset[str] = frozenset()


def check_folder(folder: Path) -> None:
    """Check that a folder can be listed.

    Raises:
        FormatError: it can't.
    """
    name = printable(str(folder))
    try:
        with os.scandir(folder):
            pass
    except NotADirectoryError:
        raise FormatError(f"{name}: is no folder; give that of runs") from None
    except FileNotFoundError as error:
        hint = missing_hint(str(folder), "give the folder of runs", os.path.isdir)
        raise FormatError(f"{name}: {error_reason(error)}{hint}") from None
    except OSError as error:
        raise unreadable_folder(error) from None
    except ValueError as error:
        raise FormatError(f"{name}: {error_reason(error)}") from None


def find_places(folder: Path) -> list[Place]:
    """Return the runs and logs in a folder, at most `MAX_PLACES`; itself, if it is a run.

    Raises:
        FormatError: it can't be listed.
    """
    check_folder(folder)
    own = _run_files(folder)
    if own:
        return [_place(folder.resolve().name, folder, RUN, own)]
    found = []
    for place in _places_in(folder, ""):
        found.append(place)
        if len(found) == MAX_PLACES:
            break
    return found


def _places_in(folder: Path, above: str) -> Iterator[Place]:
    """Yield the places in a folder; `above` is the study's name if it is that of one."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name, path = f"{above}{entry.name}", Path(entry.path)
            if entry.is_symlink():
                if not above and not entry.name.startswith("."):
                    yield _place(name, path, LINK)
            elif entry.is_dir(follow_symlinks=False):
                yield from _places_of_folder(name, path, nested=bool(above))
            elif not above and _LOG_NAME.search(entry.name):
                yield _place(name, path, LOG_FILE)


def _places_of_folder(name: str, path: Path, nested: bool) -> Iterator[Place]:
    try:
        files = _run_files(path)
        if files:
            yield _place(name, path, RUN, files)
        elif not nested:
            yield from _places_in(path, f"{name}/")
    except OSError:
        yield _place(name, path, UNREADABLE)


def _run_files(folder: Path) -> frozenset[str]:
    """Return the names in a run folder; none where it is not one."""
    names = frozenset(os.listdir(folder))  # noqa: PTH208 - names alone, a tenth of the time
    return names if names & {LOG, RESULT, COMMAND} else frozenset()


def _place(name: str, path: Path, kind: str, files: frozenset[str] = frozenset()) -> Place:
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return Place(digest, name, path, kind, files)


def with_files(place: Place) -> Place:
    """Return a place with the names that are in its folder now."""
    if place.kind != RUN:
        return place
    try:
        return place._replace(files=frozenset(os.listdir(place.path)))  # noqa: PTH208
    except OSError:
        return place._replace(files=frozenset())


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading that is none of a link, a pipe or a device.

    Raises:
        OSError: it is, or can't be read.
    """
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("is no file")
    return file
