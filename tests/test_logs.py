"""The log parser: recorded logs of Caffe, and every variation of a log.

BVLC Caffe (master, 9b89154) wrote `data/logs/*.log.gz`; `data/logs/*.json` are their results,
checked by hand, and rewritten only by SQGEN_GOLDEN=write make test.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from sqgen import FormatError, LogResult, parse_log
from sqgen.formats import prototxt
from sqgen.formats.schema import NetParameter, SolverParameter
from sqgen.logs.clock import Clock
from sqgen.logs.events import Listener
from sqgen.logs.parser import Parser

from .conftest import DATA

LOGS = DATA / "logs"
NAMES = sorted(path.name.removesuffix(".log.gz") for path in LOGS.glob("*.log.gz"))


def text_of(name: str) -> str:
    return gzip.decompress((LOGS / f"{name}.log.gz").read_bytes()).decode()


def parse(text: str | bytes) -> LogResult:
    return parse_log(io.BytesIO(text if isinstance(text, bytes) else text.encode()))


def summed(result: LogResult) -> dict[str, Any]:
    """A result without where it is from."""
    return {**result.as_dict(), "source": ""}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_log(name: str) -> None:
    result = summed(parse(text_of(name)))
    path = LOGS / f"{name}.json"
    if os.environ.get("SQGEN_GOLDEN") == "write":
        path.write_text(json.dumps(result, indent=1) + "\n")
    assert result == json.loads(path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_no_row_is_lost_or_invented(name: str) -> None:
    """By counting lines of the text, without the parser."""
    text, result = text_of(name), parse(text_of(name))
    rows = [row for segment in result.segments for row in segment.train]
    tests = [row for segment in result.segments for row in segment.test]
    assert len(rows) == len(re.findall(r"Iteration \d+.*, loss = ", text))
    assert sum(row.lr is not None for row in rows) == len(re.findall(r", lr = ", text))
    assert sum(len(row.outputs) for row in rows) == text.count("Train net output #")
    assert sum(len(row.outputs) for row in tests) == text.count("Test net output #")
    assert len(tests) == text.count("Testing net (#")
    assert sum(len(row.outputs) for row in result.batches) == len(re.findall(r"\] Batch \d", text))
    assert len(result.snapshots) == text.count("Snapshotting to binary")
    assert (result.fatal is not None) == name.startswith("fatal")


FINAL = {
    "test_digits": ("test", True, {"accuracy_top1": 0.794613, "accuracy_top5": 0.986532}),
    "test_digits_mmdd": ("test", True, {"accuracy_top1": 0.794613, "accuracy_top5": 0.986532}),
    "train_batchnorm": ("train", True, {"accuracy_top1": 0.936027, "accuracy_top5": 1.0}),
    "train_killed": ("train", False, {"accuracy_top1": 0.144781, "accuracy_top5": 0.478114}),
    "train_sighup_sigint": ("train", False, {"accuracy_top1": 0.188552}),
    "train_resume": ("train", True, {"accuracy_top1": 0.0841751}),
    "time_digits": ("time", True, {}),
}


@pytest.mark.parametrize("name", FINAL)
def test_last_word(name: str) -> None:
    command, completed, scores = FINAL[name]
    result = parse(text_of(name))
    assert (result.command, result.completed) == (command, completed)
    found = {score.name: score.value for score in result.scores}
    assert scores.items() <= found.items()
    assert all(score.by == "net" and score.valid for score in result.scores)
    assert result.images in (297, None)


def test_two_test_nets() -> None:
    result = parse(text_of("train_two_test_nets"))
    values = [result.score("top1", net) for net in (0, 1, 2)]
    assert [value and value.value for value in values] == [0.0909091, 0.103704, None]
    best = result.score("top-k")
    assert best is not None
    assert (best.k, best.name) == (5, "accuracy_top5")


def test_accuracy_beside_a_loss_that_is_nan_is_struck() -> None:
    result = parse(text_of("train_diverged_nan"))
    top1 = result.score("top1")
    assert top1 is not None
    assert (top1.value, top1.valid) == (1.0, False)
    assert [trouble.name for trouble in result.troubles] == ["diverged"]
    assert "nan from iteration 20 on" in result.troubles[0].message
    assert "base_lr (it is 0.05" in result.troubles[0].remedy


CAUSES = {
    "fatal_bad_solver_value": "gamma is negative",
    "fatal_gpu_cpu_only": "without GPU support",
    "fatal_missing_lmdb": "LMDB of a Data layer is not there",
    "fatal_missing_net": "d_simple.prototxt is not there",
    "fatal_missing_weights": "nonexist.caffemodel can't be opened",
    "fatal_shape_mismatch": "fire2/expand1x1 has another shape",
    "fatal_unknown_field": '96:17: Message type "caffe.ConvolutionParameter" has no field named',
}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("fatal")])
def test_fatal(name: str) -> None:
    fatal = parse(text_of(name)).fatal
    assert fatal is not None
    assert CAUSES[name] in fatal.cause
    assert fatal.remedy
    assert re.fullmatch(r"\w+\.[ch]pp:\d+", fatal.place)


def test_an_unknown_fatal_error_is_told_as_it_is() -> None:
    fatal = parse("F1123 02:37:19.366457 1 x.cpp:66] Check failed: a == b (1 vs. 2)\n").fatal
    assert fatal is not None
    assert (fatal.place, fatal.message) == ("x.cpp:66", "Check failed: a == b (1 vs. 2)")


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            "Check failed: ReadProtoFromBinaryFile(param_file, param) Failed to parse NetParameter"
            " file: a.caffemodel",
            "a.caffemodel is no caffemodel, or is cut off",
        ),
        ("Check failed: a == b (0 vs. 4) Incorrect length of history blobs.", "not a solver state"),
        ("Unknown learning rate policy: ", "the solver has no learning rate policy"),
        ("Unknown learning rate policy: fixedd", "there is no learning rate policy fixedd"),
        ("Check failed: this->param_.stepsize() > 0 (0 vs. 0) ", "needs a stepsize"),
        ("Check failed: param_.test_interval() > 0 (0 vs. 0) ", "but no test_interval"),
        ("Check failed: registry.count(type) == 1 (0 vs. 1) Unknown solver type: Adamm", "Adamm"),
        (
            "Check failed: num_output_ % group_ == 0 (2 vs. 0) Number of output should be multiples"
            " of group.",
            "group does not divide",
        ),
        ("Check failed: data_ ", "a batch_size or a shape is missing"),
        (
            "Check failed: top_k_ <= bottom[0]->count() / bottom[1]->count() (50 vs. 10) top_k must"
            " be less than or equal to the number of classes.",
            "top_k is above the number of classes",
        ),
    ],
)
def test_causes(message: str, cause: str) -> None:
    """As BVLC Caffe said it when it was made to."""
    fatal = parse(f"F1123 02:37:19.366457 1 x.cpp:66] {message}\n").fatal
    assert fatal is not None
    assert cause in fatal.cause


def test_ends_without_a_fatal_line() -> None:
    flag = parse("ERROR: unknown command line flag 'solvr'\n").fatal
    assert flag is not None
    assert flag.cause == "caffe has no flag --solvr"
    crashed = parse("*** SIGSEGV (@0x0) received by PID 7 (TID 0x7) from PID 0; stack trace: ***\n")
    assert crashed.fatal is not None
    assert "labels that are not 0 to classes - 1" in crashed.fatal.cause
    assert not crashed.completed
    truncated = parse(
        "*** SIGBUS (@0x7f) received by PID 7 (TID 0x7) from PID 0; stack trace: ***\n"
    )
    assert truncated.fatal is not None
    assert "such as an LMDB, is truncated" in truncated.fatal.cause


# Shapes of logs


def test_the_lines_of_the_readmes() -> None:
    """songhan/SqueezeNet-Residual's own log, all of it."""
    result = parse(
        "I0422 14:07:39.810755 32299 caffe.cpp:293] accuracy_top1 = 0.603759\n"
        "I0422 14:07:39.810775 32299 caffe.cpp:293] accuracy_top5 = 0.824981\n"
        "I0422 14:07:39.810792 32299 caffe.cpp:293] loss = 1.76711 (* 1 = 1.76711 loss)"
    )
    assert [(s.value, s.role, s.k, s.by) for s in result.scores] == [
        (0.603759, "top-1", 1, "name"),
        (0.824981, "top-k", 5, "name"),
        (1.76711, "loss", None, "net"),
    ]
    assert (result.command, result.completed) == ("test", True)


