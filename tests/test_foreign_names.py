"""Names from a stranger's net, log or result: what reads our files takes them for names."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest

from sqgen.engine import glog
from sqgen.logs.expectation import Check
from sqgen.logs.gate import Verdict
from sqgen.logs.result import LogResult
from sqgen.logs.scores import Score
from sqgen.report.gate_report import junit_xml, markdown_table
from sqgen.text import csv_cell

from .conftest import Run
from .test_logs import parse

FORMULAS = ["=cmd|' /C calc'!A0", "+1+2", "-2+3", "@SUM(1)", "\t=1", "\r=1"]
P = "I1126 07:00:00.000000 1 "


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_is_a_formula(name: str) -> None:
    assert csv_cell(name) == f"'{name}"
    assert csv_cell(f"a{name}") == f"a{name}"


@pytest.mark.parametrize("name", ["=1+2", "@x", "-x"])
def test_the_csv_of_logs(sqgen: Run, tmp_path: Path, name: str) -> None:
    display = f"{P}solver.cpp:1] Iteration 0, loss = -1\n{P}solver.cpp:2]     Train net output #0:"
    (tmp_path / "a.log").write_text(
        f"{display} {name} = -2\n{P}sgd.cpp:1] Iteration 0, lr = 1\n"
        f"{P}caffe.cpp:1] {name}\tforward: 1 ms.\n"
    )
    assert sqgen("log", "parse", "a.log", "--csv", "c").returncode == 0
    [heads, row] = csv.reader((tmp_path / "c" / "train.csv").read_text().splitlines())
    assert heads[-1] == f"'{name}"
    assert row[-2:] == ["-1", "-2"]  # numbers stay numbers
    [_, layer] = csv.reader((tmp_path / "c" / "layers.csv").read_text().splitlines())
    assert layer[0] == f"'{name}"


def test_the_csv_of_a_summary(sqgen: Run) -> None:
    net = 'layer { name: "=1+2\\033[31m" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    done = sqgen("summary", "-", "--csv", stdin=net)
    row = next(csv.DictReader(io.StringIO(done.stdout)))
    assert row["layer"] == "'=1+2\\x1b[31m"


HOSTILE = [
    *("# heading", "<img src=x>", "![a](http://b)", "**bold**", "`code`", "a | b", "- item"),
    *("=====", "1. one", "&lt;", "~~gone~~", "$x$", "\n# new", "\x1b[31m", "\ud800", "\ufffe"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_text(name: str) -> None:
    checks = [Check(name, "at least 1", "0", -1.0)]
    text = markdown_table(Verdict(checks, None), name)
    lines = text.split("\n")
    assert lines[0] == "### sqgen gate: **FAIL**"
    assert text.replace("\n", "").isprintable()
    assert len(lines) == 9
    subject = lines[2]
    assert not subject.startswith(("#", "-", "=", "1.", "<", "!", "*", "`", "|", "~"))
    assert lines[6].replace("\\|", "").count("|") == 7


@pytest.mark.parametrize("name", [*HOSTILE, "\0", "\x0b", "\u009b2J", '"&<>', "]]>"])
def test_junit_is_xml(name: str) -> None:
    checks = [Check(name, "at least 1", name, -1.0, reason=name)]
    result = LogResult("x", net=name, scores=(Score(name, 0.5),))
    root = Xml.fromstring(junit_xml(checks, result, name))
    [case] = root.iter("testcase")
    assert case.get("name", "").isprintable()


@pytest.mark.parametrize("name", ["inf", "nan", "-inf", "NaN", "null", "true", "1e5"])
def test_an_output_of_any_name_survives_json(name: str) -> None:
    log = (
        f"{P}solver.cpp:1] Iteration 0, loss = nan\n{P}solver.cpp:2]     Train net output #0:"
        f" {name} = inf\n{P}sgd.cpp:1] Iteration 0, lr = 1\n"
        f"{P}solver.cpp:1] Iteration 0, Testing net (#0)\n"
        f"{P}solver.cpp:2]     Test net output #0: {name} = -inf (* 1 = -inf loss)\n{P}a.cpp:1] x\n"
    )
    result = parse(log)
    [score] = result.scores
    assert score.name == name
    again = LogResult.from_dict(result.as_dict())
    assert repr(again) == repr(result)


def test_the_log_of_the_engine_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[31m\u009b2J\u202e\r\n\u65e5\u3000"
    glog.info(f"{name}\tforward", body=f'name: "{name[:-4]}"\n')
    head, body, end = capsys.readouterr().err.split("\n")
    assert head.endswith("] a\\x1b[31m\\x9b2J\\u202e\\r\\n\u65e5\u3000\tforward")
    assert body == 'name: "a\\x1b[31m\\x9b2J\\u202e"'
    assert not end
