"""A page of HTML that shows nets: the drawing, the table of their layers, and the prototxt of each.

Selecting a layer in one of them selects it in the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import templates
from ..drawing.layout import Direction
from ..drawing.svg import Drawable, draw
from ..formats import prototxt
from ..nets.layer_types import Shape
from ..nets.summary import Summary
from ..text import shape_text
from .page import script_source
from .theme import css_variables

TEMPLATE, STYLE, SCRIPT = "net_page.html.j2", "net_page_style.css.j2", "net_page_script.js.j2"
UNKNOWN = "?"
_PROTOTXT_LIMIT = 20_000  # characters of a layer; weights in a prototxt can be larger


@dataclass(frozen=True)
class ShownNet:
    """A net of a page: its drawing, and its summary in the same phase."""

    drawable: Drawable
    summary: Summary


def render_net_page(
    nets: Sequence[ShownNet], direction: Direction = "down", dark: bool = False
) -> str:
    """Return a self-contained page of nets beside each other.

    Args:
        nets: one or more.
        direction: in which data flows.
        dark: dark whatever the reader prefers; otherwise as the reader's system has it.

    Raises:
        MissingExtraError: Graphviz is not installed.
    """
    script = templates.render(SCRIPT)
    title = ", ".join(net.drawable.name for net in nets)
    return templates.render(
        TEMPLATE,
        title=title,
        svg=draw([net.drawable for net in nets], direction, "page"),
        nets=[_table(number, net) for number, net in enumerate(nets)],
        data=[_layers(net) for net in nets],
        style=templates.render(STYLE, colours=css_variables()),
        script=script,
        source=script_source(script),
        dark=dark,
    )


def _layers(net: ShownNet) -> list[dict[str, Any]]:
    """Return what the page says of each layer."""
    nodes = net.drawable.graph.graph.nodes
    return [
        {
            "name": layer.name,
            "type": layer.type,
            "in": _shapes(layer.bottoms),
            "out": _shapes(layer.tops),
            "parameters": _count(layer.parameters),
            "macs": _count(layer.macs),
            "bytes": _count(layer.activation_bytes),
            "prototxt": _prototxt(node.layer),
        }
        for node, layer in zip(nodes, net.summary.layers, strict=True)
    ]


def _prototxt(layer: Any) -> str:
    text = (
        f"layer {{\n{''.join(f'  {line}' for line in prototxt.to_text(layer).splitlines(True))}}}"
    )
    return text if len(text) <= _PROTOTXT_LIMIT else f"{text[:_PROTOTXT_LIMIT]}\n..."


def _table(number: int, net: ShownNet) -> dict[str, Any]:
    """Return a net's rows; each names the block that it selects."""
    blocks = {
        index: (f"b{number}-{place}", net.drawable.marks[place].mark if net.drawable.marks else "")
        for place, block in enumerate(net.drawable.graph.blocks)
        for index in block.layers
    }
    totals = net.summary.totals
    return {
        "name": net.drawable.name,
        "rows": [
            {
                "block": blocks[index][0],
                "mark": blocks[index][1],
                "layer": index,
                "name": layer.name,
                "type": layer.type,
                "out": " ".join(UNKNOWN if s is None else shape_text(s) for _, s in layer.tops),
                "numbers": [
                    (value, _count(value))
                    for value in (layer.parameters, layer.macs, layer.activation_bytes)
                ],
            }
            for index, layer in enumerate(net.summary.layers)
        ],
        "totals": [
            f"{count:,}" for count in (totals.parameters, totals.macs, totals.activation_bytes)
        ],
        "is_partial": bool(net.summary.unknown),
    }


def _shapes(blobs: Iterable[tuple[str, Shape | None]]) -> list[str]:
    return [f"{name} {UNKNOWN if shape is None else shape_text(shape)}" for name, shape in blobs]


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"
