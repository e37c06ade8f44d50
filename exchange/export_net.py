"""Export a net and its weights: what `sqgen export` and `sqgen.export_net` do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod

from ..errors import NetError
from ..extras import required
from ..formats.caffemodel import read_caffemodel, split_weights
from ..nets.definition import NetDefinition, read_net
from ..nets.deploy import deploy_net
from ..nets.family import is_imagenet
from ..nets.image_transform import ImageTransform
from ..nets.imagenet import imagenet_class_names
from ..nets.layer_types import Shape
from ..nets.shapes import NetShapes, require_shapes
from ..text import counted, did_you_mean, printable
from ..weights.net_arrays import net_arrays
from .targets import TARGETS
from .trained_net import Exported, ExportOptions, TrainedNet
from .unquantized import unquantized


def export_net(
    net: str | os.PathLike[str] | NetDefinition,
    weights: str | os.PathLike[str],
    target: str = "caffe",
    *,
    image: Shape | None = None,
    transform: ImageTransform | None = None,
    labels: Sequence[str] | None = None,
    options: ExportOptions | None = None,
) -> Exported:
    """Make the files of a net for another framework; `save` of the result writes them.

    Args:
        net: a deploy net, or any net, whose deploy net is made first.
        weights: its caffemodel, or several: a,b.
        target: one of `TARGETS`, such as `mnn`.
        image: (channels, height, width) of the records of data layers that don't say.
        transform: how images become the input, where the net doesn't say so or says it wrongly;
            SqueezeNets of 1000 classes have ImageNet's.
        labels: names of the classes; by default ImageNet's for its nets.
        options: what else can be chosen.

    Raises:
        SqgenError: a file can't be read, weights don't fit, the target can't take the net, or what
            would be written computes something else.
    """
    if target not in TARGETS:
        hint = did_you_mean(target, TARGETS)
        raise NetError(f"no target '{printable(target)}'{hint}; one of {', '.join(TARGETS)}")
    options = options or ExportOptions()
    definition = net if isinstance(net, NetDefinition) else read_net(net)
    is_pair = TARGETS[target].is_deploy_pair
    deployed, quantized = unquantized(
        deploy_net(definition, 1 if is_pair else None, image).definition
    )
    shapes = require_shapes(deployed, "TEST")
    models = [
        (printable(path), read_caffemodel(path)) for path in split_weights(os.fspath(weights))
    ]
    arrays = net_arrays(shapes, models)
    if transform is None and (is_pair or options.with_preprocessing):
        transform = _declared_transform(definition, target, is_pair and is_imagenet(shapes))
    trained = TrainedNet(deployed, arrays, transform, _labels(labels, shapes))
    exported = TARGETS[target].write(trained, options)
    if not quantized:
        return exported
    warning = (
        f"{printable(deployed.source)}: written in full precision, without the quantization_param"
        f" of {counted(len(quantized), 'layer')} of Ristretto"
    )
    return exported._replace(warnings=[warning, *exported.warnings])


def _declared_transform(
    net: NetDefinition, target: str, is_published: bool
) -> ImageTransform | None:
    with required("torch", f"sqgen export --for {target}"):
        from ..engine.classify import IMAGENET_TRANSFORM, read_transform, resolve_mean
    told = read_transform(net) or (IMAGENET_TRANSFORM if is_published else None)
    return told and resolve_mean(told, net.source)


def _labels(names: Sequence[str] | None, shapes: NetShapes) -> tuple[str, ...]:
    """Return the names of the classes; none where they are unknown.

    Raises:
        NetError: there are more or fewer than the net has classes.
    """
    if names is None:
        return tuple(imagenet_class_names()) if is_imagenet(shapes) else ()
    classes = {prod(shapes.blobs[name][1:]) for name in shapes.graph.output_names()}
    if classes != {len(names)}:
        count = " or ".join(map(str, sorted(classes)))
        raise NetError(f"--labels: {len(names)} labels for {count} classes; give the net's own")
    return tuple(names)
