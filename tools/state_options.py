"""Options for the state of a net (NetState), by which rules of its layers select some."""

from __future__ import annotations

import click

stage_option = click.option(
    "--stage", "stages", multiple=True, metavar="NAME", help="include layers of this stage"
)
level_option = click.option("--level", default=0, metavar="N", help="the net's level [0]")
