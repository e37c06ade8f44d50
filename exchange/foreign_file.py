"""Files of other frameworks as caffemodels, with the definitions of nets that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..errors import DesignError
from ..formats.caffemodel import blob_shape
from ..formats.foreign_weights import NPZ, SAFETENSORS, TORCH
from ..formats.safetensors_file import read_safetensors
from ..formats.schema import NetParameter
from ..formats.torch_file import read_state_dict
from .keras_weights import model_from_keras
from .known_nets import (
    CLASSIFIER,
    KnownNet,
    keras_net,
    rename_layers,
    torchvision_names,
    torchvision_net,
    torchvision_version,
    with_definitions,
)
from .npz_weights import read_npz
from .tensor_names import model_from_tensors

_READERS = {NPZ: read_npz, SAFETENSORS: read_safetensors, TORCH: read_state_dict}
_CLASSES = 1000  # of a net whose weights lack the classifier's


class ForeignFile(NamedTuple):
    """Weights of another framework; fields as of `weight_file.WeightFile`."""

    model: NetParameter
    known: KnownNet | None
    notes: list[str]


def read_tensors(data: bytes, shown: str, kind: str) -> ForeignFile:
    """Read named tensors: torchvision's SqueezeNets, or blobs under Caffe's names.

    Args:
        data: the file.
        shown: its name in messages.
        kind: what `foreign_format` says.

    Raises:
        FormatError: it is damaged, would run code, or has tensors that Caffe has no place for.
        MissingExtraError: the package that reads it is not installed.
    """
    model = model_from_tensors(_READERS[kind](data, shown), shown)
    version = torchvision_version([layer.name for layer in model.layer])
    if version is None:
        return ForeignFile(model, None, [])
    rename_layers(model, {theirs: ours for ours, theirs in torchvision_names(version).items()})
    return _as_known(model, shown, lambda classes: torchvision_net(version, classes))


def read_keras_file(data: bytes, shown: str) -> ForeignFile:
    """Read an HDF5 file of Keras, of convolutions alone; raises as `read_tensors` does."""
    return _as_known(model_from_keras(data, shown), shown, keras_net)


def _as_known(model: NetParameter, shown: str, make: Callable[[int], KnownNet]) -> ForeignFile:
    """Return weights with the definitions of the net that `make` returns, where they fit it."""
    shapes = [blob_shape(layer.blobs[0]) for layer in model.layer if layer.name == CLASSIFIER]
    try:
        known = make(shapes[0][0] if shapes and shapes[0] else _CLASSES)
        defined = with_definitions(model, known)
    except DesignError:  # no class, or too many
        defined = None
    if defined is None:
        note = "has other layers or shapes than the SqueezeNet of that name; its net is unknown"
        return ForeignFile(model, None, [f"{shown}: {note}"])
    notes = [] if shapes else [f"{shown}: has no weights of the classifier, {CLASSIFIER}"]
    return ForeignFile(defined, known, notes)
