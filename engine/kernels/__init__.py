"""The kernel of each layer type; data layers have none."""

from __future__ import annotations

from ...nets.data_layers import DATA_LAYER_TYPES
from ...nets.layer_types import UNSUPPORTED
from ...text import printable
from ..wiring import WiredLayer
from .base import Kernel
from .convolution import Convolution, InnerProduct
from .hdf5_output import HDF5Output
from .losses import Accuracy, ArgMax, EuclideanLoss, Softmax, SoftmaxWithLoss
from .neurons import (
    BNLL,
    ELU,
    AbsVal,
    Clip,
    Dropout,
    Exp,
    Log,
    Power,
    PReLU,
    ReLU,
    Sigmoid,
    Swish,
    TanH,
    Threshold,
)
from .normalization import BatchNorm, Bias, Scale
from .pooling import LRN, Pooling
from .shaping import Concat, Eltwise, Reshape, Silence, Slice, Split

SOURCES = frozenset(DATA_LAYER_TYPES) - UNSUPPORTED

KERNELS: dict[str, type[Kernel]] = {
    "Convolution": Convolution,
    "Pooling": Pooling,
    "LRN": LRN,
    "InnerProduct": InnerProduct,
    "ReLU": ReLU,
    "PReLU": PReLU,
    "ELU": ELU,
    "Sigmoid": Sigmoid,
    "TanH": TanH,
    "Power": Power,
    "Exp": Exp,
    "Log": Log,
    "AbsVal": AbsVal,
    "BNLL": BNLL,
    "Swish": Swish,
    "Clip": Clip,
    "Threshold": Threshold,
    "Dropout": Dropout,
    "BatchNorm": BatchNorm,
    "Scale": Scale,
    "Bias": Bias,
    "Concat": Concat,
    "Slice": Slice,
    "Split": Split,
    "Flatten": Reshape,
    "Reshape": Reshape,
    "Eltwise": Eltwise,
    "Silence": Silence,
    "HDF5Output": HDF5Output,
    "Softmax": Softmax,
    "SoftmaxWithLoss": SoftmaxWithLoss,
    "EuclideanLoss": EuclideanLoss,
    "Accuracy": Accuracy,
    "ArgMax": ArgMax,
}


def kernel_of(layer: WiredLayer, index: int, phase: str) -> Kernel:
    """Return the kernel of a layer; `index` is the layer's number in the net.

    Raises:
        ValueError: the engine can't run the layer; names it.
    """
    try:
        return KERNELS[layer.type](layer, index, phase)
    except ValueError as error:
        raise ValueError(f"layer '{printable(layer.name)}': {error}") from None
