"""Threads beside the work of other processes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sqgen import host
from sqgen.engine import command
from sqgen.engine.workers import Workers
from sqgen.host import CoreMeter

from .test_engine_command import NET, make


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that a command needs; the current one."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("threads", "busy", "layer_threads"),
    [(None, 0.0, 4), (None, 0.2, 4), (None, 1.0, 3), (None, 1.6, 2), (None, 9.0, 1), (3, 9.0, 3)],
)
def test_layers_leave_busy_cores_alone(
    threads: int | None, busy: float, layer_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqgen.engine.workers.available_cores", lambda: 4)
    workers = Workers(threads, busy)
    assert (workers.threads, workers.layer_threads) == (threads or 4, layer_threads)


def test_an_interrupt_while_threads_start_leaves_none_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They waited for the main thread for ever, and the process with them."""

    class Interrupted(threading.Barrier):
        def wait(self, timeout: float | None = None) -> int:
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return super().wait(timeout)

    def run(workers: Workers) -> list[int]:
        return workers.run(lambda share: share[0][1], [[(0, 1)], [(1, 2)]])

    workers, before = Workers(2), set(threading.enumerate())
    with monkeypatch.context() as patch:
        patch.setattr("sqgen.engine.workers.Barrier", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(workers)
    started = [each for each in set(threading.enumerate()) - before if "compute" in each.name]
    for thread in started:
        thread.join(5)
    assert not any(thread.is_alive() for thread in started)
    assert run(workers) == [1, 2]
    workers.close()


def test_a_meter_counts_other_processes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the cores that this process may use; guest time is part of user time."""
    stat = tmp_path / "stat"
    clock = {"monotonic": 100.0, "process_time": 2.0}
    monkeypatch.setattr(host, "PROC_STAT", stat)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 2}, raising=False)
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    for name in clock:
        monkeypatch.setattr(f"time.{name}", lambda name=name: clock[name])
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 10 0 0 900 0 0 0 0 5 0\ncpu2 0 0 0 9 9 0 0 0 0 0\n"
    )
    meter = CoreMeter()
    clock.update(monotonic=102.0, process_time=3.5)
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 110 20 30 900 0 20 10 10 5 0\n"
        "cpu1 900 0 0 0 0 0 0 0 0 0\ncpu2 160 0 0 49 9 0 0 0 0 0\nctxt 1\n"
    )
    assert meter.busy_cores() == pytest.approx((1.9 + 1.6 - 1.5) / 2)
    clock.update(monotonic=100.1)
    assert meter.busy_cores() == 0.0  # too short for the kernel's clock
    stat.unlink()
    assert CoreMeter().busy_cores() == 0.0


def test_a_resume_takes_the_threads_of_its_state(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A net that runs whole: its rounding depends on them, and the load may have changed."""
    normalized = NET.format(source="db").replace(
        'layer { name: "accuracy"',
        'layer { name: "bn" type: "BatchNorm" bottom: "ip" top: "ip" }\nlayer { name: "accuracy"',
    )
    (place / "net.prototxt").write_text(normalized)
    monkeypatch.setattr("sqgen.engine.workers.available_cores", lambda: 2)

    def train(busy: float, *flags: str) -> str:
        monkeypatch.setattr(CoreMeter, "busy_cores", lambda self: busy)
        assert command.run(["train", "--solver=solver.prototxt", *flags]) == 0
        return capsys.readouterr().err

    assert "Each layer runs on 1 of 2 cores" in train(1.0)
    assert "Resuming exactly" in train(0.0, "--snapshot=s_iter_4.solverstate")
    chosen = train(0.0, "--snapshot=s_iter_4.solverstate", "--threads=2")
    assert "Resuming with 2 threads in fp32 instead of 1" in chosen
