"""The checks of a gate as table rows, JSON, JUnit XML and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..logs.expectation import Check
from ..logs.gate import all_passed
from ..logs.result import LogResult
from ..text import printable

HEADS = ("check", "expected", "got", "difference", "", "remark")


def checks_json(checks: Sequence[Check], images: int | None) -> dict[str, Any]:
    """Return the checks as plain data (docs/ci.md)."""
    plain = [check._asdict() for check in checks]
    return {"passed": all_passed(checks), "images": images, "checks": plain}


def check_cells(check: Check) -> list[str]:
    """Return the cells of a check, under `HEADS`."""
    difference = "" if check.difference is None else f"{check.difference:+.6g}"
    return [
        check.name,
        check.expected,
        check.got,
        difference,
        "pass" if check.passed else "FAIL",
        "; ".join(filter(None, [check.reason, _compare_with_noise(check)])),
    ]


def _compare_with_noise(check: Check) -> str:
    """Return whether the difference is within noise: at most two standard errors."""
    if check.noise is None or check.difference is None:
        return ""
    word = "within" if abs(check.difference) <= 2 * check.noise else "beyond"
    return f"{word} noise (standard error {check.noise:.2g})"


def junit_xml(checks: Sequence[Check], result: LogResult) -> bytes:
    """Return JUnit XML, a test case per check."""
    import xml.etree.ElementTree as Xml

    failed = sum(not check.passed for check in checks)
    suite = Xml.Element("testsuite", name="sqgen gate")
    suite.set("tests", str(len(checks)))
    suite.set("failures", str(failed))
    for check in checks:
        case = Xml.SubElement(suite, "testcase", classname=_xml_text(result.net or "net"))
        case.set("name", _xml_text(check.name))
        if not check.passed:
            text = f"expected {check.expected}, got {check.got}. {check.reason}"
            Xml.SubElement(case, "failure", message=_xml_text(text.strip()))
    return bytes(Xml.tostring(suite, encoding="utf-8", xml_declaration=True))


def _xml_text(text: str) -> str:
    """Replace the characters that XML can't represent."""
    return "".join(c if c.isprintable() else " " for c in text)


def markdown_table(checks: Sequence[Check], result: LogResult, images: int | None) -> str:
    """Return a Markdown heading and table, for the summary page of a CI."""
    verdict = "pass" if all_passed(checks) else "**FAIL**"
    count = f", {images:,} images" if images else ""
    lines = [f"### sqgen gate: {verdict} ({printable(result.net or result.source)}{count})", ""]
    if checks:
        rows = [_markdown_row(map(printable, check_cells(check))) for check in checks]
        lines += [_markdown_row(HEADS), "|---|---|---|---|---|---|", *rows, ""]
    return "\n".join([*lines, ""])


def _markdown_row(cells: Iterable[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"
