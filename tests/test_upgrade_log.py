"""Old files are upgraded with the lines that Caffe logs: its words, order, severity and places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sqgen.formats.prototxt import parse
from sqgen.formats.schema import NetParameter

from . import small_training as small
from .small_training import START, engine, write_data

STAMP = re.compile(r"^([IWEF])\d{4,8} [\d:.]+ +\d+ ")
FUTURE = "Note that future Caffe releases will "
OLD = "Attempting to upgrade input file specified using deprecated "
DONE = "Successfully upgraded file specified using deprecated "
# Recorded from BVLC Caffe 9b89154; F is the file.
V0 = [
    f"I upgrade_proto.cpp:28] {OLD}V0LayerParameter: F",
    f"I upgrade_proto.cpp:36] {DONE}V0LayerParameter",
    f"W upgrade_proto.cpp:39] {FUTURE}not support V0NetParameter; use"
    " ./build/tools/upgrade_net_proto_text for prototxt and"
    " ./build/tools/upgrade_net_proto_binary for model weights upgrade this and any other net"
    " protos to the new format.",
]
TRANSFORMS = [
    f"I upgrade_proto.cpp:46] {OLD}transformation parameters: F",
    f"I upgrade_proto.cpp:49] {DONE}data transformation parameters.",
    f"W upgrade_proto.cpp:51] {FUTURE}only support transform_param messages for transformation"
    " fields.",
]
V1 = [
    f"I upgrade_proto.cpp:55] {OLD}V1LayerParameter: F",
    f"I upgrade_proto.cpp:63] {DONE}V1LayerParameter",
]
INPUTS = [
    f"I upgrade_proto.cpp:69] {OLD}input fields: F",
    f"I upgrade_proto.cpp:72] {DONE}input fields.",
    f"W upgrade_proto.cpp:74] {FUTURE}only support input layers and not input fields.",
]
BATCH_NORM = [
    "I upgrade_proto.cpp:79] Attempting to upgrade batch norm layers using deprecated params: F",
    "I upgrade_proto.cpp:82] Successfully upgraded batch norm layers using deprecated params.",
]
SOLVER_TYPE = [
    f"I upgrade_proto.cpp:1084] {OLD}'solver_type' field (enum)': F",
    f"I upgrade_proto.cpp:1091] {DONE}'solver_type' field (enum) to 'type' field (string).",
    f"W upgrade_proto.cpp:1093] {FUTURE}only support 'type' field (string) for a solver's type.",
]

INPUT = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
NETS = {
    "V0": (
        INPUT + 'layers { layer { name: "ip" type: "innerproduct" num_output: 2 } bottom: "data"'
        ' top: "ip" }',
        [*V0, *V1, *INPUTS],
    ),
    "V1": (
        INPUT + 'layers { name: "ip" type: INNER_PRODUCT inner_product_param { num_output: 2 }'
        ' bottom: "data" top: "ip" }',
        [*V1, *INPUTS],
    ),
    "inputs": (
        INPUT + 'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }',
        INPUTS,
    ),
    "multipliers of BatchNorm": (
        INPUT + 'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn"'
        " param { lr_mult: 1 } param { lr_mult: 0 } param { } }",
        [*INPUTS, *BATCH_NORM],
    ),
    "multipliers of BatchNorm that are 0": (
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }'
        'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn"'
        " param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } }",
        BATCH_NORM,
    ),
    "nothing": (
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }'
        'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" param { lr_mult: 0 } }',
        [],
    ),
}


def unstamped(log: str, *, ours: bool) -> list[str]:
    """The lines of a log, without their stamps; sqgen's own are left out with `ours`."""
    lines = [STAMP.sub(r"\1 ", line) for line in log.splitlines() if STAMP.match(line)]
    return [line for line in lines if not (ours and ".py:" in line)]


def of(file: str, lines: list[str]) -> list[str]:
    return [
        f"{line.removesuffix(': F')}: {file}" if line.endswith(": F") else line for line in lines
    ]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("kind", NETS)
