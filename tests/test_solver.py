"""Training against BVLC Caffe: the log, line by line and number by number, and the weights.

`data/engine/solvers.json` has, for each case, what Caffe logged after "Starting Optimization" and
the contents of its snapshots. `test_record` writes it, with SQGEN_RECORD set and a build of Caffe
in CAFFE_ROOT.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sqgen.engine.learning_rate import LearningRate
from sqgen.engine.optimizer import Optimizer
from sqgen.engine.parameters import Parameter
from sqgen.formats import prototxt
from sqgen.formats.caffemodel import blob_array, fill_blob
from sqgen.formats.schema import NetParameter, SolverParameter
from sqgen.text import number_text

from .conftest import DATA
from .devices import device_flags, tolerance
from .optimizer_reference import TYPES, reference
from .small_training import (
    POOL1,
    RANDOM,
    RELU1,
    SOLVER,
    START,
    TRANSFORM,
    accuracy,
    assert_same_messages,
    batch_norm,
    caffe,
    convolution,
    data,
    dropout,
    engine,
    final,
    inner_product,
    loss,
    make_run,
    net,
    parsed,
    run_messages,
    state,
    write_data,
)

RECORDED = DATA / "engine" / "solvers.json"
TRAIN = ("train", "--solver=solver.prototxt")


@dataclass(frozen=True)
class Case:
    """A run.

    Attributes:
        solver: what its solver has besides SOLVER.
        net: its net.
        arguments: of the command line.
        kept: whether final weights and history are recorded.
        prepared: what the folder gets besides.
        stages: in which the net is that gets weights to start from.
    """

    solver: str
    net: str = net()
    arguments: Sequence[str] = TRAIN
    kept: bool = False
    prepared: str = ""
    stages: tuple[str, ...] = ()


def params(*lr_and_decay: tuple[float, float]) -> str:
    return " ".join(f"param {{ lr_mult: {lr} decay_mult: {decay} }}" for lr, decay in lr_and_decay)


SGD = "max_iter: 16 base_lr: 0.02 momentum: 0.9 "
FIXED = SGD + 'lr_policy: "fixed" '
STEP = 'lr_policy: "step" gamma: 0.5 stepsize: 4 '
TESTS = "test_iter: 4 test_interval: 8 "
ONCE = "snapshot_after_train: false "
USUAL = net(conv1=params((1, 1), (2, 0)), conv2=params((1, 1), (2, 0)), ip=params((1, 1), (2, 0)))
FROZEN = net(conv1=params((0, 1), (0, 0)), conv2=params((1, 1), (2, 0)), ip=params((2, 1)))
# A hidden layer more, of the same shape as conv2 when that reads 4 channels.
SHARED = net(
    conv1='param { name: "w" } param { name: "b" lr_mult: 2 }',
    middle=convolution("again", "conv1", 6, kernel=1, more="group: 2")
    + convolution("third", "again", 6, kernel=1, more="group: 2").replace(
        'top: "third"  convolution',
        'top: "third" param { name: "v" lr_mult: 0.5 } param { name: "c" } convolution',
    )
    + convolution("fourth", "third", 6, kernel=1, more="group: 2").replace(
        'top: "fourth"  convolution',
        'top: "fourth" param { name: "v" } param { name: "c" decay_mult: 0 } convolution',
    )
    + POOL1.replace('bottom: "conv1"', 'bottom: "fourth"'),
)
TWO_LOSSES = net(
    scores=loss(more="loss_weight: 0.7")
    + inner_product("ip2")
    + loss("ip2", "loss2", "loss_weight: 0.3")
    + accuracy("")
)
# A loss weight on what another layer reads, and on an output.
WEIGHTED = net().replace('top: "pool2"', 'top: "pool2" loss_weight: 0.05')
WEIGHTED_OUTPUT = net(
    scores='layer { name: "square" type: "Power" bottom: "pool2" top: "square" loss_weight: 0.01'
    " power_param { power: 2 } }\n" + loss() + accuracy()
)
STOPPED = net(
    scores='layer { name: "ip2" type: "InnerProduct" bottom: "pool2" top: "ip2"'
    " propagate_down: false inner_product_param { num_output: 5"
    ' weight_filler { type: "xavier" } } }\n' + loss("ip2", "loss2") + loss() + accuracy()
)
NORMED = net(
    middle=batch_norm("conv1", "batch_norm_param { moving_average_fraction: 0.8 }") + RELU1 + POOL1,
)
STATES = net(
    inputs=data("TRAIN", 8)
    + data("TEST", 16, rule='stage: "val"')
    + data("TEST", 10, rule='stage: "few"'),
    scores=loss()
    + accuracy('include { phase: TEST stage: "val" }')
    + accuracy('include { phase: TEST stage: "few" } accuracy_param { top_k: 2 }', "top2")
    + accuracy("include { phase: TEST min_level: 1 }", "deep"),
)
STAGED = net(
    middle=POOL1.replace("} }", '} include { stage: "max" } }')
    + POOL1.replace("MAX", "AVE").replace("} }", "} include { min_level: 2 } }"),
)
HISTORY = ((6, 3, 3, 3), (6,), (4, 6, 3, 3), (4,), (5, 4), (5,))


def ignoring(mode: str) -> str:
    return net(scores=loss(more=f"loss_param {{ ignore_label: 2 {mode} }}"))


CASES: dict[str, Case] = {
    # Every type of solver, the rate changing while it runs.
    "sgd": Case(SGD + STEP + TESTS + "weight_decay: 0.01 snapshot: 10", USUAL, kept=True),
    "nesterov": Case(
        SGD + 'type: "Nesterov" lr_policy: "multistep" gamma: 0.3 stepvalue: 3 stepvalue: 9'
        " weight_decay: 0.01",
        USUAL,
        kept=True,
    ),
    "adagrad": Case(
        'type: "AdaGrad" max_iter: 16 base_lr: 0.03 weight_decay: 0.01 delta: 1e-7 ' + STEP,
        USUAL,
        kept=True,
    ),
    "rmsprop": Case(
        'type: "RMSProp" max_iter: 16 base_lr: 0.005 rms_decay: 0.9 weight_decay: 0.01 ' + STEP,
        USUAL,
        kept=True,
    ),
    "adadelta": Case(
        'type: "AdaDelta" max_iter: 16 base_lr: 2 momentum: 0.95 delta: 1e-5 weight_decay: 0.01 '
        + STEP,
        USUAL,
        kept=True,
    ),
    "adam": Case(
        'type: "Adam" max_iter: 16 base_lr: 0.01 momentum: 0.9 momentum2: 0.99 delta: 1e-7'
        " weight_decay: 0.01 " + STEP,
        USUAL,
        kept=True,
    ),
    # Every policy of the rate.
    "exp": Case(SGD + 'lr_policy: "exp" gamma: 0.9 ' + ONCE),
    "inv": Case(SGD + 'lr_policy: "inv" gamma: 0.1 power: 0.75 ' + ONCE),
    "poly": Case(SGD + 'lr_policy: "poly" power: 1.5 ' + ONCE),
    "sigmoid": Case(SGD + 'lr_policy: "sigmoid" gamma: 0.5 stepsize: 7 ' + ONCE),
    "fixed": Case(FIXED + TESTS + ONCE),
    # What happens to gradients.
    "l1": Case(FIXED + 'weight_decay: 0.003 regularization_type: "L1"', USUAL, kept=True),
    "frozen": Case(FIXED + "weight_decay: 0.02 snapshot_diff: true", FROZEN, kept=True),
    "frozen_adam": Case(
        'type: "Adam" max_iter: 8 base_lr: 0.01 lr_policy: "fixed" momentum: 0.9'
        " weight_decay: 0.02",
        FROZEN,
        kept=True,
    ),
    "clip": Case(FIXED + "clip_gradients: 0.5 weight_decay: 0.01", USUAL, kept=True),
    "iter_size": Case(FIXED + "iter_size: 3 weight_decay: 0.01", USUAL, kept=True),
    "iter_size_clip": Case(FIXED + "iter_size: 3 clip_gradients: 1.5 average_loss: 3"),
    # What is shown, tested and saved.
    "average_loss": Case(FIXED + "average_loss: 5 display: 3 " + ONCE),
    "test_nets": Case(
        "max_iter: 9 base_lr: 0.05 " + STEP + "test_iter: 4 test_iter: 3 test_interval: 4"
        ' test_state { stage: "val" } test_state { stage: "few" level: 1 } test_compute_loss: true',
        STATES,
    ),
    "other_test_net": Case(
        "max_iter: 8 base_lr: 0.05 " + STEP + 'test_net: "net.prototxt" test_net: "net.prototxt"'
        " test_iter: 2 test_iter: 1 test_iter: 3 test_interval: 4 test_initialization: false"
        ' test_state { stage: "few" } test_state { stage: "val" } test_state { stage: "few" }',
        STATES,
    ),
    "no_initial_test": Case(
        "max_iter: 10 base_lr: 0.05 " + STEP + TESTS + "test_initialization: false snapshot: 4"
        " test_compute_loss: true",
    ),
    "stage": Case(
        "max_iter: 6 " + STEP + "base_lr: 0.05",
        STAGED,
        (*TRAIN, "--stage=other,max"),
        stages=("max",),
    ),
    # Nets.
    "shared": Case(FIXED + "weight_decay: 0.01", SHARED, kept=True),
    "two_losses": Case(FIXED + TESTS, TWO_LOSSES, kept=True),
    "weighted": Case(
        FIXED.replace("16", "7") + "display: 6 test_iter: 1 test_interval: 5", WEIGHTED
    ),
    "weighted_output": Case(
        FIXED.replace("16", "7") + "display: 6 test_iter: 1 test_interval: 5", WEIGHTED_OUTPUT
    ),
    "propagate_down": Case(FIXED, STOPPED, kept=True),
    "valid": Case(FIXED + ONCE, ignoring("normalization: VALID")),
    "full": Case(FIXED + ONCE, ignoring("normalization: FULL")),
    "batch_size": Case(FIXED + ONCE, ignoring("normalization: BATCH_SIZE")),
    "none": Case(
        'max_iter: 16 base_lr: 0.005 lr_policy: "fixed" ' + ONCE, ignoring("normalization: NONE")
    ),
    "normalize": Case(FIXED + ONCE, ignoring("normalize: false")),
    "batch_norm": Case(
        "max_iter: 6 base_lr: 0.02 momentum: 0.9 weight_decay: 0.01 " + STEP + "iter_size: 2"
        " test_iter: 4 test_interval: 3",
        NORMED,
        kept=True,
    ),
    # Where it starts from.
    "weights": Case(
        'max_iter: 2 base_lr: 0.05 lr_policy: "fixed" ' + ONCE,
        arguments=(*TRAIN, "--weights=other.caffemodel, conv2.caffemodel"),
        prepared="others",
    ),
    "v1": Case(
        'max_iter: 4 base_lr: 0.05 lr_policy: "fixed" ' + ONCE,
        arguments=(*TRAIN, "-weights", "v1.caffemodel"),
        prepared="v1",
    ),
    "resumed": Case(
        SGD + 'lr_policy: "multistep" gamma: 0.3 stepvalue: 3 stepvalue: 9 average_loss: 3 '
        + TESTS,
        arguments=(*TRAIN, "--snapshot=s.solverstate"),
        prepared="state",
        kept=True,
    ),
    "test": Case(
        "",
        STATES,
        ("test", "--model=net.prototxt", f"--weights={START}", "--iterations=5", "--stage=val"),
    ),
    "test_level": Case(
        "",
        STATES,
        f"test -model net.prototxt -weights {START} -iterations 3 -stage few -level 1".split(),
    ),
}  # fmt: skip


def prepare(place: Path, what: str) -> None:
    """Put into a run's folder what its case needs besides net, solver and start."""
    model = NetParameter.FromString((place / START).read_bytes())
    if what == "state":
        (place / "s.solverstate").write_bytes(state(HISTORY, iteration=5, step=1))
    elif what == "v1":
        old = NetParameter(name="old")
        for layer in model.layer:
            kinds = old.layers.add().LayerType
            old.layers[-1].name = layer.name
            is_convolution = layer.type == "Convolution"
            old.layers[-1].type = kinds.Value("CONVOLUTION" if is_convolution else "INNER_PRODUCT")
            for blob in layer.blobs:
                array = blob_array(blob)
                four = (1,) * (4 - array.ndim) + array.shape
                written = old.layers[-1].blobs.add(data=array.reshape(-1))
                written.num, written.channels, written.height, written.width = four
        (place / "v1.caffemodel").write_bytes(old.SerializeToString())
    elif what == "others":
        # The first has a layer that the net has not, and the second one layer of the first.
        model.layer.add(name="unknown").blobs.add(data=[1])
        model.layer[-1].blobs[0].shape.dim.append(1)
        (place / "other.caffemodel").write_bytes(model.SerializeToString())
        one = NetParameter()
        for layer in model.layer:
            if layer.name == "conv2":
                arrays = [blob_array(blob) / 2 for blob in layer.blobs]
                layer2 = one.layer.add(name="conv2", type="Convolution")
                for array in arrays:
                    fill_blob(layer2.blobs.add(), array)
        (place / "conv2.caffemodel").write_bytes(one.SerializeToString())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("solvers")
    write_data(made)
    return made


