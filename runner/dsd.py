"""Dense-Sparse-Dense training (Han et al., arXiv:1607.04381): phases, and the mask of a sparse one.

From trained weights, a sparse phase trains only the largest of each layer; the dense phase after it
trains all again, those that were masked from zero, at a tenth of the rate. Both may be repeated.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import TYPE_CHECKING

from ..errors import DesignError, NetError, SqgenError
from ..formats.ristretto import plain_type
from ..nets.shapes import LayerShapes, NetShapes
from ..text import did_you_mean, printable
from .phase import Phase

if TYPE_CHECKING:
    from ..formats.constraints import BlobName, Constraint
    from ..formats.schema import NetParameter

SPARSE, DENSE = "sparse", "dense"
DENSE_RATE = 0.1  # of the rate before; section 3 of the paper
_MASKED_TYPES = ("Convolution", "Deconvolution", "InnerProduct")


@dataclass(frozen=True)
class DsdOptions:
    """What `sqgen train --dsd` asks for.

    Attributes:
        sparsities: of each sparse phase.
        leave: glob patterns of layers that stay dense, beside the first convolution.
        special: (glob pattern, sparsity) of layers with one of their own; the first that matches.

    Raises:
        SqgenError: a sparsity is not between 0 and 1, or there is none.
    """

    sparsities: tuple[float, ...]
    leave: tuple[str, ...] = ()
    special: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for sparsity in self.sparsities:
            _check_sparsity("--dsd ", sparsity)
        for pattern, sparsity in self.special:
            _check_sparsity(f"--sparsity-for {printable(pattern)}=", sparsity)
        if not self.sparsities:
            raise SqgenError("--dsd: give a sparsity, such as 0.3")

    @property
    def phases(self) -> list[Phase]:
        """The phases in order. After the first dense one, the rate stays at a tenth."""
        numbers = [""] if len(self.sparsities) == 1 else range(1, len(self.sparsities) + 1)
        found = []
        for place, (number, sparsity) in enumerate(zip(numbers, self.sparsities, strict=True)):
            rate = DENSE_RATE if place else 1.0
            found.append(Phase(f"{SPARSE}{number}", rate, {"sparsity": sparsity}))
            found.append(Phase(f"{DENSE}{number}", DENSE_RATE, {"sparsity": None}))
        return found


def parse_dsd(
    sparsities: str, leave: Sequence[str] = (), special: Sequence[str] = ()
) -> DsdOptions:
    """Parse the texts of `--dsd 0.3,0.25 --leave PATTERN --sparsity-for PATTERN=X`.

    Raises:
        SqgenError: one is malformed, or out of range.
    """
    pairs = []
    for text in special:
        pattern, equals, value = text.rpartition("=")
        if not equals:
            raise SqgenError(f"--sparsity-for {printable(text)}: write PATTERN=X, as conv10=0.5")
        pairs.append((pattern, _parse_number("--sparsity-for", value)))
    numbers = tuple(_parse_number("--dsd", text) for text in sparsities.split(","))
    patterns = tuple(p for text in leave for p in text.split(",") if p)
    return DsdOptions(numbers, patterns, tuple(pairs))


def _parse_number(flag: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SqgenError(f"{flag}: '{printable(text)}' is no number; write 0.3") from None


def _check_sparsity(flag: str, sparsity: float) -> None:
    if not 0 < sparsity < 1:
        raise SqgenError(f"{flag}{sparsity:g}: a sparsity is above 0 and below 1, such as 0.3")


def mask_phase(
    phase: Phase, shapes: NetShapes, model: NetParameter, options: DsdOptions
) -> dict[BlobName, Constraint]:
    """Return the masks of a phase; none of a dense one."""
    sparsity = phase.about["sparsity"]
    return {} if sparsity is None else mask_weights(shapes, model, sparsity, options)


def mask_weights(
    shapes: NetShapes, model: NetParameter, sparsity: float, options: DsdOptions
) -> dict[BlobName, Constraint]:
    """Return the masks of a sparse phase: in each layer, the largest weights are free.

    Of N weights, round(N (1 - sparsity)) are; of equal magnitudes, the first. Frozen layers have
    a mask only by a sparsity of their own.

    Args:
        shapes: of the net.
        model: the weights that the phase starts from, none nan.
        sparsity: of layers without one of their own.
        options: which layers stay dense, and which have a sparsity of their own.

    Raises:
        DesignError: a pattern matches no layer, or no layer would be sparse.
        NetError: a layer would be left without weights.
    """
    import numpy as np

    from ..formats.caffemodel import blob_array
    from ..formats.constraints import FREE, ZERO, BlobName, Constraint
    from ..weights.magnitude import largest_mask

    stored = {layer.name: layer for layer in model.layer if layer.blobs}
    masks = {}
    for item, kept in _kept_weights(shapes, sparsity, options, stored):
        name, shape = item.layer.name, item.blobs[0].shape
        weights = blob_array(stored[name].blobs[0]).reshape(shape)
        codes = np.where(largest_mask(weights, kept), FREE, ZERO)
        masks[BlobName(name, 0)] = Constraint(codes.astype(np.int32), np.zeros(0))
    return masks


def check_masks(shapes: NetShapes, options: DsdOptions) -> None:
    """Check that a net can have the masks of all sparse phases, whatever its weights are.

    Raises:
        SqgenError: as `mask_weights`.
    """
    names = {item.layer.name for item in shapes.layers}
    for sparsity in options.sparsities:
        _kept_weights(shapes, sparsity, options, names)


def _kept_weights(
    shapes: NetShapes, sparsity: float, options: DsdOptions, stored: Container[str]
) -> list[tuple[LayerShapes, int]]:
    """Return the layers that are masked, of those with weights, and how many weights are free."""
    found = []
    for item, share in _sparse_layers(shapes, sparsity, options):
        name, size = item.layer.name, prod(item.blobs[0].shape)
        if name not in stored:
            continue
        found.append((item, round(size * (1 - share))))
        if not found[-1][1]:
            raise NetError(
                f"layer '{printable(name)}': a sparsity of {share:g} leaves none of its"
                f" {size} weights; --leave keeps it dense"
            )
    if not found:
        raise DesignError("--dsd: no layer would be sparse; --leave keeps fewer of them dense")
    return found


def _sparse_layers(
    shapes: NetShapes, sparsity: float, options: DsdOptions
) -> Iterator[tuple[LayerShapes, float]]:
    """Yield the layers that are masked, and the sparsity of each."""
    layers = [item for item in shapes.layers if plain_type(item.layer.type) in _MASKED_TYPES]
    names = [item.layer.name for item in layers]
    flags = [("--leave", pattern) for pattern in options.leave]
    flags += [("--sparsity-for", pattern) for pattern, _ in options.special]
    for flag, pattern in flags:
        if not any(fnmatchcase(name, pattern) for name in names):
            hint = did_you_mean(pattern, names)
            raise DesignError(
                f"{flag} {printable(pattern)}: matches no layer that could be sparse{hint}"
            )
    first = next(
        (n for n, item in enumerate(layers) if plain_type(item.layer.type) == "Convolution"), None
    )
    for number, item in enumerate(layers):
        name = item.layer.name
        own = next((x for pattern, x in options.special if fnmatchcase(name, pattern)), None)
        is_left = any(fnmatchcase(name, pattern) for pattern in options.leave)
        if own is not None:
            yield item, own
        elif number != first and not is_left and _trains(item):
            yield item, sparsity


def _trains(item: LayerShapes) -> bool:
    """Whether a layer's weights train: frozen ones could not grow again in the dense phase."""
    return not item.layer.param or item.layer.param[0].lr_mult != 0
