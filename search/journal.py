"""The journal of a search: a line of JSON for each trial, written as soon as it has its score."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from weakref import finalize

import numpy as np

from ..errors import FormatError, OutputError
from ..formats.file_lock import lock_file
from ..formats.files import check_file_target, error_reason, read_bytes, write_files
from ..json_form import loads, to_json
from ..text import printable
from .problem import Choice

FORMAT = 2
KIND = "a journal of a search"
JOURNAL = "trials.jsonl"  # in the folder of a search
_OF_METHOD = {"by", "trials", "seed", "budgets"}  # which a score does not depend on
_LIMIT = 1 << 30  # bytes: ten million trials


def array_digest(groups: Iterable[Iterable[np.ndarray]]) -> str:
    """Return what tells arrays from others: 16 digits of SHA-256."""
    digest = sha256()
    for group in groups:
        for array in group:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def identify(
    net: bytes, weights: Iterable[Iterable[np.ndarray]], images: Iterable[np.ndarray]
) -> dict[str, str]:
    """Return what tells a search from those of other nets, weights and images.

    Args:
        net: its definition.
        weights: of its layers.
        images: in batches.
    """
    return {
        "net": sha256(net).hexdigest()[:16],
        "weights": array_digest(weights),
        "images": array_digest([images]),
    }


class Trial(NamedTuple):
    """A choice that was tried.

    Attributes:
        choice: of each decision, how much.
        score: the less, the better.
        seconds: that it took.
        use: the part of the budget that it takes; above 1 it exceeds it.
    """

    choice: Choice
    score: float
    seconds: float
    use: float


class Trials(NamedTuple):
    """Where the trials of a search are recorded.

    Attributes:
        folder: has the journal, `JOURNAL`.
        resume: whether to go on with it.
        scores_from: folders of other searches, whose scores are taken for the same choices.
    """

    folder: Path
    resume: bool = False
    scores_from: tuple[Path, ...] = ()

    def open(self, about: Mapping[str, Any]) -> Journal:
        """Open the journal of a search (`Journal`)."""
        known: dict[Choice, float] = {}
        for folder in self.scores_from:  # before a journal is begun
            known |= read_scores(folder / JOURNAL, about)
        journal = Journal(self.folder / JOURNAL, about, self.resume)
        journal.known = known
        return journal


class Journal:
    """A file of trials; the first line says what search it is of.

    A search holds a lock on its journal until its process ends.

    Args:
        path: the file.
        about: what tells the search from others: method, seed, budget, weights.
        resume: go on with the file, if there is one.

    Attributes:
        trials: those that the file has.
        known: scores of choices that other searches tried.

    Raises:
        FormatError: it is of another search, or is none.
        OutputError: it exists, and is not to be resumed; another search writes it; or it can't be
            written.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], resume: bool) -> None:
        self._path, self._shown = path, printable(str(path))
        self._head = {"format": FORMAT, **about}
        self.trials: list[Trial] = []
        self.known: dict[Choice, float] = {}
        is_old = os.path.lexists(path)
        if is_old and not resume:
            raise OutputError(
                f"{self._shown}: exists already; --resume goes on with it, and a search of other"
                " options needs another folder"
            )
        if not is_old:
            # At once: a search that is killed leaves a first line, or no file.
            write_files({path: _line(self._head)})
        self._open()
        try:
            self._read()
        except FormatError:
            self._file.close()
            raise

    def _open(self) -> None:
        """Open and lock the file.

        Raises:
            OutputError: it can't be opened, or another process holds the lock.
        """
        check_file_target(self._path, force=True)
        try:
            self._file = open(self._path, "r+b")  # noqa: SIM115 - the lock is held on
            finalize(self, self._file.close)
            lock_file(self._file.fileno())
            self._file.seek(0, os.SEEK_END)
        except BlockingIOError:
            raise OutputError(
                f"{self._shown}: another search writes it; wait, or give --out another folder"
            ) from None
        except OSError as error:
            raise OutputError(f"{self._shown}: {error_reason(error)}") from None

    def _read(self) -> None:
        data = read_bytes(self._path, _LIMIT, KIND)
        end = data.rfind(b"\n") + 1
        head, lines = _parse_head(data[:end], self._shown)
        difference = _difference(head, self._head)
        if difference:
            raise FormatError(f"{self._shown}: is of {difference}; give --out another folder")
        self.trials = _parse_trials(lines, self._shown)
        if end < len(data):  # a line that was cut when the search was killed
            self._file.truncate(end)
            self._file.seek(end)

    def add(self, trial: Trial) -> None:
        """Append a trial.

        Raises:
            OutputError: it can't be written.
        """
        self.trials.append(trial)
        try:
            self._file.write(_line(trial._asdict()))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self._shown}: {error_reason(error)}") from None


def read_scores(path: Path, about: Mapping[str, Any]) -> dict[Choice, float]:
    """Read the scores that another search found for its choices.

    Args:
        path: its journal.
        about: this search.

    Raises:
        FormatError: the file is no journal, or its scores are of other nets, weights or images.
    """
    head, trials = read_journal(path)
    of_scores = [
        {key: value for key, value in each.items() if key not in _OF_METHOD}
        for each in (head, about)
    ]
    difference = _difference(*map(to_json, of_scores))
    if difference:
        raise FormatError(f"{printable(str(path))}: is of {difference}; its scores mean others")
    return {trial.choice: trial.score for trial in trials}


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return the first difference of two searches, or nothing."""
    for key in {**theirs, **ours}:
        if theirs.get(key) != ours.get(key):
            their, our = (printable(str(each.get(key))) for each in (theirs, ours))
            return f"a search with {printable(key)} {their}, not {our}"
    return ""


def read_journal(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[Trial]]:
    """Read the journal of a search that ended, was stopped, or goes on.

    Returns:
        What tells the search from others, and its trials.

    Raises:
        FormatError: it is none, damaged, or of another format.
    """
    data, shown = read_bytes(path, _LIMIT, KIND), printable(str(path))
    about, lines = _parse_head(data[: data.rfind(b"\n") + 1], shown)
    if about.pop("format", None) != FORMAT:
        raise FormatError(f"{shown}: is the journal of another version of sqgen")
    return about, _parse_trials(lines, shown)


def _parse_head(data: bytes, shown: str) -> tuple[dict[str, Any], list[bytes]]:
    """Return what a journal's first line says, and the lines of its trials."""
    first, *lines = data.splitlines() or [b""]
    try:
        head = loads(first)
    except ValueError:
        head = None
    if not isinstance(head, dict):
        raise _no_journal(shown)
    return head, lines


def _parse_trials(lines: Sequence[bytes], shown: str) -> list[Trial]:
    try:
        return [
            Trial(
                tuple(map(int, plain["choice"])),
                *(float(plain[name]) for name in Trial._fields[1:]),
            )
            for plain in map(loads, lines)
        ]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _no_journal(shown) from None


def _no_journal(shown: str) -> FormatError:
    return FormatError(f"{shown}: is no journal of a search, or damaged")


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(to_json(value), allow_nan=False).encode() + b"\n"