def place_of(folder: Path, name: str, case: Case, kind: str) -> Path:
    solver = SOLVER + case.solver
    if "display" not in solver:
        solver += " display: 1"
    place = make_run(folder, f"{name}_{kind}", case.net, solver, case.stages)
    prepare(place, case.prepared)
    return place


def recorded() -> dict[str, Any]:
    made = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    assert isinstance(made, dict)
    return made


ALL = recorded()


@pytest.mark.skipif("SQGEN_RECORD" not in os.environ, reason="SQGEN_RECORD records anew")
def test_record(folder: Path) -> None:
    made = {}
    for name, case in CASES.items():
        place = place_of(folder, name, case, "caffe")
        done = caffe(case.arguments, place)
        assert done.returncode == 0, done.stderr
        one: dict[str, Any] = {"log": run_messages(done.stderr)}
        if case.kept:
            arrays = final(place)
            one |= {key: [float(f"{x:.6g}") for x in row] for key, row in arrays.items()}
        made[name] = one
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in made.items())
    RECORDED.write_text(f"{{\n{lines}\n}}\n")


def test_every_case_is_recorded() -> None:
    assert list(ALL) == list(CASES)


def glogged(lines: list[str]) -> str:
    return "".join(f"I0101 00:00:00.000000 1 solver.cpp:1] {line}\n" for line in lines)


