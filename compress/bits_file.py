"""Bits of layers in a TOML file, such as `"fire2/expand3x3" = 3`, and how they are used.

    "fire2/expand3x3" = 3                     # bits of its weights
    [activations]
    "fire2/*" = 8                             # bits of what a layer reads
    [quantizer]                               # how; see `QuantizerSettings`
    weights = "symmetric"
    [ranges]                                  # of what a layer reads, found on images
    "fire2/expand3x3" = [0.0, 7.25]
    [values]                                  # that the weights of a layer share
    "fire2/expand3x3" = [-0.5, 0.0, 0.25]
    [entropy_constrained]                     # bits of weights that are shared as by `--size`
    "fire3/*" = 2.625

All tables may be left out. `compress encode` reads the bits of weights alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from glob import escape
from itertools import pairwise
from typing import Any, TypeVar

from ..errors import DesignError, FormatError
from ..formats import toml
from ..formats.ristretto import RISTRETTO_TYPES
from ..formats.schema import LayerParameter
from ..json_form import from_json
from ..text import did_you_mean, printable

MINIMUM_BITS, MAXIMUM_BITS = 2, 8
QUANTIZED_TYPES = ("Convolution", "Deconvolution", "InnerProduct")
KINDS = SHARED, SYMMETRIC, ASYMMETRIC = "shared", "symmetric", "asymmetric"
RANGE_RULES = MAX, PERCENTILE, MSE, KL = "max", "percentile", "mse", "kl"
PAIR = "pair"  # of weights alone
TABLES = ACTIVATIONS, QUANTIZER, RANGES, VALUES, ENTROPY = (
    *("activations", "quantizer", "ranges", "values"),
    "entropy_constrained",
)
_CHOICES = {
    "weights": KINDS,
    "weight_range": (*RANGE_RULES, PAIR),
    "activations": (SYMMETRIC, ASYMMETRIC),
    "activation_range": RANGE_RULES,
}
_MOST_IMAGES = 1 << 20
_FLOAT_MAX = 3.4028234663852886e38  # the largest float32
_EXAMPLE = '"fire2/expand3x3" = 3'
_RANGES_EXAMPLE = '"fire2/expand3x3" = [0.0, 7.25]'
_ENTROPY_EXAMPLE = '"fire2/expand3x3" = 2.625'
_VALUES_EXAMPLE = '"fire2/expand3x3" = [-0.5, 0.0, 0.25]'

Rules = Mapping[str, int]  # shell pattern of layer names -> bits; the first that matches applies
Range = tuple[float, float]
Number = TypeVar("Number", int, float)
Value = TypeVar("Value")


@dataclass(frozen=True)
class QuantizerSettings:
    """How layers with bits are quantized: the table `[quantizer]`.

    Attributes:
        weights: `shared` (k-means, as `compress encode` does), or uniform: `symmetric` or
            `asymmetric`. None: symmetric where activations have bits too, else shared.
        channels: whether uniform weights have a range for each output channel.
        weight_range: of uniform weights: `max`, all of them; `percentile`, most of them; `mse`, the
            least squared error; `kl`, the least divergence of the histograms; `pair`, `mse` but
            for 8 bits, where the codes of two weights whose products are added in 16 bits fit.
        activations: `symmetric`, from 0 on where nothing is below; or `asymmetric`.
        activation_range: of activations, likewise.
        percentile: how many percent of the numbers a range of `percentile` has.
        images: how many images find the ranges of activations, at least.

    Raises:
        ValueError: a value that there is not.
    """

    weights: str | None = None
    channels: bool = False
    weight_range: str = MSE
    activations: str = SYMMETRIC
    activation_range: str = MSE
    percentile: float = 99.99
    images: int = 256

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise ValueError(
                    f"{name} is one of {', '.join(choices)}, not '{printable(value, 60)}'"
                    f"{did_you_mean(value, choices)}"
                )
        if self.channels and self.weight_range == KL:
            raise ValueError(
                f"weight_range {KL} compares histograms, for which a channel has too few weights;"
                f" write {MSE}, or channels = false"
            )
        if not 50 <= self.percentile <= 100:
            raise ValueError(f"percentile is from 50 to 100, not {self.percentile:g}")
        if not 1 <= self.images <= _MOST_IMAGES:
            raise ValueError(f"images are from 1 to {_MOST_IMAGES}, not {self.images}")


@dataclass(frozen=True)
class BitsFile:
    """The content of a file of bits.

    Attributes:
        weights, activations: rules for the bits of layers.
        quantizer: how they are quantized.
        ranges: layer -> lowest and highest number that it reads, where it is known.
        values: layer -> those that its weights share, increasing, where they are known.
        entropy: rules for layers whose sharing is entropy-constrained: any number of bits above 0.
        source: the file's name, for messages; empty where there is none.
    """

    weights: Rules = field(default_factory=dict)
    activations: Rules = field(default_factory=dict)
    quantizer: QuantizerSettings = field(default_factory=QuantizerSettings)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    entropy: Mapping[str, float] = field(default_factory=dict)
    source: str = field(default="", compare=False)

    @property
    def weight_kind(self) -> str:
        """How weights are quantized, one of `KINDS`."""
        return self.quantizer.weights or (SYMMETRIC if self.activations else SHARED)

    def means_as(self, other: BitsFile) -> bool:
        """Whether it says the same of a training but for what is found on images and weights."""
        mine, theirs = (
            format_bits_file(replace(each.resolved(), ranges={}, values={}))
            for each in (self, other)
        )
        return mine == theirs  # as text, since the order of rules counts

    def resolved(self) -> BitsFile:
        """Return it with the kind of weights said."""
        return replace(self, quantizer=replace(self.quantizer, weights=self.weight_kind))

    def with_default_bits(self, weights: int | None, activations: int | None) -> BitsFile:
        """Return it with bits for all layers that no rule matches; None adds none.

        Raises:
            DesignError: bits that there are not.
        """
        for bits in (weights, activations):
            if bits is not None and not MINIMUM_BITS <= bits <= MAXIMUM_BITS:
                raise DesignError(f"{bits} bits: give {MINIMUM_BITS} to {MAXIMUM_BITS}")
        return replace(
            self,
            weights=_with_default(self.weights, weights),
            activations=_with_default(self.activations, activations),
        )

    def weight_bits(self, layers: Iterable[str]) -> dict[str, int]:
        """Return the bits of the weights of those of these layers that have any."""
        return _bits_of(self.weights, layers)

    def entropy_bits(self, layers: Iterable[str]) -> dict[str, float]:
        """Return the bits of those of these layers whose sharing is entropy-constrained."""
        return _bits_of(self.entropy, layers)

    def activation_bits(self, layers: Iterable[str]) -> dict[str, int]:
        """Return the bits of what these layers read, of those that have any."""
        return _bits_of(self.activations, layers)

    def check_layers(self, layers: Iterable[LayerParameter]) -> None:
        """Check that each rule, range and value is of a layer that can be quantized.

        Args:
            layers: of a net, in any phase.

        Raises:
            DesignError: one is of none.
        """
        layers = list(layers)
        names = [layer.name for layer in layers if layer.type in QUANTIZED_TYPES]
        for pattern in (*self.weights, *self.activations, *self.entropy):
            if not any(fnmatchcase(name, pattern) for name in names):
                self._refuse_layer(pattern, layers)
        for name in (*self.ranges, *self.values):
            if name not in names:
                self._refuse_layer(name, layers)

    def _refuse_layer(self, name: str, layers: Sequence[LayerParameter]) -> None:
        """Refuse a name, or a pattern of names."""
        where = f"{printable(self.source)}: " if self.source else ""
        for layer in layers:
            if layer.type in RISTRETTO_TYPES and fnmatchcase(layer.name, name):
                raise DesignError(
                    f"{where}layer '{printable(layer.name)}' is {layer.type}, which has bits in the"
                    " net itself: give the plain net, or no other bits"
                )
        hint = did_you_mean(name, (x.name for x in layers if x.type in QUANTIZED_TYPES))
        raise DesignError(f"{where}no layer to quantize is named '{printable(name)}'{hint}")


def _with_default(rules: Rules, bits: int | None) -> Rules:
    """Return rules with bits for layers that none matches."""
    return rules if bits is None or "*" in rules else {**rules, "*": bits}


def _bits_of(rules: Mapping[str, Number], layers: Iterable[str]) -> dict[str, Number]:
    found = {}
    for name in layers:
        bits = next((bits for pattern, bits in rules.items() if fnmatchcase(name, pattern)), None)
        if bits is not None:
            found[name] = bits
    return found


def read_bits(path: str) -> BitsFile:
    """Read a file that has bits of weights.

    Raises:
        FormatError: as `read_bits_file`; or no layer has bits of weights.
    """
    file = read_bits_file(path)
    if not file.weights and not file.entropy:
        raise FormatError(f"{printable(path)}: has no bits of weights; write {_EXAMPLE}")
    return file


def read_bits_file(path: str) -> BitsFile:
    """Read a file of bits.

    Raises:
        FormatError: it can't be read, or has anything else.
    """
    return _parse(toml.read_rules(path, "bits", _EXAMPLE), path)


def parse_bits_file(text: str, source: str) -> BitsFile:
    """Read the text of a file named `source`.

    Raises:
        FormatError: as `read_bits_file`.
    """
    return _parse(toml.parse_rules(text.encode(), source, "bits", _EXAMPLE), source)


def _parse(table: Mapping[str, Any], source: str) -> BitsFile:
    parts = {name: _table(table, name) for name in TABLES}
    rules = {key: value for key, value in table.items() if key not in parts or parts[key] is None}
    shown = printable(source)
    try:
        settings = from_json(QuantizerSettings, dict(parts[QUANTIZER] or {}))
    except ValueError as error:
        raise FormatError(f"{shown}: [{QUANTIZER}] {error}") from None
    return BitsFile(
        dict(_read_rules(rules, shown)),
        dict(_read_rules(parts[ACTIVATIONS] or {}, f"{shown}: [{ACTIVATIONS}]")),
        settings,
        dict(_read_each(parts[RANGES], _range, f"{shown}: [{RANGES}]", _RANGES_EXAMPLE)),
        dict(_read_each(parts[VALUES], _values, f"{shown}: [{VALUES}]", _VALUES_EXAMPLE)),
        dict(_read_each(parts[ENTROPY], _entropy_bits, f"{shown}: [{ENTROPY}]", _ENTROPY_EXAMPLE)),
        source,
    )


def _table(table: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return a table of the file; None where there is none, or a layer has this name."""
    value = table.get(name)
    return value if isinstance(value, dict) else None


