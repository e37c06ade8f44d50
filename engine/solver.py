"""Training: Caffe's Solver (src/caffe/solver.cpp), step by step, with its log.

A step is two halves: gradients, and the update. What averages gradients over processes belongs
between them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from ..errors import NetError
from ..formats import prototxt
from ..formats.caffemodel import read_caffemodel
from ..formats.snapshot_files import check_free_space
from ..nets.definition import NetDefinition
from ..nets.solver_nets import nets_of_solver
from ..nets.solver_rules import lint_solver
from ..text import printable
from . import glog
from .executor import BatchResult, Net
from .learning_rate import LearningRate
from .open_net import Options, open_net
from .optimizer import Optimizer
from .parameters import share
from .signals import NONE, SNAPSHOT, STOP
from .snapshots import ResumeState, read_snapshot, refuse_hdf5, write_snapshot

SLACK = 1 << 20  # bytes of a snapshot besides its blobs


class Scores:
    """Sums of the outputs of a test net over its batches, in the type that Caffe sums in."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.loss = np.float32(0)
        self.sums: list[Any] = []
        self.names: list[str] = []
        self.weight = 0.0

    def add(self, result: BatchResult, share: float = 1.0) -> list[tuple[str, float]]:
        """Take a batch in, weighted by `share`; its outputs by name, element by element."""
        rows = elements(result)
        if not self.sums:
            self.sums = [np.float32(0)] * len(rows)
            self.names = [name for name, _ in rows]
        for index, (_, value) in enumerate(rows):
            self.sums[index] += np.float32(value * share)
        self.loss += np.float32(result.loss * share)
        self.weight += share
        return rows

    def means(self) -> list[tuple[str, float, str]]:
        """Name, mean, and what Caffe puts behind a loss."""
        return [
            (name, mean := float(total / np.float32(self.weight)), loss_note(self.net, name, mean))
            for name, total in zip(self.names, self.sums, strict=True)
        ]

    def mean_loss(self) -> float:
        """Of all batches."""
        return float(self.loss / np.float32(self.weight))


def elements(result: BatchResult) -> list[tuple[str, float]]:
    """Every element of every output, as Caffe lists them."""
    return [
        (name, value)
        for name, tensor in result.outputs.items()
        for value in tensor.detach().double().reshape(-1).tolist()
    ]


def loss_note(net: Net, name: str, value: float) -> str:
    """` (* 1 = 2.3 loss)` for an output that is a loss."""
    weight = net.wiring.loss_weights.get(name, 0.0)
    if not weight:
        return ""
    return f" (* {glog.number(weight)} = {glog.number(weight * value)} loss)"


