"""`sqgen log`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import FormatError
from ..formats.files import STDIN, NewFiles, display_name
from ..logs.csv_rows import CsvRows
from ..logs.read_result import find_log, read_caffe_log, read_result
from ..logs.result import LogResult
from ..logs.rows import LastLosses
from ..report.log_text import (
    Losses,
    RowPrinter,
    format_optional,
    format_result,
    format_results,
    last_losses,
)
from ..report.table import table
from ..text import printable
from .expand_runs import expand_runs
from .group import Group
from .picture_file import PictureFile, dark_option
from .search_record import find_journal, print_search, search_charts
from .terminal import echo, print_json, print_lines, terminal_width, warn

if TYPE_CHECKING:
    from ..search.record import SearchRecord


@click.group(cls=Group, file_command="parse")
def log() -> None:
    """Read Caffe's logs; print or draw what happened as a table, JSON, CSV or curves.

    \b
    Examples:
      sqgen log parse train.log
      sqgen log parse train.log --csv curves
      sqgen log plot train.log -o curves.png
    """


@log.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--table", "as_table", is_flag=True, help="print a table (the default)")
@click.option(
    "--json", "as_json", is_flag=True, help="print JSON (docs/log.md); a list for several files"
)
@click.option("--csv", "folder", metavar="DIR", help="write a CSV file per kind of row into DIR")
@click.option("--force", is_flag=True, help="with --csv, replace files that exist")
@click.option("--follow", is_flag=True, help="read on as the file grows, until the run is over")
def parse(
    files: tuple[str, ...],
    as_table: bool,
    as_json: bool,
    folder: str | None,
    force: bool,
    follow: bool,
) -> None:
    """Print what happened in logs of caffe train, test and time; of several, a row each.

    FILE is a log of any version of Caffe, also as .gz, a folder of a run or of several, a result of
    --json, the trials.jsonl of sqgen prune or quantize, or - for standard input. Anything odd in a
    log is a warning in its result, never an error.

    \b
    Examples:
      sqgen log parse train.log
      caffe time --model net.prototxt 2>&1 | sqgen log parse - --json
      sqgen log parse run1.log.gz run2.log --csv curves
    """
    if as_table + as_json + (folder is not None) > 1:
        raise click.UsageError("--table, --json and --csv: give only one")
    if follow and (len(files) > 1 or folder is not None):
        raise click.UsageError("--follow: give one file, and no --csv")
    if folder == STDIN:
        raise click.UsageError("--csv -: give a folder; CSV of several kinds is several files")
    journal = find_journal(files)
    if journal is not None:
        if follow or folder is not None:
            raise click.UsageError("--csv, --follow: don't go with the journal of a search")
        print_search(_read_search(journal), as_json)
        return
    files = expand_runs(files)
    if folder is not None:
        folders = [_csv_folder(folder, file, files) for file in files]
        if len(set(folders)) < len(files):
            raise click.UsageError("--csv: two logs have the same name; give them one by one")
        for file, folder_of_file in zip(files, folders, strict=True):
            _write_csv(file, folder_of_file, force)
        return
    if as_json:
        plain = [_read(file, True, follow)[0].as_dict() for file in files]
        print_json(plain if len(plain) > 1 else plain[0])
        return
    results = [_read(file, False, follow) for file in files]
    width = terminal_width()
    several = len(results) > 1
    print_lines(
        format_results(results, width) if several else format_result(*results[0], width=width)
    )


@log.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "-o", "--out", required=True, metavar="OUT", help="a .png, .svg, .pdf or .html to write"
)
@click.option(
    "--x",
    type=click.Choice(["iterations", "time"]),
    default="iterations",
    help="horizontal axis [iterations]",
)
@click.option("--log-scale", is_flag=True, help="losses and learning rates on a logarithmic scale")
@click.option("--smooth", type=click.IntRange(min=1), default=1, help="average N training losses")
@dark_option
@click.option("--force", is_flag=True, help="replace OUT if it exists")
def plot(
    files: tuple[str, ...],
    out: str,
    x: str,
    log_scale: bool,
    smooth: int,
    dark: bool,
    force: bool,
) -> None:
    """Draw loss, accuracy and learning rate of trainings, each in its colour and dashes.

    Runs of a resumed training are joined; a log of two trainings has two. A cross marks where a
    loss became nan or inf; accuracies beside it are left out. Of a long log, the points are drawn
    that one would see. An .html is a page to zoom in, without network. Of the trials.jsonl of sqgen
    prune: the channels that the best trial keeps, and all scores.

    \b
    Examples:
      sqgen log plot train.log -o curves.png
      sqgen log plot run1.log run2.log -o curves.html --x time --smooth 20
    """
    from ..report.training_charts import describe_sampling, stack_charts, training_charts
    from ..report.training_runs import read_trainings

    picture = PictureFile(out, "-o", force, dark)
    journal = find_journal(files)
    if journal is not None:
        if x != "iterations" or log_scale or smooth != 1:
            raise click.UsageError("--x, --log-scale, --smooth: go with logs, not with a search")
        _plot_search(journal, picture)
        return
    files = expand_runs(files)
    runs, empty = read_trainings(files, x, smooth)
    for file in empty:
        warn(f"{display_name(file)}: has no training rows, and is left out")
    note = describe_sampling([run.training for run in runs])
    picture.write(
        training_charts(runs, x, log_scale),
        join=lambda charts: stack_charts("curves", "curves", charts, note),
        title=printable(runs[0].name) if len(runs) == 1 else f"{len(runs)} trainings",
        note=note,
    )


@log.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def compare(a: str, b: str, as_json: bool) -> None:
    """Compare two logs: final and best scores, speed, and where their losses differ first.

    \b
    Example:
      sqgen log compare before.log after.log
    """
    from ..logs.compare import compare_logs, describe_first_differences

    results = [read_result(file) for file in (a, b)]
    rows, differences = compare_logs(*results), list(describe_first_differences(*results))
    if as_json:
        plain = [{**row._asdict(), "difference": row.difference} for row in rows]
        print_json({"compared": plain, "parting": differences})
        return
    cells = [[row.name, *map(format_optional, (row.a, row.b, row.difference))] for row in rows]
    print_lines(table(["", "A", "B", "B - A"], cells, right=(1, 2, 3), width=terminal_width()))
    print_lines(differences)


def _read_search(journal: Path) -> SearchRecord:
    from ..pruning.search_record import read_search  # loads NumPy
    from ..quantization.search_record import read_quantization
    from ..search.journal import read_journal

    is_of_bits = "layers" in read_journal(journal)[0]
    return read_quantization(journal) if is_of_bits else read_search(journal)


def _plot_search(journal: Path, picture: PictureFile) -> None:
    from ..report.search_chart import search_picture

    charts = search_charts(_read_search(journal))
    if not charts:
        raise FormatError(f"{printable(str(journal))}: has no trials yet")
    picture.write(charts, search_picture)


def _read(file: str, as_json: bool, follow: bool) -> tuple[LogResult, Losses]:
    """Read a result, and the losses that its training displayed last."""
    last = RowPrinter(echo) if follow else LastLosses()
    rows = None if as_json else last
    if follow:
        result = read_caffe_log(find_log(file), rows, keep_rows=as_json, follow=True)
    else:
        result = read_result(file, keep_rows=as_json, rows=rows)
    return result, last.by_segment or last_losses(result)


def _csv_folder(folder: str, file: str, files: tuple[str, ...]) -> Path:
    """Return the folder of a log: `folder` itself, or one named as the log if there are several."""
    if len(files) == 1:
        return Path(folder)
    return Path(folder) / _name(file)


def _name(file: str) -> str:
    """Return a log's name without its folder and endings."""
    name = "stdin" if file == STDIN else Path(file).name
    return name.removesuffix(".gz").removesuffix(".log")


def _write_csv(file: str, folder: Path, force: bool) -> None:
    with NewFiles(force) as files:
        rows = CsvRows(folder, files)
        result = read_caffe_log(find_log(file), rows, keep_rows=False)
        rows.add_layer_times(result.layer_times)
        written = rows.finish()
    warn(*(f"{printable(file)}: {line}" for line in result.warnings))
    names = ", ".join(path.name for path in written) or "nothing: no rows"
    click.echo(f"wrote {names} in {printable(str(folder))}", err=True)
