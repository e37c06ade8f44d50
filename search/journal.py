"""The journal of a search: a line of JSON for each trial, written as soon as it has its score."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError, OutputError
from ..formats.files import error_reason
from ..text import printable
from .problem import Choice

FORMAT = 1


def array_digest(groups: Iterable[Iterable[np.ndarray]]) -> str:
    """Return what tells arrays from others: 16 digits of SHA-256."""
    digest = sha256()
    for group in groups:
        for array in group:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


class Trial(NamedTuple):
    """A choice that was tried.

    Attributes:
        choice: of each decision, how much.
        score: the less, the better.
        seconds: that it took.
    """

    choice: Choice
    score: float
    seconds: float


class Journal:
    """A file of trials; the first line says what search it is of.

    Args:
        path: the file.
        about: what tells the search from others: method, seed, budget, weights.
        resume: go on with the file, if there is one.

    Attributes:
        trials: those that the file has.

    Raises:
        FormatError: it is of another search, or is none.
        OutputError: it exists, and is not to be resumed; or it can't be written.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], resume: bool) -> None:
        self._path = path
        self._head = {"format": FORMAT, **about}
        self.trials: list[Trial] = []
        if resume and path.exists():
            self._read()
            return
        if path.exists():
            raise OutputError(f"{printable(str(path))}: exists already; --resume goes on with it")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._append(json.dumps(self._head))

    def _read(self) -> None:
        shown = printable(str(self._path))
        data = self._path.read_bytes()
        end = data.rfind(b"\n") + 1
        lines = data[:end].decode(errors="replace").splitlines()
        try:
            head, *trials = (json.loads(line) for line in lines)
            self.trials = [
                Trial(tuple(map(int, t["choice"])), float(t["score"]), float(t["seconds"]))
                for t in trials
            ]
            if not isinstance(head, dict):
                raise TypeError
        except (KeyError, TypeError, ValueError):
            raise FormatError(f"{shown}: is no journal of a search, or damaged") from None
        for key in {*head, *self._head}:
            if head.get(key) != self._head.get(key):
                raise FormatError(
                    f"{shown}: is of a search with {key} {printable(str(head.get(key)))}, not"
                    f" {printable(str(self._head.get(key)))}; give --out another folder"
                )
        if end < len(data):  # a line that was cut when the search was killed
            with open(self._path, "r+b") as file:
                file.truncate(end)

    def add(self, trial: Trial) -> None:
        """Append a trial.

        Raises:
            OutputError: it can't be written.
        """
        self.trials.append(trial)
        self._append(json.dumps(trial._asdict()))

    def _append(self, line: str) -> None:
        try:
            with open(self._path, "a") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{printable(str(self._path))}: {error_reason(error)}") from None
