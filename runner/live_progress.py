"""Live progress of a run: images per second, loss, running scores."""

from __future__ import annotations

import math
import time

from ..logs.collector import Collector
from ..logs.result import LOSS, OTHER, LogResult
from ..progress import Bar
from ..text import number_text


class LiveProgress:
    """Updates a bar from the result that the collector builds.

    Args:
        collector: builds the result.
        bar: the bar to update.
        images_per_step: images in a test batch or in a training update.
        first_iteration: the iteration that a training resumes from.
    """

    def __init__(
        self, collector: Collector, bar: Bar, images_per_step: int, first_iteration: int = 0
    ) -> None:
        self._collector = collector
        self._bar = bar
        self._images_per_step = images_per_step
        self._first_iteration = first_iteration
        self._first_time: float | None = None
        self._first_step = 0
        self._sums: dict[str, float] = {}
        self._batches = 0
        self._rows = 0

    def update(self) -> None:
        """Show rows that are new since the last call."""
        result = self._collector.result
        if result.batches:
            self._update_test(result)
        elif result.segments:
            self._update_training(result)

    def _update_test(self, result: LogResult) -> None:
        # Outputs of the last batch may still be missing.
        complete = len(result.batches) - (not self._collector.over)
        while self._batches < complete:
            for name, value in result.batches[self._batches].outputs.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._batches += 1
        if not self._batches:
            return
        means = {name: total / self._batches for name, total in self._sums.items()}
        self._bar.update(self._batches, f"{self._rate(self._batches)}{self._scores(means)}")

    def _update_training(self, result: LogResult) -> None:
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
        step = max(0, segment.last_iteration - self._first_iteration)
        self._bar.update(step, f"{self._rate(step)}{parts}")

    def _rate(self, step: int) -> str:
        """Format images per second since the first row, which leaves out start-up."""
        now = time.monotonic()
        if self._first_time is None:
            self._first_time, self._first_step = now, step
            return ""
        seconds = now - self._first_time
        if seconds <= 0 or step <= self._first_step:
            return ""
        return f"{(step - self._first_step) * self._images_per_step / seconds:.0f} images/s"

    def _scores(self, means: dict[str, float]) -> str:
        shown = ""
        for name, value in means.items():
            role, k, _ = self._collector.role(name)
            if role == OTHER:
                continue
            label = f"top-{k}" if k else "loss" if role == LOSS else name
            shown += f"  {label} {value:.4g}" if math.isfinite(value) else f"  {label} {value}"
        return shown
