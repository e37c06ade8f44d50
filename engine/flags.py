"""Command lines in gflags' syntax: `--flag=value`, `-flag value`, `--switch`, `--noswitch`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import SqgenError
from ..text import did_you_mean, printable


class FlagError(SqgenError):
    """An unknown flag, or an illegal value; exits with 1, as gflags does."""

    exit_code = 1


@dataclass(frozen=True)
class Flag:
    """A flag: name, help text, default (which gives the type of its values) and choices."""

    name: str
    help: str
    default: str | int | bool = ""
    choices: tuple[str, ...] = ()


INT8, AUTO = "int8", "auto"  # of --precision: in test only; the fastest
FLAGS = (
    Flag("solver", "the solver: a prototxt"),
    Flag("model", "the net: a prototxt"),
    Flag("weights", ".caffemodel files to start from or to test, comma-separated"),
    Flag("snapshot", "a .solverstate or .solverstate.h5 to resume from"),
    Flag("iterations", "batches to test or passes to time", 50),
    Flag("gpu", "the numbers of the GPUs to use: 0, 0,1 or all"),
    Flag("phase", "the phase that 'time' runs, TRAIN by default", "", ("", "TRAIN", "TEST")),
    Flag("level", "the net's level", 0),
    Flag("stage", "the net's stages, comma-separated"),
    Flag("sigint_effect", "Ctrl-C in training", "stop", ("stop", "snapshot", "none")),
    Flag("sighup_effect", "SIGHUP in training", "snapshot", ("stop", "snapshot", "none")),
    Flag("cpu", "run on the CPU, overriding the solver (not in Caffe)", False),
    Flag(
        "precision",
        "(not in Caffe)",
        "fp32",
        ("fp32", "bf16", "fp64", INT8, AUTO),
    ),
    Flag("threads", "compute threads; 0 means one per core (not in Caffe)", 0),
    Flag("exact", "test each record once, average over records (not in Caffe)", False),
    Flag("predictions", "a .csv or .npz to write, a record each (not in Caffe)"),
    Flag("constraints", "an .npz: weights that stay 0 or share values (not in Caffe)"),
    Flag("quantize", "a file of bits: simulate quantization (not in Caffe)"),
    Flag("bits", "of weights that --quantize leaves out (not in Caffe)", 0),
    Flag("activation_bits", "of what such layers read, likewise (not in Caffe)", 0),
    Flag("calibrated", "the file of bits to write, with ranges (not in Caffe)"),
    Flag("rounded", "the caffemodel of quantized weights to write (not in Caffe)"),
    Flag("blob", "the scores that are predictions, of several (not in Caffe)"),
    Flag("workers", "processes on this machine, to train or test (not in Caffe)", 0),
    Flag("nodes", "machines that train (not in Caffe)", 1),
    Flag("node_rank", "which of them this is, from 0 (not in Caffe)", 0),
    Flag("rendezvous", "HOST:PORT of node 0, where they meet (not in Caffe)"),
    Flag("max_restarts", "of a training that lost a process (not in Caffe)", 0),
    Flag("stall_timeout", "seconds; with workers, 0: never (not in Caffe)", 600),
    Flag("minloglevel", "lowest severity to log: 0 info, 1 warnings, 2 errors", 0),
    Flag("help", "show this help", False),
    Flag("version", "show the version", False),
)
# glog's own flags, which scripts pass: switches, and flags with a value. They have no effect here:
# the log goes to standard error.
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
    """A parsed command line: every flag's value, the flags set explicitly, the other words."""

    values: dict[str, str | int | bool]
    explicit: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """Return the value of a string flag."""
        return str(self.values[name])

    def integer(self, name: str) -> int:
        """Return the value of an integer flag."""
        return int(self.values[name])

    def on(self, name: str) -> bool:
        """Return whether a switch is on."""
        return bool(self.values[name])


def parse(arguments: Sequence[str]) -> CommandLine:
    """Parse a command line; flags may precede or follow the action.

    Raises:
        FlagError: an unknown flag, or an illegal value.
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
        _set_flag(line, name, value if equals else None, rest)
    return line


def _set_flag(line: CommandLine, name: str, value: str | None, rest: list[str]) -> None:
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
    line.values[flag.name] = _convert(flag, value)
    line.explicit.add(flag.name)


def _default(name: str) -> str | int | bool | None:
    flag = _BY_NAME.get(name)
    return None if flag is None else flag.default


def _convert(flag: Flag, value: str) -> str | int | bool:
    text = printable(value)
    if isinstance(flag.default, bool):
        if value.lower() not in (*_TRUE, *_FALSE):
            raise FlagError(f"illegal value '{text}' for flag '--{flag.name}'; true or false")
        return value.lower() in _TRUE
    if isinstance(flag.default, int):
        number = int(value) if re.fullmatch(r"[+-]?[0-9]{1,10}", value) else -1 << 31
        if not (number >= 0 or (flag.name == "level" and number > -1 << 31)) or number >= 1 << 31:
            raise FlagError(f"illegal value '{text}' for flag '--{flag.name}'; a whole number")
        return number
    if flag.choices and value not in flag.choices:
        choices = ", ".join(filter(None, flag.choices))
        raise FlagError(f"illegal value '{text}' for flag '--{flag.name}'; one of {choices}")
    return value


def usage(program: str) -> str:
    """Return the text of `--help`."""
    rows = [f"  --{flag.name:<15} {flag.help}{_format_choices(flag)}" for flag in FLAGS]
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
            f"  {program} train --solver solver.prototxt --gpu 0,1",
            f"  {program} test --model net.prototxt --weights w.caffemodel --iterations 40",
            "",
            "Exit codes: 0 success; 1 unknown flag or action; 2 invalid net, file or device",
            "(named by an F line); 4 out of memory; 5 a process was lost; 6 one hangs; 130",
            "interrupted.",
        ]
    )


def _format_choices(flag: Flag) -> str:
    """Format the choices and the default for `--help`."""
    names = ", ".join(filter(None, flag.choices))
    choices = f": {names}" if names else ""
    if isinstance(flag.default, bool) or flag.default in ("", 0):
        return choices
    return f"{choices} (default {flag.default})"
