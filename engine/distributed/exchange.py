"""Sums of the gradients of all shards, added in the order of the shards.

The order makes the bits of a sum independent of which process computed which shard. Each process
sums a part of the gradients: it gets that part of every shard's from the processes that computed
them, adds them up, and sends the sum to all. So no more is sent than in a ring's all-reduce, which
adds in another order on each machine. They travel in buckets, the last layers' during the backward
pass of those before.

What signals ask of a process travels with the gradients, so that all act in the same iteration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from ..parameters import Parameter
from .shards import Shards
from .world import World, losing_peers, wait_for

Tensor = torch.Tensor
Gradients = Sequence[Tensor | None]

BUCKET = 1 << 19  # numbers, from which on a bucket is full: 2 MB


class Requests(NamedTuple):
    """What a process asks of all, in one iteration.

    Attributes:
        stop, snapshot: after the update.
        abandon: leave the iteration without an update, and stop.
        failed: likewise, because an error ends this process.
    """

    stop: bool = False
    snapshot: bool = False
    abandon: bool = False
    failed: bool = False


class GradientExchange:
    """Sums gradients over shards (P2PSync::on_gradients_ready in src/caffe/parallel.cpp).

    Args:
        world: the processes.
        shards: all, and those of this process.
        parameters: of the net; those that are learned have gradients.
    """

    def __init__(self, world: World, shards: Shards, parameters: Sequence[Parameter]) -> None:
        self.world, self.shards = world, shards
        self.learned = [parameter for parameter in parameters if parameter.learned]
        sizes = [parameter.data.numel() for parameter in self.learned]
        example = parameters[0].data if parameters else torch.zeros(0)
        groups = _group(sizes)
        self.buckets = [
            Bucket(
                members, [sizes[number] for number in members], self, example, members is groups[-1]
            )
            for members in groups
        ]

    def begin(self) -> GradientSum:
        """Begin the sum of an iteration."""
        return GradientSum(self)


def _group(sizes: Sequence[int]) -> list[list[int]]:
    """Divide parameters into buckets, the last first, as a backward pass gets to them."""
    groups: list[list[int]] = [[]]
    filled = 0
    for number in reversed(range(len(sizes))):
        if filled >= BUCKET:
            groups.append([])
            filled = 0
        groups[-1].append(number)
        filled += sizes[number]
    return groups


class Bucket:
    """Parameters whose gradients travel together, the last bucket's with the requests.

    Args:
        members: their numbers.
        sizes: how many elements each has.
        exchange: that it belongs to.
        example: a tensor of their type and device.
        has_requests: whether the requests are behind them.
    """

    def __init__(
        self,
        members: Sequence[int],
        sizes: Sequence[int],
        exchange: GradientExchange,
        example: Tensor,
        has_requests: bool,
    ) -> None:
        self.members, self.has_requests = list(members), has_requests
        processes, own = exchange.world.size, len(exchange.shards.own)
        numbers = sum(sizes) + has_requests * len(Requests._fields)
        part = -(-numbers // processes)  # that each process sums up
        rest = part * processes - sum(sizes)
        # (own shards, numbers): what follows the gradients is the requests, or stays 0.
        self._rows = example.new_zeros(own, part * processes)
        self._places = [torch.split(row, [*sizes, rest]) for row in self._rows]
        self._sent = self._rows.view(own, processes, part).transpose(0, 1)
        self._exchange = exchange
        self._mean = self._received = self._rows
        self._work: Any = None

    def fill(self, place: int, number: int, gradient: Tensor | None) -> None:
        """Set the gradient of a parameter, for the own shard at `place`."""
        values = self._places[place][self.members.index(number)]
        if gradient is None:
            values.zero_()
        else:
            values.copy_(_flat(gradient))

    def ask(self, requests: Requests) -> None:
        """Set the requests."""
        self._places[0][-1][: len(requests)].copy_(torch.tensor(requests))

    def send(self) -> None:
        """Start to send each process its part of the gradients of all own shards."""
        if self._exchange.world.size == 1:
            return
        with losing_peers():
            sent = self._sent.contiguous()
            self._received = torch.empty_like(sent)  # (process, its shards, part)
            self._work = dist.all_to_all_single(self._received, sent, async_op=True)

    def add(self) -> None:
        """Wait for the own part, add it up, and start to send the sum."""
        count = self._exchange.shards.count
        if self._work is None:
            self._mean = _mean(self._rows, count)
            return
        with losing_peers():
            wait_for(self._work)
            mean = _mean(self._received.view(count, -1), count)
            self._mean = mean.new_empty(len(mean) * self._exchange.world.size)
            self._work = dist.all_gather_into_tensor(self._mean, mean, async_op=True)

    def means(self) -> tuple[Tensor, ...]:
        """Wait for the mean of each member's gradients over all shards, and what follows them."""
        if self._work is not None:
            with losing_peers():
                wait_for(self._work)
            self._work = None
        return torch.split(self._mean, [len(values) for values in self._places[0]])


