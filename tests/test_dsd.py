"""Dense-Sparse-Dense training: `sqgen train --dsd`."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import sqgen
from sqgen import DesignError, NetError, RunError, SqgenError
from sqgen.errors import OutputError
from sqgen.formats.caffemodel import blob_array, read_caffemodel, read_solver_state
from sqgen.formats.constraints import read_constraints
from sqgen.formats.snapshot_lock import SnapshotLock
from sqgen.nets.definition import parse_net, parse_solver
from sqgen.nets.shapes import require_shapes
from sqgen.runner.dsd import mask_weights, parse_dsd
from sqgen.weights.magnitude import largest_mask

from .small_nets import conv, layer, net_input, random_model
from .small_runs import StandIn
from .small_training import SOLVER, START, data, loss, make_run, net, weights, write_data

Array = np.ndarray[Any, Any]


# Which weights are trained.


@given(
    arrays.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([-2, -1, 0, 1, 2])),
    st.data(),
)
def test_the_largest_are_kept_and_of_equal_ones_the_first(blob: Array, draw: st.DataObject) -> None:
    count = draw.draw(st.integers(0, blob.size))
    mask = largest_mask(blob, count)
    assert mask.sum() == count
    places = sorted(range(blob.size), key=lambda i: (-abs(float(blob[i])), i))
    assert set(np.flatnonzero(mask)) == set(places[:count])


TEXT = (
    net_input()
    + conv("conv1", "data", 4, 3)
    + conv("conv2", "conv1", 6)
    + conv("fire/squeeze", "conv2", 5)
    + layer("InnerProduct", "ip", "fire/squeeze", rest="inner_product_param { num_output: 3 }")
)


def masks_of(
    sparsity: float,
    leave: tuple[str, ...] = (),
    special: tuple[str, ...] = (),
    model: Any = None,
    text: str = TEXT,
) -> dict[str, tuple[int, int]]:
    """Name of each masked blob -> how many weights are free, of how many."""
    shapes = require_shapes(parse_net(text), "TEST")
    options = parse_dsd(f"{sparsity}", leave, special)
    made = mask_weights(shapes, model or random_model(TEXT), sparsity, options)
    return {str(name): (m.codes.size - m.zeros, m.codes.size) for name, m in made.items()}


def test_every_layer_but_the_first_convolution_is_sparse() -> None:
    found = masks_of(0.3)
    assert found.keys() == {"conv2/0", "fire/squeeze/0", "ip/0"}
    assert all(free == round(0.7 * size) for free, size in found.values())
    assert masks_of(0.3, ("fire/*,ip",)).keys() == {"conv2/0"}
    special = masks_of(0.3, (), ("conv1=0.5", "ip=0.25"))
    assert special["conv1/0"] == (54, 108)
    assert special["ip/0"][0] == round(0.75 * special["ip/0"][1])


def test_frozen_weights_are_not_masked() -> None:
    """They would stay zero in the dense phase, too."""
    text = TEXT.replace('name: "conv2"', 'name: "conv2" param { lr_mult: 0 }')
    text = text.replace('name: "ip"', 'name: "ip" param { lr_mult: 1 } param { lr_mult: 0 }')
    assert masks_of(0.3, text=text).keys() == {"fire/squeeze/0", "ip/0"}
    assert "conv2/0" in masks_of(0.3, (), ("conv2=0.5",), text=text)


def test_what_cannot_be_masked() -> None:
    with pytest.raises(NetError, match=r"layer 'fire/squeeze': a sparsity of 0\.99 leaves none"):
        masks_of(0.5, (), ("fire/*=0.99",))
    with pytest.raises(DesignError, match=r"--leave conv9: matches no layer .* sparse; did you"):
        masks_of(0.5, ("conv9",))
    with pytest.raises(DesignError, match="no layer would be sparse"):
        masks_of(0.5, ("*",))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("",), "--dsd: '' is no number; write 0.3"),
        (("0.3,x",), "--dsd: 'x' is no number"),
        (("0",), "--dsd 0: a sparsity is above 0 and below 1"),
        (("1.0",), "--dsd 1: a sparsity is above 0"),
        (("nan",), "--dsd nan: a sparsity is above 0"),
        (("0.3", (), ("ip",)), "--sparsity-for ip: write PATTERN=X, as conv10=0.5"),
        (("0.3", (), ("ip=2",)), "--sparsity-for ip=2: a sparsity is above 0"),
    ],
)
def test_malformed_options(words: Any, message: str) -> None:
    with pytest.raises(SqgenError, match=re.escape(message)):
        parse_dsd(*words)


# The training.

pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

MORE = "base_lr: 0.05 momentum: 0.9 lr_policy: 'step' stepsize: 4 gamma: 0.5 display: 1 snapshot: 2"
ITERATIONS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dsd")
    write_data(made)
    return made


@pytest.fixture
def place(folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = net(inputs=data("TRAIN", 8), scores=loss())
    solver = SOLVER.replace(f'weights: "{START}" ', "") + MORE
    made = make_run(
        folder, request.node.name, text, f"{solver} max_iter: {ITERATIONS} random_seed: 4"
    )
    monkeypatch.chdir(made)
    return made


def train(**options: Any) -> sqgen.LogResult:
    return sqgen.train("solver.prototxt", engine="torch", arguments=["--threads=1"], **options)


def position(name: str) -> tuple[int, int]:
    """The phase of a snapshot's file, and its iteration."""
    phase, iteration = re.fullmatch(r"s_(\w+)_iter_(\d+)\..*", name).groups()  # type: ignore[union-attr]
    return ("sparse1", "dense1", "sparse2", "dense2").index(phase), int(iteration)


