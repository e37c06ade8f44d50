"""Losses. Where Caffe differentiates another value than it reports, so do these."""

from __future__ import annotations

from math import prod
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812

from ...errors import FormatError
from ...formats.caffemodel import read_blob
from ...formats.schema import HingeLossParameter, LossParameter
from ...nets.loss_normalization import loss_normalization
from .base import Kernel, PassContext, ScoreCounts, Tensor, Tensors, widen
from .classification import ClassificationKernel

FLT_MIN = torch.finfo(torch.float32).tiny
LOG_THRESHOLD = 1e-20  # kLOG_THRESHOLD (loss_layer.hpp)
FULL, VALID, BATCH_SIZE = LossParameter.FULL, LossParameter.VALID, LossParameter.BATCH_SIZE


class Loss(Kernel):
    """A sum of losses, divided by a number that depends on the labels and the batch size."""

    reduces = True

    def normalizer(self, labels: Tensor, records: int) -> float:
        """Return the divisor; by default the number of records.

        Args:
            labels: the second bottom.
            records: of the batch.

        Raises:
            NetError: a label outside the classes.
        """
        return float(records)

    def total(self, bottoms: Tensors) -> Tensor:
        """Return the sum of the losses, whose gradient is Caffe's."""
        raise NotImplementedError(self.layer.type)

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute the scalar loss."""
        divisor = self.normalizer(bottoms[1], bottoms[0].shape[0])
        return [self.total(bottoms) / divisor]

    def objective(self, context: PassContext, bottoms: Tensors) -> Tensor:
        """Compute a micro-batch's part of the loss; `normalizer` has checked the labels."""
        return self.total(bottoms) / context.normalizers[self.index]


class NormalizedLoss(Loss):
    """A loss whose divisor `normalization` selects."""

    @property
    def mode(self) -> int:
        """The LossParameter.NormalizationMode."""
        return loss_normalization(self.param)

    def count(self, labels: Tensor, records: int) -> int:
        """Return the number that the mode counts; 1 for NONE."""
        raise NotImplementedError(self.layer.type)

    def normalizer(self, labels: Tensor, records: int) -> float:
        """Return the count, at least 1."""
        return float(max(1, self.count(labels, records)))

    def score_counts(self, bottoms: Tensors) -> ScoreCounts:
        """Return the counts of a mean; those of a sum are in batches of the net's size."""
        records = bottoms[0].shape[0]
        if self.mode == LossParameter.NONE:
            return ScoreCounts(1.0, records / self.layer.bottom_shapes[0][0])
        count = self.count(bottoms[1], records)
        return ScoreCounts(float(max(1, count)), float(count))


class _ClassLoss(ClassificationKernel, NormalizedLoss):
    """A loss of the log of a softmax, of which Caffe reports a clamped value."""

    def count(self, labels: Tensor, records: int) -> int:
        """Return the number of labels or records, after checking the labels."""
        flat = self.flatten_labels(labels)
        self.check_labels(flat)
        if self.mode == FULL or (self.mode == VALID and self.ignored is None):
            return len(flat)
        if self.mode == VALID:
            return int(self.valid(flat).sum())
        if self.mode == BATCH_SIZE:
            return records * prod(self.layer.bottom_shapes[0][1 : self.axis])
        return 1

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute the scalar loss that Caffe reports, with the gradient that Caffe uses."""
        divisor = self.normalizer(bottoms[1], bottoms[0].shape[0])
        with torch.no_grad():
            reported = self._reported(bottoms) / divisor
        if not context.gradients:
            return [reported]
        smooth = self.total(bottoms) / divisor
        return [smooth + (reported - smooth).detach()]

    def _reported(self, bottoms: Tensors) -> Tensor:
        """Return the sum of the losses that Caffe reports."""
        raise NotImplementedError(self.layer.type)


class SoftmaxWithLoss(_ClassLoss):
    """softmax_loss_layer.cpp: -log of the label's probability, which is at least FLT_MIN."""

    def _options(self) -> tuple[int, LossParameter]:
        return self.param.softmax_param.axis, self.param.loss_param

    def total(self, bottoms: Tensors) -> Tensor:
        """Return the sum of the losses without the clamp, which Caffe's gradient ignores."""
        ignored = -100 if self.ignored is None else self.ignored
        return F.cross_entropy(*self.rows(*bottoms), reduction="sum", ignore_index=ignored)

    def _reported(self, bottoms: Tensors) -> Tensor:
        rows, labels = self.rows(*bottoms)
        valid = self.valid(labels)
        chosen = labels.where(valid, torch.zeros_like(labels))
        probability = F.softmax(rows, 1).gather(1, chosen[:, None])[:, 0]
        return (-torch.log(probability.clamp(min=FLT_MIN)) * valid).sum()


