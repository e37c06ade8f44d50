"""The table of the board, and the logs that it follows."""

from __future__ import annotations

import gzip
import io
import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import sqgen
from sqgen.board import followed_log, log_ends, places
from sqgen.board.catalog import Catalog
from sqgen.board.curves_answer import Asked, answer
from sqgen.board.followed_log import FollowedLog, FollowedLogs
from sqgen.board.places import find_places
from sqgen.board.short_result import read_short_result
from sqgen.json_form import dumps
from sqgen.logs.result import LogResult
from sqgen.report.curves import extract_trainings
from sqgen.runner.run_lock import LOCK, RunLock

from .small_runs import log_text

LONG_AGO = 1_700_000_000


def make_log(path: Path, recorded: str, lines: int | None = None) -> bytes:
    """A recorded log, or its first lines, written long ago."""
    text = b"".join(log_text(recorded).splitlines(keepends=True)[:lines])
    path.write_bytes(text)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return text


def make_run(folder: Path, name: str, recorded: str = "train_batchnorm", **record: Any) -> Path:
    """A run folder with a log, and its result if there is a record of the run."""
    run = folder / name
    run.mkdir(parents=True)
    make_log(run / "caffe.log", recorded)
    (run / "command").write_text("caffe train --solver=solver.prototxt\n")
    if record:
        (run / "result.json").write_text(dumps(replace(result_of(recorded), run=record).as_dict()))
    return run


@cache
def result_of(recorded: str) -> LogResult:
    """The result of a recorded log."""
    return sqgen.parse_log(io.BytesIO(log_text(recorded)))


def rows_of(folder: Path) -> dict[str, Any]:
    """The rows of the table by their names."""
    return {row.name: row for row in Catalog(folder).changes(0).rows}


def test_a_row_says_what_the_result_says(tmp_path: Path) -> None:
    run = make_run(tmp_path, "20261126-101500-net", "test_digits", seconds=12.5, error=None)
    (run / "gate.json").write_text('{"passed": false}')
    result = sqgen.parse_log(run / "caffe.log")
    (row,) = rows_of(tmp_path).values()
    assert (row.state, row.command, row.net) == ("done", "test", result.net)
    top1 = result.score("top1")
    assert top1 is not None
    assert row.top1.value == top1.value
    assert row.top1.error == pytest.approx((top1.value * (1 - top1.value) / 297) ** 0.5, rel=0.3)
    assert (row.done, row.unit, row.seconds, row.gate) == (result.images, "images", 12.5, False)


@pytest.mark.parametrize(
    ("recorded", "record", "state"),
    [
        ("train_batchnorm", {"error": None}, "done"),
        ("train_diverged_nan", {"error": None}, "failed"),
        ("train_killed", {"error": "caffe: was killed (SIGKILL)"}, "failed"),
        ("train_killed", {"error": "stopped by SIGINT near iteration 20"}, "stopped"),
        ("train_killed", {"error": None}, "done"),  # --patience stopped it
        ("fatal_missing_lmdb", {"error": "caffe: no such file"}, "failed"),
        ("fatal_missing_lmdb", {}, "failed"),
        ("train_batchnorm", {}, "done"),
        ("train_killed", {}, "cut off"),
    ],
)
def test_states(recorded: str, record: dict[str, Any], state: str, tmp_path: Path) -> None:
    make_run(tmp_path, "run", recorded, **record)
    assert rows_of(tmp_path)["run"].state == state


def test_a_lock_tells_what_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", "train_killed")
    catalog = Catalog(tmp_path)
    assert catalog.changes(0).rows[0].state == "cut off"
    lock = RunLock(run)
    (row,) = catalog.changes(0).rows
    assert (row.state, row.runner) == ("running", f"process {os.getpid()}")
    lock.release()
    assert catalog.changes(0).rows[0].state == "cut off"
    os.utime(run / "caffe.log")  # without a lock, what was just written goes on
    assert catalog.changes(0).rows[0].state == "running"
    (run / LOCK).touch()  # and with one that nobody holds, it was killed
    assert catalog.changes(0).rows[0].state == "cut off"


