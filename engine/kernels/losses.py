"""The ends of a net: Softmax, losses, Accuracy, ArgMax."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from ...errors import NetError
from ...formats.schema import message_class
from .base import Kernel, PassContext, Tensor, canonical

FLT_MIN = torch.finfo(torch.float32).tiny
_MODES = message_class("LossParameter").NormalizationMode
FULL, VALID, BATCH_SIZE = (_MODES.Value(name) for name in ("FULL", "VALID", "BATCH_SIZE"))


class Softmax(Kernel):
    """softmax_layer.cpp."""

    def set_up(self) -> None:
        """Over axis 0, records are not alone."""
        axes = len(self.layer.bottom_shapes[0])
        self.per_record = self.param.softmax_param.axis % axes != 0

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """Probabilities along `axis`."""
        x = bottoms[0]
        return [F.softmax(x, canonical(self.param.softmax_param.axis, x))]


class Labelled(Kernel):
    """What compares scores with labels: an integer for each place beside the axis of classes."""

    reduces = True

    def set_up(self) -> None:
        """The axis of classes and the label that is left out."""
        param, ignore = self._params()
        shape = self.layer.bottom_shapes[0]
        self.axis = param.axis % len(shape)
        self.classes = shape[self.axis]
        self.per_record = self.axis != 0
        self.ignored: int | None = ignore.ignore_label if ignore.HasField("ignore_label") else None

    def _params(self) -> tuple[Any, Any]:
        raise NotImplementedError

    def rows(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(places, classes) and (places,): scores and labels of every place.

        Raises:
            NetError: a label that is no class.
        """
        rows = scores.movedim(self.axis, -1).reshape(-1, self.classes)
        rows = rows.float() if rows.dtype == torch.bfloat16 else rows
        return rows, self.checked(labels)

    def checked(self, labels: Tensor) -> Tensor:
        """(places,): labels as integers."""
        flat = labels.reshape(-1).long()  # static_cast<int>: towards zero
        wrong = (flat < 0) | (flat >= self.classes)
        if self.ignored is not None:
            wrong &= flat != self.ignored
        if wrong.any():
            place = int(wrong.nonzero()[0])
            raise NetError(
                f"layer '{self.layer.name}': label {int(flat[place])} (item {place} of the batch)"
                f" is none of its {self.classes} classes, 0 to {self.classes - 1}; check the data"
                " or num_output"
            )
        return flat

    def valid(self, labels: Tensor) -> Tensor:
        """(places,): whether a place counts."""
        if self.ignored is None:
            return torch.ones_like(labels, dtype=torch.bool)
        return labels != self.ignored


class SoftmaxWithLoss(Labelled):
    """softmax_loss_layer.cpp: -log of the label's probability, which is at least FLT_MIN."""

    def _params(self) -> tuple[Any, Any]:
        return self.param.softmax_param, self.param.loss_param

    def normalizer(self, labels: Tensor, records: int) -> float:
        """What the sum of all losses is divided by (SoftmaxWithLossLayer::get_normalizer).

        Args:
            labels: of the whole batch.
            records: its size.
        """
        flat = self.checked(labels)
        loss = self.param.loss_param
        mode = loss.normalization
        if not loss.HasField("normalization") and loss.HasField("normalize"):
            mode = VALID if loss.normalize else BATCH_SIZE
        counts = {
            FULL: len(flat),
            VALID: int(self.valid(flat).sum()),
            BATCH_SIZE: records * prod(self.layer.bottom_shapes[0][1 : self.axis]),
        }
        return float(max(1, counts.get(mode, 1)))

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """The scalar loss, as Caffe reports it."""
        rows, labels = self.rows(*bottoms)
        valid = self.valid(labels)
        chosen = labels.where(valid, torch.zeros_like(labels))
        probability = F.softmax(rows, 1).gather(1, chosen[:, None])[:, 0]
        losses = -torch.log(probability.clamp(min=FLT_MIN)) * valid
        return [losses.sum() / self.normalizer(bottoms[1], bottoms[0].shape[0])]

    def objective(self, run: PassContext, bottoms: list[Tensor]) -> Tensor:
        """Its gradient is probability minus one at the label, clamped or not, as in Caffe."""
        rows, labels = self.rows(*bottoms)
        normalizer = run.normalizers.get(self.layer.name)
        if normalizer is None:
            normalizer = self.normalizer(bottoms[1], bottoms[0].shape[0])
        ignored = -100 if self.ignored is None else self.ignored
        loss = F.cross_entropy(rows, labels, reduction="sum", ignore_index=ignored)
        return loss / normalizer