@pytest.mark.parametrize("name", CASES)
def test_run_is_as_caffe_recorded_it(
    name: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    device: str,
) -> None:
    case, wanted = CASES[name], ALL[name]
    threads = 1 + list(CASES).index(name) % 2
    rtol = tolerance(device).printed
    place = place_of(folder, name, case, device[:4])
    monkeypatch.chdir(place)
    code, log = engine((*case.arguments, f"--threads={threads}", *device_flags(device)), capsys)
    assert code == 0, log
    assert_same_messages(run_messages(log), wanted["log"], rtol)
    if case.kept:
        made = final(place)
        assert {"log", *made} == set(wanted)
        for key, array in made.items():
            reference = np.array(wanted[key])
            assert array.shape == reference.shape
            error = np.linalg.norm(array - reference) / np.linalg.norm(reference)
            assert error < tolerance(device).small_weights, (key, error)
    # Our own parser reads from ours what it reads from Caffe's.
    ours, theirs = parsed(log), parsed(glogged(wanted["log"]))
    assert ours.completed
    assert [(batch.batch, list(batch.outputs)) for batch in ours.batches] == [
        (batch.batch, list(batch.outputs)) for batch in theirs.batches
    ]
    for segment, other in zip(ours.segments, theirs.segments, strict=True):
        assert [(x.iteration, x.lr, list(x.outputs)) for x in segment.train] == [
            (x.iteration, x.lr, list(x.outputs)) for x in other.train
        ]
        assert [(x.iteration, x.net, list(x.outputs)) for x in segment.test] == [
            (x.iteration, x.net, list(x.outputs)) for x in other.test
        ]
        losses = [(x.loss, y.loss) for x, y in zip(segment.train, other.train, strict=True)]
        assert all(a == pytest.approx(b, rel=rtol) for a, b in losses)


