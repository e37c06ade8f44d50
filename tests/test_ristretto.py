"""Ristretto's layers: read, checked, shown, and computed as pmgysel/caffe 614963c does on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sqgen import FormatError, NetError, diff_nets, lint_net, parse_net, summary
from sqgen.drawing.layer_text import layer_text as drawn_text
from sqgen.engine.executor import Executor
from sqgen.engine.number_formats import FixedPoint, Minifloat, PowersOfTwo, Rounding
from sqgen.engine.workers import Workers
from sqgen.formats import prototxt
from sqgen.formats.caffemodel import blob_array, read_caffemodel
from sqgen.formats.fork_fields import COMPUTED
from sqgen.formats.ristretto import RISTRETTO_TYPES
from sqgen.formats.schema import NetParameter
from sqgen.nets.family import is_squeezenet
from sqgen.nets.shapes import require_shapes

from . import ristretto_reference as reference
from . import small_training
from .conftest import Run
from .reference_layers import Array
from .small_nets import conv, layer, net_input, random_model, save
from .test_engine_layers import gradients_of, make, named, rounded, values_like

FIXED = (
    "quantization_param { bw_layer_in: 5 bw_layer_out: 7 bw_params: 4 fl_layer_in: 2"
    " fl_layer_out: 3 fl_params: 2 }"
)
MINIFLOAT = "quantization_param { precision: MINIFLOAT mant_bits: 3 exp_bits: 4 }"
POWERS = (
    "quantization_param { precision: INTEGER_POWER_OF_2_WEIGHTS exp_min: -4 exp_max: 0"
    " bw_layer_in: 6 bw_layer_out: 8 fl_layer_in: 3 fl_layer_out: 2 }"
)
ANY = [FIXED, MINIFLOAT, POWERS]


# Number formats


@pytest.mark.parametrize(
    ("quantizer", "x", "wanted"),
    [
        (FixedPoint(8, 0), 126.5, 126),  # halves to even
        (FixedPoint(8, 0), 125.5, 126),
        (FixedPoint(8, 0), 150.0, 127),
        (FixedPoint(8, 0), -150.0, -128),
        (FixedPoint(8, 7), 0.3, 38 / 128),  # 38.4
        (FixedPoint(8, -3), 100.0, 96),  # 12.5 steps of 8
        (FixedPoint(8, -3), 5000.0, 1016),
        (FixedPoint(1, 2), 0.3, 0),
        (FixedPoint(1, 2), -0.3, -0.25),
        (Minifloat(3, 4), 1.0, 1),
        (Minifloat(3, 4), 1.0625, 1),  # half of 1/8, to even
        (Minifloat(3, 4), 1.1875, 1.25),
        (Minifloat(3, 4), -1.96, -2),  # to the next exponent
        (Minifloat(3, 4), 480.0, 480),  # the largest: 1.875 * 2^8
        (Minifloat(3, 4), 500.0, 512),  # rounded up above it, as Ristretto does
        (Minifloat(3, 4), 513.0, 480),
        (Minifloat(3, 4), 2.0**-7, 2**-7),
        (Minifloat(3, 4), 2.0**-7 * 0.99, 0),  # no denormalized numbers
        (Minifloat(10, 5), math.inf, 2047 * 2**6),
        (PowersOfTwo(-8, -1), 0.3, 0.25),
        (PowersOfTwo(-8, -1), -0.4, -0.5),
        (PowersOfTwo(-8, -1), 7.0, 0.5),
        (PowersOfTwo(-8, -1), 0.0, 2**-8),
        (PowersOfTwo(-8, -1), -1e-9, -(2**-8)),
    ],
)
def test_numbers_worked_out_by_hand(quantizer: Rounding, x: float, wanted: float) -> None:
    for dtype in (torch.float32, torch.float64):
        assert quantizer(torch.tensor([x], dtype=dtype)).tolist() == [wanted]


numbers = st.floats(-1e4, 1e4, width=32) | st.floats(-2, 2, width=32) | st.floats(width=32)
fixed = st.builds(FixedPoint, st.integers(1, 32), st.integers(-20, 30))
small = st.builds(Minifloat, st.integers(0, 23), st.integers(1, 8))
powers = st.tuples(st.integers(-20, 20), st.integers(-20, 20)).map(
    lambda ends: PowersOfTwo(min(ends), max(ends))
)


def refer(quantizer: Rounding, x: float, noise: float | None) -> float:
    if isinstance(quantizer, FixedPoint):
        return reference.fixed_point(x, quantizer.bits, quantizer.fraction, noise)
    if isinstance(quantizer, Minifloat):
        return reference.minifloat(x, quantizer.mantissa_bits, quantizer.exponent_bits, noise)
    assert isinstance(quantizer, PowersOfTwo)
    return reference.power_of_two(x, quantizer.least, quantizer.most, noise)


def with_noise(quantizer: Rounding, noise: Any) -> Rounding:
    from dataclasses import replace

    return replace(quantizer, noise=torch.tensor(noise))


@given(fixed | small | powers, st.lists(numbers, min_size=1, max_size=20))
def test_any_number_rounds_as_the_reference(quantizer: Rounding, values: list[float]) -> None:
    """In double precision, so that no scaling overflows; powers of two but at a tie of logs."""
    if isinstance(quantizer, PowersOfTwo):
        values = [x for x in values if math.isfinite(x) and not near_tie(x)] or [1.0]
    made = quantizer(torch.tensor(values, dtype=torch.float64))
    wanted = [refer(quantizer, x, None) for x in values]
    np.testing.assert_array_equal(made.numpy(), wanted)


def near_tie(x: float) -> bool:
    fraction = math.log2(abs(x)) % 1 if x else 0
    return abs(fraction - 0.5) < 1e-5


@given(fixed | small, st.lists(numbers, min_size=1, max_size=20), st.integers(1, 2**24 - 1))
def test_stochastic_rounding_adds_the_noise_before_it_rounds_down(
    quantizer: Rounding, values: list[float], noise: int
) -> None:
    """Without noise, -1e-38 stays below 0 there; here its fraction is 1, and it goes up."""
    values = [x for x in values if math.isfinite(x)] or [0.3]
    u = noise / 2**24
    made = with_noise(quantizer, [u] * len(values))(torch.tensor(values, dtype=torch.float64))
    wanted = [refer(quantizer, x, u) for x in values]
    np.testing.assert_allclose(made.numpy(), wanted, rtol=1e-9)


@given(fixed | small | powers, st.lists(numbers, min_size=1, max_size=20), st.floats(0, 0.99))
def test_what_a_format_holds_stays_whatever_the_noise(
    quantizer: Rounding, values: list[float], noise: float
) -> None:
    finite = [x for x in values if math.isfinite(x)] or [0.3]
    held = quantizer(torch.tensor(finite))
    if isinstance(quantizer, Minifloat):  # a mantissa rounded up above the largest is not held
        held = quantizer(held)
    for again in (quantizer(held), with_noise(quantizer, [noise] * len(finite))(held)):
        np.testing.assert_array_equal(again.numpy(), held.numpy())


@pytest.mark.parametrize("quantizer", [FixedPoint(8, 3), Minifloat(3, 4)])
def test_stochastic_rounding_is_right_in_the_mean(quantizer: Rounding) -> None:
    noise = np.random.default_rng(1).random(100_000)
    made = with_noise(quantizer, noise)(torch.full((len(noise),), 1.03, dtype=torch.float64))
    assert len(set(made.tolist())) == 2
    assert float(made.mean()) == pytest.approx(1.03, abs=1e-3)


def test_nan_stays() -> None:
    for quantizer in (FixedPoint(8, 3), Minifloat(3, 4), PowersOfTwo(-8, -1)):
        assert quantizer(torch.tensor([math.nan])).isnan().all()


# Layers

CONVOLUTION = (
    "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 pad_h: 1 stride: 1 stride: 2"
)
LAYERS = [
    ("ConvolutionRistretto", f"{CONVOLUTION} group: 2 }}", [(2, 4, 5, 6)] * 2, 2),
    ("ConvolutionRistretto", "convolution_param { num_output: 3 kernel_size: 1 pad: 1 }",
     [(2, 2, 3, 3)], 1),
    ("ConvolutionRistretto", f"{CONVOLUTION} bias_term: false }}", [(2, 3, 5, 6)], 1),
    ("DeconvolutionRistretto", f"{CONVOLUTION} group: 2 }}", [(2, 4, 3, 4)], 1),
    ("FcRistretto", "inner_product_param { num_output: 3 }", [(2, 3, 2, 2)], 1),
    ("FcRistretto", "inner_product_param { num_output: 3 transpose: true }", [(1, 5)], 1),
]  # fmt: skip


def layer_of(kind: str, params: str, shapes: Sequence[tuple[int, ...]], tops: int) -> str:
    bottoms = " ".join(f'bottom: "b{index}"' for index in range(len(shapes)))
    named_tops = " ".join(f'top: "t{index}"' for index in range(tops))
    return f'layer {{ name: "it" type: "{kind}" {bottoms} {named_tops} {params} }}'


def values(shape: tuple[int, ...], seed: int, scale: float = 3) -> Array:
    return rounded(np.random.default_rng(seed).normal(0, scale, shape))


def blobs_of(text: str, bottoms: Sequence[Array]) -> list[Array]:
    from .test_engine_layers import with_inputs

    item = require_shapes(parse_net(with_inputs(text, bottoms)), "TEST").layers[-1]
    return [values(blob.shape, 9 + n, 0.8) for n, blob in enumerate(item.blobs)]


@pytest.mark.parametrize("quantization", ANY)
@pytest.mark.parametrize(("kind", "params", "shapes", "tops"), LAYERS)
def test_a_layer_in_test(
    kind: str,
    params: str,
    shapes: list[tuple[int, ...]],
    tops: int,
    quantization: str,
    device: str,
) -> None:
    """Sums of such numbers are exact in float64: the engine's are equal."""
    text = layer_of(kind, f"{params} {quantization}", shapes, tops)
    bottoms = [values(shape, seed) for seed, shape in enumerate(shapes)]
    blobs = blobs_of(text, bottoms)
    param = parse_net(text).param.layer[0]
    wanted = reference.run_in_test(param, bottoms, blobs, RISTRETTO_TYPES[kind])
    for precision in ("fp64", "fp32"):
        made = make(text, "TEST", bottoms, blobs, precision, device).forward(named("b", bottoms))
        for name, top in named("t", wanted).items():
            np.testing.assert_array_equal(made[name], top, err_msg=name)


