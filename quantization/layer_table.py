"""Every layer at every number of bits: its weights, and its part of the .sqz file.

Weights share values by k-means, as many as whole bits can number; or entropy-constrained, for which
bits are eighths; or they are multiples of a step. A choice has a level for each layer: how many
steps of bits it has.

A part depends on no other layer, and the header has a fixed size. So the bytes of the file are a
sum, and a choice of bits costs no encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..compress.bits_file import MAXIMUM_BITS, MINIMUM_BITS, SYMMETRIC, QuantizerSettings
from ..compress.encoding import Settings, price_layer, round_to, share
from ..compress.size_search import PricedLayer
from ..compress.sqz_file import HEADER_BYTES, add_header, write_layer
from ..compress.weighted_layers import SHARED_TYPES, find_weighted_layers, read_blobs
from ..errors import NetError
from ..extras import required
from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from ..nets.layer_types import Shape
from ..search.problem import Choice
from ..text import printable

Blobs = dict[str, list[np.ndarray]]  # of each layer, by name


K_MEANS, ENTROPY, UNIFORM = QUANTIZERS = ("k-means", "entropy-constrained", "uniform")
STEPS = {K_MEANS: 1, ENTROPY: 8, UNIFORM: 1}  # of a bit
_LEAST_BITS = {K_MEANS: MINIMUM_BITS, ENTROPY: 0.5, UNIFORM: MINIMUM_BITS}


class CodedLayer(NamedTuple):
    """A layer at some number of bits.

    Attributes:
        values: the different weights, increasing.
        codes: index of the value of each weight (uint8), in the shape of the weights.
        error: sum of the squared changes of weights.
        part: of the file.
    """

    values: np.ndarray
    codes: np.ndarray
    error: float
    part: bytes


class LayerTable:
    """The layers of a net whose weights are shared, at up to 8 bits each.

    What `compress encode` makes of a layer is computed when it is first asked for, and kept: a
    byte a weight and level.

    Args:
        net: its layers in TEST count.
        model: its weights.
        source: the name of the weights' file, for errors.
        image: (channels, height, width) of the records of data layers that don't define it.
        quantizer: of weights, one of `QUANTIZERS`.

    Attributes:
        quantizer: as given.
        names: of the layers whose bits are chosen, in the order of the net.
        steps: levels of a bit.
        most: level of each of them: 8 bits.
        least: 2 bits, or half a bit where they are eighths.

    Raises:
        NetError: the weights don't fit the net, no layer has weights to share, or two layers have
            the same blob.
        FormatError: a weight is not a finite number.
    """

    def __init__(
        self,
        net: NetDefinition,
        model: NetParameter,
        source: str,
        image: Shape | None = None,
        quantizer: str = K_MEANS,
    ) -> None:
        self._net, self._layers = net, find_weighted_layers(net, image)
        _check_own_blobs(net)
        self._exact = read_blobs(model, self._layers, source)
        self._places = [place for place, layer in enumerate(self._layers) if layer.is_shared]
        if not self._places:
            kinds = " or ".join(SHARED_TYPES)
            raise NetError(f"{printable(net.source)}: has no {kinds} whose bits could be chosen")
        self.names = [self._layers[place].name for place in self._places]
        self.quantizer, self.steps = quantizer, STEPS[quantizer]
        self.most: Choice = (MAXIMUM_BITS * self.steps,) * len(self._places)
        self.least: Choice = (int(_LEAST_BITS[quantizer] * self.steps),) * len(self._places)
        self._priced: dict[int, PricedLayer] = {}
        self._coded: dict[tuple[int, int], CodedLayer] = {}
        rest = set(range(len(self._layers))) - set(self._places)
        self._others = {place: write_layer(self._exact[place]) for place in rest}
        self._fixed = HEADER_BYTES + sum(map(len, self._others.values()))

    @property
    def exact(self) -> Blobs:
        """The blobs of all layers as they were, by name."""
        names = (layer.name for layer in self._layers)
        return dict(zip(names, self._exact, strict=True))

    @property
    def weights(self) -> list[int]:
        """How many weights each of `names` has."""
        return [self._exact[place][0].size for place in self._places]

    def bits(self, level: int) -> float:
        """Return how many bits a level is; a whole number unless they are eighths."""
        return level if self.steps == 1 else level / self.steps

    def rules(self, choice: Sequence[int]) -> dict[str, float]:
        """Return the bits of each layer, by name."""
        return dict(zip(self.names, map(self.bits, choice), strict=True))

    def error(self, index: int, level: int) -> float:
        """Return the sum of squared changes of the weights of one of `names` at a level."""
        return self._coded_layer(self._places[index], level).error

    def change(self, index: int, level: int) -> np.ndarray:
        """Return how the weights of one of `names` change at a level, in their shape."""
        place = self._places[index]
        coded = self._coded_layer(place, level)
        changed: np.ndarray = coded.values[coded.codes] - self._exact[place][0]
        return changed

    def layer_bytes(self, choice: Sequence[int]) -> list[int]:
        """Return the bytes of each of `names` in the file, with biases and tables."""
        return [len(coded.part) for coded in self._chosen(choice)]

    def file_bytes(self, choice: Sequence[int]) -> int:
        """Return the size of the file with these bits."""
        return self._fixed + sum(self.layer_bytes(choice))

    def file(self, choice: Sequence[int]) -> bytes:
        """Return the file that `compress encode --bits-from` writes with these bits."""
        parts = dict(self._others)
        parts |= zip(self._places, (coded.part for coded in self._chosen(choice)), strict=True)
        return b"".join(add_header(self._layers, [parts[at] for at in range(len(self._layers))]))

    def arrays(self, choice: Sequence[int]) -> Blobs:
        """Return the blobs of all layers as decoded from that file, by name."""
        arrays = self.exact
        for place, name, coded in zip(self._places, self.names, self._chosen(choice), strict=True):
            arrays[name] = [coded.values[coded.codes], *self._exact[place][1:]]
        return arrays

    def _chosen(self, choice: Sequence[int]) -> Iterator[CodedLayer]:
        return map(self._coded_layer, self._places, choice)

    def _coded_layer(self, place: int, level: int) -> CodedLayer:
        if (place, level) not in self._coded:
            self._coded[place, level] = self._encode(place, level)
        return self._coded[place, level]

    def _encode(self, place: int, level: int) -> CodedLayer:
        weights, *others = self._exact[place]
        shared = self._share(place, level) + np.float32(0)  # no -0.0
        values = np.unique(shared)
        codes = np.searchsorted(values, shared).astype(np.uint8)
        error = np.square(shared.astype(np.float64) - weights).sum()
        return CodedLayer(values, codes, float(error), write_layer([shared, *others]))

    def _share(self, place: int, level: int) -> np.ndarray:
        layer, weights = self._layers[place], self._exact[place][0]
        if self.quantizer == UNIFORM:
            return self._round_uniformly(layer.name, weights, level)
        if self.quantizer == K_MEANS or not weights.any():
            bits = level if self.quantizer == K_MEANS else MAXIMUM_BITS
            return share(layer, weights, Settings(bits=bits))
        if place not in self._priced:  # sorting takes longest
            self._priced[place] = price_layer(layer, weights)
        return round_to(layer, weights, self._priced[place].at_bits(self.bits(level)))

    def _round_uniformly(self, name: str, weights: np.ndarray, bits: int) -> np.ndarray:
        """Return the weights as `sqgen-caffe --quantize` has them with so many bits."""
        with required("torch", "--quantizer uniform"):
            import torch

        from ..engine.weight_quantizers import fit_uniform

        param = next(layer for layer in self._net.layers("TEST") if layer.name == name)
        exact = torch.from_numpy(weights)
        fitted = fit_uniform(param, exact, SYMMETRIC, bits, QuantizerSettings())
        return fitted.of_array(weights)


def _check_own_blobs(net: NetDefinition) -> None:
    """Refuse layers that share a blob: the file would hold it with the bits of each.

    Raises:
        NetError: two do.
    """
    owners: dict[str, str] = {}
    for layer in net.layers("TEST"):
        for name in (param.name for param in layer.param if param.name):
            owner = owners.setdefault(name, layer.name)
            if owner != layer.name:
                raise NetError(
                    f"{net.place(layer)}: layer '{printable(layer.name)}' shares"
                    f" '{printable(name)}' with '{printable(owner)}', so their bits can't differ;"
                    " sqgen compress encode --bits takes such nets"
                )
