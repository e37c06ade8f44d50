"""Freeze layers by name: a training leaves their parameters as they are.

A frozen parameter has lr_mult 0 and decay_mult 0. BatchNorm's statistics, which no learning rate
moves, stay with use_global_stats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import prod
from typing import NamedTuple

from ..errors import NetError
from ..formats.schema import LayerParameter, NetParameter, ParamSpec
from ..nets.definition import NetDefinition
from ..nets.shapes import NetShapes
from ..text import first_few, printable


class Frozen(NamedTuple):
    """A net with frozen layers.

    Attributes:
        net: a copy, or the net itself where nothing is frozen.
        layers: names of the frozen layers, in order.
        changes: against the net, in words.
    """

    net: NetDefinition
    layers: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


def split_patterns(freeze: str | Iterable[str]) -> list[str]:
    """Split patterns at commas; each may be several."""
    given = [freeze] if isinstance(freeze, str) else freeze
    return [word.strip() for each in given for word in each.split(",") if word.strip()]


def freeze_layers(net: NetDefinition, shapes: NetShapes, patterns: Sequence[str]) -> Frozen:
    """Freeze the layers of a net whose names match glob patterns, such as `fire[2-5]/*`.

    A blob that a frozen layer shares by name is frozen in the other layers too, since Caffe
    refuses a shared blob with two rates.

    Args:
        net: the trained net.
        shapes: its shapes in TRAIN.
        patterns: of names of layers with parameters.

    Raises:
        NetError: a pattern matches no such layer, or nothing would train.
    """
    if not patterns:
        return Frozen(net)
    blobs = {item.layer.name: len(item.blobs) for item in shapes.layers if item.blobs}
    matching = {pattern: _matching(pattern, blobs) for pattern in patterns}
    for pattern, found in matching.items():
        if not found:
            raise NetError(
                f"--freeze {printable(pattern)}: matches no layer with parameters of"
                f" {printable(net.source)}{_hint(pattern, blobs)}"
            )
    names = {name for found in matching.values() for name in found}
    layers = tuple(name for name in blobs if name in names)
    param = NetParameter()
    param.CopyFrom(net.param)
    frozen = replace(net, param=param)
    for layer in frozen.layers("TRAIN"):
        if layer.name in names:
            _freeze(layer, blobs[layer.name])
    _freeze_shared(frozen.layers("TRAIN"), names)
    if not count_trained(shapes, frozen):
        raise NetError(
            f"--freeze {printable(','.join(patterns))}: freezes all {len(blobs)} layers of"
            f" {printable(net.source)} that have parameters to train; leave one out"
        )
    return Frozen(frozen, layers, (f"lr_mult 0 and decay_mult 0: {first_few(layers)}",))


def frozen_shapes(shapes: NetShapes, frozen: Frozen) -> NetShapes:
    """Return the shapes of a net with its layers as they are once some are frozen."""
    if not frozen.layers:
        return shapes
    layers = {layer.name: layer for layer in frozen.net.layers("TRAIN")}
    items = [item._replace(layer=layers[item.layer.name]) for item in shapes.layers]
    return shapes._replace(layers=items)


def count_trained(shapes: NetShapes, net: NetDefinition) -> int:
    """Count the parameters of a net that a training changes.

    Args:
        shapes: of the net in TRAIN, or of the one that it is a copy of.
        net: the net, with its multipliers.
    """
    layers = {layer.name: layer for layer in net.layers("TRAIN")}
    sizes: dict[tuple[str, int] | str, int] = {}
    rates: dict[tuple[str, int] | str, float] = {}
    for item in shapes.layers:
        specs = layers[item.layer.name].param
        for index, blob in enumerate(item.blobs):
            spec = specs[index] if index < len(specs) else ParamSpec()
            key = spec.name or (item.layer.name, index)
            if blob.learned:
                sizes[key] = prod(blob.shape)
            if spec.HasField("lr_mult"):  # of a shared blob, the first that sets it
                rates.setdefault(key, spec.lr_mult)
    return sum(size for key, size in sizes.items() if rates.get(key, 1) != 0)


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern matches; a name matches itself, with brackets in it too."""
    return [name for name in names if name == pattern or fnmatchcase(name, pattern)]


def _hint(pattern: str, names: Iterable[str]) -> str:
    """Return the layers below a name that was meant as a prefix, or else the nearest names."""
    below = f"{pattern.rstrip('/')}/*"
    if _matching(below, names):
        return f"; did you mean '{printable(below)}'?"
    import difflib  # slow to import, and only errors need it

    nearest = difflib.get_close_matches(pattern, names)
    shown = first_few(nearest or list(names))
    return f"; {'the nearest are' if nearest else 'it has'} {shown}"


def _freeze(layer: LayerParameter, blobs: int) -> None:
    while len(layer.param) < blobs:
        layer.param.add()
    for spec in layer.param:
        spec.lr_mult = spec.decay_mult = 0
    if layer.type == "BatchNorm":
        layer.batch_norm_param.use_global_stats = True


def _freeze_shared(layers: Sequence[LayerParameter], names: set[str]) -> None:
    """Freeze the blobs that other layers share with those of `names`."""
    frozen = (spec.name for layer in layers if layer.name in names for spec in layer.param)
    shared = {*frozen} - {""}
    for layer in layers:
        for spec in layer.param:
            if spec.name in shared:
                spec.lr_mult = spec.decay_mult = 0
