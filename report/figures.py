"""Pictures with matplotlib: what every plot of sqgen shares."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..extras import required
from ..text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


def kind_of(path: str, flag: str) -> str:
    """The format that a file's name asks for.

    Raises:
        click.UsageError: none of `FORMATS`.
    """
    kind = Path(path).suffix[1:].lower()
    if kind not in FORMATS:
        raise click.UsageError(f"{flag} {printable(path)}: end it in .png, .svg or .pdf")
    return kind


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with required("matplotlib", "drawing"):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="constrained")


def drawing(drawn: Figure, kind: str) -> bytes:
    """The bytes of a figure as one of `FORMATS`; the same figure, the same bytes."""
    import matplotlib as mpl

    out = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    with mpl.rc_context({"svg.hashsalt": "sqgen"}):
        drawn.savefig(out, format=kind, dpi=150, metadata=metadata)
    return out.getvalue()
