"""`sqgen lint`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click

from ..errors import FormatError
from ..formats.files import STDIN
from ..formats.schema import LayerParameter, NetState, SolverParameter
from ..nets.data_layers import is_at_hand
from ..nets.definition import NetDefinition, is_solver, parse_net, parse_solver, read_text
from ..nets.layer_types import Shape
from ..nets.lint import ERROR, RULES, lint_net
from ..nets.shapes import NetShapes, infer_shapes
from ..nets.solver_nets import SolverNets, read_solver_nets, relocate_nets
from ..nets.solver_rules import lint_solver, lint_test_iter
from ..nets.totals import batch_size
from ..nets.windows import ShapeError
from ..report.table import table
from ..text import printable
from .state_options import stage_option
from .terminal import echo, parse_image, print_json, print_lines, terminal_width, warn

AS_PUBLISHED = ("accuracy-in-train", "padded-1x1")  # rules that published nets break
LINE = 1000  # maximum characters of a finding


class Row(NamedTuple):
    """A finding of a rule in a net or solver; its fields are the keys of the JSON form."""

    place: str
    severity: str
    rule: str
    phases: tuple[str, ...]
    message: str


@click.command()
@click.argument("nets", metavar="NET...", nargs=-1)
@click.option("--solver", metavar="FILE", help="also check its test_iter against the net's batch")
@click.option("--images", type=click.IntRange(min=1), help="images in the validation set")
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@stage_option
@click.option("--deploy", is_flag=True, help="also what keeps other programs from running it")
@click.option("--rules", is_flag=True, help="list the rules")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def lint(
    nets: tuple[str, ...],
    solver: str | None,
    images: int | None,
    image: str | None,
    stages: tuple[str, ...],
    deploy: bool,
    rules: bool,
    as_json: bool,
) -> None:
    """Check nets for errors, which Caffe would refuse, and warnings: likely mistakes.

    NET is a prototxt, or a solver, which is checked with its nets. Exit code 1 if there is an
    error, 0 otherwise.

    \b
    Examples:
      sqgen lint trainval.prototxt
      sqgen lint trainval.prototxt --solver solver.prototxt --images 50000
      sqgen lint --deploy deploy.prototxt
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
        warnings: list[str] = []
        rows += _lint_file(path, solver, NetState(stage=stages), images, shape, deploy, warnings)
        warn(*dict.fromkeys(warnings))
    if as_json:
        print_json([row._asdict() for row in rows])
    else:
        _print_rows(rows)
    errors = sum(row.severity == ERROR for row in rows)
    raise SystemExit(1 if errors else 0)


def _lint_file(
    path: str,
    solver_path: str | None,
    state: NetState,
    images: int | None,
    image: Shape | None,
    deploy: bool,
    warnings: list[str],
) -> list[Row]:
    """Lint a solver, a net, or a net with the solver that trains it; append to `warnings`."""
    text, source = read_text(path)
    if deploy and (solver_path is not None or is_solver(text)):
        raise click.UsageError("--deploy: give the net alone, without a solver")
    if solver_path is None and is_solver(text):
        solver = parse_solver(text, source, warnings, allow_forks=True)
        return _solver_rows(solver, source, None, images, image, warnings, text)
    if solver_path is None and images is not None:
        raise click.UsageError("--images goes with a solver, whose test_iter it checks")
    net = parse_net(text, source).in_state(state)
    if solver_path is not None:
        solver = parse_solver(*read_text(solver_path), warnings, allow_forks=True)
        return _solver_rows(solver, solver_path, net, images, image, warnings)
    warnings += net.warnings
    return _net_rows(net, image, warnings, deploy=deploy)


def _net_rows(
    net: NetDefinition,
    image: Shape | None,
    warnings: list[str],
    phases: Sequence[str] = ("TRAIN", "TEST"),
    deploy: bool = False,
) -> list[Row]:
    shapes: dict[str, NetShapes] = {}
    of_data = []
    for phase in phases:
        shapes[phase], found = _lint_data(net, phase, image, warnings)
        of_data += [_row("data", net.place(layer), message, phase) for layer, message in found]
    findings = [
        _row(finding.rule.name, finding.place, finding.message, *finding.phases)
        for finding in lint_net(net, image, phases, shapes, deploy)
    ]
    if any(row.rule in AS_PUBLISHED for row in findings):
        from .build import is_as_built

        if is_as_built(net.text):
            findings = [row for row in findings if row.rule not in AS_PUBLISHED]
    return _merged(findings + of_data)


def _merged(rows: Iterable[Row]) -> list[Row]:
    """Make one row of those that differ in their phases alone."""
    phases: dict[Row, dict[str, None]] = {}
    for row in rows:
        phases.setdefault(row._replace(phases=()), {}).update(dict.fromkeys(row.phases))
    return [row._replace(phases=tuple(found)) for row, found in phases.items()]


