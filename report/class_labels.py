"""Short labels of classes, for charts, where their whole names don't fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ..text import printable
from .errors_text import Names

LABEL = 24  # characters, about as many as stand beside an axis
_WORDNET = re.compile(r"n\d{8} .")  # the id before ImageNet's names
_WORDNET_ID = len("n01440764 ")


def class_labels(classes: Sequence[int], names: Names, limit: int = LABEL) -> list[str]:
    """Return a label for each class, of about `limit` characters, no two alike.

    A name is shortened to the first of its synonyms (`lynx, catamount`), without its WordNet id,
    and then in its middle. Where two become equal, and without names, there are numbers.
    """
    if names is None:
        return [str(number) for number in classes]
    short = [_short(names[number], limit) for number in classes]
    times = Counter(short)
    return [
        label if label and times[label] == 1 else f"{label} {number}".strip()
        for number, label in zip(classes, short, strict=True)
    ]


def class_name(number: int, names: Names) -> str:
    """Return a class's number and its whole name, without the WordNet id of ImageNet's."""
    return str(number) if names is None else f"{number} {_bare(names[number])}"


def _bare(name: str) -> str:
    return name[_WORDNET_ID:] if _WORDNET.match(name) else name


def _short(name: str, limit: int) -> str:
    bare = _bare(name)
    first = bare.split(",")[0].strip()
    return printable(first or bare, limit)
