"""Collect the events of a log into a result, in constant memory unless rows are stored."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from ..nets.layer_types import AUTOMATIC
from .clock import Clock
from .events import NEVER, Listener, Output, Stamp
from .fatal import explain_crash, explain_fatal, is_symptom
from .lines import COUNT, MAX_LINE, VALUE, parse_number, parse_optional
from .logged_net import LoggedNet, LoggedNets, can_forge_lines, read_logged_solver, role_of
from .logged_run import LoggedRun
from .result import BatchRow, Fatal, LayerTime, LogResult, Segment, TestRow, TrainRow, Trouble
from .rows import RowSink, RowStore
from .scores import LOSS, OTHER, TOP1, Score, score_names
from .trouble import DIVERGED, FORGEABLE, Schedule, diagnose, forgeable_net

Item = TypeVar("Item")
_MAX_ITEMS = 10_000  # entries of a list that only an odd log fills


class TrainProgress(NamedTuple):
    """Where a training stands.

    Attributes:
        iteration: the last one displayed or tested.
        display: the last display.
        test: the last test of the first test net.
    """

    iteration: int
    display: TrainRow | None
    test: TestRow | None


class Collector(Listener):
    """Receives the events of a log; `finish` makes the result.

    Args:
        source: the log's name.
        rows: receives the rows.
        keep_rows: keep the rows for the result, if there is no `rows`.
    """

    def __init__(self, source: str, rows: RowSink | None = None, keep_rows: bool = True) -> None:
        self._source = source
        self._kept = RowStore()
        self._rows = rows or (self._kept if keep_rows else RowSink())
        self._clock = Clock()
        self._run: LoggedRun | None = None
        self._segments: list[Segment] = []  # of the runs that are over
        self._nets = LoggedNets(self.warn)
        self._command = "unknown"
        self._device = ""
        self._net_name = ""
        self._solver: dict[str, Any] = {}
        self._schedule = Schedule(None, None)
        self._test_iter: list[int] = []
        self._iterations: int | None = None  # of `caffe test`
        self._tested: int | None = None  # records, where the log has their number
        self._batch_names: dict[str, None] = {}
        self._layer_times: list[tuple[str, dict[str, float]]] = []
        self._total_ms: dict[str, float] = {}
        self._snapshots: list[str] = []
        self._finetuned_from: dict[str, None] = {}
        self._signals: list[str] = []
        self._saves_rest = False  # the next snapshot is written because of an error
        self._ignored_layers: dict[str, None] = {}
        self._warnings: dict[str, None] = {}
        self._troubles: list[Trouble] = []
        self._protobuf = ""  # libprotobuf's last error
        self._fatal: Fatal | None = None
        self._forgeable = False  # a name can print any line

    # Runs

    def _begin_run(self, stamp: Stamp) -> LoggedRun:
        self._end_run()
        if self._fatal is not None:
            self.warn(f"an earlier run ended in an error: {self._fatal.cause}")
            self._fatal = None
        self._run = LoggedRun(stamp, self._clock.seconds(stamp) or 0.0)
        self._nets = LoggedNets(self.warn)
        self._saves_rest = False
        return self._run

    def _run_of_header(self, stamp: Stamp, kind: str) -> LoggedRun:
        """Return the run that a line of a run's beginning belongs to: each kind comes once."""
        run = self._run
        if run is None or not run.only_headers or kind in run.headers:
            run = self._begin_run(stamp)
        run.headers.add(kind)
        return run

    def _run_of_row(self, stamp: Stamp) -> LoggedRun:
        run = self._run or self._begin_run(stamp)
        run.only_headers = False
        return run

    def _run_of_iteration(self, stamp: Stamp, number: int) -> LoggedRun:
        """Return the run that displays or tests an iteration, which may be a new one."""
        run = self._run
        if run is None or run.ends_before(stamp[2], number):
            run = self._begin_run(stamp)
        run.add_iteration(stamp[2], number)
        return run

    # Events

    def display(
        self,
        stamp: Stamp,
        iteration: str,
        speed: str | None,
        loss: str | None,
        names: tuple[str, ...],
        values: Sequence[str],
        lr: str | None,
    ) -> None:
        """Receive a display."""
        number = int(iteration)
        run = self._run
        # Nearly every display is of the thread of the one before, and further on.
        if (
            run is not None
            and run.thread == stamp[2]
            and number > (run.last_iteration or 0)
            and not (run.done or run.stopped)
        ):
            run.iterations[run.thread] = run.last_iteration = number
        elif loss is None and self._is_repeated_rate(stamp[2]):
            return
        else:
            run = self._run_of_iteration(stamp, number)
            self._command = "train"
        run.displays += 1
        run.monitor.add_display(number, parse_optional(loss), parse_optional(lr))
        seconds = run.update_clock(stamp, self._clock)
        self._rows.train(len(self._segments), iteration, seconds, loss, lr, names, values)

    def _is_repeated_rate(self, thread: str) -> bool:
        """Decide whether a rate alone repeats that of the thread which displays losses.

        Until 2016, Caffe printed it in the threads of all GPUs (sgd_solver.cpp).
        """
        run = self._run
        return run is not None and bool(run.iterations) and thread not in run.iterations

    def tested(self, stamp: Stamp, iteration: str, net: str, outputs: Sequence[Output]) -> None:
        """Receive a test while training."""
        number = int(iteration)
        run = self._run_of_iteration(stamp, number)
        self._command = "train"
        run.last_tests[net] = list(outputs)
        scores = self._scores_of(run, outputs, int(net))
        top1 = next((score.value for score in scores if score.role == TOP1), None)
        run.monitor.add_test(number, top1, [s.value for s in scores if s.role == LOSS])
        seconds = run.update_clock(stamp, self._clock)
        self._rows.test(len(self._segments), iteration, seconds, net, outputs)

    def batch(self, stamp: Stamp, index: str, name: str, value: str) -> None:
        """Receive an output of a batch of `caffe test`."""
        run = self._run_of_row(stamp)
        run.update_clock(stamp, self._clock)
        self._command = "test"
        if index == "0" and name in self._batch_names and run.means:
            run.means = {}  # another test, whose first line the log lacks
            self._rows.restart_batches()
        self._batch_names[name] = None
        self._rows.batch(index, name, value)

    def score(self, stamp: Stamp, output: Output) -> None:
        """Receive a mean of `caffe test`."""
        run = self._run_of_row(stamp)
        run.update_clock(stamp, self._clock)
        self._command = "test"
        run.means.pop(output.name, None)  # the last one of a name goes last
        run.means[output.name] = output

    def layer_time(self, layer: str, direction: str, milliseconds: str) -> None:
        """Receive a row of `caffe time`."""
        self._command = "time"
        value = parse_number(milliseconds)
        if not layer:
            self._total_ms[direction] = value
            return
        if not self._layer_times or self._layer_times[-1][0] != layer:
            self._layer_times.append((layer, {}))
        self._layer_times[-1][1][direction] = value

    def net(self, text: str, cut: bool) -> None:
        """Receive a net that Caffe printed."""
        self._nets.add(text, cut)
        self._forgeable = self._forgeable or can_forge_lines(text)
        if self._command == "unknown" and "\n  phase: TEST\n" in text:
            self._command = "test"

    def solver(self, text: str) -> None:
        """Receive the solver of a run."""
        self._run_of_header(NEVER, "solver")
        self._nets.add_solver(text)
        self._forgeable = self._forgeable or can_forge_lines(text)
        self._command = "train"
        self._schedule = Schedule(None, None)
        solver = read_logged_solver(text)
        if solver is None:
            self.warn("the solver in the log can't be read")
            return
        self._schedule = Schedule(solver.max_iter or None, solver.base_lr)
        self._test_iter = list(solver.test_iter)
        self._solver = {
            field.name: list(value) if hasattr(value, "append") else value
            for field, value in solver.ListFields()
            if field.message_type is None
        }

    def notice(self, stamp: Stamp, kind: str, value: str) -> None:
        """Receive any other message."""
        handler = _NOTICES.get(kind)
        if handler is not None:
            handler(self, stamp, value)
        if self._run is not None:
            self._run.update_clock(stamp, self._clock)

    def fatal(self, stamp: Stamp, place: str, message: str) -> None:
        """Receive a fatal error."""
        if self._run is not None:
            self._run.update_clock(stamp, self._clock)
        if self._fatal is None or not is_symptom(message):
            self._fatal = explain_fatal(message, place, self._protobuf)

    def overlong(self) -> None:
        """Note a line that is too long."""
        self.warn(
            f"a line is longer than {MAX_LINE:,} characters, which no message of Caffe is; only its"
            " end was read"
        )

    def cut(self) -> None:
        """Note that the log ends within a line."""
        self.warn("the last line is cut off and was left out")

    def warn(self, text: str) -> None:
        """Add a warning to the result, once."""
        _add(self._warnings, text)

    # Notices

    def _on_cpu(self, stamp: Stamp, value: str) -> None:
        self._run_of_header(stamp, "device")
        self._device = "CPU"

    def _on_gpu(self, stamp: Stamp, value: str) -> None:
        self._run_of_header(stamp, "device")
        self._device = f"GPU {value.strip()}"

    def _on_protobuf(self, stamp: Stamp, value: str) -> None:
        self._protobuf = value

    def _on_signal(self, stamp: Stamp, value: str) -> None:
        _append(self._signals, value.strip("* "))

    def _on_test(self, stamp: Stamp, value: str) -> None:
        self._run_of_header(stamp, "test").means = {}
        self._command = "test"
        self._iterations = _first_count(value)
        self._batch_names, self._tested = {}, None
        self._rows.restart_batches()

    def _on_exact(self, stamp: Stamp, value: str) -> None:
        # Only sqgen-caffe prints it, where it shortened the last batch.
        self._tested = _first_count(value)

    def _on_loss(self, stamp: Stamp, value: str) -> None:
        loss = parse_number(value) if re.fullmatch(VALUE, value) else 0.0
        self._run_of_row(stamp).test_loss = loss

    def _on_resume(self, stamp: Stamp, value: str) -> None:
        # Older Caffes print it twice: "Resuming from", and "Restoring ... from" the same file.
        run = self._run
        if run is None or not run.only_headers or run.resumed_from != value.strip():
            self._run_of_header(stamp, "resume").resumed_from = value.strip()

    def _on_solve(self, stamp: Stamp, value: str) -> None:
        self._run_of_header(stamp, "solve")
        self._net_name = value.strip() or self._net_name

    def _on_saving(self, stamp: Stamp, value: str) -> None:
        self._saves_rest = True

    def _on_snapshot(self, stamp: Stamp, value: str) -> None:
        """Note a snapshot, and the signal that one out of turn is evidence of, but for an error."""
        path = value.rpartition(" file ")[2].strip()
        _append(self._snapshots, path)
        saves_rest, self._saves_rest = self._saves_rest, False
        match = re.search(r"_iter_([0-9]{1,12})\.caffemodel", path)
        if match is None:
            return
        iteration = int(match[1])
        if self._run is not None:
            self._run.last_iteration = max(iteration, self._run.last_iteration or 0)
        if not self._solver:
            return
        interval = self._solver.get("snapshot", 0)
        in_turn = iteration == self._schedule.max_iter or (interval and iteration % interval == 0)
        if not in_turn and not saves_rest:
            _append(self._signals, f"snapshot out of turn at iteration {iteration}")

    def _on_finetune(self, stamp: Stamp, value: str) -> None:
        _add(self._finetuned_from, value.strip())

    def _on_ignored(self, stamp: Stamp, value: str) -> None:
        _add(self._ignored_layers, value.strip())

    def _on_stopped(self, stamp: Stamp, value: str) -> None:
        if self._run is not None:
            self._run.stopped = True
        _append(self._signals, "stopped early, as SIGINT does")

    def _on_time(self, stamp: Stamp, value: str) -> None:
        self._command = "time"

    def _on_done(self, stamp: Stamp, value: str) -> None:
        run = self._run_of_row(stamp)
        run.done = not run.stopped

    # While it runs

    @property
    def over(self) -> bool:
        """Whether the run printed its last line."""
        run = self._run
        ended = run is not None and (run.done or run.stopped)
        return self._fatal is not None or ended or self._has_all_means()

    def _has_all_means(self) -> bool:
        """Decide whether `caffe test` printed the mean of every output of its batches."""
        names = self._run.means.keys() if self._run is not None else set()
        return bool(names) and self._batch_names.keys() <= names

    def new_batches(self, seen: int) -> Sequence[BatchRow]:
        """Return the complete batches of `caffe test` but for the first `seen`."""
        return self._kept.batches_from(seen, with_last=self.over)

    @property
    def run_number(self) -> int:
        """The number of the run that is read; a training that starts again begins another."""
        return len(self._segments)

    def new_tests(self, seen: int) -> Sequence[TestRow]:
        """Return the tests of the run that is read but for the first `seen`."""
        return self._kept.test_rows.get(len(self._segments), [])[seen:]

    def train_progress(self) -> TrainProgress | None:
        """Return where the training stands; None before its first row."""
        if self._run is None or self._run.last_iteration is None:
            return None
        displays = self._kept.train_rows.get(len(self._segments), ())
        tests = self._kept.test_rows.get(len(self._segments), ())
        return TrainProgress(
            self._run.last_iteration,
            displays[-1] if displays else None,
            next((row for row in reversed(tests) if row.net == 0), None),
        )

    def named_scores(self, outputs: Mapping[str, float]) -> dict[str, float]:
        """Return the accuracies and losses among outputs of the first test net, by score name."""
        net = self._nets.test_net(0)
        scores = []
        for output, value in outputs.items():
            role, k, by = role_of(output, False, net, False)
            if role != OTHER:
                scores.append(Score(output, value, role, k, by))
        names = score_names(scores)
        return {name: score.value for name, score in zip(names, scores, strict=True)}

    @property
    def has_diverged(self) -> bool:
        """Whether the loss was nan or inf twice in a row: once may be a spike."""
        return self._run is not None and self._run.monitor.non_finite_in_row > 1

    def troubles_so_far(self) -> list[Trouble]:
        """Return what is wrong with the run that is read, up to here."""
        if self._run is None:
            return []
        classes = next((net.classes for net in self._nets.read() if net.classes), None)
        segment = len(self._segments)
        troubles = list(diagnose(self._run.monitor, self._schedule, classes, segment))
        if self._forgeable:
            troubles.append(forgeable_net(segment))
        return troubles

    def result_so_far(self) -> LogResult:
        """Return the result of what was read, without rows; more may come."""
        twin = copy.copy(self)
        twin._kept = RowStore()
        twin._segments, twin._troubles = list(self._segments), list(self._troubles)
        twin._warnings = dict(self._warnings)
        return twin.finish()

    # The end

    def _scores_of(self, run: LoggedRun, outputs: Sequence[Output], net: int) -> list[Score]:
        logged = self._nets.test_net(net)
        losses_known = any(output.weight is not None for output in outputs)
        names = {output.name for output in outputs}
        scores = []
        for output in outputs:
            role, k, by = role_of(output.name, output.weight is not None, logged, losses_known)
            if role != LOSS and f"{output.name.partition('[')[0]}[1]" in names:
                role, k = OTHER, None  # an accuracy is one number
            scores.append(Score(output.name, parse_number(output.value), role, k, by, net))
        losses = [score.value for score in scores if score.role == LOSS]
        valid = all(map(math.isfinite, [*losses, run.test_loss]))
        return [replace(score, valid=valid) for score in scores]

    def _end_run(self) -> None:
        """Settle the scores and troubles of the run that is read, if any."""
        run = self._run
        if run is None:
            return
        if not run.only_headers:
            self._settle_scores(run)
        nets = self._nets.read()
        for trouble in self.troubles_so_far():
            _append(self._troubles, trouble)
            if trouble.name in (DIVERGED, FORGEABLE):
                run.scores = tuple(replace(score, valid=False) for score in run.scores)
        if nets and nets[0].name:
            self._net_name = nets[0].name
        self._segments.append(run.segment())

    def _settle_scores(self, run: LoggedRun) -> None:
        """Set the final scores of a run, and how many images they average."""
        if self._command == "test" and run.means:
            tests: dict[str, Sequence[Output]] = {"0": list(run.means.values())}
        else:
            tests = run.last_tests
        if not tests:
            return
        run.scores = tuple(
            score
            for net, outputs in tests.items()
            for score in self._scores_of(run, outputs, int(net))
        )
        first = self._nets.test_net(0)
        run.batch_size = batch = first.batch if first else None
        iterations = self._iterations if self._command == "test" else None
        if self._command == "train" and self._test_iter:
            iterations = self._test_iter[0]
        run.images = self._tested or (iterations * batch if iterations and batch else None)

    def finish(self) -> LogResult:
        """Return the result, once the log is over."""
        self._end_run()
        run = self._run or LoggedRun(NEVER, 0.0)
        crashes = [text for text in self._signals if re.search("SIG(?:SEGV|ABRT|BUS|FPE)", text)]
        if crashes and self._fatal is None:
            self._fatal = explain_crash(crashes[-1])
        first = self._nets.test_net(0)
        if self._command == "test" and self._run is not None:
            self._segments[-1] = replace(self._segments[-1], done=self._has_all_means())
        has_test_loss = any(score.role == LOSS for score in run.scores)
        if run.scores and not has_test_loss:
            self.warn("no test net has a loss, so nothing tells a diverged net from a good one")
        segments = self._segments_with_rows()
        return LogResult(
            source=self._source,
            command=self._command,
            device=self._device,
            net=self._net_name,
            net_digest=first.digest if first and self._has_tops(first, run.scores) else None,
            solver=self._solver,
            start=segments[0].start if segments else None,
            end=segments[-1].end if segments else None,
            segments=segments,
            scores=run.scores,
            images=run.images,
            batch_size=run.batch_size,
            has_test_loss=has_test_loss,
            batches=tuple(self._kept.batches_from(0, with_last=True)),
            layer_times=tuple(LayerTime(layer, **times) for layer, times in self._layer_times),
            total_ms=self._total_ms,
            snapshots=tuple(self._snapshots),
            finetuned_from=tuple(self._finetuned_from),
            signals=tuple(self._signals),
            ignored_layers=tuple(self._ignored_layers),
            warnings=tuple(self._warnings),
            troubles=tuple(self._troubles),
            fatal=self._fatal,
            completed=bool(segments) and segments[-1].done and self._fatal is None,
        )

    @staticmethod
    def _has_tops(net: LoggedNet, scores: Sequence[Score]) -> bool:
        """Decide whether a net makes the outputs that Caffe printed, and so was not cut."""
        outputs = {score.name.partition("[")[0] for score in scores if not score.net}
        return outputs <= net.tops | {AUTOMATIC}

    def _segments_with_rows(self) -> tuple[Segment, ...]:
        train, test = self._kept.train_rows, self._kept.test_rows
        return tuple(
            replace(segment, train=tuple(train.pop(i, ())), test=tuple(test.pop(i, ())))
            for i, segment in enumerate(self._segments)
        )


