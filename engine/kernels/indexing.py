"""Layers that select by the values of a blob: Embed, BatchReindex, Filter."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812

from ...errors import NetError
from ...text import printable
from .base import Kernel, PassContext, Tensor, Tensors


def _read_index(kernel: Kernel, values: Tensor, size: int) -> Tensor:
    """Return values as integers (static_cast<int> rounds towards zero).

    Raises:
        NetError: one is not from 0 to size - 1; Caffe would read outside its array.
    """
    index = values.detach().long()
    wrong = (index < 0) | (index >= size)
    if wrong.any():
        place = int(wrong.reshape(-1).nonzero()[0])
        raise NetError(
            f"layer '{printable(kernel.layer.name)}': index {values.reshape(-1)[place]:g} (number"
            f" {place} of the blob) is not from 0 to {size - 1}; check the data"
        )
    return index


class Embed(Kernel):
    """embed_layer.cpp: the row of the weights that each value of the bottom names, plus a bias."""

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Return (bottom's axes..., num_output)."""
        y = F.embedding(_read_index(self, bottoms[0], len(blobs[0])), blobs[0])
        return [y + blobs[1] if len(blobs) > 1 else y]


class BatchReindex(Kernel):
    """batch_reindex_layer.cpp: the records that the second bottom names, in its order."""

    per_record = False

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Select records; one may be taken several times."""
        x, index = bottoms
        return [x.index_select(0, _read_index(self, index.floor(), len(x)))]


class Filter(Kernel):
    """filter_layer.cpp: the records whose selector, the last bottom, is not zero."""

    per_record = False

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Select the same records of each bottom, maybe none."""
        *filtered, selector = bottoms
        index = selector.detach().reshape(-1).nonzero()[:, 0]
        return [x.index_select(0, index) for x in filtered]
