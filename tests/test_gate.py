"""`sqgen gate`: passes, failures with their reasons, misuse."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sysconfig
import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import DesignError, LogResult, parse_log
from sqgen.logs.baseline import write_baseline
from sqgen.logs.expectation import parse_expectation, parse_tolerance
from sqgen.logs.scores import LOSS, Score

from .conftest import DATA, ROOT, Run
from .small_runs import Place
from .test_logs import NAMES, text_of

LOGS = DATA / "logs"
TEST = str(LOGS / "test_digits.log.gz")  # top-1 0.794613, top-5 0.986532, loss 0.717864; 297 images
RESIDUAL = (
    "I0422 14:07:39.810755 32299 caffe.cpp:293] accuracy_top1 = 0.603759\n"
    "I0422 14:07:39.810775 32299 caffe.cpp:293] accuracy_top5 = 0.824981\n"
    "I0422 14:07:39.810792 32299 caffe.cpp:293] loss = 1.76711 (* 1 = 1.76711 loss)\n"
)


@pytest.mark.parametrize(
    ("arguments", "passes"),
    [
        (["--expect", "top1=0.794613"], True),
        (["--expect", "top1=0.7946"], True),
        (["--expect", "top1=0.7947"], False),
        (["--expect", "top1=0.79+-0.005"], True),
        (["--expect", "top1=0.79+-0.004"], False),
        (["--expect", "top1=0.79 ± 0.005"], True),
        (["--expect", "top1=79%+-1%"], True),
        (["--expect", "top1=79%+-0.5%"], False),  # half a percent of it
        (["--expect", "loss=0.7+-10%"], True),
        (["--expect", "loss=0.6+-10%"], False),
        (["--expect", "top1=0.84+-2se"], False),
        (["--expect", "top1=0.83+-2se"], True),
        (["--expect", "accuracy_top1=0.794613"], True),
        (["--expect", "top-1=0.794613"], True),
        (["--min", "top5=0.986532"], True),
        (["--min", "top5=0.99"], False),
        (["--max", "loss=0.72"], True),
        (["--max", "loss=0.71"], False),
        (["--min", "top1=0.7", "--max", "loss=0.1"], False),
        (["--published", "residual"], False),
    ],
)
def test_bounds(sqgen: Run, arguments: list[str], passes: bool) -> None:
    done = sqgen("gate", TEST, *arguments)
    assert done.returncode == (0 if passes else 1)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith("pass: " if passes else "FAIL: ")


def test_published_of_the_authors_log(sqgen: Run) -> None:
    done = sqgen("gate", "-", "--published", "residual", stdin=RESIDUAL)
    assert done.returncode == 0
    within = sqgen("gate", "-", "--published", "residual", "--within", "2se", stdin=RESIDUAL)
    assert within.returncode == 0
    other = sqgen("gate", "-", "--published", "dsd", stdin=RESIDUAL)
    assert other.returncode == 1
    assert "691 of 50,000 fewer are right: 30,879 -> 30,188; allowed 50" in other.stdout


@pytest.mark.parametrize(
    ("arguments", "remark"),
    [
        (["--min", "top1=0.8"], "236 of 297 are right; at least 238 must be"),
        (["--min", "top1=0.5"], "236 of 297 are right; at least 149 must be"),
        (["--max", "top1=0.5"], "236 of 297 are right; at most 148 may be"),
        (["--expect", "top1=0.794613"], "236 of 297 are right"),
        (["--expect", "top1=0.84+-0.01"], "13 of 297 fewer are right: 249 -> 236; allowed 2"),
        (["--expect", "top1=0.78+-2se"], "4 of 297 more are right: 232 -> 236; allowed 14"),
    ],
)
def test_accuracies_are_counted_in_images(sqgen: Run, arguments: list[str], remark: str) -> None:
    row = sqgen("gate", TEST, *arguments).stdout.splitlines()[1]
    assert row.endswith(f"  {remark}")


def test_noise_is_in_json(sqgen: Run) -> None:
    (check,) = json.loads(sqgen("gate", TEST, "--min", "top1=0.8", "--json").stdout)["checks"]
    assert check["noise"] == pytest.approx(0.02344, rel=1e-3)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("train_diverged_nan", "the net has diverged"),
        ("train_killed", "the log ends before the run does"),
        ("train_sighup_sigint", "stopped early"),
        ("fatal_missing_lmdb", "the LMDB of a Data layer is not there"),
        ("time_digits", "the log has no test scores"),
    ],
)
def test_a_run_that_is_not_sound_fails(sqgen: Run, log: str, words: str) -> None:
    done = sqgen("gate", str(LOGS / f"{log}.log.gz"), "--min", "top1=0")
    assert done.returncode == 1
    assert words in done.stdout


def test_diverged_in_training_alone_fails(sqgen: Run) -> None:
    """No loss in TEST: the accuracy of 1 that Caffe goes on to print does not pass."""
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    log = (
        f"{p}Iteration 0, loss = 2.3\n{p}Iteration 20, loss = nan\n"
        f"{p}Iteration 20, Testing net (#0)\n"
        f"{p}    Test net output #0: accuracy = 1\n{p}Optimization Done.\n"
    )
    done = sqgen("gate", "-", "--min", "top1=0.05", stdin=log)
    assert done.returncode == 1
    assert "the loss is nan from iteration 20 on" in done.stdout


def test_another_transform_is_another_net_and_another_path_is_not(sqgen: Run) -> None:
    text = text_of("test_digits")
    sqgen("gate", "-", "--baseline", "b.json", "--update-baseline", stdin=text)
    moved = text.replace('source: "digits/test_lmdb"', 'source: "/elsewhere"')
    assert sqgen("gate", "-", "--baseline", "b.json", stdin=moved).returncode == 0
    scaled = sqgen("gate", "-", "--baseline", "b.json", stdin=text.replace("0.0078125", "0.5"))
    assert scaled.returncode == 1
    assert "another net's layers than the baseline's" in scaled.stdout


def test_two_heads_have_to_be_named(sqgen: Run) -> None:
    c = "I1123 02:37:19.366457 1 caffe.cpp:228] "
    log = f"{c}loss1/top-1 = 0.5\n{c}loss3/top-1 = 0.68\n"
    either = sqgen("gate", "-", "--min", "top1=0.6", stdin=log)
    assert either.returncode == 2
    assert "top1 may be loss1/top-1, loss3/top-1: name one" in either.stderr
    assert sqgen("gate", "-", "--min", "loss3/top-1=0.6", stdin=log).returncode == 0


def test_every_test_net_can_be_held(sqgen: Run, tmp_path: Path) -> None:
    log = str(LOGS / "train_two_test_nets.log.gz")
    assert sqgen("gate", log, "--expect", "net1:top1=0.103704").returncode == 0
    assert sqgen("gate", log, "--expect", "net1:accuracy_top1=0.09").returncode == 1
    sqgen("gate", log, "--baseline", "b.json", "--update-baseline")
    assert json.loads((tmp_path / "b.json").read_text())["scores"]["net1:loss"] == 8.07061


def test_a_log_that_is_cut_is_a_failed_run_not_misuse(sqgen: Run) -> None:
    text = text_of("test_digits")
    cut = text[: text.rindex("accuracy_top5 = ")]
    done = sqgen("gate", "-", "--min", "top5=0.9", stdin=cut)
    assert done.returncode == 1
    assert "not completed" in done.stdout


def test_json_on_standard_input(sqgen: Run) -> None:
    plain = sqgen("log", "parse", TEST, "--json").stdout
    for text in (plain, "\ufeff" + plain):
        assert sqgen("gate", "-", "--min", "top1=0.7", stdin=text).returncode == 0


def test_an_accuracy_beside_nan_is_struck(sqgen: Run) -> None:
    done = sqgen("gate", str(LOGS / "train_diverged_nan.log.gz"), "--min", "top1=1")
    assert done.returncode == 1
    assert "~~1~~" in done.stdout


def test_baseline(sqgen: Run, tmp_path: Path) -> None:
    first = sqgen("gate", TEST, "--baseline", "b.json")
    assert (first.returncode, first.stdout) == (2, "")
    assert "no baseline yet; --update-baseline makes it" in first.stderr
    made = sqgen("gate", TEST, "--baseline", "b.json", "--update-baseline")
    assert made.returncode == 0
    assert made.stderr == "baseline b.json written\n"
    baseline = json.loads((tmp_path / "b.json").read_text())
    assert baseline["images"] == 297
    assert baseline["scores"] == {"top1": 0.794613, "top5": 0.986532, "loss": 0.717864}
    same = sqgen("gate", str(LOGS / "test_digits_mmdd.log.gz"), "--baseline", "b.json")
    assert same.returncode == 0


@pytest.mark.parametrize(
    ("change", "words", "passes"),
    [
        ({"net": "another"}, "another net than the baseline's", False),
        ({"net_digest": "0" * 16}, "another net's layers than the baseline's", False),
        ({"dataset": "abc"}, "another dataset than the baseline's", False),
        ({"images": 298}, "fewer images than the baseline's", False),
        ({"images": 54}, "", True),
        ({"scores": {"accuracy_top1": 0.7957}}, "FAIL", False),
        ({"scores": {"accuracy_top1": 0.7955}}, "", True),
        ({"scores": {"accuracy_top1": 0.5}}, "", True),
        ({"scores": {"loss": 0.70}}, "FAIL", False),
        ({"scores": {"loss": 0.72}}, "", True),
        ({"scores": {"gone": 0.5}}, "no such score", False),
    ],
)
def test_against_a_baseline(
    sqgen: Run, tmp_path: Path, change: dict[str, object], words: str, passes: bool
) -> None:
    sqgen("gate", TEST, "--baseline", "b.json", "--update-baseline")
    path = tmp_path / "b.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    before = path.read_bytes()
    done = sqgen("gate", TEST, "--baseline", "b.json")
    assert done.returncode == (0 if passes else 1), done.stdout
    assert words in done.stdout
    assert path.read_bytes() == before


def test_a_bad_result_makes_no_baseline(sqgen: Run, tmp_path: Path) -> None:
    bad = str(LOGS / "train_diverged_nan.log.gz")
    done = sqgen("gate", bad, "--baseline", "b.json", "--update-baseline")
    assert done.returncode == 1
    assert "not written: the result fails the gate" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([TEST], "nothing to check: give --expect, --min, --max, --published or --baseline"),
        ([TEST, "--expect", "top1"], "--expect top1: write a score and a value, such as top1="),
        ([TEST, "--expect", "top1=5e-1"], "Write it, such as top1=5e-1+-0.001"),
        ([TEST, "--expect", "top1=1"], "Write it, such as top1=1+-0.001"),
        ([TEST, "--expect", "top1=79%"], "Write it, such as top1=79%+-0.001"),
        ([TEST, "--expect", "loss=2"], "Write it, such as loss=2+-1%"),
        ([TEST, "--expect", "top1=x"], "write a score and a value"),
        ([TEST, "--expect", "top1=nan"], "write a score and a value"),
        ([TEST, "--min", "tpo1=0.5"], "no score 'tpo1' in the log; did you mean 'top1'?"),
        ([TEST, "--min", "foo=0.5"], "no score 'foo' in the log; there: top1, top5, loss"),
        ([TEST, "--min", "top1=79"], "top1: 79 is more than 1; write 79%"),
        ([TEST, "--min", "top1=0.5", "--images", "9"], "--images 9: the log says 297"),
        (["array.json", "--min", "top1=0"], "array.json: holds several results; give one"),
        (
            ["deep.json", "--min", "top1=0"],
            "deep.json: begins like JSON, but is invalid: it is nested",
        ),
        (["null.json", "--min", "top1=0"], "null.json: is no result of sqgen log parse"),
        ([TEST, "--baseline", "empty.json"], "empty.json: is no baseline of sqgen gate"),
        ([TEST, "--baseline", "text.json"], "text.json: is no baseline of sqgen gate"),
        ([TEST, "--min", "top1=0.5", "--within", "much"], "--within much: write an amount"),
        ([TEST, "--published", "residaul"], "did you mean 'residual'?"),
        ([TEST, "--published", "generator-small"], "no accuracy was published for it"),
        (
            [TEST, "--min", "top1=0", "--update-baseline"],
            "--update-baseline: name the file with --baseline FILE",
        ),
        (["nowhere.log", "--min", "top1=0"], "nowhere.log: no such file"),
        (["bad.json", "--min", "top1=0"], "bad.json: begins like JSON, but is invalid"),
        (["other.json", "--min", "top1=0"], "other.json: is no result of sqgen log parse"),
        ([TEST, "--baseline", "other.json"], "other.json: is no baseline of sqgen gate"),
        ([TEST, "--baseline", "bad.json"], "bad.json: is no baseline of sqgen gate: Expecting"),
        (["-", "--expect", "top1=0.6+-2se"], "give --images N"),
    ],
)
def test_misuse_is_2(sqgen: Run, tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "bad.json").write_text("{not json")
    (tmp_path / "other.json").write_text('{"format": 7}')
    (tmp_path / "array.json").write_text("[]")
    (tmp_path / "deep.json").write_text('{"a": ' + "[" * 200_000)
    (tmp_path / "null.json").write_text(
        '{"format": 1, "source": "", "scores": [{"name": "a", "value": null}]}'
    )
    (tmp_path / "empty.json").write_text('{"format": 1, "scores": {}}')
    (tmp_path / "text.json").write_text('{"format": 1, "scores": {"top1": "x"}}')
    done = sqgen("gate", *arguments, stdin=RESIDUAL)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert words in done.stderr


def test_reports(sqgen: Run, tmp_path: Path) -> None:
    arguments = ["--min", "top1=0.9", "--min", "top5=0.9", "--junit", "g.xml", "--markdown", "g.md"]
    done = sqgen("gate", TEST, *arguments, "--json")
    assert done.returncode == 1
    plain = json.loads(done.stdout)
    assert (plain["passed"], plain["images"]) == (False, 297)
    assert [check["passed"] for check in plain["checks"]] == [False, True]
    suite = Xml.parse(tmp_path / "g.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase[@name='top1']/failure")
    assert failure is not None
    assert "expected at least 0.9, got 0.794613" in str(failure.get("message"))
    (tmp_path / "before").write_text("before\n")
    shutil.copy(tmp_path / "before", tmp_path / "g2.md")
    sqgen("gate", TEST, "--min", "top1=0.9", "--markdown", "g2.md")
    page = (tmp_path / "g2.md").read_text()
    assert page.startswith("before\n### sqgen gate: **FAIL**\n\nsqueezenet\\_digits, 297 images")
    assert "| top1 | at least 0.9 | 0.794613 | -0.105387 | FAIL |" in page


def test_a_first_baseline_has_a_verdict_without_a_table(sqgen: Run, tmp_path: Path) -> None:
    arguments = ["--baseline", "b.json", "--update-baseline", "--markdown", "g.md"]
    done = sqgen("gate", TEST, *arguments)
    subject = f"squeezenet_digits, baseline b.json, 297 images, {TEST}"
    assert (done.returncode, done.stdout) == (0, f"pass: {subject}\n")
    assert (tmp_path / "b.json").exists()
    page = (tmp_path / "g.md").read_text()
    assert page.startswith("### sqgen gate: pass\n\nsqueezenet\\_digits, baseline b.json, 297")
    assert "|" not in page


def test_names_of_a_result_are_escaped(sqgen: Run, tmp_path: Path) -> None:
    plain = json.loads(sqgen("log", "parse", TEST, "--json").stdout)
    plain["source"] = plain["net"] = "a\x1b]0;title\ab\nc"
    (tmp_path / "r.json").write_text(json.dumps(plain))
    done = sqgen("gate", "r.json", "--min", "top1=0.7", "--markdown", "g.md")
    name = "a\\x1b]0;title\\x07b\\nc"
    assert done.stdout.endswith(f"pass: {name}, 297 images, {name}\n")
    page = (tmp_path / "g.md").read_text()
    assert page.startswith("### sqgen gate: pass\n\na\\\\x1b\\]0;title\\\\x07b\\\\nc, 297 images, ")


@pytest.mark.parametrize("name", NAMES)
def test_a_result_comes_back_from_json(name: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(text_of(name))
    result = parse_log(path)
    again = LogResult.from_dict(json.loads(json.dumps(result.as_dict())))
    assert repr(again) == repr(result)


def test_gate_of_json_is_gate_of_its_log(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(sqgen("log", "parse", TEST, "--json").stdout)
    outcomes = [sqgen("gate", source, "--min", "top1=0.7") for source in (TEST, "r.json")]
    assert outcomes[0].stdout.replace(TEST, "") == outcomes[1].stdout.replace(TEST, "")


@given(st.floats(0, 1), st.floats(0, 1))
def test_expectations_by_property(value: float, width: float) -> None:
    text = f"top1={value!r}+-{width!r}"
    expected = parse_expectation(text, "=")
    assert (expected.value, expected.tolerance.amount) == (value, width)


@given(st.text(max_size=20))
def test_any_text_is_an_expectation_or_one_line(text: str) -> None:
    try:
        expected = parse_expectation(text, "=")
    except DesignError as error:
        assert str(error).isprintable()
        assert str(error).startswith("--expect")
    else:
        assert math.isfinite(expected.value)


def test_tolerances() -> None:
    assert parse_tolerance("10%").width(0.5, None) == pytest.approx(0.05)
    assert parse_tolerance("0.001").width(0.5, None) == 0.001
    assert parse_tolerance("2se").width(0.5, 100) == pytest.approx(0.1)


def run_steps(workflow: str, folder: Path) -> list[str]:
    """Run the steps of a workflow in docs/ci.md as pasted, but for its installation."""
    bash, scripts = shutil.which("bash"), sysconfig.get_path("scripts")
    if bash is None or not shutil.which("sqgen", path=scripts):
        pytest.skip("needs bash and an installed sqgen, and one is not here")
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8").partition(f"## {workflow}\n")[2]
    text = text.partition("```yaml\n")[2].partition("```")[0]
    steps = [step for step in re.findall(r"- run: \|\n((?: {10}.*\n)+)", text) if "pip" not in step]
    env = {key: value for key, value in os.environ.items() if key != "GITHUB_STEP_SUMMARY"}
    env["PATH"] = os.pathsep.join([scripts, os.environ["PATH"]])
    for step in steps:
        subprocess.run([bash, "-e", "-c", step], cwd=folder, env=env, check=True)
    return steps


def test_workflow_of_this_repository_works_as_pasted(tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    assert len(run_steps("A workflow in this repository", tmp_path)) == 2
    assert (tmp_path / "gate.md").exists()


def test_workflow_of_another_repository_works_as_pasted(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch, which is not here")
    place = Place(tmp_path)
    shutil.copy(place.net, tmp_path / "train_val.prototxt")
    shutil.copy(place.weights, tmp_path / "w.caffemodel")
    place.data.rename(tmp_path / "val_lmdb")
    write_baseline(
        tmp_path / "accuracy.json", LogResult("", scores=(Score("loss", 9.0, LOSS),)), 64
    )
    assert len(run_steps("A workflow for your repository", tmp_path)) == 1
    assert (tmp_path / "accuracy" / "result.json").exists()
    assert "64 images" in (tmp_path / "accuracy.md").read_text()


DEEP = '{"format": 1, "net": ' + "[" * 100_000
HOSTILE = [
    "1" + "0" * 400,
    "9" * 5000,
    "-" + "9" * 400,
    "NaN",
    "Infinity",
    "true",
    "[]",
    "{}",
    '"x"',
]


@pytest.mark.parametrize("value", [*HOSTILE, "null", '"nan"', '"inf"', "1e999"])
def test_a_damaged_baseline_is_misuse(sqgen: Run, tmp_path: Path, value: str) -> None:
    (tmp_path / "b.json").write_text(f'{{"format": 1, "scores": {{"loss": {value}}}}}')
    refused(sqgen, "b.json: is no baseline of sqgen gate: ", TEST, "--baseline", "b.json")


@pytest.mark.parametrize(
    "text", [DEEP, "", "[]", "{}", '{"format": 1}', '{"format": 1, "scores": {}}', "\xff"]
)
def test_a_file_that_is_no_baseline(sqgen: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text, encoding="latin-1")
    refused(sqgen, "b.json: is no baseline of sqgen gate: ", TEST, "--baseline", "b.json")


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", ["images", "segments", "net", "scores", "signals", "total_ms"])
def test_a_damaged_result_is_misuse(sqgen: Run, tmp_path: Path, field: str, value: str) -> None:
    if (field, value) in {("segments", "[]"), ("scores", "[]"), ("signals", "[]"), ("net", '"x"')}:
        value = "1"
    if (field, value) == ("total_ms", "{}"):
        value = f'{{"a": {HOSTILE[0]}}}'
    (tmp_path / "r.json").write_text(f'{{"format": 1, "source": "x", "{field}": {value}}}')
    refused(sqgen, "r.json: ", "r.json", "--min", "top1=0")


def refused(sqgen: Run, start: str, *arguments: str) -> None:
    done = sqgen("gate", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert done.stderr.startswith(f"sqgen: {start}")
    assert len(done.stderr) < 500
