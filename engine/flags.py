"""Command lines as gflags reads them: `--flag=value`, `-flag value`, `--switch`, `--noswitch`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import SqgenError
from ..text import did_you_mean, printable


class FlagError(SqgenError):
    """A flag that does not exist, or a value that it does not take; gflags ends with 1."""

    exit_code = 1


@dataclass(frozen=True)
class Flag:
    """A flag: its name, what it is for, its default (whose type its values have), its choices."""

    name: str
    help: str
    default: str | int | bool = ""
    choices: tuple[str, ...] = ()


FLAGS = (
    Flag("solver", "the solver: a prototxt"),
    Flag("model", "the net: a prototxt"),
    Flag("weights", "weights to start from, to score: a .caffemodel, or several with commas"),
    Flag("snapshot", "a .solverstate to resume from"),
    Flag("iterations", "batches to test, or passes to time", 50),
    Flag("gpu", "the number of the GPU to use; one for now"),
    Flag("phase", "of 'time', TRAIN by default", "", ("", "TRAIN", "TEST")),
    Flag("level", "the net's level", 0),
    Flag("stage", "the net's stages, with commas"),
    Flag("sigint_effect", "of Ctrl-C in training", "stop", ("stop", "snapshot", "none")),
    Flag("sighup_effect", "of SIGHUP in training", "snapshot", ("stop", "snapshot", "none")),
    Flag("cpu", "run on the CPU, whatever the solver says (not Caffe's)", False),
    Flag(
        "precision",
        "of the computation (not Caffe's)",
        "fp32",
        ("fp32", "bf16", "fp64"),
    ),
    Flag("threads", "threads to compute with; 0 is one a core (not Caffe's)", 0),
    Flag("exact", "of 'test': each record once, the mean over images (not Caffe's)", False),
    Flag("minloglevel", "leave out lines less severe: 0 info, 1 warnings, 2 errors", 0),
    Flag("help", "show this help", False),
    Flag("version", "show the version", False),
)
# glog's own flags, which scripts give; the log goes to standard error here whatever they say.
# Switches, and those that take a value.
IGNORED_SWITCHES = frozenset(
    """alsologtostderr colorlogtostderr colorlogtostdout drop_log_memory log_prefix log_utc_time
    logtostderr logtostdout stop_logging_if_full_disk symbolize_stacktrace
    timestamp_in_logfile_name""".split()
)
IGNORED_VALUES = frozenset(
    """alsologtoemail log_backtrace_at log_dir log_link logbuflevel logbufsecs logemaillevel
    logfile_mode logmailer max_log_size stderrthreshold v vmodule""".split()
)

_BY_NAME = {flag.name: flag for flag in FLAGS}
_TRUE, _FALSE = ("1", "t", "true", "y", "yes"), ("0", "f", "false", "n", "no")


@dataclass
class CommandLine:
    """What was typed: the values of all flags, those given, and what is no flag."""

    values: dict[str, str | int | bool]
    given: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """The value of a string flag."""
        return str(self.values[name])

    def number(self, name: str) -> int:
        """The value of a number flag."""
        return int(self.values[name])

    def on(self, name: str) -> bool:
        """The value of a switch."""
        return bool(self.values[name])


def parse(arguments: Sequence[str]) -> CommandLine:
    """Read a command line; flags may stand before and behind the action.

    Raises:
        FlagError: what is wrong with it.
    """
    line = CommandLine({flag.name: flag.default for flag in FLAGS})
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            line.words += rest
            break
        if not word.startswith("-") or word == "-":
            line.words.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        _take(line, name, value if equals else None, rest)
    return line


def _take(line: CommandLine, name: str, value: str | None, rest: list[str]) -> None:
    name = name.replace("-", "_")
    if name in IGNORED_SWITCHES or name.removeprefix("no") in IGNORED_SWITCHES:
        return
    if name in IGNORED_VALUES:
        if value is None and rest:
            rest.pop(0)
        return
    flag = _BY_NAME.get(name)
    if flag is None and name.startswith("no") and isinstance(_default(name[2:]), bool):
        flag, value = _BY_NAME[name[2:]], "false"
    if flag is None:
        hint = did_you_mean(name, _BY_NAME) or "; --help lists them"
        raise FlagError(f"unknown command line flag '{printable(name)}'{hint}")
    if value is None:
        if isinstance(flag.default, bool):
            value = "true"
        elif not rest:
            raise FlagError(f"flag '--{flag.name}' is missing its argument: {flag.help}")
        else:
            value = rest.pop(0)
    line.values[flag.name] = _converted(flag, value)
    line.given.add(flag.name)


def _default(name: str) -> str | int | bool | None:
    flag = _BY_NAME.get(name)
    return None if flag is None else flag.default


def _converted(flag: Flag, value: str) -> str | int | bool:
    shown = printable(value)
    if isinstance(flag.default, bool):
        if value.lower() not in (*_TRUE, *_FALSE):
            raise FlagError(f"illegal value '{shown}' for flag '--{flag.name}'; true or false")
        return value.lower() in _TRUE
    if isinstance(flag.default, int):
        number = int(value) if re.fullmatch(r"[+-]?[0-9]{1,10}", value) else -1 << 31
        if not (number >= 0 or (flag.name == "level" and number > -1 << 31)) or number >= 1 << 31:
            raise FlagError(f"illegal value '{shown}' for flag '--{flag.name}'; a whole number")
        return number
    if flag.choices and value not in flag.choices:
        choices = ", ".join(filter(None, flag.choices))
        raise FlagError(f"illegal value '{shown}' for flag '--{flag.name}'; one of {choices}")
    return value


def usage(program: str) -> str:
    """The text of `--help`."""
    rows = [f"  --{flag.name:<15} {flag.help}{_shown(flag)}" for flag in FLAGS]
    return "\n".join(
        [
            f"{program}: command line brew, on PyTorch",
            f"usage: {program} <command> <args>",
            "",
            "commands:",
            "  train           train or finetune a model",
            "  test            score a model",
            "  device_query    show GPU diagnostic information",
            "  time            benchmark model execution time",
            "",
            "flags (--flag=value or -flag value):",
            *rows,
            "",
            "examples:",
            f"  {program} train --solver solver.prototxt --cpu",
            f"  {program} test --model train_val.prototxt --weights w.caffemodel --iterations 40",
            "",
            "Exit codes: 0 done; 1 a flag or an action that is not known; 2 a net, file or device",
            "that is not what it should be (an F line says which); 130 interrupted.",
        ]
    )


def _shown(flag: Flag) -> str:
    choices = ", ".join(filter(None, flag.choices))
    shown = f": {choices}" if choices and choices not in flag.help else ""
    if isinstance(flag.default, bool) or flag.default in ("", 0):
        return shown
    return f"{shown} (default {flag.default})"
