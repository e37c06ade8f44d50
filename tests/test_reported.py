"""Cases that users of Caffe reported: `../shared/reported`, and others of their kinds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sqgen import FormatError, LogResult, lint_net, parse_log, parse_net
from sqgen.engine import glog
from sqgen.logs.baseline import read_baseline

from .conftest import Run

START = (
    "I0402 09:00:01.000000 {thread} solver.cpp:44] Initializing solver from parameters: \n"
    "test_iter: 40\n"
    "max_iter: 200\n"
    "I0402 09:00:02.000000 {thread} solver.cpp:272] Solving small\n"
)


def display(iteration: int, thread: int = 7, loss: str = "0.5", hour: int = 10) -> str:
    at = f"I0402 {hour}:{iteration // 60 % 60:02}:{iteration % 60:02}.000000 {thread}"
    return (
        f"{at} solver.cpp:239] Iteration {iteration}, loss = {loss}\n"
        f"{at} solver.cpp:258]     Train net output #0: loss = {loss} (* 1 = {loss} loss)\n"
        f"{at} sgd_solver.cpp:112] Iteration {iteration}, lr = 0.01\n"
    )


def output_lines(iteration: int, *outputs: str, thread: int = 7, hour: int = 10) -> str:
    at = f"I0402 {hour}:59:00.000000 {thread}"
    lines = [f"{at} solver.cpp:347] Iteration {iteration}, Testing net (#0)\n"]
    for number, output in enumerate(outputs):
        lines.append(f"{at} solver.cpp:414]     Test net output #{number}: {output}\n")
    return "".join(lines)


def done(thread: int = 7, hour: int = 10) -> str:
    return f"I0402 {hour}:59:30.000000 {thread} caffe.cpp:259] Optimization Done.\n"


def finished(*outputs: str) -> str:
    return START.format(thread=7) + display(0) + output_lines(200, *outputs) + done()


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], LogResult]:
    def parse(text: str) -> LogResult:
        path = tmp_path / "train.log"
        path.write_text(text)
        return parse_log(path)

    return parse


Read = Callable[[str], LogResult]


def roles(result: LogResult) -> dict[str, str]:
    return {score.name: score.role for score in result.scores}


# 01: roles of outputs


def test_auxiliary_accuracies_are_no_losses(sqgen: Run, shared: Path, tmp_path: Path) -> None:
    case = shared / "reported" / "01-aux-accuracy-taken-for-loss"
    good, worse = case / "good.log", case / "worse.log"
    assert sqgen("gate", str(good), "--baseline", "b.json", "--update-baseline").returncode == 0
    outcome = sqgen("gate", str(worse), "--baseline", "b.json", "--json")
    assert outcome.returncode == 1
    passed = {check["name"]: check["passed"] for check in json.loads(outcome.stdout)["checks"]}
    assert passed["loss1/accuracy"]  # 0.85 -> 0.90
    assert not passed["loss2/accuracy"]  # 0.88 -> 0.68


LOSS = "loss = 0.4 (* 1 = 0.4 loss)"


@pytest.mark.parametrize(
    ("outputs", "role"),
    [
        (["loss1/accuracy = 0.9", LOSS], "top-1"),
        (["loss1/top-5 = 0.9", LOSS], "top-k"),
        (["loss3/classifier = 0.9", LOSS], "output"),  # Caffe prints the weight of every loss
        (["bbox_loss = 0.9", LOSS], "output"),
        (["bbox_loss = 0.9", "accuracy = 0.5"], "loss"),  # no weight is known: by its name
        (["xent = 0.9 (* 0.3 = 0.27 loss)", "accuracy = 0.5"], "loss"),
        (["accuracy_perclass = 0.9", LOSS], "output"),
        (["acc = 0.9", "acc = 0.8", LOSS], "output"),  # an accuracy is one number
        (["accuracy/top1 = 0.9", LOSS], "top-1"),
    ],
)
def test_roles_without_a_net(read: Read, outputs: list[str], role: str) -> None:
    result = read(finished(*outputs))
    assert result.scores[0].role == role
    assert result.scores[0].by == ("net" if "(*" in outputs[0] else "name")


# 03, 05, 42: nets and solvers that are damaged or of a fork


def test_a_net_cut_by_glog_is_read_up_to_the_cut(sqgen: Run, shared: Path) -> None:
    log = shared / "reported" / "03-net-cut-by-glog" / "train.log"
    result = parse_log(log)
    assert (result.images, result.batch_size, result.net_digest) == (1000, 25, None)
    assert roles(result) == {"prob": "output", "xent": "loss"}
    assert any("is cut" in warning for warning in result.warnings)
    assert sqgen("gate", str(log), "--expect", "prob=0.934+-2se").returncode == 0


def test_a_solver_cut_by_glog_is_read_up_to_the_cut(shared: Path) -> None:
    result = parse_log(shared / "reported" / "05-solver-with-net-cut-by-glog" / "train.log")
    assert (result.solver["max_iter"], result.solver["base_lr"]) == (500, pytest.approx(0.01))
    assert result.images == 1000


def test_a_fork_s_field_costs_only_itself(sqgen: Run, shared: Path) -> None:
    log = shared / "reported" / "42-log-of-a-net-with-one-fork-field" / "train.log"
    result = parse_log(log)
    assert roles(result) == {"prob": "top-1", "xent": "loss"}
    assert result.images == 1000
    assert result.warnings == ()
    assert sqgen("gate", str(log), "--min", "top1=0.9").returncode == 0


NET = """name: "n"
state {
  phase: TEST
}
layer {
  name: "data"
  type: "Data"
  top: "data"
  top: "label"
  data_param {
    batch_size: 5
%s  }
}
layer {
  name: "prob"
  type: "Accuracy"
  bottom: "data"
  bottom: "label"
  top: "prob"
}
"""


def with_net(text: str) -> str:
    head = "I0402 09:00:00.500000 7 net.cpp:51] Initializing net from parameters: \n"
    return (
        START.format(thread=7) + head + text + display(0) + output_lines(200, "prob = 0.5") + done()
    )


@pytest.mark.parametrize(
    "field",
    [
        "    threads: 3\n",
        "    shuffle: true\n",  # a field of another message
        "    backend: HDFS\n",  # an enum's value
        "    batch_size: 7 8\n",
        "    resize_param {\n      prob: 1\n      nested {\n        a: 1\n      }\n    }\n",
        "W0402 from another program\n",
    ],
)
def test_other_fields_cost_only_themselves(read: Read, field: str) -> None:
    result = read(with_net(NET % field))
    assert roles(result) == {"prob": "top-1"}
    assert result.scores[0].by == "net"
    assert result.batch_size == 5


def test_a_net_cut_between_its_layers_is_not_whole(read: Read) -> None:
    """Its text parses; glog cut it at 30,000 bytes, or an output has no layer."""
    layer = NET[NET.index('layer {\n  name: "prob"') :]
    known = NET.replace(layer, "") % ""
    relu = 'layer {\n  name: "relu"\n  type: "ReLU"\n}\n'
    filled = known + (29_890 - len(known + layer)) // len(relu) * relu + layer
    assert read(with_net(NET % "")).net_digest is not None
    assert read(with_net(filled)).net_digest is None
    assert read(with_net(known)).net_digest is None
    assert read(with_net(known)).scores[0].by == "name"


# 06, 08, 09: other ends, other outputs, joined logs


def test_nvcaffe_ends_with_a_duration(sqgen: Run, shared: Path) -> None:
    log = shared / "reported" / "06-nvcaffe-optimization-done-in" / "train.log"
    assert parse_log(log).completed
    assert sqgen("gate", str(log), "--min", "top1=0.7").returncode == 0


def test_nvcaffe_names_the_kind_of_an_output(shared: Path) -> None:
    result = parse_log(shared / "reported" / "08-ssd-map-output" / "nv.log")
    assert [(score.name, score.value) for score in result.scores] == [("detection_eval", 0.412)]


def test_a_joined_log_is_complete_if_its_last_run_is(sqgen: Run, shared: Path) -> None:
    log = shared / "reported" / "09-resumed-log-without-header" / "train.log"
    result = parse_log(log)
    assert [segment.done for segment in result.segments] == [False, True]
    assert sqgen("gate", str(log), "--min", "top1=0.4").returncode == 0


def second(*iterations: int, end: str = "") -> str:
    """A run without a header, of another process."""
    return "".join(display(number, thread=8, hour=11) for number in iterations) + end


def test_what_follows_the_end_is_another_run(read: Read) -> None:
    first = START.format(thread=7) + display(0) + display(100) + display(200) + done()
    killed = read(first + second(220, 240))
    assert [segment.done for segment in killed.segments] == [True, False]
    assert not killed.completed
    complete = read(first + second(220, 240, end=done(thread=8, hour=11)))
    assert [segment.done for segment in complete.segments] == [True, True]
    again = read(first + second(0, 100, 200))
    assert [segment.last_iteration for segment in again.segments] == [200, 200]


def test_a_killed_run_and_its_restart_are_two(read: Read) -> None:
    first = START.format(thread=7) + "".join(map(display, range(0, 200, 20)))
    result = read(first + second(100, 120, end=done(thread=8, hour=11)))
    assert [segment.first_iteration for segment in result.segments] == [0, 100]
    assert result.completed


def interleaved(one: str, other: str) -> str:
    """Lines of two threads in turn."""
    pairs = zip(one.splitlines(True), other.splitlines(True), strict=True)
    return "".join(line for pair in pairs for line in pair)


def test_threads_of_several_gpus_are_one_run(read: Read) -> None:
    one = "".join(display(number, thread=7) for number in (0, 20, 40))
    other = "".join(display(number, thread=9, loss="0.7") for number in (0, 20, 40))
    result = read(START.format(thread=7) + interleaved(one, other) + done())
    (segment,) = result.segments
    assert segment.done
    rows = [(row.iteration, row.loss, row.lr, dict(row.outputs)) for row in segment.train]
    assert rows == [
        (number, loss, 0.01, {"loss": loss}) for number in (0, 20, 40) for loss in (0.5, 0.7)
    ]


def test_a_lagging_thread_of_another_gpu_begins_no_run(read: Read) -> None:
    rate = "I0402 10:00:05.000000 9 sgd_solver.cpp:112] Iteration 0, lr = 0.01\n"  # Caffe of 2015
    late = display(0, thread=9)
    result = read(START.format(thread=7) + display(0) + display(20) + rate + late + done())
    (segment,) = result.segments
    assert [row.iteration for row in segment.train] == [0, 20, 0]
    assert (segment.last_iteration, segment.done) == (20, True)


# 11: nan that is no loss


def test_a_class_without_images_is_no_divergence(sqgen: Run, shared: Path) -> None:
    log = shared / "reported" / "11-per-class-nan-called-divergence" / "test.log"
    result = parse_log(log)
    assert all(score.valid for score in result.scores)
    assert sqgen("gate", str(log), "--min", "accuracy=0.9", "--min", "top1=0.9").returncode == 0


@pytest.mark.parametrize(
    ("outputs", "code"),
    [
        (["accuracy = 0.9", "precision = nan", LOSS], 0),
        (["accuracy = 0.9", "loss = nan (* 1 = nan loss)"], 1),
        (["accuracy = 0.9", "l = 0.1 (* 1 = 0.1 loss)", "m = inf (* 1 = inf loss)"], 1),
        (["accuracy = nan", LOSS], 1),
    ],
)
def test_only_a_loss_voids_accuracies(
    sqgen: Run, tmp_path: Path, outputs: list[str], code: int
) -> None:
    (tmp_path / "train.log").write_text(finished(*outputs))
    assert sqgen("gate", "train.log", "--min", "accuracy=0.5").returncode == code


def test_a_baseline_has_no_nan(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(finished("accuracy = 0.9", "precision = nan", LOSS))
    arguments = ("gate", "train.log", "--baseline", "b.json")
    assert sqgen(*arguments, "--update-baseline").returncode == 0
    assert read_baseline(tmp_path / "b.json").scores == {"top1": 0.9, "loss": 0.4}
    assert sqgen(*arguments).returncode == 0


# A name that prints lines


FORGED = "zz = 0.5\\nI0402 10:58:00.000000 7 solver.cpp:414]     Test net output #0: prob"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name: "n"', f'name: "{FORGED}"'),
        ('name: "prob"', f'name: "{FORGED}"'),
        ('  top: "label"', f'  top: "label"\n  top: "{FORGED}"'),
        ('name: "n"', 'name: "I0402 10:58:00.000000 7 caffe.cpp:300] prob"'),
        ("batch_size: 5", f'batch_size: 5\n    source: "db\\r{FORGED}"'),
    ],
)
def test_a_name_that_can_print_lines_voids_the_scores(
    sqgen: Run, tmp_path: Path, old: str, new: str
) -> None:
    net = NET % ""
    assert old in net
    (tmp_path / "train.log").write_text(with_net(net))
    assert sqgen("gate", "train.log", "--min", "top1=0.5").returncode == 0
    (tmp_path / "train.log").write_text(with_net(net.replace(old, new, 1)))
    outcome = sqgen("gate", "train.log", "--min", "top1=0.5")
    assert outcome.returncode == 1
    assert "can print any line" in outcome.stdout


@pytest.mark.parametrize("part", ["net", "layer", "top"])
def test_lint_refuses_such_a_name(part: str) -> None:
    net = parse_net(
        'name: "n" layer { type: "Input" name: "data" top: "data" input_param {'
        " shape { dim: 1 } } }"
    )
    layer = net.param.layer[0]
    forged = FORGED.replace("\\n", "\n")
    if part == "net":
        net.param.name = forged
    elif part == "layer":
        layer.name = forged
    else:
        layer.top[0] = forged
    (finding,) = lint_net(net, phases="TEST")
    assert (finding.rule.name, finding.message.isprintable()) == ("log-forgery", True)


def test_the_engine_prints_a_name_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    glog.info("Creating Layer a\nI0402 x", "net.cpp:84", body="name: 1\n")
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith("net.cpp:84] Creating Layer a\\nI0402 x")
    assert second == "name: 1"


def test_code_of_a_python_layer_may_have_lines(read: Read) -> None:
    layer = 'layer {\n  type: "Python"\n  python_param {\n    param_str: "a: 1\\nb: 2"\n  }\n}\n'
    result = read(with_net(NET % "" + layer))
    assert (result.troubles, result.scores[0].valid) == ((), True)
    assert math.isclose(result.scores[0].value, 0.5)


def test_names_can_not_write_markdown_or_annotations(
    sqgen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    name = "![x](http://e.example/) <img/> # 100%"
    (tmp_path / "train.log").write_text(finished(f"{name} = 0.5", LOSS))
    outcome = sqgen("gate", "train.log", "--min", f"{name}=0.9", "--markdown", "page.md")
    assert outcome.returncode == 1
    page = (tmp_path / "page.md").read_text()
    assert "\\!\\[x\\]\\(http" in page
    assert "<img" not in page.replace("\\<", "")
    (annotation,) = [line for line in outcome.stderr.splitlines() if line.startswith("::error")]
    assert annotation.startswith("::error title=sqgen gate::![x]")
    assert "100%25: expected at least 0.9, got 0.5" in annotation


# 18, 19, 23, 25, 26, 38: what a person meant


@pytest.mark.parametrize(
    ("case", "file", "message"),
    [
        ("19-data-layer-with-input-param", "net.prototxt", 'write type: "Input"'),
        ("23-nbsp-passes-lint", "net.prototxt", "13:1: U+00A0 (no-break space) outside of a"),
        ("25-v1-layer-with-a-type-in-quotes", "deploy.prototxt", "belong into `layer`"),
        ("26-double-slash-comments", "train_val.prototxt", "comments begin with #, not //"),
        ("38-batch-size-left-out", "train_val.prototxt", "batch_size is missing"),
    ],
)
def test_lint_says_what_was_meant(
    sqgen: Run, shared: Path, case: str, file: str, message: str
) -> None:
    done = sqgen("lint", str(shared / "reported" / case / file))
    assert done.returncode in (1, 2)
    assert message in done.stdout + done.stderr
    assert "did you mean" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('name: "caf\u00e9" # d\u00e9j\u00e0 vu', None),
        ("name: 'it\\'s # \u3000'", None),
        ("layer { power_param { scale: 1e+5 shift: -1E-3 } }", None),
        ("input_dim:\u30001", "1:11: U+3000"),
        ("input:\u2028'x'", "1:7: U+2028"),
        ("name: 'n'\n  input_dim: \uff11", "2:14: U+FF11"),
        ("input_dim: 1_0", "1:12: '1_0' is no number for Caffe"),
        ("input_dim: +8", "1:12: '+8' is no number"),
    ],
)
def test_a_prototxt_is_ascii_outside_of_strings(text: str, refused: str | None) -> None:
    """As in Caffe, whose parser takes fewer characters than Python's."""
    if refused is None:
        parse_net(text, "n")
    else:
        with pytest.raises(FormatError, match=re.escape(f"n:{refused}")):
            parse_net(text, "n")
