"""`--labels`: the names of a net's classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..errors import FormatError
from ..formats.class_names import read_class_names
from ..formats.files import display_name
from ..nets.imagenet import imagenet_class_names

IMAGENET = "imagenet"  # the word for its names, where no file has this name

labels_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--labels", metavar="FILE", help="a line per class, in the net's order; or imagenet"
)


def read_labels(path: str) -> list[str]:
    """Return the names that `--labels` means.

    Raises:
        FormatError: the file can't be read.
    """
    if path == IMAGENET and not os.path.exists(path):
        return imagenet_class_names()
    return read_class_names(path)


def require_names(names: Sequence[str], classes: int, path: str) -> None:
    """Check that there is a name for each class.

    Raises:
        FormatError: there are fewer.
    """
    if len(names) < classes:
        raise FormatError(
            f"{display_name(path)}: has {len(names)} labels, and class {classes - 1} occurs; give"
            " the net's own"
        )
