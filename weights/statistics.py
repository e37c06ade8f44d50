"""Statistics of a caffemodel's layers and blobs, and the differences of two caffemodels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..formats.caffemodel import blob_array, blob_shape, same_blob_shape
from ..formats.schema import BlobProto, NetParameter
from ..nets.layer_types import Shape

EQUAL, WITHIN, DIFFERENT = "equal", "within tolerance", "different"
ONLY_A, ONLY_B, OTHER_SHAPES = "only in A", "only in B", "other shapes"
STATISTICS = "BatchNorm"  # the layer type whose blobs are stored, not learned

Blobs = Sequence[BlobProto]


class BlobStatistics(NamedTuple):
    """The statistics of one blob.

    Attributes:
        shape: as stored.
        elements: their number.
        bytes: their size in the file.
        minimum, maximum, mean, std: of the finite elements; None where there are none. std is of
            the population (divided by n).
        zeros: number of elements that are exactly 0.
        not_finite: number of elements that are nan or infinite.
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
        """Warnings about the values: `all zero`, `not finite`."""
        flags = {"all zero": 0 < self.elements == self.zeros, "not finite": self.not_finite > 0}
        return [name for name, is_set in flags.items() if is_set]


class LayerStatistics(NamedTuple):
    """The statistics of a layer with parameters."""

    name: str
    type: str
    blobs: list[BlobStatistics]


class Sums(NamedTuple):
    """Sums over a caffemodel.

    Attributes:
        layers: number of layers with parameters.
        blobs: number of parameter blobs.
        parameters: learned elements; a blob that layers share by name counts once.
        statistics: elements that are stored but not learned (BatchNorm).
        bytes: size of all blobs in the file.
        zeros, not_finite: numbers of such elements.
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
    """The difference of a layer's parameters in A and in B.

    Attributes:
        name: the layer's name.
        status: EQUAL, WITHIN, DIFFERENT, ONLY_A, ONLY_B or OTHER_SHAPES.
        shapes: shapes of the blobs in A and in B; empty where a file lacks the layer.
        absolute: the largest difference of two elements; None where shapes differ, inf where only
            one of the two is finite.
        relative: the largest difference in a blob divided by the root mean square of A's blob, at
            its maximum over the blobs; inf where A's is 0.
    """

    name: str
    status: str
    shapes: tuple[list[Shape], list[Shape]]
    absolute: float | None = None
    relative: float | None = None


def blob_statistics(blob: BlobProto) -> BlobStatistics:
    """Compute the statistics of a BlobProto."""
    stored = blob_array(blob)
    values = _doubles(stored)
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        minimum, maximum, mean, std = (
            _finite(function(finite)) if finite.size else None
            for function in (np.min, np.max, np.mean, np.std)
        )
    return BlobStatistics(
        blob_shape(blob),
        values.size,
        stored.nbytes,
        minimum,
        maximum,
        mean,
        std,
        int((values == 0).sum()),
        values.size - finite.size,
    )


def _finite(number: float) -> float | None:
    """Return a number, or None where a sum of large doubles overflowed."""
    return float(number) if math.isfinite(number) else None


def _doubles(array: np.ndarray) -> np.ndarray:
    """Return the elements as one row of float64; a signalling nan, as in damage, becomes quiet."""
    with np.errstate(invalid="ignore"):
        return array.reshape(-1).astype(np.float64)


def model_statistics(model: NetParameter) -> tuple[list[LayerStatistics], Sums]:
    """Compute the statistics of every layer with parameters of a NetParameter, and their sums."""
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


def compare(a: NetParameter, b: NetParameter, tolerance: float = 0.0) -> list[LayerDifference]:
    """Compare the parameters of two NetParameters, layer by layer.

    Layers pair up by name; of several with one name, the first with the first. A nan equals a nan,
    and an infinity itself. Old shapes of four axes equal new ones with the same elements.

    Args:
        a, b: the models.
        tolerance: the maximum difference of two elements that is `within tolerance`.
    """
    ours, theirs = _by_name(a), _by_name(b)
    rows = []
    for key, blobs in ours.items():
        if key in theirs:
            rows.append(_compare_layer(key, blobs, theirs[key], tolerance))
        else:
            rows.append(LayerDifference(_name(key), ONLY_A, (_shapes(blobs), [])))
    for key, blobs in theirs.items():
        if key not in ours:
            rows.append(LayerDifference(_name(key), ONLY_B, ([], _shapes(blobs))))
    return rows


def _by_name(model: NetParameter) -> dict[tuple[str, int], Blobs]:
    seen: Counter[str] = Counter()
    blobs: dict[tuple[str, int], Blobs] = {}
    for layer in model.layer:
        if layer.blobs:
            seen[layer.name] += 1
            blobs[layer.name, seen[layer.name]] = layer.blobs
    return blobs


def _name(key: tuple[str, int]) -> str:
    name, number = key
    return f"{name} (number {number})" if number > 1 else name


def _shapes(blobs: Blobs) -> list[Shape]:
    return [blob_shape(blob) for blob in blobs]


def _compare_layer(key: tuple[str, int], a: Blobs, b: Blobs, tolerance: float) -> LayerDifference:
    shapes = (_shapes(a), _shapes(b))
    if len(a) != len(b) or not all(map(_same_shape, a, b)):
        return LayerDifference(_name(key), OTHER_SHAPES, shapes)
    pairs = [_distance(*blobs) for blobs in zip(a, b, strict=True)]
    absolute = max(distance for distance, _ in pairs)
    relative = max(ratio for _, ratio in pairs)
    status = EQUAL if absolute == 0 else WITHIN if absolute <= tolerance else DIFFERENT
    return LayerDifference(_name(key), status, shapes, absolute, relative)


def _same_shape(a: BlobProto, b: BlobProto) -> bool:
    return same_blob_shape(a, blob_shape(b)) or same_blob_shape(b, blob_shape(a))


def _distance(a: BlobProto, b: BlobProto) -> tuple[float, float]:
    """Return the largest difference of two blobs, and its ratio to a's root mean square."""
    ours, theirs = _doubles(blob_array(a)), _doubles(blob_array(b))
    differs = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)))
    if not differs.any():
        return 0.0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        distances = np.abs(ours - theirs)[differs]
        finite = ours[np.isfinite(ours)]
        scale = float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0
    largest = float(distances.max()) if np.isfinite(distances).all() else math.inf
    usable = 0 < scale < math.inf and largest < math.inf
    return largest, largest / scale if usable else math.inf