@pytest.mark.parametrize("quantization", ANY)
@pytest.mark.parametrize(("kind", "params", "shapes", "tops"), LAYERS)
def test_gradients_pass_quantization_to_full_precision(
    kind: str, params: str, shapes: list[tuple[int, ...]], tops: int, quantization: str
) -> None:
    """Those of weights are from the bottoms as they are, of bottoms from the quantized weights.

    Blobs that the formats hold are no different in TRAIN, where all rounding is stochastic.
    """
    from . import reference_layers

    text = layer_of(kind, f"{params} {quantization}", shapes, tops)
    bottoms = [values(shape, seed) for seed, shape in enumerate(shapes)]
    blobs = blobs_of(text, bottoms)
    param = parse_net(text).param.layer[0]
    found = reference.formats(param.quantization_param)
    pairs = zip(("weights", "biases"), blobs, strict=False)
    held = [reference.each(found[what], blob) for what, blob in pairs]
    net = make(text, "TRAIN", bottoms, held, "fp64", "cpu")
    param.type = RISTRETTO_TYPES[kind]
    result = reference_layers.run(param, "TRAIN", bottoms, held)
    gradients = [values_like(top, 7) for top in result.tops]
    made = gradients_of(net, named("b", bottoms), named("t", gradients))
    wanted = result.backward(gradients)
    for name, top in named("t", result.tops).items():
        np.testing.assert_allclose(made.outputs[name], top, rtol=1e-9)
    for name, gradient in named("b", wanted[0]).items():
        np.testing.assert_allclose(made.blobs[name], gradient, rtol=1e-9, atol=1e-12)
    for number, of_blob in enumerate(wanted[1]):
        assert of_blob is not None
        np.testing.assert_allclose(made.parameters["it", number], of_blob, rtol=1e-9, atol=1e-12)


