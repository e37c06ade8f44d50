"""`sqgen train`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..logs.trouble import DIVERGED
from ..report.log_text import format_result
from ..text import number_text, printable, shell_join
from .bits_options import bits_options
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
from .terminal import echo, print_json, print_lines, terminal_width
from .worker_options import worker_options

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
@click.option("--base-lr", type=float, metavar="RATE", help="learning rate, not the solver's")
@click.option("--max-iter", type=int, metavar="N", help="updates in all, not the solver's")
@click.option("--epochs", type=float, metavar="N", help="passes over the training data in all")
@click.option("--freeze", multiple=True, metavar="PATTERN", help="layers to keep: conv1,fire[23]/*")
@stage_option
@level_option
@click.option("--partial-weights", is_flag=True, help="allow weights that fit few of the layers")
@click.option("--keep-test-iter", is_flag=True, help="don't fit test_iter to the test data")
@click.option("--keep-best", metavar="SCORE", help="keep the weights of the best test: top1")
@click.option("--patience", type=int, metavar="N", help="stop after N tests without a better one")
@click.option("--constraints", metavar="FILE", help="weights that stay zero or share a value")
@bits_options
@click.option("--dsd", metavar="X[,X]", help="sparse, then dense again: share of zeros, 0.3")
@click.option("--leave", multiple=True, metavar="PATTERN", help="with --dsd: layers to keep dense")
@click.option(
    "--sparsity-for", multiple=True, metavar="PATTERN=X", help="with --dsd: of these layers"
)
@click.option("--keep-going", is_flag=True, help="don't stop where the loss is nan or inf")
@click.option("--dry-run", is_flag=True, help="check all, say what would run, and stop")
@click.option("--print-slurm", is_flag=True, help="print a batch script for Slurm, and stop")
@run_options
@engine_arguments
@worker_options
def train(
    solver: str,
    as_json: bool,
    options: RunOptions,
    keep_going: bool,
    dry_run: bool,
    print_slurm: bool,
    **arguments: Any,
) -> None:
    """Train a net, fine-tune it, or resume a training.

    Pretrained weights need a small rate: start with --base-lr 0.0001.

    Ctrl-C makes it write a snapshot and stop; a second Ctrl-C kills it. Where the loss is nan or
    inf twice in a row, it stops without a snapshot: exit code 1.

    \b
    Examples:
      sqgen train --solver solver.prototxt --data train_lmdb --val-data val_lmdb
      sqgen train --solver solver.prototxt --gpu 0,1 --max-restarts 3
      sqgen train --solver solver.prototxt --cpu --workers 2
      sqgen train --solver solver.prototxt --nodes 2 --gpu 0,1 --print-slurm
      sqgen train --solver solver.prototxt --weights squeezenet.caffemodel \\
        --base-lr 0.0001 --epochs 10 --freeze 'conv1,fire[2-5]/*'
      sqgen train --solver solver.prototxt --keep-best top1
      sqgen train --solver solver.prototxt --weights dense.caffemodel --dsd 0.3
      sqgen train --solver solver.prototxt --weights float.caffemodel --bits 4
      sqgen train --solver solver.prototxt --resume
    """
    from ..runner.train import plan_training
    from ..runner.training_plan import TrainOptions

    if print_slurm:
        from ..runner.slurm import slurm_script

        print_lines(slurm_script(options).splitlines())
        return
    options = replace(options, keep_going=keep_going)
    plan = plan_training(options, solver, TrainOptions(**arguments))
    if dry_run:
        command = plan.preview()
        if as_json:
            print_json({"command": command})
        else:
            echo(shell_join(command))
        return
    result = plan.run()
    if as_json:
        print_result_json(result)
    else:
        lines = format_result(result, width=terminal_width())
        print_lines([*lines, *_best_lines(result)])
        log_run_folder(result, options)
    if result.run["best"] is not None:
        options.log_line(f"next: {result.run['best']['test']}")
    diverged = any(trouble.name == DIVERGED for trouble in result.troubles)
    raise SystemExit(1 if diverged else 0)


def _best_lines(result: LogResult) -> list[str]:
    """Format the best weights that were kept."""
    best = result.run["best"]
    if best is None:
        return []
    value = f"{best['score']} {number_text(best['value'])}"
    lines = [f"  best       {value} at iteration {best['iteration']}: {best['weights']}"]
    if best["stopped_early"] and not result.completed:
        lines.append(
            f"  stopped    after {best['patience']} tests without a better {best['score']}"
        )
    return list(map(printable, lines))
