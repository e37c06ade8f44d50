"""`sqgen time --table`: measure how long layers take, by their numbers of channels."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import FormatError
from ..extras import required
from ..formats.files import check_file_target, write_files
from ..host import available_cores, describe_machine
from ..text import printable, shell_join
from ..version import __version__
from .input_files import read_net
from .progress_bar import ProgressBar
from .run_options import embedded_flags
from .terminal import echo, print_json

if TYPE_CHECKING:
    from ..nets.definition import NetDefinition
    from ..nets.latency_fill import Measure
    from ..nets.latency_table import LatencyTable
    from ..nets.layer_types import Shape
    from ..runner.options import RunOptions

ITERATIONS = 30  # passes of which the embedded engine takes the median
CAFFE_ITERATIONS = 10  # of which a caffe prints the mean
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FORMAT = 1


class _Meter(NamedTuple):
    """What measures.

    Attributes:
        measure: times points.
        conditions: of the times.
        block: filters that are computed together.
        whole_time: of an engine that fuses layers: the milliseconds of a pass of the whole net.
    """

    measure: Measure
    conditions: dict[str, Any]
    block: int
    whole_time: Callable[[], float] | None

    @property
    def fused(self) -> bool:
        """Whether layers are computed together."""
        return self.whole_time is not None


def measure_table(
    path: str,
    space: str,
    image: Shape | None,
    batch: int,
    iterations: int | None,
    options: RunOptions,
    as_json: bool,
) -> None:
    """Measure what a table lacks of a net; go on with one that is not finished.

    Raises:
        SqgenError: the net has no deploy net, or the table is of other conditions.
    """
    from ..nets.deploy import deploy_net
    from ..nets.latency_fill import fill
    from ..nets.shapes import require_shapes
    from ..nets.timed_layers import INPUT
    from ..pruning.latency import layer_ranges

    target = Path(path)
    check_file_target(target, force=True)
    net = deploy_net(read_net(space), batch, image).definition
    engine = options.select_engine()
    if options.caffe is None and engine.kind == "torch":
        meter = _embedded_meter(net, batch, iterations, options)
    else:
        meter = _caffe_meter(batch, iterations, options, engine)
    table = _open_table(path, batch, meter)
    ranges = layer_ranges(net, None, fused=meter.fused)
    if not meter.fused:  # caffe's own Input layers take no time
        ranges = [each for each in ranges if each.layer.kind.type != INPUT]

    def save() -> None:
        write_files({target: table.to_toml()}, force=True)

    bar = options.progress if options.quiet else partial(ProgressBar, plain_interval=None)
    points = fill(
        table,
        ranges,
        meter.measure,
        save,
        bar,
        repeat=meter.fused,
    )
    shapes = require_shapes(net, "TEST")
    if meter.whole_time is not None:
        table.set_pass_time(shapes, space, meter.whole_time())
        save()
    total = table.predict(shapes, space)
    if as_json:
        print_json(
            {
                **{"format": FORMAT, "table": path, "batch": batch, "measured": points},
                **{"milliseconds": total, "conditions": meter.conditions},
            }
        )
    else:
        echo(f"{printable(space)}: {total:.4g} ms a batch of {batch} by {printable(path)}")
        options.log_line(f"{points:,} times measured")


def _open_table(path: str, batch: int, meter: _Meter) -> LatencyTable:
    """Return a new table, or that of the file, if it is of the same conditions."""
    from ..nets.latency_table import LatencyTable, read_latency_table

    if not Path(path).exists():
        return LatencyTable(path, batch, meter.block, meter.conditions)
    table = read_latency_table(path)
    was = {"batch": table.batch, "block": table.block, **table.conditions}
    now = {"batch": batch, "block": meter.block, **meter.conditions}
    different = next((name for name in now | was if was.get(name) != now.get(name)), None)
    if different is not None:
        old, new = (printable(str(each.get(different, "none")), 80) for each in (was, now))
        raise FormatError(
            f"{printable(path)}: is a table of other conditions: {printable(different)} is {old}"
            f" there, {new} here; give --table another file"
        )
    return table


def _embedded_meter(
    net: NetDefinition, batch: int, iterations: int | None, options: RunOptions
) -> _Meter:
    if options.gpu is not None:
        raise click.UsageError(
            "--gpu: a table of the embedded engine is of the CPU; --caffe sqgen-caffe takes a GPU"
        )
    line = embedded_flags(options, ("threads", "precision"), "a table")
    with required("torch", "sqgen time --table"):
        import torch

        from ..engine.latency import LatencyMeter, block_of_filters
        from ..engine.precision import float_precision
        from ..engine.workers import Workers
    threads = line.integer("threads") or available_cores()
    count = iterations or ITERATIONS
    precision = float_precision(line, "")
    conditions = {
        **{"engine": "torch", "threads": threads, "precision": precision, "iterations": count},
        **{"processor": describe_machine()["processor"]},
        **{"sqgen": __version__, "torch": torch.__version__},
    }
    meter = LatencyMeter(net, batch, count, Workers(threads), precision)
    return _Meter(meter, conditions, block_of_filters(), meter.whole_time)


def _caffe_meter(batch: int, iterations: int | None, options: RunOptions, engine: Any) -> _Meter:
    from ..runner.latency import CaffeMeter

    count = iterations or CAFFE_ITERATIONS
    threads = {name: os.environ[name] for name in _THREADS if name in os.environ}
    arguments = [*options.device_flags(engine), *options.arguments]
    conditions = {
        **{"engine": shell_join(engine.command), "version": engine.version},
        **({"arguments": shell_join(arguments)} if arguments else {}),
        **threads,
        **{"iterations": count, "processor": describe_machine()["processor"]},
        **{"sqgen": __version__},
    }
    return _Meter(CaffeMeter(batch, count, options), conditions, block=1, whole_time=None)
