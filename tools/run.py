"""`sqgen test`, `sqgen train` and `sqgen time`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from .accuracy import standard_error
from .holding import Holding, checks_json, holding_options, passes, print_checks
from .logs.report import report, struck
from .logs.result import LOSS, LogResult, Score
from .logs.trouble import DIVERGED
from .progress import note
from .runs.engines import AUTO, CHOICES
from .runs.process import STALL_TIMEOUT
from .runs.test import test as run_test
from .runs.time import ITERATIONS, PHASES
from .runs.time import time as run_time
from .runs.train import train as run_train
from .terminal import echo, table

_OPTIONS = (
    click.option("--gpu", metavar="N", help="run on these GPUs: 0, 0,1 or all"),
    click.option("--cpu", is_flag=True, help="run on the CPU, whatever the solver says"),
    click.option("--engine", type=click.Choice(CHOICES), default=AUTO, help="which to run [auto]"),
    click.option("--caffe", metavar="COMMAND", help="a command that runs a caffe"),
    click.option("--run-dir", metavar="DIR", help="the folder to make [runs/TIME-NAME]"),
    click.option(
        "--stall-timeout",
        type=click.FloatRange(min=0),
        default=STALL_TIMEOUT,
        metavar="SECONDS",
        help=f"silence that is reported; 0 is none [{STALL_TIMEOUT:g}]",
    ),
    click.option("--stop-stalled", is_flag=True, help="end a run that went silent"),
    click.option("--quiet", is_flag=True, help="no progress, no remarks"),
    click.option("--json", "as_json", is_flag=True, help="print JSON (docs/running.md)"),
)
_HOW = ("gpu", "cpu", "engine", "caffe", "run_dir", "stall_timeout", "stop_stalled")

_arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
_data = click.option("--data", metavar="LMDB", help="in place of the net's own, in a copy")
_batch = click.option(
    "--batch-size", type=click.IntRange(min=1), metavar="N", help="in place of the net's"
)
_mean = click.option("--mean", metavar="FILE", help="in place of the net's mean_file")


def _how_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all runs share; the command gets one argument `how` for them."""

    @wraps(command)
    def with_how(**values: Any) -> Any:
        how = {name: values.pop(name) for name in _HOW}
        how["arguments"] = values.pop("arguments")
        how["tell"] = None if values.pop("quiet") else _tell
        return command(**values, how=how)

    wrapped: Callable[..., Any] = _arguments(with_how)
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _tell(line: str) -> None:
    if sys.stderr is not None:
        note(f"sqgen: {line}")


@click.command()
@click.option("--model", required=True, metavar="NET", help="the net, a train_val prototxt")
@click.option("--weights", required=True, metavar="W", help="a caffemodel, or several with commas")
@_data
@click.option("--iterations", type=click.IntRange(min=1), help="batches [each image once]")
@_batch
@_mean
@click.option("--random-weights", is_flag=True, help="layers without weights are no error")
@holding_options
@_how_options
def test(as_json: bool, holding: Holding, how: dict[str, Any], **asked: Any) -> None:
    """Test a net on all images of its set, each once, and hold what it scores.

    Runs --caffe, the caffe of CAFFE_ROOT or of the PATH, or else sqgen-caffe; says which. Options
    behind -- go to it. Everything is kept in runs/.

    \b
    Examples:
      sqgen test --model train_val.prototxt --weights w.caffemodel --data val_lmdb
      sqgen test --model train_val.prototxt --weights w.caffemodel --gpu 0 --expect top1=0.6038
      sqgen test --model net.prototxt --weights w.caffemodel --engine torch -- --precision bf16
    """
    holding.check()
    result = run_test(**asked, **how)
    checks = holding.hold(result, result.images) if holding.holds_something else []
    if as_json:
        held = checks_json(checks, result.images) if checks else {}
        echo(json.dumps({**result.as_dict(), **held}, indent=2))
    else:
        for line in _score_lines(result):
            echo(line)
        if checks:
            echo()
            print_checks(checks, result, result.images)
        _say_where(result, how)
    raise SystemExit(0 if passes(checks) else 1)


@click.command()
@click.option("--solver", required=True, metavar="SOLVER", help="the solver's prototxt")
@click.option("--weights", metavar="W", help="fine-tune from a caffemodel, or several with commas")
@click.option("--snapshot", metavar="STATE", help="go on from a .solverstate")
@click.option("--resume", is_flag=True, help="go on from the newest snapshot")
@_data
@click.option("--val-data", metavar="LMDB", help="in place of the tested net's own, in a copy")
@_batch
@_mean
@_how_options
def train(as_json: bool, how: dict[str, Any], **asked: Any) -> None:
    """Train a net, fine-tune it, or go on where a training stopped.

    Ctrl-C lets it write a snapshot; again, and it is killed. Exit code 1 says that its loss went
    to nan or inf.

    \b
    Examples:
      sqgen train --solver solver.prototxt --data train_lmdb --val-data val_lmdb --cpu
      sqgen train --solver solver.prototxt --gpu 0,1
      sqgen train --solver solver.prototxt --weights squeezenet.caffemodel
      sqgen train --solver solver.prototxt --resume
    """
    result = run_train(**asked, **how)
    if as_json:
        echo(json.dumps(result.as_dict(), indent=2))
    else:
        for line in report(result):
            echo(line)
        _say_where(result, how)
    diverged = any(trouble.name == DIVERGED for trouble in result.troubles)
    raise SystemExit(1 if diverged else 0)


@click.command()
@click.option("--model", required=True, metavar="NET", help="the net's prototxt")
@click.option("--weights", metavar="W", help="a caffemodel")
@_data
@_batch
@click.option(
    "--iterations", type=click.IntRange(min=1), default=ITERATIONS, help=f"passes [{ITERATIONS}]"
)
@click.option("--phase", type=click.Choice(PHASES), default=PHASES[0], help="[TRAIN]")
@_how_options
def time(as_json: bool, how: dict[str, Any], **asked: Any) -> None:
    """Time each layer of a net, forward and backward.

    \b
    Examples:
      sqgen time --model deploy.prototxt
      sqgen time --model train_val.prototxt --data val_lmdb --phase TEST --iterations 10
    """
    result = run_time(**asked, **how)
    if as_json:
        echo(json.dumps(result.as_dict(), indent=2))
        return
    for line in report(result):
        echo(line)
    _say_where(result, how)


def _score_lines(result: LogResult) -> list[str]:
    """The scores as a table, with what chance alone would do."""
    rows = []
    for score in result.scores:
        noise = standard_error(score.value, result.images) if score.k else None
        shown = "" if noise is None else f"{noise:.2g}"
        rows.append([_label(score), struck(score), shown, score.name])
    whole = result.run["coverage"]["whole"]
    records = result.run["coverage"]["records"]
    of = f"{result.images:,}" + (f" of {records:,}" if records is not None else "")
    remark = "" if whole or records is None else ", not each once"
    return [
        *table(["score", "value", "standard error", "output"], rows, right=(1, 2)),
        f"{of} images{remark}",
    ]


def _label(score: Score) -> str:
    return f"top-{score.k}" if score.k else "loss" if score.role == LOSS else "output"


def _say_where(result: LogResult, how: dict[str, Any]) -> None:
    if how["tell"] is not None:
        _tell(f"all of it is in {result.run['folder']} ({result.run['seconds']:.1f} s)")
