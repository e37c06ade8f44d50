"""Infer the shapes of all blobs of a net in one phase, and check how its layers are connected.

`infer_shapes` collects problems, which lint reports; `require_shapes` raises the first.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from math import prod
from typing import NamedTuple

from ..errors import NetError
from ..formats.fork_fields import Effect
from ..formats.schema import LayerParameter, ParamSpec
from ..text import did_you_mean, first_few, printable
from .data_layers import declared_batch_size, is_data_layer
from .definition import NetDefinition
from .fork_types import describe_unknown_type
from .graph import Bottom, Graph, Node, build_graph
from .layer_families.data import ASSUMED_CHANNELS, channels_by_transform
from .layer_types import LAYER_TYPES, MAX_ELEMENTS, UNSUPPORTED, Blob, LayerType, Shape
from .windows import ShapeError, UnknownSizeError

# Rules of layers that have no row in the table: all else can be known.
UNKNOWN_LAYERS = ("type", "unsupported")
_NEEDS_INPUT = 'has input_param but no data_param, so it is an input: write type: "Input"'


class LayerShapes(NamedTuple):
    """A layer with the shapes of its bottoms, tops and parameter blobs, in the layer's order."""

    layer: LayerParameter
    bottoms: list[Shape]
    tops: list[Shape]
    blobs: list[Blob]
    macs: int


class Problem(NamedTuple):
    """What Caffe would refuse: a lint rule, the layer, and a sentence."""

    rule: str
    layer: LayerParameter
    message: str


class NetShapes(NamedTuple):
    """The shapes of a net in one phase.

    Attributes:
        layers: layers whose shapes are known, in order.
        blobs: name -> shape, of those layers' tops.
        problems: what Caffe would refuse.
        graph: the layers of the phase, connected.
    """

    layers: list[LayerShapes]
    blobs: dict[str, Shape]
    problems: list[Problem]
    graph: Graph[LayerParameter]


def infer_shapes(
    net: NetDefinition,
    phase: str,
    image: Shape | None = None,
    known: Mapping[str, Sequence[Shape]] | None = None,
) -> NetShapes:
    """Infer shapes layer by layer, as Net::Init does.

    Args:
        net: the net.
        phase: `TRAIN` or `TEST`.
        image: (channels, height, width) of the records of data layers, where known.
        known: name of a data layer -> the shapes of its tops, where its records were read.
    """
    walk = _Walk(net, build_graph(net.layers(phase)), image, known or {})
    for node in walk.graph.nodes:
        walk.visit(node)
    return NetShapes(walk.layers, walk.shapes, walk.problems, walk.graph)


def require_shapes(
    net: NetDefinition, phase: str, image: Shape | None = None, allow: Container[str] = ()
) -> NetShapes:
    """Infer shapes; raise the first problem of a rule that is not in `allow`.

    Raises:
        NetError: that problem, with file:line and the layer's name.
    """
    result = infer_shapes(net, phase, image)
    for problem in result.problems:
        if problem.rule in allow:
            continue
        raise NetError(f"{net.place(problem.layer)}: {problem.message}{stage_hint(net)}")
    return result


def stage_hint(net: NetDefinition) -> str:
    """Return a hint at the stages of a net that is read without any, or nothing."""
    if net.stages or not net.stage_names:
        return ""
    return f"; it has layers for stages {first_few(net.stage_names, 5)}: give --stage NAME"


def assumed_channels(net: NetDefinition, layers: Sequence[LayerParameter]) -> Iterator[str]:
    """Yield a warning about the first layer whose records' channels are assumed."""
    for layer in layers:
        if layer.type == "Data" and channels_by_transform(layer) is None:
            name = printable(layer.name)
            yield (
                f"{net.place(layer)}: layer '{name}': assuming records of {ASSUMED_CHANNELS}"
                " channels; --image CxHxW overrides this"
            )
            return


