"""A test by several processes: each its share of the batches, whose results rank 0 gets in order.

A batch is the one that a single process would test, so the scores are the same.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from hashlib import sha256

import torch
import torch.distributed as dist

from ..executor import BatchResult, Executor
from ..kernels.base import ScoreCounts
from ..tensors import to_array
from .watch import ACTIVITY
from .world import World, losing_peers

_DIGITS = 16


def tested_batches(
    net: Executor, world: World, iterations: int, keep: Container[str]
) -> Iterator[BatchResult]:
    """Test batches; yield their results in order on rank 0, and none elsewhere.

    Args:
        net: in TEST; of several processes, its data layers return their batches.
        world: the processes.
        iterations: batches of all processes.
        keep: blobs to keep besides the outputs.

    Raises:
        PeerLostError: another process has gone.
    """
    for first in range(0, iterations, world.size):
        ACTIVITY.mark("test", first)
        mine = first + world.rank < iterations
        result = net.test_batch(keep=keep) if mine else None
        if world.size > 1:
            yield from _gathered(world, result)
        elif result is not None:
            yield result


def weights_digest(net: Executor) -> str:
    """Return a digest of all parameters."""
    digest = sha256()
    for parameter in net.parameters.unique:
        digest.update(to_array(parameter.data).tobytes())
    return digest.hexdigest()[:_DIGITS]


def _gathered(world: World, result: BatchResult | None) -> Iterator[BatchResult]:
    """Yield the results of all processes on rank 0, in the order of the ranks."""
    headers = world.collect(_header(result))
    if not world.leads:
        for tensor in result.blobs.values() if result is not None else ():
            with losing_peers():
                dist.send(_bytes(tensor), 0)
        return
    if result is not None:
        yield result
    for rank, header in enumerate(headers[1:], 1):
        if header:
            yield _received(header, rank, world.device)


def _header(result: BatchResult | None) -> str:
    if result is None:
        return ""
    blobs = [
        [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        for name, tensor in result.blobs.items()
    ]
    return json.dumps([result.loss, result.records, blobs, result.score_counts])


def _received(header: str, rank: int, device: torch.device) -> BatchResult:
    loss, records, described, counts = json.loads(header)
    blobs = {}
    for name, dtype, shape in described:
        tensor = torch.empty(shape, dtype=getattr(torch, dtype), device=device)
        values = _bytes(tensor)
        with losing_peers():
            dist.recv(values, rank)
        blobs[name] = values.view(tensor.dtype).reshape(shape)
    score_counts = {name: ScoreCounts(*each) for name, each in counts.items()}
    return BatchResult(loss, blobs, records, score_counts)


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().reshape(-1).contiguous().view(torch.uint8)
