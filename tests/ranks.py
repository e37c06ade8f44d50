"""Trainings by several ranks of one machine, each a process as torchrun starts it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import engine_server

PATIENCE = 60  # seconds until a rank counts as hung


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """The variables of a rank."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def of_another_machine(rank: int) -> dict[str, str]:
    """The variables of a rank that seems alone on its machine, so that NCCL shares its GPU."""
    return {
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "NCCL_HOSTID": f"machine{rank}",  # NCCL refuses two ranks of one machine on one GPU
        "NCCL_SOCKET_IFNAME": "lo",
    }


def run_ranks(
    size: int,
    arguments: Sequence[str],
    folder: Path,
    more: Mapping[int, Sequence[str]] | None = None,
    variables: Mapping[int, Mapping[str, str]] | None = None,
) -> list[tuple[int, str]]:
    """Run the engine's command line in each rank; (exit code, log).

    Args:
        size: how many ranks.
        arguments: of each.
        folder: where they run.
        more: further arguments of some ranks.
        variables: of the environment of some ranks, beside those of `environment`.
    """
    port = free_port()

    def run(rank: int) -> tuple[int, str]:
        done = engine_server.run(
            "sqgen.engine",
            [*arguments, *(more or {}).get(rank, ())],
            cwd=folder,
            env={**environment(rank, size, port), **(variables or {}).get(rank, {})}
            if size > 1
            else {},
            timeout=PATIENCE,
        )
        return done.returncode, done.stderr.decode()

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))
