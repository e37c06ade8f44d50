"""`sqgen train --base-lr --max-iter --epochs --freeze`: copies with other rates and lengths."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sqgen
from sqgen import NetError, RunError, SqgenError
from sqgen.formats.prototxt import parse
from sqgen.formats.schema import NetParameter
from sqgen.nets.definition import parse_net, parse_solver
from sqgen.nets.shapes import require_shapes
from sqgen.runner.freeze import count_trained, freeze_layers
from sqgen.runner.overrides import SolverOverride

from . import small_training as small
from .conftest import Run
from .small_nets import random_model, save
from .small_runs import Place, StandIn, calls, real_caffe

CONV1, CONV2, IP = 6 * 3 * 9 + 6, 4 * 6 * 9 + 4, 5 * 4 + 5  # parameters of the small net


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def solver_of(run: dict[str, Any]) -> Any:
    return parse_solver((Path(run["folder"]) / "solver.prototxt").read_text())


def net_of(run: dict[str, Any]) -> Any:
    net = NetParameter()
    parse((Path(run["folder"]) / "net.prototxt").read_text(), net, "net")
    return net


def train(place: Place, folder: Path, more: str = "max_iter: 6", **options: Any) -> dict[str, Any]:
    """Train with a stand-in."""
    solver = folder / "solver.prototxt"
    solver.write_text(place.solver_text(more))
    if "caffe" not in options:
        options["caffe"] = StandIn(folder)("train_two_test_nets", calls=folder / "calls")
    return dict(sqgen.train(solver, **options).run)


# Options -> base_lr, max_iter, and the changes in words; 64 records, 8 an update.
SETTINGS: dict[str, tuple[dict[str, Any], float, int, list[str]]] = {
    "none": ({}, 0.01, 6, []),
    "rate": ({"base_lr": 1e-4}, 1e-4, 6, ["base_lr 0.01 -> 0.0001"]),
    "the same rate": ({"base_lr": 0.01}, 0.01, 6, []),
    "length": ({"max_iter": 9}, 0.01, 9, ["max_iter 6 -> 9"]),
    "epochs": ({"epochs": 3}, 0.01, 24, ["max_iter 6 -> 24"]),
    "a part of an epoch": ({"epochs": 0.3}, 0.01, 3, ["max_iter 6 -> 3"]),
    "another batch": ({"epochs": 2, "batch_size": 5}, 0.01, 26, ["max_iter 6 -> 26"]),
    "several GPUs": ({"epochs": 2, "gpu": "0,1"}, 0.01, 8, ["max_iter 6 -> 8"]),
    "both": (
        {"base_lr": 5e-4, "max_iter": 7},
        5e-4,
        7,
        ["base_lr 0.01 -> 0.0005", "max_iter 6 -> 7"],
    ),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_rate_and_length_change_in_the_copy(kind: str, place: Place, folder: Path) -> None:
    options, rate, length, changes = SETTINGS[kind]
    run = train(place, folder, **options)
    solver = solver_of(run)
    assert (solver.base_lr, solver.max_iter) == (np.float32(rate), length)
    assert [change for change in run["changes"] if "batch_size" not in change] == changes
    assert run["max_iter"] == length
    header = (Path(run["folder"]) / "solver.prototxt").read_text()
    assert all(f"# {change}\n" in header for change in changes)
    assert "base_lr: 0.01 " in Path("solver.prototxt").read_text()  # the user's own stays


def test_epochs_count_the_records_of_training(place: Place, folder: Path) -> None:
    """By the data that --data gives, through iter_size."""
    said: list[str] = []
    run = train(place, folder, "max_iter: 6 iter_size: 2", epochs=10, log=said.append)
    assert run["max_iter"] == 40
    assert (
        "training: 8 x iter_size 2 = 16 images an update, 40 updates of 64 records, 10 epochs"
        in (said)
    )
    assert SolverOverride(epochs=1.1).settings(100, 10) == {"max_iter": 11}  # not 12


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two lengths": ({"max_iter": 3, "epochs": 2}, "--max-iter and --epochs: give one"),
    "no epochs": ({"epochs": 0}, "--epochs 0: give a number above 0"),
    "nan epochs": ({"epochs": float("nan")}, "--epochs nan: give a number above 0"),
    "endless epochs": ({"epochs": float("inf")}, "--epochs inf: give a number above 0"),
    "too many epochs": ({"epochs": 2e9}, "16000000000 updates; Caffe takes 2147483647"),
    "no iterations": ({"max_iter": 0}, "--max-iter 0: give 1 to"),
    "too many": ({"max_iter": 1 << 31}, "--max-iter 2147483648: give 1 to 2147483647"),
    "no rate": ({"base_lr": 0}, "--base-lr 0: give a rate above 0, such as 0.0001"),
    "a rate below": ({"base_lr": -0.1}, "--base-lr -0.1: give a rate above 0"),
    "a rate that is 0 in float32": ({"base_lr": 1e-60}, "--base-lr 1e-60: give a rate"),
    "no number": ({"base_lr": float("nan")}, "--base-lr nan: give a rate above 0"),
    "infinite": ({"base_lr": float("inf")}, "--base-lr inf: give a rate above 0"),
    "nothing matches": (
        {"freeze": "conv3"},
        "--freeze conv3: matches no layer with parameters of",
    ),
    "one of two matches": ({"freeze": "conv1,relu1"}, "--freeze relu1: matches no layer with"),
    "everything": (
        {"freeze": ["conv*", "ip"]},
        "--freeze conv*,ip: freezes all 3 layers of",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_contradicts_is_refused(kind: str, place: Place, folder: Path) -> None:
    options, message = REFUSED[kind]
    with pytest.raises(SqgenError) as caught:
        train(place, folder, **options)
    assert message in str(caught.value)
    assert not (folder / "runs").exists()


def test_epochs_need_records_that_can_be_counted(place: Place, folder: Path) -> None:
    dummy = (
        'layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {'
        " shape { dim: 4 dim: 3 dim: 12 dim: 10 } shape { dim: 4 } } }"
    )
    (folder / "net.prototxt").write_text(small.net(inputs=dummy))
    text = place.solver_text().replace(str(place.net), "net.prototxt")
    Path("solver.prototxt").write_text(text)
    with pytest.raises(SqgenError, match="--epochs 2: the net's training data can't be counted"):
        sqgen.train("solver.prototxt", epochs=2, caffe="true")


def test_a_solver_without_a_length(place: Place, folder: Path) -> None:
    """What the option gives is not warned of as missing."""
    said: list[str] = []
    text = place.solver_text("power: 1").replace("fixed", "poly")
    Path("solver.prototxt").write_text(text)
    caffe = StandIn(folder)("train_two_test_nets")
    run = sqgen.train("solver.prototxt", max_iter=5, caffe=caffe, log=said.append).run
    assert run["changes"] == ["max_iter unset -> 5"]
    assert not any("without max_iter" in line for line in said)
    sqgen.train("solver.prototxt", caffe=caffe, log=said.append, run_dir="other")
    assert any("lr_policy poly without max_iter" in line for line in said)


def test_a_training_that_options_shorten_is_tested_at_its_end(place: Place, folder: Path) -> None:
    said: list[str] = []
    more = "max_iter: 1000 test_interval: 100 test_iter: 4"
    train(place, folder, more, epochs=2, log=said.append)
    assert "in the copy: test_interval 100 -> 16" in said
    assert not any("is above" in line or "last test" in line for line in said)
    said.clear()
    train(place, folder, more.replace("1000", "50"), log=said.append)
    (line,) = [line for line in said if "test_interval" in line]
    assert "test_interval 100 is above max_iter 50: the trained weights get no score; set" in line
    said.clear()
    train(place, folder, more, max_iter=100, log=said.append)
    assert not any("test_interval" in line or "last test" in line for line in said)
    train(place, folder, more, max_iter=250, log=said.append)
    (line,) = [line for line in said if "test_interval" in line or "last test" in line]
    assert line.endswith(
        "250 updates of 64 records, 31.2 epochs; the last test is at iteration 200"
    )


def specs(run: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Layer -> (lr_mult, decay_mult) of each parameter blob."""
    return {
        layer.name: [(spec.lr_mult, spec.decay_mult) for spec in layer.param]
        for layer in net_of(run).layer
        if layer.param
    }


