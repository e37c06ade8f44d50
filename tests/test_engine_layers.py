"""Every layer type of the engine against Caffe's recorded results and an independent reference.

In float64 outputs and gradients must equal `reference_layers.py` up to rounding, in float32 those
that Caffe recorded (`data/engine/layers.json`). Random parameters cover more than the recorded
cases, each axis with another value.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sqgen import NetError, parse_net
from sqgen.engine.executor import Executor
from sqgen.engine.tensors import to_array
from sqgen.engine.workers import Workers
from sqgen.formats.caffemodel import fill_blob
from sqgen.formats.ristretto import RISTRETTO_TYPES
from sqgen.formats.schema import BlobProto
from sqgen.nets.layer_types import LAYER_TYPES
from sqgen.nets.shapes import infer_shapes

from . import reference_layers, small_nets
from .devices import tolerance
from .grouped import check_each
from .test_reference_layers import (
    CASES,
    DIFFERENTIABLE,
    KINDS,
    SINKS,
    SOURCES,
    Array,
    Case,
    array,
    arrays,
    assert_near,
    blobs_for,
    kind,
    layer_text,
    spread_out,
)
from .test_reference_layers import given as all_of

drawn = settings(max_examples=30)


def with_inputs(layer: str, bottoms: Sequence[Array]) -> str:
    """The text of a net: an Input for each bottom, then the layer."""
    text = ""
    for index, bottom in enumerate(bottoms):
        dims = " ".join(f"dim: {size}" for size in bottom.shape)
        text += (
            f'layer {{ name: "in{index}" type: "Input" top: "b{index}"'
            f" input_param {{ shape {{ {dims} }} }} }}\n"
        )
    return text + layer


def make(
    layer: str,
    phase: str,
    bottoms: Sequence[Array],
    blobs: Sequence[Array],
    precision: str,
    device: str,
) -> Any:
    """The engine's net of one layer called `it`, with its parameters."""
    definition = parse_net(with_inputs(layer, bottoms))
    net = Executor(definition, phase, precision=precision, device=device)
    if blobs:
        net.set_blobs("it", list(blobs))
    return net


class Gradients(NamedTuple):
    """Outputs, and the gradients of blobs and parameters, as arrays."""

    outputs: dict[str, Array]
    blobs: dict[str, Array]
    parameters: dict[tuple[str, int], Array]


def gradients_of(
    net: Executor, inputs: dict[str, Array], tops: dict[str, Array] | None = None
) -> Gradients:
    """Run one batch forward, and backward from `tops` or the net's own loss."""
    tape = net.forward_on_tape(inputs, force_backward=True)
    outputs = {name: to_array(blob) for name, blob in tape.blobs.items()}
    return Gradients(outputs, *tape.backward(tops))


def named(letter: str, values: Sequence[Array | None]) -> dict[str, Array]:
    """Values as b0, b1... or t0, t1..., the missing ones left out."""
    return {f"{letter}{i}": value for i, value in enumerate(values) if value is not None}


def assert_same(actual: Any, wanted: Array | None, what: str, rtol: float) -> None:
    """Equal to a rounding; where nothing is wanted, nothing or zeros."""
    if wanted is None:
        assert actual is None or not np.any(actual), what
        return
    actual = np.asarray(actual, np.float64)
    assert actual.shape == wanted.shape, what
    finite = np.abs(wanted[np.isfinite(wanted)])
    scale = float(finite.max()) if finite.size else 0.0
    atol = rtol * (0.1 * scale + 0.01)
    np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=atol, err_msg=what)


def limits(wanted: Array | None, made: Any) -> Array | None:
    """Gradients as Caffe's, but for those that it takes for 0/0 (Power at 0, an unstable product
    with a factor of 0): the engine has their limit, so that a training does not end in nan."""
    if wanted is None or not np.isnan(wanted).any():
        return wanted
    assert np.isfinite(made).all()
    return np.where(np.isnan(wanted), made, wanted)


def check(
    layer: str,
    phase: str,
    bottoms: Sequence[Array],
    blobs: Sequence[Array],
    top_gradients: Sequence[Array | None] | None,
    device: str,
    *,
    backward: bool = True,
    precision: str = "fp64",
) -> None:
    """Compare one layer of the engine with the reference.

    `top_gradients` are the gradients of the tops; None lets the layer's own loss weights be them.
    """
    net = make(layer, phase, bottoms, blobs, precision, device)
    rtol = tolerance(device, precision).layer
    inputs = named("b", bottoms)
    result = reference_layers.run(layer, phase, bottoms, blobs)
    outputs = net.forward(inputs)
    assert set(outputs) == set(named("t", result.tops))
    for name, top in named("t", result.tops).items():
        assert_same(outputs[name], top, name, rtol)
    if result.blobs:
        for index, (made, blob) in enumerate(zip(net.blobs("it"), result.blobs, strict=True)):
            assert_same(made, blob, f"blob {index} after the forward pass", rtol)
        net.set_blobs("it", list(blobs))
    if not backward:
        return
    if top_gradients is None:
        param = parse_net(layer).param.layer[0]
        found = gradients_of(net, inputs)
        wanted = result.backward(reference_layers.training_gradients(param, result))
    else:
        found = gradients_of(net, inputs, named("t", top_gradients))
        wanted = result.backward(top_gradients)
    for name, top in named("t", result.tops).items():
        assert_same(found.outputs[name], top, name, rtol)
    for index, gradient in enumerate(wanted[0]):
        made = found.blobs.get(f"b{index}")
        assert_same(made, limits(gradient, made), f"gradient of b{index}", rtol)
    for index, gradient in enumerate(wanted[1]):
        assert_same(
            found.parameters.get(("it", index)), gradient, f"gradient of blob {index}", rtol
        )


