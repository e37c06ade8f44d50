"""Kill trainings at random moments and resume them: they must end in the bits of one unkilled."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random

from sqgen.formats.snapshot_files import newest_snapshot

from .. import engine_server
from .. import small_training as small

ITERATIONS = 40
SOLVER = (
    'net: "net.prototxt" snapshot_prefix: "s" solver_mode: CPU base_lr: 0.02 lr_policy: "poly"'
    f" power: 1 momentum: 0.9 weight_decay: 0.001 random_seed: 7 max_iter: {ITERATIONS} display: 1"
    " snapshot: 3 test_iter: 2 test_interval: 10 average_loss: 5\n"
)
NET = small.net(
    inputs=small.data("TRAIN", 8, small.RANDOM)
    + small.data("TEST", 16, small.TRANSFORM + " crop_size: 9"),
    middle=small.batch_norm("conv1") + small.RELU1 + small.POOL1 + small.dropout("pool1"),
)
FINAL = ("s_iter_40.caffemodel", "s_iter_40.solverstate", "s_iter_40.sqgenstate")


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the training, from the newest snapshot if there is one."""
    command = ["train", "--solver=solver.prototxt", "--threads=1"]
    if (snapshot := newest_snapshot(str(folder / "s"))) is not None:
        command.append(f"--snapshot={Path(snapshot.path).name}")
    return subprocess.Popen(
        [engine_server.python(), "-m", "sqgen.engine", *command],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pipesize=4096,  # the training can't run far ahead of its reader
    )


def _train(folder: Path, kill_after: int | None, wait: float) -> bool:
    """Train to the end, or kill it after so many lines and a moment; return whether it ended."""
    with _start(folder) as process:
        assert process.stderr is not None
        for line, _ in enumerate(process.stderr):
            if line == kill_after:
                try:
                    process.wait(wait)
                except subprocess.TimeoutExpired:
                    process.kill()
                break
        process.stderr.close()
        process.wait()
    return process.returncode == 0


def main(base: Path, number: int, start: int) -> int:
    """Kill `number` trainings, some of them several times; return 1 if one ends otherwise."""
    small.write_data(base)
    reference = small.make_run(base, "reference", NET, SOLVER)
    assert _train(reference, None, 0)
    wanted = {name: (reference / name).read_bytes() for name in FINAL}
    lines = 200
    faults = kills = done = 0
    while kills < number:
        random = Random(f"kill:{start + done}")
        folder = small.make_run(base, f"run{done}", NET, SOLVER)
        ended = False
        for _ in range(random.randrange(1, 5)):
            ended = _train(folder, random.randrange(lines), random.uniform(0, 0.05))
            kills += not ended
            if ended:
                break
        if not ended and not _train(folder, None, 0):
            print(f"kill:{start + done}: can't be resumed; see {folder}")
            faults += 1
        elif different := [name for name in FINAL if (folder / name).read_bytes() != wanted[name]]:
            print(f"kill:{start + done}: other bits in {', '.join(different)}")
            faults += 1
        if left := [path.name for path in folder.glob(".*.tmp")]:
            print(f"kill:{start + done}: left {', '.join(left)}")
            faults += 1
        done += 1
    print(f"{kills} kills of {done} trainings: {faults} ended otherwise than unkilled")
    return int(bool(faults))
