"""Kill or stop ranks of trainings on several devices: they must go on, and end in the same bits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

from .. import small_training as small
from ..killed_ranks import Kill, start
from .kills import FINAL, NET, SOLVER

WORKERS = 2
PHASES = {  # -> how many times a rank is there, at least
    "start-up": 1,
    "meeting": 1,
    "comparison": 1,
    "gradients": 40,
    "exchange": 40,
    "snapshot": 14,
    "test": 10,
}
STALL = 15  # seconds until a stopped rank is noticed
OF_RANK_0 = ("snapshot", "test")
PATIENCE = 300.0  # seconds


def _train(folder: Path, kills: list[Kill], moment: float | None = None) -> tuple[int, str]:
    """Train to the end; kill a rank at these marks, and one after a moment. Return code and log."""
    arguments = [f"--workers={WORKERS}", "--max_restarts=9", "--threads=1"]
    arguments += [f"--stall_timeout={STALL}"]
    with start(folder, kills, *arguments) as process:
        if moment is not None:
            time.sleep(moment)
            _kill_child(process.pid, Random(moment))
        log = process.communicate(timeout=PATIENCE)[1]
    return process.returncode, log


def _kill_child(parent: int, random: Random) -> None:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    if children:
        os.kill(int(random.choice(children)), signal.SIGKILL)


def _plan(random: Random, turn: int) -> tuple[list[Kill], float | None]:
    """Return the kills of a training: each phase in turn, and moments at random in between."""
    names = [*PHASES, ""]
    phase = names[turn % len(names)]
    if not phase:
        return [], random.uniform(0.1, 6)
    kills = []
    for attempt in range(1, random.randrange(2, 4)):
        rank = 0 if phase in OF_RANK_0 else random.randrange(WORKERS)
        count = random.randrange(PHASES[phase]) + 1 if attempt == 1 else 1
        moment = random.choice([0, random.uniform(0, 0.02)])
        number = signal.SIGSTOP if random.randrange(6) == 0 else signal.SIGKILL
        kills.append(Kill(attempt, rank, phase, count, moment, number))
        phase = random.choice(list(PHASES))
    return kills, None


def main(base: Path, number: int, first: int) -> int:
    """Kill ranks of `number` trainings; return 1 if one ends otherwise than undisturbed."""
    small.write_data(base)
    reference = small.make_run(base, "reference", NET, SOLVER)
    code, log = _train(reference, [])
    assert code == 0, log
    wanted = {name: (reference / name).read_bytes() for name in FINAL}
    faults = restarts = 0
    for done in range(number):
        kills, moment = _plan(Random(f"rank:{first + done}"), done)
        folder = small.make_run(base, f"run{done}", NET, SOLVER)
        code, log = _train(folder, kills, moment)
        restarts += log.count("; restart ")
        told = f"rank:{first + done} ({kills or f'after {moment:.2f} s'})"
        if code:
            print(f"{told}: exit code {code}: {log[-2000:]}", flush=True)
        elif different := [name for name in FINAL if (folder / name).read_bytes() != wanted[name]]:
            print(f"{told}: other bits in {', '.join(different)}: {log[-2000:]}", flush=True)
        elif left := [path.name for path in folder.glob(".*.tmp")]:
            print(f"{told}: left {', '.join(left)}", flush=True)
        else:
            continue
        faults += 1
    print(f"{restarts} restarts of {number} trainings: {faults} ended otherwise than undisturbed")
    return int(bool(faults))
