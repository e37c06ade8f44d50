"""From an image file to the value of a record, byte for byte as convert_imageset makes it.

Source: tools/convert_imageset.cpp and ReadImageToDatum in src/caffe/util/io.cpp. Two things are
stricter: a JPEG that is cut off is refused, which Caffe takes with a gray rest, and so is an image
that can't be encoded, which ends Caffe.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError
from ..formats.files import read_bytes
from ..formats.images import COLOR, GRAY, Pixels, decode, opencv, resize
from ..formats.schema import Datum
from ..text import printable

IMAGE_LIMIT = 1 << 30  # bytes of an image file

Shape = tuple[int, int, int]


class Made(NamedTuple):
    """A record's value, and the (channels, height, width) that was read for it."""

    value: bytes
    shape: Shape


class Recipe(NamedTuple):
    """What is made of each image.

    Attributes:
        resize: (height, width), or None to keep each image's own.
        encoded: "jpg" or "png" to keep image files, or None for raw pixels.
        gray: one channel instead of three.
    """

    resize: tuple[int, int] | None = None
    encoded: str | None = None
    gray: bool = False

    def make(self, path: str, label: int) -> Made:
        """The record of an image file.

        Raises:
            FormatError: it can't be read, decoded or encoded; names the file.
        """
        shown = printable(path)
        data = read_bytes(Path(path), IMAGE_LIMIT, "an image")
        pixels = decode(data, GRAY if self.gray else COLOR, shown)
        if self.encoded and not self.resize and _is_called(path, self.encoded):
            # Caffe keeps the file as it is, and so its colours, --gray or not.
            return Made(_encoded(data, label), _shape(pixels))
        if self.resize:
            pixels = resize(pixels, *self.resize)
        if self.encoded:
            return Made(_encoded(_encode(pixels, self.encoded, shown), label), _shape(pixels))
        return Made(raw_datum(pixels, label), _shape(pixels))


def raw_datum(pixels: Pixels, label: int) -> bytes:
    """A Datum of (height, width, channels), whose channels it holds one after the other."""
    channels, height, width = _shape(pixels)
    # Faster than a transposed copy.
    data = b"".join(plane.tobytes() for plane in opencv().split(pixels))
    datum = Datum(channels=channels, height=height, width=width, data=data, label=label)
    datum.encoded = False  # written, not only meant
    return bytes(datum.SerializeToString())


def _encoded(data: bytes, label: int) -> bytes:
    return bytes(Datum(data=data, label=label, encoded=True).SerializeToString())


def _encode(pixels: Pixels, kind: str, shown: str) -> bytes:
    cv2 = opencv()
    with suppress(cv2.error):
        done, data = cv2.imencode(f".{kind}", pixels)
        if done:
            return bytes(data)
    raise FormatError(f"{shown}: {pixels.shape[1]}x{pixels.shape[0]}, too large for a {kind}")


def _shape(pixels: Pixels) -> Shape:
    height, width, channels = pixels.shape
    return channels, height, width


def _is_called(path: str, kind: str) -> bool:
    """Whether a file is of that kind by its name (matchExt of io.cpp)."""
    ending = path.rpartition(".")[2].lower()
    return ending == kind or (kind == "jpg" and ending == "jpeg")
