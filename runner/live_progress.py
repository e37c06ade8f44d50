"""What a run shows while it runs: progress, running scores, and trouble as soon as it is one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from ..logs.collector import Collector, TrainProgress
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
        self._shown: TrainProgress | None = None

    def update(self) -> None:
        """Show what is new."""
        for batch in self._collector.new_batches(self._batches):
            for name, value in batch.outputs.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._batches += 1
        progress = self._collector.train_progress()
        if self._batches:
            self._test()
        elif progress is not None and progress != self._shown:
            self._shown = progress
            self._train(progress)

    def _test(self) -> None:
        means = {name: total / self._batches for name, total in self._sums.items()}
        self._bar.to(self._batches, f"{self._rate(self._batches)}{self._scores(means)}")

    def _train(self, progress: TrainProgress) -> None:
        parts, row, test = "", progress.display, progress.test
        if row is not None:
            parts += f"  loss {number_text(row.loss)}" if row.loss is not None else ""
            parts += f"  lr {number_text(row.lr)}" if row.lr is not None else ""
        if test is not None:
            parts += f"  test at {test.iteration}:{self._scores(test.outputs)}"
        done = max(0, progress.iteration - self._start)
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

    def _scores(self, means: Mapping[str, float]) -> str:
        shown = ""
        for name, value in self._collector.named_scores(means).items():
            shown += f"  {name} {value:.4g}" if math.isfinite(value) else f"  {name} {value}"
        return shown
