"""A lock on a snapshot_prefix: two trainings with one would replace each other's snapshots.

The locked file (`file_lock.py`) lies beside the snapshots.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError
from ..text import printable
from .file_lock import lock_file, read_owner, write_owner


class SnapshotLock:
    """The lock of a snapshot_prefix.

    Holds nothing where there is no place to lock: a folder that is missing or read-only, whose
    snapshots fail on their own, and a file system without locks.

    Raises:
        OutputError: another training holds it.
    """

    def __init__(self, prefix: str) -> None:
        path = Path(prefix)
        self._path = path.with_name(f".{path.name}.sqgen-lock") if path.name else None
        self._descriptor: int | None = None
        while self._path is not None and self._descriptor is None:
            descriptor = _open(self._path)
            if descriptor is None or not _lock(descriptor, prefix):
                return
            if _is_file(descriptor, self._path):
                self._descriptor = descriptor
            else:
                os.close(descriptor)  # of a training that has just ended, and removed it
        if self._descriptor is not None:
            write_owner(self._descriptor)

    @property
    def is_held(self) -> bool:
        """Whether the lock is held, so that no other training has the prefix."""
        return self._descriptor is not None

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._descriptor is not None and self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> SnapshotLock:
        return self

    def __exit__(self, *details: object) -> None:
        self.release()


def _open(path: Path) -> int | None:
    """Open the lock's file, which another user may own; None where that is impossible."""
    flags = getattr(os, "O_NOFOLLOW", 0)
    for mode in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with suppress(OSError, ValueError):
            return os.open(path, mode | flags, 0o666)
    return None


def _lock(descriptor: int, prefix: str) -> bool:
    """Lock a file; return whether its file system can.

    Raises:
        OutputError: another process holds the lock.
    """
    try:
        locked = lock_file(descriptor)
    except BlockingIOError:
        owner = read_owner(descriptor)
        os.close(descriptor)
        raise OutputError(
            f"{printable(prefix)}: {owner} is training with this snapshot_prefix; wait for it, stop"
            " it, or change snapshot_prefix"
        ) from None
    if not locked:
        os.close(descriptor)
    return locked


def _is_file(descriptor: int, path: Path) -> bool:
    """Decide whether an open file is still the one of that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False
