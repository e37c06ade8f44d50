"""Inspect an HDF5 file: read every dataset; count its records and odd values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..formats.hdf5_file import NUMBERS, Hdf5File
from ..progress import StartProgress, no_progress
from ..text import number_text, printable, shape_text
from .balance import ClassCount, count_classes

FORMAT = 1
_PART = 1 << 22  # numbers read at a time
_MOST_CLASSES = 1 << 16  # of labels; more numbers are no classes


class DatasetInfo(NamedTuple):
    """A dataset.

    Attributes:
        name: its path in the file, the name of a top where it has no group.
        type: of its numbers, such as `float32`; of what Caffe does not read, the type class.
        shape: the records first; empty where the type is not of numbers.
        minimum, maximum: of the finite numbers; None where there are none.
        not_finite: how many numbers are not.
        classes: of labels, the records of each class; otherwise none.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    minimum: float | None
    maximum: float | None
    not_finite: int
    classes: tuple[ClassCount, ...] = ()


def inspect_hdf5(path: str, progress: StartProgress = no_progress) -> list[DatasetInfo]:
    """Read all datasets of an HDF5 file.

    Raises:
        FormatError: it can't be opened, or is damaged.
    """
    with Hdf5File(path, printable(path)) as file:
        names = list(_dataset_names(file, ""))
        with progress(len(names), "datasets") as advance:
            found = []
            for name in names:
                found.append(_inspect(file, name))
                advance()
    return found


def _dataset_names(file: Hdf5File, group: str) -> Iterator[str]:
    for name in file.names(group or "/"):
        path = f"{group}/{name}" if group else name
        if file.is_group(path):
            yield from _dataset_names(file, path)
        else:
            yield path


def _inspect(file: Hdf5File, name: str) -> DatasetInfo:
    kind = file.type_class(name)
    if kind not in NUMBERS:
        return DatasetInfo(name, f"H5T_{kind}", (), None, None, 0)
    shape = file.shape(name)
    lows, highs, not_finite = [], [], 0
    labels: Counter[float] | None = Counter() if _has_labels(name, shape) else None
    for part in _parts(shape):
        values = file.read(name, part, np.float64)
        if labels is not None:
            numbers, counts = np.unique(values, return_counts=True)
            labels.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
            labels = labels if len(labels) <= _MOST_CLASSES else None
        finite = values[np.isfinite(values)]
        not_finite += values.size - finite.size
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    low, high = min(lows, default=None), max(highs, default=None)
    info = DatasetInfo(name, file.number_type(name), shape, low, high, not_finite)
    if labels is None or not_finite or not all(each >= 0 and each.is_integer() for each in labels):
        return info
    classes = count_classes({int(label): count for label, count in labels.items()})
    return info._replace(classes=tuple(classes))


def _has_labels(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a dataset is by its name and shape one of labels, a number for each record."""
    return name.rpartition("/")[2].startswith("label") and len(shape) > 0 and prod(shape[1:]) == 1


def _parts(shape: tuple[int, ...]) -> Iterator[slice | None]:
    """Yield ranges of records; None for a scalar."""
    if not shape:
        yield None
        return
    step = max(1, _PART // max(1, prod(shape[1:])))
    yield from (slice(start, start + step) for start in range(0, shape[0], step))


def as_json(path: str, datasets: list[DatasetInfo]) -> dict[str, Any]:
    """Return what `--json` prints."""
    found = [
        {**each._asdict(), "classes": [one._asdict() for one in each.classes]} for each in datasets
    ]
    return {"format": FORMAT, "path": path, "datasets": found}


HEADS = ["dataset", "type", "records", "shape", "min", "max", "not finite"]


def info_rows(datasets: list[DatasetInfo]) -> list[list[str]]:
    """Return the rows of the table that `sqgen data info` prints, under `HEADS`."""
    return [
        [
            each.name,
            each.type,
            f"{each.shape[0]:,}" if each.shape else "",
            shape_text(each.shape[1:]) if each.shape else "scalar",
            "" if each.minimum is None else number_text(each.minimum),
            "" if each.maximum is None else number_text(each.maximum),
            f"{each.not_finite:,}" if each.not_finite else "",
        ]
        for each in datasets
    ]
