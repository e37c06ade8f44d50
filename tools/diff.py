"""`sqgen diff`."""

from __future__ import annotations

import click

from ..formats.files import STDIN
from ..nets.definition import read_net
from ..nets.diff import diff_nets
from ..text import printable
from .terminal import echo, print_json, warn

LINE = 1000  # maximum characters of a difference


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def diff(a: str, b: str, as_json: bool) -> None:
    """Compare the meaning of two nets.

    Ignores comments, the order of unrelated layers, explicit defaults and old forms of the
    format. Exit code 0 if the nets are equal, 1 if they differ.

    \b
    Example:
      sqgen build --preset residual | sqgen diff - trainval.prototxt
    """
    if a == b == STDIN:
        raise click.UsageError("- and -: standard input can be read once")
    nets = [read_net(path) for path in (a, b)]
    warn(*nets[0].warnings, *nets[1].warnings)
    differences = diff_nets(*nets)
    if as_json:
        print_json([difference._asdict() for difference in differences])
    elif not differences:
        echo("no differences")
    else:
        for layer, message, phases in differences:
            where = f"layer '{printable(layer)}': " if layer else ""
            only = f" (in {phases[0]})" if len(phases) == 1 else ""
            echo(printable(f"{where}{message}{only}", LINE))
    raise SystemExit(1 if differences else 0)
