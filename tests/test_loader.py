"""Loaders of Data and ImageData: order of records, seeking, end of data, errors, threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen.engine import image_loader
from sqgen.engine.loader import Batch, EndOfData, Loader
from sqgen.engine.prefetch import Jobs, Prefetch, Task
from sqgen.errors import FormatError
from sqgen.formats.schema import Datum

from .databases import (
    data_layer,
    encoded,
    image_file,
    layer,
    make_lmdb,
    opened,
    raw,
)

COUNT = 7
RANDOM = "crop_size: 4 mirror: true"


def image_layer(folder: Path, batch: int, more: str = "", transform: str = "") -> Any:
    return layer(
        f'type: "ImageData" top: "data" top: "label" transform_param {{ {transform} }}'
        f' image_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/"'
        f" batch_size: {batch} {more} }}"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same seven images as raw, encoded and mixed LMDB, and as files with a list."""
    made = tmp_path_factory.mktemp("data")
    make_lmdb(made / "raw", map(raw, range(COUNT)))
    make_lmdb(made / "encoded", map(encoded, range(COUNT)))
    make_lmdb(made / "mixed", (encoded(n) if n % 2 else raw(n) for n in range(COUNT)))
    for number in range(COUNT):
        (made / f"image {number}.png").write_bytes(image_file(number))
    lines = "".join(f"image {number}.png {number}\n" for number in range(COUNT))
    (made / "list.txt").write_text(lines)
    return made


def layers_of(folder: Path, batch: int) -> dict[str, Any]:
    shuffled = "shuffle: true rand_skip: 5"
    return {
        "raw": data_layer(folder / "raw", batch, RANDOM),
        "encoded": data_layer(folder / "encoded", batch, RANDOM),
        "mixed": data_layer(folder / "mixed", batch, RANDOM),
        "images": image_layer(folder, batch, transform=RANDOM),
        "shuffled": image_layer(folder, batch, shuffled, RANDOM),
    }


def records(source: Loader, count: int) -> list[tuple[float, bytes]]:
    """The next `count` records: label and pixels."""
    found: list[tuple[float, bytes]] = []
    while len(found) < count:
        batch = source.next()
        assert batch.labels is not None
        found += zip(batch.labels.tolist(), (one.tobytes() for one in batch.data), strict=True)
    source.close()
    return found[:count]


def labels(batch: Batch) -> list[float]:
    assert batch.labels is not None
    return list(batch.labels.tolist())


def joined(batches: list[Batch]) -> list[float]:
    return [label for batch in batches for label in labels(batch)]


@pytest.mark.parametrize("kind", ["raw", "encoded", "mixed", "images"])
def test_all_kinds_give_the_same(folder: Path, kind: str) -> None:
    source = opened(layers_of(folder, 3)[kind])
    assert source.top_shapes == [(3, 3, 4, 4), (3,)]
    assert (source.batch_size, source.records, source.position) == (3, COUNT, 0)
    batch = source.next()
    assert source.position == 3
    assert batch.data.shape == (3, 3, 4, 4)
    assert batch.data.dtype == np.uint8
    assert batch.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert not batch.finished
    source.close()
    expected = records(opened(layers_of(folder, 5)["raw"]), 20)
    assert [label for label, _ in expected] == [number % COUNT for number in range(20)]
    assert records(opened(layers_of(folder, 3)[kind], threads=3), 20) == expected
    assert len({one for label, one in expected if label == 0}) > 1  # another crop each pass


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["raw", "encoded", "images", "shuffled"]),
    start=st.integers(0, 40),
    batches=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**40),
    threads=st.integers(1, 3),
)
def test_seek_is_having_read(
    folder: Path, kind: str, start: int, batches: tuple[int, int], seed: int, threads: int
) -> None:
    """Whatever the batches of the first part were."""
    whole = records(opened(layers_of(folder, batches[0])[kind], seed=seed), start + 15)
    source = opened(layers_of(folder, batches[1])[kind], seed=seed, threads=threads)
    source.seek(start)
    assert source.position == start
    assert records(source, 15) == whole[start:]


def test_seek_only_before_reading(folder: Path) -> None:
    source = opened(layers_of(folder, 2)["raw"])
    with pytest.raises(ValueError, match="0 or more"):
        source.seek(-1)
    source.next()
    with pytest.raises(ValueError, match="before"):
        source.seek(4)
    source.close()


def test_shuffle_is_another_order_each_pass(folder: Path) -> None:
    one = image_layer(folder, COUNT, "shuffle: true")
    source = opened(one)
    passes = [labels(source.next()) for _ in range(4)]
    source.close()
    assert all(sorted(order) == list(range(COUNT)) for order in passes)
    assert len(set(map(tuple, passes))) == 4
    assert labels(opened(one).next()) == passes[0]
    assert labels(opened(one, seed=6).next()) != passes[0]


