"""A rule per ONNX operator that makes layers of it, a module per family of layers."""

from __future__ import annotations

from . import convolution, neurons, normalization, pooling, shaping
from .base import RULES, MadeLayer, NodeReader, NoLayerError, Value

__all__ = ["FAMILIES", "RULES", "MadeLayer", "NoLayerError", "NodeReader", "Value"]

# Importing a family adds its rules to RULES.
FAMILIES = (convolution, pooling, neurons, normalization, shaping)
