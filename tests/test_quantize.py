"""`sqgen quantize`: bits by layer within the bytes of the very file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import Design, DesignError, FormatError, NetError, build, parse_net
from sqgen.compress.bits_file import read_bits
from sqgen.compress.encoding import Settings, decode, encode
from sqgen.formats.caffemodel import blob_array, read_caffemodel
from sqgen.nets.shapes import require_shapes
from sqgen.progress import no_bar
from sqgen.quantization.chosen_bits import bits_file
from sqgen.quantization.costs import (
    Bits,
    FileBytes,
    Work,
    bit_operations,
    layer_work,
    millijoules,
    milliseconds,
)
from sqgen.quantization.hardware_file import Hardware, known_hardware, read_hardware
from sqgen.quantization.layer_features import layer_features
from sqgen.quantization.layer_table import ENTROPY, K_MEANS, UNIFORM, LayerTable
from sqgen.quantization.problem import BitsProblem, Budget
from sqgen.search.journal import Journal, Trial, Trials
from sqgen.search.methods import METHODS
from sqgen.search.problem import Choice, LossTable, Problem, Proposals, fill, replace
from sqgen.search.run import Search

from .conftest import Run
from .databases import image_file, make_lmdb, raw
from .small_compress import ALL, CONV, INPUT, arrays, model_of
from .small_nets import random_model, save

DESIGN = Design(
    fire_modules=3, base_e=16, incr_e=16, freq=2, squeeze_ratio=0.5, stem_filters=16, stem="small",
    size=32, crop=False, classes=7, bypass="simple", pool_after=(2,),
)  # fmt: skip
NET = build(DESIGN, "deploy")
METHOD_EXTRAS = {"evolution": "cmaes", "ddpg": "torch", "haq": "torch"}
NO_TORCH = "needs PyTorch, the extra sqgen[engine]"


@cache
def table_of(text: str, density: float = 1.0, quantizer: str = K_MEANS) -> LayerTable:
    net, model = model_of(text, density=density)
    return LayerTable(net, model, "w", quantizer=quantizer)


def problem_of(budget: float, text: str = NET, quantizer: str = K_MEANS) -> BitsProblem:
    """Bits of a small net, scored by the squared errors of its weights."""
    table = table_of(text, quantizer=quantizer)
    shapes = require_shapes(parse_net(text), "TEST")
    budgets = [Budget(FileBytes(table), budget)]
    problem = BitsProblem(table, budgets, layer_features(shapes, table.names))

    def score(choice: Choice) -> float:
        found = table.arrays(choice)
        pairs = ((array, found[name][0]) for name, (array, *_) in table.exact.items())
        return float(sum(np.square(old - new).sum() for old, new in pairs))

    def expected() -> LossTable:
        places = range(len(problem.most))
        levels = [np.array([*problem.levels_alone(at), problem.most[at]]) for at in places]
        losses = [
            np.array([score(replace(problem.most, at, level)) for level in own.tolist()])
            for at, own in enumerate(levels)
        ]
        return LossTable(levels, [each - each[-1] for each in losses])

    problem.score_bits, problem.expect_losses = score, expected
    return problem


# ---- the cost


@given(st.lists(st.integers(2, 8), min_size=3, max_size=3), st.sampled_from([1.0, 0.5, 0.03]))
def test_the_cost_is_the_file(bits: list[int], density: float) -> None:
    """Also of layers of other types, sparse ones, and those with few enough values."""
    net, model = model_of(ALL, density=density)
    table = table_of(ALL, density)
    rules = tuple(zip(table.names, bits, strict=True))
    made = encode(model, net, Settings(bits_for=rules))
    assert table.file(bits) == made.bytes
    assert table.file_bytes(bits) == len(made.bytes)
    sizes = {row.layer: row.bytes for row in made.layers}
    assert table.layer_bytes(bits) == [sizes[name] for name in table.names]
    decoded, found = arrays(decode(made.bytes, net, "w.sqz")), table.arrays(bits)
    assert list(decoded) == list(found)
    for name, blobs in decoded.items():
        for own, other in zip(blobs, found[name], strict=True):
            np.testing.assert_array_equal(own, other)


def test_only_shared_weights_have_bits() -> None:
    table = table_of(ALL)
    assert table.names == ["conv", "bare", "turned"]
    assert (table.least, table.most) == ((2, 2, 2), (8, 8, 8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            INPUT + 'layer { name: "p" type: "PReLU" bottom: "data" top: "p" }',
            "has no Convolution or InnerProduct whose bits could be chosen",
        ),
        (
            INPUT
            + CONV.replace('top: "conv"', 'top: "conv" param { name: "w" }')
            + CONV.replace('"conv"', '"two"').replace(
                'top: "two"', 'top: "two" param { name: "w" }'
            ),
            "layer 'two' shares 'w' with 'conv', so their bits can't differ",
        ),
    ],
)
def test_nets_without_a_choice(text: str, message: str) -> None:
    net = parse_net(text)
    with pytest.raises(NetError, match=message):
        LayerTable(net, random_model(text), "w")


def test_bit_operations_time_and_energy_by_hand() -> None:
    work = [Work(1000, 50, 20), Work(200, 400, 10)]
    bits = Bits([4, 8], [4, 8], [2, 8])
    hardware = Hardware(
        name="h", batch=2, bits=(2, 4, 8), bytes_per_second=100.0,
        macs_per_second=((90.0, 80.0, 70.0), (60.0, 50.0, 40.0), (30.0, 20.0, 10.0)),
        picojoules_per_mac=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0)),
        picojoules_per_byte=1000.0,
    )  # fmt: skip
    assert bit_operations(work).amount(bits) == 1000 * 4 * 2 + 200 * 8 * 8
    # Bytes: weights for two images, and what is read twice.
    first, second = (50 * 4 / 2 + 2 * 20 * 2) / 8, (400 * 8 / 2 + 2 * 10 * 8) / 8
    times = max(1000 / 60, first / 100), max(200 / 10, second / 100)
    assert milliseconds(work, hardware).amount(bits) == pytest.approx(1e3 * sum(times))
    energy = 1000 * 4 + 1000 * first + 200 * 9 + 1000 * second
    assert millijoules(work, hardware).amount(bits) == pytest.approx(1e-9 * energy)
    between = Bits([3, 5], [3, 5], [3, 8])  # takes as long as the next higher
    assert milliseconds(work, hardware).amount(between) == pytest.approx(
        1e3 * (1000 / 50 + max(200 / 10, (400 * 5 / 2 + 2 * 10 * 8) / 8 / 100))
    )


def test_the_work_of_a_layer_is_of_one_image() -> None:
    net = parse_net(INPUT.replace("dim: 2", "dim: 4", 1) + CONV)
    names = ["conv"]
    (one,) = layer_work(require_shapes(parse_net(INPUT + CONV), "TEST"), names)
    (many,) = layer_work(require_shapes(net, "TEST"), names)
    assert one == many


@pytest.mark.parametrize("name", known_hardware())
def test_the_hardware_that_comes_with_sqgen(name: str) -> None:
    """More bits are never faster, nor take less energy."""
    hardware = read_hardware(name)
    assert hardware.bits == tuple(range(2, 9))
    assert hardware.picojoules_per_mac is not None
    for table, sign in ((hardware.macs_per_second, -1), (hardware.picojoules_per_mac, 1)):
        numbers = sign * np.array(table)
        assert (np.diff(numbers, axis=0) >= 0).all()
        assert (np.diff(numbers, axis=1) >= 0).all()


def test_numbers_that_are_not_packed_take_the_memory_of_the_next_width() -> None:
    rates = ((8.0, 4.0), (4.0, 4.0))
    work, bits = [Work(macs=8, weights=100, reads=10)], Bits([3], [3], [9])
    for packed, stored in ((True, 100 * 3 + 20 * 9), (False, 100 * 8 + 20 * 32)):
        hardware = Hardware("h", 1, (8, 32), rates, 5.0, packed=packed)
        assert milliseconds(work, hardware).amount(bits) == pytest.approx(1e3 * stored / 8 / 5)


def test_this_machine_is_measured(folder: Path, sqgen: Run) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    words = ("time", "--hardware", "here.toml", "--space", "net.prototxt", "--iterations", "1")
    done = sqgen(*words, "--batch-size", "2", "--json", "--", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert (folder / "here.toml").read_text().startswith("# Measured by sqgen ")
    found, here = json.loads(done.stdout), read_hardware(str(folder / "here.toml"))
    assert found["bytes_per_second"] == here.bytes_per_second > 0
    assert (here.batch, here.packed, here.bits[-1]) == (2, False, 32)
    assert here.mac_rate(32, 32) == here.mac_rate(2, 32)
    again = sqgen(*words)
    assert again.returncode == 2
    assert again.stderr == "sqgen: here.toml: exists already; give --hardware another file\n"

    options = ("--ms", "0.5", "--hardware", "here.toml", "--activations", "--by", "uniform")
    refused = sqgen(*command(*options, "--out", "q"))
    assert refused.returncode == 2
    assert "--ms 0.5: can't be met; the least bits everywhere have" in refused.stderr
    assert "(1.0000)" in refused.stderr


POOLED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 8, 8] } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool"
  pooling_param { kernel_size: 2 stride: 2 } }
"""


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ("pooled", "", "pooled.prototxt: has no MACs to measure; give a net with convolutions"),
        ("net", "--engine caffe", "measures the embedded engine on the CPU: leave out --engine"),
        ("net", "--gpu 0", "measures the embedded engine on the CPU: leave out --gpu"),
        ("net", "-- --threads x", "behind --: illegal value 'x' for flag '--threads'"),
        ("net", "-- --precision bf16", "'precision' behind --: --hardware takes --threads"),
        ("net", "--table t.toml", "--table and --hardware: give one"),
        ("net", "--hardware -", "--hardware -: give a file's name"),
        ("net", "--hardware=", "--hardware FILE and --space NET go together"),
    ],
)
def test_hardware_that_cannot_be_measured_is_one_line(
    folder: Path, sqgen: Run, space: str, options: str, message: str
) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    (folder / "pooled.prototxt").write_text(POOLED)
    words = ("time", "--hardware", "h.toml", "--space", f"{space}.prototxt", *options.split())
    done = sqgen(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
    assert not {"h.toml", "-"} & {path.name for path in folder.iterdir()}


def test_a_net_of_two_inputs_is_measured() -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    from sqgen.engine.machine_rates import mac_rate

    shape = "input_param { shape { dim: [1, 2, 4, 4] } }"
    inputs = (f'layer {{ name: "{name}" type: "Input" top: "{name}" {shape} }}' for name in "ab")
    net = parse_net(
        "".join(inputs)
        + 'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }'
        + 'layer { name: "c" type: "Convolution" bottom: "sum" top: "c"'
        " convolution_param { num_output: 1 kernel_size: 1 } }"
    )
    assert (mac_rate(net, "fp32", 1, 1) or 0) > 0


HARDWARE = """format = 1
name = "h"
batch = 1
bits = [2, 8]
macs_per_second = [[4, 3], [2, 1]]
bytes_per_second = 5
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[2, 1]", "[2]", "macs_per_second: the row of 8 bits has 1 numbers for 2 bits"),
        (", [2, 1]", "", "macs_per_second has 1 rows for 2 bits of weights"),
        ("3]", "0]", "the row of 2 bits has 0.0; give a number above 0"),
        ("3]", "nan]", "the row of 2 bits has nan; give a number above 0"),
        ("bits = [2, 8]", "bits = [8, 2]", "bits are numbers that rise"),
        ("bits = [2, 8]", "bits = [2, 800]", "bits are 1 to 64"),
        ("bytes_per_second = 5", "", "bytes_per_second"),
        ("bytes_per_second = 5", "picojoules_per_byte = 1\nbytes_per_second = 5", "or neither"),
        ("batch = 1", "batch = 0", "batch is 0; give 1 or more"),
        ("format = 1", "format = 2", "write format = 1; it has 2"),
        ("name =", "nmae =", "nmae"),
    ],
)
def test_hardware_with_holes_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "h.toml"
    path.write_text(HARDWARE)
    assert read_hardware(str(path)).mac_rate(3, 2) == 2
    path.write_text(HARDWARE.replace(old, new, 1))
    with pytest.raises(FormatError, match="h.toml: .*" + re.escape(message)):
        read_hardware(str(path))


# ---- the search


@pytest.mark.parametrize("quantizer", [ENTROPY, UNIFORM])
def test_more_bits_err_less(quantizer: str) -> None:
    """And never take less of the file, but for a few bytes of Huffman tables."""
    if quantizer == UNIFORM:
        pytest.importorskip("torch", reason=NO_TORCH)
    table = table_of(NET, quantizer=quantizer)
    least, most = table.least[0], table.most[0]
    for index in range(0, len(table.names), 4):
        errors = [table.error(index, level) for level in range(least, most + 1, table.steps)]
        assert errors == sorted(errors, reverse=True)
    levels = range(least, most + 1, table.steps)
    sizes = [table.file_bytes((level,) * len(table.names)) for level in levels]
    assert all(small <= large + 64 for small, large in pairwise(sizes))


@pytest.mark.parametrize("by", METHODS)
@pytest.mark.parametrize("budget", [0.4, 0.8])
def test_every_method_uses_the_budget(tmp_path: Path, by: str, budget: float) -> None:
    if by in METHOD_EXTRAS:
        pytest.importorskip(METHOD_EXTRAS[by])
    problem = problem_of(budget)
    table = table_of(NET)
    trials = 8 if by in ("ddpg", "haq") else len(table.names) + 6  # an agent takes long to learn
    with no_bar(trials) as bar:
        journal = Journal(tmp_path / "trials.jsonl", {}, False)
        choice = Search(by, trials, 1).run(problem, journal, bar)
    if by == "haq":  # which takes back whole bits, and leaves the rest
        choice = min(fill(problem, choice, range(len(choice))), choice, key=problem.score)
    size = len(table.file(choice))
    assert size <= problem.limits[0]
    larger = [replace(choice, at, bits + 1) for at, bits in enumerate(choice) if bits < 8]
    assert size >= 0.98 * problem.limits[0] or not any(map(problem.fits, larger))
    assert problem.limits == [budget * len(table.file(table.most))]
    within = [t for t in journal.trials if len(table.file(t.choice)) <= problem.limits[0]]
    assert [t.use <= 1 for t in journal.trials] == [t in within for t in journal.trials]
    best = min(trial.score for trial in within)
    assert problem.score(choice) == best or (by == "haq" and problem.score(choice) < best)


@pytest.mark.parametrize("budget", [0.4, 0.6, 0.8])
def test_the_knapsack_finds_the_best_where_losses_add_up(tmp_path: Path, budget: float) -> None:
    problem = problem_of(budget, ALL)
    with no_bar(24) as bar:
        journal = Journal(tmp_path / "trials.jsonl", {}, False)
        choice = Search("knapsack", 24, 0).run(problem, journal, bar)
    every = filter(problem.fits, product(range(2, 9), repeat=3))
    assert problem.score(choice) == min(map(problem.score, every))


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (0.05, r"--bytes 0.05: can't be met; the least bits everywhere have \d+,\d\d\d bytes \(0"),
        (100, r"--bytes 100: can't be met; the least bits"),
        (1, "--bytes 1: 8 bits everywhere have .* bytes, so there is nothing to choose"),
        (1e7, "--bytes 10000000: 8 bits everywhere have"),
    ],
)
def test_budgets_without_a_choice(budget: float, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        problem_of(budget)


# ---- the command


def learnable_model() -> Any:
    """Weights that keep the size of what layers compute, so that no probability is 0 or 1."""
    model = random_model(NET)
    for stored in model.layer:
        for blob in stored.blobs[:1]:
            fan_in = len(blob.data) // blob.shape.dim[0]
            blob.data[:] = blob_array(blob).reshape(-1) * (3 / np.sqrt(fan_in))
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    (folder / "net.prototxt").write_text(NET)
    save(learnable_model(), folder / "w.caffemodel")
    make_lmdb(folder / "lmdb", [raw(number, 3, 32, 32) for number in range(5)])
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(image_file(1, 32, 32))
    (folder / "none").mkdir()
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def command(*options: str, data: str = "lmdb") -> Sequence[str]:
    return (
        "quantize",
        "w.caffemodel",
        "--net",
        "net.prototxt",
        "--data",
        data,
        "--scale",
        "0.01",
        *options,
    )


def test_what_the_best_trial_leaves_of_the_budget_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    from sqgen.engine.input_images import InputImages
    from sqgen.quantization.job import QuantizationJob

    def only_the_least(problem: Problem, random: np.random.Generator, trials: int) -> Proposals:
        yield problem.least

    monkeypatch.setitem(METHODS, "random", only_the_least)
    net = parse_net(NET)
    pixels = np.random.default_rng(1).uniform(0, 2, (4, 3, 32, 32)).astype(np.float32)
    table = LayerTable(net, learnable_model(), "w")
    budgets = [Budget(FileBytes(table), 0.6)]
    job = QuantizationJob(net, table, budgets, Search("random", 1, 0), "divergence")
    done = job.run(InputImages([pixels], None), Trials(tmp_path))
    (spent,) = done.spent
    assert spent.after == len(done.file)
    assert 0.98 * spent.limit <= spent.after <= spent.limit


@pytest.mark.parametrize(
    ("by", "quantizer"),
    [("uniform", K_MEANS), ("fisher", ENTROPY), ("random", ENTROPY), ("haq", K_MEANS)],
)
def test_the_files(folder: Path, sqgen: Run, by: str, quantizer: str) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    is_search = by not in ("uniform", "fisher")
    options = ["--bytes", "0.6", "--by", by, "--quantizer", quantizer]
    options += ["--trials", "4"] if is_search else []
    done = sqgen(*command(*options, "--out", "q", "--json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    names = {path.name for path in (folder / "q").iterdir()}
    assert names == {*result["files"], *(["trials.jsonl"] if is_search else [])}
    data = (folder / "q" / "quantized.sqz").read_bytes()
    (budget,) = result["budgets"]
    assert result["bytes"] == len(data) == budget["after"] <= budget["limit"]
    assert budget["limit"] == pytest.approx(0.6 * budget["before"])
    assert (result["choice"]["by"], result["choice"]["quantizer"]) == (by, quantizer)
    assert result == json.loads((folder / "q" / "quantize.json").read_text())

    encoded = ("compress", "encode", "w.caffemodel", "--net", "net.prototxt", "-o", "again.sqz")
    again = sqgen(*encoded, "--bits-from", "q/bits.toml")
    assert again.returncode == 0, again.stderr
    assert (folder / "again.sqz").read_bytes() == data
    net, model = parse_net(NET), read_caffemodel(str(folder / "w.caffemodel"))
    rules = tuple((row["layer"], row["bits"]) for row in result["layers"])
    settings = (
        Settings(entropy_bits_for=rules) if quantizer == ENTROPY else Settings(bits_for=rules)
    )
    assert encode(model, net, settings).bytes == data

    layers = [row["layer"] for row in result["layers"]]
    assert [row["layer"] for row in result["expected"]] == (layers if by == "fisher" else [])
    for row in result["expected"]:
        assert row["of"] == "weights"
        assert row["bits"] == [0.5, 1, 2, 3, 4, 5, 6, 7, 8]
        assert row["losses"][0] > row["losses"][3] >= row["losses"][8] == 0

    found = result["agreements"]
    assert list(found)[::2] == ["whole", "quantized"]
    assert found["whole"]["divergence"] == 0 < found["quantized"]["divergence"]
    if is_search:
        assert found["quantized"]["divergence"] <= result["search"]["best"] + 1e-12


def test_activations_have_bits_too(folder: Path, sqgen: Run) -> None:
    """What was found is what the engine computes by bits.toml, and what the .sqz has."""
    pytest.importorskip("torch", reason=NO_TORCH)
    from sqgen.engine.executor import Executor
    from sqgen.engine.quantization import Quantization

    options = ("--bops", "0.4", "--activations", "--by", "knapsack", "--trials", "3")
    done = sqgen(*command(*options, "--out", "q", "--json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["choice"]["quantizer"] == UNIFORM
    assert [row["of"] for row in result["expected"]] == ["weights", "reads"] * len(result["layers"])
    net, model = parse_net(NET), read_caffemodel(str(folder / "w.caffemodel"))
    work = layer_work(require_shapes(net, "TEST"), [row["layer"] for row in result["layers"]])
    rows = zip(work, result["layers"], strict=True)
    operations = sum(each.macs * row["bits"] * row["activation_bits"] for each, row in rows)
    (budget,) = result["budgets"]
    assert budget["after"] == operations <= budget["limit"] == 0.4 * budget["before"]
    file = read_bits(str(folder / "q" / "bits.toml"))
    executor = Executor(net, "TEST")
    executor.load(model, "w")
    quantization = Quantization(file, executor)
    quantization.start()
    decoded = arrays(decode((folder / "q" / "quantized.sqz").read_bytes(), net, "q"))
    for name, quantizer in quantization.quantizers.weights.items():
        weights = arrays(model)[name][0]
        np.testing.assert_array_equal(quantizer.of_array(weights), decoded[name][0])
    assert set(file.ranges) == {row["layer"] for row in result["layers"]}


def test_a_killed_search_goes_on(folder: Path, sqgen: Run) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    options = ("--bytes", "0.6", "--by", "random", "--trials", "5", "--quantizer", "k-means")
    whole = sqgen(*command(*options, "--out", "whole"))
    assert whole.returncode == 0, whole.stderr
    lines = (folder / "whole" / "trials.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 6
    (folder / "cut").mkdir()
    (folder / "cut" / "trials.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    refused = sqgen(*command(*options, "--out", "cut"))
    assert refused.returncode == 2
    assert "trials.jsonl: exists already; --resume goes on with it" in refused.stderr
    done = sqgen(*command(*options, "--out", "cut", "--resume"))
    assert done.returncode == 0, done.stderr
    assert (folder / "cut" / "trials.jsonl").read_text().startswith("".join(lines[:3]))
    for name in ("bits.toml", "quantized.sqz"):
        assert (folder / "cut" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    other = (*options[:1], "0.5", *options[2:])
    refused = sqgen(*command(*other, "--out", "cut", "--resume", "--force"))
    assert refused.returncode == 2
    assert "trials.jsonl: is of a search with budgets" in refused.stderr


def test_image_files_have_no_labels(folder: Path, sqgen: Run) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    options = ("--bytes", "0.6", "--by", "uniform", "--quantizer", "k-means", "--out", "q")
    done = sqgen(*command(*options, data="images"))
    assert done.returncode == 0, done.stderr
    assert "chosen on 1 images of images" in done.stdout
    result = json.loads((folder / "q" / "quantize.json").read_text())
    assert result["agreements"]["quantized"]["top1"] is None


JOURNAL = {
    **{"by": "random", "trials": 9, "seed": 1, "score": "divergence", "budgets": ["--bytes 900"]},
    "layers": [{"layer": "conv1", "weights": 1296}, {"layer": "fc", "weights": 80}],
}


def test_a_journal_is_shown_by_itself(tmp_path: Path, sqgen: Run) -> None:
    journal = Journal(tmp_path / "trials.jsonl", JOURNAL, False)
    journal.add(Trial((4, 3), 0.5, 1.0, 0.9))
    journal.add(Trial((8, 8), 0.1, 1.0, 1.9))
    done = sqgen("log", "parse", ".")
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "random: 2 of 9 trials, the best is number 1 (divergence 0.5)"
    rows = [["layer", "weights", "bits"], ["conv1", "1,296", "4"], ["fc", "80", "3"]]
    assert [line.split() for line in lines] == rows
    result = json.loads(sqgen("log", "parse", "trials.jsonl", "--json").stdout)
    assert (result["bits"], result["tried"], result["best_trial"]) == ([4, 3], 2, 1)


@pytest.mark.parametrize("choice", [(4,), (0, 3), (4, 9)])
def test_a_strange_journal_is_one_line(tmp_path: Path, sqgen: Run, choice: tuple[int, ...]) -> None:
    Journal(tmp_path / "trials.jsonl", JOURNAL, False).add(Trial(choice, 0.5, 1.0, 0.9))
    done = sqgen("log", "parse", "trials.jsonl")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "has a trial of other layers; it is damaged" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--bytes 0.05", "--bytes 0.05: can't be met; the least bits everywhere have"),
        ("--bytes 1e9", "8 bits everywhere have"),
        ("--bytes 60%", "--bytes 60%: write 0.6"),
        ("--bytes nan", "--bytes nan: give a share of the net's bytes"),
        ("", "no budget: give --bytes, --bops, --ms or --mj"),
        ("--ms 0.5", "--ms and --mj: give --hardware"),
        ("--bytes 0.5 --hardware bitfusion", "--hardware: goes with --ms or --mj"),
        ("--ms 0.5 --hardware bitfusion", "give --activations or --activation-bits"),
        ("--ms 0.5 --hardware bitfusoin --activations", "did you mean 'bitfusion'?"),
        ("--ms 0.5 --hardware none --activations", "none"),
        ("--bops 0.5 --activation-bits 9", "--activation-bits 9: give 2 to 8"),
        ("--bops 0.5 --activations --activation-bits 8", "give one"),
        ("--bytes 0.6 --by greedy --trials 3", "--trials 3: --by greedy tries each of 11 sets"),
        ("--bytes 0.6 --by uniform --resume", "--resume: goes on with a search"),
        ("--bytes 0.6 --by uniform --trials 9", "--trials: goes with a search, --by random, gr"),
        ("--bytes 0.6 --by fisher --trials 9", "evolution, knapsack, ddpg, haq"),
        ("--bytes 0.6 --by amc", "'amc' is not one of"),
        ("--bytes 0.6 --score top-1 --data images", "--score top-1: needs labels"),
        ("--bytes 0.6 --data nowhere", "nowhere: no such file or directory; check the name"),
        ("--bytes 0.6 --data net.prototxt", "net.prototxt: can't be decoded as an image"),
        ("--bytes 0.6 --data damaged", "damaged: has no images that can be read; the first: dam"),
        ("--bytes 0.6 --data none", "none: has no images"),
        ("--bytes 0.6 --out -", "--out -: give a folder"),
        ("--bytes 0.6 --out lmdb/data.mdb", "data.mdb"),
    ],
)
def test_mistakes_are_one_line(folder: Path, sqgen: Run, options: str, message: str) -> None:
    pytest.importorskip("torch", reason=NO_TORCH)
    (folder / "damaged").mkdir()
    for name in ("a.png", "b.png"):
        (folder / "damaged" / name).write_bytes(b"")
    done = sqgen(*command("--out", "q", *options.split()))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "q").exists()


def test_bits_of_activations_are_written_beside_entropy_constrained_weights() -> None:
    file = bits_file(ENTROPY, {"a": 2.5}, {"a": 4}, {"a": (0.0, 1.0)})
    assert (file.entropy, file.activations, file.ranges) == (
        {"a": 2.5},
        {"a": 4},
        {"a": (0.0, 1.0)},
    )
