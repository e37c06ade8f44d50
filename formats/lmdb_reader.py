"""Reading Caffe's LMDBs: a folder with `data.mdb`, its records in the order of their keys.

The file is checked before LMDB opens it (`lmdb_pages`), read without a lock file, so that a folder
nobody may write to will do, and opened once however many layers read it, which LMDB demands.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import FormatError
from ..extras import required
from ..text import printable
from .datum import parse_datum
from .files import describe
from .lmdb_pages import Meta, check, leaf_with

DATA_FILE = "data.mdb"
# A handful of records is stepped over faster than the tree is walked.
STEP_LIMIT = 64

__all__ = ["LmdbReader", "lmdb_package", "open_lmdb", "parse_datum"]


def lmdb_package() -> Any:
    """The lmdb module, which is an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    with required("lmdb", "an LMDB"):
        import lmdb
    return lmdb


class _Environments:
    """The open environments, by device and inode of their data file, with their users counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, int], tuple[Any, int]] = {}

    def take(self, data: Path) -> tuple[tuple[int, int], Any]:
        status = data.stat()
        key = (status.st_dev, status.st_ino)
        with self._lock:
            env, users = self._open.get(key, (None, 0))
            if env is None:
                env = lmdb_package().open(str(data.parent), readonly=True, lock=False)
            self._open[key] = (env, users + 1)
        return key, env

    def give_back(self, key: tuple[int, int]) -> None:
        with self._lock:
            env, users = self._open.pop(key)
            if users > 1:
                self._open[key] = (env, users - 1)
            else:
                env.close()


_environments = _Environments()


class LmdbReader:
    """An open LMDB; made by `open_lmdb`, also a context manager.

    Attributes:
        path: the folder, as it was given.
        entries: the number of records, at least 1.
    """

    def __init__(self, path: str, data: Path, meta: Meta) -> None:
        self.path = path
        self.entries = meta.entries
        self._data = data
        self._meta = meta
        self._key, self._env = _environments.take(data)
        self._closed = False

    def __repr__(self) -> str:
        return f"LmdbFile({printable(self.path)}: {self.entries} records)"

    def values(self, start: int = 0, copy: bool = True) -> Iterator[bytes | memoryview]:
        """The values from record number `start` (from 0) to the last, in the order of the keys.

        Records before `start` are not read. An iterator belongs to the thread that runs it.

        Args:
            start: the number of the first record; from `entries` on, there is none.
            copy: whether each value is bytes of its own. Otherwise it is a view into the file,
                which costs nothing and **must not be touched after `close()`**.

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
            raise self._other_number()

    def _other_number(self) -> FormatError:
        shown = printable(self.path)
        return FormatError(f"{shown}: damaged (other records than it counts); make the LMDB again")

    def _move(self, cursor: Any, start: int) -> None:
        """Put the cursor on record `start`.

        py-lmdb touches all data of every record that a cursor passes, so passing many reads them.
        """
        passed = 0
        found = cursor.first()
        if start > STEP_LIMIT and not self._meta.flags:
            key, passed = leaf_with(str(self._data), printable(self.path), self._meta, start)
            found = cursor.set_key(key)
        for _ in range(start - passed):
            found = found and cursor.next()
        if not found:
            raise self._other_number()

    def close(self) -> None:
        """Unmap the file; views of its values are invalid from here on. Twice is no error."""
        if not self._closed:
            self._closed = True
            _environments.give_back(self._key)

    def __enter__(self) -> LmdbReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_lmdb(path: str | os.PathLike[str]) -> LmdbReader:
    """Open the LMDB in folder `path`, read-only and without its lock.

    Raises:
        FormatError: there is none, it is a LEVELDB, truncated, empty, damaged, or the `lmdb`
            package is missing; one line says what to do.
    """
    name = os.fspath(path)
    shown = printable(name)
    lmdb = lmdb_package()
    try:
        data = _data_file(Path(name), shown)
        return LmdbReader(name, data, check(str(data), printable(str(data))))
    except (OSError, ValueError) as error:
        reason = describe(error)
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
