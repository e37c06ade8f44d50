"""`sqgen board`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from ..runner.run_folder import RUNS
from ..text import printable
from .terminal import echo, flush


@click.command()
@click.argument("folder", default=RUNS, metavar="[FOLDER]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="port; 0: any free one [8642, or the next free one]",
)
@click.option("--open", "open_it", is_flag=True, help="open the page in the browser")
def board(folder: str, port: int | None, open_it: bool) -> None:
    """Show the runs in a folder [runs] as a local page: table, live curves, reports.

    Prints the address, which has a secret token, and serves it on this machine alone until Ctrl-C.
    The board reads run folders and logs, also while they grow, and changes nothing: ending it ends
    no run.

    \b
    Examples:
      sqgen board
      sqgen board experiments --port 9000 --open
    """
    from ..board.browser import opened_in_browser
    from ..board.serve import Server

    server = Server(Path(folder), port)
    echo(server.address)
    flush()
    click.echo(f"sqgen: shows {printable(folder)}; Ctrl-C ends it", err=True)
    with opened_in_browser(server.address) if open_it else nullcontext():
        server.run()
