"""Preflight checks of nets, data, weights, snapshots and GPUs, before a run starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import FormatError, NetError, SqgenError
from ..formats.caffemodel import read_caffemodel, read_solver_state
from ..formats.near_path import missing_hint
from ..formats.pruning_images import noted_images
from ..formats.snapshot_files import find_weights
from ..host import list_gpus, visible_gpus
from ..nets.data_layers import reads_files
from ..nets.dataset import Dataset, inspect_dataset, top_shapes
from ..nets.definition import NetDefinition
from ..nets.layer_types import Shape
from ..nets.lint import ERROR, lint_net
from ..nets.shapes import NetShapes, infer_shapes
from ..nets.solver_rules import HISTORY_BLOBS
from ..nets.totals import totals
from ..nets.windows import ShapeError
from ..text import first_few, printable
from ..weights.match import WeightMatch, match_weights
from ..weights.net_arrays import Model
from .data_checks import lint_crops, lint_data, lint_sizes
from .overrides import DataOverride, data_layers, override_data
from .suggest_mapping import suggest_mapping

if TYPE_CHECKING:
    from ..formats.schema import LayerParameter, SolverParameter, SolverState

SNAPSHOT_OVERHEAD = 1 << 20  # bytes of a snapshot beside its blobs, at most
CPU_HINT = "; --cpu runs it on the CPU"
RANDOM_WEIGHTS_HINT = "; --random-weights scores it all the same"


class CheckedNet(NamedTuple):
    """Shapes of a net in a phase, its data layers, the dataset of each, and warnings."""

    shapes: NetShapes
    layers: list[LayerParameter]
    datasets: list[Dataset]
    warnings: list[str]

    @property
    def image(self) -> Shape | None:
        """The (channels, height, width) of the first dataset's records, where it tells."""
        return self.datasets[0].image if self.datasets else None

    @property
    def remarks(self) -> list[str]:
        """Lines on what was not checked: labels of datasets that are too large."""
        return [data.remark for data in self.datasets if data.remark]


def check_net(net: NetDefinition, phase: str, flag: str = "--data") -> CheckedNet:
    """Open a net's datasets, infer its shapes and lint it.

    Args:
        net: the net.
        phase: `TRAIN` or `TEST`.
        flag: the option that replaces the dataset, for messages.

    Raises:
        FormatError: a dataset or mean_file is missing or damaged.
        NetError: the net has lint errors, which stop Caffe.
    """
    layers, datasets, known = data_layers(net, phase), [], {}
    for layer in layers:
        where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
        dataset = inspect_dataset(layer, where, flag)
        datasets.append(dataset)
        try:
            shapes_there = top_shapes(layer, dataset)
        except ShapeError as error:
            raise NetError(f"{where}: {error}") from None
        if shapes_there is not None:
            known[layer.name] = shapes_there
        _check_mean_file(layer, where)
    shapes = infer_shapes(net, phase, known=known)
    _check_lint(net, phase, shapes)
    data = list(zip(layers, datasets, strict=True))
    found = [
        *lint_data(shapes, data),
        *lint_crops(net, phase, data),
        *lint_sizes(net, phase, shapes, data),
    ]
    warnings = [f"{net.place(layer)}: {message}" for layer, message in found]
    return CheckedNet(shapes, layers, datasets, warnings)


def image_of_data(net: NetDefinition, override: DataOverride) -> Shape | None:
    """Return the shape of the images of a phase's dataset; None of a net that reads no files.

    Raises:
        SqgenError: as `check_net` does.
    """
    if not any(map(reads_files, net.layers(override.phase))):
        return None
    return check_net(override_data(net, [override])[0], override.phase).image


def _check_mean_file(layer: LayerParameter, where: str) -> None:
    mean = layer.transform_param.mean_file
    if mean and not os.path.isfile(mean):
        raise FormatError(
            f"{where}: mean_file '{printable(mean)}' not found"
            + missing_hint(mean, "give --mean FILE, which sqgen data mean writes")
        )


def _check_lint(net: NetDefinition, phase: str, shapes: NetShapes) -> None:
    findings = lint_net(net, phases=[phase], shapes={phase: shapes})
    # An error without a stage is one in this state, if it names none.
    errors = [each for each in findings if each.rule.severity == ERROR or each.rule.name == "stage"]
    if errors:
        more = f" (and {len(errors) - 1} more: sqgen lint)" if len(errors) > 1 else ""
        raise NetError(f"{errors[0].place}: {errors[0].message} [{errors[0].rule.name}]{more}")
    if not net.layers(phase):
        raise NetError(f"{printable(net.source)}: has no layers in {phase}")


def read_weight_files(paths: Iterable[str]) -> list[Model]:
    """Read caffemodels, each with its path.

    Raises:
        FormatError: a file is missing or no caffemodel.
    """
    return [(path, read_caffemodel(path)) for path in paths]


