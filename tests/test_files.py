"""Writing files: completely or not at all, and no replacement without `--force`."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sqgen import OutputError
from sqgen.formats.files import NewFiles, write_files


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
    with pytest.raises(OutputError, match="can't write: not a directory"):
        write_files({tmp_path / "file" / "a" / "b": b""})
    with pytest.raises(OutputError, match="is a folder; give a file's name"):
        write_files({tmp_path: b""}, force=True)
    with pytest.raises(OutputError, match="is not a file name"):
        write_files({Path(): b""})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
