"""`sqgen build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import SqgenError
from ..formats.files import write_files
from ..generator.build import build as build_text
from ..generator.build import design_files
from ..generator.layer_list import NET_PHASES
from ..generator.presets import phases_of
from ..text import printable
from .design_options import DesignCommand, design_options, select_design
from .terminal import write


@click.command(cls=DesignCommand)
@design_options
@click.option(
    "--net",
    "net",
    default="trainval",
    metavar="|".join(NET_PHASES),
    help="file to print [trainval]",
)
@click.option("--out", metavar="DIR", help="write train_val, deploy and solver into DIR")
@click.option("--force", is_flag=True, help="with --out, replace files that exist")
@click.option("--dump-design", is_flag=True, help="print the complete design as TOML instead")
def build(
    preset: str | None,
    design_file: str | None,
    net: str,
    out: str | None,
    force: bool,
    dump_design: bool,
    **options: Any,
) -> None:
    """Print a SqueezeNet as Caffe prototxt.

    A preset reproduces a published file, and further options change only what they name. Without
    a preset, the options start from current good practice.

    \b
    Examples:
      sqgen build --bypass simple > trainval.prototxt
      sqgen build --preset v1.1 --classes 10 --net deploy
      sqgen build --bypass 2:conv,3,5 --sr 0.25 --out mynet
    """
    if out is not None and (net != "trainval" or dump_design):
        raise click.UsageError("--out writes all three files: leave --net and --dump-design out")
    if force and out is None:
        raise click.UsageError("--force goes with --out")
    if out == "":
        raise click.UsageError("--out '': give a folder; . is this one")
    design = select_design(preset, design_file, options)
    if dump_design:
        from ..generator.options import format_design

        write(format_design(design))
    elif out is not None:
        files = design_files(design, phases_of(preset))
        write_files({Path(out) / name: text.encode() for name, text in files.items()}, force)
        click.echo(f"wrote {', '.join(files)} in {printable(out)}", err=True)
    else:
        write(build_text(design, net))


def is_as_built(text: str) -> bool:
    """Whether a net is, byte for byte, what the command in its header prints."""
    line = text.partition("\n")[0]
    if not line.startswith("# sqgen build"):
        return False
    import shlex

    try:
        words = shlex.split(line)[3:]
        if {"--help", "-h", "--design"} & set(words):
            return False
        options = dict(build.make_context("build", words).params)
        net = options.pop("net")
        for name in ("out", "force", "dump_design"):
            options.pop(name)
        return build_text(select_design(options.pop("preset"), None, options), net) == text
    except (click.ClickException, SqgenError, ValueError):
        return False
