"""Damaged, hostile and mismatched compressed files: a one-line error, or weights."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from sqgen import NetError, SqgenError, parse_net
from sqgen.compress.encoding import Settings, decode, encode
from sqgen.nets.definition import NetDefinition

from .small_compress import CONV, INPUT, SMALL, arrays, model_of


def resealed(data: bytes) -> bytes:
    """A .sqz with the checksums and the length that its bytes ask for, where its layers allow."""
    if len(data) < 40:
        return data
    head = bytearray(data[:40])
    at, pieces = 40, []
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        length = min(length, len(data) - at - 8)
        record = struct.pack("<I", length) + data[at + 4 : at + 4 + length]
        pieces.append(record + struct.pack("<I", zlib.crc32(record)))
        at += length + 8
    struct.pack_into("<Q", head, 12, 40 + sum(map(len, pieces)))
    struct.pack_into("<I", head, 36, zlib.crc32(head[:36]))
    return b"".join([head, *pieces])


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Bits flipped, bytes replaced, cut off, added or left out."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(len(changed)))
        kind = random.integers(6)
        if kind == 0:
            changed[at] ^= 1 << random.integers(8)
        elif kind == 1:
            changed[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind == 2:
            changed[at] = random.integers(256)
        elif kind == 3:
            del changed[max(at, 1) :]
        elif kind == 4:
            changed += random.bytes(3)
        else:
            del changed[at : at + 2]
    return bytes(changed)


def assert_no_traceback(data: bytes, net: NetDefinition) -> None:
    """An error of one line, or weights that are numbers."""
    try:
        model = decode(data, net, "x")
    except SqgenError as error:
        assert str(error).isprintable()
        assert str(error).startswith("x: ")
        return
    assert all(np.isfinite(blob).all() for blobs in arrays(model).values() for blob in blobs)


@pytest.mark.parametrize("density", [0.2, 1.0])
def test_damaged_sqz_is_never_taken(density: float) -> None:
    net, model = model_of(SMALL, density=density)
    data, random = encode(model, net, Settings(bits=4)).bytes, np.random.default_rng(6)
    for _ in range(500):
        damaged = mutated(data, random)
        if damaged != data:
            with pytest.raises(SqgenError, match=r"^x: "):
                decode(damaged, net, "x")


@pytest.mark.parametrize("density", [0.2, 1.0])
def test_hostile_sqz_is_an_error_or_a_model(density: float) -> None:
    """Checksums are no defence against those who compute them."""
    net, model = model_of(SMALL, density=density)
    data, random = encode(model, net, Settings(bits=4)).bytes, np.random.default_rng(7)
    for _ in range(400):
        assert_no_traceback(resealed(mutated(data, random)), net)


def test_damaged_net_is_an_error_or_a_model() -> None:
    net, model = model_of(SMALL, density=0.2)
    data, random = encode(model, net, Settings("net")).bytes, np.random.default_rng(8)
    for _ in range(800):
        assert_no_traceback(mutated(data, random), net)


def small(layout: str) -> tuple[NetDefinition, bytes]:
    net, model = model_of(SMALL, density=0.3)
    return net, encode(model, net, Settings(layout, bits=8)).bytes


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


NAN, BILLIONS = struct.pack("<f", np.nan), b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:7], "truncated: it has no count for each layer"),
        (lambda d: d[:-1], "truncated, damaged or of another net"),
        (lambda d: d + b"\0", "padded, damaged or of another net"),
        (lambda d: patched(d, 0, BILLIONS), "'conv' has 4,294,967,295 entries for 108 weights"),
        (lambda d: patched(d, 8, b"\0\0\0\1"), "'conv': its codebook does not begin with 0"),
        (lambda d: patched(d, 12, NAN), "'conv': its codebook or biases are not all finite"),
        (lambda d: patched(d, len(d) - 100, b"\xff" * 100), "'fc': a position is past its 750"),
    ],
)
def test_what_is_wrong_with_a_net_file(change: Callable[[bytes], bytes], message: str) -> None:
    net, data = small("net")
    with pytest.raises(SqgenError, match=message):
        decode(change(data), net, "x.net")


def layer(body: bytes) -> Callable[[bytes], bytes]:
    """Another first layer, with its checksum."""

    def change(data: bytes) -> bytes:
        (length,) = struct.unpack_from("<I", data, 40)
        made = struct.pack("<I", len(body)) + body + bytes(4)
        return resealed(data[:40] + made + data[48 + length :])

    return change


def blob(kind: int, rest: bytes = b"", size: int = 108, values: int = 2) -> bytes:
    """The first layer's blob count, then a blob of two shared values."""
    head = struct.pack("<BBI", 2, kind, size)
    return head + (struct.pack("<H2f", values, 1, 2) if kind else b"") + rest


