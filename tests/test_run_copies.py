"""Copies of nets and solvers: the fields that overrides change, and all others unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import sqgen
from sqgen import NetError, parse_net
from sqgen.formats.prototxt import to_text
from sqgen.nets.definition import parse_solver

from . import small_training as small
from .small_runs import Place, StandIn, calls

ELSEWHERE = "/home/of/somebody/else"
TWO = (
    small.data("TEST", 4, rule='stage: "a"') + small.data("TEST", 16, rule='stage: "b"')
)  # fmt: skip
STATES = 'test_state { stage: "a" } test_state { stage: "b" } '


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


class Runs:
    """Runs with a stand-in in an empty folder; `calls` are the arguments that reached it."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder, self.place = folder, place
        self._caffe = StandIn(folder)

    def test(self, net: str, **options: Any) -> dict[str, Any]:
        (self.folder / "n.prototxt").write_text(net)
        caffe = self._caffe("test_digits", calls=self.folder / "calls")
        how = {"caffe": caffe, "run_dir": self._new(), **options}
        return dict(sqgen.test("n.prototxt", self.place.weights, **how).run)

    def train(self, solver: str, file: str = "solver.prototxt", **options: Any) -> dict[str, Any]:
        (self.folder / file).write_text(solver)
        caffe = self._caffe("train_two_test_nets", calls=self.folder / "calls")
        how = {"caffe": caffe, "run_dir": self._new(), **options}
        return dict(sqgen.train(file, **how).run)

    def _new(self) -> Path:
        return self.folder / f"run{len(list(self.folder.glob('run*')))}"

    @property
    def call(self) -> list[str]:
        """The arguments of the last one."""
        return calls(self.folder / "calls")[-1]

    def file(self, name: str) -> str:
        """A file of the last one's folder."""
        return (sorted(self.folder.glob("run*"))[-1] / name).read_text()


