"""The table of layer types: shapes, parameter blobs and multiply-accumulates of each.

A row computes what Caffe's `LayerSetUp` and `Reshape` do (src/caffe/layers/<type>_layer.cpp).
Shapes are tuples of axes, batch first. A rule raises ShapeError where Caffe's checks would fail.
"""

from __future__ import annotations

from ..formats.ristretto import RISTRETTO_TYPES
from .layer_families import (
    classification,
    convolution,
    data,
    losses,
    neurons,
    normalization,
    pooling,
    ristretto,
    shaping,
)
from .layer_families.base import LAYER_TYPES, MAX_ELEMENTS, Blob, LayerType, Shape

__all__ = [
    "AUTOMATIC",
    "FAMILIES",
    "LAYER_TYPES",
    "MAX_ELEMENTS",
    "UNSUPPORTED",
    "Blob",
    "LayerType",
    "Shape",
    "is_caffe_type",
]

AUTOMATIC = "(automatic)"  # the top of a loss layer that names none: no blob for users

# Importing a family adds its rows to LAYER_TYPES.
FAMILIES = (
    data,
    convolution,
    pooling,
    neurons,
    normalization,
    shaping,
    classification,
    losses,
    ristretto,
)

# Registered in BVLC Caffe, but not supported here.
UNSUPPORTED = frozenset("LSTM LSTMUnit Python RNN WindowData".split())


def is_caffe_type(name: str) -> bool:
    """Whether Caffe has a layer type of this name."""
    return (name in LAYER_TYPES and name not in RISTRETTO_TYPES) or name in UNSUPPORTED
