"""Short names of runs and logs: what tells their paths apart."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

LONG = 24  # characters of a name from which on its words are compared as well
_ENDING = re.compile(r"\.(?:log|txt|json|gz|out)$")


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Return the shortest part of each path that tells it from the others.

    That is a folder's or the file's name where one suffices, without what long ones have in common;
    a path that is there twice gets a number.
    """
    split = [_parts(path) for path in paths]
    names = _one_part(split) or _differing_parts(split)
    if len(set(names)) > 1 and max(map(len, names)) > LONG:
        names = _differing_words(names)
    return number_duplicates(names)


def number_duplicates(names: Sequence[str]) -> list[str]:
    """Return names of which those that are there again have a number appended."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        number, new = 1, name
        while new in taken:
            number += 1
            new = f"{name} ({number})"
        taken.add(new)
        found.append(new)
    return found


def _parts(path: str) -> list[str]:
    """Return folders and the file's name, without its endings."""
    if path == "-":
        return ["standard input"]
    *folders, name = [part for part in path.replace(os.sep, "/").split("/") if part] or [path]
    while _ENDING.search(name) and _ENDING.sub("", name):
        name = _ENDING.sub("", name)
    return [*folders, name]


def _one_part(split: Sequence[list[str]]) -> list[str]:
    """Return the last part that differs in every path, counted from the end; empty if none does."""
    for place in range(1, max(map(len, split)) + 1):
        names = [parts[-place] if place <= len(parts) else "" for parts in split]
        if len(set(names)) == len(names) and all(names):
            return names
    return []


def _differing_parts(split: Sequence[list[str]]) -> list[str]:
    """Return what lies between the parts that all paths begin and end with."""
    start, end = _common_ends(split)
    cut = [parts[start : len(parts) - end] for parts in split]
    return ["/".join(middle) or parts[-1] for middle, parts in zip(cut, split, strict=True)]


def _differing_words(names: Sequence[str]) -> list[str]:
    """Leave out the words that all names begin and end with."""
    split = [re.findall(r"[^\W_]+(?:\.\d+)*|[\W_]+", name) for name in names]
    start, end = _common_ends(split)
    cut = ["".join(words[start : len(words) - end]).strip("-_ ./") for words in split]
    return cut if all(cut) and len(set(cut)) == len(set(names)) else list(names)


def _common_ends(split: Sequence[list[str]]) -> tuple[int, int]:
    """Return how many items all lists begin with, and how many others they end with."""
    shortest = min(map(len, split))
    start = end = 0
    while start < shortest and len({items[start] for items in split}) == 1:
        start += 1
    while end < shortest - start and len({items[-1 - end] for items in split}) == 1:
        end += 1
    return start, end
