"""The `sqgen` command: finds the command's module, loads only that, ends with its exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from ..errors import SqgenError
from ..text import did_you_mean, printable
from ..version import __version__
from .terminal import PIPE_CLOSED

# Command -> (module, object, the line in `sqgen --help`). Loaded only when used: see design.md.
COMMANDS = {
    "build": ("build", "build", "Print a net: train_val, train, val or deploy."),
    "solver": ("build", "solver", "Print the solver that trains a net."),
    "summary": ("summary", "summary", "Shapes, parameters and MACs of any prototxt."),
    "lint": ("lint", "lint", "Check a prototxt for errors and oversights."),
    "diff": ("diff", "diff", "What differs in meaning between two nets."),
    "upgrade": ("upgrade", "upgrade", "Write an old prototxt or caffemodel in today's format."),
    "test": ("run", "test", "Test a net on each image once; hold its accuracy."),
    "train": ("run", "train", "Train a net, or go on with it."),
    "time": ("run", "time", "Time each layer of a net."),
    "weights": ("weights", "weights", "Look into caffemodels, compare them, rename their layers."),
    "log": ("log", "log", "Read Caffe's logs: table, JSON, CSV, curves."),
    "gate": ("gate", "gate", "Hold an accuracy: pass or fail, for CI."),
    "classify": ("classify", "classify", "What a net says of images."),
    "data": ("data", "data", "Datasets: make LMDBs of images, average them, look into them."),
    "compress": ("compress", "compress", "Make weights small as Deep Compression does, and back."),
    "zoo": ("zoo", "zoo", "The published nets: figures, files, weights."),
}


# Of click 8.2: the help, asked for by saying nothing.
NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
LINE = 1500  # characters of an error that are shown


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        # What imports make stays to the end: collecting in it costs a tenth of a start.
        gc.disable()
        command: click.Command = getattr(import_module(f".{module}", __package__), name)
        gc.freeze()
        gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            hint = did_you_mean(args[0], COMMANDS) or f"; one of {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command '{printable(args[0])}'{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="sqgen-caffe stands in for caffe: sqgen-caffe --help. Exit codes: 0 done; 1 differences,"
    " lint errors, a gate that does not hold, a diverged training; 2 wrong input; 3 no download;"
    " 4 out of memory, disk or GPU; 5 caffe crashed; 6 it went silent; 130 interrupted.",
)
@click.version_option(__version__, prog_name="sqgen")
def cli() -> None:
    """Generate, check, run, compare and compress Caffe nets of the SqueezeNet family.

    \b
    Example:
      sqgen build --bypass simple > trainval.prototxt
      sqgen summary trainval.prototxt
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    if arguments is None:
        _end_in_order()
    if not (sys.argv[1:] if arguments is None else arguments):
        with click.Context(cli, info_name="sqgen") as context:
            click.echo(cli.get_help(context), err=True)
        raise SystemExit(2)
    try:
        code = cli.main(arguments, prog_name="sqgen", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except SqgenError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        if isinstance(error, NO_ARGUMENTS):
            click.echo(error.format_message(), err=True)
            raise SystemExit(2) from None
        _fail(_one_line(error, sys.argv[1:] if arguments is None else arguments), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(PIPE_CLOSED) from None
    except OSError as error:
        _fail(f"can't write the result: {(error.strerror or str(error)).lower()}", 2)
    raise SystemExit(code if isinstance(code, int) else 0)


def _end_in_order() -> None:
    """A SIGTERM ends the program as an error would: what is half done is cleaned up."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)  # what a shell says of a program that a signal ended

    signal.signal(signal.SIGTERM, end)


def _one_line(error: click.ClickException, arguments: Sequence[str]) -> str:
    message = " ".join(error.format_message().split())
    message = (message[:1].lower() + message[1:]).rstrip(".")
    context = getattr(error, "ctx", None)
    typed = f"sqgen {arguments[0]}" if arguments and arguments[0] in COMMANDS else "sqgen"
    path = context.command_path if context is not None else typed
    return f"{message}; see {path} --help"


def _fail(message: str, code: int) -> None:
    with suppress(OSError):  # standard error may be full, or gone
        click.echo(f"sqgen: {printable(message, LINE)}", err=True)
    raise SystemExit(code)
