"""Decoding images: their size is checked first, and what codecs print gets their name."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from sqgen.errors import FormatError
from sqgen.formats import codec_messages
from sqgen.formats.codec_messages import catch_messages
from sqgen.formats.images import (
    COLOR,
    PIXEL_LIMIT,
    UNCHANGED,
    check_size,
    decode,
    image_size,
    read_image,
)
from sqgen.formats.schema import Datum

from .conftest import Run
from .databases import damaged_jpeg, data_layer, encoded, image_file, make_lmdb, opened

HUGE = (20_000, 30_000)  # height and width: 600 million pixels
HEADERS = {
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II5B", *HUGE[::-1], 8, 2, 0, 0, 0),
    "gif": b"GIF89a" + struct.pack("<HH", *HUGE[::-1]) + bytes(20),
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, HUGE[1], -HUGE[0]) + bytes(20),
    "jpg": b"\xff\xd8\xff\xe0\0\4ab\xff\xff\xc2"
    + struct.pack(">HBHHB", 17, 8, *HUGE, 3)
    + bytes(20),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_asks_for_too_much(tmp_path: Path, kind: str) -> None:
    assert image_size(HEADERS[kind]) == HUGE
    (tmp_path / "bomb").write_bytes(HEADERS[kind])
    with pytest.raises(FormatError) as caught:
        read_image(tmp_path / "bomb", COLOR)
    assert str(caught.value) == (
        f"{tmp_path / 'bomb'}: 20,000x30,000 pixels, more than the 67 million that sqgen takes;"
        " scale it down"
    )


@pytest.mark.parametrize("kind", ["png", "gif", "bmp", "jpg"])
@pytest.mark.parametrize("size", [(8, 9), (1, 700)])
def test_sizes_are_opencvs(kind: str, size: tuple[int, int]) -> None:
    data = image_file(1, *size, kind=f".{kind}")
    assert image_size(data) == size == decode(data, UNCHANGED, "")[..., 0].shape
    for end in range(30):
        assert image_size(data[:end]) in (size, None)
        assert image_size(memoryview(data)[:end]) in (size, None)


def test_the_largest_image() -> None:
    check_size(PIXEL_LIMIT, 1, "here")
    with pytest.raises(FormatError, match="here: 33,554,432x3 pixels"):
        check_size(1 << 25, 3, "here")


BOMB = """
import sys
from sqgen.errors import FormatError
from sqgen.formats.images import COLOR, read_image
try:
    read_image(sys.argv[1], COLOR)
except FormatError as error:
    print(error)
