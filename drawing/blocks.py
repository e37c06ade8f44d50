"""The blocks of a drawing: which layers stand in one box, and what connects the boxes.

By module, a Fire module is one block, and so is a layer with the elementwise layers that follow
it, or that stand before it if it is a convolution. By layer, each layer is a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from ..formats.ristretto import plain_type
from ..formats.schema import LayerParameter
from ..nets.data_layers import is_data_layer
from ..nets.family import FireModule, fire_modules
from ..nets.graph import Graph, Node, Top
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes, NetShapes
from ..nets.totals import batch_size
from .layer_text import bits_text, layer_text

Detail = Literal["module", "layer"]
Kind = Literal["data", "fire", "multiply", "pool", "sum", "concat", "score", "other"]
Role = Literal["main", "identity", "convolution", "label"]

# Layers that a block takes in, and how its text names them; "" leaves them out.
_ELEMENTWISE = {
    "AbsVal": "abs",
    "BNLL": "BNLL",
    "BatchNorm": "BatchNorm",
    "Bias": "bias",
    "Dropout": "Dropout",
    "ELU": "ELU",
    "LRN": "LRN",
    "LRNRistretto": "minifloat LRN",
    "PReLU": "PReLU",
    "Power": "power",
    "ReLU": "",
    "Scale": "",
    "Sigmoid": "sigmoid",
    "TanH": "tanh",
}
_KINDS: dict[str, Kind] = {
    "Convolution": "multiply",
    "Deconvolution": "multiply",
    "InnerProduct": "multiply",
    "Pooling": "pool",
    "Eltwise": "sum",
    "Concat": "concat",
    "Accuracy": "score",
    "Softmax": "score",
}
JOINS = ("sum", "concat")


@dataclass(frozen=True)
class Block:
    """A box of a drawing.

    Attributes:
        kind: what its first layer is; decides its looks.
        title: the name of the module, or of that layer.
        text: what it does.
        layers: indices of its layers in the net's graph.
        module: the name of the Fire module that it is a part of, or empty.
        macs, parameters: of all its layers, for one image; None where one's are unknown.
    """

    kind: Kind
    title: str
    text: str
    layers: tuple[int, ...]
    module: str = ""
    macs: int | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Connection:
    """A blob that one block makes and another reads.

    Attributes:
        source, target: indices of the blocks.
        blob: its name.
        shape: of one image, without the batch; None where it is unknown.
        role: `identity` and `convolution` are the edges of a bypass; `label` is a data layer's
            second top.
        is_first: whether the blob's shape is written beside it.
    """

    source: int
    target: int
    blob: str
    shape: Shape | None
    role: Role
    is_first: bool = False


@dataclass(frozen=True)
class BlockGraph:
    """The blocks of a net in one phase, in its order, and their connections."""

    graph: Graph[LayerParameter]
    blocks: tuple[Block, ...]
    connections: tuple[Connection, ...]


def block_graph(shapes: NetShapes, detail: Detail) -> BlockGraph:
    """Group the layers of a net in one phase into blocks.

    Shapes and costs are left out where they are unknown.
    """
    costs = _Costs(shapes)
    blocks = [
        costs.add(block)
        for block in (_module_blocks if detail == "module" else _layer_blocks)(shapes.graph)
    ]
    connections = _with_roles(blocks, _connect(shapes.graph, blocks, costs))
    return BlockGraph(shapes.graph, tuple(blocks), tuple(connections))


def _layer_blocks(graph: Graph[LayerParameter]) -> list[Block]:
    modules = {i: module_name(graph, m) for m in fire_modules(graph) for i in m.layers}
    return [
        Block(
            _kind(node.layer),
            node.layer.name,
            layer_text(node.layer),
            (node.index,),
            modules.get(node.index, ""),
        )
        for node in graph.nodes
    ]


def _module_blocks(graph: Graph[LayerParameter]) -> list[Block]:
    modules = {module.squeeze: module for module in fire_modules(graph)}
    members: dict[int, list[int]] = {}
    for index, leader in enumerate(_leaders(graph, modules.values())):
        members.setdefault(leader, []).append(index)
    return [
        _fire_block(graph, modules[leader], inside)
        if leader in modules
        else _folded_block(graph, leader, inside)
        for leader, inside in members.items()
    ]


def _leaders(graph: Graph[LayerParameter], modules: Iterable[FireModule]) -> list[int]:
    """For each layer, return the layer that names the block it belongs to."""
    leaders = list(range(len(graph.nodes)))
    for module in modules:
        for index in module.layers:
            leaders[index] = module.squeeze
    for node in graph.nodes:
        above = _layer_above(graph, node)
        if leaders[node.index] == node.index and above is not None:
            leaders[node.index] = leaders[above]
    for node in reversed(graph.nodes):
        below = _convolution_below(graph, node)
        if leaders[node.index] == node.index and below is not None:
            leaders = [leaders[below] if leader == node.index else leader for leader in leaders]
    return leaders


def _layer_above(graph: Graph[LayerParameter], node: Node[LayerParameter]) -> int | None:
    """Return the layer whose block an elementwise layer joins: the one that only it reads."""
    if node.layer.type not in _ELEMENTWISE or len(node.bottoms) != 1 or len(node.tops) != 1:
        return None
    source = node.sources[0]
    if source is None or graph.use_count(source) != 1:
        return None
    above = graph.nodes[source.layer]
    if is_data_layer(above.layer) or len(above.tops) != 1:
        return None
    # A join has no room for words, so that what has some gets a box of its own.
    has_word = bool(_ELEMENTWISE[node.layer.type])
    return None if has_word and _kind(above.layer) in JOINS else above.index


def _convolution_below(graph: Graph[LayerParameter], node: Node[LayerParameter]) -> int | None:
    """Return the convolution that alone reads the end of the elementwise layers from `node` on."""
    last = node
    while last.layer.type in _ELEMENTWISE and len(last.tops) == 1 and len(last.readers[0]) == 1:
        last = graph.nodes[last.readers[0][0].layer]
    is_convolution = last is not node and _kind(last.layer) == "multiply"
    return last.index if is_convolution else None


def _fire_block(graph: Graph[LayerParameter], module: FireModule, inside: Sequence[int]) -> Block:
    """Make a block of the text `squeeze 16, expand 64 + 64`."""
    layers = [graph.nodes[index].layer for index in (module.squeeze, *module.expands)]
    squeeze, *expands = (layer.convolution_param.num_output for layer in layers)
    bits = "".join(dict.fromkeys(map(bits_text, layers)))
    text = f"squeeze {squeeze}, expand {' + '.join(map(str, expands))}{bits}"
    outside = [index for index in inside if index not in module.layers]
    return Block(
        "fire",
        module_name(graph, module),
        _with_elementwise(graph, text, outside),
        tuple(inside),
    )


def _folded_block(graph: Graph[LayerParameter], leader: int, inside: Sequence[int]) -> Block:
    """Make the block of a layer and its elementwise layers."""
    layer = graph.nodes[leader].layer
    text, kind = layer_text(layer), _kind(layer)
    if kind not in JOINS:
        text = _with_elementwise(graph, text, [index for index in inside if index != leader])
    return Block(kind, layer.name, text, tuple(inside))


def _with_elementwise(graph: Graph[LayerParameter], text: str, layers: Iterable[int]) -> str:
    names = [_ELEMENTWISE.get(graph.nodes[index].layer.type, "") for index in layers]
    return " \N{MIDDLE DOT} ".join(dict.fromkeys([text, *filter(None, names)]))


def module_name(graph: Graph[LayerParameter], module: FireModule) -> str:
    """Return what the names of a Fire module's convolutions have in common, such as `fire2`."""
    names = [graph.nodes[index].layer.name for index in (module.squeeze, *module.expands)]
    first, last = min(names), max(names)
    pairs = enumerate(zip(first, last, strict=False))
    same = next((place for place, (one, other) in pairs if one != other), len(first))
    return re.sub(r"[\W_]+$", "", first[:same]) or names[0]


