"""The colours of charts and pages, light and dark, and what charts share: fonts, grid, dashes.

The colours of lines are those of Okabe and Ito (Color Universal Design, 2008), which the
colour-blind tell apart; lines differ in their dashes too, since prints may lack colour.
"""

from __future__ import annotations

from typing import Any, NamedTuple

FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
# Lengths of dashes and gaps, in pixels; the first line is solid.
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [4, 2, 1, 2, 1, 2], [1, 3], [12, 3, 4, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")  # of markers
LEGEND_LABEL = 320  # pixels of a name, which `chart_label` has shortened already
AXIS_WIDTH = 42  # pixels for the labels of a vertical axis, so that charts above each other align
# For heat maps; legible on both grounds.
SEQUENTIAL = "viridis"


class Theme(NamedTuple):
    """The colours of a theme, as CSS writes them.

    Attributes:
        ground: behind everything.
        ink: text.
        faint: text that matters less, axes.
        grid: lines behind a chart.
        good, bad: of verdicts, and marks of trouble.
        lines: of data, in order.
    """

    ground: str
    ink: str
    faint: str
    grid: str
    good: str
    bad: str
    lines: tuple[str, ...]


LIGHT = Theme(
    ground="#ffffff",
    ink="#1a1a1a",
    faint="#5c5c5c",
    grid="#e2e2e2",
    good="#00724f",
    bad="#b3261e",
    lines=(
        *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
        *("#e69f00", "#56b4e9", "#000000", "#8a8100"),
    ),
)
DARK = Theme(
    ground="#16181c",
    ink="#ececec",
    faint="#a6a9af",
    grid="#33373d",
    good="#4cc9a0",
    bad="#ff8a80",
    lines=(
        *("#56b4e9", "#e69f00", "#009e73", "#cc79a7"),
        *("#f0e442", "#d55e00", "#ffffff", "#3f8fd0"),
    ),
)
# The variables of CSS that hold them, so that a chart in a page changes with it.
_VARIABLES = {name: f"var(--{name})" for name in Theme._fields[:-1]}
_LINES = tuple(f"var(--line-{number})" for number in range(len(LIGHT.lines)))
PAGE = Theme(**_VARIABLES, lines=_LINES)


def css_variables() -> dict[str, str]:
    """Return the variables of a page's CSS: name to value, light and dark in one."""
    pairs = zip(_named_colours(LIGHT), _named_colours(DARK), strict=True)
    return {name: f"light-dark({light}, {dark})" for (name, light), (_, dark) in pairs}


def _named_colours(theme: Theme) -> list[tuple[str, str]]:
    plain = list(zip(Theme._fields[:-1], theme[:-1], strict=True))
    return plain + [(f"line-{number}", colour) for number, colour in enumerate(theme.lines)]


def chart_config(theme: Theme) -> dict[str, Any]:
    """Return Vega-Lite's `config` of a theme."""
    return {
        "background": None if theme is PAGE else theme.ground,
        "font": FONT,
        "padding": {"left": 4, "top": 4, "right": 20, "bottom": 4},  # labels of ends stand out
        "range": {"category": list(theme.lines)},
        "view": {"stroke": None},
        "axis": _axis(theme),
        "axisY": {"minExtent": AXIS_WIDTH},
        "legend": _legend(theme),
        "title": {"color": theme.ink, "anchor": "start", "fontSize": 13, "fontWeight": "bold"},
        "header": {"labelColor": theme.ink, "titleColor": theme.ink},
        "mark": {"color": theme.lines[0]},
        "line": {"strokeWidth": 1.6},
        "point": {"filled": True, "size": 36, "opacity": 1},
        "rule": {"color": theme.faint},
        "style": _styles(theme),
        "text": {"color": theme.ink, "fontSize": 11},
    }


def _axis(theme: Theme) -> dict[str, Any]:
    return {
        "labelColor": theme.ink,
        "titleColor": theme.ink,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": theme.grid,
        "gridWidth": 0.6,
        "domainColor": theme.faint,
        "tickColor": theme.faint,
        "labelLimit": 240,
        "labelSeparation": 8,
    }


def _legend(theme: Theme) -> dict[str, Any]:
    """Return the look of legends: above the chart, so that they cover no line."""
    return {
        "orient": "top",
        "layout": {"top": {"direction": "vertical", "anchor": "start"}},
        "title": None,
        "labelColor": theme.ink,
        "titleColor": theme.ink,
        "labelFontSize": 12,
        "labelLimit": LEGEND_LABEL,
        "symbolType": "stroke",
        "symbolBaseFillColor": theme.ink,
        "symbolSize": 250,
        "symbolStrokeWidth": 2,
        "columnPadding": 18,
        "offset": 8,
    }


def _styles(theme: Theme) -> dict[str, Any]:
    """Return the looks of marks that are no data: where a curve breaks off, and resumes."""
    return {
        "break": {
            "shape": "M-.5,-.5L.5,.5M.5,-.5L-.5,.5",
            "color": theme.bad,
            "opacity": 1,
            "strokeWidth": 2,
            "size": 90,
            "filled": False,
        },
        "break-rule": {"color": theme.bad, "strokeDash": [2, 3]},
        "break-text": {"color": theme.bad, "fontSize": 11},
        "resume": {"color": theme.faint, "strokeDash": [1, 3]},
        "resume-text": {"color": theme.faint, "fontSize": 10},
    }