def stripped(text: str) -> str:
    return re.sub(r"^[IWEF]\d+ [\d:.]+ +\d+ \S+\] ", "", text, flags=re.MULTILINE)


def without_times(result: LogResult) -> dict[str, Any]:
    plain = summed(result)
    for key in ("start", "end"):
        plain[key] = None
    for segment in plain["segments"]:
        segment |= {"start": None, "end": None, "seconds": None}
        for row in segment["train"] + segment["test"]:
            row["seconds"] = None
    return plain


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("fatal")])
def test_prefix_stripped(name: str) -> None:
    text = text_of(name)
    assert without_times(parse(stripped(text))) == without_times(parse(text))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: re.sub(r"^([IWEF])2026(\d{4} )", r"\1\2", text, flags=re.MULTILINE),
        lambda text: re.sub(r"^(?=.)", "caffe_1  | ", text, flags=re.MULTILINE),
        lambda text: re.sub(r"^(?=.)", "2026-11-23T02:37:17.1234567Z ", text, flags=re.MULTILINE),
        lambda text: re.sub(r"^(I\d+ [\d:.]+ )", r"foreign Iteration 5, lr = 3\n\1", text),
        lambda text: re.sub(r"iters\)", "iter)", text),
    ],
    ids=["crlf", "no year", "compose", "ci", "foreign", "singular"],
)
def test_other_shapes_say_the_same(name: str, change: Any) -> None:
    text = text_of(name)
    if "caffe_1" in change("x"):
        text = re.sub(r"(?m)^(?![IWEF]\d).*\n", "", text)  # dumps have no prefix to be found by
    if "2026-11" in change("x"):
        text = re.sub(r"(?m)^(?![IWEF]\d).*\n", "", text)
    assert without_times(parse(change(text))) == without_times(parse(text))


