"""Mark in the drawings of two nets what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from ..nets.diff import LayerMatch
from .blocks import BlockGraph

Mark = Literal["", "added", "removed", "changed"]


class Marked(NamedTuple):
    """The mark of a block, and its differences, a sentence each."""

    mark: Mark = ""
    differences: tuple[str, ...] = ()


def mark_differences(
    a: BlockGraph, b: BlockGraph, match: LayerMatch
) -> tuple[list[Marked], list[Marked]]:
    """Return the marks of the blocks of A and of B.

    Args:
        a, b: the blocks of each net.
        match: of the layers that the blocks consist of.
    """
    matched = {other: first for first, other in match.pairs.items()}
    return (
        _marks(a, "removed", lambda layer: layer if layer in match.pairs else None, match),
        _marks(b, "added", matched.get, match),
    )


def _marks(
    graph: BlockGraph, alone: Mark, in_a: Callable[[int], int | None], match: LayerMatch
) -> list[Marked]:
    """Mark blocks; `in_a` returns the index in A of a layer that has a match, or else None."""
    return [_mark(graph, block.layers, alone, in_a, match) for block in graph.blocks]


def _mark(
    graph: BlockGraph,
    layers: Sequence[int],
    alone: Mark,
    in_a: Callable[[int], int | None],
    match: LayerMatch,
) -> Marked:
    firsts = [in_a(layer) for layer in layers]
    if all(first is None for first in firsts):
        return Marked(alone)
    texts = list(_differences(graph, layers, firsts, alone, match))
    return Marked("changed" if texts else "", tuple(texts))


def _differences(
    graph: BlockGraph,
    layers: Iterable[int],
    firsts: Iterable[int | None],
    alone: Mark,
    match: LayerMatch,
) -> Iterable[str]:
    for layer, first in zip(layers, firsts, strict=True):
        name = graph.graph.nodes[layer].layer.name
        if first is None:
            yield f"{name}: only in {'A' if alone == 'removed' else 'B'}"
        else:
            yield from (f"{name}: {text}" for text in match.differences.get(first, ()))