TABLE = b"\xff\2\0"  # Huffman coded, two symbols; their lengths follow


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:20], "truncated: 20 of its header's 40 bytes"),
        (lambda d: d[:-1], "truncated: it has"),
        (lambda d: d + b"\0", "padded: it has"),
        (lambda d: patched(d, 24, b"\0"), "its header is damaged"),
        (lambda d: patched(d, 0, b"\0"), "does not begin like a .sqz"),
        (lambda d: resealed(patched(d, 4, b"\2")), "is of version 2; this sqgen reads version 1"),
        (lambda d: patched(d, 64, b"\0\0\0\0\0\0"), "'conv': is damaged: the checksum differs"),
        (lambda d: patched(d, 40, BILLIONS), "'conv': is damaged: it is longer than the file"),
        (lambda d: resealed(d + bytes(8)), "it has more bytes behind its last layer"),
        (lambda d: resealed(d[:-9]), "'fc': .*; the file is damaged"),
        (layer(b"\3" + blob(0)[1:]), "'conv': has another number of blobs"),
        (layer(blob(0, NAN * 108)), "'conv': has a value that is not a finite number"),
        (layer(blob(9)), "'conv': has a blob of unknown kind 9"),
        (layer(blob(1, values=0)), "'conv': has 0 shared values"),
        (layer(blob(1, values=65_535)), "'conv': has 65535 shared values"),
        (layer(blob(1)), "'conv': is truncated"),
        (layer(blob(1, b"\x09")), "'conv': has a stream of unknown kind 9"),
        (layer(blob(1, b"\2" + b"\xff" * 27)), "'conv': has a code above its 2 shared values"),
        (
            layer(blob(1, TABLE + b"\x12" + b"\1\0\0\0x")),
            "'conv': its Huffman table is",
        ),
        (layer(blob(1, TABLE + b"\x11" + b"\1\0\0\0x")), "'conv': has fewer bits than symbols"),
        (layer(blob(1, b"\xff\1\0")), "'conv': has a Huffman table of 1 symbols"),
        (layer(blob(2, BILLIONS)), "'conv': has 4,294,967,295 weights that are not 0, of 108"),
        (layer(blob(2, b"\1\0\0\0\0\0" + b"\0\0\0\0")), "'conv': has gaps of an impossible"),
        (layer(blob(2, b"\1\0\0\0\0\1" + BILLIONS)), "'conv': has gaps of an impossible"),
        (
            layer(blob(2, b"\1\0\0\0\0\1" + b"\1\0\0\0" + b"\1\x80")),
            "'conv': has gaps that contradict its weights",
        ),
        (
            layer(blob(2, b"\1\0\0\0\0\x08" + b"\1\0\0\0" + b"\x08\xf0")),
            "'conv': a position is past its 108 weights",
        ),
    ],
)
def test_what_is_wrong_with_a_sqz_file(change: Callable[[bytes], bytes], message: str) -> None:
    net, data = small("sqz")
    with pytest.raises(SqgenError, match=message):
        decode(change(data), net, "x.sqz")


@pytest.mark.parametrize("layout", ["net", "sqz"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INPUT + CONV, "another net"),
        (SMALL.replace("num_output: 6", "num_output: 8"), "another net"),
        (SMALL.replace("num_output: 5", "num_output: 6"), "another net"),
    ],
)
def test_of_another_net(layout: str, text: str, message: str) -> None:
    _, data = small(layout)
    with pytest.raises(SqgenError, match=message):
        decode(data, parse_net(text), "x")


def test_a_net_too_large_to_have_weights() -> None:
    huge = SMALL.replace("num_output: 5", "num_output: 14000000")
    with pytest.raises(NetError, match="more than the 2 GiB of a caffemodel"):
        decode(small("sqz")[1], parse_net(huge), "x.sqz")


def test_the_layer_that_differs_is_named() -> None:
    _, data = small("sqz")
    for before, after, message in [
        ("num_output: 5", "num_output: 6", "layer 'fc' has 750 weights there and 900 in the net"),
        ("group: 2", "group: 1", "layer 'conv' has 108 weights there and 216"),
        ("num_output: 5", "num_output: 5 transpose: true", "other types or shapes"),
    ]:
        with pytest.raises(NetError, match=message):
            decode(data, parse_net(SMALL.replace(before, after)), "x.sqz")
    with pytest.raises(NetError, match="it has 2 layers with weights, the net has 1"):
        decode(data, parse_net(INPUT + CONV), "x.sqz")
