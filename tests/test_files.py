"""Writing files: completely or not at all, and no replacement without `--force`."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from sqgen import FormatError, OutputError, parse_net
from sqgen.formats.files import (
    NewFiles,
    check_file_target,
    read_bytes,
    write_files,
)

from .conftest import Run


def test_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    files = {tmp_path / name: name.encode() for name in "abc"}
    with pytest.raises(OutputError, match="b: exists already; --force replaces it"):
        write_files(files)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "mine"}
    write_files(files, force=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: name for name in "abc"
    }


def test_folders_that_were_made_for_nothing_go(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    too_long = tmp_path / "old" / "new" / ("x" * 300)
    with pytest.raises(OutputError, match="file name too long"):
        write_files({tmp_path / "old" / "new" / "inner" / "file": b"x", too_long: b"x"})
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]
    with NewFiles() as files:
        files.open(tmp_path / "old" / "new" / "file").write(b"x")
    assert (tmp_path / "old" / "new" / "file").read_bytes() == b"x"


def test_only_one_of_many_writers_wins(tmp_path: Path) -> None:
    """Each writes three files that belong together; what is there is of one of them."""
    won: list[int] = []

    def write(number: int) -> None:
        try:
            write_files({tmp_path / name: str(number).encode() for name in "abc"})
            won.append(number)
        except OutputError as error:
            assert "exists already" in str(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(won) <= 1
    assert texts == ({name: str(won[0]) for name in "abc"} if won else {})


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    def write() -> None:
        with NewFiles() as files:
            for name in "abc":
                files.open(tmp_path / name).write(b"new")
            (tmp_path / "b").write_text("mine")

    with pytest.raises(OutputError, match="b: exists already"):
        write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "mine"}


def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OutputError, match="exists already"):
        write_files({tmp_path / "link": b"new"})
    write_files({tmp_path / "link": b"new"}, force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_devices_and_pipes_are_not_replaced(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes, which are not here")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="is a device or a pipe"):
        write_files({tmp_path / "pipe": b"new"}, force=True)
    assert (tmp_path / "pipe").is_fifo()


def test_what_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file; give a folder"):
        write_files({tmp_path / "file" / "b": b""})
    for folder in ("", "a", "a/b"):
        target = tmp_path / "file" / folder / "c"
        with pytest.raises(OutputError, match="/file: is a file; give a folder"):
            check_file_target(target, force=True)  # before the work, not after it
        with pytest.raises(OutputError, match="/file: is a file; give a folder"):
            write_files({target: b""})
    with pytest.raises(OutputError, match="is a folder; give a file's name"):
        write_files({tmp_path: b""}, force=True)
    with pytest.raises(OutputError, match="is not a file name"):
        write_files({Path(): b""})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Reading

SMALL_MEMORY = """
import os, resource, sys, threading
from sqgen.formats.files import BINARY_LIMIT, read_bytes
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, resource.RLIM_INFINITY))
threading.Thread(target=lambda: open("pipe", "wb").write(bytes(3 << 20))).start()
assert len(read_bytes("pipe", BINARY_LIMIT)) == 3 << 20
assert read_bytes("-", BINARY_LIMIT) == b"abc"
assert read_bytes("file", BINARY_LIMIT) == b"def"
"""


@pytest.mark.process
def test_reading_allocates_what_is_there(tmp_path: Path) -> None:
    """Not the limit, which `ulimit -v` may not allow."""
    pytest.importorskip("resource", reason="needs limits of a process, which are not here")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"def")
    command = [sys.executable, "-c", SMALL_MEMORY]
    done = subprocess.run(
        command, input=b"abc", cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 3_000_000])
def test_a_limit_is_held(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    names = [tmp_path / "file"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        names.append(tmp_path / "pipe")
    for name in names:
        for limit in (10, 2_999_999, 3_000_000):
            writer = threading.Thread(target=_feed, args=(name, data))
            writer.start()
            if size > limit:
                with pytest.raises(FormatError, match="larger than"):
                    read_bytes(name, limit)
            else:
                assert read_bytes(name, limit) == data
            writer.join()


def _feed(name: Path, data: bytes) -> None:
    if name.is_fifo():
        with suppress(BrokenPipeError):
            name.write_bytes(data)


# Names

LONG = "n" * 300


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in (LONG, "a\0b", f"{tmp_path}/{LONG}/x"):
        with pytest.raises(FormatError, match=r"name too long|null"):
            read_bytes(name, 10)
        with pytest.raises(OutputError, match=r"can't write: (file name too long|.*null)"):
            write_files({Path(name): b""}, force=True)


NET = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 2 } } }'
LONG_NAMES = [
    ["build", "--out", LONG],
    ["build", "--design", LONG],
    ["summary", LONG],
    ["lint", LONG],
    ["diff", LONG, "net"],
    ["diff", "net", LONG],
    ["deploy", LONG],
    ["upgrade", LONG],
    ["upgrade", "net", "-o", LONG],
    ["test", "--model", LONG, "--weights", "w"],
    ["test", "--model", "data", "--weights", "w"],
    ["test", "--model", "data", "--weights", "w", "--data", LONG],
    ["train", "--solver", LONG],
    ["train", "--solver", "solver"],
    ["train", "--solver", "good", "--weights", LONG],
    ["train", "--solver", "good", "--snapshot", LONG],
    ["train", "--solver", "prefix"],
    ["train", "--solver", "prefix", "--resume"],
    ["time", "--model", LONG],
    ["weights", "show", LONG],
    ["weights", "diff", LONG, LONG],
    ["weights", "map", LONG, "out", "--to", "net"],
    ["weights", "map", "w", "out", "--to", LONG],
    ["log", "parse", LONG],
    ["log", "plot", LONG, "-o", "x.png"],
    ["log", "compare", LONG, LONG],
    ["gate", LONG, "--min", "top1=0.5"],
    ["gate", "log", "--min", "top1=0.5", "--junit", LONG],
    ["gate", "log", "--baseline", LONG],
    ["classify", "--model", LONG, "--weights", "w", "x.png"],
    ["data", "create", LONG, "-o", "x"],
    ["data", "create", ".", "--list", LONG, "-o", "x"],
    ["data", "mean", LONG],
    ["data", "info", LONG],
    ["compress", "encode", LONG, "--net", "net", "-o", "x.sqz"],
    ["compress", "encode", "w", "--net", LONG, "-o", "x.sqz"],
    ["compress", "decode", LONG, "--net", "net", "-o", "x"],
    ["zoo", "download", "v1.0", "-o", LONG],
    ["zoo", "download", "v1.0", "--from", LONG],
    [LONG],
    ["weights", LONG],
]


@pytest.mark.parametrize("arguments", LONG_NAMES, ids=lambda words: " ".join(words)[:40])
def test_long_names_are_one_line(arguments: list[str], sqgen: Run, tmp_path: Path) -> None:
    source = f'type: "Data" top: "d" data_param {{ source: "{LONG}" backend: LMDB batch_size: 1 }}'
    files = {
        "net": NET,
        "data": f'layer {{ name: "d" {source} }}',
        "solver": f'net: "{LONG}" base_lr: 1 lr_policy: "fixed" max_iter: 1',
        "good": 'net: "net" base_lr: 1 lr_policy: "fixed" max_iter: 1 snapshot_prefix: "s"',
        "prefix": f'net: "net" base_lr: 1 lr_policy: "fixed" max_iter: 1 snapshot_prefix: "{LONG}"',
        "log": "",
    }
    (tmp_path / "w").write_bytes(parse_net(NET).param.SerializeToString())
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = sqgen(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sqgen: ")
    assert LONG[:50] in last  # what is wrong, and with which file
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# Permissions, errors, folders


def test_a_file_that_replaces_another_keeps_its_permissions(tmp_path: Path) -> None:
    private, new = tmp_path / "private", tmp_path / "new"
    private.write_text("old")
    before = os.umask(0o027)
    try:
        for mode in (0o600, 0o666, 0o444, 0o755):
            private.chmod(mode)
            write_files({private: b"new", new: b"new"}, force=True)
            assert stat.S_IMODE(private.stat().st_mode) == mode
            assert stat.S_IMODE(new.stat().st_mode) == 0o640
            new.unlink()
    finally:
        os.umask(before)


def test_an_error_names_the_file_that_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="b: can't write: no space left on device"):
        write_files({tmp_path / name: b"x" for name in "abc"})
    assert list(tmp_path.iterdir()) == []


def test_another_error_of_the_block_stays_what_it_is(tmp_path: Path) -> None:
    def read_in_between() -> None:
        with NewFiles() as files:
            files.open(tmp_path / "new").write(b"x")
            (tmp_path / "gone").read_bytes()

    with pytest.raises(FileNotFoundError):
        read_in_between()
    assert list(tmp_path.iterdir()) == []


def test_folders_are_removed_where_nothing_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputError, match="no space left on device"):
        write_files({tmp_path / "mine" / "a" / "b" / "file": b"x", tmp_path / "c" / "file": b"y"})
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


FULL_DISK = """
import resource, signal, sys
from sqgen.__main__ import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
sys.argv = ["sqgen", *sys.argv[1:]]
main()
"""


@pytest.mark.process
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="needs limits of a process, which are not here")
    command = [sys.executable, "-c", FULL_DISK, "build", "--out", "made/deep"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert b"can't write: file too large; choose another place" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["n" * 255, "\u00e9" * 127, "\u4e2d" * 85])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path, name: str) -> None:
    write_files({tmp_path / name: b"x"})
    write_files({tmp_path / name: b"y"}, force=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
