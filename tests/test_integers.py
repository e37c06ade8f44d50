"""`--precision int8`: integer kernels against the quantized net that they compute, simulated.

A layer is compared from the very numbers that its integer kernel read, so that what differs is its
own rounding.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import Design, Net, NetError, SqgenError, build, parse_net, read_net
from sqgen.compress.bits_file import (
    BitsFile,
    QuantizerSettings,
    format_bits_file,
    read_bits_file,
)
from sqgen.formats.schema import NetParameter
from sqgen.nets.definition import NetDefinition

from .conftest import Run
from .small_nets import conv, layer, net_input, random_model
from .small_training import SOLVER, START, engine, make_run, messages, write_data
from .small_training import net as net_text

torch = pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.engine import precision  # noqa: E402
from sqgen.engine.calibration import observe_bottoms  # noqa: E402
from sqgen.engine.executor import Executor  # noqa: E402
from sqgen.engine.flags import parse  # noqa: E402
from sqgen.engine.kernels import integer  # noqa: E402
from sqgen.engine.kernels.base import PassContext, PassWeights  # noqa: E402
from sqgen.engine.kernels.normalization import AffineKernel  # noqa: E402
from sqgen.engine.quantization import Quantization  # noqa: E402
from sqgen.engine.quantizers import Uniform  # noqa: E402
from sqgen.engine.schedule import EVERYTHING  # noqa: E402
from sqgen.engine.workers import Workers  # noqa: E402

pytestmark = pytest.mark.skipif(
    not integer.has_integer_convolution(), reason="this PyTorch has no integer kernels"
)
Array = np.ndarray[Any, Any]
Capture = pytest.CaptureFixture[str]

CONTEXT = PassContext(PassWeights([]), False, (0, 0, 0))
MAX = "pooling_param { pool: MAX kernel_size: 3 stride: 2 %s }"
GLOBAL = "pooling_param { pool: AVE global_pooling: true }"
# Concat of what convolutions write in different ranges, a bypass, groups, dilation, padding.
NET = (
    net_input(3, 15, 13)
    + conv("conv1", "data", 8, 3, "stride: 2")
    + layer("ReLU", "relu1", "conv1", "conv1")
    + layer("Pooling", "pool1", "conv1", rest=MAX % "pad: 1")
    + conv("squeeze", "pool1", 6)
    + layer("ReLU", "relu2", "squeeze", "squeeze")
    + conv("left", "squeeze", 8)
    + layer("ReLU", "relu3", "left", "left")
    + conv("right", "squeeze", 8, 3, "group: 2")
    + layer("Concat", "cat", "left right")
    + layer("ReLU", "relu4", "cat", "cat")
    + conv("same", "cat", 16, 3)
    + layer("Eltwise", "bypass", "cat same")
    + conv("wide", "bypass", 5, 3, "dilation: 2")
    + layer("Pooling", "pool2", "wide", rest=MAX % "")
    + conv("last", "pool2", 4, 1)
    + layer("ReLU", "relu5", "last", "last")
    + layer("Pooling", "pool3", "last", rest=GLOBAL)
)


@pytest.fixture(autouse=True)
def runs_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.ANYWAY, "1")


def images(text: str, seed: int, number: int = 3) -> Array:
    shape = parse_net(text).param.layer[0].input_param.shape[0].dim
    return np.random.default_rng(seed).normal(0, 2, (number, *shape[1:])).astype(np.float32)


def quantized(text: str, given: BitsFile | None, seen: Array) -> tuple[Executor, Executor]:
    """A net of random weights in integers, and simulated."""
    nets = [Executor(parse_net(text), "TEST", workers=Workers(1)) for _ in range(2)]
    for each in nets:
        each.load(random_model(text), "random")
    quantization = Quantization(precision.integer_bits(given), nets[0])

    def run() -> None:
        nets[0].test_batch({"data": seen})

    quantization.calibrate(observe_bottoms(nets[0], quantization.layers, run))
    quantization.start()
    for each in nets:
        each.quantizers = quantization.quantizers
        each.clear_weight_cache()
    precision.compute_in_integers(nets[0], quantization)
    return nets[0], nets[1]


def check_convolutions(net: Executor, blobs: dict[str, Array]) -> list[str]:
    """Each is within a step of the simulation, from what it read; those that write codes."""
    in_codes = []
    for step in net.steps:
        kernel, name = step.kernel, step.layer.name
        if not isinstance(kernel, integer.IntegerConvolution):
            continue
        weight, *bias = map(torch.from_numpy, net.blobs(name))
        quantizers = net.quantizers
        y = torch.nn.functional.conv2d(
            quantizers.bottoms[name](torch.from_numpy(blobs[step.bottoms[0]])).double(),
            quantizers.weights[name](weight).double(),
            *(each.double() for each in bias),
            stride=kernel.stride,
            padding=kernel.pad,
            dilation=kernel.dilation,
            groups=kernel.group,
        )
        if kernel.affine is not None:
            own = len(step.layer.blobs)
            others = [net.parameters.unique[n].data.double() for n in step.parameters[own:]]
            (y,) = kernel.affine.forward(CONTEXT, [y], others)
        expected, found = (y.relu() if kernel.relu else y).numpy(), blobs[step.tops[0]]
        if kernel.top is None:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())
            continue
        in_codes.append(name)
        unit, zero, *ends = kernel.top
        low, high = ((code - zero) * unit for code in ends)
        assert np.abs(found - expected.clip(low, high)).max() <= 0.501 * unit
    return in_codes


SETTINGS = {
    "symmetric": None,
    "asymmetric": BitsFile(
        quantizer=QuantizerSettings("symmetric", activations="asymmetric", weight_range="max"),
        source="given",
    ),
    "few bits": BitsFile({"s*": 3, "*": 6}, {"last": 4, "*": 7}),
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_each_layer_is_within_a_step_of_the_simulation(settings: str) -> None:
    seen = images(NET, seed=1)
    net, simulated = quantized(NET, SETTINGS[settings], seen)
    kept = net.forward({"data": seen}, keep=EVERYTHING)
    blobs = {name: np.asarray(values) for name, values in kept.items()}
    # Not what the Eltwise reads or writes, and not the scores.
    assert check_convolutions(net, blobs) == ["conv1", "squeeze", "wide"]
    pooled = torch.nn.functional.max_pool2d(
        torch.from_numpy(blobs["conv1"]), 3, 2, 1, ceil_mode=True
    )
    np.testing.assert_array_equal(blobs["pool1"], pooled.numpy())
    plain = simulated.forward({"data": seen})["pool3"]
    np.testing.assert_allclose(net.forward({"data": seen})["pool3"], plain, atol=0.05 * plain.max())


def left(net: Executor) -> list[str]:
    """Names of the layers that are computed in floats: those that normalize or scale."""
    return [each.layer.name for each in net.steps if isinstance(each.kernel, AffineKernel)]


def test_a_batch_norm_is_computed_by_the_convolution_before_it() -> None:
    """Each is within a step; codes go from one Fire module to the next."""
    design = Design(size=40, fire_modules=2, classes=5, batch_norm=True, classifier_relu=False)
    text = build(design, "deploy")
    seen = images(text, seed=6)
    net, simulated = quantized(text, None, seen)
    assert not left(net)
    in_codes = check_convolutions(net, net.forward({"data": seen}, keep=EVERYTHING))
    convolutions = [each.name for each in parse_net(text).param.layer if each.type == "Convolution"]
    assert in_codes == convolutions[:-1]
    (name,) = net.outputs
    plain = simulated.forward({"data": seen})[name]
    np.testing.assert_allclose(net.forward({"data": seen})[name], plain, atol=0.05 * plain.max())


NORM = layer("BatchNorm", "norm", "c", "n", "batch_norm_param { eps: 0.01 }")
SCALE = layer("Scale", "scale", "c", "n", "scale_param { %s }")
LAST = conv("last", "n", 4, 1)


@pytest.mark.parametrize(
    ("between", "kept"),
    [
        (NORM, []),
        (NORM + layer("Scale", "scale", "n", "n", "scale_param { bias_term: true }"), []),
        (SCALE % "", []),
        (SCALE % "bias_term: true" + layer("ReLU", "relu", "n", "n"), []),
        (SCALE % "axis: 2", ["scale"]),
        (SCALE % "axis: 0 num_axes: 0", ["scale"]),
        (layer("ReLU", "relu", "c", "c") + NORM, ["norm"]),
        (NORM + layer("Eltwise", "sum", "n c"), ["norm"]),
    ],
)
@pytest.mark.parametrize("fields", ["", "bias_term: false pad: 1", "group: 2 kernel_size: 3"])
def test_what_a_convolution_computes_besides(between: str, kept: list[str], fields: str) -> None:
    kernel = "" if "kernel_size" in fields else "kernel_size: 1"
    param = f"convolution_param {{ num_output: 6 {kernel} {fields} }}"
    text = net_input(4, 7, 6) + layer("Convolution", "c", "data", rest=param) + between + LAST
    seen = images(text, seed=7)
    net, simulated = quantized(text, None, seen)
    assert left(net) == kept
    for keep in ((), EVERYTHING):
        found, plain = (each.forward({"data": seen}, keep=keep) for each in (net, simulated))
        np.testing.assert_allclose(found["last"], plain["last"], atol=0.03 * plain["last"].max())
        assert found.keys() == plain.keys()


def test_factors_that_are_0_or_infinite() -> None:
    text = net_input(4, 7, 6) + conv("c", "data", 3) + SCALE % "bias_term: true"
    seen = images(text, seed=8)
    net, simulated = quantized(text, None, seen)
    for factor, kept in ((0, []), (np.inf, ["scale"])):
        for each in (net, simulated):
            each.set_blobs("scale", [np.array([factor, -2, 1], "f4"), np.ones(3, "f4")])
        net.compute_in_integers()
        assert left(net) == kept
        found, plain = (each.forward({"data": seen})["n"] for each in (net, simulated))
        np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("bypass", ["none", "simple"])
def test_fire_modules(version: str, bypass: str) -> None:
    """What a Concat joins is in the codes of its reader; an Eltwise reads floats."""
    design = Design(version=version, size=40, fire_modules=3, classes=5, bypass=bypass)
    text = build(design, "deploy")
    seen = images(text, seed=2)
    net, _ = quantized(text, None, seen)
    in_codes = set(check_convolutions(net, net.forward({"data": seen}, keep=EVERYTHING)))
    joined = {f"fire{number}/expand{size}" for number in (2, 3) for size in ("1x1", "3x3")}
    assert {each for each in in_codes if "squeeze" in each} == {
        f"fire{number}/squeeze1x1" for number in (2, 3, 4)
    }
    assert (joined <= in_codes) == (bypass == "none")
    assert "conv10" not in in_codes


def test_the_largest_sums_are_exact() -> None:
    """Codes of 255 times the largest weights, which 16 bits can't add up for weights of 8."""
    text = net_input(64, 3, 3) + conv("c", "data", 5)
    net, simulated = (Executor(parse_net(text), "TEST", workers=Workers(1)) for _ in range(2))
    for each in (net, simulated):
        each.set_blobs("c", [np.ones((5, 64, 1, 1), np.float32), np.zeros(5, np.float32)])
    bits = replace(precision.integer_bits(None), ranges={"c": (0.0, 1.0)})
    quantization = Quantization(bits, net)
    quantization.start()
    net.quantizers = quantization.quantizers
    precision.compute_in_integers(net, quantization)
    simulated.quantize(quantization.quantizers)
    seen = np.ones((2, 64, 3, 3), np.float32)
    found, expected = (each.forward({"data": seen})["c"] for each in (net, simulated))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found, 64, rtol=0.01)


