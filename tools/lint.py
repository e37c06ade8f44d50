"""`sqgen lint`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..errors import FormatError, printable
from ..formats import prototxt
from ..formats.files import STDIN
from ..formats.layers import Shape
from ..formats.lint import ERROR, RULES, lint_net
from ..formats.net import Net, is_solver, parse_net, parse_solver, read_net, read_text
from ..formats.shapes import infer_shapes
from ..formats.solver import lint_solver, lint_test_iter
from .terminal import echo, parse_image, table, warn

Row = dict[str, Any]


@click.command()
@click.argument("nets", metavar="NET...", nargs=-1)
@click.option("--solver", metavar="FILE", help="also hold its test_iter against the net's batch")
@click.option("--images", type=click.IntRange(min=1), help="images in the validation set")
@click.option("--image", metavar="CxHxW", help="images of data layers that don't say their size")
@click.option("--stage", "stages", multiple=True, metavar="NAME", help="keep layers of a stage too")
@click.option("--rules", is_flag=True, help="list the rules and end")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def lint(
    nets: tuple[str, ...],
    solver: str | None,
    images: int | None,
    image: str | None,
    stages: tuple[str, ...],
    rules: bool,
    as_json: bool,
) -> None:
    """Check nets: what Caffe would refuse (errors), and what was hardly meant (warnings).

    NET is a prototxt, or a solver, which is checked with the net it names. Exit code 1 if there
    is an error, 0 if there are only warnings or nothing.

    \b
    Examples:
      sqgen lint trainval.prototxt
      sqgen lint trainval.prototxt --solver solver.prototxt --images 50000
      sqgen lint --rules
    """
    if rules:
        if nets:
            raise click.UsageError("--rules goes alone")
        _print_rules(as_json)
        return
    if not nets:
        raise click.UsageError("give a net, or --rules")
    if (*nets, solver).count(STDIN) > 1:
        raise click.UsageError("-: standard input can be read once")
    shape = parse_image(image)
    rows: list[Row] = []
    for path in nets:
        text, source = read_text(path)
        if solver is None and is_solver(text):
            net, held = _net_of_solver(text, source), parse_solver(text, source)
        else:
            net = parse_net(text, source)
            held = parse_solver(*read_text(solver)) if solver is not None else None
        for warning in net.warnings:
            warn(warning)
        net = replace(net, stages=net.stages | set(stages))
        if held is None:
            rows += _net_rows(net, shape)
            if images is not None:
                raise click.UsageError("--images goes with a solver: it holds test_iter to them")
        else:
            trained, tested = states(net, held)
            rows += _net_rows(trained, shape, ["TRAIN"]) + _net_rows(tested, shape, ["TEST"])
            rows += _solver_rows(held, solver or path, tested, images, shape)
    if as_json:
        echo(json.dumps(rows, indent=2))
    else:
        _print_rows(rows)
    errors = sum(row["severity"] == ERROR for row in rows)
    raise SystemExit(1 if errors else 0)


def states(net: Net, solver: Any) -> tuple[Net, Net]:
    """The net as a solver trains it and as it first tests it."""
    tested = solver.test_state[0] if solver.test_state else None
    return net.in_state(solver.train_state), net if tested is None else net.in_state(tested)


def _net_rows(
    net: Net, image: Shape | None, phases: Sequence[str] = ("TRAIN", "TEST")
) -> list[Row]:
    return [
        {
            "place": finding.place,
            "severity": finding.rule.severity,
            "rule": finding.rule.name,
            "phases": list(finding.phases),
            "message": finding.message,
        }
        for finding in lint_net(net, image, phases)
    ]


def _net_of_solver(text: str, source: str) -> Net:
    """The net that a solver names: from the working folder, as Caffe does, or beside it."""
    solver = parse_solver(text, source)
    for field in ("net_param", "train_net_param"):
        if solver.HasField(field):
            return parse_net(prototxt.to_text(getattr(solver, field)), f"{source} ({field})")
    named = solver.net or solver.train_net or next(iter(solver.test_net), "")
    if not named:
        raise FormatError(f"{printable(source)}: a solver that names no net; give the net too")
    beside = Path(source).parent / named
    if not beside.exists() and not Path(named).exists():
        raise FormatError(
            f"{printable(source)}: its net {printable(named)} is not there; give the net and"
            " --solver"
        )
    return read_net(beside if beside.exists() and not Path(named).exists() else named)


def _solver_rows(
    solver: Any, path: str, net: Net, images: int | None, image: Shape | None
) -> list[Row]:
    rule = RULES["solver"]
    row = {"place": path, "severity": rule.severity, "rule": rule.name, "phases": []}
    rows: list[Row] = [{**row, "message": message} for message in lint_solver(solver)]
    layers = infer_shapes(net, "TEST", image).layers
    if not layers or not solver.test_iter:
        return rows
    scores = next((item.bottoms[0] for item in layers if item.layer.type == "Accuracy"), None)
    message = lint_test_iter(
        solver.test_iter[0], layers[0].tops[0][0], images, scores[1] if scores else None
    )
    rule = RULES["test-iter"]
    row = {"place": path, "severity": rule.severity, "rule": rule.name, "phases": ["TEST"]}
    return [*rows, {**row, "message": message}] if message else rows


def _print_rows(rows: list[Row]) -> None:
    for row in rows:
        phases = "" if len(row["phases"]) != 1 else f" ({row['phases'][0]})"
        colour = "red" if row["severity"] == ERROR else "yellow"
        echo(
            f"{row['place']}: {row['severity']}: {row['message']}{phases} [{row['rule']}]",
            fg=colour,
        )
    errors = sum(row["severity"] == ERROR for row in rows)
    if not rows:
        echo("no findings")
    else:
        echo(f"{_counted(errors, 'error')}, {_counted(len(rows) - errors, 'warning')}")


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _print_rules(as_json: bool) -> None:
    if as_json:
        echo(json.dumps([rule._asdict() for rule in RULES.values()], indent=2))
        return
    for line in table(["rule", "severity", "about"], [list(rule) for rule in RULES.values()]):
        echo(line)
