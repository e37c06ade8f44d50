"""Gradients of the loss by channels, and the criteria that rank channels by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sqgen import build, parse_net
from sqgen.errors import DesignError
from sqgen.pruning.criteria import score_by_gradients
from sqgen.pruning.decisions import PatternValue, RatioRules
from sqgen.pruning.prune import Pruner

from .conftest import Run
from .databases import make_lmdb, raw
from .small_nets import conv, layer, net_input, random_model, save
from .test_prune import SMALL

torch = pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.engine.channel_gradients import gate_gradients  # noqa: E402
from sqgen.engine.executor import Executor  # noqa: E402
from sqgen.engine.input_images import InputImages  # noqa: E402
from sqgen.engine.label_gradients import sample_labels  # noqa: E402

# Two convolutions whose channels a sum ties; ReLUs in place; scores of 3 classes.
TIED = (
    net_input()
    + conv("a", "data", 4)
    + layer("ReLU", "relu_a", "a", "a")
    + conv("b", "a", 4, 3)
    + layer("Eltwise", "sum", "a b")
    + layer("ReLU", "relu_sum", "sum", "sum")
    + layer("InnerProduct", "scores", "sum", rest="inner_product_param { num_output: 3 }")
)
SOFTMAX = layer("Softmax", "prob", "scores")


def images(count: int = 20) -> InputImages:
    random = np.random.default_rng(1)
    return InputImages([random.normal(0, 0.3, (count, 3, 9, 7)).astype(np.float32)], None)


@pytest.mark.parametrize("text", [TIED, TIED + SOFTMAX], ids=["scores", "probabilities"])
def test_gradients_are_those_of_finite_differences(text: str) -> None:
    """A factor on a channel is one on the filter that makes it."""
    net, shown = parse_net(text), images().batches
    gates = gate_gradients(net, random_model(text), ["a", "b"], shown, seed=5, precision="fp64")
    plain = Executor(parse_net(TIED + SOFTMAX), "TEST", precision="fp64")
    plain.load(random_model(text), "w")
    shares = plain.forward({"data": shown[0]})["prob"]
    random = np.random.default_rng(5)  # labels are drawn of 16 images at a time
    labels = np.concatenate([sample_labels(part, random) for part in (shares[:16], shares[16:])])

    def loss(name: str, index: int, factor: float) -> np.ndarray:
        before = plain.blobs(name)
        blobs = [blob.copy() for blob in before]
        for blob in blobs:
            blob[index] *= factor
        plain.set_blobs(name, blobs)
        found = plain.forward({"data": shown[0]})["prob"]
        plain.set_blobs(name, before)
        losses: np.ndarray = -np.log(found[np.arange(len(found)), labels])
        return losses

    for name in ("a", "b"):
        assert gates[name].shape == (20, 4)
        for index in range(4):
            change = loss(name, index, 1 + 1e-5) - loss(name, index, 1 - 1e-5)
            np.testing.assert_allclose(gates[name][:, index], change / 2e-5, atol=1e-6)


def test_labels_are_drawn_from_the_probabilities() -> None:
    shares = np.tile([0.0, 0.7, 0.0, 0.3], (4000, 1))
    labels = sample_labels(shares, np.random.default_rng(0))
    counts = np.bincount(labels, minlength=4) / 4000
    np.testing.assert_allclose(counts, [0, 0.7, 0, 0.3], atol=0.03)
    assert counts[0] == counts[2] == 0


def test_channels_that_go_together_have_one_gradient() -> None:
    pruner = Pruner(parse_net(TIED), [("w", random_model(TIED))])
    gates = {"a": np.array([[1.0, 2, 3, 4], [1, 2, 3, 4]]), "b": np.array([[-1.0, 2, 0, 0]] * 2)}
    gates["b"][1] = 1
    found = {name: score_by_gradients(name, pruner.groups, gates) for name in ("taylor", "fisher")}
    by_channel = {
        group.channels[0][1]: root
        for root, group in pruner.groups.groups.items()
        if group.layers == ("a", "b")
    }
    taylor = [found["taylor"][by_channel[index]] for index in range(4)]
    fisher = [found["fisher"][by_channel[index]] for index in range(4)]
    assert taylor == [1.0, 3.5, 3.5, 4.5]  # |1 - 1| and |1 + 1|, ...
    assert fisher == [1.0, (16 + 9) / 4, (9 + 16) / 4, (16 + 25) / 4]


@pytest.mark.parametrize("criterion", ["taylor", "fisher"])
def test_the_channel_that_the_scores_depend_on_stays(criterion: str) -> None:
    """Filter 2 alone fires; the weights of the others are larger."""
    text = net_input() + conv("a", "data", 4) + layer("ReLU", "relu", "a", "a")
    text += layer("InnerProduct", "scores", "a", rest="inner_product_param { num_output: 3 }")
    pruner = Pruner(parse_net(text), [("w", random_model(text))])
    weights, bias = pruner.arrays["a"]
    weights *= 5
    bias[:] = -1000
    weights[2] /= 50
    bias[2] = 1
    rules = RatioRules((PatternValue("a", 0.25),))
    for name, kept in ((criterion, 2), ("l1-filters", None)):
        removed = pruner.by_ratios(rules, name, 0, images()).removed
        left = [
            group.channels[0][1]
            for root, group in pruner.groups.groups.items()
            if group.layers == ("a",) and root not in removed
        ]
        assert (left == [2]) == (kept is not None)


def test_gradients_need_images() -> None:
    pruner = Pruner(parse_net(TIED), [("w", random_model(TIED))])
    with pytest.raises(DesignError, match="--criterion taylor: needs images for its gradients"):
        pruner.scores("taylor")


def test_the_command_ranks_by_gradients(tmp_path: Path, sqgen: Run) -> None:
    design = SMALL.with_options(crop=False)
    (tmp_path / "net.prototxt").write_text(build(design, "deploy"))
    save(random_model(build(design, "deploy")), tmp_path / "w.caffemodel")
    make_lmdb(tmp_path / "lmdb", [raw(number, 3, 32, 32) for number in range(5)])
    command = ("prune", "w.caffemodel", "--net", "net.prototxt", "--no-proof")
    made = []
    for criterion in ("l1-inputs", "taylor", "fisher"):
        options = ("--macs", "0.6", "--data", "lmdb", "--by", "uniform", "--out", criterion)
        done = sqgen(*command, *options, "--criterion", criterion)
        assert done.returncode == 0, done.stderr
        made.append((tmp_path / criterion / "pruned.caffemodel").read_bytes())
    assert made[0] not in made[1:]
    done = sqgen(*command, "--macs", "0.6", "--criterion", "taylor", "--out", "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "sqgen: --criterion taylor: needs images for its gradients: give --data\n"
    )