IDENTITY = "inner_product_param { num_output: 6 bias_term: false }"


def weights_in_train(net: Executor, batch: int = 5) -> Array:
    """What a FcRistretto of five inputs multiplies by: its outputs of unit vectors."""
    inputs = np.eye(5, dtype="f4")[np.arange(batch) % 5]
    return np.asarray(net.train_batch({"b0": inputs}, keep={"t0"}).blobs["t0"])


def test_weights_are_rounded_anew_for_each_batch_and_again_with_the_same_seed() -> None:
    text = layer_of("FcRistretto", f"{IDENTITY} {FIXED}", [(5, 5)], 1)
    weights = values((6, 5), 3, 0.9) + 1 / 64
    wanted = np.clip(weights.T, -2, 1.75)
    runs = []
    for _ in range(2):
        net = make(text, "TRAIN", [np.zeros((5, 5))], [weights], "fp32", "cpu")
        runs.append([weights_in_train(net) for _ in range(3)])
    for first, again in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, again)
        assert ((first * 4) % 1 == 0).all()
        assert (np.abs(first - wanted) < 0.25).all()
    assert (runs[0][0] != runs[0][1]).any()
    np.testing.assert_array_equal(net.blobs("it")[0], weights.astype("f4"))  # full precision


def test_all_micro_batches_have_the_same_weights() -> None:
    text = (
        'layer { name: "in" type: "Input" top: "b0" top: "y" input_param { shape { dim: 40 dim: 5 }'
        " shape { dim: 40 } } }"
        + layer_of("FcRistretto", f"{IDENTITY} {FIXED}", [(40, 5)], 1)
        + 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "t0" bottom: "y" top: "l" }'
    )
    blobs = [values((6, 5), 3, 0.9) + 1 / 64]
    tops = []
    for threads in (1, 2):
        net = Executor(parse_net(text), "TRAIN", workers=Workers(threads))
        assert net.splits_batches
        net.set_blobs("it", blobs)
        inputs = {"b0": np.eye(5, dtype="f4")[np.arange(40) % 5], "y": np.zeros(40)}
        tops.append(net.train_batch(inputs, keep={"t0"}).blobs["t0"].numpy())
    for top in tops:
        np.testing.assert_array_equal(top.reshape(8, 5, 6), np.stack([tops[0][:5]] * 8))


