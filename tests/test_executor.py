"""The executor: kept blobs, partial forward passes, gradients from any blob, hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from sqgen import Design, Net, NetError, build, parse_net
from sqgen.engine.executor import Executor
from sqgen.engine.fusion import fused_schedule
from sqgen.engine.hooks import Hook
from sqgen.engine.schedule import EVERYTHING
from sqgen.engine.scores import ScoreSums
from sqgen.engine.tensors import to_array
from sqgen.engine.wiring import WiredLayer
from sqgen.engine.workers import Workers

from . import small_nets

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
    tape = net.forward_on_tape(images())
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
    tape = net.forward_on_tape(inputs, force_backward=True)
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
    tape = net.forward_on_tape(inputs)
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
    tape = executor().forward_on_tape(images(), force_backward=True)
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
    tape = net.forward_on_tape(images(), force_backward=True, hooks=[hook])
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
    net.forward_on_tape(images(), force_backward=True, hooks=[order]).backward(
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
    tape = net.forward_on_tape(images())
    monkeypatch.setattr("sqgen.engine.tape.to_array", refuse)
    tape.backward_every_layer([order])
    names = [layer.name for layer in net.wiring.layers]
    assert order.calls == [("backward", name) for name in names[:0:-1]]


# Nets with labels

GAUSSIAN = 'weight_filler { type: "gaussian" std: 0.5 }'


def scored(middle: str = "", label: str = "label", ends: str = "") -> Executor:
    """A net whose batch is split in two: layers between data and loss, and behind it."""
    text = (
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 6 dim: 5 } } }\n'
        'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 6 } } }\n'
        + small_nets.layer(
            "InnerProduct", "ip", "data", rest=f"inner_product_param {{ num_output: 4 {GAUSSIAN} }}"
        )
        + middle
        + small_nets.layer(
            "SoftmaxWithLoss", "loss", f"ip {label}", rest="loss_param { ignore_label: 0 }"
        )
        + ends
    )
    return Executor(parse_net(text), "TRAIN", precision="fp64", workers=Workers(2), seed=3)


def labelled(records: int = 6) -> dict[str, Array]:
    random = np.random.default_rng(5)
    return {"data": random.normal(0, 2, (records, 5)), "label": np.arange(records) % 4}


ACCURACY = small_nets.layer("Accuracy", "accuracy", "ip label")


def gradients_by_tape(net: Executor) -> dict[tuple[str, int], Array]:
    return net.forward_on_tape(labelled()).backward().parameters


def gradients_by_training(net: Executor, **options: Any) -> dict[tuple[str, int], Array]:
    net.train_batch(labelled(), **options)
    grads = [parameter.grad for parameter in net.parameters.unique]
    return {("ip", number): to_array(grad) for number, grad in enumerate(grads) if grad is not None}


def assert_gradients(
    ours: dict[tuple[str, int], Array], wanted: dict[tuple[str, int], Array]
) -> None:
    assert ours.keys() == wanted.keys()
    for key, gradient in wanted.items():
        np.testing.assert_allclose(ours[key], gradient, rtol=1e-9, atol=1e-12)


def test_a_loss_without_a_top_adds_no_blob() -> None:
    """Caffe's `(automatic)` is no name that a prototxt could use."""
    text = (
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 6 dim: 5 } } }\n'
        'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 6 } } }\n'
        + small_nets.layer(
            "InnerProduct", "ip", "data", rest=f"inner_product_param {{ num_output: 4 {GAUSSIAN} }}"
        )
        + small_nets.layer("Accuracy", "accuracy", "ip label")
        + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }'
    )
    net = Executor(parse_net(text), "TEST", precision="fp64", workers=Workers(2))
    inputs = labelled()
    assert set(net.forward(inputs)) == {"accuracy"}
    assert set(Net(parse_net(text)).forward(inputs)) == {"accuracy"}
    kept = net.forward(inputs, keep=EVERYTHING)
    assert {"data", "label", "ip", "accuracy"} < set(kept)
    assert set(kept) == set(net.forward_on_tape(inputs).blobs)
    assert not any("automatic" in name for name in kept)
    part = net.forward_between(kept, start="accuracy", keep=EVERYTHING)
    assert not any("automatic" in name for name in part)


@pytest.mark.parametrize("keep", ["accuracy", "loss", "label"])
def test_what_a_training_keeps_changes_no_gradient(keep: str) -> None:
    """With an Accuracy beside it, the loss reads a Split of the labels, which stays if kept."""
    wanted = gradients_by_tape(scored(ends=ACCURACY))
    net = scored(ends=ACCURACY)
    splits = {name for layer in net.wiring.layers if layer.type == "Split" for name in layer.tops}
    assert len(splits) == 4
    for kept in ({keep}, splits, EVERYTHING):
        assert_gradients(gradients_by_training(scored(ends=ACCURACY), keep=kept), wanted)
    hooks = [Recorder(None, per_record=True)]
    assert_gradients(gradients_by_training(scored(ends=ACCURACY), hooks=hooks), wanted)


