"""A training whose solver, nets, data and start passed all checks: what it will do, and its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import DivergedError, FormatError, RunError, SqgenError
from ..formats.caffemodel import read_solver_state
from ..formats.schema import SolverParameter
from ..formats.snapshot_files import (
    check_written_constraints,
    find_weights,
    newest_snapshot,
)
from ..formats.snapshot_lock import SnapshotLock
from ..logs.result import LogResult
from ..nets.shapes import NetShapes
from ..nets.totals import totals
from ..text import first_few, printable
from .best_weights import BestWeights
from .bits_options import BitsOptions
from .dsd import DsdOptions, parse_dsd
from .engines import TORCH, Engine
from .freeze import count_trained, split_patterns
from .live_progress import ProgressSteps
from .options import RunOptions
from .overrides import (
    DataOverride,
    RunFile,
    Setting,
    SolverOverride,
    layer_batch_size,
    solver_file,
)
from .phase import Phase, phase_prefix
from .resume_command import resume_command
from .run_folder import RunFolder
from .run_record import TrainRecord, record_data
from .session import Session
from .solver_preflight import (
    ParsedSolver,
    check_snapshot_room,
    check_solver_mode,
    override_solver,
    read_solver,
    warn_of_snapshots,
    warn_of_solver,
)
from .training_nets import SOLVER, TrainingNets
from .training_start import StartOptions, find_start

if TYPE_CHECKING:
    from ..formats.constraints import Constraints


@dataclass(frozen=True)
class TrainOptions:
    """The options of `sqgen train` besides those of every run; see `sqgen.train`.

    Raises:
        SqgenError: a value is out of range, or two don't go together.
    """

    weights: str | None = None
    snapshot: str | None = None
    resume: bool = False
    data: str | None = None
    val_data: str | None = None
    batch_size: int | None = None
    mean: str | None = None
    base_lr: float | None = None
    max_iter: int | None = None
    epochs: float | None = None
    freeze: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    level: int = 0
    partial_weights: bool = False
    keep_test_iter: bool = False
    keep_best: str | None = None
    patience: int | None = None
    constraints: str | None = None
    quantize: str | None = None
    bits: int | None = None
    activation_bits: int | None = None
    dsd: str | None = None
    leave: tuple[str, ...] = ()
    sparsity_for: tuple[str, ...] = ()
    resume_with: str | None = None  # the command, where it is not sqgen train

    def __post_init__(self) -> None:
        SolverOverride(self.base_lr, self.max_iter, self.epochs)
        DataOverride("TRAIN", batch_size=self.batch_size)
        if self.patience is not None and (self.keep_best is None or self.patience < 1):
            raise SqgenError(
                f"--patience {self.patience}: give 1 or more tests without a better --keep-best"
                " SCORE"
            )
        if self.dsd is None and (self.leave or self.sparsity_for):
            raise SqgenError("--leave and --sparsity-for go with --dsd")

    @property
    def bits_options(self) -> BitsOptions:
        """What it quantizes."""
        return BitsOptions(self.quantize, self.bits, self.activation_bits)

    @property
    def dsd_options(self) -> DsdOptions | None:
        """The phases of a Dense-Sparse-Dense training; None of another.

        Raises:
            SqgenError: one is malformed, or out of range.
        """
        return None if self.dsd is None else parse_dsd(self.dsd, self.leave, self.sparsity_for)

    def check_phased(self, flag: str) -> None:
        """Check that a training in phases, which a flag asks for, can have these options.

        Raises:
            SqgenError: it can't.
        """
        if self.bits_options:
            raise SqgenError(f"{flag} trains no quantized net; quantize what it trained")
        if self.constraints is not None or self.snapshot is not None:
            raise SqgenError(f"{flag} takes no --constraints and no --snapshot; --resume goes on")
        if (self.weights is None) == (not self.resume):
            raise SqgenError(f"{flag} starts from trained weights: give --weights, or --resume")


def end_with_test(solver: ParsedSolver, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return a test_interval that tests at the end, where options end a training before one."""
    param, last = solver.param, settings.get("max_iter")
    if isinstance(last, int) and param.test_iter and param.test_interval > last:
        return {"test_interval": last}
    return {}