def test_everything_is_listed_and_links_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    make_run(tmp_path / "elsewhere", "run")
    make_run(folder, "damaged", error=None)
    (folder / "damaged" / "result.json").write_text('{"format": 1, "source": ')
    make_run(folder, "other", error=None)
    (folder / "other" / "result.json").write_text("[]")
    (folder / "nothing").mkdir()
    (folder / "nothing" / "command").touch()
    make_run(folder / "study", "half", "test_digits", error=None)
    make_log(folder / "caffe.log.1", "train_killed")
    (folder / "packed.log.gz").write_bytes(gzip.compress(log_text("test_digits")))
    (folder / "packed.log").write_bytes(log_text("test_digits").decode().encode("utf-16"))
    (folder / "install.log").write_text("all is well")
    (folder / "notes.txt").touch()
    (folder / "link").symlink_to(tmp_path / "elsewhere" / "run")
    make_run(folder, "inner")
    (folder / "inner" / "caffe.log").unlink()
    (folder / "inner" / "caffe.log").symlink_to(tmp_path / "elsewhere" / "run" / "caffe.log")
    make_run(folder, "pipe")
    (folder / "pipe" / "caffe.log").unlink()
    os.mkfifo(folder / "pipe" / "caffe.log")
    rows = rows_of(folder)
    assert {name: row.state for name, row in rows.items()} == {
        "damaged": "damaged",
        "other": "damaged",
        "nothing": "no result",
        "study/half": "done",
        "caffe.log.1": "cut off",
        "packed.log": "done",
        "packed.log.gz": "done",
        "install.log": "no result",
        "link": "no result",
        "inner": "no result",
        "pipe": "no result",
    }
    assert rows["damaged"].notes[0].startswith("result.json: is damaged: ")
    assert rows["damaged"].command == "train"  # by its log
    assert rows["link"].notes == ("is a link, which the board does not follow",)
    assert rows["inner"].net == rows["link"].net == ""
    assert [place.path for place in find_places(folder / "other")] == [folder / "other"]


def test_what_is_wrong_with_a_run_is_a_note_of_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path, "fine", error=None)
    run = make_run(tmp_path, "odd", "test_digits", error=None)
    plain = json.loads((run / "result.json").read_text())
    plain["run"] |= {"seconds": 10**400, "coverage": {"records": -1}, "error": 5}
    plain |= {"images": -7, "solver": {"max_iter": True}}
    (run / "result.json").write_text(json.dumps(plain, indent=2))
    row = rows_of(tmp_path)["odd"]
    assert (row.seconds, row.total, row.top1.error) == (None, None, None)

    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("sqgen.board.run_row.read_short_result", fail)
    assert rows_of(tmp_path)["fine"].notes == (
        "sqgen can't read it, which is a fault: ZeroDivisionError: a fault",
    )


def test_only_changes_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "a", error=None)
    make_run(tmp_path, "b", error=None)
    catalog = Catalog(tmp_path)
    first = catalog.changes(0)
    assert len(first.rows) == 2
    assert catalog.changes(first.version) == (first.version, [], [], False)
    (tmp_path / "b" / "result.json").unlink()
    make_run(tmp_path, "c", error=None)
    second = catalog.changes(first.version)
    assert sorted(row.name for row in second.rows) == ["b", "c"]
    (gone,) = [row for row in first.rows if row.name == "a"]
    for file in (tmp_path / "a").iterdir():
        file.unlink()
    third = catalog.changes(second.version)
    assert (third.rows, third.gone) == ([], [gone.id])
    assert len(catalog.changes(0).rows) == 2
    assert len(catalog.changes(10**6).rows) == 2
    monkeypatch.setattr(places, "MAX_PLACES", 1)
    monkeypatch.setattr("sqgen.board.catalog.MAX_PLACES", 1)
    cut = Catalog(tmp_path).changes(0)
    assert (len(cut.rows), cut.cut) == (1, True)


