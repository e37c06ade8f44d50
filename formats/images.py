"""Decode image files to pixels as Caffe does (src/caffe/util/io.cpp).

IMREAD_UNCHANGED is for an encoded Datum, IMREAD_COLOR and IMREAD_GRAYSCALE for ImageData and for a
net that forces one. A truncated JPEG is an error here: some releases of OpenCV fill its missing
part with gray, and Caffe trains on that.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..extras import required
from ..text import printable
from .codec_messages import catch_messages
from .files import find_files, read_bytes

Pixels = NDArray[np.uint8]
OnDamage = Callable[[str], None]

UNCHANGED, GRAY, COLOR = -1, 0, 1  # cv2.IMREAD_*

# Of image files in folders.
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
IMAGE_LIMIT = 1 << 30  # bytes of an image file
# Of an image: 200 MB in colour, and up to 2 GB for OpenCV to decode 16 bits with alpha, a thread.
PIXEL_LIMIT = 1 << 26

_JPEG, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15: markers of a JPEG's size
_DAMAGE = re.compile(r"^(Corrupt JPEG data|Premature end of JPEG file)[ -~]{,80}", re.MULTILINE)
_PNG, _GIF, _BMP = b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM"


@cache
def opencv() -> Any:
    """Import cv2 and turn off its threads: callers decode images on threads of their own.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    # OpenCV reads its limit when it loads, and compares it with the header of every format.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(PIXEL_LIMIT))
    with required("cv2", "reading images"):
        import cv2
    cv2.setNumThreads(0)
    # `decode` raises for a damaged image; OpenCV need not print.
    logging = getattr(cv2.utils, "logging", None)  # older releases lack it
    if logging is not None:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    return cv2


def find_images(folder: str) -> Iterator[str]:
    """Yield the image files below a folder; see `find_files`.

    Raises:
        FormatError: a folder can't be read.
    """
    return (path for path in find_files(folder) if path.lower().endswith(SUFFIXES))


def read_image(
    path: str | os.PathLike[str], flag: int, where: str = "", on_damage: OnDamage | None = None
) -> tuple[bytes, Pixels]:
    """Read an image file: its bytes, and the pixels that `decode` returns.

    Args:
        path: the file.
        flag: `UNCHANGED`, `GRAY` or `COLOR`.
        where: what names the file, for messages.
        on_damage: see `decode`.

    Raises:
        FormatError: the file can't be read, has more than `IMAGE_LIMIT` bytes, or is no image.
    """
    prefix = f"{where}: " if where else ""
    try:
        data = read_bytes(path, IMAGE_LIMIT, "an image")
    except FormatError as error:
        raise FormatError(f"{prefix}{error}") from None
    return data, decode(data, flag, prefix + printable(os.fspath(path)), on_damage)


def decode(
    data: bytes | memoryview, flag: int, where: str, on_damage: OnDamage | None = None
) -> Pixels:
    """Decode an image file to pixels (height, width, channels), colours in the order BGR.

    Args:
        data: the file's bytes.
        flag: `UNCHANGED`, `GRAY` or `COLOR`.
        where: the file or record, for messages.
        on_damage: called with a line about a JPEG with damaged pixels, which is decoded as far as
            it goes.

    Raises:
        FormatError: the image can't be decoded, is truncated, has more than `PIXEL_LIMIT` pixels,
            or more than 8 bits a channel.
    """
    if size := image_size(data):
        check_size(*size, where)
    if is_truncated_jpeg(data):
        raise FormatError(f"{where}: a truncated JPEG ({len(data):,} bytes); replace it")
    cv2 = opencv()
    image: Pixels | None = None
    messages = ""
    try:
        image, messages = catch_messages(partial(cv2.imdecode, np.frombuffer(data, np.uint8), flag))
    except cv2.error as error:  # of an empty buffer, or one of too many pixels
        if "IO_MAX_IMAGE" in str(error):
            raise _too_large(where, "an image") from None
    if image is None:
        reason = "".join(f"; {printable(line, 80)}" for line in messages.splitlines()[:1])
        raise FormatError(
            f"{where}: can't be decoded as an image ({len(data):,} bytes{reason}); replace it"
        )
    if on_damage is not None and (damage := _DAMAGE.search(messages)):
        on_damage(f"{where}: a damaged JPEG, decoded as far as it goes ({damage.group()})")
    if image.dtype != np.uint8:
        raise FormatError(f"{where}: an image of {image.dtype}; Caffe takes 8 bits a channel")
    return _with_channels(image)


def is_truncated_jpeg(data: bytes | memoryview) -> bool:
    """Check whether bytes are a JPEG that ends within its last scan.

    Within a scan, 0xFF is followed by 0 or a restart marker, never by another marker.
    """
    if data[:2] != _JPEG or data[-2:] == _END:
        return False
    whole = bytes(data)
    return whole.rfind(_END) < whole.rfind(_SCAN)


def image_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return (height, width) from the header of a JPEG, PNG, GIF or BMP; None for anything else."""
    head = bytes(data[:26])
    if head.startswith(_PNG) and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
        return height, width
    if head.startswith(_GIF) and len(head) >= 10:
        width, height = struct.unpack_from("<HH", head, 6)
        return height, width
    if head.startswith(_BMP) and len(head) >= 26:
        width, height = struct.unpack_from("<ii", head, 18)
        return abs(height), abs(width)
    return _jpeg_size(data) if head.startswith(_JPEG) else None


def _jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return (height, width) of a JPEG's frame, the first segment of its kind."""
    at = len(_JPEG)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def check_size(height: int, width: int, where: str) -> None:
    """Check the size of an image before its memory is allocated.

    Raises:
        FormatError: it has more than `PIXEL_LIMIT` pixels.
    """
    if height * width > PIXEL_LIMIT:
        raise _too_large(where, f"{height:,}x{width:,} pixels")


def _too_large(where: str, size: str) -> FormatError:
    limit = f"{PIXEL_LIMIT // 10**6} million"
    return FormatError(f"{where}: {size}, more than the {limit} that sqgen takes; scale it down")


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Resize an image as cv::resize does by default (bilinear)."""
    resized: Pixels = opencv().resize(image, (width, height))
    return _with_channels(resized)


def _with_channels(image: Pixels) -> Pixels:
    """Add the third axis that OpenCV omits for gray images."""
    return image if image.ndim == 3 else image[:, :, np.newaxis]
