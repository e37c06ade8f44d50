"""Train in phases, one after the other, in one run folder: each goes on from the one before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import FormatError, NetError, RunError
from ..formats.caffemodel import is_finite, read_caffemodel, read_solver_state, split_weights
from ..formats.files import write_files
from ..formats.schema import NetParameter
from ..formats.snapshot_files import Snapshot, find_weights, newest_snapshot
from ..formats.snapshot_lock import SnapshotLock
from ..logs.read_result import LOG, read_caffe_log
from ..logs.result import LogResult
from ..nets.shapes import NetShapes
from ..text import first_few, printable
from .options import RunOptions
from .phase import Phase, phase_prefix
from .run_record import TrainRecord
from .session import Session
from .solver_preflight import read_solver
from .training_plan import TrainingPlan, TrainOptions

if TYPE_CHECKING:
    from ..formats.constraints import BlobName, Constraint

    # (phase, shapes of the net, weights that it starts from) -> its constraints; empty for none.
    Constrain = Callable[[Phase, NetShapes, NetParameter], Mapping[BlobName, Constraint]]


class _Start(NamedTuple):
    """A phase by its number, and the weights or the snapshot that it starts from.

    Of a training that is complete, the last phase and its weights.
    """

    number: int
    weights: str | None = None
    snapshot: str | None = None
    is_complete: bool = False


class PhasedTraining:
    """A training in phases, the first of which passed all checks.

    Args:
        options: of the run.
        solver: the solver's file.
        wanted: what is to be trained; it starts from `weights`, or goes on by `resume`.
        phases: in order.
        constrain: returns the constraints that a phase begins with.
        flag: the option that asks for the phases, for messages.

    Raises:
        SqgenError: invalid input; nothing was started or written.
    """

    def __init__(
        self,
        options: RunOptions,
        solver: str,
        wanted: TrainOptions,
        phases: Sequence[Phase],
        constrain: Constrain,
        flag: str,
    ) -> None:
        wanted.check_phased(flag)
        self._options, self._solver, self._wanted = options, solver, wanted
        self._phases, self._constrain = phases, constrain
        given = read_solver(replace(options, log=None), solver)
        self._prefix = given.param.snapshot_prefix
        self._prefixes = [phase_prefix(self._prefix, phase) for phase in phases]
        self._start = self._find_start() if wanted.resume else _Start(0, wanted.weights)
        self._plan = self._make_plan(self._start)
        self._plan.warn_of_solver()  # once for all phases
        self._constraints = self._make_constraints(self._start)

    def _find_start(self) -> _Start:
        """Return where a resume goes on: in a phase, or at the begin of the one behind it."""
        for number in reversed(range(len(self._phases))):
            snapshot = newest_snapshot(self._prefixes[number])
            if snapshot is None:
                continue
            self._options.warn(*snapshot.remarks)
            if not self._is_complete(number, snapshot):
                return _Start(number, snapshot=snapshot.path)
            if number + 1 < len(self._phases):
                return _Start(number + 1, _weights_of(snapshot))
            return _Start(number, _weights_of(snapshot), is_complete=True)
        raise FormatError(
            f"--resume: no complete snapshot {printable(self._prefixes[0])}_iter_*.solverstate;"
            " start with --weights"
        )

    def _is_complete(self, number: int, snapshot: Snapshot) -> bool:
        """Whether a snapshot is the last of its phase."""
        wanted = replace(self._wanted, weights=_weights_of(snapshot), resume=False)
        silent = replace(self._options, log=None)
        plan = TrainingPlan(silent, self._solver, wanted, self._phases[number])
        return snapshot.iteration >= plan.max_iter

    def _make_plan(self, start: _Start) -> TrainingPlan:
        wanted = replace(self._wanted, weights=start.weights, snapshot=start.snapshot, resume=False)
        options = replace(self._options, log=None) if start.is_complete else self._options
        return TrainingPlan(options, self._solver, wanted, self._phases[start.number])

    def _make_constraints(self, start: _Start) -> bytes | None:
        """Return the file of constraints that a phase begins with; a snapshot names its own."""
        if start.weights is None:
            return None
        from ..formats.constraints import describe_constraints, encode_constraints

        model = NetParameter()
        for path in split_weights(start.weights):
            model.layer.extend(read_caffemodel(path).layer)
        _check_finite(model, start.weights)
        phase = self._phases[start.number]
        try:
            found = self._constrain(phase, self._plan.shapes, model)
        except NetError as error:
            raise NetError(f"{printable(start.weights)}: {error}") from None
        if not found:
            return None
        if not start.is_complete:
            self._options.log_line(f"{phase.name}: {describe_constraints(found)}")
        return encode_constraints(found)

    @property
    def is_complete(self) -> bool:
        """Whether a resume finds the last phase at its end."""
        return self._start.is_complete

    def _require_work(self) -> None:
        if self.is_complete:
            raise FormatError(
                f"{printable(str(self._start.weights))}: is the end of the last phase: nothing is"
                " left to do"
            )

    def final_weights(self, number: int) -> str:
        """Return the weights of a phase's last snapshot.

        Raises:
            FormatError: it has none.
        """
        snapshot = newest_snapshot(self._prefixes[number])
        if snapshot is None:
            raise FormatError(f"{printable(self._prefixes[number])}: has no complete snapshot")
        return _weights_of(snapshot)

    def preview(self) -> tuple[str, ...]:
        """Log what would run; return the command of the first phase, without running it."""
        self._require_work()
        names = ", ".join(phase.name for phase in self._phases[self._start.number :])
        self._options.log_line(f"phases: {names}; the first:")
        if self._constraints is not None:
            self._plan.obey_constraints()
        return self._plan.preview()

    def run(self) -> LogResult:
        """Run the phases that are left; return the result of their joint log.

        Raises:
            FormatError: no phase is left.
            OutputError: another training in phases has this snapshot_prefix.
            RunError: a phase did not complete.
        """
        self._require_work()
        with (
            SnapshotLock(self._prefix),  # each phase's own is free while another phase runs
            Session(self._options, self._plan.engine, self._solver) as session,
        ):
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
        self._constraints = self._make_constraints(start)

    def _run_phase(self, session: Session, phase: Phase) -> None:
        self._options.log_line(f"phase {phase.name}")
        if self._constraints is not None:
            write_files({Path(self._plan.obey_constraints()): self._constraints}, force=True)
        self._plan.run_phase(session)

    def _read_log(self, session: Session) -> LogResult:
        return read_caffe_log(session.folder.file_path(LOG))

    def _record(self, session: Session) -> TrainRecord:
        phases: tuple[dict[str, Any], ...] = tuple(phase.as_dict() for phase in self._phases)
        return replace(self._plan.record(session.folder), phases=phases)


def _check_finite(model: NetParameter, source: str) -> None:
    """Refuse weights of which no largest can be kept, and no training comes to anything.

    Raises:
        NetError: one is nan or infinite.
    """
    if is_finite(model):
        return
    layers = [x.name for x in model.layer if not is_finite(NetParameter(layer=[x]))]
    raise NetError(
        f"{printable(source)}: has weights that are nan or infinite in {first_few(layers)}"
    )


def _weights_of(snapshot: Snapshot) -> str:
    return str(find_weights(read_solver_state(snapshot.path), snapshot.path))
