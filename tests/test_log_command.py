"""`sqgen log parse` from a terminal and a script, on complete and growing logs."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from sqgen import OutputError, parse_log
from sqgen.formats.files import NewFiles
from sqgen.logs.read_log import read_log
from sqgen.logs.rows import RowSink

from . import engine_server
from .conftest import Run
from .test_logs import HEAD, LOGS, displays, text_of


def test_table_json_and_csv(sqgen: Run, tmp_path: Path) -> None:
    log = str(LOGS / "train_two_test_nets.log.gz")
    table = sqgen("log", "parse", log).stdout
    assert "caffe train, completed" in table
    assert "net1:top1" in table
    plain = json.loads(sqgen("log", "parse", log, "--json").stdout)
    assert plain["format"] == 1
    assert plain["segments"][0]["train"][1]["loss"] == 2.31107
    both = json.loads(sqgen("log", "parse", log, log, "--json").stdout)
    assert both == [plain, plain]
    done = sqgen("log", "parse", log, "--csv", "out")
    assert (done.returncode, done.stdout) == (0, "")
    rows = (tmp_path / "out" / "train.csv").read_text().splitlines()
    assert rows[0] == "segment,iteration,seconds,lr,smoothed_loss,accuracy_top1,accuracy_top5,loss"
    assert rows[1] == "0,0,0.256224,0.03,3.50902,0.1875,0.40625,3.50902"
    assert rows[-1] == "0,60,2.191087,,2.29872,,,"
    tests = (tmp_path / "out" / "test.csv").read_text().splitlines()
    assert tests[-1] == "0,60,2.315459,1,0.103704,0.518519,8.07061"
    again = sqgen("log", "parse", log, "--csv", "out")
    assert again.returncode == 2
    assert "exists already; --force" in again.stderr
    assert sqgen("log", "parse", log, "--csv", "out", "--force").returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test.csv", "train.csv"]


def test_csv_keeps_what_was_printed(sqgen: Run, tmp_path: Path) -> None:
    text = HEAD + displays(["-nan", "1e-05", "2.30"], "1e-10")
    sqgen("log", "parse", "-", "--csv", ".", stdin=text)
    rows = [row.split(",")[3:5] for row in (tmp_path / "train.csv").read_text().splitlines()[1:]]
    assert rows == [["1e-10", "-nan"], ["1e-10", "1e-05"], ["1e-10", "2.30"]]


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("begins", [True, False])
def test_of_two_tests_the_batches_of_the_last_are_kept(
    batches: int, begins: bool, sqgen: Run, tmp_path: Path
) -> None:
    """In CSV as in JSON; `begins`: whether the log has the line that begins a test."""
    head, begin, rest = re.split("(.*Running for.*\n)", text_of("test_digits"))
    rest = re.sub(rf".*Batch (?:[{batches}-9]|10), .*\n", "", rest)
    second = re.sub(r"(Batch \d+, accuracy_top1) = .*", r"\1 = 0.5", rest)
    log = head + begin + rest + (begin if begins else "") + second
    assert sqgen("log", "parse", "-", "--csv", "out", stdin=log).returncode == 0
    with open(tmp_path / "out" / "batches.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    plain = json.loads(sqgen("log", "parse", "-", "--json", stdin=log).stdout)
    assert len(rows) == len(plain["batches"]) == batches
    assert {row["accuracy_top1"] for row in rows} == {"0.5"}
    printed = [{name: float(value) for name, value in row.items()} for row in rows]
    assert printed == [{"batch": b["batch"], **b["outputs"]} for b in plain["batches"]]


def test_csv_follows_links_and_writes_all_or_none(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "train.csv").symlink_to("elsewhere.csv")
    (tmp_path / "elsewhere.csv").write_text("old")
    log = str(LOGS / "train_two_test_nets.log.gz")
    (tmp_path / "test.csv").mkdir()
    done = sqgen("log", "parse", log, "--csv", ".", "--force")
    assert done.returncode == 2
    assert "test.csv: is a folder" in done.stderr
    assert (tmp_path / "elsewhere.csv").read_text() == "old"
    (tmp_path / "test.csv").rmdir()
    assert sqgen("log", "parse", log, "--csv", ".", "--force").returncode == 0
    assert (tmp_path / "train.csv").is_symlink()
    assert (tmp_path / "elsewhere.csv").read_text().startswith("segment,iteration,")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_row_that_cannot_be_written_is_no_error_of_the_log(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, which is not here")

    class Sink(RowSink):
        def __init__(self, file: BinaryIO) -> None:
            self.file = file

        def batch(self, index: str, name: str, value: str) -> None:
            self.file.write(bytes(1 << 20))

    def write() -> None:
        with NewFiles() as files, open(full, "wb") as target:
            file = files.open(tmp_path / "out.csv")
            os.dup2(target.fileno(), file.fileno())
            read_log(str(LOGS / "test_digits.log.gz"), Sink(file))

    with pytest.raises(OutputError, match=r"out.csv: can't write: no space left"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["parse", "train.log"],
        ["parse", "train.log", "--follow"],
        ["parse", "train.log", "--csv", "csv"],
        ["parse", "test.log"],
        ["parse", "test.log", "--follow"],
        ["compare", "train.log", "test.log"],
    ],
)
def test_no_escape_sequence_of_a_log_reaches_the_terminal(
    arguments: list[str], sqgen: Run, tmp_path: Path
) -> None:
    """Nor a byte that is not UTF-8, which standard output could not encode."""
    title = "\x1b]0;title\a\udcff"
    for kind, name in (("train", "train_two_test_nets"), ("test", "test_digits")):
        text = text_of(name).replace("accuracy_top5", f"accuracy_top5{title}")
        text = re.sub("(Solving|Snapshotting to binary proto file) ", rf"\1 {title}", text)
        last = [line for line in text.splitlines() if line.startswith("I")][-1]
        fatal = f"F{last[1:].partition(']')[0]}] Check failed: {title}\n"
        (tmp_path / f"{kind}.log").write_text(text + fatal, errors="surrogateescape")
    done = sqgen("log", *arguments)
    assert done.returncode == 0, done.stderr
    shown = done.stdout + done.stderr
    assert not [line for line in shown.splitlines() if not line.isprintable()]
    if arguments[0] == "parse" and "--csv" not in arguments:
        assert r"\x1b]0;title\x07\udcff" in done.stdout


def test_struck_scores_and_mistakes(sqgen: Run) -> None:
    shown = sqgen("log", "parse", str(LOGS / "train_diverged_nan.log.gz")).stdout
    assert "~~1~~" in shown
    assert "trouble: the loss is nan from iteration 20 on" in shown
    for arguments in (["nowhere.log"], ["."], [], ["a", "--json", "--csv", "b"]):
        done = sqgen("log", "parse", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_follow(sqgen: Run, tmp_path: Path) -> None:
    """A log that is over is not waited for."""
    (tmp_path / "test.log").write_text(text_of("test_digits"))
    done = sqgen("log", "parse", "test.log", "--follow")
    assert done.stdout.startswith("batch 0: accuracy_top1 0.740741\n")
    assert "top1   0.794613  accuracy_top1  by net" in done.stdout


def test_follow_a_growing_log(tmp_path: Path) -> None:
    """What has come is told before the rest is written; the end of the run ends it."""
    text = text_of("train_resume")
    half = text.index("Iteration 45 (")
    log = tmp_path / "train.log"
    log.write_text(text[:half])
    command = [engine_server.python(), "-m", "sqgen", "log", "parse", str(log), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        first = follower.stdout.readline()
        assert first.startswith("iteration 30: loss 2.32714, lr 0.015, ")
        with open(log, "a") as file:
            file.write(text[half:])
        rest = follower.stdout.read()
    assert follower.returncode == 0
    assert len(re.findall(r"^iteration \d+: loss", rest, re.MULTILINE)) == 30
    assert "caffe train, completed" in rest


@pytest.mark.process
def test_live_from_a_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "sqgen", "log", "parse", "-", "--follow"]
    text = text_of("test_digits")
    half = text.index("Batch 5, ")
    half = text.rindex("\n", 0, half) + 1
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdin is not None
        assert follower.stdout is not None
        follower.stdin.write(text[:half])
        follower.stdin.flush()
        assert follower.stdout.readline() == "batch 0: accuracy_top1 0.740741\n"
        follower.stdin.write(text[half:])
        follower.stdin.close()
        assert "caffe test, completed" in follower.stdout.read()
    assert follower.returncode == 0


def test_the_last_loss_and_rate_are_in_the_table(sqgen: Run, shared: Path) -> None:
    case = shared / "reported" / "35-log-parse-says-nothing-of-a-log-without-tests"
    shown = sqgen("log", "parse", str(case / "train.log")).stdout
    assert "  training   loss 1.52, learning rate 0.001\n" in shown


def test_several_logs_are_a_row_each(sqgen: Run) -> None:
    names = ("train_two_test_nets", "test_digits", "train_killed")
    shown = sqgen("log", "parse", *(str(LOGS / f"{name}.log.gz") for name in names)).stdout
    head, *rows = shown.splitlines()
    assert head.split()[:3] == ["log", "caffe", "completed"]
    assert "training loss" in head
    states = [tuple(row.split()[1:3]) for row in rows]
    assert states == [("train", "yes"), ("test", "yes"), ("train", "no")]
    assert "0.794613" in rows[1]


@pytest.mark.parametrize("command", ["parse", "plot", "compare"])
def test_a_file_that_is_no_log_is_refused(sqgen: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "notes.txt").write_text("Dear diary,\n")
    more = {"plot": ["-o", "x.png"], "compare": [str(LOGS / "test_digits.log.gz")]}
    done = sqgen("log", command, "notes.txt", *more.get(command, []))
    assert (done.returncode, done.stdout) == (2, "")
    assert "notes.txt: is neither a log of Caffe nor a result of sqgen" in done.stderr


def test_a_result_and_its_run_folder_read_as_their_log(sqgen: Run, tmp_path: Path) -> None:
    log = LOGS / "train_two_test_nets.log.gz"
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "caffe.log").write_bytes(gzip.decompress(log.read_bytes()))
    by_log = sqgen("log", "parse", str(log)).stdout.splitlines()[1:]
    assert sqgen("log", "parse", "run").stdout.splitlines()[1:] == by_log
    (folder / "result.json").write_text(sqgen("log", "parse", str(log), "--json").stdout)
    for source in ("run", "run/result.json"):
        assert sqgen("log", "parse", source).stdout.splitlines()[1:] == by_log
        assert sqgen("gate", source, "--min", "net1:top1=0.05").returncode == 0
    assert sqgen("log", "parse", "run", "--csv", "csv").returncode == 0
    assert (tmp_path / "csv" / "train.csv").exists()
    assert "is a folder without caffe.log" in sqgen("log", "parse", "csv").stderr


def test_times_of_layers_are_csv(sqgen: Run, tmp_path: Path) -> None:
    log = str(LOGS / "time_digits.log.gz")
    assert sqgen("log", "parse", log, "--csv", "out").returncode == 0
    (path,) = (tmp_path / "out").iterdir()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = parse_log(log).layer_times
    assert path.name == "layers.csv"
    assert [(row["layer"], float(row["forward_ms"])) for row in rows] == [
        (time.layer, time.forward) for time in expected
    ]


def test_csv_takes_no_dash(sqgen: Run) -> None:
    done = sqgen("log", "parse", str(LOGS / "test_digits.log.gz"), "--csv", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--csv -: give a folder" in done.stderr


def study(folder: Path) -> None:
    """A study of two runs, and folders that are none."""
    for name in ("study/a", "study/b", "study/plots", "other"):
        (folder / name).mkdir(parents=True)
    for name, log in (("a", "train_batchnorm"), ("b", "train_killed")):
        (folder / "study" / name / "caffe.log").write_text(text_of(log))


def test_a_study_stands_for_its_runs(sqgen: Run, tmp_path: Path) -> None:
    study(tmp_path)
    one = sqgen("log", "parse", "study")
    assert (one.returncode, one.stderr) == (0, "")
    assert [line.split()[0] for line in one.stdout.splitlines()[1:]] == [
        "study/a/caffe.log",
        "study/b/caffe.log",
    ]
    many = sqgen("log", "parse", "study", "other", "study/b")
    assert many.returncode == 0
    assert len(many.stdout.splitlines()) == 4
    assert many.stderr == "sqgen: warning: other: is a folder without runs, and is left out\n"
    assert len(json.loads(sqgen("log", "parse", "study", "--json").stdout)) == 2


def test_a_folder_without_runs_is_an_error(sqgen: Run, tmp_path: Path) -> None:
    study(tmp_path)
    for arguments in (["other"], ["other", "study/plots"]):
        done = sqgen("log", "parse", *arguments)
        assert done.returncode == 2
        assert done.stderr.endswith("other: is a folder without caffe.log; give a log\n")


def test_a_plot_of_a_study_names_runs_without_curves(sqgen: Run, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    study(tmp_path)
    (tmp_path / "study" / "c").mkdir()
    (tmp_path / "study" / "c" / "caffe.log").write_text(text_of("test_digits"))
    done = sqgen("log", "plot", "study", "-o", "a.svg")
    assert done.returncode == 0
    assert done.stderr == (
        "sqgen: warning: study/c: has no training rows, and is left out\nwrote a.svg\n"
    )


@pytest.mark.parametrize("command", [["log", "parse"], ["gate", "--min", "top1=0"]])
@pytest.mark.parametrize("name", ["README.md", "nowhere.log"])
def test_what_is_no_log_is_a_name_to_check(
    sqgen: Run, tmp_path: Path, command: list[str], name: str
) -> None:
    (tmp_path / "README.md").write_text("# A project\n")
    done = sqgen(*command, name)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.endswith("; check the name\n")
