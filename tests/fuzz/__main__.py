"""Run commands on damaged inputs until the time is over; or kill trainings, and resume them.

Every input has a name, TARGET:NUMBER, from which it is made again: `make fuzz ARGS="--case
log:17"` runs that one alone, and says where its files lie. Findings are kept in build/fuzz/. The
exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import faulthandler
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

from .. import engine_server
from ..conftest import ROOT
from . import kills, rank_kills
from .run import Outcome, faults, keep, place, prepare, run
from .targets import Target, corpus, make_targets, write_files

KEPT = ROOT / "build" / "fuzz"
MAXIMUM_KEPT = 3  # inputs of one kind of finding
STOPPED = threading.Event()  # by a signal: print what is known


class Report:
    """Counts inputs and findings; threads share it."""

    def __init__(self) -> None:
        self.inputs: Counter[str] = Counter()
        self.codes: Counter[tuple[str, int | None]] = Counter()
        self.findings: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, name: str, number: int, outcome: Outcome, found: list[str], folder: Path) -> None:
        """Add an input and what is wrong with how its command ended."""
        with self._lock:
            self.inputs[name] += 1
            self.codes[name, outcome.code] += 1
            for fault in found:
                kind = f"{name}: {' '.join(outcome.command.split()[:2])}: {fault}"
                self.findings[kind] += 1
                if self.findings[kind] <= MAXIMUM_KEPT:
                    keep(name, number, folder, outcome, KEPT)
                if self.findings[kind] == 1:
                    self.first[kind] = f"{name}:{number}"
                    print(f"{name}:{number}  {outcome.command}\n    {fault}", flush=True)

    def print(self) -> None:
        """Print the table of inputs, and the findings by kind."""
        print(f"\n{'target':14}{'inputs':>8}  exit codes")
        for name, number in self.inputs.items():
            codes = sorted((str(c), n) for (target, c), n in self.codes.items() if target == name)
            print(f"{name:14}{number:>8}  {', '.join(f'{c}: {n}' for c, n in codes)}")
        print(f"{'all':14}{self.inputs.total():>8}")
        print(f"\n{self.findings.total()} findings of {len(self.findings)} kinds, in {KEPT}")
        for kind, number in self.findings.most_common():
            print(f"{number:>6}  {kind}  [{self.first[kind]}]")


def work(
    cases: Iterator[tuple[str, int]], targets: dict[str, Target], base: Path, report: Report
) -> None:
    """Run cases until there are no more."""
    for name, number in cases:
        folder = base.parent / f"{name}-{number}"
        command = prepare(targets[name], name, number, base, folder)
        outcome = run(command, folder)
        if not STOPPED.is_set():  # the signal ended the command too
            report.add(name, number, outcome, faults(outcome, targets[name].may_exhaust), folder)
        shutil.rmtree(folder, ignore_errors=True)


def cases_until(
    end: float, names: list[str], start: int, limit: int | None
) -> Iterator[tuple[str, int]]:
    """Yield the numbers from `start` on, for each target in turn."""
    for number in count(start):
        for name in names:
            if STOPPED.is_set():
                return
            if time.monotonic() > end or (limit is not None and number >= start + limit):
                return
            yield name, number


class Shared(Iterator[tuple[str, int]]):
    """An iterator that threads may share."""

    def __init__(self, items: Iterator[tuple[str, int]]) -> None:
        self._items, self._lock = items, threading.Lock()

    def __next__(self) -> tuple[str, int]:
        with self._lock:
            return next(self._items)


def run_corpus(targets: dict[str, Target], base: Path, report: Report) -> None:
    """Run all commands on the inputs that were misread once."""
    for index, (name, data) in enumerate(corpus()):
        target = targets[name]
        for number, command in enumerate(target.commands, 1000 * index):
            folder = base.parent / f"{name}-corpus-{number}"
            place(target, data, base, folder, Random(0))
            outcome = run(command, folder)
            report.add(name, number, outcome, faults(outcome, target.may_exhaust), folder)
            shutil.rmtree(folder, ignore_errors=True)


def replay(case: str, targets: dict[str, Target], base: Path) -> int:
    """Run one case, and print all of it."""
    name, _, number = case.rpartition(":")
    folder = base.parent / f"{name}-{number}"
    command = prepare(targets[name], name, int(number), base, folder)
    outcome = run(command, folder)
    found = faults(outcome, targets[name].may_exhaust)
    sys.stdout.buffer.write(outcome.stdout[:4000] + outcome.stderr[-8000:])
    print(f"\n{command}\nexit code {outcome.code}\n{', '.join(found) or 'nothing wrong'}")
    print(f"files: {keep(name, int(number), folder, outcome, KEPT)}")
    return int(bool(found))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time to run [60]")
    parser.add_argument("--inputs", type=int, metavar="N", help="at most N inputs of each target")
    parser.add_argument("--target", action="append", metavar="NAME", help="only this one")
    parser.add_argument("--start", type=int, metavar="N", help="first number [by the clock]")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="commands at a time [2]")
    parser.add_argument("--case", metavar="TARGET:NUMBER", help="run this one, and keep its files")
    parser.add_argument(
        "--kills", type=int, metavar="N", help="kill and resume N trainings instead"
    )
    parser.add_argument(
        "--rank-kills", type=int, metavar="N", help="kill ranks of N trainings instead"
    )
    return parser.parse_args()


def main() -> int:
    """Fuzz as the command line says."""
    options = parse_arguments()
    faulthandler.register(signal.SIGUSR1)
    start = int(time.time()) if options.start is None else options.start
    with tempfile.TemporaryDirectory(prefix="sqgen-fuzz-") as temporary:
        base = Path(temporary) / "files"
        base.mkdir()
        if options.kills:
            return kills.main(base, options.kills, start)
        if options.rank_kills:
            return rank_kills.main(base, options.rank_kills, start)
        engine_server.python()
        write_files(base)
        targets = make_targets(base)
        if options.case:
            return replay(options.case, targets, base)
        names = options.target or list(targets)
        if unknown := set(names) - set(targets):
            sys.exit(f"no target {', '.join(unknown)}; there: {', '.join(targets)}")
        print(f"targets {', '.join(names)}; numbers from {start} on", flush=True)
        report = Report()
        if not options.target:
            run_corpus(targets, base, report)
        cases = Shared(
            cases_until(time.monotonic() + options.seconds, names, start, options.inputs)
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: STOPPED.set())
        threads = [
            threading.Thread(target=work, args=(cases, targets, base, report))
            for _ in range(options.jobs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report.print()
    return int(bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
