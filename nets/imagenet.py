"""Facts about ImageNet (ILSVRC 2012), on which the published nets were trained."""

from __future__ import annotations

IMAGENET_CLASSES = 1000
IMAGENET_VALIDATION = 50_000  # images of the validation set
IMAGENET_MEAN = (104.0, 117.0, 123.0)  # B, G, R, as the published nets subtract it
