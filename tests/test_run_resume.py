"""Stopped trainings resume from the newest complete snapshot, and end as uninterrupted ones."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sqgen
from sqgen.errors import FormatError
from sqgen.formats.caffemodel import read_caffemodel
from sqgen.formats.schema import SolverState
from sqgen.formats.snapshot_files import (
    complete_prefix,
    free_bytes,
    list_states,
    newest_snapshot,
)
from sqgen.nets.definition import parse_solver, read_net
from sqgen.nets.solver_rules import SOLVERS, count_snapshots, lint_resume, rate_fields
from sqgen.runner.preflight import (
    SNAPSHOT_OVERHEAD,
    check_net,
    estimate_snapshot_bytes,
)

from . import small_training as small
from .conftest import Run
from .small_runs import PATIENCE, Place, StandIn, calls, real_caffe, start

pytestmark = pytest.mark.usefixtures("forked_engine")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


SOLVER = "max_iter: 30 snapshot: 10 momentum: 0.9 display: 1 test_iter: 4 test_interval: 10"


def stopped(place: Place, folder: Path, *more: str) -> tuple[int, str]:
    """Train, interrupted after a few iterations; the exit code and the log lines."""
    solver = folder / "solver.prototxt"
    solver.write_text(place.solver_text(SOLVER.replace("max_iter: 30", "max_iter: 1000000")))
    process = start(["train", "--solver", str(solver), "--run-dir", "first", *more], folder)
    log = folder / "first" / "caffe.log"
    # The bar's line in a pipe comes too seldom: the log has what it stands at.
    while not (log.exists() and b"Iteration 13" in log.read_bytes()):
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(process.wait(0.05))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


def state_of(folder: Path) -> dict[str, np.ndarray]:
    return small.final(folder)


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, True])
def test_resumed_ends_where_the_whole_does(
    real: bool, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Ctrl-C in the middle, and --resume; a real caffe starts its data anew, so it is not held
    to the bit."""
    if real:
        real_caffe(monkeypatch)
    else:
        monkeypatch.delenv("CAFFE_ROOT", raising=False)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    code, err = stopped(place, tmp_path)
    assert code == 130, err
    last = err.splitlines()[-1]
    assert "stopped by SIGINT near iteration" in last
    assert f"go on with sqgen train --solver {tmp_path}/solver.prototxt --resume" in last
    at = newest_snapshot("s")
    assert at is not None
    assert at.iteration >= 13
    end = at.iteration + 7
    more = SOLVER.replace("max_iter: 30", f"max_iter: {end}")
    Path("solver.prototxt").write_text(place.solver_text(more))
    resumed = sqgen.train("solver.prototxt", resume=True)
    assert resumed.run["started_from"] == at.path
    assert resumed.segments[0].resumed_from == at.path
    assert resumed.completed
    Path("whole.prototxt").write_text(place.solver_text(more, prefix="whole/s"))
    Path("whole").mkdir()
    whole = sqgen.train("whole.prototxt")
    assert whole.run["started_from"] is None
    ours, theirs = state_of(tmp_path), state_of(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert values.shape == theirs[name].shape
        assert real or np.array_equal(values, theirs[name])


def pair(prefix: str, iteration: int, when: int, place: Place) -> Path:
    """A whole snapshot, written at a time."""
    weights = Path(f"{prefix}_iter_{iteration}.caffemodel")
    shutil.copy(place.weights, weights)
    state = weights.with_suffix(".solverstate")
    message = SolverState(iter=iteration, learned_net=str(weights))
    state.write_bytes(bytes(message.SerializeToString()))
    os.utime(state, ns=(when, when))
    return state


def test_a_restart_takes_the_latest_iteration_of_its_own_training(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the clock says, and whatever an earlier training left."""
    monkeypatch.chdir(tmp_path)
    pair("s", 90, 500, place), pair("s", 20, 400, place)
    known = list_states("s")
    assert newest_snapshot("s", known) is None
    pair("s", 10, 300, place)
    later = pair("s", 20, 200, place)  # over the earlier one's, by a clock that was set back
    found = newest_snapshot("s", known)
    assert found is not None
    assert (found.path, found.iteration) == (str(later), 20)


@pytest.mark.slow
def test_the_command_to_go_on_works_for_a_solver_from_stdin(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the error says where the training is, though nothing was displayed."""
    monkeypatch.delenv("CAFFE_ROOT", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    words = ["train", "--solver", "-", "--run-dir", "run", "--batch-size", "4", "--keep-going"]
    process = start(words, tmp_path, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(place.solver_text("max_iter: 1000000 snapshot: 10"))
    process.stdin.close()
    process.stdin = None
    while not Path("s_iter_10.solverstate").exists():
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(process.wait(0.05))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    at = newest_snapshot("s")
    assert at is not None
    last = err.splitlines()[-1]
    iteration = at.iteration
    assert f"near iteration {iteration}; its last snapshot is s_iter_{iteration}." in last
    command = shlex.split(last.partition("go on with ")[2])
    assert command == "sqgen train --solver run/solver.prototxt --resume --keep-going".split()
    copy = Path("run/solver.prototxt")
    copy.write_text(copy.read_text().replace("max_iter: 1000000", f"max_iter: {iteration + 1}"))
    resumed = start(command[1:], tmp_path)
    out, err = resumed.communicate(timeout=PATIENCE)
    assert resumed.returncode == 0, err
    assert f"iterations to {iteration + 1}" in " ".join(out.split())


PREFIXES = (
    "s",
    "a b/s",
    "[x]*?/s.t+(r)",
    "ünïcode/雪",
    "-dash",
    "s_iter_5.solverstate",
    "a'\"$(b)/`c`",
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_odd_prefixes(
    prefix: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(prefix).parent.mkdir(exist_ok=True, parents=True)
    state = pair(prefix, 4, 10, place)
    for near in (f"{prefix}x", f"x{Path(prefix).name}"):
        pair(near, 5, 20, place)
    escaped = prefix.replace("\\", "\\\\").replace('"', '\\"')
    Path("solver.prototxt").write_text(place.solver_text("max_iter: 6", prefix=escaped))
    caffe = StandIn(tmp_path)("train_two_test_nets", calls=tmp_path / "calls")
    told: list[str] = []
    sqgen.train("solver.prototxt", resume=True, caffe=caffe, log=told.append)
    assert calls(tmp_path / "calls")[0][-1] == f"--snapshot={state}"
    assert any(line.startswith("resuming from ") and "iteration 4" in line for line in told)


def test_the_newest_whole_one(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert newest_snapshot("s") is None
    assert newest_snapshot("no/folder/s") is None
    pair("s", 10, 1, place)
    pair("s", 30, 2, place)
    whole = pair("s", 20, 3, place)  # of a later run, which has not got as far
    found = newest_snapshot("s")
    assert found is not None
    assert (found.path, found.iteration) == (str(whole), 20)
    assert found.remarks == [
        "s_iter_30.solverstate is older, but of a later iteration; --snapshot resumes from it"
    ]
    diverged = pair("s", 35, 4, place).with_suffix(".caffemodel")
    model = read_caffemodel(diverged)
    model.layer[0].blobs[0].data[0] = float("nan")
    diverged.write_bytes(bytes(model.SerializeToString()))
    cut = pair("s", 40, 4, place)
    cut.write_bytes(cut.read_bytes()[:-3])
    lonely = pair("s", 50, 5, place)
    lonely.with_suffix(".caffemodel").unlink()
    half = pair("s", 60, 6, place).with_suffix(".caffemodel")
    half.write_bytes(half.read_bytes()[:100])
    pair("s", 70, 7, place).write_bytes(b"")
    Path("s_iter_80.solverstate").mkdir()
    Path("s_iter_90.solverstate").symlink_to("nowhere")
    Path("s_iter_9x.solverstate").write_bytes(b"")
    found = newest_snapshot("s")
    assert found is not None
    assert found.path == str(whole)
    passed = [line.partition(":")[0] for line in found.remarks]
    assert passed.count("skipped") >= 5
    assert "skipped: s_iter_35.caffemodel: has weights that are nan or inf" in found.remarks


def test_snapshots_that_were_moved(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are found beside their state."""
    monkeypatch.chdir(tmp_path)
    pair("s", 5, 1, place)
    Path("there").mkdir()
    for path in tmp_path.glob("s_iter*"):
        path.rename(Path("there") / path.name)
    found = newest_snapshot("there/s")
    assert found is not None
    assert found.iteration == 5


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    every=st.integers(0, 40),
    last=st.integers(1, 120),
    start=st.integers(0, 119),
    after=st.booleans(),
)
def test_how_many_snapshots(every: int, last: int, start: int, after: bool) -> None:
    """As Solver::Solve writes them."""
    start = min(start, last - 1)
    text = f"net: 'n' snapshot: {every} max_iter: {last} snapshot_after_train: {str(after).lower()}"
    written = [n for n in range(start + 1, last + 1) if every and n % every == 0]
    if after and last not in written:
        written.append(last)
    assert count_snapshots(parse_solver(text, "s"), start) == len(written)


@pytest.mark.parametrize("kind", SOLVERS)
def test_room_is_what_a_snapshot_takes(
    kind: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate of a snapshot's bytes holds for histories of all solvers."""
    monkeypatch.chdir(tmp_path)
    shapes = check_net(read_net(place.net), "TRAIN").shapes
    solver = parse_solver(place.solver_text(f'max_iter: 1 type: "{kind}"'), "s")
    states = 2 if kind in ("Adam", "AdaDelta") else 1
    weights = place.weights.stat().st_size
    assert estimate_snapshot_bytes(solver, shapes) >= (1 + states) * (weights - 1000)
    assert estimate_snapshot_bytes(solver, shapes) <= (1 + states) * weights + SNAPSHOT_OVERHEAD


def test_prefixes_that_caffe_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for prefix, source, wanted in (
        ("", "a/my.solver.prototxt", "a/my.solver"),
        ('snapshot_prefix: "folder"', "a/x.prototxt", "folder/x"),
        ('snapshot_prefix: "s"', "a/x.prototxt", "s"),
        ("", "", "solver"),
    ):
        solver = parse_solver(f'net: "n" {prefix}', "x")
        complete_prefix(solver, source)
        assert solver.snapshot_prefix == wanted
    assert free_bytes("folder/s") > 0
    assert not list(Path("folder").iterdir())


def test_a_state_without_its_weights_is_refused(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = pair("s", 5, 1, place)
    state.with_suffix(".caffemodel").unlink()
    with pytest.raises(FormatError, match=r"its weights s_iter_5[.]caffemodel are not there"):
        sqgen.train(place.solver, snapshot=state)


@pytest.mark.parametrize(
    ("policy", "step", "message"),
    [
        ('lr_policy: "multistep" gamma: 0.1 stepvalue: 1 stepvalue: 2', 2, ""),
        (
            'lr_policy: "multistep" gamma: 0.1 stepvalue: 1',
            2,
            "in step 1 at iteration 3; the st",
        ),
        ('lr_policy: "multistep" gamma: 0.1 stepvalue: 3', 0, ""),  # not begun before iteration 3
        ('lr_policy: "step" gamma: 0.1 stepsize: 1', 2, ""),
        ('lr_policy: "step" gamma: 0.1 stepsize: 2', 2, "in step 1 at iteration 3; the solver's"),
        ('lr_policy: "fixed"', 0, ""),
        ('lr_policy: "fixed"', 1, "lr_policy fixed is in step 0 at iteration 3"),
    ],
)
def test_another_learning_rate_than_the_state_s(policy: str, step: int, message: str) -> None:
    told = lint_resume(parse_solver(f"net: 'n' base_lr: 1 {policy}"), 3, step)
    assert (told is None) == (not message)
    assert message in (told or "")


def test_a_resumed_training_says_that_its_rate_is_another(
    tmp_path: Path, place: Place, sqgen: Run
) -> None:
    policy = 'max_iter: 6 snapshot: 3 lr_policy: "step" gamma: 0.1 stepsize: %d'
    for name, stepsize in (("one", 1), ("two", 2)):
        text = place.solver_text(policy % stepsize).replace('lr_policy: "fixed" ', "")
        (tmp_path / f"{name}.prototxt").write_text(text)
    options = ("--engine", "torch", "--cpu")
    assert sqgen("train", "--solver", "one.prototxt", *options).returncode == 0
    again = ("--snapshot", "s_iter_3.solverstate", *options)
    assert "was written" not in sqgen("train", "--solver", "one.prototxt", *again).stderr
    other = sqgen("train", "--solver", "two.prototxt", *again)
    (line,) = [line for line in other.stderr.splitlines() if "was written" in line]
    assert line.endswith(
        "s_iter_3.solverstate: was written with stepsize 1 where the solver has stepsize 2 and in"
        " step 2 of its learning rate where lr_policy step is in step 1 at iteration 3; the"
        " solver's counts"
    )
    (tmp_path / "s_iter_3.sqgenstate").unlink()  # as of a real caffe
    other = sqgen("train", "--solver", "two.prototxt", *again)
    assert "s_iter_3.solverstate: was written in step 2 of its learning rate" in other.stderr


RATE = 'base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 100'
# What a state was written with, what resumes it; the warning.
RATES = {
    "the same": (RATE, RATE, ""),
    "fields that are not of the rate": (RATE, f"{RATE} momentum: 0.9 max_iter: 7 power: 2", ""),
    "another rate": (
        RATE,
        RATE.replace("0.01", "0.0005"),
        "with base_lr 0.01 where the solver has base_lr 0.0005; the solver's counts",
    ),
    "another policy": (
        RATE,
        'base_lr: 0.01 lr_policy: "fixed"',
        "with lr_policy step, gamma 0.1, stepsize 100 where the solver has lr_policy fixed; the",
    ),
    "another length": (
        'base_lr: 0.01 lr_policy: "poly" power: 1 max_iter: 100',
        'base_lr: 0.01 lr_policy: "poly" power: 1 max_iter: 200',
        "with max_iter 100 where the solver has max_iter 200; the solver's counts",
    ),
    "other steps": (
        'base_lr: 1 lr_policy: "multistep" gamma: 0.1 stepvalue: 5 stepvalue: 9',
        'base_lr: 1 lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 9',
        "with stepvalue 5 9 where the solver has stepvalue 2 9 and in step 0 of its learning rate"
        " where lr_policy multistep is in step 1 at iteration 3; the state's step counts",
    ),
}


@pytest.mark.parametrize("kind", RATES)
def test_a_rate_that_the_state_knows(kind: str) -> None:
    written, solver, message = RATES[kind]
    fields = rate_fields(parse_solver(f"net: 'n' {written}"))
    said = lint_resume(parse_solver(f"net: 'n' {solver}"), 3, 0, fields)
    assert (said is None) == (not message)
    assert message in (said or "")


def test_a_rate_that_an_option_changes_is_said(tmp_path: Path, place: Place, sqgen: Run) -> None:
    """By the runner on its standard error, and by the engine in its log; not of another's state."""
    (tmp_path / "solver.prototxt").write_text(place.solver_text("max_iter: 4 snapshot: 2"))
    words = ("train", "--solver", "solver.prototxt", "--engine", "torch", "--cpu")
    assert sqgen(*words).returncode == 0
    again = (*words, "--snapshot", "s_iter_2.solverstate", "--base-lr", "0.001")
    said = "was written with base_lr 0.01 where the solver has base_lr 0.001; the solver's counts"
    done = sqgen(*again, "--run-dir", "run")
    assert done.stderr.count(said) == 1
    assert (tmp_path / "run" / "caffe.log").read_text().count(said) == 1
    other = json.loads((tmp_path / "s_iter_2.sqgenstate").read_text())
    (tmp_path / "s_iter_2.sqgenstate").write_text(json.dumps({**other, "digest": "0"}))
    assert "was written" not in sqgen(*again).stderr


@pytest.mark.parametrize("rate", ["x", 3, ["a"], {"base_lr": [1]}, {"a\nb": "\x1b[1m"}, {}])
def test_a_damaged_rate_is_no_traceback(
    rate: object, tmp_path: Path, place: Place, sqgen: Run
) -> None:
    (tmp_path / "solver.prototxt").write_text(place.solver_text("max_iter: 3 snapshot: 2"))
    words = ("train", "--solver", "solver.prototxt", "--engine", "torch", "--cpu")
    assert sqgen(*words).returncode == 0
    file = tmp_path / "s_iter_2.sqgenstate"
    file.write_text(json.dumps({**json.loads(file.read_text()), "rate": rate}))
    done = sqgen(*words, "--resume")
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
