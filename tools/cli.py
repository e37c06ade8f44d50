"""The `sqgen` command line: imports only the module of the command that runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING

import click

from ..errors import SqgenError
from ..extras import importing
from ..formats.files import error_reason
from ..text import printable
from ..version import __version__
from .completion import complete_paths, is_completing
from .group import Group
from .terminal import exit_on_closed_pipe, flush

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Command -> its line in `sqgen --help`; the module of that name, or `import_` for Python's keyword,
# is imported when it runs.
COMMANDS = {
    "build": "Print a net: train_val, train, val or deploy.",
    "solver": "Print the solver that trains a net.",
    "summary": "Print shapes, parameters and MACs of a net.",
    "lint": "Check nets and solvers for errors and oversights.",
    "diff": "Compare the meaning of two nets.",
    "draw": "Draw nets as a picture, or a page to explore.",
    "deploy": "Make the deploy net of a net.",
    "upgrade": "Write an old prototxt or caffemodel in the current format.",
    "test": "Test a net on each image once, and check its scores.",
    "train": "Train a net, or resume a training.",
    "finetune": "Make a classifier of pictures from pretrained weights.",
    "time": "Time each layer of a net.",
    "weights": "Inspect and compare caffemodels, rename their layers.",
    "log": "Parse, plot and compare Caffe's logs.",
    "report": "Write a page on runs: verdict, curves, what ran.",
    "gate": "Check the scores of a test: pass or fail, for CI.",
    "board": "Show runs as a local page: table, live curves, reports.",
    "errors": "Show where a net errs: classes, confusions, images.",
    "import": "Make a net and its weights of an ONNX model.",
    "export": "Write a net and its weights for another framework.",
    "classify": "Classify images.",
    "features": "Write a layer's blob for each image.",
    "data": "Create LMDBs of images, average and inspect them.",
    "prune": "Prune channels: a smaller net that any Caffe loads.",
    "quantize": "Choose the bits of each layer within a budget of bytes.",
    "study": "Run many trainings that differ, and compare them.",
    "compress": "Compress weights with Deep Compression, and decode them.",
    "zoo": "List the published nets: figures, files, weights.",
    "completion": "Print the script of tab completion for a shell.",
}

# click 8.2 and later: a group without arguments prints its help.
NO_ARGUMENTS: type[Exception] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())
LINE = 1500  # maximum characters of an error message


class LazyGroup(Group):
    """A group that imports a command's module when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        with importing():
            module = import_module(f".{name}", __package__)
        command: click.Command = getattr(module, name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete options, and commands without importing any."""
        from click.shell_completion import CompletionItem

        names = {name: line for name, line in COMMANDS.items() if name.startswith(incomplete)}
        items = [CompletionItem(name, help=line) for name, line in names.items()]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="sqgen-caffe replaces caffe: see sqgen-caffe --help. Exit codes: 0 success;"
    " 1 differences, lint errors, a failed gate, a diverged training; 2 invalid input; 3 failed"
    " download; 4 out of memory, disk space or GPU failure; 5 caffe crashed; 6 caffe stopped"
    " printing; 130 interrupted.",
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
        _clean_up_on_sigterm()
    words = sys.argv[1:] if arguments is None else arguments
    if is_completing():
        complete_paths()
    elif not words:
        with click.Context(cli, info_name="sqgen") as context:
            click.echo(cli.get_help(context), err=True)
        raise SystemExit(2)
    try:
        code = cli.main(arguments, prog_name="sqgen", standalone_mode=False)
        if sys.stdout is not None:
            flush()
    except SqgenError as error:
        from .mistaken_usage import stage_advice, swapped_hint

        message = stage_advice(cli, str(error), words)
        _fail(f"{message}{swapped_hint(cli, error, words)}", error.exit_code)
    except click.ClickException as error:
        if isinstance(error, NO_ARGUMENTS):
            click.echo(error.format_message(), err=True)
            raise SystemExit(2) from None
        _fail(_one_line(error, words), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except BrokenPipeError:  # of standard error
        exit_on_closed_pipe()
    except OSError as error:  # a check of ours is missing where this was raised
        name = f"{error.filename}: " if error.filename else ""
        _fail(f"{name}{error_reason(error)}", 2)
    raise SystemExit(code if isinstance(code, int) else 0)


def _clean_up_on_sigterm() -> None:
    """Make SIGTERM raise SystemExit, so that temporary files and children are removed."""

    def handle(number: int, frame: object) -> None:
        raise SystemExit(128 + number)  # a shell's exit code for a program that a signal ended

    signal.signal(signal.SIGTERM, handle)


def _one_line(error: click.ClickException, arguments: Sequence[str]) -> str:
    """Format a usage error as one line that names the help."""
    message = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption):
        from .mistaken_usage import option_hint

        message = f"no option '{error.option_name}'{option_hint(cli, error, arguments)}"
    message = (message[:1].lower() + message[1:]).rstrip(".")
    context = getattr(error, "ctx", None)
    command = f"sqgen {arguments[0]}" if arguments and arguments[0] in COMMANDS else "sqgen"
    path = context.command_path if context is not None else command
    return f"{message}{' See' if message.endswith('?') else '; see'} {path} --help"


def _fail(message: str, code: int) -> None:
    """Print an error message and exit."""
    with suppress(OSError):  # standard error may be full, or gone
        click.echo(f"sqgen: {printable(message, LINE)}", err=True)
    raise SystemExit(code)
