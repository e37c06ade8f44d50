"""Run the phases of a Dense-Sparse-Dense training, one after the other in one run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError, NetError, RunError, SqgenError
from ..formats.caffemodel import read_caffemodel, read_solver_state, split_weights
from ..formats.files import write_files
from ..formats.schema import NetParameter
from ..formats.snapshot_files import Snapshot, find_weights, newest_snapshot
from ..logs.read_result import LOG, read_caffe_log
from ..logs.result import LogResult
from ..text import printable
from .dsd import Phase, mask_weights, parse_dsd, phase_prefix
from .options import RunOptions
from .run_record import TrainRecord
from .session import Session
from .solver_preflight import read_solver
from .training_plan import TrainingPlan, TrainOptions


class _Start(NamedTuple):
    """A phase by its number, and the weights or the snapshot that it starts from."""

    number: int
    weights: str | None = None
    snapshot: str | None = None


class DsdTraining:
    """A Dense-Sparse-Dense training whose first phase passed all checks.

    Args:
        options: of the run.
        solver: the solver's file.
        wanted: what is to be trained, with `dsd`.

    Raises:
        SqgenError: invalid input; nothing was started or written.
    """

    def __init__(self, options: RunOptions, solver: str, wanted: TrainOptions) -> None:
        if wanted.constraints is not None or wanted.snapshot is not None:
            raise SqgenError("--dsd takes no --constraints and no --snapshot; --resume goes on")
        if (wanted.weights is None) == (not wanted.resume):
            raise SqgenError("--dsd starts from trained weights: give --weights, or --resume")
        self._options, self._solver, self._wanted = options, solver, wanted
        self._dsd = parse_dsd(wanted.dsd or "", wanted.leave, wanted.sparsity_for)
        self._phases = self._dsd.phases
        self._start = self._find_start() if wanted.resume else _Start(0, wanted.weights)
        self._plan = self._make_plan(self._start)
        self._mask = self._make_mask(self._start)

    def _find_start(self) -> _Start:
        """Return where a resume goes on: in a phase, or at the begin of the one behind it."""
        given = read_solver(replace(self._options, log=None), self._solver).param.snapshot_prefix
        for number in reversed(range(len(self._phases))):
            snapshot = newest_snapshot(phase_prefix(given, self._phases[number]))
            if snapshot is None:
                continue
            self._options.warn(*snapshot.remarks)
            if number + 1 < len(self._phases) and self._is_complete(number, snapshot):
                return _Start(number + 1, self._weights_of(snapshot))
            return _Start(number, snapshot=snapshot.path)
        prefix = printable(phase_prefix(given, self._phases[0]))
        raise FormatError(
            f"--resume: no complete snapshot {prefix}_iter_*.solverstate; start with --weights"
        )

    def _weights_of(self, snapshot: Snapshot) -> str:
        weights = find_weights(read_solver_state(snapshot.path), snapshot.path)
        return str(weights)

    def _is_complete(self, number: int, snapshot: Snapshot) -> bool:
        """Whether a snapshot is the last of its phase."""
        wanted = replace(self._wanted, weights=self._weights_of(snapshot), resume=False)
        silent = replace(self._options, log=None)
        plan = TrainingPlan(silent, self._solver, wanted, self._phases[number])
        return snapshot.iteration >= plan.max_iter

    def _make_plan(self, start: _Start) -> TrainingPlan:
        wanted = replace(self._wanted, weights=start.weights, snapshot=start.snapshot, resume=False)
        return TrainingPlan(self._options, self._solver, wanted, self._phases[start.number])

    def _make_mask(self, start: _Start) -> bytes | None:
        """Return the file of constraints that a sparse phase begins with."""
        sparsity = self._phases[start.number].sparsity
        if sparsity is None or start.weights is None:
            return None
        from ..formats.constraints import encode_constraints

        model = NetParameter()
        for path in split_weights(start.weights):
            model.layer.extend(read_caffemodel(path).layer)
        try:
            masks = mask_weights(self._plan.shapes, model, sparsity, self._dsd)
        except NetError as error:
            raise NetError(f"{printable(start.weights)}: {error}") from None
        kept = sum(mask.codes.size - mask.zeros for mask in masks.values())
        total = sum(mask.codes.size for mask in masks.values())
        self._options.log_line(
            f"sparse: {kept:,} of {total:,} weights of {len(masks)} layers are trained"
        )
        return encode_constraints(masks)

    def preview(self) -> tuple[str, ...]:
        """Log what would run; return the command of the first phase, without running it."""
        names = ", ".join(phase.name for phase in self._phases[self._start.number :])
        self._options.log_line(f"phases: {names}; the first:")
        if self._mask is not None:
            self._plan.obey_masks()
        return self._plan.preview()

    def run(self) -> LogResult:
        """Run the phases that are left; return the result of their joint log.

        Raises:
            RunError: a phase did not complete.
        """
        with Session(self._options, self._plan.engine, self._solver) as session:
            try:
                for number in range(self._start.number, len(self._phases)):
                    if number > self._start.number:
                        self._begin(_Start(number, self._plan.final_weights))
                    self._run_phase(session, self._phases[number])
            except RunError as error:
                error.result = session.write_result(
                    self._read_log(session), self._record(session), str(error)
                )
                raise
            return session.write_result(self._read_log(session), self._record(session))

    def _begin(self, start: _Start) -> None:
        self._plan = self._make_plan(start)
        self._mask = self._make_mask(start)

    def _run_phase(self, session: Session, phase: Phase) -> None:
        self._options.log_line(f"phase {phase.name}")
        if self._mask is not None:
            write_files({Path(self._plan.obey_masks()): self._mask}, force=True)
        self._plan.run_phase(session)

    def _read_log(self, session: Session) -> LogResult:
        return read_caffe_log(session.folder.file_path(LOG))

    def _record(self, session: Session) -> TrainRecord:
        phases = tuple(phase._asdict() for phase in self._phases)
        return replace(self._plan.record(session.folder), phases=phases)