def test_labels_through_a_split_of_the_prototxt() -> None:
    """propagate_down keeps the Split in the schedule."""
    middle = small_nets.layer("Split", "copy", "label", "copy", "propagate_down: false")
    assert_gradients(
        gradients_by_training(scored(middle, "copy")), gradients_by_tape(scored(middle, "copy"))
    )


def test_labels_that_a_layer_overwrites() -> None:
    """The divisor comes from the labels that the loss reads: others of them are ignored."""
    middle = small_nets.layer("ReLU", "first", "label", "label", "") + small_nets.layer(
        "Power", "less", "label", "label", "power_param { power: 2 scale: 0.5 }"
    )
    net = scored(middle)
    assert_gradients(gradients_by_training(net), gradients_by_tape(scored(middle)))


def test_two_losses_of_one_layer_name() -> None:
    """Each has a divisor of its own."""
    ends = small_nets.layer(
        "SoftmaxWithLoss", "loss", "ip label", "other", "loss_param { normalization: NONE }"
    )
    assert_gradients(gradients_by_training(scored(ends=ends)), gradients_by_tape(scored(ends=ends)))


def test_a_part_returns_what_it_writes_in_place() -> None:
    net = executor()
    whole = net.forward(images(), keep=EVERYTHING)
    part = net.forward_between(images(), end="relu_conv1")
    assert set(part) == {"conv1"}
    np.testing.assert_allclose(part["conv1"], whole["conv1"], rtol=1e-9)
    again = net.forward_between(part, start="relu_conv1", end="relu_conv1")
    np.testing.assert_array_equal(again["conv1"], part["conv1"])


class Times(Hook):
    """Multiplies the tops of some layers."""

    def __init__(self, factor: float, *layers: str, per_record: bool = False) -> None:
        self.factor, self.layers = factor, frozenset(layers)
        self.per_record = per_record

    def after_forward(
        self, layer: WiredLayer, tops: Sequence[torch.Tensor]
    ) -> Sequence[torch.Tensor]:
        return [top * self.factor for top in tops]


@pytest.mark.parametrize("name", ["ip", "data", "loss"])
def test_replaced_tops_have_the_gradients_of_training_on_a_tape(name: str) -> None:
    hook = Times(2, name)
    net = scored()
    trained = gradients_by_training(net, hooks=[hook])
    tape = net.forward_on_tape(labelled(), hooks=[hook])
    assert_gradients(trained, tape.backward().parameters)
    plain = gradients_by_tape(scored())
    assert not np.allclose(trained["ip", 0], plain["ip", 0])


@pytest.mark.parametrize("per_record", [False, True])
def test_a_hook_on_data_sees_and_replaces_it(per_record: bool) -> None:
    net, hook = executor(), Times(0.5, "data", per_record=per_record)
    seen = Recorder(None, per_record)
    half = {"data": images()["data"] / 2}
    wanted = net.forward(half)
    hooked = net.forward(images(), hooks=[hook, seen], keep={"data"})
    np.testing.assert_allclose(hooked["prob"], wanted["prob"], rtol=1e-9)
    np.testing.assert_array_equal(hooked["data"], half["data"])
    np.testing.assert_array_equal(np.concatenate(seen.tops["data"]), half["data"])
    assert set(seen.tops) == {layer.name for layer in net.wiring.layers}
    tape = net.forward_on_tape(images(), hooks=[hook])
    np.testing.assert_allclose(to_array(tape.blobs["prob"]), wanted["prob"], rtol=1e-9)


@pytest.mark.parametrize("per_record", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_hook_observes_losses_and_accuracies_once(per_record: bool, training: bool) -> None:
    net, hook = scored(ends=ACCURACY), Recorder(None, per_record)
    double = Times(2, "accuracy", per_record=per_record)
    run = net.train_batch if training else net.test_batch
    result = run(labelled(), hooks=[hook, double])
    assert set(hook.tops) == {layer.name for layer in net.wiring.layers}
    assert hook.tops["loss"] == [pytest.approx(result.loss)]
    (accuracy,) = hook.tops["accuracy"]
    assert float(result.blobs["accuracy"]) == 2 * accuracy


def test_an_array_for_no_input_is_one_line() -> None:
    net = executor()
    for run in (net.forward, net.forward_on_tape):
        with pytest.raises(NetError, match="no input 'dta'; its inputs are data"):
            run({"dta": images()["data"]})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.ones((2, 4, 32, 32)),
            r"blob 'data' has shape \(\d+, 3, 32, 32\), not \(2, 4, 32, 32\)",
        ),
        (np.ones((2, 3)), r"blob 'data' has shape \(\d+, 3, 32, 32\), not \(2, 3\)"),
        (np.ones((0, 3, 32, 32)), "blob 'data': an array of no records"),
    ],
)
def test_an_array_of_another_shape_is_one_line(array: Array, message: str) -> None:
    net = executor()
    for run in (net.forward, net.forward_on_tape, net.forward_between):
        with pytest.raises(NetError, match=message):
            run({"data": array})


def in_place(layer_type: str, rest: str = "") -> str:
    return small_nets.layer(layer_type, layer_type.lower(), "conv", "conv", rest)


