"""Crop, mirror, mean and scale, against BVLC Caffe's results and the formula.

`data/engine/transform.json` has the output of `caffe test` on nets of one Data or ImageData layer.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from sqgen import counter_rng
from sqgen.engine.loader import Batch, Loader
from sqgen.engine.transform import Image, Transformer, read_mean
from sqgen.errors import FormatError
from sqgen.formats.images import is_truncated_jpeg
from sqgen.formats.schema import BlobProto, TransformationParameter

from .conftest import DATA
from .databases import data_layer, image_file, layer, make_lmdb, opened, pixels

MIRRORED_OF_SEED_5 = [1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1]
RECORDED = json.loads((DATA / "engine" / "transform.json").read_text())


def parameter(text: str) -> Any:
    made = TransformationParameter()
    text_format.Parse(text, made)
    return made


def finished(source: Loader, batch: Batch) -> np.ndarray[Any, Any]:
    """The top as the net sees it, in Caffe's order of operations."""
    if batch.finished:
        return batch.data
    data = batch.data.astype(np.float32)
    if source.mean is not None:
        data -= source.mean[:, None, None]
    return data * np.float32(source.scale)


def ids(cases: list[dict[str, Any]]) -> list[str]:
    return [case["name"] for case in cases]


@pytest.mark.parametrize("case", RECORDED["data"], ids=ids(RECORDED["data"]))
def test_data_as_caffe(tmp_path: Path, case: dict[str, Any]) -> None:
    values = [base64.b64decode(value) for value in case["records"]]
    folder = make_lmdb(tmp_path / "db", values)
    if case["mean"]:
        (tmp_path / "mean.binaryproto").write_bytes(base64.b64decode(case["mean"]))
    one = data_layer(folder, len(values), case["transform"])
    # Which records are mirrored is another draw than Caffe's: all that may come, are looked up.
    found: list[set[bytes]] = [set() for _ in values]
    is_random = "mirror" in case["transform"]
    for seed in range(12 if is_random else 1):
        source = opened(one, "TEST", seed, base=tmp_path)
        batch = source.next()
        source.close()
        assert batch.labels is not None
        assert batch.labels.tolist() == case["label"]
        expected = np.array(case["data"]).reshape(batch.data.shape)
        top = finished(source, batch)
        for number, (ours, caffe) in enumerate(zip(top, expected, strict=True)):
            if np.allclose(ours, caffe, rtol=2e-6, atol=1e-5):  # it prints six digits
                found[number].add(b"equal")
            else:
                np.testing.assert_allclose(ours[:, :, ::-1], caffe, rtol=2e-6, atol=1e-5)
                found[number].add(b"mirrored")
    both = {b"equal", b"mirrored"} if is_random else {b"equal"}
    assert found == [both] * len(values)


@pytest.mark.parametrize("case", RECORDED["images"], ids=ids(RECORDED["images"]))
def test_image_data_as_caffe(tmp_path: Path, case: dict[str, Any]) -> None:
    for name, data in case["files"].items():
        (tmp_path / name).write_bytes(base64.b64decode(data))
    (tmp_path / "list.txt").write_bytes(case["list"].encode())
    one = layer(
        f'type: "ImageData" top: "data" top: "label" transform_param {{ {case["transform"]} }}'
        f' image_data_param {{ source: "list.txt" batch_size: {case["batch"]} {case["param"]} }}'
    )
    source = opened(one, "TEST", base=tmp_path)
    batch = source.next()
    source.close()
    assert batch.labels is not None
    assert batch.labels.tolist() == case["label"]
    expected = np.array(case["data"]).reshape(batch.data.shape)
    np.testing.assert_allclose(finished(source, batch), expected, rtol=2e-6, atol=1e-5)


