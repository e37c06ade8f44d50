"""Writing LMDBs: records read back in order, and nothing left after an error."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen.errors import FormatError, OutputError
from sqgen.formats import lmdb_writer
from sqgen.formats.lmdb_reader import open_lmdb
from sqgen.formats.lmdb_writer import KEY_LIMIT, LmdbWriter

from .databases import make_lmdb

TINY = 1 << 16  # bytes of a map that a few records fill


def records(path: Path) -> list[tuple[bytes, bytes]]:
    """All records as LMDB itself reads them."""
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as reading:
        return [(bytes(key), bytes(value)) for key, value in reading.cursor()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(
    path: Path,
    *keys: bytes,
    force: bool = False,
    then: Callable[[], object] = lambda: None,
) -> None:
    """An LMDB of those keys; `then` happens before its end."""
    with LmdbWriter(path, force) as writer:
        for key in keys:
            writer.put(key, b"new")
        then()


@given(
    st.dictionaries(st.binary(min_size=1, max_size=KEY_LIMIT), st.binary(max_size=9000)).filter(len)
)
def test_what_is_put_is_read(
    tmp_path_factory: pytest.TempPathFactory, put: dict[bytes, bytes]
) -> None:
    """In any order of keys, whatever their sizes, by whatever batches."""
    path = tmp_path_factory.mktemp("lmdb") / "made"
    with pytest.MonkeyPatch.context() as patch, LmdbWriter(path, map_size=TINY) as writer:
        patch.setattr(lmdb_writer, "BATCH_RECORDS", 3)
        patch.setattr(lmdb_writer, "REOPEN_BATCHES", 2)
        for key, value in put.items():
            writer.put(key, value)
    assert records(path) == sorted(put.items())
    assert writer.records == len(put)
    assert writer.size == sum(map(len, put.values()))
    assert names(path.parent) == ["made"]


def test_the_map_grows(tmp_path: Path) -> None:
    """Issue BVLC/caffe#1352: a full map ended the conversion."""
    values = [bytes([number]) * 50_000 for number in range(60)]
    with LmdbWriter(tmp_path / "lmdb", map_size=TINY) as writer:
        for number, value in enumerate(values):
            writer.put(b"%08d" % number, value)
    with open_lmdb(tmp_path / "lmdb") as opened:
        assert list(opened.values()) == values


def test_batches_are_committed_by_their_bytes(tmp_path: Path) -> None:
    """No more than a batch is in memory, however large the records are."""
    written = []
    with LmdbWriter(tmp_path / "new" / "lmdb") as writer:
        [unfinished] = (tmp_path / "new").iterdir()
        for number in range(5):
            writer.put(b"%d" % number, bytes(lmdb_writer.BATCH_BYTES // 2))
            if number:
                # LMDB opens a file once in a process.
                copy = shutil.copytree(unfinished, tmp_path / str(number))
                with open_lmdb(copy) as opened:
                    written.append(len(list(opened.values())))
    assert written == [2, 2, 4, 4]
    with open_lmdb(tmp_path / "new" / "lmdb") as opened:
        assert len(list(opened.values())) == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, FormatError, MemoryError])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        fill(tmp_path / "above" / "one" / "lmdb", b"a", then=fail)
    assert names(tmp_path) == []
    (tmp_path / "above").mkdir()
    with pytest.raises(error):
        fill(tmp_path / "above" / "one" / "lmdb", b"a", then=fail)
    assert names(tmp_path) == ["above"]
    assert names(tmp_path / "above") == []


