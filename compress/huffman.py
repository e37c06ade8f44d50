"""Canonical Huffman codes of symbols 0 to 255, as bits in bytes, most significant bit first.

A code is told by the length of each symbol alone (0: the symbol does not occur). Codes are given
out in order of length, then of symbol, as in DEFLATE (RFC 1951, section 3.2.2).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

MAX_LENGTH = 15
_CHUNK = 1 << 16  # bytes decoded at a time, and symbols encoded


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """The length of each symbol's code (uint8), at most 15 bits.

    Optimal where Huffman's own tree is no deeper than that; else counts are halved until it is.

    Args:
        counts: how often each symbol occurs; two at least must.
    """
    counts = np.asarray(counts, np.int64)
    while True:
        lengths = _tree_depths(counts)
        if lengths.max(initial=0) <= MAX_LENGTH:
            return lengths.astype(np.uint8)
        counts = (counts + 1) >> 1  # what occurs goes on occurring


def _tree_depths(counts: np.ndarray) -> np.ndarray:
    """The depth of each symbol in Huffman's tree."""
    used = np.flatnonzero(counts)
    heap = [(int(counts[symbol]), index) for index, symbol in enumerate(used)]
    parents: list[int] = [0] * len(used)
    heapify(heap)
    while len(heap) > 1:
        (a, left), (b, right) = heappop(heap), heappop(heap)
        parents[left] = parents[right] = len(parents)
        heappush(heap, (a + b, len(parents)))
        parents.append(0)
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    lengths = np.zeros(len(counts), np.int64)
    lengths[used] = depths[: len(used)]
    return lengths


def is_code(lengths: np.ndarray) -> bool:
    """Whether the lengths make a code that every sequence of bits can be read with."""
    used = lengths[lengths > 0].astype(np.int64)
    if used.size < 2 or used.max() > MAX_LENGTH:
        return False
    return int((1 << (MAX_LENGTH - used)).sum()) == 1 << MAX_LENGTH


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """The bits of the symbols, the last byte filled up with zeros."""
    codes = np.zeros(len(lengths), np.uint16)
    order = _canonical(lengths)
    sizes = lengths[order].astype(np.int64)
    # The first code of all is 0; each starts where the one before ends, seen as fractions.
    starts = np.cumsum(1 << (MAX_LENGTH - sizes)) - (1 << (MAX_LENGTH - sizes))
    codes[order] = starts >> (MAX_LENGTH - sizes)
    bits = [
        _bits(codes[part], lengths[part].astype(np.int64))
        for part in (symbols[at : at + _CHUNK] for at in range(0, len(symbols), _CHUNK))
    ]
    return np.packbits(np.concatenate(bits or [np.zeros(0, np.uint8)])).tobytes()


def _canonical(lengths: np.ndarray) -> np.ndarray:
    """The symbols that occur, by length, then by number."""
    order = np.argsort(lengths, kind="stable")
    used: np.ndarray = order[lengths[order] > 0]
    return used


def _bits(codes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The bits of codes in a row, a byte each."""
    ends = np.cumsum(lengths)
    left = np.repeat(ends, lengths) - np.arange(ends[-1]) - 1  # bits of the code still to come
    bits: np.ndarray = (np.repeat(codes, lengths) >> left) & 1
    return bits.astype(np.uint8)


def decode(data: bytes, count: int, lengths: np.ndarray) -> np.ndarray:
    """`count` symbols (uint8) of the bits in `data`.

    Memory follows the bytes given, whatever `count` says.

    Raises:
        ValueError: the lengths are no code, or `data` holds fewer or more symbols.
    """
    if not is_code(lengths):
        raise ValueError("its Huffman table is no code")
    if count > 8 * len(data):
        raise ValueError("has fewer bits than symbols")
    order = _canonical(lengths)
    sizes = lengths[order]
    widths = 1 << (MAX_LENGTH - sizes.astype(np.int64))
    # For the 15 bits from any place on: the symbol that starts there, and its length.
    symbol_at = np.repeat(order, widths).astype(np.uint8)
    length_at = np.repeat(sizes, widths)
    padded = np.frombuffer(data + b"\0\0", np.uint8)
    found: list[np.ndarray] = []
    seen = here = 0  # symbols so far; the bit of the chunk where the next starts
    for at in range(0, len(data), _CHUNK):
        windows = _windows(padded[at : at + _CHUNK + 2])
        steps, end = length_at[windows].tobytes(), len(windows)
        places = []
        while here < end:
            places.append(here)
            here += steps[here]
        found.append(symbol_at[windows[places[: count - seen]]])
        if len(places) > count - seen:  # what follows is what fills the last byte up
            here = places[count - seen]
        seen += len(found[-1])
        if seen == count:
            if at + (here + 7) // 8 != len(data):
                raise ValueError("has more bits than its symbols take")
            break
        here -= end
    if seen < count or (count and here > end):
        raise ValueError("ends before its last symbol")
    return np.concatenate(found or [np.zeros(0, np.uint8)])


def _windows(data: np.ndarray) -> np.ndarray:
    """The 15 bits that start at each bit of all bytes but the last two."""
    wide = data.astype(np.uint32)
    three = (wide[:-2] << 16) | (wide[1:-1] << 8) | wide[2:]
    shifts = np.arange(9, 1, -1, dtype=np.uint32)  # 24 - 15 - the bit of the byte
    windows: np.ndarray = (three[:, None] >> shifts) & 0x7FFF
    return windows.reshape(-1)
