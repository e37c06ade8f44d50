"""sqgen's own layout, `.sqz`: each blob by the cheapest of three ways, each layer with a checksum.

docs/compression.md has it byte by byte. Decoding gives back exactly what was encoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from ..errors import FormatError, NetError
from ..text import printable
from . import gaps, huffman
from .weighted_layers import Slot, digest

MAGIC = b"\x89SQZ"
VERSION = 1
MOST_VALUES = 256

_HEAD = struct.Struct("<4sIIQ16s")  # magic, version, layers, bytes of the file, digest
_CRC = struct.Struct("<I")
_LENGTH = struct.Struct("<I")
_FLOAT = np.dtype("<f4")
_RAW, _DENSE, _SPARSE = range(3)
_HUFFMAN = 255
_GAP_BITS = 8


def write(
    slots: Sequence[Slot], blobs: Sequence[Sequence[np.ndarray]], coded: bool = True
) -> list[bytes]:
    """The pieces of the file: the header, then one a layer.

    Args:
        slots: the layers of the net.
        blobs: of each; those with at most 256 different values are stored as codes.
        coded: whether codes and gaps are Huffman coded where that is shorter.
    """
    layers = []
    for arrays in blobs:
        body = bytes([len(arrays)]) + b"".join(_write_blob(array, coded) for array in arrays)
        record = _LENGTH.pack(len(body)) + body
        layers.append(record + _CRC.pack(zlib.crc32(record)))
    size = _HEAD.size + _CRC.size + sum(map(len, layers))
    head = _HEAD.pack(MAGIC, VERSION, len(slots), size, digest(slots))
    return [head + _CRC.pack(zlib.crc32(head)), *layers]


def _write_blob(array: np.ndarray, coded: bool) -> bytes:
    flat = array.reshape(-1).astype(np.float32) + np.float32(0)  # no -0.0
    head = _LENGTH.pack(flat.size)
    ways = [bytes([_RAW]) + head + flat.astype(_FLOAT).tobytes()]
    values = np.unique(flat)
    if 0 < len(values) <= MOST_VALUES:
        codes = np.searchsorted(values, flat).astype(np.uint8)
        dense = _values(values) + _write_stream(codes, coded)
        ways.append(bytes([_DENSE]) + head + dense)
        if 0 in values and len(values) > 1:
            ways.append(bytes([_SPARSE]) + head + _write_sparse(flat, values[values != 0], coded))
    return min(ways, key=len)


def _values(values: np.ndarray) -> bytes:
    return struct.pack("<H", len(values)) + values.astype(_FLOAT).tobytes()


def _write_sparse(flat: np.ndarray, values: np.ndarray, coded: bool) -> bytes:
    positions = np.flatnonzero(flat)
    codes = np.searchsorted(values, flat[positions]).astype(np.uint8)
    widths = [_GAP_BITS] if coded else range(1, _GAP_BITS + 1)
    streams = min((_write_gaps(positions, bits, coded) for bits in widths), key=len)
    head = _values(values) + _LENGTH.pack(len(positions))
    return head + _write_stream(codes, coded) + streams


def _write_gaps(positions: np.ndarray, bits: int, coded: bool) -> bytes:
    step = (1 << bits) - 1
    rest, is_weight = gaps.split(positions, step)
    rest[~is_weight] = step
    head = struct.pack("<BI", bits, len(rest))
    return head + _write_stream(rest.astype(np.uint8), coded)


def _write_stream(symbols: np.ndarray, coded: bool) -> bytes:
    """Symbols of as many bits as the largest needs, or Huffman coded where that is shorter."""
    largest = int(symbols.max(initial=0))
    width = largest.bit_length()
    fixed = bytes([width]) + _pack(symbols, width)
    counts = np.bincount(symbols, minlength=largest + 1)
    if not coded or np.count_nonzero(counts) < 2:
        return fixed
    lengths = huffman.code_lengths(counts)
    bits = int((lengths.astype(np.int64) * counts).sum())
    table = struct.pack("<BH", _HUFFMAN, largest + 1) + _pack(lengths, 4)
    if len(table) + _LENGTH.size + (bits + 7) // 8 >= len(fixed):
        return fixed
    data = huffman.encode(symbols, lengths)
    return table + _LENGTH.pack(len(data)) + data


def _pack(numbers: np.ndarray, width: int) -> bytes:
    """Numbers of `width` bits in a row, the most significant bit first."""
    bits = np.unpackbits(numbers.astype(np.uint8)[:, None], axis=1)[:, 8 - width :]
    return np.packbits(bits).tobytes()


def _unpack(data: bytes, width: int, count: int) -> np.ndarray:
    """The inverse of `_pack`."""
    if width == 0:
        return np.zeros(count, np.uint8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width)
    padded = np.zeros((count, 8), np.uint8)
    padded[:, 8 - width :] = bits.reshape(count, width)
    return np.packbits(padded)


class _Reader:
    """Bytes, taken one part after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise ValueError("is shorter than it says")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> int:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(value)

    def floats(self, count: int) -> np.ndarray:
        values = np.frombuffer(self.take(count * _FLOAT.itemsize), _FLOAT).astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("has a value that is not a finite number")
        return values


def is_sqz(data: bytes) -> bool:
    """Whether a file says that it is one."""
    return data[: len(MAGIC)] == MAGIC


