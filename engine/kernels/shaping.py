"""Layers that rearrange, combine or cut: Concat, Slice, Eltwise, Crop, Reduction and others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from ...formats.schema import EltwiseParameter, ReductionParameter
from ...nets.layer_families.shaping import concat_axis, crop_offsets
from ...nets.layer_types import LAYER_TYPES
from .base import (
    BlobValue,
    Kernel,
    LazyConcat,
    PassContext,
    Tensor,
    Tensors,
    Value,
    canonical,
    materialize,
    widen,
)
from .codes import Codes


class Concat(Kernel):
    """concat_layer.cpp; lazy along the channels in passes without gradients."""

    accepts_lazy_concat = True
    accepts_codes = True

    def forward(
        self, context: PassContext, bottoms: list[Any], blobs: Tensors
    ) -> Sequence[BlobValue]:
        """Concatenate, lazily where possible; codes, where all are of one format."""
        codes = [bottom for bottom in bottoms if isinstance(bottom, Codes)]
        if len(codes) == len(bottoms):
            axis = canonical(concat_axis(self.param), codes[0].codes)
            return [Codes(torch.cat([each.codes for each in codes], axis), codes[0].format)]
        if codes:
            bottoms = [materialize(bottom) for bottom in bottoms]
        return self._of_floats(context, bottoms)

    def _of_floats(self, context: PassContext, bottoms: list[Value]) -> list[Value]:
        first = bottoms[0].tensors[0] if isinstance(bottoms[0], LazyConcat) else bottoms[0]
        axis = canonical(concat_axis(self.param), first)
        if axis == 1 and first.dim() == 4 and first.device.type == "cpu" and not context.gradients:
            tensors: list[Tensor] = []
            for bottom in bottoms:
                tensors += bottom.tensors if isinstance(bottom, LazyConcat) else [bottom]
            return [LazyConcat(tensors)]
        return [torch.cat([materialize(bottom) for bottom in bottoms], axis)]


class Slice(Kernel):
    """slice_layer.cpp: split at slice_point, or into equal parts."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Return a top for each part."""
        param, x = self.param.slice_param, bottoms[0]
        axis = canonical(concat_axis(self.param), x)
        if not param.slice_point:
            return list(x.chunk(len(self.layer.tops), axis))
        points = [0, *param.slice_point, x.shape[axis]]
        return [x.narrow(axis, start, end - start) for start, end in pairwise(points)]


class Split(Kernel):
    """split_layer.cpp: one blob under several names; its gradients add up."""

    accepts_lazy_concat = True
    accepts_codes = True

    def forward(
        self, context: PassContext, bottoms: list[BlobValue], blobs: Tensors
    ) -> list[BlobValue]:
        """Return the bottom once per top."""
        return bottoms * len(self.layer.tops)


class Reshape(Kernel):
    """Flatten and Reshape: the shape rule of nets/layer_types.py, applied to a micro-batch."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Keep the elements in Caffe's order, the last axis fastest."""
        rule = LAYER_TYPES[self.layer.type].top_shapes
        return [bottoms[0].reshape(rule(self.param, [tuple(bottoms[0].shape)], None)[0])]


class Eltwise(Kernel):
    """eltwise_layer.cpp: elementwise product, weighted sum or maximum."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Combine the bottoms."""
        param = self.param.eltwise_param
        y = bottoms[0]
        if param.operation == EltwiseParameter.SUM:
            coefficients = list(param.coeff) or [1.0] * len(bottoms)
            y = y if coefficients[0] == 1 else y * coefficients[0]
            for x, coefficient in zip(bottoms[1:], coefficients[1:], strict=True):
                y = torch.add(y, x, alpha=coefficient)
            return [y]
        for number, x in enumerate(bottoms[1:]):
            if param.operation == EltwiseParameter.PROD:
                y = y * x
            else:
                # As in Caffe, the second bottom wins a tie with the first; later ones don't.
                y = torch.where(y > x if number == 0 else y >= x, y, x)
        return [y]


class Crop(Kernel):
    """crop_layer.cpp: the part of the first bottom that is as large as the second."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Cut the axes from `axis` on, each from its offset on."""
        x, reference = bottoms
        offsets = crop_offsets(self.param, x.dim())
        for axis, offset in enumerate(offsets, x.dim() - len(offsets)):
            x = x.narrow(axis, offset, reference.shape[axis])
        return [x]


class Tile(Kernel):
    """tile_layer.cpp: the bottom several times in a row along an axis."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Repeat the bottom."""
        param = self.param.tile_param
        return [torch.cat(bottoms * param.tiles, canonical(param.axis, bottoms[0]))]


class Reduction(Kernel):
    """reduction_layer.cpp: coeff times the sum, mean, or sum of squares or absolute values."""

    def set_up(self) -> None:
        """Records are independent unless the axis is 0."""
        self.per_record = self.param.reduction_param.axis % len(self.layer.bottom_shapes[0]) != 0

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Reduce the axes from `axis` on to one value."""
        param = self.param.reduction_param
        x = widen(bottoms[0]).flatten(canonical(param.axis, bottoms[0]))
        if param.operation == ReductionParameter.ASUM:
            x = x.abs()
        elif param.operation == ReductionParameter.SUMSQ:
            x = x * x
        y = x.mean(-1) if param.operation == ReductionParameter.MEAN else x.sum(-1)
        return [y * param.coeff]


class Parameter(Kernel):
    """parameter_layer.hpp: a learned blob as a top."""

    per_record = False

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Return a copy, so that what holds the top does not see the next update."""
        return [blobs[0].clone()]


class Silence(Kernel):
    """silence_layer.cpp: consumes blobs, so that they are not outputs."""

    accepts_lazy_concat = True

    def forward(self, context: PassContext, bottoms: list[Value], blobs: Tensors) -> list[Value]:
        """Return no tops."""
        return []
