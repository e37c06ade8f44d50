"""Image files into pixels, decoded as Caffe decodes them.

The flags are Caffe's (src/caffe/util/io.cpp): IMREAD_UNCHANGED for an encoded Datum, colour or gray
where the net asks for it and for ImageData. One thing is stricter: of a JPEG that is cut off,
some releases of OpenCV make an image whose rest is gray, and Caffe trains on that; here it is an
error.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from ..extras import required
from .files import read_bytes

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

UNCHANGED, GRAY, COLOR = -1, 0, 1  # cv2.IMREAD_*

_JPEG, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


@cache
def opencv() -> Any:
    """The cv2 module, without threads of its own: images are spread over ours.

    Raises:
        MissingExtraError: it is not installed.
    """
    with required("cv2", "reading images"):
        import cv2
    cv2.setNumThreads(0)
    # What it would print of a damaged image, an error of ours says.
    logging = getattr(cv2.utils, "logging", None)  # not in every release
    if logging is not None:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    return cv2


def decode(data: Any, flag: int, where: str) -> Pixels:
    """The pixels (height, width, channels) of an image file; colours are in the order BGR.

    Args:
        data: the file's bytes, or a view of them.
        flag: `UNCHANGED`, `GRAY` or `COLOR`.
        where: what is decoded, for messages.

    Raises:
        FormatError: it can't be decoded, is cut off, or has more than 8 bits a channel.
    """
    if cut_off(data):
        raise FormatError(f"{where}: a JPEG that is cut off ({len(data):,} bytes); replace it")
    cv2 = opencv()
    image: Pixels | None = None
    with suppress(cv2.error):  # of an empty buffer, or one of too many pixels
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if image is None:
        raise FormatError(
            f"{where}: no image that can be decoded ({len(data):,} bytes); replace it"
        )
    if image.dtype != np.uint8:
        raise FormatError(f"{where}: an image of {image.dtype}; Caffe takes 8 bits a channel")
    return _with_channels(image)


def cut_off(data: Any) -> bool:
    """Whether a JPEG ends within its last scan.

    In a scan a byte 0xFF is followed by 0 or a restart mark: no other marker can be part of it.
    """
    if data[:2] != _JPEG or data[-2:] == _END:
        return False
    whole = bytes(data)
    return whole.rfind(_END) < whole.rfind(_SCAN)


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """An image in another size, as cv::resize makes it by default (bilinear)."""
    made: Pixels = opencv().resize(image, (width, height))
    return _with_channels(made)


def _with_channels(image: Pixels) -> Pixels:
    """OpenCV gives gray images two dimensions."""
    return image if image.ndim == 3 else image[:, :, np.newaxis]


def read_whole(path: Path, limit: int, what: str) -> bytes:
    """The bytes of a file that may be large, at most `limit`.

    `read_bytes` sets its limit's bytes aside before it reads; here they are the file's own.

    Raises:
        FormatError: as `read_bytes`.
    """
    with suppress(OSError, ValueError):
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            limit = min(limit, status.st_size)
    return read_bytes(path, limit, what)
