"""Does Dense-Sparse-Dense training beat a dense one of equal length? (arXiv:1607.04381)

    python -m sqgen.studies.dsd_experiment -o build/dsd

The digits net, trained on 300 digits and tested on the other 1,497; also with 20% wrong labels. A
seed is a split, the wrong labels and the initial weights. Each seed's dense net goes on in four
ways, all of the same two rates and lengths. Of the controls, the paper has the continued training:
of equal length for Deep Speech, at a lower rate for ResNets.

| way | first half | second half |
|---|---|---|
| `dsd` | the smallest 30% of each layer stay zero | all weights train |
| `continued` | all weights train | all weights train |
| `random` | as many weights, chosen at random, stay zero | all weights train |
| `sparse` | as dsd | as its first half |

Results that are there already are kept. In the end, OUT has `results.csv` (a row per training),
`table.txt` and `dsd.svg`. It needs `pip install 'sqgen[engine,digits,draw]'`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..formats.constraints import BlobName, Constraint, encode_constraints, read_constraints
from ..formats.files import write_files
from ..report.charts import Chart, render_chart
from ..report.table import table
from .experiment import (
    DigitsNet,
    Findings,
    Mean,
    check_settings,
    experiment_parser,
    kept,
    make_digits,
    mean,
    one_sided_p,
    read_result,
    report_findings,
    run_all,
)

WAYS = DENSE, DSD, CONTINUED, RANDOM, SPARSE = ("dense", "dsd", "continued", "random", "sparse")
NOISES = {"right labels": 0.0, "20% wrong": 0.2}
TRAINING = 300
TEST = (3, 499)  # batches and their images: each of the others once
RATE, DROP = 0.002, 0.1  # of the dense net; what the second half's is of the first's


class Row(NamedTuple):
    """The scores of a net on the 1,497 tested digits."""

    labels: str
    seed: int
    way: str
    top1: float
    loss: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or what is left of it."""
    parser = experiment_parser(
        "dsd_experiment", "Dense-Sparse-Dense training of hard digits, with controls.", 10
    )
    parser.add_argument("--sparsity", type=float, default=0.3, metavar="X", help="of DSD [0.3]")
    parser.add_argument(
        "--iterations", type=int, default=600, metavar="N", help="of the dense net [600]"
    )
    parser.add_argument(
        "--rate", type=float, default=RATE / 10, metavar="R", help="of the first half [0.0002]"
    )
    options = parser.parse_args(arguments)
    settings = {name: getattr(options, name) for name in ("sparsity", "iterations", "rate")}

    def find() -> Findings:
        check_settings(options.out, settings)
        rows = _run(options.out.resolve(), options.seeds, options.jobs, settings)
        pictures = {"dsd.svg": render_chart(dsd_chart(rows), "svg")}
        return Findings(Row._fields, rows, summary_lines(rows), pictures)

    return report_findings("dsd_experiment", options.out, find)


def _run(out: Path, seeds: int, jobs: int, settings: dict[str, Any]) -> list[Row]:
    """Train all that is not trained yet; return the scores."""
    places = {
        (labels, seed): out / f"noise{noise:g}-seed{seed}"
        for labels, noise in NOISES.items()
        for seed in range(1, seeds + 1)
    }
    tasks = [
        partial(_train_seed, folder, NOISES[labels], seed, **settings)
        for (labels, seed), folder in sorted(places.items(), key=lambda item: item[0][1])
    ]
    run_all(tasks, jobs, lambda line: print(line, file=sys.stderr))
    rows = []
    for (labels, seed), folder in places.items():
        for way in WAYS:
            result = read_result(folder / way)
            rows.append(Row(labels, seed, way, result["top1"], result["loss"]))
    return rows


