"""The published layout, `.net`: Deep Compression's, as SqueezeNet's 660 KB file has it.

    entry counts    uint32 a layer
    then, for each layer:
    codebook        256 float32, of which the first is 0 (an InnerProduct: 16)
    biases          float32 an output
    codes           a byte an entry (an InnerProduct: 4 bits)
    gaps            4 bits an entry: positions left out since the entry before

All is little-endian; of two 4-bit numbers in a byte the low one comes first, and a stream of an odd
number of them has 4 bits left over. A longer gap than 15 is bridged by entries of gap 15 and
code 0. The layout names no layers and has no checks: only lengths and positions can be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..errors import FormatError, NetError
from ..text import printable
from . import gaps
from .weighted_layers import Slot

CODE_BITS = {"Convolution": 8, "InnerProduct": 4}
_STEP = 16  # positions that a filler goes on
_COUNT = np.dtype("<u4")
_FLOAT = np.dtype("<f4")


def check_slots(slots: Sequence[Slot], source: str, remedy: str) -> None:
    """Refuse a net that the layout can't hold.

    Args:
        slots: its layers with weights.
        source: its name, for messages.
        remedy: what to do, or what is wrong then.

    Raises:
        NetError: the first layer that is no convolution or inner product with biases.
    """
    for slot in slots:
        where = f"{printable(source)}: {slot.shown}"
        if slot.type not in CODE_BITS:
            raise NetError(f"{where} is a {slot.type}, which .net has no place for; {remedy}")
        if len(slot.shapes) < 2:
            raise NetError(f"{where} has no biases, which .net needs of every layer; {remedy}")


def write(slots: Sequence[Slot], blobs: Sequence[Sequence[np.ndarray]]) -> list[bytes]:
    """The pieces of the file: the counts, then one a layer.

    Args:
        slots: convolutions and inner products with biases (`check_slots`).
        blobs: weights with fewer than 2^CODE_BITS different values beside 0, and biases.
    """
    layers = [_Entries(slot, *arrays) for slot, arrays in zip(slots, blobs, strict=True)]
    counts = np.array([len(layer.codes) for layer in layers], _COUNT)
    return [counts.tobytes(), *(layer.to_bytes() for layer in layers)]


class _Entries:
    """A layer as the layout has it."""

    def __init__(self, slot: Slot, weights: np.ndarray, biases: np.ndarray) -> None:
        flat = weights.reshape(-1)
        positions = np.flatnonzero(flat)
        values = np.unique(flat[positions])
        self.bits = CODE_BITS[slot.type]
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


def read(data: bytes, slots: Sequence[Slot], source: str) -> list[list[np.ndarray]]:
    """The blobs of each layer.

    Raises:
        FormatError: the file is damaged, or another net's.
    """
    shown = printable(source)
    head = len(slots) * _COUNT.itemsize
    if len(data) < head:
        raise FormatError(f"{shown}: is cut short: it has not even a count for each layer")
    counts = [int(count) for count in np.frombuffer(data, _COUNT, len(slots))]
    for slot, count in zip(slots, counts, strict=True):
        if count > prod(slot.shapes[0]):
            has = f"has {count:,} entries for {prod(slot.shapes[0]):,} weights"
            raise FormatError(f"{shown}: {slot.shown} {has}: damaged, or another net's")
    needed = head + sum(map(_size, slots, counts))
    if len(data) != needed:
        has = f"has {len(data):,} bytes where its counts and the net ask for {needed:,}"
        what = "cut short" if len(data) < needed else "padded"
        raise FormatError(f"{shown}: {has}: {what}, damaged, or another net's")
    blobs, at = [], head
    for slot, count in zip(slots, counts, strict=True):
        size = _size(slot, count)
        try:
            blobs.append(_read_layer(memoryview(data)[at : at + size], slot, count))
        except ValueError as error:
            raise FormatError(
                f"{shown}: {slot.shown}: {error}; damaged, or another net's"
            ) from None
        at += size
    return blobs


def _size(slot: Slot, count: int) -> int:
    """Bytes of a layer with `count` entries."""
    bits = CODE_BITS[slot.type]
    floats = (1 << bits) + prod(slot.shapes[1])
    return floats * _FLOAT.itemsize + (count * bits + 7) // 8 + (count + 1) // 2


def _read_layer(data: memoryview, slot: Slot, count: int) -> list[np.ndarray]:
    bits = CODE_BITS[slot.type]
    floats = np.frombuffer(data, _FLOAT, (1 << bits) + prod(slot.shapes[1])).astype(np.float32)
    codebook, biases = floats[: 1 << bits], floats[1 << bits :]
    streams = np.frombuffer(data, np.uint8, offset=floats.nbytes)
    length = (count * bits + 7) // 8
    codes = streams[:count] if bits == 8 else _unpack(streams[:length], count)
    taken = _unpack(streams[length:], count).astype(np.int64) + 1
    if not np.isfinite(floats).all():
        raise ValueError("its codebook or biases are not all finite")
    if codebook[0] != 0:
        raise ValueError("its codebook does not begin with 0, which fillers stand for")
    weights = np.zeros(prod(slot.shapes[0]), np.float32)
    weights[gaps.join(taken, weights.size)] = codebook[codes]
    return [weights.reshape(slot.shapes[0]), biases.reshape(slot.shapes[1])]


def _pack(numbers: np.ndarray) -> bytes:
    """4-bit numbers, two a byte, the low one first."""
    even = np.zeros(len(numbers) + len(numbers) % 2, np.uint8)
    even[: len(numbers)] = numbers
    packed: np.ndarray = even[::2] | (even[1::2] << 4)
    return packed.tobytes()


def _unpack(data: np.ndarray, count: int) -> np.ndarray:
    """The inverse of `_pack`."""
    return np.stack([data & 15, data >> 4], 1).reshape(-1)[:count]
