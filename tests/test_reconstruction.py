"""Weights of a pruned net, fitted to what the whole one computed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sqgen import build, parse_net
from sqgen.errors import NetError
from sqgen.pruning.prune import Pruner
from sqgen.pruning.shrink import Shrinking

from .conftest import Run
from .databases import make_lmdb, raw
from .small_nets import conv, layer, net_input, random_model, save
from .test_prune import SMALL

torch = pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.engine.agreement import Agreement, check_labels, compare, probabilities  # noqa: E402
from sqgen.engine.input_images import InputImages  # noqa: E402

INNER = layer("InnerProduct", "last", "b", rest="inner_product_param { num_output: 3 }")
TURNED = INNER.replace("num_output: 3", "num_output: 3 transpose: true")


def images(count: int = 40) -> InputImages:
    random = np.random.default_rng(1)
    batches = [random.normal(0, 2, (10, 3, 9, 7)).astype(np.float32) for _ in range(count // 10)]
    return InputImages(batches, None)


@pytest.mark.parametrize("last", [INNER, TURNED], ids=["rows", "columns"])
@pytest.mark.parametrize(
    "kernel", ["kernel_size: 1", "kernel_size: 3 pad: 1", "kernel_size: 2 stride: 2"]
)
def test_a_twin_takes_over_what_its_twin_did(kernel: str, last: str) -> None:
    """Filter 1 of `a` equals filter 0; without it, the others can compute the same."""
    text = net_input() + conv("a", "data", 4) + layer("ReLU", "relu", "a", "a")
    text += layer("Convolution", "b", "a", rest=f"convolution_param {{ num_output: 5 {kernel} }}")
    text += last
    net, model = parse_net(text), random_model(text)
    pruner = Pruner(net, [("w", model)])
    for index in (0, 1):
        pruner.arrays["a"][index][1] = pruner.arrays["a"][index][0]
    removed = [root for root, g in pruner.groups.groups.items() if g.channels == (("a", 1),)]
    shown = images()
    done = pruner.prune(Shrinking(pruner.groups, removed), pruner.collect_sums(shown))
    found = {}
    for name, definition, arrays in (
        ("whole", net, pruner.arrays),
        ("plain", done.pruned.definition, done.plain),
        ("fitted", done.pruned.definition, done.pruned.arrays),
    ):
        from sqgen.weights.make_caffemodel import make_caffemodel

        found[name] = probabilities(definition, make_caffemodel(definition, arrays), shown)
    off = {name: np.abs(each - found["whole"]).max() for name, each in found.items()}
    assert off["fitted"] < 0.02
    assert off["plain"] > 3 * off["fitted"]


def test_sums_are_those_of_all_that_a_filter_reads() -> None:
    text = net_input() + conv("a", "data", 4) + conv("b", "a", 2, 3) + conv("c", "b", 2)
    pruner = Pruner(parse_net(text), [("w", random_model(text))])
    shown = images(20)
    sums = pruner.collect_sums(shown)
    data = np.concatenate(shown.batches).astype(np.float64)
    weights, bias = (blob.astype(np.float64) for blob in pruner.arrays["a"])
    made = np.einsum("oc,nchw->nohw", weights[:, :, 0, 0], data) + bias[:, None, None]
    padded = np.pad(made, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 36)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)
    np.testing.assert_allclose(sums["b"].products, rows.T @ rows, rtol=1e-4, atol=1e-2)
    assert sums["b"].samples == len(rows) == 20 * 63


def test_a_layer_that_reads_only_zeros_keeps_its_weights() -> None:
    """Of a net that died, the equations have no solution but this."""
    text = net_input() + conv("a", "data", 4) + layer("ReLU", "relu", "a", "a") + conv("b", "a", 2)
    pruner = Pruner(parse_net(text), [("w", random_model(text))])
    pruner.arrays["a"][0][...], pruner.arrays["a"][1][...] = 0, -1
    removed = [root for root, g in pruner.groups.groups.items() if g.channels == (("a", 1),)]
    done = pruner.prune(Shrinking(pruner.groups, removed), pruner.collect_sums(images()))
    np.testing.assert_array_equal(done.pruned.arrays["b"][0], done.plain["b"][0])
    np.testing.assert_array_equal(done.pruned.arrays["b"][1], done.plain["b"][1])


def test_values_that_are_not_finite_stop_a_reconstruction() -> None:
    text = net_input() + conv("a", "data", 4) + conv("b", "a", 4) + conv("c", "b", 4)
    pruner = Pruner(parse_net(text), [("w", random_model(text))])
    pruner.arrays["a"][0][...], pruner.arrays["b"][0][...] = 1e30, 1e30
    with pytest.raises(NetError, match="layer 'c' reads nan or infinite values of these images"):
        pruner.collect_sums(images())
    with pytest.raises(NetError, match="the outputs of these images are nan or infinite"):
        pruner.scorer(images(), {}, "divergence")


def test_divergence_is_that_of_probabilities() -> None:
    whole = np.array([[0.5, 0.5], [0.9, 0.1]])
    other = np.array([[0.25, 0.75], [0.9, 0.1]])
    found = compare(whole, other, np.array([1, 0]))
    each = 0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)
    assert found.divergence == pytest.approx(each / 2)
    assert found.error == pytest.approx(each / 2)
    assert found.top1 == 1.0
    assert compare(whole, whole, None) == (0.0, 0.0, None)


def test_a_search_for_top1_counts_divergence_less_than_an_image() -> None:
    images = 200
    found = [
        Agreement(divergence, 0.1, 1 - wrong / images).score("top-1", images)
        for wrong, divergence in ((3, -1e-9), (3, 0.2), (3, 0.20001), (3, 60.0), (4, 0.1))
    ]
    assert found == sorted(set(found))
    assert found[0] == pytest.approx(3 / images)
    assert math.isnan(Agreement(math.nan, 0.1, 0.5).score("top-1", images))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "x: has no labels; a search for top-1 takes an LMDB"),
        ([0, 10], "x: has label 10, and the net classes 0 to 9"),
        ([-1, 3], "x: has label -1, and the net classes 0 to 9"),
        ([3, 3], "x: all labels are 3, so top-1 says little"),
    ],
)
def test_labels_that_can_score_no_net_are_refused(labels: list[int] | None, message: str) -> None:
    with pytest.raises(NetError, match=message):
        check_labels(None if labels is None else np.array(labels), 10, "x")


def test_the_command_fits_on_images(tmp_path: Path, sqgen: Run) -> None:
    text = build(SMALL, "deploy")
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    make_lmdb(tmp_path / "lmdb", [raw(number, 3, 32, 32) for number in range(5)])
    command = ("prune", "w.caffemodel", "--net", "net.prototxt", "--macs", "0.6", "--json")
    done = sqgen(*command, "--out", "small", "--data", "lmdb", "--by", "uniform")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["agreements"]
    assert found["whole"]["divergence"] == 0
    assert found["reconstructed"]["top1"] is not None
    plain = sqgen(*command, "--out", "plain")
    assert json.loads(plain.stdout)["agreements"] is None
    files = [(tmp_path / name / "pruned.caffemodel").read_bytes() for name in ("small", "plain")]
    assert files[0] != files[1]
    for wrong, message in (
        (("--data", "none"), "none"),
        (("--data", "lmdb", "--resize", "8x8"), "--resize 8x8: the net takes 32x32"),
    ):
        done = sqgen(*command, "--out", "other", *wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert not (tmp_path / "other").exists()


def test_layers_in_train_only_lose_their_weights_aloud(tmp_path: Path, sqgen: Run) -> None:
    text = net_input() + conv("a", "data", 4) + INNER.replace('bottom: "b"', 'bottom: "a"')
    aux = conv("aux", "a", 2).replace("conv", "include { phase: TRAIN } conv")
    (tmp_path / "net.prototxt").write_text(text + aux)
    save(random_model(text), tmp_path / "w.caffemodel")
    make_lmdb(tmp_path / "lmdb", [raw(0, 3, 9, 7)])
    command = ("prune", "w.caffemodel", "--net", "net.prototxt", "--macs", "0.6", "--no-proof")
    done = sqgen(*command, "--out", "small", "--data", "lmdb", "--trials", "9")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "small" / "prune.json").read_text())
    assert record["choice"]["by"] == "knapsack"
    assert record["search"]["tried"] <= 9
    assert "aux: in TRAIN only; pruned.caffemodel has no weights of them" in done.stderr
    assert "nan" not in done.stdout  # the error of a mean over one image


def test_a_search_is_recorded_and_goes_on(tmp_path: Path, sqgen: Run) -> None:
    text = build(SMALL, "deploy")
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    make_lmdb(tmp_path / "lmdb", [raw(number, 3, 32, 32) for number in range(5)])
    command = (
        *("prune", "w.caffemodel", "--net", "net.prototxt", "--macs", "0.6", "--data", "lmdb"),
        *("--by", "random", "--trials", "4", "--no-proof", "--json"),
    )
    done = sqgen(*command, "--out", "one")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert 0.9 * 0.6 <= result["macs"]["after"] / result["macs"]["before"] <= 0.6
    journal = (tmp_path / "one" / "trials.jsonl").read_text().splitlines()
    assert len(journal) == 5
    best = min(json.loads(line)["score"] for line in journal[1:])
    assert result["agreements"]["reconstructed"]["divergence"] == pytest.approx(best, rel=1e-6)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "trials.jsonl").write_text("\n".join(journal[:3]) + "\n")
    again = sqgen(*command, "--out", "two", "--resume")
    assert again.returncode == 0, again.stderr
    weights = [(tmp_path / name / "pruned.caffemodel").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    for more, message in (
        (("--out", "two"), "exists"),
        (("--out", "two", "--force"), "trials.jsonl: exists already; --resume goes on with it"),
        (("--out", "two", "--resume", "--force", "--seed", "1"), "a search with seed 0, not 1"),
        (("--out", "two", "--resume", "--force", "--round", "2"), "a search with round 1, not 2"),
    ):
        done = sqgen(*command, *more)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--macs", "0.5", "--by", "random"), "--by random: give a budget"),
        (
            ("--ratio-for", "conv1=0.5", "--by", "greedy", "--data", "x"),
            "--by greedy: give a budget",
        ),
        (("--macs", "0.5", "--by", "best"), "'best' is not one of"),
        (("--macs", "0.5", "--resume"), "--resume: goes on with a search, --by random, greedy"),
        (("--macs", "0.5", "--trials", "9"), "greedy, evolution, knapsack, ddpg; see"),
        (("--ratio-for", "conv1=0.5", "--trials", "9"), "--trials: goes with a search, --by ran"),
        (("--ratio-for", "conv1=0.5", "--by", "uniform"), "--by uniform: give a budget (--macs,"),
        (("--lossless", "--by", "uniform"), "--by uniform: give a budget (--macs,"),
        (("--macs", "0.5", "--trials", "0"), "--trials 0: give 1 to 10,000,000"),
        (("--macs", "0.5", "--trials", f"{1 << 64}"), "give 1 to 10,000,000"),
        (("--macs", "0.5", "--seed", f"{1 << 64}"), "is not in the range 0<=x<=4294967295"),
        (("--macs", "0.5", "--score", "top-1"), "--score: goes with a search, --by random, greedy"),
        (
            ("--macs", "0.5", "--by", "random", "--data", "x", "--score", "top-1"),
            "--score top-1: needs labels; --data x is no LMDB",
        ),
        (("--macs", "0.5", "--plot", "x.gif"), "--plot x.gif: end it in .png, .svg, .pdf or .html"),
        (("--macs", "0.5", "--out", ""), "--out '': give a folder; . is this one"),
        (("--macs", "0.5", "--seed", "-1"), "invalid value for '--seed': -1 is not in the range"),
        (("--macs", "0.5", "--at-least", "conv1=inf"), "write PATTERN=X, as conv1=8"),
        (("--lossless", "--data", "x"), "--data: --lossless leaves nothing to reconstruct"),
    ],
)
def test_a_mistaken_search_is_one_line(
    tmp_path: Path, sqgen: Run, options: tuple[str, ...], message: str
) -> None:
    done = sqgen("prune", "w.caffemodel", "--net", "net.prototxt", "--out", "small", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
