"""`sqgen gate`."""

from __future__ import annotations

import click

from ..logs.gate import GateOptions
from ..logs.read_result import read_result
from ..report.gate_report import verdict_json
from .gate_options import apply_gate, gate_options, print_verdict
from .terminal import print_json


@click.command()
@click.argument("source", metavar="RESULT|LOG")
@gate_options
@click.option("--images", type=click.IntRange(min=1), help="images tested, if the log does not say")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def gate(source: str, images: int | None, as_json: bool, gate: GateOptions) -> None:
    """Check the scores of a result: exit code 0 if they pass, 1 if they fail, 2 for misuse.

    RESULT|LOG is a log of Caffe, the output of `sqgen log parse --json`, or a run folder; - is
    standard input.
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
    result = read_result(source, keep_rows=False)
    if None not in (images, result.images) and images != result.images:
        raise click.UsageError(f"--images {images}: the log says {result.images}")
    count = result.images if result.images is not None else images
    verdict = apply_gate(gate, result, count, source)
    if as_json:
        print_json(verdict_json(verdict))
    else:
        print_verdict(verdict, gate, result)
    raise SystemExit(0 if verdict.passed else 1)
