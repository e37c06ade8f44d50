"""The lock of a run folder: tells a run that goes on from one that was cut off."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..formats.file_lock import find_owner, lock_file, write_owner

LOCK = ".running"  # in the run folder


class RunLock:
    """Held from before the engine starts until the result is written.

    Holds nothing where the file system has no locks, or no room.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._descriptor: int | None = None
        # Locked before it has its name: who asks in between must not be refused the lock.
        temporary = folder / f"{LOCK}.{os.urandom(4).hex()}.tmp"
        with suppress(OSError):
            self._acquire(temporary)

    def _acquire(self, temporary: Path) -> None:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if lock_file(descriptor):
                write_owner(descriptor)
                temporary.rename(self._path)
                self._descriptor = descriptor
        finally:
            if self._descriptor is None:
                os.close(descriptor)
                temporary.unlink(missing_ok=True)

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._descriptor is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def find_runner(folder: Path) -> str | None:
    """Return who runs in a run folder, in words, such as `process 4711`.

    Empty if nobody does any more: the run was cut off. None where nothing tells: it ended by
    itself, is older than the lock, or its file system has no locks.
    """
    return find_owner(folder / LOCK)
