"""The mean of all images of an LMDB, bit for bit as compute_image_mean makes it.

    mean[c, y, x] = (image_0[c, y, x] + image_1[c, y, x] + ...) / images

added in float32 and in the order of the records, because Caffe adds so: from 2^24 on a float32
sum is rounded, and in another order it is another number.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError
from ..formats.lmdb_reader import open_lmdb
from ..formats.schema import BlobProto
from ..progress import StartProgress, no_progress
from ..text import printable
from .decode_record import Seen, key_of, seen

Floats = np.ndarray[Any, np.dtype[np.float32]]


class Mean(NamedTuple):
    """The mean image (channels, height, width) as float32, and the images it is of."""

    image: Floats
    images: int

    def channels(self) -> list[float]:
        """The mean of each channel; B, G, R for colour."""
        return [float(value) for value in self.image.mean((1, 2), dtype=np.float64)]

    def blob(self) -> bytes:
        """The file that a mean_file names: a BlobProto of num 1."""
        channels, height, width = self.image.shape
        blob = BlobProto(num=1, channels=channels, height=height, width=width)
        blob.data.extend(self.image.ravel().tolist())
        return bytes(blob.SerializeToString())


class _RefusedError(Exception):
    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def mean_of(path: str, jobs: int, progress: StartProgress = no_progress) -> Mean:
    """Average an LMDB.

    Raises:
        FormatError: it can't be opened, a record is bad or has another size than the first.
    """
    try:
        return _mean(path, jobs, progress)
    except _RefusedError as error:
        shown, key = printable(path), key_of(path, error.number)
        raise FormatError(f"{shown}: record {error.number} (from 0), {key}: {error}") from None


def _mean(path: str, jobs: int, progress: StartProgress) -> Mean:
    total: Floats | None = None
    with (
        open_lmdb(path) as opened,
        closing(seen(opened, jobs)) as records,
        progress(opened.entries, "records") as advance,
    ):
        for number, one in enumerate(records):
            if not isinstance(one, Seen):
                raise _RefusedError(number, str(one))
            if total is None:
                total = np.zeros(one.shape, np.float32)
            if one.shape != total.shape:
                said, wanted = ("x".join(map(str, shape)) for shape in (one.shape, total.shape))
                raise _RefusedError(
                    number, f"is {said}, the first is {wanted}; make all of one size"
                )
            total += one.pixels
            advance()
        count = opened.entries
    assert total is not None  # an LMDB without records is not opened
    total /= np.float32(count)
    return Mean(total, count)
