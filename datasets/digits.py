"""Write the UCI optical digits of scikit-learn as two LMDBs.

There are 1,797 digits of 8x8 pixels with values of 0 to 16, which are scaled to 0 to 255, enlarged
to 32x32 and repeated in three channels. NumPy's legacy generator, whose numbers never change,
selects 1,500 for training.
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
    """Pixels (32, 32, 3) and the digit that they show."""

    pixels: Pixels
    label: int


def load_digits() -> list[Digit]:
    """Return all digits, shuffled.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    with required("sklearn", "the digits dataset"):
        from sklearn import datasets
    bunch = datasets.load_digits()
    order = np.random.RandomState(SEED).permutation(len(bunch.images))
    return [Digit(_enlarge(bunch.images[i]), int(bunch.target[i])) for i in order]


def _enlarge(image: np.ndarray) -> Pixels:
    gray = (image * 255 / LARGEST).astype(np.uint8)
    return resize(gray, SIDE, SIDE).repeat(3, axis=2)


def write(folder: Path, force: bool) -> dict[str, int]:
    """Write `train_lmdb` and `test_lmdb` into a folder; return the number of records of each.

    Raises:
        OutputError: an LMDB can't be written, or exists already and `force` is not set.
        MissingExtraError: a package is not installed.
    """
    digits = load_digits()
    sets = {"train": digits[:TRAINING], "test": digits[TRAINING:]}
    with (
        LmdbWriter(folder / "train_lmdb", force) as train,
        LmdbWriter(folder / "test_lmdb", force) as test,
    ):
        for writer, (name, images) in zip((train, test), sets.items(), strict=True):
            for key, value in _records(name, images):
                writer.put(key, value)
        # Both are on disk before either gets its name.
        train.seal()
        test.seal()
    return {writer.path.name: writer.records for writer in (train, test)}


def _records(name: str, images: list[Digit]) -> Iterator[tuple[bytes, bytes]]:
    """Yield records with the keys that convert_imageset makes of files in folder `name`."""
    for number, digit in enumerate(images):
        key = f"{number:08d}_{name}/{number:05d}.png"
        yield key.encode(), raw_datum(digit.pixels, digit.label)