class InfogainLoss(_ClassLoss):
    """infogain_loss_layer.cpp: cross entropy weighted by a row of a matrix, that of the label.

    The matrix is the third bottom or a file. A second top has the probabilities.
    """

    def set_up(self) -> None:
        """Read the matrix's file."""
        super().set_up()
        self._matrix: Tensor | None = None
        if len(self.layer.bottoms) > 2:
            self.per_record = False  # the matrix goes with the whole batch
            return
        path = Path(self.param.infogain_loss_param.source)
        try:
            values = torch.from_numpy(
                read_blob(path, "an infogain matrix", "write it as a BlobProto")
            )
        except FormatError as error:
            raise ValueError(str(error)) from None
        if values.numel() != self.classes**2:
            size = f"{values.numel()} elements, not {self.classes} x {self.classes}"
            raise ValueError(f"{path}: the infogain matrix has {size}")
        self._matrix = values

    def _options(self) -> tuple[int, LossParameter]:
        return self.param.infogain_loss_param.axis, self.param.loss_param

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute the scalar loss, and the probabilities as a second top."""
        tops = super().forward(context, bottoms, blobs)
        if len(self.layer.tops) > 1:
            tops.append(F.softmax(bottoms[0].detach(), self.axis))
        return tops

    def total(self, bottoms: Tensors) -> Tensor:
        """Return the sum of the losses without the clamp, which Caffe's gradient ignores."""
        rows, labels = self.rows(*bottoms[:2])
        return -(self._weights(bottoms, rows, labels) * F.log_softmax(rows, 1)).sum()

    def _reported(self, bottoms: Tensors) -> Tensor:
        rows, labels = self.rows(*bottoms[:2])
        logs = torch.log(F.softmax(rows, 1).clamp(min=LOG_THRESHOLD))
        return -(self._weights(bottoms, rows, labels) * logs).sum()

    def _weights(self, bottoms: Tensors, rows: Tensor, labels: Tensor) -> Tensor:
        """Return the matrix's row of each label, zeros for an ignored one."""
        matrix = bottoms[2].detach() if self._matrix is None else self._matrix
        matrix = matrix.reshape(self.classes, self.classes).to(rows)
        valid = self.valid(labels)
        return matrix[labels.where(valid, torch.zeros_like(labels))] * valid[:, None]


