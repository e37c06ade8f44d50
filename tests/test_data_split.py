"""`sqgen data create --split`: by class, without leaks, the same for a seed everywhere."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen.datasets.encode_record import RecordEncoder
from sqgen.datasets.image_index import ImageIndex, index_images
from sqgen.datasets.split import Split, create_split, split_images
from sqgen.errors import FormatError, SqgenError
from sqgen.formats.datum import read_datum

from .conftest import Run
from .databases import image_file


def make(folder: Path, classes: Mapping[str, int], first: int = 0) -> Path:
    """A folder a class, with so many different pictures."""
    number = first
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for each in range(count):
            (folder / name / f"{each:03d}.png").write_bytes(image_file(number))
            number += 1
    return folder


def split_of(folder: Path, share: float = 0.2, seed: int = 0, file: str | None = None) -> Split:
    return split_images(index_images(f"{folder}/", file), share, seed)


def counts(index: ImageIndex) -> dict[int, int]:
    return dict(sorted(Counter(label for _, label in index.images).items()))


def read(path: Path) -> list[tuple[str, int]]:
    """The key without its number, and the label, of each record."""
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as reading:
        return [
            (bytes(key).decode()[9:], read_datum(bytes(value), "").label)
            for key, value in reading.cursor()
        ]


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (0.2, {0: 2, 1: 1, 2: 4}),
        (0.5, {0: 5, 1: 2, 2: 10}),  # of 3: 1.5, rounded up
        (0.01, {0: 1, 1: 1, 2: 1}),
        (0.99, {0: 9, 1: 2, 2: 19}),
        (0.15, {0: 2, 1: 1, 2: 3}),  # of 10: 1.5, which is less in binary
    ],
)
def test_each_class_has_its_share(share: float, wanted: dict[int, int], tmp_path: Path) -> None:
    folder = make(tmp_path, {"a": 10, "b": 3, "c": 20})
    parts = split_of(folder, share)
    assert counts(parts.val) == wanted
    assert counts(parts.train) == {0: 10 - wanted[0], 1: 3 - wanted[1], 2: 20 - wanted[2]}
    everything = index_images(f"{folder}/", None)
    assert sorted(parts.train.images + parts.val.images) == sorted(everything.images)
    assert parts.train.classes == parts.val.classes == ["a", "b", "c"]
    assert parts.remarks == []


def test_a_seed_is_a_split_everywhere(tmp_path: Path) -> None:
    """Recorded: on any platform and under any Python and NumPy, with any number of threads."""
    folder = make(tmp_path, {"a": 12, "b": 12})
    parts = [split_of(folder, 0.25, seed) for seed in (0, 1, 2, -1)]
    names = [[name for name, _ in part.val.images] for part in parts]
    chosen = [" ".join(name.removesuffix(".png") for name in each) for each in names]
    assert chosen[0] == "a/000 a/001 a/005 b/002 b/008 b/009"
    assert chosen[1] == "a/000 a/009 a/010 b/001 b/002 b/009"
    assert [x for x, _ in parts[0].train.images[:3]] == ["a/006.png", "a/007.png", "b/010.png"]
    assert len({tuple(each) for each in names}) == len(names)
    again = split_images(index_images(f"{folder}/", None), 0.25, 0, jobs=3)
    assert again == parts[0]


def test_training_images_are_shuffled(tmp_path: Path) -> None:
    """Caffe reads records in their order: one class after the other would not train."""
    parts = split_of(make(tmp_path, {"a": 40, "b": 40}))
    labels = [label for _, label in parts.train.images]
    assert 0.3 < sum(labels[:32]) / 32 < 0.7
    assert parts.val.images == sorted(parts.val.images)


def test_copies_stay_on_one_side(tmp_path: Path) -> None:
    """Whatever their names, and however many."""
    folder = make(tmp_path, {"a": 10, "b": 10})
    for name in ("a", "b"):
        for number in range(5):
            for copy in range(number):
                source = folder / name / f"{number:03d}.png"
                (folder / name / f"z{number}{copy}.png").write_bytes(source.read_bytes())
    for seed in range(10):
        parts = split_of(folder, 0.3, seed)
        sides = [
            {hashlib.sha256((folder / name).read_bytes()).digest() for name, _ in part.images}
            for part in (parts.train, parts.val)
        ]
        assert not sides[0] & sides[1]
        assert counts(parts.val) == {0: 6, 1: 6}  # of 20
        (remark,) = parts.remarks
        assert remark.startswith("20 images are copies of others (a/001.png = a/z10.png); all")


def test_pictures_of_several_classes_are_not_validated(tmp_path: Path) -> None:
    folder = make(tmp_path, {"a": 4, "b": 4})
    for number in range(2):
        (folder / "b" / f"x{number}.png").write_bytes((folder / "a/000.png").read_bytes())
    for seed in range(8):
        parts = split_of(folder, 0.5, seed)
        in_val = {name for name, _ in parts.val.images}
        assert not in_val & {"a/000.png", "b/x0.png", "b/x1.png"}
        assert counts(parts.val) == {0: 2, 1: 2}
        assert (
            "1 pictures are in several classes (a/000.png = b/x0.png); they are in the"
            in (parts.remarks[1])
        )


def test_copies_can_leave_a_class_without_a_share(tmp_path: Path) -> None:
    """The smaller of two pictures is validated, though both are more than the share."""
    folder = make(tmp_path, {"a": 2, "b": 9})
    for number, copies in enumerate((5, 2)):
        for copy in range(copies):
            source = folder / "a" / f"{number:03d}.png"
            (folder / "a" / f"c{number}{copy}.png").write_bytes(source.read_bytes())
    for seed in range(4):
        assert counts(split_of(folder, 0.1, seed).val)[0] == 3


REFUSED: dict[str, tuple[dict[str, int], float, str]] = {
    "one class": ({"a": 9}, 0.2, "class 'a': is the only class; give two or more"),
    "one picture": (
        {"a": 9, "b": 1, "c": 1},
        0.2,
        "2 of 3 classes have no two different pictures that are theirs alone (class 'b', class",
    ),
    "no picture": ({"a": 9, "b": 0, "c": 4}, 0.2, "1 of 3 classes have no two different"),
    "nothing": ({"a": 9, "b": 4}, 0, "--split 0: give a share between 0 and 1, such as 0.2"),
    "everything": ({"a": 9, "b": 4}, 1, "--split 1: give a share between 0 and 1"),
    "percent": ({"a": 9, "b": 4}, 20, "--split 20: give a share between 0 and 1"),
    "nan": ({"a": 9, "b": 4}, float("nan"), "--split nan: give a share"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_t_be_split(kind: str, tmp_path: Path) -> None:
    classes, share, message = REFUSED[kind]
    folder = make(tmp_path, classes)
    with pytest.raises(SqgenError) as caught:
        split_of(folder, share)
    assert message in str(caught.value)


def test_a_class_of_copies_alone(tmp_path: Path) -> None:
    folder = make(tmp_path, {"a": 1, "b": 3})
    (folder / "a" / "copy.png").write_bytes((folder / "a/000.png").read_bytes())
    with pytest.raises(FormatError, match=r"have no two different pictures .*class 'a'"):
        split_of(folder)


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(2, 12), min_size=2, max_size=5),
    share=st.floats(0.001, 0.999),
    seed=st.integers(-(1 << 70), 1 << 70),
    data=st.data(),
)
def test_any_split(
    sizes: list[int],
    share: float,
    seed: int,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Every image on one side, every class on both, no content on two."""
    folder = tmp_path_factory.mktemp("any")
    lines: list[str] = []
    contents: dict[str, str] = {}
    for label, size in enumerate(sizes):
        for number in range(size):
            # The first two of a class are its own; others are anything that was there.
            old = st.sampled_from(sorted(contents.values())) if contents else st.nothing()
            copied = number > 1 and data.draw(st.booleans())
            content = data.draw(old) if copied else f"{label} {number}"
            contents[f"{label}-{number}"] = content
            (folder / f"{label}-{number}").write_text(content)
            lines.append(f"{label}-{number} {label}\n")
    (folder / "list").write_text("".join(lines))
    try:
        parts = split_of(folder, share, seed, str(folder / "list"))
    except FormatError as error:  # a class whose pictures are all others' too
        assert "theirs alone" in str(error)
        return
    names = [{name for name, _ in part.images} for part in (parts.train, parts.val)]
    assert not {contents[name] for name in names[0]} & {contents[name] for name in names[1]}
    assert names[0] | names[1] == contents.keys()
    assert set(counts(parts.train)) == set(counts(parts.val)) == set(range(len(sizes)))