def test_what_integers_cannot_compute_is_simulated() -> None:
    inner = layer("InnerProduct", "ip", "c", rest="inner_product_param { num_output: 4 }")
    text = net_input(3, 6, 5) + conv("c", "data", 4, 3) + layer("ReLU", "r", "c", "c") + inner
    seen = images(text, seed=3)
    net, simulated = quantized(text, None, seen)
    found, expected = (each.forward({"data": seen})["ip"] for each in (net, simulated))
    np.testing.assert_allclose(found, expected, atol=0.02 * abs(expected).max())
    with pytest.raises(NetError, match="are of Convolution layers, and none fits; give fp32"):
        quantized(net_input(3, 6, 5) + inner.replace('"c"', '"data"'), None, seen)


# From Python


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The weights of `NET`."""
    (tmp_path / "w.caffemodel").write_bytes(random_model(NET).SerializeToString())
    return tmp_path / "w.caffemodel"


def test_a_net_of_arrays_runs_in_integers(trained: Path) -> None:
    """In the ranges of images, or of a file; a file alone simulates."""
    seen = images(NET, seed=4)
    definition, file = parse_net(NET), trained.with_name("ranges.toml")
    found = Net(definition, trained, precision="int8", calibration=seen)
    assert found.precision == "int8"
    reference, _ = quantized(NET, None, seen)
    scores = found.forward(seen)["pool3"]
    np.testing.assert_array_equal(scores, reference.forward({"data": seen})["pool3"])
    ranges = {name: _range(reference, name) for name in reference.quantizers.bottoms}
    file.write_text(format_bits_file(replace(precision.integer_bits(None), ranges=ranges)))
    again = Net(definition, trained, precision="int8", quantize=file)
    np.testing.assert_array_equal(again.forward(seen)["pool3"], scores)
    simulated = Net(definition, trained, quantize=file)
    assert simulated.precision == "fp32"
    plain = simulated.forward(seen)["pool3"]
    assert not np.array_equal(plain, scores)
    np.testing.assert_allclose(plain, scores, atol=0.05 * plain.max())
    with pytest.raises(NetError, match="a quantized net keeps its weights"):
        again.set_blobs("last", again.blobs("last"))


def _range(net: Executor, name: str) -> tuple[float, float]:
    quantizer = net.quantizers.bottoms[name]
    assert isinstance(quantizer, Uniform)
    low, high = map(float, quantizer.bounds)
    return low, high


def test_auto_of_arrays(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Int8 with ranges, where it runs; a float else: never an error."""
    monkeypatch.setattr(precision, "cpu_flags", frozenset)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    seen, definition = images(NET, seed=5), parse_net(NET)
    for phase, calibration, chosen in (
        ("TEST", seen, "int8"),
        ("TEST", None, "fp32"),
        ("TRAIN", seen, "fp32"),
    ):
        net = Net(definition, phase=phase, precision="auto", calibration=calibration)
        assert net.precision == chosen
    monkeypatch.delenv(precision.ANYWAY)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert Net(definition, precision="auto", calibration=seen).precision == "fp32"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no range of what layer 'conv1' reads; give calibration=images, or quantize=FILE"),
        ({"phase": "TRAIN"}, "precision int8: is for phase TEST; give fp32"),
        ({"quantize": "shared.toml"}, "shared.toml: its weights are shared, no multiples"),
        ({"quantize": "none.toml"}, "none.toml: no such file"),
        ({"calibration": np.full((1, 3, 15, 13), np.nan)}, "nan or infinite"),
        ({"calibration": np.zeros((0, 3, 15, 13))}, "an array of no records"),
        ({"calibration": "images"}, "blob 'data': no array of numbers: could not convert string"),
        ({"calibration": [[1, 2], [3]]}, "blob 'data': no array of numbers: setting an array"),
        (
            {"calibration": np.zeros((1, 3, 15, 13)), "precision": "fp32"},
            "precision fp32: has no ranges that calibration could find; give quantize=FILE",
        ),
    ],
)
def test_misuse_from_python_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared.toml").write_text('"*" = 4\n')
    with pytest.raises(SqgenError, match=words) as caught:
        Net(parse_net(NET), **{"precision": "int8", **options})
    assert "\n" not in str(caught.value)


