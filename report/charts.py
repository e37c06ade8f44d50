"""Charts as values: a Vega-Lite specification and the numbers that it draws."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import DesignError
from ..extras import required
from ..text import csv_cell, escaped, printable
from .theme import LIGHT, Theme, chart_config

PICTURES = ("png", "svg", "pdf")  # formats of `render_chart`
PAGE = "html"  # the format of a page with a chart
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
VERSION = "6.4"  # of Vega-Lite
PIXELS_PER_INCH = 192  # of a PNG; a chart's width and height count 72 an inch
LABEL = 48  # characters of a label; a longer one is shortened in its middle
# Drag moves a chart; the wheel zooms only with Ctrl, as on maps, else it scrolls the page.
ZOOM: Mapping[str, Any] = {
    "name": "zoom",
    "select": {"type": "interval", "zoom": "wheel![event.ctrlKey || event.metaKey]"},
    "bind": "scales",
}
_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Chart:
    """A chart, and its numbers.

    Attributes:
        name: of its files and its element in a page: small letters, digits and hyphens.
        title: what it shows, for people.
        spec: in Vega-Lite 6, without `$schema` and `config`; its sizes are numbers, its data inline
            values, all text in it has passed `chart_label`, and colours come from the theme's
            range. In a page it is as wide as that; its `usermeta` may say `widest` and
            `narrowest` (pixels), `square`, and `canvas` for thousands of marks.
        columns: heads of its numbers.
        rows: of its numbers, a value a column; None where there is none.
        note: what to know of it, below it in a page: that it is sampled, or what a mark means.
    """

    name: str
    title: str
    spec: Mapping[str, Any]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a chart")


def chart_label(text: str, limit: int = LABEL) -> str:
    """Return a name as a label: on one line, printable, not too long."""
    return printable(text, limit)


def picture_format(path: str, flag: str, formats: Sequence[str] = PICTURES) -> str:
    """Return the format that a file's suffix names.

    Raises:
        DesignError: none of `formats`; the message begins with `flag`.
    """
    suffix = Path(path).suffix[1:].lower()
    if suffix not in formats:
        *most, last = (f".{each}" for each in formats)
        known = f"{', '.join(most)} or {last}" if most else last
        raise DesignError(f"{flag} {printable(path)}: end it in {known}")
    return suffix


def require_renderer(purpose: str = "drawing") -> Any:
    """Return the module `vl_convert`.

    Raises:
        MissingExtraError: it is not installed.
    """
    with required("vl_convert", purpose):
        import vl_convert
    return vl_convert


def render_chart(chart: Chart, picture: str, theme: Theme = LIGHT) -> bytes:
    """Return a chart as a file of one of `PICTURES`.

    Equal charts give equal bytes, but for the order of fonts in a PDF.

    Raises:
        MissingExtraError: the renderer is not installed.
    """
    renderer = require_renderer()
    svg = renderer.vegalite_to_svg(
        json.dumps({"$schema": SCHEMA, **chart.spec}, allow_nan=False),
        vl_version=VERSION,
        config=chart_config(theme),
        allowed_base_urls=[],
    )
    return svg_picture(f"{_renumber(svg)}\n", picture)


def svg_picture(svg: str, picture: str) -> bytes:
    """Return an SVG as a file of one of `PICTURES`.

    Raises:
        MissingExtraError: the renderer is not installed, which only SVG does without.
    """
    if picture == "svg":
        return svg.encode()
    renderer = require_renderer(f"writing .{picture}")
    if picture == "pdf":
        return bytes(renderer.svg_to_pdf(svg))
    return bytes(renderer.svg_to_png(svg, ppi=PIXELS_PER_INCH))


def _renumber(svg: str) -> str:
    """Number the definitions of a picture from 0: Vega numbers those of all its pictures."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"{match[1]}{numbers.setdefault(match[2], len(numbers))}"

    return re.sub(r"""((?:id="|url\(#)(?:clip|gradient_))(\d+)""", number, svg)


def chart_csv(chart: Chart) -> bytes:
    """Return a chart's numbers as CSV; a name that a spreadsheet would run gets an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (chart.columns, *chart.rows):
        writer.writerow(csv_cell(escaped(cell)) if isinstance(cell, str) else cell for cell in row)
    return text.getvalue().encode()


@lru_cache(maxsize=1)
def vega_bundle() -> str:
    """Return the JavaScript of Vega-Lite and Vega for pages, about 900 kB; it defines `vegaEmbed`.

    Takes some seconds once a process.

    Raises:
        MissingExtraError: the renderer is not installed.
    """
    return str(require_renderer("a page with charts").javascript_bundle(vl_version=VERSION))
