"""`sqgen.Net` on arrays, and `sqgen classify` on image files."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import sqgen
from sqgen import Net, parse_net
from sqgen.formats.caffemodel import fill_blob
from sqgen.formats.schema import BlobProto

from .conftest import ROOT, Run, published_weights
from .databases import damaged_jpeg

# Two classes by the mean of a channel: bluer or redder.
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 1 dim: 3 dim: 4 dim: 6 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param {
  pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "mean" top: "fc" inner_product_param {
  num_output: 2 } }
"""
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }\n'
BLUER_OR_REDDER = [
    np.array([[0.01, 0, 0], [0, 0, 0.01]], np.float32),
    np.zeros(2, np.float32),
]


def make(folder: Path, text: str = NET + SOFTMAX) -> Path:
    """The net and its weights in a folder."""
    (folder / "deploy.prototxt").write_text(text)
    net = sqgen.Net(sqgen.parse_net(text))
    net.set_blobs("fc", BLUER_OR_REDDER)
    net.save(folder / "w.caffemodel")
    (folder / "labels.txt").write_text("n01 blue\nn02 red\n")
    (folder / "other.prototxt").write_text(text.replace('name: "fc"', 'name: "other"'))
    cv2.imwrite(str(folder / "blue.png"), np.full((9, 13, 3), (200, 10, 0), np.uint8))
    cv2.imwrite(str(folder / "red.png"), np.full((9, 13, 3), (0, 10, 200), np.uint8))
    return folder


def test_arrays_in_arrays_out(tmp_path: Path) -> None:
    make(tmp_path)
    net = sqgen.Net(tmp_path / "deploy.prototxt", tmp_path / "w.caffemodel", threads=2)
    assert net.inputs == {"data": (1, 3, 4, 6)}
    assert net.outputs == ["prob"]
    images = np.random.default_rng(1).uniform(-99, 99, (5, 3, 4, 6)).astype(np.float32)
    scores = images.mean((2, 3)) @ BLUER_OR_REDDER[0].T
    wanted = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    for outputs in (net.forward(images), net.forward({"data": images}), net.forward(data=images)):
        np.testing.assert_allclose(outputs["prob"], wanted, rtol=1e-5)
    np.testing.assert_array_equal(net.blobs("fc")[0], BLUER_OR_REDDER[0])


def test_a_blob_without_axes_is_loaded(tmp_path: Path) -> None:
    """A shared PReLU's one slope: its shape in the file is empty, which is no old shape."""
    prelu = 'layer { name: "p" type: "PReLU" bottom: "fc" top: "p" prelu_param {'
    definition = sqgen.parse_net(NET + prelu + " channel_shared: true } }")
    net = sqgen.Net(definition)
    net.set_blobs("p", [np.array(0.125, np.float32)])
    net.save(tmp_path / "w.caffemodel")
    again = sqgen.Net(definition, tmp_path / "w.caffemodel")
    assert again.blobs("p")[0] == 0.125


