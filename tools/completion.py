"""`sqgen completion`, and what completes words on a command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import click

from .terminal import write

VARIABLE = "_SQGEN_COMPLETE"  # set by the scripts when they ask for words
SHELLS = ("bash", "zsh", "fish")
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, presets and paths in a shell.

    \b
    Examples:
      source <(sqgen completion bash)            in ~/.bashrc
      source <(sqgen completion zsh)             in ~/.zshrc
      sqgen completion fish | source             in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None
    write(complete(context.find_root().command, {}, "sqgen", VARIABLE).source())


def is_completing() -> bool:
    """Return whether a shell asks for words rather than runs a command."""
    return bool(os.environ.get(VARIABLE))


def complete_paths() -> None:
    """Complete paths wherever no other words are known: most arguments are files."""
    from click.shell_completion import (
        BashComplete,
        CompletionItem,
        FishComplete,
        ShellComplete,
        ZshComplete,
        add_completion_class,
    )

    def with_paths(shell: type[ShellComplete]) -> type[ShellComplete]:
        class WithPaths(shell):  # type: ignore[valid-type, misc]
            def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
                found: list[CompletionItem] = super().get_completions(args, incomplete)
                return found or [CompletionItem(incomplete, type="file")]

        return WithPaths

    for shell in (BashComplete, ZshComplete, FishComplete):
        add_completion_class(with_paths(shell), shell.name)


def one_of(words: Iterable[str]) -> Complete:
    """Return the `shell_complete` of a parameter that takes one of some words."""

    def complete(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
        return [word for word in words if word.startswith(start)]

    return complete


def complete_presets(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    """Complete the names of the published nets."""
    from ..generator.presets import PRESETS

    return one_of(PRESETS)(context, parameter, start)