class Solver:
    """A training run.

    Args:
        param: the SolverParameter, with the state that the flags gave.
        source: its file, for messages and to find its nets.
        options: how nets run.
        requests: tells what a signal asked for since it was last called.

    Raises:
        SqgenError: the solver, a net, or its data is not what it should be.
    """

    def __init__(
        self, param: Any, source: str, options: Options, requests: Callable[[], str]
    ) -> None:
        self.param, self.source, self.options, self.requests = param, source, options, requests
        glog.info(
            f"Initializing solver from parameters: \n{prototxt.to_text(param)}", "solver.cpp:45"
        )
        self._check()
        nets = nets_of_solver(param, source, level=param.train_state.level)
        _log_training_net(*nets.origins[0])
        self.net = self._open(nets.trained, "TRAIN", 0)
        self.tests = []
        for index, (net, origin) in enumerate(zip(nets.tested, nets.origins[1:], strict=True)):
            what = f"{origin[0]} file: {origin[1]}" if origin[1] else origin[0]
            glog.info(f"Creating test net (#{index}) specified by {what}", "solver.cpp:190")
            self.tests.append(self._open(net, "TEST", index + 1))
        if not any(self.net.wiring.loss_weights.values()):
            glog.warning("the net that is trained has no loss: nothing will be learned")
        self.optimizer = Optimizer(param, self.net.parameters.own)
        self.rate = LearningRate(param)
        self.iteration = 0
        self.losses: list[float] = []
        self.smoothed = 0.0
        self.stopped = False
        self._places: tuple[list[int], list[dict[str, int]]] | None = None
        self._check_snapshots()
        glog.info("Solver scaffolding done.", "solver.cpp:57")

    def _check(self) -> None:
        for rule, message in lint_solver(self.param):
            if rule == "solver":
                raise NetError(f"{printable(self.source)}: {message}")
            glog.warning(f"{printable(self.source)}: {message}")
        refuse_hdf5(self.param)
        if self.param.debug_info:
            glog.warning("debug_info is not supported; the run goes on without it")
        if not self.param.base_lr:
            glog.warning("base_lr is 0 or missing: nothing will be learned")

    def _check_snapshots(self) -> None:
        if not (self.param.snapshot or self.param.snapshot_after_train):
            return
        blobs = sum(one.data.numel() * one.data.element_size() for one in self.net.parameters.own)
        copies = 1 + self.optimizer.history_blobs + bool(self.param.snapshot_diff)
        check_free_space(self.param.snapshot_prefix, blobs * copies + SLACK)

    def _open(self, definition: NetDefinition, phase: str, number: int) -> Net:
        net = open_net(definition, phase, self.options, number)
        for names in self.param.weights:
            for name in file_names(names):
                glog.info(f"Finetuning from {name}", "solver.cpp:72")
                net.load(read_caffemodel(name), name)
        return net

    # The run

    def solve(self) -> None:
        """Train to max_iter, or until a signal stops it."""
        glog.info(f"Solving {self.net.name}", "solver.cpp:289")
        glog.info(f"Learning Rate Policy: {self.param.lr_policy}", "solver.cpp:290")
        self._steps()
        every = self.param.snapshot
        if self.param.snapshot_after_train and (not every or self.iteration % every != 0):
            self.snapshot()
        if self.stopped:
            glog.info("Optimization stopped early.", "solver.cpp:311")
            return
        self._places = self._where()  # what is shown now is no part of the training
        if self.param.display and self.iteration % self.param.display == 0:
            result = self.net.test_pass(self.net.feeds())
            self._smooth(result.loss)
            loss = glog.number(self.smoothed)
            glog.info(f"Iteration {self.iteration}, loss = {loss}", "solver.cpp:327")
        if self.param.test_interval and self.iteration % self.param.test_interval == 0:
            self.test_all()
        glog.info("Optimization Done.", "solver.cpp:332")

    def _steps(self) -> None:
        self._clock, self._shown = perf_counter(), self.iteration
        while self.iteration < self.param.max_iter:
            interval = self.param.test_interval
            if interval and self.iteration % interval == 0:
                if self.iteration > 0 or self.param.test_initialization:
                    self.test_all()
                if self.stopped:
                    return
            result = self.gradients()
            self._smooth(result.loss)
            display = bool(self.param.display) and self.iteration % self.param.display == 0
            if display:
                self._display(result)
            self.step(display)
            if self._asked():
                return

    def gradients(self) -> BatchResult:
        """iter_size batches forward and backward: the last one's outputs, the mean loss."""
        for parameter in self.net.parameters.own:
            parameter.grad = None
        loss = 0.0
        for _ in range(self.param.iter_size):
            result = self.net.train_pass(self.net.feeds())
            loss += result.loss
        return result._replace(loss=loss / self.param.iter_size)

    def step(self, display: bool) -> None:
        """One update from the gradients at hand."""
        rate = self.rate.at(self.iteration)
        if display:
            glog.info(f"Iteration {self.iteration}, lr = {glog.number(rate)}", "sgd_solver.cpp:112")
        self.optimizer.apply(rate, self.iteration)
        self.net.changed()
        self.iteration += 1

    def _asked(self) -> bool:
        """Do what a signal or the schedule asks for after an update; whether to stop."""
        request = self.requests()
        every = self.param.snapshot
        if (every and self.iteration % every == 0) or request == SNAPSHOT:
            self.snapshot()
        self.stopped = self.stopped or request == STOP
        return self.stopped

    def _smooth(self, loss: float) -> None:
        """Solver::UpdateSmoothedLoss: a mean over the last average_loss iterations, oldest first,
        so that a resumed run knows which one to leave out."""
        self.losses.append(loss)
        if len(self.losses) <= self.param.average_loss:
            count = len(self.losses)
            self.smoothed = (self.smoothed * (count - 1) + loss) / count
        else:
            self.smoothed += (loss - self.losses.pop(0)) / self.param.average_loss

    def _display(self, result: BatchResult) -> None:
        now = perf_counter()
        lapse = now - self._clock
        speed = (self.iteration - self._shown) / lapse if lapse else 0.0
        glog.info(
            f"Iteration {self.iteration} ({glog.number(speed)} iter/s, {glog.number(lapse)}s/"
            f"{self.param.display} iters), loss = {glog.number(self.smoothed)}",
            "solver.cpp:239",
        )
        self._clock, self._shown = now, self.iteration
        for index, (name, value) in enumerate(elements(result)):
            glog.info(
                f"    Train net output #{index}: {name} = {glog.number(value)}"
                f"{loss_note(self.net, name, value)}",
                "solver.cpp:258",
            )

    def test_all(self) -> None:
        """Every test net, unless a signal stops it.

        A snapshot on the way has the places of before: a resumed run tests again from the start.
        """
        self._places = self._places or self._where()
        for index in range(len(self.tests)):
            if not self.stopped:
                self._test(index)
        if not self.stopped:
            self._places = None

    def _test(self, index: int) -> None:
        glog.info(f"Iteration {self.iteration}, Testing net (#{index})", "solver.cpp:347")
        net = self.tests[index]
        share(net.parameters, self.net.parameters)
        net.changed()
        scores = Scores(net)
        for _ in range(self.param.test_iter[index]):
            while (request := self.requests()) != NONE:
                if request == SNAPSHOT:
                    self.snapshot()
                self.stopped = self.stopped or request == STOP
            if self.stopped:
                glog.info("Test interrupted.", "solver.cpp:395")
                return
            scores.add(net.test_pass(net.feeds()))
        if not scores.weight:
            return
        if self.param.test_compute_loss:
            glog.info(f"Test loss: {glog.number(scores.mean_loss())}", "solver.cpp:400")
        for number, (name, mean, note) in enumerate(scores.means()):
            glog.info(
                f"    Test net output #{number}: {name} = {glog.number(mean)}{note}",
                "solver.cpp:414",
            )

    # Snapshots

    def snapshot(self) -> None:
        """Write the state of this iteration."""
        passes, records = self._places or self._where()
        position = ResumeState(
            iteration=self.iteration,
            seed=self.options.seed,
            passes=passes,
            records=records,
            losses=self.losses,
            smoothed=self.smoothed,
            threads=self.options.workers.threads,
            precision=self.options.precision,
        )
        prefix = self.param.snapshot_prefix
        write_snapshot(prefix, self.net, self.optimizer, self.rate.step, position)

    def _where(self) -> tuple[list[int], list[dict[str, int]]]:
        """Of each net, the batches computed, and the records that each data layer handed out."""
        nets = [self.net, *self.tests]
        return [net.passes for net in nets], [
            {name: source.position for name, source in net.sources.items()} for net in nets
        ]

    def restore(self, path: str) -> None:
        """Go on from a solver state: exactly where it was written by us, else as Caffe does.

        Raises:
            SqgenError: it can't be read, or is of another solver or net.
        """
        glog.info("SGDSolver: restoring history", "sgd_solver.cpp:336")
        state, weights, position = read_snapshot(path, self.optimizer)
        if weights is None:
            glog.warning(f"{printable(path)} names no weights: they stay as the net started")
        else:
            self.net.load(read_caffemodel(weights), os.fspath(weights))
        self.iteration = state.iter
        self.rate.step = state.current_step
        if position is None or not self._seek(position):
            glog.warning(
                f"{printable(path)} has no .sqgenstate of this very state beside it: resuming as"
                " Caffe does, with the data from its first record"
            )

    def _seek(self, position: ResumeState) -> bool:
        nets = [self.net, *self.tests]
        if len(position.records) != len(nets) or any(
            set(records) != set(net.sources)
            for records, net in zip(position.records, nets, strict=True)
        ):
            return False
        for net, passes, records in zip(nets, position.passes, position.records, strict=True):
            net.passes = passes
            for name, place in records.items():
                net.sources[name].seek(place)
        window = self.param.average_loss
        self.losses, self.smoothed = position.losses[-window:], position.smoothed
        if len(position.losses) > window:
            self.smoothed = sum(self.losses) / window
        now = (self.options.workers.threads, self.options.precision)
        if now == (position.threads, position.precision):
            glog.info("Resuming exactly: data and random state go on where they stood")
        else:
            glog.warning(
                f"Resuming where data and random state stood, but with {now[0]} threads in {now[1]}"
                f" instead of {position.threads} in {position.precision}: rounding will differ"
            )
        return True

    def close(self) -> None:
        """End the threads that read data."""
        for net in (self.net, *self.tests):
            net.close()


def file_names(text: str) -> list[str]:
    """The names in a list with commas, as `--weights` takes it.

    Raises:
        NetError: one is empty.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise NetError(f"weights '{printable(text)}': an empty name between commas")
    return names


def _log_training_net(field: str, path: str) -> None:
    places = {"train_net_param": 87, "train_net": 91, "net_param": 97, "net": 101}
    what = f"from {field} file: {path}" if path else f"specified in {field}."
    glog.info(f"Creating training net {what}", f"solver.cpp:{places[field] + 1}")
