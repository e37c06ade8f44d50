"""Catch what image codecs print, and find the image that it is about.

libpng and libjpeg print to C's `stderr`, and name no file; OpenCV can't tell them otherwise. File
descriptor 2 must stay as it is: logs and reports of crashes go there, from all threads. But in
glibc, `stderr` is a variable. While images are decoded, it is a file in memory; when that grows,
the image is decoded once more, alone, to see whether the message is its own. Without glibc, codecs
print.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

T = TypeVar("T")

TEXT_LIMIT = 1 << 16  # bytes of messages about an image
_CREATION = threading.Lock()
_UNBUFFERED = 2  # _IONBF of stdio.h


def catch_messages(decode: Callable[[], T]) -> tuple[T, str]:
    """Return the result of `decode`, and what codecs printed in it.

    Args:
        decode: decodes an image, and is called a second time if codecs printed anything.
    """
    catcher = _catcher()
    return (decode(), "") if catcher is None else catcher.run(decode)


def _catcher() -> _Catcher | None:
    """Return the one of this process: two would take C's `stderr` from each other."""
    with _CREATION:  # threads that are first together would each make one
        return _make_catcher()


@cache
def _make_catcher() -> _Catcher | None:
    try:
        library = ctypes.CDLL(None)
        is_glibc = hasattr(library, "gnu_get_libc_version")
        return _Catcher(library) if is_glibc and hasattr(os, "memfd_create") else None
    except (OSError, TypeError, ValueError):  # no such library, file in memory or variable
        return None


class _Catcher:
    """Points C's `stderr` at a file in memory while images are decoded."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._stderr = ctypes.c_void_p.in_dll(library, "stderr")
        self._original = self._stderr.value
        self._descriptor = os.memfd_create("codec messages")
        library.fdopen.restype = ctypes.c_void_p
        self._file = ctypes.c_void_p(library.fdopen(self._descriptor, b"a"))
        library.setvbuf(self._file, None, _UNBUFFERED, 0)
        self._changed = threading.Condition()
        self._running = 0  # decodes that share the file
        self._is_exclusive = False  # whether one has it alone, or waits for that

    def run(self, decode: Callable[[], T]) -> tuple[T, str]:
        """See `catch_messages`."""
        self._enter()
        try:
            before = self._size()
            result = decode()
            if self._size() == before:
                return result, ""
        finally:
            self._leave()
        with self._alone():
            os.ftruncate(self._descriptor, 0)
            result = decode()
            text = os.pread(self._descriptor, TEXT_LIMIT, 0)
            os.ftruncate(self._descriptor, 0)
        return result, text.decode("utf-8", "replace")

    def _size(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_END)

    def _enter(self) -> None:
        with self._changed:
            while self._is_exclusive:
                self._changed.wait()
            self._running += 1
            if self._running == 1:
                self._stderr.value = self._file.value

    def _leave(self) -> None:
        with self._changed:
            self._running -= 1
            if not self._running:
                self._stderr.value = self._original
                self._changed.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_exclusive)
            self._is_exclusive = True
            self._changed.wait_for(lambda: not self._running)
            self._stderr.value = self._file.value
        try:
            yield
        finally:
            with self._changed:
                self._stderr.value = self._original
                self._is_exclusive = False
                self._changed.notify_all()
