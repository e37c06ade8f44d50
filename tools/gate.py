"""`sqgen gate`."""

from __future__ import annotations

import codecs
import io
import json
import sys
from pathlib import Path
from typing import cast

import click

from ..errors import DesignError, FormatError, OutputError, printable
from ..formats.files import STDIN, describe, read_bytes, write_files
from ..formats.solver import IMAGENET_VALIDATION
from .accuracy import (
    Check,
    Expectation,
    Tolerance,
    against_baseline,
    check_names,
    parse_expectation,
    parse_tolerance,
    published,
    read_baseline,
    sound,
    write_baseline,
)
from .card import read_card
from .logs.files import read_log
from .logs.result import LogResult, from_dict
from .terminal import echo, table

JSON_LIMIT = 1 << 28


@click.command()
@click.argument("source", metavar="RESULT|LOG")
@click.option("--expect", multiple=True, metavar="SCORE=X+-T", help="top1=0.6038+-0.001, or +-2se")
@click.option("--min", "least", multiple=True, metavar="SCORE=X", help="at least")
@click.option("--max", "most", multiple=True, metavar="SCORE=X", help="at most")
@click.option("--published", "preset", metavar="NAME", help="what was published for a preset")
@click.option("--baseline", metavar="FILE", help="no worse than what FILE holds")
@click.option("--update-baseline", is_flag=True, help="write --baseline from this result")
@click.option("--within", default="0.001", help="tolerance of --published and --baseline [0.001]")
@click.option("--images", type=click.IntRange(min=1), help="images tested, if the log can't tell")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.option("--junit", metavar="FILE", help="write JUnit XML too")
@click.option("--markdown", metavar="FILE", help="append a Markdown table, for a CI's page")
def gate(
    source: str,
    expect: tuple[str, ...],
    least: tuple[str, ...],
    most: tuple[str, ...],
    preset: str | None,
    baseline: str | None,
    update_baseline: bool,
    within: str,
    images: int | None,
    as_json: bool,
    junit: str | None,
    markdown: str | None,
) -> None:
    """Hold a result to what it should be: exit code 0 if it is, 1 if it is not, 2 for misuse.

    RESULT|LOG is a log of Caffe or what `sqgen log parse --json` made of one; - is standard
    input. SCORE is top1, top5, loss or an output's name. A run that did not complete, or whose
    loss is not a number, always fails.

    \b
    Examples:
      sqgen gate test.log --expect top1=0.6038+-0.001 --min top5=0.82 --max loss=1.8
      sqgen gate test.log --published residual --within 2se
      sqgen gate test.log --baseline accuracy.json --junit gate.xml
    """
    expectations = _expectations(expect, least, most)
    tolerance = _tolerance(within)
    if preset is not None:
        expectations += published(read_card(preset), tolerance)
    if update_baseline and baseline is None:
        raise click.UsageError("--update-baseline: say which with --baseline FILE")
    if not expectations and baseline is None:
        raise click.UsageError(
            "nothing to hold: give --expect, --min, --max, --published or --baseline"
        )
    result = _result(source)
    count = result.images if result.images is not None else images
    if None not in (images, result.images) and images != result.images:
        raise click.UsageError(f"--images {images}: the log tells of {result.images}")
    if preset is not None and count is None:
        count = IMAGENET_VALIDATION  # what was published is of these
    check_names(result, expectations)
    checks = [*sound(result), *(one.check(result, count) for one in expectations)]
    if baseline is not None and not update_baseline:
        checks += against_baseline(read_baseline(Path(baseline)), result, count, tolerance)
    passed = all(check.passed for check in checks)
    there = baseline is not None and Path(baseline).exists()
    _write_reports(checks, result, count, junit, markdown)
    if update_baseline and baseline is not None and passed:
        write_baseline(Path(baseline), result, count)
    _print(checks, result, count, as_json)
    if update_baseline:
        written = "replaced, as asked" if there else "written"
        done = written if passed else "not written: the result does not hold"
        click.echo(f"baseline {baseline} {done}", err=True)
    raise SystemExit(0 if passed else 1)


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


def _result(source: str) -> LogResult:
    """The result in a JSON file, or the one that a log tells."""
    if not _looks_like_json(source):
        return read_log(sys.stdin.buffer if source == STDIN else source, keep_rows=False)
    name = "standard input" if source == STDIN else printable(source)
    try:
        plain = json.loads(read_bytes(source, JSON_LIMIT, "a result").decode("utf-8-sig"))
    except ValueError as error:
        raise FormatError(f"{name}: begins like JSON, but is not: {error}") from None
    except RecursionError:
        raise FormatError(f"{name}: is nested too deeply for a result") from None
    if not isinstance(plain, dict):
        raise FormatError(f"{name}: holds several results; give one")
    try:
        return from_dict(plain)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from None


def _looks_like_json(source: str) -> bool:
    if source == STDIN:
        if sys.stdin is None:
            raise FormatError("standard input is closed")
        start = cast(io.BufferedReader, sys.stdin.buffer).peek(64)[:64]
    else:
        try:
            with open(source, "rb") as file:
                start = file.read(64)
        except (OSError, ValueError):
            return False
    return start.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"{", b"["))


def _print(checks: list[Check], result: LogResult, images: int | None, as_json: bool) -> None:
    if as_json:
        plain = [check._asdict() for check in checks]
        passed = all(check.passed for check in checks)
        echo(json.dumps({"passed": passed, "images": images, "checks": plain}, indent=2))
        return
    rows = [_row(check) for check in checks]
    lines = table(["held", "expected", "got", "difference", "", "why"], rows, right=(2, 3))
    echo(lines[0], bold=True)
    for line, check in zip(lines[1:], checks, strict=True):
        echo(line, fg="green" if check.passed else "red")
    of = f" of {images:,} images" if images else ""
    verdict = "pass" if all(check.passed for check in checks) else "FAIL"
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
    junit: str | None,
    markdown: str | None,
) -> None:
    if junit is not None:
        write_files({Path(junit): _junit(checks, result)}, force=True)
    if markdown is not None:
        try:
            with open(markdown, "a", encoding="utf-8", errors="replace") as file:
                file.write(_markdown(checks, result, images))
        except OSError as error:
            reason = describe(error)
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
    verdict = "pass" if all(check.passed for check in checks) else "**FAIL**"
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