def zeros(blob: Array) -> int:
    return int(blob.size - np.count_nonzero(blob))


@pytest.mark.usefixtures("forked_engine")
def test_both_phases(place: Path) -> None:
    result = train(weights=START, dsd="0.3")
    assert result.completed
    assert [segment.last_iteration for segment in result.segments] == [ITERATIONS, ITERATIONS]
    assert [phase["name"] for phase in result.run["phases"]] == ["sparse", "dense"]
    run = Path(result.run["folder"])
    copies = [parse_solver((run / f"solver_{p}.prototxt").read_text()) for p in ("sparse", "dense")]
    assert [copy.base_lr for copy in copies] == pytest.approx([0.05, 0.005])
    assert [copy.snapshot_prefix for copy in copies] == ["s_sparse", "s_dense"]
    before = weights(place / START)
    masks = read_constraints("s_sparse.constraints.npz")
    assert {name.layer for name in masks} == {"conv2", "ip"}
    for iteration in range(2, ITERATIONS + 1, 2):
        after = weights(place / f"s_sparse_iter_{iteration}.caffemodel")
        assert zeros(after["conv1"][0]) == 0
        for name, mask in masks.items():
            blob, size = after[name.layer][0], mask.codes.size
            assert zeros(blob) == mask.zeros == size - round(0.7 * size)
            kept = largest_mask(before[name.layer][0], size - mask.zeros)
            np.testing.assert_array_equal(kept, mask.codes != 0)
            assert not blob[~kept].any()
    dense = weights(place / f"s_dense_iter_{ITERATIONS}.caffemodel")
    assert all(zeros(dense[name.layer][0]) == 0 for name in masks)
    state = read_solver_state(place / "s_sparse_iter_6.solverstate")
    history = [blob_array(blob) for blob in state.history]
    assert zeros(history[2]) >= masks[next(iter(masks))].zeros


@pytest.mark.usefixtures("forked_engine")
def test_either_phase_resumes_to_the_same_bits(place: Path) -> None:
    """As after kill -9: from a snapshot in a phase, at its end, and in the next."""
    train(weights=START, dsd="0.3,0.2")
    wanted = (place / "s_dense2_iter_6.caffemodel").read_bytes()
    for stage in ("sparse1_iter_4", "sparse1_iter_6", "dense1_iter_2", "sparse2_iter_2"):
        for file in place.glob("s_*_iter_*"):
            if position(file.name) > position(f"s_{stage}.solverstate"):
                file.unlink()
        shutil.rmtree(place / "runs")
        result = train(resume=True, dsd="0.3,0.2")
        assert result.completed
        assert (place / "s_dense2_iter_6.caffemodel").read_bytes() == wanted, stage
        with pytest.raises(SqgenError, match="the end of the last phase: nothing is left to do"):
            train(resume=True, dsd="0.3,0.2", run_dir="none")
        assert not Path("none").exists()
        resumed = [segment.resumed_from for segment in result.segments]
        assert (resumed[0] is None) == stage.endswith("_6")


def test_bad_input_starts_nothing(place: Path) -> None:
    before = sorted(place.iterdir())
    broken = read_caffemodel(START)
    broken.layer[1].blobs[1].data[2] = math.nan  # a bias, which no mask has
    caffe = StandIn(place.parent)()
    refused: list[tuple[dict[str, Any], str]] = [
        ({"dsd": "0.3"}, "starts from trained weights: give --weights, or --resume"),
        ({"dsd": "0.3", "resume": True}, "no complete snapshot s_sparse_iter_"),
        ({"dsd": "0.3", "weights": START, "constraints": "c.npz"}, "takes no --constraints"),
        ({"dsd": "0.999", "weights": START}, "leaves none of its 216 weights"),
        ({"dsd": "0.3", "weights": START, "leave": ["*"]}, "no layer would be sparse"),
        ({"dsd": "0.3", "weights": START, "freeze": ["conv2", "ip"]}, "no layer would be sparse"),
        ({"weights": START, "leave": ["ip"]}, "--leave and --sparsity-for go with --dsd"),
    ]
    for options, message in refused:
        with pytest.raises(SqgenError, match=message):
            train(**options)
    with pytest.raises(SqgenError, match="obeys no constraints"):
        sqgen.train("solver.prototxt", weights=START, dsd="0.3", caffe=caffe)
    assert sorted(place.iterdir()) == before
    (place / "nan.caffemodel").write_bytes(bytes(broken.SerializeToString()))
    with pytest.raises(SqgenError, match=r"nan\.caffemodel: .* are nan or infinite in conv2"):
        train(weights="nan.caffemodel", dsd="0.3")


def test_two_trainings_never_share_a_prefix_in_other_phases(place: Path) -> None:
    with SnapshotLock("s"), pytest.raises(OutputError, match="is training with this snapshot_pre"):
        train(weights=START, dsd="0.3")
    assert not list(place.glob("s_*"))


@pytest.mark.usefixtures("forked_engine")
def test_a_phase_that_fails_says_how_to_go_on(place: Path) -> None:
    solver = (place / "solver.prototxt").read_text()
    (place / "solver.prototxt").write_text(solver.replace("base_lr: 0.05", "base_lr: 1e30"))
    with pytest.raises(RunError) as error:
        train(weights=START, dsd="0.3")
    assert error.value.result.run["phases"]
