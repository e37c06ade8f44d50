"""`sqgen weights map`: mapped weights compute the same; unprovable mappings are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen import Design, NetError, SqgenError, build, parse_net, preset
from sqgen.engine.equivalence import prove
from sqgen.engine.executor import Executor
from sqgen.formats import prototxt
from sqgen.formats.caffemodel import blob_array, fill_blob, read_caffemodel
from sqgen.formats.schema import NetParameter
from sqgen.generator.design_fields import CONCAT_ORDERS, NAMINGS
from sqgen.generator.naming import layer_role
from sqgen.generator.presets import PRESETS
from sqgen.nets.inference_graph import inference_graph, inference_graph_of_model
from sqgen.weights.mapping import WeightMapping, make_mapped_caffemodel, map_weights

from .conftest import Run, published_weights
from .small_nets import (
    conv,
    layer,
    net_input,
    outcome,
    random_model,
    save,
    twins,
    wild_twins,
)

SEEDS = st.integers(0, 99)
SMALL = Design(base_e=8, incr_e=4, fire_modules=4, size=32, classes=5, stem_filters=8)
OTHER = SMALL.with_options(naming="generator", concat_order="3x3,1x1")


def mapped(
    source: str, target: str, partial: bool = False, seed: int = 0
) -> tuple[WeightMapping, Any]:
    """Random weights of `source` for `target`; and the source's model."""
    model = random_model(source, seed)
    flows = inference_graph_of_model(model, "source"), inference_graph(parse_net(target, "target"))
    return map_weights(*flows, model, layer_role, partial), model


def arrays(model: Any) -> dict[str, list[Any]]:
    """The blobs of a model by layer."""
    return {one.name: [blob_array(b) for b in one.blobs] for one in model.layer if one.blobs}