def _lint_data(
    net: NetDefinition, phase: str, image: Shape | None, warnings: list[str]
) -> tuple[NetShapes, list[tuple[LayerParameter, str]]]:
    """Infer a net's shapes, and check the data of its layers, where it is at hand."""
    layers = [layer for layer in net.layers(phase) if is_at_hand(layer)]
    if not layers:
        return infer_shapes(net, phase, image), []
    from ..nets.dataset import Dataset, inspect_dataset, top_shapes
    from ..runner.data_checks import lint_data, lint_sizes

    known: dict[str, Sequence[Shape]] = {}
    data: list[tuple[LayerParameter, Dataset]] = []
    problems: list[tuple[LayerParameter, str]] = []
    for layer in layers:
        try:
            data.append((layer, inspect_dataset(layer, f"layer '{printable(layer.name)}'")))
            known[layer.name] = top_shapes(*data[-1]) or ()
        except (FormatError, ShapeError) as error:
            problems.append((layer, str(error)))
    warnings += [each.remark for _, each in data if each.remark]
    shapes = infer_shapes(net, phase, image, known)
    found = [*lint_data(shapes, data), *lint_sizes(net, phase, shapes, data)]
    return shapes, problems + found


def _solver_rows(
    solver: SolverParameter,
    source: str,
    net: NetDefinition | None,
    images: int | None,
    image: Shape | None,
    warnings: list[str],
    text: str = "",
) -> list[Row]:
    """Lint a solver, the net it trains, and each net it tests; `net` replaces those it names."""
    rows = [_row(rule, source, message) for rule, message in lint_solver(solver)]
    if net is None:
        solver, lost = relocate_nets(solver, source)
        rows += [_row("missing-net", source, _describe_lost(*each)) for each in lost.items()]
        if not all(lost.values()):
            return rows
    nets = read_solver_nets(solver, source, net, text=text)
    warnings += [warning for each in (nets.trained, *nets.tested) for warning in each.warnings]
    return [*_nets_rows(nets, solver, source, images, image, warnings), *rows]


def _describe_lost(path: str, found: str) -> str:
    if found:
        return f"net '{printable(path)}' is not there; {printable(found)} is checked in its place"
    return (
        f"net '{printable(path)}' is not there, so no net is checked; sqgen lint NET --solver FILE"
        " checks both"
    )


def _nets_rows(
    nets: SolverNets,
    solver: SolverParameter,
    source: str,
    images: int | None,
    image: Shape | None,
    warnings: list[str],
) -> list[Row]:
    rows = _net_rows(nets.trained, image, warnings, ["TRAIN"])
    for index, tested in enumerate(nets.tested):
        rows += _net_rows(tested, image, warnings, ["TEST"])
        if index < len(solver.test_iter):
            message = _lint_test_iter(tested, solver.test_iter[index], images, image)
            rows += [_row("test-iter", source, message, "TEST")] if message else []
    if solver.weights:
        rows = [row for row in rows if row.rule != "frozen-statistics"]
    return _merged(rows)


def _row(rule: str, place: str, message: str, *phases: str) -> Row:
    return Row(place, RULES[rule].severity, rule, phases, message)


def _lint_test_iter(
    net: NetDefinition, test_iter: int, images: int | None, image: Shape | None
) -> str | None:
    inferred = infer_shapes(net, "TEST", image)
    scores = [item.bottoms[0] for item in inferred.layers if item.layer.type == "Accuracy"]
    classes = scores[0][1] if scores and len(scores[0]) > 1 else None
    batch = batch_size(inferred)
    return lint_test_iter(test_iter, batch, images, classes) if inferred.layers else None


def _print_rows(rows: list[Row]) -> None:
    for row in rows:
        phases = "" if len(row.phases) != 1 else f" ({row.phases[0]})"
        colour = "red" if row.severity == ERROR else "yellow"
        line = f"{row.place}: {row.severity}: {row.message}{phases} [{row.rule}]"
        echo(printable(line, LINE), fg=colour)
    errors = sum(row.severity == ERROR for row in rows)
    if not rows:
        echo("no findings")
    else:
        echo(f"{_count_text(errors, 'error')}, {_count_text(len(rows) - errors, 'warning')}")


def _count_text(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _print_rules(as_json: bool) -> None:
    if as_json:
        print_json([rule._asdict() for rule in RULES.values()])
        return
    heads, rows = ["rule", "severity", "about"], [list(rule) for rule in RULES.values()]
    print_lines(table(heads, rows, width=terminal_width()))