@pytest.fixture
def runs(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(tmp_path)
    return Runs(tmp_path, place)


def sources(net: str) -> list[str]:
    return re.findall(r'source: "(.*?)"', net)


def test_nothing_is_changed_unasked(runs: Runs, place: Place) -> None:
    """The copy is the net, byte for byte: comments, spaces, what stands behind the last line."""
    text = f"# first\n{place.net.read_text()}\n\n   # last, without a newline"
    run = runs.test(text, iterations=4)
    assert runs.file("net.prototxt") == text
    assert run["changes"] == []
    assert runs.call[:3] == [
        "test",
        f"--model={run['folder']}/net.prototxt",
        f"--weights={place.weights}",
    ]
    runs.test(text)
    assert runs.file("net.prototxt") == text  # 64 records, batch 16
    runs.test(text.replace("\n", "\r\n"))
    assert runs.file("net.prototxt").splitlines() == text.splitlines()


def test_paths_of_another_machine(runs: Runs, place: Place) -> None:
    text = place.net.read_text().replace(str(place.data), ELSEWHERE)
    run = runs.test(text, data=place.data)
    copy = runs.file("net.prototxt")
    assert sources(copy) == [ELSEWHERE, str(place.data)]  # TRAIN is not read
    assert run["changes"] == [f"data (TEST): source {ELSEWHERE} -> {place.data}"]
    assert f"# {run['changes'][0]}" in copy
    mean = place.folder / "mean.binaryproto"
    mean.write_bytes(b"")
    text = text.replace("mean_value: 120", 'mean_file: "/elsewhere/mean.binaryproto"')
    run = runs.test(text, data=place.data, mean=mean)
    assert len(run["changes"]) == 2
    assert f'mean_file: "{mean}"' in runs.file("net.prototxt")


def test_a_leveldb_of_another_machine(runs: Runs, place: Place) -> None:
    """What is given is an LMDB, whatever the net read."""
    text = place.net.read_text().replace(str(place.data), ELSEWHERE).replace("LMDB", "LEVELDB")
    runs.test(text, data=place.data)
    assert runs.file("net.prototxt").count("backend: LMDB") == 1


def test_batch_size(runs: Runs, place: Place) -> None:
    """The batch that was asked for; a caffe gets one that divides."""
    assert runs.test(place.net.read_text(), batch_size=4)["coverage"]["batch"] == 4
    assert "--iterations=16" in runs.call
    run = runs.test(place.net.read_text(), batch_size=24)
    assert run["changes"] == []
    assert (run["coverage"]["batch"], run["coverage"]["iterations"]) == (16, 4)


def test_old_nets(runs: Runs, place: Place) -> None:
    """V1's `layers` with enum types."""
    text = place.net.read_text()
    for name in ("Data", "Convolution", "ReLU", "Pooling", "InnerProduct", "Accuracy"):
        old = {"ReLU": "RELU", "InnerProduct": "INNER_PRODUCT"}.get(name, name.upper())
        text = text.replace(f'type: "{name}"', f"type: {old}")
    text = text.replace('type: "SoftmaxWithLoss"', "type: SOFTMAX_LOSS").replace(
        "layer {", "layers {"
    )
    runs.test(text)
    assert runs.file("net.prototxt") == text
    runs.test(text.replace(str(place.data), ELSEWHERE), data=place.data)
    assert f'source: "{place.data}"' in runs.file("net.prototxt")


def test_a_layer_of_both_phases(runs: Runs, place: Place) -> None:
    both = place.here(small.data("TEST", 16)).replace("include { phase: TEST  }", "")
    assert "include" not in both
    net = place.here(small.net(inputs=both)).replace(str(place.data), ELSEWHERE)
    runs.test(net, data=place.data)
    assert sources(runs.file("net.prototxt")) == [str(place.data)]
    (runs.folder / "n.prototxt").write_text(net)
    solver = place.solver_text("max_iter: 6 test_iter: 4 test_interval: 3").replace(
        str(place.net), "n.prototxt"
    )
    runs.train(solver, data=place.data)
    with pytest.raises(NetError, match="layer 'data' reads in both phases; give it an include"):
        runs.train(solver, data=place.data, val_data=place.data)


def test_lists_are_lists(runs: Runs, place: Place) -> None:
    net = place.here(small.net(inputs=small.data("TRAIN", 8) + small.data("TEST", 16)))
    with pytest.raises(NetError, match="layer 'data' reads an LMDB, a folder"):
        runs.test(net, data=place.folder / "list.txt")
    image = re.sub(
        r"data_param \{.*?\}",
        f'image_data_param {{ source: "{ELSEWHERE}" batch_size: 4'
        " new_height: 12 new_width: 10 shuffle: true }",
        net.replace('type: "Data"', 'type: "ImageData"'),
    )
    lines = (place.folder / "list.txt").read_text().replace("../", f"{place.folder}/")
    (runs.folder / "list.txt").write_text(lines)
    run = runs.test(image, data="list.txt")
    assert run["data"][0]["digest"].startswith("list-12-")
    assert "data (TEST): no shuffle" in run["changes"]
    with pytest.raises(NetError, match="layer 'data' reads a list of images, a file"):
        runs.test(image, data=place.data)


def test_data_that_fits_no_layer(runs: Runs, place: Place) -> None:
    net = place.net.read_text()
    two = net + re.sub('(top|name): "', r'\1: "other_', place.here(small.data("TEST", 16)))
    with pytest.raises(NetError, match=r"has several data layers in TEST \(data, other_data\)"):
        runs.test(two, data=place.data)
    deploy = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }'
    with pytest.raises(NetError, match="it is a deploy net, give the train_val"):
        runs.test(deploy, data=place.data)
    assert not list(runs.folder.glob("run*"))


def solver_of(runs: Runs) -> Any:
    return parse_solver(runs.file("solver.prototxt"), "solver")


def test_a_solver_of_another_machine(runs: Runs, place: Place) -> None:
    """Its net beside it, its data given, on the CPU: what is not asked for stays."""
    net = place.net.read_text().replace(str(place.data), ELSEWHERE)
    (runs.folder / "there").mkdir()
    (runs.folder / "there" / "net.prototxt").write_text(net)
    text = (
        'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 6 solver_mode: GPU'
        " test_iter: 1000 test_interval: 3 snapshot: 3"
    )
    run = runs.train(text, "there/solver.prototxt", data=place.data, val_data=place.data, cpu=True)
    solver = solver_of(runs)
    assert solver.net == f"{run['folder']}/net.prototxt"
    assert sources(runs.file("net.prototxt")) == [str(place.data)] * 2
    assert list(solver.test_iter) == [4]
    assert "solver_mode GPU -> CPU" in run["changes"]
    assert "test_iter 1000 -> 4" in run["changes"]
    # Where Caffe would have put it, had it been given the solver itself.
    assert solver.snapshot_prefix == "there/solver"
    assert runs.call == ["train", f"--solver={run['folder']}/solver.prototxt"]


