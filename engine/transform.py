"""Crop, mirror, mean and scale: Caffe's DataTransformer (src/caffe/data_transformer.cpp).

    top[c, y, x] = (image[c, y + y0, x' + x0] - mean) * scale,   x' = width - 1 - x if mirrored

Bytes without a mean file are only cropped and mirrored here: mean and scale are left to who
computes with them, because floats are four times the bytes. Everything else is finished here.
Pixels lie in memory as N, H, W, C.

Caffe draws from one generator. Here the draw of a record is a hash of the seed and the record's
number in the run, so a run that goes on needs no saved state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from .. import counter_rng
from ..errors import FormatError
from ..formats.files import read_bytes
from ..formats.images import opencv
from ..formats.schema import message_class
from ..text import printable

Array = np.ndarray[Any, np.dtype[Any]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Shape = tuple[int, int, int]

MEAN_LIMIT = 1 << 30  # bytes of a mean file
_STREAM = 0x7472616E73666F72  # keeps these draws apart from others of the same seed
_MERGED = range(2, 5)  # channels that cv2.merge is fast for
_BITS = 31  # of each offset's draw


class Image(NamedTuple):
    """One decoded record.

    Attributes:
        pixels: (C, H, W) where `planar`, else (H, W, C); uint8 or float32.
        planar: how they lie.
        label: the label.
        name: file and record, for messages.
    """

    pixels: Array
    planar: bool
    label: int
    name: str


class Transformer:
    """What a layer's transform_param does to its records.

    Attributes:
        shape: (C, H, W) of the top; known after `fit`.
        finished: whether `put` subtracts the mean and scales. If not, who reads on must.
        mean: (C,) of mean_value, or None; known after `fit`.
        scale: the factor, applied after the mean.
    """

    def __init__(
        self, param: Any, phase: str, seed: int, where: str, base: Path | None = None
    ) -> None:
        """Read the parameters, and the mean file where there is one.

        Args:
            param: the TransformationParameter.
            phase: `TRAIN` or `TEST`; only TRAIN crops at random, both mirror.
            seed: of the counter_rng.
            where: the layer's place, for messages.
            base: the folder that a relative mean_file is in; the current one if None.

        Raises:
            FormatError: mean_file and mean_value both, or a mean file that can't be used.
        """
        self._where = where
        self._crop = int(param.crop_size)
        self._mirror = bool(param.mirror)
        self._random_crop = phase == "TRAIN" and self._crop > 0
        self._values = np.array(param.mean_value, np.float32)
        self._stream = counter_rng.key(seed, _STREAM)
        self._file: Floats | None = None
        if param.HasField("mean_file"):
            if len(self._values):
                raise FormatError(f"{where}: mean_file and mean_value at once; keep one of them")
            self._file = read_mean((base or Path()) / param.mean_file, where)
        self.scale = float(param.scale)
        self.mean: Floats | None = None
        self.finished = self._file is not None
        self.shape: Shape = (0, 0, 0)

    def fit(self, image: Image) -> Shape:
        """Take the shape of the top from the first record, as Caffe does (InferBlobShape).

        Returns:
            (C, H, W).

        Raises:
            FormatError: it is smaller than the crop, or the mean is not made for it.
        """
        channels, height, width = sizes(image)
        self._check(image.name, channels, height, width)
        if len(self._values) not in (0, 1, channels):
            raise FormatError(
                f"{image.name}: has {channels} channels, and {self._where} {len(self._values)}"
                " values of mean_value; give one, or one a channel"
            )
        if len(self._values):
            self.mean = np.broadcast_to(self._values, (channels,)).copy()
        self.finished = self._file is not None or image.pixels.dtype != np.uint8
        self.shape = (channels, self._crop or height, self._crop or width)
        return self.shape

    def draws(self, position: int, count: int) -> list[int]:
        """The draws of the records `position` to `position + count - 1` of the run, for `put`."""
        if not (self._mirror or self._random_crop):
            return [0] * count
        numbers: list[int] = counter_rng.bits(self._stream, position, count).tolist()
        return numbers

    def put(self, image: Image, draw: int, out: Array) -> None:
        """Transform one record into `out`.

        Args:
            image: the record.
            draw: its draw; 64 bits: mirror, a spare one, 31 for each offset.
            out: (H, W, C) of `shape`, contiguous; float32 where `finished`, else uint8.

        Raises:
            FormatError: another size than the first record's, the crop's or the mean file's.
        """
        channels, height, width = sizes(image)
        self._check(image.name, channels, height, width)
        self._check_top(image, channels, height, width)
        y, x = self._offsets(draw, height, width)
        rows, columns = slice(y, y + self.shape[1]), slice(x, x + self.shape[2])
        part = image.pixels[:, rows, columns] if image.planar else image.pixels[rows, columns]
        if self.finished:
            whole = self._file
            mean = self.mean if whole is None else whole[rows, columns]
            _finish(part, image.planar, mean, self.scale, out)
        else:
            _place(part, image.planar, out)
        if self._mirror and draw & 1:
            opencv().flip(out, 1, out)

    def _offsets(self, draw: int, height: int, width: int) -> tuple[int, int]:
        """Row and column of the crop's corner; in TEST the centre, rounded down."""
        if not self._crop:
            return 0, 0
        down, right = height - self._crop, width - self._crop
        if not self._random_crop:
            return down // 2, right // 2
        high, low = draw >> _BITS + 2, draw >> 2 & (1 << _BITS) - 1
        return high * (down + 1) >> _BITS, low * (right + 1) >> _BITS

    def _check(self, name: str, channels: int, height: int, width: int) -> None:
        """The image is large enough for the crop, and the mean file's size."""
        crop = self._crop
        if height < crop or width < crop:
            raise FormatError(
                f"{name}: {height}x{width} is smaller than crop_size {crop} of"
                f" {self._where}; use a smaller crop_size"
            )
        if self._file is not None and self._file.shape != (height, width, channels):
            of_mean = shown(self._file.shape[2], *self._file.shape[:2])
            raise FormatError(
                f"{name}: is {shown(channels, height, width)}, and the mean file of {self._where}"
                f" is {of_mean}; they must be equal"
            )

    def _check_top(self, image: Image, channels: int, height: int, width: int) -> None:
        """What comes out is of the first record's size, and of its kind."""
        top = (channels, self._crop or height, self._crop or width)
        if top != self.shape:
            raise FormatError(
                f"{image.name}: is {shown(channels, height, width)}, and the first record"
                f" {shown(*self.shape)}{' once cropped' if self._crop else ''};"
                " all must be of one size"
            )
        if not self.finished and image.pixels.dtype != np.uint8:
            raise FormatError(
                f"{image.name}: holds floats, and the first record bytes; all must be of one kind"
            )


