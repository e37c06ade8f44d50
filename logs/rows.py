"""Receivers of the rows of a log: `RowStore` stores them, `LastLosses` the last, `RowSink` none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .events import Output
from .lines import parse_number, parse_optional
from .result import BatchRow, TestRow, TrainRow


class RowSink:
    """Discards each row; subclasses use them. Values are the text that Caffe printed."""

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

    def test(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        net: str,
        outputs: Sequence[Output],
    ) -> None:
        """Receive a test while training."""

    def batch(self, index: str, name: str, value: str) -> None:
        """Receive an output of a batch of `caffe test`."""

    def restart_batches(self) -> None:
        """Note that another `caffe test` begins."""


class LastLosses(RowSink):
    """Stores the loss and learning rate that each segment displayed last, as Caffe printed them."""

    def __init__(self) -> None:
        self.by_segment: dict[int, tuple[str, str]] = {}

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
        """Store a display in place of the one before."""
        earlier = self.by_segment.get(segment, ("", ""))
        self.by_segment[segment] = (loss or earlier[0], lr or earlier[1])


class RowStore(RowSink):
    """Stores every row."""

    def __init__(self) -> None:
        self.train_rows: defaultdict[int, list[TrainRow]] = defaultdict(list)  # by segment
        self.test_rows: defaultdict[int, list[TestRow]] = defaultdict(list)
        self._batches: list[BatchRow] = []  # complete ones
        self._open_batch: BatchRow | None = None
        self._open_outputs: dict[str, float] = {}

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
        """Store a display."""
        outputs = dict(zip(names, map(parse_number, values), strict=True))
        row = TrainRow(int(iteration), seconds, parse_optional(loss), parse_optional(lr), outputs)
        self.train_rows[segment].append(row)

    def test(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        net: str,
        outputs: Sequence[Output],
    ) -> None:
        """Store a test while training."""
        values = {output.name: parse_number(output.value) for output in outputs}
        self.test_rows[segment].append(TestRow(int(iteration), seconds, int(net), values))

    def batch(self, index: str, name: str, value: str) -> None:
        """Add to the batch that is read, or begin another."""
        if self._open_batch is None or self._open_batch.batch != int(index):
            if self._open_batch is not None:
                self._batches.append(self._open_batch)
            self._open_outputs = {}
            self._open_batch = BatchRow(int(index), self._open_outputs)
        self._open_outputs[name] = parse_number(value)

    def restart_batches(self) -> None:
        """Discard the batches of an earlier test in the same log."""
        self._batches, self._open_batch = [], None

    def batches_from(self, start: int, with_last: bool) -> Sequence[BatchRow]:
        """Return the batches from number `start` on, in time proportional to their count.

        Args:
            start: how many to leave out.
            with_last: whether the batch that is read last is complete.
        """
        batches = self._batches[start:]
        if with_last and self._open_batch is not None and start <= len(self._batches):
            batches.append(self._open_batch)
        return batches
