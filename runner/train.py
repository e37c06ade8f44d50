"""Train a net from scratch, from weights, or from a snapshot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import DivergedError, RunError
from ..formats.schema import SolverParameter
from ..formats.snapshot_lock import SnapshotLock
from ..logs.result import LogResult
from .best_weights import BestWeights
from .engines import TORCH
from .live_progress import ProgressSteps
from .options import RunOptions, path_or_none
from .overrides import DataOverride, RunFile, Setting, layer_batch_size, solver_file
from .resume_command import resume_command
from .run_folder import RunFolder
from .run_record import TrainRecord, record_data
from .session import Session
from .solver_preflight import (
    ParsedSolver,
    check_snapshot_room,
    check_solver_mode,
    read_solver,
    warn_of_snapshots,
)
from .training_nets import SOLVER, TrainingNets
from .training_start import StartOptions, find_start


def train(
    solver: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    snapshot: str | os.PathLike[str] | None = None,
    resume: bool = False,
    data: str | os.PathLike[str] | None = None,
    val_data: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    mean: str | os.PathLike[str] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    partial_weights: bool = False,
    keep_test_iter: bool = False,
    keep_best: str | None = None,
    **run_options: Any,
) -> LogResult:
    """Train a net and return the result.

        result = sqgen.train("solver.prototxt", data="train_lmdb", val_data="val_lmdb", cpu=True)
        print(result.score("top1").value, result.snapshots[-1])

    Args:
        solver: the solver's prototxt.
        weights: a caffemodel to fine-tune from, or several separated by commas.
        snapshot: a solver state to resume from.
        resume: resume from the newest complete snapshot of the solver's snapshot_prefix.
        data: an LMDB or list of images that replaces the training data.
        val_data: one that replaces the test data; test_iter then covers it.
        batch_size: replaces the trained net's own.
        mean: a mean image that replaces the nets' own means.
        partial_weights: allow weights that fit fewer than half of the layers.
        keep_test_iter: don't fit test_iter to the test data.
        keep_best: a score, such as `top1`; sqgen keeps the weights of its best test as
            PREFIX_best.caffemodel, and `result.run["best"]` names them.
        stages, level: of the trained net, as `caffe` takes them by --stage and --level.
        run_options: fields of `sqgen.RunOptions`.

    Returns:
        The result; `result.troubles` lists what went wrong in a training that completed.

    Raises:
        SqgenError: invalid input; nothing was started.
        RunError: the run did not complete; `result` is the partial result.
    """
    options = RunOptions(**run_options)
    parsed = read_solver(options, os.fspath(solver))
    train_override = DataOverride("TRAIN", path_or_none(data), batch_size, path_or_none(mean))
    test_override = DataOverride(
        "TEST", path_or_none(val_data), None, path_or_none(mean), flag="--val-data"
    )
    if stages:
        parsed.param.train_state.stage.extend(stages)
    nets = TrainingNets(options, parsed, train_override, test_override, level)
    wanted = StartOptions(path_or_none(weights), path_or_none(snapshot), resume, partial_weights)
    start = find_start(options, parsed, nets, wanted)
    best = None
    if keep_best is not None:
        best = BestWeights(options, keep_best, parsed, nets.tested, start)
    fitted = best.fit_snapshots(parsed) if best is not None else parsed
    check_snapshot_room(options, fitted, nets.trained_check.shapes, start.iteration)
    if start.iteration == 0:
        warn_of_snapshots(options, parsed.param.snapshot_prefix)
    tests = nets.plan_tests(options, keep_test_iter)
    engine = options.select_engine()
    if engine.kind == TORCH:
        nets.given.require_caffe()
    check_solver_mode(options, parsed, engine)
    with SnapshotLock(parsed.param.snapshot_prefix) as lock:
        if engine.kind == TORCH:
            lock.release()  # it was free, and the engine takes it itself
        session = Session(options, engine, parsed.path)
        folder = session.folder
        session.create_folder(nets.net_files())
        session.write_file(_solver_file(options, parsed, nets, fitted.param.snapshot, folder))
        images = _log_images_per_update(options, parsed, nets)
        record = TrainRecord(start.path, images, record_data(nets.trained_check), tests)
        if best is not None:
            best.net = folder.file_path(nets.tested_file(best.number))
            record = replace(record, best=best.as_dict)
        steps = ProgressSteps(parsed.param.max_iter - start.iteration, images, start.iteration)
        arguments = ["train", f"--solver={folder.file_path(SOLVER)}", *start.flags]
        arguments += [f"--level={level}"] if level else []
        go_on = resume_command(
            options,
            os.fspath(solver),
            folder.file_path(SOLVER),
            {
                "data": data,
                "val-data": val_data,
                "batch-size": batch_size,
                "mean": mean,
                "stage": list(stages),
            },
            {"level": level or None, "keep-best": keep_best, "keep-test-iter": keep_test_iter},
        )
        try:
            watch = best.watch if best is not None else None
            result = session.run(arguments, steps, record, watch=watch)
        except RunError as error:
            # With the same rate, a training that diverged would do so again.
            if error.result.snapshots and not isinstance(error, DivergedError):
                error.args = (f"{error}; go on with {go_on}",)
            raise
        if best is not None and best.best is not None:
            options.log_line(f"next: {best.test_command}")
    result = replace(result, dataset=tests[0].digest if tests else None)
    return session.write_result(result, record)


def _solver_file(
    options: RunOptions,
    solver: ParsedSolver,
    nets: TrainingNets,
    snapshot: int,
    folder: RunFolder,
) -> RunFile:
    paths = {path: folder.file_path(name) for path, name in nets.file_names.items()}
    settings: dict[str, Setting] = {"test_iter": nets.test_iter}
    if snapshot != solver.param.snapshot:
        settings["snapshot"] = snapshot
    if options.cpu:
        settings["solver_mode"] = SolverParameter.CPU
    return solver_file(solver.param, solver.path, paths, settings, SOLVER)


def _log_images_per_update(options: RunOptions, solver: ParsedSolver, nets: TrainingNets) -> int:
    """Log and return batch size x iter_size x GPUs; 0 if the net reads no countable data."""
    checked = nets.trained_check
    if not checked.layers:
        return 0
    batch_size, iter_size = layer_batch_size(checked.layers[0]), max(1, solver.param.iter_size)
    images: int = batch_size * iter_size * options.device_count
    factors = [f"{batch_size}"]
    factors += [f"iter_size {iter_size}"] if iter_size > 1 else []
    factors += [f"{options.device_count} GPUs"] if options.device_count > 1 else []
    product = f"{' x '.join(factors)} = {images}" if len(factors) > 1 else f"{images}"
    records = checked.datasets[0].records
    max_iter = solver.param.max_iter
    of = f" of {records:,} records, {max_iter * images / records:.3g} epochs" if records else ""
    options.log_line(f"training: {product} images an update, {max_iter} updates{of}")
    return images
