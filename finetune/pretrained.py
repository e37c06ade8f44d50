"""Read pretrained weights of any layout, and map them to the net that is to be fine-tuned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from ..compress.encoding import decode
from ..errors import NetError, SqgenError
from ..exchange.torchvision_weights import Step, take_caffes_input
from ..exchange.weight_file import read_weights
from ..formats.files import BINARY_LIMIT, read_bytes
from ..formats.schema import NetParameter
from ..generator.build import build
from ..generator.design import Design
from ..generator.design_fields import VERSIONS, FireSizes
from ..generator.naming import layer_role
from ..generator.presets import PRESETS, preset
from ..nets.definition import NetDefinition, parse_net
from ..nets.inference_graph import InferenceGraph, inference_graph, inference_graph_of_model
from ..nets.shapes import require_shapes
from ..text import printable
from ..weights.mapping import WeightMapping, map_weights
from ..weights.match import match_weights
from .classifier import find_classifier


class Origin(Enum):
    """What a file of weights is, which says how it becomes a caffemodel with definitions."""

    CAFFEMODEL = "has the definitions of its layers"
    NAMES = "has the names of its layers alone"
    COMPRESSED = "has not even names"
    FOREIGN = "is of another framework"


class Pretrained(NamedTuple):
    """Weights, and the net that they are of.

    Attributes:
        file: as given.
        origin: what the file is.
        model: the weights, for images of BGR without their mean.
        graph: what their net computes.
        preset: its name, where the file has no definitions of layers; else None.
        design: that of another framework's net, whose images have another mean; else None.
    """

    file: str
    origin: Origin
    model: NetParameter
    graph: InferenceGraph
    preset: str | None = None
    design: Design | None = None


class Fitted(NamedTuple):
    """A net, and the weights that it starts from.

    Attributes:
        design: of the net.
        deploy: its deploy net.
        mapping: of the weights to it.
    """

    design: Design
    deploy: NetDefinition
    mapping: WeightMapping


def read_pretrained(path: str) -> Pretrained:
    """Read weights of any format, compressed ones included.

    A file without definitions of layers is taken for that of the first preset that it fits.

    Raises:
        FormatError: it can't be read, is damaged or of another kind, or would run code.
        NetError: it has no definitions of layers, and fits no preset.
        MissingExtraError: the package that reads it is not installed.
    """
    if path.endswith((".net", ".sqz")):
        return _read_compressed(path)
    file, shown = read_weights(path), printable(path)
    if file.known is not None:
        step = Step(file.model, file.known, file.known.normalization)
        model = take_caffes_input(step, folding=True, proving=False, shown=shown).model
        graph = inference_graph_of_model(model, path)
        return Pretrained(path, Origin.FOREIGN, model, graph, design=file.known.design)
    try:
        graph = inference_graph_of_model(file.model, path)
    except NetError:
        return _of_preset(path, file.model)
    return Pretrained(path, Origin.CAFFEMODEL, file.model, graph)


def _read_compressed(path: str) -> Pretrained:
    """Decode a file as that of the first preset whose layers have its sizes."""
    data = read_bytes(path, BINARY_LIMIT, "compressed weights")
    problems = []
    for name, net in _presets():
        try:
            model = decode(data, net, path)
        except SqgenError as error:
            problems.append(error)
        else:
            return Pretrained(path, Origin.COMPRESSED, model, inference_graph(net), name)
    if isinstance(problems[0], NetError):
        raise NetError(
            f"{printable(path)}: fits no preset; sqgen compress decode"
            f" {printable(path)} --net NET makes a .caffemodel of it"
        )
    raise problems[0]


def _of_preset(path: str, model: NetParameter) -> Pretrained:
    """Return weights with the net of the preset whose layers they all have by name."""
    for name, net in _presets():
        with suppress(NetError):
            if not match_weights(require_shapes(net, "TEST"), [(path, model)]).missing:
                return Pretrained(path, Origin.NAMES, model, inference_graph(net), name)
    raise NetError(
        f"{printable(path)}: has weights without definitions of their layers, and the names of no"
        f" preset ({', '.join(PRESETS)}); sqgen weights map --from NET makes a .caffemodel of it"
    )


def _presets() -> Iterator[tuple[str, NetDefinition]]:
    for name in PRESETS:
        yield name, parse_net(build(preset(name), "deploy"), name)


# Nets that weights are tried on where no design is given, the plainest first.
PLAIN = tuple(Design(version=version) for version in VERSIONS)
KNOWN: tuple[Design, ...] = (
    *PLAIN,
    Design(bypass="simple"),
    Design(bypass="complex"),
    *(preset(name) for name in PRESETS if name.startswith("generator")),
)


def fit_design(
    weights: Pretrained, known: Sequence[Design], wanted: Sequence[Design] | None = None
) -> Fitted:
    """Return the first design that all weights but the classifier's fit, with these.

    Args:
        weights: what to start from.
        known: designs to try.
        wanted: those to try in their place, without regard to bypasses: those that only the design
            has get no weights.

    Raises:
        NetError: none does; says what fits instead, or comes nearest.
    """
    designs, counts = wanted or known, []
    for design in designs:
        fitted = _fit(weights, design, wanted is not None)
        if isinstance(fitted, Fitted):
            return fitted
        counts.append(fitted)
    shown = printable(weights.file)
    others = known if wanted is not None else ()
    other = next((each for each in others if isinstance(_fit(weights, each, False), Fitted)), None)
    if other is not None:
        raise NetError(
            f"{shown}: are weights of {design_name(other)}, not of {design_name(designs[0])}; leave"
            " --preset and --design out"
        )
    fitting = max(counts)
    nearest = design_name(designs[counts.index(fitting)])
    raise NetError(
        f"{shown}: fits {fitting or 'no'} layers of {nearest}, which comes nearest; give weights of"
        " a SqueezeNet, or its design: --design FILE"
    )


def _fit(weights: Pretrained, design: Design, ignore_bypass: bool) -> Fitted | int:
    """Return the net with its weights; or the number of layers that fit, where some don't."""
    deploy = parse_net(build(design, "deploy"), design_name(design))
    try:
        mapping = map_weights(
            weights.graph,
            inference_graph(deploy),
            weights.model,
            layer_role,
            partial=True,
            ignore_bypass=ignore_bypass,
            file=weights.file,
        )
    except NetError:
        return 0
    may_lack = find_classifier(deploy).layer
    lacking = [n for n in mapping.missing if n != may_lack and not is_bypass_convolution(n)]
    return len(mapping.rows) if lacking else Fitted(design, deploy, mapping)


def is_bypass_convolution(layer: str) -> bool:
    """Return whether a layer's name is one of a convolution of a bypass."""
    return (layer_role(layer) or ("",))[0] == "bypass_conv"


def design_name(design: Design) -> str:
    """Return how messages name a design."""
    named, bypass = {f"SqueezeNet v{design.version}": Design()}, ""
    if design.style != "clean":
        named = {name: preset(name) for name in PRESETS if preset(name).style == design.style}
    elif design.bypasses:
        bypass = f" with {design.bypass} bypass"
    sizes = _sizes(design)
    alike = next((name for name, other in named.items() if _sizes(other) == sizes), None)
    return (alike or f"{next(iter(named))} of other sizes") + bypass


def _sizes(design: Design) -> list[FireSizes]:
    return [fire.sizes for fire in design.fire_filters]
