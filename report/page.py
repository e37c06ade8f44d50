"""A report as one self-contained page of HTML, which needs no network and runs no foreign code."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from .. import templates
from .charts import SCHEMA, Chart, vega_bundle
from .theme import PAGE, chart_config, css_variables

TEMPLATE, STYLE, SCRIPT = "page.html.j2", "page_style.css.j2", "page_script.js.j2"


@dataclass(frozen=True)
class Text:
    """A paragraph.

    `kind` is `""`, `note` (small), or how it ended: `good`, `bad`, `trouble`.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Code:
    """Lines as they are, such as a command or the end of a log."""

    text: str


@dataclass(frozen=True)
class Fact:
    """A named value; `detail` stands smaller behind it; `kind` is as for `Text`, or `void`."""

    name: str
    value: str
    detail: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Facts:
    """Named values below each other; `large` ones stand beside each other, as scores do."""

    facts: Sequence[Fact]
    large: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        value: by which it sorts; None for the text.
        kind: as for `Fact`.
        target: the id of a section that it leads to.
    """

    text: str
    value: float | str | None = None
    kind: str = ""
    target: str = ""


@dataclass(frozen=True)
class Table:
    """A table, which a click on a heading sorts.

    Attributes:
        heads: of its columns.
        rows: a string or `Cell` a column.
        right: columns with numbers, aligned right.
        caption: above it, if any.
        folded: whether only its caption shows at first.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    right: Sequence[int] = ()
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Charts:
    """Charts above each other that show the same part of their horizontal axis."""

    charts: Sequence[Chart]


@dataclass(frozen=True)
class Svg:
    """A picture in SVG that sqgen made: it goes into the page unescaped."""

    svg: str
    label: str


@dataclass(frozen=True)
class Image:
    """A picture of pixels, in the page itself.

    Attributes:
        data: the bytes of a file of that type.
        media_type: such as `image/png`.
        caption: below it.
        width: in pixels, or None for its own.
        detail: smaller lines below the caption.
        missing: why there is no picture, in its place.
    """

    data: bytes
    media_type: str
    caption: str = ""
    width: int | None = None
    detail: str = ""
    missing: str = ""

    @property
    def address(self) -> str:
        """The picture as an address."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Images:
    """Pictures beside each other; `small` ones, of up to 96 pixels, in cells of one size."""

    images: Sequence[Image]
    small: bool = False


Block = Text | Code | Facts | Table | Chart | Charts | Svg | Images


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: its heading.
        id: its anchor: small letters, digits, hyphens.
        blocks: in order.
        is_part: whether it belongs to the section before: a smaller heading, not in the list of
            sections.
    """

    title: str
    id: str
    blocks: Sequence[Block]
    is_part: bool = False


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: its heading.
        sections: in order.
        subtitle: below the heading.
    """

    title: str
    sections: Sequence[Section]
    subtitle: str = ""


def render_page(page: Page, dark: bool = False) -> str:
    """Return a page as HTML.

    Args:
        page: the page.
        dark: dark whatever the reader prefers; otherwise as the reader's system has it.

    Raises:
        MissingExtraError: it has charts, and their library is not installed.
    """
    charts = page_charts(page)
    scripts = [vega_bundle()] if charts else []
    # A chart of the page takes colours from its CSS, and so changes and prints with it.
    config = chart_config(PAGE)
    specs = {each.name: {"$schema": SCHEMA, **each.spec, "config": config} for each in charts}
    if len(specs) < len(charts):
        raise ValueError("two charts of a page have the same name")
    scripts.append(templates.render(SCRIPT))
    return templates.render(
        TEMPLATE,
        page=page,
        style=templates.render(STYLE, colours=css_variables()),
        scripts=scripts,
        hashes=[script_source(script) for script in scripts],
        specs=specs,
        dark=dark,
        kind=lambda block: type(block).__name__.lower(),
    )


def page_charts(page: Page) -> list[Chart]:
    """Return the charts of a page, in their order."""
    found: list[Chart] = []
    for block in (block for section in page.sections for block in section.blocks):
        if isinstance(block, Chart):
            found.append(block)
        elif isinstance(block, Charts):
            found += block.charts
    return found


def script_source(script: str) -> str:
    """Return the source expression that allows just this script (Content Security Policy 3)."""
    return f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'"
