"""Files of predictions: round trips, what a stranger may have put into one, names of images."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sqgen.errors import FormatError, OutputError
from sqgen.formats.npz import decode_npz, encode_npz
from sqgen.formats.predictions import (
    Predictions,
    decode_predictions,
    encode_predictions,
    read_predictions,
    write_predictions,
)

from .test_evaluation import predictions_of, random_scores

SUFFIXES = (".csv", ".npz", ".CSV")


def some(images: int = 9, seed: int = 1) -> Predictions:
    return predictions_of(*random_scores(seed, images))


def assert_same(a: Predictions, b: Predictions) -> None:
    assert a.keys == b.keys
    for field in fields(Predictions)[1:]:
        mine, other = getattr(a, field.name), getattr(b, field.name)
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_round_trip_changes_no_bit(suffix: str, tmp_path: Path) -> None:
    written = some(300)
    path = tmp_path / f"p{suffix}"
    write_predictions(path, written)
    assert_same(read_predictions(path), written)
    assert encode_predictions(read_predictions(path), suffix) == path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_predictions(path, written)
    write_predictions(path, some(3), force=True)
    assert len(read_predictions(path)) == 3


def test_arrays_that_contradict_each_other_are_not_written(tmp_path: Path) -> None:
    found = some()
    wrong = replace(found, ranks=found.ranks + 1)
    with pytest.raises(FormatError, match="predictions: record 1 has a rank that is not"):
        write_predictions(tmp_path / "p.csv", wrong)
    assert not list(tmp_path.iterdir())


def test_others_read_the_files(tmp_path: Path) -> None:
    """With csv and numpy.load alone."""
    written = some()
    rows = list(csv.DictReader(io.StringIO(encode_predictions(written, ".csv").decode())))
    assert [row["key"] for row in rows] == list(written.keys)
    assert [int(row["class5"]) for row in rows] == written.classes[:, 4].tolist()
    confidences = np.array([float(row["probability1"]) for row in rows], np.float32)
    assert confidences.tolist() == written.confidences.tolist()
    path = tmp_path / "p.npz"
    write_predictions(path, written)
    with np.load(path) as arrays:
        assert [key.decode() for key in arrays["key"]] == list(written.keys)
        np.testing.assert_array_equal(arrays["probability"], written.probabilities)


@pytest.mark.parametrize("suffix", SUFFIXES)
@example(keys=["0", "0", "0", "0", "=", "'="])
@given(
    keys=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
        min_size=1,
        max_size=5,
    )
)
def test_any_key_is_printable_afterwards(suffix: str, keys: list[str]) -> None:
    keys = [f"{mark}{key}" for mark, key in zip("=+-@'", keys, strict=False)]
    written = replace(some(len(keys)), keys=tuple(keys))
    data = encode_predictions(written, suffix)
    found = decode_predictions(data, "p")
    assert all(map(str.isprintable, found.keys))
    assert found.keys == tuple(
        key if key.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in key)
        for key in keys
    )
    if suffix != ".npz":
        cells = [row[0] for row in csv.reader(io.StringIO(data.decode(), newline=""))]
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


HEAD = "key,label,rank,loss,class1,probability1,class2,probability2\n"
GOOD = "a,1,1,0.1,1,0.9,0,0.1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no file of predictions; line 1 of one is key,label,rank"),
        ("a,b\n1,2\n", "is no file of predictions"),
        (HEAD.replace("class2", "class3") + GOOD, "is no file of predictions"),
        (HEAD, "holds no predictions"),
        (HEAD + GOOD + "b,1,1,0.1,1,0.9\n", "p:3: 6 cells, and 8 in line 1"),
        (HEAD + GOOD + "b,x,1,0.1,1,0.9,0,0.1\n", "p:3: 'x' is no label"),
        (HEAD + "b, 1,1,0.1,1,0.9,0,0.1\n", "p:2: ' 1' is no label"),
        (HEAD + "b,1_0,1,0.1,1,0.9,0,0.1\n", "'1_0' is no label"),
        (HEAD + "b,1,1,nan,1,0.9,0,0.1\n", "'nan' is no loss"),
        (HEAD + "b,1,1,1e99,1,0.9,0,0.1\n", "p:2: a loss that is no number from 0"),
        (HEAD + "b,1,1,-1,1,0.9,0,0.1\n", "'-1' is no loss"),
        (HEAD + "b,1,1,0.1,1,1.9,0,0.1\n", "a probability that is none"),
        (HEAD + "b,1,1,0.1,1,0.1,0,0.9\n", "probabilities that are not in order"),
        (HEAD + "b,1,1,0.1,1,0.9,1,0.1\n", "a class twice"),
        (HEAD + "b,1,2,0.1,1,0.9,0,0.1\n", "a rank that is not the label's place"),
        (HEAD + "b,7,1,0.1,1,0.9,0,0.1\n", "a rank that is not the label's place"),
        (HEAD + "b,1,3,0.1,1,0.9,0,0.1\n", "a rank that is not the label's place"),
        (HEAD + "b,1,0,0.1,1,0.9,0,0.1\n", "a rank below 1"),
        (HEAD + "b,4294967297,1,0.1,1,0.9,0,0.1\n", "a negative label"),
        (HEAD + ",1,1,0.1,1,0.9,0,0.1\n", "no key"),
        (HEAD + '"b,1,1,0.1,1,0.9,0,0.1\n', "is no CSV in UTF-8"),
        (HEAD + "b\udcff,1,1,0.1,1,0.9,0,0.1\n", "is no CSV in UTF-8"),
        (HEAD + f'"{"9" * 200_000}",1,1,0.1,1,0.9,0,0.1\n', "is no CSV in UTF-8: field larger"),
        ("<!doctype html>", "is a web page"),
    ],
)
def test_a_bad_csv_is_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError) as caught:
        read_predictions(path)
    message = str(caught.value).replace(str(tmp_path) + "/", "")
    assert words in message
    assert message.isprintable()


def test_spreadsheets_change_nothing() -> None:
    """A mark of UTF-8, ends of lines and blank lines at the end."""
    text = "\ufeff" + (HEAD + GOOD).replace("\n", "\r\n") + "\r\n"
    assert decode_predictions(text.encode(), "p").keys == ("a",)


def arrays_of(found: Predictions) -> dict[str, Any]:
    return dict(decode_npz(encode_predictions(found, ".npz"), 1 << 20))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": np.array(2, np.int32)}, "its format is 2, not 1"),
        ({"label": None}, "its arrays are"),
        ({"more": np.zeros(3)}, "its arrays are"),
        ({"label": np.zeros(9)}, "array label is float64 of 1 axes"),
        ({"label": np.zeros((9, 1), int)}, "array label is int64 of 2 axes"),
        ({"label": np.zeros(8, int)}, "its arrays differ in length"),
        ({"label": np.full(9, 1 << 40)}, "record 1 has a negative label"),
        ({"key": np.array(["x"] * 9)}, "array key is <U1"),
        ({"key": np.array([b"\xff"] * 9)}, "is no file of predictions"),
        ({"key": np.array([b"x"] * 8 + [b""])}, "record 9 has no key"),
        ({"loss": np.full(9, np.nan, np.float32)}, "record 1 has a loss that is no number"),
        ({"loss": np.full(9, 1e99)}, "record 1 has a loss that is no number"),
        ({"probability": np.zeros((9, 4), np.float32)}, "differ in shape"),
        ({"probability": np.full((9, 5), np.nan, np.float32)}, "a probability that is none"),
        ({"class": np.zeros((9, 0), int), "probability": np.zeros((9, 0))}, "it is empty"),
    ],
)
def test_a_bad_npz_is_refused_in_one_line(change: dict[str, Any], words: str) -> None:
    arrays = {k: v for k, v in (arrays_of(some()) | change).items() if v is not None}
    with pytest.raises(FormatError) as caught:
        decode_predictions(encode_npz(arrays), "p")
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def zipped(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return data.getvalue()


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()


OBJECTS = io.BytesIO()
np.save(OBJECTS, np.array([print], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04", "a damaged zip"),
        (zipped(a=b"nothing"), "array a: no .npy"),
        (zipped(a=b"\0" * (3 << 20)), "more than 1 MiB"),
        (zipped(a=OBJECTS.getvalue()), "holds Python objects, which could run code"),
        (
            zipped(a=header("{'descr': '<f4', 'fortran_order': False, 'shape': (9,)}")),
            "has 0 bytes",
        ),
        (
            zipped(a=header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}")),
            "has 0 bytes",
        ),
        (
            zipped(a=header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**30},)}}")),
            "has 0 bytes",
        ),
        (zipped(a=header("(" * 9000)), "array a: no .npy"),
        (zipped(a=header("__import__('os').abort()")), "array a: no .npy"),
        (zipped(a=header("{}", b"\x09\x00")), "array a: no .npy (version 9.0)"),
    ],
)
def test_a_hostile_zip_runs_nothing(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        decode_npz(data, 1 << 20)


@given(st.data())
def test_damage_is_one_error(data: st.DataObject) -> None:
    """Each byte of a small file, changed or cut off: the same predictions, or one line."""
    suffix = data.draw(st.sampled_from(SUFFIXES))
    whole = bytearray(encode_predictions(some(3), suffix))
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[at] = data.draw(st.integers(0, 255))
    else:
        del whole[at:]
    try:
        found = decode_predictions(bytes(whole), "p")
    except FormatError as error:
        assert str(error).isprintable()
    else:
        assert len(found) <= 3


def test_equal_arrays_give_equal_bytes() -> None:
    """As the digest in a baseline's name needs it."""
    assert encode_predictions(some(), ".npz") == encode_predictions(some(), ".npz")
    order = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(decode_npz(encode_npz({"a": order}), 1 << 20)["a"], order)