def test_files_that_cannot_be_read_are_listed(tmp_path: Path, sqgen: Run) -> None:
    """By the creation, like those of one LMDB; a list may name what is not there."""
    folder = make(tmp_path / "images", {"a": 6, "b": 6})
    (folder / "b" / "bad.png").write_bytes(b"no image")
    names = [f"{name}/{number:03d}.png" for name in "ab" for number in range(6)]
    lines = [f"{name} {4 * name.startswith('b')}\n" for name in [*names, "b/bad.png", "b/gone.png"]]
    (tmp_path / "list").write_text("".join([*lines, " 9\n"]))
    done = sqgen("data", "create", "images", "--list", "list", "-o", "sets", "--split", "0.25")
    assert done.returncode == 0, done.stderr
    train, val = read(tmp_path / "sets/train_lmdb"), read(tmp_path / "sets/val_lmdb")
    assert sorted(name for name, _ in train + val) == sorted(names)
    assert Counter(label for _, label in val) == {0: 2, 4: 2}
    assert done.stderr.count("bad.png") == done.stderr.count("gone.png") == 1
    assert "wrote sets/train_lmdb: 8 records, " in done.stderr
    assert not list(tmp_path.glob("sets/*/labels.txt"))  # nothing names them


def test_a_side_without_a_class_is_refused(tmp_path: Path) -> None:
    """Where the pictures of one can't be decoded; nothing is written."""
    folder = make(tmp_path / "images", {"a": 3, "b": 1})
    (folder / "b" / "bad.png").write_bytes(b"no image")
    parts = split_of(folder)
    with pytest.raises(FormatError, match=r"_lmdb: no image of class 'b' could be read; take"):
        create_split(parts, tmp_path / "sets", RecordEncoder(), 1)
    assert not (tmp_path / "sets").exists()


