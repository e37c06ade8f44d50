"""Layers that rearrange, combine or select elements, and Parameter."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

from ...formats.schema import EltwiseParameter, LayerParameter
from ..windows import ShapeError, axis_index
from .base import Blob, Shape, Shapes, register, shape_list


def concat_axis(layer: LayerParameter) -> int:
    """Return the axis of a Concat or Slice, maybe negative; older files have another field."""
    param, old = _concat_fields(layer)
    return int(getattr(param, old if param.HasField(old) else "axis"))


def rename_old_axis(layer: LayerParameter) -> None:
    """Write `concat_dim` of a Concat, or `slice_dim` of a Slice, as `axis`."""
    param, old = _concat_fields(layer)
    if param.HasField(old):
        param.axis = getattr(param, old)
        param.ClearField(old)


def _concat_fields(layer: LayerParameter) -> tuple[Any, str]:
    """Return the message with the axis of a Concat or Slice, and its older field."""
    if layer.type == "Concat":
        return layer.concat_param, "concat_dim"
    return layer.slice_param, "slice_dim"


def _checked_axis(layer: LayerParameter, bottom: Shape) -> int:
    param, old = _concat_fields(layer)
    if param.HasField(old) and param.HasField("axis"):
        raise ShapeError(f"give axis or {old}, not both")
    return axis_index(concat_axis(layer), len(bottom))


def _concat(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    axis = _checked_axis(layer, bottoms[0])
    if len({len(bottom) for bottom in bottoms}) > 1:
        raise ShapeError(f"{shape_list(bottoms)} differ in their number of axes")
    rest = {bottom[:axis] + bottom[axis + 1 :] for bottom in bottoms}
    if len(rest) > 1:
        raise ShapeError(f"{shape_list(bottoms)} differ in another axis than {axis}")
    first = bottoms[0]
    return [(*first[:axis], sum(bottom[axis] for bottom in bottoms), *first[axis + 1 :])]


def _slice(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param, bottom, count = layer.slice_param, bottoms[0], len(layer.top)
    axis = _checked_axis(layer, bottom)
    points = [0, *param.slice_point, bottom[axis]]
    if not param.slice_point:
        if bottom[axis] % count:
            raise ShapeError(f"{count} tops do not divide axis {axis} of {bottom}")
        points = list(range(0, bottom[axis] + 1, bottom[axis] // count))
    sizes = [end - start for start, end in pairwise(points)]
    if len(sizes) != count or min(sizes) <= 0:
        raise ShapeError(f"slice_point {points[1:-1]} does not cut {bottom[axis]} into {count}")
    return [(*bottom[:axis], size, *bottom[axis + 1 :]) for size in sizes]


def _split(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    return [bottoms[0]] * len(layer.top)


def _eltwise(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if len(set(bottoms)) > 1:
        raise ShapeError(f"its bottoms differ in shape: {shape_list(bottoms)}")
    coefficients = len(layer.eltwise_param.coeff)
    if coefficients and layer.eltwise_param.operation == EltwiseParameter.PROD:
        raise ShapeError("coeff is for sums; a product takes none")
    if coefficients not in (0, len(bottoms)):
        raise ShapeError(f"it has {len(bottoms)} bottoms but {coefficients} coeff; give each one")
    return [bottoms[0]]


def _flatten(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param, bottom = layer.flatten_param, bottoms[0]
    start, end = (axis_index(axis, len(bottom)) for axis in (param.axis, param.end_axis))
    if start > end + 1:
        raise ShapeError(f"axis {param.axis} lies behind end_axis {param.end_axis}")
    return [(*bottom[:start], prod(bottom[start : end + 1]), *bottom[end + 1 :])]


def _reshape(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """A 0 copies the bottom's axis; a single -1 takes the elements that are left."""
    param, bottom = layer.reshape_param, bottoms[0]
    start = param.axis if param.axis >= 0 else len(bottom) + param.axis + 1
    end = len(bottom) if param.num_axes == -1 else start + param.num_axes
    if not 0 <= start <= end <= len(bottom):
        raise ShapeError(f"axis {param.axis} and num_axes {param.num_axes} go past {bottom}")
    wanted = list(param.shape.dim)
    for index, size in enumerate(wanted):
        if size == 0 and start + index >= len(bottom):
            raise ShapeError(f"a 0 in its shape has no axis of {bottom} to copy")
        wanted[index] = bottom[start + index] if size == 0 else size
    shape = [*bottom[:start], *wanted, *bottom[end:]]
    if wanted.count(-1) == 1:
        rest = -prod(shape)
        shape[start + wanted.index(-1)] = prod(bottom) // rest if rest else 0
    if prod(shape) != prod(bottom) or min(shape, default=1) < 0:
        raise ShapeError(f"{bottom} has not the elements of {tuple(param.shape.dim)}")
    return [tuple(shape)]