def _read_rules(rules: Mapping[str, Any], where: str) -> Iterator[tuple[str, int]]:
    toml.check_patterns(rules, where)
    for pattern, bits in rules.items():
        is_whole = isinstance(bits, int) and not isinstance(bits, bool)
        if not is_whole or not MINIMUM_BITS <= bits <= MAXIMUM_BITS:
            hint = did_you_mean(pattern, TABLES) if isinstance(bits, dict) else ""
            raise FormatError(
                f"{where}: '{printable(pattern, 60)}' takes bits, {MINIMUM_BITS} to"
                f" {MAXIMUM_BITS}; write {_EXAMPLE}{hint}"
            )
        yield pattern, bits


def _read_each(
    table: Mapping[str, Any] | None, read: Callable[[Any], Value | None], where: str, example: str
) -> Iterator[tuple[str, Value]]:
    """Yield layers and what `read` makes of theirs; None of what is wrong."""
    for name, plain in (table or {}).items():
        value = read(plain)
        if value is None:
            raise FormatError(f"{where}: '{printable(name, 60)}' is wrong; write {example}")
        yield name, value


def _numbers(plain: Any) -> tuple[float, ...]:
    """Return numbers that a float32 can be, or nothing."""
    if not isinstance(plain, list) or not all(type(each) in (int, float) for each in plain):
        return ()
    return tuple(map(float, plain)) if all(abs(each) <= _FLOAT_MAX for each in plain) else ()


