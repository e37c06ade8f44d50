"""Curves of trainings and comparisons of logs, as numbers and as charts."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import DesignError, LogResult, parse_log
from sqgen.logs.compare import compare_logs, describe_first_differences
from sqgen.logs.read_log import read_log
from sqgen.logs.result import Segment
from sqgen.report.charts import Chart, render_chart
from sqgen.report.curve_sampler import BUDGET, MAX_CURVES, CurveSampler
from sqgen.report.curves import Curve, Training, extract_trainings, limit_stretches
from sqgen.report.names import distinct_names
from sqgen.report.sampled_curve import MovingMean, Point, SampledCurve
from sqgen.report.theme import DARK
from sqgen.report.training_charts import (
    NamedTraining,
    describe_sampling,
    name_trainings,
    stack_charts,
    training_charts,
)
from sqgen.tools.picture_file import PictureFile

from .conftest import Run
from .test_logs import LOGS, displays, stripped, text_of

HEADER = "I1123 02:37:19.366457 1 solver.cpp:228] "


def result(text: str) -> LogResult:
    return parse_log(io.BytesIO(text.encode()))


def training(text: str, x: str = "iterations") -> Training:
    [found] = extract_trainings(result(text), x=x)
    return found


def curves(text: str, x: str = "iterations") -> dict[str, Curve]:
    return {curve.label: curve for curve in training(text, x).curves}


def test_curves_of_a_run() -> None:
    found = curves(text_of("train_batchnorm"))
    assert list(found) == ["train loss", "learning rate", "top1", "top5", "test loss"]
    assert found["train loss"].xs == [20.0 * i for i in range(31)]
    assert found["train loss"].ys[-1] == 0.0404565
    assert found["top1"].xs == [0, 100, 200, 300, 400, 500, 600]
    assert found["top1"].ys[-1] == 0.936027
    assert {curve.panel for curve in found.values()} == {"loss", "learning rate", "accuracy"}
    timed = curves(text_of("train_batchnorm"), "time")["train loss"]
    assert timed.xs == sorted(timed.xs)
    assert timed.xs[-1] == pytest.approx(35.39, abs=0.01)


@pytest.mark.parametrize("name", ["train_batchnorm", "train_diverged_nan", "train_two_test_nets"])
def test_rows_of_a_log_and_of_its_result_are_the_same_curves(name: str) -> None:
    sampler = CurveSampler()
    data = io.BytesIO(text_of(name).encode())
    streamed = extract_trainings(read_log(data, sampler), sampler)
    assert repr(streamed) == repr(extract_trainings(result(text_of(name))))


def test_where_a_loss_becomes_nan_is_marked_and_no_accuracy_beside_it_is_drawn() -> None:
    found = curves(text_of("train_diverged_nan"))
    assert [math.isfinite(y) for y in found["top1"].ys] == [True] + 6 * [False]
    assert sum(map(math.isfinite, found["train loss"].ys)) == 1
    [mark] = found["train loss"].breaks
    assert (mark.x, mark.y, mark.text) == (20, 6.72775, "nan at iteration 20")
    assert not found["top1"].breaks
    loss = curves(displays(["3", "inf", "2", "-nan", "1"]))["train loss"]
    assert [(mark.x, mark.y, mark.text) for mark in loss.breaks] == [
        (100, 3, "inf at iteration 100"),
        (300, 2, "nan at iteration 300"),
    ]


def test_a_resumed_training_is_one() -> None:
    """A resumed run goes on; what it did again replaces what was there."""
    text = displays(["3", "2", "1"]) + f"{HEADER}Resuming from a.solverstate\n"
    again = displays(["9", "9", "0.5", "0.25"]).split("\n", 4)[4].replace("02:37:19", "02:38:19")
    found = training(text + again)
    loss = found.curves[0]
    assert (loss.xs, loss.ys) == ([0, 100, 200, 300], [3, 2, 0.5, 0.25])
    assert [(mark.x, mark.text) for mark in found.resumes] == [(200, "resumed")]


def test_two_trainings_in_a_log_are_two() -> None:
    both = extract_trainings(result(displays(["3", "2", "1"]) + displays(["4", "5"])))
    losses = [each.curves[0] for each in both]
    assert [(loss.xs, loss.ys) for loss in losses] == [
        ([0, 100, 200], [3, 2, 1]),
        ([0, 100], [4, 5]),
    ]
    assert [each.number for each in both] == [1, 2]


def test_a_log_without_times_has_no_time_axis() -> None:
    bare = stripped(text_of("train_batchnorm"))
    assert curves(bare)["train loss"].xs[-1] == 600
    with pytest.raises(DesignError, match="its lines have no times; plot iterations"):
        training(bare, "time")


def test_two_test_nets_have_curves_of_their_own() -> None:
    labels = list(curves(text_of("train_two_test_nets")))
    assert [label for label in labels if label.endswith("top1")] == ["top1", "net1:top1"]


def test_two_heads_have_a_label_each() -> None:
    """Losses and accuracies of GoogLeNet's kind, in training and in tests."""
    train = [
        f"{HEADER}Iteration {at}, loss = 3\n"
        f"{HEADER}    Train net output #0: loss1/loss = {at} (* 0.3 = 1 loss)\n"
        f"{HEADER}    Train net output #1: loss2/loss = 4 (* 1 = 4 loss)\n"
        for at in (0, 100)
    ]
    test = (
        f"{HEADER}Iteration 100, Testing net (#0)\n"
        f"{HEADER}    Test net output #0: loss1/loss = 2 (* 0.3 = 1 loss)\n"
        f"{HEADER}    Test net output #1: loss1/top-1 = 0.25\n"
        f"{HEADER}    Test net output #2: loss2/loss = 2 (* 1 = 2 loss)\n"
        f"{HEADER}    Test net output #3: loss2/top-1 = 0.5\n"
    )
    found = curves("".join(train) + test)
    assert {label: curve.ys for label, curve in found.items()} == {
        "train loss, all heads": [3, 3],
        "train loss1/loss": [0, 100],
        "train loss2/loss": [4, 4],
        "test loss1/loss": [2],
        "loss1/top-1": [0.25],
        "test loss2/loss": [2],
        "loss2/top-1": [0.5],
    }


