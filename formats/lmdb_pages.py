"""Read the pages of an LMDB's data file: check its size, and find a record by its number.

LMDB maps its file into memory and trusts it: a page beyond the file's end kills the process with
SIGBUS. So `read_meta` compares the meta pages with the file's size before LMDB opens it.
`find_leaf` walks the tree to record number N without reading the N records before it.

Source: lmdb.h and mdb.c of LMDB 0.9 (MDB_meta, MDB_db, MDB_page, MDB_node), 64 bits, little endian.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import FormatError

MAGIC = 0xBEEFC0DE
VERSION = 1
META_FLAG = 0x08
BRANCH_FLAG, LEAF_FLAG = 0x01, 0x02
MAX_DEPTH = 32  # CURSOR_STACK of mdb.c

_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, lower, upper
_META = struct.Struct("<IIQQ 48s IHHQQQQQ QQ")
_NODE = struct.Struct("<HHHH")  # low and high half of the size or page, flags, bytes of the key


class Meta(NamedTuple):
    """A meta page's fields of the unnamed database, the one that Caffe uses.

    Attributes:
        page_size: bytes.
        flags: 0 unless keys have several values or are not plain strings.
        entries: number of records.
        root: page number of the tree's root.
        last_page: the highest page number in use.
        transaction: number of the transaction that wrote this page; the higher one is valid.
    """

    page_size: int
    flags: int
    entries: int
    root: int
    last_page: int
    transaction: int


def read_meta(path: str, shown: str) -> Meta:
    """Return the valid meta page of an LMDB's data file, after checking the file's size.

    Args:
        path: `data.mdb`.
        shown: its name in messages.

    Raises:
        FormatError: the file is not an LMDB, of another version, truncated, or empty.
        OSError: the file can't be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        first = _meta(file.read(_PAGE.size + _META.size), shown, size)
        file.seek(first.page_size)
        second = _meta(file.read(_PAGE.size + _META.size), shown, size)
    meta = second if second.transaction > first.transaction else first
    needed = (meta.last_page + 1) * meta.page_size
    if size < needed:
        raise _truncated(shown, size, f"{needed:,}")
    if not meta.entries:
        raise FormatError(f"{shown}: holds no records; make the LMDB again")
    return meta


def _meta(page: bytes, shown: str, size: int) -> Meta:
    if len(page) < _PAGE.size + _META.size:
        # A truncated LMDB begins with the magic number, or with zeros.
        magic = page[_PAGE.size : _PAGE.size + 4]
        if magic == MAGIC.to_bytes(4, "little") or not page.strip(b"\0"):
            raise _truncated(shown, size, "two pages at least")
        raise FormatError(f"{shown}: is not an LMDB; give the folder of one")
    flags = _PAGE.unpack_from(page)[2]
    fields = _META.unpack_from(page, _PAGE.size)
    magic, version, page_size = fields[0], fields[1], int.from_bytes(fields[4][:4], "little")
    if magic != MAGIC or not flags & META_FLAG:
        raise FormatError(f"{shown}: is not an LMDB, or its first pages are damaged; make it again")
    if version != VERSION:
        raise FormatError(f"{shown}: is an LMDB of version {version}, not 1; make it again")
    if page_size not in (1 << bits for bits in range(8, 17)):
        raise FormatError(f"{shown}: damaged (pages of {page_size} bytes); make the LMDB again")
    return Meta(page_size, fields[6], fields[11], fields[12], fields[13], fields[14])


def _truncated(shown: str, size: int, needed: str) -> FormatError:
    return FormatError(
        f"{shown}: truncated: has {size:,} bytes and needs {needed}; copy or make the LMDB again"
    )


def find_leaf(path: str, shown: str, meta: Meta, number: int) -> tuple[bytes, int]:
    """Return the first key of the leaf page that holds record `number`, and that key's number.

    Reads pages of the tree, with some 50 records each, and no record's data.

    Raises:
        FormatError: the tree is damaged.
        OSError: the file can't be read.
    """
    first = 0
    with open(path, "rb", buffering=0) as file:
        try:
            for page in _leaves(file, meta, meta.root, MAX_DEPTH):
                count = _count(page)
                if first + count > number:
                    return _first_key(page), first
                first += count
        except (struct.error, ValueError) as error:
            raise _damaged(shown) from error
    raise _damaged(shown)


def _damaged(shown: str) -> FormatError:
    return FormatError(f"{shown}: damaged (its tree of pages is broken); make the LMDB again")


def _leaves(file: io.RawIOBase, meta: Meta, number: int, depth: int) -> Iterator[bytes]:
    """Yield the leaf pages under page `number`, in the order of their keys."""
    if not depth or number > meta.last_page:
        raise ValueError("a page outside the file, or a tree too deep")
    file.seek(number * meta.page_size)
    page = file.read(meta.page_size) or b""
    flags = _PAGE.unpack_from(page)[2]
    if flags & LEAF_FLAG:
        yield page
        return
    if not flags & BRANCH_FLAG:
        raise ValueError("a page that is neither branch nor leaf")
    for at in struct.unpack_from(f"<{_count(page)}H", page, _PAGE.size):
        low, high, highest, _ = _NODE.unpack_from(page, at)
        yield from _leaves(file, meta, low | high << 16 | highest << 32, depth - 1)


def _count(page: bytes) -> int:
    """Return the number of a page's nodes: the array of their offsets ends at `lower`."""
    lower: int = _PAGE.unpack_from(page)[3]
    return (lower - _PAGE.size) // 2


def _first_key(page: bytes) -> bytes:
    (at,) = struct.unpack_from("<H", page, _PAGE.size)
    length = _NODE.unpack_from(page, at)[3]
    start = at + _NODE.size
    return page[start : start + length]
