"""Make a deploy net: what a net computes in TEST from its images, without data, labels and scores.

Data layers become Input layers, and losses that contain a Softmax or Sigmoid become that layer.
What only labels and scores need goes, and so do auxiliary classifiers: losses of a smaller weight
for the same labels, as in GoogLeNet. Layer names stay, so that weights load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Final, NamedTuple

from google.protobuf.message import Message

from ..errors import NetError
from ..formats.fork_fields import COMPUTED
from ..formats.schema import LayerParameter, NetParameter
from ..text import printable
from .data_layers import is_data_layer, is_transformed
from .definition import NetDefinition
from .graph import Bottom, Graph, Node, Top, build_graph
from .layer_families.data import ASSUMED_CHANNELS, channels_by_transform
from .layer_types import LAYER_TYPES, Shape
from .origins import LayerOrigin
from .shapes import UNKNOWN_LAYERS, count_problem, require_shapes, stage_hint
from .windows import ShapeError, UnknownSizeError

# Loss -> the layer that computes its probabilities (src/caffe/layers/*_loss_layer.cpp).
PROBABILITIES = {
    "SoftmaxWithLoss": "Softmax",
    "InfogainLoss": "Softmax",
    "SigmoidCrossEntropyLoss": "Sigmoid",
}
PROBABILITY = "prob"  # name of the layer and its top, as in the published deploy nets
_SINKS = ("Silence", "HDF5Output")
# Fields that only training reads, or that chose the layer.
_LEFT_OUT: Final = ("include", "exclude", "phase", "loss_weight", "propagate_down", "blobs")
_FILLERS = ("weight_filler", "bias_filler", "filler")
_UNKNOWN = (*UNKNOWN_LAYERS, "image-size")  # rules of problems that are no errors here

Layer = Node[LayerParameter]


class DeployNet(NamedTuple):
    """A deploy net, and the names of the auxiliary losses whose layers it lacks.

    Its layers are from the lines of the net that it was made of.
    """

    definition: NetDefinition
    auxiliary: list[str]

    @property
    def param(self) -> NetParameter:
        """The net's parameters."""
        return self.definition.param


def deploy_net(
    net: NetDefinition,
    batch: int | None = None,
    image: Shape | None = None,
    known: Mapping[str, Sequence[Shape]] | None = None,
    keep_dropout: bool = False,
) -> DeployNet:
    """Make the deploy net of a net.

    Args:
        net: the net; its stages and level select layers.
        batch: of the inputs; by default 1, and that of an Input layer.
        image: (channels, height, width) of the records of data layers that don't say.
        known: name of a data layer -> the shapes of its tops, where its records were read.
        keep_dropout: keep Dropout layers, which do nothing in TEST.

    Raises:
        FormatError: a field of a fork changes what a layer computes.
        NetError: a layer reads what no layer makes, the size of an input is unknown, nothing is
            left, or Caffe would refuse the result.
    """
    graph = build_graph(net.layers("TEST"))
    for name, bottoms in graph.undefined.items():
        layer = graph.nodes[bottoms[0].layer].layer
        where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
        raise NetError(f"{where}: no layer makes '{printable(name)}' in TEST{stage_hint(net)}")
    cut = _Cut(graph, net.layers("TRAIN"))
    if not cut.kept:
        raise NetError(f"{printable(net.source)}: has no outputs in TEST{stage_hint(net)}")
    net.require_caffe("TEST", COMPUTED, {node.layer.name for node in cut.kept if node.bottoms})
    param = NetParameter()
    if net.param.name:
        param.name = net.param.name
    renamed: dict[str, str] = {}
    for node in cut.kept:
        if not node.bottoms and node.layer.type != "Parameter":
            param.layer.append(_input_layer(net, node, cut.read, batch, image, known or {}))
        elif keep_dropout or not cut.can_skip(node):
            param.layer.append(_stripped(node.layer))
        elif node.tops != node.bottoms:
            renamed[node.tops[0]] = node.bottoms[0]
    param.layer.extend(cut.probabilities())
    for layer in param.layer:
        layer.bottom[:] = [renamed.get(name, name) for name in layer.bottom]
        layer.top[:] = [renamed.get(name, name) for name in layer.top]
    lines = {node.layer.name: net.origin(node.layer).line for node in graph.nodes}
    origins = [LayerOrigin(lines.get(layer.name, 0)) for layer in param.layer]
    definition = NetDefinition(param, net.source, origins=origins)
    require_shapes(definition, "TEST", allow=_UNKNOWN)
    return DeployNet(definition, [layer.name for layer in cut.auxiliary])


