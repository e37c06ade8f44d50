"""LMDBs of Datum: order of records, damaged files, and Datum itself."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen.errors import FormatError
from sqgen.formats import datum as datums
from sqgen.formats.datum import parse_datum
from sqgen.formats.lmdb_reader import open_lmdb
from sqgen.formats.schema import Datum

from .databases import make_lmdb, raw

META = 16  # bytes of a page's header, before the meta
PAGE = 4096


def values_of(folder: Path) -> list[bytes]:
    with open_lmdb(folder) as opened:
        return [bytes(value) for value in opened.values()]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of every kind: in the leaf, and on pages of their own."""
    sizes = [10, 5000, 0, 1, 2000, 9000, 40] * 40
    folder = tmp_path_factory.mktemp("lmdb") / "small"
    return make_lmdb(folder, (bytes([n % 251]) * size for n, size in enumerate(sizes)))


def test_values_from_every_start(tmp_path: Path) -> None:
    made = [b"%d" % number * (1 + number % 7) for number in range(3000)]
    folder = make_lmdb(tmp_path / "db", made)  # three levels of pages
    with open_lmdb(folder) as opened:
        assert opened.entries == 3000
        assert list(opened.values()) == made
        for start in [*range(0, 3000, 53), 63, 64, 65, 2999]:
            values = opened.values(start)
            assert [next(values), *values] == made[start:]
        assert list(opened.values(3000)) == list(opened.values(10**9)) == []


def test_same_as_lmdb(small: Path) -> None:
    """Keys and values are those of LMDB's own cursor."""
    with lmdb.open(str(small), readonly=True, lock=False) as env, env.begin() as reading:
        expected = list(reading.cursor())
    with open_lmdb(small) as opened:
        keys = [opened.printable_key(number).encode() for number in range(opened.entries)]
        assert list(zip(keys, map(bytes, opened.values()), strict=True)) == expected


@pytest.mark.parametrize("shuffled", [False, True])
def test_values_of_every_size(tmp_path: Path, shuffled: bool) -> None:
    """On the leaf page, on neighbouring pages read together, larger than one read."""
    sizes = [0, 1, 1000, 2027, 2028, 2029, 4080, 4081, 70_000, 262_128, 262_129, 600_000] * 3
    order = sorted(range(len(sizes)), key=lambda n: n * 7 % 31) if shuffled else range(len(sizes))
    made = {b"%04d" % n: bytes([n]) * size for n, size in enumerate(sizes)}
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 26) as env:
        for number in order:  # pages that are freed and used again, in another order
            with env.begin(write=True) as writing:
                writing.put(b"%04d" % number, made[b"%04d" % number])
    assert values_of(tmp_path / "db") == list(made.values())


