"""Write a page, and its charts as figures, to the files that a command's flags name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import DesignError
from ..formats.files import STDIN, NewFiles, check_file_target
from ..text import bytes_text, printable
from .terminal import write

if TYPE_CHECKING:
    from ..report.charts import Chart
    from ..report.page import Page

figures_option = click.option(
    "--figures", metavar="DIR", help="also write each chart: .svg, .pdf, .png, .csv"
)


def check_page_files(page: str | None, figures: str | None, force: bool, purpose: str) -> None:
    """Check, before long work, that a page and figures can be written.

    Args:
        page: its file, `-` for standard output, or None.
        figures: their folder, or None.
        force: whether to replace files.
        purpose: what needs the renderer, for its error.

    Raises:
        DesignError: the page's suffix is another than .html.
        MissingExtraError: the renderer is not installed.
        OutputError: a file can't be written.
    """
    from ..report.charts import require_renderer

    require_renderer(purpose)
    if page not in (None, STDIN):
        path = Path(str(page))
        if path.suffix.lower() not in (".html", ".htm"):
            raise DesignError(f"-o {printable(str(path))}: end it in .html")
        check_file_target(path, force)
    if figures is not None:
        check_file_target(Path(figures) / "loss.svg", force)


def write_page_files(
    page: Page, target: str | None, figures: str | None, dark: bool, force: bool
) -> None:
    """Write a page and its figures, all or none, and say so.

    Args:
        page: the page.
        target: its file, `-` for standard output, or None.
        figures: the folder of the charts, or None.
        dark: whether they are light on dark.
        force: whether to replace files.
    """
    from ..report.page import page_charts, render_page

    text = b"" if target is None else render_page(page, dark).encode()
    charts = page_charts(page) if figures is not None else []
    with NewFiles(force) as files:
        if target not in (None, STDIN):
            files.open(Path(str(target))).write(text)
        for chart in charts:
            _write_figure(files, Path(figures or ""), chart, dark)
    if target == STDIN:
        write(text)
    elif target is not None:
        click.echo(f"wrote {printable(target)} ({bytes_text(len(text))})", err=True)
    if figures is not None:
        click.echo(f"wrote {len(charts)} figures in {printable(figures)}", err=True)


def _write_figure(files: NewFiles, folder: Path, chart: Chart, dark: bool) -> None:
    from ..report.charts import PICTURES, chart_csv, render_chart
    from ..report.theme import DARK, LIGHT

    for picture in PICTURES:
        data = render_chart(chart, picture, DARK if dark else LIGHT)
        files.open(folder / f"{chart.name}.{picture}").write(data)
    files.open(folder / f"{chart.name}.csv").write(chart_csv(chart))