def test_activations_round_stochastically_in_test_only() -> None:
    param = FIXED.replace("{", "{ rounding_scheme: STOCHASTIC", 1)
    text = layer_of("ConvolutionRistretto", f"{CONVOLUTION} }} {param}", [(2, 3, 6, 6)], 1)
    x = values((2, 3, 6, 6), 0) + 1 / 64
    nets = [make(text, "TEST", [x], blobs_of(text, [x]), "fp32", "cpu") for _ in range(2)]
    first, again = ([net.forward({"b0": x})["t0"] for _ in range(3)] for net in nets)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert all(((top * 8) % 1 == 0).all() for top in first)


@pytest.mark.parametrize("between", ["", "Flatten", "Reshape"])
def test_a_layer_quantizes_its_bottoms_where_they_are(between: str) -> None:
    """In Caffe blobs that a split makes share their data, and so do these types' tops."""
    read = "f" if between else "data"
    net = net_input(2, 2, 2) + layer("Power", "before", "data")
    if between:
        net += layer(between, "f", "data", rest="reshape_param { shape { dim: 0 dim: -1 } }")
    net += layer("FcRistretto", "it", read, rest=f"inner_product_param {{ num_output: 3 }} {FIXED}")
    net += layer("Power", "after", "data", rest="power_param { scale: 2 }")
    executor = Executor(parse_net(net), "TEST")
    x = values((1, 2, 2, 2), 0) + 1 / 64
    quantized = reference.each(lambda value: reference.fixed_point(value, 5, 2), x)
    for keep in ((), ("data",)):
        made = executor.forward({"data": x}, keep=keep)
        np.testing.assert_array_equal(made["before"], x)
        np.testing.assert_array_equal(made["after"], 2 * quantized)
    np.testing.assert_array_equal(made["data"], quantized)
    tape = executor.forward_on_tape({"data": x}, force_backward=True)
    np.testing.assert_array_equal(tape.blobs["after"].detach(), 2 * quantized)


