"""What is looked at before anything starts, so that no run ends late for a typing error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, NetError, SqgenError
from ..formats.caffemodel import read_caffemodel, read_solver_state
from ..formats.snapshot_files import find_weights
from ..host import gpus
from ..nets.definition import NetDefinition
from ..nets.layer_types import LAYER_TYPES
from ..nets.lint import ERROR, lint_net
from ..nets.shapes import NetShapes, infer_shapes
from ..nets.solver_rules import HISTORY_BLOBS
from ..nets.totals import totals
from ..nets.windows import ShapeError
from ..text import first_few, printable
from ..weights.match import WeightMatch, match_weights
from .dataset import Dataset, look
from .overrides import data_layers

SLACK = 1 << 20  # bytes of a snapshot beside its blobs

RANDOM_WEIGHTS = "; --random-weights scores it all the same"


class Checked(NamedTuple):
    """A net of a phase that was looked at: its shapes, and the data of its data layers in order."""

    shapes: NetShapes
    data: list[Dataset]


def check_net(net: NetDefinition, phase: str, flag: str = "--data") -> Checked:
    """Look at a net's data and layers; `flag` gives other data, for messages.

    Raises:
        FormatError: its data is not there, or no data.
        NetError: it has lint errors, which stop Caffe.
    """
    data, known = [], {}
    for layer in data_layers(net, phase):
        where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
        found = look(layer, where, flag)
        data.append(found)
        if found.image is not None:
            try:
                known[layer.name] = LAYER_TYPES[layer.type].top_shapes(layer, [], found.image)
            except ShapeError as error:
                raise NetError(f"{where}: {error}") from None
        _check_mean(layer, where)
    shapes = infer_shapes(net, phase, known=known)
    _refuse_errors(net, phase, shapes)
    return Checked(shapes, data)


def _check_mean(layer: Any, where: str) -> None:
    mean = layer.transform_param.mean_file
    if mean and not Path(mean).is_file():
        raise FormatError(
            f"{where}: its mean_file {printable(mean)} is not there; give --mean FILE, which sqgen"
            " data mean makes"
        )


def _refuse_errors(net: NetDefinition, phase: str, shapes: NetShapes) -> None:
    found = lint_net(net, phases=[phase], shapes={phase: shapes})
    errors = [finding for finding in found if finding.rule.severity == ERROR]
    if errors:
        more = f" (and {len(errors) - 1} more: sqgen lint)" if len(errors) > 1 else ""
        raise NetError(f"{errors[0].place}: {errors[0].message} [{errors[0].rule.name}]{more}")
    if not net.layers(phase):
        raise NetError(f"{printable(net.source)}: has no layers in {phase}")


def check_weights(paths: Sequence[str], shapes: NetShapes) -> WeightMatch:
    """Hold weights against a net.

    Raises:
        FormatError: a file is not there, or no weights.
        NetError: a layer has other blobs.
    """
    return match_weights(shapes, [(path, read_caffemodel(path)) for path in paths])


def weight_files(given: str) -> list[str]:
    """The files of `--weights a,b`.

    Raises:
        SqgenError: there is none, or an empty name among them.
    """
    files = [path.strip() for path in given.split(",")]
    if not all(files):
        what = "an empty name between commas" if any(files) else "names no file"
        raise SqgenError(f"--weights '{printable(given)}': {what}; give a .caffemodel")
    return files


def refuse_random(
    matching: WeightMatch, net: NetDefinition, weights: str, unless: str = RANDOM_WEIGHTS
) -> None:
    """Refuse to score random numbers, zeros, or what is no number.

    Args:
        matching: of the weights and the net.
        net, weights: the two, for messages.
        unless: what scores them all the same.

    Raises:
        NetError: layers have no weights, all that they have are zeros, or one is nan or infinite.
    """
    shown = printable(weights)
    if matching.missing:
        missing, unused = first_few(matching.missing), first_few(matching.unused)
        instead = f"; it has weights for {unused} instead" if unused else ""
        names = " or, if only names differ, sqgen weights map" if unused else ""
        raise NetError(
            f"{shown}: has no weights for {len(matching.missing)} of the layers of"
            f" {printable(net.source)} ({missing}){instead}; give the net's own{names}{unless}"
        )
    if matching.all_zero and len(matching.all_zero) == len(matching.matched):
        raise NetError(f"{shown}: all weights are zero; fetch the file again{unless}")
    if matching.not_finite:
        raise NetError(
            f"{shown}: has weights that are nan or infinite in {first_few(matching.not_finite)};"
            f" train or fetch it again{unless}"
        )


def remarks(matching: WeightMatch) -> Iterable[str]:
    """What is odd about weights that match."""
    if matching.unused:
        yield f"weights that the net has no layer for: {first_few(matching.unused)}"
    if matching.all_zero:
        yield f"layers whose weights are all zero: {first_few(matching.all_zero)}"
    if matching.not_finite:
        yield f"layers with weights that are nan or infinite: {first_few(matching.not_finite)}"


def check_gpu(asked: str | None, by_command: bool) -> None:
    """Whether the GPUs that are asked for are there.

    Args:
        asked: `0`, `0,1`, `all`, or None.
        by_command: whether `--caffe` runs it, which may be elsewhere.

    Raises:
        SqgenError: they are not, or that is no list of GPUs.
    """
    if asked is None:
        return
    if asked != "all" and not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", asked):
        raise SqgenError(f"--gpu {printable(asked)}: write 0, 0,1 or all")
    if by_command or not _is_known():
        return
    there = len(gpus())
    if there and (asked == "all" or max(map(int, asked.split(","))) < there):
        return
    has = f"{there} GPUs, numbered from 0" if there else "no GPU that a driver knows"
    raise SqgenError(f"--gpu {asked}: this machine has {has}; --cpu runs it on the CPU")


def has_no_gpu() -> bool:
    """Whether it is certain that no GPU is here."""
    return _is_known() and not gpus()


def _is_known() -> bool:
    """Whether the GPUs of this machine are those that NVIDIA's driver lists in /proc.

    AMD's, Tegra's and those of Windows' for Linux are not.
    """
    others = ("/dev/kfd", "/dev/dxg", "/dev/nvmap")
    return Path("/proc").is_dir() and not any(Path(device).exists() for device in others)


def check_state(path: str) -> int:
    """The iteration of a solver state, whose weights are there too.

    Raises:
        FormatError: it is a caffemodel, or no solver state, or its weights are not there.
    """
    if path.endswith(".h5"):
        raise FormatError(f"{printable(path)}: is HDF5, which is not supported")
    state = read_solver_state(path)
    find_weights(state, path)
    return int(state.iter)


def snapshot_bytes(solver: Any, shapes: NetShapes) -> int:
    """About what one snapshot takes: the weights, and as much again for each kind of history."""
    return (
        totals(shapes).weight_bytes * (1 + HISTORY_BLOBS[solver.type] + bool(solver.snapshot_diff))
        + SLACK
    )


def snapshots_of(solver: Any, start: int) -> int:
    """How many snapshots a training writes from iteration `start` on."""
    every, last = solver.snapshot, solver.max_iter
    regular = last // every - start // every if every else 0
    return int(regular + bool(solver.snapshot_after_train and not (every and last % every == 0)))
