"""Runs that die at any line, stall, ignore signals, or lose their parent.

A stand-in for caffe replays recorded logs (`stand_in.py`).
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sqgen
from sqgen import CrashError, LogResult, RefusedError, ResourceError, RunError, StoppedError
from sqgen.runner import supervise

from .small_runs import PATIENCE, Alive, Place, StandIn, alive, log_text, start

TEST_LOGS = ("test_digits", "test_digits_mmdd", "test_partial_weights")
TRAIN_LOGS = ("train_two_test_nets", "train_resume", "train_batchnorm", "train_sighup_sigint")
# Recorded log -> class of the error.
FATAL = {
    "fatal_missing_lmdb": RefusedError,
    "fatal_shape_mismatch": RefusedError,
    "fatal_unknown_field": RefusedError,
    "fatal_gpu_cpu_only": ResourceError,
}


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


def run(place: Place, command: str, folder: Path, caffe: str, **how: Any) -> LogResult:
    """Test or train with a stand-in."""
    options = {"caffe": caffe, "run_dir": folder, **how}
    if command == "train":
        return sqgen.train(place.solver, **options)
    return sqgen.test(place.net, place.weights, iterations=4, **options)


def kept(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """The log and the result of a run."""
    return (folder / "caffe.log").read_bytes(), json.loads((folder / "result.json").read_text())


def check_kept(folder: Path, printed: bytes) -> dict[str, Any]:
    """The log is whole, and the result is what it says."""
    log, result = kept(folder)
    assert log == printed
    read = sqgen.parse_log(folder / "caffe.log").as_dict()
    ours = ("run", "dataset", "images")
    assert {key: value for key, value in result.items() if key not in ours} == {
        key: value for key, value in read.items() if key not in ours
    }
    return result


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_dies_at_any_line(
    data: st.DataObject,
    place: Place,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = data.draw(st.sampled_from(TEST_LOGS + TRAIN_LOGS))
    then = data.draw(st.sampled_from([0, 1, 3, 127, 137, 255, "SIGKILL", "SIGSEGV", "SIGTERM"]))
    text = log_text(name)
    lines = text.splitlines(keepends=True)
    count = data.draw(st.integers(0, len(lines) - 1))
    part = data.draw(st.booleans())
    folder = tmp_path_factory.mktemp("dies")
    monkeypatch.chdir(folder)
    caffe = StandIn(folder)(name, lines=count, part=part, then=then)
    command = name.partition("_")[0]
    printed = b"".join(lines[:count]) + (lines[count][: len(lines[count]) // 2] if part else b"")
    whole = sqgen.parse_log(_file(folder / "cut.log", printed)).completed
    if whole and then == 0:
        assert run(place, command, folder / "run", caffe).completed
        check_kept(folder / "run", printed)
        return
    with pytest.raises(RunError) as caught:
        run(place, command, folder / "run", caffe)
    error = caught.value
    assert error.exit_code in (2, 5, 130)
    assert "\n" not in str(error)
    assert str(folder / "run" / "caffe.log") in str(error)
    assert check_kept(folder / "run", printed)["run"]["error"] in str(error)
    if then in ("SIGKILL", "SIGSEGV", 137):
        assert isinstance(error, CrashError)
    if then == "SIGTERM":
        assert isinstance(error, StoppedError)


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("then", "cause"),
    [
        ("SIGBUS", "a file that it maps, such as an LMDB, is truncated; check the LMDB with sqgen"),
        ("SIGSEGV", "labels that are not 0 to classes - 1; check the labels against num_output"),
    ],
)
def test_a_crash_names_its_cause(
    then: str, cause: str, place: Place, stand_in: StandIn, tmp_path: Path
) -> None:
    with pytest.raises(CrashError, match=f"{then}: Caffe crashed, which it does .*{cause}"):
        run(place, "test", tmp_path / "run", stand_in(TEST_LOGS[0], lines=9, then=then))


@pytest.mark.parametrize("name", FATAL)
def test_a_fatal_log_is_one_line(
    name: str, place: Place, stand_in: StandIn, tmp_path: Path
) -> None:
    with pytest.raises(FATAL[name]) as caught:
        run(place, "test", tmp_path / "run", stand_in(name, then="SIGABRT"))
    fatal = caught.value.result.fatal
    assert str(caught.value).count("\n") == 0
    for part in (fatal.cause, fatal.place, fatal.remedy):
        assert part in str(caught.value)
    check_kept(tmp_path / "run", log_text(name))


def test_noise_is_no_trouble(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    """Bytes that are no text, no newline, and a log larger than a pipe."""
    log = _file(tmp_path / "noise.log", bytes(range(256)) * 4000)
    with pytest.raises(CrashError) as caught:
        run(place, "test", tmp_path / "run", stand_in(log=log, then=1))
    assert str(caught.value).isprintable()
    check_kept(tmp_path / "run", log.read_bytes())


class Clock:
    """A second passes at every look, once the stand-in has printed all, and until it is stopped."""

    def __init__(self, living: Alive, monkeypatch: pytest.MonkeyPatch) -> None:
        self._living = living
        self._now = 0.0
        self.runs = False
        self.stopped = False
        monkeypatch.setattr(supervise, "time", SimpleNamespace(monotonic=self.monotonic))

    def monotonic(self) -> float:
        self.runs = self.runs or self._living.has_printed()
        self._now += self.runs and not self.stopped
        return self._now


def test_stalls(
    place: Place,
    stand_in: StandIn,
    living: Alive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Silence is said once, with the last lines, and ends the run if that was asked for."""
    told: list[str] = []
    Clock(living, monkeypatch)
    caffe = stand_in("test_digits", lines=600, wait=True, alive=living.path)
    with pytest.raises(sqgen.StallError) as caught:
        run(
            place,
            "test",
            tmp_path / "run",
            caffe,
            stall_timeout=2,
            stop_stalled=True,
            log=told.append,
        )
    living.ready()
    living.gone()
    last = log_text("test_digits").splitlines()[599].decode().strip()
    assert caught.value.exit_code == 6
    assert last in str(caught.value)
    assert [last in line for line in told if line.startswith("silent for")] == [True]
    assert caught.value.result.command == "test"


