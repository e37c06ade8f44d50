"""Does a latency table tell how long a pruned net takes?

    python -m sqgen.studies.latency_experiment latency.toml --net deploy.prototxt \\
      -o build/latency --threads 2

Draws nets: of each set of layers that lose channels together, a random share from --least to all is
kept. So all are of about the same size, as those that a search compares under one budget. With
--sizes, each net draws the bounds of its shares first, so that they are of many sizes. In each of
several rounds, all nets run forward one after the other, each in turns with the whole one, so that
all see the same machine, with random weights and inputs. How alike the odd and the even rounds rank
the nets is about what a table can reach. The table was measured with as many threads, and the
batch is its own.

OUT gets `results.csv` (a row a net) and `table.txt`. It needs `pip install 'sqgen[engine]'`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any, NamedTuple

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
Array = np.ndarray[Any, Any]


class Row(NamedTuple):
    """A pruned net.

    Attributes:
        net: its number.
        macs: of an image.
        predicted: milliseconds of a batch by the table.
        measured: the median of its passes.
        share: its time by the whole net's in the same turn: the median.
        odd, even: likewise, of the odd and of the even rounds.
    """

    net: int
    macs: int
    predicted: float
    measured: float
    share: float
    odd: float
    even: float


class WholeNet(NamedTuple):
    """Milliseconds of the whole net: by the table, and the median of its passes."""

    predicted: float
    measured: float


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
    parser.add_argument("--sizes", action="store_true", help="draw nets of many sizes")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="of all nets [6]")
    parser.add_argument("--iterations", type=int, default=10, metavar="N", help="of a round [10]")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="[one a core]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of nets [0]")
    options = parser.parse_args(arguments)

    def find() -> Findings:
        rows, whole = _run(options)
        return Findings(Row._fields, rows, summary_lines(rows, whole))

    return report_findings("latency_experiment", options.out, find)


def _run(options: argparse.Namespace) -> tuple[list[Row], WholeNet]:
    """Measure all nets; return them and the whole one."""
    times = read_latency_table(options.table)
    threads = options.threads or available_cores()
    was = times.conditions.get("threads", threads)
    if was != threads:
        raise DesignError(
            f"{printable(options.table)}: measured with {was} threads; give --threads {was}"
        )
    if options.nets < 3 or not 0 < options.least <= 1:
        raise DesignError("give 3 --nets or more, and --least above 0 up to 1")
    if options.rounds < 2 or options.iterations < 1:
        raise DesignError("give 2 --rounds or more, and 1 of --iterations or more")
    memory.keep_freed_memory()
    net = deploy_net(read_net(options.net), times.batch).definition
    rng = np.random.default_rng(options.seed)
    nets = [random_net(net, options.least, rng, options.sizes) for _ in range(options.nets)]
    shapes = [require_shapes(each, "TEST") for each in (net, *nets)]
    predicted = [times.predict(each, options.net) for each in shapes]
    workers = Workers(threads)
    precision = times.conditions.get("precision", "fp32")
    whole, *executors = (
        _filled(Executor(each, "TEST", workers=workers, precision=precision), rng)
        for each in (net, *nets)
    )
    turns = _turns_of_all(executors, whole, options, rng)
    rows = []
    for number, of_net in enumerate(turns):
        macs = sum(item.macs for item in shapes[1 + number].layers) // times.batch
        own, ratios = of_net[..., 0], of_net[..., 0] / of_net[..., 1]
        shares = [float(np.median(each)) for each in (ratios, ratios[::2], ratios[1::2])]
        rows.append(Row(1 + number, macs, predicted[1 + number], float(np.median(own)), *shares))
    return rows, WholeNet(predicted[0], float(np.median(turns[..., 1])))


def _turns_of_all(
    executors: Sequence[Executor],
    whole: Executor,
    options: argparse.Namespace,
    rng: np.random.Generator,
) -> Array:
    """Return (nets, rounds, passes, 2): milliseconds of a net and of the whole one in each turn."""
    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append(
            [time_in_turns(each, whole, options.iterations, rng) for each in executors],
        )
        print(f"round {number} of {options.rounds} done", file=sys.stderr)
    return np.stack(rounds, 1)


def random_net(
    net: NetDefinition, least: float, rng: np.random.Generator, sizes: bool = False
) -> NetDefinition:
    """Return a net without random channels.

    Args:
        net: the whole one.
        least: each decision keeps a share from this to all.
        rng: draws the shares, and the channels.
        sizes: draw bounds in this range first, for the shares of all decisions.
    """
    low, high = sorted(rng.uniform(least, 1, 2)) if sizes else (least, 1.0)
    groups = ChannelGroups(net)
    removed: list[int] = []
    for decision in find_decisions(groups):
        count = len(decision.roots)
        kept = max(1, round(rng.uniform(low, high) * count))
        removed += rng.permutation(decision.roots)[kept:].tolist()
    param = Shrinking(groups, removed).shrink_net(net.param)
    return parse_net(to_text(param), net.source)


def _filled(executor: Executor, rng: np.random.Generator) -> Executor:
    """Give layers random weights."""
    for layer in executor.wiring.layers:
        if layer.blobs:
            arrays = [0.05 * rng.standard_normal(b.shape, np.float32) for b in layer.blobs]
            executor.set_blobs(layer.name, arrays)
    return executor


def time_in_turns(
    executor: Executor, whole: Executor, iterations: int, rng: np.random.Generator
) -> Array:
    """Return (iterations, 2): milliseconds of passes of a net and of the whole one, in turns."""
    arrays = [_random_input(each, rng) for each in (executor, whole)]
    turns = []
    for _ in range(_WARM_UP + iterations):
        stamps = [perf_counter()]
        for each, own in zip((executor, whole), arrays, strict=True):
            each.forward(own)
            stamps.append(perf_counter())
        turns.append(np.diff(stamps) * MILLI)
    return np.stack(turns[_WARM_UP:])


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


def summary_lines(rows: Sequence[Row], whole: WholeNet) -> list[str]:
    """Return the table of the nets and the whole one."""
    predicted, measured = [row.predicted for row in rows], [row.measured for row in rows]
    shares = [row.predicted / whole.predicted for row in rows]
    lines = [
        [
            name,
            f"{100 * relative_error(*columns):.1f}",
            f"{100 * fmean(p / m - 1 for p, m in zip(*columns, strict=True)):+.1f}",
            f"{rank_correlation(*columns):.3f}",
        ]
        for name, columns in (
            ("milliseconds", (predicted, measured)),
            ("share of the whole net's", (shares, [row.share for row in rows])),
            ("odd rounds against even", ([row.odd for row in rows], [row.even for row in rows])),
        )
    ]
    heads = [f"{len(rows)} nets", "mean error %", "bias %", "rank correlation"]
    ranges = f"measured: {min(measured):.2f} to {max(measured):.2f} ms a batch"
    everything = f"the whole net: {whole.measured:.2f} ms, {whole.predicted:.2f} predicted"
    return [*table(heads, lines, right=(1, 2, 3)), "", f"{ranges}; {everything}"]


if __name__ == "__main__":
    sys.exit(main())
