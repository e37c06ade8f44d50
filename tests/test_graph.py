"""The graph of a net: versions of blobs, the layers that make and read them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sqgen.nets.graph import Bottom, Graph, Top, build_graph

Wires = list[tuple[list[str], list[str]]]


def graph_of(*layers: str) -> Graph[Any]:
    """A graph of layers written as `bottoms -> tops`, with `*` after a top that is in the loss."""
    built = []
    for text in layers:
        bottoms, tops = (side.split() for side in text.split("->"))
        weights = [float(top.endswith("*")) for top in tops]
        built.append(
            SimpleNamespace(
                bottom=bottoms,
                top=[top.removesuffix("*") for top in tops],
                loss_weight=weights if any(weights) else [],
            )
        )
    return build_graph(built)


def test_a_bottom_reads_what_the_last_layer_above_wrote() -> None:
    graph = graph_of("-> data label", "data -> a", "a -> a", "a -> b", "a label -> loss")
    assert [node.sources for node in graph.nodes] == [
        (),
        (Top(0, 0),),
        (Top(1, 0),),
        (Top(2, 0),),
        (Top(2, 0), Top(0, 1)),
    ]
    assert graph.makers["a"] == (Top(1, 0), Top(2, 0))
    assert graph.readers(Top(1, 0)) == (Bottom(2, 0),)
    assert graph.readers(Top(2, 0)) == (Bottom(3, 0), Bottom(4, 0))
    assert graph.readers_beside(Bottom(3, 0)) == (Bottom(3, 0), Bottom(4, 0))
    assert graph.nodes[2].is_in_place(0)
    assert not graph.nodes[3].is_in_place(0)


def test_in_place_is_of_the_bottom_with_the_same_index() -> None:
    graph = graph_of("-> a b", "a b -> b a", "a b -> a c")
    assert [graph.nodes[1].is_in_place(index) for index in (0, 1)] == [False, False]
    assert [graph.nodes[2].is_in_place(index) for index in (0, 1)] == [True, False]


def test_bottoms_that_no_layer_above_makes() -> None:
    graph = graph_of("a x -> b", "x b -> a", "a -> c")
    assert graph.nodes[0].sources == (None, None)
    assert graph.nodes[2].sources == (Top(1, 0),)
    assert graph.undefined == {"a": (Bottom(0, 0),), "x": (Bottom(0, 1), Bottom(1, 0))}
    assert graph.readers_beside(Bottom(1, 0)) == (Bottom(0, 1), Bottom(1, 0))
    assert graph.names_above(1) == ["b"]
    assert graph.is_made_above("b", 1)
    assert not graph.is_made_above("b", 0)
    assert not graph.is_made_above("x", 2)


def test_a_loss_weight_uses_a_top() -> None:
    graph = graph_of("-> a* b", "a -> c")
    assert graph.loss_weight(Top(0, 0)) == 1
    assert graph.loss_weight(Top(1, 0)) == 0
    assert graph.use_count(Top(0, 0)) == 2
    assert graph.use_count(Top(0, 1)) == 0
    assert graph.output_names() == ["b", "c"]


def test_outputs_are_the_last_versions_that_no_layer_reads() -> None:
    graph = graph_of("-> z ä", "z -> b Z", "b -> b", "-> c", "-> c")
    assert graph.outputs == (Top(0, 1), Top(1, 1), Top(2, 0), Top(4, 0))
    assert [graph.name(top) for top in graph.outputs] == ["ä", "Z", "b", "c"]
    assert graph.output_names() == ["Z", "b", "c", "ä"]


def test_last_reads() -> None:
    graph = graph_of("-> a", "a -> b", "a a x -> c", "c -> c", "c x -> d", "b -> e")
    expected = [[], [], ["a"], ["c"], ["c", "x"], ["b"]]
    assert [graph.last_reads(index) for index in range(6)] == expected


@pytest.mark.parametrize(
    ("layer", "other", "expected"), [(0, 0, False), (1, 0, True), (2, 0, True), (0, 2, False)]
)
def test_depends(layer: int, other: int, expected: bool) -> None:
    graph = graph_of("-> a", "a -> b", "b -> c", "d -> d")
    assert graph.depends(layer, other) is expected
    assert graph.depends(3, 3)


def test_a_cycle_ends() -> None:
    graph = graph_of("c -> a", "a -> b", "b -> c", "-> d")
    assert all(graph.depends(layer, layer) for layer in range(3))
    assert not graph.depends(0, 3)


def test_layers_of_any_kind() -> None:
    wires = [([], ["a"]), (["a"], ["b"])]
    graph = build_graph(wires, lambda wire: (*wire, ()))
    assert graph.nodes[1].layer is wires[1]
    assert graph.nodes[1].sources == (Top(0, 0),)


def test_no_layers() -> None:
    graph = graph_of()
    assert graph.nodes == ()
    assert graph.outputs == ()
    assert graph.output_names() == []


# Against a derivation that asks for each bottom anew


def maker_of(wires: Wires, bottom: Bottom) -> Top | None:
    name = wires[bottom.layer][0][bottom.position]
    tops = [
        Top(layer, index)
        for layer in range(bottom.layer)
        for index, top in enumerate(wires[layer][1])
        if top == name
    ]
    return max(tops, default=None)


def available_blobs(wires: Wires) -> set[str]:
    """As Net::Init keeps them."""
    available: set[str] = set()
    for bottoms, tops in wires:
        available = (available - set(bottoms)) | set(tops)
    return available


NAMES = st.lists(st.sampled_from("abcde"), max_size=3)


@given(st.lists(st.tuples(NAMES, NAMES), max_size=9))
@example([(["a"], ["a", "a"]), (["a", "a"], ["b"]), (["b"], ["b"])])
def test_graph_of_random_layers(wires: Wires) -> None:
    graph = build_graph(wires, lambda wire: (*wire, ()))
    places = [
        Bottom(layer, index)
        for layer, (names, _) in enumerate(wires)
        for index in range(len(names))
    ]
    sources = {place: maker_of(wires, place) for place in places}
    for place, source in sources.items():
        assert graph.nodes[place.layer].sources[place.position] == source
        name = wires[place.layer][0][place.position]
        beside = [
            other
            for other in places
            if sources[other] == source and wires[other.layer][0][other.position] == name
        ]
        assert graph.readers_beside(place) == tuple(beside)
        last = name in graph.last_reads(place.layer)
        assert last == all(other.layer <= place.layer for other in beside)
    for layer, (_, tops) in enumerate(wires):
        for index, name in enumerate(tops):
            top = Top(layer, index)
            assert graph.name(top) == name
            assert graph.readers(top) == tuple(p for p in places if sources[p] == top)
    assert set(graph.output_names()) == available_blobs(wires)
    assert sorted(map(graph.name, graph.outputs)) == sorted(available_blobs(wires))
