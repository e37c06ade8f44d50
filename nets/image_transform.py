"""How images become a net's input, and the comment of a deploy net that says so.

A deploy net has no data layer, and so no field for it. sqgen writes these comment lines, and
`sqgen classify` reads them; lines without a value are left out, their order is free:

    # preprocessing
    #   channels: BGR
    #   resize: 256x256
    #   crop: 227x227
    #   mean: 104,117,123
    #   mean_file: imagenet_mean.binaryproto
    #   scale: 0.0078125

`channels` is BGR (as OpenCV and Caffe read), RGB or gray; `resize` is the height and width of the
resized image, `crop` those of its centre that the net takes; `mean` is subtracted per channel, in
their order, or once for all; `mean_file` names the image that it is the average of; `scale` is
multiplied last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Any, NamedTuple

from ..errors import FormatError, NetError
from ..formats.schema import LayerParameter
from ..text import did_you_mean, number_text, printable
from .data_layers import is_transformed
from .definition import NetDefinition
from .layer_types import Shape

ORDERS = ("BGR", "RGB", "gray")
_HEAD = re.compile(r"^#[ \t]*preprocessing[ \t]*$", re.MULTILINE)
_LINE = re.compile(r"\n#[ \t]+(\w+)[ \t]*:[ \t]*([^\r\n]*)")
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)

Size = tuple[int, int]


def check_input(image: Shape, resize: Size | None, mean: Sequence[float] | None) -> None:
    """Check that images as they are transformed fit a net's input.

    Args:
        image: (channels, height, width) of the input.
        resize: (height, width) of the resized image; None where the net tells it.
        mean: that is subtracted, likewise.

    Raises:
        NetError: they don't.
    """
    channels, height, width = image
    if resize is not None and (resize[0] < height or resize[1] < width):
        raise NetError(
            f"--resize {resize[0]}x{resize[1]}: the net takes {height}x{width} of its images"
        )
    if mean is not None and len(mean) not in (1, channels):
        raise NetError(f"--mean has {len(mean)} values for {channels} channels")


class ImageTransform(NamedTuple):
    """What is done to an image; a field is None where it is not known.

    Attributes:
        channels: one of `ORDERS`.
        resize: (height, width) of the resized image.
        crop: (height, width) of its centre.
        mean: subtracted, one value or one per channel.
        mean_file: the image whose channels have that mean, or a file not read yet.
        scale: multiplied after the mean.
    """

    channels: str | None = None
    resize: Size | None = None
    crop: Size | None = None
    mean: tuple[float, ...] | None = None
    mean_file: str | None = None
    scale: float | None = None

    def comment(self) -> str:
        """Return the comment lines of a deploy net."""
        lines = (f"#   {line}\n" for line in self.lines())
        return "".join(["# preprocessing\n", *lines])

    def lines(self) -> list[str]:
        """Return what is known, a line `key: value` each."""
        values = {
            "channels": self.channels,
            "resize": self.resize and _size_text(self.resize),
            "crop": self.crop and _size_text(self.crop),
            "mean": self.mean and ",".join(map(number_text, self.mean)),
            "mean_file": self.mean_file and printable(self.mean_file, 1000),
            "scale": None if self.scale is None else number_text(self.scale),
        }
        return [f"{key}: {value}" for key, value in values.items() if value]


def _size_text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def layer_transform(layer: LayerParameter, channels: int | None = None) -> ImageTransform:
    """Return the transform of a data layer in TEST.

    Args:
        layer: a layer with a `transform_param`.
        channels: of its top, where known.
    """
    param, images = layer.transform_param, layer.image_data_param
    crop = param.crop_size
    size = (images.new_height, images.new_width)
    return ImageTransform(
        {1: "gray", 3: "BGR"}.get(channels or 0),
        size if all(size) else None,
        (crop, crop) if crop else None,
        None if param.mean_file else tuple(param.mean_value) or (0.0,),
        param.mean_file or None,
        param.scale,
    )


def transforming_layer(net: NetDefinition) -> LayerParameter | None:
    """Return the data layer that says how images are transformed, that of TEST first."""
    layers = (layer for phase in ("TEST", "TRAIN") for layer in net.layers(phase))
    return next(filter(is_transformed, layers), None)


def read_comment(net: NetDefinition) -> ImageTransform | None:
    """Read the comment of a deploy net; None where it has none.

    Raises:
        FormatError: a line of it can't be read.
    """
    head = _HEAD.search(net.text)
    if head is None:
        return None
    values: dict[str, Any] = {}
    for line, key, text in _comment_lines(net.text, head.end()):
        where = f"{printable(net.source)}:{line}"
        if key not in _READERS:
            hint = did_you_mean(key, _READERS) or f"; one of {', '.join(_READERS)}"
            raise FormatError(f"{where}: no preprocessing '{printable(key)}'{hint}")
        try:
            values[key] = _READERS[key](text.strip())
        except ValueError:
            raise FormatError(
                f"{where}: preprocessing {key} '{printable(text)}'; write it as {_EXAMPLES[key]}"
            ) from None
    return ImageTransform(**values)


def _comment_lines(text: str, start: int) -> Iterator[tuple[int, str, str]]:
    """Yield line number, key and value of each line of the comment."""
    number = text.count("\n", 0, start) + 1
    while match := _LINE.match(text, start):
        number += 1
        yield number, match[1], match[2]
        start = match.end()


def _order(text: str) -> str:
    return ORDERS[[order.lower() for order in ORDERS].index(text.lower())]


def _size(text: str) -> Size:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError
    return int(match[1]), int(match[2])


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(_number, text.split(",")))


def _number(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError
    return value


_READERS: dict[str, Callable[[str], Any]] = {
    "channels": _order,
    "resize": _size,
    "crop": _size,
    "mean": _numbers,
    "mean_file": str,
    "scale": _number,
}
_EXAMPLES = {
    "channels": ", ".join(ORDERS),
    "resize": "256x256",
    "crop": "227x227",
    "mean": "104,117,123",
    "mean_file": "a path",
    "scale": "0.0078125",
}
