"""The nets that a solver trains and tests, each in its state (src/caffe/solver.cpp)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError
from ..formats import prototxt
from ..text import printable
from .definition import NetDefinition, parse_net, read_net


class SolverNets(NamedTuple):
    """What is trained, and what is tested, one for each test_iter.

    `origins` says of each, the trained one first, which field of the solver named it, and what.
    """

    trained: NetDefinition
    tested: list[NetDefinition]
    origins: list[tuple[str, str]]


def nets_of_solver(
    solver: Any, source: str, given: NetDefinition | None = None, level: int = 0
) -> SolverNets:
    """The nets of a SolverParameter; `given` stands for those that it names.

    `caffe` sets the level of train_state by its flag, whatever the file says.

    Raises:
        FormatError: one is not there or can't be read.
    """
    found = _named(solver, source, ("train_net", "train_net_param", "net", "net_param"), given)
    if found is None:
        raise FormatError(f"{printable(source)}: a solver that names no net to train; give the net")
    trained, origin = found
    # In Caffe's order: test_net_param, test_net, and the solver's own net for what is left.
    tests = [
        (_inline(param, source, "test_net_param"), ("test_net_param", ""))
        for param in solver.test_net_param
    ]
    tests += [(given or _read(path, source), ("test_net", path)) for path in solver.test_net]
    generic = _named(solver, source, ("net", "net_param"), given)
    while generic is not None and len(tests) < len(solver.test_iter):
        tests.append(generic)
    states = list(solver.test_state) + [None] * len(tests)
    tested = [
        net if state is None else net.in_state(state, state.level)
        for (net, _), state in zip(tests, states, strict=False)
    ]
    origins = [origin, *(origin for _, origin in tests)]
    return SolverNets(trained.in_state(solver.train_state, level), tested, origins)


_Found = tuple[NetDefinition, tuple[str, str]]


def _named(
    solver: Any, source: str, fields: tuple[str, ...], given: NetDefinition | None
) -> _Found | None:
    for field in fields:
        if solver.HasField(field):
            value = getattr(solver, field)
            if isinstance(value, str):
                return given or _read(value, source), (field, value)
            return given or _inline(value, source, field), (field, "")
    return None if given is None else (given, ("net", given.source))


def _inline(param: Any, source: str, field: str) -> NetDefinition:
    return parse_net(prototxt.to_text(param), f"{source} ({field})")


def beside_solver(named: str, source: str) -> Path:
    """Where a net that a solver names may also lie."""
    return Path(source).parent / named


def _read(named: str, source: str) -> NetDefinition:
    """A net by the path in a solver: from the working folder, as Caffe does, or beside it."""
    beside = beside_solver(named, source)
    if not beside.exists() and not Path(named).exists():
        raise FormatError(
            f"{printable(source)}: its net {printable(named)} is not there, nor beside it;"
            " correct its path"
        )
    return read_net(named if Path(named).exists() else beside)
