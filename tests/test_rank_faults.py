"""Faults of real ranks: a restart ends in the bits of an undisturbed run; a signal stops all."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from . import small_training as small
from .fuzz.kills import NET, SOLVER
from .killed_ranks import Kill, start, start_rank
from .ranks import environment, free_port

pytestmark = pytest.mark.slow

PATIENCE = 120  # seconds
LAST = 12
FLAGS = ("--workers=2", "--threads=1")
FINAL = [f"s_iter_{LAST}.{ending}" for ending in ("caffemodel", "solverstate", "sqgenstate")]


def train(folder: Path, name: str, kills: list[Kill], *flags: str) -> tuple[Path, str]:
    """Train in a folder; return it and the log."""
    made = small.make_run(folder, name, NET, SOLVER.replace("max_iter: 40", f"max_iter: {LAST}"))
    with start(made, kills, *FLAGS, *flags) as process:
        log = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, log
    return made, log


def test_a_training_goes_on_in_the_same_bits(tmp_path: Path) -> None:
    small.write_data(tmp_path)
    whole, _ = train(tmp_path, "whole", [])
    kills = [Kill(1, 1, "exchange", 8), Kill(2, 0, "snapshot", 1)]
    killed, log = train(tmp_path, "killed", kills, "--max_restarts=2")
    assert "was killed by SIGKILL" in log
    assert "; restart 1 of 2 from s_iter_" in log
    assert "; restart 2 of 2 from s_iter_" in log
    for name in FINAL:
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name


def test_a_signal_to_one_rank_stops_all_with_one_snapshot(tmp_path: Path) -> None:
    small.write_data(tmp_path)
    made, log = train(tmp_path, "signal", [Kill(1, 1, "gradients", 5, 0, signal.SIGINT)])
    assert "Optimization stopped early." in log
    # A signal that comes after the gradients' start is seen an iteration later.
    assert sorted(path.name for path in made.glob("*.solverstate")) in [
        ["s_iter_3.solverstate", f"s_iter_{last}.solverstate"] for last in (5, 6)
    ]


def test_a_hang_is_found_under_another_launcher(tmp_path: Path) -> None:
    """Through torch's store; rank 0 names the rank that was stopped."""
    small.write_data(tmp_path)
    made = small.make_run(tmp_path, "hang", NET, SOLVER)
    port, kills = free_port(), [Kill(1, 1, "gradients", 5, 0, signal.SIGSTOP)]
    flags = ["--threads=1", "--stall_timeout=5"]
    ranks = [start_rank(made, kills, environment(n, 2, port), *flags) for n in range(2)]
    try:
        log = ranks[0].communicate(timeout=PATIENCE)[1]
        assert ranks[0].returncode == 6, log
        last = log.splitlines()[-3:]
        assert re.search(r"\] rank 0: exchange of iteration [45], \d+ s ago", last[0])
        assert re.search(r"\] rank 1: .*, \d+ s ago", last[1])  # it may be more than it said last
        assert re.search(r"^F.*\] rank 1 is silent for \d+ s, as one that was stopped", last[2])
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
