"""Encode weights as a compressed file (prune, share, code), and decode them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeVar

import numpy as np

from ..errors import DesignError, FormatError, NetError
from ..formats.caffemodel import is_caffemodel
from ..formats.files import BINARY_LIMIT, is_text, read_bytes
from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from ..nets.layer_types import Shape
from ..nets.totals import FLOAT_BYTES
from ..text import did_you_mean, printable
from . import net_file, sqz_file
from .bits_file import MAXIMUM_BITS, MINIMUM_BITS
from .layer_change import LayerChange, layer_changes
from .prune import DensityRule, find_density, prune
from .rounding import round_filters
from .sharing import Sharing, k_means
from .size_search import MAXIMUM_PRICE, PricedLayer, find_price
from .weighted_layers import (
    WeightedLayer,
    find_weighted_layers,
    read_blobs,
    to_model,
    unused_layers,
)

LAYOUTS = ("net", "sqz")
Blobs = list[list[np.ndarray]]
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Settings:
    """Settings of `encode`.

    Attributes:
        layout: `sqz`, or `net`, the published one, with 8 bits for convolutions and 4 for inner
            products.
        bits: of a layer's codes; a layer has at most 2^bits different values, 0 included.
        bits_for: (shell pattern of layer names, bits); the first match applies.
        entropy_bits_for: likewise, with entropy-constrained sharing (`PricedLayer.at_bits`), any
            number above 0; comes before `bits_for`.
        values_for: layer -> the values that its weights share, increasing: each weight gets the
            nearest; comes before all bits.
        bits_source: the file that `bits_for` are from, for errors; empty if they are typed.
        size: maximum bytes of the file, instead of `bits`: entropy-constrained quantization at one
            price of a bit for all layers; .sqz only.
        density: rules to prune layers by; a layer without a matching rule keeps its weights.
        huffman: whether .sqz uses Huffman codes where they are shorter.

    Raises:
        DesignError: an unknown layout, or bits that it can't have.
    """

    layout: str = "sqz"
    bits: int = MAXIMUM_BITS
    bits_for: tuple[tuple[str, int], ...] = ()
    entropy_bits_for: tuple[tuple[str, float], ...] = ()
    values_for: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    bits_source: str = ""
    size: int | None = None
    density: tuple[DensityRule, ...] = ()
    huffman: bool = True

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise DesignError(f"unknown layout '{printable(self.layout)}'; give net or sqz")
        for bits in (self.bits, *(bits for _, bits in self.bits_for)):
            if not MINIMUM_BITS <= bits <= MAXIMUM_BITS:
                raise DesignError(
                    f"{bits} bits: a shared weight has {MINIMUM_BITS} to {MAXIMUM_BITS}"
                )
        rules = (self.bits_for, self.entropy_bits_for, self.values_for, self.size)
        if self.layout == "net" and (self.bits != MAXIMUM_BITS or any(rules)):
            raise DesignError(
                ".net has 8 bits for convolutions and 4 for inner products; write .sqz for other"
                " bits or a size"
            )

    def bits_of(self, layer: WeightedLayer) -> int:
        """Return the bits of a layer's codes."""
        if self.layout == "net":
            return net_file.CODE_BITS[layer.type]
        return _first_match(self.bits_for, layer.name) or self.bits

    def entropy_bits_of(self, layer: WeightedLayer) -> float | None:
        """Return the bits of a layer whose sharing is entropy-constrained; None for others."""
        return _first_match(self.entropy_bits_for, layer.name)


def _first_match(rules: Sequence[tuple[str, Number]], name: str) -> Number | None:
    return next((bits for pattern, bits in rules if fnmatchcase(name, pattern)), None)


