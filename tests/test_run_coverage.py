"""Tests count every record once: arithmetic against brute force, engines against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sqgen
from sqgen import LogResult
from sqgen.logs.scores import LOSS, TOP1, Score
from sqgen.runner.exact_epoch import (
    EpochPlan,
    lint_iterations,
    plan_exact_epoch,
    score_records,
)
from sqgen.runner.score_means import ScoreMean

from . import small_training as small
from .databases import make_lmdb
from .small_runs import Place, StandIn, calls, hidden_engine, real_caffe

pytestmark = pytest.mark.usefixtures("forked_engine")

sizes = st.integers(1, 3000)
batches = st.integers(1, 300)


def read(records: int, batch: int, iterations: int) -> list[int]:
    """The numbers of the records that Caffe reads."""
    return [number % records for number in range(batch * iterations)]


@given(records=sizes, batch=batches)
def test_each_record_once(records: int, batch: int) -> None:
    plan = plan_exact_epoch(records, batch, engine_stops=False)
    twice = read(records, plan.batch_size, plan.iterations)
    again = read(records, max(1, plan.repeated), 1) if plan.repeated else []
    for number in again:
        twice.remove(number)
    assert sorted(twice) == list(range(records))
    assert plan.is_exact
    assert plan.images == records
    assert plan.batch_size <= batch
    assert plan.batch_size * 4 >= min(batch, records)
    exact = plan_exact_epoch(records, batch, engine_stops=True)
    assert (exact.images, exact.is_exact, exact.batch_size, exact.repeated) == (
        records,
        True,
        batch,
        0,
    )
    assert (exact.iterations - 1) * batch < records <= exact.iterations * batch


@given(records=sizes, batch=batches, data=st.data())
def test_what_comes_twice_is_taken_out(records: int, batch: int, data: st.DataObject) -> None:
    """Means over batches, printed with six digits, give the mean over the records."""
    plan = plan_exact_epoch(records, batch, engine_stops=False)
    if not plan.repeated:
        return
    seed = data.draw(st.randoms(use_true_random=False))
    losses = [seed.uniform(0, 8) for _ in range(records)]
    hits = [float(seed.random() < 0.6) for _ in range(records)]

    def result(numbers: list[int]) -> LogResult:
        means = [sum(values[n] for n in numbers) / len(numbers) for values in (losses, hits)]
        told = [float(f"{mean:.6g}") for mean in means]
        return LogResult("", scores=(Score("loss", told[0], LOSS), Score("top1", told[1], TOP1, 1)))

    first = result(read(records, plan.batch_size, plan.iterations))
    second = result(read(records, plan.repeated, 1))
    corrected = score_records(first, second, plan, {"top1": ScoreMean(is_whole=True)})
    loss, top1 = (score.value for score in corrected.scores)
    assert loss == pytest.approx(sum(losses) / records, rel=1e-4, abs=1e-5)
    assert top1 == float(f"{sum(hits) / records:.6g}")  # a number of images: to the digit
    assert corrected.images == records


@given(records=sizes, batch=batches, iterations=st.integers(1, 400))
def test_what_iterations_leave_out(records: int, batch: int, iterations: int) -> None:
    seen = read(records, batch, iterations)
    line = lint_iterations(EpochPlan(records, batch, iterations))
    if len(seen) == records:
        assert line is None
        return
    assert line is not None
    if len(seen) < records:
        assert f"leaves out {records - len(set(seen))} of {records} images" in line
    else:
        more = sum(seen.count(number) > 1 for number in range(records)) if records < 50 else None
        assert "counts " in line
        assert more is None or f"counts {more} of" in line
    assert "--iterations" in line


def test_records_that_nobody_counted() -> None:
    plan = EpochPlan(None, 10, 5)
    assert (str(plan), plan.is_exact, lint_iterations(plan)) == ("50 images", False, None)


def test_an_output_of_several_elements_is_no_mean() -> None:
    """Label or prob as an output: their elements are of images, and fewer in the second run."""
    first = LogResult("", scores=tuple(Score(name, 1.0) for name in ("p", "p[1]", "p[2]", "loss")))
    again = LogResult("", scores=tuple(Score(name, 1.0) for name in ("p", "loss")))
    corrected = score_records(first, again, plan_exact_epoch(7, 4, engine_stops=False), {})
    assert [score.name for score in corrected.scores] == ["loss"]


@pytest.fixture(scope="module")
def prime(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place of 61 records, whose TEST batch is 16."""
    place = Place(tmp_path_factory.mktemp("prime"))
    make_lmdb(place.folder / "prime", small.records()[:61])
    return place


