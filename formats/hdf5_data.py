"""The data of an HDF5Data layer (src/caffe/layers/hdf5_data_layer.cpp).

`source` is a text file with names of HDF5 files; each has a dataset for every top, called like the
top, whose first axis counts the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..text import printable, shape_text
from .files import read_bytes
from .hdf5_file import Hdf5File, is_hdf5
from .list_file import LIST_LIMIT
from .schema import LayerParameter

MAX_ELEMENTS = (1 << 31) - 1  # of a blob, which holds a file's dataset

Shape = tuple[int, ...]
Floats = NDArray[np.float32]


class Hdf5Data(NamedTuple):
    """The files of an HDF5Data layer.

    Attributes:
        tops: names of the datasets.
        files: the HDF5 files, in the order of the list.
        records: how many each has.
        shapes: of a record of each top.
        type_classes: of the datasets, such as `FLOAT`, each once, in the order read.
    """

    tops: tuple[str, ...]
    files: tuple[Path, ...]
    records: tuple[int, ...]
    shapes: tuple[Shape, ...]
    type_classes: tuple[str, ...]

    def read(self, file: int, records: slice | None = None) -> list[Floats]:
        """Return records of a file, or all: for each top an array (records, ...).

        Raises:
            FormatError: the file can't be read, or another has taken its place.
        """
        path = self.files[file]
        with Hdf5File(path, printable(str(path))) as opened:
            if _inspect_file(opened, self.tops) != (self.records[file], self.shapes):
                raise FormatError(f"{opened.shown}: changed while it was in use")
            return [opened.read(top, records) for top in self.tops]


def open_hdf5_data(layer: LayerParameter, base: Path) -> Hdf5Data:
    """Read the list of an HDF5Data layer, and the shapes in its files.

    Args:
        layer: the LayerParameter.
        base: the folder of relative paths, those in the list too.

    Raises:
        FormatError: a file can't be read, lacks a dataset, or does not fit the others.
    """
    if layer.HasField("transform_param"):
        raise FormatError("HDF5Data does not transform data; remove transform_param")
    files = _read_list(base / layer.hdf5_data_param.source, base)
    tops = tuple(layer.top)
    records, classes = [], dict[str, None]()
    expected: tuple[Shape, ...] | None = None
    for path in files:
        with Hdf5File(path, printable(str(path))) as file:
            count, shapes = _inspect_file(file, tops)
            classes |= dict.fromkeys(map(file.type_class, tops))
        if expected not in (None, shapes):
            raise FormatError(
                f"{printable(str(path))}: records of {_shown(tops, shapes)}, but the files before"
                f" it have {_shown(tops, expected or ())}"
            )
        expected = shapes
        records.append(count)
    return Hdf5Data(tops, files, tuple(records), expected or (), tuple(classes))


def _read_list(path: Path, base: Path) -> tuple[Path, ...]:
    """Return the files of a list, whose names blanks separate, as in Caffe."""
    shown = printable(str(path))
    text = read_bytes(path, LIST_LIMIT, "a list of HDF5 files")
    if is_hdf5(text):
        raise FormatError(
            f"{shown}: is an HDF5 file; source names a text file with the names of such files"
        )
    names = [name.decode("utf-8", "surrogateescape") for name in text.split()]
    if not names:
        raise FormatError(f"{shown}: Must have at least 1 HDF5 filename listed in it")
    return tuple(base / name for name in names)


def _inspect_file(file: Hdf5File, tops: Sequence[str]) -> tuple[int, tuple[Shape, ...]]:
    """Return the number of records of a file, and the shape of a record of each top."""
    shapes = [file.shape(top) for top in tops]
    for top, shape in zip(tops, shapes, strict=True):
        where = f"{file.shown}: dataset {printable(top)}"
        if not shape or not shape[0]:
            raise FormatError(f"{where}: has no records")
        if prod(shape) > MAX_ELEMENTS:
            raise FormatError(f"{where}: blob size exceeds INT_MAX; split the file")
        if shape[0] != shapes[0][0]:
            raise FormatError(
                f"{where}: has {shape[0]} records, and {printable(tops[0])} {shapes[0][0]}"
            )
    return shapes[0][0], tuple(shape[1:] for shape in shapes)


def _shown(tops: Sequence[str], shapes: Sequence[Shape]) -> str:
    pairs = zip(tops, shapes, strict=False)
    return ", ".join(f"{printable(top)} {shape_text(shape)}" for top, shape in pairs)