class _Walk:
    """Visits the layers in order, and collects shapes and problems."""

    def __init__(
        self,
        net: NetDefinition,
        graph: Graph[LayerParameter],
        image: Shape | None,
        known: Mapping[str, Sequence[Shape]],
    ) -> None:
        self.net = net
        self.graph = graph
        self.image = image
        self.known = known
        self.shapes: dict[str, Shape] = {}
        self.shared: dict[str, tuple[LayerParameter, Shape, ParamSpec]] = {}
        self.layers: list[LayerShapes] = []
        self.problems: list[Problem] = []

    def problem(self, rule: str, layer: LayerParameter, message: str) -> None:
        name = printable(layer.name)
        what = printable(f"layer '{name}': {message}", 500)
        self.problems.append(Problem(rule, layer, what))

    def visit(self, node: Node[LayerParameter]) -> None:
        layer = node.layer
        kind = self.known_type(layer)
        wired = self.check_bottoms(node)
        self.check_tops(node, kind)
        if kind is None or not wired or not self.check_counts(layer, kind):
            return
        bottoms = [self.shapes[name] for name in layer.bottom if name in self.shapes]
        if len(bottoms) < len(layer.bottom):
            return  # a layer above had a problem, which is reported already
        try:
            known = () if bottoms else self.known.get(layer.name, ())
            tops = list(known) or kind.top_shapes(layer, bottoms, self.image)
            blobs = kind.blobs(layer, bottoms)
            macs = kind.macs(bottoms, tops, blobs)
        except UnknownSizeError as error:
            if _is_misspelt_input(layer):
                self.problem("shape", layer, _NEEDS_INPUT)
            else:
                self.problem("image-size", layer, str(error))
            return
        except ShapeError as error:
            self.problem("shape", layer, str(error))
            return
        self.check_params(layer, blobs)
        for shape in (*tops, *(blob.shape for blob in blobs)):
            if any(axis <= 0 for axis in shape):
                self.problem("shape", layer, _describe_empty(layer, shape))
                return
            if prod(shape) > MAX_ELEMENTS:
                self.problem("shape", layer, f"{shape} is more than Caffe can count (2^31 - 1)")
                return
        self.shapes.update(zip(layer.top, tops, strict=False))
        self.layers.append(LayerShapes(layer, bottoms, tops, blobs, macs))

    def known_type(self, layer: LayerParameter) -> LayerType | None:
        kind = LAYER_TYPES.get(layer.type)
        for use in self.net.origin(layer).fork_uses:
            if use.field.effect is Effect.SHAPE:
                what = f"{use.field.path} ({use.field.fork}) {use.field.about}"
                self.problem("unsupported", layer, f"{what}: its shapes are unknown")
                return None
        if kind is None and layer.type in UNSUPPORTED:
            what = f"type '{layer.type}' is Caffe's, but not supported here"
            self.problem("unsupported", layer, f"{what}: the shapes of its tops are unknown")
        elif kind is None:
            self.problem("type", layer, describe_unknown_type(layer.type))
        return kind

    def check_bottoms(self, node: Node[LayerParameter]) -> bool:
        """Report bottoms that no layer above makes; return whether there are none."""
        graph, layer = self.graph, node.layer
        missing = [
            name for name, source in zip(node.bottoms, node.sources, strict=True) if source is None
        ]
        for name in missing:
            if name not in graph.makers:
                hint = did_you_mean(name, graph.names_above(node.index))
                self.problem("unknown-blob", layer, f"no layer makes '{printable(name)}'{hint}")
                continue
            maker = graph.nodes[graph.makers[name][0].layer]
            if maker is node or graph.depends(maker.index, node.index):
                self.problem("cycle", layer, f"needs '{printable(name)}', which depends on it")
            else:
                what = f"reads '{printable(name)}' before '{maker.layer.name}' makes it"
                self.problem("order", layer, what)
        return not missing

    def check_tops(self, node: Node[LayerParameter], kind: LayerType | None) -> None:
        for index, name in enumerate(node.tops):
            if name in node.tops[:index]:
                what = f"has '{printable(name)}' as a top twice"
                self.problem("duplicate-top", node.layer, what)
            elif node.is_in_place(index):
                self.check_in_place(node, index, kind)
            elif self.graph.is_made_above(name, node.index):
                what = f"makes '{printable(name)}', which is made above it"
                self.problem("duplicate-top", node.layer, what)

    def check_in_place(
        self, node: Node[LayerParameter], index: int, kind: LayerType | None
    ) -> None:
        """Caffe splits a blob that several layers read, and then none can work in place on it
        (src/caffe/util/insert_splits.cpp)."""
        name, layer = node.tops[index], node.layer
        others = self.other_readers(node, index)
        if kind is not None and not kind.in_place:
            self.problem("in-place", layer, f"{layer.type} can't work in place on '{name}'")
        elif others or node.bottoms.count(name) > 1:
            reader = f"'{printable(others[0].name)}'" if others else "it twice, as it"
            self.problem(
                "in-place",
                layer,
                f"works in place on '{printable(name)}', but {reader} reads that too; give its top"
                " a name of its own",
            )

    def other_readers(self, node: Node[LayerParameter], index: int) -> list[LayerParameter]:
        """Return the other layers that use what a bottom reads, its maker for a loss weight."""
        graph, source = self.graph, node.sources[index]
        users = [bottom.layer for bottom in graph.readers_beside(Bottom(node.index, index))]
        if source is not None and graph.loss_weight(source):
            users.insert(0, source.layer)
        return [graph.nodes[user].layer for user in users if user != node.index]

    def check_params(self, layer: LayerParameter, blobs: list[Blob]) -> None:
        """Check `param` entries and shared blobs (Net::AppendParam)."""
        if len(layer.param) > len(blobs):
            what = f"has {len(layer.param)} param entries, but {len(blobs)} parameter blobs"
            self.problem("blob-count", layer, what)
        for spec, blob in zip(layer.param, blobs, strict=False):
            if not spec.name:
                continue
            owner, shape, first = self.shared.setdefault(spec.name, (layer, blob.shape, spec))
            strict = spec.share_mode == ParamSpec.STRICT
            what = f"shares '{printable(spec.name)}' with '{printable(owner.name)}', but it is"
            if shape != blob.shape if strict else prod(shape) != prod(blob.shape):
                self.problem("shape", layer, f"{what} {shape} there and {blob.shape} here")
            for field in ("lr_mult", "decay_mult"):
                values = [getattr(each, field) for each in (first, spec) if each.HasField(field)]
                if len(set(values)) > 1:
                    self.problem("shape", layer, f"{what} another {field} there than here")

    def check_counts(self, layer: LayerParameter, kind: LayerType) -> bool:
        problem = count_problem(layer, kind)
        tops = max(len(layer.top), kind.automatic_tops)
        if not problem and layer.loss_weight and len(layer.loss_weight) != tops:
            problem = f"has {tops} tops but {len(layer.loss_weight)} loss_weight"
        if problem:
            self.problem("blob-count", layer, problem)
        return not problem


def count_problem(layer: LayerParameter, kind: LayerType) -> str:
    """Say which blobs a layer has too many or too few of for its type; "" where none."""
    counts = {"bottom": (layer.bottom, kind.bottom_count), "top": (layer.top, kind.top_count)}
    for word, (blobs, (minimum, maximum)) in counts.items():
        if len(blobs) < minimum or (maximum is not None and len(blobs) > maximum):
            wanted = f"{minimum}" if maximum == minimum else f"{minimum} or more"
            if maximum is not None and maximum != minimum:
                wanted = f"{minimum} to {maximum}"
            return f"{layer.type} takes {wanted} {word}s, not {len(blobs)}"
    return ""


def _describe_empty(layer: LayerParameter, shape: Shape) -> str:
    if _is_misspelt_input(layer):
        return _NEEDS_INPUT
    if is_data_layer(layer) and declared_batch_size(layer) is None and not shape[0]:
        return "batch_size is missing, so that a batch has no images"
    return f"its top has a shape without elements: {shape}"


def _is_misspelt_input(layer: LayerParameter) -> bool:
    """Whether a layer is what Netscope writes for an Input layer."""
    return layer.type == "Data" and layer.HasField("input_param") and not layer.data_param.source
