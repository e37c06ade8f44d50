"""`sqgen data info`: images per class, by name, and the score of always guessing the largest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from sqgen.datasets.balance import balance_rows, count_classes, majority
from sqgen.formats.class_names import read_class_names

from .conftest import Run
from .databases import make_lmdb, raw


def info(folder: Path, sqgen: Run, labels: Sequence[int], names: str | None = None) -> list[str]:
    """The lines that it prints."""
    make_lmdb(folder / "lmdb", [raw(label, 1, 2, 2) for label in labels])
    if names is not None:
        (folder / "lmdb" / "labels.txt").write_text(names)
    done = sqgen("data", "info", "lmdb")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_classes_and_the_score_to_beat(tmp_path: Path, sqgen: Run) -> None:
    lines = info(tmp_path, sqgen, [1, 0, 1, 1, 0, 1, 1, 1], "cat\nguide dog\nfox\n")
    assert lines[4:] == [
        "labels    2 different, 0 to 1",
        "class     0 cat: 2 records, 25.0%",
        "class     1 guide dog: 6 records, 75.0%",
        "class     2 fox: 0 records, 0.0%",
        "majority  always answering 1 guide dog scores 75.0%",
    ]
    result = json.loads(sqgen("data", "info", "lmdb", "--json").stdout)
    assert result["classes"] == [
        {"label": 0, "name": "cat", "records": 2, "share": 0.25},
        {"label": 1, "name": "guide dog", "records": 6, "share": 0.75},
        {"label": 2, "name": "fox", "records": 0, "share": 0},
    ]
    assert result["majority"] == result["classes"][1]


def test_without_names(tmp_path: Path, sqgen: Run) -> None:
    lines = info(tmp_path, sqgen, [4, 300, 4])
    assert lines[-3:] == [
        "class     4: 2 records, 66.7%",
        "class     300: 1 records, 33.3%",
        "majority  always answering 4 scores 66.7%",
    ]
    assert json.loads(sqgen("data", "info", "lmdb", "--json").stdout)["classes"][0]["name"] is None


def test_names_that_are_too_few_name_what_they_can(tmp_path: Path, sqgen: Run) -> None:
    lines = info(tmp_path, sqgen, [0, 1, 1], "only\n")
    assert lines[-3:-1] == ["class     0 only: 1 records, 33.3%", "class     1: 2 records, 66.7%"]


def test_many_classes_stay_short(tmp_path: Path, sqgen: Run) -> None:
    """The largest and the smallest, however long their names."""
    labels = [label for label in range(40) for _ in range(1 + label)]
    lines = info(tmp_path, sqgen, labels, "".join(f"{'x' * 70} {n}\n" for n in range(40)))
    assert max(map(len, lines)) <= 80
    classes = [line for line in lines if line.startswith(("class", "    "))]
    assert [line.split()[1] for line in classes] == ["39", "38", "37", "classes", "2", "1", "0"]
    assert classes[3].strip() == "34 classes of 4 to 37 records"
    assert lines[-1].startswith("majority  always answering 39 xxx")
    assert lines[-1].endswith("scores 4.9%")


def test_equal_classes() -> None:
    rows = balance_rows(count_classes(dict.fromkeys(range(50), 7)))
    assert rows[3] == ["", "44 classes of 7 records each"]
    largest = majority(count_classes({}))
    assert largest is None
    assert balance_rows([]) == []


@pytest.mark.parametrize("name", ["\x1b[31mred\n", "a\x07b\r\n", "\u202ebidi\n"])
def test_names_reach_no_terminal(name: str, tmp_path: Path, sqgen: Run) -> None:
    lines = info(tmp_path, sqgen, [0], name)
    assert all(line.isprintable() for line in lines)


def test_class_names_are_lines(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes("tabby cat\r\nx\u2028y \nz".encode() + b"\xff")
    assert read_class_names(tmp_path / "names") == ["tabby cat", "x\\u2028y", "z\ufffd"]
