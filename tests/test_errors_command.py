"""`sqgen errors`, and what `sqgen test` shows of the predictions that it keeps."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sqgen import Design, build, parse_net
from sqgen.errors import FormatError
from sqgen.evaluation.evaluate import (
    evaluate_predictions,
    highest_losses,
    lowest_confidences,
)
from sqgen.formats.predictions import Predictions, read_predictions, write_predictions
from sqgen.report.errors_text import confusion_csv, format_confusion, format_evaluation
from sqgen.runner.tested_data import net_class_names
from sqgen.tools.errors import errors

from .conftest import Run
from .small_runs import Place
from .test_evaluation import predictions_of, random_scores

NAMES = [f"name{number}" for number in range(7)]


def kept(folder: Path, name: str = "p.csv", images: int = 60, seed: int = 1) -> Predictions:
    found = predictions_of(*random_scores(seed, images))
    write_predictions(folder / name, found)
    return found


def section(text: str, title: str) -> list[list[str]]:
    """The words of the lines below a title."""
    below = text[text.index(title) :].split("\n\n")[0]
    return [line.split() for line in below.splitlines()[1:]]


def counted(found: Predictions) -> np.ndarray:
    """The confusion matrix of the classes that occur."""
    classes = np.union1d(found.labels, found.predicted)
    matrix = np.zeros((len(classes), len(classes)), int)
    places = np.searchsorted(classes, found.labels), np.searchsorted(classes, found.predicted)
    np.add.at(matrix, places, 1)
    return matrix


def test_everything_of_a_file(sqgen: Run, tmp_path: Path) -> None:
    found = kept(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    done = sqgen("errors", "p.csv", "--labels", "classes.txt", "--count", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    right = int(found.correct.sum())
    scores = {row[0]: row[1:] for row in section(done.stdout, "score ")}
    assert scores["top1"][0] == f"{right / 60:g}"
    assert scores["top1"][-3:] == [str(right), "of", "60"]
    majority = int(np.bincount(found.labels).argmax())
    count = int((found.labels == majority).sum())
    assert scores["majority"] == [f"{count / 60:g}", "always", str(majority), f"name{majority}"]
    assert scores["loss"][0] == f"{found.losses.mean():g}"
    worst = section(done.stdout, "highest losses")[1:]
    order = np.argsort(-found.losses)[:3]
    assert [row[0] for row in worst] == [found.keys[number] for number in order]
    unsure = section(done.stdout, "least sure")[1:]
    assert [row[0] for row in unsure] == [found.keys[n] for n in np.argsort(found.confidences)[:3]]
    matrix = section(done.stdout, "confusion matrix")[1:]
    numbers = [[int(cell.replace(".", "0")) for cell in row[2:]] for row in matrix]
    assert numbers == counted(found).tolist()
    classes = section(done.stdout, "classes, the least")[1:]
    assert sorted(row[1] for row in classes) == NAMES
    recalls = [float(row[3]) for row in classes if row[2] != "0"]
    assert recalls == sorted(recalls)


def test_json_has_the_same(sqgen: Run, tmp_path: Path) -> None:
    found = kept(tmp_path)
    kept(tmp_path, "old.npz", 50, 2)
    plain = json.loads(sqgen("errors", "p.csv", "--json", "--against", "old.npz").stdout)
    assert plain["images"] == 60
    assert plain["accuracies"][0]["right"] == int(found.correct.sum())
    low, high = plain["accuracies"][0]["interval"]
    assert low < plain["accuracies"][0]["value"] < high
    assert sum(pair["images"] for pair in plain["confusions"]) == 60
    assert sum(each["images"] for each in plain["classes"]) == 60
    assert len(plain["calibration"]["bins"]) == 15
    assert len(plain["highest_losses"]) == len(plain["least_sure"]) == 10
    assert plain["against"]["images"] == 50
    assert plain["against"]["only_after"] == 10
    assert 0 < plain["against"]["p_value"] <= 1
    assert json.loads(sqgen("errors", "p.csv", "--json").stdout)["against"] is None


def test_in_a_pipe_and_of_a_run_folder(sqgen: Run, tmp_path: Path) -> None:
    kept(tmp_path)
    data = (tmp_path / "p.csv").read_bytes()
    named = sqgen("errors", "p.csv").stdout
    assert sqgen("errors", "-", stdin=data).stdout == named
    kept(tmp_path, "old.npz", 50, 2)
    compared = sqgen("errors", "p.csv", "--against", "-", stdin=(tmp_path / "old.npz").read_bytes())
    assert compared.stdout.startswith(sqgen("errors", "p.csv", "--against", "old.npz").stdout)
    first = compared.stdout.splitlines()[0]
    assert "newly right of 50 (McNemar p = " in first
    assert re.search(r"\), 10 only now, \d+ with another label$", first)


def test_the_confusion_matrix_as_csv(sqgen: Run, tmp_path: Path) -> None:
    found = kept(tmp_path)
    (tmp_path / "hostile.txt").write_text('=1+2\n@x\n\x1b[31m\n-1\na,b\n"q"\nplain\n')
    done = sqgen("errors", "p.csv", "--labels", "hostile.txt", "--confusion", "-")
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0][1:] == [row[0] for row in rows[1:]]
    assert rows[0][1:4] == ["0 =1+2", "1 @x", r"2 \x1b[31m"]
    matrix = [[int(cell) for cell in row[1:]] for row in rows[1:]]
    assert matrix == counted(found).tolist()
    written = sqgen("errors", "p.csv", "--labels", "hostile.txt", "--confusion", "c.csv")
    assert written.stdout == sqgen("errors", "p.csv", "--labels", "hostile.txt").stdout
    assert (tmp_path / "c.csv").read_text() == done.stdout
    again = sqgen("errors", "p.csv", "--confusion", "c.csv")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "sqgen: c.csv: exists already; --force replaces it\n"
    assert sqgen("errors", "p.csv", "--confusion", "c.csv", "--force").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.csv"], "nothing.csv: no such file or directory"),
        (["few.txt"], "few.txt: is no file of predictions"),
        (["p.csv", "--labels", "few.txt"], "few.txt: has 2 labels, and class 6 occurs"),
        (["p.csv", "--against", "few.txt"], "few.txt: is no file of predictions"),
        (["-", "--against", "-"], "standard input holds one file"),
        (["p.csv", "--json", "--confusion", "-"], "give it or --json"),
        (["."], "is no run folder; give one, or a file of predictions"),
        (["p.csv", "-o", "-", "--json"], "-o -: prints a page; give it without --json"),
        (["p.csv", "-o", "page.svg"], "-o page.svg: end it in .html"),
    ],
)
def test_misuse(arguments: list[str], words: str, sqgen: Run, tmp_path: Path) -> None:
    kept(tmp_path)
    (tmp_path / "few.txt").write_text("a\nb\n")
    done = sqgen("errors", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_charts_as_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sqgen.report.charts.PICTURES", ("svg",))  # the others take a second
    found = kept(tmp_path)
    errors.main(["p.csv", "--figures", "figures"], standalone_mode=False)
    names = ("calibration", "classes", "confidence", "confusion")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("csv", "svg")
    ]
    text = (tmp_path / "figures" / "confusion.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(row["images"]) for row in rows) == len(found)


def test_keys_cannot_print_escape_sequences(sqgen: Run, tmp_path: Path) -> None:
    found = kept(tmp_path, "q.csv")
    keys = ("\x1b[31mred\r\n", *found.keys[1:])
    text = (tmp_path / "q.csv").read_text().replace(found.keys[0] + ",", f'"{keys[0]}",', 1)
    (tmp_path / "q.csv").write_text(text, newline="")
    done = sqgen("errors", "q.csv", "--count", "60")
    assert r"\x1b[31mred" in done.stdout
    assert "\x1b" not in done.stdout


# What does not fit


@pytest.mark.parametrize("classes", [2, 10, 16, 40, 300])
def test_a_matrix_is_shown_where_it_fits(classes: int) -> None:
    scores, labels = random_scores(3, 900, classes)
    evaluation = evaluate_predictions(predictions_of(scores, labels))
    lines = format_confusion(evaluation, None)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("too wide for text") == (classes > 16)
    long = [f"a very long name of a class, its number {number}" * 3 for number in range(classes)]
    assert max(map(len, format_confusion(evaluation, long))) <= 80


def test_images_have_whole_names_on_a_narrow_terminal() -> None:
    found = predictions_of(*random_scores(6, 30))
    found = replace(found, keys=tuple(f"{number:060d}.png" for number in range(30)))
    evaluation = evaluate_predictions(found)
    long = [f"a class of the number {number}" for number in range(7)]
    lines = list(format_evaluation(found, evaluation, long, 5, 80))
    shown = [line for line in lines if line.endswith(".png")]
    assert shown == [
        found.keys[number] for number in (*highest_losses(found, 5), *lowest_confidences(found, 5))
    ]


def test_a_matrix_of_any_class_numbers_is_no_bomb() -> None:
    """Labels of a stranger's file, which need not be those of a net."""
    count = 5001
    labels = np.arange(count, dtype=np.int32) * 400_000
    one = np.ones((count, 1), np.float32)
    keys = tuple(map(str, labels))
    found = Predictions(keys, labels, np.ones(count, np.int32), one[:, 0], labels[:, None], one)
    evaluation = evaluate_predictions(found)
    assert len(list(format_evaluation(found, evaluation, None, 3, None))) > count
    with pytest.raises(FormatError, match="a confusion matrix of 5,001 classes"):
        confusion_csv(evaluation, None)