def sizes(image: Image) -> Shape:
    """(C, H, W) of an image, however it lies."""
    a, b, c = image.pixels.shape
    return (a, b, c) if image.planar else (c, a, b)


def shown(channels: int, height: int, width: int) -> str:
    """A shape in a message."""
    return f"{channels}x{height}x{width}"


def _place(part: Array, planar: bool, out: Array) -> None:
    """Copy a crop into (H, W, C); OpenCV interleaves planes faster than NumPy."""
    if not planar:
        np.copyto(out, part)
    elif len(part) in _MERGED:
        opencv().merge(list(part), out)
    else:
        np.copyto(out, part.transpose(1, 2, 0))


def _finish(part: Array, planar: bool, mean: Floats | None, scale: float, out: Floats) -> None:
    """(part - mean) * scale in float32, in Caffe's order; `mean` is (H, W, C) or (C,)."""
    if planar:
        lying = np.empty(out.shape, part.dtype)
        _place(part, True, lying)
        part = lying
    if mean is None:
        np.copyto(out, part)
    else:
        np.subtract(part, mean, out=out)
    if scale != 1:
        np.multiply(out, np.float32(scale), out=out)


def read_mean(path: Path, where: str) -> Floats:
    """The mean image of a binaryproto file, as compute_image_mean writes it: (H, W, C).

    The blob has four dimensions, in `shape` or in the older num, channels, height and width
    (Blob::FromProto, src/caffe/blob.cpp); of several images Caffe uses the first.

    Raises:
        FormatError: it can't be read, is none, or holds another number of values than it says.
    """
    name = f"{where}: mean file {printable(str(path))}"
    try:
        blob = message_class("BlobProto").FromString(read_bytes(path, MEAN_LIMIT, "a mean file"))
    except FormatError as error:
        raise FormatError(f"{where}: mean file {error}") from None
    except DecodeError:
        raise FormatError(f"{name}: is no BlobProto; make it with compute_image_mean") from None
    older = [blob.num, blob.channels, blob.height, blob.width]
    is_old = any(map(blob.HasField, ("num", "channels", "height", "width")))
    shape = older if is_old else list(blob.shape.dim)
    if len(shape) != 4 or min(shape) < 1:
        dims = " ".join(map(str, shape)) or "none"
        raise FormatError(f"{name}: needs the dimensions 1 channels height width, has {dims}")
    values = np.array(blob.double_data or blob.data, np.float32)
    if len(values) != shape[0] * shape[1] * shape[2] * shape[3]:
        raise FormatError(
            f"{name}: says {'x'.join(map(str, shape))} and holds {len(values):,} values;"
            " make it with compute_image_mean"
        )
    return np.ascontiguousarray(values.reshape(shape)[0].transpose(1, 2, 0))
