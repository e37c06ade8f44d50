"""Nets and solvers as they are run: copies of what was given, with the changes that were asked for.

What is not changed is copied as it stands, comments and all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import NetError, SqgenError
from ..formats import prototxt
from ..nets.data_layers import data_param, has_countable_records
from ..nets.definition import NetDefinition
from ..text import printable
from .dataset import LMDB


@dataclass(frozen=True)
class DataChange:
    """What is changed in the data layers of a phase.

    Attributes:
        phase: `TRAIN` or `TEST`.
        source: another LMDB, or list of images; None keeps the layer's.
        batch_size: another one; None keeps the layer's.
        mean_file: a mean image in place of the layer's mean; None keeps that.
        once: whether no record may be skipped, or come in another order.
        flag: what was typed for the source, for messages.

    Raises:
        SqgenError: a batch of nothing.
    """

    phase: str
    source: str | None = None
    batch_size: int | None = None
    mean_file: str | None = None
    once: bool = False
    flag: str = "--data"

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise SqgenError(f"a batch of {self.batch_size}; give one or more")


@dataclass
class Copy:
    """A file of the run folder, and what was changed in it, in words."""

    name: str
    text: str
    changes: list[str] = field(default_factory=list)


def data_layers(net: NetDefinition, phase: str) -> list[Any]:
    """The layers of a phase whose records can be counted."""
    return [layer for layer in net.layers(phase) if has_countable_records(layer)]


def batch_of(layer: Any) -> int:
    """The batch of a data layer."""
    return int(data_param(layer).batch_size)


def changed(net: NetDefinition, changes: Iterable[DataChange]) -> tuple[NetDefinition, list[str]]:
    """A net with changes in its data layers, and what was done; the net itself if nothing was.

    Raises:
        NetError: a change that fits no layer, or several.
    """
    param = type(net.param)()
    param.CopyFrom(net.param)
    made = replace(net, param=param)
    done: list[str] = []
    for change in changes:
        layers = data_layers(made, change.phase)
        if change.source is not None:
            _check_target(made, layers, change)
        for layer in layers:
            done += [
                f"{printable(layer.name)} ({change.phase}): {what}" for what in _do(layer, change)
            ]
    return (made, done) if done else (net, [])


def _check_target(net: NetDefinition, layers: Sequence[Any], change: DataChange) -> None:
    where = f"{change.flag} {printable(change.source or '')}: {printable(net.source)}"
    if not layers:
        hint = "; it is a deploy net, give the train_val" if _is_deploy(net) else ""
        raise NetError(f"{where} has no Data or ImageData layer in {change.phase}{hint}")
    if len(layers) > 1:
        names = ", ".join(printable(layer.name) for layer in layers)
        raise NetError(f"{where} has several data layers in {change.phase} ({names}); edit the net")
    other = "TRAIN" if change.phase == "TEST" else "TEST"
    both = any(layer is layers[0] for layer in net.layers(other))
    if both and change.flag != "--data":
        raise NetError(
            f"{where}: layer '{printable(layers[0].name)}' reads in both phases; give it an include"
            " for each"
        )
    is_list = layers[0].type == "ImageData"
    given = Path(change.source or "")
    if given.exists() and given.is_dir() == is_list:
        wanted = "a list of images, a file" if is_list else "an LMDB, a folder"
        raise NetError(f"{where}: layer '{printable(layers[0].name)}' reads {wanted}")


def _is_deploy(net: NetDefinition) -> bool:
    return any(layer.type == "Input" for layer in net.param.layer)


def _do(layer: Any, change: DataChange) -> Iterable[str]:
    """Change a layer; tells what."""
    param, transform = data_param(layer), layer.transform_param
    if change.source is not None and change.source != param.source:
        yield f"source {printable(param.source)} -> {printable(change.source)}"
        param.source = change.source
        if layer.type == "Data":
            param.backend = LMDB
    if change.batch_size is not None and change.batch_size != param.batch_size:
        yield f"batch_size {param.batch_size} -> {change.batch_size}"
        param.batch_size = change.batch_size
    if change.mean_file is not None and change.mean_file != transform.mean_file:
        values = ", ".join(f"{value:g}" for value in transform.mean_value)
        had = f"mean_value {values}" if values else f"mean_file {transform.mean_file or 'none'}"
        yield printable(f"{had} -> mean_file {change.mean_file}")
        del transform.mean_value[:]
        transform.mean_file = change.mean_file
    if change.once:
        for name in ("rand_skip", "shuffle"):
            if getattr(param, name, 0):
                yield f"no {name}"
                param.ClearField(name)


def net_copy(
    net: NetDefinition, changes: Iterable[DataChange], name: str
) -> tuple[NetDefinition, Copy]:
    """The net as it is run, and its file."""
    made, done = changed(net, changes)
    return made, copy_of(made, done, name)


def copy_of(net: NetDefinition, done: list[str], name: str) -> Copy:
    """The file of a net in which `done` was changed."""
    if not done:
        return Copy(name, net.text)
    return Copy(name, _noted(net.source, done) + prototxt.to_text(net.param), done)


def _noted(source: str, done: Iterable[str]) -> str:
    """Comments that say what a copy is of and what was changed in it."""
    lines = [f"{printable(source)}, as sqgen runs it:", *done]
    return "".join(f"# {line}\n" for line in lines)


def solver_copy(solver: Any, source: str, nets: dict[str, str], settings: dict[str, Any]) -> Copy:
    """The solver as it is run.

    Args:
        solver: the SolverParameter that was given; it stays as it is.
        source: its file.
        nets: path of a net, as the solver has it -> path of the copy that is run.
        settings: fields to set; a list replaces a repeated one.
    """
    made = type(solver)()
    made.CopyFrom(solver)
    made.test_net[:] = [nets.get(path, path) for path in solver.test_net]
    for name in ("net", "train_net"):
        if made.HasField(name):
            setattr(made, name, nets.get(getattr(made, name), getattr(made, name)))
    done = [what for name, value in settings.items() for what in _set(made, name, value)]
    return Copy("solver.prototxt", _noted(source, done) + prototxt.to_text(made), done)


def _set(solver: Any, name: str, value: Any) -> list[str]:
    before = getattr(solver, name)
    if isinstance(value, list):
        if list(before) == value:
            return []
        shown = ", ".join(map(str, before)) or "none"
        del before[:]
        before.extend(value)
        return [f"{name} {shown} -> {', '.join(map(str, value))}"]
    if solver.HasField(name) and before == value:
        return []
    shown = solver_text(solver, name) if solver.HasField(name) else "unset"
    setattr(solver, name, value)
    return [f"{name} {printable(shown)} -> {printable(solver_text(solver, name))}"]


def solver_text(solver: Any, name: str) -> str:
    """A field's value as it stands in a prototxt."""
    descriptor = solver.DESCRIPTOR.fields_by_name[name]
    value = getattr(solver, name)
    if descriptor.enum_type is not None:
        return str(descriptor.enum_type.values_by_number[value].name)
    return str(value)
