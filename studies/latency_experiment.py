"""Does a latency table tell how long a pruned net takes?

    python -m sqgen.studies.latency_experiment latency.toml --net deploy.prototxt \\
      -o build/latency --threads 2

Draws nets: of each set of layers that lose channels together, a random share from --least to all is
kept. Each net runs forward in turns with the whole one, so that both see the same machine, with
random weights and inputs. The table was measured with as many threads, and the batch is its own.

OUT gets `results.csv` (a row a net) and `table.txt`. It needs `pip install 'sqgen[engine]'`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ..engine import memory
from ..engine.executor import Executor
from ..engine.workers import Workers
from ..errors import DesignError
from ..formats.prototxt import to_text
from ..host import available_cores
from ..nets.definition import NetDefinition, parse_net, read_net
from ..nets.deploy import deploy_net
from ..nets.latency_table import read_latency_table
from ..nets.shapes import require_shapes
from ..pruning.channel_groups import ChannelGroups
from ..pruning.decisions import find_decisions
from ..pruning.shrink import Shrinking
from ..report.table import table
from ..text import printable
from .experiment import Findings, report_findings

_WARM_UP = 3  # passes
MILLI = 1e3


class Row(NamedTuple):
    """A pruned net.

    Attributes:
        net: its number.
        macs: of an image.
        predicted: milliseconds of a batch by the table.
        measured: the median of its passes.
        whole: what the whole net takes at the time: `measured` by the median ratio of two turns.
    """

    net: int
    macs: int
    predicted: float
    measured: float
    whole: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment."""
    parser = argparse.ArgumentParser(
        prog="python -m sqgen.studies.latency_experiment",
        description="Predicted against measured time of random pruned nets.",
    )
    parser.add_argument("table", help="of `sqgen time --table`")
    parser.add_argument("--net", required=True, help="the whole net")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of results")
    parser.add_argument("--nets", type=int, default=30, metavar="N", help="pruned nets [30]")
    parser.add_argument("--least", type=float, default=0.2, metavar="X", help="share [0.2]")
    parser.add_argument("--iterations", type=int, default=30, metavar="N", help="passes [30]")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="[one a core]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of nets [0]")
    options = parser.parse_args(arguments)

    def find() -> Findings:
        rows, whole = _run(options)
        return Findings(Row._fields, rows, summary_lines(rows, whole))

    return report_findings("latency_experiment", options.out, find)


def _run(options: argparse.Namespace) -> tuple[list[Row], float]:
    """Measure all nets; return them, and what the whole one takes by the table."""
    times = read_latency_table(options.table)
    threads = options.threads or available_cores()
    was = times.conditions.get("threads", threads)
    if was != threads:
        raise DesignError(
            f"{printable(options.table)}: measured with {was} threads; give --threads {was}"
        )
    if options.nets < 3 or not 0 < options.least <= 1 or options.iterations < 1:
        raise DesignError("give 3 --nets or more, --least above 0 up to 1, 1 of --iterations")
    memory.keep_freed_memory()
    net = deploy_net(read_net(options.net), times.batch).definition
    rng = np.random.default_rng(options.seed)
    workers = Workers(threads)
    precision = times.conditions.get("precision", "fp32")
    whole = Executor(net, "TEST", workers=workers, precision=precision)
    _fill(whole, rng)
    rows = []
    for number in range(1, options.nets + 1):
        left = random_net(net, options.least, rng)
        executor = Executor(left, "TEST", workers=workers, precision=precision)
        _fill(executor, rng)
        shapes = require_shapes(left, "TEST")
        measured = time_in_turns(executor, whole, options.iterations, rng)
        macs = sum(item.macs for item in shapes.layers) // times.batch
        rows.append(Row(number, macs, times.predict(shapes, options.net), *measured))
        print(f"{number} of {options.nets} done", file=sys.stderr)
    return rows, times.predict(require_shapes(net, "TEST"), options.net)


def random_net(net: NetDefinition, least: float, rng: np.random.Generator) -> NetDefinition:
    """Return a net without random channels: each decision keeps a share from `least` to all."""
    groups = ChannelGroups(net)
    removed: list[int] = []
    for decision in find_decisions(groups):
        count = len(decision.roots)
        kept = max(1, round(rng.uniform(least, 1) * count))
        removed += rng.permutation(decision.roots)[kept:].tolist()
    param = Shrinking(groups, removed).shrink_net(net.param)
    return parse_net(to_text(param), net.source)


def _fill(executor: Executor, rng: np.random.Generator) -> None:
    """Give layers random weights."""
    for layer in executor.wiring.layers:
        if layer.blobs:
            arrays = [0.05 * rng.standard_normal(b.shape, np.float32) for b in layer.blobs]
            executor.set_blobs(layer.name, arrays)


def time_in_turns(
    executor: Executor, whole: Executor, iterations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the milliseconds of passes of a net and of the whole one, run in turns.

    The first is a median; the second is what it is by the median ratio of a turn's two times, so
    that a machine that is slower for a while changes both alike.
    """
    arrays = [_random_input(each, rng) for each in (executor, whole)]
    turns = []
    for _ in range(_WARM_UP + iterations):
        stamps = [perf_counter()]
        for each, own in zip((executor, whole), arrays, strict=True):
            each.forward(own)
            stamps.append(perf_counter())
        turns.append((stamps[1] - stamps[0], stamps[2] - stamps[1]))
    turns = turns[_WARM_UP:]
    own_time = median(own for own, _ in turns) * MILLI
    return own_time, own_time / median(own / other for own, other in turns)


def _random_input(executor: Executor, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        name: rng.standard_normal(shape, np.float32)
        for layer in executor.inputs.layers
        for name, shape in zip(layer.tops, layer.top_shapes, strict=True)
    }


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation of numbers without ties."""
    rank_of = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(rank_of[0], rank_of[1])[0, 1])


def relative_error(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Return the mean of the absolute errors, each as a share of what was measured."""
    return fmean(abs(p / m - 1) for p, m in zip(predicted, measured, strict=True))


def summary_lines(rows: Sequence[Row], whole: float) -> list[str]:
    """Return the table.

    Args:
        rows: the nets.
        whole: milliseconds of the whole net by the table.
    """
    predicted, measured = [row.predicted for row in rows], [row.measured for row in rows]
    shares = [p / whole for p in predicted], [row.measured / row.whole for row in rows]
    lines = [
        [
            name,
            f"{100 * relative_error(*columns):.1f}",
            f"{100 * fmean(p / m - 1 for p, m in zip(*columns, strict=True)):+.1f}",
            f"{rank_correlation(*columns):.3f}",
        ]
        for name, columns in (
            ("milliseconds", (predicted, measured)),
            ("share of the whole net's", shares),
        )
    ]
    heads = [f"{len(rows)} nets", "mean error %", "bias %", "rank correlation"]
    ranges = f"measured: {min(measured):.2f} to {max(measured):.2f} ms a batch"
    everything = f"the whole net: {median(row.whole for row in rows):.2f} ms, {whole:.2f} predicted"
    return [*table(heads, lines, right=(1, 2, 3)), "", f"{ranges}; {everything}"]


if __name__ == "__main__":
    sys.exit(main())
