"""Figures with matplotlib: what every plot shares."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DesignError
from ..extras import required
from ..text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
LABEL = 60  # characters; a longer one is shortened in its middle


def figure_format(path: str, flag: str) -> str:
    """Return the format that a file's suffix names.

    Raises:
        DesignError: none of `FORMATS`; the message begins with `flag`.
    """
    suffix = Path(path).suffix[1:].lower()
    if suffix not in FORMATS:
        raise DesignError(f"{flag} {printable(path)}: end it in .png, .svg or .pdf")
    return suffix


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; `width` and `height` are inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with required("matplotlib", "drawing"):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="constrained")


def figure_label(name: str) -> str:
    """Return a name as a label that matplotlib draws as it is.

    It takes what stands between dollars for a formula, and leaves out of legends what begins with
    an underscore.
    """
    shown = printable(name, LABEL).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def render_figure(figure: Figure, file_format: str) -> bytes:
    """Return a figure as a file of one of `FORMATS`; equal figures give equal bytes."""
    import matplotlib as mpl

    out = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(file_format, {})
    with mpl.rc_context({"svg.hashsalt": "sqgen"}), warnings.catch_warnings():
        # Characters that its font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from")
        figure.savefig(out, format=file_format, dpi=150, metadata=metadata)
    return out.getvalue()
