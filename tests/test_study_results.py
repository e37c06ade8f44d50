"""The results of a study as files and pictures, and what those say."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from sqgen.sweep.outcome import Outcome, write_outcome
from sqgen.sweep.plan import Plan
from sqgen.sweep.result_files import latex, markdown, write_results
from sqgen.sweep.result_table import result_table
from sqgen.sweep.results import StudyResult, read_results
from sqgen.sweep.study_chart import Mark, pareto_front, study_chart
from sqgen.text import wrapped

from .test_study_file import plan_of

STUDY = """
format = 1
title = "squeeze & 100%"
seeds = 3
measure = ["top1", "parameters", "seconds"]
[data]
train = "."
val = "."
[build]
size = 32
classes = 10
[train]
[grid]
build.sr = [0.125, 0.25, 0.5]
build.bypass = ["none", "simple"]
"""


def top1_of(sr: float, bypass: str, seed: int) -> float:
    """By hand: a bypass adds 1, 2 or 3 points with seeds 1, 2 and 3."""
    return 0.8 + sr / 10 + 0.003 * seed + (0.01 * seed if bypass == "simple" else 0.0)


def make_result(folder: Path, text: str = STUDY, failed: str = "") -> StudyResult:
    plan: Plan = plan_of(text)
    for trial in plan.trials:
        axes = trial.point.axes
        sr, bypass = float(axes["build.sr"]), axes["build.bypass"]
        measures = {"top1": top1_of(sr, bypass, trial.seed), "parameters": 1000 + 1e5 * sr}
        measures["seconds"] = 60.0 + trial.seed
        place = folder / trial.folder
        place.mkdir(parents=True)
        bad = trial.folder == failed
        write_outcome(place, Outcome(failed="no & why") if bad else Outcome(measures))
    return read_results(folder, plan)


BYPASS = STUDY + "[baseline]\nbuild.bypass = 'none'\n"


def test_the_table_has_means_errors_and_differences(tmp_path: Path) -> None:
    table = result_table(make_result(tmp_path, BYPASS))
    assert table.heads == [
        *("sr", "bypass", "n", "top1 %", "difference [95%]", "parameters", "seconds"),
    ]
    assert table.rows[0][2:5] == ["3", "81.85 +- 0.17", ""]
    # The mean of 1, 2 and 3 points is 2; t(0.975, 2) = 4.303 times an error of 1 / sqrt 3: 2.48.
    assert table.rows[1] == [
        *("0.125", "simple", "3", "83.85 +- 0.75", "+2.00 [-0.48, +4.48]", "13,500"),
        "62.0 +- 0.6",
    ]


def test_every_form_has_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="needs the extra sqgen[plot]")
    result = make_result(tmp_path, BYPASS, failed="runs/sr=0.25,bypass=simple/seed-2")
    names, why = write_results(tmp_path, result)
    assert (len(names), why) == (6, "")
    plain = json.loads((tmp_path / "results.json").read_text())
    points = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    runs = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text())))
    assert len(runs) == 18
    for point, row in zip(plain["points"], points, strict=True):
        own = [run for run in runs if run["point"] == point["label"] and not run["failed"]]
        assert row["runs"].split() == [run["folder"] for run in own]
        assert float(row["top1"]) == point["measures"]["top1"]["mean"]
        mean = sum(float(run["top1"]) for run in own) / len(own)
        assert float(row["top1"]) == pytest.approx(mean)
        shown = f"{100 * mean:.2f} "
        assert shown in (tmp_path / "results.md").read_text()
        assert shown in (tmp_path / "results.tex").read_text()
    failed = [run for run in runs if run["failed"]]
    assert [(run["folder"], run["failed"]) for run in failed] == [
        ("runs/sr=0.25,bypass=simple/seed-2", "no & why")
    ]
    assert points[3]["top1 pairs"] == "2"
    before = (tmp_path / "results.svg").read_bytes()
    write_results(tmp_path, result)
    assert (tmp_path / "results.svg").read_bytes() == before


def test_names_are_escaped(tmp_path: Path) -> None:
    text = STUDY.replace("[grid]", "[[list]]\nname = 'a_b | $x$ *'\n[grid]")
    table = result_table(make_result(tmp_path, text))
    assert r"| a\_b \| $x$ \* |" in markdown(table, "t")
    made = latex(table, r"50% \x")
    assert r"a\_b $|$ \$x\$ *" in made
    rows = [line for line in made.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 7
    assert all(line.replace(r"\&", "").count("&") == len(table.heads) - 1 for line in rows)


def drawn(result: StudyResult) -> Any:
    chart = study_chart(result)
    assert chart is not None
    return chart


@pytest.mark.parametrize(
    ("chart", "columns"),
    [
        ("", ("point", "series", "build.sr", "top1 %", "low", "high", "n")),
        ("kind = 'bars'", ("point", "series", "x", "top1 %", "low", "high", "n")),
        ("kind = 'dots'", ("point", "series", "x", "top1 %", "low", "high", "n")),
        ("x = 'parameters'", ("point", "series", "parameters", "top1 %", "low", "high", "n")),
    ],
)
def test_kinds_of_pictures(tmp_path: Path, chart: str, columns: tuple[str, ...]) -> None:
    charts = pytest.importorskip("sqgen.report.charts")
    pytest.importorskip("vl_convert", reason="needs the extra sqgen[plot]")
    found = drawn(make_result(tmp_path, f"{STUDY}[chart]\n{chart}"))
    assert found.columns == columns
    assert len(found.rows) == 6
    assert found.rows[1].value == pytest.approx(83.85)
    assert found.rows[1].high - found.rows[1].value == pytest.approx(0.7506, abs=1e-3)
    svg = charts.render_chart(found, "svg").decode()
    assert "top1 %" in svg
    if "bars" in chart:
        assert found.spec["encoding"]["x"]["scale"]["domain"][0] == 0.0
    if not chart:
        assert [row.series for row in found.rows[:2]] == ["bypass none", "bypass simple"]


def test_the_front_has_what_nothing_cheaper_equals() -> None:
    def mark(x: float, value: float) -> Mark:
        return Mark("", "", x, value, value, value, 1)

    marks = [mark(3, 5), mark(1, 2), mark(2, 5), mark(2, 4), mark(4, 6), mark(5, 1)]
    front = pareto_front(marks, larger_is_better=True)
    assert [(each.x, each.value) for each in front] == [(1, 2), (2, 5), (4, 6)]
    front = pareto_front(marks, larger_is_better=False)
    assert [(each.x, each.value) for each in front] == [(1, 2), (5, 1)]


def test_without_the_renderer_there_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    names, why = write_results(tmp_path, make_result(tmp_path))
    assert "results.svg" not in names
    assert "sqgen[plot]" in why


def test_a_measure_that_no_run_has_is_said(tmp_path: Path) -> None:
    result = make_result(tmp_path, STUDY.replace('"seconds"', '"macs"'))
    assert "no run has macs" in result_table(result).notes


def test_notes_count_and_fit_the_terminal(tmp_path: Path) -> None:
    result = make_result(tmp_path, BYPASS, failed="runs/sr=0.5,bypass=simple/seed-1")
    notes = result_table(result).notes
    assert "1 run failed:" in notes
    note = next(each for each in notes if each.startswith("differences in points"))
    assert wrapped(note, None) == [note]
    lines = wrapped(note, 80)
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines) == note