@pytest.fixture
def hidden(tmp_path: Path) -> str:
    return hidden_engine(tmp_path)


def scores(result: LogResult) -> dict[str, float]:
    return {score.name: score.value for score in result.scores}


@pytest.mark.parametrize("rand_skip", [False, True])
def test_both_ways_score_the_same(
    rand_skip: bool, prime: Place, hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By --exact, and by a caffe that knows nothing of it; rand_skip is taken out."""
    monkeypatch.chdir(tmp_path)
    net = prime.net.read_text()
    if rand_skip:
        net = net.replace("batch_size: 16", "batch_size: 16 rand_skip: 30")
    (tmp_path / "net.prototxt").write_text(net)
    data = prime.folder / "prime"
    ours = sqgen.test("net.prototxt", prime.weights, data=data, engine="torch", run_dir="ours")
    theirs = sqgen.test("net.prototxt", prime.weights, data=data, caffe=hidden, run_dir="theirs")
    assert scores(theirs) == pytest.approx(scores(ours), rel=1e-5)
    assert scores(theirs)["accuracy"] == scores(ours)["accuracy"]
    for result in (ours, theirs):
        assert (result.images, result.dataset) == (61, ours.dataset)
        assert result.run["coverage"]["whole"]
    assert theirs.run["engine"]["kind"] == "caffe"
    assert theirs.run["coverage"]["again"] == 3
    assert len(theirs.run["commands"]) == 2
    assert ("no rand_skip" in str(theirs.run["changes"])) == rand_skip
    names = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    assert names == [
        "again.log",
        "again.prototxt",
        "caffe.log",
        "command",
        "net.prototxt",
        "result.json",
    ]


def test_both_ways_score_a_list_the_same(
    prime: Place, hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ImageData layer that shuffles: 11 images, batch 4."""
    lines = (prime.folder / "list.txt").read_text().replace("../", f"{prime.folder}/")
    (tmp_path / "list.txt").write_text("".join(lines.splitlines(keepends=True)[:11]))
    source = prime.here(small.data("TEST", 4)).replace('"Data"', '"ImageData"')
    at = source.index("data_param")
    source = source[:at] + 'image_data_param { source: "list.txt" batch_size: 4 shuffle: true } }\n'
    text = prime.here(small.net(inputs=prime.here(small.data("TRAIN", 8)) + source))
    (tmp_path / "net.prototxt").write_text(text)
    monkeypatch.chdir(tmp_path)
    ours = sqgen.test("net.prototxt", prime.weights, engine="torch")
    theirs = sqgen.test("net.prototxt", prime.weights, caffe=hidden)
    assert scores(theirs) == pytest.approx(scores(ours), rel=1e-5)
    assert ours.images == theirs.images == 11
    assert "no shuffle" in str(theirs.run["changes"])


def test_a_real_caffe_scores_the_same(
    prime: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_caffe(monkeypatch)
    monkeypatch.chdir(tmp_path)
    data = prime.folder / "prime"
    theirs = sqgen.test(prime.net, prime.weights, data=data)
    assert theirs.run["engine"]["kind"] == "caffe"
    ours = sqgen.test(prime.net, prime.weights, data=data, engine="torch")
    assert scores(theirs) == pytest.approx(scores(ours), rel=1e-4)
    assert theirs.images == 61


def test_iterations_warn(prime: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images left out, or counted twice; nothing is changed in the copy for them."""
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    caffe = StandIn(tmp_path)("test_digits", calls=tmp_path / "calls")
    options: dict[str, Any] = {"caffe": caffe, "data": prime.folder / "prime", "log": told.append}
    result = sqgen.test(prime.net, prime.weights, iterations=3, **options)
    assert any("leaves out 13 of 61 images" in line for line in told)
    assert not result.run["coverage"]["whole"]
    sqgen.test(prime.net, prime.weights, iterations=4, **options)
    assert any("counts 3 of 61 images twice" in line for line in told)
    assert [call[-1] for call in calls(tmp_path / "calls")] == ["--iterations=3", "--iterations=4"]


def test_accuracies_by_class_are_no_means_over_images(tmp_path: Path) -> None:
    """Caffe averages them over batches, counting 0 where a batch has no image of a class."""
    place = Place(tmp_path)
    text = place.net.read_text()
    assert 'top: "accuracy"' in text
    model = tmp_path / "by_class.prototxt"
    model.write_text(text.replace('top: "accuracy"', 'top: "accuracy" top: "by_class"'))
    result = sqgen.test(model, place.weights, engine="torch", run_dir=tmp_path / "run")
    assert "by_class" in (tmp_path / "run" / "caffe.log").read_text()
    assert {score.short_name for score in result.scores} == {"top1", "loss"}