def test_batches_are_the_same_cut_or_whole(tmp_path: Path) -> None:
    """Any batch, any number of threads: a record's scores are its own."""
    text = sqgen.build(sqgen.Design(version="1.1", size=32, fire_modules=2, classes=5), "deploy")
    images = np.random.default_rng(2).standard_normal((7, 3, 32, 32)).astype(np.float32)
    single = sqgen.Net(sqgen.parse_net(text), threads=1, seed=3)
    name = single.outputs[0]
    one_by_one = np.concatenate([single.forward(image[None])[name] for image in images])
    for threads in (1, 2, 3):
        net = sqgen.Net(sqgen.parse_net(text), threads=threads, seed=3)
        np.testing.assert_allclose(net.forward(images)[name], one_by_one, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net.forward(), "no array for input 'data'"),
        (lambda net: net.forward(dta=np.zeros((1, 3, 4, 6))), "no array for input 'data'"),
        (
            lambda net: net.forward(data=np.zeros((1, 3, 4, 6)), x=np.zeros(1)),
            "no input 'x'; its inputs are data",
        ),
        (
            lambda net: net.forward(np.zeros((1, 3, 4, 6)), data=np.zeros((1, 3, 4, 6))),
            "two arrays for input 'data'; give one",
        ),
        (
            lambda net: net.forward({"data": np.zeros((1, 3, 4, 6))}, data=np.ones((1, 3, 4, 6))),
            "two arrays for input 'data'; give one",
        ),
        (lambda net: net.forward(np.zeros((1, 3, 6, 4))), r"'data' has shape \(1, 3, 4, 6\), not"),
        (lambda net: net.blobs("fcc"), "no layer 'fcc' in the net; did you mean 'fc'?"),
        (lambda net: net.set_blobs("fc", BLUER_OR_REDDER[:1]), "has blobs of shapes"),
        (lambda net: sqgen.Net(sqgen.parse_net(NET), precision="fp31"), "no precision 'fp31'"),
        (lambda net: sqgen.Net(sqgen.parse_net(NET), threads=0), "0 threads"),
    ],
)
def test_misuse_is_one_line(call: object, message: str) -> None:
    net = sqgen.Net(sqgen.parse_net(NET))
    assert callable(call)
    with pytest.raises(sqgen.NetError, match=message):
        call(net)


def test_images_are_classified(tmp_path: Path, sqgen: Run) -> None:
    make(tmp_path)
    model = ("--model", "deploy.prototxt", "--weights", "w.caffemodel", "--labels", "labels.txt")
    done = sqgen("classify", *model, "--mean", "0", "--json", "blue.png", "red.png")
    assert done.returncode == 0, done.stderr
    blue, red = json.loads(done.stdout)
    assert [row["name"] for row in blue["classes"]] == ["n01 blue", "n02 red"]
    assert [row["name"] for row in red["classes"]] == ["n02 red", "n01 blue"]
    assert blue["classes"][0]["probability"] == pytest.approx(1 / (1 + np.exp(-2)), rel=1e-5)
    done = sqgen("classify", *model, "--mean", "0", "--top", "1", "blue.png")
    assert done.stdout.split() == ["probability", "class", "0.8808", "n01", "blue"]
    assert done.stderr == ""


def test_a_net_without_softmax_gives_probabilities_too(tmp_path: Path, sqgen: Run) -> None:
    make(tmp_path, NET)
    model = ("--model", "deploy.prototxt", "--weights", "w.caffemodel")
    done = sqgen("classify", *model, "--mean", "0,0,0", "--scale", "2", "--json", "blue.png")
    best = json.loads(done.stdout)[0]["classes"][0]
    assert best["class"] == 0
    assert best["name"] is None
    assert best["probability"] == pytest.approx(1 / (1 + np.exp(-4)), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.png",), "none.png: no such file"),
        (("labels.txt",), "labels.txt: can't be decoded as an image"),
        (("blue.png", "--labels", "w.caffemodel"), "labels for 2 classes"),
        (("blue.png", "--mean", "a"), "--mean 'a' is no list"),
        (("blue.png", "--mean", "1,2"), "--mean has 2 values for 3 channels"),
        (("blue.png", "--resize", "3x3"), "--resize 3x3: the net takes 4x6 of it"),
        (("blue.png", "--resize", "big"), "--resize 'big' is no HxW"),
        (("blue.png", "--top", "0"), "--top 0: give one or more"),
        (("blue.png", "--output", "fc"), "no output 'fc'; the net has prob"),
        (("blue.png", "--weights", "labels.txt"), "labels.txt: is text, not a .caffemodel"),
        (("blue.png", "--model", "none"), "none: no such file"),
        (("blue.png", "--model", "other.prototxt"), "has no weights for layer 'other' (1 in all)"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path, sqgen: Run
) -> None:
    make(tmp_path)
    model = ("--model", "deploy.prototxt", "--weights", "w.caffemodel")
    done = sqgen("classify", *model, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_preprocessing_is_told_and_comes_from_the_training_net(
    sqgen: Run, shared: Path, tmp_path: Path
) -> None:
    """The shipped digits net answered 6 of 8 wrongly in silence, by ImageNet's means."""
    case = shared / "reported" / "29-classify-silently-takes-imagenet-means"
    model = ("--model", str(case / "deploy.prototxt"), "--weights", str(case / "digits.caffemodel"))
    images = sorted(case.glob("digit_*.png"))

    def right(*options: str) -> tuple[int, str]:
        done = sqgen("classify", *model, *options, "--json", *map(str, images))
        assert done.returncode == 0, done.stderr
        best = [result["classes"][0]["class"] for result in json.loads(done.stdout)]
        truth = [int(path.stem[-1]) for path in images]
        return sum(a == b for a, b in zip(best, truth, strict=True)), done.stderr

    count, told = right()
    assert (count, told.startswith("sqgen: warning: nothing tells how")) == (2, True)
    assert "resized to 32x32, mean 0, scale 1; --like TRAIN_VAL tells it" in told
    done = "resized to 32x32, mean 77.6, scale 0.0078125"
    count, told = right("--like", str(case / "tv.prototxt"))
    assert count == 6
    assert told == f"sqgen: images are {done} (as {case / 'tv.prototxt'})\n"
    assert right("--mean", "78", "--scale", "0.0078125") == (6, "")
    design = ROOT / "models" / "digits" / "design.toml"
    built = sqgen("build", "--design", str(design), "--net", "deploy")
    (tmp_path / "built.prototxt").write_text(built.stdout)
    assert right("--model", "built.prototxt")[0] == 6
    made = sqgen("deploy", str(case / "tv.prototxt"), "--image", "3x32x32", "-o", "made.prototxt")
    assert made.returncode == 0, made.stderr
    count, told = right("--model", "made.prototxt")
    assert (count, told) == (6, f"sqgen: images are {done} (as made.prototxt)\n")


def test_a_mean_file_counts_by_its_channels(tmp_path: Path, sqgen: Run) -> None:
    make(tmp_path)
    blob = BlobProto()
    values = np.stack([np.full((5, 7), value, np.float32) for value in (10, 20, 30)])
    values[:, 0] += 7
    fill_blob(blob, values[None])
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    (tmp_path / "train_val.prototxt").write_text(
        'layer { name: "d" type: "Data" top: "data" transform_param { scale: 0.5'
        ' mean_file: "mean.binaryproto" } data_param { source: "x" batch_size: 1 } }'
    )
    model = ("--model", "deploy.prototxt", "--weights", "w.caffemodel")
    done = sqgen("classify", *model, "--mean", "mean.binaryproto", "--json", "blue.png")
    assert "mean 11.4,21.4,31.4, scale 1" in done.stderr
    by_numbers = sqgen("classify", *model, "--mean", "11.4,21.4,31.4", "--json", "blue.png")
    assert json.loads(done.stdout)[0]["classes"][0]["probability"] == pytest.approx(
        json.loads(by_numbers.stdout)[0]["classes"][0]["probability"], rel=1e-5
    )
    like = sqgen("classify", *model, "--like", "train_val.prototxt", "blue.png")
    assert "mean 11.4,21.4,31.4, scale 0.5" in like.stderr
    both = sqgen("classify", *model, "--like", "train_val.prototxt", "--scale", "1", "blue.png")
    assert (both.returncode, "--like: tells mean and scale" in both.stderr) == (2, True)
    none = sqgen("classify", *model, "--like", "deploy.prototxt", "blue.png")
    assert (none.returncode, "no data layer tells a transform" in none.stderr) == (2, True)


def header(**lines: str) -> str:
    return "# preprocessing\n" + "".join(f"#   {key}: {value}\n" for key, value in lines.items())


def probability(sqgen: Run, *options: str, image: str = "blue.png") -> tuple[float, str]:
    """The probability of class 0, and what was said."""
    model = ("--model", "deploy.prototxt", "--weights", "w.caffemodel")
    done = sqgen("classify", *model, *options, "--json", image)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)[0]["classes"]
    return next(row["probability"] for row in rows if row["class"] == 0), done.stderr


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_the_header_of_a_deploy_net_says_the_transform(tmp_path: Path, sqgen: Run) -> None:
    """(200, 10, 0) in BGR; the net takes 0.01 of each end."""
    make(tmp_path, header(mean="100,0,50", scale="0.5") + NET + SOFTMAX)
    value, said = probability(sqgen)
    assert value == pytest.approx(sigmoid(0.01 * 0.5 * (100 - -50)), rel=1e-5)
    assert said == (
        "sqgen: images are resized to 4x6, mean 100,0,50, scale 0.5 (as deploy.prototxt)\n"
    )
    value, said = probability(sqgen, "--mean", "0")  # the option counts, the rest stays
    assert value == pytest.approx(sigmoid(0.01 * 0.5 * 200), rel=1e-5)
    assert "mean 0, scale 0.5" in said
    assert "scale 2" in probability(sqgen, "--scale", "2")[1]
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(header(channels="RGB", resize="8x9", crop="4x6") + NET + SOFTMAX)
    value, said = probability(sqgen)
    assert value == pytest.approx(sigmoid(-0.01 * 200), rel=1e-5)
    assert "resized to 8x9, its centre 4x6 taken, mean 0 in RGB, scale 1" in said
    (tmp_path / "plain.prototxt").write_text(NET + SOFTMAX)
    like = probability(sqgen, "--model", "plain.prototxt", "--like", "deploy.prototxt")
    assert like[0] == value
    deploy.write_text(header(resize="60000x60000", crop="4x6") + NET + SOFTMAX)
    huge = sqgen("classify", "--model", "deploy.prototxt", "--weights", "w.caffemodel", "blue.png")
    assert (huge.returncode, "resized to: 60,000x60,000 pixels, more" in huge.stderr) == (2, True)
    deploy.write_text(header(mean="1,2") + NET + SOFTMAX)
    wrong = sqgen("classify", "--model", "deploy.prototxt", "--weights", "w.caffemodel", "blue.png")
    assert (wrong.returncode, "mean has 2 values for 3" in wrong.stderr) == (2, True)


def test_a_mean_file_of_the_header_is_beside_the_net(tmp_path: Path, sqgen: Run) -> None:
    make(tmp_path, header(mean_file="mean.binaryproto") + NET + SOFTMAX)
    gone = sqgen("classify", "--model", "deploy.prototxt", "--weights", "w.caffemodel", "blue.png")
    assert (gone.returncode, "mean.binaryproto: no such file" in gone.stderr) == (2, True)
    assert "--mean" in gone.stderr
    blob = BlobProto()
    fill_blob(blob, np.full((1, 3, 4, 6), [[[[7]]]], np.float32))
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    assert "mean 7,7,7" in probability(sqgen)[1]
    (tmp_path / "net").mkdir()
    for name in ("deploy.prototxt", "mean.binaryproto"):
        (tmp_path / name).rename(tmp_path / "net" / name)
    assert "mean 7,7,7" in probability(sqgen, "--model", "net/deploy.prototxt")[1]


def test_a_train_val_is_its_own_transform(tmp_path: Path, sqgen: Run) -> None:
    make(tmp_path)
    text = (
        'layer { name: "d" type: "Data" top: "data" top: "label" transform_param { mean_value: 100'
        " crop_size: 4 scale: 0.5 } data_param { batch_size: 8 } }"
        + NET[NET.index('layer { name: "mean"') :]
        + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }'
    )
    (tmp_path / "tv.prototxt").write_text(text)
    value, said = probability(sqgen, "--model", "tv.prototxt")
    assert value == pytest.approx(sigmoid(0.01 * 0.5 * 200), rel=1e-5)
    assert "resized to 4x4, mean 100, scale 0.5 (as tv.prototxt)" in said
    staged = NET.replace('top: "data"', 'top: "data" include { stage: "deploy" }') + SOFTMAX
    (tmp_path / "all.prototxt").write_text(staged)
    probability(sqgen, "--model", "all.prototxt", "--stage", "deploy")
    command = ("classify", "--model", "all.prototxt", "--weights", "w.caffemodel", "blue.png")
    assert "stages deploy: give --stage NAME" in sqgen(*command).stderr


