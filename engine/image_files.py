"""Read image files in batches, which threads load ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from ..errors import FormatError
from ..formats.images import OnDamage
from ..host import available_cores
from .prefetch import Jobs, Prefetch

BATCH_SIZE = 32
AHEAD = 2  # batches loaded beside the one that is computed

Load = Callable[[str, OnDamage], np.ndarray]


class LoadedFile(NamedTuple):
    """An image file that was read.

    Attributes:
        path: the file.
        pixels: as the load function returns them, or why it is no image.
        damage: lines about its damaged pixels.
    """

    path: str
    pixels: np.ndarray | FormatError
    damage: list[str]


def load_batches(paths: Iterable[str], load: Load) -> Iterator[list[LoadedFile]]:
    """Yield the files in batches, in their order.

    Args:
        paths: of the files; a thread iterates over them.
        load: reads a file; raises FormatError for one that is no image.

    Raises:
        Exception: that of the iteration over `paths`.
    """
    ahead = Prefetch(_jobs(iter(paths), load), AHEAD, available_cores())
    try:
        while True:
            try:
                batch = ahead.next()
            except StopIteration:
                return
            yield [file for file in batch if file is not None]
    finally:
        ahead.close()


def _jobs(paths: Iterator[str], load: Load) -> Jobs[list[LoadedFile | None]]:
    while names := list(islice(paths, BATCH_SIZE)):
        batch: list[LoadedFile | None] = [None] * len(names)
        yield batch, [partial(_fill, batch, index, name, load) for index, name in enumerate(names)]


def _fill(batch: list[LoadedFile | None], index: int, path: str, load: Load) -> None:
    damage: list[str] = []
    pixels: np.ndarray | FormatError
    try:
        pixels = load(path, damage.append)
    except FormatError as error:
        pixels = error
    batch[index] = LoadedFile(path, pixels, damage)
