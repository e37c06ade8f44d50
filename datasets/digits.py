"""Write the UCI optical digits of scikit-learn as two LMDBs.

There are 1,797 digits of 8x8 pixels with values of 0 to 16, which are scaled to 0 to 255, enlarged
to 32x32 and repeated in three channels. NumPy's legacy generator, whose numbers never change,
selects those for training, and the labels that are made wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DesignError
from ..extras import required
from ..formats.images import Pixels, resize
from ..formats.lmdb_writer import LmdbWriter
from .encode_record import raw_datum

SIDE, LARGEST = 32, 16
DIGITS, CLASSES = 1797, 10
TRAINING = 1500


@dataclass(frozen=True)
class DigitsSplit:
    """Which digits are for training, and how many of them have a wrong label.

    Attributes:
        training: how many are for training; all others are for testing.
        noise: share of the training images that get a label other than theirs.
        seed: of the order of the digits, and of the wrong labels.

    Raises:
        DesignError: a number is out of range.
    """

    training: int = TRAINING
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.training < DIGITS:
            raise DesignError(
                f"--train {self.training}: there are {DIGITS:,} digits; give 1 to {DIGITS - 1:,}"
            )
        if not 0 <= self.noise <= 1:
            raise DesignError(f"--noisy-labels {self.noise:g}: give a share of 0 to 1, such as 0.2")
        if not 0 <= self.seed < 2**32:
            raise DesignError(f"--seed {self.seed}: give 0 to {2**32 - 1}")

    def parts(self, digits: Sequence[Digit]) -> tuple[list[Digit], list[Digit]]:
        """Return the digits for training and those for testing."""
        random = np.random.RandomState(self.seed)
        shuffled = [digits[i] for i in random.permutation(len(digits))]
        training, testing = shuffled[: self.training], shuffled[self.training :]
        for i in random.permutation(len(training))[: round(self.noise * len(training))]:
            shift = random.randint(1, CLASSES)
            training[i] = training[i]._replace(label=(training[i].label + shift) % CLASSES)
        return training, testing


class Digit(NamedTuple):
    """Pixels (32, 32, 3) and the digit that they show."""

    pixels: Pixels
    label: int


def load_digits() -> list[Digit]:
    """Return all digits, in the order of scikit-learn.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    with required("sklearn", "the digits dataset"):
        from sklearn import datasets
    bunch = datasets.load_digits()
    return [
        Digit(_enlarge(image), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    ]


def _enlarge(image: np.ndarray) -> Pixels:
    gray = (image * 255 / LARGEST).astype(np.uint8)
    return resize(gray, SIDE, SIDE).repeat(3, axis=2)


def write(folder: Path, force: bool, split: DigitsSplit = DigitsSplit()) -> dict[str, int]:
    """Write `train_lmdb` and `test_lmdb` into a folder; return the number of records of each.

    Raises:
        OutputError: an LMDB can't be written, or exists already and `force` is not set.
        MissingExtraError: a package is not installed.
    """
    sets = dict(zip(("train", "test"), split.parts(load_digits()), strict=True))
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


def _records(name: str, images: Sequence[Digit]) -> Iterator[tuple[bytes, bytes]]:
    """Yield records with the keys that convert_imageset makes of files in folder `name`."""
    for number, digit in enumerate(images):
        key = f"{number:08d}_{name}/{number:05d}.png"
        yield key.encode(), raw_datum(digit.pixels, digit.label)
