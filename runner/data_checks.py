"""Check the records of data layers against the net that reads them: sizes, labels, classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..formats.schema import LayerParameter
from ..nets.dataset import Dataset
from ..nets.definition import NetDefinition
from ..nets.family import is_squeezenet
from ..nets.graph import Top
from ..nets.imagenet import IMAGENET_CLASSES, IMAGENET_INPUT
from ..nets.shapes import NetShapes
from ..nets.windows import axis_index
from ..text import printable, shape_text

# Type -> the message with `axis`, and the one with `ignore_label`.
_CLASSIFIERS = {
    "SoftmaxWithLoss": ("softmax_param", "loss_param"),
    "Accuracy": ("accuracy_param", "accuracy_param"),
}

_HEADER = 4096  # characters that begin a file
# In sqgen's header: the height and width of the images that it made the net for.
_HEADER_SIZE = re.compile(r"^# sqgen .* an image of (\d{1,5})x(\d{1,5})$", re.MULTILINE)

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


def lint_crops(net: NetDefinition, phase: str, data: Data) -> Iterator[tuple[LayerParameter, str]]:
    """Yield (layer, warning) about images that only the other phase crops.

    `sqgen lint`, which sees both phases, has a rule of its own.
    """
    other, crops = _other_crops(net, phase)
    for layer, size in _uncropped(data):
        crop = crops.get(layer.top[0], 0)
        if crop and size != (crop, crop):
            yield (
                layer,
                f"layer '{printable(layer.name)}': its images of {shape_text(size)} are not"
                f" cropped, but those of {other} to {crop}x{crop}",
            )


def lint_sizes(
    net: NetDefinition, phase: str, shapes: NetShapes, data: Data
) -> Iterator[tuple[LayerParameter, str]]:
    """Yield (layer, warning) about images that no phase crops, larger than the net was made for."""
    _, crops = _other_crops(net, phase)
    for layer, size in _uncropped(data):
        made_for = _input_size(net, shapes, layer)
        if made_for is None or crops.get(layer.top[0]) or not _exceeds(size, made_for):
            continue
        yield (
            layer,
            f"layer '{printable(layer.name)}': its images of {shape_text(size)} are cropped in no"
            f" phase, but the net is for {shape_text(made_for)}; set crop_size, or resize them",
        )


def _exceeds(size: tuple[int, int], limit: tuple[int, int]) -> bool:
    return size[0] > limit[0] or size[1] > limit[1]


def _other_crops(net: NetDefinition, phase: str) -> tuple[str, dict[str, int]]:
    """Return the other phase, and the first top of each of its layers -> its crop_size."""
    other = "TRAIN" if phase == "TEST" else "TEST"
    layers = net.layers(other)
    return other, {each.top[0]: each.transform_param.crop_size for each in layers if each.top}


def _uncropped(data: Data) -> Iterator[tuple[LayerParameter, tuple[int, int]]]:
    """Yield the data layers that crop nothing, and the (height, width) of their images."""
    for layer, dataset in data:
        if dataset.image is not None and not layer.transform_param.crop_size:
            _, height, width = dataset.image
            yield layer, (height, width)


def _input_size(
    net: NetDefinition, shapes: NetShapes, layer: LayerParameter
) -> tuple[int, int] | None:
    """Return the (height, width) of images that a net was made for; None where nothing says it.

    sqgen's header says it, an Input layer of another phase or stage, or ImageNet's classes in a
    SqueezeNet, by the labels of its data layer.
    """
    header = _HEADER_SIZE.search(net.text[:_HEADER])
    if header is not None:
        return int(header[1]), int(header[2])
    inputs = (each.input_param.shape for each in net.param.layer if each.type == "Input")
    for dims in (shape.dim for each in inputs for shape in each):
        if len(dims) == 4:
            return dims[2], dims[3]
    classes = _classes(shapes, layer)
    is_imagenet = classes is not None and classes[0] == IMAGENET_CLASSES
    return IMAGENET_INPUT if is_imagenet and is_squeezenet(shapes.graph) else None


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
    labels = sorted({*dataset.labels} - ignored)
    for label in dict.fromkeys(labels[:1] + labels[-1:]):
        if not 0 <= label < classes:
            yield f"it has the label {label}, but the net has {classes} classes, from 0"