def test_one_image(sqgen: Run, tmp_path: Path) -> None:
    found = kept(tmp_path, images=1)
    done = sqgen("errors", "p.csv")
    assert done.returncode == 0
    assert f"{found.losses[0]:g}" in done.stdout
    assert "nan" not in done.stdout


# `sqgen test`


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "made").mkdir()
    return Place(tmp_path / "made")


TEST = ("--engine", "torch", "--quiet")
AFTER = ("--", "--threads=1")


def test_a_test_shows_its_classes(sqgen: Run, place: Place, tmp_path: Path) -> None:
    test = ("test", "--model", str(place.net), "--weights", str(place.weights), *TEST)
    (place.data / "labels.txt").write_text("red\ngreen\nblue\ngrey\nblack\n")
    plain = sqgen(*test, *AFTER)
    assert "majority" not in plain.stdout
    [folder] = (tmp_path / "runs").iterdir()
    assert not (folder / "predictions.npz").exists()
    done = sqgen(*test, "--per-class", "--run-dir", "run", *AFTER)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(plain.stdout)
    assert {row[1] for row in section(done.stdout, "classes, the least")[1:]} == {
        *("red", "green", "blue", "grey", "black")
    }
    errors = sqgen("errors", "run", "--labels", str(place.data / "labels.txt")).stdout
    assert errors.split("\n\n")[2:] == done.stdout.split("\n\n")[2:]
    os.rename(tmp_path / "run", tmp_path / "moved")  # noqa: PTH104
    assert sqgen("errors", "moved").returncode == 0
    both = json.loads(sqgen(*test, "--predictions", "p.npz", "--json", *AFTER).stdout)
    found = read_predictions(tmp_path / "p.npz")
    assert both["evaluation"]["images"] == len(found) == 64
    assert both["evaluation"]["classes"][1]["name"] == "green"
    assert both["run"]["predictions"]["file"] == "p.npz"
    (tmp_path / "few.txt").write_text("one\n")
    few = sqgen(*test, "--per-class", "--labels", "few.txt", *AFTER)
    assert few.returncode == 0
    assert few.stderr == ("sqgen: warning: --labels: has 1 labels, and class 4 occurs: not shown\n")
    assert "green" in few.stdout
    write_predictions(
        tmp_path / "moved" / "predictions.npz", replace(found, keys=found.keys[::-1]), force=True
    )
    changed = sqgen("errors", "moved")
    assert changed.returncode == 2
    assert "the predictions of the result are gone, or replaced by others" in changed.stderr
    none = sqgen("errors", str(folder.relative_to(tmp_path)))
    assert "its test kept no predictions; test again, with --predictions" in none.stderr


@pytest.mark.parametrize(("classes", "first"), [(1000, "n01440764 tench"), (10, None)])
def test_a_squeezenet_of_1000_classes_has_the_names_of_imagenet(
    classes: int, first: str | None
) -> None:
    names = net_class_names(parse_net(build(Design(classes=classes, size=32, fire_modules=2))))
    assert (names is None) == (first is None)
    assert names is None or names[0].startswith(str(first))


def test_a_net_that_has_no_outputs_has_no_names() -> None:
    net = parse_net('layer { name: "a" type: "ReLU" bottom: "x" top: "y" }')
    assert net_class_names(net) is None
