"""Time writing a long training log as CSV, against a plain line-by-line parser.

The log is the header of a recorded one, followed by 100 MB of similar displays and tests. The plain
parser works like Caffe's own script: regular expressions and a parsed date per line. Both run on
one core, in processes of their own. The goals are 3 times its speed, and memory that does not grow
with the log.
"""

from __future__ import annotations

import csv
import gzip
import re
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

GOAL = 3.0
MEGABYTES = 100
RECORDED = Path(__file__).parent.parent / "tests" / "data" / "logs" / "train_batchnorm.log.gz"


def write_log(path: Path, megabytes: int) -> int:
    """Write a log of that size; return its lines."""
    text = gzip.decompress(RECORDED.read_bytes()).decode()
    head = text[: text.index("Iteration 0 (")].rpartition("\n")[0] + "\n"
    start, lines = datetime(2026, 11, 23, 2, 32, 17), head.count("\n")
    with open(path, "w") as file:
        size, iteration = file.write(head), 0
        while size < megabytes * 1_000_000:
            stamp = start + timedelta(seconds=iteration * 0.0371)
            p = f"I{stamp:%Y%m%d %H:%M:%S.%f} 11158"
            loss = 6.9 / (1 + iteration / 50_000)
            block = (
                f"{p} solver.cpp:239] Iteration {iteration} (26.9 iter/s, 0.743s/20 iters), "
                f"loss = {loss:.6g}\n"
                f"{p} solver.cpp:258]     Train net output #0: accuracy_top1 = {1 / loss:.6g}\n"
                f"{p} solver.cpp:258]     Train net output #1: accuracy_top5 = {2 / loss:.6g}\n"
                f"{p} solver.cpp:258]     Train net output #2: loss = {loss:.6g}"
                f" (* 1 = {loss:.6g} loss)\n"
                f"{p} sgd_solver.cpp:112] Iteration {iteration}, lr = {0.04:.6g}\n"
            )
            if iteration % 2000 == 0:
                block += (
                    f"{p} solver.cpp:347] Iteration {iteration}, Testing net (#0)\n"
                    f"{p} solver.cpp:414]     Test net output #0: accuracy_top1 = 0.5\n"
                    f"{p} solver.cpp:414]     Test net output #1: accuracy_top5 = 0.8\n"
                    f"{p} solver.cpp:414]     Test net output #2: loss = 2 (* 1 = 2 loss)\n"
                )
            size += file.write(block)
            lines += block.count("\n")
            iteration += 20
    return lines


def plain_parser(path: Path, folder: Path) -> None:
    """Every line against every expression, its date parsed, rows kept and written at the end."""
    iteration_re = re.compile(r"Iteration (\d+)")
    train_re = re.compile(r"Train net output #(\d+): (\S+) = ([.\deE+-]+)")
    test_re = re.compile(r"Test net output #(\d+): (\S+) = ([.\deE+-]+)")
    rate_re = re.compile(r"lr = ([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)")
    rows: dict[str, list[dict[str, float]]] = {"train": [], "test": []}
    row: dict[str, dict[str, float]] = {"train": {}, "test": {}}
    iteration, rate, start = -1.0, float("nan"), None
    with open(path) as file:
        for line in file:
            found = iteration_re.search(line)
            if found:
                iteration = float(found[1])
            if iteration < 0:
                continue
            try:
                now = datetime.strptime(line[1:24], "%Y%m%d %H:%M:%S.%f")
            except ValueError:
                continue
            start = start or now
            found = rate_re.search(line)
            if found:
                rate = float(found[1])
            for kind, expression in (("train", train_re), ("test", test_re)):
                found = expression.search(line)
                if found and row[kind] and row[kind]["iteration"] != iteration:
                    rows[kind].append(row[kind])
                    row[kind] = {}
                if found:
                    if not row[kind]:
                        seconds = (now - start).total_seconds()
                        row[kind] = {"iteration": iteration, "seconds": seconds, "lr": rate}
                    row[kind][found[2]] = float(found[3])
    for kind, kept in rows.items():
        with open(folder / f"{kind}.csv", "w", newline="") as out:
            writer = csv.DictWriter(out, list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)


def ours(path: Path, folder: Path) -> None:
    """`sqgen log parse --csv`."""
    from sqgen.formats.files import NewFiles
    from sqgen.logs.csv_rows import CsvRows
    from sqgen.logs.read_log import read_log

    with NewFiles() as files:
        rows = CsvRows(folder, files)
        read_log(path, rows, keep_rows=False)
        rows.finish()


def measured(parser: str, path: Path) -> tuple[float, float]:
    """Return seconds and peak MB of a parser in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, parser, str(path), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def main() -> int:
    """Measure and print; return exit code 1 if the goal is missed."""
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / "small.log", Path(folder) / "large.log"]
        write_log(logs[0], MEGABYTES // 10)
        lines = write_log(logs[1], MEGABYTES)
        runs = [(measured("ours", logs[1]), measured("plain", logs[1])) for _ in range(3)]
        small = measured("ours", logs[0])[1]
    (mine, peak), (plain, plain_peak) = min(runs)
    ratio = plain / mine
    print(f"ours:  {lines / mine:,.0f} lines/s, {peak:.0f} MB")
    print(f"plain: {lines / plain:,.0f} lines/s, {plain_peak:.0f} MB")
    print(f"{ratio:.1f} times as fast; a tenth of the log takes {small:.0f} MB")
    met = ratio >= GOAL and peak < 1.2 * small
    print(f"goal: {GOAL:g} times, memory that does not grow: {'met' if met else 'MISSED'}")
    return int(not met)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        raise SystemExit(main())
    start = time.process_time()
    {"ours": ours, "plain": plain_parser}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    spent = time.process_time() - start
    print(spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
