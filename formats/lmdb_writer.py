"""Write an LMDB completely or not at all.

Records go into a temporary folder beside the target, in batches of bounded memory. The folder gets
its name once all records are on disk. An error before that leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import FormatError, OutputError
from ..extras import required
from ..text import printable
from .files import error_reason, link_target, missing_folders, remove_empty
from .lmdb_reader import DATA_FILE, LABELS_FILE

KEY_LIMIT = 511  # bytes of a key: MDB_MAXKEYSIZE of mdb.c
LOCK_FILE = "lock.mdb"
FILE_MODE = 0o664
_PAGES = 1 << 16  # bytes that a batch takes at least, beside its values
MAP_SIZE = 1 << 30  # bytes; the map grows as needed
# Small, because no new images are decoded while a batch is written.
BATCH_RECORDS, BATCH_BYTES = 1000, 4 << 20
REOPEN_BATCHES = 64  # touched pages of the map count as memory until it is unmapped


def lmdb_package() -> Any:
    """Import lmdb, which is an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    with required("lmdb", "writing an LMDB"):
        import lmdb
    return lmdb


class LmdbWriter:
    """Writes an LMDB; a context manager, which names it at the end or deletes it on an error.

    Attributes:
        path: the folder of the finished LMDB.
        records: number of records put so far.
        size: bytes of their values.
    """

    def __init__(
        self, path: str | os.PathLike[str], force: bool = False, map_size: int = MAP_SIZE
    ) -> None:
        """Open a temporary folder; create missing parents.

        Args:
            path: the folder to make.
            force: replace an LMDB at `path`; anything else is never replaced.
            map_size: initial bytes of the map, doubled whenever it is full.

        Raises:
            OutputError: `path` exists already, or can't be written.
            MissingExtraError: the lmdb package is not installed.
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
        check_lmdb_target(self.path, force)
        # Follow a link: replace its target, not the link.
        self._target = link_target(self.path)
        self._temporary = self._beside("tmp")
        self._new_folders = missing_folders(self._target.parent)
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.mkdir()
            self._open(map_size)
        except (OSError, lmdb.Error) as error:
            output_error = self._output_error(error)  # before the folder is gone
            self._discard()
            raise output_error from None
        except BaseException:  # a signal
            self._discard()
            raise

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record.

        Raises:
            OutputError: the record can't be written.
            FormatError: the key is empty, too long, or exists already.
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
        """Add a file beside the records, which LMDB and Caffe ignore.

        Raises:
            OutputError: the file can't be written.
        """
        try:
            with open(self._temporary / name, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._output_error(error) from None

    def seal(self) -> None:
        """Flush everything to disk and accept no more records. Sealing twice is allowed.

        Raises:
            OutputError: the records can't be written.
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
            raise self._output_error(error) from None

    def _commit(self) -> None:
        """Write the pending batch; if the map is full, repeat all of it in a larger map."""
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
            raise self._output_error(error) from None

    def _open(self, map_size: int) -> None:
        # No sync: an unfinished file is worthless; `seal` syncs it once. No lock: nobody shares the
        # file, and touching a mapped lock file on a full disk ends the process (SIGBUS).
        self._env = lmdb_package().open(
            str(self._temporary),
            map_size=map_size,
            mode=FILE_MODE,
            sync=False,
            meminit=False,
            lock=False,
        )

    def _make_lock_file(self) -> None:
        """Make an empty lock file: a reader without write access can't make its own."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        os.close(os.open(self._temporary / LOCK_FILE, flags, FILE_MODE))

    def _reopen(self) -> None:
        """Unmap the file and map it again."""
        map_size = self._env.info()["map_size"]
        self._close()
        self._open(map_size)

    def _write(self, records: list[tuple[bytes, bytes]]) -> None:
        last = self._last
        with self._env.begin(write=True) as writing:
            for key, value in records:
                # Appended keys fill their pages; other keys split pages and leave them half empty.
                if key > last:
                    writing.put(key, value, append=True)
                    last = key
                elif not writing.put(key, value, overwrite=False):
                    raise FormatError(f"{self._shown}: two records of key {_quoted(key)}")

    def _put_in_place(self) -> None:
        try:
            if os.path.lexists(self._target) and self._force:
                self._replace()
            else:
                check_lmdb_target(self.path, False)
                # Fails if a non-empty folder has appeared meanwhile.
                self._temporary.rename(self._target)
            _sync_folder(self._target.parent)
        except OSError as error:
            raise self._output_error(error) from None

    def _replace(self) -> None:
        """Move the old LMDB aside, and back if the new one can't take its place."""
        check_lmdb_target(self.path, True)
        aside = self._beside("old")
        try:
            _copy_modes(self._target, self._temporary)
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
        """Return a name that is free, in the folder of the target."""
        return self._target.with_name(f".{self._target.name}.{os.urandom(4).hex()}.{ending}")

    def _close(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def _discard(self) -> None:
        self._close()
        shutil.rmtree(self._temporary, ignore_errors=True)
        remove_empty(self._new_folders)

    def _output_error(self, error: Exception) -> OutputError:
        reason = error_reason(error)
        if isinstance(error, lmdb_package().Error) and self._is_full(error):
            reason = "no space left on device"
        return OutputError(f"{self._shown}: can't write: {reason}; choose another place")

    def _is_full(self, error: Exception) -> bool:
        """Decide whether the disk is full: LMDB reports a short write as an input/output error."""
        if isinstance(error, lmdb_package().DiskError):
            return True
        with suppress(OSError):
            return shutil.disk_usage(self._target.parent).free < max(self._pending_bytes, _PAGES)
        return False

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        try:
            if kind is None:
                self.seal()
                self._put_in_place()
        finally:
            self._discard()


def check_lmdb_target(path: Path, force: bool) -> None:
    """Check that an LMDB can be made at `path`; with `force`, replacing one.

    Raises:
        OutputError: it can't.
    """
    shown = printable(str(path))
    if not path.name or path.name == "..":
        raise OutputError(f"'{shown}' is not a name for a new folder")
    if not os.path.lexists(path):
        return
    if not force:
        raise OutputError(f"{shown}: exists already; --force replaces an LMDB")
    if not _is_lmdb(path):
        raise OutputError(f"{shown}: is not an LMDB; --force replaces nothing else")


def _is_lmdb(path: Path) -> bool:
    """Check that a folder has an LMDB and no other files."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError:
        return False
    return DATA_FILE in names and names <= {DATA_FILE, LOCK_FILE, LABELS_FILE}


def _copy_modes(old: Path, new: Path) -> None:
    """Give a folder and its files the permissions of the one that it replaces."""
    for name in ("", DATA_FILE, LABELS_FILE):
        if os.path.exists(old / name) and os.path.exists(new / name):
            shutil.copymode(old / name, new / name)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system can."""
    with suppress(PermissionError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _quoted(key: bytes) -> str:
    return f"'{printable(os.fsdecode(key))}'"
