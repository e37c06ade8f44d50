"""Score heads: which blobs of a net hold the scores of classes that layers compare with labels."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from ..errors import NetError
from ..formats.schema import LayerParameter
from ..text import did_you_mean, first_few, printable
from .data_layers import has_countable_records
from .definition import NetDefinition
from .graph import Graph, Node
from .shapes import NetShapes

# Types of layers that compare scores with labels -> the field with the axis of the classes. The
# first ones come first where several read the scores of one head.
_COMPARING = {
    "SoftmaxWithLoss": "softmax_param",
    "InfogainLoss": "infogain_loss_param",
    "MultinomialLogisticLoss": "",
    "HingeLoss": "",
    "Accuracy": "accuracy_param",
}
_OF_LOGITS = ("SoftmaxWithLoss", "InfogainLoss")  # they apply a softmax to any bottom


class ScoreHead(NamedTuple):
    """Scores of classes, one set for each record, and the labels that they are compared with.

    Attributes:
        blob: the scores, (N, C) or (N, C, 1, 1).
        labels: the blob of the labels, one for each record.
        axis: of the classes.
        are_probabilities: whether the scores are, so that no softmax is due.
        ignored: labels that do not count.
    """

    blob: str
    labels: str
    axis: int = 1
    are_probabilities: bool = False
    ignored: frozenset[int] = frozenset()


def find_heads(graph: Graph[LayerParameter]) -> list[ScoreHead]:
    """Return the score heads of a net, in the order in which their scores are computed.

    Losses and accuracies of the same scores, also through a Softmax, are one head.
    """
    groups: dict[tuple[int, str], list[Node[LayerParameter]]] = {}
    for node in graph.nodes:
        if node.layer.type in _COMPARING and len(node.bottoms) > 1:
            root = _before_softmax(graph, node.bottoms[0])
            groups.setdefault((_maker(graph, root), root), []).append(node)
    return [_head(graph, nodes) for _, nodes in sorted(groups.items())]


def _maker(graph: Graph[LayerParameter], blob: str) -> int:
    return graph.makers[blob][-1].layer if blob in graph.makers else -1


def _is_softmax(graph: Graph[LayerParameter], blob: str) -> bool:
    maker = _maker(graph, blob)
    return maker >= 0 and graph.nodes[maker].layer.type == "Softmax"


def _before_softmax(graph: Graph[LayerParameter], blob: str) -> str:
    return graph.nodes[_maker(graph, blob)].bottoms[0] if _is_softmax(graph, blob) else blob


def _head(graph: Graph[LayerParameter], nodes: list[Node[LayerParameter]]) -> ScoreHead:
    first = min(nodes, key=lambda node: list(_COMPARING).index(node.layer.type))
    blob = first.bottoms[0]
    are_probabilities = first.layer.type == "MultinomialLogisticLoss" or (
        first.layer.type not in _OF_LOGITS and _is_softmax(graph, blob)
    )
    field = _COMPARING[first.layer.type]
    axis = getattr(first.layer, field).axis if field else 1
    ignored = frozenset(label for node in nodes for label in _ignored_labels(node.layer))
    return ScoreHead(blob, first.bottoms[1], axis, are_probabilities, ignored)


def _ignored_labels(layer: LayerParameter) -> Iterable[int]:
    for param in (layer.loss_param, layer.accuracy_param):
        if param.HasField("ignore_label"):
            yield param.ignore_label


def choose_head(net: NetDefinition, shapes: NetShapes, blob: str | None) -> tuple[ScoreHead, str]:
    """Choose the score head of the predictions; return it, and a remark if there are others.

    Args:
        net: for messages.
        shapes: in the phase.
        blob: the scores that the user names; None means those that are computed last.

    Raises:
        NetError: there is no such head, or it has no single set of scores for a record.
    """
    where, graph = printable(net.source), shapes.graph
    heads = find_heads(graph)
    if blob is not None and blob not in graph.makers:
        hint = did_you_mean(blob, graph.makers) or f"; scores: {first_few([h.blob for h in heads])}"
        raise NetError(f"{where}: no blob '{printable(blob)}'{hint}")
    labels = [head.labels for head in heads] or _label_tops(graph)
    if not labels or not (heads or blob):
        raise NetError(
            f"{where}: no layer compares scores with labels, so there are no predictions to judge;"
            " give the train_val net, with an Accuracy or a loss"
        )
    head = heads[-1] if heads else ScoreHead("", labels[-1])
    if blob is not None:
        head = _named_head(graph, heads, head, blob)
    _check_shapes(where, shapes, head)
    others = [each.blob for each in heads if each.blob != head.blob]
    remark = f"; other scores: {first_few(others)} (--blob)" if others else ""
    return head, remark


def _named_head(
    graph: Graph[LayerParameter], heads: list[ScoreHead], last: ScoreHead, blob: str
) -> ScoreHead:
    """Return the head of a blob; its labels are those of the same scores, else of the last head."""
    root = _before_softmax(graph, blob)
    alike = next((h for h in heads if _before_softmax(graph, h.blob) == root), last)
    exact = next((head for head in heads if head.blob == blob), None)
    probabilities = _is_softmax(graph, blob)
    return exact or alike._replace(blob=blob, axis=1, are_probabilities=probabilities)


def _label_tops(graph: Graph[LayerParameter]) -> list[str]:
    """Return the labels of data layers, of which no layer need read any."""
    layers = [node.layer for node in graph.nodes if has_countable_records(node.layer)]
    return [layer.top[1] for layer in layers if len(layer.top) > 1]


def _check_shapes(where: str, shapes: NetShapes, head: ScoreHead) -> None:
    """Check that each record has one set of scores and one label, as far as shapes are known."""
    scores, labels = shapes.blobs.get(head.blob), shapes.blobs.get(head.labels)
    if scores is None or labels is None:
        return
    rest = prod(scores[1:])
    is_single = len(scores) > 1 and head.axis % len(scores) and scores[head.axis] == rest
    if not is_single or prod(labels) != scores[0]:
        raise NetError(
            f"{where}: blob '{printable(head.blob)}' of {scores} with labels of {labels} has no"
            " single set of scores for each image, as where each pixel is classified; such"
            " predictions are not kept"
        )
    if rest < 2:
        raise NetError(f"{where}: blob '{printable(head.blob)}' has one score an image, no classes")
