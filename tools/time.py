"""`sqgen time`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..report.log_text import format_result
from ..runner.engines import TIME_ITERATIONS
from .run_options import (
    batch_option,
    data_option,
    engine_arguments,
    log_run_folder,
    print_result_json,
    run_options,
)
from .state_options import level_option, stage_option
from .terminal import print_lines, terminal_width

if TYPE_CHECKING:
    from ..runner.options import RunOptions


@click.command()
@click.option("--model", "--net", "model", required=True, metavar="NET", help="the net's prototxt")
@click.option("--weights", metavar="W", help="a caffemodel")
@data_option
@batch_option
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    default=TIME_ITERATIONS,
    help=f"passes to average [{TIME_ITERATIONS}]",
)
@click.option(
    "--phase", type=click.Choice(["TRAIN", "TEST"]), default="TRAIN", help="phase to time [TRAIN]"
)
@stage_option
@level_option
@run_options
@engine_arguments
def time(as_json: bool, options: RunOptions, **arguments: Any) -> None:
    """Time each layer of a net, forward and backward.

    \b
    Examples:
      sqgen time --model deploy.prototxt
      sqgen time --model train_val.prototxt --data val_lmdb --phase TEST
    """
    from ..runner.time import time as run_time

    result = run_time(**arguments, **vars(options))
    if as_json:
        print_result_json(result)
        return
    print_lines(format_result(result, width=terminal_width()))
    log_run_folder(result, options)
