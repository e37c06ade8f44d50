"""Find again what a test read: its dataset, the layer that read it, its classes' names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError, SqgenError
from ..formats.class_names import read_lmdb_class_names
from ..formats.schema import LayerParameter
from ..logs.result import LogResult
from ..nets.data_layers import data_param
from ..nets.dataset import inspect_dataset
from ..nets.definition import NetDefinition, read_net
from ..nets.deploy import deploy_net
from ..nets.family import is_imagenet
from ..nets.imagenet import imagenet_class_names
from ..nets.shapes import infer_shapes
from ..text import printable
from .overrides import data_layers
from .run_folder import NET


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
    found, digest = _tested_data(_tested_net(result, source), result), _digest(result)
    if found is None or digest is None:
        raise FormatError("the record of the run names no dataset whose images can be found again")
    shown = printable(str(found.source))
    if not os.path.exists(found.source):
        raise FormatError(f"{shown}: the dataset of the test is no longer there")
    dataset = inspect_dataset(found.layer, shown, all_labels=False, base=found.base)
    if dataset.digest != digest:
        raise FormatError(f"{shown}: has changed since the test ({digest}, now {dataset.digest})")
    return found


def class_names_of_test(result: LogResult, classes: int, source: str = "") -> list[str] | None:
    """Return names of the classes that a test had; None where nothing tells them.

    They lie beside the LMDB that it read, or are ImageNet's for a SqueezeNet of 1,000 classes.

    Args:
        result: of the test.
        classes: how many have to have a name.
        source: the run folder that the result was read from, if any.
    """
    try:
        net = _tested_net(result, source)
        data = _tested_data(net, result)
        names = None if data is None else read_lmdb_class_names(data.source)
    except SqgenError:
        return None
    if names is not None and len(names) >= classes:
        return names
    return net_class_names(net)


def net_class_names(net: NetDefinition) -> list[str] | None:
    """Return ImageNet's names for a SqueezeNet with as many classes; None for other nets."""
    try:
        deploy = deploy_net(net).definition
    except SqgenError:
        return None
    return imagenet_class_names() if is_imagenet(infer_shapes(deploy, "TEST")) else None


def _tested_net(result: LogResult, source: str) -> NetDefinition:
    is_folder = source and os.path.isdir(source)
    folder = Path(source) if is_folder else _base(result) / _text(result, "folder")
    return read_net(folder / NET)


def _tested_data(net: NetDefinition, result: LogResult) -> TestedData | None:
    layers = data_layers(net, "TEST")  # the first brings the images in
    return TestedData(layers[0], _base(result)) if layers else None


def _base(result: LogResult) -> Path:
    """Return the folder that the test ran in, or this one if that is gone."""
    folder = _text(result, "working_folder")
    return Path(folder) if os.path.isdir(folder) else Path()


def _text(result: LogResult, key: str) -> str:
    value = result.run.get(key)
    return value if isinstance(value, str) else ""


def _digest(result: LogResult) -> str | None:
    data = result.run.get("data")
    first = data[0] if isinstance(data, list) and data else None
    digest = first.get("digest") if isinstance(first, dict) else None
    return digest if isinstance(digest, str) else None
