"""`sqgen compress eval`: weights before and after compression on the same images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen.compress.encoding import Settings, encode, read_compressed
from sqgen.errors import NetError, RunError, SqgenError
from sqgen.evaluation.intervals import standard_error
from sqgen.evaluation.paired import compare_predictions
from sqgen.formats.caffemodel import blob_array, read_caffemodel
from sqgen.logs.kept_predictions import read_kept_predictions
from sqgen.logs.read_result import read_result
from sqgen.logs.scores import LOSS, TOP1, TOP_K, Score, score_names
from sqgen.nets.definition import read_net
from sqgen.report.page import Block, Cell, Table
from sqgen.runner.options import RunOptions
from sqgen.studies.compression_report import read_compression
from sqgen.studies.tradeoff import Point, as_dict, measure_tradeoff
from sqgen.studies.tradeoff_chart import tradeoff_chart
from sqgen.studies.tradeoff_report import format_tradeoff
from sqgen.studies.tradeoff_sections import tradeoff_sections
from sqgen.studies.tradeoff_table import tradeoff_table

from .conftest import Run
from .small_runs import Place, StandIn, calls
from .small_training import IMAGE, accuracy

pytestmark = pytest.mark.usefixtures("forked_engine")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("tradeoff"))


@pytest.fixture(scope="module")
def small(place: Place) -> Path:
    """The place's weights in 3 bits."""
    net = read_net(place.net)
    made = encode(read_caffemodel(place.weights), net, Settings(bits=3), image=IMAGE)
    path = place.folder / "small.sqz"
    path.write_bytes(made.bytes)
    return path


def evaluated(
    place: Place, tmp_path: Path, files: list[Path], **settings: Any
) -> tuple[list[Point], Path]:
    how = RunOptions(engine="torch", run_dir=tmp_path / "run")
    made = [Settings(**{key: value}) for key, value in settings.items()]
    points = measure_tradeoff(str(place.weights), list(map(str, files)), made, str(place.net), how)
    return points, tmp_path / "run"


def test_what_is_tested_is_what_was_decoded(place: Place, small: Path, tmp_path: Path) -> None:
    """The same weights, given as a file and made here, score the same; the 2-bit ones do not."""
    points, folder = evaluated(place, tmp_path, [small], bits=3)
    assert [point.name for point in points] == ["before", "small.sqz", "3-bit"]
    before, given, made = points
    assert given.scores == made.scores
    assert given.bytes == made.bytes == small.stat().st_size
    assert before.scores != given.scores
    assert before.bytes == place.weights.stat().st_size
    assert {point.images for point in points} == {64}
    assert (folder / "3-bit.sqz").read_bytes() == small.read_bytes()
    assert json.loads((folder / "tradeoff.json").read_text()) == as_dict(points)
    for point in points:
        assert [layer.layer for layer in point.layers] == ["conv1", "conv2", "ip"]
        assert {layer.error > 0 for layer in point.layers} == {point is not before}
        assert {layer.bits == 3 for layer in point.layers} == {point is not before}
        result = json.loads((Path(point.folder) / "result.json").read_text())
        assert result["completed"]


def retrained(place: Path, net: Path, coded: Path, name: str) -> Path:
    """A file with the codes of another, its values moved away from the weights before."""
    definition = read_net(net)
    model = read_compressed(coded, definition, IMAGE)
    for layer in model.layer:
        for blob in layer.blobs:
            values = blob_array(blob)
            blob.data[:] = (np.sign(values) * (0.1 + 2 * np.abs(values))).reshape(-1)
    path = place / name
    path.write_bytes(encode(model, definition, Settings(), image=IMAGE).bytes)
    return path


def test_a_retrained_file_is_known_by_its_codes(place: Place, small: Path, tmp_path: Path) -> None:
    """In any order; neither a copy nor other codes of the same weights are retrained ones."""
    trained = retrained(tmp_path, place.net, small, "trained.sqz")
    points, folder = evaluated(place, tmp_path, [trained, small], bits=3, size=4000)
    starts = {point.name: point.retrained_from for point in points}
    assert {name for name, start in starts.items() if start} == {"trained.sqz"}
    assert starts["trained.sqz"] in ("small.sqz", "3-bit")
    table = read_compression(str(folder))
    assert table is not None
    _, after, start, *_ = points
    keys = {"top1": "top-1", "loss": "loss"}
    plain = table.plain["points"][1]
    assert plain["gains"] == {
        keys[name]: score.value - start.scores[name].value for name, score in after.scores.items()
    }
    tests = [read_kept_predictions(read_result(point.folder)) for point in (start, after)]
    compared = compare_predictions(*(each for each in tests if each is not None))
    assert plain["p_value"] == after.p_value == compared.p_value


