"""Compressed files and their retrained successors: the same codes, other values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, NamedTuple, Protocol, TypeVar

from ..compress.constraints import codes_digest
from ..compress.encoding import Blobs
from ..compress.layer_change import squared_change
from ..compress.weighted_layers import WeightedLayer
from ..errors import FormatError
from ..evaluation.paired import compare_predictions
from ..logs.kept_predictions import read_kept_predictions
from ..logs.result import LogResult

UNTRAINED = "-untrained"  # in the name of a stage's file before its training


class CodedFile(NamedTuple):
    """What tells whether a compressed file is another's successor.

    Attributes:
        codes: digest of which weights are zero, and which share a value.
        values: digest of all numbers.
        change: sum of the squared changes from the weights before compression.
    """

    codes: bytes
    values: bytes
    change: float


def coded_file(layers: Sequence[WeightedLayer], before: Blobs, decoded: Blobs) -> CodedFile:
    """Return what tells a decoded file's successors, beside the weights before compression."""
    values = sha256()
    for blob in (blob for blobs in decoded for blob in blobs):
        values.update((blob + 0).tobytes())  # -0 is 0
    return CodedFile(
        codes_digest(layers, decoded), values.digest(), squared_change(before, decoded)
    )


def find_starts(files: Mapping[str, CodedFile]) -> dict[str, str]:
    """Return the name of the file that each retrained one started from.

    Of files with equal codes and other values, the one nearest to the weights before compression
    is encoded only: encoding chooses values that are near.
    """
    nearest: dict[bytes, str] = {}
    for name, file in sorted(files.items(), key=lambda item: item[1].change):
        nearest.setdefault(file.codes, name)
    starts = {name: nearest[file.codes] for name, file in files.items()}
    return {
        name: start for name, start in starts.items() if files[name].values != files[start].values
    }


def paired_p_value(start: LogResult, trained: LogResult) -> float | None:
    """Return that of McNemar's exact test of the top-1; None without predictions of both."""
    try:
        before, after = read_kept_predictions(start), read_kept_predictions(trained)
    except FormatError:
        return None
    return None if before is None or after is None else compare_predictions(before, after).p_value


class _File(Protocol):
    """A file of a trade-off as measured, or as its JSON has it."""

    @property
    def name(self) -> str: ...

    @property
    def retrained_from(self) -> str | None: ...


F = TypeVar("F", bound=_File)


@dataclass(frozen=True)  # no NamedTuple, which Python 3.10 lets be nothing else as well
class Pair(Generic[F]):
    """A row of a trade-off: a file encoded only, and its retrained successor, if any."""

    encoded: F
    retrained: F | None = None

    @property
    def last(self) -> F:
        """The retrained file, or the only one."""
        return self.encoded if self.retrained is None else self.retrained

    @property
    def name(self) -> str:
        """The names of both; a stage of `compress train` has that of its result."""
        if self.retrained is None or UNTRAINED in self.encoded.name:
            return self.last.name
        return f"{self.encoded.name} -> {self.retrained.name}"


def pair_files(files: Sequence[F]) -> list[Pair[F]]:
    """Return files in their order, a retrained one beside the one that it started from."""
    by_name = {file.name: file for file in files}
    starts = {file.retrained_from for file in files}
    return [
        Pair(file) if file.retrained_from is None else Pair(by_name[file.retrained_from], file)
        for file in files
        if file.name not in starts
    ]