@pytest.mark.parametrize("name", KINDS)
def test_layer_is_as_caffe_recorded_it(name: str, device: str) -> None:
    """In float32, as Caffe computes."""
    check_each(KINDS[name], lambda case: check_recorded(case, device))


def check_recorded(case: Case, device: str) -> None:
    bottoms, blobs = all_of(case["bottoms"]), all_of(case["blobs"])
    net = make(case["layer"], case["phase"], bottoms, blobs, "fp32", device)
    rtol = tolerance(device).layer
    inputs = named("b", bottoms)
    outputs = net.forward(inputs)
    assert set(outputs) == {f"t{index}" for index in range(len(case["tops"]))}
    for index, top in enumerate(case["tops"]):
        assert_near(outputs[f"t{index}"], array(top), f"top {index}", rtol)
    for index, blob in enumerate(case.get("blobs_after", [])):
        assert_near(net.blobs("it")[index], array(blob), f"blob {index} after it", rtol)
    if "bottom_gradients" not in case:
        return
    if blobs:
        net.set_blobs("it", blobs)
    given_gradients = case.get("top_gradients")
    tops = None if given_gradients is None else named("t", arrays(given_gradients))
    found = gradients_of(net, inputs, tops)
    for index, recorded in enumerate(arrays(case["bottom_gradients"])):
        if recorded is not None:
            gradient = found.blobs[f"b{index}"]
            wanted = limits(recorded, gradient)
            assert wanted is not None
            assert_near(gradient, wanted, f"gradient of b{index}", rtol)
    for index, recorded in enumerate(arrays(case["blob_gradients"])):
        if recorded is not None:
            assert_near(found.parameters["it", index], recorded, f"gradient of blob {index}", rtol)


@pytest.mark.parametrize("name", KINDS)
def test_layer_is_as_the_reference_in_float64(name: str, device: str) -> None:
    check_each(KINDS[name], lambda case: check_in_float64(case, device))


def check_in_float64(case: Case, device: str) -> None:
    gradients = case.get("top_gradients")
    check(
        case["layer"],
        case["phase"],
        all_of(case["bottoms"]),
        all_of(case["blobs"]),
        None if gradients is None else arrays(gradients),
        device,
        backward="bottom_gradients" in case,
    )


@pytest.mark.parametrize("precision", ["fp64", "fp32"])
@pytest.mark.parametrize(
    ("name", "params", "shapes", "tops"),
    DIFFERENTIABLE,
    ids=[f"{index}-{row[0]}" for index, row in enumerate(DIFFERENTIABLE)],
)
def test_differentiable_layer(
    name: str,
    params: str,
    shapes: list[tuple[int, ...]],
    tops: int,
    precision: str,
    device: str,
) -> None:
    bottoms = [rounded(spread_out(shape, seed)) for seed, shape in enumerate(shapes)]
    blobs = [rounded(blob) for blob in blobs_for(name, params, bottoms)]
    text = layer_text(name, params, len(shapes), tops)
    made = reference_layers.run(text, "TRAIN", bottoms, blobs).tops
    gradients = None if name.endswith("Loss") else [values_like(top, 7) for top in made]
    check(text, "TRAIN", bottoms, blobs, gradients, device, precision=precision)


def test_every_type_that_computes_is_checked() -> None:
    assert set(map(kind, CASES)) == set(LAYER_TYPES) - SOURCES - SINKS - set(RISTRETTO_TYPES)


def rounded(values: Array) -> Array:
    """Values that float32 holds exactly, so that both precisions see the same."""
    return np.asarray(np.round(values * 64) / 64)


def values_like(array: Array, seed: int) -> Array:
    """Values of both signs in the shape of an array."""
    return rounded(np.random.default_rng(seed).uniform(-2, 2, array.shape))


# The engine may cut a batch into pieces. These batches are longer than a piece, and not a multiple
# of any; some layers mix the records of a batch.

