"""Readers of records: an LMDB of Datum, or a list of image files.

Each starts at any position of an endless run: position k is record k of the first pass, and passes
follow each other. `raw_records` yields undecoded records; `decode` may run in any thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ..counter_rng import bits, domain, key, permutation
from ..errors import FormatError
from ..formats.datum import Value, raw_values, read_datum
from ..formats.files import read_bytes
from ..formats.images import COLOR, GRAY, UNCHANGED, check_size, read_image, resize
from ..formats.images import decode as decode_image
from ..formats.list_file import LIST_LIMIT, parse_list
from ..formats.lmdb_reader import open_lmdb
from ..text import escaped, printable
from .transform import Image

if TYPE_CHECKING:
    from ..formats.schema import ImageDataParameter, TransformationParameter

Raw = TypeVar("Raw")

_SHUFFLE, _SKIP = domain("shuffle"), domain("skip")


class RecordReader(ABC, Generic[Raw]):
    """A set of records, read in passes.

    Attributes:
        count: records in a pass.
        compressed: whether records are compressed images, so that decoding is worth threads.
        warnings: messages that Caffe logs as errors but continues after.
    """

    count: int
    compressed: bool
    warnings: list[str]

    def __init__(self, on_damage: Callable[[str], None] | None) -> None:
        self._on_damage = on_damage
        self._damaged: set[str] = set()

    def _report_damage(self, message: str) -> None:
        if self._on_damage is not None and message not in self._damaged:
            self._damaged.add(message)
            self._on_damage(message)

    @abstractmethod
    def raw_records(self, position: int, once: bool) -> Iterator[Raw]:
        """Yield records from `position` on, endlessly; if `once`, to the end of the first pass."""

    @abstractmethod
    def decode(self, raw: Raw) -> Image:
        """Decode a record.

        Raises:
            FormatError: it is damaged; names file and record.
        """

    @abstractmethod
    def keys(self, once: bool) -> Iterator[str]:
        """Yield the printable name of each record of the first pass, as `raw_records` orders it."""

    def close(self) -> None:
        """Close the files."""


class LmdbRecordReader(RecordReader[tuple[int, Value]]):
    """The records of a Data layer (src/caffe/layers/data_layer.cpp)."""

    def __init__(
        self,
        path: Path,
        param: TransformationParameter,
        where: str,
        on_restart: Callable[[], None] | None,
        on_damage: Callable[[str], None] | None,
    ) -> None:
        """Open the LMDB.

        Args:
            path: its folder.
            param: the TransformationParameter: force_color and force_gray select the decoding.
            where: file:line and name of the layer, for messages.
            on_restart: called by the reading thread at the last record of each pass.
            on_damage: called once with a line about each damaged image, by any thread.

        Raises:
            FormatError: the LMDB can't be opened, or its first record is not a Datum.
        """
        super().__init__(on_damage)
        try:
            self._file = open_lmdb(path)
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from None
        self.count = self._file.entries
        self._name = f"{where}: {printable(str(path))}"
        self._on_restart, self._passes = on_restart, 0  # of which the end was reported
        self._color, self._gray = param.force_color, param.force_gray
        self.warnings = []
        try:
            first = read_datum(next(self._file.values()), self._place(0))
        except BaseException:
            self.close()
            raise
        self.compressed = first.encoded
        if not first.encoded and (self._color or self._gray):
            self.warnings.append("force_color and force_gray only for encoded datum")

    def raw_records(self, position: int, once: bool) -> Iterator[tuple[int, Value]]:
        """Yield (number in the pass, value)."""
        epoch, start = (0, position) if once else divmod(position, self.count)
        while True:
            for number, value in enumerate(self._file.values(start), start):
                if number == self.count - 1 and not once:
                    self._report_pass(epoch + 1)
                yield number, value
            if once:
                return
            epoch, start = epoch + 1, 0

    def _report_pass(self, passes: int) -> None:
        """Report the end of a pass; once, whichever of several iterators gets there first."""
        if self._on_restart is not None and passes > self._passes:
            self._on_restart()
        self._passes = max(self._passes, passes)

    def keys(self, once: bool) -> Iterator[str]:
        """Yield the keys in their order."""
        return (escaped(key.decode("utf-8", "surrogateescape")) for key in self._file.keys())  # noqa: SIM118 - no mapping

    def _place(self, number: int) -> str:
        return f"{self._name}: record {number} (from 0)"

    def decode(self, raw: tuple[int, Value]) -> Image:
        """Decode a compressed image, or view raw pixels without copying them."""
        name = self._place(raw[0])
        record = read_datum(raw[1], name)
        if record.encoded:
            pixels: np.ndarray[Any, Any] = decode_image(
                record.data, self._flag(), name, self._report_damage
            )
            return Image(pixels, False, record.label, name)
        return Image(raw_values(record, name), True, record.label, name)

    def _flag(self) -> int:
        if self._color and self._gray:
            raise FormatError(f"{self._name}: force_color and force_gray at once; keep one")
        return COLOR if self._color else GRAY if self._gray else UNCHANGED

    def close(self) -> None:
        """Close the LMDB."""
        self._file.close()


class ImageListReader(RecordReader[int]):
    """The files of an ImageData layer (src/caffe/layers/image_data_layer.cpp).

    Unlike Caffe, which shuffles the previous order again, each pass has an order that depends only
    on the seed and the number of the pass.
    """

    compressed = True

    def __init__(
        self,
        param: ImageDataParameter,
        base: Path,
        seed: int,
        where: str,
        on_damage: Callable[[str], None] | None,
    ) -> None:
        """Read the list.

        Args:
            param: the ImageDataParameter.
            base: the folder of relative names.
            seed: of shuffle and rand_skip.
            where: file:line and name of the layer, for messages.
            on_damage: called once with a line about each damaged image, by any thread.

        Raises:
            FormatError: an unreadable list, or a parameter that Caffe refuses.
        """
        super().__init__(on_damage)
        self._height, self._width = param.new_height, param.new_width
        if (self._height == 0) != (self._width == 0):
            raise FormatError(f"{where}: set new_height and new_width both, or neither")
        check_size(self._height, self._width, f"{where}: new_height and new_width")
        self._flag = COLOR if param.is_color else GRAY
        self._base, self._root = base, param.root_folder
        self._source = base / param.source
        self._name = f"{where}: {printable(str(self._source))}"
        try:
            text = read_bytes(self._source, LIST_LIMIT, "a list of images")
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from None
        self._lines = _parse_lines(text, self._name)
        self.count = len(self._lines)
        self._shuffle_key = key(seed, _SHUFFLE) if param.shuffle else None
        self._skip = 0
        if param.rand_skip:
            self._skip = int(bits(key(seed, _SKIP), 0, 1)[0]) % param.rand_skip
        if self._skip >= self.count:
            raise FormatError(f"{self._name}: {self.count} images, too few to skip {self._skip}")
        self.warnings = []

    def raw_records(self, position: int, once: bool) -> Iterator[int]:
        """Yield line numbers from 0; `once` ignores rand_skip, so that it covers every image."""
        epoch, number = divmod(position + (0 if once else self._skip), self.count)
        while not (once and epoch):
            yield from self._order(epoch)[number:]
            epoch, number = epoch + 1, 0

    def keys(self, once: bool) -> Iterator[str]:
        """Yield the files as the list names them."""
        numbers = islice(self.raw_records(0, once), self.count)
        return (escaped(self._lines[number][0]) for number in numbers)

    def _order(self, epoch: int) -> list[int] | range:
        if self._shuffle_key is None:
            return range(self.count)
        order: list[int] = permutation(key(self._shuffle_key, epoch), self.count).tolist()
        return order

    def decode(self, raw: int) -> Image:
        """Read the image of a line, decode it and resize it to new_height and new_width."""
        file, label = self._lines[raw]
        path = self._base / (self._root + file)
        name = f"{self._name}: line {raw + 1}"
        _, pixels = read_image(path, self._flag, name, self._report_damage)
        if self._height:
            pixels = resize(pixels, self._height, self._width)
        return Image(pixels, False, label, name)


def _parse_lines(text: bytes, name: str) -> list[tuple[str, int]]:
    """Return the files and labels of a list.

    Raises:
        FormatError: an empty list, or a line without a file.
    """
    lines = parse_list(text, name)
    for number, line in enumerate(lines, 1):
        if not line.file.strip():
            raise FormatError(f"{name}: line {number}: no file in it; a line is: file label")
    return [(line.file, line.label) for line in lines]
