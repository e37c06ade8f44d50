"""Parse the pages of an LMDB's data file, and trust none of them.

LMDB maps its file into memory and follows the numbers in it: a damaged one ends the process with a
signal (SIGBUS, SIGSEGV, SIGABRT). Here everything is checked before it is used.

Source: lmdb.h and mdb.c of LMDB 0.9 (MDB_meta, MDB_db, MDB_page, MDB_node), 64 bits, little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import FormatError

MAGIC = 0xBEEFC0DE
VERSION = 1
BRANCH_FLAG, LEAF_FLAG, OVERFLOW_FLAG, META_FLAG = 0x01, 0x02, 0x04, 0x08  # of a page
BIG_FLAG = 0x01  # of a node; the others mean several values of a key, or a database inside
MAX_DEPTH = 32  # CURSOR_STACK of mdb.c
VALUE_LIMIT = (1 << 31) - 1  # bytes of a message: protobuf's own

_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, lower, upper
_OVERFLOW = struct.Struct("<QHHI")  # number, padding, flags, number of pages
_META = struct.Struct("<IIQQ 48s IHHQQQQQ QQ")
_NODE = struct.Struct("<HHHH")  # low and high half of the size or page, flags, bytes of the key
_NUMBER = struct.Struct("<Q")
HEADER = _PAGE.size
META_SIZE = HEADER + _META.size


class PageError(Exception):
    """A page that can't be what the tree says it is; `str(error)` is the reason."""


class Meta(NamedTuple):
    """A meta page's fields of the unnamed database, the one that Caffe uses.

    Attributes:
        page_size: bytes.
        flags: 0 unless keys have several values or are not plain strings.
        depth: levels of the tree of pages.
        entries: number of records.
        root: page number of the tree's root.
        last_page: the highest page number in use.
        transaction: number of the transaction that wrote this page; the higher one is valid.
    """

    page_size: int
    flags: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int


class Overflow(NamedTuple):
    """A value with pages of its own: the number of the first, and its bytes."""

    page: int
    size: int


def may_be_meta(page: bytes) -> bool:
    """Check whether a truncated page may be a meta page: zeros, or with the magic number."""
    return page[HEADER : HEADER + 4] == MAGIC.to_bytes(4, "little") or not page.strip(b"\0")


def parse_meta(page: bytes, shown: str) -> Meta:
    """Parse the first `META_SIZE` bytes of a meta page of the file `shown`.

    Raises:
        FormatError: it is none, or of another version.
        PageError: its numbers are damaged.
    """
    if len(page) < META_SIZE:
        raise FormatError(f"{shown}: is not an LMDB; give the folder of one")
    flags = _PAGE.unpack_from(page)[2]
    fields = _META.unpack_from(page, HEADER)
    magic, version, page_size = fields[0], fields[1], int.from_bytes(fields[4][:4], "little")
    if magic != MAGIC or not flags & META_FLAG:
        raise FormatError(f"{shown}: is not an LMDB, or its first pages are damaged; make it again")
    if version != VERSION:
        raise FormatError(f"{shown}: is an LMDB of version {version}, not 1; make it again")
    if page_size not in (1 << bits for bits in range(8, 17)):
        raise PageError(f"pages of {page_size} bytes")
    return Meta(page_size, fields[6], fields[7], fields[11], fields[12], fields[13], fields[14])


def node_count(header: bytes, number: int, flag: int) -> int:
    """Return the number of nodes of page `number`, a branch or a leaf, from its header.

    Raises:
        PageError: it is no such page, or has no nodes.
    """
    own_number, _, flags, lower, _ = _PAGE.unpack_from(header)
    if own_number != number or flags & (BRANCH_FLAG | LEAF_FLAG | OVERFLOW_FLAG) != flag:
        raise PageError(f"page {number} is no {'leaf' if flag == LEAF_FLAG else 'branch'}")
    if lower <= HEADER or lower % 2:
        raise PageError(f"page {number} has no records")
    return int(lower - HEADER) // 2  # the array of their offsets ends at `lower`


def node_offsets(page: bytes, number: int, flag: int) -> tuple[int, ...]:
    """Return where the nodes of page `number` begin, in the order of their keys.

    Raises:
        PageError: it is no such page, or a node is outside of it.
    """
    count = node_count(page, number, flag)
    first = HEADER + 2 * count
    if first > len(page):
        raise PageError(f"page {number} has {count} records")
    offsets = struct.unpack_from(f"<{count}H", page, HEADER)
    if min(offsets) < first or max(offsets) > len(page) - _NODE.size:
        raise PageError(f"page {number} has a record outside of it")
    return offsets


def child(branch: bytes, offset: int) -> int:
    """Return the page number of a branch's node."""
    low, high, highest, _ = _NODE.unpack_from(branch, offset)
    return int(low | high << 16 | highest << 32)


def key(page: bytes, offset: int) -> bytes:
    """Return the key of a node."""
    start = offset + _NODE.size
    return page[start : start + _NODE.unpack_from(page, offset)[3]]


def values(leaf: bytes, offsets: Iterable[int]) -> list[memoryview | Overflow]:
    """Return the values of a leaf's nodes.

    Raises:
        PageError: one is outside of the page, too large, or no single value.
    """
    found: list[memoryview | Overflow] = []
    view, end = memoryview(leaf), len(leaf)
    for offset in offsets:
        low, high, flags, key_size = _NODE.unpack_from(leaf, offset)
        start, size = offset + _NODE.size + key_size, low | high << 16
        if start + (_NUMBER.size if flags else size) > end or size > VALUE_LIMIT:
            raise PageError(f"a record of {size:,} bytes outside of its page")
        if not flags:
            found.append(view[start : start + size])
        elif flags == BIG_FLAG:
            (page,) = _NUMBER.unpack_from(leaf, start)
            found.append(Overflow(page, size))
        else:
            raise PageError("a key with several values, or a database inside")
    return found


def overflow_pages(size: int, page_size: int) -> int:
    """Return how many overflow pages a value takes at least (OVPAGES of mdb.c)."""
    return (HEADER - 1 + size) // page_size + 1


def overflow_value(
    pages: bytes | memoryview, start: int, value: Overflow, page_size: int
) -> memoryview:
    """Return a value from the bytes of its pages, which begin at `start` of `pages`.

    Raises:
        PageError: they are no overflow pages, or too few.
    """
    number, _, flags, count = _OVERFLOW.unpack_from(pages, start)
    is_overflow = flags & OVERFLOW_FLAG and number == value.page
    if not is_overflow or count < overflow_pages(value.size, page_size):
        raise PageError(f"page {value.page} is not the start of a value of {value.size:,} bytes")
    start += HEADER
    return memoryview(pages)[start : start + value.size]
