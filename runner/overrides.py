"""Copies of nets and solvers with the user's overrides: data, batch size, mean, rate, length.

A file without overrides is copied byte for byte, comments included.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from google.protobuf.message import Message

from ..errors import NetError, SqgenError
from ..formats import prototxt
from ..formats.fork_fields import TRAINED
from ..formats.schema import DataParameter, LayerParameter, NetParameter, SolverParameter
from ..nets.data_layers import data_param, has_countable_records, is_transformed
from ..nets.definition import NetDefinition
from ..text import number_text, printable

_LARGEST_INT = (1 << 31) - 1  # of a field
_RATES = (1e-37, 1e37)  # which a field of float32 holds
Setting = int | float | str | list[int]  # the value of a solver's field


@dataclass(frozen=True)
class DataOverride:
    """Values that replace those of a phase's data layers.

    Attributes:
        phase: `TRAIN` or `TEST`.
        source: an LMDB, or a list of images or HDF5 files; None keeps the layer's.
        batch_size: None keeps the layer's.
        mean_file: a mean image that replaces the layer's mean; None keeps that.
        sequential: clear rand_skip and shuffle, so that an epoch reads each record once.
        flag: the option that gave the source, for messages.

    Raises:
        SqgenError: the batch size is below 1.
    """

    phase: str
    source: str | None = None
    batch_size: int | None = None
    mean_file: str | None = None
    sequential: bool = False
    flag: str = "--data"

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise SqgenError(f"a batch of {self.batch_size}; give one or more")


@dataclass(frozen=True)
class SolverOverride:
    """Values that replace those of a solver.

    Attributes:
        base_lr: the learning rate that lr_policy starts from; None keeps the solver's.
        max_iter: updates in all; None keeps the solver's.
        epochs: passes over the training data in all, in place of max_iter.

    Raises:
        SqgenError: a value is out of range, or both max_iter and epochs are given.
    """

    base_lr: float | None = None
    max_iter: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        if self.max_iter is not None and self.epochs is not None:
            raise SqgenError("--max-iter and --epochs: give one")
        if self.base_lr is not None and not _RATES[0] < self.base_lr < _RATES[1]:
            raise SqgenError(f"--base-lr {self.base_lr:g}: give a rate above 0, such as 0.0001")
        if self.max_iter is not None and not 0 < self.max_iter <= _LARGEST_INT:
            raise SqgenError(f"--max-iter {self.max_iter}: give 1 to {_LARGEST_INT}")
        if self.epochs is not None and not 0 < self.epochs <= _LARGEST_INT:
            raise SqgenError(f"--epochs {self.epochs:g}: give a number above 0, such as 10")

    def settings(self, records: int | None, images: int) -> dict[str, Setting]:
        """Return the fields of the solver that change, and their values.

        Args:
            records: in the training data; None where they can't be counted.
            images: per update.

        Raises:
            SqgenError: the epochs of these records are no number of updates.
        """
        settings: dict[str, Setting] = {}
        if self.base_lr is not None:
            settings["base_lr"] = self.base_lr
        if self.max_iter is not None:
            settings["max_iter"] = self.max_iter
        if self.epochs is not None:
            settings["max_iter"] = self._updates(self.epochs, records, images)
        return settings

    @staticmethod
    def _updates(epochs: float, records: int | None, images: int) -> int:
        if not records or not images:
            raise SqgenError(
                f"--epochs {epochs:g}: the net's training data can't be counted; give --max-iter"
            )
        # As decimal: 1.1 epochs of 100 records are 110 of them, and not a little more.
        updates = math.ceil(Fraction(str(epochs)) * records / images)
        if updates > _LARGEST_INT:
            raise SqgenError(f"--epochs {epochs:g}: {updates} updates; Caffe takes {_LARGEST_INT}")
        return updates


@dataclass(frozen=True)
class RunFile:
    """A text file of the run folder, and its changes against the user's file, in words."""

    name: str
    text: str
    changes: tuple[str, ...] = ()


