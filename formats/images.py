"""Decode image files to pixels as Caffe does (src/caffe/util/io.cpp).

IMREAD_UNCHANGED is for an encoded Datum, IMREAD_COLOR and IMREAD_GRAYSCALE for ImageData and for a
net that forces one. A truncated JPEG is an error here: some releases of OpenCV fill its missing
part with gray, and Caffe trains on that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..extras import required
from ..text import printable
from .files import error_reason, read_bytes

Pixels = NDArray[np.uint8]

UNCHANGED, GRAY, COLOR = -1, 0, 1  # cv2.IMREAD_*

# Of image files in folders.
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
IMAGE_LIMIT = 1 << 30  # bytes of an image file

_JPEG, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


@cache
def opencv() -> Any:
    """Import cv2 and turn off its threads: callers decode images on threads of their own.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    with required("cv2", "reading images"):
        import cv2
    cv2.setNumThreads(0)
    # `decode` raises for a damaged image; OpenCV need not print.
    logging = getattr(cv2.utils, "logging", None)  # older releases lack it
    if logging is not None:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    return cv2


def find_images(folder: str) -> Iterator[str]:
    """Yield the image files below a folder, sorted; names that begin with a dot are skipped.

    Raises:
        FormatError: a folder can't be read.
    """

    def refuse(error: OSError) -> None:
        name = printable(str(error.filename))
        raise FormatError(f"{name}: {error_reason(error)}; check who may read it") from None

    for above, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.join(above, name)  # noqa: PTH118 - as the folder was typed


def read_image(path: str | os.PathLike[str], flag: int, where: str = "") -> tuple[bytes, Pixels]:
    """Read an image file: its bytes, and the pixels that `decode` returns.

    Args:
        path: the file.
        flag: `UNCHANGED`, `GRAY` or `COLOR`.
        where: what names the file, for messages.

    Raises:
        FormatError: the file can't be read, has more than `IMAGE_LIMIT` bytes, or is no image.
    """
    prefix = f"{where}: " if where else ""
    try:
        data = read_bytes(path, IMAGE_LIMIT, "an image")
    except FormatError as error:
        raise FormatError(f"{prefix}{error}") from None
    return data, decode(data, flag, prefix + printable(os.fspath(path)))


def decode(data: bytes | memoryview, flag: int, where: str) -> Pixels:
    """Decode an image file to pixels (height, width, channels), colours in the order BGR.

    Args:
        data: the file's bytes.
        flag: `UNCHANGED`, `GRAY` or `COLOR`.
        where: the file or record, for messages.

    Raises:
        FormatError: the image can't be decoded, is truncated, or has more than 8 bits a channel.
    """
    if is_truncated_jpeg(data):
        raise FormatError(f"{where}: a truncated JPEG ({len(data):,} bytes); replace it")
    cv2 = opencv()
    image: Pixels | None = None
    with suppress(cv2.error):  # of an empty buffer, or one of too many pixels
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if image is None:
        raise FormatError(
            f"{where}: can't be decoded as an image ({len(data):,} bytes); replace it"
        )
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


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Resize an image as cv::resize does by default (bilinear)."""
    resized: Pixels = opencv().resize(image, (width, height))
    return _with_channels(resized)


def _with_channels(image: Pixels) -> Pixels:
    """Add the third axis that OpenCV omits for gray images."""
    return image if image.ndim == 3 else image[:, :, np.newaxis]