def read(data: bytes, slots: Sequence[Slot], source: str) -> list[list[np.ndarray]]:
    """The blobs of each layer.

    Raises:
        FormatError: the file is cut short, padded, damaged, or of a later version.
        NetError: it is another net's.
    """
    shown = printable(source)
    layers, told = _read_head(data, shown)
    same = told == digest(slots)
    if layers != len(slots) and not same:
        has = f"holds {layers} layers with weights, the net has {len(slots)}"
        raise NetError(f"{shown}: is another net's: it {has}")
    blobs, at = [], _HEAD.size + _CRC.size
    for slot in slots:
        body = _checked(data, at, f"{shown}: {slot.shown}")
        _check_sizes(body, slot, shown)
        if same:
            blobs.append(_read_layer(body, slot, shown))
        at += len(body) + _LENGTH.size + _CRC.size
    if not same:
        raise NetError(f"{shown}: is another net's: as many weights, but other types or shapes")
    if at != len(data):
        raise FormatError(f"{shown}: is damaged: there is more behind its last layer")
    return blobs


def _read_head(data: bytes, shown: str) -> tuple[int, bytes]:
    """The number of layers and the digest of the net."""
    size = _HEAD.size + _CRC.size
    if len(data) < size:
        raise FormatError(f"{shown}: is cut short: {len(data)} of its header's {size} bytes")
    _, version, layers, length, told = _HEAD.unpack_from(data)
    if _CRC.unpack_from(data, _HEAD.size)[0] != zlib.crc32(data[: _HEAD.size]):
        raise FormatError(f"{shown}: its header is damaged: the checksum differs")
    if version != VERSION:
        raise FormatError(f"{shown}: is of version {version}; this sqgen reads version {VERSION}")
    if len(data) != length:
        what = "cut short" if len(data) < length else "padded"
        raise FormatError(f"{shown}: is {what}: it has {len(data):,} of {length:,} bytes")
    return layers, told


def _checked(data: bytes, at: int, where: str) -> bytes:
    """The body of the layer at a place."""
    room = len(data) - at - _LENGTH.size - _CRC.size
    length = _LENGTH.unpack_from(data, at)[0] if room >= 0 else 0
    if length > room:
        raise FormatError(f"{where}: is damaged: it is longer than the file")
    end = at + _LENGTH.size + length
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(memoryview(data)[at:end]):
        raise FormatError(f"{where}: is damaged: the checksum differs")
    return data[at + _LENGTH.size : end]


def _check_sizes(body: bytes, slot: Slot, shown: str) -> None:
    """Refuse a layer whose first blob has another number of elements than the net's."""
    if len(body) >= 6:
        (elements,) = _LENGTH.unpack_from(body, 2)
        if elements != prod(slot.shapes[0]):
            has = f"{elements:,} weights there and {prod(slot.shapes[0]):,} in the net"
            raise NetError(f"{shown}: is another net's: {slot.shown} has {has}")


def _read_layer(body: bytes, slot: Slot, shown: str) -> list[np.ndarray]:
    reader = _Reader(body)
    try:
        if reader.number("<B") != len(slot.shapes):
            raise ValueError("has another number of blobs than in the net")
        blobs = [_read_blob(reader, prod(shape)).reshape(shape) for shape in slot.shapes]
        if reader.at != len(body):
            raise ValueError("has more behind its last blob")
    except ValueError as error:
        raise FormatError(f"{shown}: {slot.shown}: {error}; the file is damaged") from None
    return blobs


def _read_blob(reader: _Reader, size: int) -> np.ndarray:
    kind, told = reader.number("<B"), reader.number("<I")
    if told != size:
        raise ValueError(f"has {told:,} elements for {size:,} in the net")
    if kind == _RAW:
        return reader.floats(size)
    ways: dict[int, Callable[[_Reader, np.ndarray, int], np.ndarray]]
    ways = {_DENSE: _read_dense, _SPARSE: _read_sparse}
    if kind not in ways:
        raise ValueError(f"has a blob of kind {kind}, which there is not")
    count = reader.number("<H")
    if not 0 < count <= MOST_VALUES:
        raise ValueError(f"has {count} shared values, which are 1 to {MOST_VALUES}")
    return ways[kind](reader, reader.floats(count), size)


def _read_dense(reader: _Reader, values: np.ndarray, size: int) -> np.ndarray:
    return _look_up(values, _read_stream(reader, size))


def _read_sparse(reader: _Reader, values: np.ndarray, size: int) -> np.ndarray:
    count = reader.number("<I")
    if count > size:
        raise ValueError(f"has {count:,} weights that are not 0, of {size:,}")
    weights = _look_up(values, _read_stream(reader, count))
    bits, entries = reader.number("<B"), reader.number("<I")
    if not 1 <= bits <= _GAP_BITS or entries > size:
        raise ValueError("has gaps that it can't have")
    step = (1 << bits) - 1
    symbols = _read_stream(reader, entries).astype(np.int64)
    is_weight = symbols != step
    if (symbols > step).any() or np.count_nonzero(is_weight) != count:
        raise ValueError("has other gaps than weights")
    blob = np.zeros(size, np.float32)
    blob[gaps.join(np.where(is_weight, symbols + 1, step), size)[is_weight]] = weights
    return blob


def _look_up(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    if codes.max(initial=0) >= len(values):
        raise ValueError(f"has a code above its {len(values)} shared values")
    found: np.ndarray = values[codes]
    return found


def _read_stream(reader: _Reader, count: int) -> np.ndarray:
    """`count` symbols (uint8), at most one an element of the blob."""
    how = reader.number("<B")
    if how <= 8:
        return _unpack(reader.take((count * how + 7) // 8), how, count)
    if how != _HUFFMAN:
        raise ValueError(f"has a stream of kind {how}, which there is not")
    alphabet = reader.number("<H")
    if not 1 < alphabet <= 256:
        raise ValueError(f"has a Huffman table of {alphabet} symbols")
    lengths = _unpack(reader.take((alphabet + 1) // 2), 4, alphabet)
    return huffman.decode(reader.take(reader.number("<I")), count, lengths)
