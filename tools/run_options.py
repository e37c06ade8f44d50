"""The options of a run that `sqgen test`, `train`, `time` and `compress eval` share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import click

from ..progress import no_bar
from ..runner.engines import AUTO, CHOICES
from ..runner.subprocess_guard import STALL_TIMEOUT
from .progress_bar import Progress, note

_OPTIONS = (
    click.option("--gpu", metavar="N", help="run on these GPUs: 0, 0,1 or all"),
    click.option("--cpu", is_flag=True, help="run on the CPU, whatever the solver says"),
    click.option("--engine", type=click.Choice(CHOICES), default=AUTO, help="which to run [auto]"),
    click.option("--caffe", metavar="COMMAND", help="a command that runs a caffe"),
    click.option("--run-dir", metavar="DIR", help="the folder to make [runs/TIME-NAME]"),
    click.option(
        "--stall-timeout",
        type=click.FloatRange(min=0),
        default=STALL_TIMEOUT,
        metavar="SECONDS",
        help=f"silence that is reported; 0 is none [{STALL_TIMEOUT:g}]",
    ),
    click.option("--stop-stalled", is_flag=True, help="end a run that went silent"),
    click.option("--quiet", is_flag=True, help="no progress, no remarks"),
    click.option("--json", "as_json", is_flag=True, help="print JSON"),
)
_HOW = ("gpu", "cpu", "engine", "caffe", "run_dir", "stall_timeout", "stop_stalled")

passthrough = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
data_option = click.option("--data", metavar="LMDB", help="in place of the net's own, in a copy")
batch_option = click.option(
    "--batch-size", type=click.IntRange(min=1), metavar="N", help="in place of the net's"
)
mean_option = click.option(
    "--mean", metavar="FILE", help="a mean image, in place of the net's mean"
)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all runs share; the command gets one argument `options` for them."""

    @wraps(command)
    def with_run_options(**values: Any) -> Any:
        from ..runner.options import RunOptions

        given = {name: values.pop(name) for name in _HOW}
        quiet = values.pop("quiet")
        options = RunOptions(
            **given,
            arguments=values.pop("arguments", ()),
            tell=None if quiet else tell,
            progress=no_bar if quiet else Progress,
        )
        return command(**values, options=options)

    wrapped: Callable[..., Any] = with_run_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def tell(line: str) -> None:
    """A line of a run, on standard error; a place that is full or gone ends no run."""
    if sys.stderr is not None:
        with suppress(OSError):
            note(f"sqgen: {line}")
