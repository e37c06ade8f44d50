"""The images of an LMDB, or of files, as a net's input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..errors import FormatError
from ..formats.images import OnDamage
from ..formats.schema import NetParameter
from ..host import available_cores
from ..nets.data_layers import data_param
from ..nets.definition import NetDefinition
from ..text import printable
from .classify import Preprocessing
from .executor import Executor
from .features import data_layer
from .image_files import load_batches
from .open_loader import open_loader


class InputImages(NamedTuple):
    """Images as a net reads them.

    Attributes:
        batches: (batch, channels, height, width) each, as float32.
        labels: (images,) of an LMDB; None of files.
    """

    batches: list[np.ndarray]
    labels: np.ndarray | None

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(map(len, self.batches))


def read_records(
    source: str, preprocessing: Preprocessing, on_damage: OnDamage = lambda line: None
) -> InputImages:
    """Read all records of an LMDB, which are cropped but not resized.

    Raises:
        SqgenError: a record can't be read, or does not fit the net.
    """
    data = data_layer(preprocessing, "data", source)
    where = printable(data_param(data).source)
    threads = available_cores()
    loader = open_loader(
        data, "TEST", seed=0, where=where, exact=True, on_damage=on_damage, threads=threads
    )
    try:
        definition = NetDefinition(NetParameter(layer=[data]), source)
        executor = Executor(definition, "TEST", loaders={data.name: loader})
        batches, labels = [], []
        for _ in range(0, loader.records, loader.batch_size):
            blobs = executor.forward(keep=set(data.top))
            batches.append(blobs[data.top[0]])
            labels.append(blobs[data.top[1]].astype(np.int64))
        return InputImages(batches, np.concatenate(labels))
    finally:
        loader.close()


def read_files(
    paths: Iterable[str],
    preprocessing: Preprocessing,
    on_error: Callable[[FormatError], None],
    on_damage: OnDamage = lambda line: None,
) -> InputImages:
    """Read image files; `on_error` is called with the error of each that is none."""
    batches = []
    for batch in load_batches(paths, preprocessing.load_image):
        images = []
        for file in batch:
            for line in file.damage:
                on_damage(line)
            if isinstance(file.pixels, FormatError):
                on_error(file.pixels)
            else:
                images.append(file.pixels)
        if images:
            batches.append(np.stack(images))
    return InputImages(batches, None)