VALUES = st.lists(
    st.floats(-10, 10) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0]), max_size=200
)


@given(VALUES, st.integers(2, 8))
def test_a_sampled_curve_keeps_what_one_sees(values: list[float], limit: int) -> None:
    sampled = SampledCurve(limit)
    given_points = [Point(10 * i, None, value) for i, value in enumerate(values)]
    for point in given_points:
        sampled.add(point)
    points = sampled.points()
    assert sampled.count == len(values)
    assert len(points) <= 5 * limit
    assert points == sorted(set(points), key=lambda point: point.iteration)
    assert set(points) <= set(given_points)
    if values:
        assert (points[0], points[-1]) == (given_points[0], given_points[-1])
        kept, finite = (
            [p.value for p in some if math.isfinite(p.value)] for some in (points, given_points)
        )
        assert kept == [] if not finite else (min(kept), max(kept)) == (min(finite), max(finite))
        assert any(map(math.isnan, (p.value for p in points))) >= all(map(math.isnan, values))
    if len(values) <= limit:
        assert not sampled.is_sampled
    breaks = [
        point
        for before, point in zip([0.0, *values], given_points, strict=False)
        if math.isfinite(before) and not math.isfinite(point.value)
    ]
    assert [each.point for each in sampled.breaks] == breaks[:20]


def test_curves_of_a_long_log_are_sampled_and_say_so() -> None:
    losses = [f"{5 - i / 1000}" for i in range(4000)]
    losses[1234], losses[2345] = "99", "nan"
    sampler = CurveSampler()
    log = read_log(io.BytesIO(displays(losses).encode()), sampler, keep_rows=False)
    assert log.segments[0].train == ()
    limit_stretches([sampler], 300)
    [found] = extract_trainings(log, sampler)
    loss = found.curves[0]
    assert loss.points == 4000
    assert len(loss.xs) <= 4 * 300
    assert dict(zip(loss.xs, loss.ys, strict=True))[123_400] == 99
    assert [mark.text for mark in loss.breaks] == ["nan at iteration 234,500"]
    assert describe_sampling([found]).startswith("Sampled: of curves of up to 4,000 points, ")
    assert describe_sampling([training(displays(["2", "1"]))]) == ""


def test_a_page_of_a_long_training_stays_small() -> None:
    """The curves of the noisiest log take at most 1 MB: with Vega's 0.9, a page has under 2."""
    sampler = CurveSampler()
    names = ("loss1/loss", "loss2/loss")
    for at in range(20_000):
        noise = f"{math.sin(at * at) + 2:.6f}"
        sampler.train(0, str(at * 100), None, noise, noise, names, (noise, noise))
    limit_stretches([sampler])
    [found] = extract_trainings(LogResult("log", segments=(Segment(first_iteration=0),)), sampler)
    specs = [chart.spec for chart in training_charts([NamedTraining("a run", found)])]
    assert len(json.dumps(specs)) < 1_000_000


