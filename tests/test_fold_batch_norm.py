"""Folding BatchNorm and Scale: the net computes the same, and no BatchNorm lacks a Scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen import Design, NetError, build, parse_net, preset
from sqgen.engine.equivalence import Proof, load_engine, prove_rewritten
from sqgen.exchange.fold_batch_norm import Folded, fold_batch_norm
from sqgen.formats.schema import NetParameter
from sqgen.nets.definition import NetDefinition
from sqgen.nets.deploy_lint import deploy_findings
from sqgen.nets.graph import build_graph
from sqgen.nets.shapes import require_shapes
from sqgen.weights.net_arrays import net_arrays

from .small_nets import conv, layer, net_input, random_model


def folded(text: str, model: NetParameter | None = None) -> tuple[Folded, Proof]:
    """The result, proven to compute the same."""
    net = parse_net(text, "n")
    shapes = require_shapes(net, "TEST")
    arrays = net_arrays(shapes, [("w", model or random_model(text))])
    result = fold_batch_norm(net, arrays)
    proof = prove_rewritten(load_engine(), net, arrays, result.net, result.arrays)
    return result, proof


def layers(net: NetDefinition) -> list[tuple[str, str]]:
    return [(layer.type, layer.name) for layer in net.param.layer]


def norm(name: str, bottom: str, top: str | None = None, more: str = "") -> str:
    return layer("BatchNorm", name, bottom, top, more)


def scale(name: str, bottom: str, top: str | None = None, more: str = "bias_term: true") -> str:
    return layer("Scale", name, bottom, top, f"scale_param {{ {more} }}")


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (norm("b", "c"), ["b"]),
        (norm("b", "c", "c"), ["b"]),
        (norm("b", "c", "c") + scale("s", "c", "c"), ["b", "s"]),
        (norm("b", "c") + scale("s", "b", more="bias_term: false"), ["b", "s"]),
        (scale("s", "c", "c"), ["s"]),
        (scale("s", "c") + norm("b", "s"), ["s", "b"]),
        (norm("b", "c", "c") + norm("b2", "c", "c"), ["b", "b2"]),
        (norm("b", "c", more="batch_norm_param { eps: 0.5 use_global_stats: true }"), ["b"]),
    ],
)
@pytest.mark.parametrize("fields", ["", "bias_term: false", "group: 3 bias_term: false"])
def test_layers_behind_a_convolution_go(text: str, gone: list[str], fields: str) -> None:
    after = layer("ReLU", "relu", build_graph(parse_net(text).param.layer).output_names()[0], "c2")
    result, proof = folded(net_input() + conv("c", "data", 6, 3, fields) + text + after)
    assert result.folded == gone
    assert layers(result.net) == [("Input", "in"), ("Convolution", "c"), ("ReLU", "relu")]
    assert proof.blobs == 2
    assert proof.largest < 1e-12
    assert proof.blind == []
    assert [len(blobs) for blobs in result.arrays.values()] == [0, 2, 0]


SHARED = "param { name: 'w' }"
BY_OTHERS = {
    "a sum": conv("c", "data", 3) + layer("Eltwise", "c2", "c data"),
    "a pooling": layer("Pooling", "c2", "data", rest="pooling_param { kernel_size: 2 }"),
    "the input": layer("Split", "c2", "data"),
    "a blob that another reads": conv("c2", "data", 3) + layer("TanH", "t", "c2"),
    "a ReLU": conv("c2", "data", 3) + layer("ReLU", "r", "c2", "c2"),
    "shared weights": conv("c", "data", 3, more="").replace("convolution_param", f"{SHARED} $")
    + conv("c2", "c", 3).replace("convolution_param", f"{SHARED} $"),
    "several tops": 'layer { name: "c" type: "Convolution" bottom: "data" bottom: "data" top: "c2"'
    ' top: "c3" convolution_param { num_output: 3 kernel_size: 1 } }',
}


@pytest.mark.parametrize("before", BY_OTHERS)
def test_where_nothing_can_be_folded_a_scale_follows(before: str) -> None:
    text = net_input() + BY_OTHERS[before].replace("$", "convolution_param") + norm("b", "c2")
    result, proof = folded(text + layer("ReLU", "r2", "b") + layer("TanH", "t2", "b"))
    assert (result.folded, result.scaled) == ([], ["b"])
    kinds = [each.type for each in result.net.param.layer]
    assert kinds[kinds.index("BatchNorm") + 1] == "Scale"
    assert [array.tolist() for array in result.arrays["b_scale"]] == [[1] * 3, [0] * 3]
    assert proof.largest < 1e-12
    assert "deploy-batch-norm" not in {rule for rule, *_ in deploy_findings(result.net)}


@pytest.mark.parametrize(
    "text",
    [
        scale("s", "c data", more="axis: 0"),  # the factors are another blob's
        scale("s", "c", more="axis: 2"),
        scale("s", "c", more="num_axes: -1"),
        scale("s", "c", more="num_axes: 0"),
    ],
)
def test_other_scales_stay(text: str) -> None:
    result, _ = folded(net_input() + conv("c", "data", 3) + text)
    assert (result.folded, result.scaled) == ([], [])


def test_a_scale_of_a_taken_name_gets_another() -> None:
    text = net_input() + layer("TanH", "b_scale", "data") + norm("b", "b_scale")
    assert folded(text)[0].net.param.layer[-1].name == "b_scale_"


def test_statistics_of_nothing_are_zeros() -> None:
    """A third blob of 0 makes mean and variance 0 (batch_norm_layer.cpp)."""
    text = net_input() + conv("c", "data", 3) + norm("b", "c")
    model = random_model(text)
    model.layer[-1].blobs[2].data[:] = [0]
    result, _ = folded(text, model)
    original = np.asarray(model.layer[1].blobs[0].data)
    assert np.allclose(result.arrays["c"][0].reshape(-1), original / np.sqrt(1e-5))


@pytest.mark.parametrize(("weight", "is_moved"), [(0.5, True), (0, False)])
def test_eps_moves_into_the_variance(weight: float, is_moved: bool) -> None:
    text = net_input() + layer("TanH", "t", "data")
    text += norm("b", "t", more="batch_norm_param { eps: 0.5 }")
    model = random_model(text)
    model.layer[-1].blobs[2].data[:] = [weight]
    result, proof = folded(text, model)
    assert result.net.param.layer[2].batch_norm_param.HasField("eps") is not is_moved
    assert proof.largest < 1e-12


def test_what_cannot_be_folded_exactly_is_refused() -> None:
    text = (
        net_input() + "\n" + norm("b", "data", more="batch_norm_param { use_global_stats: false }")
    )
    with pytest.raises(NetError, match="n:3: layer 'b': use_global_stats: false in TEST takes"):
        folded(text)
    text = net_input() + conv("c", "data", 3) + norm("b", "c")
    model = random_model(text)
    model.layer[-1].blobs[1].data[:] = [-1, 1, 1]
    with pytest.raises(NetError, match="n:2: layer 'c': its output for a random input is not fin"):
        folded(text, model)


def test_the_proof_finds_a_wrong_factor() -> None:
    text = net_input() + conv("c", "data", 3) + norm("b", "c") + layer("ReLU", "r", "b")
    net = parse_net(text, "n")
    arrays = net_arrays(require_shapes(net, "TEST"), [("w", random_model(text))])
    result = fold_batch_norm(net, arrays)
    result.arrays["c"][0][1] *= 1 + 1e-6
    with pytest.raises(NetError, match="n:2: layer 'c': the nets differ here: on a random input"):
        prove_rewritten(load_engine(), net, arrays, result.net, result.arrays)


@pytest.mark.parametrize(
    ("text", "gone", "scaled"),
    [
        (build(Design(batch_norm=True, size=32, classes=10), "deploy"), 52, 0),
        (build(preset("generator-small-bn").with_options(size=67, classes=10), "deploy"), 26, 8),
    ],
)
def test_nets_of_the_family(text: str, gone: int, scaled: int) -> None:
    result, proof = folded(text)
    assert (len(result.folded), len(result.scaled)) == (gone, scaled)
    assert proof.largest < 1e-12
    kept = {each.name for each in result.net.param.layer}
    assert kept >= {each.name for each in parse_net(text).param.layer} - set(result.folded)


@settings(max_examples=30)
@given(data=st.data())
def test_any_order_of_layers_computes_the_same(data: st.DataObject) -> None:
    """Chains and branches of layers, in place or not."""
    text, blobs = net_input(3, 5, 4), ["data"]
    for index in range(data.draw(st.integers(1, 8))):
        name = f"l{index}"
        bottom = data.draw(st.sampled_from(blobs[-2:]))
        readers = parse_net(text).param.layer
        in_place = bottom != "data" and not any(bottom in each.bottom for each in readers)
        top = bottom if in_place and data.draw(st.booleans()) else name
        kind = data.draw(st.sampled_from(["conv", "norm", "norm", "scale", "relu", "sum"]))
        if kind == "conv":
            text += conv(name, bottom, 3, 3, data.draw(st.sampled_from(["", "bias_term: false"])))
            top = name
        elif kind == "sum":
            text += layer("Eltwise", name, f"{bottom} {blobs[0]}")
            top = name
        elif kind == "norm":
            text += norm(name, bottom, top)
        elif kind == "scale":
            bias = data.draw(st.sampled_from(["true", "false"]))
            text += scale(name, bottom, top, f"bias_term: {bias}")
        else:
            text += layer("ReLU", name, bottom, top)
        blobs += [top] * (top not in blobs)
    result, _ = folded(text)
    assert "deploy-batch-norm" not in {rule for rule, *_ in deploy_findings(result.net)}
    assert fold_batch_norm(result.net, result.arrays).folded == []
