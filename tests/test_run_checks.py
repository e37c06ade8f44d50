"""Preflight: one line, exit code 2, nothing started and no folder made."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import errors, host
from sqgen.formats.caffemodel import fill_blob, read_caffemodel
from sqgen.formats.schema import NetParameter
from sqgen.runner import options, preflight
from sqgen.tools import cli

from . import small_training as small
from .conftest import ROOT
from .databases import make_lmdb
from .small_runs import Place, StandIn


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


class Typed:
    """`sqgen` in an empty folder, with a stand-in for caffe."""

    def __init__(self, folder: Path, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.place = folder, place
        self._capsys = capsys
        self.calls = folder / "calls"
        stand_in = StandIn(folder)
        self._test = stand_in("test_digits", calls=self.calls)
        self._train = stand_in("train_two_test_nets", calls=self.calls)

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """The exit code, and both outputs."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main([str(one) for one in arguments])
        out, err = self._capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, out, err

    def test(self, *more: str | Path, net: str | None = None, weights: Any = None) -> Any:
        model = self.place.net if net is None else self.file("net.prototxt", net)
        files = ["--model", model, "--weights", self.place.weights if weights is None else weights]
        return self.run("test", *files, "--caffe", self._test, *more)

    def train(self, *more: str | Path, solver: str | None = None) -> Any:
        file = self.place.solver if solver is None else self.file("solver.prototxt", solver)
        return self.run("train", "--solver", file, "--caffe", self._train, *more)

    def file(self, name: str, data: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def refused(self, done: tuple[int, str, str], message: str) -> None:
        code, out, err = done
        lines = err.splitlines()
        assert (code, out) == (2, ""), err
        assert message in lines[-1]
        assert all(line.startswith("sqgen: ") for line in lines)
        assert not self.calls.exists()
        assert not (self.folder / "runs").exists()


Refusal = Callable[[Typed], tuple[int, str, str]]


@pytest.fixture
def typed(
    tmp_path: Path,
    place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Typed:
    monkeypatch.chdir(tmp_path)
    return Typed(tmp_path, place, capsys)


def changed(place: Place, change: Callable[[Any], object]) -> bytes:
    """The weights, with a change."""
    model = NetParameter()
    model.CopyFrom(read_caffemodel(place.weights))
    change(model)
    return bytes(model.SerializeToString())


def _zeros(model: Any) -> None:
    for layer in model.layer:
        for blob in layer.blobs:
            blob.data[:] = [0] * len(blob.data)


def _rename(model: Any) -> None:
    model.layer[0].name = "other"


def _reshape(model: Any) -> None:
    model.layer[0].blobs[0].Clear()
    fill_blob(model.layer[0].blobs[0], np.zeros((7, 3, 3, 3), "f4"))


def _fewer(model: Any) -> None:
    del model.layer[0].blobs[1]


def _none(model: Any) -> None:
    del model.layer[0].blobs[:]


def _more(model: Any) -> None:
    fill_blob(model.layer.add(name="data").blobs.add(), np.ones(3, "f4"))


WEIGHTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "zeros": (_zeros, "all weights are zero; fetch the file again; --random-weights"),
    "another name": (_rename, "has no weights for 1 of 3 layers of"),
    "another shape": (_reshape, "layer 'conv1', blob 0 is 7x3x3x3 there and 6x3x3x3 in the net"),
    "fewer blobs": (_fewer, "layer 'conv1' has 1 blobs there and 2 in the net"),
    "no blobs": (_none, "layer 'conv1' has 0 blobs there and 2 in the net"),
    "blobs of a layer without": (_more, "layer 'data' has 1 blobs there and 0 in the net"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_do_not_fit(name: str, typed: Typed) -> None:
    change, message = WEIGHTS[name]
    path = typed.file("w.caffemodel", changed(typed.place, change))
    typed.refused(typed.test(weights=path), message)
    if "--random-weights" in message or name == "another name":
        code, _, err = typed.test("--random-weights", weights=path)
        assert code == 0, err
        assert "warning: " in err


def test_odd_weights_are_told(typed: Typed) -> None:
    def odd(model: Any) -> None:
        model.layer[0].blobs[0].data[3] = float("nan")
        extra = model.layer.add(name="extra")
        fill_blob(extra.blobs.add(), np.ones(3, "f4"))

    path = typed.file("w.caffemodel", changed(typed.place, odd))
    typed.refused(typed.test(weights=path), "has weights that are nan or infinite in conv1")
    code, _, err = typed.test("--random-weights", weights=path)
    assert code == 0, err
    assert "warning: layers with weights that are nan or infinite: conv1" in err
    assert "warning: weights that the net has no layer for: extra" in err


def _score(**files: str) -> Refusal:
    """`sqgen test` of the place's net and weights, or of others."""
    return lambda typed: typed.test(**files)


def _score_with(*more: str) -> Refusal:
    return lambda typed: typed.test(*more)


def _train_with(*more: str) -> Refusal:
    return lambda typed: typed.train(*more)


def _train_by(more: str) -> Refusal:
    """`sqgen train` by a solver with other fields."""
    return lambda typed: typed.train(solver=typed.place.solver_text(more))


def _train_net(net: str) -> Refusal:
    """`sqgen train` by a solver of another net."""
    return lambda typed: typed.train(
        solver=typed.place.solver_text().replace(str(typed.place.net), net)
    )


def _with_net(old: str, new: str) -> Refusal:
    """`sqgen test` of the place's net with a change."""
    return lambda typed: typed.test(net=_replaced(typed, old, new))


def _replaced(typed: Typed, old: str, new: str) -> str:
    text = typed.place.net.read_text()
    assert old in text
    return text.replace(old, new)


def _no_data(typed: Typed) -> Any:
    return typed.test(net=_replaced(typed, str(typed.place.data), "/no/lmdb"))


def _no_validation_data(typed: Typed) -> Any:
    before, data, after = typed.place.net.read_text().rpartition(str(typed.place.data))
    typed.file("val.prototxt", before + data.replace(data, "/no/val") + after)
    solver = typed.place.solver_text("max_iter: 6 test_iter: 4 test_interval: 3")
    return typed.train(solver=solver.replace(str(typed.place.net), "val.prototxt"))


def _train_broken(typed: Typed) -> Any:
    typed.file("net.prototxt", _replaced(typed, 'bottom: "conv2"', 'bottom: "nowhere"'))
    return _train_net("net.prototxt")(typed)


def _empty_data(typed: Typed) -> Any:
    make_lmdb(typed.folder / "empty", [])
    return typed.test("--data", "empty")


def _truncated_data(typed: Typed) -> Any:
    shutil.copytree(typed.place.data, typed.folder / "cut")
    with open(typed.folder / "cut" / "data.mdb", "r+b") as file:
        file.truncate(5000)
    return typed.test("--data", "cut")


def _data_of_others(typed: Typed) -> Any:
    make_lmdb(typed.folder / "noise", [b"\xff" * 100])
    return typed.test("--data", "noise")


CHECK_THE_NAME = "no such file or directory; check the name"
NO_WEIGHTS = f"no.caffemodel: {CHECK_THE_NAME}"
WEIGHTS_MISTAKEN = "is text, not a .caffemodel; give the weights, or fetch them again"

# Name -> what is typed, the cause that is named, and how the line ends: with what to do.
REFUSALS: dict[str, tuple[Refusal, str, str]] = {
    # What is not there.
    "no model": (
        lambda typed: typed.run("test", "--model", "no", "--weights", typed.place.weights),
        "sqgen: no: ",
        CHECK_THE_NAME,
    ),
    "no weights": (_score(weights="no.caffemodel"), "sqgen: ", NO_WEIGHTS),
    "no second weights": (
        lambda typed: typed.test(weights=f"{typed.place.weights},no.caffemodel"),
        "sqgen: ",
        NO_WEIGHTS,
    ),
    "empty weights": (_score(weights=""), "--weights '': names no file", "give a .caffemodel"),
    "weights and a comma": (
        lambda typed: typed.test(weights=f"{typed.place.weights},"),
        "start.caffemodel,': an empty name between commas",
        "give a .caffemodel",
    ),
    "data not there": (
        _score_with("--data", "no_lmdb"),
        "net.prototxt:3: layer 'data': source 'no_lmdb' not found",
        "set it with --data",
    ),
    "data an empty folder": (
        lambda typed: typed.test("--data", typed.folder),
        "layer 'data': {folder}: no data.mdb in it",
        "give the folder of an LMDB",
    ),
    "data without a name": (
        _score_with("--data", ""),
        "layer 'data': source '' not found",
        "set it with --data",
    ),
    "data of the net not there": (
        _no_data,
        "net.prototxt:3: layer 'data': source '/no/lmdb' not found",
        "set it with --data",
    ),
    "validation data not there": (
        _no_validation_data,
        "val.prototxt:3: layer 'data': source '/no/val' not found",
        "set it with --val-data",
    ),
    "no solver": (
        lambda typed: typed.run("train", "--solver", "no"),
        "sqgen: no: ",
        CHECK_THE_NAME,
    ),
    "no net of a solver": (
        _train_net("no_net.prototxt"),
        "solver.prototxt: net 'no_net.prototxt' not found, nor beside the solver",
        "correct its path",
    ),
    "no weights to start from": (
        _train_with("--weights", "no.caffemodel"),
        "sqgen: ",
        NO_WEIGHTS,
    ),
    "no snapshot": (
        _train_with("--snapshot", "no.solverstate"),
        "sqgen: no.solverstate: ",
        CHECK_THE_NAME,
    ),
    "nothing to resume": (
        _train_with("--resume"),
        "--resume: no complete snapshot s_iter_*.solverstate",
        "leave --resume out to start",
    ),
    "no mean": (
        _train_with("--mean", "no.binaryproto"),
        "net.prototxt:2: layer 'data': mean_file 'no.binaryproto' not found",
        "give --mean FILE, which sqgen data mean writes",
    ),
    "no weights of a solver": (
        _train_by('max_iter: 6 weights: "no.caffemodel"'),
        "sqgen: ",
        NO_WEIGHTS,
    ),
    # The wrong file for a flag, as one types it.
    "a net as weights": (
        lambda typed: typed.test(weights=typed.place.net),
        "net.prototxt: ",
        WEIGHTS_MISTAKEN,
    ),
    "a folder as weights": (
        lambda typed: typed.test(weights=typed.place.folder),
        "{place}: is a folder",
        "give a file in it",
    ),
    "a solver as a net": (
        lambda typed: typed.run(
            "test", "--model", typed.place.solver, "--weights", typed.place.weights
        ),
        "solver.prototxt: is a solver, not a net; it trains {place}/net.prototxt",
        "net.prototxt",
    ),
    "a net as a solver": (
        lambda typed: typed.run("train", "--solver", typed.place.net),
        "net.prototxt: ",
        "is a net, not a solver; give its solver",
    ),
    "an unknown layer type": (
        _score(net='layer { name: "a" type: "Inpt" }'),
        "net.prototxt:1: layer 'a': no layer type 'Inpt'",
        "did you mean 'Input'? [type]",
    ),
    "half a net": (_score(net="layer {"), "net.prototxt:1:8: ", "Expected '}', but the file ends"),
    "an empty net": (_score(net=""), "net.prototxt: ", "the net has no layers [empty]"),
    "weights as a snapshot": (
        lambda typed: typed.train("--snapshot", typed.place.weights),
        "start.caffemodel: is a .caffemodel",
        "--snapshot takes the .solverstate beside it",
    ),
    "a solver as weights": (
        lambda typed: typed.train("--weights", typed.place.solver),
        "solver.prototxt: ",
        WEIGHTS_MISTAKEN,
    ),
    "an unknown solver type": (
        _train_by('max_iter: 6 type: "SDG"'),
        "solver.prototxt: no type 'SDG'",
        "did you mean 'SGD'?",
    ),
    "tests at no time": (
        _train_by("max_iter: 6 test_iter: 4"),
        "solver.prototxt: test_iter without test_interval",
        "when to test?",
    ),
    "validation data without tests": (
        lambda typed: typed.train("--val-data", typed.place.data),
        "solver.prototxt tests nothing",
        "give it test_iter and test_interval",
    ),
    # Nets that Caffe would refuse.
    "an unknown blob": (
        _with_net('bottom: "conv2"', 'bottom: "nowhere"'),
        "net.prototxt:8: layer 'pool2': ",
        "no layer makes 'nowhere' [unknown-blob]",
    ),
    "a kernel larger than the image": (
        _with_net("kernel_size: 3", "kernel_size: 300"),
        "net.prototxt:4: layer 'conv1': its input of 12x10 shrinks to nothing",
        "a window of 300 does not fit in 12 with pad 0 [shape]",
    ),
    "an unknown blob in training": (
        _train_broken,
        "net.prototxt:8: layer 'pool2': ",
        "no layer makes 'nowhere' [unknown-blob]",
    ),
    "a crop larger than the images": (
        _with_net("mean_value: 120", "crop_size: 100 mean_value: 120"),
        "net.prototxt:3: layer 'data': ",
        "crop_size 100 is larger than its images, 12x10",
    ),
    # Data: empty, damaged, and no images at all.
    "empty data": (
        _empty_data,
        "layer 'data': empty/data.mdb: holds no records",
        "make the LMDB again",
    ),
    "truncated data": (
        _truncated_data,
        "cut/data.mdb: truncated: has 5,000 bytes and needs 40,960",
        "copy or make the LMDB again",
    ),
    "data of other things": (
        _data_of_others,
        "noise: record 0: is not a Datum (100 bytes)",
        "make the LMDB again",
    ),
    # Options.
    "a GPU and none": (_score_with("--gpu", "0", "--cpu"), "--gpu and --cpu", "give one"),
    "a GPU by a word": (_score_with("--gpu", "zero"), "--gpu zero", "write 0, 0,1 or all"),
    "a GPU without a number": (_score_with("--gpu", ""), "--gpu ", "write 0, 0,1 or all"),
    "a GPU and a comma": (_score_with("--gpu", "0,"), "--gpu 0,", "write 0, 0,1 or all"),
    "no iterations": (
        _score_with("--iterations", "0"),
        "'--iterations': 0 is not in the range x>=1",
        "see sqgen test --help",
    ),
    "an empty batch": (
        _score_with("--batch-size", "0"),
        "'--batch-size': 0 is not in the range x>=1",
        "see sqgen test --help",
    ),
    "a negative timeout": (
        _score_with("--stall-timeout", "-1"),
        "'--stall-timeout': -1.0 is not in the range x>=0",
        "see sqgen test --help",
    ),
    "two engines": (
        _score_with("--engine", "torch"),
        "--engine torch runs the embedded engine",
        "so it takes no --caffe",
    ),
    "a score without a value": (
        _score_with("--expect", "top1"),
        "--expect top1: write a score and a value",
        "such as top1=0.6038+-0.001",
    ),
    "no baseline": (
        _score_with("--baseline", "no.json"),
        "no.json: no baseline yet",
        "--update-baseline makes it",
    ),
    "two starts": (
        lambda typed: typed.train("--resume", "--weights", typed.place.weights),
        "--weights, --snapshot and --resume",
        "give one",
    ),
    "weights left out": (
        lambda typed: typed.run("test", "--model", typed.place.net),
        "missing option '--weights'",
        "see sqgen test --help",
    ),
    "a solver without its flag": (
        lambda typed: typed.run("train", typed.place.solver),
        "missing option '--solver'",
        "see sqgen train --help",
    ),
    # What a test is held to.
    "more than all": (
        _score_with("--expect", "top1=57.5"),
        "top1: 57.5 is more than 1",
        "write 57.5%",
    ),
    "within of nothing": (
        _score_with("--within", "0.1"),
        "--within: give --published or --baseline",
        "whose tolerance it is; see sqgen test --help",
    ),
    "a report of nothing": (
        _score_with("--junit", "j.xml"),
        "--junit and --markdown: nothing to report",
        "give --expect; see sqgen test --help",
    ),
    "a report over a folder": (
        lambda typed: typed.test("--min", "top1=0.1", "--junit", typed.folder),
        "{folder}: is a folder",
        "give a file's name",
    ),
    "words without their dashes": (
        _score_with("extra"),
        "unexpected 'extra'",
        "options for caffe stand behind --",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_before_anything_runs(name: str, typed: Typed) -> None:
    """One line that names the cause, and ends with what to do."""
    act, cause, remedy = REFUSALS[name]
    result = act(typed)
    typed.refused(result, cause.format(folder=typed.folder, place=typed.place.folder))
    assert result[2].splitlines()[-1].endswith(remedy)


def test_gpus(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known from the driver's list; where others may be, nothing is refused."""
    monkeypatch.setattr(preflight, "_driver_lists_gpus", lambda: True)
    test = ("test", "--model", typed.place.net, "--weights", typed.place.weights)
    train = ("train", "--solver", typed.place.solver)
    monkeypatch.setattr(preflight, "list_gpus", list)
    typed.refused(typed.run(*test, "--gpu", "0"), "no GPU that a driver knows; --cpu")
    typed.refused(typed.run(*train, "--gpu", "all"), "no GPU that a driver knows; --cpu")
    solver = typed.file("g.prototxt", typed.place.solver.read_text().replace("CPU", "GPU"))
    typed.refused(typed.run("train", "--solver", solver), "solver_mode is GPU, and this machine")
    monkeypatch.setattr(preflight, "list_gpus", lambda: ["a", "b"])
    typed.refused(typed.run(*train, "--gpu", "0,2"), "2 GPUs, numbered from 0")
    preflight.check_gpus("0,1", False)
    preflight.check_gpus("all", False)
    monkeypatch.setattr(preflight, "_driver_lists_gpus", lambda: False)
    preflight.check_gpus("0,7", False)
    assert isinstance(host.list_gpus(), list)


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        (None, ["a", "b", "c"]),
        ("", []),
        ("-1", []),
        ("1", ["b"]),
        ("2, 0", ["c", "a"]),
        ("0,7,1", ["a"]),  # CUDA ignores what follows an invalid entry
        ("GPU-5a", ["GPU-5a"]),
    ],
)
def test_visible_gpus(chosen: str | None, left: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert host.visible_gpus(["a", "b", "c"]) == left
    monkeypatch.setattr(preflight, "_driver_lists_gpus", lambda: True)
    monkeypatch.setattr(preflight, "list_gpus", lambda: ["a", "b", "c"])
    if len(left) > 1:
        preflight.check_gpus("1", False)
    else:
        with pytest.raises(
            errors.SqgenError, match=r"--gpu 1: this machine has .*CUDA_VISIBLE_DEVICES="
        ):
            preflight.check_gpus("1", False)


def test_the_embedded_engine_times_on_one_gpu(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "list_gpus", lambda: ["a", "b"])
    monkeypatch.setattr(options, "list_gpus", lambda: ["a", "b"])
    for gpu in ("0,1", "all"):
        done = typed.run("time", "--model", typed.place.net, "--engine", "torch", "--gpu", gpu)
        typed.refused(done, "sqgen time runs on one device; give one GPU")


def test_room_for_snapshots(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    place = typed.place
    nowhere = place.solver_text(prefix="no/such/folder/s")
    typed.refused(typed.train(solver=nowhere), "Cannot write to snapshot prefix 'no/such/folder/s'")
    usage = shutil.disk_usage(typed.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 19))
    typed.refused(typed.train(), "no disk space for snapshots at 's'")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3 << 20))
    code, _, err = typed.train(solver=place.solver_text("max_iter: 60 snapshot: 5"))
    assert code == 0
    assert "warning: 12 snapshots of 1 MiB are more than the 3 MiB that are free" in err
    code, _, err = typed.train(solver=place.solver_text("max_iter: 6 snapshot_after_train: false"))
    assert "nothing is ever saved: set snapshot" in err


def test_the_folder_of_a_run(typed: Typed) -> None:
    """It is new, or empty; whatever is typed for it."""
    full = typed.folder / "full"
    full.mkdir()
    typed.file("full/x", "")
    typed.refused(typed.test("--run-dir", full), "is there already; --run-dir takes a new folder")
    typed.refused(typed.test("--run-dir", full / "x"), "is there already")
    typed.refused(typed.test("--run-dir", full / "x" / "y"), "can't write")
    typed.refused(typed.test("--run-dir", "n" * 300), "can't write")
    typed.refused(typed.test("--run-dir", ""), "--run-dir")
    (typed.folder / "new").mkdir()
    assert typed.test("--run-dir", "new")[0] == 0
    assert typed.test("--run-dir", "deep/deeper/ö%s {x}")[0] == 0
    # Two runs in the same second.
    assert typed.test()[0] == typed.test()[0] == 0
    assert len(list((typed.folder / "runs").iterdir())) == 2


def test_runs_that_can_not_be_written(typed: Typed) -> None:
    typed.file("runs", "a file")
    code, out, err = typed.test()
    assert (code, out) == (2, "")
    assert "--run-dir DIR says where" in err.splitlines()[-1]


def test_what_starts_fresh(typed: Typed) -> None:
    """Fine-tuning lists it; weights for nothing are refused; `weights` of a solver count too."""
    path = typed.file("w.caffemodel", changed(typed.place, _rename))
    cases: list[tuple[list[str | Path], str | None]] = [
        (["--weights", path], None),
        ([], typed.place.solver_text(f'max_iter: 6 weights: "{path}"')),
    ]
    for more, solver in cases:
        code, _, err = typed.train(*more, solver=solver)
        assert code == 0
        assert "weights fit 2 of 3 layers; start from their fillers: conv1" in err
        assert "warning: weights that the net has no layer for: other" in err
        typed.calls.unlink()
    shutil.rmtree(typed.folder / "runs")

    def rename_all(model: Any) -> None:
        for layer in model.layer:
            layer.name += "_other"

    path = typed.file("w.caffemodel", changed(typed.place, rename_all))
    typed.refused(typed.train("--weights", path), "has weights for none of the 3 layers of")


def test_state_and_solver(typed: Typed) -> None:
    """A state whose weights are gone, and one that is past the end."""
    typed.file("s_iter_6.solverstate", small.state([], 6, 0))
    typed.refused(typed.train("--snapshot", "s_iter_6.solverstate"), "its weights start.caffemodel")
    shutil.copy(typed.place.weights, typed.folder / "start.caffemodel")
    typed.refused(typed.train("--resume"), "nothing is left to do")
    code, _, err = typed.train("--resume", solver=typed.place.solver_text("max_iter: 9"))
    assert code == 0
    assert "resuming from s_iter_6.solverstate, iteration 6" in err


def test_an_unknown_score_is_refused_before_the_run(typed: Typed) -> None:
    code, out, err = typed.test("--expect", "topp1=0.5")
    assert (code, out) == (2, "")
    assert f"no score 'topp1' in {typed.place.net}; did you mean 'top1'?" in err
    assert not (typed.folder / "runs").exists()


def test_what_gflags_refuses_is_wrong_input(typed: Typed, place: Place) -> None:
    log = typed.file("flags.log", b"ERROR: illegal value 'x' specified for int32 flag 'level'\n")
    caffe = StandIn(typed.folder)(log=log, then=1)
    code, _, err = typed.run(
        *("test", "--model", place.net, "--weights", place.weights, "--caffe", caffe)
    )
    assert code == 2
    assert "a flag has the value x, which it does not take" in err


def test_snapshots_that_a_training_will_replace(typed: Typed) -> None:
    solver = typed.place.solver_text(prefix=str(typed.folder / "s"))
    _, _, err = typed.train(solver=solver)
    assert "earlier training" not in err
    typed.file("s_iter_3.solverstate", b"")
    _, _, err = typed.train(solver=solver)
    assert "s_iter_3.solverstate and others of an earlier training are there" in err


def test_which_of_two_nets_is_trained(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    there = typed.folder / "there"
    there.mkdir()
    solver = typed.place.solver_text().replace(str(typed.place.net), "net.prototxt")
    (there / "solver.prototxt").write_text(solver)
    (there / "net.prototxt").write_text(typed.place.net.read_text())
    _, _, err = typed.train("--solver", there / "solver.prototxt")
    assert "beside the solver" not in err
    typed.file("net.prototxt", typed.place.net.read_text())
    _, _, err = typed.train("--solver", there / "solver.prototxt")
    told = f"net net.prototxt of this folder is run, as Caffe does, not {there}"
    assert told in err
    typed.file("net.prototxt", "layer { type: 'Dat' }")
    code, _, err = typed.train("--solver", there / "solver.prototxt")
    assert code == 2
    assert told in err


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make, which is not here")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["WEIGHTS=w"], "WEIGHTS= and DATA= need MODEL="),
        (["DATA=d"], "WEIGHTS= and DATA= need MODEL="),
        (["MODEL=m"], "MODEL= needs WEIGHTS="),
    ],
)
def test_make_tests_no_other_weights_than_asked_for(given: list[str], message: str) -> None:
    done = subprocess.run(
        ["make", "-n", "test-accuracy", *given], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr
