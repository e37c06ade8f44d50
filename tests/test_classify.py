"""`sqgen.Net` on arrays, and `sqgen classify` on image files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import sqgen
from sqgen.formats.caffemodel import fill_blob
from sqgen.formats.schema import BlobProto

from .conftest import Run, published_weights

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
        (("blue.png", "--weights", "labels.txt"), "labels.txt: is not a .caffemodel"),
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


def test_preprocessing_is_told_and_comes_from_the_training_net(sqgen: Run, shared: Path) -> None:
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
    assert "resized to 32x32, mean 104,117,123, scale 1; --like TRAIN_VAL tells it" in told
    count, told = right("--like", str(case / "tv.prototxt"))
    assert count == 6
    assert told == "sqgen: images were resized to 32x32, mean 77.6, scale 0.0078125\n"
    assert right("--mean", "78", "--scale", "0.0078125") == (6, "")


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
        *("--labels", str(shared / "facts" / "imagenet_labels.txt")),
        *(str(source / "images" / name) for name in images),
    )
    best = [row["classes"][0]["name"] for row in json.loads(done.stdout)]
    assert best == ["n02123045 tabby", "n03492542 hard disc"]
