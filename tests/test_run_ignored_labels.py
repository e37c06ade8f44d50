"""Scores with an `ignore_label` over a set that batches don't divide, against NumPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sqgen
from sqgen import LogResult, Net
from sqgen.formats.schema import Datum
from sqgen.logs.result import BatchRow
from sqgen.logs.scores import LOSS, TOP1, Score
from sqgen.runner.exact_epoch import plan_exact_epoch, score_records
from sqgen.runner.score_means import ScoreMean

from . import small_training as small
from .databases import make_lmdb
from .small_runs import Place, hidden_engine, real_caffe

IGNORED = 2
IGNORE = f"ignore_label: {IGNORED}"
# Name of an output -> its layer. Each of Caffe's normalizations, with and without ignored labels.
OUTPUTS = {
    "top1": small.accuracy(f"accuracy_param {{ {IGNORE} }}", "top1"),
    "top2": small.accuracy(f"accuracy_param {{ top_k: 2 {IGNORE} }}", "top2"),
    "plain": small.accuracy("", "plain"),
    "valid": small.loss(name="valid", more=f"loss_param {{ {IGNORE} }}"),
    "normalize": small.loss(
        name="normalize", more=f"loss_weight: 0.5 loss_param {{ {IGNORE} normalize: true }}"
    ),
    "batch_size": small.loss(
        name="batch_size", more=f"loss_param {{ {IGNORE} normalization: BATCH_SIZE }}"
    ),
    "full": small.loss(name="full", more=f"loss_param {{ {IGNORE} normalization: FULL }}"),
    "sum": small.loss(name="sum", more=f"loss_param {{ {IGNORE} normalization: NONE }}"),
    "all": small.loss(name="all"),
}
BATCHES = (16, 7, 61, 100)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """61 records, of which the last batches ignore nearly all and the first few."""
    place = Place(tmp_path_factory.mktemp("place"))
    records = []
    for number, record in enumerate(small.records()[:61]):
        datum = Datum.FromString(record)
        if number > 40 and number % 7:
            datum.label = IGNORED
        records.append(bytes(datum.SerializeToString()))
    make_lmdb(place.folder / "set", records)
    return place


def write_net(place: Place, batch: int) -> str:
    """The net with all outputs, in a file of its own."""
    inputs = small.data("TEST", batch).replace(small.DATA, str(place.folder / "set"))
    text = small.net(inputs=small.data("TRAIN", 8) + inputs, scores="".join(OUTPUTS.values()))
    Path("net.prototxt").write_text(place.here(text))
    return text


@pytest.fixture(scope="module")
def expected(place: Place) -> dict[str, float]:
    """The scores of the whole set by NumPy, from the classifier's outputs of each record."""
    text = small.net(
        inputs='layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3'
        " dim: 12 dim: 10 } } }\n",
        scores="",
    )
    net = Net(sqgen.parse_net(text), place.weights, precision="fp64")
    data, labels = [], []
    for number, record in enumerate(small.records()[:61]):
        datum = Datum.FromString(record)
        data.append(np.frombuffer(datum.data, np.uint8).reshape(small.IMAGE))
        labels.append(IGNORED if number > 40 and number % 7 else datum.label)
    (scores,) = net.forward((np.stack(data) - 120.0) * 0.015625).values()
    truth = np.array(labels)
    own = scores[np.arange(61), truth]
    better = (scores >= own[:, None]).sum(1) - 1
    losses = np.log(np.exp(scores).sum(1)) - own
    valid = truth != IGNORED
    return {
        "top1": float((better < 1)[valid].mean()),
        "top2": float((better < 2)[valid].mean()),
        "plain": float((better < 1).mean()),
        "valid": float(losses[valid].mean()),
        "normalize": float(losses[valid].mean()),
        "batch_size": float(losses[valid].sum() / 61),
        "full": float(losses[valid].sum() / 61),
        "sum": float(losses[valid].sum() / 61),  # times the batch
        "all": float(losses.mean()),
    }


def check(result: LogResult, expected: dict[str, float], batch: int, rtol: float) -> None:
    assert result.images == 61
    found = {score.name: score.value for score in result.scores}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        wanted = value * batch if name == "sum" else value
        assert math.isclose(found[name], wanted, rel_tol=rtol), (name, found[name], wanted)


