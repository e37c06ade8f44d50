"""What does retraining give back of what compression takes? (Deep Compression, arXiv:1510.00149)

    python -m sqgen.studies.retraining_experiment -o build/retraining

The digits net, compressed to each density and number of bits: `encoded` only, which trains nothing,
or `retrained`: pruned weights, in one step or several, and then the values that the others share.
`sized` is encoded, too, with the bits of each layer chosen for a size. A seed is a split of the
digits into 1,500 to train and 297 to test, and a dense net of its own.

Results that are there already are kept. In the end, OUT has `results.csv` (a row per file and
seed), `table.txt` and `retraining.svg`. It needs `pip install 'sqgen[engine,digits,draw]'`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..compress.constraints import prune_constraints
from ..compress.prune import DensityRule
from ..compress.weighted_layers import find_weighted_layers
from ..formats.caffemodel import read_caffemodel
from ..formats.constraints import encode_constraints
from ..formats.files import write_files
from ..nets.definition import read_net
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
    read_result,
    report_findings,
    run_all,
    sqgen,
)

ENCODED, SIZED, RETRAINED = WAYS = ("encoded", "sized", "retrained")
DENSITIES = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
BITS = (8, 6, 5, 4, 3, 2)
SIZES = (4000, 6000, 8000, 10000, 12000, 15000, 20000)  # bytes
TEST = (11, 27)  # batches and their images: each tested digit once
DENSE, RATE = "dense", 0.002
CLAIMED_BITS, LOST, MAY_LOSE = 4, 2.0, 0.5  # points of top-1


class Row(NamedTuple):
    """A file of a seed, what was asked for, and its top1 on the 297 tested digits."""

    seed: int
    way: str
    density: float | None
    bits: int | None
    size: int | None
    bytes: int
    top1: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or what is left of it."""
    parser = experiment_parser(
        "retraining_experiment",
        "Accuracy against bytes of the digits net, with and without retraining.",
        5,
    )
    parser.add_argument(
        "--dense", type=int, default=1500, metavar="N", help="iterations of the dense net [1500]"
    )
    parser.add_argument(
        "--retrain", type=int, default=300, metavar="N", help="of each retraining [300]"
    )
    parser.add_argument(
        "--steps", type=int, default=1, metavar="N", help="in how many a net is pruned [1]"
    )
    parser.add_argument(
        "--densities", type=densities, default=DENSITIES, metavar="D,D,...", help="[1,0.7,...,0.1]"
    )
    options = parser.parse_args(arguments)
    settings = {name: getattr(options, name) for name in ("dense", "retrain", "steps", "densities")}

    def find() -> Findings:
        check_settings(options.out, settings)
        rows = _run(options.out.resolve(), options.seeds, options.jobs, settings)
        lines = [*summary_lines(rows), "", *claim_lines(rows)]
        pictures = {"retraining.svg": render_chart(retraining_chart(rows), "svg")}
        return Findings(Row._fields, rows, lines, pictures)

    return report_findings("retraining_experiment", options.out, find)


def densities(text: str) -> tuple[float, ...]:
    """Parse `0.3,0.1`."""
    return tuple(map(float, text.split(",")))


def _run(out: Path, seeds: int, jobs: int, settings: dict[str, Any]) -> list[Row]:
    """Train and test all that is not there yet; return the scores."""
    nets = [_Nets(out / f"seed{seed}", seed, **settings) for seed in range(1, seeds + 1)]
    say = partial(print, file=sys.stderr)
    run_all([net.start for net in nets], jobs, lambda line: say(f"dense nets: {line}"))
    cells = [(net, density) for net in nets for density in settings["densities"]]
    tasks = [partial(net.compress, density) for net, density in cells]
    run_all(tasks, jobs, lambda line: say(f"densities: {line}"))
    run_all([net.test for net in nets], jobs, lambda line: say(f"tests: {line}"))
    return [row for net in nets for row in net.rows()]


