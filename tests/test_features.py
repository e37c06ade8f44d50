"""`sqgen features`: a blob of a net for each image."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import sqgen as package
from sqgen.engine.features import cut_behind
from sqgen.formats.images import COLOR, find_images, read_image
from sqgen.formats.lmdb_reader import open_lmdb

from .conftest import Run, published_weights
from .databases import damaged_jpeg, encoded, image_file, make_lmdb

DESIGN = package.Design(version="1.1", size=32, fire_modules=2, classes=5)
MODEL = ("--net", "deploy.prototxt", "--weights", "w.caffemodel")
COUNT = 35  # images: more than a batch
MEAN = np.array([104, 117, 123], np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A net of 32x32 with its weights, images of 40x36, and an LMDB of the same."""
    (tmp_path / "deploy.prototxt").write_text(package.build(DESIGN, "deploy"))
    package.Net(tmp_path / "deploy.prototxt", seed=1).save(tmp_path / "w.caffemodel")
    (tmp_path / "images").mkdir()
    for number in range(COUNT):
        (tmp_path / "images" / f"{number:02}.png").write_bytes(image_file(number, 36, 40))
    make_lmdb(tmp_path / "lmdb", (encoded(number, 36, 40) for number in range(COUNT)))
    return tmp_path


def expected(folder: Path, name: str, resized: bool) -> np.ndarray:
    """The blob by `sqgen.Net` on each image's centre."""
    text = (folder / "deploy.prototxt").read_text()
    net = package.Net(cut_behind(package.parse_net(text), name)[0], folder / "w.caffemodel")
    rows = []
    for path in find_images(str(folder / "images")):
        pixels = read_image(path, COLOR)[1]
        image = cv2.resize(pixels, (36, 36)) if resized else pixels
        top, left = ((size - 32) // 2 for size in image.shape[:2])
        crop = image[top : top + 32, left : left + 32].astype(np.float32) - MEAN
        rows.append(net.forward(crop.transpose(2, 0, 1)[None])[name])
    return np.concatenate(rows)


def test_a_folder_gives_a_row_an_image(folder: Path, sqgen: Run) -> None:
    done = sqgen(
        "features", *MODEL, "--layer", "fire3/concat", "--resize", "36x36", "images", "-o", "f.npz"
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "f.npz") as file:
        assert file["names"].tolist() == [f"images/{number:02}.png" for number in range(COUNT)]
        assert file["features"].dtype == np.float32
        wanted = expected(folder, "fire3/concat", resized=True)
        np.testing.assert_allclose(file["features"], wanted, rtol=1e-4, atol=1e-3)
        assert "labels" not in file
    assert "sqgen: images are resized to 36x36, its centre 32x32 taken" in done.stderr


def test_an_lmdb_gives_keys_and_labels(folder: Path, sqgen: Run) -> None:
    done = sqgen("features", *MODEL, "--layer", "fire3/concat", "--pool", "lmdb", "-o", "f.npz")
    assert done.returncode == 0, done.stderr
    with np.load(folder / "f.npz") as file:
        assert file["names"][34] == "00000034_file34.png"
        assert file["labels"].tolist() == list(range(COUNT))
        wanted = expected(folder, "fire3/concat", resized=False).mean((2, 3))
        np.testing.assert_allclose(file["features"], wanted, rtol=1e-4, atol=1e-3)


def test_layers_behind_need_no_weights(folder: Path, sqgen: Run) -> None:
    text = (folder / "deploy.prototxt").read_text().replace('"conv4_5"', '"other"')
    (folder / "deploy.prototxt").write_text(text)
    done = sqgen("features", *MODEL, "--layer", "pool1", "images/01.png", "-o", "f.npz")
    assert done.returncode == 0, done.stderr
    done = sqgen("features", *MODEL, "--layer", "other", "images/01.png", "-o", "g.npz")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no weights for layer 'other' (1 in all)" in done.stderr


def test_a_blob_has_the_value_after_layers_in_place(folder: Path, sqgen: Run) -> None:
    done = sqgen("features", *MODEL, "--layer", "conv1", "images/01.png", "-o", "f.npz")
    assert done.returncode == 0, done.stderr
    with np.load(folder / "f.npz") as file:
        assert file["features"].shape == (1, 64, 32, 32)
        assert file["features"].min() == 0


def test_bad_images_are_listed_and_left_out(folder: Path, sqgen: Run) -> None:
    (folder / "images" / "02.png").write_bytes(b"no image")
    (folder / "images" / "03.jpg").write_bytes(damaged_jpeg())
    done = sqgen("features", *MODEL, "--layer", "pool1", "--pool", "images", "-o", "f.npz")
    assert done.returncode == 1
    assert done.stderr.count("images/02.png: can't be decoded as an image") == 1
    assert done.stderr.count("images/03.jpg: a damaged JPEG") == 1
    with np.load(folder / "f.npz") as file:
        assert len(file["names"]) == len(file["features"]) == COUNT
        assert "images/02.png" not in file["names"]
    done = sqgen("features", *MODEL, "--layer", "pool1", "images/02.png", "-o", "g.npz")
    assert done.returncode == 2
    assert not (folder / "g.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "fire3/concta", "images"), "no layer 'fire3/concta'; did you mean 'fire3/"),
        (("--layer", "pool1", "images", "lmdb"), "lmdb is an LMDB: give LMDBs alone, or images"),
        (("--layer", "pool1", "nothing"), "nothing: no such file"),
        (("--layer", "pool1", "--like", "x", "--scale", "2", "images"), "--like: tells mean and"),
    ],
)
def test_misuse_is_one_line(
    folder: Path, sqgen: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = sqgen("features", *MODEL, *arguments, "-o", "f.npz")
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert not (folder / "f.npz").exists()


def test_a_file_is_not_replaced(folder: Path, sqgen: Run) -> None:
    (folder / "f.npz").write_text("mine")
    done = sqgen("features", *MODEL, "--layer", "pool1", "images", "-o", "f.npz")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert (folder / "f.npz").read_text() == "mine"


def test_published_weights(shared: Path, tmp_path: Path, sqgen: Run) -> None:
    """Records of an LMDB are those of files resized to 256x256, but for JPEG."""
    text = package.build(package.preset("deep-compression"), "deploy")
    (tmp_path / "deploy.prototxt").write_text(text)
    (tmp_path / "w.caffemodel").write_bytes(published_weights(shared))
    sample = shared / "imagenet_sample"
    with open_lmdb(sample / "enc_lmdb") as lmdb:
        make_lmdb(tmp_path / "enc_lmdb", islice(map(bytes, lmdb.values()), 20))
    first = (sample / "val.txt").read_text().splitlines()[0].split()
    done = sqgen(
        "features", *MODEL, "--layer", "fire9/concat", "--pool",
        str(sample / "images" / first[0]), "-o", "f.npz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = sqgen(
        "features", *MODEL, "--layer", "fire9/concat", "--pool",
        "enc_lmdb", "-o", "l.npz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "f.npz") as files, np.load(tmp_path / "l.npz") as records:
        assert records["features"].shape == (20, 512)
        assert records["labels"][0] == int(first[1])
        file, record = files["features"][0], records["features"][0]
        assert np.linalg.norm(file - record) < 0.1 * np.linalg.norm(file)
