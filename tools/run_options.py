"""Options and output that `sqgen test`, `train`, `time` and `compress eval` share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ..errors import SqgenError
from ..progress import no_bar
from ..runner.engines import AUTO, CHOICES
from ..runner.subprocess_guard import STALL_TIMEOUT
from ..text import printable
from .progress_bar import ProgressBar, print_note
from .terminal import print_json

if TYPE_CHECKING:
    from ..engine.flags import CommandLine
    from ..logs.result import LogResult
    from ..runner.options import RunOptions

_OPTIONS = (
    click.option("--gpu", metavar="N", help="run on these GPUs: 0, 0,1 or all"),
    click.option("--cpu", is_flag=True, help="run on the CPU, whatever the solver says"),
    click.option(
        "--engine",
        type=click.Choice(CHOICES),
        default=AUTO,
        help="auto, a real caffe, or torch: sqgen-caffe [auto]",
    ),
    click.option("--caffe", metavar="COMMAND", help="command line that runs a caffe"),
    click.option("--run-dir", metavar="DIR", help="folder to make [runs/TIME-NAME]"),
    click.option(
        "--stall-timeout",
        type=click.FloatRange(min=0),
        default=STALL_TIMEOUT,
        metavar="SECONDS",
        help=f"report silence after this time; 0: never [{STALL_TIMEOUT:g}]",
    ),
    click.option("--stop-stalled", is_flag=True, help="end a run that is silent for that long"),
    click.option("--quiet", is_flag=True, help="hide progress and remarks, but no warning"),
    click.option("--json", "as_json", is_flag=True, help="print JSON"),
)
_NAMES = ("gpu", "cpu", "engine", "caffe", "run_dir", "stall_timeout", "stop_stalled")

engine_arguments = click.argument(
    "arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- CAFFE_OPTIONS...]"
)
data_option = click.option("--data", metavar="LMDB", help="dataset, instead of the net's own")
batch_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="images in a batch, instead of the net's own",
)
mean_option = click.option("--mean", metavar="FILE", help="mean image, instead of the net's mean")


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the shared options; the command receives them as one argument `options`."""

    @wraps(command)
    def with_run_options(**values: Any) -> Any:
        from ..runner.options import RunOptions

        fields = {name: values.pop(name) for name in _NAMES}
        quiet = values.pop("quiet")
        options = RunOptions(
            **fields,
            arguments=values.pop("arguments", ()),
            log=print_run_line,
            quiet=quiet,
            progress=no_bar if quiet else ProgressBar,
            typed=("sqgen", *sys.argv[1:]),
        )
        return command(**values, options=options)

    wrapped: Callable[..., Any] = with_run_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def embedded_flags(options: RunOptions, names: Collection[str], taker: str) -> CommandLine:
    """Return the options behind --, which the embedded engine takes in this process.

    Args:
        options: what was typed.
        names: of the flags that count here.
        taker: what takes them, for the error.

    Raises:
        click.UsageError: there is another one.
        SqgenError: there is none of this name, or its value is illegal.
    """
    from ..engine.flags import FlagError, parse

    try:
        line = parse(options.arguments)
    except FlagError as error:
        raise SqgenError(f"behind --: {error}") from None  # not gflags' exit code
    others = line.explicit - {*names} or line.words
    if others:
        takes = " and ".join(f"--{name}" for name in names)
        raise click.UsageError(f"'{printable(min(others))}' behind --: {taker} takes {takes}")
    return line


def print_run_line(line: str) -> None:
    """Print a line of a run to standard error; a closed or full stream does not end the run."""
    if sys.stderr is not None:
        with suppress(OSError):
            print_note(f"sqgen: {line}")


def log_run_folder(result: LogResult, options: RunOptions) -> None:
    """Log the run folder and the time that the run took."""
    options.log_line(f"all files are in {result.run['folder']} ({result.run['seconds']:.1f} s)")


def print_result_json(result: LogResult, **more: Any) -> None:
    """Print a result as JSON, with `more` keys appended."""
    print_json({**result.as_dict(), **more})
