"""What a run shows while it runs: progress, running scores, and trouble as soon as it is one."""

from __future__ import annotations

import math
import time

from ..logs.collector import Collector
from ..logs.result import LOSS, OTHER, LogResult
from ..progress import Bar
from ..text import number_text


class View:
    """Looks at the result as it grows, and tells a bar.

    Args:
        collector: builds the result.
        bar: what is told.
        images: images in a batch, or in an update of a training.
        start: the iteration that a training resumes from.
    """

    def __init__(self, collector: Collector, bar: Bar, images: int, start: int = 0) -> None:
        self._collector = collector
        self._bar = bar
        self._images = images
        self._start = start
        self._clock: float | None = None
        self._clock_at = 0
        self._sums: dict[str, float] = {}
        self._batches = 0
        self._rows = 0

    def update(self) -> None:
        """Show what is new."""
        result = self._collector.result
        if result.batches:
            self._test(result)
        elif result.segments:
            self._train(result)

    def _test(self, result: LogResult) -> None:
        # The last batch may not be whole yet.
        whole = len(result.batches) - (not self._collector.over)
        while self._batches < whole:
            for name, value in result.batches[self._batches].outputs.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._batches += 1
        if not self._batches:
            return
        means = {name: total / self._batches for name, total in self._sums.items()}
        self._bar.to(self._batches, f"{self._rate(self._batches)}{self._scores(means)}")

    def _train(self, result: LogResult) -> None:
        segment = result.segments[-1]
        if segment.last_iteration is None or len(segment.train) + len(segment.test) == self._rows:
            return
        self._rows = len(segment.train) + len(segment.test)
        parts = ""
        if segment.train:
            row = segment.train[-1]
            parts += f"  loss {number_text(row.loss)}" if row.loss is not None else ""
            parts += f"  lr {number_text(row.lr)}" if row.lr is not None else ""
        tests = next((row for row in reversed(segment.test) if row.net == 0), None)
        if tests is not None:
            parts += f"  test at {tests.iteration}:{self._scores(tests.outputs)}"
        done = max(0, segment.last_iteration - self._start)
        self._bar.to(done, f"{self._rate(done)}{parts}")

    def _rate(self, done: int) -> str:
        """Images a second since the first row: what came before is starting."""
        now = time.monotonic()
        if self._clock is None:
            self._clock, self._clock_at = now, done
            return ""
        spent = now - self._clock
        if spent <= 0 or done <= self._clock_at:
            return ""
        return f"{(done - self._clock_at) * self._images / spent:.0f} images/s"

    def _scores(self, means: dict[str, float]) -> str:
        shown = ""
        for name, value in means.items():
            role, k, _ = self._collector.role(name)
            if role == OTHER:
                continue
            label = f"top-{k}" if k else "loss" if role == LOSS else name
            shown += f"  {label} {value:.4g}" if math.isfinite(value) else f"  {label} {value}"
        return shown