@pytest.mark.parametrize(
    ("freeze", "layers", "trained"),
    [
        ("conv1", ["conv1"], CONV2 + IP),
        ("conv?", ["conv1", "conv2"], IP),
        ("conv[12]", ["conv1", "conv2"], IP),
        ("ip, conv2", ["conv2", "ip"], CONV1),
        (["conv2", "ip"], ["conv2", "ip"], CONV1),
        ("[!i]*", ["conv1", "conv2"], IP),
    ],
)
def test_frozen_layers(
    freeze: Any, layers: list[str], trained: int, place: Place, folder: Path
) -> None:
    said: list[str] = []
    run = train(place, folder, freeze=freeze, weights=place.weights, log=said.append)
    assert specs(run) == {name: [(0, 0), (0, 0)] for name in layers}
    assert (run["frozen"], run["trained_parameters"]) == (layers, trained)
    total = CONV1 + CONV2 + IP
    assert f"frozen: {len(layers)} of 3 layers; {trained} of {total} parameters train" in said
    assert run["changes"] == [f"lr_mult 0 and decay_mult 0: {', '.join(layers)}"]
    assert not any("fillers" in line for line in said)
    assert train(place, folder)["trained_parameters"] == total


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("fire2", "; did you mean 'fire2/*'?"),
        ("fire[23]", "; did you mean 'fire[23]/*'?"),
        ("fire2/squeze1x1", "; the nearest are fire2/squeeze1x1"),
        ("pool1", "; it has conv1, fire2/squeeze1x1, fire2/expand1x1 and "),
    ],
)
def test_a_pattern_that_matches_nothing_names_the_nearest(pattern: str, hint: str) -> None:
    net = parse_net(sqgen.build(sqgen.preset("v1.1"), "trainval"), "n.prototxt")
    shapes = require_shapes(net, "TRAIN", (3, 256, 256))
    with pytest.raises(NetError) as caught:
        freeze_layers(net, shapes, [pattern])
    assert hint in str(caught.value)