def test_train_and_test_nets(runs: Runs, place: Place) -> None:
    """Files of the same name, and the solver's name, get names of their own."""
    for folder in ("a", "b"):
        (runs.folder / folder).mkdir()
        (runs.folder / folder / "solver.prototxt").write_text(
            place.net.read_text().replace(str(place.data), f"/{folder}")
        )
    text = (
        place.solver_text("max_iter: 6 test_iter: 4 test_interval: 3")
        .replace("net:", "train_net:")
        .replace(str(place.net), "a/solver.prototxt")
    )
    runs.train(f'{text} test_net: "b/solver.prototxt"', data=place.data, val_data=place.data)
    solver = solver_of(runs)
    names = [Path(solver.train_net).name, Path(solver.test_net[0]).name]
    assert len({*names, "solver.prototxt"}) == 3
    assert sources(runs.file(names[0])) == [str(place.data), "/a"]
    assert sources(runs.file(names[1])) == ["/b", str(place.data)]


def test_several_test_nets(runs: Runs, place: Place) -> None:
    """One net tested in two states: each gets its own test_iter, with its own batch."""
    net = place.here(small.net(inputs=small.data("TRAIN", 8) + TWO))
    (runs.folder / "n.prototxt").write_text(net)
    text = place.solver_text("max_iter: 6 test_iter: 4 test_iter: 4 test_interval: 3 " + STATES)
    told: list[str] = []
    text = text.replace(str(place.net), "n.prototxt")
    runs.train(text, log=told.append)
    assert any("test net 0: test_iter 4 x batch 4 = 16 leaves out 48 of 64" in x for x in told)
    assert list(solver_of(runs).test_iter) == [16, 4]
    assert not any("test net 1" in line for line in told)
    run = runs.train(text, val_data=place.data)
    assert list(solver_of(runs).test_iter) == [16, 4]
    assert [test["batch"] for test in run["tests"]] == [4, 16]
    assert run["changes"] == ["test_iter 4, 4 -> 16, 4"]


# Batch of the net, test_iter -> those of the copy, for 64 records; and what is said.
TESTS = {
    "right": (16, 4, 16, 4, ""),
    "wraps": (16, 6, 16, 4, "test_iter 6 x batch 16 = 96 counts 32 of 64 images twice; 4 covers"),
    "falls short": (16, 1, 16, 4, "test_iter 1 x batch 16 = 16 leaves out 48 of 64 images; 4"),
    "no divisor": (50, 2, 32, 2, "counts 36 of 64 images twice; a batch that divides it counts"),
    "a batch too large": (100, 1, 64, 1, "counts 36 of 64 images twice"),
}


@pytest.mark.parametrize("kind", TESTS)
def test_a_test_iter_of_another_set_is_corrected(kind: str, runs: Runs, place: Place) -> None:
    """In the copies, by the records that are there."""
    batch, test_iter, fitting, iterations, wanted = TESTS[kind]
    net = place.here(small.net(inputs=small.data("TRAIN", 8) + small.data("TEST", batch)))
    (runs.folder / "n.prototxt").write_text(net)
    text = place.solver_text(f"max_iter: 6 test_iter: {test_iter} test_interval: 3")
    text = text.replace(str(place.net), "n.prototxt")
    said: list[str] = []
    run = runs.train(text, log=said.append)
    assert list(solver_of(runs).test_iter) == [iterations]
    assert [test["batch"] for test in run["tests"]] == [fitting]
    assert re.findall(r"batch_size: (\d+)", runs.file("n.prototxt")) == ["8", str(fitting)]
    remarks = [line for line in said if line.startswith("warning: test net 0: ")]
    assert len(remarks) == bool(wanted)
    for line in remarks:
        assert wanted in line
        assert line.endswith("; corrected, unless --keep-test-iter is given")
    assert (f"in the copy: test_iter {test_iter} -> {iterations}" in said) == (
        test_iter != iterations
    )
    said.clear()
    runs.train(text, log=said.append, keep_test_iter=True)
    assert list(solver_of(runs).test_iter) == [test_iter]
    assert runs.file("n.prototxt") == net
    remarks = [line for line in said if line.startswith("warning: test net 0: ")]
    assert len(remarks) == bool(wanted)
    assert not any("corrected" in line for line in remarks)