def test_rand_skip_is_of_the_first_pass(folder: Path) -> None:
    firsts = set()
    for seed in range(40):
        source = opened(image_layer(folder, 9, "rand_skip: 3"), seed=seed)
        found = labels(source.next())
        source.close()
        assert all(b == (a + 1) % COUNT for a, b in pairwise(found))
        firsts.add(found[0])
    assert firsts == {0, 1, 2}
    with pytest.raises(FormatError, match=r"list.txt: 7 images, too few to skip"):
        opened(image_layer(folder, 1, "rand_skip: 1000"))


def test_restarts_are_told(folder: Path) -> None:
    told: list[int] = []
    one = data_layer(folder / "raw", 3)
    one.data_param.prefetch = 1
    source = opened(one, on_restart=lambda: told.append(1))
    counts = []
    for _ in range(15):
        source.next()
        counts.append(len(told))
    source.close()
    assert all(3 * n // COUNT <= told <= (3 * n + 6) // COUNT for n, told in enumerate(counts, 1))
    images = opened(image_layer(folder, 20), on_restart=lambda: told.append(100))
    images.next()
    images.close()
    assert max(told) == 1  # Caffe tells it of Data only


@pytest.mark.parametrize("kind", ["raw", "encoded", "shuffled"])
def test_exact(folder: Path, kind: str) -> None:
    told: list[int] = []
    source = opened(layers_of(folder, 3)[kind], exact=True, on_restart=lambda: told.append(1))
    found = [source.next() for _ in range(3)]
    assert [len(batch.data) for batch in found] == [3, 3, 1]
    assert sorted(joined(found)) == list(range(COUNT))
    for _ in range(2):
        with pytest.raises(EndOfData):
            source.next()
    assert source.position >= COUNT
    source.close()
    assert not told
    rest = opened(layers_of(folder, 3)[kind], exact=True)
    rest.seek(5)
    assert labels(rest.next()) == joined(found)[5:]
    rest.close()
    over = opened(layers_of(folder, 3)[kind], exact=True)
    over.seek(COUNT)
    with pytest.raises(EndOfData):
        over.next()
    over.close()


def test_one_top_has_no_labels(folder: Path) -> None:
    source = opened(data_layer(folder / "raw", 2, top=""))
    assert source.next().labels is None
    source.close()


def test_what_a_batch_leaves_to_do(folder: Path) -> None:
    source = opened(data_layer(folder / "raw", 2, "mean_value: 4 scale: 0.5"))
    assert source.mean is not None
    assert source.mean.tolist() == [4, 4, 4]
    assert source.scale == 0.5
    source.close()
    source = opened(data_layer(folder / "raw", 2, "force_gray: true"))
    assert source.warnings == ["force_color and force_gray only for encoded datum"]
    assert source.mean is None
    source.close()


def spoiled(kind: str) -> tuple[bytes, str]:
    """A record that can't be read, and what is said of it."""
    jpeg = image_file(3, 30, 30, ".jpg")
    deep = bytes(cv2.imencode(".png", np.zeros((8, 9, 3), np.uint16))[1])
    known: dict[str, tuple[Any, str]] = {
        "no datum": (b"\x22\xff", "is not a Datum"),
        "nothing": (Datum(), "has the empty shape 0x0x0"),
        "negative": (Datum(channels=-3, height=-8, width=9), "has the empty shape -3x-8x9"),
        "no values": (Datum(channels=3, height=8, width=9), "has 0 values for shape 3x8x9"),
        "few": (Datum(channels=3, height=8, width=9, data=b"abc"), "has 3 values for shape 3x8x9"),
        "many": (Datum(channels=1, height=1, width=2, data=b"abc"), "has 3 values for shape 1x1x2"),
        "floats": (
            Datum(channels=3, height=8, width=9, float_data=[1] * 216),
            "holds floats, but the first record bytes",
        ),
        "another size": (raw(1, 3, 9, 8), "is 3x9x8, but the first record 3x8x9"),
        "no image": (Datum(encoded=True, data=b"GIF?"), "can't be decoded as an image (4 bytes)"),
        "empty": (Datum(encoded=True), "can't be decoded as an image (0 bytes)"),
        "cut off": (Datum(encoded=True, data=jpeg[:-40]), "a truncated JPEG"),
        "deep": (Datum(encoded=True, data=deep), "an image of uint16"),
    }
    record, said = known[kind]
    return record if isinstance(record, bytes) else record.SerializeToString(), said


SPOILED = [
    "no datum", "nothing", "negative", "no values", "few", "many", "floats", "another size",
    "no image", "empty", "cut off", "deep",
]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", SPOILED)
def test_a_spoiled_record(tmp_path: Path, kind: str, threads: int) -> None:
    """The batches before it come; then its own error, again and again."""
    value, said = spoiled(kind)
    good = encoded if threads > 1 else raw
    path = make_lmdb(tmp_path / "db", [*map(good, range(5)), value, good(6)])
    source = opened(data_layer(path, 2), threads=threads)
    assert labels(source.next()) == [0, 1]
    assert labels(source.next()) == [2, 3]
    for _ in range(2):
        with pytest.raises(FormatError) as caught:
            source.next()
        assert str(caught.value).startswith(f"net:7: {path}: record 5 (from 0): ")
        assert said in str(caught.value)
    assert source.position == 4
    source.close()


def test_a_first_record_that_is_spoiled(tmp_path: Path) -> None:
    for kind in SPOILED:
        if kind in ("many", "floats", "another size"):
            continue
        value, said = spoiled(kind)
        path = make_lmdb(tmp_path / kind, [value, raw(1)])
        with pytest.raises(FormatError) as caught:
            opened(data_layer(path, 1))
        assert "record 0 (from 0): " in str(caught.value)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        (
            "image 0.png 0",
            "new_height: 4294967295 new_width: 8",
            "4,294,967,295x8 pixels, more",
        ),
        ("image 0.png 0", "new_height: 20000 new_width: 20000", "20,000x20,000 pixels, more than"),
        ("image 0.png 0", "rand_skip: 4294967295", "list.txt: 1 images, too few to skip"),
        ("image 0.png " + "9" * 5000, "", r"line 1: label 9+\.\.\.9+; Caffe takes 32 bits"),
        ("image 0.png 2147483648", "", "line 1: label 2147483648; Caffe takes 32 bits"),
        ("n" * 5000 + ".png 0", "", "line 1: .*: file name too long"),
        ("a\0b.png 0", "", "line 1: .*null byte"),
    ],
)
def test_numbers_and_names_of_a_list(
    folder: Path, tmp_path: Path, text: str, more: str, said: str
) -> None:
    (tmp_path / "list.txt").write_text(text)
    one = image_layer(tmp_path, 1, more)
    one.image_data_param.root_folder = f"{folder}/"
    with pytest.raises(FormatError, match=f"^net:7: .*{said}") as caught:
        opened(one)
    assert len(str(caught.value)) < 700


