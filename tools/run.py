"""`sqgen test`, `sqgen train` and `sqgen time`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ..logs.gate import GateOptions, all_passed
from ..logs.result import LogResult
from ..logs.scores import score_names, standard_error
from ..logs.trouble import DIVERGED
from ..report.gate_report import checks_json
from ..report.log_text import format_result, format_score
from ..report.table import table
from ..runner.engines import ITERATIONS
from .gate_options import apply_gate, gate_options, print_checks, validate_gate
from .run_options import batch_option, data_option, mean_option, passthrough, run_options
from .terminal import echo

if TYPE_CHECKING:
    from ..runner.options import RunOptions


@click.command()
@click.option(
    "--model", "--net", "model", required=True, metavar="NET", help="the net, a train_val prototxt"
)
@click.option("--weights", required=True, metavar="W", help="a caffemodel, or several with commas")
@data_option
@click.option("--iterations", type=click.IntRange(min=1), help="batches [each image once]")
@batch_option
@mean_option
@click.option("--random-weights", is_flag=True, help="layers without weights are no error")
@gate_options
@run_options
@passthrough
def test(as_json: bool, gate: GateOptions, options: RunOptions, **asked: Any) -> None:
    """Test a net on all images of its set, each once, and hold what it scores.

    Runs --caffe, the caffe of CAFFE_ROOT or of the PATH, or else sqgen-caffe; says which. Options
    behind -- go to it. Everything is kept in runs/.

    \b
    Examples:
      sqgen test --model train_val.prototxt --weights w.caffemodel --data val_lmdb
      sqgen test --model train_val.prototxt --weights w.caffemodel --gpu 0 --expect top1=0.6038
      sqgen test --model net.prototxt --weights w.caffemodel --engine torch -- --precision bf16
    """
    from ..runner.test import test as run_test

    validate_gate(gate)
    result = run_test(**asked, **vars(options))
    _say_where(result, options)
    if not as_json:  # first, whatever becomes of holding them
        for line in _score_lines(result):
            echo(line)
    checks = apply_gate(gate, result, result.images) if gate.has_checks else []
    if as_json:
        held = checks_json(checks, result.images) if checks else {}
        echo(json.dumps({**result.as_dict(), **held}, indent=2))
    elif checks:
        echo()
        print_checks(checks, result, result.images)
    raise SystemExit(0 if all_passed(checks) else 1)


@click.command()
@click.option("--solver", required=True, metavar="SOLVER", help="the solver's prototxt")
@click.option("--weights", metavar="W", help="fine-tune from a caffemodel, or several with commas")
@click.option("--snapshot", metavar="STATE", help="go on from a .solverstate")
@click.option("--resume", is_flag=True, help="go on from the newest snapshot")
@data_option
@click.option("--val-data", metavar="LMDB", help="in place of the tested net's own, in a copy")
@batch_option
@mean_option
@run_options
@passthrough
def train(as_json: bool, options: RunOptions, **asked: Any) -> None:
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
    from ..runner.train import train as run_train

    result = run_train(**asked, **vars(options))
    if as_json:
        echo(json.dumps(result.as_dict(), indent=2))
    else:
        for line in format_result(result):
            echo(line)
        _say_where(result, options)
    diverged = any(trouble.name == DIVERGED for trouble in result.troubles)
    raise SystemExit(1 if diverged else 0)


@click.command()
@click.option("--model", "--net", "model", required=True, metavar="NET", help="the net's prototxt")
@click.option("--weights", metavar="W", help="a caffemodel")
@data_option
@batch_option
@click.option(
    "--iterations", type=click.IntRange(min=1), default=ITERATIONS, help=f"passes [{ITERATIONS}]"
)
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"]), default="TRAIN", help="[TRAIN]")
@run_options
@passthrough
def time(as_json: bool, options: RunOptions, **asked: Any) -> None:
    """Time each layer of a net, forward and backward.

    \b
    Examples:
      sqgen time --model deploy.prototxt
      sqgen time --model train_val.prototxt --data val_lmdb --phase TEST --iterations 10
    """
    from ..runner.time import time as run_time

    result = run_time(**asked, **vars(options))
    if as_json:
        echo(json.dumps(result.as_dict(), indent=2))
        return
    for line in format_result(result):
        echo(line)
    _say_where(result, options)


def _score_lines(result: LogResult) -> list[str]:
    """The scores as a table, with what chance alone would do."""
    rows = []
    for name, score in zip(score_names(result.scores), result.scores, strict=True):
        noise = standard_error(score.value, result.images) if score.k else None
        shown = f"{noise:.2g}" if noise else ""  # of 0 or 1 it says nothing
        rows.append([name, format_score(score), shown, score.name])
    whole = result.run["coverage"]["whole"]
    records = result.run["coverage"]["records"]
    of = f"{result.images:,}" + (f" of {records:,}" if records is not None else "")
    remark = "" if whole or records is None else ", not each once"
    return [
        *table(["score", "value", "standard error", "output"], rows, right=(1, 2)),
        f"{of} images{remark}",
    ]


def _say_where(result: LogResult, options: RunOptions) -> None:
    if options.tell is not None:
        options.tell(f"all of it is in {result.run['folder']} ({result.run['seconds']:.1f} s)")