BATCH = 13
LONG = [
    ("Convolution", "convolution_param { num_output: 2 kernel_size: 2 }", [(BATCH, 3, 3, 4)], 1),
    ("Pooling", "pooling_param { kernel_size: 2 }", [(BATCH, 2, 3, 4)], 2),
    ("InnerProduct", "inner_product_param { num_output: 3 }", [(BATCH, 4)], 1),
    ("InnerProduct", "inner_product_param { num_output: 3 axis: 0 }", [(BATCH, 4)], 1),
    ("PReLU", "", [(BATCH, 3, 2)], 1),
    ("BatchNorm", "", [(BATCH, 3, 2)], 1),
    ("Scale", "scale_param { bias_term: true }", [(BATCH, 3, 2)], 1),
    ("Scale", "scale_param { axis: 0 bias_term: true }", [(BATCH, 3)], 1),
    ("Scale", "scale_param { axis: 1 }", [(BATCH, 3, 2), (3,)], 1),
    ("Scale", "scale_param { axis: 0 }", [(BATCH, 3, 2), (BATCH, 3)], 1),
    ("Bias", "bias_param { axis: 0 num_axes: 2 }", [(BATCH, 3, 2)], 1),
    ("Bias", "bias_param { axis: 1 }", [(BATCH, 3, 2), (3, 2)], 1),
    ("Concat", "concat_param { axis: 0 }", [(BATCH, 3), (4, 3)], 1),
    ("Concat", "", [(BATCH, 3), (BATCH, 2)], 1),
    ("Slice", "slice_param { axis: 0 slice_point: 3 slice_point: 4 }", [(BATCH, 3)], 3),
    ("Slice", "", [(BATCH, 4)], 2),
    ("Flatten", "flatten_param { axis: 0 }", [(BATCH, 3, 2)], 1),
    ("Reshape", "reshape_param { shape { dim: 3 dim: -1 } }", [(BATCH, 3, 2)], 1),
    ("Softmax", "softmax_param { axis: 0 }", [(BATCH, 3)], 1),
    ("Softmax", "", [(BATCH, 3)], 1),
    ("ArgMax", "argmax_param { axis: 0 top_k: 2 }", [(BATCH, 3)], 1),
    ("ArgMax", "", [(BATCH, 3)], 1),
    ("EuclideanLoss", "", [(BATCH, 3), (BATCH, 3)], 1),
    ("Silence", "", [(BATCH, 3)], 0),
    ("Deconvolution", "convolution_param { num_output: 2 kernel_size: 3 stride: 2 }",
     [(BATCH, 3, 3, 2)], 1),
    ("Deconvolution", "convolution_param { num_output: 2 kernel_size: 3 axis: 0 }",
     [(BATCH, 3)], 1),
    ("Im2col", "convolution_param { kernel_size: 2 }", [(BATCH, 2, 3, 4)], 1),
    ("Im2col", "convolution_param { kernel_size: 2 axis: 0 }", [(BATCH, 4)], 1),
    ("SPP", "spp_param { pyramid_height: 2 }", [(BATCH, 2, 4, 3)], 1),
    ("SPP", "spp_param { pyramid_height: 1 pool: AVE }", [(BATCH, 2, 4, 3)], 1),
    ("MVN", "mvn_param { across_channels: true }", [(BATCH, 2, 3)], 1),
    ("Crop", "crop_param { offset: 1 }", [(BATCH, 2, 4, 5), (BATCH, 1, 2, 3)], 1),
    ("Crop", "crop_param { axis: 0 offset: 2 offset: 0 }", [(BATCH, 3), (5, 2)], 1),
    ("Tile", "tile_param { tiles: 2 }", [(BATCH, 3)], 1),
    ("Tile", "tile_param { tiles: 2 axis: 0 }", [(BATCH, 3)], 1),
    ("Reduction", "reduction_param { operation: SUMSQ }", [(BATCH, 3)], 1),
    ("Reduction", "reduction_param { operation: MEAN axis: 1 }", [(BATCH, 3)], 1),
    ("Reduction", "loss_weight: 2 reduction_param { operation: ASUM axis: 1 }", [(BATCH, 3)], 1),
    ("Filter", "", [(BATCH, 3), (BATCH, 2, 2), (BATCH,)], 2),
    ("SigmoidCrossEntropyLoss", "", [(BATCH, 3), (BATCH, 3)], 1),
    ("SigmoidCrossEntropyLoss", "loss_param { ignore_label: 1 normalization: VALID }",
     [(BATCH, 3), (BATCH, 3)], 1),
    ("ContrastiveLoss", "", [(BATCH, 3), (BATCH, 3), (BATCH,)], 1),
]  # fmt: skip
LABELLED = [
    ("SoftmaxWithLoss", params, 1)
    for params in (
        "",
        "loss_param { ignore_label: 1 }",
        "loss_weight: 0.5 loss_param { ignore_label: 1 normalization: FULL }",
        "loss_param { ignore_label: 1 normalization: BATCH_SIZE }",
        "loss_param { normalization: NONE }",
    )
] + [
    ("HingeLoss", "", 1),
    ("Accuracy", "", 2),
    ("Accuracy", "accuracy_param { ignore_label: 0 }", 2),
    ("Accuracy", "accuracy_param { top_k: 2 }", 1),
]


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(
    ("name", "params", "shapes", "tops"),
    LONG,
    ids=[f"{index}-{row[0]}" for index, row in enumerate(LONG)],
)
def test_a_long_batch(
    name: str, params: str, shapes: list[tuple[int, ...]], tops: int, phase: str, device: str
) -> None:
    bottoms = [values_like(np.empty(shape), seed) for seed, shape in enumerate(shapes)]
    blobs = blobs_for(name, params, bottoms)
    text = layer_text(name, params, len(shapes), tops)
    made = reference_layers.run(text, phase, bottoms, blobs).tops
    gradients = None if name.endswith("Loss") else [values_like(top, 7) for top in made]
    backward = name not in ("ArgMax", "Silence")
    check(text, phase, bottoms, blobs, gradients, device, backward=backward)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(
    ("name", "params", "shape", "count"),
    [
        ("BatchReindex", "", (BATCH, 3), BATCH),
        ("Embed", "embed_param { num_output: 3 input_dim: 7 }", None, 7),
        ("Embed", "embed_param { num_output: 2 input_dim: 4 bias_term: false }", None, 4),
    ],
)
def test_a_long_batch_of_indices(
    name: str, params: str, shape: tuple[int, ...] | None, count: int, phase: str, device: str
) -> None:
    index = np.random.default_rng(1).integers(0, count, BATCH) + 0.25  # which Caffe cuts off
    bottoms = [np.asarray(index)]
    if shape is not None:
        bottoms.insert(0, values_like(np.empty(shape), 2))
    blobs = blobs_for(name, params, bottoms)
    text = layer_text(name, params, len(bottoms), 1)
    made = reference_layers.run(text, phase, bottoms, blobs).tops
    check(text, phase, bottoms, blobs, [values_like(made[0], 7)], device)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("HingeLoss", ""),
        ("HingeLoss", "hinge_loss_param { norm: L2 }"),
        ("MultinomialLogisticLoss", ""),
        ("InfogainLoss", "loss_param { ignore_label: 2 }"),
    ],
)
def test_a_long_batch_with_a_label_a_record(
    name: str, params: str, phase: str, device: str
) -> None:
    labels = np.asarray(np.random.default_rng(3).integers(0, 4, BATCH), np.float64)
    bottoms = [np.abs(values_like(np.empty((BATCH, 4)), 4)) + 0.25, labels]
    if name == "InfogainLoss":
        bottoms.append(values_like(np.empty((4, 4)), 5))
    check(layer_text(name, params, len(bottoms), 1), phase, bottoms, [], None, device)


