"""Create an LMDB from images, record by record as convert_imageset does.

Several threads read and encode, one writes. As in Caffe, an image that can't be read keeps its
number, so the keys of the others don't change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from typing import NamedTuple

from ..errors import FormatError
from ..formats.images import opencv
from ..formats.lmdb_reader import LABELS_FILE
from ..formats.lmdb_writer import KEY_LIMIT, LmdbWriter
from ..progress import StartProgress, no_progress
from ..text import printable
from .encode_record import EncodedRecord, RecordEncoder, Shape
from .image_index import ImageIndex
from .ordered_map import map_in_order


class SkippedImage(NamedTuple):
    """An image that can't be read, and why."""

    file: str
    reason: str


class CreateResult(NamedTuple):
    """The result of `create_lmdb`.

    Attributes:
        records: number of records.
        size: bytes of their values.
        skipped: the images that can't be read.
        shapes: the different (channels, height, width) of the others.
        labels: those of the records.
    """

    records: int
    size: int
    skipped: list[SkippedImage]
    shapes: set[Shape]
    labels: set[int]


def create_lmdb(
    index: ImageIndex,
    encoder: RecordEncoder,
    writer: LmdbWriter,
    jobs: int,
    strict: bool = False,
    report: Callable[[str], None] | None = None,
    progress: StartProgress = no_progress,
) -> CreateResult:
    """Write a record for every image that can be read.

    Args:
        index: the images.
        encoder: encodes each of them.
        writer: of the LMDB.
        jobs: number of threads.
        strict: raise for a single bad image, after checking the others.
        report: called with a line for each bad image, and for each damaged one that is kept.
        progress: counts the images.

    Raises:
        FormatError: no image can be read, or `strict` and one can't.
        MissingExtraError: OpenCV is not installed.
        OutputError: the LMDB can't be written.
    """
    opencv()  # raises once if missing, instead of for every image
    skipped: list[SkippedImage] = []
    shapes: set[Shape] = set()
    labels: set[int] = set()
    total = len(index.images)
    with progress(total, "images") as advance, closing(_encode(index, encoder, jobs)) as results:
        for number, result in enumerate(results):
            if isinstance(result, SkippedImage):
                skipped.append(result)
                if report is not None:
                    report(result.reason)
            elif not (strict and skipped):
                name, label = index.images[number]
                writer.put(_key(number, name), result.value)
                labels.add(label)
                shapes.add(result.shape)
                if result.damage and report is not None:
                    report(result.damage)
            advance()
    if skipped and strict:
        raise FormatError(f"{len(skipped)} of {total} images are bad; nothing is written")
    if not writer.records:
        raise FormatError(f"none of {total} images could be read; nothing is written")
    if index.classes is not None:
        writer.put_file(LABELS_FILE, os.fsencode("".join(f"{c}\n" for c in index.classes)))
    return CreateResult(writer.records, writer.size, skipped, shapes, labels)


def _encode(
    index: ImageIndex, encoder: RecordEncoder, jobs: int
) -> Generator[EncodedRecord | SkippedImage, None, None]:
    def encode(number: int) -> EncodedRecord | SkippedImage:
        name, label = index.images[number]
        try:
            if not name.strip():
                raise FormatError(f"record {number}: a line without a file; it is: file label")
            if len(_key(number, name)) > KEY_LIMIT:
                raise FormatError(
                    f"{printable(name)}: too long for a key of LMDB ({KEY_LIMIT} bytes)"
                )
            return encoder.encode(index.root + name, label)
        except FormatError as error:
            return SkippedImage(name, str(error))

    return map_in_order(encode, range(len(index.images)), jobs)


def _key(number: int, name: str) -> bytes:
    return b"%08d_" % number + name.encode("utf-8", "surrogateescape")