@pytest.mark.parametrize("recorded", ["train_batchnorm", "test_digits", "time_digits"])
def test_a_short_result_lacks_only_rows(recorded: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", recorded, error=None)
    whole = LogResult.from_dict(json.loads((run / "result.json").read_text()))
    short = read_short_result(run / "result.json")
    assert [segment.train for segment in short.segments] == [
        segment.train[-1:] for segment in whole.segments
    ]
    assert len(short.layer_times) <= 1
    bare: dict[str, Any] = {"segments": (), "batches": (), "layer_times": ()}
    assert replace(short, **bare) == replace(whole, **bare)


def test_the_ends_of_a_log_tell_what_a_row_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = make_log(tmp_path / "a.log", "train_batchnorm")
    (whole,) = rows_of(tmp_path).values()
    middle = text.rindex(b"Iteration 0, lr")
    filled = text[:middle] + b"x" * 5_000_000 + text[middle:]
    (tmp_path / "a.log").write_bytes(filled)
    os.utime(tmp_path / "a.log", (LONG_AGO, LONG_AGO))
    monkeypatch.setattr(log_ends, "HEAD", 2000)
    monkeypatch.setattr(log_ends, "TAIL", 4000)
    (row,) = rows_of(tmp_path).values()
    for name in ("state", "command", "done", "total", "loss"):
        assert getattr(row, name) == getattr(whole, name), name


def test_a_log_read_in_pieces_gives_the_same_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_log, "PIECE", 777)
    path = tmp_path / "a.log"
    text = make_log(path, "train_resume")
    log = FollowedLog(path)
    shares: list[float] = []
    while not shares or shares[-1] < 1:
        shares.append(log.read_on(0))
    assert shares == sorted(shares)
    assert len(shares) == -(-len(text) // 777)
    assert log.trainings("iterations") == extract_trainings(sqgen.parse_log(path))
    assert log.trainings("iterations") == log.trainings("iterations")
    make_log(path, "train_killed")  # another one in its place, shorter
    path.rename(tmp_path / "b.log")
    make_log(path, "train_killed")
    while log.read_on(0) < 1:
        pass
    assert log.trainings("iterations") == extract_trainings(sqgen.parse_log(path))


def test_only_points_that_a_page_lacks_are_sent(tmp_path: Path) -> None:
    lines = log_text("train_batchnorm").splitlines(keepends=True)
    path = tmp_path / "a.log"
    tests = [number for number, line in enumerate(lines) if b"Testing net" in line]
    path.write_bytes(b"".join(lines[: tests[-2]]))
    (place,) = find_places(tmp_path)
    logs = FollowedLogs()

    def ask(have: str = "", since: str = "") -> dict[str, Any]:
        return answer([place], logs, Asked(False, False, have, since))

    first = ask()
    again = ask(first["signature"], first["since"])
    assert not any(again["rows"].values())
    path.write_bytes(b"".join(lines))
    fresh = ask(first["signature"], first["since"])
    whole = answer([place], FollowedLogs(), Asked(False, False, "", ""))
    assert fresh["signature"] == first["signature"]
    for name, rows in whole["rows"].items():
        assert fresh["rows"][name]
        assert sorted(map(str, first["rows"][name] + fresh["rows"][name])) == sorted(map(str, rows))
    (tmp_path / "b.log").write_bytes(b"".join(lines))
    (tmp_path / "b.log").replace(path)  # another file
    assert ask(fresh["signature"], fresh["since"])["rows"] == whole["rows"]
    assert ask("another", first["since"])["rows"] == whole["rows"]
    assert ask(ask()["signature"], "nonsense")["rows"] == whole["rows"]


def test_a_run_that_lost_its_log_has_the_curves_of_its_result(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", error=None)
    asked = Asked(False, False, "", "")
    (place,) = find_places(tmp_path)
    whole = answer([place], FollowedLogs(), asked)
    (run / "caffe.log").unlink()
    (place,) = find_places(tmp_path)
    without = answer([place], FollowedLogs(), asked)
    assert without["rows"] == whole["rows"]
    (run / "result.json").unlink()
    (place,) = find_places(tmp_path)
    assert answer([place], FollowedLogs(), asked)["charts"] == []
