"""The file of a study: a base, what varies, the seeds, and what is measured.

docs/studies.md has its format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import DesignError, FormatError
from ..formats import toml
from ..formats.files import read_bytes
from ..logs.scores import is_accuracy_name
from ..text import did_you_mean, first_few, printable
from .steps import DATA, DATA_COMMANDS, STEPS
from .study_tables import (
    CHART,
    COUNTS,
    RESOURCES,
    Resources,
    check_chart,
    parse_chart,
    parse_resources,
)

FORMAT = 1
LIMIT = 1 << 20  # bytes
POINTS, SEEDS = 10_000, 1000  # at most
# Its tables and keys, beside those of steps.
TITLE, ABOUT = "title", "about"
GRID, LIST, BASELINE = "grid", "list", "baseline"
RESERVED = (
    *("format", TITLE, ABOUT, "seeds", "measure"),
    *(GRID, LIST, BASELINE, RESOURCES, CHART, DATA),
)
NAME, STEPS_KEY = "name", "steps"  # keys of an entry of the list
COMMAND, SHARE = "command", "share"  # keys of a step
SCORES = ("top1", "top5", "loss")  # the usual ones; a net's other outputs go by their names
DEFAULT_MEASURES = ("top1", "loss", "parameters", "macs", "bytes", "seconds")

Value = bool | int | float | str | Sequence[Any]


@dataclass(frozen=True)
class Step:
    """A command that each run types.

    Attributes:
        name: of its table, and of its folder in a run.
        command: a key of `STEPS`, or of `DATA_COMMANDS`.
        options: flag without dashes -> value.
        share: whether runs of one seed whose steps are the same so far run it once.
    """

    name: str
    command: str
    options: Mapping[str, Value]
    share: bool = False


@dataclass(frozen=True)
class Study:
    """A study as its file says; the options of its steps are unchecked.

    Attributes:
        source: the file.
        folder: that its paths are relative to.
        title, about: for people.
        seeds: of the runs of each point.
        measures: the first is that which points are compared by.
        data: the step that makes it, or one with options `train` and `val`; None for the nets' own.
        steps: in order.
        grid: option -> its values.
        entries: of the list: its name, steps (None: all) and options.
        baseline: axis -> the value that others are compared with.
        resources: of a run.
        chart: what the picture shows: kind, x and title.
    """

    source: str
    folder: Path
    title: str
    about: str
    seeds: tuple[int, ...]
    measures: tuple[str, ...]
    data: Step | None
    steps: tuple[Step, ...]
    grid: Mapping[str, Sequence[Value]]
    entries: tuple[Entry, ...]
    baseline: Mapping[str, Value]
    resources: Resources
    chart: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """An entry of the list."""

    name: str
    steps: tuple[str, ...] | None
    options: Mapping[str, Value]


def read_study(path: str | Path) -> Study:
    """Read the file of a study.

    Raises:
        FormatError: it can't be read, or is none of this version.
        DesignError: a table or a key is unknown, or a value makes no sense.
    """
    data = read_bytes(path, LIMIT, "a study")
    return parse_study(toml.parse(data, str(path)), str(path))


def parse_study(table: Mapping[str, Any], source: str) -> Study:
    """Make a study of the tables of its file; raises as `read_study`."""
    shown = printable(source)
    _check_format(table, shown)
    try:
        return _parse(table, source)
    except DesignError as error:
        raise DesignError(f"{shown}: {error}") from None


def _check_format(table: Mapping[str, Any], shown: str) -> None:
    number = table.get("format")
    if number is None:
        raise FormatError(f"{shown}: is no study: it has no format = {FORMAT} (docs/studies.md)")
    if number != FORMAT or isinstance(number, bool):
        given = f'"{number}"' if isinstance(number, str) else str(number)
        raise FormatError(
            f"{shown}: is a study of format {printable(given, 40)}; this sqgen reads format"
            f" {FORMAT}"
        )


def _parse(table: Mapping[str, Any], source: str) -> Study:
    _check_keys(table)
    steps = tuple(
        _parse_step(name, values)
        for name, values in table.items()
        if name not in RESERVED and isinstance(values, dict)
    )
    if not steps:
        raise DesignError(f"has no steps; write [build] and [train], or {_known()}")
    data = _parse_data(table.get(DATA))
    study = Study(
        source=source,
        folder=Path(source).resolve().parent,
        title=_text(table, TITLE) or Path(source).stem,
        about=_text(table, ABOUT),
        seeds=_parse_seeds(table.get("seeds", 1)),
        measures=_parse_measures(table.get("measure"), steps),
        data=data,
        steps=steps,
        grid={key: _values(key, each) for key, each in flat(_table(table, GRID)).items()},
        entries=_parse_list(table.get(LIST, []), [step.name for step in steps]),
        baseline=flat(_table(table, BASELINE)),
        resources=parse_resources(_table(table, RESOURCES)),
        chart=parse_chart(_table(table, CHART)),
    )
    _check_options(study)
    return study


def _known() -> str:
    return ", ".join(f"[{command}]" for command in STEPS if " " not in command)


def _check_keys(table: Mapping[str, Any]) -> None:
    """Check that what is no table of a step has a known name."""
    for key, value in table.items():
        if key in RESERVED:
            continue
        if not isinstance(value, dict):
            hint = did_you_mean(key, RESERVED) or "; options of a command go under its table"
            raise DesignError(f"no key '{printable(key)}'{hint}")
        if key == "solver":
            raise DesignError("[solver]: sqgen build writes the solver; its options go to [build]")
        if not key.replace("-", "").replace("_", "").isalnum() or not key.isascii():
            raise DesignError(f"[{printable(key)}]: name a step by letters, digits, - and _")
        command = value.get(COMMAND, key)
        if not isinstance(command, str) or command not in STEPS:
            hint = did_you_mean(str(command), [*STEPS, *RESERVED])
            named = printable(str(command))
            place = f"[{key}]" if command == key else f'[{key}]: command = "{named}"'
            more = "" if hint else f"; a step is {', '.join(STEPS)}"
            raise DesignError(f"{place}: no such step{hint or more}")


def _parse_step(name: str, values: Mapping[str, Any]) -> Step:
    own = {key: each for key, each in values.items() if key not in (COMMAND, SHARE)}
    options = {key.replace("_", "-"): each for key, each in own.items()}
    _check_twice(f"[{name}]", own)
    _check_scalars(f"[{name}]", options)
    share = values.get(SHARE, False)
    if not isinstance(share, bool):
        raise DesignError(f"[{name}] {SHARE}: give true or false")
    return Step(name, values.get(COMMAND, name), options, share)


def _check_scalars(place: str, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        if not _is_value(value):
            raise DesignError(
                f"{place} {printable(key)}: give a number, a text, true, false or a list of those"
            )


def _check_twice(place: str, keys: Iterable[str]) -> None:
    """Check that no option is there by two spellings."""
    seen: set[str] = set()
    for key in keys:
        flag = key.replace("_", "-")
        if flag in seen:
            raise DesignError(f"{place} {printable(flag)}: is there twice, with - and with _")
        seen.add(flag)


def _is_value(value: object, depth: int = 2) -> bool:
    if isinstance(value, list):
        return depth > 0 and all(_is_value(item, depth - 1) for item in value)
    return isinstance(value, bool | int | float | str)


def _parse_data(table: object) -> Step | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        raise DesignError(f"{DATA} must be a table: write [{DATA}] on its own line")
    command = table.get(COMMAND, "")
    if command and command not in DATA_COMMANDS:
        raise DesignError(
            f'[{DATA}]: command = "{printable(str(command))}": give {" or ".join(DATA_COMMANDS)},'
            " or train and val"
        )
    step = _parse_step(DATA, table)
    if not command:
        for key in step.options:
            if key not in ("train", "val"):
                hint = did_you_mean(key, ("train", "val", COMMAND))
                raise DesignError(f"[{DATA}] has no '{printable(key)}'{hint or '; train and val'}")
    return Step(DATA, command, step.options)


def _parse_seeds(given: object) -> tuple[int, ...]:
    if isinstance(given, int) and not isinstance(given, bool):
        given = list(range(1, min(given, SEEDS + 1) + 1))
    numbers = given if isinstance(given, list) else []
    if not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 31 for n in numbers
    ):
        numbers = []
    if not 1 <= len(numbers) <= SEEDS:
        raise DesignError(f"seeds: give a number from 1 to {SEEDS}, or a list of seeds")
    if len(set(numbers)) < len(numbers):
        raise DesignError("seeds: one is there twice")
    return tuple(numbers)


def _parse_measures(given: object, steps: Sequence[Step]) -> tuple[str, ...]:
    """Return what is measured: by default, what these steps have of the usual."""
    if given is None:
        usual = tuple(name for name in DEFAULT_MEASURES if not _lacks_measure(name, steps))
        return usual or DEFAULT_MEASURES
    is_names = isinstance(given, list) and all(isinstance(name, str) and name for name in given)
    if not is_names or not given:
        names = ", ".join(("top1", "loss", *COUNTS))
        raise DesignError(f"measure: give a list of names: {names}")
    assert isinstance(given, list)
    for name in given:
        known = (*SCORES, *COUNTS)
        own = name.rpartition(".")[2]
        is_known = own in known or is_accuracy_name(own)
        hint = "" if is_known else did_you_mean(own, known, 0.7)
        if hint:
            raise DesignError(f"measure: no '{printable(name)}'{hint}")
        problem = _lacks_measure(name, steps)
        if problem:
            raise DesignError(f"measure {printable(name)}: {problem}")
    return tuple(dict.fromkeys(given))


def _lacks_measure(measure: str, steps: Sequence[Step]) -> str:
    """Return why none of these steps has a measure; empty where one may."""
    name, dot, own = measure.rpartition(".")
    named = {step.name: STEPS[step.command] for step in steps}
    kinds = list(named.values())
    if dot and name in named:
        if own in COUNTS:
            return f"{own} is of the whole run; write {own}"
        return "" if named[name].tests else f"[{name}] tests nothing"
    if dot and (own in SCORES or is_accuracy_name(own)):
        hint = did_you_mean(name, named) or f"; there: {', '.join(named)}"
        return f"no step '{printable(name)}'{hint}"
    if measure == "ms":
        has_it = any(step.command == "time" for step in steps)
        return "" if has_it else "a step [time] measures it; add one"
    if measure == "seconds":
        return "" if any(kind.trains for kind in kinds) else "no step trains; add [train]"
    if measure in COUNTS:
        has_it = any(step.command == "build" for step in steps)
        return "" if has_it else "of the net that [build] makes; add it"
    return "" if any(kind.tests for kind in kinds) else "no step tests; add [train] or [test]"


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise DesignError(f"{key}: give a text")
    return " ".join(value.split())


def _table(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise DesignError(f"{key} must be a table: write [{key}] on its own line")
    return value


def flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return `{"build.bypass": ...}` of nested tables, as `build.bypass = ...` makes them."""
    options: dict[str, Any] = {}
    _check_twice(before.rstrip("."), table if before else ())
    for key, value in table.items():
        if isinstance(value, dict):
            options |= flat(value, f"{before}{key}.")
        else:
            options[f"{before}{key.replace('_', '-') if before else key}"] = value
    return options