def data_layers(net: NetDefinition, phase: str) -> list[LayerParameter]:
    """Return the layers of a phase whose records can be counted."""
    return [layer for layer in net.layers(phase) if has_countable_records(layer)]


def layer_batch_size(layer: LayerParameter) -> int:
    """Return the batch size of a data layer."""
    return int(data_param(layer).batch_size)


def override_data(
    net: NetDefinition, overrides: Iterable[DataOverride]
) -> tuple[NetDefinition, list[str]]:
    """Return a copy of the net with overrides applied, and the changes in words.

    Returns the net itself if nothing changes.

    Raises:
        NetError: an override fits no data layer, or several.
    """
    param = NetParameter()
    param.CopyFrom(net.param)
    copy = replace(net, param=param)
    changes: list[str] = []
    for override in overrides:
        layers = data_layers(copy, override.phase)
        if override.source is not None:
            _check_target(copy, layers, override)
        for layer in layers:
            place = f"{printable(layer.name)} ({override.phase})"
            changes += [f"{place}: {change}" for change in _override_layer(layer, override)]
    return (copy, changes) if changes else (net, [])


def _check_target(
    net: NetDefinition, layers: Sequence[LayerParameter], override: DataOverride
) -> None:
    """Check that the override's source fits exactly one data layer, and is of its kind."""
    where = f"{override.flag} {printable(override.source or '')}: {printable(net.source)}"
    if not layers:
        hint = "; it is a deploy net, give the train_val" if _is_deploy(net) else ""
        raise NetError(
            f"{where} has no Data, ImageData or HDF5Data layer in {override.phase}{hint}"
        )
    name = printable(layers[0].name)
    if len(layers) > 1:
        names = ", ".join(printable(layer.name) for layer in layers)
        raise NetError(
            f"{where} has several data layers in {override.phase} ({names}); edit the net"
        )
    other_phase = "TRAIN" if override.phase == "TEST" else "TEST"
    in_both = any(layer is layers[0] for layer in net.layers(other_phase))
    if in_both and override.flag != "--data":
        raise NetError(f"{where}: layer '{name}' reads in both phases; give it an include for each")
    wanted = _SOURCES[layers[0].type]
    source = override.source or ""
    if os.path.exists(source) and os.path.isdir(source) == wanted.endswith("a file"):
        raise NetError(f"{where}: layer '{name}' reads {wanted}")


# Type of a data layer -> what its source is.
_SOURCES = {
    "Data": "an LMDB, a folder",
    "ImageData": "a list of images, a file",
    "HDF5Data": "a list of HDF5 files, a file",
}


def _is_deploy(net: NetDefinition) -> bool:
    return any(layer.type == "Input" for layer in net.param.layer)


def _override_layer(layer: LayerParameter, override: DataOverride) -> Iterable[str]:
    """Apply an override to a layer; yield the changes in words."""
    param, transform = data_param(layer), layer.transform_param
    if override.source is not None and override.source != param.source:
        yield f"source {printable(param.source)} -> {printable(override.source)}"
        param.source = override.source
        if layer.type == "Data":
            param.backend = DataParameter.LMDB
    if override.batch_size is not None and override.batch_size != param.batch_size:
        yield f"batch_size {param.batch_size} -> {override.batch_size}"
        param.batch_size = override.batch_size
    if override.mean_file is not None and not is_transformed(layer):
        name = printable(layer.name)
        raise NetError(
            f"--mean {printable(override.mean_file)}: layer '{name}' is {layer.type}, which"
            " does not transform data; subtract the mean in its files"
        )
    if override.mean_file is not None and override.mean_file != transform.mean_file:
        values = ", ".join(f"{value:g}" for value in transform.mean_value)
        before = f"mean_value {values}" if values else f"mean_file {transform.mean_file or 'none'}"
        yield printable(f"{before} -> mean_file {override.mean_file}")
        del transform.mean_value[:]
        transform.mean_file = override.mean_file
    if override.sequential:
        for name in ("rand_skip", "shuffle"):
            if getattr(param, name, 0):
                yield f"no {name}"
                param.ClearField(name)