def assert_same_function(source: str, target: str, found: WeightMapping, model: Any) -> None:
    """Both nets, each with its file, give the same; run apart from the proof."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        save(model, folder / "in")
        save(make_mapped_caffemodel(parse_net(target), found), folder / "out")
        outcomes = [outcome(source, folder / "in"), outcome(target, folder / "out")]
    (one,), (other,) = (each.values() for each in outcomes)
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@settings(max_examples=8)
@given(twins(), SEEDS)
def test_any_design_maps_onto_its_twin_and_back(pair: tuple[str, str], seed: int) -> None:
    """Other names, the other order of the Concat, with bypasses and BatchNorm."""
    found, model = mapped(*pair, seed=seed)
    assert not found.unused
    assert_same_function(*pair, found, model)
    there = make_mapped_caffemodel(parse_net(pair[1]), found)
    back = map_weights(
        inference_graph_of_model(there, "b"), inference_graph(parse_net(pair[0])), there, layer_role
    )
    np.testing.assert_equal(back.arrays, arrays(model))


@settings(max_examples=30)
@given(wild_twins(), SEEDS)
def test_what_is_not_refused_computes_the_same(pair: tuple[str, str], seed: int) -> None:
    """Groups, sums of Concats, LRN over channels: nets that often are of different functions."""
    try:
        found, model = mapped(*pair, seed=seed)
    except NetError:
        return
    assert_same_function(*pair, found, model)


SAME_FUNCTION = [
    ["v1.0", "dsd", "deep-compression"],
    ["v1.1"],
    ["residual"],
    ["complex"],
    ["generator-small"],
    ["generator-small-bn"],
    ["generator-large"],
    ["generator-large-bn"],
]


def test_every_preset_is_among_them() -> None:
    assert sorted(name for group in SAME_FUNCTION for name in group) == sorted(PRESETS)


@pytest.mark.parametrize("group", SAME_FUNCTION, ids="/".join)
def test_published_names_map_onto_each_other(group: list[str]) -> None:
    """In dialects, orders of channels, and files; to and fro, bit for bit."""
    sizes = {"size": 67, "classes": 10, "classifier": "conv10", "base_e": 16, "incr_e": 16}
    first = preset(group[0]).with_options(**sizes)
    source = build(first, "deploy")
    model = random_model(source)
    own = inference_graph(parse_net(source))
    dialects = list(zip(NAMINGS, CONCAT_ORDERS * 2, strict=True))
    if group[0] != "v1.0":  # all with that, else two of four in turn
        dialects = dialects[SAME_FUNCTION.index(group) % 2 :: 2]
    for name in group:
        for naming, order in dialects if name == group[0] else dialects[:1]:
            more = {"naming": naming, "concat_order": order}
            target = parse_net(build(preset(name).with_options(**{**sizes, **more}), "trainval"))
            flow = inference_graph_of_model(model, "a")
            found = map_weights(flow, inference_graph(target), model, layer_role)
            assert {row.how for row in found.rows} <= {"name", "dialect"}
            there = make_mapped_caffemodel(target, found)
            again = map_weights(inference_graph_of_model(there, "b"), own, there, layer_role)
            np.testing.assert_equal(again.arrays, arrays(model))
    prove(Executor, flow, inference_graph(target), found, model)


def test_a_convolution_around_is_put_in_the_order_of_the_concat() -> None:
    """What a complex bypass adds has to be made in the order of what it is added to."""
    source = build(SMALL.with_options(bypass="2:conv,3"), "deploy")
    target = build(OTHER.with_options(bypass="2:conv,3"), "deploy")
    found, model = mapped(source, target)
    rows = {row.target: row for row in found.rows}
    assert rows["2/bypassConv"][:3] == ("fire2/bypass1x1", "2/bypassConv", "dialect")
    assert (rows["2/bypassConv"].inputs, rows["2/bypassConv"].outputs) == (0, 8)
    assert (rows["3/squeeze1x1"].inputs, rows["3/squeeze1x1"].outputs) == (8, 0)
    order = [4, 5, 6, 7, 0, 1, 2, 3]
    old = arrays(model)
    for index in (0, 1):
        bypass = old["fire2/bypass1x1"][index]
        np.testing.assert_equal(found.arrays["2/bypassConv"][index], bypass[order])
    np.testing.assert_equal(found.arrays["3/squeeze1x1"][0], old["fire3/squeeze1x1"][0][:, order])
    assert_same_function(source, target, found, model)


JOINED = conv("a", "data", 2) + conv("b", "data", 4, 3)
ONE = net_input() + JOINED + layer("Concat", "j", "a b")
TWO = net_input() + JOINED + layer("Concat", "j", "b a")

FOLLOWED = {
    "InnerProduct": layer("InnerProduct", "y", "j", rest="inner_product_param { num_output: 3 }"),
    "transposed": layer(
        "InnerProduct", "y", "j", rest="inner_product_param { num_output: 3 transpose: true }"
    ),
    "Flatten": layer("Flatten", "f", "j")
    + layer("InnerProduct", "y", "f", rest="inner_product_param { num_output: 3 }"),
    "PReLU": layer("PReLU", "p", "j") + conv("y", "p", 3),
    "shared PReLU": layer("PReLU", "p", "j", rest="prelu_param { channel_shared: true }")
    + conv("y", "p", 3),
    "BatchNorm": layer("BatchNorm", "n", "j") + conv("y", "n", 3),
    "Scale": layer("Scale", "s", "j", rest="scale_param { bias_term: true }") + conv("y", "s", 3),
    "Scale of planes": layer("Scale", "s", "j", rest="scale_param { num_axes: 3 }")
    + conv("y", "s", 3),
    "Scale of rows": layer("Scale", "s", "j", rest="scale_param { axis: 2 }") + conv("y", "s", 3),
    "Bias": layer("Bias", "s", "j") + conv("y", "s", 3),
    "LRN": layer("LRN", "l", "j", rest="lrn_param { norm_region: WITHIN_CHANNEL }")
    + conv("y", "l", 3),
    "Pooling": layer("Pooling", "p", "j", rest="pooling_param { kernel_size: 2 pool: AVE }")
    + conv("y", "p", 3),
    "in place": layer("ReLU", "r", "j", "j") + layer("Power", "w", "j", "j") + conv("y", "j", 3),
    "Softmax": layer("Softmax", "p", "j") + conv("y", "p", 3),
    "Concat again": conv("c", "data", 2) + layer("Concat", "k", "j c") + conv("y", "k", 3),
    "Swish": layer("Swish", "w", "j")
    + layer("Clip", "c", "w", rest="clip_param { min: -1 max: 1 }")
    + conv("y", "c", 3),
    "sum": conv("c", "data", 6) + layer("Eltwise", "e", "c j") + conv("y", "e", 3),
    "sum that weighs": conv("c", "data", 6)
    + layer("Eltwise", "e", "c j", rest="eltwise_param { coeff: 1 coeff: -2 }")
    + conv("y", "e", 3),
}


@pytest.mark.parametrize("kind", FOLLOWED)
def test_orders_are_followed_through(kind: str) -> None:
    pair = (ONE + FOLLOWED[kind], TWO + FOLLOWED[kind])
    found, model = mapped(*pair)
    assert any(row.inputs for row in found.rows)
    assert_same_function(*pair, found, model)


DECONVOLUTION = layer(
    "Deconvolution",
    "y",
    "data",
    rest="convolution_param { num_output: 3 kernel_size: 4 stride: 2 }",
)


def test_layers_without_bottoms_or_known_channels_map_by_name() -> None:
    text = (
        net_input()
        + 'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 3 } } }\n'
        + layer("Scale", "s", "data p", rest="scale_param { axis: 1 }")
        + DECONVOLUTION.replace("data", "s")
        + layer("Reduction", "r", "y", rest="reduction_param { axis: 1 coeff: 0.01 }")
    )
    found, model = mapped(text, text)
    assert {row.target for row in found.rows} == {"p", "y"}
    assert_same_function(text, text, found, model)


def renamed(text: str, names: str) -> str:
    """A net whose layers (not its blobs) have an x before their names."""
    for name in names:
        text = text.replace(f'name: "{name}"', f'name: "x{name}"')
    return text


REFUSED = {
    "another shape": (
        net_input() + conv("y", "data", 3),
        net_input() + conv("y", "data", 4),
        "layer 'y': takes blobs of 4x3x1x1 and 4, but 'y' has 3x3x1x1 and 3",
    ),
    "a missing layer": (
        net_input() + conv("a", "data", 3),
        net_input() + conv("a", "data", 3) + conv("b", "a", 5),
        "layer 'b': the file has no weights for it, by name, dialect or what it does; --partial",
    ),
    "two that would do": (
        net_input() + JOINED + conv("c", "data", 2) + layer("Concat", "j", "a b c"),
        net_input() + JOINED.replace('name: "a"', 'name: "x"') + layer("Concat", "j", "a b"),
        "layer 'x': its weights are ambiguous: 'a' or 'c' may be those of 'x'",
    ),
    "another stride": (
        net_input() + conv("y", "data", 3, 3),
        net_input() + conv("y", "data", 3, 3, "stride: 2"),
        "layer 'y': the nets differ here: stride is 2, but 1 in 'y' of source",
    ),
    "another stride of a Deconvolution": (
        net_input() + DECONVOLUTION,
        net_input() + DECONVOLUTION.replace("stride: 2", "stride: 3"),
        "layer 'y': the nets differ here: stride is 3, but 2 in 'y' of source",
    ),
    "a Deconvolution of an order": (
        ONE + DECONVOLUTION.replace("data", "j"),
        TWO + DECONVOLUTION.replace("data", "j"),
        "'y': its channels have to keep their order, and can't",
    ),
    "a layer between": (
        net_input() + conv("a", "data", 3) + conv("y", "a", 3),
        net_input() + conv("a", "data", 3) + layer("ReLU", "r", "a") + conv("y", "r", 3),
        "layer 'r': the nets differ here: source has no such ReLU of 'a'",
    ),
    "a layer less": (
        net_input() + conv("a", "data", 3) + layer("ReLU", "r", "a") + conv("y", "r", 3),
        net_input() + conv("a", "data", 3) + conv("y", "a", 3),
        "layer 'y': the nets differ here: it is a Convolution of 'a', but 'y' of source reads 'r'",
    ),
    "another pooling": (
        ONE + FOLLOWED["Pooling"],
        ONE + FOLLOWED["Pooling"].replace("AVE", "MAX"),
        "layer 'p': the nets differ here: source has no such Pooling of 'j'",
    ),
    "an order that shows": (ONE, TWO, "'j': its channels have to keep their order, and can't"),
    "LRN over channels": (
        ONE + layer("LRN", "l", "j") + conv("y", "l", 3),
        TWO + layer("LRN", "l", "j") + conv("y", "l", 3),
        "'l': its channels have to keep their order, and can't",
    ),
    "groups": (
        ONE + conv("y", "j", 4, more="group: 2"),
        TWO + conv("y", "j", 4, more="group: 2"),
        "layer 'y': its 2 groups would read each other's channels",
    ),
    "groups below a sum": (
        ONE + conv("c", "data", 6) + conv("d", "c", 6, more="group: 2")
        + layer("Eltwise", "e", "j d") + conv("y", "e", 3),
        TWO + conv("c", "data", 6) + conv("d", "c", 6, more="group: 2")
        + layer("Eltwise", "e", "j d") + conv("y", "e", 3),
        "layer 'd': its 2 groups would read each other's channels",
    ),
    "a blob twice in a sum": (  # another order of 'c' would do, but is not looked for
        net_input() + conv("a", "data", 2) + layer("ReLU", "r", "a") + layer("Concat", "j", "a r")
        + conv("c", "data", 4) + layer("Eltwise", "e", "j c") + conv("y", "e", 3),
        net_input() + conv("a", "data", 2) + layer("ReLU", "r", "a") + layer("Concat", "j", "r a")
        + conv("c", "data", 4) + layer("Eltwise", "e", "j c") + conv("y", "e", 3),
        "layer 'e': it reads blobs whose channels are in different orders",
    ),
    "a layer that reads nothing": (
        net_input() + conv("y", "data", 3),
        layer("ReLU", "r", "") + conv("y", "r", 3),
        "target: layer 'r': a ReLU without a bottom",
    ),
    "a sum of others": (
        ONE + JOINED.replace('"a"', '"c"').replace('"b"', '"d"') + layer("Concat", "k", "c d")
        + layer("Eltwise", "e", "j k") + conv("y", "e", 3),
        ONE + JOINED.replace('"a"', '"c"').replace('"b"', '"d"') + layer("Concat", "k", "d c")
        + layer("Eltwise", "e", "j k") + conv("y", "e", 3),
        "'e' puts channels together that are not together in the source",
    ),
    "a sum with the input": (
        net_input(6) + JOINED + layer("Concat", "j", "a b")
        + layer("Eltwise", "e", "j data") + conv("y", "e", 3),
        net_input(6) + JOINED + layer("Concat", "j", "b a")
        + layer("Eltwise", "e", "j data") + conv("y", "e", 3),
        "'data': its channels have to keep their order, and can't",
    ),
    "a cut elsewhere": (
        ONE + layer("Slice", "s", "j", 's1" top: "s2', "slice_param { slice_point: 3 }")
        + conv("y", "s1", 3) + conv("z", "s2", 3),
        TWO + layer("Slice", "s", "j", 's1" top: "s2', "slice_param { slice_point: 3 }")
        + conv("y", "s1", 3) + conv("z", "s2", 3),
        "layer 's': it cuts where channels of both parts are in another order",
    ),
    "inputs": (
        net_input() + conv("y", "data", 3),
        net_input() + net_input().replace("data", "more") + conv("y", "data", 3)
        + conv("z", "more", 3),
        "target: its inputs are data, more, those of source data; they must be the same",
    ),
    "shared blobs": (
        net_input() + JOINED.replace("num_output: 4 kernel_size: 3 pad: 1", "num_output: 2"
        " kernel_size: 1"),
        net_input() + "".join(
            layer("Convolution", n, "data", rest='param { name: "w" } param { name: "v" }'
            " convolution_param { num_output: 2 kernel_size: 1 }") for n in "ab"
        ),
        "layer 'b' shares 'w' with one before it, but would get other weights",
    ),
    "two of a name": (
        net_input() + conv("y", "data", 3),
        net_input() + conv("y", "data", 3) + layer("ReLU", "y", "y", "z"),
        "target: two layers are called 'y'",
    ),
    "no layers": (
        net_input() + conv("y", "data", 3),
        layer("ReLU", "y", "y", "z", "include { phase: TRAIN }"),
        "target: has no layers in TEST",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_the_same_is_refused_by_name(case: str) -> None:
    source, target, message = REFUSED[case]
    with pytest.raises(NetError) as caught:  # noqa: PT012 - sharing is seen when it is written
        found, _ = mapped(source, target)
        make_mapped_caffemodel(parse_net(target), found)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_layers_without_a_known_name_go_by_what_they_do() -> None:
    text = ONE + conv("c", "j", 4) + conv("d", "c", 4) + layer("Concat", "k", "c d")
    text += conv("y", "k", 3)
    other = renamed(text, "abcdy").replace('bottom: "c" bottom: "d"', 'bottom: "d" bottom: "c"')
    found, model = mapped(text, other)
    assert [row[:3] for row in found.rows] == [(n, f"x{n}", "order") for n in "abcdy"]
    assert_same_function(text, other, found, model)


def test_twins_within_a_net_go_in_order() -> None:
    """Two convolutions of the same kind on the same blob: either would do, if both agree."""
    text = net_input() + conv("a", "data", 4) + conv("b", "data", 4) + layer("Concat", "j", "a b")
    text += conv("y", "j", 3)
    found, model = mapped(text, renamed(text, "ab"))
    assert [row[:3] for row in found.rows[:2]] == [("a", "xa", "order"), ("b", "xb", "order")]
    assert_same_function(text, renamed(text, "ab"), found, model)


def test_only_a_role_that_one_layer_has_pairs() -> None:
    assert layer_role("fire2/conv3x3_2") == layer_role("2/expand3x3") == ("expand3x3", "2")
    assert layer_role("conv10") == layer_role("conv_final") == ("classifier",)
    assert (
        layer_role("fire3/bypass1x1_bn")
        == layer_role("3/bypassConv_bn")
        == ("batch_norm", "bypass_conv", "3")
    )
    assert layer_role("fire3/sum_bn") == layer_role("3/EltBN") == ("sum_norm", "3")
    assert [layer_role(name) for name in ("conv1", "pool4", "")] == [None, None, None]
    text = net_input() + conv("conv7", "data", 3) + conv("conv8", "conv7", 4)
    target = net_input() + conv("z", "data", 3) + conv("conv_final", "z", 4)
    assert [row.how for row in mapped(text, target)[0].rows] == ["order", "order"]


def test_partial_leaves_out_what_comes_last() -> None:
    source = build(SMALL, "deploy")
    target = build(OTHER.with_options(classes=7), "trainval")
    with pytest.raises(NetError, match=r"'conv_final_7'.*left over there: 'conv6_5'; --partial"):
        mapped(source, target)
    found, model = mapped(source, target, partial=True)
    assert (found.missing, found.unused) == (["conv_final_7"], ["conv6_5"])
    written = make_mapped_caffemodel(parse_net(target), found)
    assert "conv_final_7" not in {one.name for one in written.layer}
    proof = prove(
        Executor,
        inference_graph_of_model(model, "a"),
        inference_graph(parse_net(target)),
        found,
        model,
    )
    assert proof.blobs == len(found.rows) == 13
    behind = net_input() + conv("new", "data", 3) + conv("y", "new", 3)
    with pytest.raises(NetError, match="layer 'y': comes after layers without weights, such as"):
        mapped(net_input() + conv("y", "data", 3), behind, partial=True)


def test_the_proof_names_the_first_layer_that_is_wrong() -> None:
    pair = (build(SMALL, "deploy"), build(OTHER, "deploy"))
    found, model = mapped(*pair)
    flows = inference_graph_of_model(model, "a"), inference_graph(parse_net(pair[1], "b"))
    proof = prove(Executor, *flows, found, model)
    assert proof.largest < 1e-12
    assert (proof.inputs, proof.blind) == ({"data": (1, 3, 32, 32)}, [])
    weights = found.arrays["3/squeeze1x1"][0]
    found.arrays["3/squeeze1x1"][0] = np.ascontiguousarray(weights[:, ::-1])
    with pytest.raises(NetError, match="b: layer '3/squeeze1x1': the nets differ here: on a"):
        prove(Executor, *flows, found, model)
    found.arrays["3/squeeze1x1"][0] = np.full_like(weights, np.nan)
    with pytest.raises(NetError, match=r"layer '3/squeeze1x1': .* is not finite"):
        prove(Executor, *flows, found, model)


def test_what_differs_only_in_writing_is_the_same() -> None:
    """Phases, in place or not, fixed or global pooling, Dropout, Split, ends."""
    designs = [SMALL.with_options(explicit_pool10=fixed) for fixed in (True, False)]
    for target in (build(designs[0], "trainval"), build(designs[1], "val")):
        assert not mapped(build(designs[1], "deploy"), target)[0].missing
    one = net_input() + conv("a", "data", 3) + layer("ReLU", "r", "a", "a") + conv("y", "a", 3)
    two = net_input() + conv("a", "data", 3) + layer("ReLU", "r", "a", "b")
    two += layer("Dropout", "d", "b", "b") + layer("Split", "s", "b", 'c" top: "c2')
    two += conv("y", "c", 3) + layer("Softmax", "p", "y") + layer("Silence", "q", "c2")
    two = two.replace(
        '"q" type: "Silence" bottom: "c2" top: "q"', '"q" type: "Silence" bottom: "c2"'
    )
    for pair in ((one, two), (two, one)):
        assert [row.how for row in mapped(*pair)[0].rows] == ["name", "name"]


def test_inputs_that_nothing_tells() -> None:
    data = 'layer { name: "d" type: "Data" top: "data" data_param { batch_size: 2 } }'
    text = data + conv("y", "data", 3)
    model = random_model(net_input() + conv("y", "data", 3), definitions=False)
    with pytest.raises(NetError, match=r"the size of input 'data' is unknown.*--image CxHxW"):
        map_weights(inference_graph(parse_net(text)), inference_graph(parse_net(text)), model)
    told = inference_graph(parse_net(text), (3, 9, 9))
    assert len(map_weights(told, told, model).rows) == 1


# The command


def write(folder: Path, source: Design = SMALL, target: Design = OTHER) -> Any:
    """in.caffemodel, from.prototxt and to.prototxt."""
    (folder / "from.prototxt").write_text(build(source, "deploy"))
    (folder / "to.prototxt").write_text(build(target, "trainval"))
    model = random_model(build(source, "deploy"))
    save(model, folder / "in.caffemodel")
    return model


MAP = ("weights", "map", "in.caffemodel", "out.caffemodel", "--to", "to.prototxt")


@pytest.mark.slow
def test_command(sqgen: Run, tmp_path: Path) -> None:
    write(tmp_path)
    done = sqgen(*MAP)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "from to how channels moved"
    assert "fire3/squeeze1x1 3/squeeze1x1 dialect 8 in" in lines
    assert "random 1x3x32x32 in float64: 15 blobs agree within" in lines[-1]
    written = read_caffemodel(tmp_path / "out.caffemodel")
    assert {"data", "2/concat", "accuracy_top1"} <= {one.name for one in written.layer}
    again = sqgen(*MAP)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "exists already; --force" in again.stderr
    shown = json.loads(sqgen(*MAP, "--force", "--json").stdout)
    assert shown["format"] == 1
    assert shown["layers"][4] == {
        "source": "fire3/squeeze1x1",
        "target": "3/squeeze1x1",
        "how": "dialect",
        "inputs": 8,
        "outputs": 0,
    }
    assert shown["proof"]["inputs"] == {"data": [1, 3, 32, 32]}
    assert (shown["unused"], shown["missing"]) == ([], [])


def test_weights_without_their_layers(sqgen: Run, tmp_path: Path) -> None:
    write(tmp_path)
    bare = random_model(build(SMALL, "deploy"), definitions=False)
    bare.layer.add(name="more").blobs.add(double_data=[1]).shape.dim.append(1)
    save(bare, tmp_path / "in.caffemodel")
    done = sqgen(*MAP)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give the net they were trained with: --from NET" in done.stderr
    done = sqgen(*MAP, "--from", "from.prototxt", "--no-proof")
    assert done.returncode == 0
    assert done.stderr == "sqgen: warning: not used: more\n"
    assert "not run to compare the nets" in done.stdout
    other = sqgen(*MAP, "--from", "to.prototxt", "--force")
    assert other.returncode == 2
    assert "in.caffemodel has no weights for it" in other.stderr


def test_nothing_is_written_of_what_is_refused(sqgen: Run, tmp_path: Path) -> None:
    write(tmp_path, target=SMALL.with_options(conv10_pad=1))
    done = sqgen(*MAP)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "layer 'conv6_5': the nets differ here: pad is 1, but 0 in" in done.stderr
    assert not (tmp_path / "out.caffemodel").exists()


def test_wrong_use(sqgen: Run, tmp_path: Path) -> None:
    write(tmp_path)
    for arguments, message in (
        (["in.caffemodel", "-", "--to", "to.prototxt"], "- as OUT: give a file"),
        (["-", "out", "--to", "-"], "standard input can be read once"),
        (["in.caffemodel", "out"], "missing option '--to'"),
    ):
        done = sqgen("weights", "map", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert message in done.stderr


@pytest.mark.process
def test_no_engine_is_one_line(tmp_path: Path) -> None:
    write(tmp_path)
    code = "import sys; sys.modules['torch'] = None\nfrom sqgen.tools.cli import main\nmain()"
    command = [sys.executable, "-c", code, *MAP]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'sqgen[engine]' brings it, and --no-proof goes without" in done.stderr
    assert not (tmp_path / "out.caffemodel").exists()
    command.append("--no-proof")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_what_the_proof_can_not_see_is_told(sqgen: Run, tmp_path: Path) -> None:
    """Any weights would do behind a ReLU that lets nothing through."""
    text = net_input() + conv("a", "data", 2) + layer("ReLU", "r", "a") + conv("b", "r", 5)
    model = random_model(text)
    weights, biases = model.layer[1].blobs
    weights.data[:] = [0.001 * value for value in weights.data]
    biases.data[:] = [-1000.0] * len(biases.data)
    flow = inference_graph(parse_net(text))
    found = map_weights(flow, flow, model)
    assert prove(Executor, flow, flow, found, model).blind == ["b"]
    found.arrays["b"][0] = found.arrays["b"][0][:, ::-1]
    assert prove(Executor, flow, flow, found, model).blind == ["b"]
    save(model, tmp_path / "in.caffemodel")
    (tmp_path / "to.prototxt").write_text(text)
    done = sqgen("weights", "map", "in.caffemodel", "out.caffemodel", "--to", "to.prototxt")
    assert done.returncode == 0, done.stderr
    assert (
        "warning: b: the same output for both inputs, so comparing the nets hardly tests"
        in done.stderr
    )


def test_old_files_are_mapped() -> None:
    """A V1 caffemodel: an `input` header without a shape, blobs of four axes."""
    old = NetParameter()
    prototxt.parse(
        'input: "data" layers { name: "c" type: CONVOLUTION bottom: "data" top: "c"'
        " convolution_param { num_output: 2 kernel_size: 1 } }",
        old,
        "old",
    )
    for shape in ((2, 3, 1, 1), (1, 1, 1, 2)):
        blob = old.layers[0].blobs.add(num=shape[0], channels=shape[1], height=1, width=shape[3])
        blob.data.extend(np.arange(np.prod(shape)))
    with TemporaryDirectory() as folder:
        model = read_caffemodel(save(old, Path(folder) / "old"))
    target = parse_net(net_input() + conv("y", "data", 2))
    found = map_weights(inference_graph_of_model(model, "old"), inference_graph(target), model)
    assert found.rows[0][:3] == ("c", "y", "order")
    assert [array.shape for array in found.arrays["y"]] == [(2, 3, 1, 1), (2,)]


def test_doubles_stay_doubles() -> None:
    text = net_input() + conv("y", "data", 2)
    model = random_model(text)
    del model.layer[1].blobs[:]
    for array in (np.full((2, 3, 1, 1), 0.1), np.full(2, 0.2)):
        fill_blob(model.layer[1].blobs.add(), array)
    found = map_weights(
        inference_graph_of_model(model, "a"), inference_graph(parse_net(text)), model
    )
    written = make_mapped_caffemodel(parse_net(text), found)
    assert written.layer[1].blobs[0].double_data[0] == 0.1


WHOLE = random_model(ONE + conv("y", "j", 3)).SerializeToString()


@settings(max_examples=100)
@given(st.integers(0, len(WHOLE)), st.binary(min_size=1, max_size=9))
def test_damaged_files_never_raise_anything_else(start: int, piece: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "w"
        path.write_bytes(WHOLE[:start] + piece + WHOLE[start + len(piece) :])
        try:
            model = read_caffemodel(path)
            target = inference_graph(parse_net(TWO + conv("y", "j", 3)))
            map_weights(inference_graph_of_model(model, "w"), target, model, layer_role)
        except SqgenError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize(
    ("run", "net"),
    [
        ("sgd_poly_simple", "d_simple"),
        ("nesterov_step_complex", "d_complex"),
        ("sgd_multistep_batchnorm", "d_bn"),
    ],
)
def test_what_caffe_itself_saved(shared: Path, run: str, net: str) -> None:
    """Its files have the TRAIN phase's layers, with Splits; that is all the source needed."""
    model = read_caffemodel(shared / "parity" / run / "run_iter_60.caffemodel")
    own = (shared / "parity" / f"{net}.prototxt").read_text()
    target = parse_net(own.replace('name: "fire', 'name: "').replace("/bypass1x1", "/bypassConv"))
    for one in target.param.layer:
        if one.type == "Concat":
            one.bottom[:] = reversed(one.bottom)
    flows = inference_graph_of_model(model, run), inference_graph(target, (3, 32, 32))
    found = map_weights(*flows, model, layer_role)
    assert {row.how for row in found.rows} == {"name", "dialect"}
    assert not found.unused
    proof = prove(Executor, *flows, found, model)
    assert (proof.blind, proof.largest < 1e-12) == ([], True)
    there = make_mapped_caffemodel(target, found)
    back = inference_graph(parse_net(own), (3, 32, 32))
    again = map_weights(inference_graph_of_model(there, "there"), back, there, layer_role)
    np.testing.assert_equal(again.arrays, arrays(model))


def test_the_published_file(shared: Path, tmp_path: Path) -> None:
    """Deep Compression's v1.0 under the generator's names, and back: the same bits."""
    (tmp_path / "w").write_bytes(published_weights(shared))
    model = read_caffemodel(tmp_path / "w")
    source = preset("deep-compression")
    target = source.with_options(naming="generator", concat_order="3x3,1x1")
    ours, theirs = (parse_net(build(design, "deploy")) for design in (source, target))
    found = map_weights(inference_graph(ours), inference_graph(theirs), model, layer_role)
    assert sum(row.inputs for row in found.rows) == 128 * 2 + 256 * 2 + 384 * 2 + 512 * 2
    there = make_mapped_caffemodel(theirs, found)
    back = map_weights(
        inference_graph_of_model(there, "there"), inference_graph(ours), there, layer_role
    )
    np.testing.assert_equal(back.arrays, arrays(model))
