"""The published 660 KB file as weights: just enough of a decoder for tests.

Layout: an entry count a layer; then for each layer 256 codebook values, the biases, a code an
entry, and 4-bit gaps, two a byte, low nibble first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sqgen import preset
from sqgen.formats.caffemodel import fill_blob
from sqgen.formats.net import parse_net
from sqgen.formats.schema import NetParameter
from sqgen.formats.shapes import infer_shapes
from sqgen.generator.build import build


def decode(path: Path) -> bytes:
    """A caffemodel with the layer names of the preset `deep-compression`."""
    net = parse_net(build(preset("deep-compression"), "deploy"))
    layers = [item for item in infer_shapes(net, "TEST").layers if item.blobs]
    data = path.read_bytes()
    counts = np.frombuffer(data, "<u4", len(layers))
    at = counts.nbytes
    model = NetParameter(name="decoded")
    for item, count in zip(layers, map(int, counts), strict=True):
        shape, biases = (blob.shape for blob in item.blobs)
        codebook = np.frombuffer(data, "<f4", 256, at)
        bias = np.frombuffer(data, "<f4", biases[0], at + 1024)
        at += 1024 + bias.nbytes
        codes = np.frombuffer(data, np.uint8, count, at)
        packed = np.frombuffer(data, np.uint8, (count + 1) // 2, at + count)
        at += count + packed.nbytes
        gaps = np.stack([packed & 15, packed >> 4], 1).reshape(-1)[:count]
        weights = np.zeros(shape, np.float32)
        weights.reshape(-1)[np.cumsum(gaps.astype(np.int64) + 1) - 1] = codebook[codes]
        layer = model.layer.add(name=item.layer.name, type=item.layer.type)
        fill_blob(layer.blobs.add(), weights)
        fill_blob(layer.blobs.add(), bias)
    assert at == len(data)
    return bytes(model.SerializeToString())
