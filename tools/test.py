"""`sqgen test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..evaluation.intervals import standard_error
from ..logs.gate import GateOptions, all_passed
from ..logs.result import LogResult
from ..logs.scores import score_names
from ..report.gate_report import checks_json
from ..report.log_text import format_score
from ..report.table import table
from .gate_options import apply_gate, gate_options, print_checks, validate_gate
from .run_options import (
    batch_option,
    data_option,
    engine_arguments,
    log_run_folder,
    mean_option,
    print_result_json,
    run_options,
)
from .state_options import level_option, stage_option
from .terminal import echo, print_lines, terminal_width

if TYPE_CHECKING:
    from ..runner.options import RunOptions


@click.command()
@click.option(
    "--model", "--net", "model", required=True, metavar="NET", help="the net, a train_val prototxt"
)
@click.option(
    "--weights", required=True, metavar="W", help="a caffemodel, or several separated by commas"
)
@data_option
@click.option("--iterations", type=click.IntRange(min=1), help="batches [each image once]")
@batch_option
@mean_option
@click.option("--random-weights", is_flag=True, help="allow layers without weights")
@click.option("--predictions", metavar="FILE", help="write what the net says of each image")
@click.option("--blob", metavar="NAME", help="the scores that are predictions, of several")
@click.option("--force", is_flag=True, help="replace FILE if it exists")
@stage_option
@level_option
@gate_options
@run_options
@engine_arguments
def test(as_json: bool, gate: GateOptions, options: RunOptions, **arguments: Any) -> None:
    """Test a net on each image of its dataset once, and check its scores.

    Runs --caffe, else the caffe of CAFFE_ROOT or of the PATH, else sqgen-caffe, and prints which.
    Options after -- go to it unchanged. The run folder in runs/ keeps log and result.

    \b
    Examples:
      sqgen test --model net.prototxt --weights w.caffemodel --data val_lmdb
      sqgen test --model net.prototxt --weights w.caffemodel --expect top1=0.6038
      sqgen test --model net.prototxt --weights w.caffemodel --engine torch \\
        -- --precision bf16
    """
    from ..runner.test import test as run_test

    validate_gate(gate)
    names = [expectation.name for expectation in gate.expectations]
    result = run_test(**arguments, scores=names, **vars(options))
    log_run_folder(result, options)
    if not as_json:  # before the gate, which may raise
        print_lines(_score_lines(result))
    checks = apply_gate(gate, result, result.images)
    shown = gate.has_checks or not all_passed(checks)
    if as_json:
        print_result_json(result, **(checks_json(checks, result.images) if shown else {}))
    elif shown:
        echo()
        print_checks(checks, gate, result, result.images)
    raise SystemExit(0 if all_passed(checks) else 1)


def _score_lines(result: LogResult) -> list[str]:
    """Format the scores as a table, with the standard error of accuracies."""
    rows = []
    for name, score in zip(score_names(result.scores), result.scores, strict=True):
        noise = standard_error(score.value, result.images) if score.k else None
        shown = f"{noise:.2g}" if noise else ""  # of 0 or 1 it means nothing
        rows.append([name, format_score(score), shown, score.name])
    is_exact = result.run["coverage"]["whole"]
    records = result.run["coverage"]["records"]
    of = f"{result.images:,}" + (f" of {records:,}" if records is not None else "")
    heads = ["score", "value", "standard error", "output"]
    remark = "" if is_exact or records is None else ", not each once"
    return [
        *table(heads, rows, right=(1, 2), width=terminal_width()),
        f"{of} images{remark}",
    ]