def _range(plain: Any) -> Range | None:
    numbers = _numbers(plain)
    return numbers if len(numbers) == 2 and numbers[0] <= numbers[1] else None


def _values(plain: Any) -> tuple[float, ...] | None:
    numbers = _numbers(plain)
    increases = all(low < high for low, high in pairwise(numbers))
    return numbers if 1 <= len(numbers) <= 1 << MAXIMUM_BITS and increases else None


def _entropy_bits(plain: Any) -> float | None:
    is_number = type(plain) in (int, float)
    return float(plain) if is_number and 0 < plain <= MAXIMUM_BITS else None


def format_bits_file(file: BitsFile, header: str = "") -> str:
    """Return the TOML that `read_bits_file` reads: numbers keep all their digits.

    Args:
        file: the content; names of layers are patterns already.
        header: lines of comment.
    """
    import tomli_w

    defaults = QuantizerSettings()
    settings = {each.name: getattr(file.quantizer, each.name) for each in fields(defaults)}
    tables = {
        ACTIVATIONS: dict(file.activations),
        QUANTIZER: {k: v for k, v in settings.items() if v != getattr(defaults, k)},
        RANGES: {name: list(pair) for name, pair in file.ranges.items()},
        VALUES: {name: list(values) for name, values in file.values.items()},
        ENTROPY: dict(file.entropy),
    }
    written = {name: table for name, table in tables.items() if table}
    return header + tomli_w.dumps({**file.weights, **written})


def pattern_of(name: str) -> str:
    """Return a pattern of this name alone, which is the name of no table."""
    return f"[{name[0]}]{name[1:]}" if name in TABLES else escape(name)
