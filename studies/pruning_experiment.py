"""Which search finds the best channels to keep? (AMC, arXiv:1802.03494, asks it of its own)

    python -m sqgen.studies.pruning_experiment compressed_SqueezeNet.net --net deploy.prototxt \\
      --data images_lmdb --macs 0.9 --trials 400 -o build/pruning

Each method gets the same budget (`--macs`, or `--ms` of a latency table), images and number of
trials; the score is the divergence of the reconstructed net from the whole one on these images.
`uniform` tries one net. The rows tell of the images that the searches saw: that they mean more than
these, other images have to show. The minutes are those of the trials.

Results that are there already are kept, and a search that was stopped goes on. In the end, OUT has
`results.csv` (a row per method and seed) and `table.txt`. It needs `pip install 'sqgen[engine]'`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DesignError
from ..search.journal import read_journal
from .experiment import (
    Findings,
    check_settings,
    experiment_parser,
    kept,
    read_result,
    report_findings,
    run_all,
    sqgen,
)
from .search_table import Row, summary_lines

METHODS = UNIFORM, *SEARCHES = (
    *("uniform", "random", "greedy", "evolution"),
    *("knapsack", "ddpg"),
)
JOURNAL = "trials.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or what is left of it."""
    options = _parser().parse_args(arguments)
    files = [str(getattr(options, name).resolve()) for name in ("weights", "net", "data")]

    def find() -> Findings:
        settings = {"files": files, "budget": _budget(options), "trials": options.trials}
        check_settings(options.out, settings)
        rows = _run(options.out.resolve(), options.seeds, options.jobs, **settings)
        return Findings(Row._fields, rows, summary_lines(rows, "MACs"))

    return report_findings("pruning_experiment", options.out, find)


def _parser() -> ArgumentParser:
    parser = experiment_parser(
        "pruning_experiment", "Searches for the channels that a net keeps, at equal budgets.", 3
    )
    parser.add_argument("weights", type=Path, help="of the net")
    parser.add_argument("--net", type=Path, required=True, help="a deploy net")
    parser.add_argument("--data", type=Path, required=True, help="an LMDB, or a folder of images")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--macs", type=float, default=0.9, metavar="X", help="the budget [0.9]")
    budget.add_argument("--ms", type=float, metavar="X", help="the budget, by --latency")
    parser.add_argument("--latency", type=Path, metavar="FILE", help="a latency table")
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="of a search [100]")
    return parser


def _budget(options: Namespace) -> list[str]:
    """Return the options of `sqgen prune` for the budget."""
    if options.ms is None:
        return ["--macs", f"{options.macs:g}"]
    if options.latency is None:
        raise DesignError("--ms: give --latency, a table of `sqgen time --table`")
    return ["--ms", f"{options.ms:g}", "--latency", str(options.latency.resolve())]


def _run(
    out: Path, seeds: int, jobs: int, *, files: list[str], budget: list[str], trials: int
) -> list[Row]:
    """Search all that is not searched yet; return what was found."""
    runs = [(UNIFORM, 1), *((m, seed) for seed in range(1, seeds + 1) for m in SEARCHES)]
    places = {(method, seed): out / f"{method}-seed{seed}" for method, seed in runs}

    def prune(method: str, seed: int, place: Path) -> dict[str, Any]:
        weights, net, data = files
        search = ("--by", method, "--trials", trials, "--seed", seed, "--resume")
        return sqgen(
            *("prune", weights, "--net", net, "--data", data, "--out", ".", *budget),
            *("--no-proof", "--force", "--json"),
            *(search if method != UNIFORM else ("--by", UNIFORM)),
            cwd=place,
        )

    tasks = [
        partial(kept, place, partial(prune, method, seed), again=True)
        for (method, seed), place in places.items()
    ]
    run_all(tasks, jobs, lambda line: print(line, file=sys.stderr))
    return [_row(method, seed, place) for (method, seed), place in places.items()]


def _row(method: str, seed: int, place: Path) -> Row:
    result = read_result(place)
    found = result["agreements"]["reconstructed"]
    trials = [] if method == UNIFORM else read_journal(place / JOURNAL)[1]
    minutes = sum(trial.seconds for trial in trials) / 60
    scores = found["top1"], found["divergence"], found["error"]
    return Row(method, seed, result["macs"]["after"], *scores, minutes)


if __name__ == "__main__":
    sys.exit(main())
