"""Two trainings with one snapshot_prefix: the second is refused while the first lives."""

from __future__ import annotations

import os
import platform
import re
import signal
from pathlib import Path

import pytest

import sqgen
from sqgen.errors import OutputError
from sqgen.formats.snapshot_lock import SnapshotLock

from . import small_training as small
from .small_runs import PATIENCE, Place, StandIn, alive, start
from .small_training import SOLVER, engine, make_run, spawn, write_data

REFUSED = r"process \d+ is training with this snapshot_prefix; wait for it, stop it"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


def lock_files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*lock*")]


@pytest.mark.usefixtures("forked_engine")
def test_the_second_training_is_refused(
    place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the engine and by `sqgen train`, under any spelling of the prefix."""
    monkeypatch.delenv("CAFFE_ROOT", raising=False)
    write_data(tmp_path)
    long = SOLVER + "display: 1 base_lr: 0.001 lr_policy: 'fixed' max_iter: "
    run = make_run(tmp_path, "run", small.net(), long + "100000000")
    monkeypatch.chdir(run)
    (run / "again.prototxt").write_text(f"{long} 2".replace('"s"', f'"{run}/../run/s"'))
    process = spawn(["train", "--solver=solver.prototxt"], run)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "Iteration 2 " in line:
                break
        code, log = engine(["train", "--solver=again.prototxt"], capsys)
        assert code == 2
        assert re.search(REFUSED, log.splitlines()[-1])
        with pytest.raises(OutputError, match=REFUSED):
            sqgen.train("again.prototxt", run_dir="second", cpu=True)
        assert not Path("second").exists()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert lock_files(run) == []
    code, log = engine(["train", "--solver=again.prototxt"], capsys)
    assert code == 0, log
    assert lock_files(run) == []


def test_a_real_caffe_is_guarded_by_sqgen(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever dies leaves nothing that blocks."""
    monkeypatch.chdir(tmp_path)
    with alive(tmp_path) as living:
        caffe = StandIn(tmp_path)(alive=living.path, wait=True)
        arguments = ["train", "--solver", str(place.solver), "--caffe", caffe]
        first = start([*arguments, "--run-dir", "first"], tmp_path)
        living.ready()
        _, err = start([*arguments, "--run-dir", "second"], tmp_path).communicate(timeout=PATIENCE)
        assert re.search(REFUSED, err.splitlines()[-1])
        assert not Path("second").exists()
        first.kill()
        first.communicate(timeout=PATIENCE)
    quick = StandIn(tmp_path)("train_two_test_nets", calls=tmp_path / "calls")
    sqgen.train(place.solver, caffe=quick, run_dir="third")
    assert lock_files(tmp_path) == []


def test_a_stale_file_locks_nothing(tmp_path: Path) -> None:
    stale = tmp_path / ".s.sqgen-lock"
    stale.write_text("1 elsewhere\n")
    with SnapshotLock(f"{tmp_path}/s"):
        assert stale.read_text() == f"{os.getpid()} {platform.node()}\n"
    assert not stale.exists()


def test_the_owner_is_named(tmp_path: Path) -> None:
    prefix = f"{tmp_path}/s"
    file = tmp_path / ".s.sqgen-lock"
    with SnapshotLock(prefix):
        for text, owner in (
            (file.read_text(), f"process {os.getpid()} is"),
            ("77 else\nwhere\n", "another process is"),
            ("77 node9\n", "process 77 on node9 is"),
            ("77 a\x1b[2J\n", r"process 77 on a\\x1b\[2J is"),
            ("", "another process is"),
        ):
            file.write_text(text)
            with pytest.raises(OutputError, match=owner):
                SnapshotLock(prefix)
    with SnapshotLock(prefix):
        pass


def test_where_nothing_can_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings go on without it: their snapshots fail or not on their own."""
    (tmp_path / ".linked.sqgen-lock").symlink_to(tmp_path / "target")
    for prefix in (f"{tmp_path}/none/s", f"{tmp_path}/{'x' * 250}", "", f"{tmp_path}/linked"):
        with SnapshotLock(prefix), SnapshotLock(prefix):
            pass
    assert not (tmp_path / "target").exists()

    def fail(*arguments: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    with SnapshotLock(f"{tmp_path}/s"), SnapshotLock(f"{tmp_path}/s"):
        pass


UNFINISHED = [
    ".s_iter_5.caffemodel.0123abcd.tmp",
    ".s_iter_5.solverstate.h5.0123abcd.tmp",
    ".s_iter_10.sqgenstate.ffffffff.tmp",
]
OTHERS = [
    ".s2_iter_5.caffemodel.0123abcd.tmp",
    ".s_iter_5.caffemodel.0123abc.tmp",
    ".s_iter_x.caffemodel.0123abcd.tmp",
    ".s_iter_5.csv.0123abcd.tmp",
    "s_iter_5.caffemodel.0123abcd.tmp",
    "s_iter_5.caffemodel",
]


def test_the_next_training_removes_what_a_killed_one_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path)
    solver = SOLVER + "base_lr: 0.001 lr_policy: 'fixed' max_iter: 1"
    monkeypatch.chdir(make_run(tmp_path, "run", small.net(), solver))
    for name in UNFINISHED + OTHERS:
        Path(name).write_text("")
    with SnapshotLock("s"):
        code, _ = engine(["train", "--solver=solver.prototxt"], capsys)
        assert code == 2  # another training may be writing them
        assert all(Path(name).exists() for name in UNFINISHED)
    code, log = engine(["train", "--solver=solver.prototxt"], capsys)
    assert code == 0, log
    assert "Removed 3 unfinished files of a training that was killed" in log
    assert not any(Path(name).exists() for name in UNFINISHED)
    assert all(Path(name).exists() for name in OTHERS)
