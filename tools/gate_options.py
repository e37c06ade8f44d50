"""What a result is held to: the options that `sqgen gate` and `sqgen test` share, and reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..errors import DesignError, OutputError
from ..formats.files import check_file_target, error_reason, write_files
from ..logs.gate import (
    Check,
    Expectation,
    Tolerance,
    against_baseline,
    check_names,
    parse_expectation,
    parse_tolerance,
    published,
    read_baseline,
    refuse_percent,
    sound,
    write_baseline,
)
from ..logs.result import LogResult
from ..models.card import read_card
from ..nets.solver_rules import IMAGENET_VALIDATION
from ..report.table import table
from ..text import printable
from .terminal import echo

_OPTIONS = (
    click.option(
        "--expect",
        multiple=True,
        metavar="SCORE=X+-T",
        help="top1=0.6038+-0.001, or +-2se [the digits given]",
    ),
    click.option("--min", "least", multiple=True, metavar="SCORE=X", help="at least"),
    click.option("--max", "most", multiple=True, metavar="SCORE=X", help="at most"),
    click.option("--published", "preset", metavar="NAME", help="what was published for a preset"),
    click.option("--baseline", metavar="FILE", help="no worse than what FILE holds"),
    click.option("--update-baseline", is_flag=True, help="write --baseline from this result"),
    click.option("--within", metavar="T", help="tolerance of --published and --baseline [0.001]"),
    click.option("--junit", metavar="FILE", help="write JUnit XML too"),
    click.option("--markdown", metavar="FILE", help="append a Markdown table, for a CI's page"),
)
WITHIN = "0.001"
_NAMES = (
    "expect",
    "least",
    "most",
    "preset",
    "baseline",
    "update_baseline",
    "within",
    "junit",
    "markdown",
)


def gate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets one argument `gate` for all of them."""

    @wraps(command)
    def with_gate_options(**values: Any) -> Any:
        given = {name: values.pop(name) for name in _NAMES}
        return command(**values, gate=GateOptions.of(**given))

    wrapped: Callable[..., Any] = with_gate_options
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


@dataclass(frozen=True)
class GateOptions:
    """What a result is held to, and where it is reported.

    Attributes:
        expectations: scores and their bounds, the published ones too.
        preset: whose published scores are among them, or None.
        baseline: the file of a baseline, or None.
        update_baseline: whether it is written from the result, instead of held.
        tolerance: of what was published, and of the baseline.
        junit, markdown: reports to write, or None.
    """

    expectations: list[Expectation]
    preset: str | None
    baseline: Path | None
    update_baseline: bool
    tolerance: Tolerance
    junit: Path | None
    markdown: str | None

    @classmethod
    def of(
        cls,
        expect: tuple[str, ...],
        least: tuple[str, ...],
        most: tuple[str, ...],
        preset: str | None,
        baseline: str | None,
        update_baseline: bool,
        within: str | None,
        junit: str | None,
        markdown: str | None,
    ) -> GateOptions:
        """What was typed.

        Raises:
            DesignError: a score or a tolerance is something else.
            click.UsageError: options that don't go together.
        """
        expectations = _expectations(expect, least, most)
        tolerance = _tolerance(within or WITHIN)
        if preset is not None:
            expectations += published(read_card(preset), tolerance)
        if update_baseline and baseline is None:
            raise click.UsageError("--update-baseline: say which with --baseline FILE")
        if within is not None and preset is None and baseline is None:
            raise click.UsageError("--within is of --published and --baseline: give one of them")
        if (junit or markdown) and not expectations and baseline is None:
            raise click.UsageError("--junit and --markdown report what is held: give --expect")
        return cls(
            expectations,
            preset,
            None if baseline is None else Path(baseline),
            update_baseline,
            tolerance,
            None if junit is None else Path(junit),
            markdown,
        )

    @property
    def has_checks(self) -> bool:
        """Whether anything was asked for."""
        return bool(self.expectations) or self.baseline is not None

    def check(self) -> None:
        """Look at what can be looked at before anything runs.

        Raises:
            FormatError: the baseline is not there, or none.
            DesignError: an accuracy above 1.
            OutputError: a report can't be written.
        """
        for one in self.expectations:
            if re.fullmatch(r"(?:net\d+:)?top[-_]?\d+", one.name.lower()):
                refuse_percent(one)
        if self.junit is not None:
            check_file_target(self.junit, force=True)
        if self.baseline is not None and not self.update_baseline:
            read_baseline(self.baseline)

    def evaluate(self, result: LogResult, images: int | None) -> list[Check]:
        """Hold a result, and write the reports and the baseline that were asked for.

        Args:
            result: the result.
            images: that it is of, where that is known.

        Raises:
            DesignError: a score that the result does not have.
            OutputError: a report can't be written.
        """
        if self.preset is not None and images is None:
            images = IMAGENET_VALIDATION  # what was published is of these
        check_names(result, self.expectations)
        checks = [*sound(result), *(one.check(result, images) for one in self.expectations)]
        if self.baseline is not None and not self.update_baseline:
            had = read_baseline(self.baseline)
            checks += against_baseline(had, result, images, self.tolerance)
        _write_reports(checks, result, images, self.junit, self.markdown)
        if self.update_baseline and self.baseline is not None:
            _update(self.baseline, result, images, passes(checks))
        return checks


