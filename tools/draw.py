"""`sqgen draw`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ..formats.files import STDIN, check_file_target, display_name, write_files
from ..formats.schema import NetState
from ..nets.definition import NetDefinition, read_net
from ..text import printable
from .state_options import stage_option
from .terminal import parse_image, warn, write

if TYPE_CHECKING:
    from ..drawing.compare import Marked
    from ..nets.layer_types import Shape
    from ..nets.shapes import NetShapes
    from ..report.net_page import ShownNet

FORMATS = ("svg", "png", "pdf", "html")


@click.command()
@click.argument("nets", metavar="NET...", nargs=-1, required=True)
@click.option("-o", "--out", metavar="FILE", help=".svg, .png, .pdf or .html [SVG to stdout]")
@click.option("--force", is_flag=True, help="replace the file if it exists")
@click.option(
    "--detail",
    type=click.Choice(["module", "layer"]),
    default="module",
    help="a box for each module, or for each layer [module]",
)
@click.option("--rotate", is_flag=True, help="draw from left to right instead of down")
@click.option("--diff", "is_diff", is_flag=True, help="of two nets, mark what differs")
@click.option(
    "--phase",
    type=click.Choice(["TEST", "TRAIN"], case_sensitive=False),
    default="TEST",
    help="phase of the layers [TEST]",
)
@stage_option
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@click.option("--dark", is_flag=True, help="light on dark")
def draw(
    nets: tuple[str, ...],
    out: str | None,
    force: bool,
    detail: Literal["module", "layer"],
    rotate: bool,
    is_diff: bool,
    phase: str,
    stages: tuple[str, ...],
    image: str | None,
    dark: bool,
) -> None:
    """Draw nets beside each other, as a picture or a page to explore.

    NET is a prototxt of any version of Caffe, or - for standard input. A box is a Fire module, or a
    layer with its activation and normalization; --detail layer opens them. The bars in a box are
    its share of the net's MACs and parameters.

    \b
    Examples:
      sqgen build --bypass complex | sqgen draw - -o net.pdf
      sqgen draw none.prototxt simple.prototxt complex.prototxt -o bypasses.svg
      sqgen draw train_val.prototxt -o net.html
      sqgen draw before.prototxt after.prototxt --diff -o diff.html
    """
    from ..report.charts import picture_format

    kind = "svg" if out is None else picture_format(out, "-o", FORMATS)
    if is_diff and len(nets) != 2:
        raise click.UsageError(f"--diff compares two nets, not {len(nets)}")
    if nets.count(STDIN) > 1:
        raise click.UsageError("- and -: standard input can be read once")
    if out is not None:
        check_file_target(Path(out), force)
    definitions = [read_net(net).in_state(NetState(stage=stages)) for net in nets]
    shown = _shown(definitions, phase.upper(), parse_image(image), detail, is_diff)
    data = _render(shown, kind, rotate, dark)
    if out is None:
        write(data.decode())
    else:
        write_files({Path(out): data}, force)


def _shown(
    nets: Sequence[NetDefinition],
    phase: str,
    image: Shape | None,
    detail: Literal["module", "layer"],
    is_diff: bool,
) -> list[ShownNet]:
    from ..drawing.blocks import block_graph
    from ..drawing.compare import mark_differences
    from ..drawing.svg import Drawable
    from ..nets.diff import match_layers
    from ..nets.shapes import infer_shapes
    from ..nets.summary import summarize_shapes
    from ..report.net_page import ShownNet

    shapes = [infer_shapes(net, phase, image) for net in nets]
    for net, known in zip(nets, shapes, strict=True):
        _check(net, phase, known)
    graphs = [block_graph(each, detail) for each in shapes]
    marks: Sequence[Sequence[Marked]] = [()] * len(nets)
    if is_diff:
        marks = mark_differences(graphs[0], graphs[1], match_layers(nets[0], nets[1], phase))
    letters = ["A: ", "B: "] if is_diff else [""] * len(nets)
    return [
        ShownNet(Drawable(graph, letter + _name(net), marked), summarize_shapes(net, phase, known))
        for net, known, graph, marked, letter in zip(
            nets, shapes, graphs, marks, letters, strict=True
        )
    ]


def _check(net: NetDefinition, phase: str, shapes: NetShapes) -> None:
    """Refuse a net without layers; warn of what keeps shapes from being known."""
    from ..errors import FormatError

    if not shapes.graph.nodes:
        raise FormatError(f"{printable(net.source)}: has no layers in {phase}")
    warn(*net.warnings)
    for problem in shapes.problems[:3]:
        warn(f"{net.place(problem.layer)}: {problem.message}")


def _name(net: NetDefinition) -> str:
    """Return a net's name, or else its file's."""
    source = display_name(net.source)
    return printable(net.param.name or Path(source).stem)


def _render(shown: Sequence[ShownNet], kind: str, rotate: bool, dark: bool) -> bytes:
    from ..drawing.svg import draw as draw_svg
    from ..report.charts import svg_picture
    from ..report.net_page import render_net_page

    direction: Literal["down", "right"] = "right" if rotate else "down"
    if kind == "html":
        return render_net_page(shown, direction, dark).encode()
    svg = draw_svg([net.drawable for net in shown], direction, "dark" if dark else "light")
    return svg_picture(svg, kind)