LEARNED = """
layer { name: "d" type: "Input" top: "b0" input_param { shape { dim: 13 dim: 4 } } }
layer { name: "l" type: "Input" top: "b1" input_param { shape { dim: 13 LABELS } } }
layer { name: "it" type: "Scale" bottom: "b0" top: "s" scale_param { bias_term: true } }
"""


@pytest.mark.parametrize(
    ("name", "params", "labels", "split"),
    [
        ("SoftmaxWithLoss", "loss_param { ignore_label: 1 }", "", True),
        ("HingeLoss", "hinge_loss_param { norm: L2 }", "", True),
        ("HingeLoss", "", "dim: 2", False),
        ("MultinomialLogisticLoss", "", "", True),
        ("SigmoidCrossEntropyLoss", "loss_weight: 0.5", "dim: 4", True),
        ("SigmoidCrossEntropyLoss", "loss_param { normalization: FULL }", "dim: 4", True),
        (
            "SigmoidCrossEntropyLoss",
            "loss_param { ignore_label: 1 normalization: VALID }",
            "dim: 4",
            True,
        ),
        ("EuclideanLoss", "", "dim: 4", True),
    ],
)
def test_training_in_micro_batches_is_as_whole(
    name: str, params: str, labels: str, split: bool
) -> None:
    """The divisor of a loss is that of the whole batch."""
    text = LEARNED.replace("LABELS", labels) + layer_text(name, params, 2, 1).replace(
        '"it"', '"loss"'
    ).replace('"b0"', '"s"')
    net = Executor(parse_net(text), "TRAIN", precision="fp64", workers=Workers(2))
    assert net.splits_batches == split
    net.set_blobs("it", [np.array([1.0, 2.0, 0.5, 1.5]), np.array([0.5, 1.0, 0.25, 2.0])])
    generator = np.random.default_rng(2)
    shape = net.wiring.layers[1].top_shapes[0]
    inputs = {
        "b0": np.abs(generator.normal(0, 1, (BATCH, 4))),
        "b1": np.asarray(generator.integers(0, 4, shape), np.float64),
    }
    loss = net.train_batch(inputs).loss
    tape = net.forward_on_tape(inputs)
    assert loss == pytest.approx(tape.loss, rel=1e-9)
    for index, gradient in enumerate(tape.backward().parameters.values()):
        found = net.parameters.unique[index].grad
        assert found is not None
        np.testing.assert_allclose(to_array(found), gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(("name", "params", "tops"), LABELLED)
def test_a_long_batch_with_labels(
    name: str, params: str, tops: int, phase: str, device: str
) -> None:
    """Several labels a record, and records where all are ignored."""
    generator = np.random.default_rng(3)
    labels = np.asarray(generator.integers(0, 4, (BATCH, 2, 3)), np.float64)
    labels[4:9] = 1 if "ignore_label: 1" in params else 0
    scores = np.round(values_like(np.empty((BATCH, 4, 2, 3)), 4) * 2)
    text = layer_text(name, params, 2, tops)
    check(text, phase, [scores, labels], [], None, device, backward=name != "Accuracy")


@pytest.mark.parametrize("params", ["", "loss_param { ignore_label: 1 normalization: BATCH_SIZE }"])
def test_an_infogain_matrix_from_a_file_is_as_from_a_bottom(
    params: str, tmp_path: Path, device: str
) -> None:
    scores = values_like(np.empty((BATCH, 4)), 4)
    labels = np.asarray(np.arange(BATCH) % 4, np.float64)
    matrix = values_like(np.empty((1, 1, 4, 4)), 5)
    blob = BlobProto()
    fill_blob(blob, matrix)
    (tmp_path / "h.binaryproto").write_bytes(blob.SerializeToString())
    source = f'infogain_loss_param {{ source: "{tmp_path}/h.binaryproto" }}'
    texts = [
        layer_text("InfogainLoss", f"{params} {source}", 2, 1),
        layer_text("InfogainLoss", params, 3, 1),
    ]
    results = []
    for text, bottoms in zip(texts, ([scores, labels], [scores, labels, matrix]), strict=True):
        net = make(text, "TRAIN", bottoms, [], "fp64", device)
        results.append(gradients_of(net, named("b", bottoms)))
    from_file, from_bottom = results
    assert_same(from_file.outputs["t0"], np.asarray(from_bottom.outputs["t0"]), "loss", 1e-9)
    assert_same(from_file.blobs["b0"], np.asarray(from_bottom.blobs["b0"]), "gradient", 1e-9)


FILTERED = """
layer { name: "it" type: "Filter" bottom: "b0" bottom: "b1" top: "f" }
layer { name: "c" type: "Convolution" bottom: "f" top: "c"
  convolution_param { num_output: 2 kernel_size: 2 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "p" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "l" type: "Reduction" bottom: "ip" top: "l" loss_weight: 1 }
"""


@pytest.mark.parametrize("precision", ["fp64", "fp32"])
@pytest.mark.parametrize("chosen", [[], [2], [0, 1, 2, 3]])
def test_layers_behind_a_filter_take_any_number_of_records(
    chosen: list[int], precision: str, device: str
) -> None:
    images, selector = values_like(np.empty((4, 3, 3, 4)), 1), np.zeros(4)
    selector[chosen] = -1
    text = with_inputs(FILTERED, [images, selector])
    net = Executor(parse_net(text), "TRAIN", precision=precision, device=device)
    made = net.forward({"b0": images, "b1": selector}, keep=("ip",))
    assert made["ip"].shape == (len(chosen), 3)
    assert made["l"] == pytest.approx(made["ip"].sum(), rel=1e-5)
    assert net.train_batch({"b0": images, "b1": selector}).loss == pytest.approx(float(made["l"]))


# Lazy forms: what a layer leaves for the next one to compute

POOLINGS = {
    "max": "kernel_size: 2 stride: 2",
    "max of the whole": "global_pooling: true",
    "mean": "pool: AVE kernel_size: 3 stride: 2 pad: 1",
    "mean of the whole": "pool: AVE global_pooling: true",
    "expectation": "pool: STOCHASTIC kernel_size: 2",
}


def pair(first: str, second: str, bottom: Array, precision: str, phase: str, device: str) -> Any:
    """The engine's net of two layers or more; the first called `it`."""
    text = with_inputs(first + second, [bottom])
    net = Executor(parse_net(text), phase, precision=precision, device=device, seed=1)
    blobs = blobs_for("Convolution", "convolution_param { num_output: 3 kernel_size: 1 }", [bottom])
    for name in [layer.name for layer in net.wiring.layers if layer.blobs]:
        net.set_blobs(name, [rounded(blob) for blob in blobs])
    return net


@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
@pytest.mark.parametrize(
    ("pooling", "tops"),
    [(pooling, 1) for pooling in POOLINGS] + [("max", 2), ("max of the whole", 2)],
)
def test_pooling_behind_a_padded_pointwise_convolution(
    pooling: str, tops: int, precision: str, device: str
) -> None:
    """Its border has one value per channel, which only the global mean uses."""
    bottom = rounded(spread_out((2, 2, 3, 4), 3))
    first = layer_text(
        "Convolution", "convolution_param { num_output: 3 kernel_size: 1 pad: 1 }", 1, 1
    )
    second = layer_text("Pooling", f"pooling_param {{ {POOLINGS[pooling]} }}", 1, tops)
    second = second.replace('"it"', '"pool"').replace('"b0"', '"t0"')
    second = second.replace('top: "t', 'top: "y')
    net = pair(first, second, bottom, precision, "TEST", device)
    made = net.forward({"b0": bottom})
    wanted = net.forward_on_tape({"b0": bottom}).blobs
    assert set(made) == {"y0", "y1"} if tops == 2 else {"y0"}
    rtol = tolerance(device, precision).layer
    for name, blob in made.items():
        assert_same(blob, np.asarray(to_array(wanted[name]), np.float64), name, rtol)


TWO_PARTS = (
    'layer { name: "it" type: "Convolution" bottom: "b0" top: "x"'
    " convolution_param { num_output: 3 kernel_size: 1 } }\n"
    'layer { name: "other" type: "Convolution" bottom: "b0" top: "y"'
    " convolution_param { num_output: 3 kernel_size: 1 } }\n"
    'layer { name: "join" type: "Concat" bottom: "x" bottom: "y" top: "z" }\n'
)


def test_stochastic_pooling_draws_anew_for_each_part_of_a_concatenation(device: str) -> None:
    """Both parts are equal, so that the same random numbers would choose the same values."""
    bottom = rounded(np.random.default_rng(2).uniform(0, 2, (1, 2, 12, 12)))
    pool = layer_text("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", 1, 1)
    pool = pool.replace('"it"', '"pool"').replace('"b0"', '"z"')
    nets = [pair(TWO_PARTS, pool, bottom, "fp32", "TRAIN", device) for _ in range(2)]
    tops, recorded = nets[0].forward({"b0": bottom}), nets[1].forward_on_tape({"b0": bottom})
    assert not np.array_equal(tops["t0"][:, :3], tops["t0"][:, 3:])
    assert_same(tops["t0"], np.asarray(to_array(recorded.blobs["t0"]), np.float64), "t0", 1e-5)


def test_a_convolution_of_data_beside_another_layer_in_bf16(device: str) -> None:
    """Data is float32 until it meets parameters."""
    bottom = rounded(spread_out((2, 2, 3, 4), 3))
    joined = TWO_PARTS.split("\n")[0] + (
        'layer { name: "join" type: "Concat" bottom: "x" bottom: "b0" top: "z" }'
    )
    for kernel, outputs in ((1, 2), (1, 9), (3, 2)):
        last = (
            'layer { name: "last" type: "Convolution" bottom: "z" top: "t0"'
            f" convolution_param {{ num_output: {outputs} kernel_size: {kernel} weight_filler {{"
            ' type: "xavier" } } }'
        )
        definition = parse_net(with_inputs(joined + last, [bottom]))
        nets = [Executor(definition, "TEST", precision=p, device=device) for p in ("bf16", "fp32")]
        tops = [net.forward({"b0": bottom})["t0"] for net in nets]
        assert_same(tops[0], np.asarray(tops[1], np.float64), "t0", 0.05)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        (layer_text("ArgMax", "argmax_param { top_k: 1 }", 1, 1), 0),
        (layer_text("ArgMax", "argmax_param { axis: 1 }", 1, 1), 0),
        (layer_text("ArgMax", "argmax_param { out_max_val: true }", 1, 1), 0),
        (layer_text("Pooling", "pooling_param { global_pooling: true }", 1, 2), 1),
    ],
)
def test_an_index_is_exact_in_bf16(text: str, index: int, device: str) -> None:
    """bf16 has 8 significant bits: 297 lies between two of its numbers."""
    bottom = np.zeros((2, 1, 18, 18) if "Pooling" in text else (2, 299, 1, 1))
    bottom.reshape(2, -1)[:, 297] = 3
    convolve = 'layer { name: "pass" type: "Convolution" bottom: "b0" top: "x" convolution_param {'
    convolve += f" num_output: {bottom.shape[1]} kernel_size: 1 bias_term: false }} }}"
    definition = parse_net(with_inputs(convolve + text.replace('"b0"', '"x"'), [bottom]))
    net = Executor(definition, "TEST", precision="bf16", device=device)
    net.set_blobs("pass", [np.eye(bottom.shape[1], dtype=np.float32)[:, :, None, None]])
    assert (net.forward({"b0": bottom})[f"t{index}"].reshape(2, -1)[:, 0] == 297).all()


