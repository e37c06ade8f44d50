"""Crop, mirror, mean and scale: Caffe's DataTransformer (src/caffe/data_transformer.cpp).

    top[c, y, x] = (image[c, y + y0, x' + x0] - mean) * scale,   x' = width - 1 - x if mirrored

Bytes without a mean file are only cropped and mirrored here; the net subtracts the mean and scales
(InputBlob), because floats would take four times the memory. Pixels are stored as N, H, W, C.

Caffe draws from one generator. Here the random bits of a record are a hash of the seed and the
record's position in the run, so that a resumed run needs no saved state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import counter_rng
from ..errors import FormatError
from ..formats.caffemodel import read_blob
from ..formats.images import opencv
from ..formats.schema import TransformationParameter
from ..text import printable, shape_text

Array = np.ndarray[Any, np.dtype[Any]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Shape = tuple[int, int, int]

_DOMAIN = counter_rng.domain("transfor")  # as many letters as a domain takes
_MERGED = range(2, 5)  # numbers of channels for which cv2.merge is fast
_BITS = 31  # random bits of each crop offset


class Image(NamedTuple):
    """A decoded record.

    Attributes:
        pixels: (C, H, W) where `planar`, else (H, W, C); uint8 or float32.
        planar: the memory layout.
        label: the class.
        name: file and record, for messages.
    """

    pixels: Array
    planar: bool
    label: int
    name: str


class Transformer:
    """Transforms records as a layer's transform_param says.

    Attributes:
        shape: (C, H, W) of the top; set by `fit`.
        finished: whether `apply` subtracts the mean and scales, or leaves both to the net.
        mean: (C,) of mean_value, or None; set by `fit`.
        scale: the factor, applied after the mean.
    """

    def __init__(
        self,
        param: TransformationParameter,
        phase: str,
        seed: int,
        where: str,
        base: Path | None = None,
    ) -> None:
        """Read the parameters and the mean file.

        Args:
            param: the TransformationParameter.
            phase: `TRAIN` or `TEST`; only TRAIN crops at random, both mirror.
            seed: of crops and mirrors.
            where: file:line and name of the layer, for messages.
            base: the folder of a relative mean_file; the current one if None.

        Raises:
            FormatError: both mean_file and mean_value, or an unusable mean file.
        """
        self._where = where
        self._crop = param.crop_size
        self._mirror = param.mirror
        self._random_crop = phase == "TRAIN" and self._crop > 0
        self._values = np.array(param.mean_value, np.float32)
        self._stream = counter_rng.key(seed, _DOMAIN)
        self._file: Floats | None = None
        if param.HasField("mean_file"):
            if len(self._values):
                raise FormatError(f"{where}: both mean_file and mean_value; keep one of them")
            self._file = read_mean((base or Path()) / param.mean_file, where)
        self.scale = param.scale
        self.mean: Floats | None = None
        self.finished = self._file is not None
        self.shape: Shape = (0, 0, 0)
        self._first: object = None  # layout of the first record, which passed all checks

    def fit(self, image: Image) -> Shape:
        """Take the shape of the top from the first record (DataTransformer::InferBlobShape).

        Returns:
            (C, H, W).

        Raises:
            FormatError: the image is smaller than the crop, or does not fit the mean.
        """
        channels, height, width = image_shape(image)
        self._check(image.name, channels, height, width)
        if len(self._values) not in (0, 1, channels):
            raise FormatError(
                f"{image.name}: has {channels} channels, but {self._where} {len(self._values)}"
                " values of mean_value; give one, or one per channel"
            )
        if len(self._values):
            self.mean = np.broadcast_to(self._values, (channels,)).copy()
        self.finished = self._file is not None or image.pixels.dtype != np.uint8
        self.shape = (channels, self._crop or height, self._crop or width)
        self._first = _layout(image)
        return self.shape

    def random_bits(self, records: range) -> list[int]:
        """Return the bits for `apply` of these records of the run."""
        if not (self._mirror or self._random_crop):
            return [0] * len(records)
        first, step = records.start, records.step
        numbers: list[int] = counter_rng.bits(self._stream, first, len(records), step).tolist()
        return numbers

    def apply(self, image: Image, bits: int, out: Array) -> None:
        """Transform a record into `out`.

        Args:
            image: the record.
            bits: its 64 random bits, from the lowest: mirror, unused, 31 for each crop offset.
            out: (H, W, C) of `shape`, contiguous; float32 where `finished`, else uint8.

        Raises:
            FormatError: the size differs from the first record's or the mean file's, or is
                smaller than the crop.
        """
        channels, height, width = image_shape(image)
        if _layout(image) != self._first:
            self._check(image.name, channels, height, width)
            self._check_top(image, channels, height, width)
        y, x = self._offsets(bits, height, width)
        rows, columns = slice(y, y + self.shape[1]), slice(x, x + self.shape[2])
        part = image.pixels[:, rows, columns] if image.planar else image.pixels[rows, columns]
        if self.finished:
            mean = self.mean if self._file is None else self._file[rows, columns]
            _normalize(part, image.planar, mean, self.scale, out)
        else:
            _interleave(part, image.planar, out)
        if self._mirror and bits & 1:
            opencv().flip(out, 1, out)

    def _offsets(self, bits: int, height: int, width: int) -> tuple[int, int]:
        """Return row and column of the crop's corner; in TEST the center, rounded down."""
        if not self._crop:
            return 0, 0
        down, right = height - self._crop, width - self._crop
        if not self._random_crop:
            return down // 2, right // 2
        high, low = bits >> _BITS + 2, bits >> 2 & (1 << _BITS) - 1
        return high * (down + 1) >> _BITS, low * (right + 1) >> _BITS

    def _check(self, name: str, channels: int, height: int, width: int) -> None:
        """Check that the image is no smaller than the crop, and of the mean file's size."""
        crop = self._crop
        if height < crop or width < crop:
            raise FormatError(
                f"{name}: {height}x{width} is smaller than crop_size {crop} of"
                f" {self._where}; use a smaller crop_size"
            )
        if self._file is not None and self._file.shape != (height, width, channels):
            of_mean = shape_text((self._file.shape[2], *self._file.shape[:2]))
            raise FormatError(
                f"{name}: is {shape_text((channels, height, width))}, but the mean file of"
                f" {self._where} is {of_mean}; they must be equal"
            )

    def _check_top(self, image: Image, channels: int, height: int, width: int) -> None:
        """Check that the result has the size and the type of the first record's."""
        top = (channels, self._crop or height, self._crop or width)
        if top != self.shape:
            raise FormatError(
                f"{image.name}: is {shape_text((channels, height, width))}, but the first record"
                f" {shape_text(self.shape)}{' after its crop' if self._crop else ''};"
                " all must be of one size"
            )
        if not self.finished and image.pixels.dtype != np.uint8:
            raise FormatError(
                f"{image.name}: holds floats, but the first record bytes; all must be of one type"
            )