def test_an_interrupt_at_the_end_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two renames of --force, what was there comes back."""
    path = make_lmdb(tmp_path / "lmdb", [b"old"])
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if target == path and self.name.endswith(".tmp"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(path, b"a", force=True)
    assert [value for _, value in records(path)] == [b"old"]
    assert names(tmp_path) == ["lmdb"]


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    path = make_lmdb(tmp_path / "lmdb", [b"old"])
    with pytest.raises(OutputError, match="exists already; --force"):
        LmdbWriter(path)
    with LmdbWriter(path, force=True) as writer:
        writer.put(b"a", b"new")
        assert [value for _, value in records(path)] == [b"old"]
    assert records(path) == [(b"a", b"new")]
    assert names(tmp_path) == ["lmdb"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    path = make_lmdb(tmp_path / "there" / "lmdb", [b"old"])
    (tmp_path / "link").symlink_to(path)
    fill(tmp_path / "link", b"a", force=True)
    assert (tmp_path / "link").is_symlink()
    assert records(path) == [(b"a", b"new")]


@pytest.mark.parametrize("force", [False, True])
def test_what_came_meanwhile_is_kept(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "lmdb"

    def come() -> None:
        path.mkdir()
        (path / "thesis.txt").write_text("mine")

    with pytest.raises(OutputError, match=r"exists already|is not an LMDB"):
        fill(path, b"a", force=force, then=come)
    assert names(tmp_path) == ["lmdb"]
    assert (path / "thesis.txt").read_text() == "mine"


def test_only_an_lmdb_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "file").write_text("mine")
    mixed = make_lmdb(tmp_path / "mixed", [b"old"])
    (mixed / "notes.txt").write_text("mine")
    for name in ("thesis", "file", "mixed"):
        with pytest.raises(OutputError, match="is not an LMDB"):
            LmdbWriter(tmp_path / name, force=True)
    for name in ("", ".", "/", "a/.."):
        with pytest.raises(OutputError, match="not a name for a new folder"):
            LmdbWriter(name, force=True)
    assert names(tmp_path) == ["file", "mixed", "thesis"]


def test_keys_are_checked(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="two records of key 'b'"):
        fill(tmp_path / "lmdb", b"a", b"b", b"b")
    with LmdbWriter(tmp_path / "lmdb") as writer:
        for key in (b"", bytes(KEY_LIMIT + 1)):
            with pytest.raises(FormatError, match="a key of"):
                writer.put(key, b"")
        writer.put(b"k" * KEY_LIMIT, b"")
    assert len(records(tmp_path / "lmdb")) == 1


@pytest.mark.parametrize(
    ("error", "free", "reason"),
    [
        (lmdb.DiskError("No space left on device"), 1 << 40, "no space left on device"),
        (lmdb.Error("mdb_txn_commit: Input/output error"), 0, "no space left on device"),
        (lmdb.Error("mdb_txn_commit: Input/output error"), 1 << 40, "mdb_txn_commit: Input"),
    ],
)
def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, free: int, reason: str
) -> None:
    """LMDB calls a write that the disk cut short an input/output error."""

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(LmdbWriter, "_write", full)
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=f"can't write: {reason}"):
        fill(tmp_path / "new" / "lmdb", b"a")
    assert names(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, where the test may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if not made or made.returncode:
        pytest.skip("needs to mount a tmpfs, which takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 1 << 13, 1 << 16, 1 << 19])
@pytest.mark.process
def test_a_disk_that_is_full_leaves_nothing(small_disk: Path, free: int) -> None:
    """Without a byte left, LMDB's mapped lock file ended the process by SIGBUS."""
    (small_disk / "rest").write_bytes(bytes((1 << 21) - free))
    code = (
        "import sys; from sqgen.formats.lmdb_writer import LmdbWriter\n"
        "with LmdbWriter(sys.argv[1]) as writer:\n"
        "    for number in range(16): writer.put(b'%08d' % number, bytes(1 << 16))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(small_disk / "new" / "lmdb")],
        check=False,
        capture_output=True,
    )
    assert done.returncode == 1
    assert done.stderr.endswith(b"can't write: no space left on device; choose another place\n")
    assert names(small_disk) == ["rest"]


def test_nowhere_to_write_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't write"):
        LmdbWriter(tmp_path / "file" / "lmdb")


def test_it_lies_there_as_caffe_leaves_it(tmp_path: Path) -> None:
    """Caffe, which may not write there, needs the lock file; nothing is executable."""
    with LmdbWriter(tmp_path / "lmdb") as writer:
        writer.put(b"a", b"b")
        writer.put_file("labels.txt", b"cat\n")
    there = names(tmp_path / "lmdb")
    assert there == ["data.mdb", "labels.txt", "lock.mdb"]
    assert not any((tmp_path / "lmdb" / name).stat().st_mode & 0o111 for name in there)
    with lmdb.open(str(tmp_path / "lmdb"), readonly=True) as env, env.begin() as reading:
        assert reading.get(b"a") == b"b"  # with its lock, as Caffe opens it