# What is not in Caffe's record


def test_stochastic_pooling_in_test_is_an_expectation(device: str) -> None:
    """Caffe has it on the GPU alone (pooling_layer.cu)."""
    text = layer_text(
        "Pooling",
        "pooling_param { pool: STOCHASTIC kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 }",
        1,
        1,
    )
    bottom = np.abs(values_like(np.empty((2, 2, 6, 4)), 3))
    bottom[0, 0, :3, :2] = 0  # no probabilities at all: 0
    check(text, "TEST", [bottom], [], [], device, backward=False)


@pytest.mark.parametrize("ratio", [0.5, 0.2])
def test_dropout_in_training_scales_what_it_keeps(ratio: float, device: str) -> None:
    text = layer_text("Dropout", f"dropout_param {{ dropout_ratio: {ratio} }}", 1, 1)
    bottom = np.abs(values_like(np.empty((50, 3, 80)), 4)) + 1
    net = make(text, "TRAIN", [bottom], [], "fp64", device)
    gradient = values_like(bottom, 5) + 3
    found = gradients_of(net, {"b0": bottom}, {"t0": gradient})
    kept = found.outputs["t0"] != 0
    # The ratio is a float32 in the prototxt.
    scaled = np.where(kept, 1 / (1 - float(np.float32(ratio))), 0)
    assert_same(found.outputs["t0"], bottom * scaled, "output", 1e-9)
    assert_same(found.blobs["b0"], gradient * scaled, "gradient", 1e-9)
    expected, deviation = 1 - ratio, np.sqrt(ratio * (1 - ratio) / bottom.size)
    assert abs(kept.mean() - expected) < 7 * deviation
    again = net.forward({"b0": bottom})["t0"]
    assert not np.array_equal(again != 0, kept), "each pass draws anew"