class EuclideanLoss(Kernel):
    """euclidean_loss_layer.cpp: half the mean over records of the squared distance."""

    reduces = True

    def normalizer(self, labels: Tensor, records: int) -> float:
        """Records of the whole batch."""
        return float(records)

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """The scalar loss."""
        return [self._distance(bottoms) / bottoms[0].shape[0]]

    def objective(self, run: PassContext, bottoms: list[Tensor]) -> Tensor:
        """The same, to be differentiated."""
        records = run.normalizers.get(self.layer.name, bottoms[0].shape[0])
        return self._distance(bottoms) / records

    @staticmethod
    def _distance(bottoms: list[Tensor]) -> Tensor:
        a, b = (x.float() if x.dtype == torch.bfloat16 else x for x in bottoms)
        return ((a - b.reshape(a.shape)) ** 2).sum() / 2


class Accuracy(Labelled):
    """accuracy_layer.cpp: the label is right if fewer than top_k other scores reach its own.

    Ties count against it. Comparisons with nan are false, so that a net of nan scores 1: that is
    Caffe's, and the log's reader knows it.
    """

    def _params(self) -> tuple[Any, Any]:
        return self.param.accuracy_param, self.param.accuracy_param

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """The share of right labels; as a second top, of each class."""
        rows, labels = self.rows(*bottoms)
        valid = self.valid(labels)
        rows, labels = rows[valid], labels[valid]
        own = rows.gather(1, labels[:, None])
        better = (rows >= own).sum(1) - 1  # without itself
        right = (better < self.param.accuracy_param.top_k).to(rows.dtype)
        tops = [right.sum() / max(1, len(right))]
        if len(self.layer.tops) > 1:
            hits = rows.new_zeros(self.classes).index_add_(0, labels, right)
            counts = torch.bincount(labels, minlength=self.classes)
            tops.append(hits / counts.clamp(min=1))
        return tops


class ArgMax(Kernel):
    """argmax_layer.cpp: places (and scores) of the top_k largest, of equal ones the later first."""

    def set_up(self) -> None:
        """Along an axis, or over everything behind the first."""
        param = self.param.argmax_param
        axes = len(self.layer.bottom_shapes[0])
        self.per_record = not param.HasField("axis") or param.axis % axes != 0

    def forward(self, run: PassContext, bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        """In the type of the scores."""
        param, x = self.param.argmax_param, bottoms[0]
        if param.HasField("axis"):
            axis = canonical(param.axis, x)
            values, places = self._largest(x.movedim(axis, -1))
            chosen = values if param.out_max_val else places.to(x.dtype)
            return [chosen.movedim(-1, axis)]
        values, places = self._largest(x.flatten(1))
        columns = [places.to(x.dtype), values] if param.out_max_val else [places.to(x.dtype)]
        tail = (1,) * (x.dim() - 3)
        return [torch.stack(columns, 1).reshape(x.shape[0], len(columns), param.top_k, *tail)]

    def _largest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """std::partial_sort of (score, place) pairs with std::greater."""
        flipped = x.flip(-1)
        order = flipped.sort(dim=-1, descending=True, stable=True).indices
        places = x.shape[-1] - 1 - order[..., : self.param.argmax_param.top_k]
        return x.gather(-1, places), places
