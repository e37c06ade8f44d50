"""Curves of trainings and comparisons of logs, as numbers."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import DesignError, LogResult, parse_log
from sqgen.logs.compare import compare_logs, describe_first_differences
from sqgen.report.curves import Curve, extract_curves, smooth_values
from sqgen.report.figures import render_figure
from sqgen.report.training_plot import draw_curves

from .conftest import Run
from .test_logs import LOGS, displays, stripped, text_of

if TYPE_CHECKING:
    from matplotlib.legend import Legend


def result(text: str) -> LogResult:
    return parse_log(io.BytesIO(text.encode()))


def by_label(found: list[Curve]) -> dict[str, Curve]:
    return {curve.label: curve for curve in found}


def test_curves_of_a_run() -> None:
    found = by_label(extract_curves(result(text_of("train_batchnorm"))))
    assert list(found) == ["train loss", "learning rate", "top1", "top5", "test loss"]
    assert found["train loss"].xs == [20.0 * i for i in range(31)]
    assert found["train loss"].ys[-1] == 0.0404565
    assert found["top1"].xs == [0, 100, 200, 300, 400, 500, 600]
    assert found["top1"].ys[-1] == 0.936027
    assert {curve.panel for curve in found.values()} == {"loss", "learning rate", "accuracy"}
    timed = by_label(extract_curves(result(text_of("train_batchnorm")), "time"))["train loss"]
    assert timed.xs == sorted(timed.xs)
    assert timed.xs[-1] == pytest.approx(35.39, abs=0.01)


def test_no_accuracy_beside_nan_is_drawn() -> None:
    found = by_label(extract_curves(result(text_of("train_diverged_nan"))))
    assert [math.isfinite(y) for y in found["top1"].ys] == [True] + [False] * 6
    assert sum(map(math.isfinite, found["train loss"].ys)) == 1


def test_segments_are_joined() -> None:
    """A resumed run goes on; what it did again replaces what was there."""
    p = "I1123 02:37:19.366457 1 solver.cpp:228] "
    text = displays(["3", "2", "1"]) + f"{p}Resuming from a.solverstate\n"
    again = displays(["9", "9", "0.5", "0.25"]).split("\n", 4)[4].replace("02:37:19", "02:38:19")
    loss = by_label(extract_curves(result(text + again)))["train loss"]
    assert (loss.xs, loss.ys) == ([0, 100, 200, 300], [3, 2, 0.5, 0.25])


def test_a_log_without_times_has_no_time_axis() -> None:
    bare = result(stripped(text_of("train_batchnorm")))
    assert by_label(extract_curves(bare))["train loss"].xs[-1] == 600
    with pytest.raises(DesignError, match="its lines have no times; plot iterations"):
        extract_curves(bare, "time")


def test_two_test_nets_have_curves_of_their_own() -> None:
    labels = list(by_label(extract_curves(result(text_of("train_two_test_nets")))))
    assert [label for label in labels if label.endswith("top1")] == [
        "top1",
        "net1:top1",
    ]


@given(st.lists(st.floats(-10, 10) | st.just(math.nan), max_size=30), st.integers(1, 10))
def test_smoothing(values: list[float], width: int) -> None:
    found = smooth_values(values, width)
    assert [math.isnan(y) for y in found] == [math.isnan(v) for v in values]
    if width == 1:
        assert [repr(y + 0.0) for y in found] == [repr(v + 0.0) for v in values]
    finite = [value for value in values if not math.isnan(value)]
    for y in found:
        assert math.isnan(y) or min(finite) - 1e-9 <= y <= max(finite) + 1e-9


def test_figure_draws_the_curves() -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, the extra sqgen[plot]")
    runs = [
        (name, extract_curves(result(text_of(name))))
        for name in ("train_batchnorm", "train_resume")
    ]
    drawn = draw_curves(runs, "iterations", log_scale=True)
    assert [ax.get_ylabel() for ax in drawn.axes] == ["loss", "accuracy", "learning rate"]
    assert [ax.get_yscale() for ax in drawn.axes] == ["log", "linear", "log"]
    assert drawn.axes[-1].get_xlabel() == "iteration"
    for ax, panel in zip(drawn.axes, ("loss", "accuracy", "learning rate"), strict=True):
        shown = [(curve, f"C{n}") for n, (_, cs) in enumerate(runs) for curve in cs]
        wanted = [(curve.xs, colour) for curve, colour in shown if curve.panel == panel]
        lines = [(np.asarray(x.get_xdata()).tolist(), x.get_color()) for x in ax.get_lines()]
        assert lines == wanted
        labels = list(dict.fromkeys(curve.label for curve, _ in shown if curve.panel == panel))
        assert legend_texts(ax.get_legend()) == (labels if labels != [panel] else [])
    assert legend_texts(drawn.legends[0]) == [name for name, _ in runs]


def legend_texts(legend: Legend | None) -> list[str]:
    return [text.get_text() for text in legend.get_texts()] if legend is not None else []


@pytest.mark.parametrize("count", [1, 2, 30, 100])
def test_a_legend_never_covers_a_panel(count: int) -> None:
    """Runs are named below; in a panel, only its kinds of curves."""
    pytest.importorskip("matplotlib", reason="needs matplotlib, the extra sqgen[plot]")
    curves = extract_curves(result(text_of("train_batchnorm")))
    runs = [(f"a_run_with_a_name_{n}", curves) for n in range(count)]
    drawn = draw_curves([*runs, ("no curves", [])], "iterations", log_scale=False)
    colours = {line.get_color() for line in drawn.axes[0].get_lines()}
    assert len(colours) == max(count, 2)
    assert legend_texts(drawn.axes[0].get_legend()) == ["train loss", "test loss"]
    if count == 1:
        assert not drawn.legends
        return
    render_figure(drawn, "png")
    [legend] = drawn.legends
    assert legend_texts(legend) == [name for name, _ in runs]
    box = legend.get_window_extent()
    assert box.y0 >= -1
    assert box.x0 >= -1
    assert box.x1 <= drawn.bbox.x1 + 1
    assert all(box.y1 <= ax.get_window_extent().y0 for ax in drawn.axes)
    assert all(ax.get_window_extent().height > 150 for ax in drawn.axes)


def test_any_name_is_drawn_as_it_is() -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, the extra sqgen[plot]")
    names = ["$\\frac{", "a$b$c", "_x", "\x1b[31mred", "\u202eflip", "\ud800", "\u65e5", "x" * 500]
    curves = extract_curves(result(text_of("train_batchnorm")))
    drawn = draw_curves([(name, curves) for name in names], "iterations", log_scale=False)
    for kind in ("png", "svg", "pdf"):
        assert render_figure(drawn, kind)
    texts = legend_texts(drawn.legends[0])
    assert len(texts) == len(names)
    assert all(text.strip().isprintable() and len(text) < 100 for text in texts)


@pytest.mark.parametrize(
    ("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_plot(sqgen: Run, tmp_path: Path, kind: str, magic: bytes) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, the extra sqgen[plot]")
    log = str(LOGS / "train_batchnorm.log.gz")
    for out in (f"a.{kind}", f"b.{kind}"):
        done = sqgen("log", "plot", log, "-o", out, "--smooth", "3", "--x", "time")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"wrote {out}\n")
    data = (tmp_path / f"a.{kind}").read_bytes()
    assert data.startswith(magic)
    assert data == (tmp_path / f"b.{kind}").read_bytes()
    # Which is checked before the logs are read.
    assert "exists already" in sqgen("log", "plot", "nowhere", "-o", f"a.{kind}").stderr


def test_plot_mistakes(sqgen: Run) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib, the extra sqgen[plot]")
    log = str(LOGS / "test_digits.log.gz")
    assert "nothing to plot" in sqgen("log", "plot", log, "-o", "a.png").stderr
    assert "end it in .png, .svg or .pdf" in sqgen("log", "plot", log, "-o", "a.bmp").stderr
    with pytest.raises(DesignError, match="nothing to plot"):
        draw_curves([], "time", log_scale=False)


def test_plot_without_matplotlib_says_what_brings_it(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text("raise ImportError\n")
    log = str(LOGS / "train_batchnorm.log.gz")
    done = sqgen("log", "plot", log, "-o", "a.png", env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'sqgen[plot]'" in done.stderr


def test_compare() -> None:
    a, b = (result(text_of(name)) for name in ("train_batchnorm", "train_dead_relu"))
    rows = {row.name: row for row in compare_logs(a, b)}
    assert (rows["final top1"].a, rows["final top1"].b) == (0.936027, 0.0)
    assert rows["best top1"].a == 0.959596
    assert rows["best loss"].a == 0.232444
    assert rows["iterations/s"].difference == pytest.approx(20.1, abs=0.1)
    assert "first at iteration 0" in next(iter(describe_first_differences(a, b)))


def test_compare_leaves_out_what_means_nothing() -> None:
    a, b = (result(text_of(name)) for name in ("train_batchnorm", "train_diverged_nan"))
    rows = {row.name: row for row in compare_logs(a, b)}
    assert rows["final top1"].b is None
    assert rows["best top1"].b is not None
    assert rows["best top1"].b < 0.5


def test_compare_shows_the_scores_of_both() -> None:
    c = "I1123 02:37:19.366457 1 caffe.cpp:228] "
    a, b = result(f"{c}one = 1\n{c}both = 2\n"), result(f"{c}both = 3\n{c}other = 4\n")
    rows = [(row.name, row.a, row.b) for row in compare_logs(a, b)]
    assert rows == [("final one", 1, None), ("final both", 2, 3), ("final other", None, 4)]


def test_where_runs_part() -> None:
    same = result(displays(["3", "2", "1"]))
    assert list(describe_first_differences(same, same)) == [
        "the losses are the same in all 3 iterations that both show"
    ]
    near = result(displays(["3", "2.001", "1.5"]))
    assert list(describe_first_differences(same, near)) == [
        "the losses differ first at iteration 100: 2 and 2.001",
        "they part by more than 1% first at iteration 200: 1 and 1.5",
    ]
    assert list(describe_first_differences(same, result(""))) == [
        "they have no iteration in common"
    ]


def test_compare_command(sqgen: Run) -> None:
    logs = [str(LOGS / f"{name}.log.gz") for name in ("train_batchnorm", "train_diverged_nan")]
    shown = sqgen("log", "compare", *logs).stdout
    assert "final top1    0.936027" in shown
    plain = json.loads(sqgen("log", "compare", *logs, "--json").stdout)
    assert plain["compared"][0]["b"] is None
