"""Check the records of data layers against the net that reads them: sizes, labels, classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..formats.schema import LayerParameter
from ..nets.definition import NetDefinition
from ..nets.graph import Top
from ..nets.shapes import NetShapes
from ..nets.windows import axis_index
from ..text import printable, shape_text
from .dataset import Dataset

# Type -> the message with `axis`, and the one with `ignore_label`.
_CLASSIFIERS = {
    "SoftmaxWithLoss": ("softmax_param", "loss_param"),
    "Accuracy": ("accuracy_param", "accuracy_param"),
}


Data = Iterable[tuple[LayerParameter, Dataset]]  # data layers, and what each reads


def lint_data(shapes: NetShapes, data: Data) -> Iterator[tuple[LayerParameter, str]]:
    """Yield (layer, warning) about labels that the net takes, though nobody means them.

    Args:
        shapes: of the net in the phase.
        data: of its data layers.
    """
    for layer, dataset in data:
        problems = list(dataset.warnings)
        classes = _classes(shapes, layer)
        problems += [] if classes is None else _labels(dataset, *classes)
        for problem in problems:
            yield layer, f"layer '{printable(layer.name)}': {problem}"


def lint_sizes(net: NetDefinition, phase: str, data: Data) -> Iterator[tuple[LayerParameter, str]]:
    """Yield (layer, warning) about images that only the other phase crops.

    `sqgen lint`, which sees both phases, has a rule of its own.
    """
    other = "TRAIN" if phase == "TEST" else "TEST"
    crops = {each.top[0]: each.transform_param.crop_size for each in net.layers(other) if each.top}
    for layer, dataset in data:
        crop = crops.get(layer.top[0], 0)
        if dataset.image is None or layer.transform_param.crop_size or not crop:
            continue
        if dataset.image[1:] != (crop, crop):
            yield (
                layer,
                f"layer '{printable(layer.name)}': its images of {shape_text(dataset.image[1:])}"
                f" are not cropped, but those of {other} to {crop}x{crop}",
            )


def _classes(shapes: NetShapes, layer: LayerParameter) -> tuple[int, set[int]] | None:
    """Return the number of classes that a data layer's labels choose from, and labels ignored."""
    nodes = shapes.graph.nodes
    labels = [Top(each.index, 1) for each in nodes if each.layer.name == layer.name]
    known = {id(item.layer): item for item in shapes.layers}
    for node in nodes:
        item = known.get(id(node.layer))  # None for a layer that lacks a bottom, say
        if item is None or node.layer.type not in _CLASSIFIERS or node.sources[1] not in labels:
            continue
        axis, ignored = (getattr(node.layer, name) for name in _CLASSIFIERS[node.layer.type])
        scores = item.bottoms[0]
        ignores = {ignored.ignore_label} if ignored.HasField("ignore_label") else set()
        return scores[axis_index(axis.axis, len(scores))], ignores
    return None


def _labels(dataset: Dataset, classes: int, ignored: set[int]) -> Iterator[str]:
    if dataset.names is not None and dataset.names != classes:
        yield f"its labels.txt names {dataset.names} classes, but the net has {classes}"
    for label in sorted(set(dataset.labels or ()) - ignored):
        if not 0 <= label < classes:
            yield f"it has the label {label}, but the net has {classes} classes, from 0"
