"""The table of runs, read again only where a file changed."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..logs.read_result import LOG, RESULT, VERDICT
from ..runner.run_folder import TESTS
from ..runner.run_lock import LOCK, find_runner
from ..runner.subprocess_guard import STALL_TIMEOUT
from .places import LOG_FILE, MAX_PLACES, RUN, Place, find_places
from .run_row import CUT_OFF, NO_RESULT, OPEN, RUNNING, RunRow, read_row

_FILES = (RESULT, LOG, VERDICT, TESTS)
Stamp = tuple[tuple[int, int, int], ...]  # inode, time and size of each file


class _Known(NamedTuple):
    stamp: Stamp
    row: RunRow


class Changes(NamedTuple):
    """What changed in the table since an earlier version.

    Attributes:
        version: of the table now.
        rows: new and changed ones.
        gone: ids of those that are no longer there.
        cut: whether the folder has more than the table shows.
    """

    version: int
    rows: list[RunRow]
    gone: list[str]
    cut: bool


class Catalog:
    """The runs and logs of a folder, by id; safe to use from several threads.

    Args:
        folder: that of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._places: dict[str, Place] = {}
        self._version = 0
        self._shown: dict[str, tuple[int, RunRow | None]] = {}  # since which version, by id

    def changes(self, since: int) -> Changes:
        """Return what changed since a version, 0 for everything.

        Raises:
            FormatError: the folder can't be listed any more.
        """
        with self._lock:
            self._read()
            if since > self._version:  # of an earlier board with the same address
                since = 0
            newer = {key: row for key, (at, row) in self._shown.items() if at > since}
            rows = [row for row in newer.values() if row is not None]
            gone = [key for key, row in newer.items() if row is None]
            return Changes(self._version, rows, gone, len(self._places) >= MAX_PLACES)

    def _read(self) -> None:
        """Read what changed in the folder."""
        self._places = {place.id: place for place in find_places(self.folder)}
        rows: dict[str, RunRow | None] = {key: self._row(p) for key, p in self._places.items()}
        for gone in self._known.keys() - rows.keys():
            del self._known[gone]
        # What is gone stays as None, for those who still show it.
        rows = dict.fromkeys(self._shown) | rows
        changed = {key: row for key, row in rows.items() if self._shown.get(key, (0, 0))[1] != row}
        self._version += bool(changed)
        self._shown |= {key: (self._version, row) for key, row in changed.items()}

    def place(self, run_id: str) -> Place | None:
        """Return the place of an id, or None.

        Raises:
            FormatError: the folder can't be listed any more.
        """
        with self._lock:
            if run_id not in self._places:
                self._places = {place.id: place for place in find_places(self.folder)}
            return self._places.get(run_id)

    def row(self, place: Place) -> RunRow:
        """Return the row of one place."""
        with self._lock:
            return self._row(place)

    def _row(self, place: Place) -> RunRow:
        now = stamp(place)
        known = self._known.get(place.id)
        if known is None or known.stamp != now:
            known = self._known[place.id] = _Known(now, read_row(place))
        return _with_life(known.row, place, now)


def stamp(place: Place) -> Stamp:
    """Return what changes whenever a file of a run does."""
    if place.kind == LOG_FILE:
        paths = [place.path]
    else:
        paths = [place.path / name for name in _FILES if name in place.files]
    stamps = []
    for path in paths:
        try:
            status = os.lstat(path)
        except OSError:
            continue
        stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def _with_life(row: RunRow, place: Place, now: Stamp) -> RunRow:
    """Return a row with what no file's content says: whether its run goes on."""
    if place.kind == RUN and RESULT not in place.files and LOCK in place.files:
        runner = find_runner(place.path)
        if runner:
            return replace(row, state=RUNNING, runner=runner, seconds=None)
        if runner is not None and row.state in (OPEN, NO_RESULT):
            return replace(row, state=CUT_OFF)
    if row.state != OPEN:
        return row
    # Nothing tells who writes the log: what the runner calls silence is the end here.
    silence = time.time() - max(time_ns for _, time_ns, _ in now) / 1e9
    if silence < STALL_TIMEOUT:
        return replace(row, state=RUNNING, seconds=None)
    return replace(row, state=CUT_OFF)