def test_relu_and_its_gradient_see_quantized_values() -> None:
    net = net_input(2, 4, 4) + layer(
        "ConvolutionRistretto", "it", "data", rest=f"{CONVOLUTION} }} {FIXED}"
    )
    net += layer("ReLU", "relu", "it", "it") + layer(
        "InnerProduct", "end", "it", rest="inner_product_param { num_output: 1 }"
    )
    x = values((1, 2, 4, 4), 0)
    model = random_model(net)
    fused = Executor(parse_net(net), "TEST")
    fused.load(model, "w")
    plain = fused.forward({"data": x}, keep={"it"})["it"]
    assert (plain >= 0).all()
    assert ((plain * 8) % 1 == 0).all()
    tape = fused.forward_on_tape({"data": x})
    np.testing.assert_array_equal(tape.blobs["it"].detach(), plain)


LRN = "lrn_param { local_size: 3 alpha: 0.7 beta: 0.6 k: 2 }"


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_lrn(channels: int, phase: str, device: str) -> None:
    shape = (2, channels, 2, 3)
    x = values(shape, 5)
    text = layer_of("LRNRistretto", f"{LRN} {MINIFLOAT}", [shape], 1)
    param = parse_net(text).param.layer[0]
    net = make(text, phase, [x], [], "fp64", device)
    to_format = reference.formats(param.quantization_param)["tops"]
    scale, top = reference.lrn(x, param.lrn_param, to_format)
    np.testing.assert_array_equal(net.forward({"b0": x})["t0"], top)
    g = values_like(x, 7)
    # LRNLayer::CrossChannelBackward_gpu at these scales and tops.
    sums = np.zeros_like(x)
    for c in range(channels):
        sums[:, c] = (g * top / scale)[:, max(0, c - 1) : c + 2].sum(1)
    lrn = param.lrn_param
    wanted = g * scale**-lrn.beta - 2 * lrn.alpha * lrn.beta / 3 * x * sums
    made = gradients_of(net, {"b0": x}, {"t0": g}).blobs["b0"]
    np.testing.assert_allclose(made, wanted, rtol=1e-9)


# Files

QUANTIZED = net_input() + layer(
    "ConvolutionRistretto", "it", "data", rest=f"{CONVOLUTION} }} {FIXED}"
)


def test_fields_are_read_shown_and_written(sqgen: Run) -> None:
    net = parse_net(QUANTIZED)
    assert net.warnings == []
    param = net.param.layer[1].quantization_param
    assert (param.bw_params, param.fl_params, param.exp_min) == (4, 2, -8)
    assert lint_net(net) == []
    row = summary(net).layers[1]
    plain = summary(parse_net(QUANTIZED.replace("Ristretto", ""))).layers[1]
    assert row == plain._replace(type="ConvolutionRistretto")
    assert drawn_text(net.param.layer[1]).endswith("conv, 4, /1\N{MULTIPLICATION SIGN}2, 4-bit")
    assert "fl_params: 2" in sqgen("upgrade", "-", stdin=QUANTIZED).stdout
    other = parse_net(QUANTIZED.replace("fl_params: 2", "fl_params: 3"))
    (difference,) = diff_nets(net, other)
    assert difference.message == "quantization_param.fl_params is 2 in A, 3 in B"