def test_an_odd_log_fills_no_memory() -> None:
    """A log of ever new runs, each with outputs of its own."""
    sampler = CurveSampler()
    for run in range(MAX_CURVES + 5):
        sampler.train(run, "0", None, "1", None, (), ())
    for at in range(1000):
        sampler.train(0, str(at + 1), None, f"{at}", None, (), ())
    assert len(sampler.curves) == MAX_CURVES
    assert not sampler.is_complete
    assert sum(curve.limit for curve in sampler.curves.values()) <= BUDGET


@given(st.lists(st.floats(-10, 10) | st.just(math.nan), max_size=30), st.integers(1, 10))
def test_smoothing(values: list[float], width: int) -> None:
    mean = MovingMean(width)
    found = [mean.add(value) for value in values]
    assert [math.isnan(y) for y in found] == [math.isnan(v) for v in values]
    if width == 1:
        assert [repr(y + 0.0) for y in found] == [repr(v + 0.0) for v in values]
    finite = [value for value in values if not math.isnan(value)]
    for y in found:
        assert math.isnan(y) or min(finite) - 1e-9 <= y <= max(finite) + 1e-9


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["logs/a.log.gz"], ["a"]),
        (["a/x/1.log.gz", "b/x/2.log"], ["1", "2"]),
        (["runs/a/caffe.log", "runs/b/caffe.log"], ["a", "b"]),
        (["a/x/1", "a/y/1", "b/x/1"], ["a/x", "a/y", "b/x"]),
        (["a.log", "b.log", "a.log"], ["a", "b", "a (2)"]),
        (["-", "run.log"], ["standard input", "run"]),
        (
            [
                "runs/20261124-093000-train_val/caffe.log",
                "runs/20261124-094500-train_val/caffe.log",
            ],
            ["093000", "094500"],
        ),
        (["long_name_of_a_run_lr0.01_a", "long_name_of_a_run_lr0.001_a"], ["lr0.01", "lr0.001"]),
        (["/", ""], ["/", ""]),
        (["a", "a", "a (2)"], ["a", "a (2)", "a (2) (2)"]),
    ],
)
def test_names_are_what_tells_paths_apart(paths: list[str], names: list[str]) -> None:
    assert distinct_names(paths) == names


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_different_paths_have_different_names(paths: list[str]) -> None:
    names = distinct_names(paths)
    assert len(names) == len(paths) == len(set(names))


def named(*names: str) -> list[NamedTraining]:
    return [NamedTraining(name, training(text_of(name))) for name in names]


def drawn(chart: Chart, *fields: str) -> list[tuple[Any, ...]]:
    """The rows that a chart's lines draw."""
    return [tuple(row[field] for field in fields) for row in chart.spec["data"]["values"]]


def test_a_panel_per_kind_draws_the_curves() -> None:
    runs = named("train_batchnorm", "train_dead_relu")
    charts = training_charts(runs, log_scale=True)
    assert [chart.name for chart in charts] == ["loss", "accuracy", "learning-rate"]
    for chart in charts:
        shown = [(name, curve) for name, each in runs for curve in each.curves]
        wanted = [
            (name, curve.label, x, y)
            for name, curve in shown
            if curve.panel == chart.title
            for x, y in zip(curve.xs, curve.ys, strict=True)
        ]
        assert drawn(chart, "run", "curve", "at", "value") == [
            (*place, y if y > 0 or chart.title == "accuracy" else None) for *place, y in wanted
        ]
        assert [tuple(row) for row in chart.rows] == wanted
        line = chart.spec["layer"][0]["encoding"]
        assert line["color"]["scale"]["domain"] == ["train_batchnorm", "train_dead_relu"]
        dashes = line["strokeDash"]["scale"]["range"]
        assert dashes[0] != dashes[1]
        kind = "linear" if chart.title == "accuracy" else "log"
        assert chart.spec["encoding"]["y"]["scale"].get("type", "linear") == kind


