"""Predictions of a test: what a net said of each image. A CSV or an .npz, by the suffix.

A CSV has a row for each image: `key,label,rank,loss,class1,probability1,class2,probability2,...`.
An .npz has the arrays `format` (1), `key` (UTF-8), `label`, `rank`, `loss` (N each), `class` and
`probability` (N, K).
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..text import csv_cell, csv_name, escaped, printable
from .files import display_name, read_bytes, write_files
from .npz import MAGIC, decode_npz, encode_npz

FORMAT = 1  # of the .npz
LIMIT = 1 << 30  # bytes of a file, and of the arrays in it
SUFFIXES = (".csv", ".npz")
COLUMNS = ("key", "label", "rank", "loss")
_KIND = "a file of predictions"
_PREFIX = len(COLUMNS)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,9}")
_FLOAT = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?(e[+-]?[0-9]{1,3})?")
_MAX_INTEGER = (1 << 31) - 1

Integers = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of N images, the K most probable classes of each.

    Among equal scores the label comes last, as Caffe's Accuracy counts it: the label is among the
    first k classes exactly where its rank is at most k.

    Attributes:
        keys: (N) names of the images: keys of an LMDB, lines of a list, rows of HDF5 files.
        labels: (N,) int32.
        ranks: (N,) int32, of the label among all classes, from 1.
        losses: (N,) float32, -log of the label's probability, in nats.
        classes: (N, K) int32, the most probable first.
        probabilities: (N, K) float32, of these classes.
    """

    keys: tuple[str, ...]
    labels: Integers
    ranks: Integers
    losses: Floats
    classes: Integers
    probabilities: Floats

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable class of each image is its label (N,)."""
        return np.equal(self.ranks, 1)

    @property
    def predicted(self) -> Integers:
        """The most probable class of each image (N,)."""
        return self.classes[:, 0]

    @property
    def confidences(self) -> Floats:
        """The probability of the most probable class of each image (N,)."""
        return self.probabilities[:, 0]

    @staticmethod
    def join(parts: Sequence[Predictions]) -> Predictions:
        """Return the predictions of several parts, at least one, in their order."""
        arrays: dict[str, Any] = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Predictions)
            if field.name != "keys"
        }
        return Predictions(tuple(key for part in parts for key in part.keys), **arrays)

    def first_classes(self, count: int) -> Predictions:
        """Return the predictions with `count` classes an image at most."""
        return replace(
            self,
            classes=self.classes[:, :count],
            probabilities=self.probabilities[:, :count],
        )


class _RowError(ValueError):
    """A row, from 0, that is no prediction."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def _validate(found: Predictions) -> None:
    """Check that rows agree in themselves.

    Raises:
        _RowError: the first that does not.
    """
    order = np.arange(1, found.classes.shape[1] + 1)
    is_label = found.classes == found.labels[:, None]
    by_class = np.sort(found.classes, axis=1)
    probabilities = found.probabilities
    with np.errstate(invalid="ignore"):
        checks = (
            ([not key for key in found.keys], "no key"),
            (found.labels < 0, "a negative label"),
            (found.classes.min(1) < 0, "a negative class"),
            (found.ranks < 1, "a rank below 1"),
            (~(found.losses >= 0) | ~np.isfinite(found.losses), "a loss that is no number from 0"),
            (
                ~((probabilities >= 0) & (probabilities <= 1)).all(1),
                "a probability that is none",
            ),
            ((np.diff(probabilities) > 0).any(1), "probabilities that are not in order"),
            ((np.diff(by_class) == 0).any(1), "a class twice"),
            (
                (is_label != (order == found.ranks[:, None])).any(1),
                "a rank that is not the label's place among the classes",
            ),
        )
    wrong = [(int(np.argmax(rows)), message) for rows, message in checks if np.any(rows)]
    if wrong:
        raise _RowError(*min(wrong, key=lambda row: row[0]))


def check_suffix(path: str | os.PathLike[str], where: str = "") -> None:
    """Check that a file of predictions can have this name.

    Raises:
        FormatError: its suffix is neither .csv nor .npz; `where` begins the message.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        name = printable(os.fspath(path))
        raise FormatError(f"{where}{name}: predictions are written as .csv or .npz; name it so")


def encode_predictions(predictions: Predictions, suffix: str) -> bytes:
    """Return predictions as the bytes of a .csv or an .npz.

    Raises:
        FormatError: their arrays contradict each other.
    """
    try:
        _validate(predictions)
    except _RowError as error:
        raise FormatError(f"predictions: record {error.row + 1} has {error}") from None
    if suffix.lower() == ".csv":
        return _encode_csv(predictions)
    return encode_npz(
        {
            "format": np.array(FORMAT, np.int32),
            "key": np.array([escaped(key).encode() for key in predictions.keys]),
            "label": predictions.labels,
            "rank": predictions.ranks,
            "loss": predictions.losses,
            "class": predictions.classes,
            "probability": predictions.probabilities,
        }
    )


def write_predictions(
    path: str | os.PathLike[str], predictions: Predictions, force: bool = False
) -> None:
    """Write predictions as the suffix of `path` says, whole or not at all.

    Raises:
        FormatError: another suffix than .csv and .npz, or arrays that contradict each other.
        OutputError: the file can't be written, or exists and `force` is not set.
    """
    check_suffix(path)
    write_files({Path(path): encode_predictions(predictions, Path(path).suffix)}, force)


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read predictions, whatever the file's name; `-` is standard input.

    Raises:
        FormatError: the file can't be read, or holds no valid predictions.
    """
    return decode_predictions(read_bytes(path, LIMIT, _KIND), display_name(path))


