"""The options of sqgen's commands as a study may set them, and what a net costs."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from ..errors import DesignError
from ..generator.build import design_files
from ..generator.design import Design
from ..generator.presets import phases_of
from ..sweep.steps import PRUNE, QUANTIZE, TRAIN, TRAIN_DATA
from ..sweep.study_file import Value, value_text
from ..text import did_you_mean, printable
from .mistaken_usage import SOLVER_FIELDS
from .net_checks import DEPLOY, TRAIN_VAL, StepNet, check_on_net
from .option_checks import check_options

# Metavars of options that name a file or a folder, and options whose help says so.
FILES = {"FILE", "LMDB", "W", "NET", "SOLVER", "STATE", "DIR", "TRAIN_VAL"}
FILE_FIELDS = {"mean_file", "infogain_file", "train_source", "val_source"}
OR_FILES = {"density", "labels"}  # which may name something else
WRITTEN = {"predictions", "calibrated", "rounded", "table"}  # by the command
# Arguments that a command needs and the study gives, so that the rest can be checked; then those
# that it gives where there are weights, or data.
STAND_INS = {
    "train": ("--solver", "s"),
    "test": ("--model", "m", "--weights", "w"),
    "time": ("--model", "m", "--phase", "TEST"),
    "prune": ("w", "--net", "n", "--out", "o"),
    "quantize": ("w", "--net", "n", "--out", "o", "--data", "d"),
    "compress train": ("--weights", "w", "--net", "n", "--solver", "s", "-o", "o.sqz"),
    "compress encode": ("w", "--net", "n", "-o", "o.sqz"),
    "data digits": ("-o", "o"),
}
WEIGHTS = {"train": ("--weights", "w")}
DATA = dict.fromkeys(("train", "prune", "quantize", "compress train"), ("--data", "d"))


class CommandOptions:
    """The options of the commands of this sqgen; implements `sweep.plan.Commands`."""

    def __init__(self) -> None:
        self._macs: dict[tuple[str, ...], float | None] = {}

    def words(self, command: str, flag: str, value: Value, folder: Path) -> list[str]:
        """Return an option as words of a command line.

        Raises:
            DesignError: the command has no such option, or it takes no such value.
        """
        option, is_on = _find(command, flag)
        name = f"--{flag}"
        if option.is_flag:
            return _flag_words(option, name, value, is_on)
        if isinstance(value, bool):
            raise DesignError(f"takes a value, not {value_text(value)}")
        if option.multiple and isinstance(value, list):
            values = [value_text(each) for each in value]
        else:
            values = [value_text(value)]
        if _kinds(option) & FILES or option.name in FILE_FIELDS | OR_FILES:
            values = [_beside(each, folder) for each in values]
        return [word for each in values for word in (name, each)]

    def check(
        self,
        command: str,
        words: Sequence[str],
        given: Container[str] = (),
        build: Sequence[str] | None = None,
    ) -> None:
        """Check all options of a command together and against its net, and of `build` the net.

        Raises:
            SqgenError: they fit no run.
        """
        if command == "build":
            _files(tuple(words))
            return
        more: tuple[str, ...] = WEIGHTS.get(command, ()) if TRAIN in given else ()
        more += DATA.get(command, ()) if TRAIN_DATA in given else ()
        try:
            parsed = parse_step(command, [*more, *words])
            check_options(command, parsed)
            if build is not None:
                check_on_net(command, parsed, _step_net(tuple(build), given))
        except click.UsageError as error:
            message = " ".join(error.format_message().split()).rstrip(".")
            raise DesignError(message[:1].lower() + message[1:]) from None

    def scores(self, build: Sequence[str]) -> list[str]:
        """Return the names of the scores that a test of the net of `sqgen build` has."""
        return _score_names(tuple(build))

    def cost(self, build: Sequence[str], trainings: Sequence[Mapping[str, Value]]) -> float | None:
        """Return about how many multiply-accumulates a run takes; None: unknown.

        Forward and backward are three times forward; tests while training count, too.
        """
        design, macs = _design(tuple(build)), self._net_macs(tuple(build))
        if macs is None:
            return None
        images = 0.0
        for options in trainings:
            if options.get("epochs") is not None:
                return None  # depends on the data
            updates = float(str(options.get("max-iter", design.max_iter)))
            batch = float(str(options.get("batch-size", design.batch_size)))
            images += 3 * updates * batch * design.passes
            tests = 1 + updates // design.test_interval
            images += tests * design.test_batches * design.val_batch_size
        return macs * images

    def _net_macs(self, words: tuple[str, ...]) -> float | None:
        from ..nets.definition import parse_net
        from ..nets.shapes import require_shapes
        from ..nets.totals import totals

        if words not in self._macs:
            net = parse_net(_files(words)[DEPLOY])
            self._macs[words] = totals(require_shapes(net, "TEST")).macs
        return self._macs[words]


def parse_step(command: str, words: Sequence[str]) -> Mapping[str, Any]:
    """Return the options of a command by name, with stand-ins for what it needs besides.

    Raises:
        click.UsageError: they are malformed.
    """
    return _command(command).make_context(command, [*STAND_INS[command], *words]).params


def paths_of(command: str, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each path that must be there, with its option without dashes."""
    for name, value in pairwise(words):
        option = _options(command).get(name)
        if option is None or option.is_flag or option.name in OR_FILES | WRITTEN:
            continue
        if _kinds(option) <= FILES or option.name in FILE_FIELDS:
            yield from ((name[2:], path) for path in _split(option, value))


