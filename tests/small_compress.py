"""Small nets with random weights to compress."""

from __future__ import annotations

from typing import Any

import numpy as np

from sqgen import parse_net
from sqgen.compress.weighted_layers import find_weighted_layers, to_model
from sqgen.formats.caffemodel import blob_array
from sqgen.nets.definition import NetDefinition

Arrays = dict[str, list[np.ndarray]]

INPUT = """layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 1 dim: 4 dim: 7 dim: 7 } } }
"""
CONV = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 6 kernel_size: 3 group: 2 } }
"""
FC = """layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param {
  num_output: 5 } }
"""
SMALL = INPUT + CONV + FC
# Every type that has blobs.
ALL = (
    INPUT
    + CONV
    + """layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
layer { name: "prelu" type: "PReLU" bottom: "scale" top: "prelu" }
layer { name: "one" type: "PReLU" bottom: "prelu" top: "one" prelu_param {
  channel_shared: true } }
layer { name: "bias" type: "Bias" bottom: "one" top: "bias" }
layer { name: "bare" type: "Convolution" bottom: "bias" top: "bare" convolution_param {
  num_output: 8 kernel_size: 1 bias_term: false } }
layer { name: "turned" type: "InnerProduct" bottom: "bare" top: "turned" inner_product_param {
  num_output: 5 transpose: true } }
"""
)


def model_of(text: str, seed: int = 1, density: float = 1.0) -> tuple[NetDefinition, Any]:
    """A net with random weights."""
    net, random = parse_net(text), np.random.default_rng(seed)
    slots = find_weighted_layers(net)
    blobs = [
        [
            (random.standard_normal(s) * (random.uniform(size=s) < density)).astype(np.float32)
            for s in slot.shapes
        ]
        for slot in slots
    ]
    return net, to_model(net, slots, blobs)


def arrays(model: Any) -> Arrays:
    return {
        layer.name: [blob_array(blob) for blob in layer.blobs]
        for layer in model.layer
        if layer.blobs
    }


def assert_same(ours: Any, theirs: Any) -> None:
    a, b = arrays(ours), arrays(theirs)
    assert list(a) == list(b)
    for name, blobs in a.items():
        for mine, other in zip(blobs, b[name], strict=True):
            np.testing.assert_array_equal(mine, other)
