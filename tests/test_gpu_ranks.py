"""Trainings by several ranks on GPUs, which NCCL connects; on one GPU, both ranks share it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from . import small_training as small
from .fuzz.kills import NET, SOLVER
from .killed_ranks import Kill, start
from .ranks import free_port, of_another_machine, run_ranks

pytestmark = [pytest.mark.cuda, pytest.mark.slow]

RANKS = (0, 1)
SIZE = len(RANKS)
LAST = 12
PATIENCE = 120  # seconds
TEST = small.data("TEST", 8)
COMMON = (
    'net: "net.prototxt" weights: "start.caffemodel" snapshot_prefix: "s" solver_mode: CPU'
    " display: 1 base_lr: 0.02 lr_policy: 'fixed' weight_decay: 0.01 random_seed: 8"
    " test_iter: 2 test_interval: 3 "
    'type: "Adam" momentum: 0.9 max_iter: 6 iter_size: 2 '
)


class Gpus(NamedTuple):
    """The flags of all ranks, and the variables of each, that give each rank a GPU."""

    flags: tuple[str, ...]
    variables: Mapping[int, Mapping[str, str]]


def own() -> Gpus:
    """A GPU for each rank; skips where there are not two."""
    count = torch.cuda.device_count()
    if count < SIZE:
        pytest.skip(f"needs two GPUs, and PyTorch {torch.__version__} sees {count}")
    return Gpus(("--gpu=0,1",), {})


def shared() -> Gpus:
    """One GPU for both."""
    return Gpus(("--gpu=0",), {rank: of_another_machine(rank) for rank in RANKS})


@pytest.fixture(params=[own, shared])
def gpus(request: pytest.FixtureRequest) -> Gpus:
    """Both ways in which two ranks get GPUs."""
    found: Gpus = request.param()
    return found


def run(words: list[str], made: Path, given: Gpus | None) -> list[str]:
    """Run two ranks on GPUs, or on the CPU; the logs."""
    flags, variables = given if given is not None else Gpus(("--cpu",), {})
    ranks = run_ranks(SIZE, [*words, *flags], made, variables=variables)
    assert [code for code, _ in ranks] == [0] * SIZE, ranks
    return [log for _, log in ranks]


def test_ranks_on_gpus_learn_as_those_of_the_cpu(gpus: Gpus, tmp_path: Path) -> None:
    small.write_data(tmp_path)
    text = small.net(inputs=small.data("TRAIN", 3, small.RANDOM) + TEST)
    words = ["train", "--solver=solver.prototxt", "--threads=1", "--precision=fp64"]
    ends = []
    for name, given in (("gpus", gpus), ("gpus-again", gpus), ("cpus", None)):
        made = small.make_run(tmp_path, name, text, COMMON)
        run(words, made, given)
        ends.append(small.final(made))
    for kind, values in ends[0].items():
        assert np.array_equal(values, ends[1][kind])
        assert np.allclose(values, ends[2][kind], rtol=1e-5, atol=1e-9)


def test_ranks_on_gpus_score_as_those_of_the_cpu(gpus: Gpus, tmp_path: Path) -> None:
    small.write_data(tmp_path)
    text = small.net(
        inputs=small.data("TRAIN", 3) + small.data("TEST", 10),
        scores=small.loss() + small.accuracy(),
    )
    made = small.make_run(tmp_path, "test", text, "")
    words = ["test", "--model=net.prototxt", "--weights=start.caffemodel", "--exact"]
    logs = [run([*words, "--precision=fp64"], made, given)[0] for given in (gpus, None)]
    assert small.run_messages(logs[0]) == small.run_messages(logs[1])


def test_a_training_on_gpus_goes_on_in_the_same_bits(tmp_path: Path) -> None:
    """Of two machines; a rank is killed amid its gradients, later one in its snapshot."""
    small.write_data(tmp_path)
    kills = [Kill(1, 1, "exchange", 8), Kill(2, 0, "snapshot", 1)]
    ends = []
    for name, of_rank in (("whole", []), ("killed", kills)):
        solver = SOLVER.replace("max_iter: 40", f"max_iter: {LAST}")
        made = small.make_run(tmp_path, name, NET, solver)
        ends.append((made, train_on_two_machines(made, of_rank)))
    (whole, _), (killed, log) = ends
    assert "was killed by SIGKILL" in log
    assert "; restart 2 of 2 from s_iter_" in log
    for ending in ("caffemodel", "solverstate", "sqgenstate"):
        last = f"s_iter_{LAST}.{ending}"
        assert (whole / last).read_bytes() == (killed / last).read_bytes(), last


def train_on_two_machines(folder: Path, kills: list[Kill]) -> str:
    """Train by a launcher for each rank; the first one's log."""
    place = ["--nodes=2", f"--rendezvous=127.0.0.1:{free_port()}", "--gpu=0", "--threads=1"]
    launchers = [
        start(
            folder,
            kills,
            *place,
            f"--node-rank={rank}",
            "--max_restarts=2",
            NCCL_HOSTID=f"machine{rank}",
        )
        for rank in RANKS
    ]
    try:
        logs = [each.communicate(timeout=PATIENCE)[1] for each in launchers]
    finally:
        for each in launchers:
            each.kill()
    assert [each.returncode for each in launchers] == [0] * SIZE, logs
    return logs[0]