def passes(checks: list[Check]) -> bool:
    """Whether all hold."""
    return all(check.passed for check in checks)


def checks_json(checks: list[Check], images: int | None) -> dict[str, Any]:
    """Plain data of what was held (docs/ci.md)."""
    plain = [check._asdict() for check in checks]
    return {"passed": passes(checks), "images": images, "checks": plain}


def _update(baseline: Path, result: LogResult, images: int | None, passed: bool) -> None:
    written = "replaced, as asked" if baseline.exists() else "written"
    if passed:
        write_baseline(baseline, result, images)
    done = written if passed else "not written: the result does not hold"
    click.echo(f"baseline {printable(str(baseline))} {done}", err=True)


def _expectations(
    expect: tuple[str, ...], least: tuple[str, ...], most: tuple[str, ...]
) -> list[Expectation]:
    given = (("=", expect), (">=", least), ("<=", most))
    return [parse_expectation(text, relation) for relation, texts in given for text in texts]


def _tolerance(text: str) -> Tolerance:
    try:
        return parse_tolerance(text)
    except ValueError:
        raise DesignError(
            f"--within {printable(text)}: write an amount or standard errors, such as 0.001 or 2se"
        ) from None


def print_checks(checks: list[Check], result: LogResult, images: int | None) -> None:
    """Print what was held, as a table."""
    rows = [_row(check) for check in checks]
    lines = table(["held", "expected", "got", "difference", "", "why"], rows, right=(2, 3))
    echo(lines[0], bold=True)
    for line, check in zip(lines[1:], checks, strict=True):
        echo(line, fg="green" if check.passed else "red")
    of = f" of {images:,} images" if images else ""
    verdict = "pass" if passes(checks) else "FAIL"
    echo(f"{verdict}: {result.source}{of}", bold=True)


def _row(check: Check) -> list[str]:
    difference = "" if check.difference is None else f"{check.difference:+.6g}"
    return [
        check.name,
        check.expected,
        check.got,
        difference,
        "pass" if check.passed else "FAIL",
        "; ".join(filter(None, [check.reason, _noise(check)])),
    ]


def _noise(check: Check) -> str:
    """Whether the difference is more than chance: two standard errors."""
    if check.noise is None or check.difference is None:
        return ""
    word = "within" if abs(check.difference) <= 2 * check.noise else "beyond"
    return f"{word} noise (standard error {check.noise:.2g})"


def _write_reports(
    checks: list[Check],
    result: LogResult,
    images: int | None,
    junit: Path | None,
    markdown: str | None,
) -> None:
    if junit is not None:
        write_files({junit: _junit(checks, result)}, force=True)
    if markdown is not None:
        try:
            with open(markdown, "a", encoding="utf-8", errors="replace") as file:
                file.write(_markdown(checks, result, images))
        except OSError as error:
            reason = error_reason(error)
            raise OutputError(f"{printable(markdown)}: can't write: {reason}") from None


def _junit(checks: list[Check], result: LogResult) -> bytes:
    import xml.etree.ElementTree as Xml

    failed = sum(not check.passed for check in checks)
    suite = Xml.Element("testsuite", name="sqgen gate")
    suite.set("tests", str(len(checks)))
    suite.set("failures", str(failed))
    for check in checks:
        case = Xml.SubElement(suite, "testcase", classname=_xml(result.net or "net"))
        case.set("name", _xml(check.name))
        if not check.passed:
            text = f"expected {check.expected}, got {check.got}. {check.reason}"
            Xml.SubElement(case, "failure", message=_xml(text.strip()))
    return bytes(Xml.tostring(suite, encoding="utf-8", xml_declaration=True))


def _xml(text: str) -> str:
    """Text without the characters that XML has no way to say."""
    return "".join(c if c.isprintable() else " " for c in text)


def _markdown(checks: list[Check], result: LogResult, images: int | None) -> str:
    verdict = "pass" if passes(checks) else "**FAIL**"
    of = f", {images:,} images" if images else ""
    rows = [" | ".join(cell.replace("|", "\\|") for cell in _row(check)) for check in checks]
    lines = [
        f"### sqgen gate: {verdict} ({result.net or result.source}{of})",
        "",
        "| held | expected | got | difference | | why |",
        "|---|---|---|---|---|---|",
        *(f"| {row} |" for row in rows),
    ]
    return "\n".join([*lines, "", ""])