class CompressedLayer(NamedTuple):
    """Sizes and error of a compressed layer.

    Attributes:
        layer, type: its name and type.
        weights: number of elements of its first blob.
        density: fraction of them that are not 0.
        values: number of different values among them, without 0.
        bits: to number those values; 32 for a layer that is not shared.
        bytes: of the layer in the file, with biases and tables.
        share: fraction of the file.
        error: norm of the change of its weights, pruning included, relative to their norm.
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
    """The result of `encode`.

    Attributes:
        bytes: of the file.
        float_bytes: size of the same blobs in float32.
        layers: sizes and error of each layer.
        model: the caffemodel that decoding returns.
        unused: names of layers with weights that the net lacks.
    """

    bytes: bytes
    float_bytes: int
    layers: list[CompressedLayer]
    model: NetParameter
    unused: list[str]


def encode(
    model: NetParameter,
    net: NetDefinition,
    settings: Settings | None = None,
    *,
    source: str = "weights",
    image: Shape | None = None,
) -> Compressed:
    """Compress the weights of a net.

    Args:
        model: the weights, as `formats.caffemodel.read_caffemodel` returns them.
        net: its layers in TEST are compressed.
        settings: `Settings()` if None.
        source: the name of the weights' file, for errors.
        image: (channels, height, width) of the records of data layers that don't define it.

    Raises:
        NetError: the weights don't fit the net, or .net can't hold the net.
        FormatError: a weight is not a finite number.
        DesignError: a pattern matches no layer, or `size` is too small.
    """
    settings = settings or Settings()
    layers = find_weighted_layers(net, image)
    check_patterns(layers, settings)
    if settings.layout == "net":
        net_file.check_layers(layers, net.source, "write .sqz")
    exact = read_blobs(model, layers, source)
    pruned = [
        [_pruned(layer, blobs[0], settings), *blobs[1:]]
        for layer, blobs in zip(layers, exact, strict=True)
    ]
    if settings.size is None:
        shared = _share_all(layers, pruned, settings)
        parts = _write(layers, shared, settings)
    else:
        shared, parts = _share_to_size(layers, pruned, settings)
    data = b"".join(parts)
    sizes = [len(part) for part in parts[1:]]
    changes = layer_changes(layers, exact, shared)
    results = [
        _compressed_layer(change, size, len(data))
        for change, size in zip(changes, sizes, strict=True)
    ]
    floats = FLOAT_BYTES * sum(array.size for blobs in exact for array in blobs)
    decoded = to_model(net, layers, shared)
    return Compressed(data, floats, results, decoded, unused_layers(model, layers))


def read_compressed(
    path: str | os.PathLike[str], net: NetDefinition, image: Shape | None = None
) -> NetParameter:
    """Read a `.net` or `.sqz` file as the caffemodel of a net's TEST phase.

    Raises:
        FormatError: the file can't be read, is damaged, truncated or of another kind.
        NetError: the file is of another net, or .net can't hold the net.
    """
    source = os.fspath(path)
    return decode(read_bytes(path, BINARY_LIMIT, "a compressed net"), net, source, image)


def decode(
    data: bytes, net: NetDefinition, source: str, image: Shape | None = None
) -> NetParameter:
    """Decode the bytes of a file named `source` as `read_compressed` does."""
    layers = find_weighted_layers(net, image)
    if sqz_file.is_sqz(data):
        return to_model(net, layers, sqz_file.read(data, layers, source))
    shown, named_sqz = printable(source), source.endswith(".sqz")
    try:
        net_file.check_layers(layers, net.source, f"{shown} is of another net")
        blobs = net_file.read(data, layers, source)
    except (FormatError, NetError):
        if (reason := _wrong_kind(data)) is not None:
            raise FormatError(f"{shown}: {reason}") from None
        if named_sqz:
            raise FormatError(f"{shown}: does not begin like a .sqz; it is damaged") from None
        raise
    if named_sqz:
        raise FormatError(f"{shown}: has the contents of a .net; rename it")
    return to_model(net, layers, blobs)


def _wrong_kind(data: bytes) -> str | None:
    """Return what a file is instead of compressed weights, if recognizable."""
    if not data:
        return "is empty"
    if is_text(data):
        return "is text, such as a prototxt, not weights; give a .net or .sqz"
    if is_caffemodel(data):
        return "is a .caffemodel already; there is nothing to decode"
    return None


def check_patterns(layers: Sequence[WeightedLayer], settings: Settings) -> None:
    """Refuse a pattern of `bits_for` that matches no layer, and `density` if no rule does.

    Raises:
        DesignError: one matches none.
    """
    names = [layer.name for layer in layers if layer.is_shared]
    for pattern, _ in (*settings.bits_for, *settings.entropy_bits_for):
        if not any(fnmatchcase(name, pattern) for name in names):
            where = f"{printable(settings.bits_source)}: " if settings.bits_source else ""
            hint = did_you_mean(pattern, names)
            raise DesignError(f"{where}no layer to compress is named '{printable(pattern)}'{hint}")
    rules = settings.density
    if rules and all(find_density(name, rules) is None for name in names):
        raise DesignError(
            f"no density matches a layer: rules such as '{printable(rules[0].pattern)}', layers"
            f" such as {printable(', '.join(names[:3]))}"
        )


def _pruned(layer: WeightedLayer, weights: np.ndarray, settings: Settings) -> np.ndarray:
    density = find_density(layer.name, settings.density) if layer.is_shared else None
    return weights if density is None else prune(weights, density)


def _maximum_values(layer: WeightedLayer, weights: np.ndarray, settings: Settings) -> int:
    """Return how many values beside 0 a layer may have: 0 takes a code where it occurs."""
    has_zero = settings.layout == "net" or not weights.all()
    return int((1 << settings.bits_of(layer)) - has_zero)


def _share_all(layers: Sequence[WeightedLayer], blobs: Blobs, settings: Settings) -> Blobs:
    """Share the weights of each layer by k-means; a layer with few values stays exact."""
    pairs = zip(layers, blobs, strict=True)
    return [[share(layer, weights, settings), *others] for layer, (weights, *others) in pairs]


def share(layer: WeightedLayer, weights: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the weights of a layer after sharing, as `encode` does it with bits.

    Weights that have few enough values, and those of layers that are not shared, stay exact.
    """
    if layer.is_shared and layer.name in settings.values_for:
        return _nearest(weights, settings.values_for[layer.name])
    bits = settings.entropy_bits_of(layer)
    if bits is not None and layer.is_shared and weights.any():
        return round_to(layer, weights, price_layer(layer, weights).at_bits(bits))
    nonzero = weights[weights != 0]
    maximum = _maximum_values(layer, weights, settings)
    if not layer.is_shared or len(np.unique(nonzero)) <= maximum:
        return weights
    filters = round_filters(layer.to_filters(weights), k_means(nonzero, maximum))
    return layer.from_filters(filters)


