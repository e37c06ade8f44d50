"""Facts about ImageNet (ILSVRC 2012), on which the published nets were trained."""

from __future__ import annotations

from pathlib import Path

IMAGENET_CLASSES = 1000
IMAGENET_VALIDATION = 50_000  # images of the validation set
IMAGENET_INPUT = (227, 227)  # height and width of what the published SqueezeNets crop
IMAGENET_MEAN = (104.0, 117.0, 123.0)  # B, G, R, as the published nets subtract it


def imagenet_class_names() -> list[str]:
    """Return the WordNet id and the name of each class, in the order of Caffe's labels."""
    path = Path(__file__).with_name("imagenet_classes.txt")
    return path.read_text(encoding="ascii").splitlines()
