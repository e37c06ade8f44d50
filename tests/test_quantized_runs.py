"""`sqgen-caffe test` and `train` of a net with quantized layers."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import parse_net
from sqgen.compress.bits_file import BitsFile, format_bits_file, read_bits, read_bits_file
from sqgen.compress.encoding import Settings, encode
from sqgen.formats.caffemodel import read_caffemodel

from . import engine_server
from .small_nets import net_input, save
from .small_runs import StandIn
from .small_training import (
    IMAGE,
    POOL1,
    RANDOM,
    RELU1,
    SOLVER,
    START,
    accuracy,
    batch_norm,
    convolution,
    data,
    dropout,
    engine,
    final,
    inner_product,
    loss,
    make_run,
    messages,
    net,
    weights,
    write_data,
)

pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

DEPLOY_INPUT = net_input(*IMAGE)
Capture = pytest.CaptureFixture[str]
TRAIN = (
    SOLVER + "base_lr: 0.02 momentum: 0.9 lr_policy: 'fixed' random_seed: 3 display: 1 max_iter: 6"
    " snapshot: 3 test_iter: 4 test_interval: 3 test_initialization: false"
)
RANDOM_NET = net(
    inputs=data("TRAIN", 7, RANDOM) + data("TEST", 16, RANDOM),
    middle=batch_norm("conv1") + RELU1 + POOL1 + dropout("pool1"),
    scores=loss() + accuracy(),
)
UNIFORM = '[quantizer]\nweights = "symmetric"\nchannels = true\n'
KINDS = {
    "entropy": '[entropy_constrained]\n"conv*" = 1.5\n[activations]\n"ip" = 5\n',
    "shared": '"*" = 2\n',
    "shared with activations": '"*" = 2\n[activations]\n"*" = 4\n[quantizer]\nweights = "shared"\n',
    "symmetric": '"conv*" = 3\n"ip" = 5\n[activations]\n"c*2" = 4\nip = 8\n' + UNIFORM,
    "asymmetric": """
"*" = 4
[activations]
"*" = 6
[quantizer]
weights = "asymmetric"
weight_range = "max"
activations = "asymmetric"
activation_range = "percentile"
percentile = 99
images = 20
""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data."""
    made = tmp_path_factory.mktemp("quantized")
    write_data(made)
    return made


@pytest.fixture
def place(folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder beside it with a net, its weights, and a solver of 6 iterations."""
    name = re.sub(r"\W+", "_", request.node.name)
    made = make_run(folder, name, net(), TRAIN)
    monkeypatch.chdir(made)
    return made


def run(capsys: Capture, *arguments: str, code: int = 0) -> list[str]:
    """Run the engine in this process; the lines of its log."""
    exit_code, log = engine(arguments, capsys)
    assert exit_code == code, log
    return messages(log)


def score(capsys: Capture, *flags: str, weights: str = START) -> list[str]:
    """Test the net; its scores."""
    lines = run(
        capsys, "test", "--model=net.prototxt", f"--weights={weights}", "--iterations=4", *flags
    )
    return [x for x in lines if x.startswith(("Loss: ", "accuracy = ", "loss = "))]


def train(capsys: Capture, *flags: str) -> list[str]:
    return run(capsys, "train", "--solver=solver.prototxt", *flags)


@pytest.mark.parametrize("entropy", ["", '[entropy_constrained]\n"conv2" = 1.25\n'])
def test_shared_weights_score_as_the_sqz_of_these_bits(
    place: Path, capsys: Capture, entropy: str
) -> None:
    (place / "bits.toml").write_text('"conv*" = 2\n"*" = 3\n' + entropy)
    deploy = parse_net(net(inputs=DEPLOY_INPUT, scores=""))
    file = read_bits("bits.toml")
    rules = tuple(file.weights.items()), tuple(file.entropy.items())
    settings = Settings(bits_for=rules[0], entropy_bits_for=rules[1])
    encoded = encode(read_caffemodel(START), deploy, settings)
    save(encoded.model, place / "decoded.caffemodel")
    quantized = score(capsys, "--quantize=bits.toml")
    assert quantized == score(capsys, weights="decoded.caffemodel") != score(capsys)


def test_a_calibrated_file_needs_no_images(place: Path, capsys: Capture) -> None:
    (place / "bits.toml").write_text(KINDS["asymmetric"])
    found = score(capsys, "--quantize=bits.toml", "--calibrated=found.toml", "--threads=1")
    file = read_bits_file("found.toml")
    assert list(file.ranges) == ["conv1", "conv2", "ip"]
    low, high = file.ranges["conv1"]
    assert -2 < low < 0 < high < 3  # (pixel - 120) / 64
    assert score(capsys, "--quantize=found.toml", "--threads=3") == found
    with_others = (place / "found.toml").read_text().replace(repr(high), repr(high / 9))
    (place / "found.toml").write_text(with_others)
    assert score(capsys, "--quantize=found.toml") != found