class _Nets:
    """The folder of a seed: its digits, its dense net, and a folder for each density."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        dense: int,
        retrain: int,
        steps: int,
        densities: Sequence[float],
    ) -> None:
        self._folder, self._seed, self._dense, self._retrain = folder, seed, dense, retrain
        self._steps, self._densities = steps, densities
        self._digits = folder / "digits"

    def _build(self, place: Path, interval: int) -> DigitsNet:
        return DigitsNet(place, self._digits, TEST, interval, self._seed).build()

    def start(self) -> None:
        """Train the dense net."""
        kept(self._digits, lambda place: make_digits(place, "--seed", self._seed))
        kept(
            self._folder / DENSE,
            lambda place: self._build(place, self._dense).train(self._dense, RATE),
        )

    @property
    def _weights(self) -> str:
        return str(read_result(self._folder / DENSE)["snapshot"])

    def compress(self, density: float) -> None:
        """Compress the dense net to a density and each number of bits, and retrain it."""
        kept(self._folder / f"density{density:g}", partial(self._compress, density))

    def _compress(self, density: float, place: Path) -> dict[str, Any]:
        net = self._build(place, self._retrain)
        weights = self._weights
        layers = find_weighted_layers(read_net(str(net.deploy)))
        for step in range(1, self._steps + 1) if density < 1 else ():
            mask = place / f"mask{step}.npz"
            rules = [DensityRule("*", density ** (step / self._steps))]
            masks = prune_constraints(read_caffemodel(weights), layers, rules)
            write_files({mask: encode_constraints(masks)})
            options = ("--weights", weights, "--constraints", mask)
            weights = net.train(self._retrain, RATE, *options)["snapshot"]
        for bits in BITS:
            for source, name in ((self._weights, ENCODED), (weights, "pruned")):
                file = _file_name(name, density, bits)
                form = ("--density", density, "--bits", bits, "-o", file)
                sqgen("compress", "encode", source, "--net", net.deploy, *form, cwd=place)
            sqgen(
                *("compress", "finetune", _file_name("pruned", density, bits), "--net", net.path),
                *("-o", _file_name(RETRAINED, density, bits), *net.training(self._retrain, RATE)),
                cwd=place,
            )
        return {"density": density}

    def test(self) -> None:
        """Test the dense net and all files."""
        kept(self._folder / "tested", self._test)

    def _test(self, place: Path) -> dict[str, Any]:
        net = self._build(place, self._retrain)
        sizes = ",".join(map(str, SIZES))
        files = [
            self._folder / f"density{density:g}" / _file_name(way, density, bits)
            for density in self._densities
            for bits in BITS
            for way in (ENCODED, RETRAINED)
        ]
        return sqgen(
            *("compress", "eval", self._weights, *files, "--size", sizes, "--net", net.path),
            *("--data", self._digits / "test_lmdb", "--engine", "torch", "--json"),
            cwd=place,
        )

    def rows(self) -> list[Row]:
        """Return the scores of the dense net and of all files."""
        points = read_result(self._folder / "tested")["points"]
        return [_row(self._seed, point) for point in points]


def _file_name(way: str, density: float, bits: int) -> str:
    return f"{way}-{density:g}-{bits}.sqz"


def _row(seed: int, point: dict[str, Any]) -> Row:
    name, size, top1 = point["name"], point["bytes"], point["scores"]["top-1"]
    if name.endswith("-bytes"):
        return Row(seed, SIZED, None, None, int(name.removesuffix("-bytes")), size, top1)
    if not name.endswith(".sqz"):
        return Row(seed, DENSE, None, None, None, size, top1)
    way, density, bits = name.removesuffix(".sqz").split("-")
    return Row(seed, way, float(density), int(bits), None, size, top1)


class Cell(NamedTuple):
    """A way to compress to a density and bits, over seeds: mean bytes, and points of top-1 lost."""

    way: str
    density: float | None
    bits: int | None
    bytes: float
    top1: Mean
    lost: Mean


def cells_of(rows: Sequence[Row]) -> list[Cell]:
    """Average over the seeds; losses are against the dense net of the same seed."""
    dense = {row.seed: 100 * row.top1 for row in rows if row.way == DENSE}
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault((row.way, row.density, row.bits, row.size), []).append(row)
    return [
        Cell(
            group[0].way,
            group[0].density,
            group[0].bits,
            sum(row.bytes for row in group) / len(group),
            mean([100 * row.top1 for row in group]),
            mean([dense[row.seed] - 100 * row.top1 for row in group]),
        )
        for group in found.values()
    ]


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table: bytes, and points of top-1 that each density and number of bits costs."""
    cells = cells_of(rows)
    by_place = {(cell.way, cell.density, cell.bits): cell for cell in cells}
    dense = by_place[DENSE, None, None]
    lines = []
    for density in sorted({c.density for c in cells if c.density is not None}, reverse=True):
        for bits in sorted({c.bits for c in cells if c.bits is not None}, reverse=True):
            pair = [by_place[way, density, bits] for way in (ENCODED, RETRAINED)]
            lines.append([f"{density:g}", f"{bits}", *(_cell_texts(pair))])
    heads = ["density", "bits", "bytes", "encoded: lost", "bytes", "retrained: lost"]
    sized = [[f"{cell.bytes:,.0f}", _points(cell.lost)] for cell in cells if cell.way == SIZED]
    return [
        f"dense: {dense.bytes:,.0f} bytes, top-1 {_points(dense.top1)} %, {dense.top1.seeds} seeds",
        "",
        *table(heads, lines, right=range(6)),
        "",
        *table(["bytes", "sized: lost"], sized, right=range(2)),
    ]


