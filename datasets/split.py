"""Split images into a training and a validation set, class by class.

Files of the same content count as one picture: all of them land on the same side, so that nothing
is validated that was trained on. The split is a function of the seed, the order of the files and
their contents, on every platform.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from .. import counter_rng
from ..errors import FormatError, SqgenError
from ..formats.files import display_name
from ..formats.lmdb_writer import LmdbWriter
from ..progress import StartProgress, no_progress
from ..text import first_few, printable
from .create import CreateResult, create_lmdb
from .encode_record import RecordEncoder
from .image_index import ImageIndex
from .ordered_map import map_in_order

TRAIN, VAL = "train_lmdb", "val_lmdb"
_SPLIT = counter_rng.domain("split")
_BUFFER = 1 << 20  # bytes read at a time


class Split(NamedTuple):
    """Two sets of images.

    Attributes:
        train: in an order by the seed, since Caffe reads records in their order.
        val: in the order of the index.
        remarks: on files of the same content, a line each.
    """

    train: ImageIndex
    val: ImageIndex
    remarks: list[str]


def split_images(
    index: ImageIndex,
    share: float,
    seed: int,
    jobs: int = 1,
    progress: StartProgress = no_progress,
    option: str = "--split",
) -> Split:
    """Split images so that each class has about the same share of them in the validation set.

    A class has round(share x images) of them there, at least one, and at least one picture in the
    training set. Files that can't be read go to the training set, and so do pictures that are in
    several classes.

    Args:
        index: the images.
        share: of the validation set, between 0 and 1.
        seed: another seed is another split.
        jobs: number of threads that compare files.
        progress: counts the files that are compared.
        option: what gave the share, for messages.

    Raises:
        SqgenError: the share is not between 0 and 1.
        FormatError: there is only one class, or a class has fewer than two different pictures.
    """
    if not 0 < share < 1:
        raise SqgenError(f"{option} {share:g}: give a share between 0 and 1, such as 0.2")
    pictures = _group_copies(index, jobs, progress)
    classes = _group_classes(index, pictures)
    _check_classes(index, classes)
    chosen: set[int] = set()
    for label, members in sorted(classes.items()):
        order = counter_rng.permutation(counter_rng.key(seed, _SPLIT, label), len(members.own))
        shuffled = [members.own[number] for number in order.tolist()]
        chosen.update(number for picture in _choose(shuffled, members, share) for number in picture)
    sides: dict[bool, list[tuple[str, int]]] = {True: [], False: []}
    for number, image in enumerate(index.images):
        sides[number in chosen].append(image)
    train = index._replace(images=sides[False], warnings=[]).shuffled(seed)
    val = index._replace(images=sides[True], warnings=[])
    return Split(train, val, list(_remarks(index, pictures)))


Picture = Sequence[int]  # the numbers of the images that have the same content


class _Class(NamedTuple):
    """The pictures of a class: its own, and how many of them other classes have too."""

    own: list[Picture]
    shared: int


def _group_copies(index: ImageIndex, jobs: int, progress: StartProgress) -> list[Picture]:
    """Return the files that can be read, grouped by content, in the order of their first."""
    sizes = {number: _file_size(index.root + index.images[number][0]) for number in _named(index)}
    counts = Counter(sizes.values())
    # Only files of the same size can be the same.
    alike = [n for n, size in sizes.items() if size is not None and counts[size] > 1]
    contents: dict[int, object] = {n: n for n, size in sizes.items() if size is not None}

    def digest(number: int) -> bytes | None:
        return _digest(index.root + index.images[number][0])

    with (
        progress(len(alike), "files compared") as advance,
        closing(map_in_order(digest, alike, jobs)) as digests,
    ):
        for number, found in zip(alike, digests, strict=True):
            contents[number] = found
            advance()
    groups: dict[object, list[int]] = defaultdict(list)
    for number, content in contents.items():
        if content is not None:
            groups[content].append(number)
    return list(groups.values())


def _named(index: ImageIndex) -> list[int]:
    """Return the numbers of the images; some lines of a list have only a label."""
    return [number for number, (name, _) in enumerate(index.images) if name.strip()]


def _file_size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return None


def _digest(path: str) -> bytes | None:
    """Return SHA-256 of a file; None where it can't be read."""
    digest = sha256()
    try:
        with Path(path).open("rb") as file:
            while part := file.read(_BUFFER):
                digest.update(part)
    except (OSError, ValueError):
        return None
    return digest.digest()


