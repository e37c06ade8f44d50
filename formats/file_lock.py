"""Locks on files, which the kernel releases when their process ends, however that ends.

A file that a killed process left behind therefore locks nothing. Where there are no such locks, as
on Windows and on some NFS, `lock_file` says so.
"""

from __future__ import annotations

import os
import platform
import re
import stat
from contextlib import suppress
from pathlib import Path

from ..text import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_OWNER_LIMIT = 300  # bytes of a process id and a host name


def lock_file(descriptor: int) -> bool:
    """Lock an open file; return whether its file system can.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # such as NFS without its lock service
        return False
    return True


def write_owner(descriptor: int) -> None:
    """Write this process into the file of its lock."""
    with suppress(OSError):  # another user's file, or a full disk
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {platform.node()}\n".encode())


def read_owner(descriptor: int) -> str:
    """Return who holds the lock of a file, in words."""
    text = os.read(descriptor, _OWNER_LIMIT).decode(errors="replace")
    match = re.fullmatch(r"([0-9]{1,10}) (.*)\n", text)
    if match is None:
        return "another process"
    there = "" if match[2] == platform.node() else f" on {printable(match[2])}"
    return f"process {match[1]}{there}"


def find_owner(path: Path) -> str | None:
    """Return who holds the lock of a file, in words.

    Empty where nobody does; None where nothing tells: no such file, or no locks.
    """
    if fcntl is None:
        return None
    # What a stranger put there may be a link or a pipe, which must not block.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except BlockingIOError:
        return read_owner(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