def test_two_accuracies_of_one_k_are_two_scores(place: Place, tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(place.net.read_text() + accuracy(name="again"))
    how = RunOptions(engine="torch", run_dir=tmp_path / "run")
    points = measure_tradeoff(str(place.weights), [], [Settings(bits=3)], str(net), how)
    plain = as_dict(points)["points"][1]
    result = json.loads((Path(points[1].folder) / "result.json").read_text())
    values = {score["name"]: score["value"] for score in result["scores"]}
    assert len(values) == 3
    assert plain["scores"] == values
    assert plain["standard_errors"].keys() == values.keys() - {"loss"}
    assert format_tradeoff(points)[0].split()[3::2] == list(values)


def test_every_file_is_looked_at_before_anything_runs(
    place: Place, small: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.sqz"
    bad.write_bytes(small.read_bytes()[:-1])
    called = tmp_path / "calls"
    how = RunOptions(caffe=StandIn(tmp_path)("test_digits", calls=called), run_dir=tmp_path / "run")
    with pytest.raises(SqgenError, match=r"bad.sqz: is truncated"):
        measure_tradeoff(str(place.weights), [str(small), str(bad)], [], str(place.net), how)
    twice = [str(small), str(small)]
    with pytest.raises(SqgenError, match=r"two files are called small.sqz"):
        measure_tradeoff(str(place.weights), twice, [], str(place.net), how)
    other = tmp_path / "other.caffemodel"
    model = read_caffemodel(place.weights)
    del next(layer for layer in model.layer if layer.blobs).blobs[:]
    other.write_bytes(model.SerializeToString())
    with pytest.raises(NetError, match="has 0 blobs"):
        measure_tradeoff(str(other), [], [Settings(bits=4)], str(place.net), how)
    assert not called.exists()
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_ends_it(place: Place, small: Path, tmp_path: Path) -> None:
    called = tmp_path / "calls"
    caffe = StandIn(tmp_path)("fatal_missing_lmdb", calls=called, then="SIGABRT")
    how = RunOptions(caffe=caffe, run_dir=tmp_path / "run")
    with pytest.raises(RunError, match="LMDB"):
        measure_tradeoff(str(place.weights), [str(small)], [], str(place.net), how)
    assert len(calls(called)) == 1


def scores(top1: float, top5: float, loss: float | None = None) -> dict[str, Score]:
    found = [Score("acc1", top1, TOP1, 1), Score("acc5", top5, TOP_K, 5)]
    if loss is not None:
        found.append(Score("loss", loss, LOSS))
    return dict(zip(score_names(found), found, strict=True))


BEFORE = Point("before", "w", 5000, 200, scores(0.645, 0.885, 1.4), "r")
AFTER = Point("small.sqz", "s", 500, 200, scores(0.64, 0.895, 1.5), "r")


def test_table_and_json_say_what_chance_does() -> None:
    told = "\n".join(format_tradeoff([BEFORE, AFTER]))
    assert "10.0 x   0.64  -0.005  0.895   +0.01   1.5    +0.1" in told
    assert "200 images; one standard error is at most top1 +-0.034" in told
    plain = as_dict([BEFORE, AFTER])["points"][1]
    assert plain["times_smaller"] == 10
    assert plain["changes"]["top-1"] == pytest.approx(-0.005)
    assert plain["standard_errors"] == {
        "top-1": standard_error(0.64, 200),
        "top-5": standard_error(0.895, 200),
    }


def test_scores_that_mean_nothing_are_none() -> None:
    diverged = AFTER._replace(scores={})
    assert "not a number" in format_tradeoff([BEFORE, diverged])[2]
    assert as_dict([BEFORE, diverged])["points"][1]["changes"] == {}


def test_chart_has_a_point_a_file() -> None:
    smaller = AFTER._replace(name="smaller", bytes=300, scores=scores(0.5, 0.8))
    chart = tradeoff_chart(tradeoff_table([BEFORE, AFTER, smaller]))
    rows = [tuple(row[:4]) for row in chart.rows]
    assert rows[:2] == [("before", "top-1", 5000, 0.645), ("before", "top-5", 5000, 0.885)]
    assert rows[2:] == [
        ("smaller", "top-1", 300, 0.5),
        ("smaller", "top-5", 300, 0.8),
        ("small.sqz", "top-1", 500, 0.64),
        ("small.sqz", "top-5", 500, 0.895),
    ]
    marks = [layer["mark"]["type"] for layer in chart.spec["layer"]]
    assert marks == ["rule", "line", "rule", "point", "rule", "text"]
    _, front, bars, points, _, texts = (layer["data"]["values"] for layer in chart.spec["layer"])
    drawn = [(row["kB"], row["accuracy"]) for row in points]
    assert drawn == [(0.3, 0.5), (0.3, 0.8), (0.5, 0.64), (0.5, 0.895)]
    error = smaller.noise("top1") or 0.0
    assert (bars[0]["low"], bars[0]["high"]) == pytest.approx((0.5 - error, 0.5 + error))
    assert [row["point"] for row in front] == ["smaller", "small.sqz"]
    assert [text["label"] for text in texts] == ["smaller", "small.sqz"]
    worse = AFTER._replace(name="worse", bytes=900)
    *_, same = tradeoff_chart(tradeoff_table([BEFORE, AFTER, worse])).rows
    assert same[0] == "worse"
    assert same[5] == 0  # no smaller file is as good as this one


TRAINED = AFTER._replace(
    name="trained.sqz",
    scores=scores(0.66, 0.9, 1.3),
    retrained_from="small.sqz",
    p_value=0.0213,
)


def test_before_and_after_retraining_stand_in_one_row() -> None:
    told = format_tradeoff([BEFORE, TRAINED, AFTER])
    (row,) = (line for line in told if line.startswith("small.sqz"))
    assert row.split() == "small.sqz -> trained.sqz 500 10.0 x top1 0.64 0.66 +0.02 0.021".split()
    assert told[told.index(row) + 2].split() == ["loss", "1.5", "1.3", "-0.2"]
    assert not any(line.startswith("trained.sqz") for line in told)
    stage = [AFTER._replace(name="s-untrained.sqz"), TRAINED._replace(name="s.sqz")]
    stage[1] = stage[1]._replace(retrained_from="s-untrained.sqz")
    assert any(line.startswith("s.sqz ") for line in format_tradeoff([BEFORE, *stage]))
    chart = tradeoff_chart(tradeoff_table([BEFORE, TRAINED, AFTER]))
    assert [row[-1] for row in chart.rows if row[0] == "trained.sqz"] == ["small.sqz"] * 2
    links, names = chart.spec["layer"][1], chart.spec["layer"][-1]
    ends = [(row["fromAccuracy"], row["accuracy"]) for row in links["data"]["values"]]
    assert ends == [(0.64, 0.66), (0.895, 0.9)]
    assert [text["label"] for text in names["data"]["values"]] == ["trained.sqz"]
    (table,) = (block for block in section(BEFORE, TRAINED, AFTER) if isinstance(block, Table))
    assert list(table.heads[3:6]) == ["top-1, encoded only", "retrained", "change"]
    assert list(table.rows[1][3:6]) == ["0.64", "0.66", "+0.02"]
    assert table.rows[1][-1] == Cell("0.021", 0.0213)


def section(*points: Point) -> Sequence[Block]:
    return tradeoff_sections(tradeoff_table(points))[0].blocks


def test_files_of_one_name_are_refused(place: Place, small: Path, tmp_path: Path) -> None:
    """Also of those that are made here."""
    for name in ("small.sqz", "3-bit.sqz"):
        again = tmp_path / name
        again.write_bytes(small.read_bytes())
        with pytest.raises(SqgenError, match=f"two files are called {name} here; rename one"):
            evaluated(place, tmp_path, [small, again], bits=3)
    assert not (tmp_path / "run").exists()


def test_misuse_is_one_line(sqgen: Run, place: Place) -> None:
    given = ["compress", "eval", str(place.weights), "--net", str(place.net)]
    for more, told in (
        ([], "nothing to compare"),
        (["--bits", "6,x"], "--bits 6,x: write numbers with commas between"),
        (["--bits", "9"], "9 bits: a shared weight has 2 to 8"),
        (["--bits", "6", "--plot", "t.gif"], "end it in .png, .svg, .pdf or .html"),
        (["--size", "10"], "no file of 10 bytes"),
        (["gone.sqz"], "gone.sqz: no such file"),
    ):
        done = sqgen(*given, *more)
        assert done.returncode == 2
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
