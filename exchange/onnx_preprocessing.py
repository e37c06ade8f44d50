"""Preprocessing inside an ONNX graph: its input is then an image in RGB, not Caffe's blob."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from ..errors import NetError
from ..nets.image_transform import ImageTransform
from ..nets.layer_types import Shape
from .onnx_graph import GraphBuilder

BGR = "BGR"


class Preprocessing(NamedTuple):
    """What is done to images of the input's size, whose values are from 0 to 255.

    Attributes:
        channels: of the net's blob, one of `image_transform.ORDERS`; those of the images are RGB,
            or gray.
        mean: subtracted, one value or one per channel in the order of `channels`.
        scale: multiplied after the mean.
        as_bytes: whether images are uint8 in (batch, height, width, channels), as files are read,
            rather than float32 in (batch, channels, height, width).
    """

    channels: str
    mean: tuple[float, ...]
    scale: float
    as_bytes: bool = False

    def value_info(self, name: str, dims: list[int | str]) -> ValueInfoProto:
        """Describe the input of the graph; `dims` are those of the net's blob."""
        layout = [dims[0], *dims[2:], dims[1]] if self.as_bytes else dims
        kind = TensorProto.UINT8 if self.as_bytes else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, layout)

    def write(self, graph: GraphBuilder, name: str) -> str:
        """Add the operators to a graph; return the value that the net reads."""

        def node(operator: str, *inputs: str, **attributes: object) -> str:
            stem = f"{name}/{operator}"
            output = graph.value(f"{stem}_output")
            graph.node(stem, operator, inputs, [output], attributes)
            return output

        value = name
        if self.as_bytes:
            value = node("Cast", value, to=TensorProto.FLOAT)
            value = node("Transpose", value, perm=[0, 3, 1, 2])
        if self.channels == BGR:
            order = graph.initializer(f"{name}.bgr", np.array([2, 1, 0], "i8"))
            value = node("Gather", value, order, axis=1)
        mean = np.array(self.mean, "f4").reshape(1, -1, 1, 1)
        value = node("Sub", value, graph.initializer(f"{name}.mean", mean))
        if self.scale != 1:
            scale = graph.initializer(f"{name}.scale", np.array(self.scale, "f4"))
            value = node("Mul", value, scale)
        return value

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Return the net's blob of images, as the graph does."""
        if self.as_bytes:
            images = images.astype("f4").transpose(0, 3, 1, 2)
        if self.channels == BGR:
            images = images[:, ::-1]
        mean = np.array(self.mean, "f4").reshape(1, -1, 1, 1)
        return np.asarray((images - mean) * np.float32(self.scale))

    def random_images(self, generator: np.random.Generator, shape: Shape) -> np.ndarray:
        """Return images of noise, in the shape of the graph's input."""
        return generator.integers(0, 256, shape).astype("u1" if self.as_bytes else "f4")


def preprocessing_of(
    transform: ImageTransform | None, inputs: list[Shape], as_bytes: bool, where: str
) -> Preprocessing:
    """Return what a graph does to images before the net.

    Args:
        transform: what the net says.
        inputs: shapes of the net's inputs.
        as_bytes: see `Preprocessing`.
        where: the net's file, for messages.

    Raises:
        NetError: the net has no image as its only input, or doesn't say how it is made.
    """
    if len(inputs) != 1 or len(inputs[0]) != 4 or inputs[0][1] not in (1, 3):
        raise NetError(f"{where}: its input is no image, which preprocessing is for; leave it out")
    if transform is None or transform.mean is None:
        raise NetError(
            f"{where}: doesn't say which mean is subtracted; export its train_val, or write a"
            " comment of preprocessing (docs/nets.md)"
        )
    channels = inputs[0][1]
    if len(transform.mean) not in (1, channels):
        raise NetError(f"{where}: has {len(transform.mean)} means for {channels} channels")
    order = transform.channels or {1: "gray", 3: BGR}[channels]
    scale = 1.0 if transform.scale is None else transform.scale
    return Preprocessing(order, transform.mean, scale, as_bytes)
