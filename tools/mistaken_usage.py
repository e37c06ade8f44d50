"""Say what a user meant by an option that a command lacks, or by files in each other's place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from ..errors import FormatError, SqgenError
from ..formats.files import is_text
from ..text import first_few

CUTOFF = 0.75  # how alike an option and a mistyped one must be, from 0 to 1
HEAD = 4096  # bytes that tell text from a caffemodel
# Names of other frameworks -> the field of the solver.
SOLVER_FIELDS = {"lr": "base_lr", "learning_rate": "base_lr", "seed": "random_seed"}
STAGE_ADVICE = "give --stage NAME"  # of nets/shapes.py
NETS, WEIGHTS = ("NET",), ("W", "WEIGHTS", "IN")  # metavars


def option_hint(group: click.Group, error: click.NoSuchOption, words: Sequence[str]) -> str:
    """Return what stands for an unknown option, where something surely does.

    Args:
        group: the commands.
        error: of the option.
        words: the command line.
    """
    command = error.ctx.command if error.ctx is not None else group
    own = {option.lstrip("-"): option for option in _options(command)}
    for word in words:  # as gflags takes them
        name = word[1:].partition("=")[0]
        if name in own and not word.startswith("--") and error.option_name == word[:2]:
            return f"; did you mean '{own[name]}'?"
    alike = get_close_matches(error.option_name.lstrip("-"), own, 1, CUTOFF)
    if alike:
        return f"; did you mean '{own[alike[0]]}'?"
    name = error.option_name.lstrip("-").replace("-", "_")
    field = SOLVER_FIELDS.get(name, name)
    if field.replace("_", "-") in own:
        return f"; did you mean '{own[field.replace('_', '-')]}'?"
    if command.name == "train" and _is_solver_field(field):
        return f"; {field} is set in the solver's file"
    others = [path for path, each in _commands(group) if error.option_name in _options(each)]
    return f"; {first_few(others)} {'have' if len(others) > 1 else 'has'} it" if others else ""


def _options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (*parameter.opts, *parameter.secondary_opts)


def _commands(group: click.Group, path: str = "sqgen") -> Iterator[tuple[str, click.Command]]:
    """Yield every command below a group with its name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        elif command is not None:
            yield f"{path} {name}", command


def _is_solver_field(name: str) -> bool:
    from ..formats.schema import SolverParameter

    return name in SolverParameter.DESCRIPTOR.fields_by_name


def swapped_hint(group: click.Group, error: SqgenError, words: Sequence[str]) -> str:
    """Return a hint where a command line gives a net for weights, and weights for a net.

    Args:
        group: the commands.
        error: of the command.
        words: the command line.
    """
    if not isinstance(error, FormatError):
        return ""
    given = _given(group, words)
    nets, weights = (
        [path for metavar, path in given if metavar in kind] for kind in (NETS, WEIGHTS)
    )
    is_swapped = (
        nets
        and weights
        and all(_starts_as_text(path) is False for path in nets)
        and all(_starts_as_text(path) for path in weights)
    )
    return "; the net and the weights are in each other's place" if is_swapped else ""


def stage_advice(group: click.Group, message: str, words: Sequence[str]) -> str:
    """Return a message that a command without --stage can keep: another command has it.

    Args:
        group: the commands.
        message: of an error.
        words: the command line.
    """
    command, _ = _find_command(group, words)
    if command is None or "--stage" in _options(command):
        return message
    return message.replace(STAGE_ADVICE, "sqgen deploy NET --stage NAME makes a net of them")


def _find_command(
    group: click.Group, words: Sequence[str]
) -> tuple[click.Command | None, list[str]]:
    """Return the command of a command line, and the words after it; None of a group."""
    command: click.Command | None = group
    rest = list(words)
    while isinstance(command, click.Group) and rest:
        command, *rest = command.get_command(click.Context(command), rest[0]), *rest[1:]
    return (None if isinstance(command, click.Group) else command), rest


def _given(group: click.Group, words: Sequence[str]) -> list[tuple[str, str]]:
    """Return metavar and value of the arguments and options that have a string."""
    command, rest = _find_command(group, words)
    if command is None:
        return []
    values = command.make_context(command.name, rest, resilient_parsing=True).params
    found = ((each.metavar, values.get(each.name or "")) for each in command.params)
    return [(name, value) for name, value in found if name and isinstance(value, str)]


def _starts_as_text(path: str) -> bool | None:
    """Return whether a file begins as text; None where it can't be read."""
    try:
        with Path(path).open("rb") as file:
            return is_text(file.read(HEAD))
    except (OSError, ValueError):
        return None
