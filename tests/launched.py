"""A launcher of a training on several devices as a process of its own, with stand-ins for ranks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STAND_IN = Path(__file__).parent / "stand_in_rank.py"
PATIENCE = 60.0
# The launcher as a process of its own, whose ranks are stand-ins.
LAUNCHER = f"""
import sys
from sqgen.engine import command
from sqgen.engine.distributed.job import Job
words = Job.rank_words
Job.rank_words = lambda job, snapshot: [
    sys.executable, {str(STAND_IN)!r}, "script.json", *words(job, snapshot)[1:]
]
code = command.run(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(code)
"""
TRAIN = ["train", "--solver=solver.prototxt", "--workers=2"]
Steps = list[list[Any]]


class Launched:
    """A launcher with stand-ins for ranks, in a folder.

    Attributes:
        first: code that launchers run first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.first = folder, ""
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "solver.prototxt").write_text('net: "n" base_lr: 1 snapshot_prefix: "s"')

    def script(self, **steps: Steps) -> None:
        """Write the steps of `rank0`, `rank1` or of all `others`."""
        names = {"others": "all"}
        script = {names.get(k, k.removeprefix("rank")): v for k, v in steps.items()}
        (self.folder / "script.json").write_text(json.dumps({"all": [], **script}))

    def start(self, *arguments: str, **steps: Steps) -> subprocess.Popen[str]:
        """Start it with the steps of its ranks."""
        self.script(**steps)
        process = subprocess.Popen(
            [sys.executable, "-c", self.first + LAUNCHER, *TRAIN, *arguments],
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("SLURM")},
        )
        self.processes.append(process)
        return process

    def run(self, *arguments: str, **steps: Steps) -> tuple[int, list[str]]:
        """Run it to its end; return the exit code and the lines."""
        return self.finish(self.start(*arguments, **steps))

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, list[str]]:
        """Wait for its end; return the exit code and the lines."""
        log = process.communicate(timeout=PATIENCE)[1]
        return process.returncode, log.splitlines()

    def written(self, name: str) -> str:
        """The text of a file, once it is there."""
        end = time.monotonic() + PATIENCE
        path = self.folder / name
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < end, f"no {name}"
            time.sleep(0.01)
        return path.read_text()

    def attempt(self, rank: int, attempt: int = 1) -> dict[str, Any]:
        """What a rank was started with."""
        found: dict[str, Any] = json.loads(self.written(f"attempt-{rank}-{attempt}"))
        return found


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Launched]:
    made = Launched(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


def gone(pid: int) -> bool:
    """Whether a process ends before long."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def fatal(lines: list[str]) -> str:
    """The message of the only fatal line, which is the last."""
    found = [line for line in lines if re.match(r"(\[rank \d+\] )?F\d{4}", line)]
    assert len(found) == 1, lines
    assert lines[-1] == found[0]
    return found[0].partition("] ")[2]
