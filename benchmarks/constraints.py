"""Time a training step of SqueezeNet v1.0 at batch 32 with masks and with shared values.

Three solvers take turns in one process, without data: free, half of each layer's weights masked,
and 32 values a layer. Each figure is the median of the steps; the goal is 3% over the free one.

    python benchmarks/constraints.py [--steps 10]

needs `pip install 'sqgen[engine]'`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

from sqgen import build, preset
from sqgen.engine import memory
from sqgen.engine.constraints import TrainingConstraints
from sqgen.engine.open_net import EngineOptions
from sqgen.engine.signals import NONE
from sqgen.engine.solver import Solver
from sqgen.engine.workers import Workers
from sqgen.formats.constraints import FREE, ZERO, BlobName, Constraint
from sqgen.formats.schema import SolverParameter
from sqgen.nets.definition import parse_net
from sqgen.nets.shapes import require_shapes

BATCH, VALUES, GOAL = 32, 32, 1.03
DATA = f"""
layer {{
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {{
    shape {{ dim: {BATCH} dim: 3 dim: 227 dim: 227 }} shape {{ dim: {BATCH} }}
    data_filler {{ type: "constant" value: 50 }} data_filler {{ type: "constant" value: 7 }}
  }}
}}
"""


def make_solver(
    codes_of: Callable[[tuple[int, ...]], np.ndarray] | None, workers: Workers
) -> Solver:
    """Return a solver of the net; `codes_of` gives the codes of a blob of weights."""
    published = parse_net(build(preset("v1.0"), "trainval"))
    net = parse_net(DATA)
    net.param.layer.extend(layer for layer in published.layers("TRAIN") if layer.type != "Data")
    param = SolverParameter(type="SGD", base_lr=1e-5, lr_policy="fixed", momentum=0.9)
    param.weight_decay, param.max_iter = 2e-4, 1
    param.net_param.CopyFrom(net.param)
    constraints = TrainingConstraints()
    if codes_of is not None:
        shapes = {x.layer.name: x.blobs for x in require_shapes(net, "TRAIN").layers if x.blobs}
        made = {BlobName(name, 0): codes_of(blobs[0].shape) for name, blobs in shapes.items()}
        found = {n: Constraint(c, np.full(max(0, int(c.max())), np.nan)) for n, c in made.items()}
        constraints = TrainingConstraints(found, "benchmark", "benchmark")
    options = EngineOptions("fp32", "cpu", workers, 1, False)
    return Solver(param, "benchmark", options, lambda: NONE, constraints)


def step_seconds(solver: Solver) -> float:
    """Time one iteration: gradients, and the update."""
    start = perf_counter()
    solver.gradients()
    solver.step(display=False)
    return perf_counter() - start


def main() -> int:
    """Run all, and print a table; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    steps = parser.parse_args().steps
    memory.keep_freed_memory()
    random, workers = np.random.default_rng(1), Workers(None, 0.0)
    solvers = {
        "free": make_solver(None, workers),
        "masks": make_solver(
            lambda shape: np.where(random.random(shape) < 0.5, ZERO, FREE).astype(np.int32), workers
        ),
        "values": make_solver(
            lambda shape: random.integers(1, VALUES + 1, shape).astype(np.int32), workers
        ),
    }
    for solver in solvers.values():
        step_seconds(solver)
    times: dict[str, list[float]] = {name: [] for name in solvers}
    for _ in range(steps):
        for name, solver in solvers.items():
            times[name].append(step_seconds(solver))
    free = median(times["free"])
    missed = False
    for name, found in times.items():
        ratio = median(np.array(found) / np.array(times["free"]))
        missed = missed or ratio > GOAL
        print(f"{name:8} {median(found) * 1000:7.1f} ms a step  {ratio:.3f} of free (goal {GOAL})")
    print(f"{BATCH / free:.1f} images/s free, {steps} steps each")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
