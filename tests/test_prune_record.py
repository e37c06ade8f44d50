"""What a pruning leaves to read: its record, the images that it saw, and pictures."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from sqgen import build
from sqgen.formats.caffemodel import read_caffemodel
from sqgen.formats.pruning_images import note_images, noted_images
from sqgen.formats.schema import NetParameter
from sqgen.nets.dataset import Dataset, lmdb_digest
from sqgen.report.charts import render_chart
from sqgen.report.search_chart import (
    LayerShare,
    TrialScore,
    scores_chart,
    search_picture,
    shares_chart,
)
from sqgen.runner.preflight import seen_image_warnings
from sqgen.tools import cli, search_options

from .conftest import Run
from .databases import make_lmdb, raw
from .small_nets import random_model, save
from .test_prune import SMALL

DIGESTS = ("lmdb-5-0123456789abcdef", "files-2000-fedcba9876543210")
HEAD = {
    **{"format": 2, "by": "random", "trials": 9, "seed": 0, "score": "divergence", "round": 2},
    "budgets": ["--macs 0.6"],
    "decisions": [{"layers": ["conv1"], "channels": 8}, {"layers": ["a", "b"], "channels": 5}],
}
TRIALS = [
    {"choice": [5, 5], "score": 0.1, "seconds": 0.5, "use": 1.25},
    {"choice": [3, 4], "score": 0.5, "seconds": 0.5, "use": 0.75},
    {"choice": [3, 1], "score": "inf", "seconds": 0.5, "use": 0.5},
]


def journal(folder: Path, *trials: Any, **head: Any) -> Path:
    path = folder / "trials.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in ({**HEAD, **head}, *trials)))
    return path


def texts(svg: bytes) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter() if each.tag.endswith("}text")]


# ---- images that weights were pruned on


def test_weights_note_the_images_that_they_were_pruned_on(tmp_path: Path) -> None:
    model = random_model(build(SMALL, "deploy"))
    plain = bytes(model.SerializeToString())
    assert noted_images(model) == []
    note_images(model, DIGESTS)
    note_images(model, DIGESTS[:1])
    path = save(model, tmp_path / "w.caffemodel")
    read = read_caffemodel(path)
    assert noted_images(read) == list(DIGESTS)
    read.DiscardUnknownFields()  # what is left is all that Caffe reads
    assert read.SerializeToString() == plain


@pytest.mark.parametrize(
    "field",
    [
        b"\xe2\xe7\x25\x03abc",  # no note of ours
        b"\xe2\xe7\x25\x00",
        b"\xe0\xe7\x25\x05",  # a number
        b"\xe2\xe7\x25\x23pruned on \x1b[31m\xff-5-0123456789abcdef",
    ],
)
def test_a_field_that_is_no_note_is_left_alone(field: bytes) -> None:
    assert noted_images(NetParameter.FromString(b"\x0a\x01a" + field)) == []


def test_a_test_warns_of_images_that_were_seen() -> None:
    model, other = NetParameter(), NetParameter()
    note_images(model, DIGESTS)
    models = [("a.caffemodel", model), ("b.caffemodel", other)]
    seen = Dataset("x", 5, None, DIGESTS[0])
    others = [Dataset("y", 5, None, "lmdb-5-0000000000000000"), Dataset("z", None, None, None)]
    assert list(seen_image_warnings(models, [*others, seen])) == [
        "these 5 images are those that a.caffemodel was pruned on; its accuracy on them says little"
        " about others"
    ]


def test_the_record_of_a_search_names_its_images(tmp_path: Path, sqgen: Run) -> None:
    pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")
    text = build(SMALL)
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    for name, start in (("seen", 0), ("others", 5)):
        values = [raw(start + n, 3, 32, 32) for n in range(5)]
        make_lmdb(tmp_path / name, values)
    command = (
        *("prune", "w.caffemodel", "--net", "net.prototxt", "--macs", "0.6", "--no-proof"),
        *("--by", "random", "--trials", "3", "--data", "seen", "--out", "small"),
    )
    done = sqgen(*command, "--json", "--plot", "search.svg")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    digest = lmdb_digest(str(tmp_path / "seen"))
    assert result["images"] == {"source": "seen", "number": 5, "digest": digest}
    assert result["seen"] == [digest]
    assert result["choice"]["budgets"] == ["--macs 0.6"]
    trials = (tmp_path / "small" / "trials.jsonl").read_text().splitlines()[1:]
    scores = [json.loads(line)["score"] for line in trials]
    assert result["search"]["best"] == min(scores)
    assert result["search"]["best_trial"] == 1 + scores.index(min(scores))
    assert json.loads((tmp_path / "small" / "prune.json").read_text()) == result
    shown = texts((tmp_path / "search.svg").read_bytes())
    assert "Channels kept (random, --macs 0.6)" in shown
    assert result["decisions"][0]["layers"][0] in shown
    # A copy of the weights alone knows it, and so do weights that are pruned of them.
    shutil.copy(tmp_path / "small" / "pruned.caffemodel", tmp_path / "copy.caffemodel")
    again = sqgen(
        *("prune", "copy.caffemodel", "--net", "small/train_val.prototxt", "--out", "again"),
        *("--macs", "0.9", "--data", "others", "--by", "uniform", "--no-proof"),
    )
    assert again.returncode == 0, again.stderr
    lines = again.stdout.splitlines()
    expected = "fitted to 5 images of others: scores on them say little about others"
    assert lines[-1] == expected
    model = read_caffemodel(tmp_path / "again" / "pruned.caffemodel")
    assert noted_images(model) == [digest, lmdb_digest(str(tmp_path / "others"))]


def test_opencv_reads_weights_with_a_note(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV, the extra sqgen[engine]")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV has no Caffe importer")
    (tmp_path / "net.prototxt").write_text(build(SMALL, "deploy"))
    model = random_model(build(SMALL, "deploy"))
    note_images(model, DIGESTS)
    path = save(model, tmp_path / "w.caffemodel")
    net = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), path)
    net.setInput(np.ones((1, 3, 32, 32), np.float32))
    assert np.isfinite(net.forward()).all()


# ---- pictures


def test_all_layers_of_a_large_net_have_a_name_and_a_number() -> None:
    pytest.importorskip("vl_convert", reason="needs the extra sqgen[draw]")
    shares = [LayerShare((f"fire{n}/expand3x3",), 1000 + n, n) for n in range(1, 61)]
    long = tuple(f"inception_{letter}/a_very_long_name_of_a_layer" for letter in "abc")
    shares += [LayerShare(long, 7, 3), LayerShare((*long[:2], "x" * 40), 7, 4)]
    chart = shares_chart(shares, "Channels kept")
    shown = texts(render_chart(chart, "svg"))
    for n in range(1, 61):
        assert f"fire{n}/expand3x3" in shown
        assert f"{n} of {1000 + n:,}" in shown
    named = [text for text in shown if text.startswith("inception_a")]
    assert len(set(named)) == 2
    assert chart.rows[-2] == (" + ".join(long), 7, 3)


def test_scores_show_what_is_over_the_budget_and_leave_out_what_is_no_number() -> None:
    pytest.importorskip("vl_convert", reason="needs the extra sqgen[draw]")
    trials = [TrialScore(0.1, False), TrialScore(math.inf, True), TrialScore(0.5, True)]
    trials += [TrialScore(0.7, True), TrialScore(0.3, True)]
    chart = scores_chart(trials, "Divergence", "divergence, nats")
    points, line = (layer["data"]["values"] for layer in chart.spec["layer"])
    assert [row["kind"] for row in points] == ["over the budget", *["within the budget"] * 3]
    assert [(row["trial"], row["score"]) for row in line] == [(3, 0.5), (4, 0.5), (5, 0.3)]
    assert chart.note == "Without 1 of the trials, whose scores are not finite."
    shown = texts(render_chart(search_picture([chart]), "svg"))
    for text in ("over the budget", "best so far", "trial", "divergence, nats", chart.note):
        assert text in shown
    within = texts(render_chart(scores_chart(trials[2:], "Divergence", "nats"), "svg"))
    assert "over the budget" not in within


@pytest.mark.parametrize("scores", [[0.0], [0.0, 0.0], [math.inf], [-1e-17, 4.0], [1e-30, 9.0]])
def test_any_scores_can_be_drawn(scores: list[float]) -> None:
    pytest.importorskip("vl_convert", reason="needs the extra sqgen[draw]")
    chart = scores_chart([TrialScore(score, True) for score in scores], "Top-1 error", "error")
    assert render_chart(chart, "svg").startswith(b"<svg")


# ---- journals


def test_a_journal_is_shown_and_drawn_by_itself(tmp_path: Path, sqgen: Run) -> None:
    pytest.importorskip("vl_convert", reason="needs the extra sqgen[draw]")
    path = journal(tmp_path, *TRIALS)
    with path.open("a") as file:
        file.write('{"choice": [')  # being written
    done = sqgen("log", "parse", ".")
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "random: 3 of 9 trials, the best is number 2 (divergence 0.5)"
    assert [line.split() for line in lines] == [
        ["layer", "channels", "kept"],
        ["conv1", "8", "4"],  # rounded up
        ["a", "+", "b", "5", "4"],
    ]
    result = json.loads(sqgen("log", "parse", "trials.jsonl", "--json").stdout)
    assert (result["kept"], result["tried"], result["best_trial"]) == ([4, 4], 3, 2)
    done = sqgen("log", "plot", "trials.jsonl", "-o", "search.svg")
    assert done.returncode == 0, done.stderr
    shown = texts((tmp_path / "search.svg").read_bytes())
    assert {"4 of 8", "4 of 5", "Divergence from the whole net, 3 trials"} <= set(shown)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("parse", "trials.jsonl", "--follow"), "--csv, --follow: don't go with the journal"),
        (("parse", "trials.jsonl", "x.log"), "trials.jsonl: give the journal of a search alone"),
        (("plot", "trials.jsonl", "-o", "a.svg", "--x", "time"), "go with logs, not with a search"),
        (("plot", "trials.jsonl", "-o", "a.svg"), "trials.jsonl: has no trials yet"),
    ],
)
def test_what_a_journal_has_not_is_one_line(
    tmp_path: Path, sqgen: Run, options: tuple[str, ...], message: str
) -> None:
    journal(tmp_path)
    done = sqgen("log", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"decisions": 3}, "is the journal of no pruning: decisions: expected a list, got 3"),
        ({"decisions": [{"layers": ["a"], "channels": 9}]}, "has a trial of other layers"),
        ({"decisions": [{"layers": [], "channels": 4}] * 2}, "has a trial of other layers"),
        ({"round": 0}, "has no multiple of channels"),
        ({"by": None}, "is the journal of no pruning: by: expected a string, got null"),
        ({"format": 1}, "is the journal of another version of sqgen"),
        ({"score": "\x1b[31m"}, ""),
    ],
)
def test_a_strange_journal_is_one_line(
    tmp_path: Path, sqgen: Run, head: dict[str, Any], message: str
) -> None:
    journal(tmp_path, *TRIALS, **head)
    done = sqgen("log", "parse", "trials.jsonl")
    assert "\x1b" not in done.stdout + done.stderr
    assert message in done.stderr
    if message:
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_search_for_top1_is_another_search(tmp_path: Path, sqgen: Run) -> None:
    pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")
    from sqgen.engine.agreement import SCORES

    assert SCORES == search_options.SCORES  # without loading NumPy
    text = build(SMALL, "deploy")
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    make_lmdb(tmp_path / "lmdb", [raw(number, 3, 32, 32) for number in range(5)])
    command = (
        *("prune", "w.caffemodel", "--net", "net.prototxt", "--macs", "0.6", "--no-proof"),
        *("--out", "small", "--data", "lmdb", "--by", "random", "--trials", "3"),
    )
    done = sqgen(*command, "--score", "top-1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    head, *trials = (tmp_path / "small" / "trials.jsonl").read_text().splitlines()
    assert json.loads(head)["score"] == "top-1"
    wrong = math.floor(5 * min(json.loads(line)["score"] for line in trials))
    assert wrong == round(5 * (1 - result["agreements"]["reconstructed"]["top1"]))
    other = sqgen(*command, "--resume", "--force")
    assert (other.returncode, other.stderr.count("\n")) == (2, 2)
    assert "is of a search with score top-1, not divergence" in other.stderr


def test_an_interrupted_search_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")
    from sqgen.pruning.problem import PruningProblem

    def stop(problem: PruningProblem, choice: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PruningProblem, "score", stop)
    text = build(SMALL, "deploy")
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    make_lmdb(tmp_path / "lmdb", [raw(0, 3, 32, 32)])
    command = "prune w.caffemodel --net net.prototxt --macs 0.6 --data lmdb --by random --out small"
    with pytest.raises(SystemExit) as caught:
        cli.main(command.split())
    assert caught.value.code == 130
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "sqgen: --resume goes on with the trials in small",
        "sqgen: interrupted",
    ]
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["trials.jsonl"]
