"""Deep Compression, whole: `sqgen compress train`."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import DesignError
from sqgen.compress.encoding import read_compressed
from sqgen.compress.prune import DensityRule
from sqgen.formats.caffemodel import blob_array, read_caffemodel
from sqgen.nets.definition import read_net
from sqgen.nets.solver_rules import ADAPTIVE_SOLVERS, SOLVERS
from sqgen.studies.compress_training import CompressionPlan
from sqgen.tools.compress import _resume_command

from . import engine_server
from .small_training import IMAGE, SOLVER, START, accuracy, data, loss, make_run, net, write_data


def test_steps_lead_to_the_density_in_equal_ratios() -> None:
    plan = CompressionPlan((DensityRule("conv*", 0.25),), steps=2, bits=3)
    assert [phase.name for phase in plan.phases("SGD")] == ["pruned1", "pruned2", "shared"]
    densities = [plan.rules(step)[0].density for step in (1, 2)]
    assert densities == pytest.approx([0.5, 0.25])
    assert [phase.name for phase in CompressionPlan().phases("SGD")] == ["shared"]
    rates = {name: CompressionPlan().phases(name)[-1].rate for name in SOLVERS}
    assert {name for name, rate in rates.items() if rate == 0.1} == {"SGD", "Nesterov"}
    assert {name for name, rate in rates.items() if rate == 1} == ADAPTIVE_SOLVERS
    with pytest.raises(DesignError, match="--steps 0: give 1 to"):
        CompressionPlan(steps=0)


pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep")
    write_data(folder)
    text = net(inputs=data("TRAIN", 8) + data("TEST", 16), scores=loss() + accuracy())
    solver = SOLVER.replace(f'weights: "{START}" ', "")
    rest = "base_lr: 0.01 momentum: 0.9 lr_policy: 'fixed' display: 5 max_iter: 6 snapshot: 4"
    made: Path = make_run(folder, "run", text, f"{solver}{rest} random_seed: 4")
    return made


def compress(place: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    words = ["--net", "net.prototxt", "--solver", "solver.prototxt", "--engine", "torch"]
    more = [*words, *arguments, "--", "--threads=1"]
    return engine_server.run("sqgen", ["compress", "train", *more], cwd=place)


def blobs(path: Path, place: Path) -> dict[str, Any]:
    model = (
        read_caffemodel(path)
        if path.suffix == ".caffemodel"
        else read_compressed(path, read_net(place / "net.prototxt"), IMAGE)
    )
    return {x.name: blob_array(x.blobs[0]) for x in model.layer if x.blobs}


def test_every_stage_holds_and_resumes(place: Path) -> None:
    asked = ("--weights", START, "--density", "0.3", "--bits", "2", "-o", "w.sqz", "--json")
    done = compress(place, *asked)
    assert done.returncode == 0, done.stderr.decode()
    points = json.loads(done.stdout)["points"]
    names = [point["name"] for point in points]
    stages = [f"{stage}{when}.sqz" for stage in ("pruned", "shared") for when in ("-untrained", "")]
    assert names == ["before", *stages]
    starts = [point["retrained_from"] for point in points]
    assert starts == [None, None, "pruned-untrained.sqz", None, "shared-untrained.sqz"]
    assert [point["p_value"] is None for point in points] == [start is None for start in starts]
    final = blobs(place / "w.sqz", place)
    pruned = blobs(place / "s_pruned_iter_6.caffemodel", place)
    for name, weights in final.items():
        assert np.count_nonzero(weights) == round(0.3 * weights.size)
        np.testing.assert_array_equal(weights == 0, pruned[name] == 0)
        assert len(np.unique(weights[weights != 0])) <= 3
    assert points[-1]["bytes"] == (place / "w.sqz").stat().st_size
    assert points[-1]["bytes"] == points[-2]["bytes"]

    whole = (place / "w.sqz").read_bytes()
    for file in (*place.glob("s_shared_*"), *place.glob("s_pruned_iter_6*")):
        file.unlink()
    done = compress(place, *asked, "--resume", "--force")
    assert done.returncode == 0, done.stderr.decode()
    assert (place / "w.sqz").read_bytes() == whole

    # As after a stop between the last snapshot and the file.
    (place / "w.sqz").unlink()
    done = compress(place, *asked, "--resume")
    assert done.returncode == 0, done.stderr.decode()
    assert (place / "w.sqz").read_bytes() == whole
    assert [point["name"] for point in json.loads(done.stdout)["points"]] == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.caffemodel"], "end it in .sqz or .net"),
        (["-o", "x.sqz", "--steps", "0", "--density", "0.5"], "--steps 0: give 1 to 20"),
        (["-o", "x.sqz", "--steps", "2"], "--steps 2: of pruning; give --density, too"),
        (["-o", "x.sqz", "--weights", f"{START},{START}"], "no such file or directory"),
        (["-o", "x.sqz", "--density", "0.001"], "leaves none of its weights"),
        (["-o", "x.sqz", "--bits", "9"], "9 bits: a shared weight has 2 to 8"),
        (["-o", "x.sqz", "--weights", "none.caffemodel"], "none.caffemodel"),
        (["-o", "x.sqz", "--density", "0.5", "--weights", "nan.caffemodel"], "nan or infinite in"),
    ],
)
def test_bad_input_starts_nothing(place: Path, arguments: list[str], message: str) -> None:
    broken = read_caffemodel(place / START)
    broken.layer[1].blobs[1].data[0] = math.nan
    (place / "nan.caffemodel").write_bytes(bytes(broken.SerializeToString()))
    before = sorted(place.iterdir())
    done = compress(place, "--weights", START, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode().splitlines()[-1]
    assert sorted(place.iterdir()) == before


def test_the_command_that_goes_on() -> None:
    words = ["sqgen", "compress", "train", "--weights", "a b", "--", "--threads=1"]
    wanted = "sqgen compress train --resume --weights 'a b' -- --threads=1"
    assert _resume_command(words) == wanted
    assert _resume_command([*words[:3], "--resume"]) == "sqgen compress train --resume"