def test_bits_for_all_layers(place: Path, capsys: Capture) -> None:
    (place / "bits.toml").write_text('"*" = 3\n[activations]\n"*" = 5\n')
    flags = "--bits=3", "--activation-bits=5"
    assert score(capsys, *flags) == score(capsys, "--quantize=bits.toml") != score(capsys)
    (place / "conv2.toml").write_text('"conv2" = 8\n')
    mixed = score(capsys, "--quantize=conv2.toml", "--bits=2")
    (place / "mixed.toml").write_text('"conv2" = 8\n"*" = 2\n')
    assert mixed == score(capsys, "--quantize=mixed.toml")
    assert mixed == score(capsys, "--quantize=mixed.toml", "--bits=3")  # which leaves out nothing


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_resumes_exactly_and_is_tested_as_it_tests(
    place: Path, capsys: Capture, kind: str
) -> None:
    (place / "bits.toml").write_text(KINDS[kind])
    log = train(capsys, "--quantize=bits.toml")
    whole = final(place)
    for name in ("caffemodel", "solverstate", "bits.toml"):
        (place / f"s_iter_6.{name}").rename(place / f"whole.{name}")
    resumed = train(capsys, "--snapshot=s_iter_3.solverstate")
    for name, array in final(place).items():
        np.testing.assert_array_equal(array, whole[name])
    assert (place / "whole.bits.toml").read_bytes() == (place / "s_iter_6.bits.toml").read_bytes()
    last = [line.strip() for line in log if line.startswith("    Test net output")][-2:]
    again = [line.strip() for line in resumed if line.startswith("    Test net output")][-2:]
    assert last == again
    flags = ("--quantize=s_iter_6.bits.toml", "--rounded=rounded.caffemodel")
    tested = score(capsys, *flags, weights="s_iter_6.caffemodel")
    assert [line.split(": ", 1)[1] for line in last] == tested[1:]

    floats = weights(place / "s_iter_6.caffemodel")["conv1"][0]
    assert len(np.unique(floats)) == floats.size  # the weights that learn are no quantized ones
    assert score_rounded(capsys, "rounded.caffemodel") == tested
    if "shared" in kind or "entropy" in kind:
        settings = Settings(values_for=read_bits_file("s_iter_6.bits.toml").values)
        deploy = parse_net(net(inputs=DEPLOY_INPUT, scores=""))
        encoded = encode(read_caffemodel("s_iter_6.caffemodel"), deploy, settings)
        save(encoded.model, place / "decoded.caffemodel")
        assert score_rounded(capsys, "decoded.caffemodel") == tested


def score_rounded(capsys: Capture, weights: str) -> list[str]:
    """Test weights that are rounded already, with the activations of the training's bits."""
    file = read_bits_file("s_iter_6.bits.toml")
    plain = BitsFile({}, file.activations, file.quantizer, file.ranges)
    if not plain.activations:
        return score(capsys, weights=weights)
    Path("plain.toml").write_text(format_bits_file(plain))
    return score(capsys, "--quantize=plain.toml", weights=weights)


@pytest.mark.parametrize("kind", ["shared", "symmetric"])
def test_a_quantized_net_learns(place: Path, capsys: Capture, kind: str) -> None:
    (place / "bits.toml").write_text(KINDS[kind])
    (place / "solver.prototxt").write_text(
        TRAIN.replace("max_iter: 6", "max_iter: 40") + " average_loss: 10"
    )
    log = train(capsys, "--quantize=bits.toml")
    losses = [
        float(x.rpartition("= ")[2]) for x in log if x.startswith("Iteration") and "loss" in x
    ]
    assert losses[-1] < 0.8 * losses[9]


def test_calibration_leaves_no_trace_in_a_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """With BatchNorm's statistics, random crops and dropout: as with ranges that were known."""
    bits = '"*" = 4\n[activations]\n"*" = 4\n'
    ends = []
    for name in ("found", "known"):
        place = make_run(folder, name, RANDOM_NET, TRAIN)
        monkeypatch.chdir(place)
        (place / "bits.toml").write_text(bits)
        train(capsys, "--quantize=bits.toml", "--threads=1")
        ends.append(final(place))
        bits = (place / "s_iter_6.bits.toml").read_text()
    for name, array in ends[0].items():
        np.testing.assert_array_equal(array, ends[1][name])