def test_a_caffemodel_has_them_too(sqgen: Run, tmp_path: Path) -> None:
    model = random_model(QUANTIZED)
    again = NetParameter.FromString(model.SerializeToString())
    assert (
        again.layer[1].quantization_param == parse_net(QUANTIZED).param.layer[1].quantization_param
    )
    save(model, tmp_path / "w.caffemodel")
    done = sqgen("upgrade", "--text", "w.caffemodel")
    assert 'type: "ConvolutionRistretto"' in done.stdout
    assert "bw_params: 4" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bw_params: 4", "bw_params: 0", "bw_params 0; give 1 to 32"),
        ("bw_layer_in: 5", "bw_layer_in: 33", "bw_layer_in 33; give 1 to 32"),
        ("fl_params: 2", "fl_params: 200", "fl_params 200; give -126 to 126"),
        (FIXED, MINIFLOAT.replace("exp_bits: 4", "exp_bits: 0"), "exp_bits 0; give 1 to 8"),
        (FIXED, POWERS.replace("exp_max: 0", "exp_max: -5"), "exp_min -4 above exp_max -5; swap"),
    ],
)
def test_wrong_values_are_errors_of_one_line(sqgen: Run, old: str, new: str, message: str) -> None:
    text = QUANTIZED.replace(old, new)
    assert text != QUANTIZED
    done = sqgen("summary", "-", stdin=text)
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input:2: layer 'it': quantization_param has " + message in done.stderr
    (finding,) = lint_net(parse_net(text), phases="TEST")
    assert message in finding.message
    with pytest.raises(NetError, match=message):
        Executor(parse_net(text), "TEST")


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        (FIXED, "LRNRistretto computes in minifloat alone; give precision: MINIFLOAT"),
        (MINIFLOAT + "lrn_param { norm_region: WITHIN_CHANNEL }", "across channels alone"),
    ],
)
def test_what_ristretto_s_lrn_refuses(quantization: str, message: str) -> None:
    text = net_input() + layer("LRNRistretto", "it", "data", rest=quantization)
    (finding,) = lint_net(parse_net(text), phases="TEST")
    assert message in finding.message


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("fl_params_bias: 3", "n:2:[0-9]+: QuantizationParameter has no field 'fl_params_bias'"),
        ("precision: FIXED_POINT", "QuantizationParameter.Precision has no value 'FIXED_POINT'"),
    ],
)
def test_fields_of_its_own_forks_are_named_with_their_line(field: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_net(QUANTIZED.replace("bw_layer_in: 5", field), "n")


@pytest.mark.parametrize(
    "fields", ["bw_params: 8 fl_params: 7", "scale_in: 1.5 scale_in: 2", "precision: FLOAT"]
)
def test_the_field_of_a_layer_of_caffe_is_of_other_forks(sqgen: Run, fields: str) -> None:
    """Intel Caffe and Caffe-jacinto quantize such a layer, Ristretto doesn't."""
    text = net_input() + conv("c", "data", 2).replace(
        "convolution_param", f"quantization_param {{\n {fields} }} convolution_param"
    )
    net = parse_net(text, "n")
    (warning,) = net.warnings
    assert warning == (
        "n:2: LayerParameter.quantization_param (Intel Caffe and Caffe-jacinto) is left out: it"
        " quantizes weights and activations"
    )
    assert not net.param.layer[1].HasField("quantization_param")
    with pytest.raises(FormatError, match=r"n:2: layer 'c': LayerParameter\.quanti"):
        net.require_caffe("TEST", COMPUTED)
    (difference,) = diff_nets(net, parse_net(text.replace("{\n", "{\n bw_layer_in: 3"), "n"))
    assert "LayerParameter.quantization_param" in difference.message


def test_a_fire_module_of_its_layers_is_one() -> None:
    fire = conv("s", "data", 2) + conv("a", "s", 2) + conv("b", "s", 2, 3)
    fire = fire.replace('"Convolution"', '"ConvolutionRistretto"') + layer("Concat", "c", "a b")
    assert is_squeezenet(require_shapes(parse_net(net_input() + fire), "TEST").graph)


def test_fillers_initialize_its_weights() -> None:
    filler = "weight_filler { type: 'constant' value: 0.5 }"
    text = QUANTIZED.replace("num_output: 4", f"num_output: 4 {filler}")
    assert (Executor(parse_net(text), "TRAIN").blobs("it")[0] == 0.5).all()


def test_compressed_weights_fit_the_quantized_net(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "q.prototxt").write_text(QUANTIZED)
    (tmp_path / "n.prototxt").write_text(QUANTIZED.replace("Ristretto", "").replace(FIXED, ""))
    save(random_model(QUANTIZED), tmp_path / "w.caffemodel")
    encoded = sqgen("compress", "encode", "w.caffemodel", "--net", "n.prototxt", "-o", "w.sqz")
    assert encoded.returncode == 0, encoded.stderr
    done = sqgen("compress", "decode", "w.sqz", "--net", "q.prototxt", "-o", "d.caffemodel")
    assert done.returncode == 0, done.stderr


def test_pruning_refuses_its_layers() -> None:
    from sqgen.pruning.prune import Pruner

    with pytest.raises(NetError, match="n:2: layer 'it' is quantized; prune the net that it was"):
        Pruner(parse_net(QUANTIZED, "n"), [("w", random_model(QUANTIZED))])


def test_settings_of_quantization_tell_layers_apart(sqgen: Run, tmp_path: Path) -> None:
    """`weights map` takes layers for equal that compute the same."""
    other = QUANTIZED.replace("fl_layer_out: 3", "fl_layer_out: 2").replace('"it"', '"them"')
    same = QUANTIZED.replace('"it"', '"them"')
    save(random_model(QUANTIZED), tmp_path / "w.caffemodel")
    for name, text, code in (("same", same, 0), ("other", other, 2)):
        (tmp_path / f"{name}.prototxt").write_text(text)
        done = sqgen("weights", "map", "w.caffemodel", "o.caffemodel", "--to", f"{name}.prototxt")
        assert done.returncode == code, done.stderr


def test_what_is_written_is_read_as_the_same() -> None:
    net = parse_net(QUANTIZED + layer("LRNRistretto", "n", "it", rest=f"{LRN} {MINIFLOAT}"))
    assert diff_nets(net, parse_net(prototxt.to_text(net.param))) == []


# Training

TRAINED_IN = (
    "quantization_param { bw_layer_in: 8 bw_layer_out: 8 bw_params: 6 fl_layer_in: 5"
    " fl_layer_out: 4 fl_params: 4 }"
)


def test_a_training_learns_and_resumes_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its weights are saved in full precision, under Ristretto's types."""
    text = small_training.net()
    for plain, kind in (("Convolution", "ConvolutionRistretto"), ("InnerProduct", "FcRistretto")):
        text = text.replace(f'type: "{plain}"', f'type: "{kind}" {TRAINED_IN}')
    solver = small_training.SOLVER + (
        'base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 display: 1 max_iter: 30 snapshot: 10'
        " random_seed: 3 test_iter: 4 test_interval: 30"
    )
    small_training.write_data(tmp_path)
    place = small_training.make_run(tmp_path, "run", text, solver)
    monkeypatch.chdir(place)
    arguments = ["train", "--solver=solver.prototxt", "--threads=2"]
    code, log = small_training.engine([*arguments, f"--weights={small_training.START}"], capsys)
    assert code == 0, log
    losses = [row.loss or 0 for row in small_training.parsed(log).segments[0].train]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    whole = small_training.final(place)
    code, log = small_training.engine([*arguments, "--snapshot=s_iter_10.solverstate"], capsys)
    assert code == 0, log
    for name, values in small_training.final(place).items():
        np.testing.assert_array_equal(values, whole[name])
    saved = read_caffemodel(place / "s_iter_30.caffemodel")
    stored = next(each for each in saved.layer if each.name == "conv1")
    assert stored.type == "ConvolutionRistretto"
    assert stored.quantization_param.fl_params == 4
    assert (blob_array(stored.blobs[0]) * 16 % 1 != 0).any()