def test_the_command(tmp_path: Path, sqgen: Run) -> None:
    make(tmp_path / "pictures", {"cat": 10, "dog": 5})
    words = ("data", "create", "pictures", "-o", "sets", "--split", "0.2", "--resize", "8x8")
    done = sqgen(*words, "--json", "--encoded", "png")
    result = json.loads(done.stdout)
    assert list(result) == ["format", "path", "split", "seed", "train_lmdb", "val_lmdb", "classes"]
    assert (result["seed"], result["classes"]) == (0, ["cat", "dog"])
    assert (result["train_lmdb"]["records"], result["val_lmdb"]["records"]) == (12, 3)
    for name in ("train_lmdb", "val_lmdb"):
        assert (tmp_path / "sets" / name / "labels.txt").read_text() == "cat\ndog\n"
    before = {name: read(tmp_path / "sets" / name) for name in ("train_lmdb", "val_lmdb")}
    assert "exists already; --force replaces an LMDB" in sqgen(*words).stderr
    assert sqgen(*words, "--force", "--seed", "0").returncode == 0
    assert {name: read(tmp_path / "sets" / name) for name in before} == before
    assert sqgen(*words, "--force", "--seed", "5").returncode == 0
    assert {name: read(tmp_path / "sets" / name) for name in before} != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seed", "1"), "--seed is for --split; --shuffle SEED shuffles one LMDB"),
        (("--split", "0.2", "--shuffle", "1"), "--shuffle and --split: the training set is shuff"),
        (("--split", "much"), "'much' is not a valid float"),
    ],
)
def test_options_that_contradict(words: tuple[str, ...], message: str, sqgen: Run) -> None:
    done = sqgen("data", "create", "pictures", "-o", "sets", *words)
    assert done.returncode == 2
    assert message in done.stderr
