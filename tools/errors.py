"""`sqgen errors`."""

from __future__ import annotations

import os
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
from .terminal import print_json, print_lines, terminal_width, write

if TYPE_CHECKING:
    from ..formats.predictions import Predictions


@click.command()
@click.argument("file", metavar="PREDICTIONS")
@labels_option
@click.option("--against", metavar="OLD", help="compare with the predictions of another test")
@click.option(
    "--count", type=click.IntRange(min=0), metavar="N", help="images to list of each kind [10]"
)
@click.option("--confusion", metavar="FILE", help="write the confusion matrix as CSV; - prints it")
@click.option("--force", is_flag=True, help="replace the file of --confusion")
@click.option("--json", "as_json", is_flag=True, help="print JSON (docs/errors.md)")
def errors(
    file: str,
    labels: str | None,
    against: str | None,
    count: int | None,
    confusion: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Show where a net errs: scores and their errors, images, confusions, classes.

    PREDICTIONS is a file of sqgen test --predictions, the run folder of such a test, or - for
    standard input. With --against, images are matched by their keys, and McNemar's exact test
    says whether the two nets differ.

    \b
    Examples:
      sqgen errors p.csv --labels classes.txt
      sqgen errors new.npz --against old.npz
      sqgen errors p.csv --labels imagenet --confusion - > confusion.csv
    """
    from ..evaluation.evaluate import evaluate_predictions
    from ..evaluation.paired import compare_predictions
    from ..report import errors_text as report

    if confusion == STDIN and as_json:
        raise click.UsageError("--confusion -: prints CSV; give it or --json")
    if file == against == STDIN:
        raise click.UsageError("--against -: standard input holds one file; name the other")
    if confusion not in (None, STDIN):
        check_file_target(Path(str(confusion)), force)
    count = report.COUNT if count is None else count
    predictions = read_any_predictions(file)
    evaluation = evaluate_predictions(predictions)
    names = None if labels is None else read_labels(labels)
    if names is not None and labels is not None:
        require_names(names, evaluation.classes[-1].class_index + 1, labels)
    compared = None
    if against is not None:
        compared = compare_predictions(read_any_predictions(against), predictions)
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


def read_any_predictions(file: str) -> Predictions:
    """Read a file of predictions, or those of a run folder.

    Raises:
        FormatError: there are none, or they can't be read.
    """
    from ..formats.predictions import read_predictions

    if file == STDIN or not os.path.isdir(file):
        return read_predictions(file)
    if not Path(file, RESULT).is_file():
        shown = display_name(file)
        raise FormatError(f"{shown}: is no run folder; give one, or a file of predictions")
    found = read_kept_predictions(read_result(file, keep_rows=False), file)
    if found is None:
        raise FormatError(
            f"{display_name(file)}: its test kept no predictions; test again, with --predictions"
        )
    return found
