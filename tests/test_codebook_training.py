"""Trained shared values: `sqgen compress finetune`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen.compress.constraints import codebook_constraints
from sqgen.compress.encoding import Settings, encode, read_compressed
from sqgen.compress.prune import DensityRule
from sqgen.compress.weighted_layers import find_weighted_layers
from sqgen.formats.caffemodel import blob_array, read_caffemodel
from sqgen.nets.definition import parse_net, read_net

from . import engine_server
from .small_nets import conv, net_input, random_model
from .small_training import IMAGE, SOLVER, START, accuracy, data, loss, make_run, net, write_data

TEXT = net_input() + conv("a", "data", 4, 3) + conv("b", "a", 6)


@pytest.mark.parametrize("density", [1.0, 0.4])
def test_constraints_are_the_codes(density: float) -> None:
    definition = parse_net(TEXT)
    settings = Settings(bits=3, density=(DensityRule("*", density),))
    model = encode(random_model(TEXT), definition, settings).model
    found = codebook_constraints(model, find_weighted_layers(definition))
    assert {str(name) for name in found} == {"a/0", "b/0"}
    for name, constraint in found.items():
        weights = next(blob_array(x.blobs[0]) for x in model.layer if x.name == name.layer)
        assert constraint.zeros == np.count_nonzero(weights == 0)
        assert constraint.groups == len(np.unique(weights[weights != 0]))
        for group in range(1, constraint.groups + 1):
            assert len(np.unique(weights[constraint.codes == group])) == 1


pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its weights as `w.sqz`, of at most four values a layer."""
    folder = tmp_path_factory.mktemp("codebook")
    write_data(folder)
    text = net(inputs=data("TRAIN", 8) + data("TEST", 16), scores=loss() + accuracy())
    solver = SOLVER.replace(f'weights: "{START}" ', "")
    rest = "base_lr: 0.002 momentum: 0.9 lr_policy: 'fixed' display: 5 max_iter: 10"
    tests = " test_iter: 4 test_interval: 5 snapshot: 4 random_seed: 4"
    made = make_run(folder, "run", text, solver + rest + tests)
    model = read_caffemodel(made / START)
    settings = Settings(bits=2, density=(DensityRule("*", 0.5),))
    coded = encode(model, read_net(made / "net.prototxt"), settings, image=IMAGE)
    (made / "w.sqz").write_bytes(coded.bytes)
    return made


def finetune(place: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    words = ("w.sqz", "--net", "net.prototxt", "--solver", "solver.prototxt")
    more = ("--engine", "torch", *arguments, "--", "--threads=1")
    return engine_server.run("sqgen", ["compress", "finetune", *words, *more], cwd=place)


def blobs(path: Path) -> dict[str, Any]:
    model = read_compressed(path, read_net(path.parent / "net.prototxt"), IMAGE)
    return {x.name: [blob_array(b) for b in x.blobs] for x in model.layer if x.blobs}


def test_values_learn_and_codes_stay(place: Path) -> None:
    done = finetune(place, "-o", "t.sqz", "--json")
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    before, after = blobs(place / "w.sqz"), blobs(place / "t.sqz")
    for name in before:
        old, new = before[name][0], after[name][0]
        np.testing.assert_array_equal(old == 0, new == 0)
        assert (old != new).any()
        for value in np.unique(old):
            assert len(np.unique(new[old == value])) == 1
    assert report["bytes"] == {
        "before": (place / "w.sqz").stat().st_size,
        "after": (place / "t.sqz").stat().st_size,
    }
    # Values may lose or gain a zero; codes, gaps and tables stay.
    assert report["bytes"]["before"] == report["bytes"]["after"]
    loss_of = report["scores"]["loss"]
    assert loss_of["after"] < loss_of["before"]

    # A shorter training is tested at its end; one that tests nothing later has no score.
    done = finetune(place, "-o", "u.sqz", "--max-iter", "3", "--json")
    assert json.loads(done.stdout)["scores"]["loss"].keys() == {"before", "after"}
    late = (place / "solver.prototxt").read_text().replace("test_interval: 5", "test_interval: 50")
    (place / "late.prototxt").write_text(late.replace('"s"', '"late"'))
    done = finetune(place, "-o", "v.sqz", "--solver", "late.prototxt", "--json")
    assert json.loads(done.stdout)["scores"] == {}
    said = done.stderr.decode()
    assert said.count("the trained weights get no score") == 1
    assert "sqgen compress eval WEIGHTS FILE OUT tests both files" in said

    # The same command goes on from a snapshot, to the same file.
    whole = (place / "t.sqz").read_bytes()
    for file in place.glob("s_iter_[89]*"):
        file.unlink()
    for file in place.glob("s_iter_10*"):
        file.unlink()
    done = finetune(place, "-o", "t.sqz", "--force", "--resume")
    assert done.returncode == 0, done.stderr.decode()
    assert (place / "t.sqz").read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "t.caffemodel"], "end it in .sqz or .net"),
        (["-o", "w.sqz"], "--force"),
        (["-o", "x.sqz", "--val-data", "none"], "none"),
        (["-o", "x.sqz", "--max-iter", "-3"], "--max-iter -3: give 1 to"),
    ],
)
def test_bad_input_is_one_line(place: Path, arguments: list[str], message: str) -> None:
    before = sorted(place.iterdir())
    done = finetune(place, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode().splitlines()[-1]
    assert sorted(place.iterdir()) == before


def test_a_file_of_another_net(place: Path) -> None:
    (place / "other.prototxt").write_text(TEXT)
    words = ["w.sqz", "--net", "other.prototxt", "--solver", "solver.prototxt", "-o", "x.sqz"]
    done = engine_server.run("sqgen", ["compress", "finetune", *words], cwd=place)
    assert done.returncode == 2
    assert b"another net" in done.stderr or b"of other layers" in done.stderr
