"""What is looked at before a run: one line, exit code 2, nothing started and no folder made."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import host
from sqgen.formats.caffemodel import fill_blob, read_caffemodel
from sqgen.formats.schema import NetParameter
from sqgen.runner import preflight
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
    "another name": (_rename, "has no weights for 1 of the layers of"),
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


def test_what_is_not_there(typed: Typed) -> None:
    place = typed.place
    net = place.net.read_text()
    refused = typed.refused
    refused(typed.run("test", "--model", "no.prototxt", "--weights", place.weights), "no.prototxt")
    refused(typed.test(weights="no.caffemodel"), "no.caffemodel")
    refused(typed.test(weights=f"{place.weights},no.caffemodel"), "no.caffemodel")
    refused(typed.test(weights=""), "--weights '': names no file")
    refused(typed.test(weights=f"{place.weights},"), "an empty name between commas")
    refused(typed.test(weights=place.net), "net.prototxt")
    refused(typed.test(weights=place.folder), "folder")
    refused(typed.test("--data", "no_lmdb"), "layer 'data': its data no_lmdb is not there")
    refused(typed.test("--data", typed.folder), "layer 'data'")
    refused(typed.test("--data", ""), "data")
    absent = net.replace(str(place.data), "/no/lmdb")
    refused(typed.test(net=absent), "its data /no/lmdb is not there; --data says where it is")
    at = net.rindex(str(place.data))
    typed.file("val.prototxt", net[:at] + net[at:].replace(str(place.data), "/no/val"))
    solver = place.solver_text("max_iter: 6 test_iter: 4 test_interval: 3")
    solver = solver.replace(str(place.net), "val.prototxt")
    refused(typed.train(solver=solver), "/no/val is not there; --val-data says where it is")
    refused(typed.run("train", "--solver", "no.prototxt"), "no.prototxt")
    solver = place.solver_text().replace(str(place.net), "no_net.prototxt")
    refused(typed.train(solver=solver), "its net no_net.prototxt is not there, nor beside it")
    refused(typed.train("--weights", "no.caffemodel"), "no.caffemodel")
    refused(typed.train("--snapshot", "no.solverstate"), "no.solverstate")
    refused(typed.train("--resume"), "no complete snapshot s_iter_*.solverstate")
    refused(typed.train("--mean", "no.binaryproto"), "mean_file no.binaryproto is not there")
    solver = place.solver_text('max_iter: 6 weights: "no.caffemodel"')
    refused(typed.train(solver=solver), "no.caffemodel")


def test_what_is_something_else(typed: Typed) -> None:
    """The wrong file for a flag, as one types it."""
    place = typed.place
    refused = typed.refused
    refused(typed.run("test", "--model", place.solver, "--weights", place.weights), "solver")
    refused(typed.run("train", "--solver", place.net), "net")
    refused(typed.test(net='layer { name: "a" type: "Inpt" }'), "net.prototxt")
    refused(typed.test(net="layer {"), "net.prototxt:")
    refused(typed.test(net=""), "net.prototxt")
    refused(typed.train("--snapshot", place.weights), "caffemodel")
    refused(typed.train("--weights", place.solver), "solver")
    refused(typed.train("--snapshot", "x.solverstate.h5"), "is HDF5, which is not supported")
    refused(typed.train(solver=place.solver_text('max_iter: 6 type: "SDG"')), "did you mean 'SGD'")
    refused(typed.train(solver=place.solver_text("max_iter: 6 test_iter: 4")), "when to test")
    refused(typed.train("--val-data", place.data), "tests nothing; give it test_iter")


def test_a_net_that_caffe_would_refuse(typed: Typed) -> None:
    net = typed.place.net.read_text()
    typed.refused(typed.test(net=net.replace('bottom: "conv2"', 'bottom: "nowhere"')), "nowhere")
    typed.refused(typed.test(net=net.replace("kernel_size: 3", "kernel_size: 300")), "conv1")
    broken = typed.place.solver_text().replace(str(typed.place.net), "net.prototxt")
    typed.file("net.prototxt", net.replace('bottom: "conv2"', 'bottom: "nowhere"'))
    typed.refused(typed.train(solver=broken), "nowhere")
    crop = net.replace("mean_value: 120", "crop_size: 100 mean_value: 120")
    typed.refused(typed.test(net=crop), "crop_size")


def test_data_that_does_not_do(typed: Typed) -> None:
    """Empty, damaged, and other images than the weights are for."""
    make_lmdb(typed.folder / "empty", [])
    typed.refused(typed.test("--data", "empty"), "empty")
    shutil.copytree(typed.place.data, typed.folder / "cut")
    with open(typed.folder / "cut" / "data.mdb", "r+b") as file:
        file.truncate(5000)
    typed.refused(typed.test("--data", "cut"), "cut")
    make_lmdb(typed.folder / "noise", [b"\xff" * 100])
    typed.refused(typed.test("--data", "noise"), "noise")


def test_options_that_do_not_go_together(typed: Typed) -> None:
    refused = typed.refused
    refused(typed.test("--gpu", "0", "--cpu"), "--gpu and --cpu: give one")
    refused(typed.test("--gpu", "zero"), "--gpu zero: write 0, 0,1 or all")
    refused(typed.test("--gpu", ""), "--gpu")
    refused(typed.test("--gpu", "0,"), "--gpu 0,: write 0, 0,1 or all")
    refused(typed.test("--iterations", "0"), "--iterations")
    refused(typed.test("--batch-size", "0"), "--batch-size")
    refused(typed.test("--stall-timeout", "-1"), "--stall-timeout")
    refused(typed.test("--engine", "torch"), "takes no --caffe")
    refused(typed.test("--expect", "top1"), "--expect")
    refused(typed.test("--baseline", "no.json"), "no.json")
    refused(typed.train("--resume", "--weights", typed.place.weights), "give one")
    refused(typed.run("test", "--model", typed.place.net), "--weights")
    refused(typed.run("train", typed.place.solver), "--solver")


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
    assert "warning: the solver writes no snapshots" in err


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
        assert "start from their fillers: conv1" in err
        assert "warning: weights that the net has no layer for: other" in err
        typed.calls.unlink()
    shutil.rmtree(typed.folder / "runs")

    def rename_all(model: Any) -> None:
        for layer in model.layer:
            layer.name += "_other"

    path = typed.file("w.caffemodel", changed(typed.place, rename_all))
    typed.refused(typed.train("--weights", path), "has weights for none of the layers of")


def test_state_and_solver(typed: Typed) -> None:
    """A state whose weights are gone, and one that is past the end."""
    typed.file("s_iter_6.solverstate", small.state([], 6, 0))
    typed.refused(typed.train("--snapshot", "s_iter_6.solverstate"), "its weights start.caffemodel")
    shutil.copy(typed.place.weights, typed.folder / "start.caffemodel")
    typed.refused(typed.train("--resume"), "nothing is left to do")
    code, _, err = typed.train("--resume", solver=typed.place.solver_text("max_iter: 9"))
    assert code == 0
    assert "resuming from s_iter_6.solverstate, iteration 6" in err


def test_what_can_be_known_before_a_test_is(typed: Typed) -> None:
    refused = typed.refused
    refused(typed.test("--expect", "top1=57.5"), "57.5 is more than 1; write 57.5%")
    refused(typed.test("--within", "0.1"), "--within: give --published or --baseline")
    refused(typed.test("--junit", "j.xml"), "--junit and --markdown: nothing to report")
    refused(typed.test("--min", "top1=0.1", "--junit", typed.folder), "is a folder")
    refused(typed.test("extra"), "unexpected 'extra'; options for caffe stand behind --")
    assert not typed.calls.exists()
    assert not (typed.folder / "runs").exists()


def test_scores_are_told_whatever_becomes_of_holding_them(typed: Typed) -> None:
    code, out, err = typed.test("--expect", "topp1=0.5")
    assert code == 2
    assert "0.794613" in out
    assert "no score 'topp1' in the log" in err
    assert "all files are in runs" in err


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