@pytest.mark.parametrize("lead", ["", "node-7 12:00:01 "])
@pytest.mark.parametrize("name", ["train_two_test_nets", "train_resume"])
def test_lines_of_other_ranks_are_not_the_runs(name: str, lead: str) -> None:
    """Whatever they say, and wherever they stand."""
    lines = text_of(name).splitlines()
    mixed = []
    for number, line in enumerate(lines):
        mixed += [line, f"[rank {number % 3 + 1}] {line}"]
    one, several = (parse("".join(f"{lead}{x}\n" for x in text)) for text in (lines, mixed))
    assert summed(several) == summed(one)


@pytest.mark.parametrize("turn", [1, -1])
def test_the_cause_of_a_fault_is_that_of_the_rank_which_knows_it(turn: int) -> None:
    """As torchrun's ranks print them, in any order."""
    lines = [
        "F1127 12:00:00.000001 7 world.py:1] lost the other ranks: connection closed",
        "[rank 1] F1127 12:00:00.000001 8 reader.py:1] record 21 is damaged",
        "[rank 2] F1127 12:00:00.000001 9 world.py:1] lost the other ranks: connection closed",
    ]
    fatal = parse("".join(f"{line}\n" for line in lines[::turn])).fatal
    assert fatal is not None
    assert (fatal.message, fatal.place) == ("rank 1: record 21 is damaged", "reader.py:1")


def test_older_and_other_forms_of_the_iteration_line() -> None:
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    result = parse(
        f"{p}Iteration 0, loss = 2.5\n{p}    Train net output #0: loss = 2.5 (* 1 = 2.5 loss)\n"
        f"{p}Iteration 0, lr = 0.01\n"
        f"{p}Iteration 20 (241.076/s), loss = 2.25\n{p}Iteration 20 (241.076/s), lr = 0.01\n"
        f"{p}Iteration 40 (36.05 iter/s, 2.7s/100 iter), 0.3/76.8ep, loss = 2e-05\n"
        f"{p}Iteration 40, lr = 1e-10\n"
        f"{p}Iteration 60 (1 iter/s, 20s/20 iters), loss = 1\n"
    )
    rows = result.segments[0].train
    assert [(row.iteration, row.loss, row.lr) for row in rows] == [
        (0, 2.5, 0.01),
        (20, 2.25, 0.01),
        (40, 2e-05, 1e-10),
        (60, 1.0, None),
    ]


