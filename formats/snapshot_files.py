"""Snapshot files: their prefix, the disk space they need, and the newest complete pair.

A snapshot is `PREFIX_iter_N.caffemodel` and `PREFIX_iter_N.solverstate`, which names the first;
both end in `.h5` where they are HDF5. `sqgen-caffe` adds `PREFIX_iter_N.sqgenstate`, which has the
digests of both, and of a quantized training `PREFIX_iter_N.bits.toml`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, NetError, OutputError
from ..json_form import loads
from ..text import printable
from .caffemodel import is_finite, read_caffemodel, read_solver_state
from .files import BINARY_LIMIT, error_reason, read_bytes
from .hdf5_snapshot import SUFFIX
from .schema import SolverParameter, SolverState

RESUME_STATE_LIMIT = 1 << 26  # bytes
BITS = "bits.toml"  # ending of a file of bits


def complete_prefix(solver: SolverParameter, source: str) -> str:
    """Derive a missing snapshot_prefix as Caffe does (UpgradeSnapshotPrefixProperty).

    Args:
        solver: the solver, changed in place.
        source: its file, or a folder if it has none.

    Returns:
        Caffe's log line of the change; empty if there was none.
    """
    path = Path(source) if Path(source).name else Path("solver")
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = os.fspath(path.with_suffix(""))
        change = "was not specified and is set to"
    elif os.path.isdir(solver.snapshot_prefix):
        solver.snapshot_prefix = os.fspath(Path(solver.snapshot_prefix) / path.stem)
        change = "was a directory and is replaced to"
    else:
        return ""
    return f"snapshot_prefix {change} {solver.snapshot_prefix}"


def free_bytes(prefix: str) -> int:
    """Return the free bytes for snapshots, after writing and deleting a test file.

    Raises:
        OutputError: the folder can't be written to.
    """
    probe = Path(f"{prefix}_iter_0.tempfile.{os.getpid()}")
    try:
        probe.write_bytes(b"")
        probe.unlink()
        return shutil.disk_usage(probe.parent).free
    except (OSError, ValueError) as error:
        remedy = "change the solver's snapshot_prefix"
        if isinstance(error, FileNotFoundError):
            remedy = f"make the folder {printable(str(probe.parent))}, or {remedy}"
        shown, reason = printable(prefix), error_reason(error)
        raise OutputError(
            f"Cannot write to snapshot prefix '{shown}': {reason}; {remedy}"
        ) from None


def check_free_space(prefix: str, needed: int) -> int:
    """Return the free bytes for snapshots, of which one takes `needed`.

    Raises:
        OutputError: not even one fits, or the folder can't be written to.
    """
    free = free_bytes(prefix)
    if free < needed:
        raise OutputError(
            f"no disk space for snapshots at '{printable(prefix)}': one needs {needed >> 20} MiB,"
            f" {free >> 20} MiB are free; free some, or change snapshot_prefix"
        )
    return free


def find_weights(state: SolverState, path: str) -> Path | None:
    """Return the caffemodel that a solver state names, or the one of that name beside it.

    Args:
        state: the solver state.
        path: its file.

    Returns:
        The path; None if the state names none.

    Raises:
        FormatError: the caffemodel is in neither place, or another run has replaced it or the
            state.
    """
    if not state.HasField("learned_net"):
        return None
    named = Path(state.learned_net)
    places = dict.fromkeys((named, Path(path).parent / named.name))
    found = [place for place in places if os.path.isfile(place)]
    if not found:
        raise FormatError(
            f"{printable(path)}: its weights {printable(state.learned_net)} are not there, nor"
            " beside it; put the .caffemodel of the same iteration next to it"
        )
    state_digest, weights_digest = _read_digests(path)
    if not weights_digest:
        return found[0]
    equal = next((place for place in found if _digest(place) == weights_digest), None)
    if (equal is not None) == (_digest(path) == state_digest):
        return equal or found[0]
    raise FormatError(
        f"{printable(path)}: another run with this snapshot_prefix has replaced"
        f" {printable(str(found[0])) if equal is None else 'it, but not its weights'}; start from"
        " the weights with --weights"
    )


def resume_state_path(path: str) -> Path:
    """Return the file of the resume state that belongs to a solver state."""
    return Path(path.removesuffix(SUFFIX)).with_suffix(".sqgenstate")


def read_written_rate(path: str) -> dict[str, str]:
    """Return the fields of the learning rate that a solver state was written with, as text.

    Returns:
        Nothing where the file beside the state is missing, of an earlier version, or another's.
    """
    fields = _read_resume_fields(path)
    rate = fields.get("rate")
    if not isinstance(rate, dict) or fields.get("digest") != _digest(path):
        return {}
    return {str(name): str(value) for name, value in rate.items()}


class WrittenConstraints(NamedTuple):
    """The constraints that the run of a solver state obeyed: their file and digest, or nothing."""

    file: str = ""
    digest: str = ""


def read_written_constraints(path: str) -> WrittenConstraints | None:
    """Return the constraints that the run of a solver state obeyed.

    Returns:
        None where the file beside the state is missing, or another's.
    """
    fields = _read_resume_fields(path)
    if fields.get("digest") != _digest(path):
        return None
    names = ("constraints", "constraints_digest")
    file, digest = (fields.get(name, "") for name in names)
    known = isinstance(file, str) and isinstance(digest, str)
    return WrittenConstraints(file, digest) if known else None


def check_written_constraints(path: str, written: WrittenConstraints | None, digest: str) -> None:
    """Check that a resume obeys the constraints of the run of a solver state.

    Args:
        path: the solver state.
        written: its run's; None where nothing tells.
        digest: of those to obey; empty for none.

    Raises:
        NetError: they are others.
    """
    if written is None and digest:
        raise NetError(
            f"{printable(path)} has no matching .sqgenstate beside it, so nothing tells which"
            " constraints its weights obey: start from these, with --weights"
        )
    if written is not None and written.digest != digest:
        raise NetError(
            f"{printable(path)} is of a training with other constraints (its own:"
            f" {printable(written.file) or 'none'}); resume with those, or start from its weights,"
            " with --weights"
        )


def has_written_bits(path: str) -> bool:
    """Return whether the run of a solver state was quantized; not if nothing tells."""
    fields = _read_resume_fields(path)
    return bool(fields.get("bits")) and fields.get("digest") == _digest(path)


def _read_digests(path: str) -> tuple[str, str]:
    """Return the digests of a solver state and its weights from the file beside it, or nothing."""
    fields = _read_resume_fields(path)
    state, weights = fields.get("digest"), fields.get("weights_digest")
    known = isinstance(state, str) and isinstance(weights, str)
    return (str(state), str(weights)) if known else ("", "")


def _read_resume_fields(path: str) -> dict[str, Any]:
    """Return the fields of the resume state beside a solver state, or nothing."""
    try:
        file = resume_state_path(path)
        plain = loads(read_bytes(file, RESUME_STATE_LIMIT, "a resume state"))
    except (FormatError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _digest(path: str | Path) -> str:
    return sha256(read_bytes(path, BINARY_LIMIT, "a snapshot")).hexdigest()


def newest_solver_state(prefix: str) -> str | None:
    """Return the newest solver state of a prefix, complete or not.

    Raises:
        FormatError: its folder can't be read.
    """
    return max(_states(prefix), default=(0, 0, None))[2]


class Snapshot(NamedTuple):
    """A solver state and its weights, both complete.

    Attributes:
        path: the solver state.
        iteration: the iteration of the snapshot.
        remarks: on newer snapshots that are damaged, and an older one of a later iteration.
    """

    path: str
    iteration: int
    remarks: list[str]


def list_states(prefix: str) -> dict[str, int]:
    """Return the solver states of a prefix -> when they were written, in ns.

    Raises:
        FormatError: its folder can't be read.
    """
    return {path: written for written, _, path in _states(prefix)}


def newest_snapshot(prefix: str, but: Mapping[str, int] | None = None) -> Snapshot | None:
    """Return the last written snapshot of a prefix that is complete, and of finite weights.

    Args:
        prefix: the solver's snapshot_prefix.
        but: an earlier `list_states`, whose states are left out; what is left is of one training,
            whose latest iteration counts, whatever the clock said.

    Raises:
        FormatError: its folder can't be read.
    """
    remarks: list[str] = []
    older = sorted(_states(prefix), reverse=True)
    if but is not None:
        older = [state for state in older if but.get(state[2]) != state[0]]
        older.sort(key=lambda state: state[1], reverse=True)
    while older:
        _, iteration, path = older.pop(0)
        try:
            state = read_solver_state(path)
            weights = find_weights(state, path)
            if weights is not None and not is_finite(read_caffemodel(weights)):
                raise FormatError(f"{printable(str(weights))}: has weights that are nan or inf")
        except FormatError as error:
            remarks.append(f"skipped: {error}")
            continue
        # An earlier run with the same prefix may have reached a later iteration.
        remarks += [
            f"{printable(other)} is older, but of a later iteration; --snapshot resumes from it"
            for _, later, other in older
            if later > iteration
        ][:1]
        return Snapshot(path, state.iter, remarks)
    return None


def _states(prefix: str) -> Iterator[tuple[int, int, str]]:
    """Yield (modification time in ns, iteration, path) of every solver state of a prefix."""
    folder, stem = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(re.escape(stem) + r"_iter_([0-9]{1,10})\.solverstate(?:\.h5)?")
    try:
        paths = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        reason = error_reason(error)
        raise FormatError(f"{printable(str(folder))}: can't list snapshots: {reason}") from None
    for path in paths:
        match = pattern.fullmatch(path.name)
        with suppress(OSError):  # a broken link, or deleted meanwhile
            if match:
                yield path.stat().st_mtime_ns, int(match[1]), os.fspath(path)


def remove_unfinished(prefix: str) -> int:
    """Remove the files that killed trainings of a prefix did not finish; return their number.

    Only the holder of the prefix's `SnapshotLock` may: theirs are under the same names.
    """
    folder, stem = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(
        re.escape(f".{stem}_iter_")
        + r"[0-9]{1,10}\.(caffemodel|solverstate|sqgenstate|bits\.toml)(\.h5)?\.[0-9a-f]{8}\.tmp"
    )
    removed = 0
    with suppress(OSError, ValueError):  # a folder that is missing, or can't be listed
        for path in folder.iterdir():
            if pattern.fullmatch(path.name):
                with suppress(OSError):
                    path.unlink()
                    removed += 1
    return removed