def _kind(layer: LayerParameter) -> Kind:
    if is_data_layer(layer):
        return "data"
    return "score" if layer.type.endswith("Loss") else _KINDS.get(plain_type(layer.type), "other")


class _Costs:
    """Shapes and costs of layers, as far as they are known."""

    def __init__(self, shapes: NetShapes) -> None:
        by_id = {id(item.layer): item for item in shapes.layers}
        self._layers: list[LayerShapes | None] = [
            by_id.get(id(node.layer)) for node in shapes.graph.nodes
        ]
        self._batch = batch_size(shapes)

    def add(self, block: Block) -> Block:
        """Return a block with its costs."""
        items = [self._layers[index] for index in block.layers]
        known = [item for item in items if item is not None]
        if len(known) < len(items):
            return block
        blobs = [blob for item in known for blob in item.blobs if blob.learned]
        return replace(
            block,
            macs=sum(item.macs for item in known) // self._batch,
            parameters=sum(prod(blob.shape) for blob in blobs),
        )

    def shape(self, top: Top) -> Shape | None:
        """Return the shape of a version of a blob, without its batch."""
        item = self._layers[top.layer]
        if item is None or top.position >= len(item.tops):
            return None
        return item.tops[top.position][1:]


def _connect(
    graph: Graph[LayerParameter], blocks: Sequence[Block], costs: _Costs
) -> list[Connection]:
    """Connect blocks by the blobs that leave one for another, each pair once a blob."""
    places = {index: place for place, block in enumerate(blocks) for index in block.layers}
    connections: dict[tuple[Top, int], Connection] = {}
    for node in graph.nodes:
        target = places[node.index]
        for name, top in zip(node.bottoms, node.sources, strict=True):
            if top is None or places[top.layer] == target or (top, target) in connections:
                continue
            is_label = top.position > 0 and is_data_layer(graph.nodes[top.layer].layer)
            connections[top, target] = Connection(
                places[top.layer],
                target,
                name,
                costs.shape(top),
                "label" if is_label else "main",
            )
    return list(connections.values())


