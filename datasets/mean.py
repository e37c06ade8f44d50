"""Compute the mean image of an LMDB, bit for bit as compute_image_mean does.

    mean[c, y, x] = (image_0[c, y, x] + image_1[c, y, x] + ...) / images

summed in float32 in the order of the records, as in Caffe: above 2^24 a float32 sum is rounded, so
another order gives another result.
"""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..formats.lmdb_reader import LmdbReader, open_lmdb
from ..formats.schema import BlobProto
from ..progress import StartProgress, no_progress
from ..text import printable, shape_text
from .decode_record import DecodedRecord, decode_records

Floats = NDArray[np.float32]


class Mean(NamedTuple):
    """The mean image (channels, height, width), float32, and the number of images."""

    image: Floats
    images: int

    def channels(self) -> list[float]:
        """Return the mean of each channel; B, G, R for colour."""
        return [float(value) for value in self.image.mean((1, 2), dtype=np.float64)]

    def blob(self) -> bytes:
        """Serialize as a mean_file: a BlobProto with num 1."""
        channels, height, width = self.image.shape
        blob = BlobProto(num=1, channels=channels, height=height, width=width)
        blob.data.extend(self.image.ravel().tolist())
        return bytes(blob.SerializeToString())


def compute_mean(path: str, jobs: int, progress: StartProgress = no_progress) -> Mean:
    """Compute the mean image of an LMDB.

    Raises:
        FormatError: the LMDB can't be opened, or a record is bad or not of the first's size.
    """
    total: Floats | None = None
    with (
        open_lmdb(path) as reader,
        closing(decode_records(reader, jobs)) as records,
        progress(reader.entries, "records") as advance,
    ):
        for number, record in enumerate(records):
            if not isinstance(record, DecodedRecord):
                raise _bad_record(reader, number, str(record))
            if total is None:
                total = np.zeros(record.shape, np.float32)
            if record.shape != total.shape:
                shape, first = shape_text(record.shape), shape_text(total.shape)
                reason = f"is {shape}, the first is {first}; make all of one size"
                raise _bad_record(reader, number, reason)
            total += record.pixels
            advance()
        count = reader.entries
    assert total is not None  # open_lmdb refuses an empty LMDB
    total /= np.float32(count)
    return Mean(total, count)


def _bad_record(reader: LmdbReader, number: int, reason: str) -> FormatError:
    where = f"{printable(reader.path)}: record {number} (from 0), {reader.printable_key(number)}"
    return FormatError(f"{where}: {reason}")
