"""Nets of Ristretto made of plain ones: formats chosen by the largest values, as its tool does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import DesignError, NetError, parse_net, read_net
from sqgen.compress.bits_file import BitsFile
from sqgen.engine.executor import Executor
from sqgen.formats import prototxt
from sqgen.formats.schema import QuantizationParameter
from sqgen.nets.definition import NetDefinition
from sqgen.quantization.ristretto import (
    DYNAMIC_FIXED_POINT,
    MINIFLOAT,
    POWERS_OF_2,
    TRIMMING_MODES,
    Ranges,
    Widths,
    measure_ranges,
    to_ristretto,
)
from sqgen.tools import quantize_options

from . import engine_server, small_training
from .small_nets import conv, layer, net_input, random_model
from .small_training import START

FC = "inner_product_param { num_output: 3 }"
TEXT = (
    net_input(2, 5, 4)
    + conv("c", "data", 4, 3)
    + layer("ReLU", "r", "c", "c")
    + layer("InnerProduct", "f", "c", rest=FC)
)
BATCHES = [np.random.default_rng(n).normal(0, 3, (4, 2, 5, 4)).astype("f4") for n in range(2)]


def made(mode: str = DYNAMIC_FIXED_POINT, bits: int = 8, headroom: float = 1) -> NetDefinition:
    """The net with these bits everywhere; `headroom` is a factor on the ranges of activations."""
    found = measure_ranges(parse_net(TEXT), random_model(TEXT), BATCHES)
    ranges = {
        name: Ranges(each.bottom * headroom, each.top * headroom, each.weights)
        for name, each in found.items()
    }
    widths = dict.fromkeys(ranges, Widths(bits, bits))
    return parse_net(prototxt.to_text(to_ristretto(parse_net(TEXT), ranges, widths, mode)))


def outputs(net: NetDefinition) -> Any:
    executor = Executor(net, "TEST")
    executor.load(random_model(TEXT), "w")
    return np.concatenate([executor.forward({"data": batch})["f"] for batch in BATCHES])


def test_ranges_are_the_largest_values_that_blobs_end_with() -> None:
    """Those of 'c' behind the ReLU in place; of all batches, and not of biases."""
    model = random_model(TEXT)
    model.layer[1].blobs[1].data[0] = 1e4  # a bias
    model.layer[1].blobs[0].data[0] = -7
    net = parse_net(TEXT)
    executor = Executor(net, "TEST")
    executor.load(model, "w")
    kept = [executor.forward({"data": batch}, keep={"c", "f"}) for batch in BATCHES]
    largest = {name: max(float(abs(each[name]).max()) for each in kept) for name in ("c", "f")}
    data = float(np.abs(BATCHES).max())
    found = measure_ranges(net, model, BATCHES)
    assert found["c"] == Ranges(data, largest["c"], 7)
    assert found["f"][:2] == (largest["c"], largest["f"])


def param_of(ranges: Ranges, widths: Widths, mode: str = DYNAMIC_FIXED_POINT) -> Any:
    net = to_ristretto(parse_net(TEXT), {"c": ranges}, {"c": widths}, mode)
    assert [each.type for each in net.layer] == [
        "Input",
        "ConvolutionRistretto",
        "ReLU",
        "InnerProduct",
    ]
    return net.layer[1].quantization_param


def test_formats_worked_out_by_hand() -> None:
    """quantization.cpp: ceil(log2 151) = 8, ceil(log2 607) = 10, ceil(log2 0.7) + 1 = 1."""
    param = param_of(Ranges(151, 607, 0.7), Widths(4, 8))
    assert (param.bw_layer_in, param.bw_layer_out, param.bw_params) == (8, 8, 4)
    assert (param.fl_layer_in, param.fl_layer_out, param.fl_params) == (0, -2, 3)
    param = param_of(Ranges(128, 0, 1), Widths(8, 8))  # log2 is exact; 0 needs nothing
    assert (param.fl_layer_in, param.fl_layer_out, param.fl_params) == (1, 8, 7)
    param = param_of(Ranges(151, 607, 0.7), Widths(8, 8), MINIFLOAT)
    # ceil(log2(log2 607 - 1) + 1) = 5
    assert (param.exp_bits, param.mant_bits) == (5, 2)
    assert param_of(Ranges(1.5, 0, 0.7), Widths(8, 8), MINIFLOAT).exp_bits == 4
    param = param_of(Ranges(151, 607, 0.7), Widths(2, 6), POWERS_OF_2)
    assert param.precision == QuantizationParameter.INTEGER_POWER_OF_2_WEIGHTS
    assert (param.exp_min, param.exp_max, param.HasField("bw_params")) == (-8, -1, False)
    assert (param.bw_layer_in, param.fl_layer_in, param.fl_layer_out) == (6, -2, -4)


def test_a_blob_has_the_most_bits_of_its_readers() -> None:
    """Through ReLU, Concat and pooling; scores have the most of the net."""
    pool = layer("Pooling", "pool", "both", rest="pooling_param { pool: AVE kernel_size: 2 }")
    text = (
        net_input(2, 5, 4)
        + conv("a", "data", 4, 3)
        + layer("ReLU", "relu", "a", "a")
        + conv("b", "a", 4)
        + conv("c", "a", 4, 3)
        + layer("Concat", "both", "b c")
        + pool
        + layer("InnerProduct", "d", "pool", rest=FC)
    )
    bits = {"a": 8, "b": 4, "c": 6, "d": 3}
    ranges = dict.fromkeys(bits, Ranges(1, 1, 1))
    net = to_ristretto(parse_net(text), ranges, {k: Widths(2, v) for k, v in bits.items()})
    params = {each.name: each.quantization_param for each in net.layer if each.name in bits}
    found = {name: (each.bw_layer_in, each.bw_layer_out) for name, each in params.items()}
    assert found == {"a": (8, 6), "b": (6, 3), "c": (6, 3), "d": (3, 8)}
    assert all(each.fl_layer_in == each.bw_layer_in for each in params.values())
    assert all(each.fl_layer_out == each.bw_layer_out for each in params.values())


@given(st.integers(2, 16), st.floats(1e-30, 1e30))
def test_the_largest_weight_fills_its_format(bits: int, largest: float) -> None:
    """It saturates by rounding alone, and leaves no bit unused; activations have one less."""
    param = param_of(Ranges(largest, largest, largest), Widths(bits, bits))
    steps = 2.0 ** (bits - 1)
    assert steps / 2 < largest * 2.0**param.fl_params <= steps
    assert param.fl_layer_in == param.fl_layer_out == param.fl_params + 1


@pytest.mark.parametrize("mode", TRIMMING_MODES)
def test_what_is_made_is_read_and_runs(mode: str) -> None:
    net = made(mode, 16, headroom=2)
    assert [each.type for each in net.param.layer if each.HasField("quantization_param")] == [
        "ConvolutionRistretto",
        "FcRistretto",
    ]
    whole, found = outputs(parse_net(TEXT)), outputs(net)
    error = np.abs(whole - found).max() / np.abs(whole).max()
    assert error > 0
    if mode != POWERS_OF_2:
        assert error < 0.01


def test_more_bits_err_less() -> None:
    whole = outputs(parse_net(TEXT))
    errors = [np.abs(outputs(made(bits=n, headroom=2)) - whole).mean() for n in (3, 6, 12)]
    assert errors == sorted(errors, reverse=True)


def test_the_largest_activations_saturate() -> None:
    """Quantize2DynamicFixedPoint has the sign's bit count as one of the integer part."""
    whole, found = outputs(parse_net(TEXT)), outputs(made(bits=16))
    largest = np.abs(whole).max()
    assert largest / 2 <= 2.0 ** (math.ceil(math.log2(largest)) - 1) == np.abs(found).max()


