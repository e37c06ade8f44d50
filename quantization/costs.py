"""What the bits of a net cost: bytes of its file, bit operations, time and energy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple, Protocol

from ..errors import DesignError
from ..nets.shapes import NetShapes
from ..text import printable
from .hardware_file import Hardware
from .layer_table import LayerTable


class Bits(NamedTuple):
    """The bits of each layer whose bits are chosen, in the order of the net.

    Attributes:
        levels: of weights, in the steps of a `LayerTable`.
        weights: the same in bits.
        activations: of what the layer reads.
    """

    levels: Sequence[int]
    weights: Sequence[float]
    activations: Sequence[float]


class Cost(Protocol):
    """Something that bits cost. More bits never cost less.

    Attributes:
        flag: that sets its budget.
        unit: for messages.
    """

    flag: str
    unit: str

    def amount(self, bits: Bits) -> float:
        """Return how much."""
        ...

    def text(self, amount: float) -> str:
        """Return an amount as a person reads it."""
        ...


class FileBytes:
    """Bytes of the very .sqz file."""

    flag, unit = "--bytes", "bytes"

    def __init__(self, table: LayerTable) -> None:
        self._table = table

    def amount(self, bits: Bits) -> float:
        """Return the size of the file."""
        return self._table.file_bytes(bits.levels)

    def text(self, amount: float) -> str:
        """Return bytes, with commas."""
        return f"{amount:,.0f}"


class Work(NamedTuple):
    """What a layer computes for one image.

    Attributes:
        macs: multiply-accumulates.
        weights: elements of its weights.
        reads: elements of its bottom.
    """

    macs: int
    weights: int
    reads: int


def layer_work(shapes: NetShapes, names: Sequence[str]) -> list[Work]:
    """Return the work of the layers with these names, in the order of the net."""
    rows = {item.layer.name: item for item in shapes.layers}
    found = []
    for name in names:
        item = rows[name]
        images, *plane = item.bottoms[0]
        found.append(Work(item.macs // images, prod(item.blobs[0].shape), prod(plane)))
    return found


class LayerSum:
    """A cost that is a sum over layers, each of its own bits.

    Args:
        flag, unit: as of `Cost`.
        work: of the layers.
        of_layer: the cost of a layer's work at (bits of weights, bits of activations).
        form: of an amount, for people.
    """

    def __init__(
        self,
        flag: str,
        unit: str,
        work: Sequence[Work],
        of_layer: Callable[[Work, float, float], float],
        form: str,
    ) -> None:
        self.flag, self.unit = flag, unit
        self._work, self._of_layer, self._form = work, of_layer, form

    def amount(self, bits: Bits) -> float:
        """Return the sum."""
        rows = zip(self._work, bits.weights, bits.activations, strict=True)
        return sum(self._of_layer(*row) for row in rows)

    def text(self, amount: float) -> str:
        """Return an amount as a person reads it."""
        return format(amount, self._form)


def bit_operations(work: Sequence[Work]) -> LayerSum:
    """Return the cost in bit operations: MACs times bits of weights times bits of activations."""
    return LayerSum("--bops", "bit operations", work, _bit_operations, ",.0f")


def _bit_operations(work: Work, weights: float, activations: float) -> float:
    return work.macs * weights * activations


def milliseconds(work: Sequence[Work], hardware: Hardware) -> LayerSum:
    """Return the time of an image: of each layer, the longer of computing and of memory."""

    def of_layer(work: Work, weights: float, activations: float) -> float:
        computes = work.macs / hardware.mac_rate(weights, activations)
        reads = _traffic(work, weights, activations, hardware) / hardware.bytes_per_second
        return 1e3 * max(computes, reads)

    return LayerSum("--ms", "ms", work, of_layer, ".4g")


def millijoules(work: Sequence[Work], hardware: Hardware) -> LayerSum:
    """Return the energy of an image: of its MACs, and of memory.

    Raises:
        DesignError: the hardware has no energies.
    """
    per_byte = hardware.picojoules_per_byte
    if per_byte is None:
        raise DesignError(
            f"--mj: {printable(hardware.name)} has no energies; give it picojoules_per_mac and"
            " picojoules_per_byte"
        )

    def of_layer(work: Work, weights: float, activations: float) -> float:
        computes = work.macs * hardware.mac_energy(weights, activations)
        return 1e-9 * (computes + per_byte * _traffic(work, weights, activations, hardware))

    return LayerSum("--mj", "mJ", work, of_layer, ".4g")


def _traffic(work: Work, weights: float, activations: float, hardware: Hardware) -> float:
    """Return bytes of memory an image: weights once a batch, what is read written before."""
    stored, read = map(hardware.memory_bits, (weights, activations))
    return (work.weights * stored / hardware.batch + 2 * work.reads * read) / 8
