"""The executor: kept blobs, partial forward passes, gradients from any blob, hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from sqgen import Design, NetError, build, parse_net
from sqgen.engine.executor import Executor
from sqgen.engine.fusion import fused_schedule
from sqgen.engine.hooks import Hook
from sqgen.engine.schedule import EVERYTHING
from sqgen.engine.tensors import to_array
from sqgen.engine.wiring import WiredLayer
from sqgen.engine.workers import Workers

Array = np.ndarray[Any, Any]

SMALL = Design(
    size=32, classes=10, fire_modules=3, base_e=16, incr_e=16, bypass="simple", squeeze_ratio=0.25
)
DEPLOY = parse_net(build(SMALL, "deploy"))


def executor(phase: str = "TEST", precision: str = "fp64") -> Executor:
    """The net with weights: a deploy net has no fillers."""
    net = Executor(DEPLOY, phase, precision=precision, workers=Workers(2), seed=3)
    random = np.random.default_rng(4)
    for layer in net.wiring.layers:
        if layer.blobs:
            shapes = [blob.shape for blob in layer.blobs]
            fan_in = np.prod(shapes[0][1:])
            net.set_blobs(layer.name, [random.normal(0, fan_in**-0.5, shape) for shape in shapes])
    return net


def images(records: int = 7) -> dict[str, Array]:
    return {"data": np.random.default_rng(0).normal(0, 40, (records, 3, 32, 32))}


def test_kept_blobs_are_those_of_the_tape() -> None:
    """Micro-batched and fused with all blobs kept, or whole and unfused: the same values."""
    net = executor()
    kept = net.forward(images(), keep=EVERYTHING)
    tape = net.record(images())
    assert set(kept) == set(tape.blobs)
    assert {"data", "conv1", "fire2/concat", "prob"} <= set(kept)
    for name, blob in tape.blobs.items():
        np.testing.assert_allclose(kept[name], to_array(blob), rtol=1e-9, atol=1e-12)


def test_a_kept_blob_changes_no_output() -> None:
    net = executor(precision="fp32")
    plain = net.forward(images())
    assert set(plain) == {"prob"}
    kept = net.forward(images(), keep={"fire3/squeeze1x1", "pool1"})
    assert set(kept) == {"prob", "fire3/squeeze1x1", "pool1"}
    np.testing.assert_allclose(kept["prob"], plain["prob"], rtol=1e-5)


def test_a_net_in_two_parts_is_the_whole() -> None:
    net = executor()
    whole = net.forward(images(), keep=EVERYTHING)
    first = net.forward_between(images(), end="fire3/concat")
    assert set(first) >= {"fire3/concat"}
    second = net.forward_between(whole, start="fire4/squeeze1x1")
    np.testing.assert_allclose(second["prob"], whole["prob"], rtol=1e-9)
    # The blob that fire4 and the bypass read, by its own name, not by that of a split.
    needed = {"fire3/bypass": whole["fire3/bypass"]}
    third = net.forward_between(needed, start="fire4/squeeze1x1", keep={"fire4/concat"})
    np.testing.assert_allclose(third["prob"], whole["prob"], rtol=1e-9)
    np.testing.assert_allclose(third["fire4/concat"], whole["fire4/concat"], rtol=1e-9)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("conv11", None, "no layer 'conv11' in the net; did you mean 'conv1'"),
        ("fire4/concat", "conv1", "layer 'fire4/concat' runs after layer 'conv1'"),
        ("fire2/squeeze1x1", None, "layer 'fire2/squeeze1x1' reads blob 'pool1': give its array"),
    ],
)
def test_a_part_that_can_not_run_is_one_line(start: str, end: str | None, message: str) -> None:
    with pytest.raises(NetError) as raised:
        executor().forward_between(images(), start, end)
    assert message in str(raised.value)


@pytest.mark.parametrize("blob", ["prob", "fire4/concat", "pool1", "conv1"])
def test_gradients_from_any_blob_are_those_of_differences(blob: str) -> None:
    """d(sum of weights * blob) / d(data) in a few directions, against central differences."""
    net, inputs = executor(), images(2)
    tape = net.record(inputs, force_backward=True)
    random = np.random.default_rng(1)
    weights = random.normal(size=tape.blobs[blob].shape)
    gradients = tape.backward({blob: weights})
    for _ in range(3):
        direction = random.normal(size=inputs["data"].shape)
        step = 1e-5
        sides = [
            (net.forward({"data": inputs["data"] + s * direction}, keep={blob})[blob] * weights)
            for s in (step, -step)
        ]
        expected = float((sides[0] - sides[1]).sum()) / (2 * step)
        actual = float((gradients.blobs["data"] * direction).sum())
        assert actual == pytest.approx(expected, rel=1e-5, abs=1e-8)
    above = {"conv5_10"} if blob != "prob" else set()
    assert not above & {layer for layer, _ in gradients.parameters}


def test_gradients_of_the_loss_are_those_of_training() -> None:
    text = build(SMALL.with_options(dropout=0), "train")
    net = Executor(parse_net(text), "TRAIN", precision="fp64", workers=Workers(2), seed=3)
    random = np.random.default_rng(2)
    inputs = {"data": random.normal(0, 40, (6, 3, 32, 32)), "label": random.integers(0, 10, 6)}
    trained = net.train_batch(inputs)
    tape = net.record(inputs)
    gradients = tape.backward()
    assert tape.loss == pytest.approx(trained.loss, rel=1e-9)
    assert "data" not in gradients.blobs  # without force_backward
    for layer, numbers in zip(net.wiring.layers, net.parameters.of_layer, strict=True):
        for index, number in enumerate(numbers):
            grad = net.parameters.unique[number].grad
            assert grad is not None
            actual = gradients.parameters[layer.name, index]
            np.testing.assert_allclose(actual, to_array(grad), rtol=1e-6, atol=1e-12)


def test_a_gradient_of_another_shape_is_one_line() -> None:
    tape = executor().record(images(), force_backward=True)
    with pytest.raises(
        NetError, match=r"gradient of blob 'prob' has shape \(3,\), not \(7, 10, 1, 1\)"
    ):
        tape.backward({"prob": np.ones(3)})
    with pytest.raises(NetError, match="no blob 'prb'; did you mean 'prob'"):
        tape.backward({"prb": np.ones(3)})


class Recorder(Hook):
    """Keeps the tops of the layers that it observes."""

    def __init__(self, layers: Sequence[str] | None, per_record: bool = False) -> None:
        self.layers = None if layers is None else frozenset(layers)
        self.per_record = per_record
        self.tops: dict[str, list[Array]] = {}

    def after_forward(self, layer: WiredLayer, tops: Sequence[torch.Tensor]) -> None:
        self.tops.setdefault(layer.name, []).extend(to_array(top) for top in tops)


def test_a_hook_sees_what_fusion_hides() -> None:
    """The convolution's own top, before the ReLU that is otherwise computed with it."""
    net, hook = executor(), Recorder(["conv1", "relu_conv1"])
    plain = net.forward(images())
    hooked = net.forward(images(), hooks=[hook])
    np.testing.assert_allclose(hooked["prob"], plain["prob"], rtol=1e-9)
    (before,), (after,) = hook.tops["conv1"], hook.tops["relu_conv1"]
    assert before.shape[0] == 7
    assert (before < 0).any()
    np.testing.assert_array_equal(np.maximum(before, 0), after)


