"""Weights to a compressed file and back: prune, share, code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from ..errors import DesignError, FormatError, NetError
from ..formats.caffemodel import BINARY_LIMIT, is_caffemodel
from ..formats.files import is_text, read_bytes
from ..nets.definition import NetDefinition
from ..nets.layer_types import Shape
from ..nets.totals import FLOAT_BYTES
from ..text import did_you_mean, printable
from . import net_file, sharing, sqz_file
from .prune import Rule, density_of, prune
from .rounding import share
from .size_search import DEAREST, PricedLayer, price_for, size_of
from .weighted_layers import Slot, blobs_of, slots_of, to_model, unused_layers

LAYOUTS = ("net", "sqz")
LEAST_BITS, MOST_BITS = 2, 8
Blobs = list[list[np.ndarray]]


@dataclass(frozen=True)
class Settings:
    """How weights are compressed.

    Attributes:
        layout: `sqz`, or `net`, the published one, whose convolutions have 8 bits and inner
            products 4.
        bits: of a layer's codes; a layer has at most 2^bits different values, 0 among them.
        bits_for: (shell pattern of layer names, bits); the first that matches counts.
        size: bytes that the file may have: instead of k-means with `bits`, each layer gets the
            values that are worth their bits, all layers at one price; .sqz only.
        density: what is kept of layers; where no rule matches, the zeros that are there.
        huffman: whether .sqz codes streams where that is shorter.

    Raises:
        DesignError: there is nothing like it.
    """

    layout: str = "sqz"
    bits: int = MOST_BITS
    bits_for: tuple[tuple[str, int], ...] = ()
    size: int | None = None
    density: tuple[Rule, ...] = ()
    huffman: bool = True

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise DesignError(f"no layout '{printable(self.layout)}'; net or sqz")
        for bits in (self.bits, *(bits for _, bits in self.bits_for)):
            if not LEAST_BITS <= bits <= MOST_BITS:
                raise DesignError(f"{bits} bits: a shared weight has {LEAST_BITS} to {MOST_BITS}")
        if self.layout == "net" and (self.bits != MOST_BITS or self.bits_for or self.size):
            raise DesignError(
                ".net has 8 bits for convolutions and 4 for inner products: only .sqz takes other"
                " bits, or a size"
            )

    def bits_of(self, slot: Slot) -> int:
        """Of a layer's codes."""
        if self.layout == "net":
            return net_file.CODE_BITS[slot.type]
        return next(
            (b for pattern, b in self.bits_for if fnmatchcase(slot.name, pattern)), self.bits
        )


class Row(NamedTuple):
    """What became of a layer.

    Attributes:
        layer, type: its name and type.
        weights: elements of its first blob.
        density: share of those that are not 0.
        values: different values among them, 0 not counted.
        bits: that tell those values apart; 32 where a layer was kept as it is.
        bytes: of the layer in the file, biases and tables too.
        share: of the file.
        error: root of the mean squared change of its weights, pruning too, relative to their own.
    """

    layer: str
    type: str
    weights: int
    density: float
    values: int
    bits: int
    bytes: int
    share: float
    error: float


@dataclass(frozen=True, repr=False)
class Compressed:
    """A compressed file, and what is in it.

    Attributes:
        bytes: of the file.
        float_bytes: of the same blobs in float32.
        table: a row a layer.
        model: the NetParameter that decoding gives.
        unused: layers with weights that the net has no layer for.
    """

    bytes: bytes
    float_bytes: int
    table: list[Row]
    model: Any
    unused: list[str]


def encode(
    model: Any,
    net: NetDefinition,
    settings: Settings | None = None,
    *,
    source: str = "weights",
    image: Shape | None = None,
) -> Compressed:
    """Compress the weights of a net.

    Args:
        model: a NetParameter, as `formats.caffemodel.read_caffemodel` gives it.
        net: whose layers count, in its TEST phase.
        settings: how.
        source: the name of the weights' file, for messages.
        image: (channels, height, width) of the records of data layers that don't tell.

    Raises:
        NetError: the weights are another net's, or .net can't hold the net.
        FormatError: a weight is not a finite number.
        DesignError: no file is as small as asked.
    """
    settings = settings or Settings()
    slots = slots_of(net, image)
    _check_patterns(slots, settings)
    if settings.layout == "net":
        net_file.check_slots(slots, net.source, "write .sqz")
    exact = blobs_of(model, slots, source)
    pruned = [
        [_pruned(slot, blobs[0], settings), *blobs[1:]]
        for slot, blobs in zip(slots, exact, strict=True)
    ]
    if settings.size is None:
        made = _share_all(slots, pruned, settings)
        pieces = _write(slots, made, settings)
    else:
        made, pieces = _fit(slots, pruned, settings)
    data = b"".join(pieces)
    sizes = [len(piece) for piece in pieces[1:]]
    table = [
        _row(slot, old[0], new[0], size, len(data))
        for slot, old, new, size in zip(slots, exact, made, sizes, strict=True)
    ]
    floats = FLOAT_BYTES * sum(array.size for blobs in exact for array in blobs)
    decoded = to_model(net, slots, made)
    return Compressed(data, floats, table, decoded, unused_layers(model, slots))


def read_compressed(
    path: str | os.PathLike[str], net: NetDefinition, image: Shape | None = None
) -> Any:
    """The NetParameter of a net's layers in TEST with the weights of a `.net` or `.sqz` file.

    Raises:
        FormatError: the file can't be read, is damaged, cut short or of another kind.
        NetError: it is another net's, or .net can't hold the net.
    """
    source = os.fspath(path)
    return decode(read_bytes(path, BINARY_LIMIT, "a compressed net"), net, source, image)