def test_names_with_brackets_match_themselves() -> None:
    text = small.net().replace('"ip"', '"ip[0]"')
    net = parse_net(text)
    shapes = require_shapes(net, "TRAIN", small.IMAGE)
    assert freeze_layers(net, shapes, ["ip[0]"]).layers == ("ip[0]",)


def test_a_blob_that_is_shared_freezes_everywhere() -> None:
    """Caffe refuses a shared blob with two rates."""
    shared = 'param { name: "w" lr_mult: 1 } param { lr_mult: 2 }'
    scores = small.loss() + small.inner_product("b", "pool2", shared) + small.loss("b", "loss_b")
    net = parse_net(small.net(ip=shared, scores=scores))
    shapes = require_shapes(net, "TRAIN", small.IMAGE)
    frozen = freeze_layers(net, shapes, ["ip"])
    assert frozen.layers == ("ip",)
    rates = {x.name: [spec.lr_mult for spec in x.param] for x in frozen.net.param.layer if x.param}
    assert rates == {"ip": [0, 0], "b": [0, 2]}
    assert all(spec.lr_mult for layer in net.param.layer for spec in layer.param)  # as given
    assert count_trained(shapes, frozen.net) == CONV1 + CONV2 + 5
    assert count_trained(shapes, net) == CONV1 + CONV2 + IP + 5


def test_frozen_layers_without_weights_are_warned_of(place: Place, folder: Path) -> None:
    said: list[str] = []
    train(place, folder, freeze="conv*", log=said.append)
    assert "warning: frozen layers keep the values of their fillers: conv1, conv2" in said
    model = small.start(parse_net(place.net.read_text()))
    del model.layer[0]
    (folder / "part.caffemodel").write_bytes(model.SerializeToString())
    said.clear()
    train(place, folder, freeze="conv*", weights="part.caffemodel", log=said.append)
    assert "warning: frozen layers keep the values of their fillers: conv1" in said


BATCH_NORM = small.batch_norm("conv1") + small.RELU1 + small.POOL1


