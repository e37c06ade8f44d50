"""A small net with data and weights to run, and stand-ins for caffe."""

from __future__ import annotations

import gzip
import json
import os
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sqgen.nets.definition import parse_net

from . import engine_server
from . import small_training as small
from .conftest import DATA

PYTHON = sys.executable
STAND_IN = Path(__file__).parent / "stand_in.py"
PATIENCE = 60  # seconds until something that has to happen counts as never


class Place:
    """A folder with data, nets, weights and solvers; paths are absolute.

    Attributes:
        folder: it.
        data: an LMDB of 64 records.
        net, solver, weights: files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.net = folder / "net.prototxt"
        self.solver = folder / "solver.prototxt"
        self.weights = folder / "start.caffemodel"
        small.write_data(folder)
        self.net.write_text(self.here(small.net()))
        definition = parse_net(self.net.read_text())
        self.weights.write_bytes(bytes(small.start(definition).SerializeToString()))
        self.solver.write_text(self.solver_text())

    def here(self, text: str) -> str:
        """A net of `small_training` that reads the data here."""
        return text.replace(f'"{small.DATA}"', f'"{self.data}"').replace("../", f"{self.folder}/")

    def solver_text(self, more: str = "max_iter: 6", prefix: str = "s") -> str:
        """A solver of the net."""
        return (
            f'net: "{self.net}" snapshot_prefix: "{prefix}" solver_mode: CPU base_lr: 0.01'
            f' lr_policy: "fixed" random_seed: 3 {more}\n'
        )


def log_text(name: str) -> bytes:
    """A recorded log."""
    return gzip.decompress((DATA / "logs" / f"{name}.log.gz").read_bytes())


class StandIn:
    """Writes what stand-ins do, each into a file of its own, and says how to run them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, recorded: str | None = None, **script: Any) -> str:
        """The command of a stand-in, which prints a recorded log; see `stand_in.py`."""
        self._count += 1
        if recorded is not None:
            script["log"] = self._folder / f"{recorded}.log"
            script["log"].write_bytes(log_text(recorded))
        script = {
            key: str(value) if isinstance(value, Path) else value for key, value in script.items()
        }
        file = self._folder / f"script{self._count}.json"
        file.write_text(json.dumps(script))
        return shlex.join([PYTHON, "-I", "-S", str(STAND_IN), str(file)])


def calls(path: Path) -> list[list[str]]:
    """What a stand-in was called with."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Alive:
    """The named pipe that a stand-in and its children hold open; see `stand_in.py`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def close(self) -> None:
        os.close(self._pipe)

    def ready(self) -> int:
        """The stand-in's number, once it has printed what it prints."""
        data = b""
        while not data.endswith(b"\n"):
            assert select.select([self._pipe], [], [], PATIENCE)[0], "nothing was started"
            data += os.read(self._pipe, 100)
        return int(data)

    def has_printed(self) -> bool:
        """Whether the stand-in has printed what it prints; asked before `ready`."""
        return bool(select.select([self._pipe], [], [], 0)[0])

    def gone(self) -> None:
        """Returns when the stand-in and all its children are gone."""
        assert select.select([self._pipe], [], [], PATIENCE)[0], "it lives"
        assert os.read(self._pipe, 100) == b""


@contextmanager
def alive(folder: Path) -> Iterator[Alive]:
    pipe = Alive(folder / "alive")
    try:
        yield pipe
    finally:
        pipe.close()


def start(
    arguments: list[str], folder: Path, python: str | None = None, **options: Any
) -> subprocess.Popen[str]:
    """`sqgen` in a process of its own, forked from one that has it imported, or by `python`."""
    return subprocess.Popen(
        [python or engine_server.python(), "-m", "sqgen", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def real_caffe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips where CAFFE_ROOT names no build of BVLC Caffe."""
    if "CAFFE_ROOT" not in os.environ:
        pytest.skip("needs a build of BVLC Caffe in the folder that CAFFE_ROOT names")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


def hidden_engine(folder: Path) -> str:
    """The embedded engine as a caffe that is not known to be ours."""
    program = folder / "caffe"
    ours = shlex.join([engine_server.python(), "-m", "sqgen.engine"])
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo caffe version 1.0.0\nexec {ours} "$@"\n'
    )
    program.chmod(0o755)
    return str(program)
