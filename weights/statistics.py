"""What is in a caffemodel, by layer and blob, and how two differ."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from ..formats.caffemodel import blob_array, blob_shape, same_blob_shape
from ..nets.layer_types import Shape

EQUAL, WITHIN, DIFFERENT = "equal", "within tolerance", "different"
ONLY_A, ONLY_B, OTHER_SHAPES = "only in A", "only in B", "other shapes"
STATISTICS = "BatchNorm"  # whose blobs are stored and not learned


class BlobStatistics(NamedTuple):
    """One blob; min, max, mean and std are of its finite elements, None where there are none.

    Attributes:
        shape: as stored.
        elements, bytes: how many, and what they take in the file.
        minimum, maximum, mean, std: std is of the population (divided by n).
        zeros: elements that are exactly 0.
        not_finite: elements that are nan or infinite.
    """

    shape: Shape
    elements: int
    bytes: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    zeros: int
    not_finite: int

    @property
    def sparsity(self) -> float:
        """The share of exact zeros; 0 of a blob without elements."""
        return self.zeros / self.elements if self.elements else 0.0

    @property
    def flags(self) -> list[str]:
        """What is odd: `all zero`, `not finite`."""
        odd = {"all zero": 0 < self.elements == self.zeros, "not finite": self.not_finite > 0}
        return [name for name, holds in odd.items() if holds]


class LayerStatistics(NamedTuple):
    """A layer with parameters."""

    name: str
    type: str
    blobs: list[BlobStatistics]


class Sums(NamedTuple):
    """Over a caffemodel.

    Attributes:
        layers, blobs: how many, of those with parameters.
        parameters: learned elements; a blob that layers share by name counts once.
        statistics: elements that are stored but not learned (BatchNorm).
        bytes: of all blobs, in the file.
        zeros, not_finite: elements.
    """

    layers: int
    blobs: int
    parameters: int
    statistics: int
    bytes: int
    zeros: int
    not_finite: int

    @property
    def sparsity(self) -> float:
        """The share of exact zeros among parameters and statistics; 0 where there are none."""
        elements = self.parameters + self.statistics
        return self.zeros / elements if elements else 0.0


class LayerDifference(NamedTuple):
    """What a layer's parameters are in A and in B.

    Attributes:
        status: one of the words above.
        shapes: of the blobs in A and in B; empty where it has none.
        absolute: the largest difference of two elements; None where they can't be compared, inf
            where only one is a number.
        relative: a blob's largest difference divided by the root mean square of A's blob, of the
            blob where that is largest; inf where A's is 0.
    """

    name: str
    status: str
    shapes: tuple[list[Shape], list[Shape]]
    absolute: float | None = None
    relative: float | None = None


def blob_statistics(blob: Any) -> BlobStatistics:
    """The statistics of a BlobProto."""
    stored = blob_array(blob)
    values = _doubles(stored)
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        found = [float(f(finite)) for f in (np.min, np.max, np.mean, np.std)] if finite.size else []
    # Doubles near the largest may overflow in a sum.
    numbers = [number if math.isfinite(number) else None for number in found] or [None] * 4
    return BlobStatistics(
        blob_shape(blob),
        values.size,
        stored.nbytes,
        numbers[0],
        numbers[1],
        numbers[2],
        numbers[3],
        int((values == 0).sum()),
        values.size - finite.size,
    )


def _doubles(array: np.ndarray) -> np.ndarray:
    """The elements in a row; a signalling nan, as damage makes it, is a nan like others."""
    with np.errstate(invalid="ignore"):
        return array.reshape(-1).astype(np.float64)


def model_statistics(model: Any) -> tuple[list[LayerStatistics], Sums]:
    """Every layer of a NetParameter that has parameters, and the sums."""
    layers = []
    counted: set[str] = set()
    sums: Counter[str] = Counter()
    for layer in model.layer:
        if not layer.blobs:
            continue
        blobs = [blob_statistics(blob) for blob in layer.blobs]
        layers.append(LayerStatistics(layer.name, layer.type, blobs))
        for index, blob in enumerate(blobs):
            sums["bytes"] += blob.bytes
            shared = layer.param[index].name if index < len(layer.param) else ""
            if shared and shared in counted:
                continue
            counted.add(shared)
            sums["statistics" if layer.type == STATISTICS else "parameters"] += blob.elements
            sums["zeros"] += blob.zeros
            sums["not_finite"] += blob.not_finite
    rest = (sums[name] for name in Sums._fields[2:])
    return layers, Sums(len(layers), sum(len(layer.blobs) for layer in layers), *rest)


def compare(a: Any, b: Any, tolerance: float = 0.0) -> list[LayerDifference]:
    """What differs in the parameters of two NetParameters, layer by layer.

    Layers go by name; of those that share one, the first with the first. A nan equals a nan, and
    an infinity itself. Old shapes of four axes equal new ones with the same elements.

    Args:
        a, b: the models.
        tolerance: the largest difference of two elements that is `within tolerance`.
    """
    ours, theirs = _by_name(a), _by_name(b)
    rows = []
    for key, blobs in ours.items():
        if key in theirs:
            rows.append(_compared(key, blobs, theirs[key], tolerance))
        else:
            rows.append(LayerDifference(_name(key), ONLY_A, (_shapes(blobs), [])))
    for key, blobs in theirs.items():
        if key not in ours:
            rows.append(LayerDifference(_name(key), ONLY_B, ([], _shapes(blobs))))
    return rows


def _by_name(model: Any) -> dict[tuple[str, int], Any]:
    seen: Counter[str] = Counter()
    found = {}
    for layer in model.layer:
        if layer.blobs:
            seen[layer.name] += 1
            found[layer.name, seen[layer.name]] = layer.blobs
    return found


def _name(key: tuple[str, int]) -> str:
    name, number = key
    return f"{name} (number {number})" if number > 1 else name


def _shapes(blobs: Any) -> list[Shape]:
    return [blob_shape(blob) for blob in blobs]


def _compared(key: tuple[str, int], a: Any, b: Any, tolerance: float) -> LayerDifference:
    shapes = (_shapes(a), _shapes(b))
    if len(a) != len(b) or not all(map(_same_shape, a, b)):
        return LayerDifference(_name(key), OTHER_SHAPES, shapes)
    pairs = [_distance(one, other) for one, other in zip(a, b, strict=True)]
    absolute = max(distance for distance, _ in pairs)
    relative = max(ratio for _, ratio in pairs)
    status = EQUAL if absolute == 0 else WITHIN if absolute <= tolerance else DIFFERENT
    return LayerDifference(_name(key), status, shapes, absolute, relative)


def _same_shape(a: Any, b: Any) -> bool:
    return same_blob_shape(a, blob_shape(b)) or same_blob_shape(b, blob_shape(a))


def _distance(a: Any, b: Any) -> tuple[float, float]:
    """The largest difference of two blobs, and that divided by the first's root mean square."""
    one, other = _doubles(blob_array(a)), _doubles(blob_array(b))
    apart = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    if not apart.any():
        return 0.0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        distances = np.abs(one - other)[apart]
        finite = one[np.isfinite(one)]
        scale = float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0
    largest = float(distances.max()) if np.isfinite(distances).all() else math.inf
    usable = 0 < scale < math.inf and largest < math.inf
    return largest, largest / scale if usable else math.inf
