"""The deploy net of a command: made of the net that was typed, with how images become its input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import NetError
from ..formats.class_names import read_lmdb_class_names
from ..formats.schema import LayerParameter, NetState
from ..nets.data_layers import data_param, is_at_hand
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
from ..text import first_few, printable
from .terminal import warn


class MadeDeployNet(NamedTuple):
    """A deploy net.

    Attributes:
        net: the deploy net.
        transform: how images become its input; None where nothing says so.
        labels: the names of its classes beside the data; None without any.
    """

    net: NetDefinition
    transform: ImageTransform | None
    labels: Sequence[str] | None


def make_deploy_net(
    path: str,
    stages: Sequence[str],
    image: Shape | None,
    batch: int | None = None,
    keep_dropout: bool = False,
) -> MadeDeployNet:
    """Read a net and make its deploy net; print warnings. The arguments are those of `deploy_net`.

    Raises:
        SqgenError: the net can't be read, or has no deploy net.
    """
    net = read_net(path).in_state(NetState(stage=stages))
    known = {} if image is not None else dict(_shapes_of_data(net))
    made = deploy_net(net, batch, image, known, keep_dropout)
    warn(*net.warnings, *_remarks(net, made, image, known))
    return MadeDeployNet(made.definition, _transform(net, made), _labels(net))


def _labels(net: NetDefinition) -> list[str] | None:
    """Return the names beside the first LMDB that has some."""
    layers = (layer for phase in ("TEST", "TRAIN") for layer in net.layers(phase))
    sources = (data_param(layer).source for layer in filter(is_at_hand, layers))
    return next((names for source in sources if (names := read_lmdb_class_names(source))), None)


def _shapes_of_data(net: NetDefinition) -> Iterator[tuple[str, Sequence[Shape]]]:
    """Yield the shapes of the tops of data layers whose data is at hand."""
    from ..nets.dataset import inspect_dataset, top_shapes

    for layer in filter(is_at_hand, net.layers("TEST")):
        where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
        try:
            shapes = top_shapes(layer, inspect_dataset(layer, where, all_labels=False))
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
