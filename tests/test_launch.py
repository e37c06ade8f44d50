"""The launcher of a training on several devices, with stand-ins for its ranks."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from sqgen.engine import command
from sqgen.engine.distributed import job as job_module
from sqgen.engine.distributed.environment import find_placement
from sqgen.engine.distributed.job import requested_job
from sqgen.engine.flags import parse
from sqgen.errors import NetError

from .launched import TRAIN, Launched, Steps, fatal, gone
from .launched import launched as launched

# Output


def test_rank_0_speaks_and_others_carry_their_rank(launched: Launched) -> None:
    code, lines = launched.run(
        "--cpu",
        rank0=[["say", "Iteration 0, loss = 1"], ["raw", "half"], ["raw", " a line"]],
        rank1=[["say", "W careful"], ["raw", "a library\nspeaks"]],
    )
    assert code == 0
    own = [line for line in lines if not line.startswith("[rank 1] ")]
    assert [line.rpartition("] ")[2] for line in own] == ["Iteration 0, loss = 1", "half a line"]
    others = [line.removeprefix("[rank 1] ") for line in lines if line.startswith("[rank 1] ")]
    assert others[0].endswith("] careful")
    assert others[1:] == ["a library", "speaks"]
    first, second = launched.attempt(0), launched.attempt(1)
    assert second["arguments"][-2:] == ["--cpu=true", "--solver=solver.prototxt"]
    wanted = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    assert wanted.items() <= second["environment"].items()
    for name in ("MASTER_ADDR", "MASTER_PORT", "SQGEN_SEED"):
        assert first["environment"][name] == second["environment"][name]
    assert "SQGEN_STORE_FD" in first["environment"]
    assert "SQGEN_STORE_FD" not in second["environment"]


def test_lines_are_whole(launched: Launched) -> None:
    text = "x" * 3000
    code, lines = launched.run(
        rank0=[["raw", f"a{text}a\n"]] * 200, rank1=[["raw", f"[rank 1] b{text}b\n"]] * 200
    )
    assert code == 0
    assert sorted(lines) == [f"[rank 1] b{text}b"] * 200 + [f"a{text}a"] * 200


# Faults

LOSES: Steps = [["until", "dead"], ["wait", 0.2], ["say", "F lost rank 1"], ["exit", 7]]


def test_a_killed_rank_is_the_cause_not_the_one_that_lost_it(launched: Launched) -> None:
    code, lines = launched.run(rank0=LOSES, rank1=[["touch", "dead"], ["kill", "SIGKILL"]])
    assert code == 5
    assert re.match(r"rank 1 \(process \d+\) was killed by SIGKILL, as the system", fatal(lines))


def test_a_symptom_known_first_is_not_the_cause(launched: Launched) -> None:
    code, lines = launched.run(
        rank0=[["say", "F lost rank 1"], ["exit", 7]],
        rank1=[["until", "attempt-0-1"], ["wait", 1], ["raw", "what\n"], ["exit", 3]],
    )
    assert code == 5
    assert fatal(lines).endswith(
        " ended with exit code 3 and no reason; its last line: what; --max_restarts=N goes on from"
        " the newest snapshot by itself"
    )


def test_one_rank_refuses(launched: Launched) -> None:
    code, lines = launched.run(
        rank0=[["wait", "for-ever"]], rank1=[["say", "F the net differs"], ["exit", 2]]
    )
    assert (code, fatal(lines)) == (2, "rank 1: the net differs")


def test_all_refuse_the_same(launched: Launched) -> None:
    code, lines = launched.run(others=[["say", "F no solver"], ["exit", 2]])
    assert (code, fatal(lines)) == (2, "no solver")


def test_out_of_memory(launched: Launched) -> None:
    code, lines = launched.run(
        rank0=[["wait", "for-ever"]], rank1=[["say", "F out of memory"], ["exit", 4]]
    )
    assert code == 4
    assert fatal(lines).startswith("rank 1: out of memory")


@pytest.mark.parametrize("stopped", [False, True])
def test_no_rank_outlives_a_killed_launcher(launched: Launched, stopped: bool) -> None:
    process = launched.start(
        rank0=[["touch", "pid0"], ["wait", "for-ever"]],
        rank1=[["touch", "pid1"], ["wait", "for-ever"]],
    )
    pids = [int(launched.written(f"pid{rank}")) for rank in range(2)]
    if stopped:
        os.kill(pids[1], signal.SIGSTOP)
    process.kill()
    assert all(map(gone, pids))


# Hangs


def test_a_rank_that_hangs_is_named_with_what_each_did(launched: Launched) -> None:
    code, lines = launched.run(
        "--stall_timeout=3",
        rank0=[["mark", "exchange", 12], ["wait", "for-ever"]],
        rank1=[["mark", "reading data", 12], ["wait", "for-ever"]],
    )
    assert code == 6
    hang = r"rank 1 \(process \d+\) hangs in reading data of iteration 12, \d+ s ago; --max"
    assert re.match(hang, fatal(lines))
    done = [line.partition("] ")[2] for line in lines[-3:-1]]
    assert re.fullmatch(r"rank 0: exchange of iteration 12, \d+ s ago", done[0])
    assert re.fullmatch(r"rank 1: reading data of iteration 12, \d+ s ago", done[1])


def test_a_stopped_rank_is_silent_while_others_go_on(launched: Launched) -> None:
    busy = [["mark", "test", 3], ["wait", 0.1]] * 200
    code, lines = launched.run(
        "--stall_timeout=3",
        rank0=busy,
        rank1=[["mark", "exchange", 3], ["wait", 1], ["kill", "SIGSTOP"]],
    )
    assert code == 6
    assert re.match(r"rank 1 \(process \d+\) is silent for \d+ s, as one that", fatal(lines))


# Signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_are_passed_on(launched: Launched, name: str) -> None:
    steps = [["stop-on", name, "stopped"], ["touch", "ready"], ["wait", "for-ever"]]
    others = [["stop-on", name, "W stopped"], ["touch", "ready1"], ["wait", "for-ever"]]
    process = launched.start(rank0=steps, rank1=others)
    launched.written("ready"), launched.written("ready1")
    process.send_signal(getattr(signal, name))
    code, lines = launched.finish(process)
    assert code == 0
    assert sorted(line.partition("stand_in.py:1] ")[2] for line in lines)[-2:] == ["stopped"] * 2


def test_a_second_stop_kills(launched: Launched) -> None:
    stubborn = [["stop-on", "SIGINT", "no"], ["touch", "ready"], ["wait", "for-ever"]]
    deaf: Steps = [["until", "ready"], ["touch", "pid"], ["wait", "for-ever"]]
    process = launched.start(rank0=deaf, rank1=stubborn)
    pid = int(launched.written("pid"))
    os.kill(pid, signal.SIGSTOP)  # so that it does not stop
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert any("SIGINT: passed on" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    code, lines = launched.finish(process)
    assert code == 130
    assert lines[-1].endswith("killed by a second signal, SIGINT")
    assert gone(pid)


# Restarts


def test_a_restart_on_a_fresh_port_with_the_same_seed(launched: Launched) -> None:
    code, lines = launched.run(
        "--max_restarts=2",
        "--weights=w",
        rank0=[["attempt", 1, "wait", "for-ever"], ["say", "done"]],
        rank1=[["attempt", 1, "kill", "SIGKILL"]],
    )
    assert code == 0
    (line,) = [line for line in lines if "restart" in line]
    assert line.startswith("W")
    assert line.endswith("; restart 1 of 2 from the start")
    first, second = (launched.attempt(0, n) for n in (1, 2))
    assert first["arguments"] == second["arguments"]
    assert "--weights=w" in first["arguments"]
    assert not [word for word in first["arguments"] if "max_restarts" in word]
    assert first["environment"]["SQGEN_SEED"] == second["environment"]["SQGEN_SEED"]
    assert first["environment"]["MASTER_PORT"] != second["environment"]["MASTER_PORT"]


def test_restarts_come_to_an_end(launched: Launched) -> None:
    code, lines = launched.run("--max_restarts=1", rank1=[["exit", 9]], rank0=[])
    assert code == 5
    assert fatal(lines).endswith("; it was started again 1 times before")


def test_a_refusal_is_not_started_again(launched: Launched) -> None:
    code, lines = launched.run("--max_restarts=5", others=[["say", "F no"], ["exit", 2]])
    assert (code, fatal(lines)) == (2, "no")


# Bad input

BAD = {
    ("--workers=0",): "--workers 0",
    ("--workers=99999",): "--workers 99999",
    ("--nodes=2",): "--rendezvous=HOST:PORT",
    ("--nodes=0",): "--nodes 0",
    ("--nodes=2", "--rendezvous=x"): "'x' is none",
    ("--nodes=2", "--node_rank=2", "--rendezvous=x:1"): "--node_rank 2: the nodes are 0 to 1",
    ("--node_rank=1",): "--node_rank 1: the nodes are 0 to 0",
    ("--rendezvous=x:1",): "--rendezvous is for several machines",
    ("--workers=2", "--gpu=0,1,2"): "each GPU has one process",
    ("--gpu=0,0",): "names a GPU twice",
    ("--gpu=0,7",): "asks for GPU 7, and this machine has 4",
    ("--gpu=0,x",): "write 0, 0,1 or all",
    ("--stall_timeout=3",): "--stall_timeout is for several devices",
}


@pytest.mark.parametrize("flags", BAD, ids=" ".join)
def test_bad_input(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job_module, "list_gpus", lambda: ["H"] * 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert command.run(["train", "--solver=x", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("F")
    assert BAD[flags] in line


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"127.0.0.1:{server.getsockname()[1]}"
        assert command.run([*TRAIN, "--nodes=2", f"--rendezvous={where}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--rendezvous {where}: node 0 can't listen there: address already in use" in line


def test_workers_train_and_test(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["time", "--workers=2"]) == 2
    assert "--workers is for train and test; time runs in one process" in capsys.readouterr().err
    assert command.run(["test", "--workers=2", "--max_restarts=1"]) == 2
    assert (
        "--max_restarts is for train: a test has nothing to go on from" in capsys.readouterr().err
    )


# Who launches, and who joins


def test_gpus_give_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_module, "list_gpus", lambda: ["H"] * 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,3")
    for flags, workers in (
        (["--gpu=all"], 3),
        (["--gpu=0,2"], 2),
        (["--gpu=0"], None),
        (["--gpu=0,1", "--cpu"], None),
        (["--gpu=0,1", "--cpu", "--workers=4"], 4),
        (["--workers=1"], None),
        (["--max_restarts=1"], 1),
        ([], None),
    ):
        job = requested_job("train", parse(["train", *flags]))
        assert (None if job is None else job.nodes.workers) == workers, flags


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "1",
}


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN])
def test_a_process_of_another_launcher_joins(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    placement = find_placement()
    assert placement is not None
    assert placement == (3, 4, 1, 2, False)
    assert not placement.speaks
    for flags in ([], ["--workers=2", "--nodes=2"]):
        assert requested_job("train", parse(["train", *flags])) is None
    for flag in ("--workers=4", "--nodes=4", "--max_restarts=1"):
        with pytest.raises(NetError, match="another launcher started"):
            requested_job("train", parse(["train", flag]))


def test_a_batch_script_of_slurm_is_no_rank() -> None:
    assert find_placement({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}) is None
    assert find_placement({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}) is None


@pytest.mark.parametrize("rank", ["x", "4", "-1"])
def test_an_environment_that_makes_no_sense(rank: str) -> None:
    with pytest.raises(NetError, match="environment"):
        find_placement({**TORCHRUN, "RANK": rank})
