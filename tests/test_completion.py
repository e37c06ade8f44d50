"""Tab completion: commands, options, presets and paths, without heavy imports."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from sqgen.generator.presets import PRESETS
from sqgen.tools.cli import COMMANDS

from .conftest import Run

STYLES = ["clean", "v1.0", "v1.1", "residual", "firenet", "generator"]


def completed(sqgen: Run, line: str) -> list[str]:
    """The words that Bash is told for the end of a line, or `file` where it completes paths."""
    number = str(line.count(" "))
    env = {"_SQGEN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": number}
    done = sqgen(env=env)
    assert (done.returncode, done.stderr) == (0, "")
    pairs = [word.partition(",") for word in done.stdout.split()]
    return [kind if kind == "file" else word for kind, _, word in pairs]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sqgen ", list(COMMANDS)),
        ("sqgen su", ["summary"]),
        ("sqgen log p", ["parse", "plot"]),
        ("sqgen build --preset ", list(PRESETS)),
        ("sqgen build --preset v", ["v1.0", "v1.1"]),
        ("sqgen build --style ", STYLES),
        ("sqgen gate --published res", ["residual"]),
        ("sqgen zoo show v1", ["v1.0", "v1.1"]),
        ("sqgen summary --ph", ["--phase"]),
        ("sqgen summary --phase t", ["test", "train"]),
        ("sqgen summary ", ["file"]),
        ("sqgen summary net.p", ["file"]),
        ("sqgen log parse a.log b", ["file"]),
        ("sqgen test --weights ", ["file"]),
        ("sqgen completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_words(sqgen: Run, line: str, words: list[str]) -> None:
    assert completed(sqgen, line) == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(sqgen: Run, shell: str) -> None:
    done = sqgen("completion", shell)
    assert done.returncode == 0
    assert f"_SQGEN_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):
        check = subprocess.run([shell, "-n"], input=done.stdout, text=True, capture_output=True)
        assert (check.returncode, check.stderr) == (0, "")


@pytest.mark.process
def test_a_tab_imports_no_other_command() -> None:
    code = "import sys; from sqgen.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env={"_SQGEN_COMPLETE": "bash_complete", "COMP_WORDS": "sqgen ", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "plain,summary" in done.stdout
    assert not {"sqgen.tools.build", "jinja2", "google", "numpy"} & {
        line.rpartition("|")[2].strip() for line in done.stderr.splitlines()
    }
