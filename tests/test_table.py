"""Tables: whole in a pipe, within the columns of a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen.report.table import table, table_rows

from . import engine_server
from .conftest import DATA, ROOT, Run

DIGITS = ROOT / "models" / "digits"
HEADS = ["layer", "type", "bytes"]
ROWS = [["fire2/squeeze1x1", "Convolution", "1,000"], ["a layer of several words", "ReLU", "7"]]


def test_a_table_is_whole_where_there_is_no_terminal() -> None:
    assert table(HEADS, ROWS, right=[2]) == [
        "layer                     type         bytes",
        "fire2/squeeze1x1          Convolution  1,000",
        "a layer of several words  ReLU             7",
    ]


def test_a_narrow_table_wraps_words_and_shortens_long_ones() -> None:
    assert table(HEADS, ROWS, right=[2], width=35) == [
        "layer            type         bytes",
        "fire2/s..eze1x1  Convolution  1,000",
        "a layer of       ReLU             7",
        "several words",
    ]


def test_columns_that_may_be_left_out_go_first() -> None:
    assert table(HEADS, ROWS, right=[2], width=33, optional=[1]) == [
        "layer                     bytes",
        "fire2/squeeze1x1          1,000",
        "a layer of several words      7",
    ]
    assert table(HEADS, ROWS, right=[2], width=80, optional=[1]) == table(HEADS, ROWS, right=[2])


TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@given(st.lists(st.tuples(TEXT, TEXT, st.integers(0, 10**9)), min_size=1), st.integers(48, 200))
def test_any_table_fits_and_keeps_its_numbers(rows: list[tuple[str, str, int]], width: int) -> None:
    cells = [[a, b, f"{number:,}"] for a, b, number in rows]
    made = table_rows(HEADS, cells, [2], width)
    assert len(made) == len(cells) + 1
    assert all(len(line) <= width for lines in made for line in lines)
    for lines, row in zip(made[1:], cells, strict=True):
        assert row[2] in lines[0]


COMMANDS = [
    *(["summary", "net"], ["zoo"], ["zoo", "show", "v1.0", "--help"], ["lint", "--rules"]),
    ["weights", "show", str(DIGITS / "digits.caffemodel")],
    ["compress", "encode", str(DIGITS / "digits.caffemodel"), "--net", "digits", "-o", "o.sqz"],
    *(["log", "parse", f"{DATA}/logs/{n}.log.gz"] for n in ("time_digits", "train_two_test_nets")),
    ["log", "parse", *(f"{DATA}/logs/train_{n}.log.gz" for n in ("batchnorm", "two_test_nets"))],
    ["log", "compare", *(f"{DATA}/logs/train_{n}.log.gz" for n in ("batchnorm", "killed"))],
]
HELPS = [[], ["log", "parse"], ["build"], ["test"], ["train"], ["compress", "encode"], ["gate"]]


@pytest.mark.parametrize("arguments", [*COMMANDS, *([*help_, "--help"] for help_ in HELPS)])
def test_a_terminal_of_80_columns(sqgen: Run, tmp_path: Path, arguments: list[str]) -> None:
    if "net" in arguments:
        (tmp_path / "net").write_text(sqgen("build").stdout)
    if "digits" in arguments:
        design = str(DIGITS / "design.toml")
        net = sqgen("build", "--design", design, "--net", "deploy").stdout
        (tmp_path / "digits").write_text(net)
    shown = on_terminal(arguments, tmp_path, 80)
    lines = shown.replace("\r", "").split("\n")
    sentence = (".", "float32", "batch 25", "completed")
    tables = [line for line in lines if not line.endswith(sentence)]
    assert len(tables) > 3
    assert [line for line in tables if len(line) > 80] == []


def on_terminal(arguments: list[str], folder: Path, columns: int) -> str:
    """What a command prints on a terminal of a width that only the terminal tells."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(
        [engine_server.python(), "-m", "sqgen", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={**env, "NO_COLOR": "1"},
    ):
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    return shown.decode()