class _Cut:
    """Where a net in TEST is cut off from its labels and scores.

    Attributes:
        auxiliary: losses that go with the layers that only they need.
        heads: the scores of each other loss that becomes a layer of probabilities.
        kept: the layers of the deploy net, in order; some make its inputs.
        read: the versions of blobs that these read, and the outputs.
    """

    def __init__(self, graph: Graph[LayerParameter], trained: Sequence[LayerParameter]) -> None:
        self.graph = graph
        labels = _label_blobs(graph)
        dropped = _scoring_layers(graph, labels)
        losses = _losses(graph, trained)
        self.auxiliary = _auxiliary(layer for _, layer in losses)
        self.heads = {top: layer for top, layer in losses if layer not in self.auxiliary}
        self.read = self.heads.keys() | {
            top
            for top in _outputs(graph, labels, dropped)
            if top not in [scores for scores, layer in losses if layer in self.auxiliary]
        }
        kept = []
        for node in reversed(graph.nodes):
            if node.index not in dropped and self.read & set(_tops(node)):
                kept.append(node)
                self.read.update(source for source in node.sources if source is not None)
        self.kept = kept[::-1]

    def can_skip(self, node: Layer) -> bool:
        """Whether a layer is a Dropout whose readers can read its bottom instead."""
        if node.layer.type != "Dropout":
            return False
        source = node.sources[0]
        is_read = any(Top(node.index, 0) in each.sources for each in self.kept)
        is_alone = source is not None and len(self.graph.readers(source)) == 1
        return node.is_in_place(0) or (is_alone and (is_read or Top(node.index, 0) in self.heads))

    def probabilities(self) -> Iterator[LayerParameter]:
        """Yield the layers that make probabilities of scores, where the net has none."""
        taken = {name for node in self.kept for name in (node.layer.name, *node.tops)}
        for scores, loss in self.heads.items():
            kind = PROBABILITIES[loss.type]
            if any(node.layer.type == kind and scores in node.sources for node in self.kept):
                continue
            bottom = self.graph.name(scores)
            is_plain = len(self.heads) == 1 and PROBABILITY not in taken
            name = PROBABILITY if is_plain else f"{bottom}_{PROBABILITY}"
            layer = LayerParameter(name=name, type=kind, bottom=[bottom], top=[name])
            if loss.HasField("softmax_param"):
                layer.softmax_param.CopyFrom(loss.softmax_param)
            yield layer


def _tops(node: Layer) -> list[Top]:
    return [Top(node.index, position) for position in range(len(node.tops))]


def _label_blobs(graph: Graph[LayerParameter]) -> set[Top]:
    """Return the versions made of nothing but the labels of data layers."""
    labels: set[Top] = set()
    for node in graph.nodes:
        if is_transformed(node.layer):
            labels.update(_tops(node)[1:])
        elif node.sources and labels.issuperset(node.sources):
            labels.update(_tops(node))
    return labels


def is_score(layer: LayerParameter) -> bool:
    """Whether a layer is an Accuracy or a loss."""
    return layer.type == "Accuracy" or layer.type.endswith("Loss")


def _scoring_layers(graph: Graph[LayerParameter], labels: Set[Top]) -> set[int]:
    """Return the layers that score, read labels, or need one that does."""
    dropped: set[int] = set()
    for node in graph.nodes:
        if (
            is_score(node.layer)
            or node.layer.type in PROBABILITIES
            or node.layer.type in _SINKS
            or not labels.isdisjoint(node.sources)
            or any(source is not None and source.layer in dropped for source in node.sources)
        ):
            dropped.add(node.index)
    return dropped


def _losses(
    graph: Graph[LayerParameter], trained: Sequence[LayerParameter]
) -> list[tuple[Top, LayerParameter]]:
    """Return the losses with a layer of probabilities, of either phase, with their scores."""
    losses: dict[tuple[Top, str], LayerParameter] = {}
    for node in graph.nodes:
        if node.layer.type in PROBABILITIES and node.sources and node.sources[0] is not None:
            losses[node.sources[0], node.layer.type] = node.layer
    for layer in trained:
        if layer.type in PROBABILITIES and layer.bottom and layer.bottom[0] in graph.makers:
            losses.setdefault((graph.makers[layer.bottom[0]][-1], layer.type), layer)
    return [(top, layer) for (top, _), layer in losses.items()]