@pytest.mark.parametrize("penalty", ["", "L1", "L2"])
@pytest.mark.parametrize("kind", TYPES)
def test_updates_are_the_formulas(kind: str, penalty: str, device: str) -> None:
    """Two parameters, the rate changing on the way, clipped where gradients are long."""
    random = np.random.default_rng(3)
    solver = SolverParameter(type=kind, delta=1e-6, iter_size=2, clip_gradients=7.25)
    solver.momentum, solver.momentum2, solver.rms_decay = 0.9, 0.99, 0.95
    if penalty:
        solver.weight_decay, solver.regularization_type = 0.1, penalty
    shapes, lr, decay = [(4, 3, 2, 2), (5,)], [1.0, 2.0], [1.0, 0.0]
    starts = [random.normal(size=shape) for shape in shapes]
    tensors = [torch.from_numpy(start).to(device, copy=True) for start in starts]
    parameters = [
        Parameter("l", i, tensors[i], lr_mult=lr[i], decay_mult=decay[i]) for i in range(2)
    ]
    update = Optimizer(solver, parameters)
    ws = starts
    hs = [[np.zeros(shape)] * update.history_blobs for shape in shapes]
    clipped = 0
    for iteration, rate in enumerate([0.1, 0.1, 0.03, 0.03, 0.2, 0.0, 0.01]):
        gs = [random.normal(size=shape) for shape in shapes]
        for parameter, g in zip(parameters, gs, strict=True):
            parameter.grad = torch.from_numpy(g).to(device, copy=True)
        norm = math.sqrt(sum(float((g**2).sum()) for g in gs))
        clipped += norm > solver.clip_gradients
        for i, g in enumerate(gs):
            g = g * min(1.0, solver.clip_gradients / norm) / 2
            if penalty:
                term = np.sign(ws[i]) if penalty == "L1" else ws[i]
                g = g + solver.weight_decay * decay[i] * term
            ws[i], hs[i] = reference(kind, solver, ws[i], hs[i], g, rate * lr[i], iteration + 1)
        before = [parameter.data.clone() for parameter in parameters]
        update.apply(rate, iteration)
        for i, parameter in enumerate(parameters):
            np.testing.assert_allclose(parameter.data.cpu(), ws[i], rtol=1e-9, atol=1e-12)
            assert parameter.grad is not None
            moved = (before[i] - parameter.grad).cpu()
            np.testing.assert_allclose(parameter.data.cpu(), moved, rtol=1e-7, atol=1e-7)
            for number, blob in enumerate(hs[i]):
                made = update.history()[number * 2 + i].cpu()
                np.testing.assert_allclose(made, blob, rtol=1e-9, atol=1e-12)
    assert 0 < clipped < 7