def test_a_batch_that_training_shares_stays(runs: Runs, place: Place) -> None:
    """One data layer for both phases: only test_iter is fitted, and the rest is said."""
    inputs = small.data("TRAIN", 50).replace("include { phase: TRAIN  }", "")
    (runs.folder / "n.prototxt").write_text(place.here(small.net(inputs=inputs)))
    text = place.solver_text("max_iter: 6 test_iter: 9 test_interval: 3")
    said: list[str] = []
    runs.train(text.replace(str(place.net), "n.prototxt"), log=said.append)
    assert list(solver_of(runs).test_iter) == [2]
    assert re.findall(r"batch_size: (\d+)", runs.file("n.prototxt")) == ["50"]
    wraps = "warning: test net 0: test_iter 2 x batch 50 = 100 counts 36 of 64 images twice"
    assert f"{wraps}; a batch that divides it counts each once" in said


def test_nets_in_the_solver(runs: Runs, place: Place) -> None:
    """They become files of their own, on which overrides work."""
    inline = f"net_param {{ {place.net.read_text()} }}"
    text = re.sub(r'net: ".*?"', lambda match: inline, place.solver_text())
    runs.train(text)
    solver = solver_of(runs)
    assert not solver.HasField("net_param")
    assert sources(Path(solver.net).read_text()) == [str(place.data)] * 2
    other = runs.folder / "other"
    other.symlink_to(place.data)
    runs.train(text, data=other)
    assert sources(Path(solver_of(runs).net).read_text()) == [str(other), str(place.data)]


def test_several_nets_in_the_solver(runs: Runs, place: Place) -> None:
    """The net to train was taken for each of them."""
    nets = [place.net.read_text().replace('"small"', f'"{name}"') for name in ("a", "b", "c")]
    fields = ("train_net_param", "test_net_param", "test_net_param")
    inline = "".join(f"{field} {{ {net} }} " for field, net in zip(fields, nets, strict=True))
    inline += "test_iter: 4 test_iter: 4 test_interval: 3 "
    text = re.sub(r'net: ".*?"', lambda match: inline, place.solver_text())
    runs.train(text)
    solver = solver_of(runs)
    names = [parse_net(Path(path).read_text()).param.name for path in solver.test_net]
    assert names == ["b", "c"]
    assert Path(solver.train_net).name == "train_net_param.prototxt"


def test_gpus_reach_the_command(runs: Runs, place: Place) -> None:
    told: list[str] = []
    runs.test(place.net.read_text(), gpu="0")
    assert runs.call[-1] == "--gpu=0"
    run = runs.train(place.solver_text(), gpu="0,1", log=told.append, arguments=["-v=1", "-x"])
    assert runs.call[-3:] == ["--gpu=0,1", "-v=1", "-x"]
    assert run["images_an_update"] == 16
    assert any("8 x 2 GPUs = 16 images an update" in line for line in told)
    runs.train(place.solver_text("max_iter: 6 iter_size: 3"), gpu="1", log=told.append)
    assert any("8 x iter_size 3 = 24 images an update" in line for line in told)


def test_the_solver_means_the_same(runs: Runs, place: Place) -> None:
    """Fields, odd strings and numbers survive the copy."""
    text = place.solver_text(
        "max_iter: 6 weight_decay: 0.0002 momentum: 0.9 stepvalue: 3 stepvalue: 5 delta: 1e-8"
        ' type: "Nesterov" regularization_type: "L1" display: 2 average_loss: 3'
    )
    runs.train(text)
    before, after = parse_solver(text, "a"), solver_of(runs)
    after.net = before.net
    assert to_text(after) == to_text(before)
