"""Options of `sqgen build` and `sqgen solver`, derived from the fields of `Design`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..errors import DesignError, FormatError
from ..generator.design import Design
from ..generator.design_fields import FIELDS
from ..generator.options import design_from_table, format_value, parse_value
from ..generator.presets import PRESETS, preset
from .completion import complete_presets, one_of

if TYPE_CHECKING:
    from dataclasses import Field

GROUPS = {
    "net": "The net",
    "text": "How it is written",
    "data": "Data",
    "solver": "Solver (sqgen solver, and --out)",
}


class DesignCommand(click.Command):
    """A command whose help lists the options of a design in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then a section per group."""
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            field = FIELDS.get(parameter.name or "")
            if record is not None:
                group = str(field.metadata["group"]) if field else ""
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(GROUPS.get(group, "Options")):
                formatter.write_dl(records)


def design_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --preset, --design and an option per field of a design."""
    for name, field in reversed(FIELDS.items()):
        flag = str(field.metadata["flag"])
        text = str(field.metadata["help"])
        if str(field.type) == "bool":
            shown = f"{text}; default: {'yes' if field.default else 'no'}"
            decorator = click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=shown)
        else:
            choices = field.metadata.get("choices")
            decorator = click.option(
                flag,
                name,
                metavar=_metavar(field),
                help=text + _default(field),
                shell_complete=one_of(choices) if choices else None,
            )
        command = decorator(command)
    presets = ", ".join(PRESETS)
    for decorator in (
        click.option(
            "--design",
            "design_file",
            metavar="FILE",
            help="read a design from TOML",
        ),
        click.option(
            "--preset",
            metavar="NAME",
            help=f"a published net: {presets}",
            shell_complete=complete_presets,
        ),
    ):
        command = decorator(command)
    return command


def _metavar(field: Field[object]) -> str:
    if "choices" in field.metadata:
        return "|".join(field.metadata["choices"])
    kind = str(field.type).removesuffix(" | None")
    return {"int": "N", "float": "X", "str": "TEXT"}.get(kind, "LIST")


def _default(field: Field[object]) -> str:
    shown = format_value(field.default) if field.default not in (None, "", ()) else ""
    return f" [{shown}]" if shown else ""


def select_design(
    preset_name: str | None, design_file: str | None, options: dict[str, Any]
) -> Design:
    """Return the design of --preset or --design with the options applied.

    Raises:
        DesignError: the options make no valid design.
        FormatError: the design file can't be read.
    """
    if preset_name is not None and design_file is not None:
        raise DesignError("--preset and --design: give one; a design file can name a preset itself")
    if design_file is not None:
        base = read_design(design_file)
    else:
        base = Design() if preset_name is None else preset(preset_name)
    changes = {
        name: parse_value(name, value) if isinstance(value, str) else value
        for name, value in options.items()
        if value is not None
    }
    design = base.with_options(**changes)
    if {"iter_size", "effective_batch"} <= changes.keys():
        batch = design.passes * design.batch_size * design.gpus
        if batch != design.effective_batch:
            raise DesignError(
                f"--iter-size {design.passes}: makes {batch} images an update with these batches,"
                f" not --effective-batch {design.effective_batch}; give one of the two"
            )
    return design


def read_design(path: str) -> Design:
    """Read a design from a TOML file, or from standard input for `-`."""
    from ..formats import toml
    from ..formats.files import read_bytes
    from ..text import printable

    data = read_bytes(path, 1 << 20, "a design")
    try:
        table = toml.parse(data, path)
    except FormatError:
        kind = _prototxt_kind(data.decode(errors="replace"))
        if kind is None:
            raise
        raise FormatError(
            f"{printable(path)}: is {kind}, not a design in TOML; sqgen build with the options that"
            " make the net and --dump-design prints one"
        ) from None
    return design_from_table(table, printable(path))


def _prototxt_kind(text: str) -> str | None:
    """Return what a prototxt is; None of any other text."""
    from ..nets.definition import is_net, is_solver

    return "a net" if is_net(text) else "a solver" if is_solver(text) else None
