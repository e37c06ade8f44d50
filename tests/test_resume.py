"""A stopped and resumed training ends as the uninterrupted one does, bit for bit.

With a build of BVLC Caffe in CAFFE_ROOT, it and the engine also resume each other's snapshots.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import lmdb
import numpy as np
import pytest

from sqgen.engine import command
from sqgen.engine.snapshots import read_snapshot
from sqgen.errors import FormatError
from sqgen.formats.caffemodel import read_caffemodel, read_solver_state
from sqgen.formats.schema import Datum
from sqgen.formats.snapshot_files import newest_snapshot
from sqgen.runner.preflight import check_solver_state

from .devices import device_flags
from .small_training import (
    POOL1,
    RANDOM,
    RELU1,
    START,
    accuracy,
    assert_same_messages,
    batch_norm,
    caffe,
    data,
    dropout,
    engine,
    final,
    flat,
    loss,
    make_run,
    net,
    run_messages,
    spawn,
    weights,
    write_data,
)

IMAGES = data("TRAIN", 3, RANDOM).replace('type: "Data"', 'type: "ImageData"')
IMAGES = re.sub(
    r"data_param \{.*?\}",
    'image_data_param { source: "../list.txt" batch_size: 5 shuffle: true rand_skip: 4 }',
    IMAGES,
)
TWO_TESTS = (
    data("TEST", 6, RANDOM, 'stage: "a"')
    + data("TEST", 7, RANDOM, 'stage: "b"')
)  # fmt: skip
SCORES = loss() + accuracy()
NETS = {
    # Batch sizes that don't divide the number of records.
    "random": net(
        inputs=data("TRAIN", 7, RANDOM) + TWO_TESTS,
        middle=RELU1 + dropout("conv1") + POOL1,
        scores=SCORES,
    ),
    "batch_norm": net(
        inputs=data("TRAIN", 7, RANDOM) + TWO_TESTS,
        middle=batch_norm("conv1") + RELU1 + POOL1 + dropout("pool1"),
        scores=SCORES,
    ),
    "images": net(inputs=IMAGES + TWO_TESTS, middle=RELU1 + dropout("conv1") + POOL1),
}
COMMON = (
    'net: "net.prototxt" snapshot_prefix: "s" solver_mode: CPU display: 1 average_loss: 4'
    " base_lr: 0.01 lr_policy: 'multistep' gamma: 0.5 stepvalue: 3 stepvalue: 11 stepvalue: 14"
    " weight_decay: 0.01 test_iter: 3 test_iter: 2 test_interval: 4 test_compute_loss: true"
    " test_state { stage: 'a' } test_state { stage: 'b' } "
)
KINDS = {
    "random": 'type: "Adam" iter_size: 2 momentum: 0.9 ',
    "batch_norm": 'type: "Nesterov" momentum: 0.9 iter_size: 2 random_seed: 8 ',
    "images": "momentum: 0.9 ",
}
# Two threads take long where there is little to compute; where batches run whole, one test does it.
THREADS = {"random": (), "batch_norm": ("--threads=1",), "images": ("--threads=1",)}
TRAIN = ("train", "--solver=solver.prototxt", "--threads=2")
LAST = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("resume")
    write_data(made)
    return made


Engine = Callable[..., list[str]]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Engine:
    """Train in this process, in a folder: the log from the first step on."""

    def run(place: Path, *flags: str, code: int = 0) -> list[str]:
        monkeypatch.chdir(place)
        ended, log = engine((*TRAIN, *flags), capsys)
        assert ended == code, log
        return run_messages(log) if code == 0 else log.splitlines()

    return run


def place_for(folder: Path, name: str, kind: str, more: str = f"max_iter: {LAST}") -> Path:
    return make_run(folder, name, NETS[kind], COMMON + KINDS[kind] + more)


def whole_run(
    folder: Path, train: Engine, kind: str, more: str, flags: tuple[str, ...]
) -> tuple[Path, list[str]]:
    """An uninterrupted run and its log; tests that want the same share it."""
    name = re.sub(r"\W+", "_", f"whole_{kind}_{more}_{'_'.join(flags)}")
    log = folder / name / "log.json"
    if not log.exists():
        log.write_text(json.dumps(train(place_for(folder, name, kind, more), *flags)))
    return folder / name, json.loads(log.read_text())


def set_solver(place: Path, kind: str, more: str) -> None:
    (place / "solver.prototxt").write_text(COMMON + KINDS[kind] + more)


def states(place: Path) -> list[Path]:
    """The solver states, by iteration."""
    found = place.glob("s_iter_*.solverstate")
    return sorted(found, key=lambda path: int(path.stem.split("_")[-1]))


def iteration(state: Path) -> int:
    return int(state.stem.split("_")[-1])


def assert_equal(place: Path, other: Path) -> None:
    """The last snapshots hold the same weights and history, bit for bit."""
    assert iteration(states(place)[-1]) == iteration(states(other)[-1])
    made, wanted = final(place), final(other)
    for key in ("weights", "history"):
        np.testing.assert_array_equal(made[key].view(np.uint64), wanted[key].view(np.uint64))


def from_iteration(log: list[str], start: int) -> list[str]:
    """What is told of iterations from `start` on, but for snapshots."""
    first = next(
        i for i, line in enumerate(log) if re.match(rf"Iteration {start}(?: \(|, Testing)", line)
    )
    return [line for line in log[first:] if not line.startswith("Snapshotting")]


class _Watched(io.TextIOBase):
    """A stream that acts when the first log line whose text starts so is written."""

    def __init__(self, stream: TextIO, start: str, act: Callable[[], None]) -> None:
        self.stream = stream
        self.act: Callable[[], None] | None = act
        self.line = re.compile(r"\w+ [\d:.]+ +\d+ [\w.]+:\d+\] " + re.escape(start))

    def write(self, text: str) -> int:
        count = self.stream.write(text)
        if self.act is not None and self.line.match(text):
            act, self.act = self.act, None
            act()
        return count

    def flush(self) -> None:
        self.stream.flush()


def at_line(monkeypatch: pytest.MonkeyPatch, start: str, act: Callable[[], None]) -> None:
    """Act when the first line that starts so is logged."""
    monkeypatch.setattr(sys, "stderr", _Watched(sys.stderr, start, act))


STOPS = [
    ("random", "Iteration 5 (", signal.SIGINT),
    ("random", "Iteration 8, Testing net (#0)", signal.SIGTERM),
    ("random", "Iteration 8, Testing net (#1)", signal.SIGINT),
    ("random", f"Iteration {LAST - 1} (", signal.SIGINT),
    ("batch_norm", "Iteration 11 (", signal.SIGTERM),
    ("batch_norm", "Iteration 12, Testing net (#1)", signal.SIGINT),
    ("images", "Iteration 13 (", signal.SIGINT),
]


@pytest.mark.parametrize(("kind", "line", "number"), STOPS)
def test_a_stopped_run_goes_on(
    kind: str,
    line: str,
    number: signal.Signals,
    folder: Path,
    train: Engine,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
) -> None:
    """Weights and the whole log; where no seed is given too."""
    name = f"{kind}{STOPS.index((kind, line, number))}_{device[:4]}"
    flags = (*THREADS[kind], *device_flags(device))
    seed = "" if "random_seed" in KINDS[kind] else "random_seed: 3"
    whole, wanted = whole_run(folder, train, kind, f"max_iter: {LAST} {seed}", flags)
    stopped = place_for(folder, f"{name}_stopped", kind, f"max_iter: {LAST} {seed}")
    with monkeypatch.context() as patch:
        at_line(patch, line, lambda: signal.raise_signal(number))
        log = train(stopped, *flags)
    assert log[-2:] == ["Optimization stopped early.", "Optimization Done."]
    assert ("Test interrupted." in log) == ("Testing" in line)
    (state,) = states(stopped)
    assert iteration(state) == int(re.sub(r"\D", "", line[:12])) + line.endswith("(")
    # The seed is that of the state: the solver's may go.
    set_solver(stopped, kind, f"max_iter: {LAST}")
    log = train(stopped, *flags, f"--snapshot={state.name}")
    assert_equal(stopped, whole)
    if iteration(state) < LAST:
        assert from_iteration(log, iteration(state)) == from_iteration(wanted, iteration(state))


@pytest.mark.parametrize("line", ["Iteration 5 (", "Iteration 8, Testing net (#1)"])
def test_a_run_whose_data_is_truncated_goes_on(
    line: str, folder: Path, train: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It saves what it has, says why it ends, and resumes exactly once the data is there again."""
    solver = f"max_iter: {LAST} random_seed: 3"
    whole, _ = whole_run(folder, train, "random", solver, ())
    shutil.copytree(folder / "data", tmp_path / "data")
    place, file = place_for(tmp_path, "place", "random", solver), tmp_path / "data" / "data.mdb"
    with monkeypatch.context() as patch:
        at_line(patch, line, lambda: os.truncate(file, 3 * 4096))
        *_, fatal = train(place, code=2)
    assert re.match(r"F.*\.\./data/data.mdb: truncated: has 12,288 bytes and needs", fatal)
    (state,) = states(place)
    assert iteration(state) >= 5
    shutil.copy(folder / "data" / "data.mdb", file)
    train(place, f"--snapshot={state.name}")
    assert_equal(place, whole)


