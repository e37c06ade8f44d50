"""The options of the gate, shared by `sqgen gate` and `sqgen test`, and their output."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import DesignError, OutputError
from ..formats.files import check_file_target, error_reason, write_files
from ..logs.baseline import write_baseline
from ..logs.expectation import (
    Tolerance,
    parse_expectation,
    parse_tolerance,
    published_expectations,
)
from ..logs.gate import DEFAULT_TOLERANCE, GateOptions, Verdict, evaluate
from ..logs.kept_predictions import read_kept_predictions
from ..logs.result import LogResult
from ..report.gate_report import (
    HEADS,
    check_cells,
    describe_subject,
    failure_messages,
    junit_xml,
    markdown_table,
)
from ..report.table import table_rows
from ..text import printable
from .completion import complete_presets
from .terminal import echo, terminal_width

if TYPE_CHECKING:
    from ..formats.predictions import Predictions

_OPTIONS = (
    click.option(
        "--expect",
        multiple=True,
        metavar="SCORE=X+-T",
        help="top1=0.6038+-0.001, +-1% or +-2se [its decimals]",
    ),
    click.option("--min", "minimum", multiple=True, metavar="SCORE=X", help="at least X"),
    click.option("--max", "maximum", multiple=True, metavar="SCORE=X", help="at most X"),
    click.option(
        "--published",
        "preset",
        metavar="NAME",
        help="reproduce the published scores of a preset",
        shell_complete=complete_presets,
    ),
    click.option("--baseline", metavar="FILE", help="no worse than the scores in FILE"),
    click.option("--update-baseline", is_flag=True, help="write --baseline from this result"),
    click.option(
        "--within",
        metavar="T",
        help=f"tolerance of --published and --baseline [{DEFAULT_TOLERANCE.amount:g}]",
    ),
    click.option("--junit", metavar="FILE", help="also write JUnit XML"),
    click.option("--markdown", metavar="FILE", help="append a Markdown table, for a CI's page"),
)


class _Values(NamedTuple):
    """The values of the options, as click parsed them."""

    expect: tuple[str, ...]
    minimum: tuple[str, ...]
    maximum: tuple[str, ...]
    preset: str | None
    baseline: str | None
    update_baseline: bool
    within: str | None
    junit: str | None
    markdown: str | None


def gate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which receives all of them as one argument `gate`."""

    @wraps(command)
    def with_gate_options(**values: Any) -> Any:
        mine = {name: values.pop(name) for name in _Values._fields}
        return command(**values, gate=parse_gate(mine))

    wrapped: Callable[..., Any] = with_gate_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def parse_gate(typed: Mapping[str, Any]) -> GateOptions:
    """Parse what was typed, by name of the option.

    Raises:
        DesignError: a score or a tolerance is malformed.
        click.UsageError: options that don't go together.
    """
    values = _Values(**{name: typed[name] for name in _Values._fields})
    preset, baseline = values.preset, values.baseline
    bounds = (("=", values.expect), (">=", values.minimum), ("<=", values.maximum))
    expectations = [parse_expectation(text, relation) for relation, ts in bounds for text in ts]
    tolerance = DEFAULT_TOLERANCE if values.within is None else _parse_within(values.within)
    if preset is not None:
        from ..models.card import read_card

        expectations += published_expectations(read_card(preset), tolerance)
    if values.update_baseline and baseline is None:
        raise click.UsageError("--update-baseline: name the file with --baseline FILE")
    if values.within is not None and preset is None and baseline is None:
        raise click.UsageError("--within: give --published or --baseline, whose tolerance it is")
    if (values.junit or values.markdown) and not expectations and baseline is None:
        raise click.UsageError("--junit and --markdown: nothing to report; give --expect")
    return GateOptions(
        tuple(expectations),
        preset,
        None if baseline is None else Path(baseline),
        values.update_baseline,
        tolerance,
        None if values.junit is None else Path(values.junit),
        values.markdown,
    )


def _parse_within(text: str) -> Tolerance:
    try:
        return parse_tolerance(text)
    except ValueError:
        raise DesignError(
            f"--within {printable(text)}: write an amount, such as 0.001, 1% or 2se"
        ) from None


def validate_gate(gate: GateOptions) -> None:
    """Check the options and the files they name before anything runs.

    Raises:
        FormatError: there is no baseline, or the file is none.
        DesignError: an accuracy above 1.
        OutputError: the JUnit file can't be written.
    """
    gate.validate()
    if gate.junit is not None:
        check_file_target(gate.junit, force=True)


def apply_gate(
    gate: GateOptions, result: LogResult, images: int | None, source: str = ""
) -> Verdict:
    """Check a result; write the reports and the baseline that the options name.

    In GitHub Actions, print each failed check as an annotation of the run, too.

    Args:
        gate: the options.
        result: the result.
        images: number of images that its scores average, if known.
        source: what the result was read from.

    Raises:
        FormatError: predictions that the result or the baseline names are not there.
        DesignError: an expected score that the result does not have.
        OutputError: a file can't be written.
    """
    verdict = evaluate(gate, result, images, source)
    checks, subject = verdict.checks, describe_subject(result, gate, verdict)
    if gate.junit is not None:
        write_files({gate.junit: junit_xml(checks, result, subject)}, force=True)
    if gate.markdown is not None:
        _append(gate.markdown, markdown_table(verdict, subject))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for message in failure_messages(checks):
            # An annotation of the run; the percent sign is its escape character.
            click.echo(f"::error title=sqgen gate::{message.replace('%', '%25')}", err=True)
    if gate.update_baseline and gate.baseline is not None:
        kept = read_kept_predictions(result, source) if verdict.passed else None
        _update_baseline(gate.baseline, result, verdict, kept)
    return verdict


def _append(path: str, text: str) -> None:
    try:
        with open(path, "a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{printable(path)}: can't write: {error_reason(error)}") from None


def _update_baseline(
    path: Path, result: LogResult, verdict: Verdict, predictions: Predictions | None
) -> None:
    outcome = "replaced" if os.path.exists(path) else "written"
    if verdict.passed:
        write_baseline(path, result, verdict.images, predictions)
        outcome += "" if predictions is None else ", with predictions"
    else:
        outcome = "not written: the result fails the gate"
    click.echo(f"baseline {printable(str(path))} {outcome}", err=True)


def print_verdict(verdict: Verdict, gate: GateOptions, result: LogResult) -> None:
    """Print the checks as a table, if there are any, and the verdict."""
    checks = verdict.checks
    if checks:
        cells = [check_cells(check) for check in checks]
        heads, *rows = table_rows(HEADS, cells, right=(2, 3), width=terminal_width())
        for line in heads:
            echo(line, bold=True)
        for lines, check in zip(rows, checks, strict=True):
            for line in lines:
                echo(line, fg="green" if check.passed else "red")
    word = "pass" if verdict.passed else "FAIL"
    echo(f"{word}: {describe_subject(result, gate, verdict)}", bold=True)
