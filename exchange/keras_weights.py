"""Weights of a Keras net of convolutions as a caffemodel, and back."""

from __future__ import annotations

import numpy as np

from ..errors import FormatError
from ..formats.keras_hdf5 import KerasWeight, read_keras, write_keras
from ..formats.schema import NetParameter
from ..text import printable
from .tensor_names import model_from_tensors, tensors_of_model

_KERNELS, _BIASES = ("kernel", "W"), ("bias", "b")  # of Keras 2, and of Keras 1


def model_from_keras(data: bytes, shown: str) -> NetParameter:
    """Return the convolutions of a Keras HDF5 file as a caffemodel.

    Raises:
        FormatError: it is damaged, or has weights of a layer that is no convolution.
    """
    weights = read_keras(data, shown)
    if not weights:
        raise FormatError(f"{shown}: its layers have no weights")
    return model_from_tensors(dict(_tensor(weight, shown) for weight in weights), shown)


def _tensor(weight: KerasWeight, shown: str) -> tuple[str, np.ndarray]:
    """Return a weight under Caffe's name and in its order: (outputs, inputs, height, width)."""
    if weight.name in _KERNELS and weight.array.ndim == 4:
        return f"{weight.layer}.weight", weight.array.transpose(3, 2, 0, 1)
    if weight.name in _BIASES and weight.array.ndim == 1:
        return f"{weight.layer}.bias", weight.array
    what = f"{printable(weight.name)} of layer '{printable(weight.layer)}'"
    raise FormatError(f"{shown}: {what} is of no convolution, which is all that is converted")


def keras_from_model(model: NetParameter, shown: str) -> bytes:
    """Return the Keras HDF5 file of a caffemodel of convolutions, under the same names.

    Raises:
        FormatError: a layer has other blobs, or HDF5 can't have its name.
    """
    weights = []
    for name, array in tensors_of_model(model, shown).items():
        layer, _, part = name.rpartition(".")
        if part == "weight" and array.ndim == 4:
            weights.append(KerasWeight(layer, _KERNELS[0], array.transpose(2, 3, 1, 0)))
        elif part == "bias" and array.ndim == 1:
            weights.append(KerasWeight(layer, _BIASES[0], array))
        else:
            where = f"layer '{printable(layer)}'"
            raise FormatError(f"{shown}: {where} is no convolution, which is all that is converted")
    return write_keras(weights, shown)