def decode_predictions(data: bytes, shown: str) -> Predictions:
    """Return the predictions in the bytes of a .csv or an .npz.

    Args:
        data: the bytes.
        shown: the name of their file, for messages.

    Raises:
        FormatError: they are no valid predictions.
    """
    if not data.startswith(MAGIC):
        return _decode_csv(data, shown)
    try:
        found = _from_arrays(decode_npz(data, LIMIT))
        _validate(found)
    except _RowError as error:
        raise FormatError(f"{shown}: record {error.row + 1} has {error}") from None
    except ValueError as error:
        raise FormatError(f"{shown}: is no {_KIND[2:]}: {printable(str(error))}") from None
    return found


def _from_arrays(arrays: dict[str, NDArray[Any]]) -> Predictions:
    expected = {"format": 0, "key": 1, "label": 1, "rank": 1, "loss": 1, "class": 2}
    expected["probability"] = 2
    missing = [name for name in expected if name not in arrays]
    if missing or len(arrays) > len(expected):
        raise ValueError(f"its arrays are {', '.join(arrays) or 'none'}")
    kinds = {"key": "S", "loss": "f", "probability": "f"}
    for name, axes in expected.items():
        array = arrays[name]
        if array.ndim != axes or array.dtype.kind != kinds.get(name, "i"):
            raise ValueError(f"array {name} is {array.dtype} of {array.ndim} axes")
    if arrays["format"] != FORMAT:
        raise ValueError(f"its format is {arrays['format']}, not {FORMAT}")
    rows = len(arrays["key"])
    shape = arrays["class"].shape
    if not rows or not shape[1]:
        raise ValueError("it is empty")
    if any(len(arrays[name]) != rows for name in expected if name != "format"):
        raise ValueError("its arrays differ in length")
    if arrays["probability"].shape != shape:
        raise ValueError("class and probability differ in shape")
    keys = tuple(escaped(key.decode()) for key in arrays["key"].tolist())
    integers = [_to_int32(arrays[name]) for name in ("label", "rank", "class")]
    losses, probabilities = (_to_float32(arrays[name]) for name in ("loss", "probability"))
    return Predictions(keys, integers[0], integers[1], losses, integers[2], probabilities)


def _to_int32(values: NDArray[Any]) -> Integers:
    """Return integers as int32; what does not fit becomes -1, which `_validate` refuses."""
    return np.where((values > _MAX_INTEGER) | (values < 0), -1, values).astype(np.int32)


def _to_float32(values: NDArray[Any]) -> Floats:
    """Return floats as float32; what does not fit becomes inf, which `_validate` refuses."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _encode_csv(predictions: Predictions) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_header(predictions.classes.shape[1]))
    columns = zip(
        (csv_cell(escaped(key)) for key in predictions.keys),
        predictions.labels.tolist(),
        predictions.ranks.tolist(),
        predictions.losses.tolist(),
        predictions.classes.tolist(),
        predictions.probabilities.tolist(),
        strict=True,
    )
    for key, label, rank, loss, classes, probabilities in columns:
        pairs = zip(classes, probabilities, strict=True)
        cells = [cell for number, value in pairs for cell in (number, f"{value:.9g}")]
        writer.writerow([key, label, rank, f"{loss:.9g}", *cells])
    return text.getvalue().encode()


def _header(count: int) -> list[str]:
    pairs = ([f"class{k}", f"probability{k}"] for k in range(1, count + 1))
    return [*COLUMNS, *(name for pair in pairs for name in pair)]


def _decode_csv(data: bytes, shown: str) -> Predictions:
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FormatError(f"{shown}: is no CSV in UTF-8: {printable(str(error))}") from None
    head = rows[0][1] if rows else []
    count = (len(head) - _PREFIX) // 2
    if count < 1 or head != _header(count):
        wanted = ",".join(_header(1))
        raise FormatError(f"{shown}: is no {_KIND[2:]}; line 1 of one is {wanted},...")
    lines = [line for line, _ in rows[1:]]
    if not lines:
        raise FormatError(f"{shown}: holds no predictions, only line 1")
    for line, row in rows[1:]:
        if len(row) != len(head):
            raise FormatError(f"{shown}:{line}: {len(row)} cells, and {len(head)} in line 1")
    try:
        found = _from_columns(list(zip(*(row for _, row in rows[1:]), strict=True)), head)
        _validate(found)
    except _RowError as error:
        raise FormatError(f"{shown}:{lines[error.row]}: {error}") from None
    return found


def _from_columns(columns: list[tuple[str, ...]], head: Sequence[str]) -> Predictions:
    keys = tuple(escaped(csv_name(cell)) for cell in columns[0])
    numbers = [
        _parse(column, name, _FLOAT if name.startswith(("loss", "prob")) else _INTEGER)
        for column, name in zip(columns[1:], head[1:], strict=True)
    ]
    labels, ranks, losses, *pairs = numbers
    classes, probabilities = np.stack(pairs[::2], 1), np.stack(pairs[1::2], 1)
    return Predictions(keys, labels, ranks, losses, classes, probabilities)


def _parse(cells: Sequence[str], name: str, number: re.Pattern[str]) -> NDArray[Any]:
    """Return the numbers of a column."""
    row = next((row for row, cell in enumerate(cells) if not number.fullmatch(cell)), None)
    if row is not None:
        raise _RowError(row, f"'{printable(cells[row], 40)}' is no {name}")
    if number is _FLOAT:
        return _to_float32(np.array(list(map(float, cells))))
    return _to_int32(np.array(list(map(int, cells)), np.int64))
