"""A lock on a folder: of a study, or of one of its runs, as long as a process works in it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..errors import OutputError
from ..formats.file_lock import find_owner, lock_file, write_owner
from ..formats.files import error_reason
from ..text import printable

LOCK = ".running"
_INTERVAL = 0.2  # seconds between two tries


class FolderLock:
    """Holds the lock of a folder, which it makes; a context manager.

    Where the file system has no locks, it holds none.

    Args:
        folder: the folder.
        what: works there, for the message.
        patience: seconds that it waits for another process.

    Attributes:
        is_held: whether the file system has locks.

    Raises:
        OutputError: another process holds it, or the folder can't be made.
    """

    is_held: bool

    def __init__(self, folder: Path, what: str, patience: float = 0.0) -> None:
        shown, path = printable(str(folder)), folder / LOCK
        end = time.monotonic() + patience
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o666)
        except (OSError, ValueError) as error:
            raise OutputError(f"{shown}: can't write: {error_reason(error)}") from None
        while True:
            try:
                self.is_held = lock_file(self._descriptor)
                break
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(_INTERVAL)
                    continue
                os.close(self._descriptor)
                owner = find_owner(path) or "another process"
                raise OutputError(
                    f"{shown}: {owner} runs {what} there; wait, or give another folder"
                ) from None
        write_owner(self._descriptor)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *details: object) -> None:
        os.close(self._descriptor)


_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
