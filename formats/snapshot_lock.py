"""A lock on a snapshot_prefix: two trainings with one would replace each other's snapshots.

It is an flock on a file beside the snapshots. The kernel releases it when its process ends, however
that ends, so that a file left by a killed process locks nothing.
"""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError
from ..text import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_OWNER_LIMIT = 300  # bytes of a process id and a host name


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
        self._write_owner()

    @property
    def is_held(self) -> bool:
        """Whether the lock is held, so that no other training has the prefix."""
        return self._descriptor is not None

    def _write_owner(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):  # another user's file
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, f"{os.getpid()} {platform.node()}\n".encode())

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
    if fcntl is None:
        os.close(descriptor)
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = _owner(descriptor)
        os.close(descriptor)
        raise OutputError(
            f"{printable(prefix)}: {owner} is training with this snapshot_prefix; wait for it, stop"
            " it, or change snapshot_prefix"
        ) from None
    except OSError:  # such as NFS without its lock service
        os.close(descriptor)
        return False
    return True


def _owner(descriptor: int) -> str:
    """Return who holds the lock, in words."""
    text = os.read(descriptor, _OWNER_LIMIT).decode(errors="replace")
    match = re.fullmatch(r"([0-9]{1,10}) (.*)\n", text)
    if match is None:
        return "another process"
    there = "" if match[2] == platform.node() else f" on {printable(match[2])}"
    return f"process {match[1]}{there}"


def _is_file(descriptor: int, path: Path) -> bool:
    """Decide whether an open file is still the one of that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False
