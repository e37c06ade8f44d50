"""Forks of the test server behave like processes: streams, signals, exits, environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from . import engine_server
from .small_runs import PATIENCE

SOME = (
    ("sqgen", "build"),
    ("sqgen", "build", "--help"),
    ("sqgen", "nope"),
    ("sqgen",),
    ("sqgen", "lint", "-"),
    ("sqgen", "summary", "none.prototxt"),
    ("sqgen.engine", "--version"),
    ("sqgen.engine", "nope"),
    ("sqgen.engine", "time", "--model", "none.prototxt"),
)


def by_hand(program: str, *arguments: str, **options: object) -> tuple[int, str, str]:
    """A command as `subprocess` runs it."""
    done = subprocess.run(  # type: ignore[call-overload]
        [program, "-m", *arguments], capture_output=True, text=True, timeout=PATIENCE, **options
    )
    return done.returncode, done.stdout, _undated(done.stderr)


def _undated(log: str) -> str:
    lines = [line.split("] ", 1) for line in log.splitlines(keepends=True)]
    return "".join(line[-1] for line in lines)


@pytest.mark.parametrize("arguments", SOME, ids=" ".join)
@pytest.mark.process
def test_as_a_process_of_its_own(arguments: tuple[str, ...], tmp_path: Path) -> None:
    net = "layer { name: 'a' type: 'ReLU' bottom: 'b' top: 'a' }"
    wanted = by_hand(sys.executable, *arguments, cwd=tmp_path, input=net)
    assert by_hand(engine_server.python(), *arguments, cwd=tmp_path, input=net) == wanted
    done = engine_server.run(arguments[0], arguments[1:], cwd=tmp_path, stdin=net.encode())
    got = (done.returncode, done.stdout.decode(), _undated(done.stderr.decode()))
    assert got == wanted


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full"])
@pytest.mark.process
def test_streams(redirections: str, tmp_path: Path) -> None:
    """Closed ones are closed in the fork, and full ones full."""
    script = f'"$@" {redirections}'
    ends = [
        run(["sh", "-c", script, "sh", program, "-m", "sqgen", "build"], tmp_path)
        for program in (sys.executable, engine_server.python())
    ]
    assert ends[0] == ends[1]


def run(command: list[str], folder: Path) -> tuple[int, bytes, bytes]:
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL", "SIGQUIT"])
@pytest.mark.parametrize("program", ["real", "fork"])
@pytest.mark.process
def test_signals(program: str, name: str, tmp_path: Path) -> None:
    """They come through, and the end by a signal is one; SIGKILL closes the fork's output."""
    fifo = tmp_path / "net"
    os.mkfifo(fifo)
    python = sys.executable if program == "real" else engine_server.python()
    command = [python, "-m", "sqgen", "lint", str(fifo)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        with open(fifo, "wb"):  # returns when the command opens it
            while process.poll() is None:  # Python misses a signal on its way from there to a read
                process.send_signal(getattr(signal, name))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE / 10)
            assert process.stderr is not None
            said = process.stderr.read()
        ended = {"SIGINT": 130, "SIGTERM": 143}.get(name, -getattr(signal, name))
        assert process.wait(PATIENCE) == ended
    assert said.strip() == (b"sqgen: interrupted" if name == "SIGINT" else b"")


def test_surroundings(tmp_path: Path) -> None:
    """Folder, variables, umask and limits are the caller's, also through a shell."""
    (tmp_path / "here").mkdir()
    net = engine_server.run("sqgen", ["build"]).stdout
    (tmp_path / "here" / "net.prototxt").write_bytes(net)
    words = f"{engine_server.python()} -m sqgen upgrade net.prototxt -o"
    script = f"cd here; umask 077; {words} new.prototxt; ulimit -f 0; {words} other.prototxt"
    code, _, error = run(["sh", "-c", script], tmp_path)
    assert (tmp_path / "here" / "new.prototxt").stat().st_mode & 0o777 == 0o600
    assert code != 0
    assert b"file too large" in error


def test_a_variable_that_only_a_start_reads(tmp_path: Path) -> None:
    """It makes the real interpreter of the program."""
    env = {**os.environ, "PYTHONVERBOSE": "1"}
    command = [engine_server.python(), "-m", "sqgen", "--version"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "import" in done.stderr
    assert "import" in engine_server.run("sqgen", ["--version"], env=env).stderr.decode()


@pytest.mark.process
def test_another_command_is_the_interpreters() -> None:
    command = [engine_server.python(), "-c", "import sys; print(sys.executable)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{sys.executable}\n"


def test_a_fork_that_does_not_end_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net")
    with pytest.raises(subprocess.TimeoutExpired):
        engine_server.run("sqgen", ["lint", "net"], cwd=tmp_path, timeout=0.2)