def value_text(value: Value) -> str:
    """Return a value as its option takes it: `3,5`, `0.125`, `true`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, str | int):
        return str(value)
    inner = [isinstance(item, str | int | float) for item in value]
    return (
        ("," if all(inner) else ";")
        .join(
            value_text(item) if plain else "/".join(map(value_text, item))
            for item, plain in zip(value, inner, strict=True)
        )
        .replace(";", ",")
    )


def _values(option: str, given: object) -> Sequence[Value]:
    if not isinstance(given, list) or not given:
        raise DesignError(f"[{GRID}] {printable(option)}: give a list of values")
    if len({value_text(each) if _is_value(each) else repr(each) for each in given}) < len(given):
        raise DesignError(f"[{GRID}] {printable(option)}: a value is there twice")
    return given


def _parse_list(given: object, steps: Sequence[str]) -> tuple[Entry, ...]:
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise DesignError(f"write each entry of the list as [[{LIST}]]")
    entries = tuple(_parse_entry(number, each, steps) for number, each in enumerate(given, 1))
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise DesignError(f"[[{LIST}]]: two entries are named '{printable(name)}'")
    return entries


def _parse_entry(number: int, table: Mapping[str, Any], steps: Sequence[str]) -> Entry:
    name = table.get(NAME)
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise DesignError(f'[[{LIST}]]: entry {number} has no name; write {NAME} = "..."')
    chosen = table.get(STEPS_KEY)
    if chosen is not None:
        if not isinstance(chosen, list) or not chosen:
            raise DesignError(f"[[{LIST}]] {name}: {STEPS_KEY}: give a list of names of steps")
        for each in chosen:
            if each not in steps:
                shown = printable(str(each))
                hint = did_you_mean(str(each), steps) or f"; there: {', '.join(steps)}"
                raise DesignError(f"[[{LIST}]] {name}: no step '{shown}'{hint}")
    options = flat({key: value for key, value in table.items() if key not in (NAME, STEPS_KEY)})
    return Entry(name, None if chosen is None else tuple(chosen), options)


def with_settings(study: Study, settings: Sequence[str]) -> Study:
    """Return a study with options of its steps replaced by `STEP.OPTION=VALUE`.

    Raises:
        DesignError: a setting is malformed, names no step, or what varies.
    """
    steps = {step.name: step for step in study.steps}
    if study.data is not None:
        steps[DATA] = study.data
    for setting in settings:
        option, equals, text = setting.partition("=")
        place = f"--set {printable(setting)}:"
        if not equals:
            raise DesignError(f"{place} write STEP.OPTION=VALUE")
        check_option(option, list(steps), place)
        if option in study.grid or any(option in entry.options for entry in study.entries):
            raise DesignError(f"{place} this varies in the study")
        name, _, flag = option.partition(".")
        value: Value = {"true": True, "false": False}.get(text, text)
        options = {**steps[name].options, flag.replace("_", "-"): value}
        steps[name] = replace(steps[name], options=options)
    data = steps.pop(DATA, None)
    return replace(study, data=data, steps=tuple(steps.values()))


def _check_options(study: Study) -> None:
    """Check that what varies belongs to a step that there is."""
    names = [*([DATA] if study.data else []), *(step.name for step in study.steps)]
    places: list[tuple[str, Mapping[str, Value]]] = [(f"[{GRID}]", study.grid)]
    places += [(f"[[{LIST}]] {printable(entry.name)}:", entry.options) for entry in study.entries]
    for place, options in places:
        for option in options:
            check_option(option, names, place)
        _check_scalars(place, options)
    for entry in study.entries:
        for option in entry.options.keys() & study.grid.keys():
            raise DesignError(
                f"[[{LIST}]] {printable(entry.name)}: {option}: varies in [{GRID}], too"
            )
    axes: dict[str, list[str]] = {LIST: [each.name for each in study.entries]}
    axes = {axis: names for axis, names in axes.items() if names}
    axes |= {axis: [value_text(each) for each in values] for axis, values in study.grid.items()}
    check_chart(study.chart, axes, study.measures)
    _check_baseline(study, axes)


def _check_baseline(study: Study, axes: Mapping[str, Sequence[str]]) -> None:
    """Check that what others are compared with is a value of what varies."""
    _check_scalars(f"[{BASELINE}]", study.baseline)
    for axis, value in study.baseline.items():
        if axis not in axes:
            names = list(axes)
            hint = did_you_mean(axis, names) or f"; what varies: {first_few(names) or 'nothing'}"
            raise DesignError(f"[{BASELINE}] {printable(axis)}: does not vary{hint}")
        given, there = value_text(value), axes[axis]
        if given not in there:
            hint = did_you_mean(given, there) if isinstance(value, str) else ""
            hint = hint or f"; there: {first_few(there)}"
            raise DesignError(f"[{BASELINE}] {axis}: no '{printable(given)}'{hint}")


def check_option(option: str, steps: Sequence[str], place: str) -> None:
    """Check that `STEP.OPTION` names a step.

    Raises:
        DesignError: it does not; the message begins with `place`.
    """
    step, dot, flag = option.partition(".")
    if not dot or not flag:
        example = f"{steps[-1]}.{option}"
        raise DesignError(f"{place} {printable(option)}: name the step, too, such as {example}")
    if step not in steps:
        hint = did_you_mean(step, steps) or f"; there: {', '.join(steps)}"
        raise DesignError(f"{place} {printable(option)}: no step '{printable(step)}'{hint}")
