"""Training: Caffe's Solver (src/caffe/solver.cpp), step by step, with its log.

An iteration is two halves: gradients, then the update. Of several processes, all update the same
weights by the same gradients (`distributed/data_parallel.py`); rank 0 alone tests and saves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from ..compress.bits_file import BitsFile, format_bits_file
from ..errors import FormatError, NetError, PeerLostError, SqgenError
from ..formats import prototxt
from ..formats.caffemodel import split_weights
from ..formats.snapshot_files import check_free_space
from ..nets.definition import NetDefinition
from ..nets.solver_nets import SolverNets, read_solver_nets
from ..nets.solver_rules import lint_resume, lint_solver, rate_fields
from ..text import first_few, number_text, printable
from ..weights.match import fits_few
from . import glog
from .constraints import TrainingConstraints, constrain_net
from .data_positions import DataPositions
from .distributed.data_parallel import DataParallel
from .distributed.exchange import Requests
from .distributed.same_bits import start_quantization
from .distributed.shards import ONE_SHARD, Shards
from .distributed.watch import ACTIVITY
from .distributed.world import World
from .executor import BatchResult, Executor
from .learning_rate import LearningRate
from .open_net import EngineOptions, open_net
from .optimizer import Optimizer
from .parameters import share_weights
from .quantization import Quantization
from .scores import ScoreSums, SmoothedLoss, flatten_outputs, loss_suffix
from .signals import NONE, SNAPSHOT, STOP
from .snapshots import (
    ResumeState,
    SavedRun,
    check_snapshot_format,
    restore_history,
    write_snapshot,
)
from .upgrade_log import log_reading, read_weights

if TYPE_CHECKING:
    from ..formats.schema import SolverParameter

SNAPSHOT_OVERHEAD = 1 << 20  # bytes of a snapshot besides its blobs
# SolverParameter's field that gives the training net -> Caffe's place in the log.
_TRAINING_NET_PLACES = {
    "train_net_param": "solver.cpp:88",
    "train_net": "solver.cpp:92",
    "net_param": "solver.cpp:97",
    "net": "solver.cpp:102",
}


class Solver:
    """A training run.

    Args:
        param: the SolverParameter, with the state set by the flags.
        source: its file, for messages and to find its nets.
        options: how nets run.
        next_request: returns the pending request of a signal, and clears it.
        constraints: what holds for weights during the training, or None.
        world: the processes that train; None for this one alone.

    Raises:
        SqgenError: an invalid solver or net, or unreadable data.
    """

    def __init__(
        self,
        param: SolverParameter,
        source: str,
        options: EngineOptions,
        next_request: Callable[[], str],
        constraints: TrainingConstraints | None = None,
        world: World | None = None,
    ) -> None:
        self.param, self.source = param, source
        self.world = world or World()
        self.options, self.next_request = options, next_request
        self.constraints = constraints or TrainingConstraints()
        dump = prototxt.debug_text(param)
        glog.info("Initializing solver from parameters: ", "solver.cpp:45", body=dump)
        self._check_param()
        nets = read_solver_nets(param, source, level=param.train_state.level)
        nets.require_caffe()
        _log_training_net(*nets.origins[0])
        log_reading(nets.trained, is_file=bool(nets.origins[0][1]))
        self.net = self._open_net(nets.trained, "TRAIN", 0)
        self.tests: list[Executor] = []
        if self.world.leads:
            self._open_tests(nets)
        if not any(self.net.wiring.loss_weights.values()):
            glog.warning("the training net has no loss: it learns nothing")
        self.optimizer = self._make_optimizer()
        self.rate = LearningRate(param)
        self.iteration = 0
        self.loss = SmoothedLoss(param.average_loss)
        self.stopped = False
        self.quantization: Quantization | None = None
        self.parallel = self._divide(options.shards)
        self._asked = Requests()  # by any process, with the last gradients
        # During an update or tests: the positions before, from which a resumed run repeats them.
        self._positions_before: DataPositions | None = None
        self._saved_iteration = 0  # of the last snapshot, or of the one resumed from
        self._check_snapshots()
        glog.info("Solver scaffolding done.", "solver.cpp:57")

    def _open_tests(self, nets: SolverNets) -> None:
        for net, (_, path) in zip(nets.tested, nets.origins[1:], strict=True):
            log_reading(net, is_file=bool(path))
        for index, (net, origin) in enumerate(zip(nets.tested, nets.origins[1:], strict=True)):
            field, path = origin
            specification = f"{field} file: {path}" if path else field
            glog.info(
                f"Creating test net (#{index}) specified by {specification}", "solver.cpp:190"
            )
            self.tests.append(self._open_net(net, "TEST", index + 1))

    def _divide(self, shards: Shards) -> DataParallel | None:
        """Return what computes the gradients of several shards; None of a single one."""
        if shards.count == 1:
            return None
        each = max((loader.batch_size for loader in self.net.loaders.values()), default=1)
        iter_size, count = self.param.iter_size, shards.count
        glog.info(
            f"Effective batch size: {each * iter_size * count} = {each} (batch_size) x {iter_size}"
            f" (iter_size) x {count} (workers)"
        )
        return DataParallel(self.world, shards, self.net)

    def _make_optimizer(self) -> Optimizer:
        unique = self.net.parameters.unique
        constraints = self.constraints
        if not constraints.of_blob:
            return Optimizer(self.param, unique)
        constrained = constrain_net(constraints.of_blob, self.net.parameters, constraints.path)
        glog.info(constraints.describe())
        optimizer = Optimizer(self.param, unique, constrained)
        optimizer.impose()
        return optimizer

    def quantize(self, bits: BitsFile | None) -> None:
        """Train quantized layers, if rank 0 has bits; after `join`, before `solve`.

        Raises:
            SqgenError: as `Quantization`.
        """
        self.quantization = start_quantization(bits, self.net, self.world, trains=True)
        if self.quantization is None:
            return
        for net in self.nets:
            net.quantize(self.quantization.quantizers)
        glog.info(self.quantization.describe())

    @property
    def nets(self) -> list[Executor]:
        """All nets, the trained one first."""
        return [self.net, *self.tests]

    def _check_param(self) -> None:
        for rule, message in lint_solver(self.param):
            if rule == "solver":
                raise NetError(f"{printable(self.source)}: {message}")
            glog.warning(f"{printable(self.source)}: {message}")
        if self.param.debug_info:
            glog.warning("debug_info is not supported and has no effect")
        if not self.param.base_lr:
            glog.warning("base_lr is 0 or missing: the net learns nothing")

    def _check_snapshots(self) -> None:
        if not (self.param.snapshot or self.param.snapshot_after_train) or not self.world.leads:
            return
        check_snapshot_format(self.param, self.net)
        arrays = [parameter.data for parameter in self.net.parameters.unique]
        blobs = sum(array.numel() * array.element_size() for array in arrays)
        copies = 1 + self.optimizer.history_blobs + bool(self.param.snapshot_diff)
        check_free_space(self.param.snapshot_prefix, blobs * copies + SNAPSHOT_OVERHEAD)

    def _open_net(self, definition: NetDefinition, phase: str, number: int) -> Executor:
        options = self.options if number == 0 else replace(self.options, shards=ONE_SHARD)
        net = open_net(definition, phase, options, number)
        for names in self.param.weights if self.world.leads else ():
            for name in split_weights(names, "weights"):
                glog.info(f"Finetuning from {name}", "solver.cpp:72")
                net.load(read_weights(name), name)
        if self.param.weights and number == 0 and self.world.leads:
            self._warn_of_few(net)
        return net

    @staticmethod
    def _warn_of_few(net: Executor) -> None:
        """Warn of weights for few layers, as of a net with other names; Caffe says nothing."""
        missing = sorted(net.uninitialized)
        count = sum(bool(layer.blobs) for layer in net.wiring.layers)
        if fits_few(count - len(missing), len(missing)):
            glog.warning(
                f"The weights fit {count - len(missing)} of {count} layers; start from their"
                f" fillers: {first_few(missing)}"
            )

    # The run

    def solve(self) -> None:
        """Train to max_iter, or until a signal requests a stop."""
        glog.info(f"Solving {self.net.name}", "solver.cpp:289")
        glog.info(f"Learning Rate Policy: {self.param.lr_policy}", "solver.cpp:290")
        try:
            self._train()
        except (FormatError, NetError, PeerLostError):
            # A record that can't be read, or whose label is no class; a process that has gone.
            self._save_progress()
            raise
        every = self.param.snapshot
        if self.param.snapshot_after_train and (not every or self.iteration % every != 0):
            self.snapshot()
        if self.stopped:
            glog.info("Optimization stopped early.", "solver.cpp:311")
            return
        self._score_result()
        glog.info("Optimization Done.", "solver.cpp:332")

    def _train(self) -> None:
        self._display_time, self._display_iteration = perf_counter(), self.iteration
        while self.iteration < self.param.max_iter:
            interval = self.param.test_interval
            if interval and self.iteration % interval == 0:
                if self.iteration > 0 or self.param.test_initialization:
                    self.test_all()
                if self.stopped:
                    self._leave()
                    return
            self._positions_before = DataPositions.of(self.nets)
            result = self.gradients()
            if self._asked.abandon:  # rank 0 was stopped in a test
                self.stopped = True
                return
            self._positions_before = None
            self.loss.add(result.loss)
            display = self.param.display != 0 and self.iteration % self.param.display == 0
            if display:
                self._display(result)
            self.step(display)
            self._handle_requests()
            if self.stopped:
                return

    def _score_result(self) -> None:
        """Log the loss and test the trained net, where the intervals meet max_iter."""
        # A snapshot from here on resumes at the end of the training.
        self._positions_before = DataPositions.of(self.nets)
        if self.param.display and self.iteration % self.param.display == 0:
            result = self.net.test_batch()
            self.loss.add(result.loss)
            loss = number_text(self.loss.value)
            glog.info(f"Iteration {self.iteration}, loss = {loss}", "solver.cpp:327")
        if self.param.test_interval and self.iteration % self.param.test_interval == 0:
            self.test_all()

    def gradients(self) -> BatchResult:
        """Run iter_size batches forward and backward.

        Returns:
            The last batch's outputs with the mean loss.
        """
        for parameter in self.net.parameters.unique:
            parameter.grad = None
        ACTIVITY.mark("gradients", self.iteration)
        if self.parallel is not None:
            request = self.next_request()
            requests = Requests(stop=request == STOP, snapshot=request == SNAPSHOT)
            result, self._asked = self.parallel.gradients(
                self.param.iter_size, requests, self.iteration
            )
            return result
        loss = 0.0
        for _ in range(self.param.iter_size):
            result = self.net.train_batch()
            loss += result.loss
        return result._replace(loss=loss / self.param.iter_size)

    def _leave(self) -> None:
        """Tell the other processes, which wait for gradients, that this one stops."""
        if self.parallel is not None:
            self.parallel.leave(Requests(abandon=True))

    def step(self, display: bool) -> None:
        """Update the weights from the current gradients."""
        rate = self.rate.at(self.iteration)
        if display:
            glog.info(f"Iteration {self.iteration}, lr = {number_text(rate)}", "sgd_solver.cpp:112")
        self.optimizer.apply(rate, self.iteration)
        if self.quantization is not None:
            self.quantization.follow()
        self.net.clear_weight_cache()
        self.iteration += 1

    def _handle_requests(self) -> None:
        """After an update: write a snapshot or stop, as a signal or the solver requests."""
        if self.parallel is None:
            request = self.next_request()
            self._asked = Requests(stop=request == STOP, snapshot=request == SNAPSHOT)
        every = self.param.snapshot
        if (every and self.iteration % every == 0) or self._asked.snapshot:
            self.snapshot()
        self.stopped = self.stopped or self._asked.stop

    def _display(self, result: BatchResult) -> None:
        now = perf_counter()
        lapse = now - self._display_time
        speed = (self.iteration - self._display_iteration) / lapse if lapse else 0.0
        glog.info(
            f"Iteration {self.iteration} ({number_text(speed)} iter/s,"
            f" {number_text(lapse)}s/{self.param.display} iters),"
            f" loss = {number_text(self.loss.value)}",
            "solver.cpp:239",
        )
        self._display_time, self._display_iteration = now, self.iteration
        for index, (name, value) in enumerate(flatten_outputs(self.net, result)):
            glog.info(
                f"    Train net output #{index}: {name} = {number_text(value)}"
                f"{loss_suffix(self.net, name, value)}",
                "solver.cpp:258",
            )

    def test_all(self) -> None:
        """Run every test net, unless a signal requests a stop."""
        self._positions_before = self._positions_before or DataPositions.of(self.nets)
        for index in range(len(self.tests)):
            if not self.stopped:
                self._test(index)
        if not self.stopped:
            self._positions_before = None

    def _test(self, index: int) -> None:
        glog.info(f"Iteration {self.iteration}, Testing net (#{index})", "solver.cpp:347")
        net = self.tests[index]
        share_weights(net.parameters, self.net.parameters)
        net.clear_weight_cache()
        scores = ScoreSums(net)
        for _ in range(self.param.test_iter[index]):
            while (request := self.next_request()) != NONE:
                if request == SNAPSHOT:
                    self.snapshot()
                self.stopped = self.stopped or request == STOP
            if self.stopped:
                glog.info("Test interrupted.", "solver.cpp:396")
                return
            ACTIVITY.mark("test", self.iteration)
            scores.add(net.test_batch())
        if scores.batches:
            self._log_test_scores(scores)

    def _log_test_scores(self, scores: ScoreSums) -> None:
        if self.param.test_compute_loss:
            loss = number_text(scores.mean_loss())
            glog.info(f"Test loss: {loss}", "solver.cpp:401")
        for index, (name, mean, suffix) in enumerate(scores.means()):
            glog.info(
                f"    Test net output #{index}: {name} = {number_text(mean)}{suffix}",
                "solver.cpp:414",
            )

    # Snapshots

    def snapshot(self) -> None:
        """Write the state of this iteration, on rank 0."""
        if not self.world.leads:
            return
        ACTIVITY.mark("snapshot", self.iteration)
        positions = self._positions_before or DataPositions.of(self.nets)
        resume_state = ResumeState(
            iteration=self.iteration,
            seed=self.options.seed,
            passes=tuple(positions.passes),
            records=tuple(positions.records),
            losses=tuple(self.loss.losses),
            smoothed=self.loss.value,
            threads=self.net.threads,
            precision=self.options.precision,
            shards=self.options.shards.count,
            rate=rate_fields(self.param),
            constraints=self.constraints.path,
            constraints_digest=self.constraints.digest,
            bits=format_bits_file(self.quantization.calibrated()) if self.quantization else "",
        )
        prefix, step = self.param.snapshot_prefix, self.rate.current_step
        write_snapshot(prefix, self.net, self.optimizer, step, resume_state)
        self._saved_iteration = self.iteration

    def _save_progress(self) -> None:
        """Write a snapshot of the updates so far, before an error ends the training."""
        unsaved = self.iteration > self._saved_iteration and self.world.leads
        if self.param.snapshot_after_train and unsaved:
            glog.info("Saving the updates so far: the training can't go on")
            try:
                self.snapshot()
            except SqgenError as error:
                glog.error(f"no snapshot: {error}")

    def restore(self, saved: SavedRun) -> None:
        """Resume from a solver state: bit for bit if sqgen wrote it, else as Caffe does.

        Raises:
            SqgenError: it belongs to another solver or net, or its weights can't be read.
        """
        restore_history(saved, self.optimizer)
        file = printable(saved.path)
        if saved.weights is None:
            glog.warning(f"{file} names no weights: the net keeps its initial ones")
        else:
            self.net.load(read_weights(saved.weights), os.fspath(saved.weights))
        self.optimizer.impose()
        glog.info("SGDSolver: restoring history", "sgd_solver.cpp:336")
        self.iteration = self._saved_iteration = saved.state.iter
        self.rate.current_step = saved.state.current_step
        written = saved.resume_state.rate if saved.resume_state is not None else None
        change = lint_resume(self.param, self.iteration, self.rate.current_step, written)
        if change is not None:
            glog.warning(f"{file} {change}")
        problem = self._restore_positions(saved.resume_state)
        if problem:
            glog.warning(
                f"{file} {problem}: resuming as Caffe does, with the data from its first record"
            )

    def join(self) -> None:
        """Start from what rank 0 starts from: the weights and history, and where the run stands."""
        positions = DataPositions.of(self.nets[:1])
        own = StartingPoint(
            self.iteration, self.rate.current_step, positions.passes[0], positions.records[0]
        )
        start = StartingPoint.decode(self.world.tell(own.encode()))
        if not self.world.leads:
            self.iteration = self._saved_iteration = start.iteration
            self.rate.current_step = start.step
            DataPositions([start.passes], [start.records]).restore(self.nets)
        self.world.broadcast([parameter.data for parameter in self.net.parameters.unique])
        self.optimizer.impose()
        self.world.broadcast(self.optimizer.own_history())
        self.net.clear_weight_cache()

    def _restore_positions(self, resume_state: ResumeState | None) -> str:
        """Restore data positions and losses; return what prevents it, or an empty string."""
        if resume_state is None:
            return "has no matching .sqgenstate beside it"
        positions = DataPositions(resume_state.passes, resume_state.records)
        if not positions.fits(self.nets):
            return "is of nets with other data layers"
        positions.restore(self.nets)
        self.loss.restore(list(resume_state.losses), resume_state.smoothed)
        self._log_resume(resume_state)
        return ""

    def _log_resume(self, resume_state: ResumeState) -> None:
        workers = self.options.workers
        if not workers.is_chosen:  # the load of the machine did
            workers.layer_threads = min(resume_state.threads, workers.threads)
        threads, precision = self.net.threads, self.options.precision
        if (threads, precision) == (resume_state.threads, resume_state.precision):
            glog.info("Resuming exactly: data and random state continue where they stopped")
        else:
            glog.warning(
                f"Resuming with {threads} threads in {precision} instead of {resume_state.threads}"
                f" in {resume_state.precision}: data and random state continue where they stopped,"
                " but rounding will differ"
            )

    def close(self) -> None:
        """Stop the threads that read data."""
        for net in self.nets:
            net.close()


class StartingPoint(NamedTuple):
    """Where rank 0 starts: its iteration, Caffe's current_step, and the trained net's positions."""

    iteration: int
    step: int
    passes: int
    records: Mapping[str, int]

    def encode(self) -> str:
        """Return it as JSON."""
        return json.dumps(self)

    @classmethod
    def decode(cls, text: str) -> StartingPoint:
        """Read what `encode` wrote."""
        return cls(*json.loads(text))


def _log_training_net(field: str, path: str) -> None:
    origin = f"from {field} file: {path}" if path else f"specified in {field}."
    glog.info(f"Creating training net {origin}", _TRAINING_NET_PLACES[field])
