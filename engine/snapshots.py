"""Snapshots: the two files that Caffe writes, a third that makes a resume exact, and bits.

`PREFIX_iter_N.caffemodel` and `.solverstate` are Caffe's, with a final `.h5` for `snapshot_format:
HDF5`. `PREFIX_iter_N.sqgenstate` (JSON) holds what Caffe loses: the seed, the position of each data
layer, the losses to average, the ranges of quantizers. It names the digest of its solver state, and
is ignored beside any other. `PREFIX_iter_N.bits.toml`, of a quantized training alone, tests the
weights as the training does. No file is ever written in part; the solver state comes last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch

from ..errors import FormatError, NetError
from ..formats.caffemodel import (
    blob_array,
    encode_caffemodel,
    encode_solver_state,
    fill_blob,
    parse_solver_state,
    same_blob_shape,
)
from ..formats.files import BINARY_LIMIT, display_name, read_bytes, write_files
from ..formats.hdf5_file import hdf5_package
from ..formats.hdf5_snapshot import SUFFIX, unwritable_name
from ..formats.schema import TRAIN, SolverParameter, SolverState
from ..formats.snapshot_files import BITS, RESUME_STATE_LIMIT, find_weights, resume_state_path
from ..json_form import from_json, loads, to_json
from ..text import printable
from . import glog
from .executor import PRECISIONS, Executor
from .optimizer import Optimizer
from .parameters import to_caffemodel
from .tensors import to_array

FORMAT = 1
_LARGEST = 1 << 63  # above every count and seed


@dataclass
class ResumeState:
    """The state of a run besides weights and history; the content of a `.sqgenstate`.

    Attributes:
        iteration: updates so far.
        seed: of all random numbers.
        passes: batches that each net computed, the trained net first.
        records: for each net, data layer -> records read.
        losses, smoothed: the losses that average_loss averages, and their mean.
        threads, precision: of the run; a resume with others is not bit for bit the same.
        digest, weights_digest: SHA-256 of the solver state and weights that this belongs to; the
            latter is empty in states of earlier versions.
        shards: those of a training by several processes; `passes` counts the batches of all.
        rate: the solver's `rate_fields`; empty in states of earlier versions.
        bits: of a quantized training, its file of bits with all that was found; else empty.
        constraints, constraints_digest: the file of the run's constraints, as given, and of what it
            says (`formats.constraints.constraints_digest`); empty for a run without.
    """

    iteration: int
    seed: int
    passes: tuple[int, ...]
    records: tuple[Mapping[str, int], ...]
    losses: tuple[float, ...]
    smoothed: float
    threads: int
    precision: str
    digest: str = ""
    weights_digest: str = ""
    shards: int = 1
    rate: Mapping[str, str] = field(default_factory=dict)
    constraints: str = ""
    constraints_digest: str = ""
    bits: str = ""
    format: int = FORMAT

    @property
    def is_valid(self) -> bool:
        """Whether every value is one that a run can have."""
        positions = [position for records in self.records for position in records.values()]
        numbers = [self.iteration, self.seed, *self.passes, *positions]
        return (
            all(0 <= number < _LARGEST for number in numbers)
            and len(self.passes) == len(self.records)
            and self.threads > 0
            and 0 < self.shards < _LARGEST
            and self.precision in PRECISIONS
        )


def write_snapshot(
    prefix: str, net: Executor, optimizer: Optimizer, step: int, resume_state: ResumeState
) -> None:
    """Write the files of an iteration, replacing those of the same name.

    Args:
        prefix: the solver's snapshot_prefix.
        net: the trained net.
        optimizer: its optimizer, whose history is saved.
        step: Caffe's current_step.
        resume_state: the rest; its digests are set here.

    Raises:
        OutputError: a file can't be written; no partial one is left.
    """
    base = f"{prefix}_iter_{resume_state.iteration}"
    hdf5 = optimizer.solver.snapshot_format == SolverParameter.HDF5
    ending, kind = (SUFFIX, "HDF5") if hdf5 else ("", "binary proto")
    model_path, state_path = f"{base}.caffemodel{ending}", f"{base}.solverstate{ending}"
    place = "solver.cpp:474" if hdf5 else "solver.cpp:464"
    glog.info(f"Snapshotting to {kind} file {model_path}", place)
    model = to_caffemodel(net.name, net.parameters, TRAIN, optimizer.solver.snapshot_diff)
    state = SolverState(iter=resume_state.iteration, learned_net=model_path, current_step=step)
    for blob in optimizer.history():
        fill_blob(state.history.add(), to_array(blob))
    place = "sgd_solver.cpp:296" if hdf5 else "sgd_solver.cpp:284"
    glog.info(f"Snapshotting solver state to {kind} file {state_path}", place)
    saved = encode_solver_state(state, state_path)
    weights = encode_caffemodel(model, model_path)
    resume_state.digest = sha256(saved).hexdigest()
    resume_state.weights_digest = sha256(weights).hexdigest()
    files = {
        Path(model_path): weights,
        Path(f"{base}.sqgenstate"): (json.dumps(to_json(resume_state)) + "\n").encode(),
    }
    if resume_state.bits:
        files[Path(f"{base}.{BITS}")] = resume_state.bits.encode()
    write_files({**files, Path(state_path): saved}, force=True)


class SavedRun(NamedTuple):
    """A run to resume.

    Attributes:
        path: the file of the solver state.
        state: the SolverState.
        weights: the file of its weights; None where it names none.
        resume_state: None where its file is missing or belongs to another solver state.
    """

    path: str
    state: SolverState
    weights: Path | None
    resume_state: ResumeState | None


def read_snapshot(path: str) -> SavedRun:
    """Read a solver state and the resume state beside it.

    Raises:
        FormatError: the file can't be read, or its weights are missing or another run's.
    """
    data = read_bytes(path, BINARY_LIMIT, "a solver state")
    state = parse_solver_state(data, display_name(path))
    return SavedRun(path, state, find_weights(state, path), _read_resume_state(path, data))


def restore_history(saved: SavedRun, optimizer: Optimizer) -> None:
    """Copy the history of a solver state into the optimizer.

    Raises:
        FormatError: it belongs to another solver or net.
    """
    _check_history(saved.state, optimizer, printable(saved.path))
    optimizer.load_history(
        torch.from_numpy(blob_array(blob).reshape(tuple(own.shape)))
        for blob, own in zip(saved.state.history, optimizer.history(), strict=True)
    )


def _check_history(state: SolverState, optimizer: Optimizer, file: str) -> None:
    histories = optimizer.history()
    expected = len(histories)
    if len(state.history) != expected:
        raise FormatError(
            f"{file}: Incorrect length of history blobs: {len(state.history)} in the file,"
            f" {expected} for solver type {optimizer.solver.type} and this net; resume with the"
            " solver that wrote it"
        )
    for index, (blob, history) in enumerate(zip(state.history, histories, strict=True)):
        if not same_blob_shape(blob, tuple(history.shape)):
            raise FormatError(
                f"{file}: history {index} has shape {tuple(blob.shape.dim)}, but the parameter"
                f" {tuple(history.shape)}; resume with the net that wrote it"
            )


def _read_resume_state(path: str, data: bytes) -> ResumeState | None:
    """Read the resume state beside a solver state of these bytes; None where none is valid."""
    try:
        plain = loads(read_bytes(resume_state_path(path), RESUME_STATE_LIMIT, "a resume state"))
        resume_state = from_json(ResumeState, plain)
    except (FormatError, ValueError):
        return None
    digest = sha256(data).hexdigest()
    matches = (resume_state.format, resume_state.digest) == (FORMAT, digest)
    return resume_state if matches and resume_state.is_valid else None


def check_snapshot_format(solver: SolverParameter, net: Executor) -> None:
    """Check before the training that its snapshots can be written.

    Raises:
        NetError: HDF5 can't have the names of the net's layers.
        MissingExtraError: h5py, which HDF5 needs, is not installed.
    """
    if solver.snapshot_format != SolverParameter.HDF5:
        return
    hdf5_package()
    problem = unwritable_name(net.parameters.names())
    if problem:
        raise NetError(f"snapshot_format HDF5: {problem}; write BINARYPROTO, or rename the layer")