def test_a_log_of_2014() -> None:
    """The rate before the loss, test scores without names."""
    p = "I0311 23:51:10.000000 19955 solver.cpp:114] "
    result = parse(
        f"{p}Iteration 0, Testing net\n{p}Test score #0: 0.001\n{p}Test score #1: 6.9\n"
        f"{p}Iteration 100, lr = 0.00992565\n{p}Iteration 100, loss = 0.26044\n"
        f"{p}Iteration 200, lr = 0.00992\n{p}Iteration 200, loss = 0.25\n{p}Optimization Done.\n"
    )
    segment = result.segments[0]
    assert [(row.iteration, row.loss, row.lr) for row in segment.train] == [
        (100, 0.26044, 0.00992565),
        (200, 0.25, 0.00992),
    ]
    assert segment.test[0].outputs == {"score #0": 0.001, "score #1": 6.9}
    assert result.completed


def test_a_log_of_nvcaffe() -> None:
    p = "I0822 12:00:01.000000 1 solver.cpp:218] "
    result = parse(
        f"{p}[0.0] Iteration 0 (0.123 s), loss = 6.9\n"
        f"{p}Iteration 0, lr = 0.01, m = 0.9, lrm = 0.1, wd = 0.0005, gs = 1\n"
        f"{p}[0.0] Iteration 100 (5 iter/s, 19.2s/100 iter), 2.3/90ep, loss = 2.5\n"
    )
    rows = result.segments[0].train
    assert [(row.iteration, row.loss, row.lr) for row in rows] == [(0, 6.9, 0.01), (100, 2.5, None)]


def test_colours() -> None:
    text = text_of("test_digits")
    red = re.sub(r"^(I\d+)", "\x1b[32m\\1\x1b[0m", text, flags=re.MULTILINE)
    assert summed(parse(red)) == summed(parse(text))


def test_foreign_lines_in_a_dump_do_not_cost_the_net() -> None:
    text = text_of("test_digits")
    half = text.index('  name: "conv1"')
    foreign = "warning: libdc1394 is not there\nbash: no job control\n"
    assert summed(parse(text[:half] + foreign + text[half:])) == summed(parse(text))


def test_an_output_of_several_elements() -> None:
    """A blob of n elements is printed n times under one name."""
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    shown = "".join(f"{p}    T%s net output #{i}: by class = 0.{i}\n" for i in range(3))
    text = f"{p}Iteration %d, Testing net (#0)\n" + shown.replace("T%s", "Test")
    text += f"{p}Iteration %d, loss = 1\n" + shown.replace("T%s", "Train")
    text += f"{p}Iteration %d, lr = 1\n"
    result = parse("".join(text.replace("%d", str(at)) for at in range(0, 100, 20)))
    wanted = {"by class": 0.0, "by class[1]": 0.1, "by class[2]": 0.2}
    assert all(row.outputs == wanted for row in result.segments[0].train)
    assert all(row.outputs == wanted for row in result.segments[0].test)
    assert len(result.segments[0].train) == 5
    c = "I1123 02:37:19.366457 1 caffe.cpp:228] "
    batches = "".join(f"{c}Batch {b}, x = {b}\n{c}Batch {b}, x = 7\n" for b in range(2))
    tested = parse(f"{c}Running for 2 iterations.\n{batches}{c}Loss: 1\n{c}x = 0.5\n{c}x = 7\n")
    assert [batch.outputs for batch in tested.batches] == [{"x": b, "x[1]": 7} for b in (0, 1)]
    assert {score.name: score.value for score in tested.scores} == {"x": 0.5, "x[1]": 7}
    assert tested.completed


