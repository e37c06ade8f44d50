"""What `sqgen compress` measured, as a part of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen.compress.layer_change import LayerChange
from sqgen.errors import FormatError
from sqgen.json_form import dumps
from sqgen.report.charts import render_chart
from sqgen.report.label_places import LETTER, LINE, MARK, Box, Place, place_labels
from sqgen.report.page import Page, Section, Table, page_charts, render_page
from sqgen.studies.compression_report import compression_sections, read_compression
from sqgen.studies.tradeoff import as_dict

from .conftest import Run
from .test_page import HOSTILE
from .test_report import run_folder
from .test_tradeoff import AFTER, BEFORE, scores

LAYERS = tuple(
    LayerChange(f"conv{number}", "Convolution", 100 * number, 0.5 / number, 15, 4, 0.01 * number)
    for number in range(1, 5)
)
SCALE = LayerChange("scale", "Scale", 8, 1.0, 8, 32, 0.0)
POINTS = [
    BEFORE._replace(layers=LAYERS),
    AFTER._replace(layers=(*LAYERS, SCALE)),
    AFTER._replace(name="tiny", bytes=300, scores=scores(0.5, 0.8), layers=(*LAYERS, SCALE)),
]
ENCODED = {
    "format": 1,
    "path": "w.sqz",
    "bytes": 1000,
    "float_bytes": 5000,
    "layers": [{**layer._asdict(), "bytes": 200, "share": 0.2} for layer in LAYERS],
}


def written(path: Path, plain: Any) -> str:
    path.write_text(dumps(plain))
    return str(path)


def sections(*sources: str) -> list[Section]:
    found = [read_compression(source) for source in sources]
    return compression_sections([each for each in found if each is not None])


def test_a_report_without_any_has_no_sections() -> None:
    assert compression_sections([]) == []


def test_a_folder_and_a_file_are_the_same(tmp_path: Path, sqgen: Run) -> None:
    written(tmp_path / "tradeoff.json", as_dict(POINTS))
    same = written(tmp_path / "printed.json", as_dict(POINTS))
    assert sections(str(tmp_path)) == sections(same)
    assert [each.title for each in sections(same)] == ["Size against accuracy", "Layers"]
    [plain] = json.loads(sqgen("report", ".", "--json").stdout)["compressions"]
    assert plain == {"source": ".", **as_dict(POINTS)}
    numbered = sections(same, str(tmp_path))
    assert [each.id for each in numbered] == ["tradeoff-1", "layers-1", "tradeoff-2", "layers-2"]
    assert numbered[0].title == "Size against accuracy: printed"
    charts = page_charts(Page("", numbered))
    assert len({chart.name for chart in charts}) == len(charts) == 8


def test_a_run_of_compress_train_has_its_stages(tmp_path: Path, sqgen: Run) -> None:
    """Also in a folder of several runs; links lead nowhere."""
    run = tmp_path / "runs" / "deep"
    run_folder(run, {}, "train_batchnorm")
    (run / "tests").mkdir()
    written(run / "tests" / "tradeoff.json", as_dict(POINTS))
    for source in ("runs/deep", "runs"):
        plain = json.loads(sqgen("report", source, "--json").stdout)
        assert [each["command"] for each in plain["runs"]] == ["train"]
        assert plain["compressions"] == [{"source": "runs/deep", **as_dict(POINTS)}]
    (tmp_path / "tested").mkdir()
    (run / "tests").rename(tmp_path / "tested" / "tests")
    plain = json.loads(sqgen("report", "tested", "--json").stdout)
    assert plain == {
        "format": 1,
        "runs": [],
        "compressions": [{**as_dict(POINTS), "source": "tested"}],
    }
    (tmp_path / "tested" / "tests").rename(tmp_path / "elsewhere")
    (run / "tests").symlink_to(tmp_path / "elsewhere")
    assert json.loads(sqgen("report", "runs", "--json").stdout)["compressions"] == []


def test_the_numbers_are_those_of_the_json(tmp_path: Path) -> None:
    first, layers = sections(written(tmp_path / "t.json", as_dict(POINTS)))
    table = first.blocks[1]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["before", "small.sqz", "tiny"]
    assert list(table.rows[2][3:5]) == ["0.5", "-0.145"]
    charts = {chart.name: chart for chart in page_charts(Page("", [layers]))}
    assert charts.keys() == {"layer-error", "layer-bits", "layer-density"}
    assert [tuple(row) for row in charts["layer-error"].rows] == [
        (name, layer.layer, layer.error) for name in ("tiny", "small.sqz") for layer in LAYERS
    ]
    drawn = charts["layer-density"].spec["data"]["values"]
    assert [(cell["weights"], cell["text"]) for cell in drawn] == [
        *(("all", "50"), ("all", "25"), ("all", "17"), ("all", "12"))
    ]


def test_a_file_that_was_encoded(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    [section] = sections(written(tmp_path / "e.json", ENCODED))
    charts = page_charts(Page("", [section]))
    assert [chart.name for chart in charts][-1] == "layer-share"
    assert [row[2] for row in charts[-1].rows] == [0.2] * 4
    assert render_chart(charts[-1], "svg").startswith(b"<svg")
    table = section.blocks[-1]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == [layer.layer for layer in LAYERS]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": []}, "it has no weights"),
        ({"format": 2}, "its format is 2, and 1 is known"),
        ({"images": "many"}, "images: expected an integer, got 'many'"),
        ({"more": 1}, "more: no such field"),
        (
            {"points": as_dict([BEFORE, AFTER._replace(retrained_from="gone.sqz")])["points"]},
            "small.sqz is retrained from gone.sqz: not there",
        ),
        ({"points": as_dict([BEFORE._replace(bytes=1)])["points"][:1]}, None),
    ],
)
def test_a_damaged_file_is_one_line(
    change: dict[str, Any], words: str | None, tmp_path: Path, sqgen: Run
) -> None:
    written(tmp_path / "t.json", {**as_dict(POINTS), **change})
    done = sqgen("report", "t.json", "--json")
    assert done.returncode == (0 if words is None else 2)
    assert done.stderr.count("\n") == (words is not None)
    assert (words or "") in done.stderr


def test_numbers_that_no_chart_shows_are_refused(tmp_path: Path) -> None:
    for place, value in (("bytes", 0), ("scores", {"top-1": float("inf")})):
        plain = as_dict(POINTS)
        plain["points"][1][place] = value
        with pytest.raises(FormatError, match=r"t\.json: is not what sqgen compress prints: "):
            read_compression(written(tmp_path / "t.json", plain))
    assert read_compression(written(tmp_path / "t.json", {"format": 1})) is None
    assert read_compression(str(tmp_path / "gone.json")) is None


def test_hostile_names_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    monkeypatch.setattr("sqgen.report.page.vega_bundle", lambda: "")  # its own text has <img
    hostile = [AFTER._replace(name=f"{text}{n}") for n, text in enumerate(HOSTILE)]
    found = sections(written(tmp_path / "t.json", as_dict([BEFORE, *hostile])))
    page = render_page(Page("", found))
    assert "<script>document" not in page
    assert "<img" not in page
    for chart in page_charts(Page("", found)):
        svg = render_chart(chart, "svg").decode()
        assert "<script" not in svg
        assert "<img" not in svg


# Names of points

PARTS = st.floats(0, 1, width=16)


@given(points=st.lists(st.tuples(PARTS, PARTS), max_size=12), data=st.data())
def test_names_cover_nothing(points: list[tuple[float, float]], data: st.DataObject) -> None:
    lengths = st.lists(st.integers(1, 14), min_size=len(points), max_size=len(points))
    labels = ["x" * length for length in data.draw(lengths)]
    bars = [Box(x, max(0, y - 0.1), x, y) for x, y in points]
    widths, height = (300.0, 700.0), 250.0
    places = place_labels(points, labels, bars, widths, height)
    assert len(places) == len(points)
    for width in widths:
        shown = [
            box_of(place, point, label, width, height)
            for place, point, label in zip(places, points, labels, strict=True)
            if place is not None
        ]
        marks = [(x * width, y * height) for x, y in points]
        taken = [Box(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in marks]
        for number, box in enumerate(shown):
            assert box.left >= 0
            assert box.right <= width
            assert not any(map(box.overlaps, (*taken, *shown[:number])))


def box_of(
    place: Place, point: tuple[float, float], label: str, width: float, height: float
) -> Box:
    long = LETTER * len(label)
    at = {"left": 0.0, "center": long / 2, "right": long}[place.align]
    left, middle = point[0] * width + place.dx - at, point[1] * height + place.dy
    return Box(left, middle - LINE / 2, left + long, middle + LINE / 2)


def test_a_name_is_near_where_there_is_room() -> None:
    [place] = place_labels([(0.5, 0.5)], ["name"], [], (300,), 200)
    assert place is not None
    assert (place.align, place.is_far) == ("left", False)
    assert place_labels([(0.5, 0.5)], ["x" * 400], [], (300,), 200) == [None]
