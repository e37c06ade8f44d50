"""A training on several devices whose ranks a script kills, and which starts again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# A rank that kills itself, or stops, at its N-th mark of a phase, a moment later; once a file.
RANK = """
import os, signal, sys, threading
from pathlib import Path
from sqgen.engine.distributed import watch
kills, attempt, words = eval(sys.argv[1]), 1, sys.argv[2:]
rank = int(os.environ["RANK"])
while True:
    try:
        os.close(os.open(f"attempt-{rank}-{attempt}", os.O_CREAT | os.O_EXCL))
        break
    except FileExistsError:
        attempt += 1
counts = {}
def kill(number):
    os.kill(os.getpid(), number)
def mark(self, phase, iteration):
    counts[phase] = counts.get(phase, 0) + 1
    for at, who, where, turn, moment, number in kills:
        if (at, who, where, turn) == (attempt, rank, phase, counts[phase]):
            if moment:
                threading.Timer(moment, kill, [number]).start()
            else:
                kill(number)
    known(self, phase, iteration)
known, watch.Activity.mark = watch.Activity.mark, mark
watch.ACTIVITY.mark(watch.START, 0)
from sqgen.engine.command import main
main(words)
"""
LAUNCHER = """
import sys
from sqgen.engine.command import main
from sqgen.engine.distributed.job import Job
code, kills, words = sys.argv[1], sys.argv[2], Job.rank_words
def rank_words(job, snapshot):
    own = words(job, snapshot)
    return [sys.executable, "-c", code, kills, *own[own.index("sqgen.engine") + 1:]]
Job.rank_words = rank_words
main(sys.argv[3:])
"""


class Kill(NamedTuple):
    """A kill: in which attempt, of which rank, at which mark of a phase, and how long after it."""

    attempt: int
    rank: int
    phase: str
    turn: int = 1
    moment: float = 0.0
    number: int = 9


def start(
    folder: Path, kills: list[Kill], *arguments: str, **variables: str
) -> subprocess.Popen[str]:
    """Start a training in a folder that has `solver.prototxt`, in processes of its own.

    The keyword arguments are further variables of its environment.
    """
    for path in folder.glob("attempt-*"):
        path.unlink()
    plain = json.dumps([list(kill) for kill in kills])
    train = ["train", "--solver=solver.prototxt", *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, RANK, plain, *train],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )


def start_rank(
    folder: Path, kills: list[Kill], variables: dict[str, str], *arguments: str
) -> subprocess.Popen[str]:
    """Start one rank as another launcher does, by its variables."""
    plain = json.dumps([list(kill) for kill in kills])
    return subprocess.Popen(
        [sys.executable, "-c", RANK, plain, "train", "--solver=solver.prototxt", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )
