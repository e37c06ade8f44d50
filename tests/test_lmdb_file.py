"""LMDBs of Datum: order of records, damaged files, and Datum itself."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen.errors import FormatError, MissingExtraError
from sqgen.formats import datum as datums
from sqgen.formats import lmdb_reader
from sqgen.formats.datum import parse_datum
from sqgen.formats.lmdb_reader import open_lmdb
from sqgen.formats.schema import Datum

from .databases import make_lmdb, raw

META = 16  # bytes of a page's header, before the meta


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


def test_views_are_the_same_bytes(small: Path) -> None:
    with open_lmdb(small) as opened:
        views = list(opened.values(copy=False))
        assert all(isinstance(view, memoryview) for view in views)
        assert [bytes(view) for view in views] == list(opened.values())


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
next(opened.values(499, copy=False))
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


def test_broken_tree_is_told(tmp_path: Path) -> None:
    folder = make_lmdb(tmp_path / "db", (b"%d" % n for n in range(2000)))
    data = folder / "data.mdb"
    whole = bytearray(data.read_bytes())
    for page in range(2, len(whole) // 4096):
        whole[page * 4096 + 10 : page * 4096 + 12] = b"\0\0"  # flags: neither branch nor leaf
    data.write_bytes(whole)
    with open_lmdb(folder) as opened, pytest.raises(FormatError, match="damaged"):
        next(opened.values(1000))


def test_without_the_package(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sqgen\[lmdb\]'"):
        lmdb_reader.open_lmdb(small)


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