def test_a_hook_leaves_all_other_layers_fused() -> None:
    net = executor()
    observed = fused_schedule(net.wiring, net.parameters, "TEST", observed={"conv1"})
    everything = fused_schedule(net.wiring, net.parameters, "TEST", observed=EVERYTHING)
    assert len(net.steps) + 1 == len(observed) < len(everything)


def test_a_hook_that_treats_records_alone_sees_micro_batches() -> None:
    net = executor()
    whole, pieces = Recorder(["conv5_10"]), Recorder(["conv5_10"], per_record=True)
    net.forward(images(), hooks=[whole])
    net.forward(images(), hooks=[pieces])
    assert len(whole.tops["conv5_10"]) == 1 < len(pieces.tops["conv5_10"])
    assert sum(len(top) for top in pieces.tops["conv5_10"]) == 7


def test_the_gradient_of_a_blob_in_place_is_that_of_its_first_value() -> None:
    net, hook = executor(), Recorder(["conv1"])
    tape = net.record(images(), force_backward=True, hooks=[hook])
    (before,) = hook.tops["conv1"]  # which the ReLU overwrites
    assert tape.blobs["conv1"].min() == 0 > before.min()
    weights = np.random.default_rng(1).normal(size=tape.blobs["prob"].shape)
    gradient = tape.backward({"prob": weights}).blobs["conv1"]
    assert gradient[before > 0].any()
    assert not gradient[before < 0].any()


class Zero(Hook):
    """Replaces the tops of a layer by zeros."""

    layers = frozenset({"fire4/expand3x3"})

    def after_forward(
        self, layer: WiredLayer, tops: Sequence[torch.Tensor]
    ) -> Sequence[torch.Tensor]:
        return [torch.zeros_like(top) for top in tops]


def test_a_hook_may_replace_the_tops() -> None:
    net = executor()
    hooked = net.forward(images(), keep={"fire4/concat"}, hooks=[Zero()])
    half = hooked["fire4/concat"].shape[1] // 2
    assert not hooked["fire4/concat"][:, half:].any()
    assert hooked["fire4/concat"][:, :half].any()
    net.set_blobs("fire4/expand3x3", [0 * blob for blob in net.blobs("fire4/expand3x3")])
    np.testing.assert_allclose(hooked["prob"], net.forward(images())["prob"], rtol=1e-9)


class Order(Hook):
    """Notes when it is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def before_forward(self, layer: WiredLayer, bottoms: Sequence[torch.Tensor]) -> None:
        self.calls.append(("forward", layer.name))

    def before_backward(self, layer: WiredLayer, tops: Sequence[torch.Tensor | None]) -> None:
        self.calls.append(("backward", layer.name))


def test_hooks_follow_the_layers_forward_and_backward() -> None:
    net, order = executor(), Order()
    net.record(images(), force_backward=True, hooks=[order]).backward(
        {"prob": np.ones((7, 10, 1, 1))}, hooks=[order]
    )
    names = [layer.name for layer in net.wiring.layers]
    assert [name for kind, name in order.calls if kind == "forward"] == names
    assert [name for kind, name in order.calls if kind == "backward"] == names[:0:-1]


def test_every_layer_runs_backward_without_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `caffe time`: copies to arrays, from a GPU too, would count in its times."""

    def refuse(tensor: torch.Tensor) -> Array:
        raise AssertionError("a gradient became an array")

    net, order = executor(), Order()
    tape = net.record(images())
    monkeypatch.setattr("sqgen.engine.tape.to_array", refuse)
    tape.backward_every_layer([order])
    names = [layer.name for layer in net.wiring.layers]
    assert order.calls == [("backward", name) for name in names[:0:-1]]
