"""Options of commands that run on several devices: processes, machines, restarts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..runner.options import RunOptions

_WORKERS = click.option(
    "--workers", type=int, metavar="N", help="processes, of the embedded engine on CPUs"
)
_MACHINES = (
    click.option("--nodes", type=int, default=1, metavar="N", help="machines that train [1]"),
    click.option("--node-rank", type=int, default=0, metavar="I", help="which of them this is [0]"),
    click.option("--rendezvous", metavar="HOST:PORT", help="of node 0, where machines meet"),
    click.option(
        "--max-restarts",
        type=int,
        default=0,
        metavar="N",
        help="go on from the newest snapshot when a process dies [0]",
    ),
)


def workers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--workers`, as a field of the command's `options`."""
    return _into_options(command, ("workers",), (_WORKERS,))


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--workers` and those of several machines, as fields of the command's `options`."""
    names = ("workers", "nodes", "node_rank", "rendezvous", "max_restarts")
    return _into_options(command, names, (_WORKERS, *_MACHINES))


def _into_options(
    command: Callable[..., Any],
    names: tuple[str, ...],
    added: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...],
) -> Callable[..., Any]:
    @wraps(command)
    def with_options(*, options: RunOptions, **values: Any) -> Any:
        fields = {name: values.pop(name) for name in names}
        return command(options=replace(options, **fields), **values)

    wrapped: Callable[..., Any] = with_options
    for option in reversed(added):
        wrapped = option(wrapped)
    return wrapped
