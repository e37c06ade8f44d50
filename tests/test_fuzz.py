"""The fuzzer itself, and the inputs that it or a user found (`make fuzz` looks for more)."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from .fuzz import kills, mutate
from .fuzz.__main__ import Report, run_corpus, work
from .fuzz.run import Outcome, faults
from .fuzz.targets import make_targets, write_files


@pytest.mark.slow
def test_inputs_that_were_misread_once_and_one_of_each_target(tmp_path: Path) -> None:
    base = tmp_path / "files"
    base.mkdir()
    write_files(base)
    targets, report = make_targets(base), Report()
    run_corpus(targets, base, report)
    work(iter([(name, 1) for name in targets]), targets, base, report)
    assert not report.findings
    assert set(report.inputs) == set(targets)


@pytest.mark.slow
def test_killed_trainings(tmp_path: Path) -> None:
    assert kills.main(tmp_path, 2, 1) == 0


@pytest.mark.parametrize(
    "mutator",
    [mutate.text, mutate.binary, mutate.pages, mutate.message, mutate.json_text, mutate.png],
)
def test_damage_is_a_function_of_the_number(mutator: mutate.Mutator) -> None:
    data = b'{"a": [1, "x"]}\nline: 2\n' * 20
    made = [mutator(data, Random(f"x:{n}"), data[::-1]) for n in range(200)]
    assert made == [mutator(data, Random(f"x:{n}"), data[::-1]) for n in range(200)]
    assert len(set(made)) > 100


def outcome(
    code: int | None, error: str = "", out: str = "", command: str = "sqgen lint x"
) -> Outcome:
    return Outcome(command, code, out.encode(), error.encode(), frozenset())


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (outcome(None), "hang"),
        (outcome(-11), "signal: 11"),
        (
            outcome(1, 'Traceback (most recent call last):\n  File "x", line 1, in f\nE\n'),
            "traceback",
        ),
        (outcome(2, "F x; this is a defect of sqgen\n"), "defect"),
        (outcome(5, "sqgen: caffe crashed\n"), "exit 5"),
        (outcome(1, "sqgen: no\n", command="sqgen summary x"), "exit 1"),
        (outcome(2), "silent"),
        (outcome(2, "sqgen: \x1b[31m\n"), "control characters"),
        (outcome(2, "sqgen: x\n" * 99), "verbose"),
        (outcome(0, out="[NaN]", command="sqgen summary x --json"), "json"),
        (outcome(2, "F x\nmore\n", command="sqgen-caffe time"), "log"),
        (outcome(2, "sqgen: x\n")._replace(created=frozenset({"o"})), "left"),
        (outcome(0)._replace(created=frozenset({".o.1.tmp"})), "left"),
    ],
)
def test_a_bad_end_is_found(bad: Outcome, kind: str) -> None:
    assert faults(bad, False)[0].startswith(kind)
    assert not faults(outcome(2, "sqgen: x: is empty\n"), False)
