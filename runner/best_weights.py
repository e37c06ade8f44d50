"""The weights of a training's best test, kept as `PREFIX_best.caffemodel`.

Caffe scores the weights of iteration N right after it has written their snapshot, so sqgen copies
the snapshot of the best test; of iteration 0, the weights that the training starts from.
`PREFIX_best.json` says which test it was, for a training that resumes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import DesignError, FormatError, NetError, OutputError
from ..formats.caffemodel import read_solver_state
from ..formats.files import BINARY_LIMIT, read_bytes, write_files
from ..formats.schema import SolverParameter
from ..formats.snapshot_files import BITS, find_weights
from ..json_form import from_json, loads, to_json
from ..logs.collector import Collector
from ..logs.logged_net import expected_scores
from ..logs.scores import LOSS, OTHER, Score, require_score, score_names, value_in_test
from ..nets.definition import NetDefinition
from ..text import number_text, printable, shell_join
from .bits_options import BitsOptions
from .options import RunOptions
from .solver_preflight import ParsedSolver
from .training_start import Start

RECORD_LIMIT = 1 << 16  # bytes


@dataclass(frozen=True)
class BestTest:
    """The best test so far; the content of `PREFIX_best.json`.

    Attributes:
        score: the name of the score, such as `top1`.
        value: its value.
        iteration: of the test, and so of the weights.
        weights: the file of the weights.
        digest: SHA-256 of that file.
        bits: the file of bits that they are tested with, if the training quantizes; else empty.
    """

    score: str
    value: float
    iteration: int
    weights: str
    digest: str
    bits: str = ""


def find_best_score(
    name: str, solver: ParsedSolver, tested: Sequence[NetDefinition], iteration: int = 0
) -> tuple[list[Score], Score]:
    """Return the scores of a training's test nets, and which of them tells the best weights.

    Args:
        name: of that score, as `--keep-best` gives it.
        solver: the solver.
        tested: its test nets.
        iteration: that the training starts from.

    Raises:
        DesignError: the nets have no such accuracy or loss.
        NetError: the training tests nothing.
    """
    _check_tests(solver, tested, iteration)
    scores = [
        replace(score, net=number)
        for number, net in enumerate(tested)
        for score in expected_scores(net)
    ]
    found = require_score(scores, name, printable(tested[0].source))
    if found.role == OTHER:
        raise DesignError(f"--keep-best {printable(name)}: give an accuracy or a loss")
    return scores, found


def _check_tests(solver: ParsedSolver, tested: Sequence[NetDefinition], iteration: int) -> None:
    every, last = solver.param.test_interval, solver.param.max_iter
    if not tested:
        raise NetError(
            f"--keep-best: {printable(solver.path)} tests nothing; give it test_iter and"
            " test_interval"
        )
    following = every * max(1, math.ceil(iteration / every))
    if following > last:
        raise NetError(
            f"--keep-best: {printable(solver.path)}: max_iter {last} comes before the next"
            f" test, with test_interval {every}; test more often"
        )


class BestWeights:
    """Keeps the weights of the test with the best score.

    Args:
        options: log what it keeps.
        name: of the score, as `--keep-best` gives it.
        solver: the solver.
        tested: its test nets.
        start: where the training starts.
        patience: tests in a row without a better score that end the training; None for none.
        bits: of a training that quantizes, its options; else None.

    Attributes:
        name: of the score, as results name it.
        number: of the test net.
        best: the best test so far, or None.
        net: the net to test the weights in, for the command that does.

    Raises:
        DesignError: the nets have no such accuracy or loss.
        NetError: the training tests nothing.
    """

    def __init__(
        self,
        options: RunOptions,
        name: str,
        solver: ParsedSolver,
        tested: Sequence[NetDefinition],
        start: Start,
        patience: int | None = None,
        bits: BitsOptions | None = None,
    ) -> None:
        self._options, self._start, self._patience = options, start, patience
        self._bits = bits
        self._prefix: str = solver.param.snapshot_prefix
        self._scores, self._score = find_best_score(name, solver, tested, start.iteration)
        self.name = score_names(self._scores)[self._scores.index(self._score)]
        self.number, self.net = self._score.net, tested[self._score.net].source
        self._run_seen = self._tests_seen = self._tests_without_better = 0
        self._last_tested = -1
        self.best = self._earlier_best() if start.iteration else None

    def _earlier_best(self) -> BestTest | None:
        """Read the best test of the training that goes on, if its record fits its weights."""
        try:
            record = self._prefix + "_best.json"
            best = from_json(BestTest, loads(read_bytes(record, RECORD_LIMIT, "a record")))
            digest = sha256(read_bytes(best.weights, BINARY_LIMIT)).hexdigest()
        except (FormatError, ValueError):
            return None
        if digest != best.digest:
            return None
        if best.score != self.name or best.iteration > self._start.iteration:
            self._options.warn(
                f"{printable(best.weights)}: best {printable(best.score)} at iteration"
                f" {best.iteration}, which is no test before this start: the next one replaces it"
            )
            return None
        return best

    def fit_snapshots(self, solver: ParsedSolver) -> ParsedSolver:
        """Return the solver with a snapshot at each test."""
        every, tests = solver.param.snapshot, solver.param.test_interval
        if every and tests % every == 0:
            return solver
        param = SolverParameter()
        param.CopyFrom(solver.param)
        param.snapshot = tests
        return solver._replace(param=param)

    def watch(self, collector: Collector) -> bool:
        """Keep the weights of tests that are new since the last call, if they are better.

        Returns:
            Whether the patience is at its end.
        """
        if collector.run_number != self._run_seen:
            self._run_seen, self._tests_seen = collector.run_number, 0
        for row in collector.new_tests(self._tests_seen):
            self._tests_seen += 1
            if row.net != self.number or row.iteration <= self._last_tested:
                continue  # a training that lost a process repeats tests
            self._last_tested = row.iteration
            value = value_in_test(row.outputs, self._score, self._scores)
            if self._is_better(value):
                self._keep(row.iteration, value)
                self._tests_without_better = 0
            else:
                self._tests_without_better += 1
        return self.is_impatient

    @property
    def is_impatient(self) -> bool:
        """Whether as many tests in a row as `patience` had no better score."""
        return self._patience is not None and self._tests_without_better >= self._patience

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value) or self.best is None:
            return math.isfinite(value)
        return value < self.best.value if self._score.role == LOSS else value > self.best.value

    def _keep(self, iteration: int, value: float) -> None:
        """Copy the weights of an iteration; there is no file of what fillers made."""
        try:
            snapshot = self._find_snapshot(iteration)
            if snapshot is None:
                return
            data = read_bytes(snapshot, BINARY_LIMIT, "a snapshot")
            target = f"{self._prefix}_best.caffemodel{'.h5' * (snapshot.suffix == '.h5')}"
            digest = sha256(data).hexdigest()
            bits = self._bits_beside(snapshot)
            best = BestTest(self.name, value, iteration, target, digest, "".join(map(str, bits)))
            record = json.dumps(to_json(best)).encode() + b"\n"
            files = {Path(target): data, Path(f"{self._prefix}_best.json"): record, **bits}
            write_files(files, force=True)
        except (FormatError, OutputError) as error:
            self._options.warn(f"the best weights are not kept: {error}")
            return
        self.best = best
        self._options.log_line(
            f"best {self.name} {number_text(value)} at iteration {iteration}, kept in"
            f" {printable(target)}"
        )

    def _bits_beside(self, snapshot: Path) -> dict[Path, bytes]:
        """Return where the file of bits goes that belongs to a snapshot, and its content."""
        beside = Path(str(snapshot).removesuffix(".h5")).with_suffix(f".{BITS}")
        if self._bits is None or not beside.is_file():
            return {}
        return {Path(f"{self._prefix}_best.{BITS}"): read_bytes(beside, BINARY_LIMIT)}

    def standing(self) -> str:
        """Return the best score so far, such as `best top1 0.83`; empty before the first test."""
        return f"best {self.name} {number_text(self.best.value)}" if self.best is not None else ""

    def _find_snapshot(self, iteration: int) -> Path | None:
        """Return the weights of an iteration, written by this training or those it starts from."""
        start = self._start
        if iteration == start.iteration:
            if start.path is None or start.fresh or not Path(start.path).is_file():
                return None  # fillers are in no file, and several files are not one
            if iteration:
                return find_weights(read_solver_state(start.path), start.path)
            return Path(start.path)
        base = f"{self._prefix}_iter_{iteration}.caffemodel"
        return next((path for path in (Path(base), Path(f"{base}.h5")) if path.exists()), None)

    def as_dict(self) -> dict[str, Any] | None:
        """Return plain data for JSON; None where nothing is kept."""
        if self.best is None:
            return None
        ended = {"patience": self._patience, "stopped_early": self.is_impatient}
        return {**to_json(self.best), **ended, "test": self.test_command}

    @property
    def test_command(self) -> str:
        """The command that tests the best weights; empty where nothing is kept."""
        if self.best is None:
            return ""
        words = ["sqgen", "test", "--model", self.net, "--weights", self.best.weights]
        if self.best.bits:
            return shell_join([*words, "--quantize", self.best.bits])
        return shell_join([*words, *(self._bits.flags if self._bits is not None else ())])