def test_clipping_is_at_the_limit_and_not_below(capsys: pytest.CaptureFixture[str]) -> None:
    for limit, scaled in [(5.0, False), (4.0, True), (-1.0, False), (0.0, True)]:
        solver = SolverParameter(type="SGD", clip_gradients=limit)
        one = Parameter("l", 0, torch.zeros(2), 1.0, 1.0, grad=torch.tensor([3.0, 4.0]))
        Optimizer(solver, [one]).apply(1.0, 0)
        factor = limit / 5 if scaled else 1.0
        assert one.data.tolist() == pytest.approx([-3 * factor, -4 * factor])
        assert ("Gradient clipping" in capsys.readouterr().err) == scaled


def test_a_parameter_that_does_not_learn_stays() -> None:
    frozen = Parameter("l", 0, torch.ones(2), lr_mult=0.0, decay_mult=1.0)
    without = Parameter("l", 1, torch.ones(2), lr_mult=1.0, decay_mult=1.0)
    solver = SolverParameter(type="SGD", weight_decay=0.5)
    Optimizer(solver, [frozen, without]).apply(1.0, 0)
    assert frozen.data.tolist() == [1, 1]
    assert without.data.tolist() == [0.5, 0.5]  # no gradient came, but it decays


# The rate.

small = st.floats(0.0625, 2, width=32)


