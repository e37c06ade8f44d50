"""What is known of a run, as named texts: for its page, and to tell runs apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import FormatError
from ..evaluation.intervals import standard_error
from ..logs.read_result import LOG, RESULT
from ..logs.result import LogResult
from ..logs.scores import score_names
from ..runner.run_folder import COMMAND
from ..text import bytes_text, number_text, printable
from .log_ends import read_ends
from .log_tail import log_path
from .places import RUN, Place, open_file
from .short_result import read_short_result

RESULTS = "Result"
TITLES = (RESULTS, "Run", "Solver", "Data", "Engine and machine")
TEXT = 400  # characters of a value
_COMMAND_LIMIT = 1 << 16
_HIDDEN = frozenset({"net", "train_net", "test_net"})  # of a solver: paths in the run folder
Fact = tuple[str, str]


class Group(NamedTuple):
    """Facts under a heading."""

    title: str
    facts: list[Fact]


class Difference(NamedTuple):
    """A fact that differs among runs: its value in each, empty where it has none."""

    name: str
    values: list[str]


def read_facts(place: Place) -> list[Group]:
    """Return what is known of a run; groups without facts are left out."""
    result = _read(place)
    if result is None:
        return []
    facts = (
        *(_result_facts(result), _run_facts(result), _solver_facts(result)),
        *(_data_facts(result.run), _machine_facts(result)),
    )
    groups = [Group(title, list(each)) for title, each in zip(TITLES, facts, strict=True)]
    return [group for group in groups if group.facts]


def _read(place: Place) -> LogResult | None:
    try:
        if RESULT in place.files:
            return read_short_result(place.path / RESULT)
        if place.kind != RUN or LOG in place.files:
            return read_ends(log_path(place)).result
    except FormatError:
        pass  # a note of the row says it
    return None


def read_command(place: Place) -> str:
    """Return the commands of a run, a line each; empty where there are none."""
    if COMMAND not in place.files:
        return ""
    try:
        with open_file(place.path / COMMAND) as file:
            text = file.read(_COMMAND_LIMIT).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    return "\n".join(printable(line, 10_000) for line in text.splitlines())


def _result_facts(result: LogResult) -> Iterator[Fact]:
    for name, score in zip(score_names(result.scores), result.scores, strict=True):
        noise = standard_error(score.value, result.images) if score.k else None
        error = f" ± {noise:.2g}" if noise else ""
        yield printable(name), number_text(score.value) + (error if score.valid else " (void)")
    if result.images is not None:
        yield "images", f"{result.images:,} a test"
    for name, value in result.total_ms.items():
        yield printable(name), f"{number_text(value)} ms"
    yield from _named("snapshot", *result.snapshots[-1:])


def _run_facts(result: LogResult) -> Iterator[Fact]:
    run = result.run
    yield from _named("net", result.net)
    yield from _named("weights", run.get("weights"))
    yield from _named("started from", run.get("started_from"), *result.finetuned_from)
    yield from _named("images an update", run.get("images_an_update"))
    yield from _named("trained parameters", run.get("trained_parameters"))
    yield from _named("frozen", run.get("frozen"))
    yield from _named("changes in the copies", run.get("changes"))
    yield from _named("folder", run.get("working_folder"))


def _solver_facts(result: LogResult) -> Iterator[Fact]:
    for name, value in result.solver.items():
        if name not in _HIDDEN:
            yield from _named(name, value)


def _data_facts(run: Mapping[str, Any]) -> Iterator[Fact]:
    layers = [("data", layer) for layer in _dicts(run.get("data"))]
    for test in _dicts(run.get("tests")):
        layers += [("test data", layer) for layer in _dicts(test.get("data"))]
    for name, layer in layers:
        records = layer.get("records")
        count = f", {records:,} records" if isinstance(records, int) else ""
        yield name, _text(layer.get("source")) + count
        yield from _named(f"{name}: digest", layer.get("digest"))
        yield from _named(f"{name}: transform", layer.get("transform"))


def _machine_facts(result: LogResult) -> Iterator[Fact]:
    run = result.run
    engine, machine = _dict(run.get("engine")), dict(_dict(run.get("machine")))
    yield from _named("engine", engine.get("name"))
    yield from _named("engine's version", engine.get("version"))
    yield from _named("device", result.device)
    memory = machine.pop("memory_bytes", None)
    for name, value in machine.items():
        yield from _named(name, value)
    if isinstance(memory, int):
        yield "memory", bytes_text(memory)
    for name, value in _dict(run.get("versions")).items():
        if name != "engine":
            yield from _named(name, value)


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _named(name: str, *values: Any) -> Iterator[Fact]:
    """Yield a fact for each value that is any."""
    for value in values:
        text = _text(value)
        if text:
            yield printable(name), text


def _text(value: Any) -> str:
    """Return plain data in one line; it may come from a stranger's file."""
    if value is None or isinstance(value, bool):
        text = "" if value is None else "yes" if value else "no"
    elif isinstance(value, float):
        text = number_text(value)
    elif isinstance(value, dict):
        text = ", ".join(f"{name} {_text(item)}" for name, item in list(value.items())[:50])
    elif isinstance(value, list):
        text = ", ".join(filter(None, map(_text, value[:50])))
    else:
        text = str(value)
    return printable(text, TEXT)


class Comparison(NamedTuple):
    """The facts of several runs.

    Attributes:
        differing: those that runs have with different values.
        partial: those that some runs lack, and the others agree on.
        shared: those that are the same in all.
    """

    differing: list[Difference]
    partial: list[Difference]
    shared: list[Fact]


def compare_facts(runs: Sequence[Sequence[Group]]) -> Comparison:
    """Return which facts of runs differ."""
    named = [Difference(*item) for title in TITLES for item in _values(title, runs).items()]
    differing = [each for each in named if len({*each.values} - {""}) > 1]
    partial = [each for each in named if len({*each.values} - {""}) == 1 and "" in each.values]
    shared = [(each.name, each.values[0]) for each in named if len({*each.values}) == 1]
    return Comparison(differing, partial, shared)


def _values(title: str, runs: Sequence[Sequence[Group]]) -> dict[str, list[str]]:
    """Return the facts of a group by name: the value in each run, empty where it has none."""
    named: dict[str, list[str]] = {}
    for index, groups in enumerate(runs):
        for name, value in (
            fact for group in groups if group.title == title for fact in group.facts
        ):
            values = named.setdefault(name, [""] * len(runs))
            values[index] = f"{values[index]}; {value}" if values[index] else value
    return named
