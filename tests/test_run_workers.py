"""`sqgen train` and `sqgen test` on several devices: what reaches the engine, and how it ends."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sqgen
from sqgen import SqgenError
from sqgen.runner.options import RunOptions
from sqgen.runner.slurm import slurm_script

from . import engine_server
from .conftest import Run
from .launched import LAUNCHER, PATIENCE, Launched, gone
from .launched import launched as launched
from .small_runs import Place, StandIn, calls, start

OURS = "caffe version 1.0.0 (sqgen-caffe 1.0)"  # as a stand-in answers --version
MACHINES = ["--nodes=2", "--node-rank=1", "--rendezvous=h:1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


def test_flags_and_images_reach_the_engine(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    called = tmp_path / "calls"
    caffe = StandIn(tmp_path)("train_two_test_nets", calls=called, version=OURS)
    told: list[str] = []
    result = sqgen.train(
        place.solver,
        caffe=caffe,
        log=told.append,
        workers=2,
        nodes=3,
        node_rank=1,
        rendezvous="h:1",
        max_restarts=4,
        stall_timeout=9.5,
    )
    assert calls(called)[-1][2:] == [
        *("--workers=2", "--nodes=3", "--node-rank=1", "--rendezvous=h:1", "--max-restarts=4"),
        "--stall-timeout=10",
    ]
    assert result.run["images_an_update"] == 48
    assert any("8 x 6 workers = 48 images an update" in line for line in told)
    sqgen.train(place.solver, caffe=caffe, gpu="0,1")
    assert calls(called)[-1][2:] == ["--gpu=0,1", "--stall-timeout=600"]
    sqgen.train(place.solver, caffe=caffe, gpu="1")
    assert calls(called)[-1][2:] == ["--gpu=1"]


REFUSED = {
    ("--workers=2",): "is a real caffe, which takes no --workers; give --engine torch",
    ("--max-restarts=2",): "is a real caffe, which takes no --max-restarts",
    tuple(MACHINES): "is a real caffe, which takes no --nodes",
    ("--workers=0",): "--workers 0: give one or more",
    ("--nodes=2", "--node-rank=2"): "--nodes 2 --node-rank 2: the nodes are 0 to 1",
    ("--rendezvous=h:1",): "--rendezvous is for several machines",
    ("--max-restarts=-1",): "--max-restarts -1: give",
    ("--", "--workers=2"): "sqgen sets --workers itself",
}


@pytest.mark.parametrize("flags", REFUSED, ids=" ".join)
def test_refusals(place: Place, sqgen: Run, tmp_path: Path, flags: tuple[str, ...]) -> None:
    caffe = StandIn(tmp_path)("train_two_test_nets", calls=tmp_path / "calls")
    done = sqgen("train", "--solver", str(place.solver), "--caffe", caffe, *flags)
    assert done.returncode == 2
    assert REFUSED[flags] in done.stderr.splitlines()[-1]
    assert not (tmp_path / "runs").exists()


def test_several_machines_meet_somewhere(place: Place, sqgen: Run, tmp_path: Path) -> None:
    done = sqgen("train", "--solver", str(place.solver), "--engine=torch", "--nodes=2")
    assert done.returncode == 2
    assert "--nodes 2 needs --rendezvous HOST:PORT" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (2, sqgen.RefusedError),
        (4, sqgen.ResourceError),
        (5, sqgen.CrashError),
        (6, sqgen.StallError),
        (7, sqgen.CrashError),
    ],
)
def test_a_fault_is_classed_by_the_exit_code(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    error: type[sqgen.RunError],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").write_text("F1127 12:00:00.000000 1 launch.py:9] rank 1 has a fault\n")
    caffe = StandIn(tmp_path)(log=tmp_path / "log", version=OURS, then=code)
    with pytest.raises(error, match="rank 1 has a fault"):
        sqgen.train(place.solver, caffe=caffe, workers=2)


def test_no_rank_outlives_sqgen(place: Place, launched: Launched) -> None:
    waits = [["touch", "pid"], ["wait", "for-ever"]]
    launched.script(rank0=waits, rank1=[["touch", "pid1"], waits[1]])
    caffe = shlex.join([sys.executable, "-c", LAUNCHER])
    arguments = ["train", "--solver", str(place.solver), "--workers=2", "--caffe", caffe]
    process = start(arguments, launched.folder)
    pids = [int(launched.written(name)) for name in ("pid", "pid1")]
    os.kill(pids[1], signal.SIGSTOP)
    process.kill()
    process.communicate()
    assert all(map(gone, pids))


# As srun starts tasks on one machine.
SRUN = """#!/bin/sh
while case $1 in --*) true;; *) false;; esac; do shift; done
export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_TASKS_PER_NODE=2 SLURM_NODEID=0
export SLURM_LAUNCH_NODE_IPADDR=127.0.0.1 SLURM_JOB_ID=$$
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" &
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" && wait $!
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, for which the script is")
def test_a_batch_script_for_slurm_trains(place: Place, sqgen: Run, tmp_path: Path) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    train = ["train", "--solver", str(place.solver), "--cpu", "--workers=2", "--run-dir=run"]
    script = sqgen(*train, "--print-slurm", "--", "--threads=1").stdout
    assert "#SBATCH --nodes=1\n#SBATCH --ntasks-per-node=2\n#SBATCH --cpus-per-task" in script
    path = os.pathsep.join((str(srun.parent), str(engine_server.folder()), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "SLURM_CPUS_PER_TASK": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "8 x 2 workers = 16 images an update" in done.stderr
    log = (tmp_path / "run" / "caffe.log").read_text()
    assert "Effective batch size: 16 = 8 (batch_size) x 1 (iter_size) x 2 (workers)" in log


def test_a_batch_script_for_several_machines() -> None:
    typed = "sqgen train --solver s.prototxt --nodes 2 --gpu 0,1 --print-slurm -- --precision=bf16"
    script = slurm_script(RunOptions(nodes=2, gpu="0,1", typed=typed.split()))
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=2\n#SBATCH --gpus-per-node=2\n" in script
    assert script.splitlines()[-1] == (
        "exec sqgen train --solver s.prototxt --nodes 2 --gpu 0,1 --caffe"
        " 'srun --kill-on-bad-exit=1 sqgen-caffe' -- --precision=bf16"
    )
    with pytest.raises(SqgenError, match="--print-slurm takes no --max-restarts"):
        slurm_script(RunOptions(workers=2, max_restarts=1))
