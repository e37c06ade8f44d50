"""Read and write `.sqz`, sqgen's own layout, with a checksum for each layer.

Each blob has the shortest of three encodings: raw, dense codes or sparse codes. All are lossless.
docs/compression.md describes the layout byte by byte.
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
from .weighted_layers import WeightedLayer, digest

MAGIC = b"\x89SQZ"
VERSION = 1
MAXIMUM_VALUES = 256

_HEAD = struct.Struct("<4sIIQ16s")  # magic, version, layers, bytes of the file, digest
_CRC = struct.Struct("<I")
_LENGTH = struct.Struct("<I")
HEADER_BYTES = _HEAD.size + _CRC.size
_FLOAT = np.dtype("<f4")
_RAW, _DENSE, _SPARSE = range(3)
_HUFFMAN = 255
_GAP_BITS = 8


def write(
    layers: Sequence[WeightedLayer], blobs: Sequence[Sequence[np.ndarray]], coded: bool = True
) -> list[bytes]:
    """Return the parts of the file: the header, then a part a layer.

    Args:
        layers: of the net.
        blobs: of each layer; a blob with at most 256 different values is stored as codes.
        coded: whether codes and gaps are Huffman coded where that is shorter.
    """
    return add_header(layers, [write_layer(arrays, coded) for arrays in blobs])


def write_layer(arrays: Sequence[np.ndarray], coded: bool = True) -> bytes:
    """Return a layer's part of the file, which depends on no other layer; arguments as `write`."""
    body = bytes([len(arrays)]) + b"".join(_write_blob(array, coded) for array in arrays)
    record = _LENGTH.pack(len(body)) + body
    return record + _CRC.pack(zlib.crc32(record))


def add_header(layers: Sequence[WeightedLayer], parts: Sequence[bytes]) -> list[bytes]:
    """Return the parts of the file: the header, and those of the layers."""
    size = HEADER_BYTES + sum(map(len, parts))
    head = _HEAD.pack(MAGIC, VERSION, len(layers), size, digest(layers))
    return [head + _CRC.pack(zlib.crc32(head)), *parts]


def _write_blob(array: np.ndarray, coded: bool) -> bytes:
    flat = array.reshape(-1).astype(np.float32) + np.float32(0)  # no -0.0
    head = _LENGTH.pack(flat.size)
    encodings = [bytes([_RAW]) + head + flat.astype(_FLOAT).tobytes()]
    values = np.unique(flat)
    if 0 < len(values) <= MAXIMUM_VALUES:
        codes = np.searchsorted(values, flat).astype(np.uint8)
        dense = _values(values) + _write_stream(codes, coded)
        encodings.append(bytes([_DENSE]) + head + dense)
        if 0 in values and len(values) > 1:
            sparse = _write_sparse(flat, values[values != 0], coded)
            encodings.append(bytes([_SPARSE]) + head + sparse)
    return min(encodings, key=len)


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
    """Write symbols with a fixed number of bits, or Huffman coded if `coded` and shorter."""
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
    """Pack numbers of `width` bits, the most significant bit first."""
    bits = np.unpackbits(numbers.astype(np.uint8)[:, None], axis=1)[:, 8 - width :]
    return np.packbits(bits).tobytes()


def _unpack(data: bytes, width: int, count: int) -> np.ndarray:
    """Invert `_pack`."""
    if width == 0:
        return np.zeros(count, np.uint8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width)
    padded = np.zeros((count, 8), np.uint8)
    padded[:, 8 - width :] = bits.reshape(count, width)
    return np.packbits(padded)


