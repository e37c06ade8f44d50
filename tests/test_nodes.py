"""Trainings on several machines: launchers that meet at a rendezvous, start and end together."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from . import small_training as small
from .fuzz.kills import NET, SOLVER
from .launched import PATIENCE, Launched, Steps, fatal
from .launched import launched as launched
from .ranks import free_port
from .small_training import final

WAITS: Steps = [["wait", "for-ever"]]


def flags(port: int, node: int, nodes: int = 2) -> list[str]:
    return [f"--nodes={nodes}", f"--node-rank={node}", f"--rendezvous=127.0.0.1:{port}"]


def start(
    launched: Launched, *more: str, **steps: Steps
) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """Start two launchers of two ranks each, the second first."""
    port = free_port()
    second = launched.start(*flags(port, 1), *more, **steps)
    return launched.start(*flags(port, 0), *more, **steps), second


def run(launched: Launched, *more: str, **steps: Steps) -> list[tuple[int, list[str]]]:
    return [launched.finish(process) for process in start(launched, *more, **steps)]


def test_two_machines_end_together(launched: Launched) -> None:
    ends = run(launched, rank0=[["wait", 0.5]], rank2=[["say", "hello"]], others=[])
    assert [code for code, _ in ends] == [0, 0]
    waiting = [[x.partition("] ")[2] for x in lines] for _, lines in ends]
    assert "waiting for 1 of 2 nodes (1)" in waiting[0]
    assert "hello" in waiting[1]  # the first rank of a machine speaks
    found = [launched.attempt(rank)["environment"] for rank in range(4)]
    assert [x["LOCAL_RANK"] for x in found] == ["0", "1", "0", "1"]
    assert {x["WORLD_SIZE"] for x in found} == {"4"}
    for name in ("MASTER_ADDR", "MASTER_PORT", "SQGEN_SEED"):
        assert len({x[name] for x in found}) == 1, name
    assert ["SQGEN_STORE_FD" in x for x in found] == [True, False, False, False]


def test_a_rank_of_the_other_machine_is_the_cause_on_both(launched: Launched) -> None:
    lost: Steps = [["until", "dead"], ["wait", 0.1], ["say", "F lost rank 3"], ["exit", 7]]
    ends = run(launched, rank3=[["touch", "dead"], ["kill", "SIGKILL"]], rank0=lost, others=WAITS)
    for code, lines in ends:
        assert code == 5
        assert fatal(lines).startswith("rank 3 (process ")
        assert "was killed by SIGKILL" in lines[-1]


def test_all_machines_start_again_together(launched: Launched) -> None:
    ends = run(
        launched,
        "--max_restarts=1",
        rank3=[["attempt", 1, "kill", "SIGKILL"]],
        others=[["attempt", 1, "wait", "for-ever"]],
    )
    assert [code for code, _ in ends] == [0, 0]
    assert [sum("; restart 1 of 1" in x for x in lines) for _, lines in ends] == [1, 0]
    found = [launched.attempt(rank, 2)["environment"] for rank in range(4)]
    assert len({x["MASTER_PORT"] for x in found}) == 1
    assert found[0]["MASTER_PORT"] != launched.attempt(0)["environment"]["MASTER_PORT"]


def test_another_machine_waits_while_rank_0_writes_a_snapshot(launched: Launched) -> None:
    launched.first = "from sqgen.engine.distributed import nodes; nodes.LEADER_SECONDS = 1.5\n"
    saves: Steps = [["mark", "snapshot", 3], ["touch", "saving"], ["wait", 2.5], ["exit", 0]]
    ends = run(
        launched,
        "--max_restarts=1",
        rank0=[["attempt", 1, *step] for step in saves],
        rank3=[["until", "saving"], ["wait", 0.3], ["attempt", 1, "kill", "SIGKILL"]],
        others=[["attempt", 1, "wait", "for-ever"]],
    )
    assert [code for code, _ in ends] == [0, 0]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_machine_that_is_lost_ends_the_other(launched: Launched, victim: int) -> None:
    processes = start(launched, others=[["touch", "started"], *WAITS])
    launched.written("started")
    launched.attempt(3), launched.attempt(0)
    processes[victim].kill()
    code, lines = launched.finish(processes[1 - victim])
    assert code == 5
    assert re.match(rf"node {victim} \(.*\) is lost: its launcher ended", fatal(lines))


def test_a_hang_is_found_on_whichever_machine(launched: Launched) -> None:
    ends = run(
        launched,
        "--stall_timeout=3",
        rank3=[["mark", "gradients", 7], *WAITS],
        others=[["mark", "exchange", 7], *WAITS],
    )
    for code, lines in ends:
        assert code == 6
        assert "rank 3 (on node 1) hangs in gradients of iteration 7" in fatal(lines)


def test_a_signal_to_one_launcher_reaches_its_ranks(launched: Launched) -> None:
    stops: Steps = [["stop-on", "SIGTERM", "W stopped"], ["touch", "ready"], *WAITS]
    others: Steps = [["until", "ready"], ["until", "stop"]]
    processes = start(
        launched, rank2=stops, rank3=[stops[0], ["touch", "ready3"], *WAITS], others=others
    )
    launched.written("ready"), launched.written("ready3")
    processes[1].send_signal(signal.SIGTERM)
    (launched.folder / "stop").touch()
    assert [launched.finish(process)[0] for process in processes] == [0, 0]


def hello(port: int, **more: object) -> dict[str, object]:
    """Say hello to node 0 as another launcher; its answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(json.dumps({"hello": more}).encode() + b"\n")
        answer: dict[str, object] = json.loads(connection.makefile().readline())
        return answer


