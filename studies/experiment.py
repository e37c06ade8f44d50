"""What experiments share: commands of sqgen, results that are kept, and paired differences."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DesignError, RunError, SqgenError
from ..formats.files import write_files
from ..host import available_cores
from ..text import printable

DIGITS = Path(__file__).resolve().parent.parent / "models" / "digits"
RESULT, SETTINGS = "result.json", "settings.json"


def sqgen(*arguments: object, cwd: Path) -> dict[str, Any]:
    """Run a command of sqgen in a folder; return what its `--json` prints.

    Raises:
        RunError: it failed; the message ends with its last line.
    """
    words = [str(argument) for argument in arguments]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "sqgen", *words],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RunError(f"{cwd}: sqgen {' '.join(words)}: {last}")
    return json.loads(done.stdout) if "--json" in words else {}


def make_digits(folder: Path, *options: object) -> dict[str, Any]:
    """Write LMDBs of digits into a folder; return the options of `sqgen data digits`."""
    sqgen("data", "digits", "-o", ".", *options, cwd=folder)
    return {"options": [str(option) for option in options]}


@dataclass(frozen=True)
class DigitsNet:
    """The digits net in a folder, to be trained there with one thread.

    Attributes:
        folder: exists.
        digits: folder of its LMDBs.
        test: (batches of a test, images of each).
        interval: iterations between tests.
        seed: of the initial weights and the dropout.
    """

    folder: Path
    digits: Path
    test: tuple[int, int]
    interval: int
    seed: int

    def build(self) -> DigitsNet:
        """Write net and solver."""
        batches, images = self.test
        sqgen(
            *("build", "--design", DIGITS / "design.toml", "--out", "."),
            *("--val-images", batches * images, "--val-batch-size", images),
            *("--test-interval", self.interval, "--random-seed", self.seed),
            *("--snapshot-prefix", "digits"),
            cwd=self.folder,
        )
        return self

    @property
    def path(self) -> Path:
        """The net's prototxt."""
        return self.folder / "train_val.prototxt"

    @property
    def deploy(self) -> Path:
        """The prototxt of its deploy net."""
        return self.folder / "deploy.prototxt"

    def training(self, iterations: int, rate: float) -> tuple[object, ...]:
        """Return options of a command that trains the net."""
        return (
            *("--solver", self.folder / "solver.prototxt", "--engine", "torch", "--json"),
            *("--data", self.digits / "train_lmdb", "--val-data", self.digits / "test_lmdb"),
            *("--base-lr", f"{rate:g}", "--max-iter", iterations, "--", "--threads", 1),
        )

    def train(self, iterations: int, rate: float, *options: object) -> dict[str, Any]:
        """Train; return top1, loss and the path of the snapshot in the end."""
        result = sqgen("train", *options, *self.training(iterations, rate), cwd=self.folder)
        scores = scores_of(result)
        return {
            "top1": scores["accuracy_top1"],
            "loss": scores["loss"],
            "snapshot": str(self.folder / result["snapshots"][-1]),
        }


def scores_of(result: dict[str, Any]) -> dict[str, float]:
    """Return name -> value of the scores that `sqgen train` or `test` prints as JSON."""
    return {score["name"]: float(score["value"]) for score in result["scores"]}


def kept(
    folder: Path, measure: Callable[[Path], dict[str, Any]], *, again: bool = False
) -> dict[str, Any]:
    """Return the result that a folder keeps; measure it if there is none.

    Args:
        folder: of the result.
        measure: makes it there.
        again: whether it goes on with what a run left that was stopped; else the folder is new.
    """
    path = folder / RESULT
    if not path.exists():
        if not again:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_files({path: json.dumps(measure(folder), indent=1).encode()})
    return read_result(folder)


def read_result(folder: Path) -> dict[str, Any]:
    """Return the result that a folder keeps."""
    found: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return found


def experiment_parser(name: str, description: str, seeds: int) -> argparse.ArgumentParser:
    """Return a parser of the options that all experiments have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m sqgen.studies.{name}", description=description
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of results")
    parser.add_argument(
        "--seeds", type=_at_least(2), default=seeds, metavar="N", help=f"how many [{seeds}]"
    )
    cores = available_cores()
    parser.add_argument(
        "--jobs", type=_at_least(1), default=cores, metavar="N", help="at a time [one a core]"
    )
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"give {least} or more")
        return int(text)

    return number


def check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Record what all results of a folder have in common.

    Raises:
        DesignError: the folder has results of other settings.
    """
    path, text = out / SETTINGS, json.dumps(settings, indent=1)
    if path.exists() and path.read_text() != text:
        raise DesignError(f"{printable(str(out))}: has results of other settings; give -o another")
    out.mkdir(parents=True, exist_ok=True)
    write_files({path: text.encode()}, force=True)


def run_all(tasks: Sequence[Callable[[], Any]], jobs: int, report: Callable[[str], None]) -> None:
    """Run tasks, `jobs` at a time, and say after each how many are done."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for number, _ in enumerate(pool.map(lambda task: task(), tasks), 1):
                report(f"{number} of {len(tasks)} done")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


class Findings(NamedTuple):
    """What an experiment found.

    Attributes:
        columns: names, of `results.csv`.
        rows: as many values each.
        lines: of `table.txt`, which is printed, too.
        pictures: name of a file -> its contents.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    lines: Sequence[str]
    pictures: Mapping[str, bytes] = {}


def report_findings(name: str, out: Path, find: Callable[[], Findings]) -> int:
    """Run an experiment, write and print what it found; return the exit code.

    Args:
        name: of the program, for an error.
        out: folder of results.
        find: runs what is not done yet.
    """
    try:
        found = find()
    except SqgenError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    text = "\n".join(found.lines) + "\n"
    made = {"results.csv": csv_bytes(found.columns, found.rows), "table.txt": text.encode()}
    out.mkdir(parents=True, exist_ok=True)
    files = {**made, **found.pictures}
    write_files({out / name: data for name, data in files.items()}, force=True)
    print(text, end="")
    return 0


class Mean(NamedTuple):
    """A mean over seeds, and its standard error."""

    value: float
    error: float
    seeds: int


def mean(values: Sequence[float]) -> Mean:
    """Average over two seeds or more."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return Mean(statistics.fmean(values), error, len(values))


def one_sided_p(differences: Sequence[float]) -> float:
    """Return the p of Student's paired t-test that their mean is not above 0."""
    from scipy import stats

    if len(set(differences)) == 1:  # no variance to test against
        return 0.0 if differences[0] > 0 else 1.0
    return float(stats.ttest_1samp(differences, 0, alternative="greater").pvalue)
