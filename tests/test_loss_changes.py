"""What changes of weights and of what layers read do to the loss, and losses to expect of them."""

from __future__ import annotations

import numpy as np
import pytest

from sqgen import parse_net
from sqgen.compress.bits_file import QuantizerSettings
from sqgen.formats.schema import NetParameter
from sqgen.quantization.costs import FileBytes
from sqgen.quantization.layer_table import ENTROPY, UNIFORM, LayerTable
from sqgen.quantization.problem import BitsProblem, Budget
from sqgen.search.problem import replace
from sqgen.weights.make_caffemodel import make_caffemodel

from .small_nets import conv, layer, net_input, random_model

torch = pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.engine.agreement import compare  # noqa: E402
from sqgen.engine.calibration import activation_quantizer, activation_range  # noqa: E402
from sqgen.engine.executor import Executor  # noqa: E402
from sqgen.engine.image_run import ImageRun  # noqa: E402
from sqgen.engine.input_images import InputImages  # noqa: E402
from sqgen.engine.label_gradients import sample_labels  # noqa: E402
from sqgen.engine.loss_changes import loss_changes  # noqa: E402
from sqgen.engine.quantizers import Quantizer  # noqa: E402
from sqgen.quantization.expected_losses import expected_losses  # noqa: E402

# Two layers read the same blob, one of them behind a ReLU in place; what a third makes is not used.
FORKED = (
    net_input()
    + conv("a", "data", 4)
    + layer("ReLU", "relu_a", "a", "a")
    + conv("b", "a", 4)
    + conv("c", "a", 4)
    + layer("Eltwise", "sum", "b c")
    + layer("InnerProduct", "scores", "sum", rest="inner_product_param { num_output: 3 }")
    + layer("Softmax", "prob", "scores")
)
FEATURES = [()] * 4
LAYERS = ("a", "b", "c", "scores")
SMALL = 1e-4


def images(count: int = 3) -> InputImages:
    random = np.random.default_rng(1)
    return InputImages([random.normal(0, 0.3, (count, 3, 9, 7)).astype(np.float32)], None)


def weights_of(model: NetParameter) -> dict[str, np.ndarray]:
    executor = Executor(parse_net(FORKED), "TEST")
    executor.load(model, "w")
    return {name: executor.blobs(name)[0] for name in LAYERS}


def losses(model: NetParameter, name: str, change: np.ndarray) -> np.ndarray:
    """The cross entropy of each image to labels drawn with seed 5, with a layer changed."""
    executor = Executor(parse_net(FORKED), "TEST", precision="fp64")
    executor.load(model, "w")
    (batch,), random = images().batches, np.random.default_rng(5)
    shares = executor.forward({"data": batch})["prob"]
    labels = [int(sample_labels(row[None], random)[0]) for row in shares]
    blobs = executor.blobs(name)
    executor.set_blobs(name, [blobs[0] + change, *blobs[1:]])
    found = executor.forward({"data": batch})["prob"]
    changed: np.ndarray = -np.log(found[np.arange(len(found)), labels])
    return changed


def test_a_change_of_weights_does_what_finite_differences_say() -> None:
    model, random = random_model(FORKED), np.random.default_rng(0)
    changes = {
        name: random.normal(0, 1, (2, *weights.shape)).astype(np.float32)
        for name, weights in weights_of(model).items()
    }
    found = loss_changes(parse_net(FORKED), model, changes, {}, images().batches, seed=5)
    for name, each in changes.items():
        assert found.weights[name].shape == (3, 2)
        for index, change in enumerate(each.astype(np.float64)):
            up, down = (losses(model, name, sign * SMALL * change) for sign in (1, -1))
            slope = (up - down) / (2 * SMALL)
            np.testing.assert_allclose(found.weights[name][:, index], slope, rtol=2e-3, atol=1e-5)


def test_a_change_of_what_one_layer_reads_is_of_that_layer_alone() -> None:
    """A factor on what a layer reads is one on its weights, and not on its neighbour's."""
    model, weights = random_model(FORKED), weights_of(random_model(FORKED))
    found = loss_changes(
        parse_net(FORKED),
        model,
        {name: each[None] for name, each in weights.items()},
        {name: [lambda x: 2 * x, lambda x: x] for name in LAYERS},
        images().batches,
    )
    for name in LAYERS:
        assert np.abs(found.weights[name]).max() > 1e-4
        np.testing.assert_allclose(found.bottoms[name][:, 0], found.weights[name][:, 0], rtol=1e-4)
        assert not found.bottoms[name][:, 1].any()


@pytest.mark.parametrize("quantizer", [UNIFORM, ENTROPY])
def test_expected_losses_are_near_those_of_trials(quantizer: str) -> None:
    """Of each layer alone, for weights and for what it reads."""
    net, model, shown = parse_net(FORKED), random_model(FORKED), images(300)
    table = LayerTable(net, model, "w", quantizer=quantizer)
    problem = BitsProblem(table, [Budget(FileBytes(table), 0.6)], FEATURES, None)
    run = ImageRun(net, shown)
    histograms = run.histograms(model, LAYERS)

    def quantizer_of(layer: str, bits: int) -> Quantizer:
        settings = QuantizerSettings()
        return activation_quantizer(
            activation_range(histograms[layer], bits, settings), bits, settings
        )

    expected = expected_losses(net, model, shown, table, problem, quantizer_of)
    whole = run.probabilities(model)
    ratios = []
    for place, (levels, losses) in enumerate(zip(*expected, strict=True)):
        assert levels.tolist() == [*problem.levels_alone(place), problem.most[place]]
        assert losses[-1] == 0
        layer, of_weights = problem.decision(place)[1:]
        for level, loss in zip(problem.levels_alone(place), losses[:-1], strict=True):
            arrays = dict(table.exact)
            if of_weights:
                choice = problem.bits(replace(problem.most, place, level))
                arrays[layer] = table.arrays(choice.levels)[layer]
            bottoms = {} if of_weights else {layer: quantizer_of(layer, level)}
            found = run.probabilities(make_caffemodel(net, arrays), bottoms)
            tried = compare(whole, found, None).divergence
            if 1e-5 < tried < 0.05 and loss < 0.02:  # more is no small change
                ratios.append(loss / tried)
    assert len(ratios) > 20
    assert np.mean(ratios) == pytest.approx(1, abs=0.15)
    assert 0.4 < min(ratios) < max(ratios) < 2.5