@pytest.mark.parametrize(
    ("name", "role", "k"),
    [
        ("loss1/top-1", "top-1", 1),
        ("loss3/top-5", "top-k", 5),
        ("accuracy@5", "top-k", 5),
        ("Accuracy_TOP5", "top-k", 5),
        ("acc", "top-1", 1),
        ("loss1/loss", "loss", None),
        ("top1_error", "output", None),
        ("stop_rate", "output", None),
        ("mse", "output", None),
    ],
)
def test_roles_by_name(name: str, role: str, k: int | None) -> None:
    score = parse(f"I1123 02:37:19.366457 1 caffe.cpp:228] {name} = 0.5\n").scores[0]
    assert (score.role, score.k, score.by) == (role, k, "name")


def test_a_stripped_stamp_has_no_time() -> None:
    clock = Clock()
    assert clock.seconds(("", "", "")) is None
    assert clock.seconds(("0230", "00:00:01.5", "7")) == 1.5
    assert clock.seconds(("", "", "")) is None


def test_a_clock_that_is_set_back() -> None:
    lines = [("02:59:59.0", 0), ("02:00:01.0", 10), ("02:00:03.0", 20)]
    text = "".join(f"I1025 {t} 1 solver.cpp:1] Iteration {i}, loss = 1\n" for t, i in lines)
    assert [row.seconds for row in parse(text).segments[0].train] == [0, 0, 2]


def test_names_with_spaces() -> None:
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    result = parse(
        f"{p}Iteration 0, Testing net (#0)\n"
        f"{p}    Test net output #0: my top 5 = good accuracy = 0.5\n"
        f'{p}    Test net output #1: a, b "c" = -nan (* 0.3 = -nan loss)\n'
    )
    outputs = result.segments[0].test[0].outputs
    assert outputs["my top 5 = good accuracy"] == 0.5
    assert math.isnan(outputs['a, b "c"'])
    assert not any(score.valid for score in result.scores)


def test_year_rollover() -> None:
    """google/glog#516: times went backwards at New Year."""
    result = parse(
        "I1231 23:59:50.000000 1 solver.cpp:1] Iteration 0, loss = 1\n"
        "I0101 00:00:10.500000 1 solver.cpp:1] Iteration 20, loss = 1\n"
        "I0301 00:00:10.500000 1 solver.cpp:1] Iteration 40, loss = 1\n"
    )
    assert [row.seconds for row in result.segments[0].train] == [0, 20.5, 59 * 86400 + 20.5]


def test_runs_appended_to_one_file_are_segments() -> None:
    text = text_of("train_resume") + text_of("train_finetune") + text_of("train_resume")
    result = parse(text)
    assert [len(segment.train) for segment in result.segments] == [31, 4, 31]
    assert [segment.first_iteration for segment in result.segments] == [30, 0, 30]
    assert [segment.done for segment in result.segments] == [True, True, True]
    resumed = [segment.resumed_from for segment in result.segments]
    assert resumed == ["gold/sgd_poly_simple/run_iter_30.solverstate", None, *resumed[:1]]
    assert result.scores == parse(text_of("train_resume")).scores


def test_counts_of_thousands_of_digits_are_nothing_of_caffes() -> None:
    many = "9" * 5000
    p = "I1123 02:37:19.366457 1 caffe.cpp:228] "
    result = parse(
        f"{p}Iteration {many}, loss = 1\n{p}Iteration 1, Testing net (#{many})\n"
        f"{p}Batch {many}, a = 1\n"
        f"{p}Running for {many} iterations.\n{p}accuracy@{many} = {many}\n"
        f"{p}Snapshotting to binary proto file a_iter_{many}.caffemodel\n"
    )
    assert not any(segment.train or segment.test for segment in result.segments)
    assert [score.name for score in result.scores] == [f"accuracy@{many}"]


def test_a_test_after_training_has_the_last_word() -> None:
    result = parse(text_of("train_resume") + text_of("test_digits"))
    assert result.command == "test"
    assert [score.value for score in result.scores] == [0.794613, 0.986532, 0.717864]
    assert result.images == 297


def test_an_error_of_an_earlier_run_is_a_warning() -> None:
    result = parse(text_of("fatal_missing_lmdb") + text_of("test_digits"))
    assert result.fatal is None
    assert result.completed
    assert "an earlier run ended in an error: the LMDB" in result.warnings[0]


def test_scores_of_another_command_do_not_stay() -> None:
    killed = text_of("train_killed").partition("Iteration 0, Testing")[0].rpartition("\n")[0] + "\n"
    assert parse(text_of("test_digits") + killed).scores == ()


