"""Charts as files, and pages of a report in a browser."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sqgen import DesignError
from sqgen.report.charts import Chart, chart_csv, picture_format, render_chart
from sqgen.report.page import (
    Block,
    Cell,
    Charts,
    Code,
    Fact,
    Facts,
    Image,
    Images,
    Page,
    Section,
    Svg,
    Table,
    Text,
    render_page,
)
from sqgen.report.theme import DARK, LIGHT

from .browser import NARROW, WIDE, opened, overflow

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = [
    "<script>document.title = 'run'</script>",
    "</script><script>document.title = 'run'</script>",
    "<img src=x onerror=\"document.title = 'run'\">",
    "\"' onmouseover='document.title = 1'",
    "]]><!--",
    "{{ 7 * 7 }} {% raw %} ${1}",
    "javascript:alert(1)",
    "\u202eflip \u2028 \u65e5\u672c",
    "x" * 300,
    "<svg/onload=document.title='run'>",
    "</title><script>document.title = 'run'</script>",
    "</style><style>body { display: none }</style>",
    "&lt;b&gt; &amp; &#60;",
    "<a href=javascript:void(document.title='run')>x</a>",
    "<meta http-equiv=refresh content=0>",
    "<base href=//example.invalid/><link rel=stylesheet href=x>",
    '=HYPERLINK("//example.invalid")',
    r"\u003cscript\u003e \x3cscript\x3e",
    "%3Cscript%3E",
    "<details open ontoggle=document.title='run'>",
]


def line_chart(name: str = "loss", label: str = "run", steps: int = 20) -> Chart:
    rows = [(step * 10, 1 / (step + 1)) for step in range(steps)]
    zoom = {"name": "zoom", "select": {"type": "interval", "encodings": ["x"]}, "bind": "scales"}
    spec: dict[str, Any] = {
        "width": 640,
        "height": 150,
        "data": {"values": [{"at": at, "value": value, "line": label} for at, value in rows]},
        "params": [zoom],
        "mark": "line",
        "encoding": {
            "x": {"field": "at", "type": "quantitative"},
            "y": {"field": "value", "type": "quantitative"},
            "color": {"field": "line", "type": "nominal"},
        },
    }
    return Chart(name, "loss", spec, ("iteration", "loss"), rows)


def test_a_chart_is_a_picture() -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    chart = line_chart()
    for picture, magic in (("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        assert render_chart(chart, picture).startswith(magic)
    light, again, dark = (render_chart(chart, "svg", theme) for theme in (LIGHT, LIGHT, DARK))
    assert light == again
    assert DARK.lines[0].encode() in dark
    assert DARK.lines[0].encode() not in light.replace(LIGHT.lines[0].encode(), b"")


def test_any_label_is_drawn_as_text() -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    svg = render_chart(line_chart(label=HOSTILE[0]), "svg").decode()
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_numbers_of_a_chart() -> None:
    chart = Chart("a-1", "", {}, ("run", "loss"), [("=1+1", 0.5), ("b\nc", None)])
    assert chart_csv(chart) == b"run,loss\n'=1+1,0.5\nb\\nc,\n"
    for name in ("", "A", "a/b", "../a", "a b", "1"):
        with pytest.raises(ValueError, match="is no name of a chart"):
            Chart(name, "", {})


def test_a_suffix_names_the_format() -> None:
    assert picture_format("a/b.SVG", "-o") == "svg"
    with pytest.raises(DesignError, match=r"^--plot a.gif: end it in .png, .svg or .pdf$"):
        picture_format("a.gif", "--plot")


def full_page() -> Page:
    """A page of each kind of block, with hostile text wherever text goes."""
    pixel = (
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0"
    )
    texts = [Text(text, kind) for text in HOSTILE for kind in ("", "trouble")]
    cells: list[list[str | Cell]] = [
        [text, Cell(text, number)] for number, text in enumerate(HOSTILE)
    ]
    wide = [str(number) for number in range(40)]
    blocks: list[Block] = [
        Facts([Fact(text, text, text) for text in HOSTILE]),
        Facts([Fact("top-1", "0.976", "standard error 0.009")], large=True),
        Code("\n".join(HOSTILE)),
        Svg('<svg width="50" height="50"><rect width="9" height="9"/></svg>', HOSTILE[3]),
        Images([Image(pixel + b"\x02\x02D\x01\0;", "image/gif", text, 32) for text in HOSTILE]),
        Table(["text", "number"], cells, [1], HOSTILE[0]),
        Table(wide, [wide], caption="wide", folded=True),
    ]
    charts = Charts([line_chart("loss", HOSTILE[0]), line_chart("rate", HOSTILE[1])])
    sections = [
        Section(HOSTILE[2], "texts", texts),
        Section("blocks", "blocks", blocks),
        Section("curves", "curves", [charts, line_chart("alone")]),
    ]
    return Page(HOSTILE[1], sections, HOSTILE[0])


def test_a_page_without_charts_has_no_library() -> None:
    text = render_page(Page("a & b", [Section("c", "c", [Text("d < e")])]))
    assert "<title>a &amp; b</title>" in text
    assert "<p>d &lt; e</p>" in text
    assert len(text) < 20_000
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', unescape(text))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy


def test_charts_of_a_page_differ_in_name() -> None:
    page = Page("", [Section("", "a", [line_chart(), Charts([line_chart()])])])
    with pytest.raises(ValueError, match="same name"):
        render_page(page)


def check_page(page: Any, dark: bool) -> None:
    """It fits its window, has its theme and charts, and foreign text is text."""
    assert overflow(page) <= 0
    assert page.title() == HOSTILE[1]
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") != dark
    assert page.locator(".chart svg").count() == 3
    shown = page.locator("#texts p").all_inner_texts()
    assert [" ".join(text.split()) for text in shown] == [
        " ".join(text.split()) for text in HOSTILE for _ in range(2)
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("vega")
def test_a_page_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """It opens without errors and requests, fits its window, sorts, zooms; foreign text is text."""
    path = tmp_path / "page.html"
    path.write_text(render_page(full_page()), encoding="utf-8")
    with opened(browser, path, NARROW, dark=True) as page:
        check_page(page, dark=True)
    with opened(browser, path, WIDE) as page:
        check_page(page, dark=False)
        numbers = "() => [...document.querySelectorAll('td[data-value]')].map(c => c.dataset.value)"
        head = page.locator("th button", has_text="number")
        head.click()
        head.click()
        assert page.evaluate(numbers) == [str(n) for n in reversed(range(len(HOSTILE)))]
        page.locator("#loss .plot").scroll_into_view_if_needed()
        zoomed = page.evaluate(
            "async () => { await views.get('loss').signal('zoom_at', [50, 100]).runAsync();"
            " return views.get('rate').signal('zoom_at'); }"
        )
        assert zoomed == [50, 100]
        page.locator("#theme").click()
        assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
