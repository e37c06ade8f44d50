"""Sums of the gradients of all shards, added in the order of the shards.

The order makes the bits of a sum independent of which process computed which shard. Each process
sums a part of the gradients: it gets that part of every shard's from the processes that computed
them, adds them up, and sends the sum to all. So no more is sent than in a ring's all-reduce, which
adds in another order on each machine.

What signals ask of a process travels with the gradients, so that all act in the same iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist

from ..parameters import Parameter
from .shards import Shards
from .world import World, losing_peers

Tensor = torch.Tensor
Gradients = Sequence[Tensor | None]


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
        self._world, self._shards = world, shards
        self._learned = [parameter for parameter in parameters if parameter.learned]
        sizes = [parameter.data.numel() for parameter in self._learned]
        self._sizes = [*sizes, len(Requests._fields)]
        self._part = -(-sum(self._sizes) // world.size)  # numbers that each process sums up
        example = parameters[0].data if parameters else torch.zeros(0)
        self._none = example.new_zeros(0)  # has their type and device

    def run(self, gradients: Sequence[Gradients], requests: Requests) -> Requests:
        """Set the parameters' gradients to the mean over all shards; return what anyone asked.

        Args:
            gradients: for each shard of this process, one for each learned parameter; None where
                there is none.
            requests: of this process.

        Raises:
            PeerLostError: another process has gone.
        """
        columns = list(zip(*gradients, strict=True))
        rows = self._pack(gradients, requests)
        total = self._sum(rows)
        *means, asked, _ = torch.split(total, self._places())
        for parameter, column, mean in zip(self._learned, columns, means, strict=True):
            if any(gradient is not None for gradient in column):
                parameter.grad = _unflatten(mean, parameter.data)
        return Requests(*(asked > 0).tolist())

    def _pack(self, gradients: Sequence[Gradients], requests: Requests) -> Tensor:
        """Return (own shards, numbers): the gradients of each shard, then the requests."""
        rows = self._none.new_zeros(len(gradients), self._part * self._world.size)
        for row, of_shard in zip(rows, gradients, strict=True):
            for place, gradient in zip(torch.split(row, self._places()), of_shard, strict=False):
                if gradient is not None:
                    place.copy_(_flat(gradient))
        torch.split(rows[0], self._places())[-2].copy_(torch.tensor(requests))
        return rows

    def _places(self) -> list[int]:
        """Return how many numbers each gradient has, the requests, and what fills up the parts."""
        return [*self._sizes, self._part * self._world.size - sum(self._sizes)]

    def _sum(self, rows: Tensor) -> Tensor:
        """Return (numbers,): the mean over the shards of all processes."""
        world, own = self._world, len(rows)
        if world.size == 1:
            return self._add(rows)
        sent = rows.view(own, world.size, self._part).transpose(0, 1).contiguous()
        received = torch.empty_like(sent)  # (process, its shards, part)
        with losing_peers():
            dist.all_to_all_single(received, sent)
            mean = self._add(received.view(world.size * own, self._part))
            means = self._none.new_empty(world.size * self._part)
            dist.all_gather_into_tensor(means, mean)
        return means

    def _add(self, rows: Tensor) -> Tensor:
        total = rows[0].clone()
        for row in rows[1:]:
            total.add_(row)
        return total.mul_(1 / self._shards.count)


def _flat(gradient: Tensor) -> Tensor:
    """Return the numbers in the order of memory; images and their weights are channels-last."""
    return (gradient.permute(0, 2, 3, 1) if gradient.dim() == 4 else gradient).reshape(-1)


def _unflatten(numbers: Tensor, like: Tensor) -> Tensor:
    if like.dim() != 4:
        return numbers.view(like.shape)
    n, channels, height, width = like.shape
    return numbers.view(n, height, width, channels).permute(0, 3, 1, 2)
