"""`sqgen data`: byte for byte as Caffe's tools, and nothing left after an error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
from click.testing import CliRunner

from sqgen.datasets import mean as mean_module
from sqgen.datasets.create import create_lmdb
from sqgen.datasets.encode_record import RecordEncoder
from sqgen.datasets.image_index import index_images
from sqgen.datasets.ordered_map import map_in_order
from sqgen.errors import FormatError, SqgenError
from sqgen.formats.lmdb_writer import LmdbWriter
from sqgen.formats.schema import BlobProto, Datum
from sqgen.tools.data import data as command

from . import engine_server
from .conftest import Run
from .databases import encoded, image_file, make_lmdb, pixels, raw
from .test_package import HEAVY, loaded_by

# As convert_imageset reads it: labels behind the last space, C's atoi, names as they stand.
LONG = "n" * 300  # a file's name has up to 255 bytes
LIST = (
    "a b.png 3\nsub/x.PNG 0\nmissing.png 7\n\N{LATIN SMALL LETTER U WITH DIAERESIS}.bmp -5\n"
    "gray.png\t2\ngray.png 300\ngray.png 2 \n\nalpha.png 1x\nsixteen.png +2\na b.png  6\n"
    "plain 2147483647\n/plain 4"
)
# Lines of it that Caffe's tool says it "could not open or find", and goes on.
BAD = ["missing.png", "gray.png\\t2", "gray.png 2", "without a file", "a b.png "]
# The start of SHA-256 over all keys and values that convert_imageset made of it.
RECORDED = {
    (): "a7118bb85131bd31",
    ("--gray",): "d7f47c3c1fb21a6d",
    ("--resize", "6x5"): "f47d38943a978375",
    ("--gray", "--resize", "6x5"): "eba8e23251c93530",
    ("--encoded", "jpg"): "bb6d7b0e3ee2e863",
    ("--encoded", "jpg", "--resize", "16x5"): "d651398d40f7e8ec",
}
# And of the file that compute_image_mean made of these records.
MEANS: dict[str, tuple[Callable[[int], bytes], int, str]] = {
    "raw": (raw, 100, "f2fa8f0e7d5afd09"),
    "encoded": (encoded, 100, "f2fa8f0e7d5afd09"),
    "floats": (lambda number: floats(number), 100, "bc6ef75b10f96cfe"),
    "gray": (lambda number: raw(number, 1, 4, 5), 7, "018dab6ee5127a6d"),
}


def colour(number: int, height: int, width: int, channels: int = 3) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(pixels(number, channels, height, width).transpose(1, 2, 0))


def floats(number: int) -> bytes:
    """A Datum of floats so large that their sums are rounded."""
    values = np.random.default_rng(number).uniform(-1e6, 1e6, 30).astype(np.float32)
    datum = Datum(channels=2, height=3, width=5, label=number, float_data=values.tolist())
    return bytes(datum.SerializeToString())


def make_images(folder: Path) -> Path:
    """The images of LIST."""
    (folder / "images" / "sub").mkdir(parents=True)
    for name, image in {
        "a b.png": colour(1, 9, 13),
        "sub/x.PNG": colour(2, 7, 7),
        "\N{LATIN SMALL LETTER U WITH DIAERESIS}.bmp": colour(3, 5, 8),
        "gray.png": colour(4, 6, 6, 1),
        "alpha.png": colour(5, 8, 4, 4),
        "sixteen.png": colour(6, 6, 7).astype(np.uint16) * 257,
        "plain": colour(7, 4, 4),
    }.items():
        kind = ".bmp" if name.endswith("bmp") else ".png"
        (folder / "images" / name).write_bytes(cv2.imencode(kind, image)[1].tobytes())
    (folder / "list").write_bytes(LIST.encode())
    return folder / "images"


def make_classes(folder: Path) -> Path:
    """A folder a class, with what else people leave there."""
    for number, name in enumerate(["n02/b.png", "n02/a.png", "n01/z.png", "n10/deep/er/c.png"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image_file(number))
    (folder / "n03").mkdir()
    (folder / "n01" / ".hidden").write_text("")
    (folder / ".cache").mkdir()
    (folder / "README").write_text("")
    return folder


def records(path: Path | str) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as reading:
        return [(bytes(key), bytes(value)) for key, value in reading.cursor()]


def digest(path: Path | str) -> str:
    made = hashlib.sha256()
    for key, value in records(path):
        made.update(key)
        made.update(value)
    return made.hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(*arguments: object) -> Any:
    """The command in this process; an error that is not ours is raised."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit | SqgenError):
        raise done.exception
    return done