BIASED = "scale_param { bias_term: true }"
POOL = small_nets.layer("Pooling", "pool", "conv", "pool", "pooling_param { kernel_size: 2 }")
OWN_TOPS = (
    small_nets.layer("BatchNorm", "batchnorm", "conv", "b")
    + small_nets.layer("Scale", "scale", "b", "s", BIASED)
    + small_nets.layer("ReLU", "relu", "s", "r")
)
STORED = "batch_norm_param { use_global_stats: true }"
# The layers between the convolution and the loss, and how many of them become one step.
NORMALIZED = {
    "in place": (in_place("BatchNorm") + in_place("Scale", BIASED) + in_place("ReLU"), 3),
    "pooled": (in_place("BatchNorm") + in_place("Scale", BIASED) + in_place("ReLU") + POOL, 3),
    "own tops": (OWN_TOPS, 3),
    "two Scales": (
        in_place("BatchNorm")
        + in_place("Scale", BIASED)
        + small_nets.layer("Scale", "again", "conv", "conv", BIASED)
        + in_place("ReLU"),
        2,
    ),
    "no Scale": (in_place("BatchNorm") + in_place("ReLU"), 2),
    "no ReLU": (in_place("BatchNorm") + in_place("Scale", BIASED), 2),
    "no bias": (in_place("BatchNorm") + in_place("Scale") + in_place("ReLU"), 1),
    "one factor": (
        in_place("BatchNorm")
        + in_place("Scale", "scale_param { num_axes: 0 bias_term: true }")
        + in_place("ReLU"),
        1,
    ),
    "stored": (in_place("BatchNorm", STORED) + in_place("Scale", BIASED) + in_place("ReLU"), 3),
}


def normalized(middle: str, precision: str = "fp64") -> Executor:
    tops = [name for name in ("pool", "r", "conv") if f'top: "{name}"' in middle]
    convolution = f"convolution_param {{ num_output: 4 kernel_size: 3 {GAUSSIAN} }}"
    text = (
        'layer { name: "data" type: "Input" top: "data"'
        " input_param { shape { dim: 6 dim: 3 dim: 8 dim: 6 } } }\n"
        'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 6 } } }\n'
        + small_nets.layer("Convolution", "conv", "data", rest=convolution)
        + middle
        + small_nets.layer(
            "InnerProduct",
            "ip",
            tops[0],
            "ip",
            f"inner_product_param {{ num_output: 4 {GAUSSIAN} }}",
        )
        + small_nets.layer("SoftmaxWithLoss", "loss", "ip label", "loss")
    )
    return Executor(parse_net(text), "TRAIN", precision=precision, workers=Workers(2), seed=3)


@pytest.mark.parametrize("case", NORMALIZED)
def test_a_fused_batch_norm_is_that_of_its_layers(case: str) -> None:
    middle, fused = NORMALIZED[case]
    inputs = {
        "data": np.random.default_rng(5).normal(3, 2, (6, 3, 8, 6)),
        "label": np.arange(6) % 4,
    }
    net, alone = normalized(middle), normalized(middle)
    computed = [layer for layer in net.wiring.layers if layer.type != "Input"]
    assert len(net.steps) == len(computed) - fused + 1
    trained = net.train_batch(inputs)
    tape = alone.forward_on_tape(inputs)
    wanted = tape.backward().parameters
    assert trained.loss == pytest.approx(tape.loss, rel=1e-9)
    names = net.parameters.names()
    for (layer, number), gradient in wanted.items():
        parameter = net.parameters.unique[net.parameters.of_layer[names.index(layer)][number]]
        assert parameter.grad is not None
        np.testing.assert_allclose(to_array(parameter.grad), gradient, rtol=1e-7, atol=1e-10)
    for ours, theirs in zip(net.blobs("batchnorm"), alone.blobs("batchnorm"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_batch_norm_keeps_its_bottom_and_top_for_the_backward_pass() -> None:
    """Of all that one convolution's blob costs: twice its size."""
    net = normalized(NORMALIZED["in place"][0], "fp32")
    inputs = {"data": np.zeros((6, 3, 8, 6)), "label": np.arange(6) % 4}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[-3:] == (4, 6, 4):
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net.train_batch(inputs)
    assert sum(kept.values()) == 2 * 6 * 4 * 6 * 4


def test_means_of_outputs_that_a_filter_makes_longer_and_shorter() -> None:
    """Each element is averaged over the batches that have it."""
    text = (
        'layer { name: "d" type: "Input" top: "x" top: "s" input_param { shape { dim: 3 } } }\n'
        'layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "y" }\n'
    )
    net = Executor(parse_net(text), "TEST", precision="fp64")
    sums = ScoreSums(net)
    for chosen in ([1.0, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]):
        batch = net.test_batch({"x": np.array([1.0, 2, 6]) * sum(chosen), "s": np.array(chosen)})
        assert len(sums.add(batch)) == sum(chosen)
    assert sums.means() == [("y", 2, ""), ("y", 5, ""), ("y", 18, "")]
