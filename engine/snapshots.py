"""Snapshots: the two files that Caffe writes, and a third that makes a resume exact.

`PREFIX_iter_N.caffemodel` and `.solverstate` are Caffe's. `PREFIX_iter_N.sqgenstate` (JSON) holds
what Caffe forgets: how far each data layer has read, the seed, the losses that are averaged. It
belongs to the solver state with the digest it names, and is left aside with any other.
All three are written whole, the solver state last.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import FormatError, NetError
from ..formats.caffemodel import (
    blob_array,
    fill_blob,
    read_solver_state,
    same_blob_shape,
    serialize,
)
from ..formats.files import write_files
from ..formats.schema import SolverState
from ..formats.snapshot_files import find_weights
from ..text import printable
from . import glog
from .parameters import to_model

FORMAT = 1
BINARYPROTO = 1


@dataclass
class ResumeState:
    """Where a run stands, beyond weights and history.

    Attributes:
        iteration: updates done.
        seed: of everything random.
        passes: batches that each net computed, the trained one first.
        records: of each net, data layer -> records handed out.
        losses, smoothed: what average_loss works with.
        threads, precision: of the run; with others a resumed run is no longer bit for bit the same.
        digest: SHA-256 of the solver state it belongs to.
    """

    iteration: int
    seed: int
    passes: list[int]
    records: list[dict[str, int]]
    losses: list[float]
    smoothed: float
    threads: int
    precision: str
    digest: str = ""
    format: int = FORMAT


def write_snapshot(prefix: str, net: Any, optimizer: Any, step: int, position: ResumeState) -> None:
    """Write all three files of an iteration, replacing those of the same name.

    Raises:
        OutputError: one can't be written; none is then there half.
    """
    base = f"{prefix}_iter_{position.iteration}"
    model_path, state_path = f"{base}.caffemodel", f"{base}.solverstate"
    glog.info(f"Snapshotting to binary proto file {model_path}", "solver.cpp:464")
    model = to_model(net.name, net.parameters, 0, optimizer.solver.snapshot_diff)
    state = SolverState(iter=position.iteration, learned_net=model_path, current_step=step)
    for blob in optimizer.history:
        fill_blob(state.history.add(), np.asarray(blob.cpu().contiguous().numpy()))
    glog.info(f"Snapshotting solver state to binary proto file {state_path}", "sgd_solver.cpp:284")
    saved = serialize(state, state_path)
    position.digest = sha256(saved).hexdigest()
    write_files(
        {
            Path(model_path): serialize(model, model_path),
            Path(f"{base}.sqgenstate"): (json.dumps(asdict(position)) + "\n").encode(),
            Path(state_path): saved,
        },
        force=True,
    )


def read_snapshot(path: str, optimizer: Any) -> tuple[Any, Path | None, ResumeState | None]:
    """A solver state, copied into `optimizer.history`; where its weights are; and its position.

    Raises:
        FormatError: it can't be read, or belongs to another solver or net.
    """
    state = read_solver_state(path)
    shown = printable(path)
    wanted = len(optimizer.history)
    if len(state.history) != wanted:
        raise FormatError(
            f"{shown}: Incorrect length of history blobs: {len(state.history)} there, {wanted} for"
            f" solver type {optimizer.solver.type} and this net; resume with the solver it is of"
        )
    for index, (blob, history) in enumerate(zip(state.history, optimizer.history, strict=True)):
        if not same_blob_shape(blob, tuple(history.shape)):
            raise FormatError(
                f"{shown}: history {index} has shape {tuple(blob.shape.dim)}, but the parameter"
                f" {tuple(history.shape)}; resume with the net it is of"
            )
    for blob, history in zip(state.history, optimizer.history, strict=True):
        array = blob_array(blob).reshape(tuple(history.shape))
        history.copy_(torch.from_numpy(array))
    return state, find_weights(state, path), resume_state_of(path)


def resume_state_of(path: str) -> ResumeState | None:
    """The position that belongs to exactly this solver state, if it was kept."""
    try:
        kept = json.loads(Path(path).with_suffix(".sqgenstate").read_bytes())
        position = ResumeState(**kept)
        digest = sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, ValueError, TypeError):
        return None
    return position if (position.format, position.digest) == (FORMAT, digest) else None


def refuse_hdf5(solver: Any) -> None:
    """Snapshots in HDF5 are not written here.

    Raises:
        NetError: the solver asks for them.
    """
    if solver.snapshot_format != BINARYPROTO:
        raise NetError("snapshot_format HDF5 is not supported; use BINARYPROTO, Caffe's default")
