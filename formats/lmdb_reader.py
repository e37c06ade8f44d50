"""Read Caffe's LMDBs: folders with a `data.mdb`, whose records are in the order of their keys.

The file is read with pread, not mapped: a file that is truncated while it is mapped ends the
process with SIGBUS. Its branch pages are checked when it opens, all others as they are read. There
is no lock file, so that the folder may be read-only; the lmdb package is not needed.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from ..errors import FormatError
from ..text import printable
from .files import check_stand_in, error_reason
from .lmdb_pages import (
    BRANCH_FLAG,
    HEADER,
    LEAF_FLAG,
    MAX_DEPTH,
    META_SIZE,
    Meta,
    Overflow,
    PageError,
    child,
    key,
    may_be_meta,
    node_count,
    node_offsets,
    overflow_pages,
    overflow_value,
    parse_meta,
    values,
)
from .near_path import lmdbs_inside, missing_hint

DATA_FILE = "data.mdb"
LABELS_FILE = "labels.txt"  # names of the classes, which sqgen data create writes beside it
READ_BYTES = 1 << 18  # of neighbouring values that are read together
_CLOSED = -1
_WRONG_COUNT = "wrong number of records"


class _DataFile:
    """An open `data.mdb`, read by offset from any thread."""

    def __init__(self, path: Path) -> None:
        self.shown = printable(str(path))
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        return os.fstat(self._descriptor).st_size

    def read_some(self, start: int, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, start)
        with self._lock:  # Windows
            os.lseek(self._descriptor, start, os.SEEK_SET)
            return os.read(self._descriptor, size)

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes.

        Raises:
            FormatError: they are not there, or can't be read.
        """
        try:
            data = self.read_some(start, size)
        except (OSError, OverflowError) as error:
            raise FormatError(f"{self.shown}: {error_reason(error)}") from None
        if len(data) < size:
            raise self.truncated(f"{start + size:,}")
        return data

    def truncated(self, needed: str) -> FormatError:
        """Return the error of a file that is too short."""
        return FormatError(
            f"{self.shown}: truncated: has {self.size:,} bytes and needs {needed}; copy or make"
            " the LMDB again"
        )

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Turn a PageError of the block into a FormatError that names the file."""
        try:
            yield
        except PageError as error:
            raise FormatError(f"{self.shown}: damaged ({error}); make the LMDB again") from None


class LmdbReader:
    """An open LMDB, also a context manager; `open_lmdb` makes it.

    Attributes:
        path: the folder, as passed to `open_lmdb`.
        entries: the number of records, at least 1.
    """

    def __init__(self, path: str, data: Path) -> None:
        self.path = path
        self._file = _DataFile(data)
        try:
            with self._file.checked():
                self._meta = _read_meta(self._file)
                self._leaves = self._find_leaves()
        except BaseException:
            self.close()
            raise
        self.entries = self._meta.entries
        self._run_pages = READ_BYTES // self._meta.page_size
        self._ends: list[int] = []  # number of records up to and with each leaf, once needed

    def __repr__(self) -> str:
        return f"LmdbReader({printable(self.path)}: {self.entries} records)"

    def values(self, start: int = 0) -> Iterator[memoryview]:
        """Yield the values from record number `start` (from 0) to the last, in the order of keys.

        Does not read the values before `start`. Run an iterator in one thread only.

        Args:
            start: the number of the first record; from `entries` on, there are none.

        Raises:
            FormatError: the file is damaged, or was truncated since it was opened.
        """
        if start < self.entries:
            with self._file.checked():
                yield from self._values(start)

    def keys(self) -> Iterator[bytes]:
        """Yield the keys of all records in order, without reading their values.

        Raises:
            FormatError: the file is damaged, or was truncated since it was opened.
        """
        with self._file.checked():
            for leaf in self._leaves:
                page, offsets = self._leaf(leaf)
                yield from (key(page, offset) for offset in offsets)

    def _values(self, start: int) -> Iterator[memoryview]:
        first, skipped = self._find(start) if start else (0, 0)
        count, previous = start, b""
        for leaf in self._leaves[first:]:
            page, offsets = self._leaf(leaf)
            lowest = key(page, offsets[0])
            if lowest <= previous and not self._meta.flags:  # else the order is another one
                raise PageError(f"page {leaf} has keys out of order")
            previous = lowest
            count += len(offsets) - skipped
            if count > self.entries:
                break
            yield from self._leaf_values(page, offsets[skipped:])
            skipped = 0
        if count != self.entries:
            raise PageError(_WRONG_COUNT)

    def printable_key(self, number: int) -> str:
        """Return the key of record `number` (from 0) for messages.

        Raises:
            FormatError: the file is damaged, or was truncated since it was opened.
        """
        with self._file.checked():
            first, index = self._find(number)
            page, offsets = self._leaf(self._leaves[first])
            return printable(os.fsdecode(key(page, offsets[index])))

    def _page(self, number: int) -> bytes:
        if number > self._meta.last_page:
            raise PageError(f"page {number} of {self._meta.last_page + 1}")
        return self._file.read(number * self._meta.page_size, self._meta.page_size)

    def _leaf(self, number: int) -> tuple[bytes, tuple[int, ...]]:
        page = self._page(number)
        return page, node_offsets(page, number, LEAF_FLAG)

    def _find_leaves(self) -> list[int]:
        """Return the leaf pages in the order of their keys, from the branch pages alone."""
        level = [self._meta.root]
        seen = set(level)
        for _ in range(self._meta.depth - 1):
            children: list[int] = []
            for number in level:
                page = self._page(number)
                offsets = node_offsets(page, number, BRANCH_FLAG)
                children += [child(page, offset) for offset in offsets]
                if len(seen) + len(children) > self._meta.last_page + 1:
                    raise PageError("more pages in its tree than in the file")
            level, pages = children, len(seen) + len(children)
            seen.update(children)
            if len(seen) != pages:
                raise PageError("a page twice in its tree")
        return level

    def _find(self, number: int) -> tuple[int, int]:
        """Return the leaf, by its place among the leaves, and the index in it of a record."""
        if not self._ends:
            counts = (node_count(self._page(leaf), leaf, LEAF_FLAG) for leaf in self._leaves)
            self._ends = list(accumulate(counts))
        if self._ends[-1] != self.entries:
            raise PageError(_WRONG_COUNT)
        leaf = bisect_right(self._ends, number)
        return leaf, number - (self._ends[leaf - 1] if leaf else 0)

    def _leaf_values(self, page: bytes, offsets: Sequence[int]) -> Iterator[memoryview]:
        """Yield values of a leaf page; read neighbours among the overflow pages together."""
        run: list[Overflow] = []
        end, limit = 0, 0  # the page behind the run, and the last that it may reach
        for value in values(page, offsets):
            if not isinstance(value, Overflow):
                if run:
                    yield from self._read_run(run)
                    run = []
                yield value
                continue
            after = value.page + overflow_pages(value.size, self._meta.page_size)
            if run and (value.page != end or after > limit):
                yield from self._read_run(run)
                run = []
            if not run:
                limit = value.page + self._run_pages
            run.append(value)
            end = after
        if run:
            yield from self._read_run(run)

    def _read_run(self, run: list[Overflow]) -> Iterator[memoryview]:
        """Yield the values of neighbouring overflow pages."""
        page_size, first, last = self._meta.page_size, run[0], run[-1]
        start, size = first.page * page_size, (last.page - first.page) * page_size
        size += HEADER + last.size
        if start + size > (self._meta.last_page + 1) * page_size:
            raise PageError(f"a value behind its {self._meta.last_page + 1} pages")
        if size > READ_BYTES:  # alone: don't read so much if its size is damaged
            overflow_value(self._file.read(start, HEADER), 0, first, page_size)
        pages = self._file.read(start, size)
        for value in run:
            yield overflow_value(pages, (value.page - first.page) * page_size, value, page_size)

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        self._file.close()

    def __enter__(self) -> LmdbReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _read_meta(file: _DataFile) -> Meta:
    """Return the valid meta page, after checking the size of the file."""
    first = _meta_page(file, 0)
    second = _meta_page(file, first.page_size)
    meta = second if second.transaction > first.transaction else first
    needed = (meta.last_page + 1) * meta.page_size
    if file.size < needed:
        raise file.truncated(f"{needed:,}")
    if not meta.entries:
        raise FormatError(f"{file.shown}: holds no records; make the LMDB again")
    if not 0 < meta.depth <= MAX_DEPTH:
        raise PageError(f"a tree of {meta.depth} levels")
    return meta


def _meta_page(file: _DataFile, start: int) -> Meta:
    page = file.read_some(start, META_SIZE)
    check_stand_in(page, file.shown, "an LMDB")
    if len(page) < META_SIZE and may_be_meta(page):
        raise file.truncated("two pages at least")
    return parse_meta(page, file.shown)


def open_lmdb(path: str | os.PathLike[str]) -> LmdbReader:
    """Open the LMDB in folder `path`, read-only and without a lock.

    Raises:
        FormatError: there is no LMDB, or a LEVELDB, or one that is truncated, empty or damaged.
    """
    name = os.fspath(path)
    shown = printable(name)
    try:
        return LmdbReader(name, _data_file(Path(name), shown))
    except (OSError, ValueError) as error:
        reason = error_reason(error)
        raise FormatError(f"{shown}: {reason}; check the name and who may read it") from None


def is_lmdb(path: str) -> bool:
    """Return whether a path is a folder with the file of an LMDB."""
    return os.path.isfile(Path(path) / DATA_FILE)


def _data_file(folder: Path, shown: str) -> Path:
    if not folder.exists():
        hint = missing_hint(folder, "give the folder of an LMDB")
        raise FormatError(f"{shown}: no such folder{hint}")
    if not folder.is_dir():
        raise FormatError(f"{shown}: is a file; give the folder of an LMDB (with {DATA_FILE})")
    data = folder / DATA_FILE
    if os.path.isfile(data):
        return data
    if os.path.exists(folder / "CURRENT") or any(folder.glob("MANIFEST-*")):
        raise FormatError(f"{shown}: is a LEVELDB; convert it to LMDB as docs/data.md shows")
    hint = lmdbs_inside(folder, DATA_FILE) or "; give the folder of an LMDB"
    raise FormatError(f"{shown}: no {DATA_FILE} in it{hint}")