def listening(launched: Launched, *more: str) -> tuple[subprocess.Popen[str], int]:
    """Start node 0; return it and its port, once it waits."""
    port = free_port()
    process = launched.start(*flags(port, 0), *more)
    assert process.stderr is not None
    assert "waiting for 1 of 2 nodes" in process.stderr.readline()
    return process, port


def test_another_version_is_refused_by_name(launched: Launched) -> None:
    process, port = listening(launched)
    answer = hello(port, version="9.9", node=1, nodes=2, workers=2)
    said = "node 1 (127.0.0.1) has sqgen 9.9, node 0 has "
    assert str(answer["refused"]).startswith(said)
    code, lines = launched.finish(process)
    assert code == 2
    assert fatal(lines).startswith(said)


def test_whoever_is_no_launcher_is_ignored(launched: Launched) -> None:
    process, port = listening(launched, "--stall_timeout=2")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100) == b""
    code, lines = launched.finish(process)
    assert code == 2
    assert "waiting for 1 of 2 nodes (1) for 2 s; start them, or give a longer" in fatal(lines)


def test_a_node_that_nobody_waits_for(launched: Launched) -> None:
    process = launched.start(*flags(free_port(), 1), "--stall_timeout=1")
    code, lines = launched.finish(process)
    assert code == 2
    assert re.search(
        r"--rendezvous 127.0.0.1:\d+: node 0 can't be reached: connection r", lines[-1]
    )


# Two machines are two network namespaces: an address each, and no loopback in common.
MACHINES = """
set -e
ip link set lo up
unshare -n sleep 300 > /dev/null 2>&1 &
other=$!
trap 'kill $other $second' EXIT
here=$(readlink /proc/self/ns/net)
until there=$(readlink /proc/$other/ns/net) && [ "$there" != "$here" ]; do sleep 0.05; done
ip link add left type veth peer name right
ip link set right netns $other
ip addr add 10.77.0.1/24 dev left
ip link set left up
nsenter -t $other -n sh -c '
  ip link set lo up; ip addr add 10.77.0.2/24 dev right; ip link set right up'
nsenter -t $other -n "$@" --node-rank=1 > /dev/null 2> log1 &
second=$!
"$@" --node-rank=0 2> log0
wait $second
second=
"""


@pytest.mark.slow
def test_two_network_namespaces_train_as_one_machine(tmp_path: Path) -> None:
    tools = [shutil.which(name) for name in ("unshare", "nsenter", "ip")]
    trial = "unshare -n true && ip link add left type veth peer name right"
    if (
        None in tools
        or subprocess.run(
            ["unshare", "-rn", "sh", "-c", trial], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs network namespaces, which this system does not permit")
    small.write_data(tmp_path)
    short = SOLVER.replace("max_iter: 40", "max_iter: 4")
    one, two = (small.make_run(tmp_path, name, NET, short) for name in ("one", "two"))
    engine = [sys.executable, "-m", "sqgen.engine", "train", "--solver=solver.prototxt"]
    engine += ["--threads=1"]
    machines = ["unshare", "-rn", "sh", "-c", MACHINES, "sh", *engine, "--nodes=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for folder, command in (
        (one, [*engine, "--workers=2"]),
        (two, [*machines, "--rendezvous=10.77.0.1:29400", "--stall_timeout=60"]),
    ):
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        logs = [path.read_text() for path in folder.glob("log?")]
        assert done.returncode == 0, (done.stderr, *logs)
    wanted, found = final(one), final(two)
    assert all((found[name] == values).all() for name, values in wanted.items())
    assert "Optimization Done." in (two / "log1").read_text()