@given(
    base=small,
    gamma=st.floats(0, 1, width=32),
    power=small,
    size=st.integers(1, 50),
    most=st.integers(60, 200),
    iteration=st.integers(0, 59),
)
def test_rates_are_the_formulas(
    base: float, gamma: float, power: float, size: int, most: int, iteration: int
) -> None:
    common = {"base_lr": base, "gamma": gamma, "power": power, "stepsize": size, "max_iter": most}
    wanted = {
        "fixed": base,
        "step": base * gamma ** (iteration // size),
        "exp": base * gamma**iteration,
        "inv": base / (1 + gamma * iteration) ** power,
        "poly": base * ((most - iteration) / most) ** power,
        "sigmoid": base * (x := math.exp(gamma * (iteration - size))) / (1 + x),
    }
    for policy, value in wanted.items():
        rate = LearningRate(SolverParameter(lr_policy=policy, **common))  # type: ignore[arg-type]
        assert rate.at(iteration) == pytest.approx(value, rel=2e-5, abs=1e-35)
        assert rate.at(iteration) == np.float32(rate.at(iteration))
        assert rate.current_step == (iteration // size if policy == "step" else 0)


@pytest.mark.parametrize(
    ("fields", "printed"),
    [
        ("inv gamma: 0.0001 power: 0.75", {148: "0.0365946", 189: "0.036484", 221: "0.0363984"}),
        ("inv gamma: 0.1 power: 0.7", {133: "0.00574733", 258: "0.0037026"}),
        ("poly power: 1", {15: "0.0368612", 21: "0.0368058", 51: "0.0365282"}),
        ("poly power: 2.5", {11: "0.0367462", 133: "0.0340007", 222: "0.0320779"}),
        ("sigmoid gamma: 0.01 stepsize: 1500", {16: "1.32823e-08", 40: "1.68851e-08"}),
        ("sigmoid gamma: 0.3 stepsize: 50", {21: "6.16264e-06", 30: "9.14871e-05"}),
        ("exp gamma: 1e30", {2: "inf"}),
    ],
)
def test_rates_print_as_caffe_prints_them(fields: str, printed: dict[int, str]) -> None:
    """Where float and double differ in the last digit."""
    policy, more = fields.split(" ", 1)
    solver = SolverParameter(lr_policy=policy)
    prototxt.parse(f"base_lr: 0.037 max_iter: 4000 {more}", solver, "solver")
    rate = LearningRate(solver)
    assert {iteration: number_text(rate.at(iteration)) for iteration in printed} == printed


@given(
    steps=st.lists(st.integers(0, 40), max_size=5).map(sorted),
    gamma=st.floats(0.25, 1, width=32),
    stop=st.integers(0, 40),
)
def test_multistep_counts_the_steps_passed(steps: list[int], gamma: float, stop: int) -> None:
    """One a call, so that two at one iteration take two; a new object goes on at its step."""
    solver = SolverParameter(lr_policy="multistep", base_lr=1, gamma=gamma, stepvalue=steps)
    rate, passed = LearningRate(solver), 0
    for iteration in range(50):
        if iteration == stop:
            rate = LearningRate(solver, rate.current_step)
        passed = min(passed + 1, sum(step <= iteration for step in steps))
        assert rate.at(iteration) == pytest.approx(gamma**passed, rel=1e-6)
        assert rate.current_step == passed


# The loss that is shown.


@pytest.mark.parametrize("window", [1, 3, 7])
def test_smoothed_loss_is_the_mean_of_the_last(
    window: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the losses of each iteration, told with `average_loss: 1`."""
    text = f"{FIXED} {ONCE} display: 1 average_loss: "
    losses: list[list[float]] = []
    for count in (1, window):
        name = f"smoothed_{window}_{len(losses)}"
        place = make_run(folder, name, net(), f"{SOLVER} {text} {count}")
        monkeypatch.chdir(place)
        code, log = engine(TRAIN, capsys)
        assert code == 0
        losses.append([float(x) for x in re.findall(r"(?:iters\)|\d), loss = (\S+)", log)])
    plain, smoothed = losses
    assert len(plain) == len(smoothed) == 17
    for index, value in enumerate(smoothed):
        last = plain[max(0, index + 1 - window) : index + 1]
        assert value == pytest.approx(sum(last) / len(last), rel=1e-5)


# The seed.


def test_random_seed_repeats_a_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    """Weights equal bit by bit, with all that is random in it; another seed makes others."""
    text = net(inputs=data("TRAIN", 8, RANDOM), middle=RELU1 + dropout("conv1") + POOL1)
    made = []
    seeds = ["random_seed: 4", "random_seed: 4", "random_seed: 5", "", "random_seed: -1"]
    for number, seed in enumerate(seeds):
        solver = f'net: "net.prototxt" snapshot_prefix: "s" {FIXED} solver_mode: CPU {seed}'
        place = make_run(folder, f"seed_{number}_{device[:4]}", text, solver)
        monkeypatch.chdir(place)
        assert engine((*TRAIN, "--threads=2", *device_flags(device)), capsys)[0] == 0
        made.append(final(place)["weights"].tobytes())
    assert made[0] == made[1]
    assert len(set(made)) == 4


def test_each_kind_of_chance_has_its_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    """From the same weights: only what is random differs, and does so with the seed."""
    kinds = {
        "none": net(),
        "crop": net(inputs=data("TRAIN", 8, f"{TRANSFORM} crop_size: 8")),
        "mirror": net(inputs=data("TRAIN", 8, f"{TRANSFORM} mirror: true")),
        "dropout": net(middle=RELU1 + dropout("conv1") + POOL1),
    }
    for kind, text in kinds.items():
        made = set()
        for seed in (1, 2):
            solver = f"{SOLVER} {FIXED} random_seed: {seed}"
            place = make_run(folder, f"{kind}_{seed}_{device[:4]}", text, solver)
            monkeypatch.chdir(place)
            assert engine((*TRAIN, *device_flags(device)), capsys)[0] == 0
            made.add(final(place)["weights"].tobytes())
        assert len(made) == (1 if kind == "none" else 2)
