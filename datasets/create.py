"""Images into an LMDB, record by record as convert_imageset does it.

Threads read and decode, one writes. A file that can't be read takes its number with it, as in
Caffe: the keys of the others don't change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from typing import NamedTuple

from ..errors import FormatError
from ..formats.images import opencv
from ..formats.lmdb_writer import KEY_LIMIT, LABELS_FILE, LmdbWriter
from ..progress import StartProgress, no_progress
from .encode_record import Made, Recipe, Shape
from .image_index import Listing
from .ordered_map import in_order


class LeftOut(NamedTuple):
    """An image that is no record, and why."""

    file: str
    reason: str


class Created(NamedTuple):
    """What was made.

    Attributes:
        records: the number of them.
        size: bytes of their values.
        left_out: the images that could not be read.
        shapes: the different (channels, height, width) that were read.
    """

    records: int
    size: int
    left_out: list[LeftOut]
    shapes: set[Shape]


def create(
    listing: Listing,
    recipe: Recipe,
    writer: LmdbWriter,
    jobs: int,
    strict: bool = False,
    report: Callable[[str], None] | None = None,
    progress: StartProgress = no_progress,
) -> Created:
    """Put the records of all images that can be read.

    Args:
        listing: the images.
        recipe: what is made of each.
        writer: where they go.
        jobs: threads.
        strict: whether one bad image refuses all; the others are still looked at.
        report: given a line for each bad image.
        progress: told of each image.

    Raises:
        FormatError: none could be read, or one could not and `strict`, or OpenCV is missing.
        OutputError: they can't be written.
    """
    opencv()  # where it is missing, no image is to blame
    left_out: list[LeftOut] = []
    shapes: set[Shape] = set()
    total = len(listing.images)
    with progress(total, "images") as advance, closing(_made(listing, recipe, jobs)) as results:
        for number, made in enumerate(results):
            if isinstance(made, LeftOut):
                left_out.append(made)
                if report is not None:
                    report(made.reason)
            elif not (strict and left_out):
                writer.put(_key(number, listing.images[number][0]), made.value)
                shapes.add(made.shape)
            advance()
    if left_out and strict:
        raise FormatError(f"{len(left_out)} of {total} images are bad; nothing is written")
    if not writer.records:
        raise FormatError(f"none of {total} images could be read; nothing is written")
    if listing.classes is not None:
        writer.put_file(LABELS_FILE, os.fsencode("".join(f"{c}\n" for c in listing.classes)))
    return Created(writer.records, writer.size, left_out, shapes)


def _made(listing: Listing, recipe: Recipe, jobs: int) -> Generator[Made | LeftOut, None, None]:
    def make(number: int) -> Made | LeftOut:
        name, label = listing.images[number]
        try:
            if not name.strip():
                raise FormatError(f"record {number}: a line without a file; it is: file label")
            if len(_key(number, name)) > KEY_LIMIT:
                raise FormatError(f"{name}: too long for a key of LMDB ({KEY_LIMIT} bytes)")
            return recipe.make(listing.root + name, label)
        except FormatError as error:
            return LeftOut(name, str(error))

    return in_order(make, range(len(listing.images)), jobs)


def _key(number: int, name: str) -> bytes:
    return b"%08d_" % number + name.encode("utf-8", "surrogateescape")
