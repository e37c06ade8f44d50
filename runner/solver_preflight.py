"""Preflight checks of a solver: fields, mode, room for snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import NetError, SqgenError
from ..formats.files import STDIN
from ..formats.hdf5_snapshot import unwritable_name
from ..formats.schema import SolverParameter
from ..formats.snapshot_files import check_free_space, complete_prefix, newest_solver_state
from ..nets.definition import parse_solver, read_text
from ..nets.shapes import NetShapes
from ..nets.solver_rules import count_snapshots, lint_solver
from ..text import printable
from .engines import CAFFE, Engine
from .options import RunOptions
from .overrides import Setting
from .preflight import estimate_snapshot_bytes, has_no_gpu


class ParsedSolver(NamedTuple):
    """A SolverParameter with its snapshot_prefix completed, the path of its file, and its text."""

    param: SolverParameter
    path: str
    text: str


def read_solver(options: RunOptions, path: str) -> ParsedSolver:
    """Read and check a solver; complete its snapshot_prefix as Caffe does.

    Raises:
        FormatError: it can't be read or parsed.
        NetError: Caffe would refuse it.
    """
    warnings: list[str] = []
    text, source = read_text(path)
    param = parse_solver(text, source, warnings)
    for rule, message in lint_solver(param):
        if rule == "solver":
            raise NetError(f"{printable(source)}: {message}")
    options.warn(*warnings)
    complete_prefix(param, "" if path == STDIN else path)
    return ParsedSolver(param, source, text)


def override_solver(solver: ParsedSolver, settings: Mapping[str, Setting]) -> ParsedSolver:
    """Return a copy of a solver with other values in its fields."""
    param = SolverParameter()
    param.CopyFrom(solver.param)
    for field, value in settings.items():
        setattr(param, field, value)
    return solver._replace(param=param)


def warn_of_solver(options: RunOptions, solver: ParsedSolver) -> None:
    """Warn of what Caffe takes, though nobody means it."""
    param = solver.param
    problems = [message for _, message in lint_solver(param)]
    if param.test_iter and param.test_interval > param.max_iter:
        problems.append(
            f"test_interval {param.test_interval} is above max_iter {param.max_iter}: the trained"
            " weights get no score; set it to max_iter or less"
        )
    options.warn(*(f"{printable(solver.path)}: {problem}" for problem in problems))


def check_solver_mode(options: RunOptions, solver: ParsedSolver, engine: Engine) -> None:
    """Check that a solver in GPU mode has a GPU.

    Unset, solver_mode is GPU for a real caffe, and the CPU for the embedded engine.

    Raises:
        SqgenError: it has none.
    """
    wants_gpu = solver.param.solver_mode == SolverParameter.GPU
    wants_gpu = wants_gpu and (engine.kind == CAFFE or solver.param.HasField("solver_mode"))
    has_choice = options.cpu or options.gpu is not None or options.caffe is not None
    if wants_gpu and not has_choice and has_no_gpu():
        raise SqgenError(
            f"{printable(solver.path)}: solver_mode is GPU, and this machine has none that a"
            " driver knows; --cpu runs it on the CPU"
        )


def check_snapshot_room(
    options: RunOptions, solver: ParsedSolver, shapes: NetShapes, start: int
) -> None:
    """Check that a snapshot can be written; warn if all of them do not fit on the disk.

    Args:
        options: log the warnings.
        solver: the solver.
        shapes: of the trained net.
        start: the iteration that the training starts from.

    Raises:
        NetError: HDF5 can't have the names of the net's layers.
        OutputError: no snapshot can be written.
    """
    count = count_snapshots(solver.param, start)
    if not count:
        if start:  # else lint has said it
            options.warn("no snapshot is left to write: the weights are lost at the end")
        return
    _check_hdf5_names(solver, shapes)
    size = estimate_snapshot_bytes(solver.param, shapes)
    free = check_free_space(solver.param.snapshot_prefix, size)
    if free < size * count:
        options.warn(
            f"{count} snapshots of {size >> 20} MiB are more than the {free >> 20} MiB"
            f" that are free at {printable(solver.param.snapshot_prefix)}"
        )


def _check_hdf5_names(solver: ParsedSolver, shapes: NetShapes) -> None:
    if solver.param.snapshot_format != SolverParameter.HDF5:
        return
    problem = unwritable_name(item.layer.name for item in shapes.layers)
    if problem:
        raise NetError(
            f"{printable(solver.path)}: snapshot_format HDF5: {problem}; write BINARYPROTO, or"
            " rename the layer"
        )


def warn_of_snapshots(options: RunOptions, prefix: str) -> None:
    """Warn if an earlier training left snapshots under the same prefix."""
    snapshot = newest_solver_state(prefix)
    if snapshot is not None:
        options.warn(
            f"{printable(snapshot)} and others of an earlier training are there: those of the same"
            " iteration will be replaced; --resume continues that training"
        )
