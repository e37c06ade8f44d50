"""Small LMDBs, records and layers for the tests of data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
from google.protobuf import text_format

from sqgen.engine.image_loader import ImageLoader
from sqgen.engine.open_loader import open_loader
from sqgen.formats.schema import Datum, NetParameter


def make_lmdb(folder: Path, values: Iterable[bytes]) -> Path:
    """An LMDB whose keys are those of convert_imageset."""
    with lmdb.open(str(folder), map_size=1 << 26) as env, env.begin(write=True) as writing:
        for number, value in enumerate(values):
            writing.put(b"%08d_file%d.png" % (number, number), value)
    return folder


def pixels(number: int, channels: int, height: int, width: int) -> np.ndarray[Any, Any]:
    """(C, H, W) of bytes that depend on `number`."""
    random = np.random.default_rng(number)
    return random.integers(0, 256, (channels, height, width), dtype=np.uint8)


def raw(number: int, channels: int = 3, height: int = 8, width: int = 9) -> bytes:
    """A Datum of bytes, its label `number`."""
    data = pixels(number, channels, height, width).tobytes()
    datum = Datum(channels=channels, height=height, width=width, data=data, label=number)
    return bytes(datum.SerializeToString())


def image_file(number: int, height: int = 8, width: int = 9, kind: str = ".png") -> bytes:
    """A colour image file."""
    return bytes(cv2.imencode(kind, pixels(number, 3, height, width).transpose(1, 2, 0))[1])


def damaged_jpeg() -> bytes:
    """A JPEG of which libjpeg decodes what it can."""
    data = bytearray(image_file(1, 40, 40, ".jpg"))
    for at in range(len(data) // 2, len(data) // 2 + 20):
        data[at] ^= 0x5A
    return bytes(data)


def encoded(number: int, height: int = 8, width: int = 9, kind: str = ".png") -> bytes:
    """A Datum of an image file, its label `number`."""
    data = image_file(number, height, width, kind)
    return bytes(Datum(data=data, encoded=True, label=number).SerializeToString())


def layer(text: str) -> Any:
    """The layer of a prototxt without its braces."""
    net = NetParameter()
    text_format.Parse(f"layer {{ {text} }}", net)
    return net.layer[0]


def data_layer(path: Path | str, batch: int, transform: str = "", top: str = '"label"') -> Any:
    return layer(
        f'type: "Data" top: ["data"{", " + top if top else ""}]'
        f" transform_param {{ {transform} }}"
        f' data_param {{ source: "{path}" backend: LMDB batch_size: {batch} }}'
    )


def opened(one: Any, phase: str = "TRAIN", seed: int = 5, **options: Any) -> ImageLoader:
    loader = open_loader(one, phase, seed=seed, where="net:7", **options)
    assert isinstance(loader, ImageLoader)
    return loader