def test_troubles_name_their_run() -> None:
    result = parse(text_of("train_diverged_nan") + text_of("train_dead_relu"))
    assert [(t.name, t.segment) for t in result.troubles] == [("diverged", 0), ("dead", 1)]


def test_ten_thousand_segments() -> None:
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    one = f"{p}Solving net\n{p}Iteration 0, loss = 2.5\n{p}Iteration 20, loss = 2.4\n"
    result = parse(one * 10_000)
    assert len(result.segments) == 10_000
    assert all(len(segment.train) == 2 for segment in result.segments)


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_line_of_100_megabytes(end: str) -> None:
    class Long(io.BytesIO):
        left = 100

        def read(self, size: int | None = -1) -> bytes:
            self.left -= 1
            text = text_of("test_digits").encode() if self.left == 99 else b""
            if self.left >= 0:
                return text + b"x" * (1 << 20)
            return (end + "I1123 00:00:00.0 1 caffe.cpp:1] tail = 1\n").encode() * (self.left == -1)

    result = parse_log(Long())
    names = [score.name for score in result.scores]
    assert names[:3] == ["accuracy_top1", "accuracy_top5", "loss"]
    assert "tail" in names  # where a line begins within another, it counts
    assert "only its end was read" in result.warnings[0]


def test_damaged_gz_and_unreadable(tmp_path: Path) -> None:
    data = (LOGS / "test_digits.log.gz").read_bytes()
    (tmp_path / "cut.log.gz").write_bytes(data[: len(data) // 2])
    assert "damaged or cut" in parse_log(tmp_path / "cut.log.gz").warnings[-2:][0]
    assert parse_log(LOGS / "test_digits.log.gz").completed
    with pytest.raises(FormatError, match="is a folder"):
        parse_log(tmp_path)
    with pytest.raises(FormatError, match="no such file"):
        parse_log(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["train_batchnorm", "test_digits"])
def test_a_cut_last_line_is_never_a_value(name: str) -> None:
    """`loss = 2.30912` cut to `loss = 2.3` is a number that Caffe never printed."""
    text = text_of(name)
    text = text[text.index("\n", len(text) - 12_000) + 1 :]  # rows, without the net's 400 layers
    whole = {repr(v) for v in values_of(parse(text))}
    assert len(whole) > 20
    for cut in range(len(text) - 400, len(text)):
        assert {repr(v) for v in values_of(parse(text[:cut]))} <= whole
    assert "the last line is cut off and was left out" in parse(text[:-8]).warnings


def values_of(result: LogResult) -> list[object]:
    printed = [score.value for score in result.scores] if result.command == "test" else []
    found: list[object] = [*printed]
    for segment in result.segments:
        for row in segment.train:
            found += [(row.iteration, row.loss, row.lr), *row.outputs.items()]
        for test in segment.test:
            found += [(test.iteration, test.net, item) for item in test.outputs.items()]
    for batch in result.batches:
        found += [(batch.batch, item) for item in batch.outputs.items()]
    return found


# Trouble


def displays(losses: Sequence[str], lr: str = "0.01", step: int = 100) -> str:
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    return "".join(
        f"{p}Iteration {i * step}, loss = {loss}\n{p}Iteration {i * step}, lr = {lr}\n"
        for i, loss in enumerate(losses)
    )


HEAD = text_of("train_batchnorm").partition("Iteration 0")[0].rpartition("\n")[0] + "\n"


@pytest.mark.parametrize(
    ("losses", "lr", "names"),
    [
        (["2.3", "1.5", "0.2"], "0.01", []),
        (["2.30", "2.303", "2.302", "2.3026"], "0.01", ["stuck"]),
        (["2.30", "2.303", "2.2", "2.1"], "0.01", []),
        (["2.3", "87.3365", "87.3365"], "0.01", ["87.3365"]),
        (["2.3", "nan", "2.2"], "0.01", ["spike"]),
        (["2.3", "87.3365", "1.5"], "0.01", []),
        (["2.3", "inf", "-nan"], "0.01", ["diverged"]),
        (["2.3", "1.5", "0.2"], "0", ["no learning rate"]),
    ],
)
def test_trouble(losses: list[str], lr: str, names: list[str]) -> None:
    """forresti/SqueezeNet#18 #4 #53, BVLC/caffe#6130."""
    troubles = parse(HEAD + displays(losses, lr)).troubles
    assert [trouble.name for trouble in troubles] == names
    assert all(trouble.remedy for trouble in troubles)


def test_a_warm_up_is_no_trouble() -> None:
    text = displays(["2.3"], "0") + displays(["9", "1.5", "0.5"]).partition("lr = 0.01\n")[2]
    assert parse(HEAD + text).troubles == ()


def test_a_diverged_run_has_no_valid_score_without_a_test_loss() -> None:
    """Its loss is in TRAIN alone; Caffe goes on to print an accuracy of 1."""
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    tests = f"{p}Iteration 200, Testing net (#0)\n{p}    Test net output #0: accuracy_top1 = 1\n"
    for order in (
        displays(["2.3", "nan"]) + tests,
        displays(["2.3"]) + tests + displays(["9"] * 3 + ["nan"]),
    ):
        scores = parse(HEAD + order + f"{p}Optimization Done.\n").scores
        assert not any(score.valid for score in scores)
    c = "I1123 02:37:19.366457 1 caffe.cpp:228] "
    assert not parse(f"{c}Loss: nan\n{c}accuracy = 1\n").scores[0].valid


def test_scores_are_of_the_last_run() -> None:
    for last in ("train_killed", "time_digits"):
        head = text_of(last).partition("Iteration 0, Testing")[0].rpartition("\n")[0] + "\n"
        assert parse(text_of("test_digits") + head).scores == ()


def test_a_resume_that_is_said_twice_is_one_run() -> None:
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    twice = f"{p}Resuming from a.solverstate\n{p}Solving net\n"
    twice += f"{p}Restoring previous solver status from a.solverstate\n"
    result = parse(twice + displays(["2", "1"]))
    assert [segment.resumed_from for segment in result.segments] == ["a.solverstate"]


@pytest.mark.parametrize("lead", ["trainer_1  | ", "2026-11-23T02:37:17.1234567Z "])
def test_a_prefix_on_every_line_keeps_net_and_solver(lead: str) -> None:
    text = text_of("train_two_test_nets")
    assert without_times(parse(re.sub(r"^", lead, text[:-1], flags=re.MULTILINE) + "\n")) == (
        without_times(parse(text))
    )


def test_packed_otherwise(tmp_path: Path) -> None:
    text = text_of("test_digits")
    packed = gzip.compress(text[:2000].encode()) + gzip.compress(text[2000:].encode())
    assert summed(parse(packed)) == summed(parse(text))
    assert summed(parse(text.encode("utf-16"))) == summed(parse(text))
    (tmp_path / "log").write_text(text)
    with open(tmp_path / "log") as file:
        assert parse_log(file).completed  # type: ignore[arg-type]


def test_dead_relus_and_chance_are_named() -> None:
    assert [t.name for t in parse(text_of("train_dead_relu")).troubles] == ["dead"]
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    tests = "".join(
        f"{p}Iteration {i}, Testing net (#0)\n{p}    Test net output #0: accuracy_top1 = 0.1\n"
        f"{p}Iteration {i}, loss = {9 - i / 1000}\n"
        for i in (0, 500, 1000)
    )
    assert [t.name for t in parse(HEAD + tests).troubles] == ["chance"]
    assert "no test net has a loss" in parse(HEAD + tests).warnings[0]


@pytest.mark.parametrize("name", ["train_two_test_nets", "train_batchnorm", "test_digits"])
def test_messages_print_as_in_caffes_log(name: str) -> None:
    """To the letter: `mean_value: 104`, not `104.0`."""
    dumps: list[tuple[str, Message]] = []

    class Collector(Listener):
        def net(self, text: str, cut: bool) -> None:
            dumps.append((text, NetParameter()))

        def solver(self, text: str) -> None:
            dumps.append((text, SolverParameter()))

    parser = Parser(Collector())
    parser.feed(text_of(name).encode())
    parser.close()
    assert dumps
    for text, message in dumps:
        prototxt.parse(text, message, name)
        assert prototxt.debug_text(message) == text + "\n"
