"""`sqgen quantize --tune`: nets that are trained with their bits before they are scored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sqgen import build

from .conftest import Run
from .small_compress import arrays
from .test_quantize import DESIGN, command, folder, written

pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.compress.bits_file import BitsFile, read_bits_file
from sqgen.engine.short_training import ShortTraining
from sqgen.formats.caffemodel import read_caffemodel

__all__ = ["folder", "written"]  # fixtures
SOLVER = (
    'net: "train_val.prototxt" type: "Adam" base_lr: 0.001 lr_policy: "fixed" max_iter: 50'
    ' test_iter: 1 test_interval: 1 snapshot: 1 snapshot_prefix: "s" random_seed: 3'
    " solver_mode: GPU\n"
)


@pytest.fixture
def training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    text = re.sub(r'source: "[^"]*"', 'source: "lmdb"', build(DESIGN))
    (folder / "train_val.prototxt").write_text(re.sub(r"batch_size: \d+", "batch_size: 5", text))
    (folder / "solver.prototxt").write_text(SOLVER)
    return folder


OPTIONS = ("--bytes", "0.4", "--quantizer", "k-means", "--by", "random", "--trials", "2")
TUNE = ("--tune", "solver.prototxt", "--tune-iterations", "4")


def test_a_trial_is_scored_after_a_training_with_its_bits(training: Path, sqgen: Run) -> None:
    """As `sqgen-caffe train` does it; a search without is of other scores."""
    done = sqgen(*command(*OPTIONS, *TUNE, "--out", "q", "--json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["training"] == {"solver": "solver.prototxt", "iterations": 4}
    assert "Iteration" not in done.stderr
    assert not list(training.glob("s_iter*"))
    plain = sqgen(*command(*OPTIONS, "--out", "plain", "--json"))
    assert plain.returncode == 0, plain.stderr
    scores = [json.loads(each)["search"]["best"] for each in (done.stdout, plain.stdout)]
    assert scores[0] != scores[1]
    refused = sqgen(*command(*OPTIONS, "--scores-from", "q", "--out", "third"))
    assert refused.returncode == 2
    assert "q/trials.jsonl: is of a search with training" in refused.stderr

    bits = read_bits_file(str(training / "q" / "bits.toml"))
    solver = ShortTraining(training / "solver.prototxt", 4, 0)
    trained = arrays(solver.run(read_caffemodel(training / "w.caffemodel"), "w", bits))
    (training / "four.prototxt").write_text(
        SOLVER.replace("50", "4").replace("GPU", "CPU").replace("snapshot: 1", "snapshot: 0")
    )
    words = ("--solver=four.prototxt", "--weights=w.caffemodel", "--quantize=q/bits.toml")
    again = sqgen("train", *words, "--engine", "torch")
    assert again.returncode == 0, again.stderr
    model = ("--model=train_val.prototxt", "--weights=s_iter_4.caffemodel")
    rounded = ("--quantize=s_iter_4.bits.toml", "--rounded=r.caffemodel", "--iterations=1")
    assert sqgen("test", *model, *rounded, "--engine", "torch").returncode == 0
    for name, blobs in arrays(read_caffemodel(training / "r.caffemodel")).items():
        for ours, theirs in zip(trained[name], blobs, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_trainings_repeat_and_begin_anew(training: Path) -> None:
    model = read_caffemodel(training / "w.caffemodel")
    solver = ShortTraining(training / "solver.prototxt", 2, 0)
    ends = [solver.run(model, "w", BitsFile({"*": bits})) for bits in (3, 2, 3)]
    first, other, again = map(arrays, ends)
    for name, blobs in first.items():
        assert all(map(np.array_equal, blobs, again[name]))
    assert not np.array_equal(first["conv1"][0], other["conv1"][0])
    assert len(np.unique(other["conv1"][0])) <= 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tune none.prototxt", "none.prototxt: no such file"),
        ("--tune net.prototxt", "net.prototxt"),
        ("--tune other.prototxt", "other_net.prototxt: lacks fire3/squeeze1x1"),
        ("--tune-iterations 3", "--tune-iterations: goes with --tune"),
        ("--tune solver.prototxt --tune-iterations 0", "0 is not in the range"),
    ],
)
def test_mistakes_are_one_line(training: Path, sqgen: Run, options: str, message: str) -> None:
    text = (training / "train_val.prototxt").read_text()
    (training / "other_net.prototxt").write_text(text.replace("fire3/", "module3/"))
    (training / "other.prototxt").write_text(SOLVER.replace("train_val", "other_net"))
    done = sqgen(*command(*OPTIONS, *options.split(), "--out", "q"))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (training / "q").exists()