# ---- create: equal to Caffe


@pytest.mark.parametrize("options", RECORDED, ids=" ".join)
def test_records_are_caffes(tmp_path: Path, options: tuple[str, ...]) -> None:
    images = make_images(tmp_path)
    done = run(
        "create",
        images,
        "--list",
        tmp_path / "list",
        "-o",
        tmp_path / "lmdb",
        "--jobs",
        2,
        *options,
    )
    assert done.exit_code == 0
    assert digest(tmp_path / "lmdb")[:16] == RECORDED[options]
    bad = [line for line in done.stderr.splitlines() if not line.startswith(("sqgen:", "wrote"))]
    assert len(bad) == len(BAD)
    for line, name in zip(bad, BAD, strict=True):
        assert name in line
    assert "2 lines don't end in a number, the first is line 5" in done.stderr
    assert "8 records" in done.stderr
    assert ", 5 images skipped" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("options", [(), ("--gray",)], ids=" ".join)
def test_png_files_are_kept_as_they_are(tmp_path: Path, options: tuple[str, ...]) -> None:
    """By their name's ending, as for Caffe; --gray does not change that."""
    images = make_images(tmp_path)
    run("create", images, "--list", tmp_path / "list", "-o", tmp_path / "raw", *options)
    arguments = ("create", images, "--list", tmp_path / "list", "--encoded", "png", *options)
    assert run(*arguments, "-o", tmp_path / "png").exit_code == 0
    for (key, value), (_, plain) in zip(
        records(tmp_path / "png"), records(tmp_path / "raw"), strict=True
    ):
        datum, wanted = Datum.FromString(value), Datum.FromString(plain)
        assert datum.label == wanted.label
        assert datum.encoded
        assert not datum.HasField("channels")
        name = key.decode()[9:]
        if name.lower().endswith(".png"):
            assert datum.data == (images / name).read_bytes()
        else:
            image = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
            assert image is not None
            image = image.reshape(wanted.height, wanted.width, wanted.channels)
            assert image.transpose(2, 0, 1).tobytes() == wanted.data