def test_python_warns_where_sums_saturate(monkeypatch: pytest.MonkeyPatch, trained: Path) -> None:
    monkeypatch.setattr(precision, "saturates", lambda: True)
    file = trained.with_name("mse.toml")
    file.write_text('"*" = 8\n[quantizer]\nweights = "symmetric"\n')
    with pytest.warns(UserWarning, match="weights of 8 bits get 7: this") as caught:
        Net(parse_net(NET), trained, precision="int8", quantize=file, calibration=images(NET, 1))
    assert caught[0].filename == __file__


# The command

TEST = "test", "--model=net.prototxt", f"--weights={START}", "--iterations=4"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net, its data and its weights."""
    write_data(tmp_path)
    folder = make_run(tmp_path, "run", net_text(), SOLVER + "base_lr: 0.1 lr_policy: 'fixed'")
    monkeypatch.chdir(folder)
    return folder


def score(capsys: Capture, *flags: str) -> list[float]:
    """Test the net; its loss and accuracy."""
    code, log = engine((*TEST, *flags), capsys)
    assert code == 0, log
    lines = [x for x in messages(log) if x.startswith(("Loss: ", "accuracy = "))]
    return [float(x.split()[-1]) for x in lines]


def test_the_calibrated_file_simulates_the_test(place: Path, capsys: Capture) -> None:
    found = score(capsys, "--precision=int8", "--calibrated=found.toml", "--threads=1")
    assert found == pytest.approx(score(capsys, "--quantize=found.toml"), abs=0.02)
    assert set(read_bits_file("found.toml").ranges) == {"conv1", "conv2", "ip"}
    assert score(capsys, "--precision=int8", "--quantize=found.toml", "--threads=3") == found
    coarse = score(capsys, "--precision=int8", "--bits=2", "--activation-bits=2")
    assert coarse != pytest.approx(found, abs=0.02)


@pytest.mark.parametrize("instructions", ["", "AVX2"])
def test_sqgen_test_in_integers(
    place: Path, sqgen: Run, capsys: Capture, instructions: str
) -> None:
    """With what this processor has; and without VNNI, where sums saturate."""
    if instructions and not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        pytest.skip("needs a processor with AVX2")
    net, weights, ranges = (str(place / name) for name in ("net.prototxt", START, "found.toml"))
    arguments = (
        *("test", "--model", net, "--weights", weights, "--data", "data", "--engine", "torch"),
        *("--calibrated", ranges, "--json", "--", "--precision", "int8"),
    )
    limit = {"ONEDNN_MAX_CPU_ISA": instructions} if instructions else {}
    done = sqgen(*arguments, env=limit)
    assert done.returncode == 0, done.stderr
    pairs = bool(instructions) or integer.saturates()
    assert read_bits_file(ranges).quantizer.weight_range == ("pair" if pairs else "mse")
    accuracy, loss = (each["value"] for each in json.loads(done.stdout)["scores"])
    assert [loss, accuracy] == pytest.approx(score(capsys, f"--quantize={ranges}"), abs=0.02)


def test_auto_without_a_convolution(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_flags", frozenset)
    line = parse((*TEST, "--precision=auto"))
    definition = read_net("net.prototxt")
    assert precision.test_precision(line, "", definition, None) == "int8"
    layers = [each for each in definition.param.layer if each.type != "Convolution"]
    none = NetDefinition(NetParameter(layer=layers), "none")
    assert precision.test_precision(line, "", none, None) == "fp32"


def test_weights_of_8_bits_where_sums_saturate(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "mse.toml").write_text('"*" = 8\n[quantizer]\nweights = "symmetric"\n')
    for exact, bits in ((False, 7), (True, 8)):
        monkeypatch.setattr(precision, "saturates", lambda exact=exact: not exact)
        for flag, kept in (("--bits=8", 8), ("--quantize=mse.toml", bits)):
            code, log = engine((*TEST, "--precision=int8", flag, "--calibrated=c.toml"), capsys)
            assert code == 0
            assert ("weights of 8 bits get 7" in log) == (kept == 7)
            assert read_bits_file("c.toml").weights == {"*": kept}


@pytest.mark.parametrize("inputs", [4, 36, 64])
@pytest.mark.parametrize("window", ["kernel_size: 1", "kernel_size: 3 pad: 1", "kernel_size: 2"])
def test_sums_of_8_bit_weights_are_exact(
    inputs: int, window: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Largest pixels, and largest weights of one sign wherever two may be added first."""
    monkeypatch.setattr(precision, "saturates", lambda: True)
    text = net_input(inputs, 9, 9) + (
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c"'
        f" convolution_param {{ num_output: 24 {window} }} }}"
    )
    net, _ = quantized(text, None, np.full((1, inputs, 9, 9), 255, np.float32))
    random = np.random.default_rng(inputs)
    weight = random.choice([-127, -90, -64, 0, 64, 90, 127], net.blobs("c")[0].shape)
    net.set_blobs("c", [weight.astype(np.float32), np.zeros(24, np.float32)])
    bits = replace(precision.integer_bits(None), ranges={"c": (0.0, 255.0)})
    quantization = Quantization(bits, net)
    quantization.start()
    net.quantize(quantization.quantizers)
    precision.compute_in_integers(net, quantization)
    seen = random.choice([255, 254, 3], (2, inputs, 9, 9), p=[0.7, 0.2, 0.1]).astype(np.float32)
    blobs = net.forward({"data": seen}, keep=EVERYTHING)
    check_convolutions(net, blobs)
    used = quantization.quantizers.weights["c"](torch.from_numpy(net.blobs("c")[0]))
    assert len(torch.unique(used)) > 4