def state_flags(net: NetDefinition) -> list[str]:
    """Return `caffe`'s flags for the level and the stages that are not in the net's file."""
    stages = sorted(net.stages - set(net.param.state.stage))
    flags = [f"--stage={','.join(stages)}"] if stages else []
    return [*flags, f"--level={net.level}"] if net.level else flags


def net_file(net: NetDefinition, changes: Sequence[str], name: str) -> RunFile:
    """Return the run file of a net with `changes` applied; without any, its original text.

    Raises:
        FormatError: it can't have a field of a fork that changes the run.
    """
    if not changes:
        return RunFile(name, net.text)
    net.require_caffe(None, TRAINED)  # the copy is Caffe's, without them
    text = _header_comment(net.source, changes) + prototxt.to_text(net.param)
    return RunFile(name, text, tuple(changes))


def _header_comment(source: str, changes: Iterable[str]) -> str:
    lines = [f"{printable(source)}, as sqgen runs it:", *changes]
    return "".join(f"# {line}\n" for line in lines)


def inner_net_key(field: str, index: int = 0) -> str:
    """Return what stands for the path of a net inside a solver, and names its copy."""
    return f"{field}_{index}.prototxt" if field == "test_net_param" else f"{field}.prototxt"


def solver_file(
    solver: SolverParameter,
    source: str,
    net_paths: dict[str, str],
    settings: Mapping[str, Setting],
    name: str,
) -> RunFile:
    """Return the run file of a solver; the message itself stays unchanged.

    Nets inside it become files, as overrides change these.

    Args:
        solver: the SolverParameter.
        source: its file.
        net_paths: path of a net, as the solver names it, or `inner_net_key` -> path of its copy in
            the run folder.
        settings: field name -> value; a list replaces a repeated field.
        name: of the file.
    """
    copy = SolverParameter()
    copy.CopyFrom(solver)
    inner = [inner_net_key("test_net_param", n) for n in range(len(solver.test_net_param))]
    copy.test_net[:] = [net_paths.get(path, path) for path in (*inner, *solver.test_net)]
    copy.ClearField("test_net_param")
    for field in ("net", "train_net"):
        _set_net(copy, field, net_paths)
    changes = [
        change for field, value in settings.items() for change in _set_field(copy, field, value)
    ]
    text = _header_comment(source, changes) + prototxt.to_text(copy)
    return RunFile(name, text, tuple(changes))


def _set_net(solver: Message, field: str, net_paths: Mapping[str, str]) -> None:
    """Replace the path of a net, or the net inside, by the path of its copy."""
    param = f"{field}_param"
    path = inner_net_key(param) if solver.HasField(param) else getattr(solver, field)
    solver.ClearField(param)
    if path:
        setattr(solver, field, net_paths.get(path, path))


def _set_field(solver: Message, name: str, value: Setting) -> list[str]:
    """Set a field; return the change in words, or nothing if it had the value."""
    before = getattr(solver, name)
    if isinstance(value, list):
        if list(before) == value:
            return []
        shown = ", ".join(map(str, before)) or "none"
        del before[:]
        before.extend(value)
        return [f"{name} {shown} -> {', '.join(map(str, value))}"]
    was_set, shown = solver.HasField(name), _field_text(solver, name)
    setattr(solver, name, value)
    if was_set and getattr(solver, name) == before:  # in the precision of the field
        return []
    shown = shown if was_set else "unset"
    return [f"{name} {printable(shown)} -> {printable(_field_text(solver, name))}"]


def _field_text(solver: Message, name: str) -> str:
    """Return a field's value as a prototxt writes it."""
    descriptor = solver.DESCRIPTOR.fields_by_name[name]
    value = getattr(solver, name)
    if descriptor.enum_type is not None:
        return str(descriptor.enum_type.values_by_number[value].name)
    if isinstance(value, float):
        return number_text(value)
    return str(value)
