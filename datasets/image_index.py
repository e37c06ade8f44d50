"""Index the images of a dataset with their labels, from a list or from a folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from .. import counter_rng
from ..errors import FormatError
from ..formats.files import display_name, find_files, read_bytes, unreadable_folder
from ..formats.list_file import LIST_LIMIT, label_warnings, parse_list
from ..formats.near_path import missing_hint
from ..text import printable

_SHUFFLE = counter_rng.domain("dataset")


class ImageIndex(NamedTuple):
    """The images of a dataset, in order.

    Attributes:
        root: prefix of each name, "" or ending in a slash.
        images: (name, label); the name is empty if a line of the list has none.
        classes: class names by label, if folders define them.
        warnings: on lines without a label, empty classes and files outside of class folders.
    """

    root: str
    images: list[tuple[str, int]]
    classes: list[str] | None
    warnings: list[str]

    def shuffled(self, seed: int) -> ImageIndex:
        """Return the images in an order that depends only on the seed and their number."""
        order = counter_rng.permutation(counter_rng.key(seed, _SHUFFLE), len(self.images))
        return self._replace(images=[self.images[number] for number in order.tolist()])


def index_images(images: str, file: str | None) -> ImageIndex:
    """Index the images in folder `images`: those of a list `file`, or of a folder a class.

    Raises:
        FormatError: the folder does not exist, the list can't be read, or there are no images.
    """
    shown = printable(images)
    if images and not os.path.isdir(images):
        instead = "give the folder that the images are in"
        if not os.path.exists(images):
            raise FormatError(
                f"{shown}: no such folder{missing_hint(images, instead, os.path.isdir)}"
            )
        raise FormatError(f"{shown}: is a file; {instead}")
    # Caffe concatenates the two: a name that begins with a slash is below the folder, too.
    root = images if not images or images.endswith("/") else images + "/"
    return index_list(root, file) if file is not None else index_folders(root, shown)


def index_list(root: str, file: str) -> ImageIndex:
    """Index the lines of a list as convert_imageset does: the label follows the last space.

    Raises:
        FormatError: the list can't be read, is empty, or has a label of more than 32 bits.
    """
    shown = display_name(file)
    text = read_bytes(file, LIST_LIMIT, "a list of images")
    lines = parse_list(text, shown)
    images = [(line.file, line.label) for line in lines]
    return ImageIndex(root, images, None, label_warnings(lines, shown))


def index_folders(root: str, shown: str) -> ImageIndex:
    """Index a folder with a folder a class; labels number the folders in order of their names.

    ImageNet has this layout, a folder a synset. Skips hidden files and folders.

    Raises:
        FormatError: there are no folders, no files in them, or a folder's name is not printable.
    """
    try:
        entries = sorted(os.scandir(root or "."), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable_folder(error) from None
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    classes = [entry.name for entry in visible if entry.is_dir()]
    if not classes:
        raise FormatError(f"{shown}: has no folders; make a folder a class, or give --list")
    images: list[tuple[str, int]] = []
    warnings = []
    for label, name in enumerate(classes):
        if not name.isprintable():
            raise FormatError(f"{shown}: '{printable(name)}' can't name a class; rename it")
        before = len(images)
        images.extend((file, label) for file in _files(root, name))
        if len(images) == before:
            warnings.append(f"{shown}: no files in class '{printable(name)}' (label {label})")
    if not images:
        raise FormatError(f"{shown}: no files in its {len(classes)} folders; nothing to make")
    if loose := len(visible) - len(classes):
        warnings.append(f"{shown}: skipped {loose} files outside of the classes' folders")
    return ImageIndex(root, images, classes, warnings)


def _files(root: str, folder: str) -> Iterator[str]:
    """Yield the names of all files below a folder, relative to `root`, in order."""
    for path in find_files(root + folder):
        yield path[len(root) :].replace(os.sep, "/")
