"""Where records come from: an LMDB of Datum, or a list of image files.

Both are read from any position of an endless run on: position k is record k of the first pass, and
passes follow each other. What is read is raw; `load` decodes it, in any thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ..counter_rng import bits, key, permutation
from ..errors import FormatError
from ..formats.datum import Record, Value, raw_values, read_datum
from ..formats.files import read_bytes
from ..formats.images import COLOR, GRAY, UNCHANGED, decode, resize
from ..formats.list_file import LIST_LIMIT, parse_list
from ..formats.lmdb_reader import open_lmdb
from ..text import printable
from .transform import Image

Item = TypeVar("Item")

IMAGE_LIMIT = 1 << 30  # bytes of an image file
_SHUFFLE, _SKIP = 0x73687566666C65, 0x736B6970  # keep these draws apart from others of the seed


class RecordReader(ABC, Generic[Item]):
    """A set of records, read in passes.

    Attributes:
        count: records in a pass.
        spread: whether decoding is worth threads.
        warnings: what Caffe would log as an error, and goes on.
    """

    count: int
    spread: bool
    warnings: list[str]

    @abstractmethod
    def items(self, position: int, once: bool) -> Iterator[Item]:
        """The records from `position` on: for ever, or to the end of the first pass if `once`."""

    @abstractmethod
    def load(self, item: Item) -> Image:
        """Decode a record.

        Raises:
            FormatError: it is damaged; names file and record.
        """

    def close(self) -> None:
        """Let go of files; no item may be used after it."""


class LmdbRecordReader(RecordReader[tuple[int, Value]]):
    """The records of a Data layer (src/caffe/layers/data_layer.cpp)."""

    def __init__(
        self,
        path: Path,
        param: Any,
        where: str,
        on_restart: Callable[[], None] | None,
    ) -> None:
        """Open the LMDB.

        Args:
            path: its folder.
            param: the TransformationParameter: force_color and force_gray decide on decoding.
            where: the layer's place.
            on_restart: called when the last record of a pass was read, in the reading thread.

        Raises:
            FormatError: it can't be opened, or the first record is not a Datum.
        """
        try:
            self._file = open_lmdb(path)
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from None
        self.count = self._file.entries
        self._name = f"{where}: {printable(str(path))}"
        self._on_restart = on_restart
        self._color, self._gray = bool(param.force_color), bool(param.force_gray)
        self.warnings = []
        try:
            first = self._record(next(self.items(0, once=True)))
        except BaseException:
            self.close()
            raise
        self.spread = first.encoded
        if not first.encoded and (self._color or self._gray):
            self.warnings.append("force_color and force_gray only for encoded datum")

    def items(self, position: int, once: bool) -> Iterator[tuple[int, Value]]:
        """(number in the pass, value), the value a view into the file."""
        start = position if once else position % self.count
        while True:
            for number, value in enumerate(self._file.values(start, copy=False), start):
                if number == self.count - 1 and not once and self._on_restart:
                    self._on_restart()
                yield number, value
            if once:
                return
            start = 0

    def _place(self, number: int) -> str:
        return f"{self._name}: record {number} (from 0)"

    def _record(self, item: tuple[int, Value]) -> Record:
        return read_datum(item[1], self._place(item[0]))

    def load(self, item: tuple[int, Value]) -> Image:
        """Decode, or see the bytes as an image without copying them."""
        name = self._place(item[0])
        record = read_datum(item[1], name)
        if record.encoded:
            pixels: np.ndarray[Any, Any] = decode(record.data, self._flag(), name)
            return Image(pixels, False, record.label, name)
        return Image(raw_values(record, name), True, record.label, name)

    def _flag(self) -> int:
        if self._color and self._gray:
            raise FormatError(f"{self._name}: force_color and force_gray at once; keep one")
        return COLOR if self._color else GRAY if self._gray else UNCHANGED

    def close(self) -> None:
        """Unmap the LMDB."""
        self._file.close()


class ImageListReader(RecordReader[int]):
    """The files of an ImageData layer (src/caffe/layers/image_data_layer.cpp).

    Caffe shuffles what it shuffled before; here each pass has an order of its own, which depends
    on the seed and the number of the pass.
    """

    spread = True

    def __init__(self, param: Any, base: Path, seed: int, where: str) -> None:
        """Read the list.

        Args:
            param: the ImageDataParameter.
            base: the folder that relative names start from.
            seed: of the order and the skip.
            where: the layer's place.

        Raises:
            FormatError: the list can't be read, or a parameter that Caffe refuses.
        """
        self._height, self._width = int(param.new_height), int(param.new_width)
        if (self._height == 0) != (self._width == 0):
            raise FormatError(f"{where}: set new_height and new_width both, or neither")
        self._flag = COLOR if param.is_color else GRAY
        self._base, self._root = base, param.root_folder
        self._source = base / param.source
        self._name = f"{where}: {printable(str(self._source))}"
        try:
            text = read_bytes(self._source, LIST_LIMIT, "a list of images")
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from None
        self._lines = _lines(text, self._name)
        self.count = len(self._lines)
        self._shuffled = key(seed, _SHUFFLE) if param.shuffle else None
        self._skip = 0
        if param.rand_skip:
            self._skip = int(bits(key(seed, _SKIP), 0, 1)[0]) % param.rand_skip
        if self._skip >= self.count:
            raise FormatError(f"{self._name}: {self.count} images, too few to skip {self._skip}")
        self.warnings = []

    def items(self, position: int, once: bool) -> Iterator[int]:
        """Numbers of lines. `once` skips none, so that every image comes."""
        turn, number = divmod(position + (0 if once else self._skip), self.count)
        while not (once and turn):
            yield from self._order(turn)[number:]
            turn, number = turn + 1, 0

    def _order(self, turn: int) -> list[int] | range:
        if self._shuffled is None:
            return range(self.count)
        order: list[int] = permutation(key(self._shuffled, turn), self.count).tolist()
        return order

    def load(self, item: int) -> Image:
        """Read a file, decode it and bring it to new_height and new_width."""
        file, label = self._lines[item]
        path = self._base / (self._root + file)
        name = f"{self._name}: line {item + 1}"
        try:
            data = read_bytes(path, IMAGE_LIMIT, "an image")
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from None
        pixels = decode(data, self._flag, f"{name}: {printable(str(path))}")
        if self._height:
            pixels = resize(pixels, self._height, self._width)
        return Image(pixels, False, label, name)


def _lines(text: bytes, name: str) -> list[tuple[str, int]]:
    """The files and labels of a list.

    Raises:
        FormatError: no lines, or a line without a file.
    """
    lines = parse_list(text, name)
    for number, line in enumerate(lines, 1):
        if not line.file.strip():
            raise FormatError(f"{name}: line {number}: no file in it; a line is: file label")
    return [(line.file, line.label) for line in lines]