def test_silence_is_no_end(
    place: Place,
    stand_in: StandIn,
    living: Alive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Said once; what comes later is read all the same."""
    text = log_text("test_digits").decode().splitlines()
    caffe = stand_in("test_digits", lines=600, on_sigint=text[600:], alive=living.path)
    clock, told = Clock(living, monkeypatch), []

    def tell(line: str) -> None:
        if line.startswith("silent for 2 s; its last lines: "):
            told.append(line)
            clock.stopped = True
            os.kill(living.ready(), signal.SIGINT)

    result = run(place, "test", tmp_path / "run", caffe, stall_timeout=2, log=tell)
    assert len(told) == 1
    top1 = result.score("top1")
    assert top1 is not None
    assert top1.value == 0.794613
    check_kept(tmp_path / "run", log_text("test_digits"))


def test_closes_its_output_and_goes_on(
    place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    caffe = stand_in("test_digits", close=True, on_sigint=[], alive=living.path)
    process = start(_test(place, caffe), tmp_path)
    os.kill(living.ready(), signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "top1" in out


@pytest.mark.parametrize("chatter", [False, True])
def test_what_it_leaves_behind_is_ended(
    chatter: bool, place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    """A child of its own holds the pipe open, or prints into it without end."""
    caffe = stand_in("test_digits", child=True, chatter=chatter, alive=living.path)
    result = run(place, "test", tmp_path / "run", caffe)
    assert result.completed
    living.ready()
    living.gone()


def _test(place: Place, caffe: str, *more: str) -> list[str]:
    files = ["--model", str(place.net), "--weights", str(place.weights)]
    return ["test", *files, "--iterations", "4", "--caffe", caffe, *more]


def _train(place: Place, caffe: str, *more: str) -> list[str]:
    return ["train", "--solver", str(place.solver), "--caffe", caffe, "--run-dir", "run", *more]


STOPPED = log_text("train_sighup_sigint").decode().splitlines()[-4:]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_lets_it_snapshot(
    number: int, code: int, place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    """Each is passed on as the SIGINT that a training knows."""
    lines = len(log_text("train_sighup_sigint").splitlines()) - len(STOPPED)
    caffe = stand_in("train_sighup_sigint", lines=lines, on_sigint=STOPPED, alive=living.path)
    process = start(_train(place, caffe), tmp_path)
    living.ready()
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    living.gone()
    assert (process.returncode, out) == (code, ""), err
    last = err.splitlines()[-1]
    name = signal.Signals(number).name
    assert f"stopped by {name} near iteration 2" in last
    assert "logs/sig_iter_240.caffemodel" in last
    assert f"--solver {place.solver}" in last
    assert "--resume" in last
    assert f"{name}: passed on" in err
    assert (tmp_path / "run" / "caffe.log").read_text().endswith(STOPPED[-1] + "\n")


def test_a_second_signal_kills(
    place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    caffe = stand_in(
        "train_two_test_nets", ignore=["SIGINT"], wait=True, child=True, alive=living.path
    )
    process = start(_train(place, caffe), tmp_path)
    living.ready()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    for line in process.stderr:
        if "passed on" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    living.gone()
    assert process.returncode == 130
    assert "SIGTERM again: killed" in err
    assert "killed by SIGINT" in err.splitlines()[-1]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["run"]["error"]


def test_a_signal_before_anything_runs(place: Place, tmp_path: Path, living: Alive) -> None:
    """While a caffe is asked for its version."""
    program = tmp_path / "slow"
    program.write_text(f"#!/bin/sh\nexec 3>{living.path}\necho $$ >&3\nsleep 1000 &\nwait\n")
    program.chmod(0o755)
    process = start(_train(place, str(program)), tmp_path)
    living.ready()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    living.gone()
    assert (process.returncode, out, err.count("\n")) == (130, "", 1)
    assert not (tmp_path / "run").exists()


def test_nohup_is_respected(place: Place, stand_in: StandIn, living: Alive, tmp_path: Path) -> None:
    caffe = stand_in("test_digits", on_sigint=[], alive=living.path)
    process = start(
        _test(place, caffe),
        tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    child = living.ready()
    process.send_signal(signal.SIGHUP)
    os.kill(child, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err


def test_behind_an_ampersand(
    place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    """A script's `&` has SIGINT ignored, which the child must not inherit: SIGTERM ends it."""
    caffe = stand_in("test_digits", lines=600, wait=True, alive=living.path)
    process = start(
        _test(place, caffe),
        tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    living.ready()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    living.gone()
    assert process.returncode == 143, err
    assert "stopped by SIGTERM" in err


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_killed_parent_leaves_nobody(
    wrapped: bool, place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    """Neither the child, nor its child, nor the guard; behind a shell that does not exec too."""
    caffe = stand_in("train_two_test_nets", wait=True, child=True, alive=living.path)
    if wrapped:
        program = tmp_path / "wrapper"
        program.write_text(f'#!/bin/sh\n{caffe} "$@"\necho done\n')
        program.chmod(0o755)
        caffe = str(program)
    process = start(_train(place, caffe), tmp_path, python=sys.executable)
    living.ready()
    pipes = [os.pidfd_open(pid) for pid in children_of(process.pid)]
    assert len(pipes) == 2
    process.kill()
    process.communicate()
    living.gone()
    for pipe in pipes:
        assert select.select([pipe], [], [], PATIENCE)[0]
        os.close(pipe)


@pytest.mark.process
def test_a_full_disk_is_one_line(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    """What can't be kept is asked to stop, as by Ctrl-C, and told when it has."""
    caffe = stand_in("train_two_test_nets", on_sigint=["its snapshot"])
    code = (
        "import resource, signal, sys, sqgen.tools.cli as c;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "c.main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *_train(place, caffe)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "caffe.log: can't write: file too large" in done.stderr.splitlines()[-1].lower()
    assert "Traceback" not in done.stderr
