"""The constraints of a training: which weights stay zero, and which share one value (an `.npz`).

For blob 0 of layer conv1, the array `conv1/0` has an integer for each weight, in the blob's shape:
0 for one that stays zero, -1 for a free one, and a number from 1 on for the group of weights that
share a value. `conv1/0/values`, which may be left out, has a number a group: its value, which then
stays, or nan for a group that learns its value, from the mean of its weights on. Blobs without an
array are free. docs/constraints.md has examples.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError, NetError
from ..text import did_you_mean, first_few, printable, shape_text
from .files import BINARY_LIMIT, display_name, read_bytes
from .npz import decode_npz, encode_npz

ZERO, FREE = 0, -1  # codes
VALUES = "values"
MAX_GROUPS = 1 << 24  # of a blob
Array = np.ndarray[Any, np.dtype[Any]]


class BlobName(NamedTuple):
    """A parameter blob: its layer's name, and its number in that layer."""

    layer: str
    number: int

    def __str__(self) -> str:
        return f"{self.layer}/{self.number}"


@dataclass(frozen=True, eq=False)
class Constraint:
    """What holds for the weights of a blob.

    Attributes:
        codes: int32, in the blob's shape; `ZERO`, `FREE`, or a group from 1 on.
        values: float64, one a group; nan for those that learn theirs.
    """

    codes: Array
    values: Array

    @property
    def zeros(self) -> int:
        """How many weights stay zero."""
        return int(np.count_nonzero(self.codes == ZERO))

    @property
    def groups(self) -> int:
        """How many groups have members."""
        return len(np.unique(self.codes[self.codes > 0]))


Constraints = Mapping[BlobName, Constraint]


def read_constraints(path: str | os.PathLike[str]) -> dict[BlobName, Constraint]:
    """Read a file of constraints.

    Raises:
        FormatError: it can't be read, is no `.npz`, or says what can't hold.
    """
    data = read_bytes(path, BINARY_LIMIT, "a file of constraints")
    return parse_constraints(data, display_name(path))


def parse_constraints(data: bytes, source: str) -> dict[BlobName, Constraint]:
    """Parse the content of such a file; `source` names it in messages.

    Raises:
        FormatError: as `read_constraints`.
    """
    shown = printable(source)
    try:
        arrays = decode_npz(data, BINARY_LIMIT)
    except ValueError as error:
        raise FormatError(f"{shown}: is no file of constraints (.npz): {error}") from None
    values = {name.removesuffix(f"/{VALUES}"): a for name, a in arrays.items() if _is_values(name)}
    codes = {name: array for name, array in arrays.items() if not _is_values(name)}
    alone = sorted(values.keys() - codes.keys())
    if alone:
        raise FormatError(f"{shown}: has values of {first_few(alone)}, but no codes for them")
    if not codes:
        raise FormatError(f"{shown}: has no constraints")
    return {
        _blob_name(name, shown): _constraint(array, values.get(name), f"{shown}: {printable(name)}")
        for name, array in codes.items()
    }


def _is_values(name: str) -> bool:
    return name.endswith(f"/{VALUES}")


def _blob_name(name: str, shown: str) -> BlobName:
    layer, _, index = name.rpartition("/")
    if not layer or not index.isascii() or not index.isdecimal() or len(index) > 4:
        raise FormatError(
            f"{shown}: array '{printable(name)}' names no blob; write LAYER/NUMBER, as conv1/0"
        )
    return BlobName(layer, int(index))


def _constraint(codes: Array, values: Array | None, place: str) -> Constraint:
    if codes.dtype.kind not in "iu" or not codes.size:
        raise FormatError(f"{place}: codes are integers, not {codes.dtype} of {codes.shape}")
    if codes.min() < FREE or codes.max() > MAX_GROUPS:
        raise FormatError(
            f"{place}: a code is -1 (free), 0 (stays zero) or a group from 1 to {MAX_GROUPS}"
        )
    count = max(0, int(codes.max()))
    if values is None:
        values = np.full(count, np.nan)
    if values.dtype.kind != "f" or values.shape != (count,):
        raise FormatError(f"{place}: values are {count} floats, one a group, not {values.shape}")
    if np.isinf(values).any():
        raise FormatError(f"{place}: a value is infinite")
    return Constraint(codes.astype(np.int32), values.astype(np.float64))


def describe_constraints(constraints: Constraints) -> str:
    """Return how many weights stay zero and how many values are shared, in words."""
    zeros = sum(constraint.zeros for constraint in constraints.values())
    size = sum(constraint.codes.size for constraint in constraints.values())
    groups = sum(constraint.groups for constraint in constraints.values())
    shared = f", {groups:,} values are shared" if groups else ""
    return f"of {size:,} weights in {len(constraints)} blobs, {zeros:,} stay zero{shared}"


def check_constraints(
    constraints: Constraints, shapes: Mapping[str, Sequence[tuple[int, ...]]], source: str
) -> None:
    """Check that a net has the blobs that constraints are of.

    Args:
        constraints: of the file `source`.
        shapes: of the blobs of each layer of the net.

    Raises:
        NetError: it has no such layer or blob, or one of another shape.
    """
    for name, constraint in constraints.items():
        shown = printable(f"{source}: {name}")
        blobs = shapes.get(name.layer)
        if blobs is None:
            hint = did_you_mean(name.layer, [layer for layer, blobs in shapes.items() if blobs])
            raise NetError(f"{shown}: the net has no layer '{printable(name.layer)}'{hint}")
        if name.number >= len(blobs):
            raise NetError(f"{shown}: its layer has {len(blobs)} parameter blobs, counted from 0")
        if constraint.codes.shape != tuple(blobs[name.number]):
            raise NetError(
                f"{shown}: has codes of shape {shape_text(constraint.codes.shape)}, but the net's"
                f" blob is {shape_text(blobs[name.number])}"
            )


def encode_constraints(constraints: Constraints) -> bytes:
    """Return the content of a file; equal constraints give equal bytes."""
    arrays: dict[str, Array] = {}
    for name, constraint in sorted(constraints.items()):
        arrays[str(name)] = constraint.codes
        if not np.isnan(constraint.values).all():
            arrays[f"{name}/{VALUES}"] = constraint.values
    return encode_npz(arrays)


def constraints_digest(constraints: Constraints) -> str:
    """Return the SHA-256 of what constraints say, however their file was packed."""
    digest = sha256()
    for name, constraint in sorted(constraints.items()):
        head = f"{name} {constraint.codes.shape} {len(constraint.values)}\n"
        digest.update(head.encode("utf-8", "surrogateescape"))
        digest.update(np.ascontiguousarray(constraint.codes, "<i4").tobytes())
        # nan has many forms.
        values = np.where(np.isnan(constraint.values), np.nan, constraint.values)
        digest.update(np.ascontiguousarray(values, "<f8").tobytes())
    return digest.hexdigest()
