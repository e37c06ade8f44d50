"""Predictions that a test keeps: as exact as its scores, each record once, or refused."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import h5py
import lmdb
import numpy as np
import pytest

import sqgen
from sqgen.errors import NetError, SqgenError
from sqgen.evaluation.evaluate import evaluate_predictions
from sqgen.formats.predictions import Predictions, read_predictions

from . import small_training as small
from .databases import make_lmdb
from .small_runs import Place, StandIn
from .small_training import engine, messages, parsed

Capture = pytest.CaptureFixture[str]
TEST = ("test", "--model=net.prototxt", "--weights=start.caffemodel", "--threads=2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A folder with 64 records, and with the first 61 of them."""
    place = Place(tmp_path_factory.mktemp("made"))
    make_lmdb(place.folder / "prime", small.records()[:61])
    return place


@pytest.fixture
def place(made: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The place; the working folder is an empty one with copies of its files."""
    monkeypatch.chdir(tmp_path)
    for file in (made.net, made.weights):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return made


def kept(capsys: Capture, *flags: str, text: str | None = None) -> tuple[Predictions, str]:
    """The predictions of a test, and its log."""
    if text is not None:
        Path("net.prototxt").write_text(text)
    code, log = engine([*TEST, "--predictions=p.npz", *flags], capsys)
    assert code == 0, log[-2000:]
    return read_predictions("p.npz"), log


def refused(capsys: Capture, text: str, *flags: str) -> str:
    """The one line that refuses a test, which writes nothing."""
    Path("net.prototxt").write_text(text)
    before = sorted(Path().iterdir())
    code, log = engine([*TEST, "--predictions=p.npz", *flags], capsys)
    assert code == 2
    assert sorted(Path().iterdir()) == before
    assert "Batch 0" not in log
    [line] = [x for x in log.splitlines() if re.match(r"F\d", x)]
    return messages(line)[0]


def prime(place: Place, batch: int = 16, scores: str | None = None) -> str:
    """The net on 61 records."""
    text = place.net.read_text() if scores is None else place.here(small.net(scores=scores))
    data = text.replace(str(place.data), str(place.folder / "prime"))
    return data.replace("batch_size: 16", f"batch_size: {batch}")


@pytest.mark.parametrize("batch", [1, 7, 16, 61, 64])
def test_the_scores_are_those_of_the_log(batch: int, place: Place, capsys: Capture) -> None:
    found, log = kept(capsys, "--exact", text=prime(place, batch))
    assert len(found) == 61
    assert found.keys == tuple(f"{n:08d}_file{n}.png" for n in range(61))
    scores = {score.name: score.value for score in parsed(log).scores}
    evaluation = evaluate_predictions(found)
    assert float(f"{evaluation.accuracies[0].value:g}") == scores["accuracy"]
    assert evaluation.loss == pytest.approx(scores["loss"], rel=2e-6)
    assert "Predictions of 61 records by blob ip are in p.npz" in log


def test_nothing_depends_on_batches_and_threads(place: Place, capsys: Capture) -> None:
    whole, _ = kept(capsys, "--exact", text=prime(place, 61))
    for batch, threads in ((1, 1), (7, 3), (16, 2), (64, 1)):
        text = prime(place, batch)
        found, _ = kept(capsys, "--exact", f"--threads={threads}", text=text)
        assert found.keys == whole.keys
        np.testing.assert_array_equal(found.ranks, whole.ranks)
        np.testing.assert_array_equal(found.classes, whole.classes)
        np.testing.assert_allclose(found.probabilities, whole.probabilities, rtol=1e-5)
        np.testing.assert_allclose(found.losses, whole.losses, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("iterations", [1, 3, 4, 9])
def test_no_record_counts_twice(iterations: int, place: Place, capsys: Capture) -> None:
    """Caffe wraps around after the last record."""
    whole, _ = kept(capsys, "--exact", text=prime(place))
    found, _ = kept(capsys, f"--iterations={iterations}")
    assert len(found) == min(61, 16 * iterations)
    assert found.keys == whole.keys[: len(found)]
    np.testing.assert_array_equal(found.ranks, whole.ranks[: len(found)])


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_in_each_precision(precision: str, place: Place, capsys: Capture) -> None:
    found, log = kept(capsys, "--exact", f"--precision={precision}", text=prime(place))
    scores = {score.name: score.value for score in parsed(log).scores}
    evaluation = evaluate_predictions(found)
    assert float(f"{evaluation.accuracies[0].value:g}") == scores["accuracy"]
    assert evaluation.loss == pytest.approx(scores["loss"], rel=1e-5)


def test_ties_count_as_in_the_log(place: Place, capsys: Capture) -> None:
    """All scores of a dead net are equal: none of its images is right."""
    text = prime(place).replace('bottom: "ip"', 'bottom: "dead"')
    dead = (
        'layer { name: "dead" type: "Power" bottom: "ip" top: "dead" power_param { scale: 0 } }\n'
    )
    at = text.index('layer { name: "loss"')
    found, log = kept(capsys, "--exact", text=text[:at] + dead + text[at:])
    scores = {score.name: score.value for score in parsed(log).scores}
    assert scores["accuracy"] == 0
    assert not found.correct.any()
    assert (found.ranks == small.CLASSES).all()
    assert (found.predicted != found.labels).all()


def test_a_run_that_does_not_ask_writes_nothing(place: Place, capsys: Capture) -> None:
    code, log = engine([*TEST, "--exact"], capsys)
    assert code == 0
    assert "redictions" not in log
    assert not Path("p.npz").exists()


# Keys


def test_files_of_a_list_in_any_order(place: Place, capsys: Capture) -> None:
    """Names as the list has them, shuffled or not; hostile ones are escaped."""
    names = ["=cmd.png", "a b.png", "\x1b[31m.png", "-1.png", "ü.png"]
    for number, name in enumerate(names):
        cv2.imwrite(name, np.full((12, 10, 3), 40 * number, np.uint8))
    lines = [f"{name} {number}\n" for number, name in enumerate(names)]
    Path("list.txt").write_text("".join(lines))
    source = (
        'layer { name: "data" type: "ImageData" top: "data" top: "label" image_data_param {'
        ' source: "list.txt" batch_size: 2 SHUFFLE } }\n'
    )
    shown = ["=cmd.png", "a b.png", r"\x1b[31m.png", "-1.png", "ü.png"]
    for shuffle in ("", "shuffle: true"):
        text = small.net(inputs=source.replace("SHUFFLE", shuffle))
        for flags in (("--exact",), ("--iterations=4",)):
            found, _ = kept(capsys, *flags, text=text)
            assert sorted(found.keys) == sorted(shown)
            assert [shown.index(key) for key in found.keys] == found.labels.tolist()
            assert shuffle or found.keys == tuple(shown)
    code, _ = engine([*TEST, "--exact", "--predictions=p.csv"], capsys)
    assert code == 0
    text = Path("p.csv").read_text()
    assert "\n'=cmd.png," in text
    assert "\n'-1.png," in text
    assert sorted(read_predictions("p.csv").keys) == sorted(shown)


def test_keys_of_an_lmdb_that_are_no_text(place: Place, capsys: Capture) -> None:
    keys = [b"\0\0\0\1", b"\0\0\0\2", b"a\xff\n", b"z" * 500]
    with lmdb.open("odd", map_size=1 << 22) as env, env.begin(write=True) as writing:
        for key, record in zip(keys, small.records(), strict=False):
            writing.put(key, record)
    text = place.net.read_text().replace(str(place.data), "odd")
    found, _ = kept(capsys, "--exact", text=text)
    assert found.keys == (r"\x00\x00\x00\x01", r"\x00\x00\x00\x02", r"a\udcff\n", "z" * 500)


def test_rows_of_hdf5_files(place: Place, capsys: Capture) -> None:
    random = np.random.default_rng(1)
    for name, count in (("a.h5", 3), ("b.h5", 4)):
        with h5py.File(name, "w") as file:
            file["data"] = random.normal(0, 1, (count, *small.IMAGE)).astype(np.float32)
            file["label"] = np.arange(count, dtype=np.float32)
    Path("h5.txt").write_text("a.h5\nb.h5\n")
    source = (
        'layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {'
        ' source: "h5.txt" batch_size: 2 SHUFFLE } }\n'
    )
    wanted = [*(f"a.h5:{row}" for row in range(3)), *(f"b.h5:{row}" for row in range(4))]
    for shuffle in ("", "shuffle: true"):
        found, _ = kept(
            capsys, "--exact", text=small.net(inputs=source.replace("SHUFFLE", shuffle))
        )
        assert sorted(found.keys) == wanted
        assert [int(key[-1]) for key in found.keys] == found.labels.tolist()
    assert found.keys != tuple(wanted)


# Which scores

IGNORING = "loss_param { ignore_label: 2 }"


def test_labels_that_do_not_count_are_left_out(place: Place, capsys: Capture) -> None:
    more = "include { phase: TEST } accuracy_param { ignore_label: 2 }"
    text = prime(place, 7, small.loss(more=IGNORING) + small.accuracy(more))
    found, log = kept(capsys, "--exact", text=text)
    assert 2 not in found.labels
    scores = {score.name: score.value for score in parsed(log).scores}
    evaluation = evaluate_predictions(found)
    assert evaluation.accuracies[0].value == pytest.approx(scores["accuracy"], rel=1e-5)
    assert evaluation.loss == pytest.approx(scores["loss"], rel=2e-6)
    assert f"{len(found)} records, without {61 - len(found)} of ignored labels" in log


HEADS = (
    small.inner_product("aux", "pool2")
    + small.loss("aux", "aux/loss", "loss_weight: 0.3")
    + small.inner_product("late", "pool2")
    + small.loss("late", "late/loss")
    + small.loss()
    + small.accuracy()
)


def test_of_several_heads_the_last_is_taken_and_said(place: Place, capsys: Capture) -> None:
    Path("net.prototxt").write_text(prime(place, 16, HEADS))
    flags = ("--exact", "--predictions=p.npz")
    model = small.start(sqgen.read_net("net.prototxt"))
    Path("start.caffemodel").write_bytes(model.SerializeToString())
    code, log = engine([*TEST, *flags], capsys)
    assert code == 0
    assert "by blob late are in p.npz; other scores: ip, aux (--blob)" in log
    scores = {score.name: score.value for score in parsed(log).scores}
    for blob, name in (("late", "late/loss"), ("aux", "aux/loss"), ("ip", "loss")):
        found, _ = kept(capsys, "--exact", f"--blob={blob}")
        assert evaluate_predictions(found).loss == pytest.approx(scores[name], rel=1e-5)


def test_each_head_has_its_labels(place: Place, capsys: Capture) -> None:
    """Two tasks; and scores that a fused layer rectifies in place."""
    random = np.random.default_rng(2)
    with h5py.File("a.h5", "w") as file:
        file["data"] = random.normal(0, 1, (9, *small.IMAGE)).astype(np.float32)
        file["label"] = np.arange(9, dtype=np.float32) % 5
        file["age"] = np.arange(9, dtype=np.float32)[::-1] % 3
    Path("h5.txt").write_text("a.h5\n")
    source = (
        'layer { name: "data" type: "HDF5Data" top: "data" top: "label" top: "age"'
        ' hdf5_data_param { source: "h5.txt" batch_size: 4 } }\n'
    )
    second = (
        small.convolution("age_conv", "pool2", 3, kernel=1)
        + 'layer { name: "r" type: "ReLU" bottom: "age_conv" top: "age_conv" }\n'
        + small.loss("age_conv", "age_loss").replace('"label"', '"age"')
    )
    text = small.net(inputs=source, scores=second + small.loss())
    Path("net.prototxt").write_text(text)
    Path("start.caffemodel").write_bytes(
        small.start(sqgen.read_net("net.prototxt")).SerializeToString()
    )
    for blob, loss, labels in (
        ("ip", "loss", [0, 1, 2, 3, 4, 0, 1, 2, 3]),
        ("age_conv", "age_loss", [2, 1, 0, 2, 1, 0, 2, 1, 0]),
    ):
        found, log = kept(capsys, "--exact", f"--blob={blob}")
        assert found.labels.tolist() == labels
        scores = {score.name: score.value for score in parsed(log).scores}
        assert evaluate_predictions(found).loss == pytest.approx(scores[loss], rel=1e-5)


SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }\n'


def test_probabilities_get_no_second_softmax(place: Place, capsys: Capture) -> None:
    """An Accuracy that reads a Softmax; but a SoftmaxWithLoss applies its own to any bottom."""
    of_prob = small.accuracy().replace('bottom: "ip"', 'bottom: "prob"')
    plain, _ = kept(capsys, "--exact", text=prime(place, 16, small.loss() + small.accuracy()))
    for scores in (SOFTMAX + of_prob, small.loss() + SOFTMAX + of_prob):
        found, log = kept(capsys, "--exact", text=prime(place, 16, scores))
        assert "other scores" not in log
        assert_close(found, plain)
    named, _ = kept(capsys, "--exact", "--blob=prob", text=prime(place, 16, small.loss() + SOFTMAX))
    assert_close(named, plain)
    multinomial = small.loss("prob").replace("SoftmaxWithLoss", "MultinomialLogisticLoss")
    found, log = kept(capsys, "--exact", text=prime(place, 16, SOFTMAX + multinomial))
    assert_close(found, plain)
    twice, log = kept(capsys, "--exact", text=prime(place, 16, SOFTMAX + small.loss("prob")))
    assert evaluate_predictions(twice).loss == pytest.approx(
        {score.name: score.value for score in parsed(log).scores}["loss"], rel=1e-5
    )
    assert evaluate_predictions(twice).loss != pytest.approx(float(plain.losses.mean()), rel=1e-3)


def assert_close(a: Predictions, b: Predictions) -> None:
    assert a.keys == b.keys
    np.testing.assert_array_equal(a.ranks, b.ranks)
    np.testing.assert_allclose(a.probabilities, b.probabilities, rtol=1e-4)


@pytest.mark.parametrize(
    ("scores", "flags", "words"),
    [
        ("", (), "no layer compares scores with labels, so there are no predictions to judge"),
        (small.loss(), ("--blob=conv1",), "has no single set of scores for each image"),
        (small.loss(), ("--blob=loss",), "has no single set of scores for each image"),
        (small.loss(), ("--blob=label",), "has no single set of scores for each image"),
        (small.loss(), ("--blob=iip",), "no blob 'iip'; did you mean 'ip'?"),
        (small.loss(), ("--predictions=p.txt",), "p.txt: predictions are written as .csv or .npz"),
        (small.loss(), ("--predictions=no\x1b[m.txt",), r"no\x1b[m.txt: predictions are written"),
        (small.loss(), ("--predictions=start.caffemodel/p.csv",), "start.caffemodel"),
    ],
)
def test_what_gives_no_predictions_is_refused(
    scores: str, flags: tuple[str, ...], words: str, place: Place, capsys: Capture
) -> None:
    assert words in refused(capsys, prime(place, 16, scores), "--exact", *flags)


def test_a_blob_without_a_file_is_refused(place: Place, capsys: Capture) -> None:
    code, log = engine([*TEST, "--blob=ip"], capsys)
    assert code == 2
    assert "--blob names the scores of --predictions=FILE; give both" in log


def test_pixels_that_are_classified_are_refused(place: Place, capsys: Capture) -> None:
    with h5py.File("a.h5", "w") as file:
        file["data"] = np.zeros((4, *small.IMAGE), np.float32)
        file["label"] = np.zeros((4, 1, 10, 8), np.float32)
    Path("h5.txt").write_text("a.h5\n")
    source = (
        'layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {'
        ' source: "h5.txt" batch_size: 2 } }\n'
    )
    text = small.net(inputs=source, scores=small.loss("conv1"))
    line = refused(capsys, text, "--exact")
    assert "blob 'conv1' of (2, 6, 10, 8) with labels of (2, 1, 10, 8)" in line
    assert line.endswith("as where each pixel is classified; such predictions are not kept")


def test_a_net_that_drops_records_is_refused(place: Place, capsys: Capture) -> None:
    """Filter: its shapes say the whole batch, its tops have the records that a blob selects."""
    with h5py.File("a.h5", "w") as file:
        file["data"] = np.zeros((8, *small.IMAGE), np.float32)
        file["label"], file["chosen"] = np.zeros(8, np.float32), np.arange(8, dtype=np.float32) % 2
    Path("h5.txt").write_text("a.h5\n")
    source = (
        'layer { name: "data" type: "HDF5Data" top: "data" top: "label" top: "chosen"'
        ' hdf5_data_param { source: "h5.txt" batch_size: 4 } }\n'
    )
    bottoms = 'bottom: "ip" bottom: "label" bottom: "chosen"'
    chosen = f'layer {{ name: "f" type: "Filter" {bottoms} top: "fip" top: "flabel" }}\n'
    scores = chosen + small.loss("fip").replace('"label"', '"flabel"')
    line = refused(capsys, small.net(inputs=source, scores=scores), "--exact")
    assert "blob 'fip' has 2 sets of scores for 4 records; such predictions" in line


def test_a_net_without_data_is_refused(place: Place, capsys: Capture) -> None:
    source = 'layer { name: "data" type: "Input" top: "data" top: "label" input_param {'
    shapes = "shape { dim: 2 dim: 3 dim: 12 dim: 10 } shape { dim: 2 } } }\n"
    line = refused(capsys, small.net(inputs=source + shapes), "--iterations=1")
    assert "reads no records, so there are no predictions to keep" in line


def test_scores_that_are_nan_leave_no_file(place: Place, capsys: Capture) -> None:
    model = small.start(sqgen.read_net("net.prototxt"))
    model.layer[-1].blobs[0].data[0] = np.nan
    Path("start.caffemodel").write_bytes(model.SerializeToString())
    Path("p.npz").write_bytes(b"older")
    code, log = engine([*TEST, "--exact", "--predictions=p.npz"], capsys)
    assert code == 2
    assert "the scores of 00000000_file0.png are nan or infinite: the net has diverged" in log
    assert Path("p.npz").read_bytes() == b"older"


# The runner


@pytest.mark.usefixtures("forked_engine")
def test_a_test_keeps_predictions(place: Place) -> None:
    data = place.folder / "prime"
    result = sqgen.test(
        "net.prototxt", place.weights, data=data, engine="torch", predictions="out/p.csv"
    )
    found = read_predictions("out/p.csv")
    assert len(found) == result.images == 61
    score = result.score("top1")
    assert score is not None
    assert float(f"{evaluate_predictions(found).accuracies[0].value:g}") == score.value
    assert result.run["predictions"]["file"] == "out/p.csv"
    with pytest.raises(SqgenError, match="exists already; --force replaces it"):
        sqgen.test("net.prototxt", place.weights, engine="torch", predictions="out/p.csv")
    again = sqgen.test(
        "net.prototxt", place.weights, engine="torch", predictions="out/p.csv", force=True
    )
    assert len(read_predictions("out/p.csv")) == again.images == 64
    assert again.run["predictions"]["digest"] != result.run["predictions"]["digest"]


def test_what_cannot_be_kept_is_refused_before_the_run(place: Place, tmp_path: Path) -> None:
    caffe = StandIn(tmp_path)("test_digits", calls=tmp_path / "calls")
    with pytest.raises(SqgenError, match="is a real caffe, which reports no scores of single"):
        sqgen.test("net.prototxt", place.weights, caffe=caffe, predictions="p.csv")
    with pytest.raises(SqgenError, match="names the scores of --predictions FILE"):
        sqgen.test("net.prototxt", place.weights, caffe=caffe, blob="ip")
    with pytest.raises(NetError, match="no blob 'x'"):
        sqgen.test("net.prototxt", place.weights, engine="torch", predictions="p.csv", blob="x")
    with pytest.raises(SqgenError, match=r"written as \.csv or \.npz"):
        sqgen.test("net.prototxt", place.weights, engine="torch", predictions="p.json")
    with pytest.raises(SqgenError, match="sqgen sets --predictions itself"):
        sqgen.test("net.prototxt", place.weights, caffe=caffe, arguments=["--predictions=x.csv"])
    assert not Path("runs").exists()
    assert not (tmp_path / "calls").exists()
