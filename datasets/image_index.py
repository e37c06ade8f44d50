"""Which images a dataset is of, with their labels: from a list, or from a folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .. import counter_rng
from ..errors import FormatError
from ..formats.files import STDIN, error_reason, read_bytes
from ..formats.list_file import LIST_LIMIT, parse_list
from ..text import printable

_SHUFFLE = 0x64617461736574  # keeps these draws apart from others of the same seed


class Listing(NamedTuple):
    """The images of a dataset, in its order.

    Attributes:
        root: what stands before each name, "" or ending in a slash.
        images: (name, label); a name is empty where a line of the list has none.
        classes: the names of the classes by their label, where folders gave them.
        warnings: what is odd about it.
    """

    root: str
    images: list[tuple[str, int]]
    classes: list[str] | None
    warnings: list[str]

    def shuffled(self, seed: int) -> Listing:
        """The same images in an order that depends on nothing but the seed and their number."""
        order = counter_rng.permutation(counter_rng.key(seed, _SHUFFLE), len(self.images))
        return self._replace(images=[self.images[number] for number in order.tolist()])


def find_images(images: str, file: str | None) -> Listing:
    """The images in folder `images`: those of a list `file`, or a folder a class.

    Raises:
        FormatError: no such folder, a list that can't be read, or no images.
    """
    shown = printable(images)
    if images and not Path(images).is_dir():
        what = "is a file" if Path(images).exists() else "no such folder"
        raise FormatError(f"{shown}: {what}; give the folder that the images are in")
    # As Caffe puts the two together: a name that begins with a slash is below the folder too.
    root = images if not images or images.endswith("/") else images + "/"
    return by_list(root, file) if file is not None else by_folder(root, shown)


def by_list(root: str, file: str) -> Listing:
    """The lines of a list, read as convert_imageset does: the label is behind the last space.

    A label is what C's atoi makes of it, which is 0 where there is no number.

    Raises:
        FormatError: it can't be read, is empty, or has a label that is no 32-bit number.
    """
    shown = "standard input" if file == STDIN else printable(file)
    text = read_bytes(file, LIST_LIMIT, "a list of images")
    made, odd = [], []
    for number, line in enumerate(parse_list(text, shown), 1):
        if not -(1 << 31) <= line.label < 1 << 31:
            raise FormatError(f"{shown}: line {number}: label {line.label}; Caffe takes 32 bits")
        if not line.labelled and line.file.strip():
            odd.append(number)
        made.append((line.file, line.label))
    warnings = []
    if odd:
        warnings.append(
            f"{shown}: {len(odd)} lines end in no number, the first is line {odd[0]}; their"
            " label is 0, as for Caffe"
        )
    return Listing(root, made, None, warnings)


def by_folder(root: str, shown: str) -> Listing:
    """The files in the folders of a folder: their labels count the folders' names in order.

    ImageNet's layout, a folder a synset, is such a one. Hidden files and folders are no images.

    Raises:
        FormatError: no folders, no files in them, or a name that is no class's.
    """
    try:
        entries = sorted(os.scandir(root or "."), key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(error) from None
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    classes = [entry.name for entry in visible if entry.is_dir()]
    if not classes:
        raise FormatError(f"{shown}: no folders in it; a folder a class, or give --list")
    made: list[tuple[str, int]] = []
    warnings = []
    for label, name in enumerate(classes):
        if not name.isprintable():
            raise FormatError(f"{shown}: no class can be called '{printable(name)}'; rename it")
        before = len(made)
        made.extend((file, label) for file in _files(root, name))
        if len(made) == before:
            warnings.append(f"{shown}: no files in class '{printable(name)}' (label {label})")
    if not made:
        raise FormatError(f"{shown}: no files in its {len(classes)} folders; nothing to make")
    if loose := len(visible) - len(classes):
        warnings.append(f"{shown}: files outside of the classes' folders are left out: {loose}")
    return Listing(root, made, classes, warnings)


def _files(root: str, folder: str) -> Iterator[str]:
    """The names of all files below a folder, from `root` on, in order."""
    for above, folders, files in os.walk(root + folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(above, name)[len(root) :].replace(os.sep, "/")  # noqa: PTH118


def _refuse(error: OSError) -> None:
    raise _unreadable(error)


def _unreadable(error: OSError) -> FormatError:
    return FormatError(
        f"{printable(str(error.filename))}: {error_reason(error)}; check who may read it"
    )
