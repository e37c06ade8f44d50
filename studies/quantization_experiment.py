"""Which search finds the best bits at a budget, and does it matter? (HAQ, arXiv:1811.08886)

    python -m sqgen.studies.quantization_experiment w.caffemodel --net deploy.prototxt \\
      --data images_lmdb --bytes 318731 -o build/quantization

Each method of `sqgen quantize` chooses the bits of the same net, with the same number of trials on
the same images; several seeds each, but `uniform`, which has no trials. The score is what these
images say, so it says how good a search is, not how good the net is on other images. The minutes
are those of the trials.

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

UNTRIED = ("uniform", "fisher")
SEARCHES = ("random", "greedy", "evolution", "knapsack", "ddpg", "haq")
BUDGETS = ("bytes", "bops", "ms", "mj")
JOURNAL = "trials.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or what is left of it."""
    options = _parser().parse_args(arguments)
    files = [str(getattr(options, name).resolve()) for name in ("weights", "net", "data")]

    def find() -> Findings:
        settings = {"files": files, "budget": _budget(options), "trials": options.trials}
        check_settings(options.out, settings)
        rows = _run(options.out.resolve(), options.seeds, options.jobs, **settings)
        return Findings(Row._fields, rows, summary_lines(rows, settings["budget"][0]))

    return report_findings("quantization_experiment", options.out, find)


def _parser() -> ArgumentParser:
    parser = experiment_parser(
        "quantization_experiment", "Searches for the bits of a net, at equal budgets.", 3
    )
    parser.add_argument("weights", type=Path, help="of the net")
    parser.add_argument("--net", type=Path, required=True, help="a deploy net")
    parser.add_argument("--data", type=Path, required=True, help="an LMDB, or a folder of images")
    budget = parser.add_mutually_exclusive_group(required=True)
    for name in BUDGETS:
        budget.add_argument(f"--{name}", type=float, metavar="X", help="the budget")
    parser.add_argument("--hardware", metavar="NAME|FILE", help="of --ms or --mj")
    parser.add_argument("--activations", action="store_true", help="choose their bits, too")
    parser.add_argument("--quantizer", metavar="NAME", help="of weights")
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="of a search [100]")
    return parser


def _budget(options: Namespace) -> list[str]:
    """Return the options of `sqgen quantize` for the budget, and for what has bits."""
    given = {name: getattr(options, name) for name in BUDGETS}
    ((name, amount),) = ((name, amount) for name, amount in given.items() if amount is not None)
    words = [f"--{name}", f"{amount:.15g}"]
    if (name in ("ms", "mj")) != (options.hardware is not None):
        raise DesignError("--hardware: goes with --ms or --mj")
    for flag, value in (("--hardware", options.hardware), ("--quantizer", options.quantizer)):
        words += [] if value is None else [flag, value]
    return [*words, "--activations"] if options.activations else words


def _run(
    out: Path, seeds: int, jobs: int, *, files: list[str], budget: list[str], trials: int
) -> list[Row]:
    """Search all that is not searched yet; return what was found."""
    runs = [(method, 1) for method in UNTRIED]
    runs += [(method, seed) for seed in range(1, seeds + 1) for method in SEARCHES]
    places = {(method, seed): out / f"{method}-seed{seed}" for method, seed in runs}

    def quantize(method: str, seed: int, place: Path) -> dict[str, Any]:
        weights, net, data = files
        search = ("--trials", trials, "--seed", seed, "--resume")
        return sqgen(
            *("quantize", weights, "--net", net, "--data", data, "--out", ".", *budget),
            *("--force", "--json", "--by", method),
            *(search if method in SEARCHES else ()),
            cwd=place,
        )

    tasks = [
        partial(kept, place, partial(quantize, method, seed), again=True)
        for (method, seed), place in places.items()
    ]
    run_all(tasks, jobs, lambda line: print(line, file=sys.stderr))
    return [_row(method, seed, place) for (method, seed), place in places.items()]


def _row(method: str, seed: int, place: Path) -> Row:
    result = read_result(place)
    found = result["agreements"]["quantized"]
    trials = read_journal(place / JOURNAL)[1] if method in SEARCHES else []
    minutes = sum(trial.seconds for trial in trials) / 60
    scores = found["top1"], found["divergence"], found["error"]
    return Row(method, seed, result["budgets"][0]["after"], *scores, minutes)


if __name__ == "__main__":
    sys.exit(main())
