"""Pictures of the images that a test predicted, from its dataset as long as it is the same."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sqgen.datasets.thumbnails import BYTES, SIDE, encode_thumbnail, read_thumbnails
from sqgen.errors import FormatError
from sqgen.extras import required
from sqgen.formats.schema import Datum
from sqgen.json_form import to_json
from sqgen.logs.read_result import read_result
from sqgen.logs.result import LogResult
from sqgen.nets.dataset import inspect_dataset
from sqgen.report.page import Text
from sqgen.report.report_json import report_json
from sqgen.report.report_options import ReportOptions
from sqgen.report.reported_run import read_runs
from sqgen.report.run_errors import run_errors
from sqgen.report.tested_pictures import read_pictures
from sqgen.runner.tested_data import class_names_of_test
from sqgen.tools.errors import errors
from sqgen.tools.report import report

from .conftest import Run
from .databases import encoded, image_file, layer, make_lmdb, raw
from .small_runs import Place

KEYS = tuple(f"{number:08d}_file{number}.png" for number in range(4))


def decoded(data: object) -> Any:
    assert isinstance(data, bytes)
    assert data.startswith(b"\xff\xd8")
    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels


# Thumbnails


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [(300, 400, (72, 96)), (50, 20, (50, 20)), (96, 97, (95, 96)), (1, 5000, (1, 96))],
)
def test_a_thumbnail_is_small(height: int, width: int, shown: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    for pixels in (noise, noise[:, :, :1]):
        data = encode_thumbnail(pixels)
        assert decoded(data).shape[:2] == shown
        assert len(data) < 2 * BYTES
    assert max(shown) <= SIDE


def test_the_records_of_an_lmdb(tmp_path: Path) -> None:
    floats = Datum(channels=1, height=2, width=2, float_data=[0, 1, 2, 3])
    bad = Datum(data=b"\x89PNG no", encoded=True)
    values = [raw(0), encoded(1, 300, 200), raw(2, 1), raw(3, 5)]
    values += [bytes(each.SerializeToString()) for each in (floats, bad)]
    make_lmdb(tmp_path / "set", values)
    data = layer('type: "Data" data_param { source: "set" backend: LMDB }')
    keys = [*(f"{number:08d}_file{number}.png" for number in range(6)), "none"]
    found = read_thumbnails(data, tmp_path, keys)
    assert list(found) == keys[:6]
    assert decoded(found[keys[0]]).shape == (8, 9, 3)
    assert decoded(found[keys[1]]).shape == (96, 64, 3)
    assert decoded(found[keys[2]]).shape == (8, 9)
    errors = [str(found[key]) for key in keys[3:6]]
    assert errors[0] == "record 3: uint8 of 5 channels, which is no picture"
    assert errors[1] == "record 4: float32 of 1 channels, which is no picture"
    assert "record 5: can't be decoded as an image" in errors[2]


def test_the_files_of_a_list(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a b.png").write_bytes(image_file(1, 40, 30))
    (folder / "cut.jpg").write_bytes(image_file(2, 40, 30, ".jpg")[:-40])
    os.mkfifo(folder / "pipe.png")
    names = ["a b.png", "cut.jpg", "pipe.png", "gone.png"]
    (tmp_path / "list.txt").write_text("".join(f"{name} 1\n" for name in names))
    text = 'type: "ImageData" image_data_param { source: "list.txt" root_folder: "images/" }'
    found = read_thumbnails(layer(text), tmp_path, names)
    assert decoded(found["a b.png"]).shape == (40, 30, 3)
    assert "a truncated JPEG" in str(found["cut.jpg"])
    assert str(found["pipe.png"]).endswith("pipe.png: is no file")
    assert str(found["gone.png"]).endswith("gone.png: is no file")
    with pytest.raises(FormatError, match="reads no pictures"):
        read_thumbnails(layer('type: "HDF5Data"'), tmp_path, names)


# The dataset of a test


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "made").mkdir()
    return Place(tmp_path / "made")


def test_a_page_has_the_images_until_they_change(
    sqgen: Run, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = ("test", "--model", str(place.net), "--weights", str(place.weights), "--quiet")
    run = ("--engine", "torch", "--run-dir", "run", "--predictions", "p.npz", "--", "--threads=1")
    (place.data / "labels.txt").write_text("red\ngreen\nblue\ngrey\n<i>black\n")
    assert sqgen(*test, *run).returncode == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sqgen.report.page.vega_bundle", lambda: "")  # takes seconds
    errors.main(["run", "-o", "page.html"], standalone_mode=False)
    page = (tmp_path / "page.html").read_text()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    assert len(pictures) == 48
    assert all(decoded(base64.b64decode(each)).ndim == 3 for each in pictures)
    assert "<figcaption>&lt;i&gt;black<small>" in page
    errors.main(["p.npz", "-o", "page.html", "--force"], standalone_mode=False)
    assert (
        "No pictures: sqgen errors shows them of a run folder."
        in (tmp_path / "page.html").read_text()
    )
    monkeypatch.setattr("sqgen.report.report_page.REPORT_SECTIONS", ())  # the drawing, too
    report.main(["run", "-o", "page.html", "--force"], standalone_mode=False)
    assert (tmp_path / "page.html").read_text().count('src="data:image/jpeg;base64,') == 48
    [reported] = read_runs(["run"])
    options = ReportOptions(["run"], ["one", "two"])
    sections = run_errors(reported, options)
    assert [section.title for section in sections] == [
        *("Where it errs", "Classes", "Calibration", "Highest losses", "Least sure")
    ]
    last = sections[0].blocks[-1]
    assert isinstance(last, Text)
    assert last.text.startswith("--labels has 2 names, and class 4 occurs")
    printed = json.loads(sqgen("errors", "run", "--json", "--count", "24").stdout)
    [plain] = report_json([reported])["runs"]
    assert {**to_json(plain["errors"]), "against": None} == {
        **printed,
        "classes": [{**each, "name": None} for each in printed["classes"]],
    }
    result = read_result("run", keep_rows=False)
    assert class_names_of_test(result, 5, "run") == ["red", "green", "blue", "grey", "<i>black"]
    assert class_names_of_test(result, 6, "run") is None
    place.data.rename(tmp_path / "away")
    assert "is no longer there" in read_pictures(result, "run", KEYS).remark
    make_lmdb(place.data, [raw(7), raw(8)])
    assert "has changed since the test" in read_pictures(result, "run", KEYS).remark
    assert class_names_of_test(result, 5, "run") is None
    (tmp_path / "p.npz").unlink()
    [gone] = run_errors(read_runs(["run"])[0], ReportOptions(["run"]))
    assert [block.text for block in gone.blocks if isinstance(block, Text)] == [
        "The predictions that its test kept are gone, or replaced by others; test again."
    ]


def test_a_list_is_found_from_the_folder_that_the_test_ran_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    (there / "run").mkdir(parents=True)
    (there / "a.png").write_bytes(image_file(1))
    (there / "list.txt").write_text("a.png 0\n")
    text = 'type: "ImageData" top: "data" image_data_param { source: "list.txt" }'
    (there / "run" / "net.prototxt").write_text(f"layer {{ name: 'data' {text} }}")
    digest = inspect_dataset(layer(text), "", base=there).digest
    record = {"working_folder": str(there), "folder": "run", "data": [{"digest": digest}]}
    result = LogResult(source="", command="test", run=record)
    found = read_pictures(result, "", ["a.png", "b.png"])
    assert found.remark == ""
    assert decoded(found.found["a.png"]).shape == (8, 9, 3)
    assert "b.png" not in found.found
    monkeypatch.setattr("sqgen.datasets.thumbnails.opencv", without_opencv)
    assert read_pictures(result, "", ["a.png"]).remark == (
        "No pictures: reading images needs OpenCV: pip install 'sqgen[engine]' brings it."
    )


def without_opencv() -> None:
    with required("cv2", "reading images"):
        raise ImportError(name="cv2")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"data": 3, "folder": 4, "working_folder": []},
        {"data": [None], "folder": "\0", "working_folder": "\0"},
        {"data": [{"digest": 5}], "folder": "/dev", "working_folder": "/"},
    ],
)
def test_a_damaged_record_has_no_pictures(record: dict[str, object]) -> None:
    result = LogResult(source="", command="test", run=record)
    assert read_pictures(result, "", KEYS).remark.startswith("No pictures: ")
    assert class_names_of_test(result, 3) is None