SOME = ("classify", "--model", "deploy.prototxt", "--weights", "w.caffemodel", "--mean", "0")


def test_folders_and_bad_images(tmp_path: Path, sqgen: Run) -> None:
    make(tmp_path)
    folder = tmp_path / "photos" / "more"
    folder.mkdir(parents=True)
    (tmp_path / "blue.png").rename(folder / "B.PNG")
    (tmp_path / "red.png").rename(tmp_path / "photos" / "z.png")
    (folder / "a.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("none either")
    (folder / ".hidden.png").write_bytes(b"")
    done = sqgen(*SOME, "--top", "1", "photos")
    assert done.returncode == 1
    named = [line for line in done.stdout.splitlines() if line.startswith("photos")]
    assert named == ["photos/z.png", "photos/more/B.PNG"]
    assert done.stderr == (
        "sqgen: photos/more/a.jpg: can't be decoded as an image (8 bytes); replace it\n"
    )
    rows = json.loads(sqgen(*SOME, "--json", "photos", "none.png").stdout)
    assert [row["image"] for row in rows] == [*named, "photos/more/a.jpg", "none.png"]
    assert [sorted(row) for row in rows[1:]] == [["classes", "image"]] + [["error", "image"]] * 2
    bad = sqgen(*SOME, "photos/more/a.jpg", "none.png")
    assert (bad.returncode, bad.stderr.count("\n"), bad.stdout) == (2, 2, "")
    (folder / "c.jpg").write_bytes(damaged_jpeg())
    damaged = sqgen(*SOME, "photos/more/c.jpg")
    assert damaged.stderr.startswith("sqgen: warning: photos/more/c.jpg: a damaged JPEG, decoded")
    assert (damaged.returncode, damaged.stderr.count("\n")) == (0, 1)
    (tmp_path / "empty").mkdir()
    assert "empty: has no images (.bmp, " in sqgen(*SOME, "empty").stderr


def test_many_images_go_through_in_batches(tmp_path: Path, sqgen: Run) -> None:
    """More than a batch, with bad ones among them: each gets its own result."""
    make(tmp_path)
    (tmp_path / "many").mkdir()
    for index in range(70):
        image = np.full((4, 6, 3), (index, 0, 0), np.uint8)
        if index % 9:
            cv2.imwrite(str(tmp_path / "many" / f"{index:02}.png"), image)
        else:
            (tmp_path / "many" / f"{index:02}.png").write_bytes(b"")
    rows = json.loads(sqgen(*SOME, "--json", "many").stdout)
    assert len(rows) == 70
    for index, row in enumerate(rows):
        assert row["image"] == f"many/{index:02}.png"
        assert ("error" in row) == (index % 9 == 0)
        if index % 9:
            scores = {each["class"]: each["probability"] for each in row["classes"]}
            assert scores[0] == pytest.approx(sigmoid(0.01 * index), rel=1e-4)


def test_csv_has_a_row_for_each_image(tmp_path: Path, sqgen: Run) -> None:
    """What JSON has, names that no spreadsheet runs, and without images that are none."""
    make(tmp_path)
    (tmp_path / "many").mkdir()
    for index in range(40):
        image = np.full((4, 6, 3), (index, 0, 0), np.uint8)
        cv2.imwrite(str(tmp_path / "many" / f"={index}\x1b[31m,.png"), image)
    (tmp_path / "many" / "bad.png").write_bytes(b"")
    (tmp_path / "names.txt").write_text('-1+2\n"red", b\n')
    labels = ("--labels", "names.txt")
    done = sqgen(*SOME, *labels, "--csv", "many", "red.png")
    assert done.returncode == 1
    assert "many/bad.png: can't be decoded" in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    plain = json.loads(sqgen(*SOME, *labels, "--json", "many", "red.png").stdout)
    good = [row for row in plain if "classes" in row]
    assert len(rows) == len(good) == 41
    for row, wanted in zip(rows, good, strict=True):
        assert row["image"] == wanted["image"].replace("\x1b", r"\x1b")
        for rank, each in enumerate(wanted["classes"], 1):
            assert int(row[f"class{rank}"]) == each["class"]
            assert row[f"name{rank}"] == ("'-1+2", '"red", b')[each["class"]]
            assert float(row[f"probability{rank}"]) == pytest.approx(each["probability"])
    assert list(rows[0]) == [*("image", "class1", "name1", "probability1"), *list(rows[0])[4:]]
    inside = sqgen(*SOME, "--csv", "--top", "1", "many/=1\x1b[31m,.png")
    assert inside.stdout.splitlines()[0] == "image,class1,name1,probability1"
    both = sqgen(*SOME, "--csv", "--json", "red.png")
    assert (both.returncode, both.stdout) == (2, "")
    assert "--csv and --json: give one" in both.stderr
    assert sqgen(*SOME, "--csv", "many/bad.png").stdout == ""


FIRE = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "s" type: "Convolution" bottom: "data" top: "s" convolution_param {
  num_output: 2 kernel_size: 1 } }
