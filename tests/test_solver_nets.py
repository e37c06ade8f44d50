"""Nets of solvers: inside the solver, or in files that are elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqgen import FormatError, parse_net, read_net
from sqgen.formats.prototxt import to_text
from sqgen.nets.definition import parse_solver
from sqgen.nets.solver_nets import read_solver_nets, relocate_nets

from .conftest import Run


def data(phase: str, side: int = 8) -> str:
    return (
        f'  layer {{ name: "data" type: "DummyData" top: "data" include {{ {phase} }}\n'
        f"    dummy_data_param {{ shape {{ dim: 2 dim: 3 dim: {side} dim: {side} }} }} }}\n"
    )


FC = '  layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"\n    %s }\n'
TEN = FC % "inner_product_param { num_output: 10 }"
NET = f'name: "inside"\n{data("phase: TRAIN")}{data("phase: TEST")}{TEN}'
FIELDS = 'base_lr: 0.1 lr_policy: "fixed"\n# {{ net_param {{\nmax_iter: 9 {}\n'


def test_a_net_inside_is_that_of_the_file(tmp_path: Path) -> None:
    """103 of the published solvers hold their net; summary and diff refused them."""
    text = FIELDS.format("") + f"net_param {{\n{NET}}}\n"
    (tmp_path / "solver.prototxt").write_text(text)
    net = read_net(tmp_path / "solver.prototxt")
    assert to_text(net.param) == to_text(parse_net(NET).param)
    assert [net.origin(layer).line for layer in net.param.layer] == [6, 8, 10]
    assert text.splitlines()[9].endswith('top: "fc"')
    assert parse_net(net.text).param == net.param  # what a run folder gets


@pytest.mark.parametrize("opening", ["net_param {", "net_param: {", "net_param <", "net_param\n{"])
def test_ways_to_open_a_message(opening: str) -> None:
    closing = ">" if "<" in opening else "}"
    net = parse_net(f"{FIELDS.format('')}{opening} {NET} {closing}")
    assert net.param.name == "inside"


def test_nets_to_train_and_test_are_one_of_two_phases() -> None:
    train = data('stage: "a"', 4) + data('stage: "b"', 16) + TEN
    text = FIELDS.format('train_state { stage: "b" } test_iter: 1 test_interval: 1')
    text += f"train_net_param {{ {train} }} test_net_param {{ {NET} }}"
    net = parse_net(text, "s")
    shapes = [layer.dummy_data_param.shape[0].dim[3] for layer in net.param.layer[::2]]
    assert shapes == [16, 8]
    assert [layer.name for layer in net.layers("TEST")] == ["data", "fc"]
    assert net.place(net.layers("TRAIN")[1]) == "s:8"
    tested = read_solver_nets(parse_solver(text), "s", text=text).tested[0]
    assert tested.place(tested.param.layer[0]) == "s:11"


def test_a_solver_without_a_net_inside_names_its_net() -> None:
    with pytest.raises(FormatError, match=r"s: is a solver, not a net; it trains a\.prototxt"):
        parse_net(FIELDS.format('net: "a.prototxt"'), "s")


@pytest.mark.parametrize(
    "command", [("summary",), ("lint",), ("diff", "-"), ("upgrade",), ("time", "--model")]
)
def test_commands_read_a_solver_with_its_net(
    command: tuple[str, ...], tmp_path: Path, sqgen: Run
) -> None:
    text = FIELDS.format("") + f"net_param {{\n{NET}}}\n"
    (tmp_path / "solver.prototxt").write_text(text)
    options = ("--engine", "torch", "--cpu", "--iterations", "1") if "time" in command else ()
    done = sqgen(*command, "solver.prototxt", *options, stdin=NET)
    assert done.returncode == 0, done.stderr
    assert "defect" not in done.stderr


# Solvers of other machines


def solver(net: str, policy: str = "fixed") -> str:
    return f'net: "{net}"\nbase_lr: 0.1\nlr_policy: "{policy}"\nmax_iter: 9\n'


def test_the_case_is_linted_without_its_net(sqgen: Run, shared: Path) -> None:
    """168 of 431 published solvers name folders of their authors; nothing of them was checked."""
    case = shared / "reported" / "34-solver-of-a-net-that-lies-elsewhere" / "solver.prototxt"
    done = sqgen("lint", str(case), "--json")
    rows = {row["rule"]: row["message"] for row in json.loads(done.stdout)}
    assert done.returncode == 1
    assert rows["solver"] == "no lr_policy 'ploy'; did you mean 'poly'?"
    assert "is not there, so no net is checked; sqgen lint NET --solver" in rows["missing-net"]


@pytest.mark.parametrize(
    ("path", "place", "found"),
    [
        ("/home/a/caffe/models/fire/net.prototxt", "models/fire/s.prototxt", "models/fire"),
        ("models/fire/net.prototxt", "models/fire/s.prototxt", "models/fire"),
        ("models/fire/net.prototxt", "models/solvers/s.prototxt", "models/fire"),
        ("../../fire/net.prototxt", "models/solvers/s.prototxt", "models/fire"),
        ("/home/a/net.prototxt", "models/solvers/s.prototxt", None),
        ("elsewhere/net.prototxt", "s.prototxt", None),
    ],
)
def test_the_net_of_the_same_place(
    path: str, place: str, found: str | None, tmp_path: Path, sqgen: Run
) -> None:
    (tmp_path / "models" / "fire").mkdir(parents=True)
    (tmp_path / "models" / "solvers").mkdir()
    (tmp_path / "models" / "fire" / "net.prototxt").write_text(NET.replace("10", "0"))
    file = tmp_path / "repository" / place
    (tmp_path / "models").rename(tmp_path / "repository_models")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository_models").rename(tmp_path / "repository" / "models")
    file.write_text(solver(path))
    moved, lost = relocate_nets(parse_solver(file.read_text()), str(file))
    expected = str(tmp_path / "repository" / found / "net.prototxt") if found else ""
    assert lost == {path: expected}
    assert moved.net == (expected or path)
    done = sqgen("lint", str(file))
    assert ("num_output must be positive" in done.stdout) == bool(found)
    assert ("is checked in its place" in done.stdout) == bool(found)
    trained = sqgen("train", "--solver", str(file))
    assert (trained.returncode, "did you mean" in trained.stderr) == (2, bool(found))


def test_a_net_that_is_there_is_no_finding(tmp_path: Path, sqgen: Run) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(solver("net.prototxt"))
    assert sqgen("lint", "solver.prototxt").stdout == "no findings\n"
