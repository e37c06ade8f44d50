"""Elementwise layers, which keep the shape of their bottom."""

from __future__ import annotations

from .base import register, same

register("ReLU", "ELU", "Sigmoid", "TanH", "Power", "Dropout", top_shapes=same, in_place=True)