def match_weight_files(paths: Sequence[str], shapes: NetShapes) -> WeightMatch:
    """Read caffemodels and match their blobs to a net's layers.

    Raises:
        FormatError: a file is missing or no caffemodel.
        NetError: blobs of a layer have other shapes.
    """
    return match_weights(shapes, read_weight_files(paths))


def require_weights(
    matching: WeightMatch,
    net: NetDefinition,
    weights: str,
    data: Sequence[Dataset],
    hint: str = RANDOM_WEIGHTS_HINT,
) -> None:
    """Refuse to score a net whose weights are missing, all zero, or not finite.

    Args:
        matching: of the weights and the net.
        net: for messages.
        weights: the path, for messages.
        data: datasets of the net, for the size of images.
        hint: appended to messages: the option that turns this check off.

    Raises:
        NetError: layers have no weights, all weights are zero, or one is nan or infinite.
    """
    shown = printable(weights)
    if matching.missing:
        missing, unused = first_few(matching.missing), first_few(matching.unused)
        instead = f"; it has weights for {unused} instead" if unused else ""
        rename = suggest_mapping(weights, net, data, len(matching.matched))
        raise NetError(
            f"{shown}: has no weights for {len(matching.missing)} of {matching.layer_count} layers"
            f" of {printable(net.source)} ({missing}){instead}; give the net's own{rename}{hint}"
        )
    if matching.all_zero and len(matching.all_zero) == len(matching.matched):
        raise NetError(f"{shown}: all weights are zero; fetch the file again{hint}")
    if matching.not_finite:
        raise NetError(
            f"{shown}: has weights that are nan or infinite in {first_few(matching.not_finite)};"
            f" train or fetch it again{hint}"
        )


def seen_image_warnings(models: Iterable[Model], datasets: Sequence[Dataset]) -> Iterator[str]:
    """Yield a warning of each dataset on whose images weights were pruned."""
    noted = [(path, digest) for path, model in models for digest in noted_images(model)]
    for dataset in datasets:
        for path in dict.fromkeys(path for path, digest in noted if digest == dataset.digest):
            yield (
                f"these {dataset.records:,} images are those that {printable(path)} was pruned on;"
                " its accuracy on them says little about others"
            )


def weight_warnings(matching: WeightMatch) -> Iterable[str]:
    """Yield warnings about matched weights: unused, all zero, not finite."""
    if matching.unused:
        yield f"weights that the net has no layer for: {first_few(matching.unused)}"
    if matching.all_zero:
        yield f"layers whose weights are all zero: {first_few(matching.all_zero)}"
    if matching.not_finite:
        yield f"layers with weights that are nan or infinite: {first_few(matching.not_finite)}"


def check_gpus(requested: str | None, custom_command: bool) -> None:
    """Check that the requested GPUs exist.

    Args:
        requested: `0`, `0,1`, `all`, or None.
        custom_command: whether `--caffe` runs the net, perhaps on another machine.

    Raises:
        SqgenError: a GPU does not exist, or the text is no list of GPUs.
    """
    if requested is None:
        return
    if requested != "all" and not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", requested):
        raise SqgenError(f"--gpu {printable(requested)}: write 0, 0,1 or all")
    if custom_command or not _driver_lists_gpus():
        return
    count = len(visible_gpus(list_gpus()))
    if count and (requested == "all" or max(map(int, requested.split(","))) < count):
        return
    has = f"{count} GPUs, numbered from 0" if count else "no GPU that a driver knows"
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        has += f", with CUDA_VISIBLE_DEVICES={printable(os.environ['CUDA_VISIBLE_DEVICES'])}"
    raise SqgenError(f"--gpu {requested}: this machine has {has}{CPU_HINT}")


def has_no_gpu() -> bool:
    """Return whether this machine certainly has no GPU."""
    return _driver_lists_gpus() and not visible_gpus(list_gpus())


def _driver_lists_gpus() -> bool:
    """Return whether NVIDIA's list in /proc covers every GPU of this machine.

    It does not cover AMD's GPUs, Tegra's, and those of Windows Subsystem for Linux.
    """
    others = ("/dev/kfd", "/dev/dxg", "/dev/nvmap")
    return Path("/proc").is_dir() and not any(Path(device).exists() for device in others)


def check_solver_state(path: str) -> SolverState:
    """Read a solver state, after checking that its weights exist.

    Raises:
        FormatError: it is a caffemodel or no solver state, or its weights are missing or another
            run's.
    """
    state = read_solver_state(path)
    find_weights(state, path)
    return state


def estimate_snapshot_bytes(solver: SolverParameter, shapes: NetShapes) -> int:
    """Estimate the bytes of one snapshot: weights, their diffs if written, and solver history."""
    copies = 1 + HISTORY_BLOBS[solver.type] + bool(solver.snapshot_diff)
    return totals(shapes).weight_bytes * copies + SNAPSHOT_OVERHEAD