@pytest.mark.parametrize("count", [1, 8, 30])
def test_runs_differ_in_dashes_or_colour_and_the_legend_is_above(count: int) -> None:
    """A legend at the top covers no line, whatever its size; of one run, it names the curves."""
    one = training(text_of("train_batchnorm"))
    charts = training_charts([NamedTraining(f"run {n}", one) for n in range(count)])
    line = charts[0].spec["layer"][0]["encoding"]
    labels = line["strokeDash"]["scale"]["domain"]
    assert labels == (
        ["train loss", "test loss"] if count == 1 else [f"run {n}" for n in range(count)]
    )
    colours = [index % 8 for index in range(len(labels))]
    dashes = map(tuple, line["strokeDash"]["scale"]["range"])
    assert len(set(zip(colours, dashes, strict=True))) == len(labels)
    legends = [chart.spec["layer"][0]["encoding"]["color"]["legend"] for chart in charts]
    # A long one stands once; one of curves is each panel's own.
    assert [legend is not None for legend in legends] == [True, count < 30, 1 < count < 30]


def test_a_diverged_run_and_a_resumed_one_are_marked() -> None:
    layers = training_charts(named("train_diverged_nan"))[0].spec["layer"]
    texts = [row.get("text") for layer in layers for row in layer.get("data", {}).get("values", ())]
    assert "nan at iteration 20" in texts
    layers = training_charts(named("train_resume"))[0].spec["layer"]
    texts = [row.get("text") for layer in layers for row in layer.get("data", {}).get("values", ())]
    assert "resumed" in texts


def test_any_name_is_drawn_as_it_is() -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    names = ["$\\frac{", "a$b$c", "<b>", "\x1b[31mred", "\u202eflip", "\ud800", "\u65e5", "x" * 500]
    one = training(text_of("train_batchnorm"))
    charts = training_charts([NamedTraining(name, one) for name in names])
    whole = stack_charts("curves", "curves", charts, "sampled")
    svg = render_chart(whole, "svg").decode()
    for shown in (
        "$\\frac{",
        "a$b$c",
        "&lt;b&gt;",
        r"\x1b[31mred",
        r"\u202eflip",
        r"\ud800",
        "\u65e5",
        "xxx...",
    ):
        assert shown in svg
    assert svg.count("run loss") == 0


def test_plot(sqgen: Run, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    log = str(LOGS / "train_batchnorm.log.gz")
    for out, more in (("a.png", []), ("b.svg", ["--dark"])):
        done = sqgen("log", "plot", log, "-o", out, "--smooth", "3", "--x", "time", *more)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"wrote {out}\n")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    dark = (tmp_path / "b.svg").read_text()
    assert all(text in dark for text in (DARK.ground, ">seconds</text>", ">test loss</text>"))
    # Which is checked before the logs are read.
    assert "exists already" in sqgen("log", "plot", "nowhere", "-o", "a.png").stderr


@pytest.mark.usefixtures("vega")
def test_an_html_is_a_page_of_the_panels(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    charts = training_charts(named("train_batchnorm"))
    PictureFile(str(path), "-o", force=False, dark=True).write(charts, title="<a>", note="sampled")
    page = path.read_text(encoding="utf-8")
    assert page.count('<figure class="chart"') == 3
    for part in ('data-theme="dark"', "<title>&lt;a&gt;</title>", '<p class="note">sampled</p>'):
        assert part in page


def test_plot_mistakes(sqgen: Run) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    log = str(LOGS / "test_digits.log.gz")
    assert "nothing to plot" in sqgen("log", "plot", log, "-o", "a.png").stderr
    assert "end it in .png, .svg, .pdf or .html" in sqgen("log", "plot", log, "-o", "a.bmp").stderr
    with pytest.raises(DesignError, match="nothing to plot"):
        training_charts([], "time", log_scale=False)


def test_plot_without_its_renderer_says_what_brings_it(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "vl_convert").mkdir()
    (tmp_path / "vl_convert" / "__init__.py").write_text("raise ImportError\n")
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


def test_trainings_of_a_log_are_named_by_their_phases() -> None:
    found = [Training(number, (), (), (number - 1,)) for number in (1, 2, 3)]
    phases = [{"name": name} for name in ("sparse1", "dense1", "sparse2", "dense2")]

    def names(trainings: list[Training], record: dict[str, Any]) -> list[str]:
        return [each.name for each in name_trainings("a", trainings, record)]

    assert names(found[:1], {"phases": phases}) == ["a"]
    assert names(found, {}) == ["a (1)", "a (2)", "a (3)"]
    # A resumed one has the last phases.
    wanted = ["a (dense1)", "a (sparse2)", "a (dense2)"]
    assert names(found, {"phases": phases}) == wanted
    assert names(found[1:], {"phases": phases}) == wanted[1:]
    for odd in (3, [3], [{"name": 3}], phases[:2], None):
        assert names(found, {"phases": odd}) == ["a (1)", "a (2)", "a (3)"]