class _RecordLoss(ClassificationKernel, Loss):
    """A loss of one label a record: all other axes are its classes."""

    def set_up(self) -> None:
        """Count the classes; of more labels than records Caffe reads the first ones."""
        scores, labels = self.layer.bottom_shapes
        self.classes = prod(scores[1:])
        self.ignored = None
        self.per_record = prod(labels) == scores[0]

    def rows(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (records, classes) and labels (records,) as integers."""
        records = len(scores)
        return widen(scores.reshape(records, -1)), self.flatten_labels(labels)[:records]

    def normalizer(self, labels: Tensor, records: int) -> float:
        """Return the number of records."""
        self.check_labels(self.flatten_labels(labels)[:records])
        return float(records)


class MultinomialLogisticLoss(_RecordLoss):
    """multinomial_logistic_loss_layer.cpp: -log of the label's probability, the bottom's."""

    def total(self, bottoms: Tensors) -> Tensor:
        """Return the sum of the losses; the clamp does not stop the gradient."""
        rows, labels = self.rows(*bottoms)
        probability = rows.gather(1, labels[:, None])
        clamped = probability.detach().clamp(min=LOG_THRESHOLD)
        return -torch.log(clamped + (probability - probability.detach())).sum()


class HingeLoss(_RecordLoss):
    """hinge_loss_layer.cpp: max(0, 1 + score), for the label 1 - score; or its square (L2)."""

    def total(self, bottoms: Tensors) -> Tensor:
        """Return the sum over all classes."""
        rows, labels = self.rows(*bottoms)
        signs = torch.ones_like(rows).scatter_(1, labels[:, None], -1.0)
        margins = F.relu(1 + signs * rows)
        squared = self.param.hinge_loss_param.norm == HingeLossParameter.L2
        return (margins * margins if squared else margins).sum()


class EuclideanLoss(Loss):
    """euclidean_loss_layer.cpp: half the squared distance, averaged over records."""

    def total(self, bottoms: Tensors) -> Tensor:
        """Return half the sum of squared differences."""
        a, b = map(widen, bottoms)
        return ((a - b.reshape(a.shape)) ** 2).sum() / 2


class SigmoidCrossEntropyLoss(NormalizedLoss):
    """sigmoid_cross_entropy_loss_layer.cpp: of each score's sigmoid with a target from 0 to 1."""

    def total(self, bottoms: Tensors) -> Tensor:
        """Return the sum over all scores whose target is not ignored."""
        scores, targets = map(widen, bottoms)
        targets = targets.detach().reshape(scores.shape)
        losses = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return losses.where(self._valid(targets), torch.zeros_like(losses)).sum()

    def _valid(self, targets: Tensor) -> Tensor:
        param = self.param.loss_param
        if not param.HasField("ignore_label"):
            return torch.ones_like(targets, dtype=torch.bool)
        return targets.long() != param.ignore_label  # static_cast<int> rounds towards zero

    def count(self, labels: Tensor, records: int) -> int:
        """Return the number of scores or records."""
        if self.mode == VALID:
            return int(self._valid(labels).sum())
        return {FULL: labels.numel(), BATCH_SIZE: records}.get(self.mode, 1)


class ContrastiveLoss(Loss):
    """contrastive_loss_layer.cpp: pairs of features, and whether both are of one class.

    Half the squared distance of a similar pair, half the square of margin - distance of others;
    `legacy_version` has margin - distance^2 for these. Hadsell et al. 2006.
    """

    def set_up(self) -> None:
        """Records are independent where each has one label."""
        self.per_record = prod(self.layer.bottom_shapes[2]) == self.layer.bottom_shapes[0][0]

    def total(self, bottoms: Tensors) -> Tensor:
        """Return the sum over pairs."""
        a, b, labels = map(widen, bottoms)
        records = len(a)
        difference = (a - b.reshape(a.shape)).reshape(records, -1)
        squares = (difference * difference).sum(1)
        param = self.param.contrastive_loss_param
        if param.legacy_version:
            others = F.relu(param.margin - squares)
        else:
            others = F.relu(param.margin - _distance(difference, squares)) ** 2
        similar = labels.detach().reshape(-1)[:records].long() != 0
        return torch.where(similar, squares, others).sum() / 2


def _distance(difference: Tensor, squares: Tensor) -> Tensor:
    """Return the root of `squares`, whose gradient Caffe divides by the distance + 1e-4."""
    distance = squares.detach().sqrt()
    slope = (difference.detach() * difference).sum(1) / (distance + 1e-4)
    return distance + (slope - slope.detach())