def _cell_texts(cells: Sequence[Cell]) -> list[str]:
    return [text for cell in cells for text in (f"{cell.bytes:,.0f}", _points(cell.lost))]


def _points(value: Mean) -> str:
    return f"{value.value:.2f} +- {value.error:.2f}"


def claim_lines(rows: Sequence[Row]) -> list[str]:
    """Return what became of the two claims of the experiment."""
    cells = cells_of(rows)
    dense = next(cell for cell in cells if cell.way == DENSE)
    by_place = {(cell.way, cell.density, cell.bits): cell for cell in cells}
    lines = []
    for cell in cells:
        if (cell.way, cell.bits) == (ENCODED, CLAIMED_BITS) and cell.lost.value >= LOST:
            after = by_place[RETRAINED, cell.density, cell.bits].lost
            lines.append(
                f"density {cell.density:g}, {CLAIMED_BITS} bits: {_points(cell.lost)} points lost,"
                f" retrained {_points(after)}: {_verdict(after.value <= MAY_LOSE)}"
            )
    images = TEST[0] * TEST[1] * dense.top1.seeds
    share = dense.top1.value / 100
    error = 100 * math.sqrt(share * (1 - share) / images)
    smallest = {
        name: min((c.bytes for c in cells if c.way in ways and c.lost.value <= error), default=None)
        for name, ways in (("encoded", (ENCODED, SIZED)), ("retrained", (RETRAINED,)))
    }
    encoded, retrained = smallest["encoded"], smallest["retrained"]
    lines.append(
        f"smallest within one standard error of the dense net ({error:.2f} points, {images:,}"
        f" images): encoded {_bytes(encoded)}, retrained {_bytes(retrained)}: "
        + _verdict(encoded is not None and retrained is not None and retrained <= encoded / 2)
    )
    return lines


def _bytes(count: float | None) -> str:
    return "none" if count is None else f"{count:,.0f}"


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def retraining_chart(rows: Sequence[Row]) -> Chart:
    """Return accuracies against bytes with standard errors; the dense net's as a line."""
    cells = cells_of(rows)
    dense = next(cell for cell in cells if cell.way == DENSE)
    values = [
        {
            "way": cell.way,
            "kB": cell.bytes / 1000,
            "top1": cell.top1.value,
            "low": cell.top1.value - cell.top1.error,
            "high": cell.top1.value + cell.top1.error,
        }
        for cell in cells
        if cell.way != DENSE
    ]
    scale = {"domain": [80, 100], "clamp": True}
    x = {"field": "kB", "type": "quantitative", "scale": {"type": "log", "nice": False}}
    y = {"field": "top1", "type": "quantitative", "scale": scale, "title": "top-1 %"}
    color = {"field": "way", "type": "nominal", "title": None, "scale": {"domain": list(WAYS)}}
    bar = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color}
    spec = {
        "width": 560,
        "height": 340,
        "layer": [
            {
                "data": {"values": [{"top1": dense.top1.value}]},
                "mark": {"type": "rule", "strokeDash": [4, 4]},
                "encoding": {"y": y},
            },
            {"data": {"values": values}, "mark": "rule", "encoding": bar},
            {
                "data": {"values": values},
                "mark": {"type": "point", "filled": True, "size": 45},
                "encoding": {"x": x, "y": y, "color": color, "shape": color},
            },
        ],
    }
    note = (
        f"A point is the mean of {dense.top1.seeds} seeds, its bar one standard error. Points below"
        f" 80% lie on the edge. Dashed: the dense net, {dense.bytes:,.0f} bytes."
    )
    return Chart("retraining", "Deep Compression, retrained", spec, Row._fields, rows, note)


if __name__ == "__main__":
    sys.exit(main())
