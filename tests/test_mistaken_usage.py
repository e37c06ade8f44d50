"""Paths that are not there, options of other commands, files in each other's place."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from sqgen.formats.near_path import ENTRIES, near_path
from sqgen.models import card
from sqgen.text import shell_join

from .conftest import Run
from .databases import make_lmdb, raw
from .small_nets import conv, net_input, random_model, save


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("trainval.prototxt", "train_val.prototxt"),
        ("TRAIN_VAL.prototxt", "train_val.prototxt"),
        ("nets/fire/solver.prototxt", "net/fire/solver.prototxt"),
        ("net/fier/solver.prototxt", "net/fire/solver.prototxt"),
        ("net/fire/solver.caffemodel", ""),  # of another kind
        ("val.prototxt", ""),  # too different
        ("net/train_iter_10.caffemodel", ""),  # another one is there
        ("net/tarin_iter_100.caffemodel", "net/train_iter_100.caffemodel"),
        ("train_val.prototx", "train_val.prototxt"),
        ("net/fire/slover.protoxt", "net/fire/solver.prototxt"),
        ("net/train_iter_100.sqgenstate", ""),
        ("scores.npy", ""),  # scores.npz is another format
        ("net/gone/deeper/x.prototxt", ""),
        ("", ""),
        ("a\0b", ""),
    ],
)
def test_the_nearest_path(
    path: str, near: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net" / "fire").mkdir(parents=True)
    (tmp_path / "net" / "fire" / "solver.prototxt").touch()
    (tmp_path / "train_val.prototxt").touch()
    (tmp_path / "net" / "train_iter_100.caffemodel").touch()
    (tmp_path / "net" / "train_iter_100.solverstate").touch()
    (tmp_path / "scores.npz").touch()
    monkeypatch.chdir(tmp_path)
    assert near_path(path) == near
    absolute = near_path(tmp_path / path) if path else ""
    assert absolute == (str(tmp_path / near) if near else "")


def test_large_folders_and_files_on_the_way(tmp_path: Path) -> None:
    assert ENTRIES >= 1000
    (tmp_path / "file").touch()
    assert near_path(tmp_path / "file" / "deeper") == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("summary", "nets.prototxt"),
        ("lint", "nets.prototxt"),
        ("diff", "net.prototxt", "nets.prototxt"),
        ("deploy", "nets.prototxt"),
        ("upgrade", "nets.prototxt"),
        ("weights", "show", "nets.prototxt"),
        ("compress", "decode", "nets.prototxt", "--net", "net.prototxt", "-o", "o"),
        ("test", "--model", "nets.prototxt", "--weights", "w"),
        ("train", "--solver", "nets.prototxt"),
        ("log", "parse", "nets.prototxt"),
        ("classify", "--model", "nets.prototxt", "--weights", "w", "i"),
    ],
)
def test_every_command_names_the_nearest_file(
    arguments: tuple[str, ...], tmp_path: Path, sqgen: Run
) -> None:
    (tmp_path / "net.prototxt").write_text(net_input(3))
    done = sqgen(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "did you mean 'net.prototxt'?" in done.stderr


def test_datasets_that_are_elsewhere(tmp_path: Path, sqgen: Run) -> None:
    (tmp_path / "sets").mkdir()
    make_lmdb(tmp_path / "sets" / "train_lmdb", [raw(0)])
    inside = sqgen("data", "info", "sets")
    assert "no data.mdb in it; did you mean 'sets/train_lmdb'?" in inside.stderr
    make_lmdb(tmp_path / "sets" / "val_lmdb", [raw(0)])
    both = sqgen("data", "mean", "sets")
    assert "in it are the LMDBs sets/train_lmdb, sets/val_lmdb" in both.stderr
    misspelt = sqgen("data", "info", "sets/train_lmbd")
    assert "no such folder; did you mean 'sets/train_lmdb'?" in misspelt.stderr
    net = (
        'layer { name: "data" type: "Data" top: "data" data_param { source: "sets/vall_lmdb"'
        ' batch_size: 1 backend: LMDB } transform_param { mean_file: "mean.binaryproto" } }'
    )
    (tmp_path / "net.prototxt").write_text(net)
    timed = sqgen("time", "--model", "net.prototxt", "--engine", "torch")
    assert "source 'sets/vall_lmdb' not found; did you mean 'sets/val_lmdb'?" in timed.stderr
    (tmp_path / "meann.binaryproto").touch()
    named = sqgen("time", "--model", "net.prototxt", "--data", "sets/val_lmdb")
    assert (
        "mean_file 'mean.binaryproto' not found; did you mean 'meann.binaryproto'?" in named.stderr
    )
    images = sqgen("data", "create", "setss", "-o", "o")
    assert "setss: no such folder; did you mean 'sets'?" in images.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--lr", "1"), "no option '--lr'; did you mean '--base-lr'? See"),
        (("train", "--stepsize", "1"), "; stepsize is set in the solver's file; see"),
        (("train", "--model", "n"), "; sqgen test, sqgen time, "),
        (("test", "--lr", "1"), "no option '--lr'; see sqgen test --help"),
        (("test", "--solver", "s"), "; sqgen lint, sqgen train, sqgen compress"),
        (("test", "-gpu", "0"), "; did you mean '--gpu'? See sqgen test --help"),
        (("test", "-weights=w"), "; did you mean '--weights'? See"),
        (("test", "--wieghts", "w"), "; did you mean '--weights'? See"),
        (("weights", "show", "--tolerance", "1"), "; sqgen weights diff has it; see"),
        (("summary", "--quite-another", "1"), "no option '--quite-another'; see sqgen summary"),
    ],
)
def test_options_that_a_command_lacks(arguments: tuple[str, ...], message: str, sqgen: Run) -> None:
    done = sqgen(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


SWAPPED = "; the net and the weights are in each other's place"


def test_nets_and_weights_in_each_others_place(tmp_path: Path, sqgen: Run) -> None:
    text = net_input(3) + conv("a", "data", 2)
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    for command in (
        ("test", "--model", "w.caffemodel", "--weights", "net.prototxt"),
        ("test", "--model=w.caffemodel", "--weights=net.prototxt"),
        ("classify", "--model", "w.caffemodel", "--weights", "net.prototxt", "a.png"),
        ("weights", "map", "net.prototxt", "out", "--to", "w.caffemodel"),
        ("export", "w.caffemodel", "--weights", "net.prototxt", "-o", "out"),
        ("export", "--weights", "net.prototxt", "-o", "out", "w.caffemodel"),
        ("compress", "encode", "net.prototxt", "--net", "w.caffemodel", "-o", "o.sqz"),
    ):
        done = sqgen(*command)
        assert done.returncode == 2
        assert SWAPPED in done.stderr, done.stderr
    for command in (
        ("test", "--model", "w.caffemodel", "--weights", "w.caffemodel"),
        ("test", "--model", "net.prototxt", "--weights", "net.prototxt"),
        ("test", "--model", "gone", "--weights", "net.prototxt"),
    ):
        assert SWAPPED not in sqgen(*command).stderr


# What can be pasted


def test_commands_of_zoo_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqgen.tools import zoo

    monkeypatch.setattr(zoo, "MODELS", Path("/a folder/it's"))
    details = card.read_card("deep-compression")
    assert details.weights is not None
    lines = dict(zoo._reproduce_lines(details, details.weights))
    words = shlex.split(lines["reproduce"])
    assert words[words.index("--model") + 1].startswith("/a folder/it's/deep-compression/")
    words = shlex.split(lines["decode"])
    assert words[words.index("--net") + 1] == "/a folder/it's/deep-compression/deploy.prototxt"


def test_a_lone_file_is_quoted(tmp_path: Path, sqgen: Run) -> None:
    (tmp_path / "a b.log").touch()
    assert "did you mean sqgen log parse 'a b.log'? See" in sqgen("log", "a b.log").stderr


def test_words_survive_a_shell() -> None:
    words = ["sqgen", "a b", "it's", "", "$x", "*", "~", "-"]
    assert shlex.split(shell_join(words)) == words
    assert "\n" not in shell_join(["a\nb"])
