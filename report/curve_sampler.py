"""Sample the curves of trainings from the rows of a log, in memory that does not grow with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..logs.events import Output
from ..logs.lines import parse_number
from ..logs.logged_net import role_of
from ..logs.result import LogResult
from ..logs.rows import RowSink
from ..logs.scores import LOSS
from .sampled_curve import MovingMean, Point, SampledCurve

STRETCHES = 1024  # of a curve, at most
BUDGET = 1 << 16  # stretches of all curves together
MAX_CURVES = 2000  # which only an odd log has; the curves of later runs in it are left out
LOSS_CURVE, RATE_CURVE, OUTPUT_CURVE, TEST_CURVE = "loss", "rate", "output", "test"


class Key(NamedTuple):
    """Names a curve of a log.

    Attributes:
        segment: the run's number within the log.
        kind: the smoothed loss, the rate, an output of the trained net, or of a test net.
        net: the test net's number, 0 for the trained net.
        output: its name; empty for loss and rate.
    """

    segment: int
    kind: str
    net: int = 0
    output: str = ""


class CurveSampler(RowSink):
    """Receives the rows of a log, and keeps what one would see of their curves.

    Args:
        smooth: number of displays to average a training loss over.
        stretches: of a curve, at most.

    Attributes:
        curves: by their keys, in the order of the log.
        weighted: the outputs whose loss weight Caffe printed.
        is_complete: false if the log had more than `MAX_CURVES`.
    """

    def __init__(self, smooth: int = 1, stretches: int = STRETCHES) -> None:
        self.curves: dict[Key, SampledCurve] = {}
        self.weighted: set[str] = set()
        self.is_complete = True
        self._stretches = stretches
        self._smooth = smooth
        self._means: dict[Key, MovingMean] = {}
        self._names: tuple[str, ...] = ()  # of the last display's outputs
        self._losses: list[int] = []  # which of them are losses, of a net that has several

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
        """Receive a display."""
        number = int(iteration)
        if loss is not None:
            self._add_loss(Key(segment, LOSS_CURVE), number, seconds, parse_number(loss))
        if lr is not None:
            self._add(Key(segment, RATE_CURVE), Point(number, seconds, parse_number(lr)))
        if len(names) > 1:
            for index in self._losses_among(names):
                key = Key(segment, OUTPUT_CURVE, 0, names[index])
                self._add_loss(key, number, seconds, parse_number(values[index]))

    def _losses_among(self, names: tuple[str, ...]) -> list[int]:
        """Return which outputs of the trained net are losses, if several are."""
        if names is not self._names:
            losses = [i for i, name in enumerate(names) if _is_loss(name)]
            self._names, self._losses = names, losses if len(losses) > 1 else []
        return self._losses

    def test(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        net: str,
        outputs: Sequence[Output],
    ) -> None:
        """Receive a test while training."""
        weights_known = any(output.weight is not None for output in outputs)
        values, losses = {}, []
        for name, value, weight in outputs:
            values[name] = parse_number(value)
            if weight is not None:
                self.weighted.add(name)
            if role_of(name, weight is not None, None, weights_known)[0] == LOSS:
                losses.append(name)
        self._add_test(segment, int(iteration), seconds, int(net), values, losses)

    def _add_test(
        self,
        segment: int,
        iteration: int,
        seconds: float | None,
        net: int,
        values: Mapping[str, float],
        losses: Iterable[str],
    ) -> None:
        """Add a test; its accuracies mean nothing beside a loss that is not finite."""
        diverged = not all(math.isfinite(values.get(name, 0.0)) for name in losses)
        for name, value in values.items():
            shown = math.nan if diverged and name not in losses else value
            self._add(Key(segment, TEST_CURVE, net, name), Point(iteration, seconds, shown))

    def add_rows(self, result: LogResult) -> None:
        """Receive the rows that a result has kept."""
        losses = {score.name for score in result.scores if score.role == LOSS}
        for number, segment in enumerate(result.segments):
            for row in segment.train:
                at = (row.iteration, row.seconds)
                if row.loss is not None:
                    self._add_loss(Key(number, LOSS_CURVE), *at, row.loss)
                if row.lr is not None:
                    self._add(Key(number, RATE_CURVE), Point(*at, row.lr))
                names = tuple(row.outputs)
                for index in self._losses_among(names if names != self._names else self._names):
                    name = names[index]
                    self._add_loss(Key(number, OUTPUT_CURVE, 0, name), *at, row.outputs[name])
            for test in segment.test:
                among = losses or {name for name in test.outputs if _is_loss(name)}
                place = (number, test.iteration, test.seconds, test.net)
                self._add_test(*place, test.outputs, among & test.outputs.keys())

    def _add_loss(self, key: Key, iteration: int, seconds: float | None, loss: float) -> None:
        if self._smooth > 1:
            mean = self._means.get(key)
            if mean is None:
                mean = self._means[key] = MovingMean(self._smooth)
            loss = mean.add(loss)
        self._add(key, Point(iteration, seconds, loss))

    def _add(self, key: Key, point: Point) -> None:
        curve = self.curves.get(key)
        if curve is None:
            if len(self.curves) >= MAX_CURVES:
                self.is_complete = False
                return
            curve = self.curves[key] = SampledCurve(self._stretches)
            if len(self.curves) * self._stretches > BUDGET:
                self._stretches = max(16, self._stretches // 2)
                for each in self.curves.values():
                    each.lower_limit(self._stretches)
        curve.add(point)


def _is_loss(name: str) -> bool:
    return role_of(name, False, None, False)[0] == LOSS
