"""The checks of a gate as table rows, JSON, JUnit XML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..logs.expectation import Check
from ..logs.gate import GateOptions, Verdict
from ..logs.result import LogResult
from ..text import printable

if TYPE_CHECKING:
    from ..evaluation.paired import PairedComparison

HEADS = ("check", "expected", "got", "difference", "", "remark")


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain data (docs/ci.md)."""
    compared = verdict.by_image
    return {
        "passed": verdict.passed,
        "images": verdict.images,
        "checks": [check._asdict() for check in verdict.checks],
        "by_image": None if compared is None else comparison_json(compared),
    }


def comparison_json(compared: PairedComparison) -> dict[str, Any]:
    """Return a comparison of two tests by image as plain data."""
    return {**compared._asdict(), "p_value": compared.p_value}


def check_cells(check: Check) -> list[str]:
    """Return the cells of a check, under `HEADS`."""
    difference = "" if check.difference is None else f"{check.difference:+.6g}"
    verdict = "pass" if check.passed else "FAIL"
    return [check.name, check.expected, check.got, difference, verdict, check.reason]


def describe_subject(result: LogResult, options: GateOptions, verdict: Verdict) -> str:
    """Return what was checked: net, weights, baseline and images, as far as they are known.

    First comes the comparison by image, where the baseline keeps predictions.
    """
    weights = result.run.get("weights") or next(reversed(result.snapshots), None)
    parts = [
        verdict.remark if verdict.by_image is None else str(verdict.by_image),
        result.net,
        f"weights {weights}" if weights else "",
        f"baseline {options.baseline}" if options.baseline is not None else "",
        f"{verdict.images:,} images" if verdict.images else "",
        result.source,
    ]
    return printable(", ".join(filter(None, parts)))


def failure_messages(checks: Sequence[Check]) -> list[str]:
    """Return a sentence for each check that failed."""
    return [printable(f"{check.name}: {_failure(check)}") for check in checks if not check.passed]


def _failure(check: Check) -> str:
    reason = f"; {check.reason}" if check.reason else ""
    return f"expected {check.expected}, got {check.got}{reason}"


def junit_xml(checks: Sequence[Check], result: LogResult, subject: str) -> bytes:
    """Return JUnit XML, a test case per check; `subject` is of `describe_subject`."""
    import xml.etree.ElementTree as Xml

    failed = sum(not check.passed for check in checks)
    suite = Xml.Element("testsuite", name="sqgen gate")
    suite.set("tests", str(len(checks)))
    suite.set("failures", str(failed))
    properties = Xml.SubElement(suite, "properties")
    Xml.SubElement(properties, "property", name="subject", value=_xml_text(subject))
    for check in checks:
        case = Xml.SubElement(suite, "testcase", classname=_xml_text(result.net or "net"))
        case.set("name", _xml_text(check.name))
        if not check.passed:
            text = f"{_failure(check)} ({subject})"
            Xml.SubElement(case, "failure", message=_xml_text(text))
    return bytes(Xml.tostring(suite, encoding="utf-8", xml_declaration=True))


def _xml_text(text: str) -> str:
    """Replace the characters that XML can't represent."""
    return "".join(c if c.isprintable() else " " for c in text)


def markdown_table(verdict: Verdict, subject: str) -> str:
    """Return a Markdown heading and table, for the summary page of a CI.

    Args:
        verdict: the verdict.
        subject: of `describe_subject`.
    """
    checks, word = verdict.checks, "pass" if verdict.passed else "**FAIL**"
    # A line's beginning may also make it a list, or a heading of the line before.
    shown = re.sub(r"^(\s*\d*)([-=.])", r"\1\\\2", _markdown_text(subject))
    lines = [f"### sqgen gate: {word}", "", shown, ""]
    if checks:
        lines += [_markdown_row(HEADS), "|---|---|---|---|---|---|"]
        lines += [_markdown_row(map(_markdown_text, check_cells(check))) for check in checks]
        lines.append("")
    return "\n".join([*lines, ""])


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_text(text: str) -> str:
    """Escape what Markdown and its HTML would interpret: names may come from a stranger's net."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~@&$])", r"\\\1", printable(text))
