"""Find the dataset again whose images a test predicted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError, SqgenError
from ..formats.schema import LayerParameter
from ..logs.result import LogResult
from ..nets.data_layers import data_param
from ..nets.definition import read_net
from ..text import printable
from .dataset import inspect_dataset
from .overrides import data_layers
from .test import NET


class TestedData(NamedTuple):
    """The data layer that brought a test's images in, and the folder of its relative names."""

    layer: LayerParameter
    base: Path

    @property
    def source(self) -> Path:
        """The LMDB, or the list of images or HDF5 files."""
        return self.base / str(data_param(self.layer).source)


def find_tested_data(result: LogResult, source: str = "") -> TestedData:
    """Return the dataset that a test read, if it is still the same by its digest.

    Args:
        result: of the test.
        source: the run folder that the result was read from, if any.

    Raises:
        FormatError: the record names no dataset, or it has moved or changed.
    """
    base = _folder(result, "working_folder")
    run = Path(source) if source and os.path.isdir(source) else base / _folder(result, "folder")
    digest = _digest(result)
    try:
        layers = data_layers(read_net(run / NET), "TEST")
    except SqgenError as error:
        raise FormatError(f"the net of the run is gone: {error}") from None
    if not layers or digest is None:
        raise FormatError("the record of the run names no dataset whose images can be found again")
    found = TestedData(layers[0], base)
    shown = printable(str(found.source))
    if not os.path.exists(found.source):
        raise FormatError(f"{shown}: the dataset of the test is no longer there")
    dataset = inspect_dataset(layers[0], "the dataset of the test", all_labels=False, base=base)
    if dataset.digest != digest:
        raise FormatError(f"{shown}: has changed since the test ({digest}, now {dataset.digest})")
    return found


def _folder(result: LogResult, key: str) -> Path:
    value = result.run.get(key)
    return Path(value) if isinstance(value, str) else Path()


def _digest(result: LogResult) -> str | None:
    """Return the digest of the first data layer, which brings the images in."""
    data = result.run.get("data")
    first = data[0] if isinstance(data, list) and data else None
    digest = first.get("digest") if isinstance(first, dict) else None
    return digest if isinstance(digest, str) else None
