"""What a row of the table of layer types holds, and how a row is added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...formats.schema import LayerParameter
from ...text import shape_text
from ..windows import ShapeError

Shape = tuple[int, ...]
Shapes = Sequence[Shape]

MAX_ELEMENTS = (1 << 31) - 1  # of a blob (src/caffe/blob.cpp)


class Blob(NamedTuple):
    """A parameter blob of a layer: its shape, and whether the solver updates it."""

    shape: Shape
    learned: bool = True


ShapeRule = Callable[[LayerParameter, Shapes, Shape | None], list[Shape]]
BlobRule = Callable[[LayerParameter, Shapes], list[Blob]]
MacRule = Callable[[Shapes, Shapes, Sequence[Blob]], int]


class LayerType(NamedTuple):
    """A layer type.

    Attributes:
        top_shapes: (layer, bottom shapes, image or None) -> top shapes; `image` is the (channels,
            height, width) of the records of a data layer, where they are known.
        blobs: (layer, bottom shapes) -> parameter blobs, in Caffe's order.
        macs: (bottom shapes, top shapes, blobs) -> multiply-accumulates for the whole batch.
        bottom_count, top_count: minimum and maximum of bottoms and tops; None is no limit.
        in_place: whether a top may be its bottom.
        undifferentiable: indices of the bottoms at which Caffe's backward pass ends a training,
            such as labels; -1 is the last.
        ends_net: whether its tops are results, so that no layer has to read them.
        automatic_tops: the number of tops that Caffe adds to a layer without any (AutoTopBlobs).
    """

    top_shapes: ShapeRule
    blobs: BlobRule
    macs: MacRule
    bottom_count: tuple[int, int | None]
    top_count: tuple[int, int | None]
    in_place: bool
    undifferentiable: tuple[int, ...]
    ends_net: bool
    automatic_tops: int


LAYER_TYPES: dict[str, LayerType] = {}


def register(
    *names: str,
    top_shapes: ShapeRule,
    blobs: BlobRule = lambda layer, bottoms: [],
    macs: MacRule = lambda bottoms, tops, blobs: 0,
    bottom_count: tuple[int, int | None] = (1, 1),
    top_count: tuple[int, int | None] = (1, 1),
    in_place: bool = False,
    undifferentiable: tuple[int, ...] = (),
    ends_net: bool = False,
    automatic_tops: int = 0,
) -> None:
    """Add rows to the table; the arguments are those of `LayerType`."""
    for name in names:
        if name in LAYER_TYPES:
            raise ValueError(f"layer type {name} is registered twice")
        LAYER_TYPES[name] = LayerType(
            top_shapes,
            blobs,
            macs,
            bottom_count,
            top_count,
            in_place,
            undifferentiable,
            ends_net,
            automatic_tops,
        )


def same(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """Return the shape of the first bottom: the rule of elementwise layers."""
    return [bottoms[0]]


def four_axes(shape: Shape) -> Shape:
    """Return (num, channels, height, width), 1 where axes are missing (Blob::LegacyShape).

    Raises:
        ShapeError: a blob of more axes.
    """
    if len(shape) > 4:
        raise ShapeError(f"takes at most 4 axes, not {shape}")
    return shape + (1,) * (4 - len(shape))


def shape_list(shapes: Shapes) -> str:
    """Return shapes as text, such as `2x3 and 2x4`."""
    return " and ".join(map(shape_text, shapes))