def decode(data: bytes, net: NetDefinition, source: str, image: Shape | None = None) -> Any:
    """As `read_compressed`, from the bytes of a file named `source`."""
    slots = slots_of(net, image)
    if sqz_file.is_sqz(data):
        return to_model(net, slots, sqz_file.read(data, slots, source))
    shown, named_sqz = printable(source), source.endswith(".sqz")
    try:
        net_file.check_slots(slots, net.source, f"{shown} is another net's")
        blobs = net_file.read(data, slots, source)
    except (FormatError, NetError):
        if (other := _other_kind(data)) is not None:
            raise FormatError(f"{shown}: {other}") from None
        if named_sqz:
            raise FormatError(f"{shown}: does not begin as a .sqz does; it is damaged") from None
        raise
    if named_sqz:
        raise FormatError(f"{shown}: is a .net by what is in it; give it such a name")
    return to_model(net, slots, blobs)


def _other_kind(data: bytes) -> str | None:
    """What a file is that holds no compressed weights, as far as that can be seen."""
    if not data:
        return "is empty"
    if is_text(data):
        return "is text, such as a prototxt, not weights; give a .net or .sqz"
    if is_caffemodel(data):
        return "is a .caffemodel already: there is nothing to decode"
    return None


def _check_patterns(slots: Sequence[Slot], settings: Settings) -> None:
    """Refuse a pattern of bits that means no layer, and densities that mean none at all."""
    names = [slot.name for slot in slots if slot.shared]
    for pattern, _ in settings.bits_for:
        if not any(fnmatchcase(name, pattern) for name in names):
            hint = did_you_mean(pattern, names)
            raise DesignError(f"no layer to compress is named '{printable(pattern)}'{hint}")
    rules = settings.density
    if rules and all(density_of(name, rules) is None for name in names):
        raise DesignError(
            f"the densities are of other layers, such as '{printable(rules[0].pattern)}': the net"
            f" has {printable(', '.join(names[:3]))}"
        )


def _pruned(slot: Slot, weights: np.ndarray, settings: Settings) -> np.ndarray:
    density = density_of(slot.name, settings.density) if slot.shared else None
    return weights if density is None else prune(weights, density)


def _room(slot: Slot, weights: np.ndarray, settings: Settings) -> int:
    """Values beside 0 that a layer may have: 0 is one of its own where it occurs."""
    zero = settings.layout == "net" or not weights.all()
    return int((1 << settings.bits_of(slot)) - zero)


def _share_all(slots: Sequence[Slot], blobs: Blobs, settings: Settings) -> Blobs:
    """The blobs with weights shared by k-means; a layer of few values stays as it is."""
    made = []
    for slot, (weights, *rest) in zip(slots, blobs, strict=True):
        there = weights[weights != 0]
        if slot.shared and len(np.unique(there)) > (room := _room(slot, weights, settings)):
            shared = share(slot.filters(weights), sharing.k_means(there, room))
            weights = slot.unfiltered(shared)
        made.append([weights, *rest])
    return made


def _fit(slots: Sequence[Slot], blobs: Blobs, settings: Settings) -> tuple[Blobs, list[bytes]]:
    """The blobs, and pieces of a file, at the lowest price of a bit that makes it small enough."""
    limit = settings.size or 0
    made = _share_all(slots, blobs, settings)
    pieces = _write(slots, made, settings)
    layers = {
        index: PricedLayer(weights[weights != 0], made[index][0][weights != 0])
        for index, (slot, (weights, *_)) in enumerate(zip(slots, blobs, strict=True))
        if slot.shared and weights.any()
    }
    finest = [np.unique(made[index][0], return_counts=True) for index in layers]
    known = sum(size_of(counts[values != 0], settings.huffman) for values, counts in finest)
    room = limit - (_size(pieces) - known)  # for values and codes
    while _size(pieces) > limit:
        price = price_for(list(layers.values()), room, settings.huffman)
        made = [list(arrays) for arrays in blobs]
        for index, layer in layers.items():
            values, _ = layer.at(DEAREST if price is None else price)
            filters = share(slots[index].filters(blobs[index][0]), values)
            made[index][0] = slots[index].unfiltered(filters)
        pieces = _write(slots, made, settings)
        if price is None and _size(pieces) > limit:
            raise DesignError(
                f"no file of {limit:,} bytes: with one value a layer it has {_size(pieces):,}; give"
                " a larger --size, or prune the weights (sqgen compress encode --density)"
            )
        # What was reckoned is not exactly what it comes to: positions, tables, cancelled errors.
        room -= max(_size(pieces) - limit, 0) + limit / 4096
    return made, pieces


def _size(pieces: Sequence[bytes]) -> int:
    return sum(map(len, pieces))


def _write(slots: Sequence[Slot], blobs: Blobs, settings: Settings) -> list[bytes]:
    if settings.layout == "net":
        return net_file.write(slots, blobs)
    return sqz_file.write(slots, blobs, settings.huffman)


def _row(slot: Slot, old: np.ndarray, new: np.ndarray, size: int, total: int) -> Row:
    there = new[new != 0]
    values = len(np.unique(there))
    norm = float(np.linalg.norm(old.astype(np.float64)))
    change = float(np.linalg.norm(new.astype(np.float64) - old))
    return Row(
        layer=slot.name,
        type=slot.type,
        weights=new.size,
        density=there.size / new.size if new.size else 0.0,
        values=values,
        bits=max(values - 1, 0).bit_length() if slot.shared else 32,
        bytes=size,
        share=size / total,
        error=change / norm if norm else 0.0,
    )
