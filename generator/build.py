"""Build the prototxt of a design, and verify it with schema, shapes and lint.

Every result parses, has valid shapes in each of its phases, and no lint errors.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from .layer_list import NET_PHASES, list_layers
from .options import command_line
from .presets import DENSE, PHASES

RATE_DROP = 10  # from the sparse phase to the dense; section 3 of arXiv:1607.04381


def build(design: Design | None = None, net: str = "trainval") -> str:
    """Return the prototxt of a design.

    Args:
        design: what to build; `Design()` is SqueezeNet v1.0.
        net: `trainval`, `train`, `val` or `deploy`.

    Raises:
        DesignError: `net` is unknown.
        NetError: the net is invalid; the message names the layer.
    """
    design = _checked(design)
    if net not in NET_PHASES:
        hint = did_you_mean(str(net), NET_PHASES) or f"; one of {', '.join(NET_PHASES)}"
        raise DesignError(f"--net {printable(str(net))}: not known{hint}")
    layers = list_layers(design, net)
    body = render("net.prototxt.j2", net=layers)
    shapes = _verify(parse_net(body, layers.name or net), design, net)
    return _header(design, net, shapes) + body


def _checked(design: Design | None) -> Design:
    if design is None:
        return Design()
    if not isinstance(design, Design):
        raise DesignError("build and build_solver take a Design; preset(NAME) is a published one")
    return design


def _verify(parsed: NetDefinition, design: Design, net: str) -> NetShapes:
    """Return the shapes of the last phase; raise for the first error."""
    phases = NET_PHASES[net]
    shapes = {phase: infer_shapes(parsed, phase, design.image) for phase in phases}
    for finding in lint.lint_net(parsed, design.image, phases, shapes):
        if finding.rule.severity == lint.ERROR or finding.rule.name == "duplicate-name":
            raise NetError(f"the design is invalid: {finding.message}")
    return shapes[phases[-1]]


def _header(design: Design, net: str, shapes: NetShapes) -> str:
    total = totals(shapes)
    return (
        f"# {command_line('build', design, net)}\n"
        f"# sqgen {__version__}: {total.parameters:,} parameters,"
        f" {total.macs:,} multiply-accumulates an image of {design.size}x{design.size}\n"
        f"{_preprocessing(design) if net == 'deploy' else ''}"
    )


def _preprocessing(design: Design) -> str:
    """Return the comment on how data layers transform images; cropped ones are of any size."""
    from ..nets.image_transform import ImageTransform  # slow to import

    size = (design.size, design.size)
    transform = ImageTransform(
        {1: "gray", 3: "BGR"}.get(design.channels),
        None if design.crop else size,
        size if design.crop else None,
        None if design.mean_file else design.means or (0.0,),
        design.mean_file or None,
        design.scale,
    )
    return transform.comment()


def build_solver(design: Design | None = None, phase: str | None = None) -> str:
    """Return the prototxt of the solver that trains a design.

    Args:
        design: what it trains.
        phase: of a Dense-Sparse-Dense training: `sparse`, or `dense` at a tenth of the rate, with
            snapshots of other names.

    Raises:
        DesignError: `phase` is unknown, or batches don't add up to the effective batch.
    """
    design = _checked(design)
    if phase is not None and phase not in PHASES:
        hint = did_you_mean(str(phase), PHASES) or f"; one of {', '.join(PHASES)}"
        raise DesignError(f"--phase {printable(str(phase))}: not known{hint}")
    command = command_line("solver", design) + (f" --phase {phase}" if phase else "")
    if phase == DENSE:
        prefix, rate = f"{design.snapshot_prefix}_{DENSE}", design.base_lr / RATE_DROP
        design = design.with_options(base_lr=rate, snapshot_prefix=prefix)
    tested = design.test_batches * design.val_batch_size
    body = render(
        "solver.prototxt.j2", design=design, passes=design.passes, tested=tested, phase=phase
    )
    prototxt.parse(body, SolverParameter(), "solver")
    return f"# {command}\n# sqgen {__version__}\n{body}"


def design_files(design: Design, phases: Sequence[str] = ()) -> dict[str, str]:
    """Return the files of a design, by name: its nets, and a solver, or one for each phase."""
    solvers = {f"solver_{phase}.prototxt": build_solver(design, phase) for phase in phases}
    return {
        "train_val.prototxt": build(design, "trainval"),
        "deploy.prototxt": build(design, "deploy"),
        **(solvers or {"solver.prototxt": build_solver(design)}),
    }
