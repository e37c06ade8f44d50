"""`sqgen time`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ..formats.files import STDIN
from ..report.log_text import format_result
from ..runner.engines import TIME_ITERATIONS
from .hardware_rates import measure_hardware
from .latency_table import CAFFE_ITERATIONS, ITERATIONS, measure_table
from .run_options import (
    batch_option,
    data_option,
    engine_arguments,
    log_run_folder,
    print_result_json,
    run_options,
)
from .state_options import level_option, stage_option
from .terminal import parse_image, print_lines, terminal_width

if TYPE_CHECKING:
    from ..runner.options import RunOptions


@click.command()
@click.option("--model", "--net", "model", metavar="NET", help="the net's prototxt")
@click.option("--table", metavar="FILE", help="measure a latency table instead, or go on with it")
@click.option("--hardware", metavar="FILE", help="measure this machine instead, by bits of numbers")
@click.option("--space", metavar="NET", help="the net that --table or --hardware measures")
@click.option("--image", metavar="CxHxW", help="size of its images, if data layers don't give it")
@click.option("--weights", metavar="W", help="a caffemodel")
@data_option
@batch_option
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    help=f"passes to average [{TIME_ITERATIONS}]; of a table [{ITERATIONS}, of a caffe"
    f" {CAFFE_ITERATIONS}]",
)
@click.option(
    "--phase", type=click.Choice(["TRAIN", "TEST"]), default="TRAIN", help="phase to time [TRAIN]"
)
@stage_option
@level_option
@run_options
@engine_arguments
def time(
    model: str | None,
    table: str | None,
    hardware: str | None,
    space: str | None,
    image: str | None,
    iterations: int | None,
    as_json: bool,
    options: RunOptions,
    **arguments: Any,
) -> None:
    """Time each layer of a net, forward and backward.

    With --table, time layers forward at many numbers of channels: a table by which the time of each
    pruned net is known. The same command goes on with a table that is not finished, and adds layers
    of another net. With --hardware, write how fast this machine computes the net in numbers of 8
    bits and in floats, and its memory: a file for `sqgen quantize --hardware`.

    \b
    Examples:
      sqgen time --model deploy.prototxt
      sqgen time --model train_val.prototxt --data val_lmdb --phase TEST
      sqgen time --table latency.toml --space deploy.prototxt -- --threads 2
      sqgen time --table latency.toml --space deploy.prototxt --caffe caffe
      sqgen time --hardware here.toml --space deploy.prototxt --batch-size 16
    """
    if table is not None or hardware is not None or space is not None:
        if table is not None and hardware is not None:
            raise click.UsageError("--table and --hardware: give one")
        flag, file = ("--table", table) if hardware is None else ("--hardware", hardware)
        _check_space(flag, file, space, {"model": model, "run_dir": options.run_dir, **arguments})
        batch = arguments["batch_size"] or 1
        shape = parse_image(image)
        measure = measure_table if flag == "--table" else measure_hardware
        measure(file or "", space or "", shape, batch, iterations, options, as_json)
        return
    net = require_net(model, image)
    from ..runner.time import time as run_time

    result = run_time(net, iterations=iterations or TIME_ITERATIONS, **arguments, **vars(options))
    if as_json:
        print_result_json(result)
        return
    print_lines(format_result(result, width=terminal_width()))
    log_run_folder(result, options)


def require_net(model: str | None, image: str | None) -> str:
    """Return the net to time, which has no option of a table.

    Raises:
        click.UsageError: not so.
    """
    if model is None:
        raise click.UsageError("give --model NET, or --table FILE --space NET")
    if image is not None:
        raise click.UsageError("--image goes with --table or --hardware")
    return model


def _check_space(flag: str, file: str | None, space: str | None, others: Mapping[str, Any]) -> None:
    """Check that a file to measure has --space, and no options of a timing of a net."""
    if not file or not space:
        raise click.UsageError(f"{flag} FILE and --space NET go together")
    if file == STDIN:
        raise click.UsageError(f"{flag} -: give a file's name")
    allowed = ("batch_size", "phase")
    given = [name for name, value in others.items() if value and name not in allowed]
    if others["phase"] != "TRAIN":
        given.append("phase")
    if given:
        name = given[0].rstrip("s") if given[0] == "stages" else given[0].replace("_", "-")
        raise click.UsageError(f"{flag} measures layers of --space in TEST: leave out --{name}")
