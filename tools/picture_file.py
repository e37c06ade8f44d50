"""Write a chart to the file that a command's flag names, as a picture or a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..formats.files import check_file_target, write_files
from ..text import printable

if TYPE_CHECKING:
    from ..report.charts import Chart

dark_option = click.option("--dark", is_flag=True, help="light on dark")


class PictureFile:
    """A file for charts, checked before the work on them begins.

    Args:
        path: its suffix names its format.
        flag: that of `path`, for messages.
        force: whether to replace it.
        dark: whether it is light on dark.

    Raises:
        DesignError: the suffix names no format.
        MissingExtraError: the renderer is not installed.
        OutputError: it can't be written.
    """

    def __init__(self, path: str, flag: str, force: bool, dark: bool) -> None:
        from ..report.charts import PAGE, PICTURES, picture_format, require_renderer

        self._format = picture_format(path, flag, (*PICTURES, PAGE))
        self._path, self._force, self._dark = Path(path), force, dark
        check_file_target(self._path, force)
        require_renderer()

    def write(
        self,
        charts: Sequence[Chart],
        join: Callable[[Sequence[Chart]], Chart] = lambda charts: charts[0],
        title: str = "",
        note: str = "",
    ) -> None:
        """Write charts, and say so.

        Args:
            charts: of a page; they zoom together.
            join: makes one chart of them, for a picture.
            title: of a page; empty for that of the first chart.
            note: below the charts of a page.
        """
        from ..report.charts import PAGE, render_chart
        from ..report.theme import DARK, LIGHT

        if self._format == PAGE:
            data = _page(charts, title or charts[0].title, note, self._dark)
        else:
            data = render_chart(join(charts), self._format, DARK if self._dark else LIGHT)
        write_files({self._path: data}, self._force)
        click.echo(f"wrote {printable(str(self._path))}", err=True)


def _page(charts: Sequence[Chart], title: str, note: str, dark: bool) -> bytes:
    from ..report.page import Block, Charts, Page, Section, Text, render_page

    blocks: list[Block] = [Charts(charts)]
    if note:
        blocks.append(Text(note, "note"))
    return render_page(Page(title, [Section("", "charts", blocks)]), dark).encode()
