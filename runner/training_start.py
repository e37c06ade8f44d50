"""Where a training starts: from fillers, from the weights of another net, or from a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import FormatError, NetError, SqgenError
from ..formats.caffemodel import split_weights
from ..formats.snapshot_files import (
    WrittenConstraints,
    newest_snapshot,
    read_written_constraints,
    read_written_rate,
)
from ..nets.solver_rules import lint_resume
from ..text import first_few, printable
from ..weights.match import fits_few
from .options import RunOptions
from .preflight import check_solver_state, match_weight_files, weight_warnings
from .solver_preflight import ParsedSolver
from .suggest_mapping import suggest_mapping
from .training_nets import TrainingNets


class StartOptions(NamedTuple):
    """What a training is to start from.

    Attributes:
        weights: caffemodels separated by commas, or None.
        snapshot: a solver state, or None.
        resume: start from the newest snapshot of the prefix.
        partial_weights: allow weights that fit fewer than half of the layers.
    """

    weights: str | None
    snapshot: str | None
    resume: bool
    partial_weights: bool


class Start(NamedTuple):
    """Where a training starts.

    Attributes:
        flags: for caffe.
        iteration: 0 but for a snapshot.
        path: the weights or the snapshot.
        fresh: names of the layers that start from their fillers.
        constraints: those that a snapshot's run obeyed; None where nothing tells.
    """

    flags: list[str]
    iteration: int = 0
    path: str | None = None
    fresh: Sequence[str] = ()
    constraints: WrittenConstraints | None = None


def find_start(
    options: RunOptions, solver: ParsedSolver, nets: TrainingNets, wanted: StartOptions
) -> Start:
    """Check what a training is to start from, and log it.

    Raises:
        SqgenError: a file is missing, damaged or does not fit, or nothing is left to train.
    """
    if (wanted.weights is not None) + (wanted.snapshot is not None) + wanted.resume > 1:
        raise SqgenError("--weights, --snapshot and --resume: give one")
    if wanted.weights is not None:
        fresh = _check_fine_tuning(options, nets, wanted.weights, wanted.partial_weights)
        return Start([f"--weights={wanted.weights}"], 0, wanted.weights, fresh)
    snapshot = _newest_snapshot(options, solver) if wanted.resume else wanted.snapshot
    if snapshot is None:
        if not solver.param.weights:
            layers = nets.trained_check.shapes.layers
            return Start([], fresh=[item.layer.name for item in layers if item.blobs])
        weights = ",".join(solver.param.weights)
        return Start([], fresh=_check_fine_tuning(options, nets, weights, wanted.partial_weights))
    state = check_solver_state(snapshot)
    iteration = state.iter
    if iteration >= solver.param.max_iter:
        raise FormatError(
            f"{printable(snapshot)}: is of iteration {iteration}, and max_iter of"
            f" {printable(solver.path)} is {solver.param.max_iter}: nothing is left to do"
        )
    written = read_written_rate(snapshot)
    change = lint_resume(solver.param, iteration, state.current_step, written)
    if change is not None:
        options.warn(f"{printable(snapshot)}: {change}")
    options.log_line(f"resuming from {printable(snapshot)}, iteration {iteration}")
    constraints = read_written_constraints(snapshot)
    return Start([f"--snapshot={snapshot}"], iteration, snapshot, constraints=constraints)


def _newest_snapshot(options: RunOptions, solver: ParsedSolver) -> str:
    prefix = solver.param.snapshot_prefix
    snapshot = newest_snapshot(prefix)
    if snapshot is None:
        raise FormatError(
            f"--resume: no complete snapshot {printable(prefix)}_iter_*.solverstate; leave --resume"
            " out to start"
        )
    options.warn(*snapshot.remarks)
    return snapshot.path


def _check_fine_tuning(
    options: RunOptions, nets: TrainingNets, weights: str, partial_weights: bool
) -> list[str]:
    """Log how many layers weights fit; return those that start from their fillers.

    Raises:
        NetError: they fit no layer, or few without `partial_weights`.
    """
    checked = nets.trained_check
    matching = match_weight_files(split_weights(weights), checked.shapes)
    fitting, count = len(matching.matched), matching.layer_count
    few = fits_few(fitting, len(matching.missing))
    if (few and not partial_weights) or not fitting:
        rename = suggest_mapping(weights, nets.trained, checked.datasets, fitting)
        go_on = "; --partial-weights starts the others from their fillers" if fitting else ""
        raise NetError(
            f"{printable(weights)}: has weights for {fitting or 'none'} of the {count} layers of"
            f" {printable(nets.trained.source)}{rename}{go_on}"
        )
    fresh = f"; start from their fillers: {first_few(matching.missing)}" if matching.missing else ""
    options.log_line(f"weights fit {fitting} of {count} layers{fresh}")
    options.warn(*weight_warnings(matching))
    return matching.missing
