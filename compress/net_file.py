"""Read and write `.net`, the layout of Deep Compression's published 660 KB SqueezeNet.

    entry counts    uint32 a layer
    then, for each layer:
    codebook        256 float32, of which the first is 0 (an InnerProduct: 16)
    biases          float32 an output
    codes           a byte an entry (an InnerProduct: 4 bits)
    gaps            4 bits an entry: positions skipped since the previous entry

All numbers are little-endian. Of two 4-bit numbers in a byte, the low one comes first; a stream of
an odd number of them ends with 4 unused bits. Entries of gap 15 and code 0 bridge longer gaps. The
layout has no layer names and no checksums: only lengths and positions can be checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..errors import FormatError, NetError
from ..text import printable
from . import gaps
from .weighted_layers import WeightedLayer

CODE_BITS = {"Convolution": 8, "InnerProduct": 4}
_STEP = 16  # positions that a filler advances by
_COUNT = np.dtype("<u4")
_FLOAT = np.dtype("<f4")


def check_layers(layers: Sequence[WeightedLayer], source: str, remedy: str) -> None:
    """Refuse a net that the layout can't hold.

    Args:
        layers: its layers with weights.
        source: its name, for the error.
        remedy: the end of the error.

    Raises:
        NetError: a layer is not a convolution or inner product with biases.
    """
    for layer in layers:
        where = f"{printable(source)}: {layer.shown}"
        if layer.type not in CODE_BITS:
            raise NetError(f"{where} is a {layer.type}, which .net can't hold; {remedy}")
        if len(layer.shapes) < 2:
            raise NetError(f"{where} has no biases, which .net needs of every layer; {remedy}")


def write(layers: Sequence[WeightedLayer], blobs: Sequence[Sequence[np.ndarray]]) -> list[bytes]:
    """Return the parts of the file: the counts, then a part a layer.

    Args:
        layers: convolutions and inner products with biases (`check_layers`).
        blobs: weights with fewer than 2^CODE_BITS different values beside 0, and biases.
    """
    entries = [_Entries(layer, *arrays) for layer, arrays in zip(layers, blobs, strict=True)]
    counts = np.array([len(entry.codes) for entry in entries], _COUNT)
    return [counts.tobytes(), *(entry.to_bytes() for entry in entries)]


class _Entries:
    """The codebook, biases, codes and gaps of a layer."""

    def __init__(self, layer: WeightedLayer, weights: np.ndarray, biases: np.ndarray) -> None:
        flat = weights.reshape(-1)
        positions = np.flatnonzero(flat)
        values = np.unique(flat[positions])
        self.bits = CODE_BITS[layer.type]
        self.biases = biases
        self.codebook = np.zeros(1 << self.bits, _FLOAT)
        self.codebook[1 : 1 + len(values)] = values
        self.gaps, is_weight = gaps.split(positions, _STEP)
        self.gaps[~is_weight] = _STEP - 1
        self.codes = np.zeros(len(self.gaps), np.uint8)
        self.codes[is_weight] = np.searchsorted(values, flat[positions]) + 1

    def to_bytes(self) -> bytes:
        codes = _pack(self.codes) if self.bits == 4 else self.codes.tobytes()
        biases = self.biases.astype(_FLOAT).tobytes()
        return self.codebook.tobytes() + biases + codes + _pack(self.gaps)


def read(data: bytes, layers: Sequence[WeightedLayer], source: str) -> list[list[np.ndarray]]:
    """Return the blobs of each layer.

    Raises:
        FormatError: the file is damaged, or of another net.
    """
    shown = printable(source)
    head = len(layers) * _COUNT.itemsize
    if len(data) < head:
        raise FormatError(f"{shown}: is truncated: it has no count for each layer")
    counts = [int(count) for count in np.frombuffer(data, _COUNT, len(layers))]
    for layer, count in zip(layers, counts, strict=True):
        if count > prod(layer.shapes[0]):
            has = f"has {count:,} entries for {prod(layer.shapes[0]):,} weights"
            raise FormatError(f"{shown}: {layer.shown} {has}: damaged or of another net")
    needed = head + sum(map(_size, layers, counts))
    if len(data) != needed:
        has = f"has {len(data):,} bytes; its counts and the net need {needed:,}"
        what = "truncated" if len(data) < needed else "padded"
        raise FormatError(f"{shown}: {has}: {what}, damaged or of another net")
    blobs, at = [], head
    for layer, count in zip(layers, counts, strict=True):
        size = _size(layer, count)
        try:
            blobs.append(_read_layer(memoryview(data)[at : at + size], layer, count))
        except ValueError as error:
            raise FormatError(
                f"{shown}: {layer.shown}: {error}; damaged or of another net"
            ) from None
        at += size
    return blobs


def _size(layer: WeightedLayer, count: int) -> int:
    """Return the bytes of a layer with `count` entries."""
    bits = CODE_BITS[layer.type]
    floats = (1 << bits) + prod(layer.shapes[1])
    return floats * _FLOAT.itemsize + (count * bits + 7) // 8 + (count + 1) // 2


def _read_layer(data: memoryview, layer: WeightedLayer, count: int) -> list[np.ndarray]:
    bits = CODE_BITS[layer.type]
    floats = np.frombuffer(data, _FLOAT, (1 << bits) + prod(layer.shapes[1])).astype(np.float32)
    codebook, biases = floats[: 1 << bits], floats[1 << bits :]
    streams = np.frombuffer(data, np.uint8, offset=floats.nbytes)
    length = (count * bits + 7) // 8
    codes = streams[:count] if bits == 8 else _unpack(streams[:length], count)
    steps = _unpack(streams[length:], count).astype(np.int64) + 1
    if not np.isfinite(floats).all():
        raise ValueError("its codebook or biases are not all finite")
    if codebook[0] != 0:
        raise ValueError("its codebook does not begin with 0, the value of fillers")
    weights = np.zeros(prod(layer.shapes[0]), np.float32)
    weights[gaps.join(steps, weights.size)] = codebook[codes]
    return [weights.reshape(layer.shapes[0]), biases.reshape(layer.shapes[1])]


def _pack(numbers: np.ndarray) -> bytes:
    """Pack 4-bit numbers, two a byte, the low one first."""
    even = np.zeros(len(numbers) + len(numbers) % 2, np.uint8)
    even[: len(numbers)] = numbers
    packed: np.ndarray = even[::2] | (even[1::2] << 4)
    return packed.tobytes()


def _unpack(data: np.ndarray, count: int) -> np.ndarray:
    """Invert `_pack`."""
    return np.stack([data & 15, data >> 4], 1).reshape(-1)[:count]
