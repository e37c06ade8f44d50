"""`--labels`: the names of a net's classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..errors import FormatError, SqgenError
from ..formats.class_names import read_class_names, read_lmdb_class_names
from ..formats.files import display_name
from ..nets.definition import read_net
from ..nets.deploy import deploy_net
from ..nets.family import is_imagenet
from ..nets.imagenet import imagenet_class_names
from ..nets.shapes import infer_shapes

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


def names_beside(source: str, classes: int) -> list[str] | None:
    """Return the names of so many classes that lie beside an LMDB; None where there are fewer."""
    names = read_lmdb_class_names(source)
    return names if names is not None and len(names) >= classes else None


def names_of_net(path: str) -> list[str] | None:
    """Return ImageNet's names for a SqueezeNet with as many classes; None for other nets."""
    try:
        deploy = deploy_net(read_net(path)).definition
    except SqgenError:
        return None
    return imagenet_class_names() if is_imagenet(infer_shapes(deploy, "TEST")) else None
