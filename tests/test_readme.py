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

from sqgen import build, parse_net, preset, summary

from .conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(f"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_shell_blocks(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    scripts = sysconfig.get_path("scripts")
    if bash is None or not shutil.which("sqgen", path=scripts):
        pytest.skip("needs bash and an installed sqgen, and one is not here")
    path = os.pathsep.join([scripts, os.environ["PATH"]])
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
