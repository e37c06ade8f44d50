"""The layout of Keras's HDF5 files of weights (keras/src/legacy/saving/legacy_h5_format.py).

The root, or the group `model_weights` of a whole model, has the attribute `layer_names`; the group
of each layer has `weight_names`, the names of its datasets, such as `conv1/kernel:0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError
from ..text import printable
from .hdf5_file import Hdf5File, write_hdf5

_LAYERS, _WEIGHTS = "layer_names", "weight_names"
_MODEL = "model_weights"
_SUFFIX = ":0"  # of a variable's first output in TensorFlow


class KerasWeight(NamedTuple):
    """A weight of a layer.

    Attributes:
        layer: the layer's name.
        name: the weight's without it, such as `kernel` (Keras 2) or `W` (Keras 1).
        array: its values, as Keras has them: a kernel is (height, width, inputs, outputs).
    """

    layer: str
    name: str
    array: np.ndarray


def keras_root(file: Hdf5File) -> str | None:
    """Return the group of the weights; None where the file is not Keras's."""
    for group in ("/", _MODEL):
        if file.is_group(group) and file.attribute(_LAYERS, group) is not None:
            return group
    return None


def is_keras(data: bytes, shown: str) -> bool:
    """Whether the bytes of an HDF5 file are Keras's; `shown` is its name in messages."""
    with Hdf5File(data, shown) as file:
        return keras_root(file) is not None


def read_keras(data: bytes, shown: str) -> list[KerasWeight]:
    """Return the weights of a file of Keras, in the order of its layers.

    Raises:
        FormatError: it is damaged, or not Keras's.
        MissingExtraError: h5py is not installed.
    """
    with Hdf5File(data, shown) as file:
        root = keras_root(file)
        if root is None:
            raise FormatError(f"{shown}: has no layer_names, as Keras writes them")
        weights = []
        for layer in file.attribute(_LAYERS, root) or ():
            group = f"{root.rstrip('/')}/{layer}"
            if not file.is_group(group):
                raise FormatError(f"{shown}: lacks the layer '{printable(layer)}' that it names")
            for name in file.attribute(_WEIGHTS, group) or ():
                path = f"{group}/{name}"
                kind = np.float64 if file.is_double(path) else np.float32
                array = file.read(path, dtype=kind)
                weights.append(KerasWeight(layer, _own_name(name, layer), array))
        return weights


def write_keras(weights: Sequence[KerasWeight], shown: str) -> bytes:
    """Return the bytes of a file of weights as Keras 2 writes it; Keras 3 reads it, too.

    Raises:
        FormatError: HDF5 can't have the names; `shown` is the file in the message.
        MissingExtraError: h5py is not installed.
    """
    layers: dict[str, list[KerasWeight]] = {}
    for weight in weights:
        layers.setdefault(weight.layer, []).append(weight)

    def fill(file: Any) -> None:
        file.attrs[_LAYERS] = [layer.encode() for layer in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.1"
        for layer, own in layers.items():
            group = file.require_group(layer)  # may be there: fire2 of fire2/squeeze1x1
            names = [f"{layer}/{weight.name}{_SUFFIX}" for weight in own]
            group.attrs[_WEIGHTS] = [name.encode() for name in names]
            for name, weight in zip(names, own, strict=True):
                group.create_dataset(name, data=weight.array)

    try:
        return write_hdf5(fill)
    except (ValueError, RuntimeError, OSError, TypeError):
        raise FormatError(f"{shown}: HDF5 can't have these names of layers; rename them") from None


def _own_name(name: str, layer: str) -> str:
    """Return a weight's name without its layer's: `W` of `conv1/conv1_W:0`."""
    last = name.removesuffix(_SUFFIX).rpartition("/")[2]
    return last.removeprefix(f"{layer.rpartition('/')[2]}_")
