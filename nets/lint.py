"""Lint a net: errors are what Caffe refuses, warnings what it accepts but nobody means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from ..formats.ristretto import plain_type
from ..formats.schema import PHASES, LayerParameter, TransformationParameter
from ..text import can_forge_line, printable
from .data_layers import is_transformed
from .definition import NetDefinition
from .fork_types import FORK_FILLERS, whose_or_meant
from .graph import Graph
from .layer_types import LAYER_TYPES, Shape
from .shapes import NetShapes, infer_shapes

ERROR = "error"
WARNING = "warning"
FILLERS = ("constant", "gaussian", "positive_unitball", "uniform", "xavier", "msra", "bilinear")
MAX_STAGES = 16  # each is checked by itself
_FORGES = "can print a line of its own into a log: write it without line breaks and log prefixes"


class Rule(NamedTuple):
    """A lint rule: its name, its severity, and what it finds."""

    name: str
    severity: str
    about: str


class Finding(NamedTuple):
    """A problem that a rule found: at a layer (None: the net), in some phases."""

    rule: Rule
    net: NetDefinition
    layer: LayerParameter | None
    message: str
    phases: tuple[str, ...]

    @property
    def place(self) -> str:
        """`file:line` of the layer."""
        return self.net.place(self.layer)


RULES = {
    rule.name: rule
    for rule in (
        Rule("type", ERROR, "a layer type that Caffe does not have"),
        Rule("unknown-blob", ERROR, "a bottom that no layer makes"),
        Rule("order", ERROR, "a bottom that a layer further down makes"),
        Rule("cycle", ERROR, "a layer that depends on itself"),
        Rule("duplicate-top", ERROR, "a blob made twice"),
        Rule("in-place", ERROR, "in place where the type, or another reader, forbids it"),
        Rule("blob-count", ERROR, "more or fewer bottoms or tops than the type takes"),
        Rule("shape", ERROR, "shapes that don't fit: Eltwise, Concat, windows, labels"),
        Rule("top-k", ERROR, "an Accuracy whose top_k is above the number of classes"),
        Rule("gradient", ERROR, "a loss that needs a gradient where a layer type has none"),
        Rule("fields", ERROR, "fields that contradict each other, or an unknown filler"),
        Rule("solver", ERROR, "a solver that Caffe refuses: policy, type, gamma, momentum, tests"),
        Rule("empty", ERROR, "a net without layers"),
        Rule("log-forgery", ERROR, "a name that prints what looks like a line of Caffe's log"),
        Rule("missing-loss", WARNING, "labels in TRAIN but no loss: nothing would be learned"),
        Rule("unsupported", WARNING, "a type or a fork's field that sqgen does not support"),
        Rule("learning-rate", WARNING, "a learning rate policy without a field that it uses"),
        Rule("snapshots", WARNING, "a solver that never saves what it trained"),
        Rule("batch-statistics", WARNING, "BatchNorm by the batch's own statistics in TEST"),
        Rule("frozen-statistics", WARNING, "BatchNorm in TRAIN that never learns its statistics"),
        Rule("stage", WARNING, "an error in runs that name no stage, where layers are of stages"),
        Rule("image-size", WARNING, "shapes that depend on the data: --image CxHxW"),
        Rule("unused-blob", WARNING, "a blob that no layer reads, above the end of the net"),
        Rule("duplicate-name", WARNING, "two layers of one name: only one gets the weights"),
        Rule("accuracy-in-train", WARNING, "an Accuracy in TRAIN: time spent on a noisy number"),
        Rule("transform", WARNING, "TRAIN and TEST differ in scale, mean or crop"),
        Rule("test-mirror", WARNING, "images mirrored at random in TEST"),
        Rule("padded-1x1", WARNING, "padding around a 1x1 convolution: a border of bias alone"),
        Rule("data", WARNING, "data at hand that does not fit: labels, classes, sizes of images"),
        Rule("missing-net", WARNING, "a solver whose net is not where it says"),
        Rule("test-iter", WARNING, "test_iter x batch is not the validation set, each image once"),
        # Of --deploy
        Rule("deploy-data", WARNING, "deployed: a data layer in place of an Input layer"),
        Rule("deploy-scores", WARNING, "deployed: a loss or an Accuracy"),
        Rule("deploy-phases", WARNING, "deployed: layers of some phases or stages"),
        Rule("deploy-batch", WARNING, "deployed: an Input of several images"),
        Rule("deploy-dropout", WARNING, "deployed: a Dropout"),
        Rule("deploy-batch-norm", WARNING, "deployed: a BatchNorm that no Scale follows"),
        Rule("deploy-name", WARNING, "deployed: a name that can't be one in Python"),
        Rule("deploy-format", WARNING, "deployed: an input header, V0 or V1 layers"),
    )
}


def lint_net(
    net: NetDefinition,
    image: Shape | None = None,
    phases: Iterable[str] = ("TRAIN", "TEST"),
    shapes: dict[str, NetShapes] | None = None,
    deploy: bool = False,
) -> list[Finding]:
    """Return all findings about a net, errors first.

    Args:
        net: the net.
        image: (channels, height, width) of the records, where the prototxt does not say.
        phases: the phases to check, of those that have layers.
        shapes: phase -> result of `infer_shapes`, where the caller has it.
        deploy: also check what keeps other programs from running it as a deploy net.
    """
    phases = [phases] if isinstance(phases, str) else list(phases)
    states = [net]
    if not net.stages:
        # Layers of stages are for runs that name one: an error without a stage may be none in each.
        states += [
            replace(net, stages=frozenset([stage])) for stage in net.stage_names[:MAX_STAGES]
        ]
    findings = _state_findings(states[0], image, phases, shapes)
    for state in states[1:]:
        others = _state_findings(state, image, phases, None)
        findings = {
            key: finding if key in others else _without_stage(finding)
            for key, finding in findings.items()
        }
    result = list(findings.values())
    if deploy:
        from .deploy_lint import deploy_findings

        result += [
            Finding(RULES[rule], net, layer, message, tuple(phases))
            for rule, layer, message in deploy_findings(net)
        ]
    return sorted(result, key=lambda finding: finding.rule.severity != ERROR)


_Raw = tuple[str, LayerParameter | None, str]  # rule, layer, message
_Findings = dict[tuple[str, int, str], Finding]


def _without_stage(finding: Finding) -> Finding:
    """Turn an error into a warning about runs that name no stage."""
    if finding.rule.severity != ERROR:
        return finding
    message = f"{finding.message} (without a stage; --stage NAME)"
    return finding._replace(rule=RULES["stage"], message=message)


def _state_findings(
    net: NetDefinition,
    image: Shape | None,
    phases: Iterable[str],
    shapes: dict[str, NetShapes] | None,
) -> _Findings:
    findings: _Findings = {}

    def add(rule: str, layer: LayerParameter | None, message: str, *phases: str) -> None:
        key = (rule, id(layer), message)
        seen = findings[key].phases if key in findings else ()
        findings[key] = Finding(RULES[rule], net, layer, message, (*seen, *phases))

    layers = {phase: net.layers(phase) for phase in dict.fromkeys((*PHASES, *phases))}
    for phase in phases:
        if not layers[phase]:
            continue
        inferred = shapes[phase] if shapes else infer_shapes(net, phase, image)
        for rule, layer, message in _phase_findings(layers[phase], phase, inferred):
            add(rule, layer, message, phase)
    if not _has_phases(net):
        # A file of one phase says nothing about the other.
        silent = {"accuracy-in-train", "frozen-statistics", "test-mirror"}
        if any(layer.type == "Accuracy" for layer in net.param.layer):
            silent.add("missing-loss")
        findings = {key: finding for key, finding in findings.items() if key[0] not in silent}
    for rule, layer, message in _include_and_exclude(net):
        add(rule, layer, message, "TRAIN", "TEST")
    for rule, layer, message in _transform_findings(layers):
        add(rule, layer, message, "TRAIN", "TEST")
    if can_forge_line(net.param.name):
        add("log-forgery", None, f"the net's name '{printable(net.param.name)}' {_FORGES}", *phases)
    if not net.param.layer:
        add("empty", None, "the net has no layers", *phases)
    return findings


def _phase_findings(
    layers: list[LayerParameter], phase: str, inferred: NetShapes
) -> Iterator[_Raw]:
    for problem in inferred.problems:
        top_k = problem.rule == "shape" and "top_k" in problem.message
        yield "top-k" if top_k else problem.rule, problem.layer, problem.message
    yield from _unused(inferred.graph)
    yield from _misused_statistics(layers, phase)
    yield from _repeated_names(layers)
    for layer in layers:
        for name in filter(can_forge_line, (layer.name, *layer.top)):
            yield "log-forgery", layer, f"the name '{printable(name)}' {_FORGES}"
        for rule, check in _LAYER_CHECKS.items():
            message = check(layer, phase)
            if message:
                yield rule, layer, f"layer '{printable(layer.name)}': {message}"
    known = all(layer.type in LAYER_TYPES for layer in layers)
    if phase == "TRAIN" and known:
        yield from _missing_loss(layers)
        yield from _blocked_gradients(layers, inferred)


def _unused(graph: Graph[LayerParameter]) -> Iterator[_Raw]:
    """Tops that no layer reads, but for those of the last layer and of types that end a net."""
    for top in graph.outputs:
        layer = graph.nodes[top.layer].layer
        kind = LAYER_TYPES.get(layer.type)
        if top.layer == len(graph.nodes) - 1 or (kind is not None and kind.ends_net):
            continue
        if graph.loss_weight(top):
            continue
        yield (
            "unused-blob",
            layer,
            f"layer '{printable(layer.name)}': its top '{printable(graph.name(top))}' is unread",
        )


def _misused_statistics(layers: list[LayerParameter], phase: str) -> Iterator[_Raw]:
    """BatchNorm that scores by the batch, or that trains on statistics of nothing."""
    is_global = phase == "TRAIN"  # the wrong one there
    misused = [
        layer
        for layer in layers
        if layer.type == "BatchNorm"
        and layer.batch_norm_param.HasField("use_global_stats")
        and layer.batch_norm_param.use_global_stats == is_global
    ]
    if not misused:
        return
    others = f" (and {len(misused) - 1} more)" if len(misused) > 1 else ""
    name = f"layer '{printable(misused[0].name)}'{others}: use_global_stats"
    if is_global:
        message = f"{name}: true in TRAIN keeps the weights' mean and variance, 0 without weights"
        yield "frozen-statistics", misused[0], message
    else:
        message = f"{name}: false in TEST: an image's score depends on the others of its batch"
        yield "batch-statistics", misused[0], message


def _repeated_names(layers: list[LayerParameter]) -> Iterator[_Raw]:
    seen: set[str] = set()
    for layer in layers:
        if layer.name in seen:
            yield (
                "duplicate-name",
                layer,
                f"layer '{printable(layer.name)}': an earlier one has its name",
            )
        seen.add(layer.name)


def _blocked_gradients(layers: list[LayerParameter], inferred: NetShapes) -> Iterator[_Raw]:
    if inferred.problems or not _reads_computed_labels(inferred.graph):
        return
    from .layer_setup import blocked_gradient, set_up_layers  # slow to import

    for layer in set_up_layers(layers, inferred):
        message = blocked_gradient(layer)
        if message:
            yield "gradient", next(each for each in layers if each.name == layer.name), message


def _reads_computed_labels(graph: Graph[LayerParameter]) -> bool:
    """Whether a bottom without a gradient comes from a layer that computes; it rarely does."""
    return any(
        source is not None and graph.nodes[source.layer].bottoms
        for node in graph.nodes
        for index in LAYER_TYPES[node.layer.type].undifferentiable
        for source in node.sources[index:][:1]
    )


def _missing_loss(layers: list[LayerParameter]) -> Iterator[_Raw]:
    sources = [layer for layer in layers if not layer.bottom and len(layer.top) > 1]
    learns = any(layer.type.endswith("Loss") or any(layer.loss_weight) for layer in layers)
    if sources and not learns:
        yield "missing-loss", sources[0], "no layer in TRAIN has a loss"


def _has_phases(net: NetDefinition) -> bool:
    """Whether a layer has a rule for a phase; a file without any is meant for one phase alone."""
    return any(
        rule.HasField("phase")
        for layer in net.param.layer
        for rule in (*layer.include, *layer.exclude)
    )


def _fields(layer: LayerParameter, phase: str) -> str:
    """Return the first problem with fields that Caffe checks besides shapes, or nothing."""
    transform = layer.transform_param
    if transform.mean_file and transform.mean_value:
        return "give mean_file or mean_value, not both"
    if layer.propagate_down and len(layer.propagate_down) != len(layer.bottom):
        return f"{len(layer.propagate_down)} propagate_down for {len(layer.bottom)} bottoms"
    if layer.type == "BatchNorm" and any(spec.lr_mult for spec in layer.param):
        return "its three blobs are statistics: set their lr_mult to 0, or leave param out"
    for descriptor, value in layer.ListFields():
        if descriptor.message_type is not None and descriptor.name.endswith("_param"):
            for field, filler in value.ListFields():
                if not _is_filler(field):
                    continue
                for each in filler if hasattr(filler, "append") else [filler]:
                    if each.type not in FILLERS:
                        hint = whose_or_meant(each.type, FILLERS, FORK_FILLERS)
                        return f"{field.name}: no filler type '{printable(each.type)}'{hint}"
    return ""


def _include_and_exclude(net: NetDefinition) -> Iterator[_Raw]:
    for layer in net.param.layer:
        if layer.include and layer.exclude:
            what = f"layer '{printable(layer.name)}': give include or exclude, not both"
            yield "fields", layer, what


def _is_filler(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.name == "FillerParameter"


def _accuracy_in_train(layer: LayerParameter, phase: str) -> str:
    return "measured in TRAIN" if layer.type == "Accuracy" and phase == "TRAIN" else ""


def _test_mirror(layer: LayerParameter, phase: str) -> str:
    mirrored = phase == "TEST" and layer.transform_param.mirror
    return "mirror: true makes TEST scores random" if mirrored else ""


def _padded_1x1(layer: LayerParameter, phase: str) -> str:
    param = layer.convolution_param
    if plain_type(layer.type) != "Convolution" or set(param.kernel_size) != {1}:
        return ""
    pads = [*param.pad, param.pad_h, param.pad_w]
    if not any(pads):
        return ""
    return f"pad {max(pads)} around a 1x1 convolution (published v1.0 weights were trained so)"


_LAYER_CHECKS: dict[str, Callable[[LayerParameter, str], str]] = {
    "fields": _fields,
    "accuracy-in-train": _accuracy_in_train,
    "test-mirror": _test_mirror,
    "padded-1x1": _padded_1x1,
}


def _transform_findings(layers: dict[str, list[LayerParameter]]) -> Iterator[_Raw]:
    """Find data layers that transform the images of one blob differently in TRAIN and TEST."""
    train = {layer.top[0]: layer for layer in layers["TRAIN"] if _is_source(layer)}
    for layer in layers["TEST"]:
        other = train.get(layer.top[0]) if _is_source(layer) else None
        if other is None or other is layer:
            continue
        for field in ("scale", "crop_size", "mean_file", "mean_value"):
            values = [_value(each.transform_param, field) for each in (other, layer)]
            if values[0] != values[1]:
                yield (
                    "transform",
                    layer,
                    f"layer '{printable(layer.name)}': {field} is {values[0]} in TRAIN"
                    f" but {values[1]} in TEST",
                )


def _is_source(layer: LayerParameter) -> bool:
    return is_transformed(layer) and bool(layer.top)


def _value(param: TransformationParameter, field: str) -> str:
    value = getattr(param, field)
    if field == "mean_value":
        value = ", ".join(f"{item:g}" for item in value)
    return str(value) if value or isinstance(value, float) else "not set"
