"""Counter-based random numbers: the k-th number of a key is a hash of key and k.

There is no state: a resumed run needs only its position, threads can draw in any order, and the
numbers do not depend on the release of NumPy. The hash is splitmix64 (Steele, Lea and Flood, Fast
splittable pseudorandom number generators, 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15

Bits = np.ndarray[Any, np.dtype[np.uint64]]


def key(*parts: int) -> int:
    """Hash several numbers, such as a seed, a purpose and an epoch, into one 64-bit key."""
    state = 0
    for part in parts:
        state = _mix((state ^ (part & _MASK)) + _GOLDEN & _MASK)
    return state


def bits(stream: int, first: int, count: int) -> Bits:
    """Return numbers `first` to `first + count - 1` of a key: (count,) uniform uint64."""
    index = np.arange(count, dtype=np.uint64) + np.uint64((first + 1) & _MASK)
    state = index * np.uint64(_GOLDEN) + np.uint64(stream)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def permutation(stream: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return a random permutation of 0 to `count - 1`: (count,) int64."""
    return np.argsort(bits(stream, 0, count), kind="stable").astype(np.int64)


def _mix(state: int) -> int:
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
    return state ^ (state >> 31)