def _labels(index: ImageIndex, picture: Picture) -> set[int]:
    return {index.images[number][1] for number in picture}


def _group_classes(index: ImageIndex, pictures: Iterable[Picture]) -> dict[int, _Class]:
    """Return label -> its pictures; labels without any are those of empty folders."""
    named = range(len(index.classes or ()))
    own: dict[int, list[Picture]] = {label: [] for label in named}
    own |= {index.images[number][1]: [] for number in _named(index)}
    shared = dict.fromkeys(own, 0)
    for picture in pictures:
        labels = _labels(index, picture)
        for label in labels:
            if len(labels) == 1:
                own[label].append(picture)
            else:
                shared[label] += 1
    return {label: _Class(own[label], shared[label]) for label in own}


def _check_classes(index: ImageIndex, classes: dict[int, _Class]) -> None:
    """Check that every class can have a picture on each side."""
    if len(classes) == 1:
        raise FormatError(f"{_class_name(index, *classes)}: is the only class; give two or more")
    poor = [
        _class_name(index, label)
        for label, (own, shared) in sorted(classes.items())
        if not own or len(own) + shared < 2
    ]
    if poor:
        raise FormatError(
            f"{display_name(index.root)}: {len(poor)} of {len(classes)} classes have no two"
            f" different pictures that are theirs alone ({first_few(poor)}); add pictures, or take"
            " the class out"
        )


def _class_name(index: ImageIndex, label: int) -> str:
    name = f"class '{index.classes[label]}'" if index.classes is not None else f"label {label}"
    return printable(name)


def _choose(shuffled: Sequence[Picture], members: _Class, share: float) -> list[Picture]:
    """Return pictures for validation: the first that fit into the share, or else the smallest."""
    images = sum(map(len, shuffled))
    largest = images if members.shared else images - 1
    target = max(1, min(math.floor(Fraction(str(share)) * images + Fraction(1, 2)), largest))
    chosen: list[Picture] = []
    for picture in shuffled:
        if len(picture) <= target:
            chosen.append(picture)
            target -= len(picture)
    return chosen or [min(shuffled, key=len)]


def _remarks(index: ImageIndex, pictures: Iterable[Picture]) -> Iterable[str]:
    copied = [picture for picture in pictures if len(picture) > 1]
    if copied:
        copies = sum(len(picture) - 1 for picture in copied)
        yield (
            f"{copies} images are copies of others ({_first_two(index, copied[0])}); all copies of"
            " a picture are on the same side"
        )
    ambiguous = [picture for picture in copied if len(_labels(index, picture)) > 1]
    if ambiguous:
        yield (
            f"{len(ambiguous)} pictures are in several classes"
            f" ({_first_two(index, ambiguous[0])}); they are in the training set"
        )


def _first_two(index: ImageIndex, picture: Picture) -> str:
    """Return the names of the first two copies of a picture."""
    first, second = (printable(index.images[number][0], 60) for number in picture[:2])
    return f"{first} = {second}"


def create_split(
    split: Split,
    folder: str | os.PathLike[str],
    encoder: RecordEncoder,
    jobs: int,
    *,
    force: bool = False,
    strict: bool = False,
    report: Callable[[str], None] | None = None,
    progress: StartProgress = no_progress,
) -> dict[str, CreateResult]:
    """Write `train_lmdb` and `val_lmdb` into a folder, both or neither.

    Args:
        split: the two sets.
        folder: of the LMDBs; made if missing.
        force: replace LMDBs that are there.
        encoder, jobs, strict, report, progress: as of `create_lmdb`.

    Returns:
        The name of each LMDB -> what was written.

    Raises:
        FormatError: no picture of a class could be read on one side, and as of `create_lmdb`.
        OutputError: an LMDB can't be written, or is there already.
        MissingExtraError: OpenCV or lmdb is not installed.
    """
    target = Path(folder)
    with (
        LmdbWriter(target / TRAIN, force) as train,
        LmdbWriter(target / VAL, force) as val,
    ):
        results = {}
        for writer, index in ((train, split.train), (val, split.val)):
            result = create_lmdb(index, encoder, writer, jobs, strict, report, progress)
            lost = sorted({index.images[number][1] for number in _named(index)} - result.labels)
            if lost:
                names = first_few([_class_name(index, label) for label in lost])
                raise FormatError(
                    f"{printable(str(writer.path))}: no image of {names} could be read; take the"
                    " bad files out and split again; nothing is written"
                )
            results[writer.path.name] = result
        # Both are on disk before either gets its name.
        train.seal()
        val.seal()
    return results