def test_images_that_are_missing(folder: Path, tmp_path: Path) -> None:
    good = f"{folder}/image 0.png 0\n"
    (tmp_path / "bad.jpg").write_bytes(b"?")
    for text, said in [
        (good + "nowhere.png 3", r"list.txt: line 2: .*nowhere.png: no such file"),
        (good + f"{tmp_path}/bad.jpg 3", r"line 2: .*bad.jpg: can't be decoded as an image"),
        (good + f"{tmp_path} 3", r"line 2: .*is a folder"),
    ]:
        (tmp_path / "list.txt").write_text(text)
        one = image_layer(tmp_path, 1)
        one.image_data_param.root_folder = ""
        source = opened(one, base=tmp_path)
        source.next()
        with pytest.raises(FormatError, match=said):
            source.next()
        source.close()


def without(text: str) -> Callable[[Any], None]:
    return lambda one: getattr(one, f"{text}_param").ClearField("source")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.data_param.ClearField("backend"), "backend LEVELDB"),
        (lambda one: one.data_param.ClearField("batch_size"), "batch_size must be 1 or more"),
        (without("data"), "no source"),
        (lambda one: setattr(one.data_param, "source", "/nowhere"), "/nowhere: no such folder"),
        (lambda one: setattr(one, "type", "WindowData"), "layer type WindowData reads no data"),
    ],
)
def test_data_that_is_refused(folder: Path, change: Callable[[Any], None], said: str) -> None:
    one = data_layer(folder / "raw", 1)
    change(one)
    with pytest.raises(FormatError, match=said) as caught:
        opened(one)
    assert str(caught.value).startswith("net:7: ")


