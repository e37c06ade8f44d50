"""Counter-based random numbers: number k of a stream is a hash of the stream's key and k.

There is no state to save: a resumed run needs only its position, threads may draw in any order, and
the numbers are the same under every release of NumPy. The hash is splitmix64 (Steele, Lea and
Flood, Fast splittable pseudorandom number generators, 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15

Bits = np.ndarray[Any, np.dtype[np.uint64]]


def domain(name: str) -> int:
    """Return a purpose as a number for `key`, so that each purpose has a stream of its own.

    Args:
        name: at most 8 ASCII letters, read as one big-endian number.

    Raises:
        ValueError: the name is longer, or not ASCII.
    """
    if len(name) > 8:
        raise ValueError(f"domain '{name}' is longer than 8 letters")
    return int.from_bytes(name.encode("ascii"), "big")


def key(*parts: int) -> int:
    """Hash several numbers, such as a seed, a domain and an epoch, into one 64-bit key."""
    state = 0
    for part in parts:
        state = _mix((state ^ (part & _MASK)) + _GOLDEN & _MASK)
    return state


def bits(stream: int, first: int, count: int, step: int = 1) -> Bits:
    """Return `count` numbers of a key, every `step`-th from `first` on: 64 uniform bits each."""
    index = np.arange(count, dtype=np.uint64) * np.uint64(step) + np.uint64((first + 1) & _MASK)
    state = index * np.uint64(_GOLDEN) + np.uint64(stream)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def permutation(stream: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return a random order of 0 to `count - 1`: (count,)."""
    return np.argsort(bits(stream, 0, count), kind="stable").astype(np.int64)


def _mix(state: int) -> int:
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
    return state ^ (state >> 31)