"""


@pytest.mark.process
def test_other_formats(tmp_path: Path) -> None:
    """OpenCV compares their headers with its limit, which it reads when it loads."""
    (tmp_path / "a.ppm").write_bytes(b"P6 20000 30000 255\n" + bytes(100))
    command = [sys.executable, "-c", BOMB, "a.ppm"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    limit = "more than the 67 million that sqgen takes; scale it down"
    assert (done.stdout, done.stderr) == (f"a.ppm: an image, {limit}\n", "")


def test_bombs_in_every_command(tmp_path: Path, sqgen: Run) -> None:
    """One line with the file or record, and its size."""
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "bomb.png").write_bytes(HEADERS["png"])
    done = sqgen("data", "create", "images", "-o", "new")
    assert done.returncode == 2
    assert "cat/bomb.png: 20,000x30,000 pixels" in done.stderr.splitlines()[0]
    make_lmdb(tmp_path / "lmdb", [encoded(0), encoded_file(HEADERS["png"])])
    done = sqgen("data", "info", "lmdb")
    assert (done.returncode, done.stderr) == (1, "")
    assert "record 1 (from 0), 00000001_file1.png: 20,000x30,000 pixels" in done.stdout
    done = sqgen("data", "mean", "lmdb")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "lmdb: record 1 (from 0), 00000001_file1.png: 20,000x30,000 pixels" in done.stderr


def encoded_file(data: bytes) -> bytes:
    return bytes(Datum(data=data, encoded=True).SerializeToString())


def damaged_png() -> bytes:
    data = bytearray(image_file(1, 40, 40))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def write_images(folder: Path, **files: bytes) -> None:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)


def test_codecs_print_nothing_of_their_own(tmp_path: Path, sqgen: Run) -> None:
    """One line for each bad file, and for each that is damaged but kept."""
    good = image_file(1, 40, 40)
    folder = tmp_path / "images" / "cat"
    write_images(folder, a_png=damaged_png(), b_jpg=damaged_jpeg(), c_png=good)
    for jobs in ("1", "3"):
        done = sqgen("data", "create", "images", "-o", "new", "--force", "--jobs", jobs)
        assert done.returncode == 0
        bad, damaged, wrote = done.stderr.splitlines()
        assert re.fullmatch(r".*/a.png: can't be decoded .*; libpng error: .*; replace it", bad)
        assert re.fullmatch(r".*/b.jpg: a damaged JPEG, .* \(Corrupt JPEG data: .*\)", damaged)
        assert "1 images skipped" in wrote


def test_damaged_images_of_an_lmdb(tmp_path: Path, sqgen: Run) -> None:
    values = [image_file(0, 40, 40), damaged_jpeg(), damaged_png(), damaged_jpeg()]
    make_lmdb(tmp_path / "lmdb", map(encoded_file, values))
    done = sqgen("data", "info", "lmdb")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"first bad +record 2 .*; libpng error: ", done.stdout)
    assert re.search(r"damaged +2\n *first damaged +record 1 .*: a damaged JPEG", done.stdout)
    info = json.loads(sqgen("data", "info", "lmdb", "--json").stdout)
    assert (info["bad_records"], info["first_bad"]["record"]) == (1, 2)
    assert (info["damaged_records"], info["first_damaged"]["record"]) == (2, 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_damage_is_reported_once_for_each_record(
    tmp_path: Path, threads: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever other threads decode meanwhile."""
    files = [damaged_jpeg() if n % 5 == 2 else image_file(n, 40, 40, ".jpg") for n in range(40)]
    make_lmdb(tmp_path / "lmdb", map(encoded_file, files))
    messages: list[str] = []
    loader = opened(data_layer(tmp_path / "lmdb", 10), threads=threads, on_damage=messages.append)
    for _ in range(12):
        loader.next()
    loader.close()
    records = sorted(int(re.findall(r"record (\d+)", message)[0]) for message in messages)
    assert records == list(range(2, 40, 5))
    assert capfd.readouterr() == ("", "")


def test_others_may_print_while_images_are_decoded(capfd: pytest.CaptureFixture[str]) -> None:
    """File descriptor 2 stays, and C's stderr is back after the last decode."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("codecs print where there is no glibc")
    library = ctypes.CDLL(None)
    stderr = ctypes.c_void_p.in_dll(library, "stderr")
    before = stderr.value

    def print_both() -> int:
        library.fputs(b"of a codec\n", ctypes.c_void_p(stderr.value))
        os.write(2, b"of a log\n")
        return 7

    assert catch_messages(print_both) == (7, "of a codec\n")
    assert stderr.value == before
    assert capfd.readouterr().err == "of a log\n" * 2


def test_threads_that_are_first_together_catch_messages_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    class Slow:
        def __init__(self, library: object) -> None:
            made.append(library)
            time.sleep(0.05)

        def run(self, decode: Callable[[], int]) -> tuple[int, str]:
            return decode(), ""

    monkeypatch.setattr(codec_messages, "_Catcher", Slow)
    monkeypatch.setattr(
        codec_messages, "_make_catcher", cache(codec_messages._make_catcher.__wrapped__)
    )
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(catch_messages, [lambda: 7] * 4)) == [(7, "")] * 4
    assert len(made) == 1