def test_nets_that_can_t_be_quantized() -> None:
    model = random_model(TEXT)
    with pytest.raises(NetError, match="layer 'c' is quantized already; give the net"):
        measure_ranges(made(), model, BATCHES)
    other = net_input() + layer("ReLU", "r", "data")
    with pytest.raises(NetError, match="has no Convolution or InnerProduct that could be"):
        measure_ranges(parse_net(other), random_model(other), BATCHES)
    with pytest.raises(NetError, match="net:2: layer 'c' has values that are nan or infinite"):
        measure_ranges(parse_net(TEXT), model, [*BATCHES, np.full_like(BATCHES[0], math.nan)])
    with pytest.raises(DesignError, match=r"5 bits are too few for a minifloat.* are 6"):
        param_of(Ranges(9, 9, 1), Widths(5, 5), MINIFLOAT)


# The command


def test_the_options_have_the_modes() -> None:
    assert quantize_options.TRIMMING_MODES == TRIMMING_MODES


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tool")
    small_training.write_data(folder)
    return small_training.make_run(folder, "run", small_training.net(), "")


QUANTIZE = "quantize start.caffemodel --net net.prototxt --data ../data --json"


def quantized(run: Path, *more: str) -> dict[str, Any]:
    words = f"{QUANTIZE} --format ristretto --out out --force".split()
    done = engine_server.run("sqgen", [*words, *more], cwd=run)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_engine_reaches_the_accuracy_that_the_command_says(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    result = quantized(run, "--bits", "4", "--activation-bits", "5")
    assert [row["layer"] for row in result["layers"]] == ["conv1", "conv2", "ip"]
    assert {(row["bw_params"], row["bw_layer_in"]) for row in result["layers"]} == {(4, 5)}
    net = read_net(run / "out" / "ristretto.prototxt")
    assert [layer.type for layer in net.layers("TRAIN")].count("ConvolutionRistretto") == 2
    flags = ["test", "--model=out/ristretto.prototxt", f"--weights={START}", "--iterations=4"]
    code, log = small_training.engine(flags, capsys)
    assert code == 0, log
    found = result["agreements"]
    scores = {score.name: score.value for score in small_training.parsed(log).scores}
    assert scores["accuracy"] == found["ristretto"]["top1"]
    assert found["whole"]["divergence"] == 0 < found["ristretto"]["divergence"]


def test_its_files_say_how_they_were_made(run: Path) -> None:
    result = quantized(run, "--trimming-mode", "minifloat", "--bits", "9")
    assert result["trimming_mode"] == "minifloat"
    assert {(row["exp_bits"], row["mant_bits"]) for row in result["layers"]} == {(4, 4)}
    text = (run / "out" / "ristretto.prototxt").read_text()
    assert text.startswith("# sqgen quantize start.caffemodel --net net.prototxt --data ../data")
    assert "--trimming-mode minifloat --bits 9 --out out ..." in text
    assert json.loads((run / "out" / "quantize.json").read_text()) == result


def test_bits_of_single_layers(run: Path) -> None:
    (run / "bits.toml").write_text('"conv2" = 3\n[activations]\n"c*" = 6\n')
    result = quantized(run, "--bits-from", "bits.toml", "--bits", "5")
    bits = {row["layer"]: (row["bw_params"], row["bw_layer_in"]) for row in result["layers"]}
    assert bits == {"conv1": (5, 6), "conv2": (3, 6), "ip": (5, 8)}
    head = (run / "out" / "ristretto.prototxt").read_text().splitlines()[0]
    assert " --bits 5 --activation-bits 8 --bits-from bits.toml " in head
    words = f"{QUANTIZE} --format ristretto --out out --force --bits-from bits.toml".split()
    words.remove("--json")
    table = engine_server.run("sqgen", words, cwd=run).stdout.decode()
    assert {"bw_params", "bw_in", "bw_out"} <= set(table.splitlines()[0].split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--format ristretto --bits-from shared.toml", "has bits of weights that share values"),
        ("--format ristretto --bits-from other.toml", "no layer to quantize is named 'fire2'"),
        ("--format ristretto --bits-from none.toml", "none.toml: no such file"),
        ("--bytes 0.5 --bits-from other.toml", "--bits-from: goes with --format ristretto"),
        ("--format ristretto --bytes 0.5", "--bytes: goes with --format sqz"),
        ("--format ristretto --activations", "--activations: goes with --format sqz"),
        ("--format ristretto --bits 0", "--bits 0: give 1 to 32"),
        ("--format ristretto --activation-bits 33", "--activation-bits 33: give 1 to 32"),
        ("--format ristretto --by fisher", "--by: goes with --format sqz"),
        ("--format ristretto --trials 3", "--trials: goes with --format sqz"),
        ("--format ristretto --score divergence", "--score: goes with --format sqz"),
        ("--format ristretto --scores-from a", "--scores-from: goes with --format sqz"),
        (
            "--format ristretto --trimming-mode minifloat --activation-bits 9",
            "--activation-bits: has no effect with --trimming-mode minifloat",
        ),
        (
            "--format ristretto --trimming-mode integer_power_of_2_weights --bits 9",
            "--bits: has no effect with --trimming-mode integer_power_of_2_weights",
        ),
        ("--bytes 0.5 --bits 4", "--bits: goes with --format ristretto"),
        ("--bytes 0.5 --trimming-mode minifloat", "--trimming-mode: goes with --format"),
        ("--format ristretto --trimming-mode minifloat --bits 5", "5 bits are too few"),
    ],
)
def test_mistakes_are_one_line(run: Path, options: str, message: str) -> None:
    (run / "shared.toml").write_text('[entropy_constrained]\n"*" = 2.5\n')
    (run / "other.toml").write_text('"fire2" = 4\n')
    done = engine_server.run("sqgen", f"{QUANTIZE} --out none {options}".split(), cwd=run)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode().splitlines()[-1]
    assert not (run / "none").exists()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (BitsFile(weights={"c": 8}), "c"),
        (BitsFile(activations={"f": 8}), "f"),
        (BitsFile(entropy={"[c]": 2.5}), "c"),
        (BitsFile(ranges={"f": (0.0, 1.0)}), "f"),
        (BitsFile().with_default_bits(8, None), "c"),
    ],
)
def test_bits_of_layers_that_have_their_own(file: BitsFile, name: str) -> None:
    with pytest.raises(DesignError, match=f"layer '{name}' is .*Ristretto, which has bits in the"):
        file.check_layers(made().param.layer)
    with pytest.raises(DesignError, match=r"no layer to quantize is named 'd'$"):
        BitsFile(weights={"d": 8}).check_layers(made().param.layer)
    file.check_layers(parse_net(TEXT).param.layer)


def test_a_net_of_ristretto_takes_no_file_of_bits(run: Path) -> None:
    quantized(run)
    (run / "bits.toml").write_text('"conv1" = 4\n')
    words = f"test --model out/ristretto.prototxt --weights {START} --engine torch"
    done = engine_server.run("sqgen", [*words.split(), "--quantize", "bits.toml"], cwd=run)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().endswith(
        "\nsqgen: bits.toml: layer 'conv1' is ConvolutionRistretto, which has bits in the net"
        " itself: give the plain net, or no other bits\n"
    )
