"""Canonical Huffman codes of symbols 0 to 255, as bits in bytes, most significant bit first.

The lengths of the symbols' codes (0: the symbol does not occur) define a code: codes are assigned
in order of length, then of symbol, as in DEFLATE (RFC 1951, section 3.2.2).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np

MAX_LENGTH = 15
_CHUNK = 1 << 16  # bytes decoded at a time, and symbols encoded


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Return the length of each symbol's code (uint8), at most 15 bits.

    The code is optimal if Huffman's tree is no deeper than that; otherwise counts are halved until
    the tree fits.

    Args:
        counts: how often each symbol occurs; at least two symbols must.
    """
    counts = np.asarray(counts, np.int64)
    while True:
        lengths = _tree_depths(counts)
        if lengths.max(initial=0) <= MAX_LENGTH:
            return lengths.astype(np.uint8)
        counts = (counts + 1) >> 1  # no count becomes 0


def _tree_depths(counts: np.ndarray) -> np.ndarray:
    """Return the depth of each symbol in Huffman's tree."""
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
    """Check that the lengths define a complete code, which decodes every sequence of bits."""
    used = lengths[lengths > 0].astype(np.int64)
    if used.size < 2 or used.max() > MAX_LENGTH:
        return False
    return int((1 << (MAX_LENGTH - used)).sum()) == 1 << MAX_LENGTH


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """Return the codes of the symbols as bytes, the last one padded with zeros."""
    codes = np.zeros(len(lengths), np.uint16)
    order = _canonical(lengths)
    sizes = lengths[order].astype(np.int64)
    # As binary fractions, the first code is 0, and each starts where the previous one ends.
    starts = np.cumsum(1 << (MAX_LENGTH - sizes)) - (1 << (MAX_LENGTH - sizes))
    codes[order] = starts >> (MAX_LENGTH - sizes)
    bits = [
        _bits(codes[part], lengths[part].astype(np.int64))
        for part in (symbols[at : at + _CHUNK] for at in range(0, len(symbols), _CHUNK))
    ]
    return np.packbits(np.concatenate(bits or [np.zeros(0, np.uint8)])).tobytes()


def _canonical(lengths: np.ndarray) -> np.ndarray:
    """Return the symbols that occur, by length, then by number."""
    order = np.argsort(lengths, kind="stable")
    used: np.ndarray = order[lengths[order] > 0]
    return used


def _bits(codes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the bits of all codes in a row, a byte each."""
    ends = np.cumsum(lengths)
    shifts = np.repeat(ends, lengths) - np.arange(ends[-1]) - 1  # bits of the code that follow
    bits: np.ndarray = (np.repeat(codes, lengths) >> shifts) & 1
    return bits.astype(np.uint8)


def decode(data: bytes, count: int, lengths: np.ndarray) -> np.ndarray:
    """Decode `count` symbols (uint8).

    Memory is proportional to the size of `data`, whatever `count` is.

    Raises:
        ValueError: the lengths are no code, or `data` has fewer or more symbols.
    """
    if not is_code(lengths):
        raise ValueError("its Huffman table is not a complete code")
    if count > 8 * len(data):
        raise ValueError("has fewer bits than symbols")
    order = _canonical(lengths)
    sizes = lengths[order]
    widths = 1 << (MAX_LENGTH - sizes.astype(np.int64))
    # For any 15 bits: the symbol that they start with, and its length.
    symbol_at = np.repeat(order, widths).astype(np.uint8)
    length_at = np.repeat(sizes, widths)
    padded = np.frombuffer(data + b"\0\0", np.uint8)
    decoded: list[np.ndarray] = []
    total = bit = 0  # symbols so far; the bit of the chunk where the next one starts
    for at in range(0, len(data), _CHUNK):
        windows = _windows(padded[at : at + _CHUNK + 2])
        steps, end = length_at[windows].tobytes(), len(windows)
        positions = []
        while bit < end:
            positions.append(bit)
            bit += steps[bit]
        decoded.append(symbol_at[windows[positions[: count - total]]])
        if len(positions) > count - total:  # the rest is padding of the last byte
            bit = positions[count - total]
        total += len(decoded[-1])
        if total == count:
            if at + (bit + 7) // 8 != len(data):
                raise ValueError("has more bits than its symbols take")
            break
        bit -= end
    if total < count or (count and bit > end):
        raise ValueError("ends before its last symbol")
    return np.concatenate(decoded or [np.zeros(0, np.uint8)])


def _windows(data: np.ndarray) -> np.ndarray:
    """Return the 15 bits that start at each bit of all bytes but the last two."""
    wide = data.astype(np.uint32)
    three = (wide[:-2] << 16) | (wide[1:-1] << 8) | wide[2:]
    shifts = np.arange(9, 1, -1, dtype=np.uint32)  # 24 - 15 - the bit of the byte
    windows: np.ndarray = (three[:, None] >> shifts) & 0x7FFF
    return windows.reshape(-1)