layer { name: "r" type: "ReLU" bottom: "s" top: "s" }
layer { name: "e1" type: "Convolution" bottom: "s" top: "e1" convolution_param {
  num_output: 500 kernel_size: 1 } }
layer { name: "e3" type: "Convolution" bottom: "s" top: "e3" convolution_param {
  num_output: 500 kernel_size: 3 pad: 1 } }
layer { name: "cat" type: "Concat" bottom: "e1" bottom: "e3" top: "cat" }
layer { name: "pool" type: "Pooling" bottom: "cat" top: "pool" pooling_param {
  pool: AVE global_pooling: true } }
"""


@pytest.mark.parametrize(
    ("text", "is_known"),
    [
        (FIRE, True),
        (FIRE.replace("500", "5"), False),  # classes of its own
        (FIRE.replace("kernel_size: 3 pad: 1", "kernel_size: 1"), False),  # another family
    ],
)
def test_imagenet_counts_for_its_nets_alone(
    text: str, is_known: bool, tmp_path: Path, sqgen: Run
) -> None:
    make(tmp_path)
    net = Net(parse_net(text))
    (tmp_path / "fire.prototxt").write_text(text)
    net.save(tmp_path / "fire.caffemodel")
    model = ("classify", "--model", "fire.prototxt", "--weights", "fire.caffemodel")
    done = sqgen(*model, "--json", "blue.png")
    names = {row["class"]: row["name"] for row in json.loads(done.stdout)[0]["classes"]}
    assert (names[0] == "n01440764 tench") == is_known
    assert ("mean 104,117,123, scale 1 (as ImageNet's nets)" in done.stderr) == is_known
    assert ("nothing tells" in done.stderr) != is_known
    if is_known:
        (tmp_path / "own.txt").write_text("\n".join(map(str, range(1000))))
        own = sqgen(*model, "--labels", "own.txt", "--json", "blue.png")
        assert json.loads(own.stdout)[0]["classes"][0]["name"] == "0"


@pytest.mark.process
def test_no_engine_is_one_line(tmp_path: Path) -> None:
    """PyTorch is an extra; without it, the hint says how to get it."""
    code = "import sys; sys.modules['torch'] = None\nfrom sqgen.tools.cli import main\nmain()"
    make(tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "classify", "--model", "deploy.prototxt"),
            *("--weights", "w.caffemodel", "blue.png"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'sqgen[engine]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_real_images(shared: Path, tmp_path: Path, sqgen: Run) -> None:
    """The published net knows a tabby and a hard disc."""
    source = shared / "imagenet_sample"
    (tmp_path / "w.caffemodel").write_bytes(published_weights(shared))
    model = Path(__file__).parent.parent / "models" / "deep-compression" / "deploy.prototxt"
    images = ["n02123045_tabby.JPEG", "n03492542_hard_disc.JPEG"]
    done = sqgen(
        "classify",
        *("--model", str(model), "--weights", "w.caffemodel", "--json"),
        *(str(source / "images" / name) for name in images),
    )
    best = [row["classes"][0]["name"] for row in json.loads(done.stdout)]
    assert best == ["n02123045 tabby", "n03492542 hard disc"]
