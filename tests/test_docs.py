"""README and docs: the tour runs as pasted, links resolve, tables match the code."""

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

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(f"^```{language}\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)


@pytest.mark.process
@pytest.mark.parametrize("name", ["sqgen", "sqgen-caffe"])
def test_installed_commands(name: str) -> None:
    program = shutil.which(name, path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip(f"needs an installed {name}, which is not here")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert package.__version__ in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "files"),
    [
        ("docs/tour.md", ["mynet/deploy.prototxt", "small.svg", "report.html", "tradeoff.png"]),
        ("docs/generate.md", ["train_val.prototxt", "solver.prototxt"]),
    ],
)
def test_shell_blocks_work_as_pasted(page: str, files: list[str], tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash, which is not here")
    path = os.pathsep.join([str(engine_server.folder()), os.environ["PATH"]])
    (block,) = blocks(page, "sh")
    done = subprocess.run(
        [bash, "-e", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in files:
        assert (tmp_path / name).exists()


@pytest.mark.process
def test_python_blocks_work_as_pasted() -> None:
    (block,) = blocks("docs/python.md", "python")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, check=True)
    assert done.stdout.startswith(b"740")


def test_table_of_presets() -> None:
    row = r"^\| `([\w.-]+)`.*?\| ([\d,]+) \| ([\d,]+) \|$"
    rows = re.findall(row, text_of("docs/nets.md"), re.MULTILINE)
    assert len(rows) == 8
    for name, parameters, macs in rows:
        totals = summary(parse_net(build(preset(name)))).totals
        assert (f"{totals.parameters:,}", f"{totals.macs:,}") == (parameters, macs)


def test_the_readme_is_a_front_page() -> None:
    lines = text_of("README.md").splitlines()
    assert len(lines) < 150
    first = lines[:16]
    assert first.index("    make test-accuracy") + 1 == first.index("    make test")
    assert "    .venv/bin/sqgen build --bypass simple > trainval.prototxt" in lines[:20]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_lists_every_command() -> None:
    from sqgen.tools.cli import COMMANDS

    table = text_of("README.md").partition("## Commands")[2]
    assert set(COMMANDS) <= set(re.findall(r"`([a-z]+)`", table))