def test_skipping_reads_no_records(tmp_path: Path) -> None:
    """py-lmdb touches each page of a record that its cursor passes: a pass of a large set."""
    folder = make_lmdb(tmp_path / "db", (bytes(100_000) for _ in range(500)))
    script = f"""
import os
from sqgen.formats.lmdb_reader import open_lmdb
opened = open_lmdb({str(folder)!r})
def resident():
    words = open("/proc/self/statm").read().split()
    return int(words[2]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
next(opened.values(499))
print(resident() - before)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 15_000_000  # of 50 MB


def test_no_lock_file_and_two_at_once(small: Path) -> None:
    before = sorted(path.name for path in small.iterdir())
    with open_lmdb(small) as one, open_lmdb(f"{small}/") as two:
        firsts = one.values()
        next(firsts)
        assert list(two.values(1)) == list(firsts)
        two.close()
        two.close()
        assert len(list(one.values())) == one.entries
    assert sorted(path.name for path in small.iterdir()) == before
    assert values_of(small)  # and again, after both are closed


def test_read_only_folder(tmp_path: Path) -> None:
    folder = make_lmdb(tmp_path / "db", [b"one"])
    (folder / "lock.mdb").unlink()
    folder.chmod(0o555)
    try:
        assert values_of(folder) == [b"one"]
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "no such folder"),
        ({}, "no data.mdb"),
        ({"CURRENT": b"MANIFEST-000004\n"}, "LEVELDB"),
        ({"MANIFEST-000004": b""}, "LEVELDB"),
        ({"data.mdb": b""}, "truncated: has 0 bytes"),
        ({"data.mdb": b"no lmdb"}, "is not an LMDB"),
        ({"data.mdb": b"x" * 10_000}, "is not an LMDB"),
        ({"data.mdb": bytes(10_000)}, "is not an LMDB"),
    ],
)
def test_not_an_lmdb(tmp_path: Path, files: dict[str, bytes] | None, said: str) -> None:
    folder = tmp_path / "db"
    if files is not None:
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
    with pytest.raises(FormatError, match=said) as caught:
        open_lmdb(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_no_folder(small: Path) -> None:
    with pytest.raises(FormatError, match="is a file; give the folder"):
        open_lmdb(small / "data.mdb")
    with pytest.raises(FormatError, match=r"null|no such folder"):
        open_lmdb("a\0b")


def test_empty(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no records"):
        open_lmdb(make_lmdb(tmp_path / "db", []))


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize(
    ("at", "bytes_", "said"),
    [
        (META, b"\0\0\0\0", "is not an LMDB"),
        (META + 4, struct.pack("<I", 999), "version 999"),
        (META + 24, struct.pack("<I", 4097), "pages of 4097"),
    ],
)
def test_damaged_meta(tmp_path: Path, page: int, at: int, bytes_: bytes, said: str) -> None:
    data = make_lmdb(tmp_path / "db", [b"one"]) / "data.mdb"
    whole = bytearray(data.read_bytes())
    start = page * struct.unpack_from("<I", whole, META + 24)[0] + at
    whole[start : start + len(bytes_)] = bytes_
    data.write_bytes(whole)
    with pytest.raises(FormatError, match=said):
        open_lmdb(data.parent)


TRUNCATE = """
import os, sys
from pathlib import Path
from sqgen.errors import FormatError, MissingExtraError
from sqgen.formats.lmdb_reader import open_lmdb
folder = Path(sys.argv[1])
data = folder / "data.mdb"
size = data.stat().st_size
page = 4096
cuts = sorted({*range(0, 3 * page, 61), *range(0, size, page), size - 1,
               *(at + d for at in range(page, size, 37 * page) for d in (-1, 1))}, reverse=True)
print(sum(1 for _ in open_lmdb(folder).values()), flush=True)
opened = 0
for cut in cuts:
    copy = folder.parent / f"cut{cut}"
    copy.mkdir()
    (copy / "data.mdb").write_bytes(data.read_bytes()[:cut])
    try:
        with open_lmdb(copy) as one:
            opened += sum(len(value) for value in one.values())
    except FormatError as error:
        assert "truncated" in str(error) or "is not an LMDB" in str(error), (cut, error)
        if cut > 2 * page:
            assert f"{cut:,} bytes" in str(error), error
    (copy / "data.mdb").unlink()