BAD_FILES = {
    "nine": ('"conv1" = 9', "nine.toml: 'conv1' takes bits, 2 to 8; write"),
    "one": ('"*" = 4\n[activations]\nconv1 = 1', "[activations]: 'conv1' takes bits, 2 to 8"),
    "name": ('"cnov1" = 4', "no layer to quantize is named 'cnov1'; did you mean 'conv1'?"),
    "pool": ('"*" = 4\n[activations]\n"pool1" = 4', "no layer to quantize is named 'pool1'"),
    "table": ("[activation]\nconv1 = 4", "'activation' takes bits, 2 to 8; write"),
    "kind": ('[quantizer]\nweights = "symetric"', "did you mean 'symmetric'?"),
    "rule": ('[quantizer]\nweight_range = "best"', "weight_range is one of max, percentile, mse"),
    "field": ("[quantizer]\nbits = 3", "[quantizer] bits: no such field"),
    "rows": ('[quantizer]\nchannels = true\nweight_range = "kl"', "a channel has too few weights"),
    "percentile": ("[quantizer]\npercentile = 101", "percentile is from 50 to 100, not 101"),
    "images": ("[quantizer]\nimages = 0", "images are from 1 to"),
    "nan": ("[ranges]\nconv1 = [0, nan]", "[ranges]: 'conv1' is wrong; write"),
    "huge": (f"[ranges]\nconv1 = [0, {10**400}]", "[ranges]: 'conv1' is wrong; write"),
    "order": ("[ranges]\nconv1 = [1, 0]", "[ranges]: 'conv1' is wrong; write"),
    "ranges": ("[ranges]\nconv9 = [0, 1]", "no layer to quantize is named 'conv9'"),
    "values": ("[values]\nconv1 = [1, 1]", "[values]: 'conv1' is wrong; write"),
    "many": ('"*" = 2\n[values]\nconv1 = [1, 2, 3, 4, 5]', "has 5, and 2 bits number 4"),
    "kinds": (
        '"*" = 4\n[quantizer]\nweights = "symmetric"\n[values]\nip = [1]',
        "its weights are symmetric, and",
    ),
    "empty": ("", "empty.toml: has no bits; write"),
    "nobits": ("[quantizer]\nimages = 9", "nobits.toml: no Convolution or Deconvolution or Inner"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_wrong_is_one_line(place: Path, capsys: Capture, name: str) -> None:
    text, message = BAD_FILES[name]
    (place / f"{name}.toml").write_text(text)
    flags = ("--model=net.prototxt", f"--weights={START}", f"--quantize={name}.toml")
    code, log = engine(("test", *flags), capsys)
    fatal = [line for line in messages(log) if message in line]
    assert (code, len(fatal)) == (2, 1), log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("test --bits=1", "1 bits: give 2 to 8"),
        ("test --activation-bits=17", "17 bits: give 2 to 8"),
        ("test --quantize=nowhere.toml", "nowhere.toml: no such file"),
        ("test --calibrated=out.toml", "--calibrated=FILE is for a quantized net"),
        ("test --rounded=out", "--rounded=FILE is for a quantized net"),
        ("test --model=deploy.prototxt --activation-bits=4", "reads no images to find the ranges"),
        ("time --bits=4", "time runs no quantized net"),
        ("train --solver=solver.prototxt --bits=4 --calibrated=a.toml", "--calibrated=FILE and"),
        ("train --solver=solver.prototxt --bits=4 --snapshot=s_iter_3.solverstate", "is of no"),
    ],
)
def test_flags_that_can_not_be(place: Path, capsys: Capture, arguments: str, message: str) -> None:
    (place / "deploy.prototxt").write_text(net(inputs=DEPLOY_INPUT, scores=""))
    if "snapshot" in arguments:
        train(capsys)
    given = arguments.split()
    if given[0] != "train":
        given[1:1] = ["--model=net.prototxt", f"--weights={START}"]
    code, log = engine(given, capsys)
    assert (code, sum(message in line for line in messages(log))) == (2, 1), log


def test_a_resume_has_the_bits_of_its_run(place: Path, capsys: Capture) -> None:
    (place / "bits.toml").write_text(KINDS["symmetric"])
    train(capsys, "--quantize=bits.toml", "--activation-bits=6")
    resume = ("train", "--solver=solver.prototxt", "--snapshot=s_iter_3.solverstate")
    run(capsys, *resume, "--quantize=bits.toml", "--activation-bits=6")
    run(capsys, *resume, "--quantize=s_iter_6.bits.toml")
    log = run(capsys, *resume, "--quantize=bits.toml", code=2)
    assert any("is of a training with other bits or quantizers" in line for line in log)


