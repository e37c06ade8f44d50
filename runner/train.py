"""Train a net from scratch, from weights, or from a snapshot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..logs.result import LogResult
from .dsd import mask_phase
from .options import RunOptions, path_or_none
from .phased_training import PhasedTraining
from .training_plan import TrainingPlan, TrainOptions


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
    base_lr: float | None = None,
    max_iter: int | None = None,
    epochs: float | None = None,
    freeze: str | Sequence[str] = (),
    stages: Sequence[str] = (),
    level: int = 0,
    partial_weights: bool = False,
    keep_test_iter: bool = False,
    keep_best: str | None = None,
    patience: int | None = None,
    constraints: str | os.PathLike[str] | None = None,
    quantize: str | os.PathLike[str] | None = None,
    bits: int | None = None,
    activation_bits: int | None = None,
    dsd: str | None = None,
    leave: Sequence[str] = (),
    sparsity_for: Sequence[str] = (),
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
        base_lr: replaces the solver's learning rate; 0.0001 is a good one to fine-tune with.
        max_iter: replaces the solver's number of updates.
        epochs: passes over the training data, which give max_iter.
        freeze: glob patterns of the names of layers to leave as they are, such as `fire[2-5]/*`.
        partial_weights: allow weights that fit fewer than half of the layers.
        keep_test_iter: don't fit test_iter to the test data.
        keep_best: a score, such as `top1`; sqgen keeps the weights of its best test as
            PREFIX_best.caffemodel, and `result.run["best"]` names them.
        patience: tests in a row without a better score of `keep_best` that end the training.
        constraints: a file of weights that stay zero or share a value (docs/constraints.md); for
            the embedded engine alone.
        quantize: a file of bits of the layers that are quantized, in simulation
            (docs/quantization.md); likewise.
        bits, activation_bits: of weights, and of what layers read, where that file has none.
        dsd: Dense-Sparse-Dense training from `weights`: the sparsity of each sparse phase, `0.3` or
            `0.3,0.25` (docs/dsd.md).
        leave: with `dsd`, glob patterns of layers that stay dense.
        sparsity_for: with `dsd`, sparsities of layers, such as `conv10=0.5`.
        stages, level: of the trained net, as `caffe` takes them by --stage and --level.
        run_options: fields of `sqgen.RunOptions`.

    Returns:
        The result; `result.troubles` lists what went wrong in a training that completed.

    Raises:
        SqgenError: invalid input; nothing was started.
        RunError: the run did not complete; `result` is the partial result.
    """
    wanted = TrainOptions(
        weights=path_or_none(weights),
        snapshot=path_or_none(snapshot),
        resume=resume,
        data=path_or_none(data),
        val_data=path_or_none(val_data),
        batch_size=batch_size,
        mean=path_or_none(mean),
        base_lr=base_lr,
        max_iter=max_iter,
        epochs=epochs,
        freeze=(freeze,) if isinstance(freeze, str) else tuple(freeze),
        stages=tuple(stages),
        level=level,
        partial_weights=partial_weights,
        keep_test_iter=keep_test_iter,
        keep_best=keep_best,
        patience=patience,
        constraints=path_or_none(constraints),
        quantize=path_or_none(quantize),
        bits=bits,
        activation_bits=activation_bits,
        dsd=dsd,
        leave=tuple(leave),
        sparsity_for=tuple(sparsity_for),
    )
    return plan_training(RunOptions(**run_options), os.fspath(solver), wanted).run()


def plan_training(
    options: RunOptions, solver: str, wanted: TrainOptions
) -> TrainingPlan | PhasedTraining:
    """Check a training, in one phase or in several, and return it, to run or to describe.

    Raises:
        SqgenError: invalid input; nothing was started.
    """
    dsd = wanted.dsd_options
    if dsd is not None:
        masks = partial(mask_phase, options=dsd)
        return PhasedTraining(options, solver, wanted, dsd.phases, masks, "--dsd")
    return TrainingPlan(options, solver, wanted)
