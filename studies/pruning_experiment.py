"""Which search finds the best channels to keep? (AMC, arXiv:1802.03494, asks it of its own)

    python -m sqgen.studies.pruning_experiment compressed_SqueezeNet.net --net deploy.prototxt \\
      --data images_lmdb -o build/pruning

Each method gets the same budget, images and number of trials; the score is the divergence of the
reconstructed net from the whole one on these images. `uniform` tries one net. The rows tell of the
images that the searches saw: that they mean more than these, other images have to show.

Results that are there already are kept, and a search that was stopped goes on. In the end, OUT has
`results.csv` (a row per method and seed) and `table.txt`. It needs `pip install 'sqgen[engine]'`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import SqgenError
from ..formats.files import write_files
from ..report.table import table
from .experiment import (
    check_settings,
    csv_bytes,
    experiment_parser,
    kept,
    mean,
    read_result,
    run_all,
    sqgen,
)

UNIFORM, *SEARCHES = METHODS = ("uniform", "random", "greedy", "evolution")
CRITERION = "l1-inputs"


class Row(NamedTuple):
    """What a method found: MACs, and scores on the images."""

    method: str
    seed: int
    macs: int
    top1: float | None
    divergence: float
    error: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or what is left of it."""
    parser = experiment_parser(
        "pruning_experiment", "Searches for the channels that a net keeps, at equal budgets.", 3
    )
    parser.add_argument("weights", type=Path, help="of the net")
    parser.add_argument("--net", type=Path, required=True, help="a deploy net")
    parser.add_argument("--data", type=Path, required=True, help="an LMDB, or a folder of images")
    parser.add_argument("--macs", type=float, default=0.9, metavar="X", help="the budget [0.9]")
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="of a search [100]")
    options = parser.parse_args(arguments)
    files = [str(getattr(options, name).resolve()) for name in ("weights", "net", "data")]
    settings = {"files": files, "macs": options.macs, "trials": options.trials}
    try:
        check_settings(options.out, settings)
        rows = _run(options.out.resolve(), options.seeds, options.jobs, **settings)
    except SqgenError as error:
        print(f"pruning_experiment: {error}", file=sys.stderr)
        return 2
    text = "\n".join(summary_lines(rows)) + "\n"
    made = {"results.csv": csv_bytes(Row._fields, rows), "table.txt": text.encode()}
    write_files({options.out / name: data for name, data in made.items()}, force=True)
    print(text, end="")
    return 0


def _run(
    out: Path, seeds: int, jobs: int, *, files: list[str], macs: float, trials: int
) -> list[Row]:
    """Search all that is not searched yet; return what was found."""
    runs = [(UNIFORM, 1), *((m, seed) for seed in range(1, seeds + 1) for m in SEARCHES)]
    places = {(method, seed): out / f"{method}-seed{seed}" for method, seed in runs}

    def prune(method: str, seed: int, place: Path) -> dict[str, Any]:
        weights, net, data = files
        search = ("--by", method, "--trials", trials, "--seed", seed, "--resume")
        return sqgen(
            *("prune", weights, "--net", net, "--data", data, "--out", ".", "--macs", f"{macs:g}"),
            *("--no-proof", "--force", "--json", *(search if method != UNIFORM else ())),
            cwd=place,
        )

    tasks = [
        partial(kept, place, partial(prune, method, seed), again=True)
        for (method, seed), place in places.items()
    ]
    run_all(tasks, jobs, lambda line: print(line, file=sys.stderr))
    return [_row(method, seed, read_result(place)) for (method, seed), place in places.items()]


def _row(method: str, seed: int, result: dict[str, Any]) -> Row:
    found = result["agreements"]["reconstructed"]
    macs = result["macs"]["after"]
    return Row(method, seed, macs, found["top1"], found["divergence"], found["error"])


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table: means over seeds, with standard errors of more than one."""
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        top1 = [100 * row.top1 for row in own if row.top1 is not None]
        lines.append(
            [
                *(method, f"{len(own)}", f"{max(row.macs for row in own):,}"),
                _mean_text(top1, 1),
                _mean_text([row.divergence for row in own], 3),
            ]
        )
    heads = ["by", "seeds", "MACs at most", "top-1 %", "KL from the whole net"]
    return table(heads, lines, right=(1, 2, 3, 4))


def _mean_text(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    found = mean(values)
    return f"{found.value:.{digits}f} +- {found.error:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
