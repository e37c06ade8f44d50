"""How many layers the weights of a training or a test fit, and what makes more of them fit."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import sqgen
from sqgen import Design, NetError, build
from sqgen.formats.schema import Datum

from . import small_training as small
from .conftest import Run
from .databases import make_lmdb
from .small_nets import random_model, save
from .small_runs import StandIn, calls
from .small_training import SOLVER, engine, make_run, parsed, write_data

SMALL = Design(
    base_e=8,
    incr_e=4,
    fire_modules=4,
    size=32,
    classes=5,
    stem_filters=8,
    classifier="conv10",
    train_source="data",
    val_source="data",
)
RENAMED = SMALL.with_options(naming="generator", concat_order="3x3,1x1")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, weights of `SMALL`, and a solver of `net.prototxt`."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(3)
    records = []
    for label in range(5):
        datum = Datum(channels=3, height=32, width=32, label=label)
        datum.data = random.integers(0, 256, 3 * 32 * 32, dtype=np.uint8).tobytes()
        records.append(bytes(datum.SerializeToString()))
    make_lmdb(tmp_path / "data", records)
    save(random_model(build(SMALL, "deploy")), tmp_path / "w.caffemodel")
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 6 snapshot_prefix: "s"'
    )
    return tmp_path


def refusal(net: Design) -> str:
    """What `sqgen train` says of `w.caffemodel` for a net."""
    Path("net.prototxt").write_text(build(net, "trainval"))
    with pytest.raises(NetError) as caught:
        sqgen.train("solver.prototxt", weights="w.caffemodel", cpu=True, caffe="true")
    return str(caught.value)


FITTING = {
    "another dialect": (RENAMED, 14, 2, ""),
    "other classes": (RENAMED.with_options(classes=3, classifier="other"), 13, 1, " --partial"),
    "a bypass": (RENAMED.with_options(bypass="complex"), 14, 2, " --ignore-bypass"),
    "both": (
        RENAMED.with_options(bypass="complex", classes=3, classifier="other"),
        13,
        1,
        " --ignore-bypass --partial",
    ),
}


@pytest.mark.parametrize("kind", FITTING)
def test_the_command_that_makes_weights_fit(kind: str, place: Path, sqgen: Run) -> None:
    """Few layers fit; the suggested command makes most of them do."""
    net, fitting, before, flags = FITTING[kind]
    message = refusal(net)
    assert f"w.caffemodel: has weights for {before} of the " in message
    command = f"sqgen weights map w.caffemodel mapped.caffemodel --to net.prototxt{flags}"
    assert f"; {command} renames {fitting}; --partial-weights starts the others from" in message
    done = sqgen(*shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    caffe = StandIn(place)("train_two_test_nets", calls=place / "calls")
    done = sqgen(
        "train",
        "--solver",
        "solver.prototxt",
        "--weights",
        "mapped.caffemodel",
        "--cpu",
        "--caffe",
        caffe,
    )
    assert done.returncode == 0, done.stderr
    assert f"weights fit {fitting} of " in done.stderr


def test_a_test_suggests_it_too(place: Path) -> None:
    Path("net.prototxt").write_text(build(RENAMED, "trainval"))
    wanted = re.escape("sqgen weights map w.caffemodel mapped.caffemodel --to net.prototxt renames")
    with pytest.raises(NetError, match=f"has no weights for 12 of 14 layers of .*; {wanted} 14"):
        sqgen.test("net.prototxt", "w.caffemodel", caffe="true")


def test_nothing_is_suggested_that_does_not_help(place: Path) -> None:
    other = RENAMED.with_options(base_e=12, stem_filters=12)
    Path("net.prototxt").write_text(build(other, "trainval").replace('"conv1"', '"c"'))
    other_text = Path("net.prototxt").read_text()
    with pytest.raises(NetError) as caught:
        sqgen.train("solver.prototxt", weights="w.caffemodel", cpu=True, caffe="true")
    assert Path("net.prototxt").read_text() == other_text
    assert "weights map" not in str(caught.value)
    bare = random_model(build(SMALL, "deploy"), definitions=False)
    save(bare, place / "w.caffemodel")
    assert "weights map" not in refusal(RENAMED)


def test_partial_weights_go_on(place: Path) -> None:
    """If any layer fits; a solver's own weights are checked as well."""
    Path("net.prototxt").write_text(build(RENAMED, "trainval"))
    caffe = StandIn(place)("train_two_test_nets", calls=place / "calls")
    said: list[str] = []
    sqgen.train(
        "solver.prototxt",
        weights="w.caffemodel",
        partial_weights=True,
        cpu=True,
        caffe=caffe,
        log=said.append,
    )
    assert any(line.startswith("weights fit 2 of 14 layers; start from their") for line in said)
    assert calls(place / "calls")[-1][-1] == "--weights=w.caffemodel"
    solver = Path("solver.prototxt")
    solver.write_text(solver.read_text() + ' weights: "w.caffemodel"')
    with pytest.raises(NetError, match="has weights for 2 of the 14 layers"):
        sqgen.train("solver.prototxt", cpu=True, caffe=caffe)
    Path("net.prototxt").write_text(
        re.sub('name: "(conv1|conv10)"', r'name: "\1_other"', build(RENAMED, "trainval"))
    )
    with pytest.raises(NetError, match="has weights for none of the 14 layers"):
        sqgen.train("solver.prototxt", cpu=True, caffe=caffe, partial_weights=True)


def test_the_engine_warns_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Caffe does, which says nothing; its log is read as ever."""
    write_data(tmp_path)
    solver = SOLVER + "max_iter: 2 display: 1 base_lr: 0.01 lr_policy: 'fixed'"
    fine = make_run(tmp_path, "fine", small.net(), solver)
    monkeypatch.chdir(fine)
    assert "The weights fit" not in engine(["train", "--solver=solver.prototxt"], capsys)[1]
    renamed = small.net().replace('"conv1"', '"a"').replace('"ip"', '"b"')
    Path("net.prototxt").write_text(renamed)
    code, log = engine(["train", "--solver=solver.prototxt"], capsys)
    assert code == 0
    (line,) = [line for line in log.splitlines() if "The weights fit" in line]
    assert re.fullmatch(
        r"W\d{4} \S+ +\d+ solver.py:\d+\] The weights fit 1 of 3 layers; start from their"
        r" fillers: a, b",
        line,
    )
    result = parsed(log)
    assert result.completed
    assert not result.warnings or result.warnings == parsed(log).warnings