def image_shape(image: Image) -> Shape:
    """Return (C, H, W) of an image in either layout."""
    a, b, c = image.pixels.shape
    return (a, b, c) if image.planar else (c, a, b)


def _layout(image: Image) -> tuple[object, ...]:
    return image.pixels.shape, image.planar, image.pixels.dtype


def _interleave(part: Array, planar: bool, out: Array) -> None:
    """Copy a crop as (H, W, C); OpenCV interleaves planes faster than NumPy.

    It takes 5 times as long for rows of 227 that don't follow each other in memory.
    """
    if not planar:
        np.copyto(out, part)
    elif len(part) in _MERGED:
        opencv().merge(list(np.ascontiguousarray(part)), out)
    else:
        np.copyto(out, part.transpose(1, 2, 0))


def _normalize(part: Array, planar: bool, mean: Floats | None, scale: float, out: Floats) -> None:
    """Compute (part - mean) * scale in float32, in Caffe's order; `mean` is (H, W, C) or (C,)."""
    if planar:
        interleaved = np.empty(out.shape, part.dtype)
        _interleave(part, True, interleaved)
        part = interleaved
    if mean is None:
        np.copyto(out, part)
    else:
        np.subtract(part, mean, out=out)
    if scale != 1:
        np.multiply(out, np.float32(scale), out=out)


def read_mean(path: Path, where: str) -> Floats:
    """Read the mean image of a binaryproto file, as compute_image_mean writes it: (H, W, C).

    The blob has four dimensions, in `shape` or in the older num, channels, height and width
    (Blob::FromProto, src/caffe/blob.cpp); of several images Caffe uses the first.

    Raises:
        FormatError: the file can't be read, or is not a mean image.
    """
    try:
        images = read_blob(path, "a mean file", "make it with compute_image_mean")
    except FormatError as error:
        raise FormatError(f"{where}: mean file {error}") from None
    name = f"{where}: mean file {printable(str(path))}"
    if images.ndim != 4 or min(images.shape) < 1:
        dims = " ".join(map(str, images.shape)) or "none"
        raise FormatError(f"{name}: needs the dimensions 1 channels height width, has {dims}")
    with np.errstate(over="ignore"):
        first = images[0].astype(np.float32, copy=False)
    if not np.isfinite(first).all():
        raise FormatError(f"{name}: has values that are nan or inf; make it again")
    return np.ascontiguousarray(first.transpose(1, 2, 0))