@pytest.mark.usefixtures("forked_engine")
@pytest.mark.parametrize("batch", BATCHES)
def test_every_record_counts_as_it_should(
    batch: int,
    place: Place,
    expected: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By --exact, and from the batches of a caffe that knows nothing of it."""
    monkeypatch.chdir(tmp_path)
    write_net(place, batch)
    ours = sqgen.test("net.prototxt", place.weights, engine="torch")
    check(ours, expected, batch, 1e-5)
    log = Path(ours.run["folder"], "caffe.log").read_text()
    total = sum(
        value * {"normalize": 0.5, "sum": batch}.get(name, 1)
        for name, value in expected.items()
        if name not in ("top1", "top2", "plain")
    )
    (printed,) = [line.split()[-1] for line in log.splitlines() if "] Loss: " in line]
    assert math.isclose(float(printed), total, rel_tol=1e-5)
    theirs = sqgen.test("net.prototxt", place.weights, caffe=hidden_engine(tmp_path))
    check(theirs, expected, theirs.run["coverage"]["batch"], 1e-4)
    exact = ("top1", "top2", "plain")
    found = {score.name: score.value for score in theirs.scores}
    assert all(found[name] == float(f"{expected[name]:.6g}") for name in exact)


def test_a_real_caffe(
    place: Place, expected: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_caffe(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_net(place, 16)
    result = sqgen.test("net.prototxt", place.weights)
    assert result.run["engine"]["kind"] == "caffe"
    check(result, expected, result.run["coverage"]["batch"], 1e-3)


@pytest.mark.usefixtures("forked_engine")
def test_labels_that_nobody_can_count(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer in between makes them: the scores are left out, and that is said."""
    monkeypatch.chdir(tmp_path)
    text = write_net(place, 16)
    between = 'layer { name: "between" type: "Power" bottom: "label" top: "label2" }\n'
    at = text.index('layer { name: "top1"')
    text = text[:at] + between + text[at:].replace('bottom: "label"', 'bottom: "label2"')
    Path("net.prototxt").write_text(place.here(text))
    said: list[str] = []
    caffe = hidden_engine(tmp_path)
    result = sqgen.test("net.prototxt", place.weights, caffe=caffe, log=said.append)
    names = {score.name for score in result.scores}
    assert names == {"plain", "batch_size", "full", "sum", "all"}
    warned = [line for line in said if "is a mean over labels that are not ignored" in line]
    assert [line.split()[1] for line in warned] == ["top1", "top2", "valid", "normalize"]


@given(records=st.integers(1, 400), batch=st.integers(1, 60), data=st.data())
def test_means_over_labels(records: int, batch: int, data: st.DataObject) -> None:
    """From batches that wrap, with any labels ignored, even all of a batch or of the set."""
    plan = plan_exact_epoch(records, batch, engine_stops=False)
    seed = data.draw(st.randoms(use_true_random=False))
    share = data.draw(st.sampled_from([0.0, 0.02, 0.5, 1.0]))
    counts = [seed.random() < share for _ in range(records)]
    losses = [seed.uniform(0, 8) for _ in range(records)]
    hits = [float(seed.random() < 0.6) for _ in range(records)]

    def batch_means(start: int, size: int) -> dict[str, float]:
        numbers = [n % records for n in range(start, start + size) if counts[n % records]]
        means = [sum(v[n] for n in numbers) / max(1, len(numbers)) for v in (losses, hits)]
        return dict(zip(("loss", "top1"), (float(f"{m:.6g}") for m in means), strict=True))

    def result(rows: list[dict[str, float]]) -> LogResult:
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        scores = Score("loss", means["loss"], LOSS), Score("top1", means["top1"], TOP1, 1)
        return LogResult(
            "", scores=scores, batches=tuple(BatchRow(n, row) for n, row in enumerate(rows))
        )

    size = plan.batch_size
    first = result([batch_means(size * number, size) for number in range(plan.iterations)])
    second = result([batch_means(0, plan.repeated)]) if plan.repeated else None
    means: dict[str, Any] = dict.fromkeys(("loss", "top1"), ScoreMean(counts))
    loss, top1 = (score.value for score in score_records(first, second, plan, means).scores)
    valid = max(1, sum(counts))
    total = sum(value for value, counted in zip(losses, counts, strict=True) if counted)
    assert loss == pytest.approx(total / valid, rel=1e-3, abs=1e-4)
    right = sum(value for value, counted in zip(hits, counts, strict=True) if counted)
    assert top1 == float(f"{right / valid:.6g}")
