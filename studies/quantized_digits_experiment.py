"""What do 2 and 3 bits cost once the net was fine-tuned, and does it matter which layer has them?

    python -m sqgen.studies.quantized_digits_experiment -o build/quantized_digits

The digits net, trained on 300 digits and tested on the other 1,497. A seed is a split and the
initial weights. The weights of each seed's whole net are shared by k-means: with 2 or 3 bits
everywhere (`equal`), or as each search of `sqgen quantize` distributes the bytes of 3 bits, on the
training images; of those of 2 bits, there is nothing to distribute. Then the quantized net is
fine-tuned, with straight-through gradients. The control is the `whole` net, trained as long.

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

from ..formats.files import write_files
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

WHOLE, EQUAL = "whole", "equal"
SEARCHES = ("knapsack", "haq")
WAYS = [(WHOLE, None), (EQUAL, 2), *((way, 3) for way in (EQUAL, *SEARCHES))]
FINE_TUNING_RATE = RATE / 10
BITS_FILE, SQZ = "bits.toml", "equal.sqz"


class Row(NamedTuple):
    """A net of a seed.

    Attributes:
        way: `WHOLE`, `EQUAL` or a search.
        bits: that `EQUAL` has, whose bytes are the budget; None of the whole net.
        seed: of the split and the weights.
        bytes: of the compressed weights before fine-tuning; None of the whole net.
        quantized: top-1 on the tested digits before fine-tuning; None of the whole net.
        top1: in the end.
    """

    way: str
    bits: int | None
    seed: int
    bytes: int | None
    quantized: float | None
    top1: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or what is left of it."""
    parser = experiment_parser(
        "quantized_digits_experiment", "Quantized nets of hard digits, fine-tuned.", 5
    )
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="of a search [100]")
    parser.add_argument(
        "--iterations", type=int, default=600, metavar="N", help="of the whole net [600]"
    )
    options = parser.parse_args(arguments)
    settings = {name: getattr(options, name) for name in ("trials", "iterations")}

    def find() -> Findings:
        check_settings(options.out, settings)
        rows = _run(options.out.resolve(), options.seeds, options.jobs, settings)
        return Findings(Row._fields, rows, summary_lines(rows))

    return report_findings("quantized_digits_experiment", options.out, find)


def _run(out: Path, seeds: int, jobs: int, settings: dict[str, Any]) -> list[Row]:
    """Train and quantize all that is not there yet; return the scores."""
    folders = {seed: out / f"seed{seed}" for seed in range(1, seeds + 1)}
    tasks = [partial(_run_seed, folder, seed, **settings) for seed, folder in folders.items()]
    run_all(tasks, jobs, lambda line: print(line, file=sys.stderr))
    return [
        Row(way, bits, seed, **read_result(folder / _name(way, bits)))
        for way, bits in WAYS
        for seed, folder in folders.items()
    ]


def _name(way: str, bits: int | None) -> str:
    return way if bits is None else f"{way}{bits}"


def _run_seed(folder: Path, seed: int, *, trials: int, iterations: int) -> None:
    """Train a whole net, quantize it in each way, and fine-tune; train the control."""
    digits, half = folder / "digits", iterations // 2
    kept(digits, lambda place: make_digits(place, "--train", TRAINING, "--seed", seed))
    net = DigitsNet(folder, digits, TEST, half, seed)

    def train_whole(place: Path) -> dict[str, Any]:
        return replace(net, folder=place).build().train(iterations, RATE)

    dense = kept(folder / DENSE, train_whole)
    weights = ("--weights", dense["snapshot"])

    def continued(place: Path) -> dict[str, Any]:
        after = replace(net, folder=place).build().train(half, FINE_TUNING_RATE, *weights)
        return {"bytes": None, "quantized": None, "top1": after["top1"]}

    def fine_tune(place: Path, way: str, bits: int) -> dict[str, Any]:
        own = replace(net, folder=place).build()
        of_net = (dense["snapshot"], "--net", own.deploy)
        encoded = sqgen(
            *("compress", "encode", *of_net, "--bits", bits, "-o", SQZ, "--json"), cwd=place
        )
        size = encoded["bytes"]
        if way == EQUAL:
            write_files({place / BITS_FILE: f'"*" = {bits}\n'.encode()})
        else:
            found = sqgen(
                *("quantize", *of_net, "--data", digits / "train_lmdb", "--out", "."),
                *("--bytes", size, "--quantizer", "k-means", "--by", way),
                *("--trials", trials, "--seed", seed, "--json"),
                cwd=place,
            )
            size = found["bytes"]
        quantize = ("--quantize", BITS_FILE)
        before = sqgen(
            *("test", "--model", own.path, *weights, "--data", digits / "test_lmdb"),
            *(*quantize, "--engine", "torch", "--json", "--", "--threads", 1),
            cwd=place,
        )
        after = own.train(half, FINE_TUNING_RATE, *weights, *quantize)
        quantized = scores_of(before)["accuracy_top1"]
        return {"bytes": size, "quantized": quantized, "top1": after["top1"]}

    kept(folder / WHOLE, continued)
    for way, bits in WAYS:
        if bits is not None:
            kept(folder / _name(way, bits), partial(fine_tune, way=way, bits=bits))


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table: means over seeds with standard errors, in percent."""
    lines = []
    for way, bits in WAYS:
        own = [row for row in rows if (row.way, row.bits) == (way, bits)]
        sizes = [row.bytes for row in own if row.bytes is not None]
        lines.append(
            [
                *(way, "" if bits is None else str(bits)),
                f"{max(sizes):,}" if sizes else "",
                _percent([100 * row.quantized for row in own if row.quantized is not None]),
                _percent([100 * row.top1 for row in own]),
            ]
        )
    heads = ["net", "bits", "bytes at most", "top-1 %, quantized", "top-1 %, fine-tuned"]
    return table(heads, lines, right=(1, 2, 3, 4))


def _percent(values: Sequence[float]) -> str:
    if not values:
        return ""
    found = mean(values)
    return f"{found.value:.2f} +- {found.error:.2f}"


if __name__ == "__main__":
    sys.exit(main())
