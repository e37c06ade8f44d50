"""Encode an image file as a record's value, byte for byte as convert_imageset does.

Source: tools/convert_imageset.cpp and ReadImageToDatum in src/caffe/util/io.cpp. Two differences: a
truncated JPEG is an error, which Caffe fills with gray; so is an image that can't be encoded, with
which Caffe aborts.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError
from ..formats.images import COLOR, GRAY, Pixels, opencv, read_image, resize
from ..formats.schema import Datum
from ..text import printable

Shape = tuple[int, int, int]


class EncodedRecord(NamedTuple):
    """A record's value, the (channels, height, width) of its image, and a line on its damage."""

    value: bytes
    shape: Shape
    damage: str = ""


class RecordEncoder(NamedTuple):
    """Encodes images as records.

    Attributes:
        resize: (height, width), or None to keep each image's size.
        encoded: "jpg" or "png" to store image files, or None for raw pixels.
        gray: store one channel instead of three.
    """

    resize: tuple[int, int] | None = None
    encoded: str | None = None
    gray: bool = False

    def encode(self, path: str, label: int) -> EncodedRecord:
        """Encode an image file.

        Raises:
            FormatError: the file can't be read, decoded or encoded.
        """
        damage: list[str] = []
        flag = GRAY if self.gray else COLOR
        data, pixels = read_image(Path(path), flag, on_damage=damage.append)
        if self.encoded and not self.resize and _has_suffix(path, self.encoded):
            # Caffe stores the file unchanged, in colour even with --gray.
            value = _encoded(data, label)
        else:
            if self.resize:
                pixels = resize(pixels, *self.resize)
            if self.encoded:
                value = _encoded(_encode(pixels, self.encoded, printable(path)), label)
            else:
                value = raw_datum(pixels, label)
        return EncodedRecord(value, _shape(pixels), "".join(damage))


def raw_datum(pixels: Pixels, label: int) -> bytes:
    """Serialize pixels (height, width, channels) as a Datum (channels, height, width)."""
    channels, height, width = _shape(pixels)
    # Faster than a transposed copy.
    data = b"".join(plane.tobytes() for plane in opencv().split(pixels))
    datum = Datum(channels=channels, height=height, width=width, data=data, label=label)
    datum.encoded = False  # Caffe writes the default
    return bytes(datum.SerializeToString())


def _encoded(data: bytes, label: int) -> bytes:
    return bytes(Datum(data=data, label=label, encoded=True).SerializeToString())


def _encode(pixels: Pixels, kind: str, shown: str) -> bytes:
    cv2 = opencv()
    with suppress(cv2.error):
        is_encoded, data = cv2.imencode(f".{kind}", pixels)
        if is_encoded:
            return bytes(data)
    raise FormatError(f"{shown}: {pixels.shape[1]}x{pixels.shape[0]}, too large for {kind}")


def _shape(pixels: Pixels) -> Shape:
    height, width, channels = pixels.shape
    return channels, height, width


def _has_suffix(path: str, kind: str) -> bool:
    """Check a file's suffix as matchExt in io.cpp does."""
    ending = path.rpartition(".")[2].lower()
    return ending == kind or (kind == "jpg" and ending == "jpeg")
