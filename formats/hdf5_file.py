"""Read and write HDF5 files of the datasets that Caffe takes (src/caffe/util/hdf5.cpp)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from math import prod
from typing import Any

import numpy as np

from ..errors import FormatError, SqgenError
from ..extras import required
from ..text import printable
from .files import unpacked_limit

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_AXES = 32  # kMaxBlobAxes (include/caffe/blob.hpp)
# By number (H5T_class_t); Caffe takes the first two.
_TYPE_CLASSES = (
    "INTEGER FLOAT TIME STRING BITFIELD OPAQUE COMPOUND REFERENCE ENUM VLEN ARRAY COMPLEX".split()
)
NUMBERS = ("INTEGER", "FLOAT")
_MAX_COMPRESSION = 1100  # deflate reaches 1,032 times, LZF and szip less


def hdf5_package() -> Any:
    """Import h5py, which is an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    with required("h5py", "HDF5"):
        import h5py
    return h5py


def is_hdf5(data: bytes) -> bool:
    """Check for the signature, at the start or behind a user block of 512, 1,024, ... bytes."""
    offset = 0
    while offset < len(data):
        if data.startswith(SIGNATURE, offset):
            return True
        offset = max(512, 2 * offset)
    return False


def is_hdf5_file(path: str) -> bool:
    """Check whether a file can be read and is HDF5."""
    with suppress(OSError, ValueError), open(path, "rb") as file:
        return is_hdf5(file.read(1 << 16))
    return False