def test_a_blob_read_twice_gathers_both_gradients(device: str) -> None:
    text = (
        'layer { name: "square" type: "Eltwise" bottom: "b0" bottom: "b0" top: "t0"'
        " eltwise_param { operation: PROD } }"
    )
    bottom = values_like(np.empty((2, 3)), 1)
    net = make(text, "TRAIN", [bottom], [], "fp64", device)
    found = gradients_of(net, {"b0": bottom}, {"t0": bottom})
    assert_same(found.blobs["b0"], 2 * bottom**2, "gradient", 1e-9)


# Of Power, BNLL, Log, Clip and MVN, Caffe's own gradients read what was overwritten.
IN_PLACE = {
    "ReLU": "relu_param { negative_slope: 0.3 }",
    "ELU": "elu_param { alpha: 0.4 }",
    "Sigmoid": "",
    "TanH": "",
    "Exp": "exp_param { scale: -0.5 }",
    "Swish": "",
    "Power": "power_param { power: 2 scale: 0.5 }",
    "BNLL": "",
    "Log": "log_param { shift: 8 }",
    "Clip": "clip_param { min: -1 max: 1 }",
    "MVN": "",
    "PReLU": "",
    "BatchNorm": "",
    "Scale": "scale_param { bias_term: true }",
    "Bias": "",
    "Softmax": "",
}


