"""`sqgen test`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..evaluation.intervals import standard_error
from ..formats.files import write_files
from ..json_form import dumps
from ..logs.gate import GateOptions
from ..logs.kept_predictions import read_kept_predictions
from ..logs.read_result import VERDICT
from ..logs.result import LogResult
from ..logs.scores import score_names
from ..report.gate_report import verdict_json
from ..report.log_text import format_score
from ..report.table import table
from .bits_options import bits_options
from .class_names import labels_option, read_labels
from .gate_options import apply_gate, gate_options, print_verdict, validate_gate
from .run_options import (
    batch_option,
    data_option,
    engine_arguments,
    log_run_folder,
    mean_option,
    print_result_json,
    run_options,
)
from .state_options import level_option, stage_option
from .terminal import echo, print_lines, terminal_width, warn
from .worker_options import workers_option

if TYPE_CHECKING:
    from ..runner.options import RunOptions


@click.command()
@click.option(
    "--model", "--net", "model", required=True, metavar="NET", help="the net, a train_val prototxt"
)
@click.option(
    "--weights", required=True, metavar="W", help="a caffemodel, or several separated by commas"
)
@data_option
@click.option("--iterations", type=click.IntRange(min=1), help="batches [each image once]")
@batch_option
@mean_option
@click.option("--random-weights", is_flag=True, help="allow layers without weights")
@click.option("--predictions", metavar="FILE", help="write what the net says of each image")
@click.option("--per-class", is_flag=True, help="show classes, confusions, the worst images")
@labels_option
@click.option("--blob", metavar="NAME", help="the scores that are predictions, of several")
@bits_options
@click.option("--calibrated", metavar="FILE", help="write the file of bits, with ranges")
@click.option("--rounded", metavar="FILE", help="write the weights as they are quantized")
@click.option("--force", is_flag=True, help="replace the files of such options")
@stage_option
@level_option
@gate_options
@run_options
@engine_arguments
@workers_option
def test(
    as_json: bool,
    gate: GateOptions,
    options: RunOptions,
    per_class: bool,
    labels: str | None,
    **arguments: Any,
) -> None:
    """Test a net on each image of its dataset once, and check its scores.

    Runs --caffe, else the caffe of CAFFE_ROOT or of the PATH, else sqgen-caffe, and prints which.
    Options after -- go to it unchanged. The run folder in runs/ keeps log and result.

    \b
    Examples:
      sqgen test --model net.prototxt --weights w.caffemodel --data val_lmdb
      sqgen test --model net.prototxt --weights w.caffemodel --expect top1=0.6038
      sqgen test --model net.prototxt --weights w.caffemodel --predictions p.csv \\
        --per-class --labels classes.txt
      sqgen test --model net.prototxt --weights w.caffemodel --bits 4
      sqgen test --model net.prototxt --weights w.caffemodel --engine torch \\
        -- --precision bf16
    """
    from ..runner.test import test as run_test

    validate_gate(gate)
    class_names = None if labels is None else read_labels(labels)
    keep = keeps_predictions(gate, per_class)
    names = expected_names(gate)
    result = run_test(**arguments, scores=names, keep_predictions=keep, **vars(options))
    log_run_folder(result, options)
    details = None
    if per_class or arguments["predictions"] is not None:
        details = _Details(result, class_names, per_class)
    if not as_json:  # before the gate, which may raise
        print_lines(_score_lines(result))
        print_lines(details.lines() if details is not None else ())
    verdict = apply_gate(gate, result, result.images, result.run["folder"])
    shown = gate.has_checks or not verdict.passed
    if gate.has_checks:
        verdict_file = Path(result.run["folder"], VERDICT)
        write_files({verdict_file: dumps(verdict_json(verdict)).encode()}, force=True)
    if as_json:
        evaluation = {} if details is None else {"evaluation": details.json()}
        print_result_json(result, **evaluation, **(verdict_json(verdict) if shown else {}))
    elif shown:
        echo()
        print_verdict(verdict, gate, result)
    raise SystemExit(0 if verdict.passed else 1)


def expected_names(gate: GateOptions) -> list[str]:
    """Return the names of the scores that a test must have for its gate."""
    return [expectation.name for expectation in gate.expectations]


def keeps_predictions(gate: GateOptions, per_class: bool) -> bool | None:
    """Return whether a test keeps predictions; None: where engine and net give any."""
    return True if per_class else None if gate.compares_images else False


class _Details:
    """What a test says beyond its scores, from the predictions that it kept.

    Args:
        result: of the test.
        names: of the classes, or None; then those beside its dataset, or ImageNet's for its nets.
        per_class: whether to show classes, confusions and images.
    """

    def __init__(self, result: LogResult, names: list[str] | None, per_class: bool) -> None:
        from ..evaluation.evaluate import evaluate_predictions
        from ..runner.tested_data import class_names_of_test

        predictions = read_kept_predictions(result)
        assert predictions is not None
        self._predictions = predictions
        self._evaluation = evaluate_predictions(predictions)
        self._per_class = per_class
        classes = self._evaluation.classes[-1].class_index + 1
        if names is not None and len(names) < classes:  # no reason to lose the scores of a test
            warn(f"--labels: has {len(names)} labels, and class {classes - 1} occurs: not shown")
            names = None
        self._names = names or class_names_of_test(result, classes)

    def lines(self) -> Iterator[str]:
        """Yield the majority's score and the errors, and with --per-class all the rest."""
        from ..report import errors_text

        width = terminal_width()
        yield ""
        yield from errors_text.format_scores(self._evaluation, self._names, width, False)
        if self._per_class:
            shown = self._predictions, self._evaluation, self._names
            yield from errors_text.format_details(*shown, errors_text.COUNT, width)

    def json(self) -> dict[str, Any]:
        """Return the evaluation as plain data."""
        from ..report import errors_text

        shown = self._predictions, self._evaluation, self._names
        return errors_text.evaluation_json(*shown, errors_text.COUNT)


def _score_lines(result: LogResult) -> list[str]:
    """Format the scores as a table, with the standard error of accuracies."""
    rows = []
    for name, score in zip(score_names(result.scores), result.scores, strict=True):
        noise = standard_error(score.value, result.images) if score.k else None
        shown = f"{noise:.2g}" if noise else ""  # of 0 or 1 it means nothing
        rows.append([name, format_score(score), shown, score.name])
    is_exact = result.run["coverage"]["whole"]
    records = result.run["coverage"]["records"]
    of = f"{result.images:,}" + (f" of {records:,}" if records is not None else "")
    heads = ["score", "value", "standard error", "output"]
    remark = "" if is_exact or records is None else ", not each once"
    return [
        *table(heads, rows, right=(1, 2), width=terminal_width()),
        f"{of} images{remark}",
    ]
