"""One run within a log while it is read: its iterations, clock and scores so far."""

from __future__ import annotations

from collections.abc import Sequence

from .clock import Clock
from .events import Output, Stamp
from .result import Segment
from .scores import Score
from .trouble import RunMonitor

LAGGING_DISPLAYS = 2  # by which the thread of a GPU may be behind that of another
CLOCK_SET_BACK = 60.0  # seconds; less is threads that overtake each other, or a long test


class LoggedRun:
    """A run, from its first line to the last one read; `Collector` fills it."""

    def __init__(self, stamp: Stamp, started: float) -> None:
        self.start = _stamp_text(stamp)
        self.started = started  # on the log's clock
        self.last_stamp = stamp
        self.seconds: float | None = None
        self.resumed_from: str | None = None
        self.first_iteration: int | None = None
        self.last_iteration: int | None = None
        self.done = False
        self.stopped = False  # early, by a signal
        self.displays = 0
        self.thread: str | None = None  # of the last display or test
        self.iterations: dict[str, int] = {}  # the last one that each thread displayed or tested
        self.headers: set[str] = set()
        self.only_headers = True
        self.monitor = RunMonitor()
        self.last_tests: dict[str, Sequence[Output]] = {}  # by test net
        self.means: dict[str, Output] = {}  # of `caffe test`, by output
        self.test_loss = 0.0  # what `caffe test` prints beside its outputs
        self.scores: tuple[Score, ...] = ()
        self.images: int | None = None
        self.batch_size: int | None = None

    def segment(self) -> Segment:
        """Return the run as a value, without its rows."""
        return Segment(
            self.start,
            _stamp_text(self.last_stamp) or self.start,
            self.seconds,
            self.resumed_from,
            self.first_iteration,
            self.last_iteration,
            done=self.done,
        )

    def ends_before(self, thread: str, number: int) -> bool:
        """Decide whether an iteration is of another run, whose header is not in the log.

        A thread of several GPUs may lag behind another, and first appears near the run's beginning.
        """
        last = self.iterations.get(thread)
        if self.done or self.stopped:
            return last is None or number > last or len(self.iterations) == 1
        if last is not None:
            return number < last
        return number < (self.last_iteration or 0) and self.displays > LAGGING_DISPLAYS

    def add_iteration(self, thread: str, number: int) -> None:
        """Note that a thread displayed or tested an iteration."""
        if self.first_iteration is None:
            self.first_iteration = number
        self.only_headers = False
        self.thread = thread
        self.iterations[thread] = number
        self.last_iteration = max(number, self.last_iteration or 0)

    def update_clock(self, stamp: Stamp, clock: Clock) -> float | None:
        """Return the seconds since the start of the run, and note them."""
        seconds = clock.seconds(stamp)
        if seconds is None:
            return None
        if self.start is None:
            self.start, self.started = _stamp_text(stamp), seconds
        self.last_stamp, elapsed = stamp, seconds - self.started
        if self.seconds is not None and elapsed < self.seconds - CLOCK_SET_BACK:
            self.started -= self.seconds - elapsed
            elapsed = self.seconds
        self.seconds = elapsed
        return elapsed


def _stamp_text(stamp: Stamp) -> str | None:
    return " ".join(stamp[:2]) if stamp[0] else None