def test_a_net(
    kind: str,
    live: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first lines, behind the device."""
    text, wanted = NETS[kind]
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(text)
    words = ["time", "--model=net.prototxt", "--iterations=1"]
    if live:
        log = small.caffe(words, tmp_path).stderr
    else:
        code, log = engine(words, capsys)
        assert code == 0, log
        assert "upgraded" not in "".join(line for line in log.splitlines() if ".py:" in line)
    lines = unstamped(log, ours=not live)
    end = next(i for i, line in enumerate(lines) if "Initializing net from parameters" in line)
    assert lines[:end] == ["I caffe.cpp:343] Use CPU.", *of("net.prototxt", wanted)]


def make_training(folder: Path, old: str) -> Path:
    """A V1 net, with the transformation in its data layers, as an old solver trains it."""
    write_data(folder)
    place = folder / "run"
    place.mkdir()
    layers = "".join(
        f'layers {{ name: "data" type: DATA top: "data" top: "label" include {{ phase: {phase} }}'
        f' data_param {{ source: "{small.DATA}" backend: LMDB batch_size: 8 scale: 0.0625 }} }}\n'
        for phase in ("TRAIN", "TEST")
    )
    layers += (
        'layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" inner_product_param {'
        f' num_output: {small.CLASSES} weight_filler {{ type: "xavier" }} }} }}\n'
        'layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" top: "loss" }\n'
    )
    (place / "net.prototxt").write_text(layers)
    model = NetParameter()
    parse(layers, model, "net")
    del model.layers[:2]
    blobs = model.layers[0].blobs
    blobs.add(num=1, channels=1, height=small.CLASSES, width=360).data.extend([0.01] * 1800)
    blobs.add(num=1, channels=1, height=1, width=small.CLASSES).data.extend([0.0] * 5)
    (place / START).write_bytes(model.SerializeToString())
    (place / "solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 1 test_iter: 1'
        f' test_iter: 1 test_interval: 1 solver_mode: CPU snapshot_prefix: "s" {old}'
    )
    return place


@pytest.mark.parametrize("live", [False, True])
def test_a_training(
    live: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The solver, its nets where Caffe reads each, and the weights of each net."""
    place = make_training(tmp_path, "solver_type: NESTEROV momentum: 0.9")
    monkeypatch.chdir(place)
    words = ["train", "--solver=solver.prototxt", f"--weights={START}"]
    if live:
        log = small.caffe(words, place).stderr
    else:
        code, log = engine(words, capsys)
        assert code == 0, log
    net, weights = of("net.prototxt", [*TRANSFORMS, *V1]), of(START, V1)
    finetuning = [f"I solver.cpp:72] Finetuning from {START}", *weights]
    marks = ("upgrade_proto", "solver.cpp:102", "solver.cpp:190", "solver.cpp:72", "caffe.cpp:197")
    lines = [line for line in unstamped(log, ours=not live) if any(mark in line for mark in marks)]
    created = "I solver.cpp:190] Creating test net (#{}) specified by net file: net.prototxt"
    assert lines == [
        *of("solver.prototxt", SOLVER_TYPE),
        "I caffe.cpp:197] Use CPU.",
        "I solver.cpp:102] Creating training net from net file: net.prototxt",
        *net,
        *finetuning,
        *net,
        *net,
        created.format(0),
        *finetuning,
        created.format(1),
        *finetuning,
    ]


@pytest.mark.parametrize("live", [False, True])
def test_a_test_and_a_resume(
    live: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights are upgraded when they are read, before the history is restored."""
    place = make_training(tmp_path, "")
    monkeypatch.chdir(place)
    state = small.state([(small.CLASSES, 360), (small.CLASSES,)], 0, 0)
    Path("s_iter_0.solverstate").write_bytes(state)
    weights = of(START, V1)

    def run(*words: str) -> list[str]:
        if live:
            return unstamped(small.caffe(words, place).stderr, ours=False)
        code, log = engine(words, capsys)
        assert code == 0, log
        return unstamped(log, ours=True)

    tested = run("test", "--model=net.prototxt", f"--weights={START}", "--iterations=1")
    at = tested.index(weights[0])
    assert tested[at - 1].startswith("I net.cpp:257] Network initialization done")
    assert tested[at : at + 3] == [*weights, "I caffe.cpp:281] Running for 1 iterations."]
    resumed = run("train", "--solver=solver.prototxt", "--snapshot=s_iter_0.solverstate")
    at = resumed.index(weights[0])
    assert resumed[at : at + 3] == [*weights, "I sgd_solver.cpp:336] SGDSolver: restoring history"]


def test_a_net_in_a_solver_is_said_to_be_upgraded_by_sqgen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caffe upgrades no such net."""
    place = make_training(tmp_path, "")
    monkeypatch.chdir(place)
    net = Path("net.prototxt").read_text()
    solver = Path("solver.prototxt").read_text()
    Path("solver.prototxt").write_text(
        solver.replace('net: "net.prototxt"', f"net_param {{ {net} }}")
    )
    code, log = engine(["train", "--solver=solver.prototxt"], capsys)
    assert code == 0, log
    assert "upgrade_proto.cpp" not in log
    assert log.count("upgraded V1 layers") == 3
