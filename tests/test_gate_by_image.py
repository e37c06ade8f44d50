"""A gate compares with the predictions that a baseline keeps, image by image."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from sqgen import parse_log
from sqgen.formats.predictions import Predictions, read_predictions, write_predictions
from sqgen.json_form import dumps
from sqgen.logs.baseline import write_baseline

from .conftest import DATA, Run
from .small_runs import Place, hidden_engine

LOG = DATA / "logs" / "test_digits.log.gz"  # 297 images


def predictions(right: list[bool]) -> Predictions:
    """Predictions of two classes, of which each image is right or wrong."""
    count = len(right)
    ranks = np.where(right, 1, 2).astype(np.int32)
    classes = np.where(np.array(right)[:, None], [[0, 1]], [[1, 0]]).astype(np.int32)
    sure = np.tile(np.array([0.75, 0.25], np.float32), (count, 1))
    losses = -np.log(np.where(right, 0.75, 0.25)).astype(np.float32)
    keys = tuple(f"{number}.png" for number in range(count))
    return Predictions(keys, np.zeros(count, np.int32), ranks, losses, classes, sure)


BEFORE = [True] * 240 + [False] * 57
AFTER = [True] * 228 + [False] * 12 + [True] * 3 + [False] * 54  # 12 newly wrong, 3 newly right


def write_result(folder: Path, name: str, right: list[bool]) -> None:
    """A result that kept predictions, in a folder."""
    place = folder / name
    place.mkdir()
    write_predictions(place / "p.npz", predictions(right))
    digest = sha256((place / "p.npz").read_bytes()).hexdigest()
    run = {"predictions": {"file": "elsewhere/p.npz", "digest": digest}}
    result = replace(parse_log(LOG), run=run)
    (place / "result.json").write_text(dumps(result.as_dict()))


@pytest.fixture
def gated(sqgen: Run, tmp_path: Path) -> Run:
    """Results `before` and `after`, and a baseline of the first."""
    write_result(tmp_path, "before", BEFORE)
    write_result(tmp_path, "after", AFTER)
    done = sqgen("gate", "before", "--baseline", "b.json", "--update-baseline")
    assert (done.returncode, done.stderr) == (0, "baseline b.json written, with predictions\n")
    return sqgen


WORDS = "12 images newly wrong, 3 newly right of 297 (McNemar p = 0.035)"


def test_the_verdict_says_what_changed(gated: Run, tmp_path: Path) -> None:
    done = gated("gate", "after", "--baseline", "b.json", "--junit", "g.xml", "--markdown", "g.md")
    assert done.stdout.splitlines()[-1].startswith(f"pass: {WORDS}, ")
    assert WORDS in (tmp_path / "g.xml").read_text()
    assert "12 images newly wrong, 3 newly right of 297 " in (tmp_path / "g.md").read_text()
    plain = json.loads(gated("gate", "after", "--baseline", "b.json", "--json").stdout)
    assert plain["by_image"]["p_value"] == pytest.approx(0.03515625)
    assert plain["by_image"]["newly_right"] == ["240.png", "241.png", "242.png"]
    same = gated("gate", "before", "--baseline", "b.json")
    assert "pass: 0 images newly wrong, 0 newly right of 297 (McNemar p = 1), " in same.stdout


def test_the_baseline_is_small_and_one_file_more(gated: Run, tmp_path: Path) -> None:
    [kept] = tmp_path.glob("b-*.npz")
    assert kept.name == f"b-{sha256(kept.read_bytes()).hexdigest()[:16]}.npz"
    assert json.loads((tmp_path / "b.json").read_text())["predictions"] == kept.name
    assert read_predictions(kept).classes.shape == (297, 1)
    gated("gate", "after", "--baseline", "b.json", "--update-baseline")
    [after] = tmp_path.glob("b-*.npz")
    assert after.name != kept.name
    gated("gate", "after", "--baseline", "b.json", "--update-baseline")
    assert [after] == list(tmp_path.glob("b-*.npz"))
    gated("gate", str(LOG), "--baseline", "b.json", "--update-baseline")
    assert not list(tmp_path.glob("b-*.npz"))
    assert "predictions" not in json.loads((tmp_path / "b.json").read_text())


def test_any_name_of_a_baseline(gated: Run, tmp_path: Path) -> None:
    for name in ("é" * 100 + ".json", "a\\b.json", "-.json", " "):
        done = gated("gate", "before", f"--baseline={name}", "--update-baseline")
        assert done.returncode == 0, done.stderr
        assert "0 images newly wrong" in gated("gate", "before", f"--baseline={name}").stdout


def test_a_file_that_a_baseline_was_not_written_with_stays(gated: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine-0123456789abcdef.npz"
    mine.write_bytes(b"mine")
    plain = json.loads((tmp_path / "b.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps({**plain, "predictions": mine.name}))
    gated("gate", "after", "--baseline", "b.json", "--update-baseline")
    assert mine.read_bytes() == b"mine"


def test_three_hundred_thousand_images(tmp_path: Path) -> None:
    """20 bytes an image, most of them the probabilities."""
    count = 300_000
    random = np.random.default_rng(1)
    labels = np.arange(count, dtype=np.int32) % 1000
    right = random.random(count) < 0.6
    guesses = np.where(right, labels, (labels + random.integers(1, 1000, count)) % 1000)
    sure = random.random((count, 1)).astype(np.float32)
    found = Predictions(
        tuple(f"{n:08d}_ILSVRC2012_val_{n:08d}.JPEG" for n in range(count)),
        labels,
        np.where(right, 1, 7).astype(np.int32),
        random.random(count).astype(np.float32),
        guesses[:, None].astype(np.int32),
        sure,
    )
    write_baseline(tmp_path / "b.json", parse_log(LOG), count, found)
    [kept] = tmp_path.glob("b-*.npz")
    assert kept.stat().st_size < 20 * count
    assert (tmp_path / "b.json").stat().st_size < 1000


def test_images_that_differ_are_said(gated: Run, tmp_path: Path) -> None:
    write_result(tmp_path, "other", [*BEFORE[:200], True])
    done = gated("gate", "other", "--baseline", "b.json")
    words = "0 images newly wrong, 0 newly right of 201 (McNemar p = 1), 96 only before, "
    assert words in done.stdout


def test_a_result_without_predictions_is_not_compared(gated: Run) -> None:
    done = gated("gate", str(LOG), "--baseline", "b.json")
    assert done.returncode == 0
    assert "pass: not compared by image: the result kept no predictions, " in done.stdout
    plain = json.loads(gated("gate", str(LOG), "--baseline", "b.json", "--json").stdout)
    assert plain["by_image"] is None


@pytest.mark.parametrize("damage", ["gone", "changed", "another"])
def test_the_file_beside_the_baseline(damage: str, gated: Run, tmp_path: Path) -> None:
    [kept] = tmp_path.glob("b-*.npz")
    if damage == "gone":
        kept.unlink()
    elif damage == "changed":
        write_predictions(kept, predictions(AFTER), force=True)
    else:
        kept.write_bytes(b"key,label\n")
    done = gated("gate", "after", "--baseline", "b.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sqgen: {kept.name}: ")
    assert done.stderr.endswith("or write both with --update-baseline\n")
    assert done.stderr.count("\n") == 1
    again = gated("gate", "after", "--baseline", "b.json", "--update-baseline")
    assert again.returncode == 0
    assert gated("gate", "after", "--baseline", "b.json").returncode == 0


@pytest.mark.parametrize(
    "name",
    ["../b-0123456789abcdef.npz", "/etc/passwd", "b.npz", "", "a\\b-0123456789abcdef.npz", 7],
)
def test_a_baseline_names_no_file_elsewhere(name: object, gated: Run, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    plain = json.loads(file.read_text())
    file.write_text(json.dumps({**plain, "predictions": name}))
    done = gated("gate", "after", "--baseline", "b.json")
    assert done.returncode == 2
    assert "b.json: is no baseline of sqgen gate: " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kept", [7, {"file": 7, "digest": "x"}, {"file": "p.npz"}, []])
def test_a_result_that_names_no_file(kept: object, gated: Run, tmp_path: Path) -> None:
    file = tmp_path / "after" / "result.json"
    plain = json.loads(file.read_text())
    plain["run"]["predictions"] = kept
    file.write_text(json.dumps(plain))
    done = gated("gate", "after", "--baseline", "b.json")
    assert done.returncode == 2
    assert "names no file of predictions" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_test_keeps_what_its_baseline_compares(sqgen: Run, tmp_path: Path) -> None:
    """Without being asked, where the engine can; a real caffe is tested all the same."""
    (tmp_path / "made").mkdir()
    place = Place(tmp_path / "made")
    test = ["test", "--model", str(place.net), "--weights", str(place.weights), "--quiet"]
    ours = ["--engine", "torch", "--baseline", "b.json"]
    first = sqgen(*test, *ours, "--update-baseline", "--predictions", "p.csv", "--", "--threads=1")
    assert first.returncode == 0, first.stderr
    again = sqgen(*test, *ours, "--", "--threads=1")
    assert "pass: 0 images newly wrong, 0 newly right of 64 (McNemar p = 1), " in again.stdout
    sqgen(*test, *ours, "--update-baseline", "--", "--threads=1")
    assert len(list(tmp_path.glob("b-*.npz"))) == 1
    caffe = hidden_engine(tmp_path)
    theirs = sqgen(*test, "--caffe", caffe, "--baseline", "b.json", "--within", "0.1")
    assert "not compared by image: the result kept no predictions, " in theirs.stdout
    refused = sqgen(*test, "--caffe", caffe, "--baseline", "b.json", "--per-class")
    assert refused.returncode == 2
    assert "is a real caffe, which reports no scores of single images for" in refused.stderr
