"""Damaged and hostile files that were reported: `../shared/reported/damaged-*`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import SHARED
from .fuzz.run import Outcome, faults, run

REPORTED = SHARED / "reported"
IMAGE_DATA = "sqgen-caffe time --model=n.prototxt --iterations=1 --threads=1"
# The folder that holds a file -> the commands that it was reported of. Their answers may be good or
# bad: a damaged value may still be one.
COMMANDS = {
    "damaged-14": ["sqgen data create . --list list.txt -o o"],
    "damaged-15/*": ["sqgen gate r.json --min top1=0", "sqgen log parse r.json"],
    "damaged-16/*": [
        "sqgen-caffe train --solver=s.prototxt --cpu --snapshot=run_iter_60.solverstate --threads=1"
    ],
    "damaged-17/*": [IMAGE_DATA, f"{IMAGE_DATA} --phase=TEST"],
}
CASES = [
    (folder.relative_to(REPORTED).as_posix(), command)
    for pattern, commands in COMMANDS.items()
    for folder in sorted(REPORTED.glob(pattern))
    if folder.is_dir()
    for command in commands
]


def copy(case: str, place: Path) -> Path:
    """Copy a case; the LMDBs that it names by text files are those of the recorded runs."""
    if not REPORTED.is_dir():
        pytest.skip("needs the recorded material in ../shared, which is not here")
    target = place / "case"
    shutil.copytree(REPORTED / case, target)
    if (target / "digits").is_dir():
        shutil.rmtree(target / "digits")
        (target / "digits").symlink_to(SHARED / "parity" / "digits")
    return target


def said(outcome: Outcome) -> str:
    return outcome.stderr.decode()


@pytest.mark.parametrize(("case", "command"), CASES)
def test_a_damaged_file_is_read_or_refused(case: str, command: str, tmp_path: Path) -> None:
    outcome = run(command, copy(case, tmp_path))
    assert faults(outcome, may_exhaust=False) == []


@pytest.mark.parametrize("case", ["case-22", "case-25"])
def test_a_damaged_baseline_is_misuse(case: str, shared: Path, tmp_path: Path) -> None:
    """Not exit code 1, which says that the score does not hold."""
    place = copy(f"damaged-15/{case}", tmp_path)
    log = shared / "caffe_logs" / "test_digits.log"
    outcome = run(f"sqgen gate {log} --baseline b.json", place)
    assert (outcome.code, len(said(outcome).splitlines())) == (2, 1), said(outcome)


def test_a_net_does_not_forge_its_verdict(shared: Path, tmp_path: Path) -> None:
    place = copy("damaged-01", tmp_path)
    (place / "digits").symlink_to(shared / "parity" / "digits")
    assert run("sqgen lint evil.prototxt", place).code == 1
    weights = shared / "parity" / "sgd_poly_simple" / "init.caffemodel"
    tested = run(
        f"sqgen test --model evil.prototxt --weights {weights} --cpu --engine torch --min top1=0.9",
        place,
    )
    assert tested.code not in (0, None)
    assert b"pass" not in tested.stdout


def test_names_write_no_markdown_and_no_formulas(tmp_path: Path) -> None:
    markdown = copy("damaged-03", tmp_path / "a")
    run("sqgen gate a.log --min loss=0 --markdown g.md", markdown)
    text = (markdown / "g.md").read_text()
    assert "\n# heading" not in text
    assert "\\<img" in text  # escaped
    table = copy("damaged-04", tmp_path / "b")
    assert run("sqgen log parse b.log --csv csv", table).code == 0
    cells = [
        cell
        for file in (table / "csv").iterdir()
        for line in file.read_text().splitlines()
        for cell in line.split(",")
    ]
    assert not [cell for cell in cells if cell.strip('"').startswith(("=", "@", "+"))]


def test_a_log_of_blanks_ends(tmp_path: Path) -> None:
    outcome = run("sqgen log parse spaces.log", copy("damaged-06", tmp_path))
    assert faults(outcome, may_exhaust=False) == []
