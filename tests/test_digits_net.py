"""The digits net of `models/`: its weights fit, and score as its baseline."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

import sqgen
from sqgen import Design, LogResult, Net, build, build_solver, parse_net
from sqgen.datasets import digits
from sqgen.formats.caffemodel import blob_shape, read_caffemodel
from sqgen.generator.build import design_files
from sqgen.logs.baseline import check_baseline, read_baseline
from sqgen.logs.expectation import Tolerance
from sqgen.models.card import MODELS
from sqgen.nets.shapes import require_shapes
from sqgen.tools.design_options import read_design

from .devices import device_flags
from .small_training import engine, parsed

pytestmark = pytest.mark.usefixtures("forked_engine")

DIGITS = MODELS / "digits"
WEIGHTS = DIGITS / "digits.caffemodel"


@pytest.fixture(scope="module")
def design() -> Design:
    return read_design(str(DIGITS / "design.toml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, design: Design) -> Path:
    """The LMDBs and the files of the net."""
    pytest.importorskip("sklearn")
    made = tmp_path_factory.mktemp("digits")
    digits.write(made, force=False)
    for name, text in design_files(design).items():
        (made / name).write_text(text)
    return made


def assert_holds(result: LogResult) -> None:
    baseline = read_baseline(DIGITS / "accuracy.json")
    checks = list(check_baseline(baseline, result, result.images, Tolerance(0.0)))
    assert [check for check in checks if not check.passed] == []
    assert len(checks) == 3


def test_weights_are_the_nets_own(design: Design) -> None:
    layers = require_shapes(parse_net(build(design)), "TRAIN", design.image).layers
    wanted = {one.layer.name: [tuple(b.shape) for b in one.blobs] for one in layers if one.blobs}
    model = read_caffemodel(WEIGHTS)
    assert {
        layer.name: [blob_shape(blob) for blob in layer.blobs]
        for layer in model.layer
        if layer.blobs
    } == wanted
    for layer in model.layer:
        for blob in layer.blobs:
            assert np.isfinite(blob.data).all()
            assert np.any(blob.data)
            assert not blob.diff
    assert WEIGHTS.stat().st_size < 150_000


@pytest.mark.parametrize("kind", ["torch", "caffe", pytest.param("gpu", marks=pytest.mark.cuda)])
def test_weights_score_what_the_baseline_says(
    kind: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With our engine, also on a GPU, and with Caffe."""
    if kind == "caffe" and "CAFFE_ROOT" not in os.environ:
        pytest.skip("needs a build of BVLC Caffe in the folder that CAFFE_ROOT names")
    monkeypatch.chdir(folder)
    options = {"engine": "torch", "gpu": 0} if kind == "gpu" else {"engine": kind}
    result = sqgen.test("train_val.prototxt", WEIGHTS, run_dir=tmp_path / "run", **options)
    assert_holds(result)
    top1 = result.score("top1")
    assert top1 is not None
    assert top1.value >= 0.98


def test_no_digit_is_near_enough_to_flip(design: Design) -> None:
    """Another CPU rounds otherwise: the two best scores are a thousand times as far apart."""
    pytest.importorskip("sklearn")
    tested = digits.DigitsSplit().parts(digits.load_digits())[1]
    images = np.stack([one.pixels.transpose(2, 0, 1) for one in tested]).astype(np.float32)
    images = (images - np.float32(design.means[0])) * np.float32(design.scale)
    text = build(design, "deploy")
    scores = parse_net(text[: text.rindex("layer {")])  # without the softmax
    single, double = (
        Net(scores, WEIGHTS, precision=precision, threads=1)
        .forward(images)["pool6"]
        .reshape(-1, 10)
        for precision in ("fp32", "fp64")
    )
    ranked = np.sort(double)
    margin = float((ranked[:, -1] - ranked[:, -2]).min())
    assert (single.argmax(axis=1) == double.argmax(axis=1)).all()
    assert margin > 1000 * np.abs(single - double).max()


def test_a_short_training_learns(
    design: Design,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    device: str,
) -> None:
    """A net that is dead stays at ln 10, and its top-1 at 0."""
    short = design.with_options(
        max_iter=120,
        dropout=0.0,
        test_interval=120,
        average_loss=10,
        snapshot_prefix=str(tmp_path / "short"),
    )
    (tmp_path / "train_val.prototxt").write_text(build(short))
    monkeypatch.chdir(folder)
    solver = build_solver(short.with_options(net_path=str(tmp_path / "train_val.prototxt")))
    (tmp_path / "solver.prototxt").write_text(solver)
    flags = (f"--solver={tmp_path}/solver.prototxt", "--threads=2", *device_flags(device))
    code, log = engine(("train", *flags), capsys)
    assert code == 0
    result = parsed(log)
    scores = {score.name: score.value for score in result.scores}
    assert scores["loss"] < math.log(10) - 0.1
    assert scores["accuracy_top1"] > 0.15
    assert result.troubles == ()


def test_what_the_classifier_is_made_of() -> None:
    """As published by default; a small net may leave out what kills it."""
    published = build(Design(classes=10))
    assert 'name: "relu_conv10"' in published
    assert published.count('type: "gaussian"') == 1
    small = build(Design(classes=10, classifier_relu=False, classifier_filler="msra"))
    assert "relu_conv10" not in small
    assert small.count('type: "msra"') == 1
    assert "gaussian" not in small
    normed = parse_net(build(Design(classifier_relu=False, batch_norm=True), "deploy"))
    types = [one.layer.type for one in require_shapes(normed, "TEST").layers]
    assert types[-5:] == ["Convolution", "BatchNorm", "Scale", "Pooling", "Softmax"]
