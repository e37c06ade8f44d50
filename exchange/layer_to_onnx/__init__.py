"""A rule per layer type that writes it as ONNX operators, a module per family of layers."""

from __future__ import annotations

from . import classification, convolution, neurons, normalization, pooling, shaping
from .base import RULES, LayerWriter, NoOperatorError

__all__ = ["FAMILIES", "RULES", "LayerWriter", "NoOperatorError"]

# Importing a family adds its rules to RULES.
FAMILIES = (convolution, pooling, neurons, normalization, shaping, classification)
