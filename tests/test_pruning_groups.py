"""Channels that go together, and nets without them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sqgen import Design, NetError, build, parse_net
from sqgen.formats.prototxt import to_text
from sqgen.nets.shapes import require_shapes
from sqgen.nets.totals import totals
from sqgen.pruning.channel_groups import ChannelGroups, Group
from sqgen.pruning.costs import NetCosts
from sqgen.pruning.shrink import Shrinking
from sqgen.weights.make_caffemodel import make_caffemodel
from sqgen.weights.net_arrays import net_arrays

from .small_nets import conv, layer, net_input, outcome, random_model, save, twins, wild_twins


def free_groups(net: Any) -> dict[tuple[str, ...], int]:
    """Makers of the groups that may go -> how many there are."""
    counts: dict[tuple[str, ...], int] = {}
    for group in ChannelGroups(net).groups.values():
        if group.reason is None:
            counts[group.layers] = counts.get(group.layers, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("bypass", "decisions", "of_fire2"),
    [
        ("none", 25, ("fire2/expand1x1",)),
        ("simple", 17, ("fire2/expand1x1", "fire3/expand1x1")),
        ("complex", 17, ("fire2/bypass1x1", "fire2/expand1x1", "fire3/expand1x1")),
    ],
)
def test_bypasses_tie_the_modules_that_they_add(
    bypass: str, decisions: int, of_fire2: tuple[str, ...]
) -> None:
    counts = free_groups(parse_net(build(Design(bypass=bypass))))
    assert len(counts) == decisions
    found = {tuple(sorted(layers)): count for layers, count in counts.items()}
    assert found[of_fire2] == 64
    assert found[("fire2/squeeze1x1",)] == 16
    assert not any("conv10" in layers for layers in counts)


def test_a_sum_of_unequal_halves_ties_across_them() -> None:
    """Channels 2 and 3 of the first module are 1x1, those of the second 3x3."""
    text = net_input() + "".join(
        conv(f"a{n}", source, one) + conv(f"b{n}", source, two, 3) + concat
        for n, source, one, two, concat in (
            (1, "data", 4, 2, layer("Concat", "c1", "a1 b1")),
            (2, "c1", 2, 4, layer("Concat", "c2", "a2 b2")),
        )
    )
    text += layer("Eltwise", "sum", "c1 c2") + conv("last", "sum", 3)
    assert free_groups(parse_net(text)) == {("a1", "a2"): 2, ("a1", "b2"): 2, ("b1", "b2"): 2}


@pytest.mark.parametrize(
    ("middle", "counts"),
    [
        (conv("read", "made", 4, 3, "group: 4"), {("made", "read"): 4}),
        (conv("read", "made", 8, 3, "group: 4"), {("made", "read"): 4}),
        (conv("read", "made", 6, 3, "group: 2"), {("made",): 2, ("read",): 3}),
        (layer("Dropout", "read", "made"), {("made",): 4}),
        (layer("Softmax", "read", "made"), {}),
        (layer("LRN", "read", "made"), {}),
        (layer("Reshape", "read", "made", rest="reshape_param { shape { dim: 0 dim: -1 } }"), {}),
    ],
)
def test_layers_in_between(middle: str, counts: dict[tuple[str, ...], int]) -> None:
    last = layer("InnerProduct", "last", "read", rest="inner_product_param { num_output: 3 }")
    text = net_input() + conv("made", "data", 4) + middle + last
    assert free_groups(parse_net(text)) == counts


def test_why_a_channel_stays_is_said() -> None:
    text = net_input() + conv("a", "data", 2) + layer("LRN", "norm", "a") + conv("b", "norm", 2)
    groups = ChannelGroups(parse_net(text))
    reasons = {group.layers: group.reason for group in groups.groups.values()}
    assert reasons == {("a",): "'norm' needs all of them", ("b",): "'b' is an output"}
    root = next(root for root, group in groups.groups.items() if group.layers == ("a",))
    with pytest.raises(NetError, match="layer 'a': filter 0 has to stay: 'norm' needs all of them"):
        Shrinking(groups, [root])


def test_shared_weights_go_together() -> None:
    shared = 'param { name: "w" } param { name: "b" }'
    text = net_input()
    for name in ("left", "right"):
        text += conv(f"{name}1", "data", 4).replace(
            "convolution_param", f"{shared} convolution_param"
        )
        text += layer(
            "InnerProduct", f"{name}2", f"{name}1", rest="inner_product_param { num_output: 2 }"
        )
    assert free_groups(parse_net(text)) == {("left1", "right1"): 4}


def test_a_layer_keeps_a_filter() -> None:
    groups = ChannelGroups(parse_net(net_input() + conv("a", "data", 2) + conv("b", "a", 2)))
    every = [root for root, group in groups.groups.items() if group.reason is None]
    assert len(every) == 2
    with pytest.raises(NetError, match="layer 'a': would be left without filters"):
        Shrinking(groups, every)


def test_slice_points_follow() -> None:
    text = net_input() + conv("a", "data", 6)
    text += 'layer { name: "s" type: "Slice" bottom: "a" top: "p" top: "q" }\n'
    text += conv("b", "p", 2) + conv("c", "q", 2)
    groups = ChannelGroups(parse_net(text))
    removed = [root for root, group in groups.groups.items() if group.channels == (("a", 4),)]
    shrunk = Shrinking(groups, removed).shrink_net(parse_net(text).param)
    assert list(shrunk.layer[2].slice_param.slice_point) == [3]
    assert require_shapes(parse_net(to_text(shrunk)), "TEST").blobs["q"][1] == 2


def choose(draw: st.DrawFn, groups: dict[int, Group]) -> list[int]:
    """Some groups that may go, so that each layer keeps one filter or more."""
    left: dict[str, int] = {}
    for group in groups.values():
        for name, _ in group.channels:
            left[name] = left.get(name, 0) + 1
    removed = []
    share = draw(st.floats(0.1, 0.9))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    for root, group in groups.items():
        counts = {name: sum(n == name for n, _ in group.channels) for name in group.layers}
        if group.reason or any(left[name] <= count for name, count in counts.items()):
            continue
        if random.uniform() < share:
            removed.append(root)
            for name, count in counts.items():
                left[name] -= count
    return removed


@pytest.mark.parametrize("strategy", [twins, wild_twins])
def test_a_shrunk_net_computes_what_a_masked_one_does(strategy: Any) -> None:
    pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(strategy(), st.data())
    def check(pair: tuple[str, str], data: st.DataObject) -> None:
        text, net = pair[0], parse_net(pair[0])
        groups = ChannelGroups(net)
        removed = data.draw(st.composite(choose)(groups.groups))
        assume(removed)
        arrays = net_arrays(require_shapes(net, "TEST"), [("w", random_model(text))])
        shrinking = Shrinking(groups, removed)
        small = parse_net(to_text(shrinking.shrink_net(net.param)))
        with tempfile.TemporaryDirectory() as folder:
            masked = Path(folder, "masked.caffemodel")
            save(make_caffemodel(net, shrinking.mask_arrays(arrays)), masked)
            shrunk = Path(folder, "shrunk.caffemodel")
            save(make_caffemodel(small, shrinking.shrink_arrays(arrays)), shrunk)
            wanted, got = outcome(text, masked), outcome(to_text(small.param), shrunk)
        assert wanted.keys() == got.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-9, atol=1e-9)

    check()


@pytest.mark.parametrize("strategy", [twins, wild_twins])
def test_costs_are_those_that_summary_counts(strategy: Any) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(strategy(), st.data())
    def check(pair: tuple[str, str], data: st.DataObject) -> None:
        net = parse_net(pair[0])
        groups = ChannelGroups(net)
        removed = data.draw(st.composite(choose)(groups.groups))
        small = parse_net(to_text(Shrinking(groups, removed).shrink_net(net.param)))
        counted = totals(require_shapes(small, "TEST"))
        costs = NetCosts(groups)
        assert costs.macs.cost(removed) == counted.macs
        assert costs.parameters.cost(removed) == counted.parameters

    check()
