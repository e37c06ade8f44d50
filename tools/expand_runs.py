"""Runs in the place of the folder that holds them."""

from __future__ import annotations

from ..formats.files import display_name
from ..logs.read_result import find_runs
from .terminal import warn


def expand_runs(files: tuple[str, ...]) -> tuple[str, ...]:
    """Put the runs of a study in the place of its folder; leave out folders without any."""
    expanded: list[str] = []
    for file in files:
        runs = find_runs(file)
        expanded += runs
        if not runs and len(files) > 1:
            warn(f"{display_name(file)}: is a folder without runs, and is left out")
    return tuple(expanded) or files[:1]