def _kinds(option: click.Option) -> set[str]:
    """Return what an option takes, as its help says."""
    return set((option.metavar or "").split("|"))


def _split(option: click.Option, value: str) -> list[str]:
    """Return the paths of a value; caffemodels have commas between."""
    return value.split(",") if option.metavar == "W" else [value]


@cache
def _options(command: str) -> dict[str, click.Option]:
    """Return the options of a command by their names, with dashes."""
    options = (each for each in _command(command).params if isinstance(each, click.Option))
    return {name: option for option in options for name in option.opts}


@cache
def _command(name: str) -> click.Command:
    from .cli import cli

    command: Any = cli
    for word in name.split():
        command = command.get_command(click.Context(command), word)
    assert isinstance(command, click.Command)
    return command


def _find(command: str, flag: str) -> tuple[click.Option, bool]:
    """Return the option of a flag without dashes, and whether it is not the `--no-` one.

    Raises:
        DesignError: there is none.
    """
    known: dict[str, tuple[click.Option, bool]] = {}
    for option in _command(command).params:
        if isinstance(option, click.Option):
            known |= {name[2:]: (option, True) for name in option.opts if name[:2] == "--"}
            known |= {name[2:]: (option, False) for name in option.secondary_opts}
    if flag in known:
        return known[flag]
    by_field = {(option.name or "").replace("_", "-"): name for name, (option, _) in known.items()}
    meant = by_field.get(flag) or SOLVER_FIELDS.get(flag.replace("-", "_"), "").replace("_", "-")
    hint = f"; did you mean '{meant}'?" if meant in known else did_you_mean(flag, known)
    raise DesignError(f"sqgen {command} has no --{printable(flag)}{hint}")


def _flag_words(option: click.Option, name: str, value: Value, is_on: bool) -> list[str]:
    if not isinstance(value, bool):
        raise DesignError(f"is a switch: give true or false, not {printable(value_text(value))}")
    if value:
        return [name]
    other = option.secondary_opts if is_on else option.opts
    return [other[0]] if other else []


def _beside(value: str, folder: Path) -> str:
    """Return the paths of a value from anywhere, if they name something beside the study's file."""
    parts = [value] if (folder / value).exists() else value.split(",")
    return ",".join(
        str(folder / part) if part and (folder / part).exists() else part for part in parts
    )


def design_of(build: Sequence[str]) -> Design:
    """Return the design of words of `sqgen build`; raises as that."""
    return _design(tuple(build))


def _design(words: tuple[str, ...]) -> Design:
    return _parse_build(words)[0]


@cache
def _parse_build(words: tuple[str, ...]) -> tuple[Design, tuple[str, ...]]:
    """Return the design of words of `sqgen build`, and the phases of which it writes solvers."""
    from .build import build
    from .design_options import select_design

    try:
        options = dict(build.make_context("build", list(words)).params)
    except click.UsageError as error:
        raise DesignError(" ".join(error.format_message().split())) from None
    for name in ("net", "out", "force", "dump_design"):
        options.pop(name)
    preset = options.pop("preset")
    return select_design(preset, options.pop("design_file"), options), phases_of(preset)


@lru_cache(maxsize=64)
def _files(words: tuple[str, ...]) -> Mapping[str, str]:
    """Return the files that `sqgen build` writes with these options, by name.

    Raises:
        SqgenError: they make no net.
    """
    return design_files(*_parse_build(words))


def _step_net(build: tuple[str, ...], given: Container[str]) -> StepNet:
    """Return the net of a step, of which all that use it share what it keeps."""
    return _net(build, PRUNE in given, QUANTIZE in given)


@lru_cache(maxsize=64)
def _net(build: tuple[str, ...], is_pruned: bool, has_bits: bool) -> StepNet:
    return StepNet(_design(build), _files(build), is_pruned, has_bits)


@cache
def _score_names(words: tuple[str, ...]) -> list[str]:
    from ..logs.logged_net import expected_scores
    from ..logs.scores import score_names
    from ..nets.definition import parse_net

    return score_names(expected_scores(parse_net(_files(words)[TRAIN_VAL])))
