"""What keeps other programs from running a net as a deploy net (docs/export.md names them)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from keyword import iskeyword

from ..formats.schema import LayerParameter
from ..formats.upgrade import OLD_FORMATS
from ..text import printable
from .data_layers import is_data_layer
from .definition import NetDefinition
from .deploy import is_score
from .graph import Graph, Node, Top, build_graph

_REMEDY = "sqgen export writes it without"
_RENAMES = "sqgen export --for x2paddle renames it"
_Raw = tuple[str, LayerParameter | None, str]  # rule, layer, message


def deploy_findings(net: NetDefinition) -> Iterator[_Raw]:
    """Yield a rule of `lint.RULES`, the first layer, and a message for each that a net breaks."""
    layers = net.layers("TEST")
    graph = build_graph(layers)
    found: dict[str, tuple[Sequence[LayerParameter], str]] = {
        "deploy-data": (
            [layer for layer in layers if is_data_layer(layer) and layer.type != "Input"],
            "reads data, where an Input layer should take images",
        ),
        "deploy-scores": (list(filter(is_score, layers)), "scores or trains"),
        "deploy-phases": (
            [layer for layer in net.param.layer if layer.include or layer.exclude],
            "is of some phases or stages alone, where one net is wanted",
        ),
        "deploy-batch": (
            [layer for layer in layers if _input_batch(layer) > 1],
            "takes a batch of several images, for which alone NPU toolchains then build it",
        ),
        "deploy-dropout": (
            [layer for layer in layers if layer.type == "Dropout"],
            "is a Dropout, at which caffe-onnx writes no file",
        ),
        "deploy-batch-norm": (
            [node.layer for node in graph.nodes if lacks_scale(graph, node)],
            "is a BatchNorm that no Scale follows: caffe2onnx, caffe-onnx and RKNN-Toolkit2 give"
            " wrong numbers",
        ),
        "deploy-name": (
            [layer for layer in layers if not all(map(is_identifier, (layer.name, *layer.top)))],
            "has a name, or a top of one, that X2Paddle and MMdnn make a variable in Python",
        ),
    }
    for rule, (broken, about) in found.items():
        if broken:
            others = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            remedy = _RENAMES if rule == "deploy-name" else _REMEDY
            message = f"layer '{printable(broken[0].name)}'{others} {about}; {remedy}"
            yield rule, broken[0], message
    if net.param.name and not is_identifier(net.param.name, also=""):
        name = printable(net.param.name)
        message = f"the net's name '{name}' is no identifier, which X2Paddle needs; {_REMEDY}"
        yield "deploy-name", None, message
    if old := [what for what in OLD_FORMATS if what in net.upgrades]:
        message = f"has {' and '.join(old)}: RKNN-Toolkit2 refuses V1 layers, ncnn warns of headers"
        yield "deploy-format", None, f"{message}; {_REMEDY}"


def is_identifier(name: str, also: str = "/-") -> bool:
    """Whether a name can be a variable in Python, as X2Paddle has it: with `_` for `/` and `-`.

    Args:
        name: of a layer, a blob, or a net.
        also: characters that it may have.
    """
    plain = "".join("_" if character in also else character for character in name)
    return plain.isascii() and plain.isidentifier() and not iskeyword(plain)


def lacks_scale(graph: Graph[LayerParameter], node: Node[LayerParameter]) -> bool:
    """Whether a layer is a BatchNorm whose result no Scale alone reads."""
    if node.layer.type != "BatchNorm" or not node.tops:
        return False
    readers = [graph.nodes[bottom.layer].layer for bottom in graph.readers(Top(node.index, 0))]
    return [(layer.type, len(layer.bottom)) for layer in readers] != [("Scale", 1)]


def _input_batch(layer: LayerParameter) -> int:
    shapes = layer.input_param.shape if layer.type == "Input" else ()
    return max((shape.dim[0] for shape in shapes if len(shape.dim) > 1), default=0)
