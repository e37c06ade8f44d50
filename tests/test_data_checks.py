"""What the records at hand say against the net that reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sqgen import Design, RunOptions, build, parse_net
from sqgen.formats.schema import Datum
from sqgen.nets import dataset
from sqgen.runner.preflight import check_net
from sqgen.tools import lint

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


def test_every_label_is_checked(tmp_path: Path, sqgen: Run) -> None:
    """One wrong label among many; of the two largest, an ignored one hides no other."""
    labels = [label % 5 for label in range(700)]
    labels[333] = 7
    make_lmdb(tmp_path / "lmdb", [raw(label, 1, 2, 2) for label in labels])
    message = "layer 'data': it has the label 7, but the net has 5 classes, from 0"
    assert findings(sqgen, NET % ("", 5, "")) == [message]
    labels[444] = 255
    make_lmdb(tmp_path / "lmdb", [raw(label, 1, 2, 2) for label in labels])
    ignored = NET % ("", 5, "loss_param { ignore_label: 255 }")
    assert findings(sqgen, ignored) == [message]
    below_all = Datum(channels=1, height=2, width=2, data=bytes(4), label=-1).SerializeToString()
    make_lmdb(tmp_path / "lmdb", [*(raw(label % 5, 1, 2, 2) for label in labels), below_all])
    below = "layer 'data': it has the label -1, but the net has 5 classes, from 0"
    assert findings(sqgen, ignored) == [below]


def test_labels_of_a_large_lmdb_are_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the time allows, and those of the digest; the rest is said."""
    make_lmdb(tmp_path / "lmdb", [raw(label % 5, 1, 2, 2) for label in range(200)])
    monkeypatch.chdir(tmp_path)
    net = parse_net(NET % ("", 5, ""))
    assert check_net(net, "TRAIN").remarks == []
    monkeypatch.setattr(dataset, "LABEL_SECONDS", -1)
    checked = check_net(net, "TRAIN")
    assert checked.datasets[0].labels_read == 1
    assert checked.datasets[0].labels == (0, 1, 3, 4)  # of 64 records and more
    line = "lmdb: labels of 1 of 200 records are checked against the net's classes"
    assert checked.remarks == [line]
    said: list[str] = []
    RunOptions(log=said.append).log_checks(checked, checked)
    assert said == [line]
    warnings: list[str] = []
    lint._net_rows(net, None, warnings)
    assert set(warnings) == {line}


HEADER = "# sqgen build --size 8\n# sqgen 0.1.0: 9 parameters, 8 macs an image of 8x8\n"
OTHER_STAGE = (
    'layer { name: "in" type: "Input" top: "data" include { stage: "deploy" }'
    " input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }"
)
CROP = "include { phase: %s } transform_param { crop_size: 8 }"


@pytest.mark.parametrize(
    ("before", "transform", "size", "warned"),
    [
        (HEADER, "", (9, 9), True),
        (HEADER, "", (8, 9), True),
        (HEADER, "", (8, 8), False),
        (HEADER, "", (7, 7), False),  # another fault, which shapes may show
        (HEADER, "transform_param { crop_size: 8 }", (9, 9), False),
        (OTHER_STAGE, "", (9, 9), True),
        ("", "", (9, 9), False),  # nothing says what the net is for
    ],
)
def test_images_larger_than_the_net_s_that_nothing_crops(
    before: str,
    transform: str,
    size: tuple[int, int],
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sqgen: Run,
) -> None:
    make_lmdb(tmp_path / "lmdb", [raw(0, 3, *size)])
    monkeypatch.chdir(tmp_path)
    net = parse_net(before + NET % (transform, 2, ""), "n.prototxt")
    message = (
        f"layer 'data': its images of {size[0]}x{size[1]} are cropped in no phase, but the net is"
        " for 8x8; set crop_size, or resize them"
    )
    warnings = check_net(net, "TRAIN").warnings
    assert [line for line in warnings if "crop" in line] == (
        [f"n.prototxt:{3 + before.count(chr(10)) - 1}: {message}"] if warned else []
    )
    (tmp_path / "n.prototxt").write_text(net.text)
    assert sqgen("lint", "n.prototxt").stdout.count(message) == warned


def test_a_crop_in_the_other_phase_is_another_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_lmdb(tmp_path / "lmdb", [raw(0, 3, 9, 9)])
    monkeypatch.chdir(tmp_path)
    train = (NET % (CROP % "TRAIN", 2, "")).partition('layer { name: "fc"')[0]
    test = NET % ("include { phase: TEST }", 2, "")
    net = parse_net(HEADER + train + test, "n.prototxt")
    (line,) = [line for line in check_net(net, "TEST").warnings if "crop" in line]
    assert "but those of TRAIN to 8x8" in line


@pytest.mark.parametrize(("classes", "warned"), [(1000, True), (999, False)])
def test_imagenet_s_squeezenets_are_for_227(
    classes: int, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote them: without a header."""
    make_lmdb(tmp_path / "lmdb", [raw(0, 3, 256, 256)])
    monkeypatch.chdir(tmp_path)
    design = Design(classes=classes, crop=False, train_source="lmdb", val_source="lmdb")
    text = re.sub(r"^#.*\n", "", build(design, "trainval"), flags=re.MULTILINE)
    warnings = check_net(parse_net(text), "TEST").warnings
    assert any("are cropped in no phase, but the net is for 227x227" in x for x in warnings) == (
        warned
    )


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
