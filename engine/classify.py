"""Classify image files: preprocessing, batches through a net, the most probable classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import FormatError, NetError
from ..formats import images
from ..nets.data_layers import is_transformed
from ..nets.definition import read_net
from ..nets.imagenet import IMAGENET_MEAN
from ..text import number_text, printable
from .api import Net
from .transform import read_mean

IMAGENET_INPUTS, IMAGENET_SIZE = (224, 227), 256  # images are resized to 256 and cropped
BATCH_SIZE = 32


class Preprocessing(NamedTuple):
    """From an image file to a net's input (tools/convert_imageset.cpp, data_transformer.cpp).

    Attributes:
        resize: (height, width) of the resized image.
        crop: (height, width) of its centre, the net's input.
        mean: subtracted, one value or one per channel (B, G, R).
        scale: multiplied after the mean.
        channels: 3 for colour, 1 for gray.
    """

    resize: tuple[int, int]
    crop: tuple[int, int]
    mean: Sequence[float]
    scale: float
    channels: int

    def load_image(self, path: str) -> np.ndarray:
        """Return (channels, height, width) as float32.

        Raises:
            FormatError: the file is no image.
        """
        flag = images.COLOR if self.channels == 3 else images.GRAY
        pixels = images.resize(images.read_image(path, flag)[1], *self.resize)
        top, left = ((a - b) // 2 for a, b in zip(self.resize, self.crop, strict=True))
        pixels = pixels[top : top + self.crop[0], left : left + self.crop[1]]
        values = pixels.astype(np.float32) - np.array(self.mean, dtype=np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1) * np.float32(self.scale))


class ClassScore(NamedTuple):
    """A class with its probability; `label` is None without a list of labels."""

    class_index: int
    label: str | None
    probability: float


def load_net(model: str, weights: str) -> Net:
    """Load a net whose layers all have weights.

    Raises:
        SqgenError: a file can't be read, or a layer has no weights.
    """
    net = Net(model, weights, partial=True)
    if net.uninitialized:
        raise NetError(
            f"{printable(weights)}: has no weights for layer '{printable(net.uninitialized[0])}'"
            f" ({len(net.uninitialized)} in all); the net would guess"
        )
    return net


def choose_preprocessing(
    net: Net,
    resize: tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    scale: float = 1.0,
) -> Preprocessing:
    """Return the preprocessing for a net.

    Args:
        net: takes one input of images.
        resize: (height, width); by default 256x256 for nets of ImageNet, else the input's size.
        mean: by default ImageNet's for colour images, 0 for gray ones.
        scale: multiplied after the mean.

    Raises:
        NetError: the net takes no images, or they do not fit resize or mean.
    """
    shapes = list(net.inputs.values())
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (1, 3):
        shown = ", ".join(f"{name} {shape}" for name, shape in net.inputs.items()) or "none"
        raise NetError(
            f"classifies by nets with one input of images, not {shown}; give the deploy prototxt"
        )
    channels, height, width = shapes[0][1:]
    if resize is None:
        is_imagenet = height == width and height in IMAGENET_INPUTS
        resize = (IMAGENET_SIZE, IMAGENET_SIZE) if is_imagenet else (height, width)
    if resize[0] < height or resize[1] < width:
        raise NetError(f"--resize {resize[0]}x{resize[1]}: the net takes {height}x{width} of it")
    if mean is None:
        mean = IMAGENET_MEAN if channels == 3 else (0.0,)
    if len(mean) not in (1, channels):
        raise NetError(f"--mean has {len(mean)} values for {channels} channels")
    return Preprocessing(resize, (height, width), mean, scale, channels)


def describe_preprocessing(preprocessing: Preprocessing) -> str:
    """Return what is done to an image, in words."""
    resize = "x".join(map(str, preprocessing.resize))
    crop = "x".join(map(str, preprocessing.crop))
    centre = "" if preprocessing.crop == preprocessing.resize else f", its centre {crop} taken"
    mean = ",".join(map(number_text, preprocessing.mean))
    return f"resized to {resize}{centre}, mean {mean}, scale {number_text(preprocessing.scale)}"


def trained_transform(path: str) -> tuple[list[float], float]:
    """Return the mean and the scale of a train_val net's data layer.

    The mean of a mean_file is that of its channels; without any, it is 0.

    Raises:
        SqgenError: the net can't be read, has no data layer with a transform, or no mean_file.
    """
    net = read_net(path)
    for phase in ("TEST", "TRAIN"):
        for layer in filter(is_transformed, net.layers(phase)):
            param = layer.transform_param
            if param.mean_file:
                where = f"{net.place(layer)}: layer '{printable(layer.name)}'"
                return channel_means(param.mean_file, where), param.scale
            return list(param.mean_value) or [0.0], param.scale
    raise NetError(f"{printable(path)}: no data layer tells a transform; give the train_val net")


def channel_means(path: str, where: str) -> list[float]:
    """Return the mean of each channel of a mean file (B, G, R).

    Raises:
        FormatError: it can't be read, or is not a mean image.
    """
    return [float(value) for value in read_mean(Path(path), where).mean((0, 1), dtype=np.float64)]


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
    net: Net, preprocessing: Preprocessing, paths: Sequence[str], output: str
) -> Iterator[np.ndarray]:
    """Yield (classes,) probabilities for each image, computed in batches.

    Raises:
        FormatError: a file is no image.
    """
    for start in range(0, len(paths), BATCH_SIZE):
        batch = np.stack([preprocessing.load_image(p) for p in paths[start : start + BATCH_SIZE]])
        scores = net.forward(batch)[output].reshape(len(batch), -1).astype(np.float64)
        # Some of the published deploy nets end before the Softmax.
        yield from scores if net.producer_type(output) == "Softmax" else _softmax(scores)


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
            f"{len(labels)} labels for {len(probabilities)} classes; give the net's own"
        )
    order = (-probabilities).argsort(kind="stable")[:count]
    return [
        ClassScore(int(i), labels[i] if labels else None, float(probabilities[i])) for i in order
    ]