@given(
    channels=st.integers(1, 6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    crop=st.integers(0, 9),
    planar=st.booleans(),
    floats=st.booleans(),
    means=st.sampled_from(["none", "one", "each", "file"]),
    draw=st.integers(0, 2**64 - 1),
    phase=st.sampled_from(["TRAIN", "TEST"]),
    mirror=st.booleans(),
)
def test_the_formula(
    tmp_path_factory: pytest.TempPathFactory,
    channels: int,
    height: int,
    width: int,
    crop: int,
    planar: bool,
    floats: bool,
    means: str,
    draw: int,
    phase: str,
    mirror: bool,
) -> None:
    crop = min(crop, height, width)
    planes = pixels(crop, channels, height, width).astype(np.float32 if floats else np.uint8)
    mean = np.zeros((channels, height, width), np.float32)
    param = parameter(f"crop_size: {crop} mirror: {str(mirror).lower()} scale: 0.3")
    if means == "one":
        param.mean_value.append(7.25)
        mean += 7.25
    elif means == "each":
        param.mean_value.extend(range(channels))
        mean += np.arange(channels)[:, None, None]
    elif means == "file":
        mean += pixels(99, channels, height, width)
        blob = BlobProto(shape={"dim": [1, channels, height, width]}, data=mean.ravel())
        path = tmp_path_factory.getbasetemp() / "mean"
        path.write_bytes(blob.SerializeToString())
        param.mean_file = str(path)
    transformer = Transformer(param, phase, 1, "net:1")
    lying = planes if planar else np.ascontiguousarray(planes.transpose(1, 2, 0))
    image = Image(lying, planar, 0, "record 0")
    shape = transformer.fit(image)
    assert shape == (channels, crop or height, crop or width)
    out = np.zeros((*shape[1:], channels), np.float32 if transformer.finished else np.uint8)
    assert transformer.finished == (floats or means == "file")
    transformer.apply(image, draw, out)
    top = out.transpose(2, 0, 1).astype(np.float32)
    if not transformer.finished:
        if transformer.mean is not None:
            top -= transformer.mean[:, None, None]
        top = top * np.float32(transformer.scale)
    whole = (planes.astype(np.float32) - mean) * np.float32(0.3)
    corners = [((height - shape[1]) // 2, (width - shape[2]) // 2)]
    if phase == "TRAIN":
        corners = [
            (y, x) for y in range(height - shape[1] + 1) for x in range(width - shape[2] + 1)
        ]
    crops = [whole[:, y : y + shape[1], x : x + shape[2]] for y, x in corners]
    if mirror and draw & 1:
        crops = [one[:, :, ::-1] for one in crops]
    assert any(np.array_equal(one, top) for one in crops)


def where_crops_lie(phase: str, count: int) -> np.ndarray[Any, Any]:
    """(row, column, mirrored) of many records: their pixels tell where they were."""
    transformer = Transformer(parameter("crop_size: 3 mirror: true"), phase, 11, "net:1")
    places = np.arange(7 * 9, dtype=np.uint8).reshape(1, 7, 9)
    image = Image(places, True, 0, "record 0")
    transformer.fit(image)
    out = np.empty((3, 3, 1), np.uint8)
    rows = []
    for draw in transformer.random_bits(range(count)):
        transformer.apply(image, draw, out)
        mirrored = out[0, 0, 0] > out[0, 1, 0]
        row, column = divmod(int(out.min()), 9)
        rows.append((row, column, mirrored))
    return np.array(rows)


def test_draws_cover_all_offsets_evenly() -> None:
    rows = where_crops_lie("TRAIN", 7000)
    counts = np.zeros((5, 7, 2))
    np.add.at(counts, tuple(rows.T), 1)
    expected = 7000 / counts.size
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < 119  # of 69 degrees of freedom: one seed in 5,000 is above


def test_test_phase_crops_the_centre_and_mirrors() -> None:
    rows = where_crops_lie("TEST", 2000)
    assert set(map(tuple, rows[:, :2])) == {(2, 3)}
    assert 900 < rows[:, 2].sum() < 1100


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**60), st.integers(1, 50), st.integers(0, 50))
def test_a_draw_depends_on_its_number_only(seed: int, first: int, count: int, skip: int) -> None:
    stream = counter_rng.key(seed, 1)
    whole = counter_rng.bits(stream, first, skip + count).tolist()
    assert counter_rng.bits(stream, first + skip, count).tolist() == whole[skip:]
    assert sorted(counter_rng.permutation(stream, count).tolist()) == list(range(count))


def test_domains_stay_what_they_are() -> None:
    """Resumed runs draw the numbers of the runs before."""
    assert counter_rng.domain("shuffle") == 0x73687566666C65
    assert counter_rng.domain("skip") == 0x736B6970
    assert counter_rng.domain("transfor") == 0x7472616E73666F72
    with pytest.raises(ValueError, match="longer than 8"):
        counter_rng.domain("transform")


def test_the_draws_stay_what_they_are() -> None:
    """A run of an older release goes on: the numbers of splitmix64 itself, and of our keys."""
    assert counter_rng.bits(0, 0, 2).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert counter_rng.key(1, 2) == counter_rng.key(1 + 2**64, 2)
    assert len({counter_rng.key(a, b) for a in range(50) for b in range(50)}) == 2500
    transformer = Transformer(parameter("mirror: true"), "TRAIN", 5, "net:1")
    assert [draw & 1 for draw in transformer.random_bits(range(16))] == MIRRORED_OF_SEED_5


def fitted(text: str, channels: int = 3, height: int = 6, width: int = 8) -> Transformer:
    transformer = Transformer(parameter(text), "TEST", 1, "net:4")
    transformer.fit(Image(pixels(0, channels, height, width), True, 0, "db: record 0"))
    return transformer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("crop_size: 7", "db: record 0: 6x8 is smaller than crop_size 7 of net:4"),
        ("mean_value: 1 mean_value: 2", "db: record 0: has 3 channels, but net:4 2 values"),
        ('mean_value: 1 mean_file: "m"', "net:4: both mean_file and mean_value"),
        ('mean_file: "/nowhere/m"', "net:4: mean file /nowhere/m: no such file"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(FormatError) as caught:
        fitted(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "image", "said"),
    [
        ("", pixels(1, 3, 6, 7), "is 3x6x7, but the first record 3x6x8; all"),
        ("", pixels(1, 1, 6, 8), "is 1x6x8, but the first record 3x6x8; all"),
        ("crop_size: 2", pixels(1, 1, 9, 9), "is 1x9x9, but the first record 3x2x2 after its crop"),
        ("crop_size: 5", pixels(1, 3, 4, 9), "4x9 is smaller than crop_size 5 of net:4"),
        ("", pixels(1, 3, 6, 8).astype(np.float32), "holds floats, but the first record bytes"),
    ],
)
def test_a_later_record_that_differs(text: str, image: Any, said: str) -> None:
    transformer = fitted(text)
    out = np.empty((*transformer.shape[1:], 3), np.uint8)
    with pytest.raises(FormatError) as caught:
        transformer.apply(Image(image, True, 0, "db: record 8"), 0, out)
    assert str(caught.value).startswith(f"db: record 8: {said}")


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (b"\xff\xff", "not a BlobProto"),
        (BlobProto(), "has 0 elements for shape scalar"),
        (BlobProto(shape={"dim": [3, 6, 8]}, data=[0] * 144), "has 3 6 8"),
        (BlobProto(num=1, channels=3, height=6, width=8, data=[0] * 5), "has 5 elements for"),
        (BlobProto(num=1, channels=-3, height=6, width=8), "for shape 1x-3x6x8"),
        (BlobProto(num=0, channels=3, height=6, width=8), "has 0 3 6 8"),
        (BlobProto(shape={"dim": [1] * 4}, data=[float("nan")]), "values that are nan or inf"),
        (BlobProto(shape={"dim": [1] * 4}, double_data=[1e300]), "values that are nan or inf"),
    ],
)
def test_mean_files_that_are_none(tmp_path: Path, blob: Any, said: str) -> None:
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(blob if isinstance(blob, bytes) else blob.SerializeToString())
    with pytest.raises(FormatError, match=said) as caught:
        read_mean(path, "net:4")
    assert str(caught.value).startswith(f"net:4: mean file {path}: ")


def test_mean_file_of_another_size(tmp_path: Path) -> None:
    blob = BlobProto(num=2, channels=3, height=6, width=7, double_data=range(252))
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(blob.SerializeToString())
    mean = read_mean(path, "net:4")
    assert mean.shape == (6, 7, 3)
    assert mean[0, 1].tolist() == [1, 43, 85]
    with pytest.raises(FormatError, match="record 0: is 3x6x8, but the mean file of net:4 is 3x6x"):
        fitted(f'mean_file: "{path}" crop_size: 3')


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_truncated_jpeg(progressive: int) -> None:
    picture = cv2.GaussianBlur(np.asarray(pixels(1, 3, 40, 60).transpose(1, 2, 0)), (0, 0), 2)
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    whole = bytes(cv2.imencode(".jpg", picture, flags)[1])
    assert not is_truncated_jpeg(whole)
    assert not is_truncated_jpeg(whole + b"\0\0")  # padded
    scan = whole.index(b"\xff\xda")
    assert all(is_truncated_jpeg(whole[:size]) for size in range(scan + 2, len(whole) - 1))
    assert not is_truncated_jpeg(image_file(1))
    assert not is_truncated_jpeg(memoryview(whole))
