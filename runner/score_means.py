"""What the scores of a test are means of: records, labels that are not ignored, or batches.

The mean over a set is the mean of its batches only if each batch counts for as much. With an
`ignore_label`, a batch counts for its other labels (softmax_loss_layer.cpp, accuracy_layer.cpp);
these are read from the dataset, where they are not in the log.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from ..formats.schema import LayerParameter, LossParameter
from ..nets.dataset import read_labels
from ..nets.graph import Node
from ..nets.loss_normalization import NORMALIZED_LOSSES, loss_normalization
from .preflight import CheckedNet


class ScoreMean(NamedTuple):
    """What a score is a mean of.

    Attributes:
        counts: for each record of the set whether its label counts; None where all do.
        known: whether `counts` could be read, if it is needed.
        is_sum: whether the score of a batch is a sum over its records.
        is_whole: whether the sum over records is a whole number, as of an accuracy.
    """

    counts: list[bool] | None = None
    known: bool = True
    is_sum: bool = False
    is_whole: bool = False


def read_score_means(net: CheckedNet) -> dict[str, ScoreMean]:
    """Return what the accuracies and losses of a net are means of, by output.

    Raises:
        FormatError: a dataset can't be read.
    """
    means = {}
    for node in net.shapes.graph.nodes:
        layer = node.layer
        if layer.type == "Accuracy":
            ignores = layer.accuracy_param.HasField("ignore_label")
            ignored = layer.accuracy_param.ignore_label if ignores else None
            is_whole = prod(net.shapes.blobs.get(node.bottoms[1], ())[1:]) == 1
        elif layer.type in NORMALIZED_LOSSES:
            loss, is_whole = layer.loss_param, False
            mode = loss_normalization(layer)
            ignores = mode == LossParameter.VALID and loss.HasField("ignore_label")
            ignored = loss.ignore_label if ignores else None
        else:
            continue
        counts = _read_counts(net, node, ignored) if ignored is not None else None
        means[node.tops[0]] = ScoreMean(
            counts,
            known=ignored is None or counts is not None,
            is_sum=layer.type != "Accuracy" and mode == LossParameter.NONE,
            is_whole=is_whole,
        )
    return means


def _read_counts(net: CheckedNet, node: Node[LayerParameter], ignored: int) -> list[bool] | None:
    """Return for each record whether its label counts; None where a data layer has no such."""
    source = node.sources[1]
    if source is None or prod(net.shapes.blobs[node.bottoms[1]][1:]) != 1:
        return None
    maker = net.shapes.graph.nodes[source.layer].layer
    if source.position != 1 or maker not in net.layers:
        return None
    return [label != ignored for label in read_labels(maker)]
