"""Time searches for channels against forward passes of the unpruned net over the same images.

    python benchmarks/pruning.py WEIGHTS NET IMAGES_LMDB [--trials 20] [--macs 0.9]

A trial takes channels out, reconstructs the weights that are left, and runs the net on all images.
Half of the passes come before a method's trials and half after. The goal is 1.3 passes a trial.
Sums of what layers read are collected before, once for all searches. Needs `sqgen[engine]`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqgen.engine.agreement import DIVERGENCE
from sqgen.engine.input_images import InputImages
from sqgen.nets.definition import read_net
from sqgen.progress import no_bar
from sqgen.pruning.budgets import Budget
from sqgen.pruning.costs import NetCosts
from sqgen.pruning.decisions import RatioRules
from sqgen.pruning.problem import PruningProblem
from sqgen.pruning.prune import Pruner
from sqgen.search.journal import Journal
from sqgen.search.methods import METHODS
from sqgen.search.run import Search
from sqgen.tools.image_options import PreprocessingOptions
from sqgen.tools.search_inputs import read_images, read_net_weights

GOAL = 1.3


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def search(by: str, trials: int, problem: PruningProblem) -> None:
    with tempfile.TemporaryDirectory() as folder, no_bar(trials) as bar:
        Search(by, trials, 1).run(problem, Journal(Path(folder) / "trials.jsonl", {}, False), bar)


def ratio(by: str, trials: int, problem: PruningProblem, forward: Callable[[], object]) -> float:
    """Return how many forward passes a trial takes."""
    passes = sum(seconds(forward) for _ in range(trials // 2))
    searched = seconds(lambda: search(by, trials, problem))
    passes += sum(seconds(forward) for _ in range(trials - trials // 2))
    print(f"{by}: {searched / trials:.3f} s a trial, {passes / trials:.3f} s a pass", flush=True)
    return searched / passes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("net")
    parser.add_argument("images")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--macs", type=float, default=0.9)
    options = parser.parse_args()
    net = read_net(options.net)
    pruner = Pruner(net, [(options.weights, read_net_weights(options.weights, net, None))])
    plain = PreprocessingOptions(None, None, None, None)
    images: InputImages = read_images(options.images, options.net, net, None, plain)
    budget = Budget(NetCosts(pruner.groups).macs, options.macs)
    problem = pruner.problem([budget], RatioRules(), "l1-inputs")
    sums = pruner.collect_sums(images)
    problem.score_removed = pruner.scorer(images, sums, DIVERGENCE)

    def forward() -> object:
        return pruner.probabilities(net, pruner.arrays, images)

    forward()
    methods = [by for by in METHODS if by != "uniform"]
    ratios = {by: ratio(by, options.trials, problem, forward) for by in methods}
    for by, value in ratios.items():
        print(f"{by}: {value:.2f} passes a trial (goal {GOAL})")
    return int(max(ratios.values()) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