class _Reader:
    """Reads numbers and arrays from bytes, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise ValueError("is truncated")
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
    """Check for the magic number of a `.sqz` file."""
    return data[: len(MAGIC)] == MAGIC


def read(data: bytes, layers: Sequence[WeightedLayer], source: str) -> list[list[np.ndarray]]:
    """Return the blobs of each layer.

    Raises:
        FormatError: the file is truncated, padded, damaged, or of a later version.
        NetError: the file is of another net.
    """
    shown = printable(source)
    count, file_digest = _read_head(data, shown)
    is_same_net = file_digest == digest(layers)
    if count != len(layers) and not is_same_net:
        has = f"it has {count} layers with weights, the net has {len(layers)}"
        raise NetError(f"{shown}: is of another net: {has}")
    blobs, at = [], _HEAD.size + _CRC.size
    for layer in layers:
        body = _read_body(data, at, f"{shown}: {layer.shown}")
        _check_size(body, layer, shown)
        if is_same_net:
            blobs.append(_read_layer(body, layer, shown))
        at += len(body) + _LENGTH.size + _CRC.size
    if not is_same_net:
        raise NetError(f"{shown}: is of another net: as many weights, but other types or shapes")
    if at != len(data):
        raise FormatError(f"{shown}: is damaged: it has more bytes behind its last layer")
    return blobs


def _read_head(data: bytes, shown: str) -> tuple[int, bytes]:
    """Return the number of layers and the digest of the net."""
    size = _HEAD.size + _CRC.size
    if len(data) < size:
        raise FormatError(f"{shown}: is truncated: {len(data)} of its header's {size} bytes")
    _, version, count, length, file_digest = _HEAD.unpack_from(data)
    if _CRC.unpack_from(data, _HEAD.size)[0] != zlib.crc32(data[: _HEAD.size]):
        raise FormatError(f"{shown}: its header is damaged: the checksum differs")
    if version != VERSION:
        raise FormatError(f"{shown}: is of version {version}; this sqgen reads version {VERSION}")
    if len(data) != length:
        what = "truncated" if len(data) < length else "padded"
        raise FormatError(f"{shown}: is {what}: it has {len(data):,} of {length:,} bytes")
    return count, file_digest


def _read_body(data: bytes, at: int, where: str) -> bytes:
    """Return the body of the layer at position `at`, after checking its checksum."""
    available = len(data) - at - _LENGTH.size - _CRC.size
    length = _LENGTH.unpack_from(data, at)[0] if available >= 0 else 0
    if length > available:
        raise FormatError(f"{where}: is damaged: it is longer than the file")
    end = at + _LENGTH.size + length
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(memoryview(data)[at:end]):
        raise FormatError(f"{where}: is damaged: the checksum differs")
    return data[at + _LENGTH.size : end]


def _check_size(body: bytes, layer: WeightedLayer, shown: str) -> None:
    """Refuse a layer whose first blob has another number of elements than the net's."""
    if len(body) >= 6:
        (elements,) = _LENGTH.unpack_from(body, 2)
        if elements != prod(layer.shapes[0]):
            has = f"{elements:,} weights there and {prod(layer.shapes[0]):,} in the net"
            raise NetError(f"{shown}: is of another net: {layer.shown} has {has}")


def _read_layer(body: bytes, layer: WeightedLayer, shown: str) -> list[np.ndarray]:
    reader = _Reader(body)
    try:
        if reader.number("<B") != len(layer.shapes):
            raise ValueError("has another number of blobs than in the net")
        blobs = [_read_blob(reader, prod(shape)).reshape(shape) for shape in layer.shapes]
        if reader.at != len(body):
            raise ValueError("has more bytes behind its last blob")
    except ValueError as error:
        raise FormatError(f"{shown}: {layer.shown}: {error}; the file is damaged") from None
    return blobs


def _read_blob(reader: _Reader, size: int) -> np.ndarray:
    kind, elements = reader.number("<B"), reader.number("<I")
    if elements != size:
        raise ValueError(f"has {elements:,} elements for {size:,} in the net")
    if kind == _RAW:
        return reader.floats(size)
    readers: dict[int, Callable[[_Reader, np.ndarray, int], np.ndarray]]
    readers = {_DENSE: _read_dense, _SPARSE: _read_sparse}
    if kind not in readers:
        raise ValueError(f"has a blob of unknown kind {kind}")
    count = reader.number("<H")
    if not 0 < count <= MAXIMUM_VALUES:
        raise ValueError(f"has {count} shared values; 1 to {MAXIMUM_VALUES} are possible")
    return readers[kind](reader, reader.floats(count), size)


def _read_dense(reader: _Reader, values: np.ndarray, size: int) -> np.ndarray:
    return _look_up(values, _read_stream(reader, size))


def _read_sparse(reader: _Reader, values: np.ndarray, size: int) -> np.ndarray:
    count = reader.number("<I")
    if count > size:
        raise ValueError(f"has {count:,} weights that are not 0, of {size:,}")
    weights = _look_up(values, _read_stream(reader, count))
    bits, entries = reader.number("<B"), reader.number("<I")
    if not 1 <= bits <= _GAP_BITS or entries > size:
        raise ValueError("has gaps of an impossible size or number")
    step = (1 << bits) - 1
    symbols = _read_stream(reader, entries).astype(np.int64)
    is_weight = symbols != step
    if (symbols > step).any() or np.count_nonzero(is_weight) != count:
        raise ValueError("has gaps that contradict its weights")
    blob = np.zeros(size, np.float32)
    blob[gaps.join(np.where(is_weight, symbols + 1, step), size)[is_weight]] = weights
    return blob


def _look_up(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    if codes.max(initial=0) >= len(values):
        raise ValueError(f"has a code above its {len(values)} shared values")
    weights: np.ndarray = values[codes]
    return weights


def _read_stream(reader: _Reader, count: int) -> np.ndarray:
    """Return `count` symbols (uint8)."""
    width = reader.number("<B")
    if width <= 8:
        return _unpack(reader.take((count * width + 7) // 8), width, count)
    if width != _HUFFMAN:
        raise ValueError(f"has a stream of unknown kind {width}")
    alphabet = reader.number("<H")
    if not 1 < alphabet <= 256:
        raise ValueError(f"has a Huffman table of {alphabet} symbols")
    lengths = _unpack(reader.take((alphabet + 1) // 2), 4, alphabet)
    return huffman.decode(reader.take(reader.number("<I")), count, lengths)