def chain(name: str, bottom: Array, tops: Sequence[str], device: str) -> Any:
    """The gradients of a chain: a copy, the layer twice, a TanH; its tops named so."""
    links = [("copy", "Power", ""), ("one", name, IN_PLACE[name]), ("two", name, IN_PLACE[name])]
    text = ""
    before = "b0"
    for (layer, type_, params), after in zip([*links, ("end", "TanH", "")], tops, strict=True):
        ends = f'bottom: "{before}" top: "{after}"'
        text += f'layer {{ name: "{layer}" type: "{type_}" {ends} {params} }}\n'
        before = after
    definition = parse_net(with_inputs(text, [bottom]))
    net = Executor(definition, "TRAIN", precision="fp64", device=device)
    blobs = blobs_for(name, IN_PLACE[name], [bottom])
    for layer in ("one", "two") if blobs else ():
        net.set_blobs(layer, blobs)
    return gradients_of(net, {"b0": bottom}, {before: values_like(bottom, 6)})


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_is_as_beside(name: str, device: str) -> None:
    """Twice in a row, so that the second writes over what the first needs for its gradient."""
    bottom = values_like(np.empty((3, 2, 2, 4)), 2)
    inside, beside = (chain(name, bottom, tops, device) for tops in ("xxxx", "wxyz"))
    assert_same(inside.outputs["x"], np.asarray(beside.outputs["z"]), "output", 1e-9)
    assert_same(inside.blobs["b0"], np.asarray(beside.blobs["b0"]), "gradient", 1e-9)
    for key, wanted in beside.parameters.items():
        assert_same(inside.parameters[key], wanted, f"gradient of {key}", 1e-9)


# Parameters as they come


@st.composite
def shapes_of(draw: st.DrawFn, axes: int, most: int = 6) -> tuple[int, ...]:
    return tuple(draw(st.integers(1, most)) for _ in range(axes))


def repeated(field: str, values: Sequence[int]) -> str:
    return " ".join(f"{field}: {value}" for value in values)


def check_drawn(name: str, params: str, bottoms: list[Array], device: str, tops: int = 1) -> None:
    """Compare a drawn layer with the reference, if Caffe takes it."""
    text = layer_text(name, params, len(bottoms), tops)
    assume(not infer_shapes(parse_net(with_inputs(text, bottoms)), "TRAIN").problems)
    blobs = [rounded(blob - 0.9) for blob in blobs_for(name, params, bottoms)]
    made = reference_layers.run(text, "TRAIN", bottoms, blobs).tops
    masks = name == "Pooling"  # the second top is no function to differentiate
    gradients = [None if masks and i else values_like(top, i) for i, top in enumerate(made)]
    # Caffe has no gradient for a window that lies wholly outside its image.
    inside = all(np.isfinite(top).all() and np.abs(top).max() < 1e30 for top in made)
    check(text, "TRAIN", bottoms, blobs, gradients, device, backward=inside)


@drawn
@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_convolutions_as_drawn(
    device: str, data: st.DataObject, axes: int, group: int, bottoms: int, bias: bool
) -> None:
    def each(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)) for _ in range(axes)]

    most = 6 if axes < 3 else 4
    channels = group * data.draw(st.integers(1, 2))
    shape = (data.draw(st.integers(1, 2)), channels, *data.draw(shapes_of(axes, most)))
    params = (
        f"num_output: {group * data.draw(st.integers(1, 2))} group: {group}"
        f" bias_term: {str(bias).lower()} "
        + repeated("kernel_size", each(1, 4 if axes < 3 else 2))
        + " "
        + repeated("stride", each(1, 3))
        + " "
        + repeated("pad", each(0, 2))
        + " "
        + repeated("dilation", each(1, 2))
    )
    values = [values_like(np.empty(shape), seed) for seed in range(bottoms)]
    check_drawn("Convolution", f"convolution_param {{ {params} }}", values, device, bottoms)


@drawn
@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_deconvolutions_and_columns_as_drawn(
    device: str, data: st.DataObject, axes: int, group: int, bias: bool
) -> None:
    def each(low: int, high: int) -> list[int]:
        return [data.draw(st.integers(low, high)) for _ in range(axes)]

    shape = (data.draw(st.integers(1, 2)), group * data.draw(st.integers(1, 2)), *each(1, 4))
    windows = " ".join(
        repeated(field, each(low, high))
        for field, low, high in (
            ("kernel_size", 1, 4 if axes < 3 else 2),
            ("stride", 1, 3),
            ("pad", 0, 3),
            ("dilation", 1, 2),
        )
    )
    values = [values_like(np.empty(shape), axes)]
    check_drawn("Im2col", f"convolution_param {{ {windows} }}", values, device)
    filters = f"num_output: {group * 2} group: {group} bias_term: {str(bias).lower()}"
    check_drawn("Deconvolution", f"convolution_param {{ {filters} {windows} }}", values, device)


