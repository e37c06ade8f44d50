"""Damage to bytes: a function of the bytes and of a random number generator alone."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from google.protobuf import text_format

from sqgen.formats.schema import NetParameter
from sqgen.nets.layer_types import LAYER_TYPES

Mutator = Callable[[bytes, Random, bytes], bytes]  # data, random, another valid input

PAGE = 4096  # bytes of an LMDB page

# Numbers that a field of any width can't hold, or that ask for more than there is.
NUMBERS: list[bytes] = [
    *(b"0", b"-1", b"1", b"255", b"65536", b"2147483647", b"-2147483648", b"4294967296"),
    *(b"9223372036854775807", b"18446744073709551616", b"1e400", b"-1e-400", b"nan", b"-inf"),
    *(b"1_0", b"+8", b"0x1F", b"1e5", b"0.5.5", b"", b"9" * 400, b"9" * 5000, b"-" + b"7" * 5000),
]
WORDS = [
    *("\x1b]0;x\x07", "\x1b[31m", "\u009b2J", "\u202e", "\u2066", "\ufeff", "\0", "\r", "\t"),
    *("\u2028", "\u00a0", "\u3000", "\uff11", "e\u0301", "\U0001f600", "\n", "\n\n", "\x0b"),
    *("{", "}", "[", "]", ":", ",", "=", "#", "<", ">", "&", "|", "%s", "%n", "{0}", "$x$", "../"),
    *("=1+2", "@x", "nan", "inf", "None", "true", " " * 300, "x" * 5000, "://", "\\377", "\\u12"),
    *('"', "'", "\\"),
]
FRAGMENTS = [word.encode() for word in WORDS] + [b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x1f\x8b"]
WORDS_OF_BITS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
MAXIMUM = 1 << 22  # bytes of a damaged input


def several(mutators: Sequence[Mutator]) -> Mutator:
    """Apply one to four of the mutators, one after the other."""

    def mutate(data: bytes, random: Random, other: bytes) -> bytes:
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            data = random.choice(mutators)(data, random, other)[:MAXIMUM]
        return data

    return mutate


# Of any bytes


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.choice((1, 2, 4, 8, 50, 500, 5000)))


def flip(data: bytes, random: Random, other: bytes) -> bytes:
    """Turn bits."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(data: bytes, random: Random, other: bytes) -> bytes:
    """Cut off the end."""
    return data[: random.randrange(len(data) + 1)]


def remove(data: bytes, random: Random, other: bytes) -> bytes:
    """Leave out a span."""
    start, end = _span(data, random)
    return data[:start] + data[end:]


def repeat(data: bytes, random: Random, other: bytes) -> bytes:
    """Repeat a span."""
    start, end = _span(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 3, 1000)) + data[end:]


def splice(data: bytes, random: Random, other: bytes) -> bytes:
    """Put a span of another input in place of one."""
    start, end = _span(data, random)
    from_, to = _span(other, random)
    return data[:start] + other[from_:to] + data[end:]


def overwrite(data: bytes, random: Random, other: bytes) -> bytes:
    """Overwrite an integer of one to eight bytes, more often near the beginning."""
    width = random.choice((1, 2, 4, 4, 8))
    at = random.randrange(min(len(data), random.choice((16, 64, 256, 1 << 30))) + 1)
    number = random.choice(WORDS_OF_BITS) & ((1 << 8 * width) - 1)
    value = number.to_bytes(width, random.choice(("little", "big")))
    return data[:at] + value + data[at + width :]