def crop_offsets(layer: LayerParameter, axes: int) -> list[int]:
    """Return where a Crop starts on each axis from its `axis` on.

    Args:
        layer: the Crop layer.
        axes: of its bottom.
    """
    offsets = list(layer.crop_param.offset) or [0]
    cropped = axes - axis_index(layer.crop_param.axis, axes)
    return offsets if len(offsets) > 1 else offsets * cropped


def _crop(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """The second bottom gives the size of the axes from `axis` on."""
    bottom, reference = bottoms
    offsets = crop_offsets(layer, len(bottom))
    axis = axis_index(layer.crop_param.axis, len(bottom))
    if len(offsets) != len(bottom) - axis:
        raise ShapeError(f"{len(offsets)} offset for {len(bottom) - axis} axes; give 1 or each")
    sizes = reference[axis : len(bottom)]
    if len(sizes) != len(offsets):
        raise ShapeError(f"{reference} has not the axes of {bottom}")
    for number, (offset, size) in enumerate(zip(offsets, sizes, strict=True), axis):
        if offset + size > bottom[number]:
            raise ShapeError(f"{size} from offset {offset} on go past axis {number} of {bottom}")
    return [(*bottom[:axis], *sizes)]


def _tile(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param, bottom = layer.tile_param, bottoms[0]
    axis = axis_index(param.axis, len(bottom))
    if param.tiles <= 0:
        raise ShapeError("tiles must be positive")
    return [(*bottom[:axis], bottom[axis] * param.tiles, *bottom[axis + 1 :])]


def _reduction(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    return [bottoms[0][: axis_index(layer.reduction_param.axis, len(bottoms[0]))]]


def _batch_reindex(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    bottom, index = bottoms
    if not bottom or len(index) != 1:
        raise ShapeError(f"needs records and a blob of one axis, not {shape_list(bottoms)}")
    return [(*index, *bottom[1:])]


def _filter(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """The tops of a net that has not run yet: all records."""
    *filtered, selector = bottoms
    if len(layer.top) != len(filtered):
        raise ShapeError(f"it has {len(filtered)} bottoms and a selector, so give as many tops")
    if not selector or any(size != 1 for size in selector[1:]):
        raise ShapeError(f"its selector has one value per record, not {selector}")
    if any(bottom[:1] != selector[:1] for bottom in filtered):
        raise ShapeError(f"its bottoms are of other batches: {shape_list(bottoms)}")
    return filtered


def _parameter(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    return [tuple(layer.parameter_param.shape.dim)]


def _parameter_blobs(layer: LayerParameter, bottoms: Shapes) -> list[Blob]:
    return [Blob(tuple(layer.parameter_param.shape.dim))]


register("Concat", top_shapes=_concat, bottom_count=(1, None))
register("Slice", top_shapes=_slice, top_count=(1, None))
register("Split", top_shapes=_split, top_count=(1, None))
register("Eltwise", top_shapes=_eltwise, bottom_count=(2, None), in_place=True)
register("Flatten", top_shapes=_flatten)
register("Reshape", top_shapes=_reshape)
register(
    "Silence", top_shapes=lambda layer, bottoms, image: [], bottom_count=(1, None), top_count=(0, 0)
)
register("Crop", top_shapes=_crop, bottom_count=(2, 2))
register("Tile", top_shapes=_tile)
register("Reduction", top_shapes=_reduction)
register("BatchReindex", top_shapes=_batch_reindex, bottom_count=(2, 2), undifferentiable=(1,))
register(
    "Filter",
    top_shapes=_filter,
    bottom_count=(2, None),
    top_count=(1, None),
    undifferentiable=(-1,),
)
register("Parameter", top_shapes=_parameter, blobs=_parameter_blobs, bottom_count=(0, 0))