@pytest.mark.parametrize("options", RECORDED, ids=" ".join)
def test_a_real_caffe_makes_the_same(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Where there is one: CAFFE_ROOT/build/tools/convert_imageset."""
    tool = Path(os.environ.get("CAFFE_ROOT", "none")) / "build" / "tools" / "convert_imageset"
    if not tool.exists():
        pytest.skip("CAFFE_ROOT is not set")
    images = make_images(tmp_path)
    flags = {"--gray": ["--gray"], "jpg": ["--encode_type=jpg"]}
    flags |= {
        size: [f"--resize_height={size.split('x')[0]}", f"--resize_width={size.split('x')[1]}"]
        for size in ("6x5", "16x5")
    }
    theirs = [flag for option in options for flag in flags.get(option, [])]
    subprocess.run(
        [tool, *theirs, f"{images}/", tmp_path / "list", tmp_path / "theirs"],
        check=True,
        capture_output=True,
    )
    run("create", images, "--list", tmp_path / "list", "-o", tmp_path / "ours", *options)
    assert records(tmp_path / "ours") == records(tmp_path / "theirs")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((), "12dd2f305778a2dca39d9561be4a0f40512ab635cda9ba139cdc820fb0434714"),
        (
            ("--encoded", "jpg"),
            "b1abfc06da8537e9109ae9e0134099eb84acc6d4d95770d8e25455001246cc0b",
        ),
    ],
)
def test_real_images(shared: Path, tmp_path: Path, options: tuple[str, ...], wanted: str) -> None:
    sample = shared / "imagenet_sample"
    arguments = ("create", sample / "images", "--list", sample / "val.txt", "--resize", "256x256")
    done = run(*arguments, "-o", tmp_path / "lmdb", *options)
    assert done.stderr.startswith("wrote")
    assert digest(tmp_path / "lmdb") == wanted


def test_a_folder_a_class(tmp_path: Path) -> None:
    """ImageNet's layout too: labels count the names in order, and lie beside the records."""
    images = make_classes(tmp_path / "train")
    done = run("create", images, "-o", tmp_path / "lmdb", "--json", "--jobs", 1)
    assert [
        (key.decode(), Datum.FromString(value).label) for key, value in records(tmp_path / "lmdb")
    ] == [
        ("00000000_n01/z.png", 0),
        ("00000001_n02/a.png", 1),
        ("00000002_n02/b.png", 1),
        ("00000003_n10/deep/er/c.png", 3),
    ]
    assert (tmp_path / "lmdb" / "labels.txt").read_text() == "n01\nn02\nn03\nn10\n"
    result = json.loads(done.stdout)
    assert result["classes"] == ["n01", "n02", "n03", "n10"]
    assert result["records"] == 4
    assert result["left_out"] == []
    assert "no files in class 'n03' (label 2)" in done.stderr
    assert "skipped 1 files outside of the classes' folders" in done.stderr


def test_a_seed_gives_an_order(tmp_path: Path) -> None:
    """Keys count the new order, as Caffe's do after its shuffle."""
    images = make_classes(tmp_path / "train")
    found = {}
    for out, seed in (("a", 1), ("b", 1), ("c", 2), ("plain", None)):
        shuffle = () if seed is None else ("--shuffle", str(seed))
        run("create", images, "-o", tmp_path / out, *shuffle)
        found[out] = records(tmp_path / out)
    assert found["a"] == found["b"]
    assert len({tuple(found[out]) for out in found}) == 3
    for made in found.values():
        assert [key[:9] for key, _ in made] == [b"%08d_" % number for number in range(4)]
        assert sorted(value for _, value in made) == sorted(value for _, value in found["plain"])


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_jobs_change_nothing(tmp_path: Path, jobs: int) -> None:
    for number in range(60):
        (tmp_path / f"{number}.png").write_bytes(image_file(number, 5 + number % 3, 4))
    (tmp_path / "list").write_text("".join(f"{n}.png {n}\n" for n in range(60)))
    done = run(
        "create", tmp_path, "--list", tmp_path / "list", "-o", tmp_path / "o", "--jobs", jobs
    )
    assert "images of 3 different sizes" in done.stderr
    assert [key for key, _ in records(tmp_path / "o")] == [
        b"%08d_%d.png" % (n, n) for n in range(60)
    ]
    assert [Datum.FromString(value).label for _, value in records(tmp_path / "o")] == [*range(60)]


# ---- create: what goes wrong


def test_bad_files_are_listed_with_their_reasons(tmp_path: Path) -> None:
    images = make_classes(tmp_path / "train")
    (images / "n01" / "a text.png").write_text("no image")
    (images / "n01" / "empty.jpg").write_text("")
    whole = image_file(1, 60, 60, ".jpg")
    (images / "n01" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    done = run("create", images, "-o", tmp_path / "lmdb", "--json")
    assert done.exit_code == 0
    left_out = json.loads(done.stdout)["left_out"]
    assert [one["file"] for one in left_out] == [
        "n01/a text.png",
        "n01/empty.jpg",
        "n01/half.jpg",
    ]
    for one, reason in zip(left_out, ("decoded", "decoded", "truncated"), strict=True):
        assert reason in one["reason"]
        assert one["reason"] in done.stderr
    # The others have the numbers that they would have anyway.
    assert records(tmp_path / "lmdb")[0][0] == b"00000003_n01/z.png"
    done = run("create", images, "-o", tmp_path / "strict", "--strict")
    assert str(done.exception) == "3 of 7 images are bad; nothing is written"
    assert done.stderr.count("n01/") == 3
    assert names(tmp_path) == ["lmdb", "train"]


def test_long_names_are_bad_files(tmp_path: Path) -> None:
    """Caffe ends at a key that LMDB does not take."""
    name = "/".join(["d" * 200] * 3) + ".png"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(image_file(1))
    (tmp_path / "a.png").write_bytes(image_file(1))
    (tmp_path / "list").write_text(f"{name} 1\na.png 2\n")
    done = run("create", tmp_path, "--list", tmp_path / "list", "-o", tmp_path / "lmdb")
    assert "too long for a key of LMDB" in done.stderr
    assert [key for key, _ in records(tmp_path / "lmdb")] == [b"00000001_a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", "-o", "o"), "none: no such folder; give the folder"),
        (("list", "-o", "o"), "list: is a file; give the folder"),
        (("images", "--list", "none", "-o", "o"), "none: no such file"),
        (("images", "--list", "empty", "-o", "o"), "empty: an empty list"),
        (("images", "--list", "gone", "-o", "o"), "none of 2 images could be read"),
        (("images", "--list", "huge", "-o", "o"), "line 1: label 2147483648; Caffe takes 32 bits"),
        (("images", "--list", "digits", "-o", "o"), "line 1: label 999999999999999999...9"),
        (("images", "--list", LONG, "-o", "o"), ": file name too long; check the name"),
        ((LONG, "-o", "o"), ": no such folder; give the folder"),
        (("images", "--list", "list", "-o", LONG), ": can't write: file name too long; choose"),
        (
            ("images", "--list", "list", "-o", f"{LONG}/o"),
            ": can't write: file name too long; choose",
        ),
        (("images/sub", "-o", "o"), "images/sub: has no folders"),
        (("bare", "-o", "o"), "bare: no files in its 1 folders"),
        (("images", "--list", "list", "-o", "images"), "images: exists already"),
        (("images", "--list", "list", "-o", "images", "--force"), "is not an LMDB"),
        (("images", "--list", "list", "-o", "list/o"), "list/o: can't write: "),
        (("images", "--list", "list", "-o", "o", "--resize", "6"), "--resize '6' is no HxW"),
        (("images", "--list", "list", "-o", "o", "--resize", "0x6"), "--resize '0x6' is no HxW"),
        (("images", "--list", "list", "-o", "o", "--resize", "9" * 5000 + "x6"), "is no HxW"),
        (
            ("images", "--list", "list", "-o", "o", "--resize", "60000x60000"),
            "60,000x60,000 pixels",
        ),
        (("images", "--list", "list", "-o", "o", "--jobs", "0"), "0 is not in the range"),
        (("images", "--list", "list", "-o", "o", "--encoded", "gif"), "'gif' is not one of"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_images(tmp_path)
    (tmp_path / "empty").write_text("")
    (tmp_path / "gone").write_text("a.png 1\nb.png 2\n")
    (tmp_path / "huge").write_text("a.png 2147483648\n")
    (tmp_path / "digits").write_text("a.png " + "9" * 5000)
    (tmp_path / "bare" / "class").mkdir(parents=True)
    before = names(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = run("create", *arguments)
    said = str(done.exception) if isinstance(done.exception, SqgenError) else done.stderr
    assert done.exit_code != 0
    assert message in said
    assert names(tmp_path) == before


def test_the_process_says_one_line(tmp_path: Path, sqgen: Run) -> None:
    done = sqgen("data", "create", "none", "-o", "lmdb")
    assert done.returncode == 2
    assert done.stderr == "sqgen: none: no such folder; give the folder that the images are in\n"
    assert done.stdout == ""


def test_only_an_lmdb_is_replaced(tmp_path: Path) -> None:
    images = make_classes(tmp_path / "train")
    assert run("create", images, "-o", tmp_path / "lmdb").exit_code == 0
    first = digest(tmp_path / "lmdb")
    assert "exists already" in str(run("create", images, "-o", tmp_path / "lmdb").exception)
    assert digest(tmp_path / "lmdb") == first
    assert run("create", images, "-o", tmp_path / "lmdb", "--gray", "--force").exit_code == 0
    assert digest(tmp_path / "lmdb") != first
    assert names(tmp_path) == ["lmdb", "train"]


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    """A real signal, after the first records; threads are at work."""
    images = make_classes(tmp_path / "train")
    (tmp_path / "list").write_text("n01/z.png 1\n" * 5000)
    code = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sqgen.formats.lmdb_writer import LmdbWriter
put = LmdbWriter.put
def interrupted(self, key, value):
    put(self, key, value)
    if self.records == 1500:
        os.kill(os.getpid(), signal.SIGINT)
LmdbWriter.put = interrupted
from sqgen.tools.cli import main
main()
"""
    arguments = ("data", "create", str(images), "--list", "list", "-o", "lmdb", "--jobs", "3")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr.strip() == "sqgen: interrupted"
    assert names(tmp_path) == ["list", "train"]


@pytest.mark.process
def test_a_terminal_sees_how_far_it_is(tmp_path: Path) -> None:
    """Rate and time left, and the bad files on lines of their own; a pipe sees only those."""
    pty = pytest.importorskip("pty")
    images = make_classes(tmp_path / "train")
    (tmp_path / "list").write_text("n01/z.png 1\nnone.png 2\n" * 20)
    command = [sys.executable, "-m", "sqgen", "data", "create", str(images), "--list", "list"]
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        with subprocess.Popen([*command, "-o", "lmdb"], cwd=tmp_path, stderr=theirs) as process:
            os.close(theirs)
            seen = b""
            with suppress(OSError):  # how a terminal says that nobody writes any more
                while chunk := terminal.read(1 << 16):
                    seen += chunk
        assert process.returncode == 0
    shown = seen.decode()
    assert " images/s" in shown
    assert "100%" in shown
    assert shown.count("\x1b[K" + str(images / "none.png")) == 20
    assert "wrote lmdb: 20 records" in shown


def test_no_more_is_read_than_is_soon_written() -> None:
    """Memory does not grow with the images: few results wait at a time."""
    read: list[int] = []

    def note(number: int) -> int:
        read.append(number)
        return number

    for number, result in enumerate(map_in_order(note, range(500), 2)):
        assert result == number
        assert len(read) <= number + 16


def test_an_error_of_a_thread_comes_in_its_turn() -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise FormatError("three")
        return number

    made = map_in_order(fail, range(100), 2)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(FormatError, match="three"):
        next(made)


def test_from_python_a_list_is_read_once(tmp_path: Path) -> None:
    images = make_classes(tmp_path / "train")
    told: list[str] = []
    (images / "n01" / "b.png").write_text("")
    listing = index_images(str(images), None)
    with LmdbWriter(tmp_path / "lmdb", map_size=1 << 14) as writer:
        made = create_lmdb(listing, RecordEncoder((3, 4)), writer, 2, report=told.append)
    assert made.records == 4
    assert made.shapes == {(3, 3, 4)}
    assert [one.reason for one in made.skipped] == told


# ---- mean


@pytest.mark.parametrize("kind", MEANS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_mean_is_caffes_to_the_bit(tmp_path: Path, kind: str, jobs: int) -> None:
    make, count, wanted = MEANS[kind]
    make_lmdb(tmp_path / "lmdb", [make(number) for number in range(count)])
    done = run("mean", tmp_path / "lmdb", "-o", tmp_path / "mean", "--jobs", jobs)
    assert hashlib.sha256((tmp_path / "mean").read_bytes()).hexdigest()[:16] == wanted
    blob = BlobProto.FromString((tmp_path / "mean").read_bytes())
    means = np.array(blob.data).reshape(blob.channels, -1).mean(1)
    said = [line.split(": ") for line in done.stdout.splitlines()]
    assert [name for name, _ in said] == [f"channel {n}" for n in range(blob.channels)]
    np.testing.assert_allclose([float(value) for _, value in said], means, rtol=1e-5)
    assert "the mean of" in done.stderr


def test_records_of_another_size_are_named(tmp_path: Path) -> None:
    make_lmdb(tmp_path / "lmdb", [raw(0), raw(1), raw(2, 3, 9, 8), raw(3)])
    done = run("mean", tmp_path / "lmdb", "-o", tmp_path / "mean")
    assert "lmdb: record 2 (from 0), 00000002_file2.png: is 3x9x8" in str(done.exception)
    assert "the first is 3x8x9" in str(done.exception)
    assert names(tmp_path) == ["lmdb"]


def test_a_bad_record_has_no_mean(tmp_path: Path) -> None:
    values = [encoded(number) for number in range(150)]
    values[120] = Datum(data=b"no image", encoded=True).SerializeToString()
    make_lmdb(tmp_path / "lmdb", values)
    done = run("mean", tmp_path / "lmdb", "--jobs", 2)
    assert "record 120 (from 0), 00000120_file120.png: can't be decoded" in str(done.exception)
    assert done.stdout == ""


def test_a_mean_is_not_overwritten(tmp_path: Path) -> None:
    make_lmdb(tmp_path / "lmdb", [raw(0)])
    (tmp_path / "mean").write_text("mine")
    done = run("mean", tmp_path / "lmdb", "-o", tmp_path / "mean")
    assert "exists already; --force replaces it" in str(done.exception)
    assert (tmp_path / "mean").read_text() == "mine"
    assert run("mean", tmp_path / "lmdb", "-o", tmp_path / "mean", "--force").exit_code == 0
    # What Caffe subtracts is read again by the engine.
    assert mean_module.compute_mean(str(tmp_path / "lmdb"), 1).images == 1


# ---- info


def test_info_counts(tmp_path: Path) -> None:
    values = [raw(4), raw(4), raw(9, 1, 5, 6), encoded(7, 10, 11)]
    make_lmdb(tmp_path / "lmdb", values)
    done = run("info", tmp_path / "lmdb", "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["records"] == 4
    assert result["value_bytes"] == sum(map(len, values))
    assert (result["encoded"], result["raw"]) == (1, 3)
    assert result["sizes"] == [
        {"channels": 1, "height": 5, "width": 6, "records": 1},
        {"channels": 3, "height": 8, "width": 9, "records": 2},
        {"channels": 3, "height": 10, "width": 11, "records": 1},
    ]
    assert result["labels"] == {"4": 2, "7": 1, "9": 1}
    assert (result["bad_records"], result["first_bad"]) == (0, None)
    lines = {
        line.split("  ")[0]: line for line in run("info", tmp_path / "lmdb").stdout.split("\n")
    }
    assert lines["records"].split() == ["records", "4"]
    assert lines["labels"].endswith("3 different, 4 to 9")
    assert lines["majority"].endswith("always answering 4 scores 50.0%")


def test_info_finds_the_first_bad_record(tmp_path: Path, sqgen: Run) -> None:
    values = [raw(number) for number in range(200)]
    values[130] = b"\xff" * 9
    values[170] = Datum(channels=3, height=2, width=2, data=b"short").SerializeToString()
    make_lmdb(tmp_path / "lmdb", values)
    done = sqgen("data", "info", "lmdb", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["bad_records"] == 2
    assert result["first_bad"]["record"] == 130
    assert result["first_bad"]["key"] == "00000130_file130.png"
    assert result["first_bad"]["reason"].startswith("is not a Datum")
    assert sum(result["labels"].values()) == 198
    done = sqgen("data", "info", "lmdb", "--jobs", "1")
    assert done.returncode == 1
    assert "record 130 (from 0), 00000130_file130.png: is not a Datum" in done.stdout


def test_info_of_many_sizes_shows_the_most_frequent(tmp_path: Path) -> None:
    values = [raw(number, 1, 1 + number, 2) for number in range(7)] + [raw(9, 1, 7, 2)]
    make_lmdb(tmp_path / "lmdb", values)
    sizes = [
        line.split("  ", 1)[1].strip()
        for line in run("info", tmp_path / "lmdb").stdout.splitlines()
        if line.startswith("size")
    ]
    assert sizes[0] == "1x7x2 (2 records)"
    assert sizes[-1] == "2 more"
    assert len(sizes) == 6


def test_info_of_no_lmdb_is_one_line(tmp_path: Path) -> None:
    assert "no data.mdb in it" in str(run("info", tmp_path).exception)
    assert "no such folder" in str(run("mean", tmp_path / "none").exception)


# ---- digits


def test_digits_are_the_recorded_ones(tmp_path: Path) -> None:
    """Byte for byte the LMDBs that the recorded runs of Caffe trained on."""
    pytest.importorskip("sklearn")
    done = run("digits", "-o", tmp_path / "digits")
    assert done.exit_code == 0
    assert names(tmp_path / "digits") == ["test_lmdb", "train_lmdb"]
    wanted = {
        "train_lmdb": "7870c6aae59231291814bf331b7bf43e6eca3689d4b538de9ff9674e27b10c2d",
        "test_lmdb": "e7f8c91c61bb904f53be4fa33ae80f27f028df2bc07c96936689f73b188eff8c",
    }
    assert {name: digest(tmp_path / "digits" / name) for name in wanted} == wanted
    assert "train_lmdb: 1500 records" in done.stderr
    shutil.rmtree(tmp_path / "digits" / "train_lmdb")
    assert "exists already" in str(run("digits", "-o", tmp_path / "digits").exception)
    assert names(tmp_path / "digits") == ["test_lmdb"]


def digit_labels(path: Path) -> dict[bytes, list[int]]:
    """Labels by pixels; a few digits are equal."""
    found: dict[bytes, list[int]] = {}
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as reading:
        for _, value in reading.cursor():
            datum = Datum.FromString(value)
            found.setdefault(datum.data, []).append(datum.label)
    return found


def test_hard_digits_differ_in_size_order_and_wrong_labels(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    few = ("--train", "300", "--seed", "3")
    run("digits", "-o", tmp_path / "all")
    run("digits", "-o", tmp_path / "few", *few)
    run("digits", "-o", tmp_path / "noisy", *few, "--noisy-labels", "0.2")
    run("digits", "-o", tmp_path / "again", *few, "--noisy-labels", "0.2")
    of = {f"{p.parent.name}/{p.name[:4]}": digit_labels(p) for p in tmp_path.glob("*/*_lmdb")}
    right = {
        pixels: {*of["all/trai"].get(pixels, ()), *of["all/test"].get(pixels, ())}
        for pixels in {*of["all/trai"], *of["all/test"]}
    }
    assert sum(map(len, of["few/trai"].values())) == 300
    assert sum(map(len, of["few/test"].values())) == 1497
    for part in ("few/trai", "few/test", "noisy/test"):
        assert all(
            label in right[pixels] for pixels, labels in of[part].items() for label in labels
        )
    assert of["noisy/trai"] == of["again/trai"]
    assert of["noisy/trai"].keys() == of["few/trai"].keys() != of["all/trai"].keys()
    wrong = [
        label
        for pixels, labels in of["noisy/trai"].items()
        for label in labels
        if label not in right[pixels]
    ]
    assert len(wrong) == 60
    assert len(set(wrong)) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "0"), "--train 0: there are 1,797 digits; give 1 to 1,796"),
        (("--train", "1797"), "--train 1797: there are 1,797 digits; give 1 to 1,796"),
        (("--noisy-labels", "20"), "--noisy-labels 20: give a share of 0 to 1, such as 0.2"),
        (("--noisy-labels", "nan"), "--noisy-labels nan: give a share of 0 to 1, such as 0.2"),
        (("--seed", "-1"), "--seed -1: give 0 to 4294967295"),
    ],
)
def test_digits_out_of_range_are_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run("digits", "-o", tmp_path / "digits", *arguments)
    assert str(done.exception) == message
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("lmdb", "lmdb", ["create", "images", "-o", "new"]),
        ("cv2", "engine", ["info", "encoded"]),
        ("cv2", "engine", ["mean", "encoded"]),
        ("cv2", "engine", ["create", "images", "-o", "new"]),
    ],
)
def test_what_is_missing_is_one_line(
    tmp_path: Path, sqgen: Run, missing: str, extra: str, arguments: list[str]
) -> None:
    """No image and no record is to blame for a package that is not there."""
    make_lmdb(tmp_path / "raw", [raw(0)])
    make_lmdb(tmp_path / "encoded", [encoded(0)])
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "a.png").write_bytes(image_file(0))
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / f"{missing}.py").write_text("raise ImportError\n")
    path = os.pathsep.join([str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")])
    done = sqgen("data", *arguments, env={"PYTHONPATH": path})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"pip install 'sqgen[{extra}]' brings it" in done.stderr
    assert not (tmp_path / "new").exists()


def test_raw_records_need_no_package(tmp_path: Path, sqgen: Run) -> None:
    make_lmdb(tmp_path / "raw", [raw(0)])
    (tmp_path / "hidden").mkdir()
    for package in ("cv2", "lmdb"):
        (tmp_path / "hidden" / f"{package}.py").write_text("raise ImportError\n")
    path = os.pathsep.join([str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")])
    for name in ("info", "mean"):
        assert sqgen("data", name, "raw", env={"PYTHONPATH": path}).returncode == 0


def test_no_scikit_learn_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    done = run("digits", "-o", tmp_path / "digits")
    assert "pip install 'sqgen[digits]'" in str(done.exception)
    assert names(tmp_path) == []


@pytest.mark.parametrize("arguments", [["data"], ["data", "create"], ["data", "digits"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
from sqgen.tools.cli import main
try:
    main({[*arguments, "--help"]!r})
except SystemExit as done:
    assert done.code == 0, done
"""
    assert not loaded_by(code) & {*HEAVY, "sklearn"}


def test_making_and_averaging_need_no_torch(tmp_path: Path) -> None:
    images = make_classes(tmp_path / "train")
    code = f"""
from sqgen.tools.cli import main
for arguments in (
    ["create", {str(images)!r}, "-o", {str(tmp_path / "lmdb")!r}],
    ["mean", {str(tmp_path / "lmdb")!r}],
    ["info", {str(tmp_path / "lmdb")!r}],
):
    try:
        main(["data", *arguments])
    except SystemExit as done:
        assert done.code == 0, done
"""
    assert "torch" not in loaded_by(code)


@pytest.mark.parametrize("name", ["create", "mean", "info", "digits"])
def test_help_has_an_example(name: str) -> None:
    done = run(name, "--help")
    assert "Example" in done.stdout
    assert f"sqgen data {name}" in done.stdout


def test_sigterm_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image_file(1))
    (tmp_path / "list").write_text("a.png 1\n" * 50_000)
    arguments = ["data", "create", str(tmp_path), "--list", str(tmp_path / "list"), "-o", "made/db"]
    (tmp_path / "made").mkdir()
    command = [engine_server.python(), "-m", "sqgen", *arguments]
    running = subprocess.Popen(command, cwd=tmp_path)
    while not os.listdir(tmp_path / "made") and running.poll() is None:  # noqa: PTH208
        time.sleep(0.005)
    running.terminate()
    assert running.wait() == 128 + signal.SIGTERM
    assert os.listdir(tmp_path / "made") == []  # noqa: PTH208