def overwrite_page(data: bytes, random: Random, other: bytes) -> bytes:
    """Overwrite an integer in the head of a page."""
    at = random.randrange(len(data) // PAGE + 1) * PAGE + random.randrange(64)
    numbers: list[int] = [*WORDS_OF_BITS, *range(12)]
    value: bytes = random.choice(numbers).to_bytes(8, "little")
    width = random.choice((2, 4, 8))
    return data[:at] + value[:width] + data[at + width :]


# Of text


def inflate_number(data: bytes, random: Random, other: bytes) -> bytes:
    """Write another number in place of one."""
    found = list(re.finditer(rb"\d+(?:\.\d+)?", data[: 1 << 16]))
    if not found:
        return data + random.choice(NUMBERS)
    start, end = random.choice(found).span()
    return data[:start] + random.choice(NUMBERS) + data[end:]


def insert_word(data: bytes, random: Random, other: bytes) -> bytes:
    """Insert what a terminal, a parser or a spreadsheet interprets."""
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(FRAGMENTS) + data[at:]


def _lines(edit: Callable[[list[bytes], Random, int], None]) -> Mutator:
    def mutate(data: bytes, random: Random, other: bytes) -> bytes:
        lines = data.split(b"\n")
        edit(lines, random, random.randrange(len(lines)))
        return b"\n".join(lines)

    return mutate


@_lines
def repeat_line(lines: list[bytes], random: Random, at: int) -> None:
    """Repeat a line."""
    lines[at:at] = [lines[at]] * random.choice((1, 1, 2, 2000))


@_lines
def remove_line(lines: list[bytes], random: Random, at: int) -> None:
    """Leave out a line."""
    del lines[at]


@_lines
def swap_lines(lines: list[bytes], random: Random, at: int) -> None:
    """Exchange two lines."""
    to = random.randrange(len(lines))
    lines[at], lines[to] = lines[to], lines[at]


def swap_token(data: bytes, random: Random, other: bytes) -> bytes:
    """Put a word, a string or a number of the text in the place of another one."""
    # Strings, numbers, words that are values, any words.
    kind = random.choice((rb'"[^"\n]*"', rb"-?\b\d[\d.e+-]*", rb"(?<=: )[A-Za-z]\w*", rb"\w+"))
    tokens: list[re.Match[bytes]] = list(re.finditer(kind, data[: 1 << 16]))
    if len(tokens) < 2:
        return data
    a, b = random.sample(tokens, 2)
    return data[: a.start()] + b[0] + data[a.end() :]


def nest(data: bytes, random: Random, other: bytes) -> bytes:
    """Open very many brackets."""
    at, count = random.randrange(len(data) + 1), random.choice((50, 1000, 100_000))
    opening = random.choice((b"{", b"[", b'{"a":', b"layer {", b"(", b"a.", b"[["))
    return data[:at] + opening * count + data[at:]


TEXT: list[Mutator] = [
    *(flip, cut, remove, repeat, splice, nest, insert_word, insert_word, insert_word),
    *(inflate_number, swap_token, repeat_line, remove_line, swap_lines),
]
BINARY: list[Mutator] = [flip, cut, remove, repeat, splice, overwrite, overwrite]
# What mostly leaves a text whose syntax is right.
MEANING = [inflate_number, inflate_number, swap_token, swap_token, repeat_line, remove_line]
text, binary = several([*TEXT, *MEANING, *MEANING]), several(BINARY)


def wire(data: bytes, random: Random, other: bytes) -> bytes:
    """Change what a layer of a net reads or makes, or its type, and leave the syntax right."""
    try:
        net = text_format.Parse(data.decode(), NetParameter())
    except (UnicodeDecodeError, text_format.ParseError):
        return swap_token(data, random, other)
    if not net.layer:
        return data
    layer = random.choice(net.layer)
    blobs = random.choice((layer.bottom, layer.top))
    kind = random.randrange(5)
    if kind == 0:
        layer.type = random.choice(sorted(LAYER_TYPES))
    elif kind == 1:
        net.layer.remove(layer)
    elif kind == 2 or not blobs:
        blobs.append(random.choice([*(top for each in net.layer for top in each.top), "new"]))
    elif kind == 3:
        blobs[random.randrange(len(blobs))] = random.choice(random.choice(net.layer).top or ["new"])
    else:
        del blobs[random.randrange(len(blobs))]
    return text_format.MessageToString(net).encode()


net = several([text, wire])


def json_value(data: bytes, random: Random, other: bytes) -> bytes:
    """Put a value of another type or size in place of one in a JSON text."""
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        return inflate_number(data, random, other)
    places: list[tuple[Any, Any]] = []
    _collect_places(plain, places)
    if not places:
        return b"[]"
    holder, key = random.choice(places)
    kind = random.randrange(8)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[random.choice(WORDS)] = holder.pop(key)
    elif kind == 2:
        holder[key] = random.choice(places)[0]
        return _dumps(holder if random.random() < 0.1 else plain, data)
    else:
        holder[key] = "@@"
    values = ["null", "true", '"x"', "[]", "{}", "[1]", '{"a": 1}', "-1", "0.5", "NaN", "1e999"]
    values += ['"nan"', '"-inf"', "9" * 400, "9" * 5000, "[" * 1000 + "]" * 1000]
    values += [json.dumps(random.choice(WORDS)), '"' + "\\u001b" * 3 + '"', '"\\ud800"']
    return _dumps(plain, data).replace(b'"@@"', random.choice(values).encode())


def _dumps(plain: Any, data: bytes) -> bytes:
    try:
        return json.dumps(plain).encode()
    except (ValueError, RecursionError):  # it holds itself
        return data


def _collect_places(plain: Any, places: list[tuple[Any, Any]]) -> None:
    pairs = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for key, value in pairs:
        places.append((plain, key))
        if isinstance(value, dict | list):
            _collect_places(value, places)


json_text = several([json_value, json_value, json_value, *TEXT])


# Of protobuf messages, whose lengths stay right


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("too long")


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _fields(data: bytes) -> list[tuple[int, bytes]] | None:
    """Split a message into (tag, value), values of wire type 2 without their length."""
    fields, at = [], 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            start, wire = at, tag & 7
            if wire == 0:
                _, at = _varint(data, at)
            elif wire == 2:
                length, start = _varint(data, at)
                at = start + length
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                return None
            if at > len(data) or tag < 8:
                return None
            fields.append((tag, data[start:at]))
    except (IndexError, ValueError):
        return None
    return fields


def _message(fields: Sequence[tuple[int, bytes]]) -> bytes:
    return b"".join(
        _write_varint(tag) + (_write_varint(len(value)) if tag & 7 == 2 else b"") + value
        for tag, value in fields
    )


def message_field(data: bytes, random: Random, other: bytes) -> bytes:
    """Change a field at any depth: its value, its number, its count or its place."""
    fields = _fields(data)
    if not fields:
        return random.choice((flip, inflate_number, insert_word))(data, random, other)
    at = random.randrange(min(len(fields), 200))
    tag, value = fields[at]
    if tag & 7 == 2 and random.random() < 0.75:
        fields[at] = (tag, message_field(value, random, other))
        return _message(fields)
    kind = random.randrange(5)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields[at:at] = [fields[at]] * random.choice((1, 1, 3, 300))
    elif kind == 2:
        to = random.randrange(len(fields))
        fields[at], fields[to] = fields[to], fields[at]
    elif kind == 3:
        any_tag = random.randrange(1, 300) << 3 | tag & 7
        fields[at] = (random.choice((tag + 8, tag ^ 8, any_tag)), value)
    else:
        fields[at] = (tag, _other_value(tag & 7, value, random))
    return _message(fields)


def _other_value(wire: int, value: bytes, random: Random) -> bytes:
    if wire == 0:
        return _write_varint(random.choice((0, 1, 7, 1 << 31, 1 << 40, 2**63 - 1, 2**64 - 1)))
    if wire == 2:
        half = value[: len(value) // 2]
        return random.choice((b"", value[:-1], value * 2, half, value + b"\0" * 4))
    number = random.choice((float("nan"), float("inf"), -1.0, 1e30, 0.0))
    return struct.pack("<d" if wire == 1 else "<f", number)


message = several([message_field, message_field, message_field, *BINARY])


# Of files that pack or check what they hold


def packed_text(data: bytes, random: Random, other: bytes) -> bytes:
    """Damage a text before or after packing it into one or many members of a .gz."""
    kind = random.randrange(20)
    if kind == 0:
        return gzip.compress(b"") * random.choice((10, 20_000)) + gzip.compress(data)
    if kind == 1 and random.random() < 0.3:
        filling = random.choice((b"\n", b"\0", b" ", b"x\n", b"\x1b[0m"))
        return gzip.compress(data + filling * (8_000_000 // len(filling)), 6)
    if kind < 8:
        return gzip.compress(text(data, random, other), 1)
    parts = [gzip.compress(data[:5000], 1), gzip.compress(data[5000:], 1)]
    return binary(b"".join(parts), random, gzip.compress(other, 1))


def png(data: bytes, random: Random, other: bytes) -> bytes:
    """Damage an image; of a PNG, often with checksums that fit again."""
    changed = binary(data, random, other)
    if not changed.startswith(b"\x89PNG") or random.random() < 0.3:
        return changed
    out, at = changed[:8], 8
    while at + 12 <= len(changed):
        length = min(int.from_bytes(changed[at : at + 4], "big"), len(changed) - at - 12)
        chunk = changed[at + 4 : at + 8 + length]
        out += length.to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        at += length + 12
    return out


pages = several([overwrite_page, overwrite_page, overwrite_page, *BINARY])