def _auxiliary(losses: Iterable[LayerParameter]) -> list[LayerParameter]:
    """Return the losses of less weight than another for the same labels."""
    weights = [(layer, list(layer.bottom[1:]), [*layer.loss_weight, 1][0]) for layer in losses]
    return [
        layer
        for layer, labels, weight in weights
        if any(labels == others and weight < more for _, others, more in weights)
    ]


def _outputs(graph: Graph[LayerParameter], labels: Set[Top], dropped: Set[int]) -> Iterator[Top]:
    """Yield the versions that no kept layer reads, and that are no mere targets of a loss."""
    learned = _learned_blobs(graph)
    for node in graph.nodes:
        if node.index in dropped or not node.bottoms:
            continue
        for top in _tops(node):
            readers = graph.readers(top)
            is_scored = any(_is_prediction(graph, reader, labels, learned) for reader in readers)
            if not readers or (is_scored and all(reader.layer in dropped for reader in readers)):
                yield top


def _is_prediction(
    graph: Graph[LayerParameter], bottom: Bottom, labels: Set[Top], learned: Set[Top]
) -> bool:
    """Whether a layer that scores reads a prediction there, not what that should be."""
    node = graph.nodes[bottom.layer]
    if node.layer.type == "Silence":
        return False
    targets = {position for position, top in enumerate(node.sources) if top in labels}
    if not targets and is_score(node.layer):
        is_learned = [top in learned for top in node.sources]
        first = 2 if node.layer.type == "ContrastiveLoss" else 1
        # The distance of two blobs is the same in either order.
        targets = {0} if is_learned[:2] == [False, True] else set(range(first, len(is_learned)))
    return bottom.position not in targets


def _learned_blobs(graph: Graph[LayerParameter]) -> set[Top]:
    """Return the versions that depend on a layer of filters."""
    learned: set[Top] = set()
    for node in graph.nodes:
        fields = (value for _, value in node.layer.ListFields() if isinstance(value, Message))
        has_filters = any("num_output" in field.DESCRIPTOR.fields_by_name for field in fields)
        if has_filters or not learned.isdisjoint(node.sources):
            learned.update(_tops(node))
    return learned


def _input_layer(
    net: NetDefinition,
    node: Layer,
    read: Set[Top],
    batch: int | None,
    image: Shape | None,
    known: Mapping[str, Sequence[Shape]],
) -> LayerParameter:
    """Make the Input layer of the tops of a data layer that are read."""
    layer = node.layer
    where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
    kind = LAYER_TYPES.get(layer.type)
    if kind is not None and (problem := count_problem(layer, kind)):
        raise NetError(f"{where}: {problem}")
    try:
        shapes = known.get(layer.name) or _top_shapes(layer, image)
    except UnknownSizeError:
        raise NetError(f"{where}: the size of its images is unknown; give --image CxHxW") from None
    except ShapeError as error:
        raise NetError(f"{where}: {error}") from None
    result = LayerParameter(name=layer.name, type="Input")
    count = batch or (None if layer.type == "Input" else 1)
    for top, shape in zip(_tops(node), shapes, strict=True):
        if top in read:
            result.top.append(node.tops[top.position])
            result.input_param.shape.add(dim=[count or shape[0], *shape[1:]])
    return result


def _top_shapes(layer: LayerParameter, image: Shape | None) -> Sequence[Shape]:
    if is_data_layer(layer) and layer.type in LAYER_TYPES:
        return LAYER_TYPES[layer.type].top_shapes(layer, [], image)
    crop = layer.transform_param.crop_size  # of a WindowData
    if image is None and not crop:
        raise UnknownSizeError
    channels = image[0] if image is not None else channels_by_transform(layer) or ASSUMED_CHANNELS
    size = (crop, crop) if crop else (image or ())[1:]
    return [(1, channels, *size)] * len(layer.top)


def _stripped(layer: LayerParameter) -> LayerParameter:
    """Copy a layer without what only training reads; names of shared parameters stay."""
    copy = LayerParameter()
    copy.CopyFrom(layer)
    for name in _LEFT_OUT:
        copy.ClearField(name)
    for _, message in copy.ListFields():
        if isinstance(message, Message):
            for name in _FILLERS:
                if name in message.DESCRIPTOR.fields_by_name:
                    message.ClearField(name)
    for spec in copy.param:
        spec.ClearField("lr_mult")
        spec.ClearField("decay_mult")
    if not any(spec.name for spec in copy.param):
        del copy.param[:]
    return copy
