"""The lock of a run folder tells a run that goes on from one that was cut off."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import sqgen
from sqgen.runner.run_lock import LOCK, RunLock, find_runner

from .small_runs import PATIENCE, Alive, Place, StandIn, alive, start


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Alive]:
    with alive(tmp_path) as pipe:
        yield pipe


def test_a_run_is_locked_until_it_is_killed(
    place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    caffe = stand_in("test_digits", lines=40, alive=living.path, wait=True)
    arguments = ["test", "--model", place.net, "--weights", place.weights, "--caffe", caffe]
    arguments += ["--iterations", "4", "--run-dir", "run"]
    process = start([str(word) for word in arguments], tmp_path)
    try:
        living.ready()
        assert re.fullmatch(r"process \d+", find_runner(tmp_path / "run") or "")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    living.gone()
    assert (tmp_path / "run" / LOCK).is_file()
    assert find_runner(tmp_path / "run") == ""


@pytest.mark.parametrize("then", [0, 1])
def test_a_run_that_ends_is_not_locked(
    then: int, place: Place, stand_in: StandIn, tmp_path: Path
) -> None:
    locked = []

    def log(line: str) -> None:
        locked.append(find_runner(tmp_path / "run"))

    caffe, folder = stand_in("test_digits", then=then), tmp_path / "run"
    try:
        sqgen.test(place.net, place.weights, iterations=4, log=log, caffe=caffe, run_dir=folder)
        assert then == 0
    except sqgen.RunError:
        assert then == 1
    assert f"process {os.getpid()}" in locked
    assert not list((tmp_path / "run").glob(".*"))
    assert find_runner(tmp_path / "run") is None


def test_another_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = RunLock(tmp_path)
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    there = find_runner(tmp_path)
    assert there is not None
    assert there.startswith(f"process {os.getpid()} on ")
    lock.release()
    assert find_runner(tmp_path) is None


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(38, "no locks")

    monkeypatch.setattr("fcntl.flock", fail)
    RunLock(tmp_path).release()
    assert not list(tmp_path.iterdir())
    (tmp_path / LOCK).touch()
    assert find_runner(tmp_path) is None


def test_a_stranger_s_lock_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK)
    assert find_runner(tmp_path) is None
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).symlink_to("/dev/zero")
    assert find_runner(tmp_path) is None


def test_a_test_keeps_its_verdict(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    arguments = ["test", "--model", place.net, "--weights", place.weights, "--run-dir", "run"]
    arguments += ["--caffe", stand_in("test_digits"), "--json", "--expect", "top1=0.5+-0.01"]
    process = start([str(word) for word in arguments], tmp_path)
    printed, _ = process.communicate(timeout=PATIENCE)
    kept = json.loads((tmp_path / "run" / "gate.json").read_text())
    shown = json.loads(printed)
    assert kept["passed"] is False
    assert kept == {name: shown[name] for name in kept}
