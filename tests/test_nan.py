"""Numbers that are nan or inf run through a net as through PyTorch's plain operators, as in Caffe.

oneDNN's fused convolution and ReLU makes 0 of nan: a net that ends in one had a finite loss.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from sqgen import parse_net
from sqgen.engine.executor import Executor
from sqgen.engine.tensors import all_finite, to_array
from sqgen.engine.workers import Workers

from . import small_nets, small_training
from .small_nets import Array, conv, layer

NET = (
    small_nets.net_input()
    + conv("conv1", "data", 8, 3)
    + layer("ReLU", "relu1", "conv1", "conv1")
    + conv("conv2", "conv1", 4)
    + layer("ReLU", "relu2", "conv2", "conv2")
    + layer("Reduction", "loss", "conv2", rest="loss_weight: 1")
)
Values = dict[str, Array]


def set_value(name: str, place: tuple[int | slice, ...], value: float) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        values[name][place] = value

    return change


CASES = {
    "weights": set_value("conv1", (2, 1, 0, 0), np.nan),
    "infinite weights": set_value("conv1", (2, slice(2), 0, 0), -np.inf),
    "bias": set_value("bias1", (2,), np.nan),
    "weights of the last layer": set_value("conv2", (3, 1, 0, 0), np.nan),
    "data": set_value("data", (1, 0, 0, 0), np.nan),
    "infinite data": set_value("data", (1, slice(2), 3, 3), np.inf),
    "nothing": set_value("data", (0, 0, 0, 0), 1.0),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
@pytest.mark.parametrize("case", CASES)
def test_a_relu_keeps_nan(case: str, phase: str, precision: str) -> None:
    random = np.random.default_rng(1)
    shapes = {"data": (3, 3, 9, 7), "conv1": (8, 3, 3, 3), "bias1": (8,)}
    shapes |= {"conv2": (4, 8, 1, 1), "bias2": (4,)}
    values = {name: random.normal(0, 1, shape).astype("f4") for name, shape in shapes.items()}
    CASES[case](values)
    net = Executor(parse_net(NET), phase, precision=precision, workers=Workers(2))
    net.set_blobs("conv1", [values["conv1"], values["bias1"]])
    net.set_blobs("conv2", [values["conv2"], values["bias2"]])
    run = net.train_batch if phase == "TRAIN" else net.test_batch
    result = run({"data": values["data"]}, keep={"conv2"})

    x, conv1, bias1, conv2, bias2 = map(torch.from_numpy, values.values())
    wanted = F.relu(F.conv2d(F.relu(F.conv2d(x, conv1, bias1, padding=1)), conv2, bias2)).numpy()
    made = to_array(result.blobs["conv2"])
    assert np.isnan(wanted).any() == (case != "nothing")
    # Of inf, PyTorch's convolution in bf16 makes more nan than that in float32.
    more = np.isnan(made) & ~np.isnan(wanted)
    assert not more.any() or (case, precision) == ("infinite data", "bf16")
    assert not np.isfinite(made[np.isnan(wanted)]).any()
    assert np.isnan(result.loss) == (case != "nothing")
    finite = np.isfinite(wanted) & ~more
    np.testing.assert_allclose(made[finite], wanted[finite], rtol=0.05, atol=0.05)


def test_weights_that_become_nan_and_finite_again() -> None:
    net = Executor(parse_net(NET), "TEST", workers=Workers(1))
    images = {"data": np.ones((1, 3, 9, 7))}
    blobs = net.blobs("conv2")
    for value in (np.nan, 1.0, np.nan):
        net.set_blobs("conv2", [np.full_like(blobs[0], value), blobs[1]])
        assert np.isnan(net.test_batch(images).loss) == np.isnan(value)


def test_a_training_that_diverges_ends_in_nan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a net that ends in a convolution with its ReLU, as SqueezeNet does."""
    text = (
        small_training.data("TRAIN", 8)
        + small_training.data("TEST", 16)
        + small_training.convolution("conv1", "data", 6)
        + small_training.RELU1
        + small_training.POOL1
        + small_training.convolution("conv2", "pool1", small_training.CLASSES)
        + layer("ReLU", "relu2", "conv2", "conv2")
        + small_training.POOL2
        + small_training.loss("pool2")
    )
    solver = (
        small_training.SOLVER + 'base_lr: 1e12 lr_policy: "fixed" max_iter: 8 display: 1'
        " test_iter: 1 test_interval: 4 random_seed: 3 snapshot_after_train: false"
    )
    small_training.write_data(tmp_path)
    monkeypatch.chdir(small_training.make_run(tmp_path, "run", text, solver))
    code, log = small_training.engine(["train", "--solver=solver.prototxt"], capsys)
    assert code == 0
    (segment,) = small_training.parsed(log).segments
    tested = {row.iteration: row.outputs["loss"] for row in segment.test}
    assert np.isfinite(tested[0])
    assert all(np.isnan(tested[iteration]) for iteration in (4, 8))


def test_all_finite() -> None:
    assert all_finite([])
    assert all_finite([torch.ones(3), torch.zeros(0), torch.tensor(1e18)])
    for value in (np.nan, np.inf, -np.inf):
        assert not all_finite([torch.ones(3), torch.tensor([1.0, value])])
    assert not all_finite([torch.tensor(1e300, dtype=torch.float64)])
