"""What the records at hand say against the net that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run
from .databases import image_file, make_lmdb, raw
from .small_runs import StandIn

NET = """
layer { name: "data" type: "Data" top: "data" top: "label" %s
  data_param { source: "lmdb" batch_size: 2 backend: LMDB } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: %d } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" %s }
"""


def findings(sqgen: Run, text: str) -> list[str]:
    done = sqgen("lint", "-", "--json", stdin=text)
    assert done.returncode in (0, 1), done.stderr
    return [row["message"] for row in json.loads(done.stdout) if row["rule"] == "data"]


@pytest.mark.parametrize(
    ("classes", "rest", "message"),
    [
        (6, "", ""),
        (5, "", "layer 'data': it has the label 5, but the net has 5 classes, from 0"),
        (5, "loss_param { ignore_label: 5 }", ""),
    ],
)
def test_labels_beyond_the_classes(
    classes: int, rest: str, message: str, tmp_path: Path, sqgen: Run
) -> None:
    make_lmdb(tmp_path / "lmdb", map(raw, range(6)))
    found = findings(sqgen, NET % ("", classes, rest))
    assert found == ([message] if message else [])


def test_names_of_other_classes(tmp_path: Path, sqgen: Run) -> None:
    make_lmdb(tmp_path / "lmdb", map(raw, range(3)))
    (tmp_path / "lmdb" / "labels.txt").write_text("cat\ndog\nowl\n")
    assert findings(sqgen, NET % ("", 3, "")) == []
    assert findings(sqgen, NET % ("", 4, "")) == [
        "layer 'data': its labels.txt names 3 classes, but the net has 4"
    ]


def test_images_that_only_one_phase_crops(tmp_path: Path, sqgen: Run) -> None:
    make_lmdb(tmp_path / "lmdb", [raw(0, 3, 9, 9)])
    crop = "include { phase: %s } transform_param { crop_size: 8 }"
    train = (NET % (crop % "TRAIN", 2, "")).partition('layer { name: "fc"')[0]
    test = NET % ("include { phase: TEST }", 2, "")
    message = "layer 'data': its images of 9x9 are not cropped, but those of TRAIN to 8x8"
    (tmp_path / "net.prototxt").write_text(train + test.replace("SoftmaxWithLoss", "Accuracy"))
    caffe = StandIn(tmp_path)("time_digits")
    options = ("--phase", "TEST", "--caffe", caffe)
    timed = sqgen("time", "--model", "net.prototxt", *options)
    assert f"warning: net.prototxt:5: {message}" in timed.stderr
    lint = sqgen("lint", "net.prototxt").stdout  # one line of it
    assert lint.count("crop") == lint.count("crop_size is 8 in TRAIN but not set in TEST") == 1
    (tmp_path / "net.prototxt").write_text(train + NET % (crop % "TEST", 2, ""))
    assert "cropped" not in sqgen("time", "--model", "net.prototxt", *options).stderr


def test_labels_that_are_no_whole_numbers(tmp_path: Path, sqgen: Run, shared: Path) -> None:
    case = shared / "reported" / "31-float-labels-cut-silently"
    made = sqgen(
        "data", "create", str(case / "images"), "--list", str(case / "list.txt"), "-o", "l"
    )
    assert "list.txt: 3 labels are no whole numbers, the first is in line 1 and" in made.stderr
    assert "counts as 2, as in Caffe" in made.stderr
    (tmp_path / "a.png").write_bytes(image_file(1))
    (tmp_path / "list").write_text("a.png 1\na.png 1.5\na.png 0\na.png 2;\r\n")
    net = (
        'layer { name: "data" type: "ImageData" top: "data" top: "label" image_data_param {'
        ' source: "list" batch_size: 2 new_height: 8 new_width: 8 } }'
        + (NET % ("", 9, "")).partition("LMDB } }")[2]
    )
    assert findings(sqgen, net) == [
        "layer 'data': list: 2 labels are no whole numbers, the first is in line 2 and counts as 1,"
        " as in Caffe"
    ]


def test_damaged_data_is_a_finding_and_no_end(tmp_path: Path, sqgen: Run) -> None:
    (tmp_path / "lmdb").mkdir()
    found = findings(sqgen, NET % ("transform_param { crop_size: 4 }", 2, ""))
    assert len(found) == 1
    assert "lmdb" in found[0]
    make_lmdb(tmp_path / "lmdb", map(raw, range(2)))
    assert "crop_size 99" in findings(sqgen, NET % ("transform_param { crop_size: 99 }", 2, ""))[0]
