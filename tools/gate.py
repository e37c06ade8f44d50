"""`sqgen gate`."""

from __future__ import annotations

import codecs
import io
import json
import sys
from pathlib import Path
from typing import cast

import click

from ..errors import FormatError
from ..formats.files import STDIN, display_name, read_bytes
from ..logs.gate import GateOptions, all_passed
from ..logs.read_log import read_log
from ..logs.result import LogResult
from ..report.gate_report import checks_json
from ..text import printable
from .gate_options import apply_gate, gate_options, print_checks
from .terminal import print_json

JSON_LIMIT = 1 << 28


@click.command()
@click.argument("source", metavar="RESULT|LOG")
@gate_options
@click.option("--images", type=click.IntRange(min=1), help="images tested, if the log does not say")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def gate(source: str, images: int | None, as_json: bool, gate: GateOptions) -> None:
    """Check the scores of a result: exit code 0 if they pass, 1 if they fail, 2 for misuse.

    RESULT|LOG is a log of Caffe or the output of `sqgen log parse --json`; - is standard input.
    SCORE is top1, top5, loss or an output's own name. A run that did not complete, or whose loss
    is not a number, always fails.

    \b
    Examples:
      sqgen gate test.log --expect top1=0.6038+-0.001 --min top5=0.82
      sqgen gate test.log --published residual --within 2se
      sqgen gate test.log --baseline accuracy.json --junit gate.xml
    """
    if not gate.has_checks:
        raise click.UsageError(
            "nothing to check: give --expect, --min, --max, --published or --baseline"
        )
    result = _read_result(source)
    if None not in (images, result.images) and images != result.images:
        raise click.UsageError(f"--images {images}: the log says {result.images}")
    count = result.images if result.images is not None else images
    checks = apply_gate(gate, result, count)
    if as_json:
        print_json(checks_json(checks, count))
    else:
        print_checks(checks, gate, result, count)
    raise SystemExit(0 if all_passed(checks) else 1)


def _read_result(source: str) -> LogResult:
    """Read a result from JSON, or parse a log."""
    if not _looks_like_json(source):
        result = read_log(sys.stdin.buffer if source == STDIN else source, keep_rows=False)
        empty = source != STDIN and not Path(source).stat().st_size
        if not (result.segments or result.scores or result.fatal or result.signals or empty):
            raise FormatError(
                f"{printable(source)}: is neither a log of Caffe nor a result of sqgen"
            )
        return result
    name = display_name(source)
    try:
        plain = json.loads(read_bytes(source, JSON_LIMIT, "a result").decode("utf-8-sig"))
    except ValueError as error:
        raise FormatError(f"{name}: begins like JSON, but is invalid: {error}") from None
    except RecursionError:
        raise FormatError(f"{name}: is nested too deeply for a result") from None
    if not isinstance(plain, dict):
        raise FormatError(f"{name}: holds several results; give one")
    try:
        return LogResult.from_dict(plain)
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
