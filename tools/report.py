"""`sqgen report`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .class_names import labels_option, read_labels
from .expand_runs import expand_runs
from .page_file import check_page_files, figures_option, write_page_files
from .picture_file import dark_option
from .terminal import print_json

if TYPE_CHECKING:
    from ..report.report_options import ReportOptions
    from ..report.reported_run import ReportedRun
    from ..studies.compression_report import Compression

DEFAULT = "report.html"


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("-o", "--out", metavar="FILE", help=f"the page to write; - prints it [{DEFAULT}]")
@figures_option
@labels_option
@dark_option
@click.option("--force", is_flag=True, help="replace files that exist")
@click.option(
    "--json", "as_json", is_flag=True, help="print the page's numbers instead (docs/report.md)"
)
def report(
    runs: tuple[str, ...],
    out: str | None,
    figures: str | None,
    labels: str | None,
    dark: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write a page on one run or several: verdict, curves, what ran and with what.

    RUN is a run folder, a folder of several, a log of Caffe (also as .gz), a result of sqgen log
    parse --json, or - for standard input; or the run folder of sqgen compress eval, or what
    compress eval or encode printed with --json. The page is one file, needs no network, and prints
    well.

    \b
    Examples:
      sqgen report runs/20261124-093000-solver
      sqgen report before.log after.log.gz -o compared.html --figures figures
      sqgen report runs/20261124-103000-tradeoff-net -o compression.html
    """
    from ..report.report_json import report_json
    from ..report.report_options import ReportOptions
    from ..report.reported_run import read_runs
    from ..studies.compression_report import compression_sections, read_stages

    if as_json and (out is not None or figures is not None):
        raise click.UsageError("--json: prints numbers; give it without -o and --figures")
    target = out or DEFAULT
    if not as_json:
        check_page_files(target, figures, force, "sqgen report")
    names = None if labels is None else read_labels(labels)
    compressions, others = _read_compressions(runs)
    sources = expand_runs(others) if others else ()
    found = read_runs(sources) if sources else []
    compressions += [stages for each in sources if (stages := read_stages(each)) is not None]
    if as_json:
        plain = [{"source": each.source, **each.plain} for each in compressions]
        print_json({**report_json(found), "compressions": plain})
        return
    options = ReportOptions(runs, names, compression_sections(compressions))
    write_report(found, options, target, figures, dark, force)


def _read_compressions(sources: tuple[str, ...]) -> tuple[list[Compression], tuple[str, ...]]:
    """Read what sqgen compress printed; return the other sources too."""
    from ..logs.read_result import find_runs
    from ..studies.compression_report import read_compression, read_stages

    read = [(source, read_compression(source)) for source in sources]
    # Stages that a resume of compress train only tests are in a folder without a training.
    read = [(s, found if found or find_runs(s) else read_stages(s)) for s, found in read]
    compressions = [found for _, found in read if found is not None]
    return compressions, tuple(source for source, found in read if found is None)


def write_report(
    runs: Sequence[ReportedRun],
    options: ReportOptions,
    target: str,
    figures: str | None,
    dark: bool,
    force: bool,
) -> None:
    """Write page and figures, all or none."""
    from ..report.report_page import report_page

    write_page_files(report_page(runs, options), target, figures, dark, force)
