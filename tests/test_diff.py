"""`sqgen diff`: differences in meaning, none in writing."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import Design, NetError, build, diff_nets, parse_net, preset
from sqgen.formats import prototxt
from sqgen.formats.schema import NetParameter
from sqgen.generator.presets import PRESETS

from .conftest import Run
from .designs import designs

# Nets that many cases read.
parse_once = lru_cache(maxsize=32)(parse_net)


@cache
def preset_text(name: str) -> str:
    return build(preset(name))


def differences(a: str, b: str) -> list[str]:
    return [
        f"{layer}: {message}" if layer else message
        for layer, message, _ in diff_nets(parse_once(a), parse_once(b))
    ]


def parsed(text: str) -> Any:
    net = NetParameter()
    prototxt.parse(text, net, "net")
    return net


CLEAN = build(Design(bypass="simple"))


@given(designs())
def test_a_net_does_not_differ_from_itself(design: Design) -> None:
    text = build(design)
    assert differences(text, prototxt.to_text(parse_net(text).param)) == []


@pytest.mark.parametrize(
    ("name", "other"), list(itertools.combinations_with_replacement(PRESETS, 2))
)
def test_presets_differ_from_each_other(name: str, other: str) -> None:
    same = {name, other} == {"dsd", "deep-compression"}  # one net, two trainings
    found = differences(preset_text(name), preset_text(other))
    assert (found == []) == (name == other or same)


def test_comments_defaults_and_order_do_not_count() -> None:
    net: Any = parsed(CLEAN)
    by_name = {layer.name: layer for layer in net.layer}
    by_name["conv1"].convolution_param.group = 1
    by_name["conv1"].convolution_param.dilation.append(1)
    by_name["fire3/bypass"].eltwise_param.operation = 1
    by_name["fire2/expand3x3"].convolution_param.ClearField("pad")
    by_name["fire2/expand3x3"].convolution_param.pad_h = 1
    by_name["fire2/expand3x3"].convolution_param.pad_w = 1
    by_name["loss"].loss_weight.append(1)
    by_name["pool1"].pooling_param.pad = 0
    layers = list(net.layer)
    at = {layer.name: index for index, layer in enumerate(layers)}
    for one, other in (
        ("loss", "accuracy_top5"),
        ("fire2/expand1x1", "fire2/expand3x3"),
        ("fire2/relu_expand1x1", "fire2/relu_expand3x3"),
    ):
        layers[at[one]], layers[at[other]] = layers[at[other]], layers[at[one]]
    del net.layer[:]
    net.layer.extend(layers)
    assert differences(CLEAN, "# another\n" + prototxt.to_text(net)) == []


def test_v1_is_no_difference() -> None:
    old = """input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
      layers { name: "a" type: CONVOLUTION bottom: "data" top: "a" blobs_lr: 2
      convolution_param { num_output: 3 kernel_size: 1 } }"""
    new = """layer { name: "input" type: "Input" top: "data"
      input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
      layer { name: "a" type: "Convolution" bottom: "data" top: "a" param { lr_mult: 2 }
      convolution_param { num_output: 3 kernel_size: 1 } }"""
    assert differences(old, new) == []


MUTATIONS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "conv1: convolution_param.stride is 2 in A, 1 in B": (
        "conv1",
        lambda layer: layer.convolution_param.stride.__setitem__(0, 1),
    ),
    "conv10: convolution_param.pad is 1 in A, 0 in B": (
        "conv10",
        lambda layer: layer.convolution_param.ClearField("pad"),
    ),
    "conv1: param.lr_mult is 1 in A, 3 in B": (
        "conv1",
        lambda layer: layer.param.add(lr_mult=3),
    ),
    'conv1: convolution_param.weight_filler.type is "xavier" in A, "msra" in B': (
        "conv1",
        lambda layer: setattr(layer.convolution_param.weight_filler, "type", "msra"),
    ),
    "fire2/concat: reads 'fire2/expand1x1' and 'fire2/expand3x3' in A, 'fire2/expand3x3' and"
    " 'fire2/expand1x1' in B (another order)": (
        "fire2/concat",
        lambda layer: layer.bottom.reverse(),
    ),
    "relu_conv1: is a ReLU in A, a TanH in B": (
        "relu_conv1",
        lambda layer: setattr(layer, "type", "TanH"),
    ),
    "pool1: pooling_param.pool is MAX in A, AVE in B": (
        "pool1",
        lambda layer: setattr(layer.pooling_param, "pool", 1),
    ),
}


@pytest.mark.parametrize("message", MUTATIONS)
def test_a_change_is_told_in_words(message: str) -> None:
    name, mutate = MUTATIONS[message]
    net: Any = parsed(CLEAN)
    mutate(next(layer for layer in net.layer if layer.name == name))
    assert differences(CLEAN, prototxt.to_text(net)) == [message]


def test_renamed_added_and_gone() -> None:
    renamed = differences(build(Design()), build(Design(classifier="conv10_mine", classifier_lr=1)))
    assert renamed == ["conv10: is called 'conv10_mine' in B"]
    fewer = differences(build(Design()), build(Design(classes=10, classifier_lr=1)))
    assert fewer[:2] == [
        "conv10: is called 'conv10_10' in B",
        "conv10: convolution_param.num_output is 1000 in A, 10 in B",
    ]
    added = differences(build(Design()), build(Design(bypass="3", name="SqueezeNet_v1_0")))
    assert added == [
        "fire4/squeeze1x1: reads 'fire3/concat' in A, 'fire3/bypass' in B",
        "fire3/bypass: only in B: an Eltwise of 'fire2/concat' and 'fire3/concat'",
    ]
    gone = differences(build(Design(dropout=0.5)), build(Design(dropout=0)))
    assert gone[0] == "drop9: only in A: a Dropout of 'fire9/concat'"


def test_one_phase_only(sqgen: Run, tmp_path: Any) -> None:
    (tmp_path / "a").write_text(build(Design()))
    (tmp_path / "b").write_text(build(Design(val_batch_size=10)))
    done = sqgen("diff", "a", "b")
    assert done.returncode == 1
    assert done.stdout == "layer 'data': data_param.batch_size is 25 in A, 10 in B (in TEST)\n"
    same = sqgen("diff", "a", "a")
    assert (same.returncode, same.stdout) == (0, "no differences\n")
    rows = json.loads(sqgen("diff", "a", "b", "--json").stdout)
    assert rows == [
        {
            "layer": "data",
            "message": "data_param.batch_size is 25 in A, 10 in B",
            "phases": ["TEST"],
        }
    ]
    assert sqgen("diff", "a", "nowhere").returncode == 2


@given(st.randoms(use_true_random=False))
def test_any_field_that_is_changed_is_found(chance: random.Random) -> None:
    net: Any = parsed(CLEAN)
    layer = chance.choice([layer for layer in net.layer if layer.type == "Convolution"])
    param = layer.convolution_param
    field = chance.choice(["num_output", "group", "bias_term", "axis", "force_nd_im2col"])
    value = getattr(param, field)
    setattr(param, field, not value if isinstance(value, bool) else value + 1)
    found = differences(CLEAN, prototxt.to_text(net))
    assert len(found) == 1
    assert f"{layer.name}: convolution_param.{field}" in found[0]


SOURCE = 'layer { name: "in" type: "Input" top: "a" input_param { shape { dim: 2 dim: 3 } } }'


def layer(kind: str, rest: str = "", bottoms: str = 'bottom: "a"') -> str:
    return f'{SOURCE} layer {{ name: "it" type: "{kind}" {bottoms} top: "b" {rest} }}'


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("BatchNorm", "batch_norm_param { use_global_stats: false }"),
        ("SoftmaxWithLoss", "loss_param { ignore_label: 0 }"),
        ("SoftmaxWithLoss", "loss_param { normalize: false }"),
        ("Accuracy", "accuracy_param { ignore_label: 0 }"),
        ("ArgMax", "argmax_param { axis: 0 }"),
        ("Scale", "scale_param { filler { value: 0 } }"),
        ("PReLU", "prelu_param { filler { } }"),
        ("Dropout", "phase: TEST"),
        ("BatchNorm", "param { name: 'shared' }"),
    ],
)
def test_what_means_something_by_being_set(kind: str, rest: str) -> None:
    """Caffe asks has_x(): each of these was seen to change what it computes."""
    assert len(differences(layer(kind), layer(kind, rest))) == 1


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("BatchNorm", "", "param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 }"),
        ("Eltwise", "", "eltwise_param { coeff: 1 coeff: 1 }"),
        ("ReLU", "", "relu_param { engine: CAFFE }"),
        ("SoftmaxWithLoss", "", "loss_weight: 1"),
    ],
)
def test_what_means_the_same(kind: str, one: str, other: str) -> None:
    assert differences(layer(kind, one), layer(kind, other)) == []


def test_order_of_a_sum() -> None:
    pair = ['bottom: "a" bottom: "c"', 'bottom: "c" bottom: "a"']
    more = 'layer { name: "c" type: "ReLU" bottom: "a" top: "c" }'
    texts = [
        SOURCE + more + net.removeprefix(SOURCE) for net in (layer("Eltwise", "", p) for p in pair)
    ]
    assert differences(*texts) == []
    weighted = [text[:-1] + " eltwise_param { coeff: 1 coeff: -1 } }" for text in texts]
    assert differences(*weighted)


def test_layers_of_stages_and_levels_are_compared() -> None:
    power = 'type: "Power" bottom: "a" top: "b" power_param { scale: %d }'
    staged = SOURCE + 'layer { name: "s" include { %s } ' + power + " }"
    for rule in ("stage: 'x'", "min_level: 2", "stage: 'x' stage: 'y'", "phase: TEST stage: 'x'"):
        assert differences(staged % (rule, 1), staged % (rule, 1)) == []
        assert differences(staged % (rule, 1), staged % (rule, 2)) == [
            "s: power_param.scale is 1 in A, 2 in B"
        ]
    assert differences("state { stage: 'x' }" + SOURCE, SOURCE) == [
        "the net's stages are x in A, none in B"
    ]


def test_in_place_layers_are_named_where_blobs_are_not_enough() -> None:
    found = differences(build(Design(name="n")), build(Design(batch_norm=True, name="n")))
    assert "relu_conv1: reads what 'conv1' made in A, what 'conv1_scale' made in B" in found


def test_standard_input_is_read_once(sqgen: Run) -> None:
    done = sqgen("diff", "-", "-", stdin=SOURCE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "standard input can be read once" in done.stderr


def test_states_that_only_several_stages_or_a_level_reach() -> None:
    relu = SOURCE + 'layer { name: "r" type: "ReLU" bottom: "a" top: "b" include { %s } }'
    assert differences(relu % "max_level: 3", relu % "")
    pair = "stage: 'a' stage: 'b' not_stage: 'c'"
    assert differences(relu % pair, relu % pair.replace("'c'", "'d'"))
    many = "".join(
        f'layer {{ name: "r{i}" type: "ReLU" bottom: "a" top: "b{i}"'
        f" include {{ min_level: {i} stage: 's{i}' }} }}"
        for i in range(80)
    )
    with pytest.raises(NetError, match="too many to compare"):
        differences(SOURCE + many, SOURCE + many)
