"""`sqgen deploy`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from ..errors import NetError
from ..formats import prototxt
from ..formats.files import STDIN, write_files
from ..formats.schema import LayerParameter, NetState
from ..nets.data_layers import is_at_hand
from ..nets.definition import NetDefinition, read_net
from ..nets.deploy import DeployNet, deploy_net
from ..nets.image_transform import (
    ImageTransform,
    layer_transform,
    read_comment,
    transforming_layer,
)
from ..nets.layer_types import Shape
from ..nets.shapes import assumed_channels
from ..nets.windows import ShapeError
from ..text import first_few, printable, shell_join
from ..version import __version__
from .state_options import stage_option
from .terminal import parse_image, warn, write


@click.command()
@click.argument("net", metavar="NET")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="images in a batch [1]")
@click.option("--image", metavar="CxHxW", help="size of images, if data layers don't give it")
@click.option("--keep-dropout", is_flag=True, help="keep Dropout, which does nothing in TEST")
@stage_option
@click.option("-o", "--out", metavar="OUT", help="file to write, instead of standard output")
@click.option("--force", is_flag=True, help="replace OUT if it exists")
def deploy(
    net: str,
    batch: int | None,
    image: str | None,
    keep_dropout: bool,
    stages: tuple[str, ...],
    out: str | None,
    force: bool,
) -> None:
    """Make the deploy net of a net: its layers in TEST, without data, labels and scores.

    An Input layer takes images, and a SoftmaxWithLoss becomes a Softmax. Layer names stay, so that
    the net's weights load. The header says how images are preprocessed; sqgen classify reads it.

    \b
    Examples:
      sqgen deploy train_val.prototxt > deploy.prototxt
      sqgen deploy old.prototxt --batch 10 --image 3x64x64 -o deploy.prototxt
    """
    shape = parse_image(image)
    definition = read_net(net).in_state(NetState(stage=stages))
    known = {} if shape is not None else dict(_shapes_of_data(definition))
    made = deploy_net(definition, batch, shape, known, keep_dropout)
    warn(*definition.warnings, *_remarks(definition, made, shape, known))
    words = ["sqgen", "deploy", net]
    words += ["--batch", str(batch)] if batch is not None else []
    words += ["--image", image] if image is not None else []
    words += ["--keep-dropout"] if keep_dropout else []
    words += [word for stage in stages for word in ("--stage", stage)]
    header = f"# {shell_join(words)}\n# sqgen {__version__}\n"
    transform = _transform(definition, made)
    comment = "" if transform is None else transform.comment()
    text = f"{header}{comment}{prototxt.to_text(made.param)}"
    if out in (None, STDIN):
        write(text)
    else:
        write_files({Path(str(out)): text.encode()}, force)


def _shapes_of_data(net: NetDefinition) -> Iterator[tuple[str, Sequence[Shape]]]:
    """Yield the shapes of the tops of data layers whose data is at hand."""
    from ..runner.dataset import inspect_dataset, top_shapes

    for layer in filter(is_at_hand, net.layers("TEST")):
        where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
        try:
            shapes = top_shapes(layer, inspect_dataset(layer, where))
        except ShapeError as error:
            raise NetError(f"{where}: {error}") from None
        if shapes is not None:
            yield layer.name, shapes


def _remarks(
    net: NetDefinition,
    made: DeployNet,
    image: Shape | None,
    known: Mapping[str, Sequence[Shape]],
) -> Iterator[str]:
    if image is None:
        yield from assumed_channels(net, [e for e in net.layers("TEST") if e.name not in known])
    if made.auxiliary:
        yield f"left out with auxiliary classifiers: {first_few(made.auxiliary)}"


def _transform(net: NetDefinition, made: DeployNet) -> ImageTransform | None:
    """Return how the images of a net are transformed; None where nothing says so."""
    layer = transforming_layer(net)
    if layer is None:
        return read_comment(net)
    inputs = (list(e.input_param.shape[0].dim) for e in made.param.layer if e.type == "Input")
    image = next((dims[1:] for dims in inputs if len(dims) == 4), None)
    transform = layer_transform(layer, image[0] if image else None)
    if transform.crop is None and image:  # all records are of one size
        transform = transform._replace(resize=(image[1], image[2]))
    return _with_channel_means(transform, net, layer)


def _with_channel_means(
    transform: ImageTransform, net: NetDefinition, layer: LayerParameter
) -> ImageTransform:
    """Read the channels' means of a mean file, where it is at hand."""
    if transform.mean_file is None:
        return transform
    if not os.path.isfile(transform.mean_file):
        warn(
            f"{net.place(layer)}: mean_file '{printable(transform.mean_file)}' is not here; the"
            " header names it without the channels' means"
        )
        return transform
    from ..engine.transform import read_mean

    where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
    means = read_mean(Path(transform.mean_file), where).mean((0, 1), dtype="float64")
    return transform._replace(mean=tuple(map(float, means)))
