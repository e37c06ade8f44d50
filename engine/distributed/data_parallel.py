"""Data-parallel training: each process its shards' batches, then one sum (src/caffe/parallel.cpp).

As in Caffe, a shard's batches add up over iter_size, the sums of all shards are divided by their
number, BatchNorm normalizes each batch by itself, and the statistics and losses are shard 0's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from ...errors import FormatError, NetError, PeerLostError, SqgenError
from ..executor import BatchResult, Executor
from .exchange import GradientExchange, Requests
from .shards import Shards
from .watch import ACTIVITY
from .world import World

Tensor = torch.Tensor


class DataParallel:
    """Gradients of a net over the shards of all processes.

    Args:
        world: the processes.
        shards: all, and those of this process, whose batches the net's data layers return.
        net: in TRAIN.
    """

    def __init__(self, world: World, shards: Shards, net: Executor) -> None:
        self.world, self.shards, self.net = world, shards, net
        self._exchange = GradientExchange(world, shards, net.parameters.unique)
        self._sum = self._exchange.begin()
        self._learned = self._exchange.learned
        self._statistics = [each for each in net.parameters.unique if each.statistic]

    def gradients(
        self, iter_size: int, requests: Requests, iteration: int
    ) -> tuple[BatchResult, Requests]:
        """Set the gradients to their means over all shards.

        Args:
            iter_size: batches of each shard.
            requests: of this process.
            iteration: of the training.

        Returns:
            The last batch of the first own shard, with that shard's mean loss; what any process
            asked.

        Raises:
            FormatError, NetError: a record can't be read; all processes know that one failed.
            PeerLostError: another process has gone, or failed.
        """
        with self._unchanged_on_faults():
            try:
                result, gradients = self._compute(iter_size)
            except (FormatError, NetError):
                self.leave(Requests(failed=True))
                raise
            ACTIVITY.mark("exchange", iteration)
            asked = self._sum.finish(gradients, requests)
            self._sum = self._exchange.begin()
            if asked.failed:
                raise PeerLostError("another rank ended with an error")
        return result, asked

    @contextmanager
    def _unchanged_on_faults(self) -> Iterator[None]:
        """Put BatchNorm's statistics back on an error: a snapshot then repeats the iteration."""
        before = [each.data.clone() for each in self._statistics]
        try:
            yield
        except SqgenError:
            self._set_statistics(before)
            raise

    def _set_statistics(self, values: Sequence[Tensor]) -> None:
        for each, value in zip(self._statistics, values, strict=True):
            each.data.copy_(value)

    def leave(self, requests: Requests) -> None:
        """Take part in the sum without gradients, to tell the others of an end."""
        nothing = [[None] * len(self._learned) for _ in self.shards.own]
        self._sum.finish(nothing, requests)

    def _compute(self, iter_size: int) -> tuple[BatchResult, list[list[Tensor | None]]]:
        """Return the first shard's result, and each own shard's gradients."""
        net, shards = self.net, self.shards
        first = net.passes
        gradients: list[list[Tensor | None]] = [[None] * len(self._learned) for _ in shards.own]
        results: list[BatchResult] = []
        for number in range(iter_size):
            for place, shard in enumerate(shards.own):
                # The random numbers of a pass are those of its number, whichever process runs it.
                net.passes = first + number * shards.count + shard
                for parameter, gradient in zip(self._learned, gradients[place], strict=True):
                    parameter.grad = gradient
                is_last = number == iter_size - 1
                with self._kept_statistics(place > 0):
                    result = net.train_batch(on_gradient=self._early(place) if is_last else None)
                gradients[place] = [parameter.grad for parameter in self._learned]
                if is_last:
                    self._sum.give(place, dict(enumerate(gradients[place])))
                results += [result] if place == 0 else []
        net.passes = first + iter_size * shards.count
        loss = sum(result.loss for result in results) / iter_size
        return results[-1]._replace(loss=loss), gradients

    def _early(self, place: int) -> Callable[[int, Tensor], None]:
        """Return what sends the final gradients of an own shard while others are computed."""

        def give(number: int, gradient: Tensor) -> None:
            before = self._learned[number].grad
            total = gradient if before is None else before + gradient
            self._sum.give(place, {number: total})

        return give

    @contextmanager
    def _kept_statistics(self, kept: bool) -> Iterator[None]:
        """Leave BatchNorm's statistics as they are."""
        before = [each.data.clone() for each in self._statistics] if kept else None
        yield
        if before is not None:
            self._set_statistics(before)
