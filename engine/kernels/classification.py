"""Scores of classes: Softmax, Accuracy, ArgMax, and what they share with losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from ...errors import NetError
from ...formats.schema import AccuracyParameter, LossParameter
from .base import Kernel, PassContext, ScoreCounts, Tensor, Tensors, canonical, widen


class Softmax(Kernel):
    """softmax_layer.cpp."""

    def set_up(self) -> None:
        """Records are independent unless the axis is 0."""
        axes = len(self.layer.bottom_shapes[0])
        self.per_record = self.param.softmax_param.axis % axes != 0

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute probabilities along `axis`."""
        x = bottoms[0]
        return [F.softmax(x, canonical(self.param.softmax_param.axis, x))]


class ClassificationKernel(Kernel):
    """Compares scores with labels: a class for each position outside the class axis."""

    reduces = True

    def set_up(self) -> None:
        """Read the class axis and ignore_label."""
        axis, ignoring = self._options()
        shape = self.layer.bottom_shapes[0]
        self.axis = axis % len(shape)
        self.classes = shape[self.axis]
        self.per_record = self.axis != 0
        has_ignored = ignoring.HasField("ignore_label")
        self.ignored: int | None = ignoring.ignore_label if has_ignored else None

    def _options(self) -> tuple[int, LossParameter | AccuracyParameter]:
        """Return the class axis, and the message with `ignore_label`."""
        raise NotImplementedError

    def rows(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (positions, classes) and labels (positions,) as integers."""
        rows = widen(scores.movedim(self.axis, -1).reshape(-1, self.classes))
        return rows, self.flatten_labels(labels)

    @staticmethod
    def flatten_labels(labels: Tensor) -> Tensor:
        """Return labels as integers (positions,)."""
        return labels.reshape(-1).long()  # static_cast<int> rounds towards zero

    def check_labels(self, flat: Tensor) -> None:
        """Check integer labels; a GPU has to finish its work for it.

        Raises:
            NetError: a label outside the classes.
        """
        wrong = (flat < 0) | (flat >= self.classes)
        if self.ignored is not None:
            wrong &= flat != self.ignored
        if wrong.any():
            item = int(wrong.nonzero()[0])
            raise NetError(
                f"layer '{self.layer.name}': label {int(flat[item])} (item {item} of the batch)"
                f" is none of its {self.classes} classes, 0 to {self.classes - 1}; check the data"
                " or num_output"
            )

    def valid(self, labels: Tensor) -> Tensor:
        """Return whether each label counts (positions,)."""
        if self.ignored is None:
            return torch.ones_like(labels, dtype=torch.bool)
        return labels != self.ignored


class Accuracy(ClassificationKernel):
    """accuracy_layer.cpp: top-k accuracy; a tie with the label's score counts as better.

    As in Caffe, comparisons with nan are false, so that nan outputs have accuracy 1.
    """

    def _options(self) -> tuple[int, AccuracyParameter]:
        return self.param.accuracy_param.axis, self.param.accuracy_param

    def score_counts(self, bottoms: Tensors) -> ScoreCounts:
        """Return the counts of the mean over labels that are not ignored."""
        count = int(self.valid(self.flatten_labels(bottoms[1])).sum())
        return ScoreCounts(float(max(1, count)), float(count))

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Compute the accuracy; as a second top, that of each class."""
        rows, labels = self.rows(*bottoms)
        self.check_labels(labels)
        valid = self.valid(labels)
        rows, labels = rows[valid], labels[valid]
        label_scores = rows.gather(1, labels[:, None])
        better = (rows >= label_scores).sum(1) - 1  # without the label itself
        correct = (better < self.param.accuracy_param.top_k).to(rows.dtype)
        tops = [correct.sum() / max(1, len(correct))]
        if len(self.layer.tops) > 1:
            hits = rows.new_zeros(self.classes).index_add_(0, labels, correct)
            counts = torch.bincount(labels, minlength=self.classes)
            tops.append(hits / counts.clamp(min=1))
        return tops


class ArgMax(Kernel):
    """argmax_layer.cpp: indices or scores of the top_k largest; the last of equals comes first."""

    def set_up(self) -> None:
        """Records are independent unless the axis is 0; by default all other axes are flattened."""
        param = self.param.argmax_param
        axes = len(self.layer.bottom_shapes[0])
        self.per_record = not param.HasField("axis") or param.axis % axes != 0

    def forward(self, context: PassContext, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """Return indices as floats, scores, or both."""
        param, x = self.param.argmax_param, widen(bottoms[0])
        if param.HasField("axis"):
            axis = canonical(param.axis, x)
            values, indices = self._largest(x.movedim(axis, -1))
            chosen = values if param.out_max_val else indices.to(x.dtype)
            return [chosen.movedim(-1, axis)]
        values, indices = self._largest(x.reshape(len(x), -1))  # of one axis, too
        columns = [indices.to(x.dtype), values] if param.out_max_val else [indices.to(x.dtype)]
        tail = (1,) * (x.dim() - 3)
        return [torch.stack(columns, 1).reshape(x.shape[0], len(columns), param.top_k, *tail)]

    def _largest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """std::partial_sort of (score, index) pairs with std::greater."""
        flipped = x.flip(-1)
        order = flipped.sort(dim=-1, descending=True, stable=True).indices
        indices = x.shape[-1] - 1 - order[..., : self.param.argmax_param.top_k]
        return x.gather(-1, indices), indices
