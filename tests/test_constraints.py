"""Constraints of a training: weights that stay zero, weights that share a value."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen import FormatError
from sqgen.formats.constraints import (
    BlobName,
    Constraint,
    constraints_digest,
    encode_constraints,
    parse_constraints,
    read_constraints,
)
from sqgen.formats.npz import encode_npz
from sqgen.formats.schema import SolverParameter

from . import engine_server
from .optimizer_reference import TYPES, reference
from .small_runs import StandIn
from .small_training import SOLVER, START, data, engine, make_run, net, spawn, weights, write_data

torch = pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.engine.constraints import constrain  # noqa: E402
from sqgen.engine.optimizer import Optimizer  # noqa: E402
from sqgen.engine.parameters import Parameter  # noqa: E402

Array = np.ndarray[Any, Any]


@st.composite
def constraints_of(draw: st.DrawFn, shape: tuple[int, ...]) -> Constraint:
    """Any constraint of a blob."""
    size = math.prod(shape)
    codes = draw(st.lists(st.integers(-1, 4), min_size=size, max_size=size))
    count = max(0, *codes)
    value = st.one_of(st.just(math.nan), st.floats(-2, 2))
    values = draw(st.lists(value, min_size=count, max_size=count))
    return Constraint(np.array(codes, np.int32).reshape(shape), np.array(values, np.float64))


def check_obeys(blob: Array, constraint: Constraint) -> None:
    """Exactly: as many zeros and as many values as the constraint says."""
    codes = constraint.codes
    assert not blob[codes == 0].any()
    for group in np.unique(codes[codes > 0]):
        members = blob[codes == group]
        assert (members == members[0]).all()
        if not math.isnan(value := constraint.values[group - 1]):
            assert members[0] == np.float64(value).astype(blob.dtype)


class Plain:
    """What is learned of a blob, in NumPy: a number for each free weight and learned group."""

    def __init__(self, constraint: Constraint, blob: Array) -> None:
        codes = constraint.codes.reshape(-1)
        learned = [g for g in np.unique(codes[codes > 0]) if math.isnan(constraint.values[g - 1])]
        self.members = [np.flatnonzero(codes == group) for group in learned]
        self.members += [np.array([place]) for place in np.flatnonzero(codes == -1)]
        self.blob = np.zeros(blob.shape)
        for group, value in enumerate(constraint.values, 1):
            if not math.isnan(value):
                self.blob.reshape(-1)[codes == group] = value
        self.put(np.array([blob.reshape(-1)[place].mean() for place in self.members]))

    def sums(self, g: Array) -> Array:
        return np.array([g.reshape(-1)[place].sum() for place in self.members])

    def put(self, numbers: Array) -> None:
        self.numbers = numbers
        for place, number in zip(self.members, numbers, strict=True):
            self.blob.reshape(-1)[place] = number


@settings(max_examples=30)
@given(
    constraints_of((3, 2, 2, 2)),
    st.sampled_from(TYPES),
    st.sampled_from(["", "L1", "L2"]),
    st.integers(0, 99),
)
def test_steps_are_those_of_the_numbers_that_are_learned(
    constraint: Constraint, kind: str, penalty: str, seed: int
) -> None:
    """Beside a free blob: clipped together, decayed a member each, over several rates."""
    random = np.random.default_rng(seed)
    solver = SolverParameter(type=kind, delta=1e-6, iter_size=2, clip_gradients=6.0)
    solver.momentum, solver.momentum2, solver.rms_decay = 0.9, 0.99, 0.95
    if penalty:
        solver.weight_decay, solver.regularization_type = 0.1, penalty
    shapes = [constraint.codes.shape, (4,)]
    blobs = [torch.from_numpy(random.normal(size=shape)) for shape in shapes]
    blobs[0] = blobs[0].contiguous(memory_format=torch.channels_last)
    free = Constraint(np.full(shapes[1], -1, np.int32), np.zeros(0))
    plain = [Plain(c, b.numpy()) for c, b in zip((constraint, free), blobs, strict=True)]
    members = [np.array([len(place) for place in each.members]) for each in plain]
    parameters = [Parameter("l", i, blob, 1.0 + i, 1.0) for i, blob in enumerate(blobs)]
    optimizer = Optimizer(solver, parameters, [constrain(parameters[0], constraint), None])
    optimizer.impose()
    hs = [[np.zeros(len(each.numbers))] * optimizer.history_blobs for each in plain]
    for iteration, rate in enumerate([0.1, 0.1, 0.03, 0.0]):
        full = [random.normal(size=shape) for shape in shapes]
        for parameter, g in zip(parameters, full, strict=True):
            parameter.grad = torch.from_numpy(g.copy())
        gs = [each.sums(g) for each, g in zip(plain, full, strict=True)]
        norm = math.sqrt(sum(float((g**2).sum()) for g in gs))
        optimizer.apply(rate, iteration)
        for i, (each, g) in enumerate(zip(plain, gs, strict=True)):
            g = g * min(1.0, solver.clip_gradients / (norm or 1.0)) / 2
            if penalty:
                term = np.sign(each.numbers) if penalty == "L1" else each.numbers
                g = g + solver.weight_decay * members[i] * term
            step = rate * (1.0 + i)
            numbers, hs[i] = reference(kind, solver, each.numbers, hs[i], g, step, iteration + 1)
            each.put(numbers)
            np.testing.assert_allclose(blobs[i].numpy(), each.blob, rtol=1e-8, atol=1e-10)
            for number, history in enumerate(hs[i]):
                made = optimizer.history()[number * 2 + i].numpy().reshape(-1)
                for place, value in zip(each.members, history, strict=True):
                    np.testing.assert_allclose(made[place], value, rtol=1e-8, atol=1e-12)
                assert np.count_nonzero(made) <= sum(map(len, each.members))
        check_obeys(blobs[0].numpy(), constraint)


def test_a_history_comes_back() -> None:
    codes = np.array([0, 1, 1, -1, 2], np.int32)
    constraint = Constraint(codes, np.array([math.nan, 0.5]))
    solver = SolverParameter(type="Adam", momentum=0.9, momentum2=0.99, delta=1e-8)

    def optimizer() -> tuple[Optimizer, Parameter]:
        parameter = Parameter("l", 0, torch.arange(5.0), 1.0, 1.0)
        made = Optimizer(solver, [parameter], [constrain(parameter, constraint)])
        made.impose()
        return made, parameter

    first, parameter = optimizer()
    assert parameter.data.tolist() == [0, 1.5, 1.5, 3, 0.5]
    parameter.grad = torch.ones(5)
    first.apply(0.1, 0)
    second, other = optimizer()
    second.load_history([blob.clone() for blob in first.history()])
    other.data.copy_(parameter.data)
    second.impose()
    for one, its in ((first, parameter), (second, other)):
        its.grad = torch.full((5,), 2.0)
        one.apply(0.1, 1)
    assert parameter.data.tolist() == other.data.tolist()
    assert [b.tolist() for b in first.history()] == [b.tolist() for b in second.history()]
    assert first.history()[0][0] == first.history()[0][4] == 0


# In the engine.

PREFIX = SOLVER + "base_lr: 0.05 momentum: 0.9 weight_decay: 0.01 lr_policy: 'fixed' display: 1 "
INPUTS = data("TRAIN", 8)
SHAPES = {"conv1": (6, 3, 3, 3), "conv2": (4, 6, 3, 3)}
TRAIN = ("train", "--solver=solver.prototxt", "--threads=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("constraints")
    write_data(made)
    return made


def some_constraints(seed: int = 0) -> dict[BlobName, Constraint]:
    """Half of conv1 masked; in conv2 three shared values, one of them constant, and free ones."""
    random = np.random.default_rng(seed)
    mask = -random.integers(0, 2, SHAPES["conv1"]).astype(np.int32)
    codes = random.integers(-1, 4, SHAPES["conv2"]).astype(np.int32)
    return {
        BlobName("conv1", 0): Constraint(mask, np.zeros(0)),
        BlobName("conv2", 0): Constraint(codes, np.array([math.nan, 0.25, math.nan])),
    }


def place_for(folder: Path, name: str, more: str, seed: int = 0) -> Path:
    place = make_run(folder, name, net(inputs=INPUTS, scores=net_loss()), PREFIX + more)
    (place / "c.npz").write_bytes(encode_constraints(some_constraints(seed)))
    return place


def net_loss() -> str:
    return (
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_every_snapshot_obeys(
    precision: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = place_for(folder, f"obeys_{precision}", "max_iter: 6 snapshot: 1 iter_size: 2")
    monkeypatch.chdir(place)
    code, log = engine((*TRAIN, "--constraints=c.npz", f"--precision={precision}"), capsys)
    assert code == 0, log
    zeros = sum(c.zeros for c in some_constraints().values())
    assert "Constraints from c.npz: of 378 weights in 2 blobs, " in log
    assert f"{zeros} stay zero, 3 values are shared" in log
    before = weights(place / START)["conv1"][0]
    for iteration in range(1, 7):
        after = weights(place / f"s_iter_{iteration}.caffemodel")
        for name, constraint in some_constraints().items():
            check_obeys(after[name.layer][0], constraint)
        assert (after["conv1"][0] != before).any()
        before = after["conv1"][0]


def test_masked_channels_train_as_a_smaller_net(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last two filters of conv1 masked with their biases, and what conv2 reads of them."""
    masks = {
        BlobName("conv1", 0): np.full(SHAPES["conv1"], -1, np.int32),
        BlobName("conv1", 1): np.full((6,), -1, np.int32),
        BlobName("conv2", 0): np.full(SHAPES["conv2"], -1, np.int32),
    }
    masks[BlobName("conv1", 0)][4:] = masks[BlobName("conv1", 1)][4:] = 0
    masks[BlobName("conv2", 0)][:, 4:] = 0
    place = place_for(folder, "masked", "max_iter: 8 snapshot_after_train: true")
    made = {name: Constraint(codes, np.zeros(0)) for name, codes in masks.items()}
    (place / "c.npz").write_bytes(encode_constraints(made))
    text = net(inputs=INPUTS, scores=net_loss()).replace("num_output: 6", "num_output: 4")
    small = make_run(folder, "smaller", text, PREFIX + "max_iter: 8")
    copy_part(place / START, small / START)
    for where, flags in ((place, ["--constraints=c.npz"]), (small, [])):
        monkeypatch.chdir(where)
        code, log = engine((*TRAIN, "--precision=fp64", *flags), capsys)
        assert code == 0, log
    masked, wanted = (weights(p / "s_iter_8.caffemodel") for p in (place, small))
    np.testing.assert_allclose(masked["conv1"][0][:4], wanted["conv1"][0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(masked["conv2"][0][:, :4], wanted["conv2"][0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(masked["ip"][0], wanted["ip"][0], rtol=1e-5, atol=1e-7)


def copy_part(source: Path, target: Path) -> None:
    """Weights without the last two channels between conv1 and conv2."""
    from sqgen.formats.caffemodel import blob_array, fill_blob, read_caffemodel

    model = read_caffemodel(source)
    for layer in model.layer:
        blobs = [blob_array(blob) for blob in layer.blobs]
        if layer.name == "conv1":
            blobs = [blob[:4] for blob in blobs]
        elif layer.name == "conv2":
            blobs[0] = blobs[0][:, :4]
        del layer.blobs[:]
        for blob in blobs:
            fill_blob(layer.blobs.add(), np.ascontiguousarray(blob))
    target.write_bytes(bytes(model.SerializeToString()))


def test_a_killed_training_goes_on_under_its_constraints(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = place_for(folder, "killed", "max_iter: 1000000 snapshot: 3 random_seed: 5")
    with spawn((*TRAIN, "--constraints=c.npz"), place) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "] Iteration 8 (" in line:
                process.send_signal(signal.SIGKILL)
    saved = sorted(place.glob("*.solverstate"), key=lambda p: int(p.stem.split("_")[-1]))[-1]
    last = int(saved.stem.split("_")[-1]) + 4
    whole = place_for(folder, "not_killed", f"max_iter: {last} random_seed: 5")
    (place / "solver.prototxt").write_text(PREFIX + f"max_iter: {last} random_seed: 5")
    monkeypatch.chdir(whole)
    assert engine((*TRAIN, "--constraints=c.npz"), capsys)[0] == 0
    monkeypatch.chdir(place)
    # Without the flag: the state says which constraints.
    code, log = engine((*TRAIN, f"--snapshot={saved.name}"), capsys)
    assert code == 0, log
    for kind in ("caffemodel", "solverstate"):
        ours, wanted = (p / f"s_iter_{last}.{kind}" for p in (place, whole))
        assert ours.read_bytes() == wanted.read_bytes()

    # Other constraints, none where there were some, some where there were none.
    (place / "other.npz").write_bytes(encode_constraints(some_constraints(1)))
    code, log = engine((*TRAIN, f"--snapshot={saved.name}", "--constraints=other.npz"), capsys)
    assert code == 2
    assert "is of a training with other constraints (its own: c.npz); resume with those" in log
    (place / "c.npz").unlink()
    code, log = engine((*TRAIN, f"--snapshot={saved.name}"), capsys)
    assert (code, "c.npz" in log.splitlines()[-1]) == (2, True)
    shutil.copy(place / "other.npz", place / "c.npz")
    code, log = engine((*TRAIN, f"--snapshot={saved.name}"), capsys)
    assert code == 2
    saved.with_suffix(".sqgenstate").unlink()
    code, log = engine((*TRAIN, f"--snapshot={saved.name}", "--constraints=other.npz"), capsys)
    assert (code, "start from these, with --weights" in log) == (2, True)


ONES = -np.ones((6, 3, 3, 3), np.int64)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"conv1/0": ONES[:5]}, "has codes of shape 5x3x3x3, but the net's blob is 6x3x3x3"),
        ({"conv9/0": ONES}, "the net has no layer 'conv9'; did you mean 'conv"),
        ({"conv1/2": ONES}, "conv1/2: its layer has 2 parameter blobs, counted from 0"),
        ({"conv1": ONES}, "array 'conv1' names no blob; write LAYER/NUMBER, as conv1/0"),
        ({"conv1/0": ONES.astype(float)}, "codes are integers, not float64"),
        ({"conv1/0": ONES - 1}, "a code is -1 (free), 0 (stays zero) or a group from 1"),
        ({"conv1/0/values": np.ones(1)}, "has values of conv1/0, but no codes for them"),
        ({"conv1/0": ONES, "conv1/0/values": np.ones(2)}, "values are 0 floats, one a group"),
        ({"conv1/0": -ONES, "conv1/0/values": np.full(1, np.inf)}, "a value is infinite"),
        ({}, "has no constraints"),
    ],
)
def test_constraints_that_cannot_hold(
    arrays: dict[str, Array],
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = folder / "refused"
    if not place.exists():
        place_for(folder, "refused", "max_iter: 1")
    (place / "bad.npz").write_bytes(encode_npz(arrays))
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())
    code, log = engine((*TRAIN, "--constraints=bad.npz"), capsys)
    assert code == 2
    assert message in log.splitlines()[-1]
    assert sorted(place.iterdir()) == before


# `sqgen train --constraints`.


def test_the_runner_passes_them_on_and_records_them(
    folder: Path,
) -> None:
    place = place_for(folder, "run", "max_iter: 4 snapshot: 2")
    run = ("train", "--solver", "solver.prototxt", "--engine", "torch", "--json", "--cpu")
    result = read_json(sqgen_in(place, *run, "--constraints", "c.npz"))
    assert result["run"]["constraints"] == "c.npz"
    for name, constraint in some_constraints().items():
        check_obeys(weights(place / "s_iter_4.caffemodel")[name.layer][0], constraint)
    (place / "solver.prototxt").write_text(PREFIX + "max_iter: 6")
    result = read_json(sqgen_in(place, *run, "--resume"))
    assert result["run"]["constraints"] == "c.npz"
    for name, constraint in some_constraints().items():
        check_obeys(weights(place / "s_iter_6.caffemodel")[name.layer][0], constraint)

    # A real caffe would go on without them.
    (place / "solver.prototxt").write_text(PREFIX + "max_iter: 8")
    caffe = StandIn(place)()
    before = sorted(place.iterdir())
    for flags in (["--constraints", "c.npz"], ["--snapshot", "s_iter_4.solverstate"]):
        solver = ("train", "--solver", "solver.prototxt", "--caffe", caffe)
        done = sqgen_in(place, *solver, *flags)
        assert done.returncode == 2
        assert "obeys no constraints, which only the embedded engine does" in done.stderr
    # Other constraints than the snapshot's run had, by the flag or in the place of its file.
    (place / "solver.prototxt").write_text(PREFIX + "max_iter: 9")
    other = encode_constraints(some_constraints(1))
    (place / "other.npz").write_bytes(other)
    before = sorted(place.iterdir())
    done = sqgen_in(place, *run, "--resume", "--constraints", "other.npz")
    (place / "c.npz").write_bytes(other)
    replaced = sqgen_in(place, *run, "--resume")
    for refused in (done, replaced):
        assert refused.returncode == 2
        assert "with other constraints (its own: c.npz)" in refused.stderr.splitlines()[-1]
    (place / "c.npz").write_bytes(encode_npz({"conv1/0": ONES[:5]}))
    done = sqgen_in(place, *run, "--constraints", "c.npz")
    assert done.returncode == 2
    assert "c.npz: conv1/0: has codes of shape 5x3x3x3" in done.stderr.splitlines()[-1]
    assert sorted(place.iterdir()) == before


def sqgen_in(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    done = engine_server.run("sqgen", arguments, cwd=place)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def read_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# The file.


@given(
    st.dictionaries(st.text("ab/é ", min_size=1, max_size=6), constraints_of((2, 3)), min_size=1)
)
def test_files_come_back(made: dict[str, Constraint]) -> None:
    named = {BlobName(layer, len(layer) % 3): c for layer, c in made.items()}
    data = encode_constraints(named)
    assert data == encode_constraints(dict(reversed(named.items())))
    read = parse_constraints(data, "c.npz")
    assert read.keys() == named.keys()
    for name, constraint in named.items():
        np.testing.assert_array_equal(read[name].codes, constraint.codes)
        np.testing.assert_array_equal(read[name].values, constraint.values)
    assert constraints_digest(read) == constraints_digest(named)


@given(st.data())
def test_damaged_files_are_one_error(data: st.DataObject) -> None:
    whole = bytearray(encode_constraints(some_constraints()))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        parse_constraints(cut, "c.npz")
    except FormatError as error:
        assert "\n" not in str(error)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.npz"):
        read_constraints(tmp_path / "none.npz")
