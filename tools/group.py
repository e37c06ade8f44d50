"""Groups of commands."""

from __future__ import annotations

import os
from typing import Any

import click

from ..text import did_you_mean, printable, shell_quote


class Group(click.Group):
    """A group that suggests a command for an unknown one.

    `file_command` is the command that a file's name alone stands for, where there is one.
    """

    def __init__(self, *args: Any, file_command: str | None = None, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._file_command = file_command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, but suggest a command for an unknown one."""
        names = self.list_commands(ctx)
        is_unknown = args and not args[0].startswith("-") and args[0] not in names
        if is_unknown and not ctx.resilient_parsing:
            word = printable(args[0])
            if self._file_command is not None and os.path.isfile(args[0]):
                command = f"{ctx.command_path} {self._file_command} {shell_quote(args[0])}"
                hint = f"; did you mean {command}?"
            else:
                hint = did_you_mean(args[0], names) or f"; one of {', '.join(names)}"
            raise click.UsageError(f"no command '{word}'{hint}", ctx)
        return super().resolve_command(ctx, args)
