"""`sqgen errors`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import FormatError
from ..formats.files import STDIN, check_file_target, display_name, write_files
from ..logs.kept_predictions import read_kept_predictions
from ..logs.read_result import RESULT, read_result
from ..report.gate_report import comparison_json
from ..text import printable
from .class_names import labels_option, read_labels, require_names
from .page_file import check_page_files, figures_option, write_page_files
from .picture_file import dark_option
from .terminal import print_json, print_lines, terminal_width, write

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation
    from ..formats.predictions import Predictions
    from ..logs.result import LogResult
    from ..report.page import Page


@click.command()
@click.argument("file", metavar="PREDICTIONS")
@labels_option
@click.option("--against", metavar="OLD", help="compare with the predictions of another test")
@click.option(
    "--count", type=click.IntRange(min=0), metavar="N", help="images to list of each kind [10]"
)
@click.option("--confusion", metavar="FILE", help="write the confusion matrix as CSV; - prints it")
@click.option("-o", "--out", metavar="FILE", help="also write a page with charts: .html")
@figures_option
@dark_option
@click.option("--force", is_flag=True, help="replace files that exist")
@click.option("--json", "as_json", is_flag=True, help="print JSON (docs/errors.md)")
def errors(
    file: str,
    labels: str | None,
    against: str | None,
    count: int | None,
    confusion: str | None,
    out: str | None,
    figures: str | None,
    dark: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Show where a net errs: scores and their errors, images, confusions, classes.

    PREDICTIONS is a file of sqgen test --predictions, the run folder of such a test, or - for
    standard input. With --against, images are matched by their keys, and McNemar's exact test
    says whether the two nets differ. The page of -o shows the images too where it is given the run
    folder of a test whose dataset is still there.

    \b
    Examples:
      sqgen errors p.csv --labels classes.txt
      sqgen errors new.npz --against old.npz
      sqgen errors p.csv --labels imagenet --confusion - > confusion.csv
      sqgen errors runs/20261126-110939-net -o errors.html --figures figures
    """
    from ..evaluation.evaluate import evaluate_predictions
    from ..evaluation.paired import compare_predictions
    from ..report import errors_text as report

    _check_usage(file, against, confusion, out, as_json)
    if confusion not in (None, STDIN):
        check_file_target(Path(str(confusion)), force)
    if out is not None or figures is not None:
        check_page_files(out, figures, force, "a page with charts")
    count = report.COUNT if count is None else count
    predictions, result = read_any_predictions(file)
    evaluation = evaluate_predictions(predictions)
    names = _class_names(labels, evaluation, result, file)
    compared = None
    if against is not None:
        compared = compare_predictions(read_any_predictions(against)[0], predictions)
    if out is not None or figures is not None:
        page = _page(file, predictions, evaluation, names, result)
        write_page_files(page, out, figures, dark, force)
        if out == STDIN:
            return
    if confusion is not None:
        text = report.confusion_csv(evaluation, names)
        if confusion == STDIN:
            write(text)
            return
        write_files({Path(confusion): text.encode()}, force)
        click.echo(f"wrote {printable(confusion)}", err=True)
    if as_json:
        plain = report.evaluation_json(predictions, evaluation, names, count)
        against_plain = None if compared is None else comparison_json(compared)
        print_json({**plain, "against": against_plain})
    elif compared is not None:
        print_lines(report.format_comparison(compared, count))
    else:
        width = terminal_width()
        print_lines(report.format_evaluation(predictions, evaluation, names, count, width))


def _check_usage(
    file: str, against: str | None, confusion: str | None, out: str | None, as_json: bool
) -> None:
    """Refuse to read standard input twice, or to print two things to standard output.

    Raises:
        click.UsageError: so it is.
    """
    if file == against == STDIN:
        raise click.UsageError("--against -: standard input holds one file; name the other")
    if confusion == STDIN and as_json:
        raise click.UsageError("--confusion -: prints CSV; give it or --json")
    if out == STDIN and (as_json or confusion == STDIN):
        raise click.UsageError("-o -: prints a page; give it without --json and --confusion -")


def _class_names(
    labels: str | None, evaluation: Evaluation, result: LogResult | None, source: str
) -> list[str] | None:
    """Return the names of `labels`, or else those that the run folder of a test tells."""
    classes = evaluation.classes[-1].class_index + 1
    if labels is not None:
        names = read_labels(labels)
        require_names(names, classes, labels)
        return names
    if result is None:
        return None
    from ..runner.tested_data import class_names_of_test

    return class_names_of_test(result, classes, source)


def _page(
    file: str,
    predictions: Predictions,
    evaluation: Evaluation,
    names: Sequence[str] | None,
    result: LogResult | None,
) -> Page:
    from ..report.error_sections import Pictures, error_sections, pictured_keys
    from ..report.page import Page
    from ..report.tested_pictures import read_pictures

    if result is None:
        pictures = Pictures(remark="No pictures: sqgen errors shows them of a run folder.")
    else:
        pictures = read_pictures(result, file, pictured_keys(predictions))
    sections = error_sections(predictions, evaluation, names, pictures)
    return Page("Where it errs", sections, display_name(file))


def read_any_predictions(file: str) -> tuple[Predictions, LogResult | None]:
    """Read a file of predictions, or those of a run folder, with its result.

    Raises:
        FormatError: there are none, or they can't be read.
    """
    from ..formats.predictions import read_predictions

    if file == STDIN or not os.path.isdir(file):
        return read_predictions(file), None
    if not Path(file, RESULT).is_file():
        shown = display_name(file)
        raise FormatError(f"{shown}: is no run folder; give one, or a file of predictions")
    result = read_result(file, keep_rows=False)
    found = read_kept_predictions(result, file)
    if found is None:
        raise FormatError(
            f"{display_name(file)}: its test kept no predictions; test again, with --predictions"
        )
    return found, result
