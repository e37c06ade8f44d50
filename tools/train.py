"""`sqgen train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..logs.trouble import DIVERGED
from ..report.log_text import format_result
from ..text import number_text, printable
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
from .terminal import print_lines, terminal_width

if TYPE_CHECKING:
    from ..logs.result import LogResult
    from ..runner.options import RunOptions


@click.command()
@click.option("--solver", required=True, metavar="SOLVER", help="the solver's prototxt")
@click.option("--weights", metavar="W", help="fine-tune from caffemodels, separated by commas")
@click.option("--snapshot", metavar="STATE", help="resume from a .solverstate or .solverstate.h5")
@click.option("--resume", is_flag=True, help="resume from the newest snapshot")
@data_option
@click.option("--val-data", metavar="LMDB", help="test dataset, instead of the net's own")
@batch_option
@mean_option
@stage_option
@level_option
@click.option("--partial-weights", is_flag=True, help="allow weights that fit few of the layers")
@click.option("--keep-test-iter", is_flag=True, help="don't fit test_iter to the test data")
@click.option("--keep-best", metavar="SCORE", help="keep the weights of the best test: top1")
@click.option("--keep-going", is_flag=True, help="don't stop where the loss is nan or inf")
@run_options
@engine_arguments
def train(as_json: bool, options: RunOptions, keep_going: bool, **arguments: Any) -> None:
    """Train a net, fine-tune it, or resume a training.

    Ctrl-C makes it write a snapshot and stop; a second Ctrl-C kills it. Where the loss is nan or
    inf twice in a row, it stops without a snapshot: exit code 1.

    \b
    Examples:
      sqgen train --solver solver.prototxt --data train_lmdb --val-data val_lmdb
      sqgen train --solver solver.prototxt --gpu 0,1
      sqgen train --solver solver.prototxt --weights squeezenet.caffemodel
      sqgen train --solver solver.prototxt --keep-best top1
      sqgen train --solver solver.prototxt --resume
    """
    from ..runner.train import train as run_train

    result = run_train(**arguments, **{**vars(options), "keep_going": keep_going})
    if as_json:
        print_result_json(result)
    else:
        lines = format_result(result, width=terminal_width())
        print_lines([*lines, *_best_lines(result)])
        log_run_folder(result, options)
    diverged = any(trouble.name == DIVERGED for trouble in result.troubles)
    raise SystemExit(1 if diverged else 0)


def _best_lines(result: LogResult) -> list[str]:
    """Format the best weights that were kept."""
    best = result.run["best"]
    if best is None:
        return []
    value = f"{best['score']} {number_text(best['value'])}"
    return [printable(f"  best       {value} at iteration {best['iteration']}: {best['weights']}")]
