"""The nets that a solver trains and tests, each in its state (src/caffe/solver.cpp)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FormatError, printable
from ..formats import prototxt
from ..formats.net import Net, parse_net, read_net


class SolverNets(NamedTuple):
    """What is trained, and what is tested, one for each test_iter."""

    trained: Net
    tested: list[Net]


def nets_of_solver(solver: Any, source: str, given: Net | None = None) -> SolverNets:
    """The nets of a SolverParameter; `given` stands for those that it names.

    Raises:
        FormatError: one is not there or can't be read.
    """
    trained = given or _named(solver, source, ("train_net", "train_net_param", "net", "net_param"))
    if trained is None:
        raise FormatError(f"{printable(source)}: a solver that names no net to train; give the net")
    tests = [given or _read(path, source) for path in solver.test_net]
    tests += [_inline(param, source, "test_net_param") for param in solver.test_net_param]
    generic = given or _named(solver, source, ("net", "net_param"))
    while generic is not None and len(tests) < len(solver.test_iter):
        tests.append(generic)
    states = list(solver.test_state) + [None] * len(tests)
    tested = [
        net if state is None else net.in_state(state, state.level)
        for net, state in zip(tests, states, strict=False)
    ]
    # `caffe` sets the level of train_state by its flag, whatever the file says.
    return SolverNets(trained.in_state(solver.train_state, 0), tested)


def _named(solver: Any, source: str, fields: tuple[str, ...]) -> Net | None:
    for field in fields:
        if solver.HasField(field):
            value = getattr(solver, field)
            return _read(value, source) if isinstance(value, str) else _inline(value, source, field)
    return None


def _inline(param: Any, source: str, field: str) -> Net:
    return parse_net(prototxt.to_text(param), f"{source} ({field})")


def _read(named: str, source: str) -> Net:
    """A net by the path in a solver: from the working folder, as Caffe does, or beside it."""
    beside = Path(source).parent / named
    if not beside.exists() and not Path(named).exists():
        raise FormatError(
            f"{printable(source)}: its net {printable(named)} is not there; give the net and"
            " --solver"
        )
    return read_net(named if Path(named).exists() else beside)
