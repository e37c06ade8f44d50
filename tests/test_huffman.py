"""Properties of Huffman codes and gaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sqgen.compress import gaps, huffman


def table_of(symbols: np.ndarray) -> np.ndarray:
    return huffman.code_lengths(np.bincount(symbols, minlength=256))


def entropy(counts: np.ndarray) -> float:
    """Bits a symbol."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


@given(st.lists(st.integers(0, 255), min_size=2, max_size=400).filter(lambda s: len(set(s)) > 1))
def test_symbols_come_back(symbols: list[int]) -> None:
    array = np.array(symbols, np.uint8)
    lengths = table_of(array)
    assert huffman.is_code(lengths)
    data = huffman.encode(array, lengths)
    np.testing.assert_array_equal(huffman.decode(data, len(array), lengths), array)


@given(st.lists(st.integers(0, 1 << 12), min_size=2, max_size=256))
def test_lengths_keep_the_bounds(counts: list[int]) -> None:
    """Within a bit of the entropy, and no longer than codes of a fixed length."""
    array = np.array(counts)
    used = int((array > 0).sum())
    if used < 2:
        return
    mean = float((huffman.code_lengths(array) * array).sum() / array.sum())
    assert entropy(array) <= mean + 1e-9
    assert mean <= min(entropy(array) + 1, np.ceil(np.log2(used)))


def test_no_code_is_longer_than_15_bits() -> None:
    """Fibonacci's counts make the deepest tree."""
    counts = [1, 1]
    while len(counts) < 60:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.code_lengths(np.array(counts))
    assert lengths.max() == 15
    assert huffman.is_code(lengths)


def test_long_streams_are_read_in_parts() -> None:
    symbols = np.random.default_rng(1).geometric(0.2, 400_000).clip(max=255).astype(np.uint8)
    lengths = table_of(symbols)
    data = huffman.encode(symbols, lengths)
    assert len(data) > 2 * huffman._CHUNK
    np.testing.assert_array_equal(huffman.decode(data, len(symbols), lengths), symbols)
    counts = np.bincount(symbols)
    assert len(data) * 8 / len(symbols) < entropy(counts) + 0.1


@pytest.mark.parametrize("lengths", [[], [0, 0], [1], [1, 2], [1, 1, 1], [16, 1], [2, 2, 2]])
def test_lengths_that_are_no_code(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="is not a complete code"):
        huffman.decode(b"\0\0", 1, np.array(lengths, np.uint8))


def test_streams_of_another_length() -> None:
    symbols = np.arange(64, dtype=np.uint8)
    lengths = table_of(symbols)
    data = huffman.encode(symbols, lengths)
    for damaged, count in [(data[:-1], 64), (data, 65), (data, 1 << 32), (b"", 1)]:
        with pytest.raises(ValueError, match=r"ends before|fewer bits"):
            huffman.decode(damaged, count, lengths)
    for damaged, count in [(data + b"\0", 64), (data, 62), (data, 0)]:
        with pytest.raises(ValueError, match="more bits"):
            huffman.decode(damaged, count, lengths)


PATTERNS = st.lists(st.integers(0, 40) | st.sampled_from([14, 15, 16, 17, 31, 32, 255]))


@given(PATTERNS, st.sampled_from([1, 3, 7, 15, 16, 255]))
@example([15, 16, 17], 16)
@example([15, 16, 17], 15)
@example([], 16)
def test_positions_come_back(zeros: list[int], step: int) -> None:
    positions = np.cumsum(np.array(zeros, np.int64) + 1) - 1
    rest, is_weight = gaps.split(positions, step)
    assert (rest < step).all()
    assert (rest[~is_weight] == 0).all()
    size = int(positions[-1]) + 1 if zeros else 0
    joined = gaps.join(np.where(is_weight, rest + 1, step), size)
    np.testing.assert_array_equal(joined[is_weight], positions)
    if zeros:
        with pytest.raises(ValueError, match="past its"):
            gaps.join(np.where(is_weight, rest + 1, step), size - 1)
