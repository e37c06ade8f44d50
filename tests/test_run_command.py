"""`sqgen test`, `train` and `time` on the command line and from Python."""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import sqgen
from sqgen.logs.collector import Collector
from sqgen.logs.events import NEVER, Output
from sqgen.runner.live_progress import LiveProgress, ProgressSteps
from sqgen.tools import progress_bar
from sqgen.tools.progress_bar import ProgressBar

from . import engine_server
from .small_runs import (
    PATIENCE,
    PYTHON,
    Alive,
    Place,
    StandIn,
    alive,
    calls,
    log_text,
    real_caffe,
    start,
)

pytestmark = pytest.mark.usefixtures("forked_engine")

CONTROL = re.compile(r"[^\n -~\u0080-\U0010ffff]")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.chdir(tmp_path)
    return StandIn(tmp_path)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Alive]:
    with alive(tmp_path) as pipe:
        yield pipe


def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [engine_server.python(), "-m", "sqgen", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def typed(place: Place, caffe: str, *more: str | Path) -> list[str | Path]:
    return ["test", "--model", place.net, "--weights", place.weights, "--caffe", caffe, *more]


def test_a_test(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    """Scores on standard output, the rest on standard error, no control characters."""
    done = run(*typed(place, stand_in("test_digits")))
    assert done.returncode == 0, done.stderr
    assert not CONTROL.search(done.stdout + done.stderr)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["score", "value", "standard", "error", "output"]
    assert lines[-1] == "64 of 64 images"
    assert re.search(r"^top1 +0\.794613 +\S+ +accuracy_top1$", done.stdout, re.MULTILINE)
    assert "engine " in done.stderr
    assert "given by --caffe" in done.stderr
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name in done.stderr
    assert re.fullmatch(r"\d{8}-\d{6}-net", folder.name)
    assert sorted(path.name for path in folder.iterdir()) == [
        "caffe.log",
        "command",
        "net.prototxt",
        "result.json",
    ]
    assert (folder / "caffe.log").read_bytes() == log_text("test_digits")


def test_json_is_one_document(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    done = run(
        *typed(place, stand_in("test_digits"), "--json", "--expect", "top1=0.5+-0.01"),
        "--quiet",
    )
    assert (done.returncode, done.stderr) == (1, "")
    plain = json.loads(done.stdout)
    assert plain["format"] == 1
    assert plain["passed"] is False
    kept = plain["run"]
    [folder] = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "result.json").read_text())["run"] == kept
    for name in (
        "folder",
        "working_folder",
        "commands",
        "engine",
        "versions",
        "machine",
        "changes",
        "seconds",
        "error",
        "weights",
        "coverage",
        "data",
    ):
        assert name in kept
    assert kept["weights"] == str(place.weights)
    assert kept["engine"]["kind"] == "caffe"
    assert plain["dataset"] == kept["data"][0]["digest"]
    assert re.fullmatch("lmdb-64-[0-9a-f]{16}", plain["dataset"])
    assert (folder / "command").read_text() == shlex.join(kept["commands"][0]) + "\n"
    # What is kept can be held again.
    held = run("gate", folder / "result.json", "--expect", "top1=0.794613+-0.0001")
    assert held.returncode == 0, held.stderr


def test_a_loss_of_nan_fails_a_test(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    """Without a gate, too: accuracies beside it mean nothing."""
    log = tmp_path / "nan.log"
    last = rb"loss = 0\.717864 \(\* 1 = 0\.717864 loss\)"
    log.write_bytes(re.sub(last, b"loss = -nan (* 1 = -nan loss)", log_text("test_digits")))
    done = run(*typed(place, stand_in(log=log)))
    assert done.returncode == 1
    assert "the net has diverged: accuracies beside such a loss mean nothing" in done.stdout
    as_json = run(*typed(place, stand_in(log=log), "--json"))
    assert (as_json.returncode, json.loads(as_json.stdout)["passed"]) == (1, False)


def test_the_verdict_names_weights_baseline_and_images(place: Place, stand_in: StandIn) -> None:
    arguments = typed(place, stand_in("test_digits"), "--baseline", "b.json", "--min", "top1=0.9")
    run(*typed(place, stand_in("test_digits"), "--baseline", "b.json", "--update-baseline"))
    verdict = run(*arguments).stdout.splitlines()[-1]
    assert verdict.startswith("FAIL: ")
    for part in (f"weights {place.weights}", "baseline b.json", "64 images"):
        assert part in verdict


def test_running_means_count_the_last_batch_by_its_images() -> None:
    steps = ProgressSteps(2, 50, last_images=20)
    texts: list[str] = []

    class Recorder:
        def update(self, step: int, text: str, trend: Sequence[float] = ()) -> None:
            texts.append(text)

    collector = Collector("caffe.log")
    live = LiveProgress(collector, Recorder(), steps)
    for batch, value in enumerate(("0.5", "1")):
        collector.batch(NEVER, str(batch), "accuracy", value)
        live.update()
    collector.score(NEVER, Output("accuracy", "0.642857"))
    live.update()
    assert texts[-1].endswith("top1 0.6429")  # (50 * 0.5 + 20 * 1) / 70


def test_behind_two_dashes(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    caffe = stand_in("test_digits", calls=tmp_path / "calls")
    odd = ["--minloglevel=1", "-x", "a b", "--", "$HOME", "--help"]
    done = run(*typed(place, caffe, "--iterations", "4", "--", *odd))
    assert done.returncode == 0, done.stderr
    assert calls(tmp_path / "calls")[0][-len(odd) :] == odd


def test_holds(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    """--expect, --baseline and their like are those of `sqgen gate`."""
    caffe = stand_in("test_digits")
    for more, code in (
        (["--expect", "top1=0.7946+-0.001"], 0),
        (["--min", "top1=0.9"], 1),
        (["--baseline", "b.json", "--update-baseline"], 0),
        (["--baseline", "b.json"], 0),
        (["--expect", "top9=1"], 2),
    ):
        done = run(*typed(place, caffe, *more))
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "b.json").exists()


def test_a_training(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    done = run("train", "--solver", place.solver, "--caffe", stand_in("train_two_test_nets"))
    assert done.returncode == 0, done.stderr
    assert "caffe train, completed" in done.stdout
    assert "training: 8 images an update, 6 updates of 64 records, 0.75 epochs" in done.stderr
    diverging = ("train", "--solver", place.solver, "--caffe", stand_in("train_diverged_nan"))
    done = run(*diverging, "--keep-going", "--json")
    assert done.returncode == 1
    assert "trouble: the loss is nan" in done.stderr
    assert json.loads(done.stdout)["troubles"][0]["name"] == "diverged"


def test_a_training_stops_where_its_loss_is_nan(
    place: Place, stand_in: StandIn, tmp_path: Path
) -> None:
    """Before its end, and without a snapshot of such weights."""
    log = log_text("train_diverged_nan")
    lines = log.splitlines()
    nan = [number for number, line in enumerate(lines) if b", loss = -nan" in line]
    caffe = stand_in("train_diverged_nan", lines=nan[1] + 5, wait=True, ignore=["SIGINT"])
    arguments = ("train", "--solver", place.solver, "--caffe", caffe, "--run-dir", "run")
    done = run(*arguments, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    message = done.stderr.splitlines()[-1]
    assert "the loss is nan from iteration" in message
    assert "so sqgen ended the training; lower base_lr" in message
    assert "go on with" not in message  # it would diverge again
    assert "--keep-going lets it run" in message
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["completed"], result["troubles"][0]["name"]) == (False, "diverged")


def test_a_timing(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    caffe = stand_in("time_digits", calls=tmp_path / "calls")
    done = run("time", "--model", place.net, "--iterations", "7", "--caffe", caffe)
    assert done.returncode == 0, done.stderr
    assert "forward" in done.stdout
    run("time", "--model", place.net, "--phase", "TEST", "--caffe", caffe, "--gpu", "0")
    first, second = calls(tmp_path / "calls")
    assert [first[0], first[-1]] == ["time", "--iterations=7"]
    assert second[-3:] == ["--iterations=50", "--phase=TEST", "--gpu=0"]


def test_help_has_examples() -> None:
    for command in ("test", "train", "time"):
        text = run(command, "--help").stdout
        assert f"  sqgen {command} --" in text


class Terminal:
    """A command on a terminal of its own; `text` is what it shows."""

    def __init__(self, arguments: list[str], columns: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 50, columns, 0, 0))
        env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            [PYTHON, "-m", "sqgen", *arguments],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=slave,
            env={**env, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def read(self, until: str | None = None) -> None:
        """Read to the end, or until something is shown."""
        while until is None or until not in self.text:
            assert select.select([self._master], [], [], PATIENCE)[0], self.text
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the end of a terminal
                data = b""
            if not data:
                break
            self.text += data.decode()

    def close(self) -> None:
        """The terminal goes away."""
        os.close(self._master)


def shown_lines(text: str) -> list[str]:
    """What stood in a line at some time."""
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", text)
    return re.split(r"[\r\n]+", plain)


@pytest.mark.process
@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_a_bar(columns: int, place: Place, stand_in: StandIn, living: Alive) -> None:
    """Never longer than the line; running scores and the rate where there is room."""
    tail = log_text("test_digits").decode().splitlines()[-20:]
    lines = len(log_text("test_digits").splitlines()) - 20
    caffe = stand_in("test_digits", lines=lines, on_sigint=tail, alive=living.path)
    terminal = Terminal([str(one) for one in typed(place, caffe, "--iterations", "11")], columns)
    terminal.read("45%")  # 5 of 11 batches; the sixth may have more lines
    os.kill(living.ready(), signal.SIGINT)
    terminal.read()
    out, _ = terminal.process.communicate(timeout=PATIENCE)
    terminal.close()
    assert terminal.process.returncode == 0
    assert b"\x1b" not in out
    bars = [line for line in shown_lines(terminal.text) if "%" in line]
    assert bars
    assert max(map(len, bars)) <= max(columns, 24)
    assert "100%" in bars[-1]
    if columns == 120:
        assert any("top1 0.7" in line and "images/s" in line for line in bars), bars


def test_quiet_hides_no_warning(place: Place, stand_in: StandIn) -> None:
    diverging = ("train", "--solver", place.solver, "--caffe", stand_in("train_diverged_nan"))
    done = run(*diverging, "--quiet")
    assert "sqgen: trouble: the loss is nan" in done.stderr
    assert "engine" not in done.stderr
    logged: list[str] = []
    options = sqgen.RunOptions(log=logged.append, quiet=True)
    options.log_line("a remark")
    options.warn("odd")
    assert logged == ["warning: odd"]


@pytest.mark.process
def test_a_training_bar(place: Place, stand_in: StandIn) -> None:
    caffe = stand_in("train_two_test_nets")
    terminal = Terminal(["train", "--solver", str(place.solver), "--caffe", caffe], 200)
    terminal.read()
    terminal.process.communicate(timeout=PATIENCE)
    terminal.close()
    bars = [line for line in shown_lines(terminal.text) if "%" in line]
    assert any("loss 2.29872" in line and "test at 60:  top1 0.0909" in line for line in bars), bars


@pytest.mark.process
def test_colours_can_be_off(place: Place, stand_in: StandIn) -> None:
    caffe = stand_in("test_digits")
    arguments = [str(one) for one in typed(place, caffe, "--min", "top1=0.1")]
    done = run(*arguments, env={**os.environ, "NO_COLOR": "1"})
    assert "\x1b" not in done.stdout
    quiet = Terminal([*arguments, "--quiet"], 80)
    quiet.read()
    quiet.process.communicate(timeout=PATIENCE)
    quiet.close()
    assert quiet.text == ""


@pytest.mark.process
def test_a_terminal_that_goes_away(
    place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    """A closed window sends SIGHUP: the training still writes its snapshot, and all is kept."""
    tail = log_text("train_sighup_sigint").decode().splitlines()[-40:]
    lines = len(log_text("train_sighup_sigint").splitlines()) - len(tail)
    caffe = stand_in("train_sighup_sigint", lines=lines, on_sigint=tail, alive=living.path)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(place.solver_text("max_iter: 400"))
    terminal = Terminal(
        ["train", "--solver", str(solver), "--caffe", caffe, "--run-dir", "run"], 100
    )
    living.ready()
    terminal.read("loss")
    terminal.close()
    terminal.process.send_signal(signal.SIGHUP)
    terminal.process.communicate(timeout=PATIENCE)
    living.gone()
    assert (tmp_path / "run" / "caffe.log").read_text().splitlines()[-40:] == tail
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "stopped by SIGHUP" in result["run"]["error"]
    assert result["snapshots"]


def test_a_reader_that_goes_away(
    place: Place, stand_in: StandIn, living: Alive, tmp_path: Path
) -> None:
    """`2>&1 | head -1`: the run is not ended for it."""
    tail = log_text("train_diverged_nan").decode().splitlines()[-200:]
    lines = len(log_text("train_diverged_nan").splitlines()) - 200
    caffe = stand_in("train_diverged_nan", lines=lines, on_sigint=tail, alive=living.path)
    arguments = ["train", "--solver", str(place.solver), "--caffe", caffe, "--run-dir", "run"]
    process = start([*arguments, "--keep-going"], tmp_path)
    child = living.ready()
    assert process.stderr is not None
    process.stderr.close()
    os.kill(child, signal.SIGINT)
    assert process.stdout is not None
    process.stdout.read()
    process.wait(PATIENCE)
    process.stdout.close()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["run"]["error"], result["completed"]) == (None, True)


def test_lines_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """One now and then, with what is left."""
    with ProgressBar(10, plain_interval=0.0) as bar:
        bar.update(5, "at five")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"5 of 10: at five, \d+ s left\n", err)


def test_a_note_fits_a_terminal_and_is_one_line_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = f"sqgen: failed: runs/base/seed-1: {'a reason ' * 20}end"
    progress_bar.print_note(note)
    assert capsys.readouterr().err == note + "\n"
    monkeypatch.setattr(progress_bar, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    progress_bar.print_note(note)
    lines = capsys.readouterr().err.strip().splitlines()  # click leaves a \r of the bar
    assert max(map(len, lines)) <= 60
    assert " ".join(map(str.strip, lines)) == note
    path = "/".join(["folder"] * 12)
    progress_bar.print_note(f"sqgen: {path}: skipped")
    assert path in capsys.readouterr().err  # whole, so that it can be pasted


def test_no_escape_sequence_of_an_output_reaches_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressBar(10) as bar:
        bar.update(10, "acc\x1b]0;title\a 0.5")
    assert r"acc\x1b]0;title\x07 0.5" in terminal.getvalue()
    assert "\x1b]" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("encoding", "spark"), [("utf-8", "▁█▅\N{MULTIPLICATION SIGN} 3 images/s"), ("ascii", None)]
)
def test_a_bar_shows_the_trend_where_it_can(
    monkeypatch: pytest.MonkeyPatch, encoding: str, spark: str | None
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressBar(10) as bar:
        bar.update(10, "3 images/s", [1.0, 3.0, 2.0, math.nan])
    terminal.flush()
    shown = terminal.buffer.getvalue().decode(encoding)
    assert (spark or "  3 images/s") in shown


def test_from_python(place: Place, stand_in: StandIn) -> None:
    """Quiet unless asked; the same from a thread, where no signal can be caught."""
    caffe = stand_in("test_digits")
    before = signal.getsignal(signal.SIGINT)
    result = sqgen.test(place.net, place.weights, caffe=caffe)
    assert signal.getsignal(signal.SIGINT) is before
    found: list[sqgen.LogResult] = []
    thread = threading.Thread(
        target=lambda: found.append(sqgen.test(str(place.net), str(place.weights), caffe=caffe))
    )
    thread.start()
    thread.join()
    for one in (result, *found):
        score = one.score("top1")
        assert score is not None
        assert (score.value, one.images) == (0.794613, 64)
        assert Path(one.run["folder"]).is_dir()
    trained = sqgen.train(place.solver, caffe=stand_in("train_two_test_nets"))
    assert trained.completed
    with pytest.raises(sqgen.CrashError) as caught:
        sqgen.train(place.solver, caffe=stand_in("train_killed", then="SIGKILL"))
    assert caught.value.result.command == "train"
    assert caught.value.result.run["error"] in str(caught.value)
    with pytest.raises(TypeError):
        sqgen.test(place.net, place.weights, no_such_option=1)


def test_what_goes_on_after_a_crash(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    """The error of a training with a snapshot has the command, with all that was typed."""
    caffe = stand_in("train_sighup_sigint", then="SIGKILL", calls=tmp_path / "calls")
    how: dict[str, Any] = {"gpu": 0, "batch_size": 4, "arguments": ["--v=1"]}
    with pytest.raises(sqgen.CrashError) as caught:
        sqgen.train(place.solver, caffe=caffe, data=place.data, **how)
    _, command = str(caught.value).split("; go on with ")
    words = shlex.split(command)
    assert words[:5] == ["sqgen", "train", "--solver", str(place.solver), "--resume"]
    typed = {"--data": str(place.data), "--batch-size": "4", "--gpu": "0", "--caffe": caffe}
    for flag, value in typed.items():
        assert words[words.index(flag) + 1] == value
    assert words[-2:] == ["--", "--v=1"]
    assert "--gpu=0" in calls(tmp_path / "calls")[0]


def test_an_engine_that_tested_others(place: Place, stand_in: StandIn, tmp_path: Path) -> None:
    """Ours says how many records it tested; they are those that were counted, or it is an error."""
    caffe = stand_in("test_digits", version="caffe version 1.0.0 (sqgen-caffe 9)")
    with pytest.raises(sqgen.CrashError, match="tested 297 of 64 records") as caught:
        sqgen.test(place.net, place.weights, caffe=caffe, run_dir="run")
    kept = json.loads((tmp_path / "run" / "result.json").read_text())
    assert kept["run"]["error"] == str(caught.value)
    assert kept["run"]["engine"]["kind"] == "torch"


def test_mistakes_in_python(place: Place, stand_in: StandIn) -> None:
    caffe = stand_in("test_digits")
    for wrong in (
        {"iterations": 0},
        {"batch_size": 0},
        {"engine": "tf"},
        {"run_dir": "a\0b"},
        {"gpu": "x"},
        {"gpu": -1},
        {"arguments": "--v=1"},
        {"arguments": ["--iterations=3"]},
        {"arguments": ["-model", "x"]},
        {"data": "a\0b"},
    ):
        options: dict[str, Any] = {"caffe": caffe, **wrong}
        with pytest.raises(sqgen.SqgenError) as caught:
            sqgen.test(place.net, place.weights, **options)
        assert str(caught.value).isprintable()
    with pytest.raises(sqgen.SqgenError, match="no phase 'test'"):
        sqgen.time(place.net, phase="test", caffe=caffe)
    wrong_counts: list[dict[str, Any]] = [{"iterations": 0}, {"batch_size": 0}]
    for wrong in wrong_counts:
        told = "0 iterations; give one or more" if "iterations" in wrong else "a batch of 0"
        with pytest.raises(sqgen.SqgenError, match=told):
            sqgen.test(place.net, place.weights, **wrong)
        with pytest.raises(sqgen.SqgenError, match=told):
            sqgen.time(place.net, place.weights, **wrong)


@pytest.mark.parametrize("real", [False, True])
def test_end_to_end(
    real: bool, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train, test and time with an engine that computes."""
    if real:
        real_caffe(monkeypatch)
    how: dict[str, Any] = {"engine": "caffe" if real else "torch"}
    monkeypatch.chdir(tmp_path)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(place.solver_text("max_iter: 20 display: 5 test_iter: 4 test_interval: 10"))
    trained = sqgen.train(solver, weights=place.weights, cpu=True, **how)
    assert trained.completed
    tested = sqgen.test(place.net, "s_iter_20.caffemodel", **how)
    for role in ("top1", "loss"):
        ours, theirs = tested.score(role), trained.score(role)
        assert ours is not None
        assert theirs is not None
        assert ours.value == pytest.approx(theirs.value, rel=1e-4)
    assert tested.images == 64
    assert tested.dataset == trained.dataset
    assert tested.net_digest == trained.net_digest
    if real:
        assert tested.run["engine"]["version"].startswith("1.0.0")
        timed = sqgen.time(place.net, iterations=2, **how)
        assert {one.layer for one in timed.layer_times} >= {"conv1", "ip"}


def test_weights_of_another_net_end_in_one_line(place: Place, tmp_path: Path) -> None:
    """What only the engine finds: its own words, and where its log is."""
    net = place.net.read_text().replace("num_output: 5", "num_output: 5 axis: 7")
    (tmp_path / "net.prototxt").write_text(net)
    done = run(
        "test", "--model", "net.prototxt", "--weights", place.weights, "--engine", "torch",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("sqgen: ")
    assert "Traceback" not in done.stderr
