"""Live progress of a run: images per second, loss, running scores."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..logs.collector import Collector, TrainProgress
from ..progress import Bar
from ..text import number_text

TREND = 8  # losses of the sparkline


@dataclass(frozen=True)
class ProgressSteps:
    """The steps that a progress bar counts.

    Attributes:
        count: batches of a test or iterations of a training; 0 shows no bar.
        images_per_step: images in each.
        first_iteration: the iteration that a training resumes from.
        last_images: images in the last step; None for as many.
        epoch: images of an epoch of a training; 0 where that is not known.
        best: the best score of a training so far, in words; None where none is kept.
    """

    count: int
    images_per_step: int
    first_iteration: int = 0
    last_images: int | None = None
    epoch: int = 0
    best: Callable[[], str] | None = None

    def images(self, step: int) -> int:
        """Return the number of images in a step, which count from 0."""
        if self.last_images is not None and step == self.count - 1:
            return self.last_images
        return self.images_per_step

    def standing(self, iteration: int) -> list[str]:
        """Return the epoch and the best score, of a training that keeps its best weights."""
        if self.best is None:
            return []
        done, last = (
            count * self.images_per_step / max(self.epoch, 1)
            for count in (iteration, self.first_iteration + self.count)
        )
        return [f"epoch {done:.1f} of {last:.3g}" if self.epoch else "", self.best()]


class LiveProgress:
    """Updates a bar from the result that the collector builds.

    Args:
        collector: builds the result.
        bar: the bar to update.
        steps: the steps that the bar counts.
    """

    def __init__(self, collector: Collector, bar: Bar, steps: ProgressSteps) -> None:
        self._collector = collector
        self._bar = bar
        self._steps = steps
        self._first_time: float | None = None
        self._first_step = 0
        self._sums: dict[str, float] = {}
        self._batches = self._images = 0
        self._shown: TrainProgress | None = None
        self._losses: deque[float] = deque(maxlen=TREND)

    def update(self) -> None:
        """Show rows that are new since the last call."""
        for batch in self._collector.new_batches(self._batches):
            images = self._steps.images(self._batches)
            for name, value in batch.outputs.items():
                self._sums[name] = self._sums.get(name, 0.0) + images * value
            self._batches += 1
            self._images += images
        progress = self._collector.train_progress()
        if self._batches:
            self._update_test()
        elif progress is not None and progress != self._shown:
            row = progress.display
            is_new = self._shown is None or row != self._shown.display
            if is_new and row is not None and row.loss is not None:
                self._losses.append(row.loss)
            self._shown = progress
            self._update_training(progress)

    def _update_test(self) -> None:
        means = {name: total / self._images for name, total in self._sums.items()}
        self._bar.update(self._batches, f"{self._rate(self._batches)}{self._scores(means)}")

    def _update_training(self, progress: TrainProgress) -> None:
        row, test = progress.display, progress.test
        step = max(0, progress.iteration - self._steps.first_iteration)
        parts = [*self._steps.standing(progress.iteration), self._rate(step)]
        if row is not None:
            parts += [f"loss {number_text(row.loss)}"] if row.loss is not None else []
            parts += [f"lr {number_text(row.lr)}"] if row.lr is not None else []
        if test is not None:
            parts += [f"test at {test.iteration}:{self._scores(test.outputs)}"]
        self._bar.update(step, "  ".join(filter(None, parts)), tuple(self._losses))

    def _rate(self, step: int) -> str:
        """Format images per second since the first row, which leaves out start-up."""
        now = time.monotonic()
        if self._first_time is None:
            self._first_time, self._first_step = now, step
            return ""
        seconds = now - self._first_time
        if seconds <= 0 or step <= self._first_step:
            return ""
        return f"{(step - self._first_step) * self._steps.images_per_step / seconds:.0f} images/s"

    def _scores(self, means: Mapping[str, float]) -> str:
        shown = ""
        for name, value in self._collector.named_scores(means).items():
            shown += f"  {name} {value:.4g}" if math.isfinite(value) else f"  {name} {value}"
        return shown
