"""Time building and verifying 1,000 designs on one core, against a matrix product.

The goal is under 20 seconds. The ratio to a matrix product (256 x 256 float32, one thread) makes
figures of different machines comparable.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import time
from collections.abc import Callable

import numpy as np

from sqgen import Design, build

DESIGNS = 1000
GOAL = 20.0


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of `work`."""
    start = time.process_time()
    work()
    return time.process_time() - start


def designs() -> list[Design]:
    """Return random designs, half of them with complex bypass."""
    return [
        Design(
            bypass=("none", "simple", "complex", "complex")[i % 4],
            version=("1.0", "1.1")[i % 2],
            squeeze_ratio=0.125 * (1 + i % 8),
            classes=10 + i,
        )
        for i in range(DESIGNS)
    ]


def main() -> int:
    """Measure and print; return exit code 1 if the goal is missed."""
    build(Design())  # imports and templates, once
    matrix = np.ones((256, 256), np.float32)
    spent = cpu_seconds(lambda: [build(design) for design in designs()])
    product = cpu_seconds(lambda: [matrix @ matrix for _ in range(1000)]) / 1000
    each = spent / DESIGNS
    print(f"{DESIGNS} designs in {spent:.1f} s, {1000 * each:.1f} ms each")
    print(f"one design costs as much as {each / product:.0f} products of 256 x 256")
    print(f"goal: under {GOAL:.0f} s: {'met' if spent < GOAL else 'MISSED'}")
    return int(spent >= GOAL)


if __name__ == "__main__":
    raise SystemExit(main())