print(opened)
"""


@pytest.mark.process
def test_truncated_anywhere(small: Path, tmp_path: Path) -> None:
    """In a process of its own: what is read behind the end of a mapped file kills it."""
    folder = tmp_path / "db"
    folder.mkdir()
    (folder / "data.mdb").write_bytes((small / "data.mdb").read_bytes())
    command = [sys.executable, "-c", TRUNCATE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["280", "0"]


def test_the_newer_state_counts(tmp_path: Path) -> None:
    folder = make_lmdb(tmp_path / "db", [b"one"])
    first = (folder / "data.mdb").stat().st_size
    with lmdb.open(str(folder), map_size=1 << 24) as env, env.begin(write=True) as writing:
        writing.put(b"99999999", bytes(50_000))
    assert len(values_of(folder)) == 2
    whole = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(whole[:first])
    with pytest.raises(FormatError, match=f"truncated: has {first:,} bytes and needs"):
        open_lmdb(folder)


def test_truncated_while_read(tmp_path: Path) -> None:
    """A mapped file would end the process with SIGBUS."""
    folder = make_lmdb(tmp_path / "db", (bytes(5000) for _ in range(300)))
    with open_lmdb(folder) as opened:
        values = opened.values()
        assert len(next(values)) == 5000
        os.truncate(folder / "data.mdb", 100_000)
        with pytest.raises(FormatError, match="truncated: has 100,000 bytes and needs"):
            list(values)


def damage(folder: Path, page: int, at: int, change: bytes) -> Path:
    """Overwrite bytes of a page, and return the folder."""
    with open(folder / "data.mdb", "r+b") as file:
        file.seek(page * PAGE + at)
        file.write(change)
    return folder


def pages_of(folder: Path, flag: int) -> list[int]:
    """The pages with a flag: 1 for branches, 2 for leaves, 4 for overflow pages."""
    data = (folder / "data.mdb").read_bytes()
    starts = range(2 * PAGE, len(data), PAGE)
    return [
        at // PAGE
        for at in starts
        if struct.unpack_from("<QHH", data, at)[::2] == (at // PAGE, flag)
    ]


BRANCH, LEAF, OVERFLOW = 1, 2, 4
U64 = struct.Struct("<Q")


@pytest.mark.parametrize(
    ("flag", "at", "change", "said"),
    [
        (LEAF, 10, b"\0\0", "is no leaf"),
        (LEAF, 0, U64.pack(3), "is no leaf"),
        (LEAF, 12, b"\x10\0", "has no records"),
        (LEAF, 12, b"\xfe\xff", "records"),
        (LEAF, 16, b"\xff\xff", "has a record outside of it"),
        (BRANCH, 10, b"\0\0", "is no branch"),
        (OVERFLOW, 10, b"\0\0", "is not the start of a value of 5,000 bytes"),
        (OVERFLOW, 12, b"\x01\0\0\0", "is not the start of a value of 5,000 bytes"),
    ],
)
def test_damaged_page(tmp_path: Path, flag: int, at: int, change: bytes, said: str) -> None:
    folder = make_lmdb(tmp_path / "db", (bytes(5000) for _ in range(300)))
    damage(folder, pages_of(folder, flag)[-1], at, change)
    with pytest.raises(FormatError, match=f"data.mdb: damaged .*{said}.*; make the LMDB again"):
        values_of(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda node: node[:4] + b"\x02\0" + node[6:], "several values, or a database inside"),
        (lambda node: node[:6] + b"\xff\xff" + node[8:], "outside of its page"),
        (lambda node: b"\xff\xff\xff\xff" + node[4:], "outside of its page"),
        (lambda node: b"\xff\xff\xff\x7f" + node[4:], "a value behind its"),
        (lambda node: node[:-8] + U64.pack(1 << 40), "a value behind its"),
        (lambda node: node[:-8] + U64.pack(2**64 - 1), "a value behind its"),
        (lambda node: node[:-8] + U64.pack(2), "is not the start of a value"),
    ],
)
def test_damaged_record(tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    folder = make_lmdb(tmp_path / "db", [bytes(5000)])
    (leaf,) = pages_of(folder, LEAF)
    page = (folder / "data.mdb").read_bytes()[leaf * PAGE :]
    (at,) = struct.unpack_from("<H", page, 16)
    node = page[at : at + 8 + len(b"00000000_file0.png") + 8]
    damage(folder, leaf, at, change(node))
    with pytest.raises(FormatError, match=said):
        values_of(folder)


@pytest.mark.parametrize("to", ["itself", "its neighbour", "nowhere"])
def test_damaged_branch(tmp_path: Path, to: str) -> None:
    """A tree with a circle, or with a leaf twice, ends; and it opens no more."""
    folder = make_lmdb(tmp_path / "db", (bytes(5000) for _ in range(300)))
    (branch,) = pages_of(folder, BRANCH)
    page = (folder / "data.mdb").read_bytes()[branch * PAGE :]
    first, second = struct.unpack_from("<2H", page, 16)
    target = {"itself": struct.pack("<HHH", branch, 0, 0), "nowhere": b"\xff" * 6}
    damage(folder, branch, first, target.get(to, page[second : second + 6]))
    with pytest.raises(FormatError, match="damaged"):
        values_of(folder)


def test_wrong_number_of_records(tmp_path: Path) -> None:
    folder = make_lmdb(tmp_path / "db", (b"%d" % n for n in range(2000)))
    for entries in (1, 1999, 2001, 1 << 62):
        for meta in (0, 1):
            damage(folder, meta, META + 24 + 48 + 32, U64.pack(entries))
        with open_lmdb(folder) as opened:
            assert opened.entries == entries
            with pytest.raises(FormatError, match="wrong number of records"):
                list(opened.values())
            if entries > 1:
                with pytest.raises(FormatError, match="wrong number of records"):
                    next(opened.values(1))


def damaged_at_random(data: bytes, tree: list[int], chosen: random.Random) -> bytes:
    """Change the pages of the tree, or any other: bits, small and large numbers."""
    changed = bytearray(data)
    for _ in range(chosen.randint(1, 4)):
        page = chosen.choice(tree if chosen.random() < 0.7 else range(len(data) // PAGE))
        at = page * PAGE + chosen.randrange(chosen.choice([16, 200, PAGE - 8]))
        if chosen.random() < 0.5:
            changed[at] ^= 1 << chosen.randrange(8)
        else:
            value = chosen.choice([0, 1, 2, 0xFFFF, 0x7FFFFFFF, 2**64 - 1, len(data) // PAGE])
            width = chosen.choice([2, 4, 8])
            changed[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(changed)


def test_random_damage(tmp_path: Path, small: Path) -> None:
    """Damage is found, or changes no more than the bytes of a few values and keys."""
    data, expected = (small / "data.mdb").read_bytes(), values_of(small)
    tree = [0, 1, *pages_of(small, BRANCH), *pages_of(small, LEAF)]
    found = 0
    for seed in range(300):
        (tmp_path / "data.mdb").write_bytes(damaged_at_random(data, tree, random.Random(seed)))
        try:
            with open_lmdb(tmp_path) as opened:
                values = list(opened.values())
                opened.printable_key(opened.entries - 1)
        except FormatError as error:
            assert str(tmp_path) in str(error)
            found += 1
        else:
            assert sum(a != b for a, b in zip(values, expected, strict=True)) <= 4, seed
    assert found > 100


def test_needs_no_package(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert len(values_of(small)) == 280


def test_sample(shared: Path) -> None:
    """The first records of the real sample are images with the labels of val.txt."""
    sample = shared / "imagenet_sample"
    labels = [int(line.split()[1]) for line in (sample / "val.txt").read_text().splitlines()]
    with open_lmdb(sample / "enc_lmdb") as opened:
        records = [parse_datum(value, "sample") for value in opened.values()]
    assert [record.label for record in records] == labels
    assert all(record.encoded for record in records)


numbers = st.integers(-(2**31), 2**31 - 1)
messages = st.builds(
    lambda **fields: Datum(**{name: value for name, value in fields.items() if value is not None}),
    channels=st.none() | numbers | st.integers(0, 300),
    height=st.none() | st.integers(0, 300),
    width=st.none() | st.integers(0, 300),
    data=st.none() | st.binary(max_size=300),
    label=st.none() | numbers,
    float_data=st.none() | st.lists(st.floats(width=32, allow_nan=False), max_size=5),
    encoded=st.none() | st.booleans(),
)


def same(value: bytes) -> None:
    """Our reading of a Datum is protobuf's, or both refuse."""
    try:
        expected = parse_datum(value, "db: record 3")
    except FormatError as error:
        assert "db: record 3: is not a Datum" in str(error)
        with pytest.raises(FormatError, match="record 3"):
            datums.read_datum(value, "db: record 3")
        return
    record = datums.read_datum(memoryview(value), "db: record 3")
    for name in ("channels", "height", "width", "label", "encoded"):
        assert getattr(record, name) == getattr(expected, name)
    assert bytes(record.data) == expected.data
    floats = np.array(expected.float_data, np.float32).tobytes()
    assert (b"" if record.floats is None else record.floats.tobytes()) == floats


