"""Writing an LMDB whole or not at all.

Records go into a temporary folder beside the target, in batches of bounded memory. Only when all
are there, and on the disk, the folder gets its name. Whatever happens before leaves nothing.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import FormatError, OutputError
from ..text import printable
from .files import describe
from .lmdb_reader import DATA_FILE, lmdb_package

KEY_LIMIT = 511  # bytes of a key: MDB_MAXKEYSIZE of mdb.c
LOCK_FILE, LABELS_FILE = "lock.mdb", "labels.txt"
FILE_MODE = 0o664
_PAGES = 1 << 16  # bytes that a batch takes beside its values, at least
MAP_SIZE = 1 << 30  # bytes to begin with; the map grows as needed
# Small: while a batch is written, nobody hands out work.
BATCH_RECORDS, BATCH_BYTES = 1000, 4 << 20
REOPEN_BATCHES = 64  # pages of the map that were touched count as memory until it is let go


class LmdbWriter:
    """An LMDB under way. As a context manager it gets its name at the end, or is gone on an error.

    Attributes:
        path: the folder that it will be.
        records: put so far.
        size: bytes of their values.
    """

    def __init__(
        self, path: str | os.PathLike[str], force: bool = False, map_size: int = MAP_SIZE
    ) -> None:
        """Begin in a temporary folder; missing folders above are made.

        Args:
            path: the folder to make.
            force: replace an LMDB that is there; anything else is never replaced.
            map_size: bytes to begin with, doubled as often as needed.

        Raises:
            OutputError: something is there already, or it can't be written.
            FormatError: the lmdb package is missing.
        """
        lmdb = lmdb_package()
        self.path = Path(path)
        self.records = self.size = 0
        self._shown = printable(str(path))
        self._force = force
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        self._last = b""
        self._batches = 0
        self._env: Any = None
        check_target(self.path, force)
        # A link is followed, so that what it leads to is replaced.
        self._target = self.path.resolve() if self.path.is_symlink() else self.path
        self._temporary = self._beside("tmp")
        self._made_folders = [folder for folder in self._target.parents if not folder.exists()]
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir()
            self._open(map_size)
        except (OSError, lmdb.Error) as error:
            refused = self._unwritable(error)
            self._discard()
            raise refused from None
        except BaseException:  # a signal
            self._discard()
            raise

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record.

        Raises:
            OutputError: it can't be written.
            FormatError: a key that is empty, too long, or there already.
        """
        if not 0 < len(key) <= KEY_LIMIT:
            raise FormatError(f"{self._shown}: a key of {len(key)} bytes; LMDB takes {KEY_LIMIT}")
        self._pending.append((key, value))
        self._pending_bytes += len(value)
        self.records += 1
        self.size += len(value)
        if len(self._pending) >= BATCH_RECORDS or self._pending_bytes >= BATCH_BYTES:
            self._commit()

    def put_file(self, name: str, data: bytes) -> None:
        """Add a file beside the records, which LMDB and Caffe don't look at.

        Raises:
            OutputError: it can't be written.
        """
        try:
            with open(self._temporary / name, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    def seal(self) -> None:
        """Bring everything to the disk; nothing can be put after it. Twice is no error.

        Raises:
            OutputError: it can't be written.
        """
        if self._env is None:
            return
        self._commit()
        try:
            self._env.sync(True)
            self._close()
            self._make_lock_file()
            _sync_folder(self._temporary)
        except (OSError, lmdb_package().Error) as error:
            raise self._unwritable(error) from None

    def _commit(self) -> None:
        """Write what is pending; where the map is full, the whole batch again in a larger one."""
        lmdb = lmdb_package()
        try:
            while self._pending:
                try:
                    self._write(self._pending)
                except lmdb.MapFullError:
                    self._env.set_mapsize(2 * self._env.info()["map_size"])
                    continue
                self._last = max(self._last, *(key for key, _ in self._pending))
                self._pending, self._pending_bytes = [], 0
                self._batches += 1
                if self._batches % REOPEN_BATCHES == 0:
                    self._reopen()
        except (OSError, lmdb.Error) as error:
            raise self._unwritable(error) from None

    def _open(self, map_size: int) -> None:
        # Nobody needs the unfinished file: it is synced once, at the end. Nobody shares it either,
        # and a lock file is mapped: on a full disk, touching it ends the process (SIGBUS).
        self._env = lmdb_package().open(
            str(self._temporary),
            map_size=map_size,
            mode=FILE_MODE,
            sync=False,
            meminit=False,
            lock=False,
        )

    def _make_lock_file(self) -> None:
        """As LMDB makes it before it fills it: a reader that may not make files needs it there."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        os.close(os.open(self._temporary / LOCK_FILE, flags, FILE_MODE))

    def _reopen(self) -> None:
        """Let go of the map and map the file anew."""
        map_size = self._env.info()["map_size"]
        self._close()
        self._open(map_size)

    def _write(self, records: list[tuple[bytes, bytes]]) -> None:
        last = self._last
        with self._env.begin(write=True) as writing:
            for key, value in records:
                # Keys in order fill their pages; a page that is split stays half empty.
                if key > last:
                    writing.put(key, value, append=True)
                    last = key
                elif not writing.put(key, value, overwrite=False):
                    raise FormatError(f"{self._shown}: two records of key {_text(key)}")

    def _place(self) -> None:
        try:
            if os.path.lexists(self._target) and self._force:
                self._replace()
            else:
                check_target(self.path, False)
                # Where a folder with something in it came meanwhile, this fails.
                self._temporary.rename(self._target)
            _sync_folder(self._target.parent)
        except OSError as error:
            raise self._unwritable(error) from None

    def _replace(self) -> None:
        """Put the old one aside, and back if the new one can't take its place."""
        check_target(self.path, True)
        aside = self._beside("old")
        try:
            self._target.rename(aside)
            self._temporary.rename(self._target)
        except BaseException:
            if aside.exists() and not self._target.exists():
                aside.rename(self._target)
            raise
        finally:
            if self._target.exists():
                shutil.rmtree(aside, ignore_errors=True)

    def _beside(self, ending: str) -> Path:
        return self._target.with_name(f".{self._target.name}.{os.urandom(4).hex()}.{ending}")

    def _close(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def _discard(self) -> None:
        self._close()
        shutil.rmtree(self._temporary, ignore_errors=True)
        with suppress(OSError):  # the first that something is in, and those above it
            for folder in self._made_folders:
                folder.rmdir()

    def _unwritable(self, error: Exception) -> OutputError:
        reason = describe(error)
        if isinstance(error, lmdb_package().Error) and self._is_full(error):
            reason = "no space left on device"
        return OutputError(f"{self._shown}: can't write: {reason}; choose another place")

    def _is_full(self, error: Exception) -> bool:
        """Whether the disk is: a write that it cuts short is an input/output error to LMDB."""
        if isinstance(error, lmdb_package().DiskError):
            return True
        with suppress(OSError):
            return shutil.disk_usage(self._target.parent).free < max(self._pending_bytes, _PAGES)
        return False

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.seal()
                self._place()
        finally:
            self._discard()


def check_target(path: Path, force: bool) -> None:
    """Whether an LMDB may be made there; with `force`, in place of one.

    Raises:
        OutputError: it may not.
    """
    shown = printable(str(path))
    if not path.name or path.name == "..":
        raise OutputError(f"'{shown}' is no name of a folder to make")
    if not os.path.lexists(path):
        return
    if not force:
        raise OutputError(f"{shown}: exists already; --force replaces an LMDB")
    if not _is_lmdb(path):
        raise OutputError(f"{shown}: is something else than an LMDB; --force replaces only those")


def _is_lmdb(path: Path) -> bool:
    """A folder with an LMDB in it and nothing that somebody would miss."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError:
        return False
    return DATA_FILE in names and names <= {DATA_FILE, LOCK_FILE, LABELS_FILE}


def _sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk, where the system can."""
    with suppress(PermissionError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _text(key: bytes) -> str:
    return f"'{printable(os.fsdecode(key))}'"