def _train_seed(
    folder: Path, noise: float, seed: int, *, sparsity: float, iterations: int, rate: float
) -> None:
    """Train a dense net, and go on with it in each way."""
    half = iterations // 2
    first, second = (half, rate), (half, rate * DROP)
    digits = folder / "digits"

    def build(place: Path) -> DigitsNet:
        return DigitsNet(place, digits, TEST, half, seed).build()

    def in_halves(place: Path, *of_first: object) -> dict[str, Any]:
        net = build(place)
        middle = net.train(*first, "--weights", dense, *of_first)
        return net.train(*second, "--weights", middle["snapshot"])

    def shuffled(place: Path) -> dict[str, Any]:
        path = place / "shuffled.npz"
        write_files({path: encode_constraints(shuffle_masks(read_constraints(mask), seed))})
        return in_halves(place, "--constraints", path)

    options = ("--train", TRAINING, "--noisy-labels", noise, "--seed", seed)
    kept(digits, lambda place: make_digits(place, *options))
    dense = kept(folder / DENSE, lambda place: build(place).train(iterations, RATE))["snapshot"]
    kept(
        folder / DSD,
        lambda place: build(place).train(*first, "--weights", dense, "--dsd", sparsity),
    )
    mask = folder / DSD / "digits_sparse.constraints.npz"
    sparse = folder / DSD / f"digits_sparse_iter_{half}.caffemodel"
    kept(folder / CONTINUED, in_halves)
    kept(folder / RANDOM, shuffled)
    kept(
        folder / SPARSE,
        lambda place: build(place).train(*second, "--weights", sparse, "--constraints", mask),
    )


def shuffle_masks(masks: Mapping[BlobName, Constraint], seed: int) -> dict[BlobName, Constraint]:
    """Return masks of the same layers with as many zeros, at random places."""
    random = np.random.default_rng(seed)
    return {
        name: Constraint(random.permuted(mask.codes.ravel()).reshape(mask.codes.shape), mask.values)
        for name, mask in masks.items()
    }


class Comparison(NamedTuple):
    """A way against the continued dense net, in percentage points, over seeds."""

    labels: str
    way: str
    top1: Mean
    differences: tuple[float, ...]

    @property
    def difference(self) -> Mean:
        """Mean of the differences."""
        return mean(self.differences)


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Compare each way with the continued dense net of the same seed."""
    top1 = {(row.labels, row.seed, row.way): 100 * row.top1 for row in rows}
    found = []
    for labels in dict.fromkeys(row.labels for row in rows):
        seeds = sorted({row.seed for row in rows if row.labels == labels})
        for way in WAYS:
            values = [top1[labels, seed, way] for seed in seeds]
            differences = tuple(top1[labels, s, way] - top1[labels, s, CONTINUED] for s in seeds)
            found.append(Comparison(labels, way, mean(values), differences))
    return found


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table: means over seeds with standard errors, and p of DSD being better."""
    cells = []
    for labels, way, top1, differences in compare(rows):
        own = way == CONTINUED
        difference, p = mean(differences), one_sided_p(differences)
        cells.append(
            [
                *(labels, way, f"{top1.value:.2f} +- {top1.error:.2f}"),
                "" if own else f"{difference.value:+.2f} +- {difference.error:.2f}",
                "" if own else f"{p:.3f}",
                f"{top1.seeds}",
            ]
        )
    heads = ["labels", "way", "top-1 %", "against continued", "p (better)", "seeds"]
    return table(heads, cells, right=(4, 5))


def dsd_chart(rows: Sequence[Row]) -> Chart:
    """Return the differences of each seed, their means and standard errors."""
    ways = [way for way in WAYS if way not in (DENSE, CONTINUED)]
    found = [each for each in compare(rows) if each.way in ways]
    dots = [
        {"row": _row_name(each), "difference": value}
        for each in found
        for value in each.differences
    ]
    means = [
        {
            "row": _row_name(each),
            "difference": each.difference.value,
            "low": each.difference.value - each.difference.error,
            "high": each.difference.value + each.difference.error,
        }
        for each in found
    ]
    title = "points of top-1 against the dense net that trained as long"
    x = {"field": "difference", "type": "quantitative", "title": title}
    y = {"field": "row", "type": "nominal", "title": None, "sort": [m["row"] for m in means]}
    bar = {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}}
    spec = {
        "width": 420,
        "height": 40 * len(means),
        "layer": [
            {"data": {"values": [{}]}, "mark": "rule", "encoding": {"x": {"datum": 0}}},
            {
                "data": {"values": dots},
                "mark": {"type": "tick", "opacity": 0.5},
                "encoding": {"x": x, "y": y},
            },
            {"data": {"values": means}, "mark": {"type": "rule", "size": 3}, "encoding": bar},
            {
                "data": {"values": means},
                "mark": {"type": "point", "filled": True, "size": 70},
                "encoding": {"x": x, "y": y},
            },
        ],
    }
    note = "A tick is a seed, a dot the mean of all, its bar the standard error."
    return Chart("dsd", "Dense-Sparse-Dense training", spec, Row._fields, rows, note)


def _row_name(each: Comparison) -> str:
    return f"{each.way}, {each.labels}"


if __name__ == "__main__":
    sys.exit(main())
