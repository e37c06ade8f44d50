"""Compare the meaning of two nets, and describe each difference in a sentence.

Layers match by name, or else by type and inputs. The order of unrelated layers, comments, explicit
defaults and the generation of the format make no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from google.protobuf.message import Message

from ..errors import NetError
from ..formats import prototxt
from ..formats.fork_fields import ForkUse
from ..formats.ristretto import plain_type
from ..formats.schema import LayerParameter
from ..text import printable
from .definition import NetDefinition
from .graph import build_graph
from .layer_families.shaping import rename_old_axis

_SKIPPED = ("name", "type", "bottom", "top", "include", "exclude", "blobs")
# Fields that have a meaning when set, even to their default (Caffe asks has_x()).
_PRESENCE = {
    "AccuracyParameter.ignore_label",
    "ArgMaxParameter.axis",
    "BatchNormParameter.use_global_stats",
    "LayerParameter.phase",
    "LossParameter.ignore_label",
    "LossParameter.normalize",
    "PReLUParameter.filler",
    "ScaleParameter.filler",
}
_Descriptor = Any  # its class depends on protobuf's implementation
_MAX_STATES = 1000
_MAX_CANDIDATES = 64


class Difference(NamedTuple):
    """A difference: the layer (empty: the net), a sentence, and the phases that it is in."""

    layer: str
    message: str
    phases: tuple[str, ...]


class LayerMatch(NamedTuple):
    """The layers of one phase of two nets, matched.

    Attributes:
        pairs: index in A -> index in B of the layer that it matches.
        differences: index in A of a matched layer -> how it differs, a sentence each.
    """

    pairs: dict[int, int]
    differences: dict[int, list[str]]


class _Node(NamedTuple):
    """A layer, its inputs, and the fields of forks that it is read without.

    An input is (name of the layer that makes the bottom, index of the top).
    """

    layer: LayerParameter
    inputs: list[tuple[str, int]]
    fork_uses: tuple[ForkUse, ...]


def diff_nets(a: NetDefinition, b: NetDefinition) -> list[Difference]:
    """Return every difference, in the order of the layers; empty where the nets mean the same."""
    differences: dict[tuple[str, str], list[str]] = {}
    if a.param.name != b.param.name:
        names = [f"'{printable(net.param.name)}'" if net.param.name else "none" for net in (a, b)]
        differences["", f"the net's name is {names[0]} in A, {names[1]} in B"] = []
    for field in ("force_backward", "debug_info"):
        values = [getattr(net.param, field) for net in (a, b)]
        if values[0] != values[1]:
            differences["", f"{field} is {_show(values[0])} in A, {_show(values[1])} in B"] = []
    if a.stages != b.stages:
        shown = [", ".join(sorted(net.stages)) or "none" for net in (a, b)]
        differences["", f"the net's stages are {shown[0]} in A, {shown[1]} in B"] = []
    for text in _fork_differences(a.fork_uses, b.fork_uses):
        differences["", text] = []
    for phase in ("TRAIN", "TEST"):
        for level, stages in _states(a, b):
            nets = [replace(net, level=level, stages=net.stages | stages) for net in (a, b)]
            nodes = [_named_nodes(net, phase) for net in nets]
            for layer, message in _phase_differences(*nodes):
                phases = differences.setdefault((layer, message), [])
                if phase not in phases:
                    phases.append(phase)
    return [Difference(*key, tuple(phases)) for key, phases in differences.items()]


def match_layers(a: NetDefinition, b: NetDefinition, phase: str) -> LayerMatch:
    """Match the layers of a phase of two nets in the states that they are in."""
    first, other = (_named_nodes(net, phase) for net in (a, b))
    renamed = _match(first, other)
    places = [{name: index for index, name in enumerate(nodes)} for nodes in (first, other)]
    return LayerMatch(
        {places[0][name]: places[1][match] for name, match in renamed.items()},
        {
            places[0][name]: sentences
            for name, match in renamed.items()
            if (sentences := list(_matched_differences(name, first, match, other, renamed)))
        },
    )


def _states(a: NetDefinition, b: NetDefinition) -> list[tuple[int, frozenset[str]]]:
    """Return every (level, stages) that rules of either net distinguish."""
    rules = [
        rule
        for net in (a, b)
        for layer in net.param.layer
        for rule in (*layer.include, *layer.exclude)
    ]
    names = sorted({stage for rule in rules for stage in (*rule.stage, *rule.not_stage)})
    levels = {0} | {rule.min_level for rule in rules if rule.HasField("min_level")}
    levels |= {rule.max_level + 1 for rule in rules if rule.HasField("max_level")}
    sets = [frozenset[str](), *(frozenset([name]) for name in names), frozenset(names)]
    for rule in rules:
        required = frozenset(rule.stage)
        sets += [required, *(required | {stage} for stage in rule.not_stage)]
    states = [(level, stages) for level in sorted(levels) for stages in sets]
    different = list(dict.fromkeys([(0, sets[0]), *states]))
    if len(different) > _MAX_STATES:
        raise NetError(f"stages and levels make {len(different)} states, too many to compare")
    return different


def _named_nodes(net: NetDefinition, phase: str) -> dict[str, _Node]:
    """Name of each layer -> the layer and what it reads; repeated names get a number."""
    layers = net.layers(phase)
    graph = build_graph(map(canonical, layers))
    names: list[str] = []
    seen: Counter[str] = Counter()
    nodes: dict[str, _Node] = {}
    for node, layer in zip(graph.nodes, layers, strict=True):
        name = node.layer.name
        seen[name] += 1
        names.append(f"{name} (number {seen[name]})" if seen[name] > 1 else name)
        inputs = [
            (f"?{blob}", 0) if source is None else (names[source.layer], source.position)
            for blob, source in zip(node.bottoms, node.sources, strict=True)
        ]
        nodes[names[-1]] = _Node(node.layer, inputs, net.origin(layer).fork_uses)
    return nodes


def canonical(layer: LayerParameter) -> LayerParameter:
    """Return a copy of a layer in which each meaning is written in one way."""
    copy = type(layer)()
    copy.CopyFrom(layer)
    if plain_type(copy.type) in ("Convolution", "Deconvolution", "Im2col"):
        _unify_window(copy.convolution_param, {"kernel_size": 0, "stride": 1, "pad": 0})
        if not copy.convolution_param.dilation:
            copy.convolution_param.dilation.append(1)
    elif copy.type == "Pooling":
        _unify_window(copy.pooling_param, {"kernel_size": 0, "stride": 1, "pad": 0})
    elif copy.type in ("Concat", "Slice"):
        rename_old_axis(copy)
    elif copy.type == "BatchNorm":
        for spec in copy.param:  # the multipliers are always 0
            spec.ClearField("lr_mult")
            spec.ClearField("decay_mult")
        if not any(spec.ListFields() for spec in copy.param):
            copy.ClearField("param")
    elif copy.type == "Eltwise" and set(copy.eltwise_param.coeff) == {1}:
        copy.eltwise_param.ClearField("coeff")
    elif copy.type.endswith("Loss") and list(copy.loss_weight) == [1]:
        copy.ClearField("loss_weight")
    return copy


def _unify_window(param: Message, defaults: dict[str, int]) -> None:
    """Write `kernel_h: 3 kernel_w: 3` and `kernel_size: 3 kernel_size: 3` as `kernel_size: 3`."""
    for field, default in defaults.items():
        sides = [field.removesuffix("_size") + side for side in ("_h", "_w")]
        repeated = hasattr(getattr(param, field), "append")
        if any(param.HasField(side) for side in sides):
            values = [getattr(param, side) for side in sides]
        elif repeated:
            values = list(getattr(param, field)) or [default]
        else:
            continue  # a single field compares by its default
        for name in (field, *sides):
            param.ClearField(name)
        if repeated:
            getattr(param, field).extend(values[:1] if len(set(values)) == 1 else values)
        elif len(set(values)) == 1:
            setattr(param, field, values[0])
        else:
            setattr(param, sides[0], values[0])
            setattr(param, sides[1], values[1])


def _phase_differences(a: dict[str, _Node], b: dict[str, _Node]) -> Iterator[tuple[str, str]]:
    renamed = _match(a, b)
    matched = set(renamed.values())
    for name, node in a.items():
        if name not in renamed:
            yield name, f"only in A: {_about(node)}"
            continue
        texts = _matched_differences(name, a, renamed[name], b, renamed)
        yield from ((name, text) for text in texts)
    for name, node in b.items():
        if name not in matched:
            yield name, f"only in B: {_about(node)}"


def _matched_differences(
    name: str, a: dict[str, _Node], match: str, b: dict[str, _Node], renamed: dict[str, str]
) -> Iterator[str]:
    if match != name and a[name].layer.type != "Input":
        yield f"is called '{printable(match)}' in B"
    yield from _node_differences(a[name], b[match], renamed)


def _match(a: dict[str, _Node], b: dict[str, _Node]) -> dict[str, str]:
    """Return names in A -> names in B: the same name, or else the same type and inputs.

    Of several candidates, the first with the same fields matches, or else the first.
    """
    matched = {name: name for name in a if name in b}
    left: dict[tuple[object, ...], list[str]] = {}
    for name, node in b.items():
        if name not in matched:
            left.setdefault((node.layer.type, *sorted(node.inputs)), []).append(name)
    for name, node in a.items():
        if name in matched:
            continue
        wanted = [(matched.get(maker, ""), index) for maker, index in node.inputs]
        candidates = left.get((node.layer.type, *sorted(wanted)), [])
        for candidate in candidates[:_MAX_CANDIDATES]:
            if not list(_field_differences(node.layer, b[candidate].layer, "")):
                break
        else:
            candidate = candidates[0] if candidates else ""
        if candidate:
            matched[name] = candidate
            candidates.remove(candidate)
    return matched


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'AEIO' else 'a'} {printable(kind)}"


def _source(maker: str) -> str:
    """Describe an input by the layer that makes it, or by its name where none does."""
    if maker.startswith("?"):
        return f"'{printable(maker[1:])}', which no layer made,"
    return f"what '{printable(maker)}' made"


def _about(node: _Node) -> str:
    reads = " and ".join(f"'{printable(name)}'" for name in node.layer.bottom)
    return _article(node.layer.type) + (f" of {reads}" if reads else "")


def _node_differences(a: _Node, b: _Node, renamed: dict[str, str]) -> Iterator[str]:
    if a.layer.type != b.layer.type:
        yield f"is {_article(a.layer.type)} in A, {_article(b.layer.type)} in B"
        return
    expected = [(renamed.get(maker, maker), index) for maker, index in a.inputs]
    symmetric = a.layer.type == "Eltwise" and not a.layer.eltwise_param.coeff
    same = sorted(expected) == sorted(b.inputs)
    if expected != b.inputs and not (symmetric and same):
        reads = [" and ".join(f"'{printable(x)}'" for x in n.layer.bottom) for n in (a, b)]
        if reads[0] == reads[1]:  # the same names, made by other layers in place
            reads = [" and ".join(_source(maker) for maker, _ in n.inputs) for n in (a, b)]
        order = " (another order)" if same else ""
        yield f"reads {reads[0] or 'nothing'} in A, {reads[1] or 'nothing'} in B{order}"
    # In place, a top has the name of its maker's blob, which differs there already.
    tops = [[t for t in n.layer.top if t not in n.layer.bottom] for n in (a, b)]
    own_names = tops == [[a.layer.name], [b.layer.name]]  # the layer's name differs already
    if tops[0] != tops[1] and not own_names:
        shown = [" and ".join(f"'{printable(top)}'" for top in each) for each in tops]
        yield f"its top is {shown[0] or 'none'} in A, {shown[1] or 'none'} in B"
    yield from _field_differences(a.layer, b.layer, "")
    yield from _fork_differences(a.fork_uses, b.fork_uses)


def _fork_differences(a: Iterable[ForkUse], b: Iterable[ForkUse]) -> Iterator[str]:
    """Describe fields of forks whose values differ; one that is not set has Caffe's behaviour."""
    values = [{use.field.path: prototxt.scalar_text(use.value) for use in uses} for uses in (a, b)]
    for path in sorted(values[0].keys() | values[1].keys()):
        shown = [printable(each.get(path, "not set")) for each in values]
        if shown[0] != shown[1]:
            yield f"{path} is {shown[0]} in A, {shown[1]} in B"