def test_numbers_that_have_no_range(place: Path, capsys: Capture) -> None:
    (place / "net.prototxt").write_text(net(inputs=data("TEST", 16, "scale: 1e36")))
    flags = ("--model=net.prototxt", f"--weights={START}", "--activation-bits=4")
    log = run(capsys, "test", *flags, code=2)
    assert any("reads numbers that are nan or infinite" in line for line in log), log


def test_layers_with_the_same_weights_have_the_same_bits(place: Path, capsys: Capture) -> None:
    text = net(conv1="param { name: 'w' }").replace(
        inner_product(), convolution("conv1b", "data", 6, "param { name: 'w' }") + inner_product()
    )
    (place / "net.prototxt").write_text(text)
    (place / "bits.toml").write_text('"conv1" = 4\n')
    flags = ("--model=net.prototxt", f"--weights={START}", "--quantize=bits.toml")
    log = run(capsys, "test", *flags, code=2)
    assert any("'conv1' and 'conv1b' have the same weights" in line for line in log)
    (place / "bits.toml").write_text('"conv1*" = 4\n')
    run(capsys, "test", *flags, "--iterations=1")


# `sqgen test` and `sqgen train`.


def sqgen_in(place: Path, *arguments: str, code: int = 0) -> Any:
    """Run the command in a folder; its JSON, or the last line of what it says."""
    done = engine_server.run("sqgen", arguments, cwd=place)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr.decode().splitlines()[-1]


def test_the_runner_passes_bits_on_and_records_them(place: Path) -> None:
    (place / "bits.toml").write_text(KINDS["symmetric"])
    torch_engine = ("--engine", "torch", "--json", "--cpu")
    solver = ("train", "--solver", "solver.prototxt")
    flags = ("--quantize", "bits.toml", "--activation-bits", "6")
    given = {"quantize": "bits.toml", "bits": None, "activation-bits": 6}
    (place / "solver.prototxt").write_text(TRAIN.replace("max_iter: 6", "max_iter: 3"))
    started = sqgen_in(place, *solver, *torch_engine, *flags)
    assert started["run"]["quantized"] == given
    (place / "solver.prototxt").write_text(TRAIN)
    went_on = sqgen_in(
        place, *solver, *torch_engine, "--resume", "--keep-best", "accuracy", "--max-iter", "6"
    )
    best = went_on["run"]["best"]
    assert best["bits"] == "s_best.bits.toml"
    tested = sqgen_in(place, *shlex.split(best["test"])[1:], *torch_engine)
    scores = {score["name"]: score["value"] for score in tested["scores"]}
    assert scores["accuracy"] == pytest.approx(best["value"], abs=1e-6)
    assert tested["run"]["quantized"]["quantize"] == "s_best.bits.toml"

    net_of = ("test", "--model", "net.prototxt", "--weights", START)
    found = (*net_of, *torch_engine, "--bits", "4", "--activation-bits", "8", "--calibrated", "f")
    sqgen_in(place, *found)
    assert read_bits_file(str(place / "f")).ranges
    assert "f: exists already; --force replaces it" in sqgen_in(place, *found, code=2)

    # A real caffe would go on in floats.
    caffe = ("--caffe", StandIn(place)())
    (place / "solver.prototxt").write_text(TRAIN.replace("max_iter: 6", "max_iter: 9"))
    before = sorted(place.iterdir())
    for refused in (
        (*solver, *flags),
        (*solver, "--snapshot", "s_iter_6.solverstate"),
        (*net_of, "--bits", "4"),
    ):
        assert "which quantizes no layers; give" in sqgen_in(place, *refused, *caffe, code=2)
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--quantize nowhere.toml", "nowhere.toml: no such file"),
        ("--quantize name.toml", "no layer to quantize is named 'cnov1'; did you mean 'conv1'?"),
        ("--bits 9", "9 bits: give 2 to 8"),
        ("--calibrated f", "--calibrated FILE is for a quantized net"),
        ("-- --bits=4", "--bits=4 behind --: sqgen sets --bits itself"),
    ],
)
def test_the_runner_starts_nothing_that_can_not_be(
    place: Path, arguments: str, message: str
) -> None:
    (place / "name.toml").write_text('"cnov1" = 4')
    before = sorted(place.iterdir())
    net_of = ("test", "--model", "net.prototxt", "--weights", START, "--engine", "torch")
    assert message in sqgen_in(place, *net_of, *arguments.split(), code=2)
    assert sorted(place.iterdir()) == before
