"""The kernel of each layer type; data layers have none."""

from __future__ import annotations

from ...nets.data_layers import DATA_LAYER_TYPES
from ...nets.layer_types import UNSUPPORTED
from ...text import printable
from ..wiring import WiredLayer
from .base import Kernel
from .classification import Accuracy, ArgMax, Softmax
from .convolution import Convolution, InnerProduct
from .deconvolution import Deconvolution, Im2col
from .hdf5_output import HDF5Output
from .indexing import BatchReindex, Embed, Filter
from .losses import (
    ContrastiveLoss,
    EuclideanLoss,
    HingeLoss,
    InfogainLoss,
    MultinomialLogisticLoss,
    SigmoidCrossEntropyLoss,
    SoftmaxWithLoss,
)
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
from .normalization import MVN, BatchNorm, Bias, Scale
from .pooling import LRN, SPP, Pooling
from .ristretto import ConvolutionRistretto, DeconvolutionRistretto, FcRistretto, LRNRistretto
from .shaping import (
    Concat,
    Crop,
    Eltwise,
    Parameter,
    Reduction,
    Reshape,
    Silence,
    Slice,
    Split,
    Tile,
)

SOURCES = frozenset(DATA_LAYER_TYPES) - UNSUPPORTED

_KERNELS: tuple[type[Kernel], ...] = (
    Convolution,
    Deconvolution,
    Im2col,
    InnerProduct,
    Embed,
    Pooling,
    SPP,
    LRN,
    ReLU,
    PReLU,
    ELU,
    Sigmoid,
    TanH,
    Power,
    Exp,
    Log,
    AbsVal,
    BNLL,
    Swish,
    Clip,
    Threshold,
    Dropout,
    BatchNorm,
    MVN,
    Scale,
    Bias,
    Concat,
    Slice,
    Split,
    Reshape,
    Eltwise,
    Crop,
    Tile,
    Reduction,
    BatchReindex,
    Filter,
    Parameter,
    Silence,
    HDF5Output,
    Softmax,
    SoftmaxWithLoss,
    InfogainLoss,
    MultinomialLogisticLoss,
    HingeLoss,
    SigmoidCrossEntropyLoss,
    EuclideanLoss,
    ContrastiveLoss,
    Accuracy,
    ArgMax,
    ConvolutionRistretto,
    DeconvolutionRistretto,
    FcRistretto,
    LRNRistretto,
)
KERNELS = {kernel.__name__: kernel for kernel in _KERNELS} | {"Flatten": Reshape}


def kernel_of(layer: WiredLayer, index: int, phase: str) -> Kernel:
    """Return the kernel of a layer; `index` is the layer's number in the net.

    Raises:
        ValueError: the engine can't run the layer; names it.
    """
    try:
        return KERNELS[layer.type](layer, index, phase)
    except ValueError as error:
        raise ValueError(f"layer '{printable(layer.name)}': {error}") from None
