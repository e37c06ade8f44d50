"""What the engine logs of a net and a training has Caffe's words, order, file and line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from sqgen.engine.solver import Solver

from . import small_training as small
from .small_training import SOLVER, engine, make_run, write_data

STAMP = re.compile(r"^([IWEF])\d{4,8} [\d:.]+ +\d+ ")


def unstamped(log: str) -> list[str]:
    return [STAMP.sub(r"\1 ", line) for line in log.splitlines()]


@pytest.mark.parametrize("name", ["train_two_test_nets", "train_batchnorm"])
def test_a_training_is_set_up_as_caffe_logs_it(
    name: str,
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Line by line, up to the first step, beside BVLC Caffe's own log."""
    recorded = unstamped((shared / "caffe_logs" / f"{name}.log").read_text())
    end = recorded.index("I solver.cpp:57] Solver scaffolding done.") + 1
    start = recorded.index("I solver.cpp:45] Initializing solver from parameters: ") + 1
    stop = next(i for i, line in enumerate(recorded) if i > start and STAMP_FREE.match(line))
    for path in (shared / "parity").glob("*.prototxt"):
        shutil.copy(path, tmp_path)
    shutil.copytree(shared / "parity" / "digits", tmp_path / "digits")
    solver = "\n".join(recorded[start:stop]).replace('level: 0\n  stage: ""', "")
    (tmp_path / "solver.prototxt").write_text(solver)
    for folder in {Path(path).parent for path in re.findall(r'prefix: "(.*?)"', solver)}:
        (tmp_path / folder).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Solver, "solve", lambda solver: None)
    code, log = engine(["train", "--solver=solver.prototxt"], capsys)
    assert code == 0, log
    ours = [line for line in unstamped(log) if ".py:" not in line]  # without sqgen's own
    assert ours[: ours.index(recorded[end - 1]) + 1] == recorded[:end]


STAMP_FREE = re.compile(r"^[IWEF] [\w.]+:\d+\] ")
# In each phase, rules that its state meets and breaks.
RULES = {
    'include { phase: TEST stage: "a" }': (
        "net.cpp:296] The NetState phase (0) differed from the phase (1)",
        "net.cpp:332] The NetState did not contain stage 'a'",
    ),
    "include { min_level: 1 }": (
        "net.cpp:306] The NetState level (0) is above the min_level (1)",
        "net.cpp:306] The NetState level (0) is above the min_level (1)",
    ),
    "include { max_level: -1 }": (
        "net.cpp:316] The NetState level (0) is above the max_level (-1)",
        "net.cpp:316] The NetState level (0) is above the max_level (-1)",
    ),
    'exclude { stage: "b" } exclude { not_stage: "b" }': (
        "net.cpp:332] The NetState did not contain stage 'b'",
        "net.cpp:332] The NetState did not contain stage 'b'",
    ),
}


def test_lines_of_rules_and_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that no recorded log has, as the lines of Caffe's source are numbered."""
    write_data(tmp_path)
    extra = "".join(
        f'layer {{ name: "r{number}" type: "ReLU" bottom: "ip" top: "r{number}" {rules} }}\n'
        for number, rules in enumerate(RULES)
    )
    again = small.convolution("again", "pool1", 4, 'param { name: "w" }')
    text = small.net(conv2='param { name: "w" }', scores=small.loss() + again + extra)
    solver = SOLVER + (
        "max_iter: 3 display: 1 base_lr: 0.01 lr_policy: 'multistep' gamma: 0.5 stepvalue: 1"
        " clip_gradients: 0.001 test_iter: 1 test_interval: 2 test_compute_loss: true"
    )
    run = make_run(tmp_path, "run", text, solver)
    monkeypatch.chdir(run)
    code, log = engine(["train", "--solver=solver.prototxt"], capsys)
    assert code == 0, log
    lines = unstamped(log)
    for number, reasons in enumerate(RULES.values()):
        found = [
            line for line in lines if line.endswith(f" specified by a rule in layer r{number}")
        ]
        wanted = [f"I {reason} specified by a rule in layer r{number}" for reason in reasons]
        assert found == wanted
    for place, words in (
        ("sgd_solver.cpp:50", "MultiStep Status: Iteration 1, step = 1"),
        ("sgd_solver.cpp:99", "Gradient clipping: scaling down gradients (L2 norm"),
        ("solver.cpp:401", "Test loss: "),
        ("net.cpp:467", "Sharing parameters 'w' owned by layer 'conv2', param index 0"),
        ("upgrade_proto.cpp:1108", "snapshot_prefix was not specified"),
    ):
        if place.startswith("upgrade"):
            (run / "bare.prototxt").write_text(solver.replace('snapshot_prefix: "s"', ""))
            lines = unstamped(engine(["train", "--solver=bare.prototxt"], capsys)[1])
        assert any(line.startswith(f"I {place}] {words}") for line in lines), place


def test_a_list_of_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of image_data_layer.cpp, when the layer is set up."""
    write_data(tmp_path)
    inputs = small.data("TEST", 4).replace('"Data"', '"ImageData"')
    at = inputs.index("data_param")
    inputs = (
        inputs[:at] + 'image_data_param { source: "../list.txt" batch_size: 4 shuffle: true } }'
    )
    run = make_run(tmp_path, "run", small.net(inputs=small.data("TRAIN", 8) + inputs), SOLVER)
    monkeypatch.chdir(run)
    words = ["test", "--model=net.prototxt", "--weights=start.caffemodel", "--iterations=1"]
    lines = unstamped(engine(words, capsys)[1])
    at = lines.index("I layer_factory.hpp:77] Creating layer data")
    assert lines[at : at + 9] == [
        "I layer_factory.hpp:77] Creating layer data",
        "I net.cpp:86] Creating Layer data",
        "I net.cpp:382] data -> data",
        "I net.cpp:382] data -> label",
        "I image_data_layer.cpp:38] Opening file ../list.txt",
        "I image_data_layer.cpp:53] Shuffling data",
        "I image_data_layer.cpp:63] A total of 12 images.",
        "I image_data_layer.cpp:90] output data size: 4,3,12,10",
        "I net.cpp:124] Setting up data",
    ]