@drawn
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    st.sampled_from(["MAX", "AVE"]),
    st.sampled_from(["CEIL", "FLOOR"]),
    st.tuples(*[st.integers(1, 4)] * 4),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.booleans(),
)
def test_poolings_as_drawn(
    device: str,
    shape: tuple[int, int, int, int],
    method: str,
    rounding: str,
    windows: tuple[int, int, int, int],
    pad: tuple[int, int],
    mask: bool,
) -> None:
    params = (
        f"pool: {method} round_mode: {rounding} kernel_h: {windows[0]} kernel_w: {windows[1]}"
        f" stride_h: {windows[2]} stride_w: {windows[3]} pad_h: {pad[0]} pad_w: {pad[1]}"
    )
    values = np.round(values_like(np.empty(shape), sum(windows)) * 2)  # with ties
    tops = 2 if mask and method == "MAX" else 1
    check_drawn("Pooling", f"pooling_param {{ {params} }}", [values], device, tops)


@drawn
@given(
    shapes_of(4),
    st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([0.0001, 0.5, 2.0]),
    st.sampled_from([0.5, 0.75, 1.25]),
    st.sampled_from([1.0, 2.5]),
)
def test_normalizations_as_drawn(
    device: str,
    shape: tuple[int, ...],
    region: str,
    size: int,
    alpha: float,
    beta: float,
    k: float,
) -> None:
    params = f"norm_region: {region} local_size: {size} alpha: {alpha} beta: {beta} k: {k}"
    check_drawn("LRN", f"lrn_param {{ {params} }}", [values_like(np.empty(shape), size)], device)


@drawn
@given(st.data(), st.integers(1, 4), st.integers(1, 4))
def test_concatenations_as_drawn(device: str, data: st.DataObject, axes: int, count: int) -> None:
    shape, axis = data.draw(shapes_of(axes, 4)), data.draw(st.integers(-axes, axes - 1))
    bottoms = []
    for seed in range(count):
        size = list(shape)
        size[axis] = data.draw(st.integers(1, 4))
        bottoms.append(values_like(np.empty(size), seed))
    check_drawn("Concat", f"concat_param {{ axis: {axis} }}", bottoms, device)


@drawn
@given(
    st.data(),
    st.integers(0, 4),
    st.integers(2, 4),
    st.sampled_from(["SUM", "SUM with coeff", "PROD", "MAX"]),
)
def test_elementwise_as_drawn(
    device: str, data: st.DataObject, axes: int, count: int, operation: str
) -> None:
    shape: tuple[int, ...] = data.draw(shapes_of(axes, 4))
    coefficients = [data.draw(st.sampled_from([1, -0.5, 0, 2])) for _ in range(count)]
    params = f"operation: {operation.split()[0]}"
    if operation.endswith("coeff"):
        params += "".join(f" coeff: {value}" for value in coefficients)
    bottoms: list[npt.NDArray[np.float64]] = [
        np.round(values_like(np.empty(shape), seed)) for seed in range(count)
    ]
    check_drawn("Eltwise", f"eltwise_param {{ {params} }}", bottoms, device)


@pytest.mark.parametrize(
    ("kernel", "line"),
    [
        (2, [0.5, 0.5]),
        (3, [0.5, 1, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_bilinear_filters_are_as_caffe_fills_them(kernel: int, line: list[float]) -> None:
    """Values of a Deconvolution in BVLC Caffe (filler.hpp)."""
    params = f"num_output: 2 group: 2 kernel_size: {kernel} weight_filler {{ type: 'bilinear' }}"
    text = layer_text("Deconvolution", f"convolution_param {{ {params} }}", 1, 1)
    net = make(text, "TEST", [np.zeros((1, 2, 3, 3))], [], "fp32", "cpu")
    weights = np.broadcast_to(np.outer(line, line), (2, 1, kernel, kernel))
    np.testing.assert_allclose(net.blobs("it")[0], weights, rtol=1e-6)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("shape", ["", "dim: 2", "dim: 4 dim: 3", "dim: 1 " * 5])
def test_any_type_runs_or_is_refused_on_any_shape(shape: str, phase: str) -> None:
    """Scalars and blobs of one axis, too: what a net's set-up takes, the kernels compute."""
    data = 'layer { name: "d" type: "DummyData" top: "a" top: "b" top: "c" dummy_data_param {'
    data += f" shape {{ {shape} }} }} }}\n"
    ran = 0
    for name in LAYER_TYPES:
        for bottoms in (1, 2, 3):
            layer = small_nets.layer(name, "x", " ".join("abc"[:bottoms]))
            try:
                net = Executor(parse_net(data + layer), phase, workers=Workers(1))
                net.forward({})
            except NetError:
                continue
            ran += 1
    assert ran > 10
