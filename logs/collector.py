"""Events to a result. What it holds does not grow with the log, unless rows are kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from .clock import Clock
from .events import NEVER, Listener, Output, Stamp
from .fatal import crash, explain
from .lines import COUNT, VALUE, number
from .logged_net import LoggedNet, read_logged_net, read_logged_solver, role_of
from .result import (
    LOSS,
    TOP1,
    BatchRow,
    LayerTime,
    LogResult,
    Score,
    Segment,
    TestRow,
    TrainRow,
    Trouble,
)
from .trouble import DIVERGED, Context, Watch, troubles

CLOCK_SET_BACK = 60.0  # seconds; less is threads that overtake each other, or a long test
Item = TypeVar("Item")
_MOST = 10_000  # entries of a list that only an odd log fills


class Rows:
    """Where rows go as they come; this one forgets them."""

    def train(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        loss: str | None,
        lr: str | None,
        names: tuple[str, ...],
        values: Sequence[str],
    ) -> None:
        """A display."""

    def test(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        net: str,
        outputs: Sequence[Output],
    ) -> None:
        """A test while training."""

    def batch(self, index: str, name: str, value: str) -> None:
        """An output of a batch of `caffe test`."""


class KeptRows(Rows):
    """Keeps every row in the result."""

    def __init__(self, result: LogResult) -> None:
        self._result = result

    def train(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        loss: str | None,
        lr: str | None,
        names: tuple[str, ...],
        values: Sequence[str],
    ) -> None:
        """Append to the segment."""
        outputs = dict(zip(names, map(number, values), strict=True))
        row = TrainRow(int(iteration), seconds, _number(loss), _number(lr), outputs)
        self._result.segments[segment].train.append(row)

    def test(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        net: str,
        outputs: Sequence[Output],
    ) -> None:
        """Append to the segment."""
        values = {output.name: number(output.value) for output in outputs}
        row = TestRow(int(iteration), seconds, int(net), values)
        self._result.segments[segment].test.append(row)

    def batch(self, index: str, name: str, value: str) -> None:
        """Append to the batches."""
        batches = self._result.batches
        if not batches or batches[-1].batch != int(index):
            batches.append(BatchRow(int(index), {}))
        batches[-1].outputs[name] = number(value)


class Collector(Listener):
    """Builds `result`; call `finish` when the log is over."""

    def __init__(self, source: str, rows: Rows | None = None, keep_rows: bool = True) -> None:
        self.result = LogResult(source)
        self._rows = rows or (KeptRows(self.result) if keep_rows else Rows())
        self._clock = Clock()
        self._segment: Segment | None = None
        self._started = 0.0
        self._heard = NEVER
        self._fresh = False  # the segment has had nothing but its header
        self._headers: set[str] = set()
        self._stopped = False
        self._watch = Watch()
        self._dumps: list[str] = []
        self._nets: list[LoggedNet] | None = None
        self._last_tests: dict[str, Sequence[Output]] = {}
        self._scores: list[Output] = []
        self._batch_names: dict[str, None] = {}
        self._iterations: int | None = None
        self._tested: int | None = None  # records, where the log tells them
        self._test_iter: list[int] = []
        self._limits = Context(None, None, None)
        self._protobuf = ""
        self._test_loss = 0.0  # what `caffe test` says beside its outputs

    @property
    def over(self) -> bool:
        """Whether the run has said its last word."""
        segment = self._segment
        ended = segment is not None and (segment.done or self._stopped)
        return self.result.fatal is not None or ended or self._all_scored()

    def _all_scored(self) -> bool:
        """Whether `caffe test` has told the mean of every output of its batches."""
        names = {one.name for one in self._scores}
        return bool(names) and set(self._batch_names) <= names

    # Segments

    def _begin(self, stamp: Stamp) -> Segment:
        """A new run within the log."""
        self._end_run()
        if self.result.fatal is not None:
            self._warn(f"an earlier run ended in an error: {self.result.fatal.cause}")
            self.result.fatal = None
        self._segment = Segment(start=_text(stamp))
        self.result.segments.append(self._segment)
        self._started = self._seconds(stamp) or 0.0
        self._heard = stamp
        self._headers = set()
        self._fresh, self._stopped = True, False
        self._watch = Watch()
        self._dumps, self._nets = [], None
        self._scores, self._last_tests, self._test_loss = [], {}, 0.0
        result = self.result
        result.scores, result.images, result.batch_size = [], None, None
        result.net_digest, result.has_test_loss = None, False
        return self._segment

    def _header(self, stamp: Stamp, kind: str) -> Segment:
        """The run that a line of a run's beginning belongs to: each such line comes once."""
        segment = self._segment
        if segment is None or not self._fresh or kind in self._headers:
            segment = self._begin(stamp)
        self._headers.add(kind)
        return segment

    def _body(self, stamp: Stamp) -> Segment:
        """The run that a row belongs to."""
        segment = self._segment or self._begin(stamp)
        self._fresh = False
        return segment

    def _seconds(self, stamp: Stamp) -> float | None:
        return self._clock.seconds(stamp) if stamp[0] else None

    def _since(self, stamp: Stamp, segment: Segment) -> float | None:
        """Seconds since the start of the run; also notes when it was last heard of."""
        if not stamp[0]:
            return None
        seconds = self._clock.seconds(stamp)
        if seconds is None:
            return None
        if segment.start is None:
            segment.start, self._started = _text(stamp), seconds
        self._heard, since = stamp, seconds - self._started
        if segment.seconds is not None and since < segment.seconds - CLOCK_SET_BACK:
            self._started -= segment.seconds - since
            since = segment.seconds
        segment.seconds = since
        return since

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
        """A row of training."""
        at = int(iteration)
        segment = self._segment
        if segment is None or at < self._watch.iteration:
            segment = self._begin(stamp)
        self._fresh = False
        if segment.first_iteration is None:
            segment.first_iteration = at
            self.result.command = "train"
        segment.last_iteration = at
        self._watch.train(at, _number(loss), _number(lr))
        seconds = self._since(stamp, segment)
        index = len(self.result.segments) - 1
        self._rows.train(index, iteration, seconds, loss, lr, names, values)

    def tested(self, stamp: Stamp, iteration: str, net: str, outputs: Sequence[Output]) -> None:
        """A row of testing while training."""
        at = int(iteration)
        if self._segment is not None and at < self._watch.iteration and not self._fresh:
            self._begin(stamp)
        segment = self._body(stamp)
        self.result.command = "train"
        segment.last_iteration = at
        if segment.first_iteration is None:
            segment.first_iteration = at
        self._last_tests[net] = list(outputs)
        scores = self._as_scores(outputs, int(net))
        top1 = next((one.value for one in scores if one.role == TOP1), None)
        self._watch.tested(at, top1, [one.value for one in scores if one.role == LOSS])
        seconds = self._since(stamp, segment)
        index = len(self.result.segments) - 1
        self._rows.test(index, iteration, seconds, net, outputs)

    def batch(self, stamp: Stamp, index: str, name: str, value: str) -> None:
        """A batch of `caffe test`."""
        self._since(stamp, self._body(stamp))
        self.result.command = "test"
        if index == "0" and name in self._batch_names and self._scores:
            self._scores = []
        self._batch_names[name] = None
        self._rows.batch(index, name, value)

    def score(self, stamp: Stamp, output: Output) -> None:
        """A final score of `caffe test`."""
        self._since(stamp, self._body(stamp))
        self.result.command = "test"
        self._scores = [one for one in self._scores if one.name != output.name] + [output]

    def layer_time(self, layer: str, direction: str, milliseconds: str) -> None:
        """A row of `caffe time`."""
        self.result.command = "time"
        value = number(milliseconds)
        if not layer:
            self.result.total_ms[direction] = value
            return
        times = self.result.layer_times
        if not times or times[-1].layer != layer:
            times.append(LayerTime(layer))
        setattr(times[-1], direction, value)

    def net(self, text: str) -> None:
        """A net that Caffe made."""
        self._dumps.append(text)
        self._nets = None
        if self.result.command == "unknown" and "\n  phase: TEST\n" in text:
            self.result.command = "test"

    def solver(self, text: str) -> None:
        """The solver of a run."""
        self._header(NEVER, "solver")
        self.result.command = "train"
        self._limits = Context(None, None, None)
        solver = read_logged_solver(text)
        if solver is None:
            self._warn("the solver in the log can't be read")
            return
        self._limits = Context(None, solver.max_iter or None, solver.base_lr)
        self._test_iter = list(solver.test_iter)
        self.result.solver = {
            field.name: list(value) if hasattr(value, "append") else value
            for field, value in solver.ListFields()
            if field.message_type is None
        }

    def notice(self, stamp: Stamp, kind: str, value: str) -> None:
        """Everything else."""
        result = self.result
        if kind in ("cpu", "gpu"):
            self._header(stamp, "device")
            result.device = "CPU" if kind == "cpu" else f"GPU {value.strip()}"
        elif kind == "protobuf":
            self._protobuf = value
        elif kind == "signal":
            _append(result.signals, value.strip("* "))
        elif kind == "test":
            self._header(stamp, "test")
            result.command = "test"
            count = value.partition(" ")[0]
            self._iterations = int(count) if re.fullmatch(COUNT, count) else None
            self._scores, self._batch_names, self._tested = [], {}, None
            result.batches.clear()
        elif kind == "exact":  # sqgen-caffe's: the last batch was cut to what there was
            count = value.partition(" ")[0]
            self._tested = int(count) if re.fullmatch(COUNT, count) else None
        elif kind == "loss":
            self._body(stamp)
            self._test_loss = number(value) if re.fullmatch(VALUE, value) else 0.0
        elif kind == "resume":
            # Older ones say it twice: "Resuming from", and "Restoring ... from" the same file.
            again = self._fresh and self._segment and self._segment.resumed_from == value.strip()
            if not again:
                self._header(stamp, "resume").resumed_from = value.strip()
        elif kind == "solve":
            self._header(stamp, "solve")
            result.net = value.strip() or result.net
        elif kind == "snapshot":
            self._snapshot(value.rpartition(" file ")[2].strip())
        elif kind == "finetune":
            if value.strip() not in result.finetuned_from:
                _append(result.finetuned_from, value.strip())
        elif kind == "ignored":
            if value.strip() not in result.ignored_layers:
                _append(result.ignored_layers, value.strip())
        elif kind == "stopped":
            self._stopped = True
            _append(result.signals, "stopped early, as SIGINT does")
        elif kind == "time":
            result.command = "time"
        elif kind in ("done", "timed"):
            segment = self._body(stamp)
            segment.done = not self._stopped
        if stamp[0] and self._segment is not None:
            self._since(stamp, self._segment)

    def _snapshot(self, path: str) -> None:
        """Note a snapshot, and the signal that a snapshot out of turn tells of."""
        _append(self.result.snapshots, path)
        found = re.search(r"_iter_([0-9]{1,12})\.caffemodel", path)
        every = self.result.solver.get("snapshot", 0)
        if found is None or not self.result.solver:
            return
        at = int(found[1])
        if at != self._limits.max_iter and (not every or at % every):
            _append(self.result.signals, f"snapshot out of turn at iteration {at}")

    def fatal(self, stamp: Stamp, place: str, message: str) -> None:
        """A fatal error."""
        if self._segment is not None:
            self._since(stamp, self._segment)
        self.result.fatal = explain(message, place, self._protobuf)

    def cut(self) -> None:
        """The log ends within a line."""
        self._warn("the last line is cut off and was left out")

    # While it runs

    def role(self, name: str) -> tuple[str, int | None, str]:
        """(role, k, where that is from) of an output of the first test net."""
        return role_of(name, False, self._test_net(0))

    def troubles_so_far(self) -> list[Trouble]:
        """What is wrong with the run that is read, as far as it is read."""
        nets = self._read_nets()
        classes = next((net.classes for net in nets if net.classes), None)
        return list(troubles(self._watch, self._limits._replace(classes=classes)))

    # The end

    def _warn(self, text: str) -> None:
        if text not in self.result.warnings:
            _append(self.result.warnings, text)

    def _read_nets(self) -> list[LoggedNet]:
        if self._nets is None:
            read = [read_logged_net(text) for text in self._dumps]
            if None in read:
                self._warn("a net in the log can't be read; outputs go by their names")
            self._nets = [net for net in read if net is not None]
        return self._nets

    def _test_net(self, index: int) -> LoggedNet | None:
        nets = [net for net in self._read_nets() if net.phase == "TEST"]
        return nets[index] if index < len(nets) else None

    def _as_scores(self, outputs: Sequence[Output], net: int) -> list[Score]:
        logged = self._test_net(net)
        scores = []
        for output in outputs:
            role, k, by = role_of(output.name, output.weight is not None, logged)
            scores.append(Score(output.name, number(output.value), role, k, by, net))
        sound = all(abs(one.value) < float("inf") for one in scores)
        sound = sound and abs(self._test_loss) < float("inf")
        for one in scores:
            one.valid = sound and abs(one.value) < float("inf")
        return scores

    def _end_run(self) -> None:
        """What is known of a run when it is over."""
        segment, result = self._segment, self.result
        if segment is None:
            return
        segment.end = _text(self._heard) or segment.start
        if not self._fresh:
            self._settle_scores()
        nets = self._read_nets()
        for trouble in self.troubles_so_far():
            trouble.segment = len(result.segments) - 1
            _append(result.troubles, trouble)
            if trouble.name == DIVERGED:
                for score in result.scores:
                    score.valid = False
        if nets and nets[0].name:
            result.net = nets[0].name

    def _settle_scores(self) -> None:
        """The final scores of the run that is over, if it has any."""
        result = self.result
        if result.command == "test" and self._scores:
            tests: dict[str, Sequence[Output]] = {"0": self._scores}
        else:
            tests = self._last_tests
        if not tests:
            return
        result.scores = [
            score for net, outputs in tests.items() for score in self._as_scores(outputs, int(net))
        ]
        result.has_test_loss = any(score.role == LOSS for score in result.scores)
        first = self._test_net(0)
        result.batch_size = first.batch if first else None
        iterations = self._iterations if result.command == "test" else None
        if result.command == "train" and self._test_iter:
            iterations = self._test_iter[0]
        batch = result.batch_size
        result.images = self._tested or (iterations * batch if iterations and batch else None)
        self._last_tests = {}

    def finish(self) -> LogResult:
        """The result, once the log is over."""
        result = self.result
        self._end_run()
        if result.segments:
            result.start, result.end = result.segments[0].start, result.segments[-1].end
        last = result.segments[-1] if result.segments else None
        crashed = [text for text in result.signals if re.search("SIG(?:SEGV|ABRT|BUS|FPE)", text)]
        if crashed and result.fatal is None:
            result.fatal = crash(crashed[-1])
        first = self._test_net(0)
        result.net_digest = first.digest if first else None
        if result.command == "test" and last is not None:
            last.done = self._all_scored()
        result.completed = last is not None and last.done and result.fatal is None
        if result.scores and not result.has_test_loss:
            self._warn("no test net has a loss, so nothing tells a diverged net from a good one")
        return result


def _text(stamp: Stamp) -> str | None:
    return " ".join(stamp) if stamp[0] else None


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return number(text)


def _append(items: list[Item], item: Item) -> None:
    """Append, up to a limit that only an odd log reaches."""
    if len(items) < _MOST:
        items.append(item)
