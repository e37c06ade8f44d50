"""Collect the predictions of a test: scores of each record once, with the record's key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from ..errors import NetError
from ..evaluation.ranking import rank_classes
from ..formats.files import check_file_target
from ..formats.predictions import Predictions, check_suffix, write_predictions
from ..nets.score_heads import choose_head
from ..nets.shapes import infer_shapes
from ..text import printable
from . import glog
from .executor import BatchResult, Executor
from .kernels.base import widen
from .kernels.losses import FLT_MIN

TOP = 5  # classes of each record


class PredictionCollector:
    """Predictions of the records that a test reads, batch by batch.

    Args:
        net: reads its records from files.
        blob: the scores; None means the last that a loss or an accuracy compares with labels.

    Attributes:
        keep: the blobs to keep of each batch.

    Raises:
        NetError: the net has no such scores, or not one set for each record.
    """

    def __init__(self, net: Executor, blob: str | None) -> None:
        where = printable(net.definition.source)
        if not net.loaders:
            raise NetError(f"{where}: reads no records, so there are no predictions to keep")
        known = {name: loader.top_shapes for name, loader in net.loaders.items()}
        shapes = infer_shapes(net.definition, net.phase, known=known)
        self._head, self._remark = choose_head(net.definition, shapes, blob)
        loader = next(iter(net.loaders.values()))  # the images', where labels have their own
        self._where = where
        self._check_count(shapes.blobs[self._head.blob][0], loader.batch_size)
        self.keep = (self._head.blob, self._head.labels)
        self._keys: Iterator[str] = loader.keys()
        self._unread = loader.records
        self._parts: list[Predictions] = []
        self._ignored = 0

    def _check_count(self, sets: int, records: int) -> None:
        if sets != records:
            raise NetError(
                f"{self._where}: blob '{printable(self._head.blob)}' has {sets} sets of scores for"
                f" {records} records; such predictions are not kept"
            )

    def add(self, result: BatchResult) -> None:
        """Add a batch, without the records of it that were read before.

        Raises:
            NetError: scores that are nan or infinite, or not one set for each record.
        """
        self._check_count(len(result.blobs[self._head.blob]), result.records)  # Filter drops some
        count = min(result.records, self._unread)  # a test that goes on begins again
        self._unread -= count
        keys = np.array(list(islice(self._keys, count)), object)
        labels = result.blobs[self._head.labels].reshape(-1)[:count].long().cpu().numpy()
        scores = widen(result.blobs[self._head.blob].reshape(result.records, -1)[:count])
        counted = ~np.isin(labels, list(self._head.ignored))
        self._ignored += int(count - counted.sum())
        if counted.any():
            rows = torch.from_numpy(np.flatnonzero(counted)).to(scores.device)
            self._parts.append(self._predict(keys[counted], labels[counted], scores[rows]))

    def _predict(self, keys: np.ndarray, labels: np.ndarray, scores: torch.Tensor) -> Predictions:
        values = scores.cpu().numpy()
        wrong = ~np.isfinite(values).all(1)
        if wrong.any():
            raise NetError(
                f"--predictions: the scores of {printable(keys[wrong][0])} are nan or infinite: the"
                " net has diverged; test weights of before"
            )
        outside = (labels < 0) | (labels >= values.shape[1])
        if outside.any():
            raise NetError(
                f"--predictions: {printable(keys[outside][0])} has the label"
                f" {int(labels[outside][0])}, and blob '{printable(self._head.blob)}' classes 0 to"
                f" {values.shape[1] - 1}"
            )
        ranks, classes = rank_classes(values, labels, TOP)
        every = scores if self._head.are_probabilities else F.softmax(scores, 1)
        probabilities = every.clamp(0, 1).cpu().numpy()
        of_label = np.take_along_axis(probabilities, labels[:, None], 1)[:, 0]
        losses = np.abs(np.log(np.maximum(of_label, FLT_MIN)))
        # Vectorized exp may round that of the lower score up.
        ordered = np.minimum.accumulate(np.take_along_axis(probabilities, classes, 1), 1)
        return Predictions(
            tuple(keys),
            labels.astype(np.int32),
            ranks.astype(np.int32),
            losses.astype(np.float32),
            classes.astype(np.int32),
            ordered.astype(np.float32),
        )

    def write(self, path: str) -> None:
        """Write the predictions; log how many there are.

        Raises:
            NetError: no record is left.
            OutputError: the file can't be written.
        """
        if not self._parts:
            raise NetError("--predictions: no record was tested whose label counts")
        found = Predictions.join(self._parts)
        write_predictions(path, found, force=True)
        left_out = f", without {self._ignored} of ignored labels" if self._ignored else ""
        glog.info(
            f"Predictions of {len(found)} records{left_out} by blob {printable(self._head.blob)}"
            f" are in {printable(path)}{self._remark}"
        )


def check_predictions_target(path: str) -> None:
    """Check, before the net is set up, that predictions can be written to `path`.

    Raises:
        SqgenError: it is no .csv or .npz, or can't be written.
    """
    check_suffix(path, "--predictions ")
    check_file_target(Path(path), force=True)
