"""Time two workers of one core each against the same cores used otherwise.

SqueezeNet v1.0 at 227x227 learns from a raw LMDB: by two workers with a batch each; by two
independent trainings at the same time, which exchange nothing; and by one process with two threads
and both batches. They take turns, and each figure is the median, so that a slowdown of the machine
affects all.

    python benchmarks/distributed.py [--rounds 5]

needs `pip install 'sqgen[engine,bench]'`, and two cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from sqgen.benchmarks.engine import prepare, rate, seconds

BATCH, ITERATIONS = 16, 10
GOAL = 0.95
WORKERS, APART, ONE = "two workers", "two trainings", "one process, two threads"


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    runs = {WORKERS: two_workers, APART: two_trainings, ONE: one_process}
    found: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        write_solver(folder, "one", BATCH)
        write_solver(folder, "other", BATCH)
        write_solver(folder, "both", 2 * BATCH)
        for _ in range(rounds):
            for run, measure in runs.items():
                before = cpu_seconds()
                found[run].append(measure(folder))
                cpu[run].append(cpu_seconds() - before)
    for run, rates in found.items():
        images = 2 * BATCH * ITERATIONS
        each = 1000 * min(cpu[run]) / images
        print(f"{run:<25} {median(rates):6.1f} images/s, {each:6.1f} ms of CPU an image at least")
    for peer in (APART, ONE):
        ratios = [ours / theirs for ours, theirs in zip(found[WORKERS], found[peer], strict=True)]
        verdict = "met" if median(ratios) >= GOAL else "missed"
        shown = " ".join(f"{ratio:.3f}" for ratio in sorted(ratios))
        print(f"{WORKERS} / {peer}: {median(ratios):.3f} (goal {GOAL}: {verdict}; {shown})")


def cpu_seconds() -> float:
    """Return the CPU time of all processes that ended, with what loading PyTorch takes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_solver(folder: Path, name: str, batch: int) -> None:
    """Write a net and its solver that learn from batches of this size."""
    net = (folder / "net.prototxt").read_text()
    (folder / f"{name}-net.prototxt").write_text(
        net.replace("batch_size: 32", f"batch_size: {batch}", 1)
    )
    (folder / f"{name}.prototxt").write_text(
        f'net: "{name}-net.prototxt"\nbase_lr: 0.001\nlr_policy: "fixed"\nmomentum: 0.9\n'
        f"weight_decay: 0.0002\ndisplay: 1\nmax_iter: {ITERATIONS}\nsnapshot_after_train: false\n"
        f'snapshot_prefix: "{name}"\nrandom_seed: 1\n'
    )


def start(folder: Path, name: str, threads: int, **variables: str) -> subprocess.Popen[str]:
    """Start a training."""
    command = [sys.executable, "-m", "sqgen.engine", "train", f"--solver={name}.prototxt"]
    return subprocess.Popen(
        [*command, f"--threads={threads}"],
        cwd=folder,
        env={**os.environ, **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen[str], batch: int) -> float:
    """Return the images per second of all that write a log."""
    logs = [process.communicate()[1] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit("".join(logs)[-2000:])
    stamps = [seconds(log, r"Iteration \d+ \(")[1:] for log in logs]
    return sum(rate(times, batch) for times in stamps if times)


def two_workers(folder: Path) -> float:
    """Return images per second of two workers, by the log of the first."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOG_minloglevel": "0"}
    ranks = [
        start(folder, "one", 1, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in (0, 1)
    ]
    logs = [process.communicate()[1] for process in ranks]
    if any(process.returncode for process in ranks):
        sys.exit("".join(logs)[-2000:])
    return rate(seconds(logs[0], r"Iteration \d+ \(")[1:], 2 * BATCH)


def two_trainings(folder: Path) -> float:
    """Return images per second of two trainings together."""
    return finish(start(folder, "one", 1), start(folder, "other", 1), batch=BATCH)


def one_process(folder: Path) -> float:
    """Return images per second of one process with two threads."""
    return finish(start(folder, "both", 2), batch=2 * BATCH)


if __name__ == "__main__":
    main()