BAD_LABEL = Datum(channels=3, height=12, width=10, data=bytes(360), label=99).SerializeToString()


@pytest.mark.parametrize(
    ("saves", "value", "said", "found"),
    [
        ("", b"?", "record 30 (from 0): is not a Datum", ["s_iter_2"]),
        ("", BAD_LABEL, "label 99 ", ["s_iter_2"]),
        ("snapshot_after_train: false", b"?", "record 30 (from 0): is not a Datum", []),
    ],
)
def test_a_record_that_is_damaged_ends_a_run(
    saves: str, value: bytes, said: str, found: list[str], train: Engine, tmp_path: Path
) -> None:
    write_data(tmp_path)
    with (
        lmdb.open(str(tmp_path / "data"), map_size=1 << 26) as env,
        env.begin(write=True) as change,
    ):
        key = sorted(key for key, _ in change.cursor())[30]
        change.put(key, value)
    place = place_for(tmp_path, "place", "random", f"max_iter: {LAST} {saves}")
    log = train(place, code=2)
    assert said in log[-1]
    assert [state.stem for state in states(place)] == found


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("when", [4, 7])
def test_a_run_goes_on_from_any_snapshot(
    kind: str, when: int, folder: Path, train: Engine, device: str
) -> None:
    """As after kill -9: what was done since the snapshot is done again. Twice in a row."""
    name, solver = f"{kind}_{when}_{device[:4]}", f"max_iter: {LAST} snapshot: {when}"
    flags = (*THREADS[kind], *device_flags(device))
    whole = place_for(folder, f"{name}_any", kind, solver)
    wanted = train(whole, *flags)
    part = place_for(folder, f"{name}_part", kind, solver)
    for count in (1, 2):
        for file in whole.glob(f"s_iter_{when * count}.*"):
            shutil.copy(file, part)
        state = f"s_iter_{when * count}.solverstate"
        log = train(part, *flags, f"--snapshot={state}")
        assert from_iteration(log, when * count) == from_iteration(wanted, when * count)
        assert_equal(part, whole)