class GradientSum:
    """The sum of one iteration; gradients that are given early travel during the backward pass."""

    def __init__(self, exchange: GradientExchange) -> None:
        self._exchange = exchange
        self._buckets = deque(exchange.buckets)  # that are not sent
        self._given: list[set[int]] = [set() for _ in exchange.shards.own]

    def give(self, place: int, gradients: Mapping[int, Tensor | None]) -> None:
        """Give final gradients by number of the parameter, for the own shard at `place`.

        Buckets whose gradients are complete are sent, in the same order on all ranks.
        """
        for bucket in self._buckets:
            for number in bucket.members:
                if number in gradients and number not in self._given[place]:
                    bucket.fill(place, number, gradients[number])
                    self._given[place].add(number)
        while len(self._buckets) > 1 and self._is_complete(self._buckets[0]):
            self._buckets.popleft().send()

    def _is_complete(self, bucket: Bucket) -> bool:
        return all(given.issuperset(bucket.members) for given in self._given)

    def finish(self, gradients: Sequence[Gradients], requests: Requests) -> Requests:
        """Set the parameters' gradients to the mean over all shards; return what anyone asked.

        Args:
            gradients: for each shard of this process, one for each learned parameter; None where
                there is none.
            requests: of this process.

        Raises:
            PeerLostError: another process has gone.
        """
        for place, of_shard in enumerate(gradients):
            self.give(place, dict(enumerate(of_shard)))
        self._buckets[-1].ask(requests)
        while self._buckets:
            self._buckets.popleft().send()
        for bucket in self._exchange.buckets:
            bucket.add()
        asked = Requests()
        for bucket in self._exchange.buckets:
            *means, behind = bucket.means()
            for number, mean in zip(bucket.members, means, strict=True):
                if any(of_shard[number] is not None for of_shard in gradients):
                    parameter = self._exchange.learned[number]
                    parameter.grad = _unflatten(mean, parameter.data)
            if bucket.has_requests:
                asked = Requests(*(behind[: len(asked)] > 0).tolist())
        return asked


def _mean(rows: Tensor, count: int) -> Tensor:
    """Return (numbers,): the sum of rows in their order, by their count."""
    total = rows[0].clone()
    for row in rows[1:]:
        total.add_(row)
    return total.mul_(1 / count)


def _flat(gradient: Tensor) -> Tensor:
    """Return the numbers in the order of memory; images and their weights are channels-last."""
    return (gradient.permute(0, 2, 3, 1) if gradient.dim() == 4 else gradient).reshape(-1)


def _unflatten(numbers: Tensor, like: Tensor) -> Tensor:
    if like.dim() != 4:
        return numbers.view(like.shape)
    n, channels, height, width = like.shape
    return numbers.view(n, height, width, channels).permute(0, 3, 1, 2)
