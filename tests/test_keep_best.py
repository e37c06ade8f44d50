"""`sqgen train --keep-best`: the weights of the best test are kept, whatever stops the training."""

from __future__ import annotations

import json
import math
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

import sqgen
from sqgen import DesignError, LogResult, NetError
from sqgen.logs import result as rows_of
from sqgen.nets.definition import parse_solver
from sqgen.runner.best_weights import BestWeights
from sqgen.runner.options import RunOptions
from sqgen.runner.solver_preflight import ParsedSolver
from sqgen.runner.training_start import Start
from sqgen.text import number_text

from . import small_training as small
from .conftest import Run
from .small_runs import PATIENCE, Place, StandIn, start

BEST, RECORD = Path("s_best.caffemodel"), Path("s_best.json")
TESTED = "display: 5 test_iter: 4 test_interval: 4 momentum: 0.9"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked_engine: None) -> Path:
    monkeypatch.delenv("CAFFE_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def best_row(results: list[LogResult], output: str, sign: int) -> rows_of.TestRow:
    """The first of the best tests after iteration 0."""
    rows = [row for result in results for segment in result.segments for row in segment.test]
    return max((row for row in rows if row.iteration), key=lambda row: sign * row.outputs[output])


@pytest.mark.parametrize(
    ("score", "output", "sign", "snapshot"),
    [
        ("top1", "accuracy", 1, ""),
        ("loss", "loss", -1, "snapshot: 2"),
        ("accuracy", "accuracy", 1, "snapshot: 3"),
    ],
)
def test_the_best_test_is_kept(
    score: str, output: str, sign: int, snapshot: str, place: Place
) -> None:
    """With a snapshot at each test, which the copy of the solver gets where it lacks them."""
    Path("solver.prototxt").write_text(place.solver_text(f"max_iter: 24 {TESTED} {snapshot}"))
    said: list[str] = []
    shown: list[str] = []

    class Recorder:
        def update(self, step: int, text: str, trend: Sequence[float] = ()) -> None:
            shown.append(text)

    result = sqgen.train(
        "solver.prototxt",
        keep_best=score,
        log=said.append,
        progress=lambda total: nullcontext(Recorder()),
    )
    row = best_row([result], output, sign)
    best = result.run["best"]
    assert (best["iteration"], best["value"]) == (row.iteration, row.outputs[output])
    assert (best["score"], best["weights"]) == (score.replace("accuracy", "top1"), str(BEST))
    assert BEST.read_bytes() == Path(f"s_iter_{row.iteration}.caffemodel").read_bytes()
    interval = {"": "unset -> 4", "snapshot: 2": None, "snapshot: 3": "3 -> 4"}[snapshot]
    changes = [line for line in said if line.startswith("in the copy: snapshot")]
    assert changes == ([f"in the copy: snapshot {interval}"] if interval else [])
    standing = f"best {best['score']} {number_text(best['value'])}"
    assert re.match(rf"epoch \d+\.\d of \S+  {standing}  ", shown[-1]), shown
    words = shlex.split(best["test"])
    assert words[:2] == ["sqgen", "test"]
    tested = sqgen.test(words[3], words[5])
    found = tested.score(score)
    assert found is not None
    assert math.isclose(found.value, best["value"], rel_tol=1e-5)


@pytest.mark.slow
def test_it_survives_a_stop_and_a_resume(place: Place, folder: Path) -> None:
    """By Ctrl-C: the command to go on keeps it too, and a later test has to beat it."""
    Path("solver.prototxt").write_text(place.solver_text(f"max_iter: 1000000 {TESTED}"))
    words = ["train", "--solver", "solver.prototxt", "--keep-best", "top1", "--run-dir", "first"]
    process = start(words, folder)
    while not Path("s_iter_12.solverstate").exists():
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(process.wait(0.05))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    command = shlex.split(err.splitlines()[-1].partition("go on with ")[2])
    assert command[-2:] == ["--keep-best", "top1"]
    stored = json.loads(Path("first/result.json").read_text())["run"]["best"]
    assert json.loads(RECORD.read_text())["iteration"] == stored["iteration"]
    # A best that no later test can beat stays; one that any test beats does not.
    for value, kept in ((2.0, True), (-1.0, False)):
        record = {**json.loads(RECORD.read_text()), "value": value}
        RECORD.write_text(json.dumps(record))
        before = BEST.read_bytes()
        last = sorted(int(p.stem.split("_")[-1]) for p in Path().glob("s_iter_*.solverstate"))[-1]
        text = place.solver_text(f"max_iter: {last + 5} {TESTED}")
        Path("solver.prototxt").write_text(text)
        resumed = sqgen.train("solver.prototxt", resume=True, keep_best="top1")
        assert (resumed.run["best"]["value"] == value) == kept
        assert (resumed.run["best"]["iteration"] == record["iteration"]) == kept
        assert (BEST.read_bytes() == before) == kept


def keeper(
    place: Place, score: str = "top1", patience: int | None = None, **more: Any
) -> BestWeights:
    start = Start(**{"flags": [], **more})
    net = sqgen.parse_net(place.net.read_text())
    param = parse_solver(place.solver_text(f"max_iter: 100 {TESTED}"), "s")
    solver = ParsedSolver(param, "s", "")
    return BestWeights(RunOptions(), score, solver, [net], start, patience)


class Feed:
    """Stands for a Collector: the tests of a log so far."""

    def __init__(self) -> None:
        self.rows: list[rows_of.TestRow] = []
        self.run_number = 0

    def new_tests(self, seen: int) -> list[rows_of.TestRow]:
        return self.rows[seen:]

    def add(self, iteration: int, accuracy: float, loss: float = 1.0, net: int = 0) -> None:
        Path(f"s_iter_{iteration}.caffemodel").write_bytes(b"%d" % iteration)
        outputs = {"accuracy": accuracy, "loss": loss}
        self.rows.append(rows_of.TestRow(iteration, None, net, outputs))


def feed(best: BestWeights, *rows: tuple[Any, ...]) -> None:
    tests = Feed()
    for row in rows:
        tests.add(*row)
        best.watch(tests)  # type: ignore[arg-type]
    best.watch(tests)  # type: ignore[arg-type]


def test_which_test_is_the_best(place: Place) -> None:
    """The first of equals; none of iteration 0, of nan, or beside a loss of nan."""
    best = keeper(place)
    feed(best, (0, 0.9), (4, 0.3), (8, 0.5), (12, 0.5), (16, 0.8, math.nan), (20, math.nan))
    assert best.best is not None
    assert (best.best.iteration, BEST.read_bytes()) == (8, b"8")
    feed(best)
    lowest = keeper(place, "loss")
    feed(lowest, (4, 0.1, 2.0), (8, 0.9, 1.0), (12, 0.1, 1.5), (16, 0.1, math.inf))
    assert lowest.best is not None
    assert (lowest.best.iteration, lowest.best.value) == (8, 1.0)


def test_a_training_that_starts_again_repeats_tests(place: Place) -> None:
    """As after the loss of a process; what it repeats is no test more without a better one."""
    best = keeper(place, patience=3)
    tests = Feed()
    for row in ((4, 0.5), (8, 0.4)):
        tests.add(*row)
    assert not best.watch(tests)  # type: ignore[arg-type]
    tests.rows, tests.run_number = [], 1
    for row in ((4, 0.5), (8, 0.4), (12, 0.3)):
        tests.add(*row)
    assert not best.watch(tests)  # type: ignore[arg-type]
    tests.add(16, 0.2)
    assert best.watch(tests)  # type: ignore[arg-type]
    tests.add(20, 0.9)
    best.watch(tests)  # type: ignore[arg-type]
    assert best.best is not None
    assert best.best.iteration == 20


@pytest.mark.parametrize(
    "change",
    [
        {"score": "loss"},
        {"iteration": 50},
        {"digest": "0" * 64},
        {"value": "high"},
        {"weights": "nowhere"},
        {"more": 1},
    ],
)
def test_records_that_do_not_count(change: dict[str, Any], place: Place) -> None:
    """Of another score, a later iteration or other weights, and damaged ones."""
    feed(keeper(place), (4, 0.7))
    state = Path("s_iter_8.solverstate")
    state.write_bytes(small.state([], 8, 0))
    Path(small.START).write_bytes(place.weights.read_bytes())
    again = keeper(place, iteration=8, path=str(state))
    assert again.best is not None
    assert again.best.iteration == 4
    assert keeper(place).best is None  # a training from the start
    RECORD.write_text(json.dumps({**json.loads(RECORD.read_text()), **change}))
    changed = keeper(place, iteration=8, path=str(state))
    assert changed.best is None
    feed(changed, (8, 0.1))  # of the weights that the state names
    assert changed.best is not None
    assert BEST.read_bytes() == place.weights.read_bytes()


def test_a_full_disk_ends_no_training(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    best = keeper(place)
    feed(best, (4, 0.3))

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        feed(best, (8, 0.5))
    assert best.best is not None
    assert (best.best.iteration, BEST.read_bytes()) == (4, b"4")


def test_a_real_caffe(place: Place, folder: Path, sqgen: Run) -> None:
    """Only its log and its snapshots are used."""
    for iteration in range(0, 61, 20):
        Path(f"s_iter_{iteration}.caffemodel").write_bytes(b"%d" % iteration)
    caffe = StandIn(folder)("train_two_test_nets", calls=folder / "calls")
    Path("solver.prototxt").write_text(
        place.solver_text("max_iter: 60 test_iter: 4 test_interval: 20 snapshot: 20")
    )
    words = ("train", "--solver", "solver.prototxt", "--caffe", caffe, "--keep-best", "loss")
    done = sqgen(*words)
    assert done.returncode == 0, done.stderr
    best = json.loads(RECORD.read_text())
    assert BEST.read_bytes() == b"%d" % best["iteration"]
    assert f"best loss {best['value']:g} at iteration {best['iteration']}: s_best.caffemodel" in (
        " ".join(done.stdout.split())
    )
    assert "sqgen: next: sqgen test --model runs/" in done.stderr


def test_patience_that_ends_with_the_training(place: Place, folder: Path, sqgen: Run) -> None:
    """The request to stop reaches it after its last line, and ends its process."""
    for iteration in range(0, 61, 20):
        Path(f"s_iter_{iteration}.caffemodel").write_bytes(b"%d" % iteration)
    caffe = StandIn(folder)("train_two_test_nets", on_sigint=[], then=130)
    Path("solver.prototxt").write_text(
        place.solver_text("max_iter: 60 test_iter: 4 test_interval: 20 snapshot: 20")
    )
    words = ("train", "--solver", "solver.prototxt", "--caffe", caffe, "--keep-best", "loss")
    done = sqgen(*words, "--patience", "1")
    assert done.returncode == 0, done.stderr
    assert "kept in s_best.caffemodel" in done.stderr


def test_what_can_not_be_kept(place: Place) -> None:
    for more, error, message in (
        (f"max_iter: 24 {TESTED}", DesignError, "no score 'top7'"),
        ("max_iter: 24", NetError, "tests nothing; give it test_iter"),
        ("max_iter: 24 test_iter: 4 test_interval: 25", NetError, "max_iter 24 comes before"),
    ):
        Path("solver.prototxt").write_text(place.solver_text(more))
        with pytest.raises(error, match=message):
            sqgen.train("solver.prototxt", keep_best="top7", caffe="true")
    assert not Path("runs").exists()