def _nearest(weights: np.ndarray, values: Sequence[float]) -> np.ndarray:
    """Return the nearest value of each weight; halfway between two, the lower one."""
    shared = np.array(values, weights.dtype)
    middles = shared[1:] / 2 + shared[:-1] / 2
    return shared[middles.searchsorted(weights)]


def price_layer(layer: WeightedLayer, weights: np.ndarray) -> PricedLayer:
    """Return what a layer's weights share at a price; some are not 0."""
    return PricedLayer(weights, share(layer, weights, Settings()))


def round_to(layer: WeightedLayer, weights: np.ndarray, sharing: Sharing) -> np.ndarray:
    """Return the weights of a layer, each replaced by one of the values, or 0."""
    kept = layer.to_filters(sharing.keeps(weights))
    return layer.from_filters(round_filters(layer.to_filters(weights), sharing.values, kept))


def _share_to_size(
    layers: Sequence[WeightedLayer], blobs: Blobs, settings: Settings
) -> tuple[Blobs, list[bytes]]:
    """Share weights at the lowest price of a bit that fits; return blobs and parts of the file."""
    limit = settings.size or 0
    shared = _share_all(layers, blobs, settings)
    parts = _write(layers, shared, settings)
    priced = {
        index: PricedLayer(weights, shared[index][0])
        for index, (layer, (weights, *_)) in enumerate(zip(layers, blobs, strict=True))
        if layer.is_shared and weights.any()
    }
    estimate = sum(each.estimate(each.finest, settings.huffman) for each in priced.values())
    available = limit - (_size(parts) - estimate)  # bytes for values, codes and positions
    while _size(parts) > limit:
        price = find_price(list(priced.values()), available, settings.huffman)
        shared = [list(arrays) for arrays in blobs]
        for index, priced_layer in priced.items():
            sharing = priced_layer.at(MAXIMUM_PRICE if price is None else price)
            shared[index][0] = round_to(layers[index], blobs[index][0], sharing)
        parts = _write(layers, shared, settings)
        if price is None and _size(parts) > limit:
            raise DesignError(
                f"no file of {limit:,} bytes: with one value a layer it has {_size(parts):,}; give"
                " a larger --size, or prune the weights (sqgen compress encode --density)"
            )
        # The estimate is not exact: it ignores tables and the rounding of filters.
        available -= max(_size(parts) - limit, 0) + limit / 4096
    return shared, parts


def _size(parts: Sequence[bytes]) -> int:
    return sum(map(len, parts))


def _write(layers: Sequence[WeightedLayer], blobs: Blobs, settings: Settings) -> list[bytes]:
    if settings.layout == "net":
        return net_file.write(layers, blobs)
    return sqz_file.write(layers, blobs, settings.huffman)


def _compressed_layer(change: LayerChange, size: int, total: int) -> CompressedLayer:
    return CompressedLayer(**change._asdict(), bytes=size, share=size / total)
