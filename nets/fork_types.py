"""The tables of layer types, fillers and policies that forks of Caffe added, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..text import did_you_mean, printable
from .layer_types import LAYER_TYPES, UNSUPPORTED

_DEPTHWISE = "a depthwise convolution, which is a Convolution with group = num_output"
_FORKS = {
    "SSD's": "AnnotatedData DetectionEvaluate DetectionOutput MultiBoxLoss Normalize Permute"
    " PriorBox VideoData",
    "Fast R-CNN's": "ROIPooling SmoothL1Loss",
    "Faster R-CNN's": "Proposal",
    "R-FCN's": "BoxAnnotatorOHEM PSROIPooling SmoothL1LossOHEM SoftmaxWithLossOHEM",
    "SENet's": "Axpy",
    "NVCaffe's": "DetectNetTransformation L1Loss TRT",
    "Intel Caffe's": "BoxData EvalDetection MKLBatchNorm MnActivation SpatialDropout",
    "SegNet's": "BN DenseImageData Upsample",
    "PSPNet's and DeepLab's": "AdaptiveBiasChannel BiasChannel DenseCRF DomainTransform"
    " DomainTransformForwardOnly ImageSegData Interp MatRead MatWrite SegAccuracy SpatialProduct"
    " UniqueLabel",
    "TSN's": "BatchReduction Gather Scatter SegData SyncBN",
    "ParseNet's": "Grouping ParseEvaluate ParseOutput UnPooling",
    "MobileNet-YOLO's": "AssistedExcitation GaussianYolov3 LaneData ReLU6 RegionLoss Reorg"
    " SegmentationEvaluate YoloDetectionOutput YoloSeg Yolov3 Yolov3DetectionOutput",
    "Caffe-jacinto's": "IOUAccuracy ImageLabelData ImageLabelListData ImageLabelTransformation"
    " SegmentationAccuracy SoftmaxWithWeightedLoss",
    "ShuffleNet's": "ShuffleChannel",
}
FORK_TYPES = {name: fork for fork, names in _FORKS.items() for name in names.split()}

FORK_FILLERS = {
    **dict.fromkeys(
        ("bilinearstatic", "gaussianstatic", "msrastatic", "positive_unitballstatic"), "NVCaffe's"
    ),
    **dict.fromkeys(("uniformstatic", "xavierstatic"), "NVCaffe's"),
    "gabor": "Intel Caffe's",
}
FORK_POLICIES = {
    "multifixed": "Intel Caffe's and MobileNet-YOLO's",
    "plateau": "SSD's and Intel Caffe's",
    "stepearly": "SegNet's",
}


def whose_or_meant(word: str, known: Iterable[str], forks: Mapping[str, str]) -> str:
    """Return whose an unknown word is, or else which known one was meant, or nothing."""
    if word in forks:
        return f" in Caffe; it is {forks[word]}"
    return did_you_mean(word, known)


def describe_unknown_type(name: str) -> str:
    """Say that Caffe has no such layer type, whose it is, or which was meant."""
    what = f"no layer type '{printable(name)}'"
    if "depthwise" in name.lower():
        return f"{what}; by its name it is {_DEPTHWISE}"
    return what + whose_or_meant(name, [*LAYER_TYPES, *UNSUPPORTED], FORK_TYPES)
