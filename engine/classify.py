"""Classify image files: preprocessing, batches through a net, the most probable classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import FormatError, NetError
from ..formats import images
from ..formats.schema import NetState
from ..nets.data_layers import is_transformed
from ..nets.definition import NetDefinition, read_net
from ..nets.deploy import deploy_net
from ..nets.family import is_imagenet
from ..nets.image_transform import (
    ImageTransform,
    Size,
    check_input,
    layer_transform,
    read_comment,
    transforming_layer,
)
from ..nets.imagenet import IMAGENET_MEAN
from ..nets.shapes import require_shapes
from ..text import number_text, printable
from .api import Net
from .image_files import load_batches
from .transform import read_mean

IMAGENET_INPUTS, IMAGENET_SIZE = (224, 227), 256  # images are resized to 256 and cropped


class Preprocessing(NamedTuple):
    """From an image file to a net's input (tools/convert_imageset.cpp, data_transformer.cpp).

    Attributes:
        resize: (height, width) of the resized image.
        crop: (height, width) of its centre, the net's input.
        mean: subtracted, one value or one per channel, in their order.
        scale: multiplied after the mean.
        channels: one of `image_transform.ORDERS`.
    """

    resize: Size
    crop: Size
    mean: Sequence[float]
    scale: float
    channels: str

    def load_image(self, path: str, on_damage: images.OnDamage | None = None) -> np.ndarray:
        """Return (channels, height, width) as float32; `on_damage` as in `images.decode`.

        Raises:
            FormatError: the file is no image.
        """
        flag = images.GRAY if self.channels == "gray" else images.COLOR
        return self.transform(images.read_image(path, flag, on_damage=on_damage)[1])

    def transform(self, image: images.Pixels) -> np.ndarray:
        """Return (channels, height, width) as float32 of pixels as `images.decode` returns them."""
        pixels = images.resize(image, *self.resize)
        top, left = ((a - b) // 2 for a, b in zip(self.resize, self.crop, strict=True))
        pixels = pixels[top : top + self.crop[0], left : left + self.crop[1]]
        if self.channels == "RGB":
            pixels = pixels[:, :, ::-1]
        values = pixels.astype(np.float32) - np.array(self.mean, dtype=np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1) * np.float32(self.scale))

    def __str__(self) -> str:
        """Describe what is done to an image."""
        resize, crop = ("x".join(map(str, size)) for size in (self.resize, self.crop))
        centre = "" if crop == resize else f", its centre {crop} taken"
        mean = ",".join(map(number_text, self.mean))
        order = " in RGB" if self.channels == "RGB" else ""
        return f"resized to {resize}{centre}, mean {mean}{order}, scale {number_text(self.scale)}"


class ClassScore(NamedTuple):
    """A class with its probability; `label` is None without a list of labels."""

    class_index: int
    label: str | None
    probability: float


class Model(NamedTuple):
    """A net to classify by.

    Attributes:
        definition: the net; of a train_val, its deploy net.
        transform: what its data layer or its header says; None without both.
        is_imagenet: whether it is a SqueezeNet with as many outputs as ImageNet has classes.
    """

    definition: NetDefinition
    transform: ImageTransform | None
    is_imagenet: bool


def read_model(path: str, stages: Sequence[str] = ()) -> Model:
    """Read a deploy net, or make the deploy net of a train_val.

    Raises:
        SqgenError: it can't be read, or is no valid net.
    """
    net = read_net(path).in_state(NetState(stage=stages))
    transform = read_transform(net)
    if any(map(is_transformed, net.layers("TEST"))):
        net = replace(deploy_net(net).definition, warnings=net.warnings)
    return Model(net, transform, is_imagenet(require_shapes(net, "TEST")))


def load_net(model: Model, weights: str) -> Net:
    """Load a net whose layers all have weights.

    Raises:
        SqgenError: a file can't be read, or a layer has no weights.
    """
    net = Net(model.definition, weights, partial=True)
    if net.uninitialized:
        raise NetError(
            f"{printable(weights)}: has no weights for layer '{printable(net.uninitialized[0])}'"
            f" ({len(net.uninitialized)} in all); the net would guess"
        )
    return net


def read_transform(net: NetDefinition) -> ImageTransform | None:
    """Return the transform that a net's data layer or its header says; None without both.

    Raises:
        FormatError: a line of the header is malformed.
    """
    layer = transforming_layer(net)
    return read_comment(net) if layer is None else layer_transform(layer)


def trained_transform(path: str) -> ImageTransform:
    """Return the transform that a train_val or a deploy net with a header says.

    Raises:
        SqgenError: the net can't be read, or says none.
    """
    transform = read_transform(read_net(path))
    if transform is None:
        raise NetError(
            f"{printable(path)}: no data layer tells a transform; give the train_val net"
        )
    return transform


def resolve_mean(transform: ImageTransform, source: str) -> ImageTransform:
    """Read the channels' means of a mean file, where the transform lacks them.

    Args:
        transform: its mean_file is in the working folder, or beside `source`.
        source: the net that says it.

    Raises:
        FormatError: the file can't be read, or is not a mean image.
    """
    if transform.mean is not None or transform.mean_file is None:
        return transform
    path = Path(transform.mean_file)
    beside = Path(source).parent / path
    place = beside if os.path.isfile(beside) and not os.path.isfile(path) else path
    return transform._replace(mean=channel_means(str(place), f"{printable(source)}; --mean"))


def choose_preprocessing(
    net: Net, transform: ImageTransform | None, overrides: ImageTransform
) -> Preprocessing:
    """Return the preprocessing for a net.

    Args:
        net: takes one input of images.
        transform: what its data layer or header says, or None. Images that are cropped from an
            unknown size are resized to 256x256 for the sizes of ImageNet, else to the input's.
        overrides: what counts in its place, where set.

    Raises:
        NetError: the net takes no images, or they do not fit the size or the mean.
    """
    shapes = list(net.inputs.values())
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (1, 3):
        shown = ", ".join(f"{name} {shape}" for name, shape in net.inputs.items()) or "none"
        raise NetError(
            f"{printable(net.source)}: has the inputs {printable(shown, 200)}, where one of images"
            " is wanted; give the deploy prototxt"
        )
    channels, height, width = shapes[0][1:]
    told = transform or ImageTransform(crop=(height, width))
    told = told._replace(**{k: v for k, v in overrides._asdict().items() if v is not None})
    resize = told.resize
    if resize is None:
        is_cropped = told.crop and height == width and height in IMAGENET_INPUTS
        resize = (IMAGENET_SIZE, IMAGENET_SIZE) if is_cropped else (height, width)
    images.check_size(*resize, "the size that images are resized to")
    mean = told.mean or (0.0,)
    check_input((channels, height, width), resize, mean)
    order = "gray" if channels == 1 else "RGB" if told.channels == "RGB" else "BGR"
    scale = 1.0 if told.scale is None else told.scale
    return Preprocessing(resize, (height, width), mean, scale, order)


# The transform of the published nets.
IMAGENET_TRANSFORM = ImageTransform(
    channels="BGR", resize=(IMAGENET_SIZE, IMAGENET_SIZE), mean=IMAGENET_MEAN
)


def channel_means(path: str, where: str) -> tuple[float, ...]:
    """Return the mean of each channel of a mean file (B, G, R).

    Raises:
        FormatError: it can't be read, or is not a mean image.
    """
    return tuple(map(float, read_mean(Path(path), where).mean((0, 1), dtype=np.float64)))


def choose_output(net: Net, name: str | None) -> str:
    """Return the output of that name; without a name, the only one.

    Raises:
        NetError: there is no such output, or there are several.
    """
    if name is not None and name not in net.outputs:
        raise NetError(f"no output '{printable(name)}'; the net has {', '.join(net.outputs)}")
    if name is None and len(net.outputs) != 1:
        raise NetError(f"the net's outputs are {', '.join(net.outputs)}; choose with --output")
    return name or net.outputs[0]


def class_probabilities(
    net: Net,
    preprocessing: Preprocessing,
    paths: Iterable[str],
    output: str,
    on_damage: images.OnDamage | None = None,
) -> Iterator[tuple[str, np.ndarray | FormatError]]:
    """Yield each path with (classes,) probabilities, or with why it is no image.

    Threads read images ahead; `on_damage` is called with a line about each whose pixels are
    damaged.
    """
    for batch in load_batches(paths, preprocessing.load_image):
        pixels = [file.pixels for file in batch if not isinstance(file.pixels, FormatError)]
        rows = iter(_probabilities(net, np.stack(pixels), output) if pixels else ())
        for file in batch:
            if on_damage is not None:
                for line in file.damage:
                    on_damage(line)
            yield file.path, file.pixels if isinstance(file.pixels, FormatError) else next(rows)


def _probabilities(net: Net, batch: np.ndarray, output: str) -> np.ndarray:
    scores: np.ndarray = net.forward(batch)[output].reshape(len(batch), -1).astype(np.float64)
    # Some of the published deploy nets end before the Softmax.
    return scores if net.producer_type(output) == "Softmax" else _softmax(scores)


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Apply the softmax to each row of (images, classes)."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(1, keepdims=True)
    return probabilities


def top_classes(
    probabilities: np.ndarray, count: int, labels: Sequence[str] | None
) -> list[ClassScore]:
    """Return the most probable classes, lower indices first among equals.

    Raises:
        FormatError: the number of labels is not that of the classes.
    """
    if labels is not None and len(labels) != len(probabilities):
        raise FormatError(
            f"--labels: {len(labels)} labels for {len(probabilities)} classes; give the net's own"
        )
    order = (-probabilities).argsort(kind="stable")[:count]
    return [
        ClassScore(int(i), labels[i] if labels else None, float(probabilities[i])) for i in order
    ]
