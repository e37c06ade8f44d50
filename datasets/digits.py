"""The UCI optical digits that scikit-learn carries, as two LMDBs.

1,797 digits of 8x8 pixels with values of 0 to 16, brought to 0 to 255, enlarged to 32x32 and
repeated in three channels. 1,500 are for training; which, numpy's oldest generator says, whose
numbers never change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..extras import required
from ..formats.images import Pixels, resize
from ..formats.lmdb_writer import LmdbWriter
from .encode_record import raw_datum

SIDE, LARGEST, TRAINING = 32, 16, 1500
SEED = 0


class Digit(NamedTuple):
    """(32, 32, 3) pixels and the number they show."""

    pixels: Pixels
    label: int


def digits() -> list[Digit]:
    """All of them, shuffled.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    with required("sklearn", "the digits dataset"):
        from sklearn.datasets import load_digits
    found = load_digits()
    order = np.random.RandomState(SEED).permutation(len(found.images))
    return [Digit(_enlarged(found.images[one]), int(found.target[one])) for one in order]


def _enlarged(image: np.ndarray) -> Pixels:
    gray = (image * 255 / LARGEST).astype(np.uint8)
    return resize(gray, SIDE, SIDE).repeat(3, axis=2)


def write(folder: Path, force: bool) -> dict[str, int]:
    """Make `train_lmdb` and `test_lmdb` in a folder; returns the records of each.

    Raises:
        SqgenError: they can't be written, or are there already.
    """
    made = digits()
    sets = {"train": made[:TRAINING], "test": made[TRAINING:]}
    with (
        LmdbWriter(folder / "train_lmdb", force) as train,
        LmdbWriter(folder / "test_lmdb", force) as test,
    ):
        for writer, (name, images) in zip((train, test), sets.items(), strict=True):
            for key, value in _records(name, images):
                writer.put(key, value)
        # Both are on the disk before either has its name.
        train.seal()
        test.seal()
    return {writer.path.name: writer.records for writer in (train, test)}


def _records(name: str, images: list[Digit]) -> Iterator[tuple[bytes, bytes]]:
    """Keys as convert_imageset would make them of files in a folder of that name."""
    for number, digit in enumerate(images):
        key = f"{number:08d}_{name}/{number:05d}.png"
        yield key.encode(), raw_datum(digit.pixels, digit.label)