def _field_differences(a: Message, b: Message, prefix: str) -> Iterator[str]:
    """Describe fields whose values differ, defaults included."""
    for descriptor in a.DESCRIPTOR.fields:
        name = descriptor.name
        if not prefix and name in _SKIPPED:
            continue
        left, right = getattr(a, name), getattr(b, name)
        presence = f"{a.DESCRIPTOR.name}.{name}" in _PRESENCE
        if presence and a.HasField(name) != b.HasField(name):
            shown = [_presence_text(param, descriptor) for param in (a, b)]
            yield f"{prefix}{name} is {shown[0]} in A, {shown[1]} in B"
            continue
        if left == right or name == "engine":  # which library computes it, not what
            continue
        if descriptor.message_type is None:
            values = [_show(value, descriptor.enum_type) for value in (left, right)]
            yield f"{prefix}{name} is {values[0]} in A, {values[1]} in B"
        elif not hasattr(left, "append"):
            yield from _field_differences(left, right, f"{prefix}{name}.")
        else:
            yield from _list_differences(list(left), list(right), f"{prefix}{name}")


def _presence_text(param: Message, descriptor: _Descriptor) -> str:
    if not param.HasField(descriptor.name):
        return "not set"
    if descriptor.message_type is not None:
        return "set"
    return _show(getattr(param, descriptor.name), descriptor.enum_type)


def _list_differences(left: list[Message], right: list[Message], name: str) -> Iterator[str]:
    """Compare repeated messages by position; a missing one counts as all defaults."""
    size = max(len(left), len(right))
    for index in range(size):
        first, second = (
            values[index] if index < len(values) else type((left or right)[0])()
            for values in (left, right)
        )
        yield from _field_differences(
            first, second, f"{name}[{index}]." if size > 1 else f"{name}."
        )


def _show(value: Any, enum: _Descriptor | None = None) -> str:
    if enum is not None and isinstance(value, int):
        return str(enum.values_by_number[value].name)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{printable(value)}"'
    if isinstance(value, float):
        return f"{value:g}"
    if hasattr(value, "append"):
        return ", ".join(_show(item) for item in value) or "not set"
    return str(value)