class Hdf5File:
    """An HDF5 file open for reading, also a context manager.

    Every method raises FormatError where the file is damaged. A name is a path in the file, such as
    `data/conv1`. One of bytes is whole: what it links to in other files is not read.

    Args:
        source: its path, or its bytes.
        shown: its name in messages.

    Raises:
        FormatError: it can't be opened, or is no HDF5.
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes, shown: str) -> None:
        self.shown = shown
        self._is_whole = isinstance(source, bytes)
        self._may_read = unpacked_limit(len(source)) if isinstance(source, bytes) else None
        h5py = hdf5_package()
        with self._guarded():
            self._file = h5py.File(BytesIO(source) if isinstance(source, bytes) else source, "r")

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with suppress(Exception):  # damage; nothing was written
            self._file.close()

    def names(self, group: str = "/") -> list[str]:
        """Return the names in a group, sorted.

        Raises:
            FormatError: one is not UTF-8.
        """
        with self._guarded(group):
            names = list(self._file[group])
        if not all(isinstance(name, str) for name in names):  # h5py returns bytes
            raise FormatError(f"{self.shown}: a name in {printable(group)} is not UTF-8")
        return sorted(names)

    def attribute(self, name: str, group: str = "/") -> list[str] | None:
        """Return the strings of a group's attribute; None where there is none."""
        self._check_links(group)
        with self._guarded(group):
            value = self._file[group].attrs.get(name)
            if value is None:
                return None
            strings = np.asarray(value).reshape(-1).tolist()
            return [each.decode() if isinstance(each, bytes) else str(each) for each in strings]

    def is_group(self, name: str) -> bool:
        """Return whether there is a group of this name."""
        return self._kind(name) is hdf5_package().Group

    def is_dataset(self, name: str) -> bool:
        """Return whether there is a dataset of this name."""
        return self._kind(name) is hdf5_package().Dataset

    def _kind(self, name: str) -> Any:
        self._check_links(name)
        with self._guarded(name):
            return self._file.get(name, getclass=True)

    def _check_links(self, name: str) -> None:
        """Refuse a path through a link, which may lead to any file that can be read."""
        if not self._is_whole:
            return
        path = ""
        for part in filter(None, name.split("/")):
            path += f"/{part}"
            with self._guarded(name):
                link = self._file.get(path, getlink=True)
            if link is not None and not isinstance(link, hdf5_package().HardLink):
                where = f"{self.shown}: {printable(path)}"
                raise FormatError(f"{where} is a link, which is not followed")

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a dataset of numbers.

        Raises:
            FormatError: there is no such dataset, or not one that Caffe reads.
        """
        return tuple(map(int, self._dataset(name).shape))

    def type_class(self, name: str) -> str:
        """Return the type class of a dataset, such as `FLOAT`; Caffe reads those of `NUMBERS`.

        Raises:
            FormatError: there is no such dataset.
        """
        if not self.is_dataset(name):
            raise FormatError(f"{self.shown}: Failed to find HDF5 dataset {printable(name)}")
        with self._guarded(name):
            number: int = self._file[name].id.get_type().get_class()
            return _TYPE_CLASSES[number]

    def number_type(self, name: str) -> str:
        """Return the type of a dataset's numbers, such as `float32`."""
        return str(self._dataset(name).dtype.newbyteorder("="))

    def is_double(self, name: str) -> bool:
        """Return whether a dataset has floats of more than 4 bytes."""
        dtype: np.dtype[Any] = self._dataset(name).dtype
        return dtype.kind == "f" and dtype.itemsize > 4

    def read(
        self, name: str, rows: slice | None = None, dtype: type[np.number[Any]] = np.float32
    ) -> np.ndarray:
        """Read a dataset of numbers, converted to `dtype` by HDF5 itself, as for Caffe.

        Args:
            name: the dataset.
            rows: of its first axis; None reads all.
            dtype: of the result.
        """
        dataset = self._dataset(name)
        if self._may_read is not None:
            self._may_read -= prod(dataset.shape) * np.dtype(dtype).itemsize
            if self._may_read < 0:
                raise FormatError(f"{self.shown}: unpacks to far more than weights do; refused")
        with self._guarded(name):
            return np.asarray(dataset.astype(dtype)[() if rows is None else rows])

    def read_integer(self, name: str) -> int:
        """Read a dataset of one integer (hdf5_load_int)."""
        values = self.read(name, dtype=np.int32)
        if values.size != 1:
            raise FormatError(f"{self._place(name)} has {values.size} numbers, not one")
        return int(values.reshape(-1)[0])

    def read_string(self, name: str) -> str:
        """Read a dataset of one string (hdf5_load_string)."""
        with self._guarded(name):
            return str(self._file[name].asstr("utf-8")[()])

    def _dataset(self, name: str) -> Any:
        """Return a dataset of numbers that are in the file, or in others that it names."""
        kind = self.type_class(name)
        if kind not in NUMBERS:
            raise FormatError(f"{self._place(name)}: Unsupported datatype class: H5T_{kind}")
        with self._guarded(name):
            dataset = self._file[name]
            shape = dataset.shape
            elsewhere = bool(dataset.is_virtual or dataset.external)
            stored = dataset.id.get_storage_size()
            packed = dataset.id.get_create_plist().get_nfilters() > 0
            element = dataset.dtype.itemsize
        if shape is None or len(shape) > MAX_AXES:
            raise FormatError(f"{self._place(name)} is empty, or of more than {MAX_AXES} axes")
        # What was never written would be read as zeros, and in any size.
        limit = stored * (_MAX_COMPRESSION if packed else 1)
        missing = self._is_whole if elsewhere else prod(shape) * element > limit
        if missing:
            raise FormatError(f"{self._place(name)} is not wholly in the file; make it again")
        return dataset

    def _place(self, name: str) -> str:
        return f"{self.shown}: dataset {printable(name)}"

    @contextmanager
    def _guarded(self, name: str = "") -> Iterator[None]:
        """Turn what h5py raises of damage, which is nearly any exception, into a FormatError."""
        try:
            yield
        except SqgenError:
            raise
        except MemoryError:
            raise FormatError(f"{self._place(name)} does not fit into memory") from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno:
                reason = os.strerror(error.errno).lower()  # HDF5's own text is of many lines
                raise FormatError(f"{self.shown}: {reason}; check the name") from None
            what = f"damaged at {printable(name)}" if name else "no HDF5 file, or damaged"
            raise FormatError(f"{self.shown}: {what}; make or fetch it again") from None


def write_hdf5(fill: Callable[[Any], None]) -> bytes:
    """Return the bytes of a new HDF5 file.

    `fill` writes it through an `h5py.File`. The oldest format is used, which every Caffe reads.
    """
    buffer = BytesIO()
    with hdf5_package().File(buffer, "w", libver="earliest") as file:
        fill(file)
    return buffer.getvalue()


def add_string(group: Any, name: str, value: str) -> None:
    """Write a string as H5LTmake_dataset_string does, with the null that Caffe needs."""
    h5py = hdf5_package()
    data = value.encode("utf-8", "surrogateescape")
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(data) + 1)
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    # As h5py itself does, so that equal contents are equal bytes.
    options.set_obj_track_times(False)
    dataset = h5py.h5d.create(group.id, name.encode(), kind, space, options)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(data, f"S{len(data) + 1}"), mtype=kind)
