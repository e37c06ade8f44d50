"""Small pictures of some records of a dataset, for a page that shows them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from ..errors import FormatError
from ..formats.datum import raw_values, read_datum
from ..formats.files import read_bytes
from ..formats.images import COLOR, Pixels, decode, opencv, read_image
from ..formats.list_file import LIST_LIMIT, parse_list
from ..formats.lmdb_reader import LmdbReader, open_lmdb
from ..formats.schema import LayerParameter
from ..text import escaped, printable

SIDE = 96  # pixels of the longer side
BYTES = 4_500  # of a JPEG: 48 of them in base64 take less than 300 kB
QUALITIES = (85, 70, 50, 30)  # of a JPEG; the first that is small enough

Thumbnail = bytes | FormatError  # a JPEG, or why there is none


def read_thumbnails(
    layer: LayerParameter, base: Path, keys: Collection[str]
) -> dict[str, Thumbnail]:
    """Return the thumbnails of those records that the dataset has.

    Args:
        layer: the Data or ImageData layer that reads the dataset.
        base: the folder of its relative names.
        keys: of the records, as predictions have them.

    Raises:
        FormatError: the dataset can't be read, or holds no pictures.
        MissingExtraError: OpenCV is not installed.
    """
    opencv()
    if layer.type == "ImageData":
        return dict(_from_list(layer, base, keys))
    if layer.type == "Data":
        return dict(_from_lmdb(base / layer.data_param.source, keys))
    raise FormatError(f"a layer of type {printable(layer.type)} reads no pictures")


def encode_thumbnail(pixels: Pixels) -> bytes:
    """Return pixels (height, width, 1 or 3), in the order BGR, as a JPEG that fits `SIDE`."""
    cv2 = opencv()
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    data = b""
    for quality in QUALITIES:
        data = bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
        if len(data) <= BYTES:
            break
    return data


def _from_lmdb(path: Path, keys: Collection[str]) -> Iterator[tuple[str, Thumbnail]]:
    with open_lmdb(path) as reader:
        for number, raw in enumerate(reader.keys()):
            key = escaped(raw.decode("utf-8", "surrogateescape"))
            if key in keys:
                yield key, _thumbnail(partial(_record_pixels, reader, number))


def _from_list(
    layer: LayerParameter, base: Path, keys: Collection[str]
) -> Iterator[tuple[str, Thumbnail]]:
    param = layer.image_data_param
    source = base / param.source
    lines = parse_list(read_bytes(source, LIST_LIMIT, "a list of images"), printable(str(source)))
    files = {key: line.file for line in lines if (key := escaped(line.file)) in keys}
    for key, file in files.items():
        yield key, _thumbnail(partial(_file_pixels, base / (param.root_folder + file)))


def _thumbnail(read: Callable[[], Pixels]) -> Thumbnail:
    try:
        return encode_thumbnail(read())
    except FormatError as error:
        return error


def _record_pixels(reader: LmdbReader, number: int) -> Pixels:
    name = f"record {number}"
    record = read_datum(next(reader.values(number)), name)
    if record.encoded:
        return decode(record.data, COLOR, name)
    values = raw_values(record, name)
    if values.dtype != "uint8" or len(values) not in (1, 3):
        raise FormatError(f"{name}: {values.dtype} of {len(values)} channels, which is no picture")
    return values.transpose(1, 2, 0)


def _file_pixels(path: Path) -> Pixels:
    if not os.path.isfile(path):
        raise FormatError(f"{printable(str(path))}: is no file")
    return read_image(path, COLOR)[1]