@given(st.lists(messages, min_size=1, max_size=3))
def test_reads_as_protobuf_reads(parts: list[object]) -> None:
    """Messages written one behind the other are one message, fields of the last counting."""
    same(b"".join(part.SerializeToString() for part in parts))  # type: ignore[attr-defined]


@given(messages, st.data())
def test_reads_damage_as_protobuf_does(message: object, data: st.DataObject) -> None:
    value = bytearray(message.SerializeToString())  # type: ignore[attr-defined]
    for _ in range(data.draw(st.integers(0, 3))):
        if value:
            at = data.draw(st.integers(0, len(value) - 1))
            value[at] = data.draw(st.integers(0, 255))
    same(bytes(value[: data.draw(st.integers(0, len(value)))]))


@given(st.binary(max_size=40))
def test_reads_any_bytes_as_protobuf_does(value: bytes) -> None:
    same(value)


def test_packed_floats() -> None:
    packed = np.array([1.5, -2, 3e9], "<f4").tobytes()
    same(b"\x08\x03\x32\x0c" + packed + b"\x28\x04")
    same(b"\x32\x0b" + packed[:11])


def test_pixels_are_not_copied() -> None:
    value = raw(3)
    record = datums.read_datum(value, "")
    assert isinstance(record.data, memoryview)
    assert record.data.obj is value