def _with_roles(blocks: Sequence[Block], connections: Sequence[Connection]) -> list[Connection]:
    """Tell bypasses from other connections.

    An identity bypass goes from a block straight to a sum or a Concat, to which a longer way leads,
    too. A convolution bypass goes through one convolution to a sum, beside a longer way.
    """
    inputs: list[list[int]] = [[] for _ in blocks]
    outputs: list[list[int]] = [[] for _ in blocks]
    for each in connections:
        if each.role == "main":
            inputs[each.target].append(each.source)
            outputs[each.source].append(each.target)
    above = _ancestors(inputs)

    def is_identity(source: int, target: int) -> bool:
        others = (other for other in inputs[target] if other != source)
        return blocks[target].kind in JOINS and any(above[other] >> source & 1 for other in others)

    def bypassing() -> dict[int, tuple[int, int]]:
        """Convolution of a bypass -> where it begins and ends."""
        found = {}
        for index, block in enumerate(blocks):
            if block.kind != "multiply" or len(inputs[index]) != 1 or len(outputs[index]) != 1:
                continue
            source, target = inputs[index][0], outputs[index][0]
            longer = any(
                above[other] >> source & 1
                and (blocks[other].kind == "fire" or source not in inputs[other])
                for other in inputs[target]
                if other != index
            )
            if blocks[target].kind == "sum" and longer:
                found[index] = source, target
        return found

    bypasses = bypassing()

    def role(each: Connection) -> Role:
        if each.role == "label":
            return "label"
        if each.source in bypasses or each.target in bypasses:
            return "convolution"
        return "identity" if is_identity(each.source, each.target) else "main"

    return _with_firsts([replace(each, role=role(each)) for each in connections])


def _with_firsts(connections: Sequence[Connection]) -> list[Connection]:
    """Mark the connection of each blob where its shape is written: the first on the main way."""
    first: dict[tuple[int, str], Connection] = {}
    for each in sorted(connections, key=lambda each: each.role != "main"):
        first.setdefault((each.source, each.blob), each)
    return [replace(each, is_first=each is first[each.source, each.blob]) for each in connections]


def _ancestors(inputs: Sequence[Sequence[int]]) -> list[int]:
    """For each block, return the set of blocks above it, itself included, as bits of a number."""
    above: list[int] = []
    for index, sources in enumerate(inputs):
        bits = 1 << index
        for source in sources:
            bits |= above[source] if source < index else 0
        above.append(bits)
    return above