@pytest.mark.parametrize(
    ("more", "text", "said"),
    [
        ("new_height: 4", "a.png 1", "new_height and new_width both"),
        ("", "", "an empty list"),
        ("", "a.png 1\n\nb.png 2", "line 2: no file in it"),
        ("", " 4", "line 1: no file in it"),
        ("", None, "list.txt: no such file"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, more: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    with pytest.raises(FormatError, match=said) as caught:
        opened(image_layer(tmp_path, 1, more))
    assert str(caught.value).startswith("net:7: ")


def test_both_forces(folder: Path) -> None:
    one = data_layer(folder / "encoded", 1, "force_gray: true force_color: true")
    with pytest.raises(FormatError, match="force_color and force_gray at once"):
        opened(one)


def our_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "sqgen data"]


@pytest.mark.parametrize("threads", [1, 3])
def test_close_ends_the_threads(folder: Path, threads: int) -> None:
    before = len(our_threads())
    source = opened(layers_of(folder, 3)["encoded"], threads=threads)
    assert len(our_threads()) == before  # nothing is read ahead yet
    source.start()
    source.next()
    assert len(our_threads()) == before + (4 if threads == 3 else 1)
    source.close()
    source.close()
    assert len(our_threads()) == before
    with pytest.raises(ValueError, match="closed"):
        source.next()


def test_two_sources_of_one_lmdb(folder: Path) -> None:
    """LMDB takes a file once in a process; a net has it in TRAIN and TEST."""
    train = opened(data_layer(folder / "raw", 4))
    test = opened(data_layer(folder / "raw", 4), "TEST")
    assert labels(train.next()) == labels(test.next())
    train.close()
    assert labels(test.next()) == [4, 5, 6, 0]
    test.close()


def test_a_process_ends_with_sources_open(folder: Path) -> None:
    script = f"""
from pathlib import Path
from sqgen.tests.test_loader import layers_of, opened
kept = []
for kind in "raw", "encoded", "images":
    kept.append(opened(layers_of(Path({str(folder)!r}), 64)[kind], threads=2))
    kept[-1].next()
"""
    command = [sys.executable, "-X", "dev", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("batch", "prefetch", "batches"),
    [(2, 4, 4), (2, 0, 1), (4000, 4, 2), (90_000, 4, 1)],
    ids=["prefetch", "none", "256 MB", "one"],
)
def test_not_much_is_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, prefetch: int, batches: int
) -> None:
    """At most prefetch batches, and at most 256 MB of them but one."""
    depths: list[int] = []

    def start(jobs: Jobs[Batch], depth: int, workers: int) -> Prefetch[Batch]:
        depths.append(depth)
        jobs.close()
        return Prefetch(jobs, depth, workers)  # reads nothing

    monkeypatch.setattr(image_loader, "Prefetch", start)
    one = data_layer(make_lmdb(tmp_path / "db", [raw(0, 3, 100, 100)]), batch)
    one.data_param.prefetch = prefetch
    source = opened(one)
    source.start()
    source.close()
    assert depths == [batches]


def test_prefetch_stays_within_its_depth() -> None:
    started: list[int] = []

    def works() -> Jobs[int]:
        for number in range(100):
            started.append(number)
            yield number, [lambda: None]

    ahead: Prefetch[int] = Prefetch(works(), 3, workers=2)
    for number in range(20):
        assert ahead.next() == number
        assert len(started) <= number + 1 + 3 + 1
    ahead.close()


@pytest.mark.parametrize("workers", [0, 3])
def test_the_first_error_counts(workers: int) -> None:
    """And results before it come first, however long they take."""
    failed = threading.Event()  # in steps 1 and 2 of job 2

    def task(number: int, step: int) -> Task:
        def run() -> None:
            if workers and step == 0 and number in (0, 2):  # one of the workers is left
                assert failed.wait(60)
            if (number, step) == (2, 2):
                failed.set()
            if number == 2:
                raise KeyError(step)

        return run

    def works() -> Jobs[int]:
        for number in range(5):
            yield number, [task(number, step) for step in range(3)]

    ahead: Prefetch[int] = Prefetch(works(), 5, workers)
    assert [ahead.next(), ahead.next()] == [0, 1]
    with pytest.raises(KeyError) as caught:
        ahead.next()
    assert caught.value.args == (0,)
    ahead.close()


def test_an_error_of_on_restart_is_raised(folder: Path) -> None:
    def fail() -> None:
        raise OSError("no log")

    source = opened(data_layer(folder / "raw", 5), on_restart=fail)
    source.next()
    with pytest.raises(OSError, match="no log"):
        source.next()
    source.close()


def test_the_sample(shared: Path) -> None:
    """A real set: labels of val.txt, and a crop of each image as OpenCV decodes it."""
    sample = shared / "imagenet_sample"
    lines = (sample / "val.txt").read_text().splitlines()
    one = data_layer(sample / "enc_lmdb", 40, "crop_size: 227")
    source = opened(one, "TEST", exact=True, threads=2)
    found = [source.next() for _ in range(5)]
    source.close()
    assert joined(found) == [float(line.split()[1]) for line in lines]
    assert found[0].data.shape == (40, 3, 227, 227)
    images = layer(
        f'type: "ImageData" top: "data" top: "label" image_data_param {{ batch_size: 2'
        f' source: "{sample}/val.txt" root_folder: "{sample}/images/"'
        f" new_height: 256 new_width: 256 }} transform_param {{ crop_size: 227 }}"
    )
    files = opened(images, "TEST")
    batch = files.next()
    files.close()
    assert labels(batch) == labels(found[0])[:2]
    # The LMDB was encoded as JPEG once more.
    assert np.abs(batch.data.astype(int) - found[0].data[:2]).mean() < 6