def test_refusals(place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "shared.toml").write_text('"*" = 4\n')
    int8 = "--precision=int8"
    for arguments, words in (
        (("train", "--solver=solver.prototxt", int8), "is for test; give fp32, bf16 or fp64"),
        (("time", "--model=net.prototxt", int8), "is for test; give fp32, bf16 or fp64"),
        ((*TEST, int8, "--quantize=shared.toml"), "its weights are shared, no multiples of a step"),
    ):
        code, log = engine(arguments, capsys)
        assert code == 2
        assert words in next(line for line in log.splitlines() if line.startswith("F"))
    monkeypatch.delenv(precision.ANYWAY)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    code, log = engine((*TEST, int8), capsys)
    assert code == 2
    assert "slower than fp32 on this processor, which has no AVX2; give fp32" in log


@pytest.mark.parametrize(
    ("capability", "flags", "chosen"),
    [
        ("AVX2", set(), "int8"),
        ("DEFAULT", set(), "fp32"),
        ("DEFAULT", {"avx512_bf16"}, "bf16"),
    ],
)
def test_auto(
    place: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    capability: str,
    flags: set[str],
    chosen: str,
) -> None:
    monkeypatch.delenv(precision.ANYWAY)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(precision, "has_bf16", lambda: True)
    code, log = engine((*TEST, "--precision=auto"), capsys)
    assert code == 0
    assert f"--precision auto is {chosen} here" in log
    trained = "fp32" if chosen == "int8" else chosen
    code, log = engine(
        ("time", "--model=net.prototxt", "--iterations=1", "--precision=auto"), capsys
    )
    assert code == 0
    assert f"--precision auto is {trained} here" in log
