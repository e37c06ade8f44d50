"""Read the nets that a solver trains and tests, each in its NetState (src/caffe/solver.cpp)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import Message

from ..errors import FormatError
from ..formats import prototxt
from ..formats.fork_fields import TESTED, TRAINED
from ..formats.near_path import missing_hint
from ..formats.schema import SolverParameter
from ..text import printable
from .definition import NetDefinition, parse_inner_nets, read_net


class SolverNets(NamedTuple):
    """The nets of a solver.

    Attributes:
        trained: the net to train.
        tested: the nets to test, one for each test_iter.
        origins: for each net, the trained one first, the solver's field that gives it, and the
            path there; the path is empty for a net inside the solver.
    """

    trained: NetDefinition
    tested: list[NetDefinition]
    origins: list[tuple[str, str]]

    def require_caffe(self) -> None:
        """Check that no net is read without a field of a fork that changes the training.

        Raises:
            FormatError: one is.
        """
        self.trained.require_caffe("TRAIN", TRAINED)
        for net in self.tested:
            net.require_caffe("TEST", TESTED)


def read_solver_nets(
    solver: SolverParameter,
    source: str,
    instead: NetDefinition | None = None,
    level: int = 0,
    text: str = "",
) -> SolverNets:
    """Read the nets of a SolverParameter.

    Args:
        solver: the SolverParameter.
        source: its file, for messages and for nets beside it.
        instead: a net to use in place of all that the solver names.
        level: of the net to train; `caffe` sets it by a flag, whatever train_state says.
        text: the solver's prototxt, for the lines of nets inside it.

    Raises:
        FormatError: the solver names no net to train, or a net can't be read.
    """
    inner = partial(parse_inner_nets, text or prototxt.to_text(solver), source)
    fields = ("train_net", "train_net_param", "net", "net_param")
    named = _read_first(solver, source, fields, instead, inner)
    if named is None:
        raise FormatError(f"{printable(source)}: a solver that names no net to train; give the net")
    trained, origin = named
    # In Caffe's order: test_net_param, test_net, then the net to train for each test_iter left.
    tests = [(net, ("test_net_param", "")) for net in inner("test_net_param")]
    tests += [(instead or _read(path, source), ("test_net", path)) for path in solver.test_net]
    generic = _read_first(solver, source, ("net", "net_param"), instead, inner)
    while generic is not None and len(tests) < len(solver.test_iter):
        tests.append(generic)
    states = list(solver.test_state) + [None] * len(tests)
    tested = [
        net if state is None else net.in_state(state, state.level)
        for (net, _), state in zip(tests, states, strict=False)
    ]
    origins = [origin, *(origin for _, origin in tests)]
    return SolverNets(trained.in_state(solver.train_state, level), tested, origins)


_NamedNet = tuple[NetDefinition, tuple[str, str]]  # with its origin


def _read_first(
    solver: Message,
    source: str,
    fields: tuple[str, ...],
    instead: NetDefinition | None,
    inner: Callable[[str], list[NetDefinition]],
) -> _NamedNet | None:
    """Read the net of the first field that is set; None where none is."""
    for field in fields:
        if solver.HasField(field):
            value = getattr(solver, field)
            if isinstance(value, str):
                return instead or _read(value, source), (field, value)
            return instead or inner(field)[0], (field, "")
    return None if instead is None else (instead, ("net", instead.source))


def path_beside_solver(path: str, source: str) -> Path:
    """Return where a net that a solver names may lie, too: relative to the solver's folder."""
    return Path(source).parent / path


def relocate_nets(solver: SolverParameter, source: str) -> tuple[SolverParameter, dict[str, str]]:
    """Replace the paths of nets that are not there, such as those of its author's machine.

    Returns:
        A copy of the solver, and each lost path -> the file near the solver that replaces it, or
        an empty string.
    """
    copy, lost = SolverParameter(), {}
    copy.CopyFrom(solver)
    for path in filter(None, (solver.net, solver.train_net, *solver.test_net)):
        if not (os.path.exists(path) or os.path.exists(path_beside_solver(path, source))):
            lost[path] = _namesake(path, source)
    for field in ("net", "train_net"):
        if copy.HasField(field) and lost.get(getattr(copy, field)):
            setattr(copy, field, lost[getattr(copy, field)])
    copy.test_net[:] = [lost.get(path) or path for path in solver.test_net]
    return copy, lost


def _namesake(path: str, source: str) -> str:
    """Return the file near a solver whose path ends like a lost net's, or an empty string.

    That is one of its name beside the solver, or one below a folder above the solver that shares
    the name of a folder, too.
    """
    parts = [part for part in Path(path).parts if part not in (Path(path).anchor, "..")]
    folders = Path(source).absolute().parents
    tails = [Path(*parts[start:]) for start in range(len(parts) - 1)]
    candidates = [folder / tail for tail in tails for folder in folders]
    candidates.append(Path(source).parent / parts[-1])
    return next((str(each) for each in candidates if os.path.isfile(each)), "")


def _read(path: str, source: str) -> NetDefinition:
    """Read a net by its path in a solver, from the working folder (as Caffe) or the solver's."""
    beside = path_beside_solver(path, source)
    if not os.path.exists(beside) and not os.path.exists(path):
        near = _namesake(path, source)
        hint = missing_hint(beside, "correct its path", os.path.isfile)
        hint = f"; did you mean '{printable(near)}'?" if near else hint
        raise FormatError(
            f"{printable(source)}: net '{printable(path)}' not found, nor beside the solver{hint}"
        )
    return read_net(path if os.path.exists(path) else beside)