@pytest.mark.parametrize("engine", ["torch", "caffe"])
@pytest.mark.usefixtures("forked_engine")
def test_frozen_layers_stay_bit_for_bit(
    engine: str, place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics of BatchNorm too, and with weight decay."""
    if engine == "caffe":
        real_caffe(monkeypatch)
    inputs = small.data("TRAIN", 8, small.RANDOM) + small.data("TEST", 16, small.RANDOM)
    text = place.here(small.net(inputs=inputs, middle=BATCH_NORM))
    Path("net.prototxt").write_text(text)
    save(random_model(text), folder / "w.caffemodel")
    solver = place.solver_text("max_iter: 2 momentum: 0.9 weight_decay: 0.1")
    Path("solver.prototxt").write_text(solver.replace(str(place.net), "net.prototxt"))
    options: dict[str, Any] = {"weights": "w.caffemodel", "engine": engine, "cpu": True}
    sqgen.train("solver.prototxt", freeze="conv1*", max_iter=5, base_lr=0.001, **options)
    before = small.weights(Path("w.caffemodel"))
    after = small.weights(Path("s_iter_5.caffemodel"))
    for name, blobs in ((name, blobs) for name, blobs in before.items() if blobs):
        same = all(map(np.array_equal, blobs, after[name]))
        assert same == name.startswith("conv1"), name


@pytest.mark.usefixtures("forked_engine")
def test_resuming_keeps_the_changes(place: Place, folder: Path) -> None:
    """The command that goes on has them, and ends as the whole training."""
    solver = folder / "solver.prototxt"
    more = "max_iter: 1000 snapshot: 5 momentum: 0.9"
    options: dict[str, Any] = {"epochs": 2, "base_lr": 1e-3, "freeze": "conv1", "cpu": True}
    solver.write_text(place.solver_text(more, "whole"))
    sqgen.train(solver, engine="torch", weights=place.weights, **options)
    solver.write_text(place.solver_text(more))
    sqgen.train(solver, engine="torch", weights=place.weights, **{**options, "epochs": 1})
    run = sqgen.train(solver, engine="torch", resume=True, **options).run
    assert run["started_from"] == "s_iter_8.solverstate"
    assert (run["max_iter"], run["frozen"]) == (16, ["conv1"])
    whole, resumed = (small.weights(Path(f"{x}_iter_16.caffemodel")) for x in ("whole", "s"))
    assert all(
        np.array_equal(a, b) for n in whole for a, b in zip(whole[n], resumed[n], strict=True)
    )


def test_the_command_to_go_on_has_the_changes(place: Place, folder: Path) -> None:
    caffe = StandIn(folder)("train_sighup_sigint", then="SIGKILL")
    with pytest.raises(RunError) as caught:
        train(place, folder, epochs=2, base_lr=1e-5, freeze=["conv1", "ip"], caffe=caffe)
    assert "--base-lr 1e-05 --epochs 2 --freeze conv1 --freeze ip" in str(caught.value)


def test_a_dry_run_says_all_and_starts_nothing(place: Place, folder: Path, sqgen: Run) -> None:
    (folder / "solver.prototxt").write_text(place.solver_text())
    caffe = StandIn(folder)("train_two_test_nets", calls=folder / "calls")
    words = ["train", "--solver", "solver.prototxt", "--caffe", caffe, "--weights"]
    words += [str(place.weights), "--base-lr", "0.0001", "--epochs", "4", "--freeze"]
    done = sqgen(*words, "conv1", "--freeze", "conv2", "--dry-run")
    assert done.returncode == 0
    assert re.search(r"^\S+ .* train --solver=runs/", done.stdout)
    for line in (
        "in the copy: base_lr 0.01 -> 0.0001",
        "in the copy: max_iter 6 -> 32",
        "in the copy: lr_mult 0 and decay_mult 0: conv1, conv2",
        f"frozen: 2 of 3 layers; {IP} of {CONV1 + CONV2 + IP} parameters train",
        "training: 8 images an update, 32 updates of 64 records, 4 epochs",
    ):
        assert f"sqgen: {line}\n" in done.stderr
    as_json = json.loads(sqgen(*words, "conv1", "--dry-run", "--json").stdout)
    assert as_json["command"][1:3] == shlex.split(done.stdout)[1:3]
    assert not (folder / "runs").exists()
    assert not (folder / "calls").exists()
    done = sqgen(*words, "conv1", "--json")
    assert json.loads(done.stdout)["run"]["frozen"] == ["conv1"]
    assert len(calls(folder / "calls")) == 1
