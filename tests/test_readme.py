"""The README's tour works as pasted, and its table is the zoo's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import sqgen as package
from sqgen import build, parse_net, preset, summary

from . import engine_server
from .conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(f"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.process
@pytest.mark.parametrize("name", ["sqgen", "sqgen-caffe"])
def test_installed_commands(name: str) -> None:
    program = shutil.which(name, path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip(f"needs an installed {name}, which is not here")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert package.__version__ in done.stdout


@pytest.mark.slow
def test_shell_blocks(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash, which is not here")
    path = os.pathsep.join([str(engine_server.folder()), os.environ["PATH"]])
    for block in blocks("sh"):
        done = subprocess.run(
            [bash, "-e", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert len(blocks("sh")) == 2
    for made in ("mynet/deploy.prototxt", "curves.png", "tradeoff.png"):
        assert (tmp_path / made).exists()


@pytest.mark.process
def test_python_blocks() -> None:
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, check=True)
        assert done.stdout.startswith(b"740")


def test_table_of_presets() -> None:
    rows = re.findall(r"^\| `([\w.-]+)`.*?\| ([\d,]+) \| ([\d,]+) \|$", README, re.MULTILINE)
    assert len(rows) == 8
    for name, parameters, macs in rows:
        totals = summary(parse_net(build(preset(name)))).totals
        assert (f"{totals.parameters:,}", f"{totals.macs:,}") == (parameters, macs)


def test_the_two_commands_are_on_the_first_screen() -> None:
    first = README.splitlines()[:16]
    assert first.index("    make test-accuracy") + 1 == first.index("    make test")
    assert "    .venv/bin/sqgen build --bypass simple > trainval.prototxt" in README.splitlines()