@pytest.mark.parametrize("kind", ["random", "batch_norm", "images"])
def test_a_killed_process_goes_on(kind: str, folder: Path, train: Engine) -> None:
    """SIGKILL, SIGINT and SIGTERM for a process of its own, at a line of its log."""
    number = {"random": signal.SIGKILL, "batch_norm": signal.SIGINT, "images": signal.SIGTERM}[kind]
    seed = "" if kind == "batch_norm" else "random_seed: 6"
    place = place_for(folder, f"{kind}_killed", kind, f"max_iter: 1000000 snapshot: 6 {seed}")
    with spawn(TRAIN, place) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "] Iteration 14 (" in line:
                process.send_signal(number)
        code = process.wait()
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    state = states(place)[-1]
    if number != signal.SIGKILL:
        assert iteration(state) >= 15
    last = iteration(state) + 8
    whole = place_for(folder, f"{kind}_not_killed", kind, f"max_iter: {last} {seed}")
    wanted = train(whole)
    set_solver(place, kind, f"max_iter: {last}")
    log = train(place, f"--snapshot={state.name}")
    assert from_iteration(log, iteration(state)) == from_iteration(wanted, iteration(state))
    assert_equal(place, whole)


# Without the file of ours.


@pytest.mark.parametrize("how", ["gone", "stale", "damaged", "another format", "other data"])
def test_without_its_position_a_state_resumes_as_caffe_does(
    how: str, folder: Path, train: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data starts at its first record, and the log says so."""
    name = how.replace(" ", "_")
    place = make_run(
        folder,
        f"without_{name}",
        net(),
        f'net: "net.prototxt" weights: "{START}" snapshot_prefix: "s" snapshot: 3 max_iter: 6'
        ' display: 1 base_lr: 0.02 lr_policy: "fixed"',
    )
    whole = train(place)
    state, kept = place / "s_iter_3.solverstate", place / "s_iter_3.sqgenstate"
    log = engine((*TRAIN, f"--snapshot={state.name}"), capsys)[1]
    assert "Resuming exactly" in log
    assert from_iteration(run_messages(log), 3) == from_iteration(whole, 3)
    if how == "gone":
        kept.unlink()
    elif how == "stale":
        shutil.copy(place / "s_iter_6.sqgenstate", kept)
    elif how == "damaged":
        kept.write_bytes(kept.read_bytes()[:-9])
    elif how == "another format":
        kept.write_text(json.dumps({**json.loads(kept.read_text()), "format": 99}))
    else:
        renamed = net().replace('name: "data"', 'name: "other"')
        (place / "net.prototxt").write_text(renamed)
    log = engine((*TRAIN, f"--snapshot={state.name}"), capsys)[1]
    assert "Resuming exactly" not in log
    problem = "has no matching .sqgenstate beside it"
    if how == "other data":
        problem = "is of nets with other data layers"
    assert f"s_iter_3.solverstate {problem}: resuming as Caffe does" in log
    resumed = from_iteration(run_messages(log), 3)
    assert resumed != from_iteration(whole, 3)
    fresh = engine((*TRAIN, "--weights=s_iter_3.caffemodel"), capsys)[1]
    assert resumed[1] == from_iteration(run_messages(fresh), 0)[1]


@pytest.fixture(scope="module")
def both_runs(folder: Path) -> Path:
    """A folder with the files of a run of 6 iterations, and with those of one from its end."""
    solver = (
        f'net: "net.prototxt" weights: "{START}" snapshot_prefix: "s" snapshot: 3 max_iter: 6'
        ' base_lr: 0.02 lr_policy: "fixed"'
    )
    made = folder / "both"
    made.mkdir()
    (made / "data").symlink_to(folder / "data")
    first, other = (make_run(made, name, net(), solver) for name in ("first", "other"))
    with pytest.MonkeyPatch.context() as patch:
        for place in (first, other):
            patch.chdir(place)
            assert command.run(TRAIN) == 0
            shutil.copy(first / "s_iter_6.caffemodel", other / START)
    return made


@pytest.fixture
def snapshot(both_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first of them, to change, as the current folder; the data are beside it."""
    shutil.copytree(both_runs, tmp_path / "runs", symlinks=True)
    monkeypatch.chdir(tmp_path / "runs" / "first")
    return tmp_path / "runs" / "first"


@pytest.fixture
def other_run(snapshot: Path) -> Path:
    """The other, which starts from its end."""
    return snapshot.parent / "other"


KINDS_OF_FILES = ("caffemodel", "sqgenstate", "solverstate")


@pytest.mark.parametrize("replaced", range(8))
def test_two_runs_with_one_prefix(
    replaced: int, snapshot: Path, other_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resume of any mixture of their files is exact and right, or refused, or as Caffe does it.

    The last is left where weights and solver state are of one run, and the .sqgenstate of another.
    """
    kinds = {kind for bit, kind in enumerate(KINDS_OF_FILES) if replaced & 1 << bit}
    for kind in kinds:
        shutil.copy(other_run / f"s_iter_3.{kind}", snapshot)
    code, log = engine((*TRAIN, "--snapshot=s_iter_3.solverstate"), capsys)
    (snapshot / "s_iter_6.solverstate").unlink()
    resumed = newest_snapshot("s")
    if kinds in (set(), set(KINDS_OF_FILES)):
        assert (code, "Resuming exactly" in log) == (0, True)
        whole = other_run if kinds else snapshot
        assert np.array_equal(weights_of(snapshot, 6), weights_of(whole, 6))
    elif kinds in ({"sqgenstate"}, {"caffemodel", "solverstate"}):
        assert (code, "resuming as Caffe does" in log) == (0, True)
    else:
        assert code == 2
        assert "s_iter_3.solverstate: another run with this snapshot_prefix has replaced" in log
        assert "start from the weights with --weights" in log
        assert resumed is None  # --resume takes an older one
        with pytest.raises(FormatError, match="another run with this snapshot_prefix"):
            check_solver_state("s_iter_3.solverstate")
        return
    assert resumed is not None
    assert resumed.path == "s_iter_3.solverstate"


def weights_of(place: Path, iteration: int) -> np.ndarray[Any, Any]:
    blobs = weights(place / f"s_iter_{iteration}.caffemodel").values()
    return flat([blob for layer in blobs for blob in layer])


def test_files_put_aside_are_a_snapshot_of_their_own(
    snapshot: Path, other_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the state names weights that another run has replaced since."""
    aside = snapshot / "aside"
    aside.mkdir()
    for kind in KINDS_OF_FILES:
        shutil.copy(snapshot / f"s_iter_3.{kind}", aside)
        shutil.copy(other_run / f"s_iter_3.{kind}", snapshot)
    whole = weights_of(snapshot, 6)
    code, log = engine((*TRAIN, "--snapshot=aside/s_iter_3.solverstate"), capsys)
    assert (code, "Resuming exactly" in log) == (0, True)
    assert np.array_equal(weights_of(snapshot, 6), whole)


def test_states_of_earlier_versions_resume(
    snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = json.loads((snapshot / "s_iter_3.sqgenstate").read_text())
    del earlier["weights_digest"]  # as before it was kept
    (snapshot / "s_iter_3.sqgenstate").write_text(json.dumps(earlier))
    code, log = engine((*TRAIN, "--snapshot=s_iter_3.solverstate"), capsys)
    assert (code, "Resuming exactly" in log) == (0, True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iteration", "3"),
        ("seed", None),
        ("seed", -1),
        ("seed", 0.5),
        ("seed", 10**400),
        ("passes", None),
        ("passes", [3, 3]),
        ("passes", {"0": 3}),
        ("passes", [-1]),
        ("records", [{"data": "3"}]),
        ("records", [{"data": 10**30}]),
        ("records", [[]]),
        ("losses", ["0.5"]),
        ("losses", None),
        ("smoothed", 10**400),
        ("smoothed", {}),
        ("threads", "\x1b[31m"),
        ("threads", 0),
        ("precision", "fp8"),
        ("precision", 1),
        ("another", 1),
    ],
)
def test_values_of_another_kind_are_no_resume_state(
    snapshot: Path, field: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the digest fits: nothing but its own checks protects the file."""
    file = snapshot / "s_iter_3.sqgenstate"
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    code, log = engine((*TRAIN, "--snapshot=s_iter_3.solverstate"), capsys)
    assert code == 0
    assert "has no matching .sqgenstate beside it: resuming as Caffe does" in log
    assert "defect" not in log


def test_a_resume_state_may_be_nested_without_end(
    snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (snapshot / "s_iter_3.sqgenstate").write_text("[" * 100_000)
    code, log = engine((*TRAIN, "--snapshot=s_iter_3.solverstate"), capsys)
    assert (code, "has no matching .sqgenstate" in log) == (0, True)


def test_other_threads_and_precision_are_told(
    folder: Path, train: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    place = place_for(folder, "other_threads", "random", "max_iter: 3")
    train(place)
    code, log = engine((*TRAIN, "--snapshot=s_iter_3.solverstate", "--threads=1"), capsys)
    assert code == 0
    assert "with 1 threads in fp32 instead of 2 in fp32" in log


def test_files_that_moved_together_resume(folder: Path, train: Engine) -> None:
    """The state names its weights by a path that is no more."""
    place = place_for(folder, "moved", "random", "max_iter: 8 snapshot: 4")
    wanted = train(place)
    kept = place / "kept"
    kept.mkdir()
    for file in place.glob("s_iter_4.*"):
        file.rename(kept / file.name)
    log = train(place, "--snapshot=kept/s_iter_4.solverstate")
    assert from_iteration(log, 4) == from_iteration(wanted, 4)
    (kept / "s_iter_4.caffemodel").unlink()
    log = train(place, "--snapshot=kept/s_iter_4.solverstate", code=2)
    assert "s_iter_4.caffemodel are not there, nor beside it" in log[-1]


def test_a_longer_run_goes_on_from_the_end_of_a_shorter(folder: Path, train: Engine) -> None:
    """What the end of a run shows is no part of it."""
    short = place_for(folder, "short", "random", "max_iter: 8 random_seed: 2")
    train(short)
    long = place_for(folder, "long", "random", "max_iter: 13 random_seed: 2")
    wanted = train(long)
    set_solver(short, "random", "max_iter: 13")
    log = train(short, "--snapshot=s_iter_8.solverstate")
    assert from_iteration(log, 8) == from_iteration(wanted, 8)
    assert_equal(short, long)


# Signals.


def hang_up() -> None:
    signal.raise_signal(signal.SIGHUP)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("line", "act", "flag", "saved", "ends"),
    [
        ("Iteration 2 (", hang_up, "", [3, 6], 6),
        ("Iteration 4, Testing net (#1)", hang_up, "", [4, 6], 6),
        ("Iteration 2 (", hang_up, "--sighup_effect=none", [6], 6),
        ("Iteration 2 (", hang_up, "--sighup_effect=stop", [3], 3),
        ("Iteration 2 (", interrupt, "", [3], 3),
        ("Iteration 2 (", interrupt, "--sigint_effect=none", [6], 6),
        ("Iteration 2 (", interrupt, "--sigint_effect=snapshot", [3, 6], 6),
        ("Iteration 0, Testing net (#1)", interrupt, "--sigint_effect=stop", [0], 0),
        ("Solving small", interrupt, "", [0], 0),
    ],
)
def test_what_signals_do(
    line: str,
    act: Callable[[], None],
    flag: str,
    saved: list[int],
    ends: int,
    folder: Path,
    train: Engine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    place = place_for(folder, tmp_path.name, "random", "max_iter: 6")
    at_line(monkeypatch, line, act)
    log = train(place, *filter(None, [flag]))
    assert [iteration(state) for state in states(place)] == saved
    assert ("Optimization stopped early." in log) == (ends < 6)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)) == before


def test_a_snapshot_while_testing_resumes_before_the_test(
    folder: Path, train: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test nets' data goes on where it stood before the test that is done again."""
    place = place_for(folder, "in_test", "random", "max_iter: 12 random_seed: 1")
    with monkeypatch.context() as patch:
        at_line(patch, "Iteration 4, Testing net (#1)", hang_up)
        wanted = train(place)
    log = train(place, "--snapshot=s_iter_4.solverstate")
    assert from_iteration(log, 4) == from_iteration(wanted, 4)


# Snapshots are whole or not there.


def kill(place: Path, snapshots: int, moment: int) -> None:
    """Train with a snapshot after each iteration, and kill it some time after a number of them."""
    with spawn(("train", "--solver=solver.prototxt", "--threads=1"), place) as process:
        assert process.stderr is not None
        for line in process.stderr:
            snapshots -= "Snapshotting" in line
            if not snapshots:
                break
        for _ in range(moment):
            pass
        process.kill()
        process.stderr.read()  # to its very end


def test_a_kill_leaves_no_half_snapshot(folder: Path) -> None:
    """At whatever moment of runs that save after each iteration, over what is there."""
    places = [
        make_run(
            folder,
            f"killed_{number}",
            net(),
            'net: "net.prototxt" snapshot_prefix: "s" snapshot: 1 max_iter: 100000 base_lr: 0.01'
            ' lr_policy: "fixed" solver_mode: CPU',
        )
        for number in range(12)
    ]
    for place in places:  # of an older run, to be replaced
        for number in range(1, 4):
            (place / f"s_iter_{number}.sqgenstate").write_text("{}")
    draw = random.Random(5)
    for place in places:
        kill(place, draw.randint(1, 12), draw.randint(0, 4000))
    found = 0
    for place in places:
        for state in states(place):
            found += 1
            named = Path(read_solver_state(state).learned_net)
            assert named.name == f"{state.stem}.caffemodel"
            assert [layer.name for layer in read_caffemodel(place / named).layer if layer.blobs]
            assert read_snapshot(str(state)).resume_state is not None
        for model in place.glob("s_iter_*.caffemodel"):
            read_caffemodel(model)
    assert found > 12


# What stands in the way is told before the first iteration.


def contents(place: Path) -> dict[str, str]:
    """A digest of every file."""
    return {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("prefix", ["nowhere/s", "net.prototxt/s", "x" * 300])
@pytest.mark.parametrize("more", ["snapshot: 5", "snapshot_after_train: true"])
def test_a_prefix_that_cannot_be_written(
    prefix: str, more: str, folder: Path, train: Engine, tmp_path: Path
) -> None:
    place = place_for(folder, tmp_path.name, "random", "max_iter: 3 " + more)
    text = (place / "solver.prototxt").read_text().replace('prefix: "s"', f'prefix: "{prefix}"')
    (place / "solver.prototxt").write_text(text)
    before = contents(place)
    log = train(place, code=2)
    assert re.match(r"F\d{4} .*\] Cannot write to snapshot prefix '", log[-1])
    assert not any("Iteration" in line for line in log)
    assert contents(place) == before


def test_too_little_room(folder: Path, train: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_for(folder, "no_room", "random", "max_iter: 3 snapshot: 1")
    before = contents(place)
    usage = shutil.disk_usage(place)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    log = train(place, code=2)
    assert re.match(r"F\d{4} .*\] no disk space for snapshots at 's': one needs 1 MiB, 1", log[-1])
    assert not any("Iteration" in line for line in log)
    assert contents(place) == before
    set_solver(place, "random", "max_iter: 3 snapshot_after_train: false")
    train(place)  # needs none


def test_failing_runs_leave_snapshots_as_they_are(
    folder: Path, train: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_for(folder, "failing", "random", "max_iter: 4 snapshot: 2")
    train(place)
    model = (place / "s_iter_4.caffemodel").read_bytes()
    state = (place / "s_iter_4.solverstate").read_bytes()
    (place / "cut.caffemodel").write_bytes(model[: len(model) // 2])
    (place / "cut.solverstate").write_bytes(state[: len(state) // 2])
    before = contents(place)

    def fails(*flags: str) -> str:
        log = train(place, *flags, code=2)
        assert re.match(r"F\d{4} ", log[-1])
        assert contents(place) == before
        return log[-1]

    assert "cut.caffemodel" in fails("--weights=cut.caffemodel")
    assert "cut.solverstate" in fails("--snapshot=cut.solverstate")
    assert ".caffemodel" in fails("--snapshot=s_iter_4.caffemodel")
    assert "no such file" in fails("--snapshot=s_iter_9.solverstate")
    text = (place / "solver.prototxt").read_text()
    (place / "solver.prototxt").write_text(text.replace('"Adam"', '"SGD"'))
    before = contents(place)
    assert "Incorrect length of history blobs" in fails("--snapshot=s_iter_4.solverstate")
    (place / "solver.prototxt").write_text(text)
    (place / "net.prototxt").write_text(NETS["random"].replace("num_output: 6", "num_output: 7"))
    before = contents(place)
    assert "has shape (6, 3, 3, 3)" in fails("--snapshot=s_iter_4.solverstate")
    assert "shape mismatch" in fails("--weights=s_iter_4.caffemodel")
    (place / "net.prototxt").write_text(NETS["random"].replace('"../data"', '"../nothing"'))
    before = contents(place)
    fails("--snapshot=s_iter_4.solverstate")
    (place / "net.prototxt").write_text(NETS["random"])
    before = contents(place)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "can't write: no space left on device" in fails()


# Caffe and the engine, each going on from the other's files.

SOLVERS = {
    "SGD": "momentum: 0.9",
    "Nesterov": 'type: "Nesterov" momentum: 0.9',
    "AdaGrad": 'type: "AdaGrad"',
    "RMSProp": 'type: "RMSProp" rms_decay: 0.9',
    "AdaDelta": 'type: "AdaDelta" momentum: 0.9 delta: 1e-5',
    "Adam": 'type: "Adam" momentum: 0.9',
    "BatchNorm": "momentum: 0.9",
}


@pytest.mark.parametrize("first", ["caffe", "engine"])
@pytest.mark.parametrize("kind", SOLVERS)
def test_caffe_and_the_engine_read_each_other(
    kind: str, first: str, folder: Path, capsys: pytest.CaptureFixture[str], train: Engine
) -> None:
    if "CAFFE_ROOT" not in os.environ:
        pytest.skip("needs a build of BVLC Caffe in the folder that CAFFE_ROOT names")
    text = net(middle=batch_norm("conv1") + RELU1 + POOL1) if kind == "BatchNorm" else net()
    solver = (
        f'net: "net.prototxt" snapshot_prefix: "s" weights: "{START}" display: 1 snapshot: 8'
        " max_iter: 14 test_iter: 4 test_interval: 7 base_lr: 0.01 lr_policy: 'multistep'"
        " gamma: 0.5 stepvalue: 4 stepvalue: 10 weight_decay: 0.01 solver_mode: CPU "
        + SOLVERS[kind]
    )
    place = make_run(folder, f"{kind}_{first}", text, solver)
    if first == "engine":
        train(place)
        (place / "s_iter_8.sqgenstate").unlink()
    else:
        assert caffe(TRAIN[:2], place).returncode == 0
    resume = "--snapshot=s_iter_8.solverstate"
    theirs = caffe((*TRAIN[:2], resume), place)
    assert theirs.returncode == 0, theirs.stderr
    wanted = final(place)
    assert_same_messages(train(place, resume), run_messages(theirs.stderr), 1e-4)
    for key, array in final(place).items():
        error = np.linalg.norm(array - wanted[key]) / np.linalg.norm(wanted[key])
        assert error < 1e-4, (key, error)
    test = ("test", "--model=net.prototxt", "--weights=s_iter_8.caffemodel", "--iterations=4")
    scored = caffe(test, place)
    assert scored.returncode == 0, scored.stderr
    assert_same_messages(run_messages(engine(test, capsys)[1]), run_messages(scored.stderr), 1e-5)
