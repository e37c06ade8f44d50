"""Read Caffe's LMDBs: folders with a `data.mdb`, whose records are in the order of their keys.

`lmdb_pages` checks the file before LMDB opens it. There is no lock file, so that the folder may be
read-only. Readers of one file share an environment: LMDB may open a file only once in a process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..extras import required
from ..text import printable
from .files import error_reason
from .lmdb_pages import Meta, find_leaf, read_meta

DATA_FILE = "data.mdb"
STEP_LIMIT = 64  # up to here, stepping over records is faster than walking the tree


def lmdb_package() -> Any:
    """Import lmdb, which is an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    with required("lmdb", "an LMDB"):
        import lmdb
    return lmdb


class _Environments:
    """Open environments with their number of readers, by device and inode of the data file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, int], tuple[Any, int]] = {}

    def acquire(self, data: Path) -> tuple[tuple[int, int], Any]:
        """Return the key and the environment of a data file, opened if no reader has it."""
        status = data.stat()
        key = (status.st_dev, status.st_ino)
        with self._lock:
            env, readers = self._open.get(key, (None, 0))
            if env is None:
                env = lmdb_package().open(str(data.parent), readonly=True, lock=False)
            self._open[key] = (env, readers + 1)
        return key, env

    def release(self, key: tuple[int, int]) -> None:
        """Close the environment after its last reader."""
        with self._lock:
            env, readers = self._open.pop(key)
            if readers > 1:
                self._open[key] = (env, readers - 1)
            else:
                env.close()


_environments = _Environments()


class LmdbReader:
    """An open LMDB, also a context manager; `open_lmdb` makes it.

    Attributes:
        path: the folder, as passed to `open_lmdb`.
        entries: the number of records, at least 1.
    """

    def __init__(self, path: str, data: Path, meta: Meta) -> None:
        self.path = path
        self.entries = meta.entries
        self._data = data
        self._meta = meta
        self._key, self._env = _environments.acquire(data)
        self._closed = False

    def __repr__(self) -> str:
        return f"LmdbReader({printable(self.path)}: {self.entries} records)"

    def values(self, start: int = 0, copy: bool = True) -> Iterator[bytes | memoryview]:
        """Yield the values from record number `start` (from 0) to the last, in the order of keys.

        Does not read the records before `start`. Run an iterator in one thread only.

        Args:
            start: the number of the first record; from `entries` on, there are none.
            copy: whether to yield bytes. Otherwise yields views into the file, which cost nothing
                and **must not be used after `close()`**.

        Raises:
            FormatError: the tree of pages is damaged.
        """
        if start >= self.entries:
            return
        read = start
        try:
            with self._env.begin(buffers=not copy) as reading, reading.cursor() as cursor:
                self._move(cursor, start)
                for value in cursor.iternext(keys=False, values=True):
                    read += 1
                    yield value
        except lmdb_package().Error as error:
            raise FormatError(f"{printable(self.path)}: damaged ({error}); make it again") from None
        if read != self.entries:
            raise self._wrong_count()

    def _wrong_count(self) -> FormatError:
        shown = printable(self.path)
        return FormatError(f"{shown}: damaged (wrong number of records); make the LMDB again")

    def _move(self, cursor: Any, start: int) -> None:
        """Move the cursor to record `start`.

        py-lmdb touches all data of every record that a cursor passes, so passing many reads them.
        """
        number = 0
        exists = cursor.first()
        if start > STEP_LIMIT and not self._meta.flags:
            key, number = find_leaf(str(self._data), printable(self.path), self._meta, start)
            exists = cursor.set_key(key)
        for _ in range(start - number):
            exists = exists and cursor.next()
        if not exists:
            raise self._wrong_count()

    def close(self) -> None:
        """Unmap the file, which invalidates views of its values. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            _environments.release(self._key)

    def __enter__(self) -> LmdbReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_lmdb(path: str | os.PathLike[str]) -> LmdbReader:
    """Open the LMDB in folder `path`, read-only and without a lock.

    Raises:
        FormatError: there is no LMDB, or a LEVELDB, or one that is truncated, empty or damaged.
        MissingExtraError: the `lmdb` package is not installed.
    """
    name = os.fspath(path)
    shown = printable(name)
    lmdb = lmdb_package()
    try:
        data = _data_file(Path(name), shown)
        return LmdbReader(name, data, read_meta(str(data), printable(str(data))))
    except (OSError, ValueError) as error:
        reason = error_reason(error)
        raise FormatError(f"{shown}: {reason}; check the name and who may read it") from None
    except (lmdb.Error, MemoryError) as error:
        raise FormatError(f"{shown}: LMDB can't open it: {error}") from None


def _data_file(folder: Path, shown: str) -> Path:
    if not folder.exists():
        raise FormatError(f"{shown}: no such folder; give the folder of an LMDB")
    if not folder.is_dir():
        raise FormatError(f"{shown}: is a file; give the folder of an LMDB (with {DATA_FILE})")
    data = folder / DATA_FILE
    if data.is_file():
        return data
    if (folder / "CURRENT").exists() or any(folder.glob("MANIFEST-*")):
        raise FormatError(f"{shown}: is a LEVELDB, which sqgen can't read yet; convert it to LMDB")
    raise FormatError(f"{shown}: no {DATA_FILE} in it; give the folder of an LMDB")