# By the kinds of `parser.NOTICES`; the others have nothing that the result holds.
_NOTICES: dict[str, Callable[[Collector, Stamp, str], None]] = {
    "cpu": Collector._on_cpu,
    "gpu": Collector._on_gpu,
    "protobuf": Collector._on_protobuf,
    "signal": Collector._on_signal,
    "test": Collector._on_test,
    "exact": Collector._on_exact,
    "loss": Collector._on_loss,
    "resume": Collector._on_resume,
    "solve": Collector._on_solve,
    "saving": Collector._on_saving,
    "snapshot": Collector._on_snapshot,
    "finetune": Collector._on_finetune,
    "ignored": Collector._on_ignored,
    "stopped": Collector._on_stopped,
    "time": Collector._on_time,
    "done": Collector._on_done,
    "timed": Collector._on_done,
}


def _first_count(text: str) -> int | None:
    word = text.partition(" ")[0]
    return int(word) if re.fullmatch(COUNT, word) else None


def _append(items: list[Item], item: Item) -> None:
    """Append, up to a limit that only an odd log reaches."""
    if len(items) < _MAX_ITEMS:
        items.append(item)


def _add(items: dict[str, None], item: str) -> None:
    """Add to an ordered set, up to that limit."""
    if len(items) < _MAX_ITEMS:
        items[item] = None