def read_net_constraints(path: str, shapes: NetShapes) -> Constraints:
    """Read a file of constraints of the weights of a net.

    Raises:
        FormatError: it can't be read.
        NetError: the net lacks what it is of.
    """
    from ..formats.constraints import check_constraints, read_constraints  # imports NumPy

    blobs = {item.layer.name: [blob.shape for blob in item.blobs] for item in shapes.layers}
    found = read_constraints(path)
    check_constraints(found, blobs, path)
    return found


class TrainingPlan:
    """A training that passed all checks.

    Args:
        options: of the run.
        solver: the solver's file.
        wanted: what is to be trained, and how.
        phase: which one it is of a training in several, or None.

    Raises:
        SqgenError: invalid input; nothing was started.
    """

    def __init__(
        self,
        options: RunOptions,
        solver: str,
        wanted: TrainOptions,
        phase: Phase | None = None,
    ) -> None:
        self._options, self._wanted, self._phase = options, wanted, phase
        self._constraints = wanted.constraints
        self._bits = wanted.bits_options
        override = SolverOverride(wanted.base_lr, wanted.max_iter, wanted.epochs)
        self._given = read_solver(options, solver)
        if wanted.stages:
            self._given.param.train_state.stage.extend(wanted.stages)
        self._solver_argument = solver
        train = DataOverride("TRAIN", wanted.data, wanted.batch_size, wanted.mean)
        test = DataOverride("TEST", wanted.val_data, None, wanted.mean, flag="--val-data")
        self._nets = TrainingNets(options, self._given, train, test, wanted.level)
        self._frozen = self._nets.freeze(split_patterns(wanted.freeze))
        self._images, self._images_text = self._images_per_update()
        settings = override.settings(self._records, self._images)
        settings |= end_with_test(self._given, settings)
        if phase is not None:
            settings |= self._phase_settings(phase, settings)
        self._solver = override_solver(self._given, settings)
        if phase is None:
            self.warn_of_solver()
        self._start = find_start(
            options,
            self._solver,
            self._nets,
            StartOptions(wanted.weights, wanted.snapshot, wanted.resume, wanted.partial_weights),
        )
        self._check_constraints()
        self._log_frozen()
        self._best = self._plan_best(wanted.keep_best, wanted.patience)
        self._check_snapshots()
        self._tests = self._nets.plan_tests(options, wanted.keep_test_iter)
        self._engine = options.select_engine()
        if self._engine.kind == TORCH:
            self._nets.given.require_caffe()
        elif self._obeyed or phase is not None:
            raise SqgenError(
                f"{self._engine.name} obeys no constraints, which only the embedded engine does;"
                " give --engine torch"
            )
        self._bits.check(self._nets.trained, self._engine, self._snapshot)
        check_solver_mode(options, self._solver, self._engine)

    @property
    def _records(self) -> int | None:
        datasets = self._nets.trained_check.datasets
        return datasets[0].records if datasets else None

    def _phase_settings(self, phase: Phase, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """Return the fields of the solver that a phase has of its own."""
        given = self._given.param
        rate = float(settings.get("base_lr", given.base_lr))  # type: ignore[arg-type]
        return {
            "base_lr": rate * phase.rate,
            "snapshot_prefix": phase_prefix(given.snapshot_prefix, phase),
        }

    # Of a training in phases

    def warn_of_solver(self) -> None:
        """Warn of what Caffe takes, though nobody means it."""
        warn_of_solver(self._options, self._solver)

    @property
    def engine(self) -> Engine:
        """The engine that runs it."""
        return self._engine

    @property
    def shapes(self) -> NetShapes:
        """The shapes of the trained net."""
        return self._nets.trained_check.shapes

    @property
    def max_iter(self) -> int:
        """The updates of the training, or of this phase."""
        return int(self._solver.param.max_iter)

    @property
    def final_weights(self) -> str:
        """The weights of the last snapshot that the phase wrote."""
        prefix = self._solver.param.snapshot_prefix
        snapshot = newest_snapshot(prefix)
        weights = snapshot and find_weights(read_solver_state(snapshot.path), snapshot.path)
        if snapshot is None or snapshot.iteration < self.max_iter or weights is None:
            raise FormatError(
                f"{printable(prefix)}_iter_{self.max_iter}.solverstate: no such snapshot to go on"
                " from; let the solver write one at its end (snapshot_after_train)"
            )
        return str(weights)

    def obey_constraints(self) -> str:
        """Obey the constraints in a file beside the snapshots; return its path."""
        self._constraints = f"{self._solver.param.snapshot_prefix}.constraints.npz"
        return self._constraints

    def run_phase(self, session: Session) -> None:
        """Run it in a session that other phases share.

        Raises:
            RunError: it did not complete.
        """
        self._locked(lambda: self._run_training(session))

    @property
    def _snapshot(self) -> str | None:
        """The solver state that it resumes from, or None."""
        return self._start.path if self._start.iteration else None

    @property
    def _obeyed(self) -> str | None:
        """The file of the constraints that it obeys: its own, or those of a snapshot's run."""
        written = self._start.constraints
        return self._constraints or (written.file if written is not None else "") or None

    def _check_constraints(self) -> None:
        """Check that the file of constraints, if any, is one of this net and of the snapshot."""
        if self._obeyed is None:
            return
        from ..formats.constraints import constraints_digest  # imports NumPy

        found = read_net_constraints(self._obeyed, self._nets.trained_check.shapes)
        if self._snapshot is not None:
            digest = constraints_digest(found)
            check_written_constraints(self._snapshot, self._start.constraints, digest)

    def _log_length(self) -> None:
        if not self._images:
            return
        updates, records = self._solver.param.max_iter, self._records
        epochs = updates * self._images / records if records else 0
        of = f" of {records:,} records, {epochs:.3g} epochs" if records else ""
        every = self._solver.param.test_interval if self._tests else 0
        untested = every and updates > every and updates % every
        last = f"; the last test is at iteration {updates - untested}" if untested else ""
        self._options.log_line(
            f"training: {self._images_text} images an update, {updates} updates{of}{last}"
        )

    def _images_per_update(self) -> tuple[int, str]:
        """Return batch size x iter_size x GPUs, 0 if the net reads no countable data; in words."""
        checked, options = self._nets.trained_check, self._options
        if not checked.layers:
            return 0, ""
        batch_size = layer_batch_size(checked.layers[0])
        iter_size = max(1, self._given.param.iter_size)
        images: int = batch_size * iter_size * options.device_count
        factors = [f"{batch_size}"]
        factors += [f"iter_size {iter_size}"] if iter_size > 1 else []
        devices = "GPUs" if options.gpu is not None else "workers"
        factors += [f"{options.device_count} {devices}"] if options.device_count > 1 else []
        return images, f"{' x '.join(factors)} = {images}" if len(factors) > 1 else f"{images}"

    def _log_frozen(self) -> None:
        """Log what is frozen; warn of frozen layers that no weights were given for."""
        if not self._frozen:
            return
        options, shapes = self._options, self._nets.trained_check.shapes
        layers = sum(bool(item.blobs) for item in shapes.layers)
        parameters = totals(shapes).parameters
        options.log_line(
            f"frozen: {len(self._frozen)} of {layers} layers; {self._trained_parameters:,} of"
            f" {parameters:,} parameters train"
        )
        fresh = [name for name in self._frozen if name in self._start.fresh]
        if fresh:
            options.warn(f"frozen layers keep the values of their fillers: {first_few(fresh)}")

    @property
    def _trained_parameters(self) -> int:
        return count_trained(self._nets.trained_check.shapes, self._nets.trained)

    def _plan_best(self, score: str | None, patience: int | None) -> BestWeights | None:
        if score is None:
            return None
        tested = self._nets.tested
        bits = self._bits if self._bits.quantizes(self._snapshot) else None
        best = BestWeights(self._options, score, self._solver, tested, self._start, patience, bits)
        self._solver = best.fit_snapshots(self._solver)
        return best

    def _check_snapshots(self) -> None:
        options, iteration = self._options, self._start.iteration
        check_snapshot_room(options, self._solver, self._nets.trained_check.shapes, iteration)
        if iteration == 0:
            warn_of_snapshots(options, self._solver.param.snapshot_prefix)

    def preview(self) -> tuple[str, ...]:
        """Log the changes in the copies; return the command that would run, without running it."""
        options = self._options
        session = Session(options, self._engine, self._given.path)
        folder = session.folder
        for file in (*self._nets.net_files(), self._solver_file(folder)):
            for change in file.changes:
                options.log_line(f"in the copy: {change}")
        self._log_length()
        options.log_line("nothing is started; it would be:")
        return (*self._engine.command, *session.arguments(self._arguments(folder)))

    def run(self) -> LogResult:
        """Run the training; see `sqgen.train`."""
        with Session(self._options, self._engine, self._given.path) as session:
            result = self._locked(lambda: self._run_training(session))
            tests = self._tests
            result = replace(result, dataset=tests[0].digest if tests else None)
            return session.write_result(result, self.record(session.folder))

    def _locked(self, run: Callable[[], LogResult]) -> LogResult:
        """Run while no other training has this snapshot_prefix, which is node 0's."""
        if self._options.node_rank:
            return run()
        with SnapshotLock(self._solver.param.snapshot_prefix) as lock:
            if self._engine.kind == TORCH:
                lock.release()  # it was free, and the engine takes it itself
            return run()

    def _run_training(self, session: Session) -> LogResult:
        parameters, folder = self._solver.param, session.folder
        session.create_folder(self._nets.net_files())
        session.write_file(self._solver_file(folder))
        self._log_length()
        record = self.record(folder)
        first = self._start.iteration
        best = self._best
        steps = ProgressSteps(
            parameters.max_iter - first,
            self._images,
            first,
            epoch=self._records or 0,
            best=best.standing if best is not None else None,
        )
        watch = best.watch if best is not None else None
        try:
            result = session.run(self._arguments(folder), steps, record, watch=watch)
        except RunError as error:
            # With the same rate, a training that diverged would do so again.
            if error.result.snapshots and not isinstance(error, DivergedError):
                error.args = (f"{error}; go on with {self._resume_command(folder)}",)
            raise
        return result

    def record(self, folder: RunFolder) -> TrainRecord:
        """Return the record of its run."""
        record = TrainRecord(
            self._start.path,
            self._images,
            self._solver.param.max_iter,
            self._trained_parameters,
            self._frozen,
            self._obeyed,
            self._bits,
            record_data(self._nets.trained_check),
            self._tests,
        )
        if self._best is None:
            return record
        self._best.net = folder.file_path(self._nets.tested_file(self._best.number))
        return replace(record, best=self._best.as_dict)

    def _arguments(self, folder: RunFolder) -> list[str]:
        """Return the arguments of `caffe` that say what to train, from where."""
        level = self._wanted.level
        flags = [*self._start.flags, *([f"--level={level}"] if level else [])]
        flags += [f"--constraints={self._constraints}"] if self._constraints else []
        flags += self._bits.flags
        return ["train", f"--solver={folder.file_path(self._solver_name)}", *flags]

    @property
    def _solver_name(self) -> str:
        return SOLVER if self._phase is None else f"solver_{self._phase.name}.prototxt"

    def _solver_file(self, folder: RunFolder) -> RunFile:
        paths = {path: folder.file_path(name) for path, name in self._nets.file_names.items()}
        param = self._solver.param
        settings: dict[str, Setting] = {"test_iter": self._nets.test_iter}
        settings |= {
            field: getattr(param, field)
            for field in ("base_lr", "max_iter", "test_interval", "snapshot", "snapshot_prefix")
            if param.HasField(field)
        }
        if self._options.cpu:
            settings["solver_mode"] = SolverParameter.CPU
        return solver_file(self._given.param, self._given.path, paths, settings, self._solver_name)

    def _resume_command(self, folder: RunFolder) -> str:
        wanted = self._wanted
        if wanted.resume_with is not None:
            return wanted.resume_with
        in_copy = {
            "data": wanted.data,
            "val-data": wanted.val_data,
            "batch-size": wanted.batch_size,
            "mean": wanted.mean,
            "base-lr": wanted.base_lr,
            "max-iter": wanted.max_iter,
            "epochs": wanted.epochs,
            "freeze": wanted.freeze,
            "stage": wanted.stages,
        }
        others = {
            "level": wanted.level or None,
            "keep-best": wanted.keep_best,
            "patience": wanted.patience,
            "keep-test-iter": wanted.keep_test_iter,
            "constraints": wanted.constraints,
            **self._bits.as_dict(),
            "dsd": wanted.dsd,
            "leave": wanted.leave,
            "sparsity-for": wanted.sparsity_for,
        }
        copy = folder.file_path(self._solver_name)
        return resume_command(self._options, self._solver_argument, copy, in_copy, others)
