"""The files of a training's snapshots: their names, where they may be written, which are whole.

`PREFIX_iter_N.caffemodel` and `PREFIX_iter_N.solverstate` belong together; the second names the
first.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, OutputError
from ..text import printable
from .caffemodel import read_caffemodel, read_solver_state
from .files import describe


def complete_prefix(solver: Any, source: str) -> str:
    """Set the snapshot_prefix that Caffe finds by itself (UpgradeSnapshotPrefixProperty).

    Args:
        solver: the SolverParameter.
        source: its file; a folder where it has none.

    Returns:
        What was done, as Caffe says it; empty if nothing was.
    """
    path = Path(source) if Path(source).name else Path("solver")
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = os.fspath(path.with_suffix(""))
        done = "was not specified and is set to"
    elif os.path.isdir(solver.snapshot_prefix):  # noqa: PTH112 - a path may hold a null
        solver.snapshot_prefix = os.fspath(Path(solver.snapshot_prefix) / path.stem)
        done = "was a directory and is replaced to"
    else:
        return ""
    return f"snapshot_prefix {done} {solver.snapshot_prefix}"


def free_bytes(prefix: str) -> int:
    """The room for snapshots, after trying to write one.

    Raises:
        OutputError: none can be written there.
    """
    probe = Path(f"{prefix}_iter_0.tempfile.{os.getpid()}")
    try:
        probe.write_bytes(b"")
        probe.unlink()
        return shutil.disk_usage(probe.parent).free
    except (OSError, ValueError) as error:
        make = ""
        if isinstance(error, FileNotFoundError):
            make = f"make the folder {printable(str(probe.parent))}, or "
        raise OutputError(
            f"Cannot write to snapshot prefix '{printable(prefix)}': {describe(error)};"
            f" {make}change the solver's snapshot_prefix"
        ) from None


def check_room(prefix: str, needed: int) -> int:
    """The room for snapshots, if one of `needed` bytes can be written.

    Raises:
        OutputError: it can't.
    """
    free = free_bytes(prefix)
    if free < needed:
        raise OutputError(
            f"no room for snapshots at '{printable(prefix)}': one needs {needed >> 20} MiB, and"
            f" {free >> 20} MiB are free; make room, or change snapshot_prefix"
        )
    return free


def weights_of(state: Any, path: str) -> Path | None:
    """The caffemodel named in a solver state; beside it, if the two were moved together.

    Raises:
        FormatError: it is in neither place.
    """
    if not state.HasField("learned_net"):
        return None
    named = Path(state.learned_net)
    beside = Path(path).parent / named.name
    for candidate in (named, beside):
        if os.path.isfile(candidate):  # noqa: PTH113 - a name may be too long
            return candidate
    raise FormatError(
        f"{printable(path)}: its weights {printable(state.learned_net)} are not there, nor beside"
        " it; put the .caffemodel of the same iteration next to it"
    )


def any_snapshot(prefix: str) -> str | None:
    """The newest solver state of a prefix, whole or not.

    Raises:
        FormatError: its folder can't be read.
    """
    return max(_states(prefix), default=(0, 0, None))[2]


class Snapshot(NamedTuple):
    """A solver state whose weights are there, both whole.

    Attributes:
        path: the solver state.
        iteration: of it.
        remarks: newer ones that are not whole, and older ones of a later iteration.
    """

    path: str
    iteration: int
    remarks: list[str]


def newest(prefix: str) -> Snapshot | None:
    """The whole pair of a snapshot_prefix that was written last.

    Raises:
        FormatError: its folder can't be read.
    """
    remarks: list[str] = []
    left = sorted(_states(prefix), reverse=True)
    while left:
        _, iteration, path = left.pop(0)
        try:
            state = read_solver_state(path)
            weights = weights_of(state, path)
            if weights is not None:
                read_caffemodel(weights)
        except FormatError as error:
            remarks.append(f"passed over: {error}")
            continue
        # An earlier run may have got further under the same prefix.
        remarks += [
            f"{printable(other)} is of a later iteration, and older; --snapshot takes it"
            for _, later, other in left
            if later > iteration
        ][:1]
        return Snapshot(path, state.iter, remarks)
    return None


def _states(prefix: str) -> Iterator[tuple[int, int, str]]:
    """(when it was written in nanoseconds, iteration, path) of every solver state of a prefix."""
    folder, stem = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(re.escape(stem) + r"_iter_([0-9]{1,10})\.solverstate")
    try:
        paths = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        reason = describe(error)
        raise FormatError(f"{printable(str(folder))}: can't look for snapshots: {reason}") from None
    for path in paths:
        match = pattern.fullmatch(path.name)
        with suppress(OSError):  # a link to nowhere, or gone meanwhile
            if match:
                yield path.stat().st_mtime_ns, int(match[1]), os.fspath(path)
