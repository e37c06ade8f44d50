"""Does it matter how channels were searched for, once the net was fine-tuned?

    python -m sqgen.studies.pruned_digits_experiment -o build/pruned_digits

The digits net, trained on 300 digits and tested on the other 1,497. A seed is a split and the
initial weights. Each seed's whole net is pruned to half its MACs by each method, with the training
images, and fine-tuned. Its controls are the whole net, trained as long, and `scratch`: the net that
`uniform` leaves, trained as long from new weights (Liu et al., arXiv:1810.05270, found that to do
as well).

Results that are there already are kept. In the end, OUT has `results.csv` (a row per net) and
`table.txt`. It needs `pip install 'sqgen[digits,engine]'`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..nets.definition import read_net
from ..nets.shapes import require_shapes
from ..nets.totals import totals
from ..report.table import table
from .dsd_experiment import DENSE, RATE, TEST, TRAINING
from .experiment import (
    DigitsNet,
    Findings,
    check_settings,
    experiment_parser,
    kept,
    make_digits,
    mean,
    read_result,
    report_findings,
    run_all,
    scores_of,
    sqgen,
)
from .pruning_experiment import METHODS, UNIFORM

WHOLE, SCRATCH = CONTROLS = ("whole", "scratch")
WAYS = (*CONTROLS, *METHODS)
FINE_TUNING_RATE = RATE / 10


class Row(NamedTuple):
    """A net of a seed.

    Attributes:
        way: one of `WAYS`.
        seed: of the split and the weights.
        macs: of an image.
        pruned: top-1 on the tested digits before it was fine-tuned; None of controls.
        top1: in the end.
    """

    way: str
    seed: int
    macs: int
    pruned: float | None
    top1: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or what is left of it."""
    parser = experiment_parser(
        "pruned_digits_experiment", "Pruned nets of hard digits, fine-tuned, with controls.", 5
    )
    parser.add_argument("--macs", type=float, default=0.5, metavar="X", help="the budget [0.5]")
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="of a search [100]")
    parser.add_argument(
        "--iterations", type=int, default=600, metavar="N", help="of the whole net [600]"
    )
    options = parser.parse_args(arguments)
    settings = {name: getattr(options, name) for name in ("macs", "trials", "iterations")}

    def find() -> Findings:
        check_settings(options.out, settings)
        rows = _run(options.out.resolve(), options.seeds, options.jobs, settings)
        return Findings(Row._fields, rows, summary_lines(rows))

    return report_findings("pruned_digits_experiment", options.out, find)


def _run(out: Path, seeds: int, jobs: int, settings: dict[str, Any]) -> list[Row]:
    """Train and prune all that is not there yet; return the scores."""
    folders = {seed: out / f"seed{seed}" for seed in range(1, seeds + 1)}
    tasks = [partial(_run_seed, folder, seed, **settings) for seed, folder in folders.items()]
    run_all(tasks, jobs, lambda line: print(line, file=sys.stderr))
    return [_row(way, seed, folder / way) for way in WAYS for seed, folder in folders.items()]


def _row(way: str, seed: int, place: Path) -> Row:
    result = read_result(place)
    return Row(way, seed, result["macs"], result["pruned"], result["top1"])


def _run_seed(folder: Path, seed: int, *, macs: float, trials: int, iterations: int) -> None:
    """Train a whole net, prune it by each method, and fine-tune; train the controls."""
    digits, half = folder / "digits", iterations // 2
    options = ("--train", TRAINING, "--seed", seed)
    kept(digits, lambda place: make_digits(place, *options))
    net = DigitsNet(folder, digits, TEST, half, seed)

    def train_whole(place: Path) -> dict[str, Any]:
        return replace(net, folder=place).build().train(iterations, RATE)

    dense = kept(folder / DENSE, train_whole)
    whole_net = replace(net, folder=folder / DENSE)

    def fine_tune(place: Path, method: str) -> dict[str, Any]:
        search = () if method == UNIFORM else ("--trials", trials, "--seed", seed)
        result = sqgen(
            *("prune", dense["snapshot"], "--net", whole_net.path, "--out", "."),
            *("--macs", f"{macs:g}", "--data", digits / "train_lmdb", "--by", method, *search),
            *("--no-proof", "--json"),
            cwd=place,
        )
        pruned = replace(net, folder=place)
        before = sqgen(
            *("test", "--model", pruned.path, "--weights", place / "pruned.caffemodel"),
            *("--data", digits / "test_lmdb", "--engine", "torch", "--json", "--", "--threads", 1),
            cwd=place,
        )
        weights = ("--weights", place / "pruned.caffemodel")
        after = pruned.train(half, FINE_TUNING_RATE, *weights)
        return {
            "macs": result["macs"]["after"],
            "pruned": scores_of(before)["accuracy_top1"],
            "top1": after["top1"],
        }

    def continued(place: Path) -> dict[str, Any]:
        more = replace(net, folder=place).build()
        after = more.train(half, FINE_TUNING_RATE, "--weights", dense["snapshot"])
        return {"macs": _macs(more), "pruned": None, "top1": after["top1"]}

    def from_scratch(place: Path) -> dict[str, Any]:
        sqgen("build", "--design", folder / UNIFORM / "design.toml", "--out", ".", cwd=place)
        fresh = replace(net, folder=place)
        middle = fresh.train(iterations, RATE)
        after = fresh.train(half, FINE_TUNING_RATE, "--weights", middle["snapshot"])
        return {"macs": _macs(fresh), "pruned": None, "top1": after["top1"]}

    for method in METHODS:
        kept(folder / method, partial(fine_tune, method=method))
    kept(folder / WHOLE, continued)
    kept(folder / SCRATCH, from_scratch)


def _macs(net: DigitsNet) -> int:
    return totals(require_shapes(read_net(net.deploy), "TEST")).macs


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table: means over seeds with standard errors, in percent."""
    lines = []
    for way in dict.fromkeys(row.way for row in rows):
        own = [row for row in rows if row.way == way]
        before = [100 * row.pruned for row in own if row.pruned is not None]
        lines.append(
            [
                *(way, f"{max(row.macs for row in own):,}"),
                _percent(before),
                _percent([100 * row.top1 for row in own]),
            ]
        )
    heads = ["net", "MACs at most", "top-1 %, pruned", "top-1 %, fine-tuned"]
    return table(heads, lines, right=(1, 2, 3))


def _percent(values: Sequence[float]) -> str:
    if not values:
        return ""
    found = mean(values)
    return f"{found.value:.2f} +- {found.error:.2f}"


if __name__ == "__main__":
    sys.exit(main())
