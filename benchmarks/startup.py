"""Time `sqgen build --bypass simple` against importing its dependencies.

Runs alternate in pairs of processes, so that load on the machine affects both; the figure is the
median of the pairs' ratios. The goal is at most 1.5.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

GOAL = 1.5
PAIRS = 40
BUILD = [str(Path(sysconfig.get_path("scripts")) / "sqgen"), "build", "--bypass", "simple"]
# Installed packages come compiled; a checkout is compiled by its first run, if that may be.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
IMPORTS = [sys.executable, "-c", "import click, jinja2, google.protobuf.text_format"]


def seconds(command: list[str]) -> float:
    """Return the wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT, check=True)
    return time.perf_counter() - start


def main() -> int:
    """Measure and print; return exit code 1 if the goal is missed."""
    for command in (BUILD, IMPORTS) * 2:
        seconds(command)
    pairs = [(seconds(BUILD), seconds(IMPORTS)) for _ in range(PAIRS)]
    ratio = statistics.median(build / imports for build, imports in pairs)
    times = [1000 * statistics.median(column) for column in zip(*pairs, strict=True)]
    print(f"sqgen build {times[0]:.0f} ms, its imports {times[1]:.0f} ms: {ratio:.2f} times")
    print(f"goal: at most {GOAL}: {'met' if ratio <= GOAL else 'MISSED'}")
    return int(ratio > GOAL)


if __name__ == "__main__":
    raise SystemExit(main())
