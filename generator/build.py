"""Design to text, proven on the way: design, plan, text, schema, shapes, lint.

Nothing leaves here that the schema does not parse, whose shapes don't work out in every phase
it has, or that has a lint error.
"""

from __future__ import annotations

from ..errors import DesignError, NetError
from ..formats import prototxt
from ..formats.schema import SolverParameter
from ..nets import lint
from ..nets.definition import NetDefinition, parse_net
from ..nets.shapes import NetShapes, infer_shapes
from ..nets.totals import totals
from ..templates import render
from ..text import did_you_mean, printable
from ..version import __version__
from .design import Design
from .layer_list import NETS, plan_net
from .options import command_line

PHASES = {"trainval": ("TRAIN", "TEST"), "train": ("TRAIN",), "val": ("TEST",), "deploy": ("TEST",)}


def build(design: Design | None = None, net: str = "trainval") -> str:
    """The prototxt of a design.

    Args:
        design: what to build; `Design()` is SqueezeNet v1.0.
        net: `trainval`, `train`, `val` or `deploy`.

    Raises:
        DesignError: an unknown `net`.
        NetError: the net would not work, which is told with the layer's name.
    """
    design = _checked(design)
    if net not in NETS:
        hint = did_you_mean(str(net), NETS) or f"; one of {', '.join(NETS)}"
        raise DesignError(f"--net {printable(str(net))}: not known{hint}")
    plan = plan_net(design, net)
    body = render("net.prototxt.j2", plan=plan)
    shapes = _prove(parse_net(body, plan.name or net), design, net)
    return _header(design, net, shapes) + body


def _checked(design: Design | None) -> Design:
    if design is None:
        return Design()
    if not isinstance(design, Design):
        raise DesignError("build and build_solver take a Design; preset(NAME) is a published one")
    return design


def _prove(parsed: NetDefinition, design: Design, net: str) -> NetShapes:
    """The shapes of the last phase, or the first thing that is wrong."""
    shapes = {phase: infer_shapes(parsed, phase, design.image) for phase in PHASES[net]}
    for finding in lint.lint_net(parsed, design.image, PHASES[net], shapes):
        if finding.rule.severity == lint.ERROR or finding.rule.name == "duplicate-name":
            raise NetError(f"this design makes no net: {finding.message}")
    return shapes[PHASES[net][-1]]


def _header(design: Design, net: str, shapes: NetShapes) -> str:
    total = totals(shapes)
    return (
        f"# {command_line('build', design, net)}\n"
        f"# sqgen {__version__}: {total.parameters:,} parameters,"
        f" {total.macs:,} multiply-accumulates an image of {design.size}x{design.size}\n"
    )


def build_solver(design: Design | None = None) -> str:
    """The prototxt of the solver that trains a design.

    Raises:
        DesignError: its batches don't add up to the effective batch.
    """
    design = _checked(design)
    tested = design.test_batches * design.val_batch_size
    body = render("solver.prototxt.j2", design=design, passes=design.passes, tested=tested)
    prototxt.parse(body, SolverParameter(), "solver")
    return f"# {command_line('solver', design)}\n# sqgen {__version__}\n{body}"


def design_files(design: Design) -> dict[str, str]:
    """The three files of a net, by name."""
    return {
        "train_val.prototxt": build(design, "trainval"),
        "deploy.prototxt": build(design, "deploy"),
        "solver.prototxt": build_solver(design),
    }
