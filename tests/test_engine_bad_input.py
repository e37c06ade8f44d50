"""Errors in files, nets and solvers: one `F` line, and nothing left behind.

Each case is a command line. `refused` checks one fatal line in glog's format at the end of the log,
exit code 2, and an unchanged folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen.engine import command, memory
from sqgen.errors import FormatError
from sqgen.formats.caffemodel import (
    blob_array,
    fill_blob,
    read_caffemodel,
    read_solver_state,
)
from sqgen.formats.schema import BlobProto, Datum, NetParameter, SolverState

from . import engine_server
from .databases import encoded, image_file, make_lmdb, raw

FATAL = re.compile(r"^F\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ [\w.]+:\d+\] (.*)$", re.M)
SHAPE = (3, 8, 9)  # of a record
CLASSES, INPUTS = 10, 216

DUMMY = (
    'layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {'
    " shape { dim: 2 dim: 3 dim: 8 dim: 9 } shape { dim: 2 } } }\n"
)
INPUT = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape {'
    " dim: 2 dim: 3 dim: 8 dim: 9 } } }\n"
)
IP = (
    'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {'
    ' num_output: 10 weight_filler { type: "xavier" } } }\n'
)
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
INFOGAIN = LOSS.replace("SoftmaxWithLoss", "InfogainLoss").replace(
    " }\n", ' infogain_loss_param { source: "FILE" } }\n'
)
MEMORY_DATA = (
    'layer { name: "data" type: "MemoryData" top: "data" top: "label" memory_data_param {'
    " batch_size: 2 channels: 3 height: 8 width: 9 } }\n"
)

Refused = Callable[..., str]


def data_net(source: str = "db", transform: str = "", batch: int = 4, backend: str = "LMDB") -> str:
    """A net that reads an LMDB."""
    return (
        'layer { name: "data" type: "Data" top: "data" top: "label"'
        f" transform_param {{ {transform} }} data_param {{"
        f' source: "{source}" backend: {backend} batch_size: {batch} }} }}\n' + IP + LOSS
    )


def one(kind: str, params: str = "", bottoms: str = 'bottom: "data"', top: str = "x") -> str:
    """A net of dummy data and a layer of one type."""
    return f'{DUMMY}layer {{ name: "x" type: "{kind}" {bottoms} top: "{top}" {params} }}\n'


def model(shape: tuple[int, ...] = (CLASSES, INPUTS), name: str = "ip", count: int = 2) -> Any:
    """Weights for the net."""
    made = NetParameter(name="net")
    layer = made.layer.add(name=name, type="InnerProduct")
    for array in (np.linspace(-1, 1, np.prod(shape)).reshape(shape), np.zeros(shape[0]))[:count]:
        fill_blob(layer.blobs.add(), array.astype(np.float32))
    return made


def state(**fields: Any) -> Any:
    """A solver state for the net."""
    made = SolverState(**{"iter": 1, "learned_net": "w.caffemodel", **fields})
    for shape in ((CLASSES, INPUTS), (CLASSES,)):
        fill_blob(made.history.add(), np.zeros(shape, np.float32))
    return made


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with weights, to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(command.TRACEBACK, raising=False)
    Path("w.caffemodel").write_bytes(model().SerializeToString())
    return tmp_path


def content() -> dict[str, bytes | None]:
    """All files below this folder."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def verdict(log: str) -> str:
    """The one fatal line of a log, which ends it."""
    lines = FATAL.findall(log)
    assert len(lines) == 1, log[-3000:]
    assert log.endswith(f"] {lines[0]}\n"), log[-3000:]
    assert "Traceback" not in log
    assert "a defect of sqgen" not in log, lines[0]
    return str(lines[0])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must fail; the text of its fatal line."""

    def run(*arguments: str) -> str:
        before = content()
        assert command.run([*arguments, "--threads=2"]) == 2
        assert content() == before
        out, log = capsys.readouterr()
        assert not out
        return verdict(log)

    return run


@pytest.fixture
def accepted(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must succeed; its log."""

    def run(*arguments: str) -> str:
        assert command.run([*arguments, "--threads=2"]) == 0
        return capsys.readouterr().err

    return run


def scored(refused: Refused, net: str, *more: str, weights: str = "w.caffemodel") -> str:
    Path("net.prototxt").write_text(net)
    return refused("test", "--model=net.prototxt", f"--weights={weights}", "--iterations=4", *more)


def timed(refused: Refused, net: str, *more: str) -> str:
    Path("net.prototxt").write_text(net)
    return refused("time", "--model=net.prototxt", "--iterations=1", *more)


def trained(refused: Refused, solver: str = "", *more: str, net: str = DUMMY + IP + LOSS) -> str:
    """Train with the lines of a solver after those that go without saying."""
    Path("net.prototxt").write_text(net)
    lines = {
        "net": '"net.prototxt"',
        "base_lr": "0.1",
        "lr_policy": '"fixed"',
        "max_iter": "2",
        "snapshot_prefix": '"s"',
        "snapshot_after_train": "false",
    }
    for line in filter(None, solver.split("; ")):
        name, _, value = line.partition(": ")
        lines[name] = value
    text = "".join(f"{name}: {value}\n" for name, value in lines.items() if value != "none")
    Path("solver.prototxt").write_text(text)
    return refused("train", "--solver=solver.prototxt", "--cpu", *more)


def test_what_the_cases_start_from_is_accepted(accepted: Refused) -> None:
    make_lmdb(Path("db"), map(raw, range(8)))
    scored(accepted, data_net())
    timed(accepted, DUMMY + IP + LOSS)
    trained(accepted)
    Path("s.solverstate").write_bytes(state().SerializeToString())
    trained(accepted, "", "--snapshot=s.solverstate")


# Weights

WEIGHTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "w: is empty"),
    "text": (b"hello, I am text", "w: is text, not a .caffemodel; give the weights"),
    "prototxt": ((DUMMY + IP).encode(), "w: is text, not a .caffemodel; give the weights"),
    "state": (state().SerializeToString(), "w: is a solver state, not weights"),
    "cut": (model().SerializeToString()[:-1], "w: is not a .caffemodel, or is truncated"),
    "shape": (
        model((7, INPUTS)).SerializeToString(),
        "w: Cannot copy param 0 weights from layer 'ip'; shape mismatch.  Source param shape is"
        " 7 216 (1512); target param shape is 10 216 (2160)",
    ),
    "fewer": (
        model(count=1).SerializeToString(),
        "w: Incompatible number of blobs for layer ip: 1 in the file, 2 in the net",
    ),
    "none": (model(count=0).SerializeToString(), "layer ip: 0 in the file, 2 in the net"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(refused: Refused, case: str) -> None:
    make_lmdb(Path("db"), map(raw, range(8)))
    data, said = WEIGHTS[case]
    Path("w").write_bytes(data)
    assert said in scored(refused, data_net(), weights="w")


def test_weights_that_lie_about_their_shape(refused: Refused) -> None:
    for dims in ((7, INPUTS), (-10, -INPUTS), (1 << 62, 3), (0, INPUTS)):
        made = model()
        made.layer[0].blobs[0].shape.dim[:] = dims
        Path("w").write_bytes(made.SerializeToString())
        said = scored(refused, DUMMY + IP + LOSS, weights="w")
        assert said.startswith("w: layer 'ip', blob 0: has 2160 elements for shape")


@pytest.mark.parametrize("name", ["missing", ".", "w.caffemodel,missing", "a\nb", "x" * 5000, "\0"])
def test_weights_that_are_not_there(refused: Refused, name: str) -> None:
    assert "no such file" in (said := scored(refused, DUMMY + IP + LOSS, weights=name)) or any(
        reason in said for reason in ("is a folder", "too long", "null byte")
    )


def test_weights_of_another_net_do_not_pass_in_silence(accepted: Refused) -> None:
    """Caffe scores the random numbers that the net started with, and says nothing."""
    Path("w").write_bytes(model(name="other").SerializeToString())
    log = scored(accepted, DUMMY + IP + LOSS, weights="w")
    told = [line for line in log.splitlines() if line.startswith("W")]
    assert any("ip" in line for line in told), "no warning that 'ip' got no weights"


def small_models() -> dict[str, bytes]:
    """Two layers in each of the generations that Caffe has had since 2014."""
    new, old = NetParameter(name="new"), NetParameter(name="old")
    for number in range(2):
        layer = new.layer.add(name=f"conv{number}", type="Convolution")
        layer.param.add(name=f"shared{number}", lr_mult=1)
        former = old.layers.add(name=f"conv{number}", type=4, blobs_lr=[1, 2], param=["a", "b"])
        former.convolution_param.num_output = 2
        for made in (layer, former):
            blob = made.blobs.add(data=[1.0, 2.0, 3.0, 4.0])
            blob.num, blob.channels, blob.height, blob.width = 2, 2, 1, 1
    return {"new": new.SerializeToString(), "old": old.SerializeToString()}


def damaged(data: bytes) -> Iterator[bytes]:
    """Every cut, and every byte with one bit turned."""
    yield from (data[:end] for end in range(len(data)))
    for at, byte in enumerate(data):
        yield data[:at] + bytes([byte ^ 1 << at % 8]) + data[at + 1 :]


@pytest.mark.parametrize("generation", ["new", "old"])
def test_damaged_weights_are_read_or_refused(generation: str) -> None:
    refusals = 0
    for data in damaged(small_models()[generation]):
        Path("w").write_bytes(data)
        try:
            net = read_caffemodel("w")
        except FormatError as error:
            refusals += 1
            assert "\n" not in str(error)
        else:
            assert all(isinstance(layer.name, str) for layer in net.layer)
            assert all(blob_array(blob).size for layer in net.layer for blob in layer.blobs)
    assert refusals > 50


# Solver states

STATES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "s: is empty"),
    "text": (b"hello, I am text", "s: is not a solver state, or is truncated"),
    "cut": (state().SerializeToString()[:-1], "s: is not a solver state, or is truncated"),
    "weights": (
        model().SerializeToString(),
        "s: is a .caffemodel; --snapshot takes the .solverstate beside it",
    ),
    "iteration": (state(iter=-1).SerializeToString(), "s: is damaged"),
    "gone": (
        state(learned_net="gone").SerializeToString(),
        "s: its weights gone are not there, nor beside it",
    ),
    "bytes": (
        state(learned_net="gone").SerializeToString().replace(b"gone", b"g\xffne"),
        r"s: its weights g\xffne are not there, nor beside it",
    ),
    "long": (state(learned_net="x" * 5000).SerializeToString(), "nor beside it"),
    "folder": (state(learned_net=".").SerializeToString(), "nor beside it"),
}


@pytest.mark.parametrize("case", STATES)
def test_solver_state(refused: Refused, case: str) -> None:
    data, said = STATES[case]
    Path("s").write_bytes(data)
    assert said in trained(refused, "", "--snapshot=s")


def test_solver_state_of_another_solver_or_net(refused: Refused) -> None:
    Path("s").write_bytes(state().SerializeToString())
    said = trained(refused, 'type: "Adam"; momentum: 0.9', "--snapshot=s")
    assert said.startswith(
        "s: Incorrect length of history blobs: 2 in the file, 4 for solver type Adam"
    )
    said = trained(refused, "", "--snapshot=s", net=DUMMY + IP.replace("10", "11") + LOSS)
    assert said.startswith("s: history 0 has shape (10, 216), but the parameter (11, 216)")


def test_damaged_solver_states_are_read_or_refused() -> None:
    whole = SolverState(iter=3, learned_net="s_iter_3.caffemodel", current_step=1)
    fill_blob(whole.history.add(), np.ones((2, 3), np.float32))
    refusals = 0
    for data in damaged(whole.SerializeToString()):
        Path("s").write_bytes(data)
        try:
            read = read_solver_state("s")
        except FormatError:
            refusals += 1
        else:
            assert isinstance(read.learned_net, str)
            assert read.iter >= 0
    assert refusals > 30


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--snapshot=gone"], "gone: no such file or directory"),
        (["--snapshot=gone.solverstate.h5"], "gone.solverstate.h5: no such file or directory"),
        (["--snapshot=s", "--weights=w.caffemodel"], "Give a snapshot to resume training or"),
        (["--weights=gone"], "gone: no such file or directory"),
    ],
)
def test_what_a_training_starts_from(refused: Refused, flags: list[str], said: str) -> None:
    assert said in trained(refused, "", *flags)


# Data

DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "size": (lambda: raw(5, 3, 9, 9), "is 3x9x9, but the first record 3x8x9; all must be of one"),
    "channels": (lambda: raw(5, 1), "is 1x8x9, but the first record 3x8x9"),
    "garbage": (lambda: b"garbage!", "is not a Datum (8 bytes); make the LMDB again"),
    "nothing": (lambda: b"", "has the empty shape 0x0x0"),
    "short": (
        lambda: bytes(Datum(channels=3, height=8, width=9, data=b"x").SerializeToString()),
        "has 1 values for shape 3x8x9; make the LMDB again",
    ),
    "jpeg": (
        lambda: bytes(
            Datum(data=image_file(5, 64, 64, ".jpg")[:900], encoded=True).SerializeToString()
        ),
        "(900 bytes); replace it",
    ),
    "no image": (
        lambda: bytes(Datum(data=b"x" * 99, encoded=True).SerializeToString()),
        "can't be decoded as an image (99 bytes); replace it",
    ),
}


@pytest.mark.parametrize(
    ("case", "number"),
    [
        (case, number)
        for case, (_, said) in DAMAGED.items()
        for number in (0, 5)
        if number or "first record" not in said  # which is what others are held against
    ],
)
def test_damaged_record(refused: Refused, case: str, number: int) -> None:
    make, said = DAMAGED[case]
    make_lmdb(Path("db"), (make() if n == number else raw(n) for n in range(8)))
    line = scored(refused, data_net())
    assert line.startswith(f"net.prototxt:1: layer 'data': db: record {number} (from 0): ")
    assert said in line


@pytest.mark.parametrize("label", [-1, CLASSES, 2**31 - 1])
@pytest.mark.parametrize("action", ["test", "train"])
def test_label_out_of_range(refused: Refused, action: str, label: int) -> None:
    data = raw(1)
    bad = Datum.FromString(data)
    bad.label = label
    make_lmdb(Path("db"), [data] * 5 + [bytes(bad.SerializeToString())])
    said = (
        scored(refused, data_net(batch=3))
        if action == "test"
        else trained(refused, net=data_net(batch=3))
    )
    assert "layer 'loss': label" in said
    assert "(item 2 of the batch) is none of its 10 classes, 0 to 9" in said


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        ("mean_value: 1 mean_value: 2", "has 3 channels, but"),
        ('mean_file: "gone"', "layer 'data': mean file gone: no such file"),
        ('mean_file: "."', "is a folder"),
        ('mean_file: "w.caffemodel"', "layer 'data': mean file w.caffemodel: "),
        ('mean_file: "empty"', "layer 'data': mean file empty: has 0 elements for shape scalar"),
        ('mean_file: "gone" mean_value: 1', "both mean_file and mean_value; keep one of them"),
        ("crop_size: 10", "8x9 is smaller than crop_size 10 of net.prototxt:1: layer 'data'"),
    ],
)
def test_transformation(refused: Refused, transform: str, said: str) -> None:
    Path("empty").write_bytes(b"")
    make_lmdb(Path("db"), map(raw, range(8)))
    assert said in scored(refused, data_net(transform=transform))


def test_what_is_no_lmdb(refused: Refused) -> None:
    for name in ("bare", "level", "blank", "text"):
        Path(name).mkdir()
    Path("level/CURRENT").write_text("MANIFEST-000001\n")
    Path("blank/data.mdb").write_bytes(b"")
    Path("text/data.mdb").write_bytes(b"text" * 5000)
    make_lmdb(Path("none"), [])
    where = "net.prototxt:1: layer 'data': "
    for source, said in (
        ("gone", "gone: no such folder"),
        ("w.caffemodel", "w.caffemodel: is a file"),
        ("bare", "bare: no data.mdb in it"),
        ("level", "level: is a LEVELDB"),
        ("blank", "blank/data.mdb: truncated: has 0 bytes"),
        ("text", "text/data.mdb: is not an LMDB"),
        ("none", "none/data.mdb: holds no records"),
        ("", "no source; name the data"),
        ("a\\000b", "no such folder"),
        ("x" * 5000, "too long"),
    ):
        line = scored(refused, data_net(source))
        assert line.startswith(where)
        assert said in line
    assert "backend LEVELDB" in scored(refused, data_net(backend="LEVELDB"))
    assert "batch_size must be 1 or more" in scored(refused, data_net(batch=0))


CUTS = """
import os, sys
from sqgen.engine import command
size = os.path.getsize("db/data.mdb")
for end in sorted({*range(0, size, 4096), *range(1, size, 9973), size - 1}, reverse=True):
    os.truncate("db/data.mdb", end)
    assert command.run(["test", "--model=net.prototxt", "--weights=w.caffemodel"]) == 2, end
    print(end)
"""


@pytest.mark.process
def test_lmdb_cut_anywhere() -> None:
    """Reading behind the end of a mapped file would kill the process with SIGBUS."""
    make_lmdb(Path("db"), (raw(n % CLASSES) for n in range(300)))
    Path("net.prototxt").write_text(data_net())
    done = engine_server.run(engine_server.CODE, [CUTS], timeout=300)
    log = done.stderr.decode()
    assert done.returncode == 0, log[-2000:]
    found = FATAL.findall(log)
    assert len(found) == len(done.stdout.splitlines()) > 30
    assert all("db/data.mdb: truncated: " in line for line in found)


def test_lmdb_whose_leaf_lost_records(refused: Refused) -> None:
    """A page that says it has fewer records than it has, which LMDB believes."""
    make_lmdb(Path("db"), map(raw, range(8)))
    with open("db/data.mdb", "r+b") as file:
        pages = file.read()
        leaf = next(
            at for at in range(8192, len(pages), 4096) if pages[at + 10] == 2 and pages[at + 12]
        )
        file.seek(leaf + 12)
        file.write(bytes([pages[leaf + 12] - 4]))  # two places fewer
    assert "damaged (wrong number of records)" in scored(refused, data_net())


def test_list_of_images(refused: Refused) -> None:
    net = (
        'layer { name: "data" type: "ImageData" top: "data" top: "label" image_data_param {'
        ' source: "list" batch_size: 2 } }\n' + IP + LOSS
    )
    Path("good.png").write_bytes(image_file(1))
    Path("bad.jpg").write_bytes(image_file(2, kind=".jpg")[:200])
    where = "net.prototxt:1: layer 'data': list: "
    assert scored(refused, net).startswith(where + "no such file or directory")
    for text, said in (
        ("", "an empty list"),
        ("good.png 1\n\n", "line 2: no file in it"),
        ("gone.png 1\n", "line 1: gone.png: no such file"),
        ("good.png 1\ngood.png 1\ngood.png 2\ngone.png 1\n", "line 4: gone.png: no such file"),
        ("good.png 1\nbad.jpg 1\n", "line 2: bad.jpg: "),
        ("good.png 1\nlist 1\n", "line 2: list: can't be decoded as an image"),
    ):
        Path("list").write_text(text)
        line = scored(refused, net)
        assert line.startswith(where)
        assert said in line


def test_records_that_went_on_before_are_scored(capsys: pytest.CaptureFixture[str]) -> None:
    """Damage is told when it is reached, not before: what came before it stays in the log."""
    make_lmdb(Path("db"), [*map(raw, range(6)), b"garbage!"])
    Path("net.prototxt").write_text(data_net(batch=2))
    assert command.run(["test", "--model=net.prototxt", "--weights=w.caffemodel"]) == 2
    log = capsys.readouterr().err
    assert "Batch 2, loss = " in log
    assert "record 6 (from 0)" in verdict(log)


# Nets

NETS: dict[str, tuple[str, str]] = {
    "nothing": ("", "net.prototxt: no layers in phase TRAIN"),
    "a name": ('name: "n"', "net.prototxt: no layers in phase TRAIN"),
    "misspelt": (
        DUMMY + IP.replace("InnerProduct", "InerProduct"),
        "net.prototxt:2: layer 'ip': no layer type 'InerProduct'; did you mean 'InnerProduct'?",
    ),
    "unknown type": (one("Nonsense"), "net.prototxt:2: layer 'x': no layer type 'Nonsense'"),
    "unsupported": (one("Python"), "layer 'x': type 'Python' is Caffe's, but not supported here"),
    "cycle": (
        one("ReLU", bottoms='bottom: "y"')
        + 'layer { name: "y" type: "ReLU" bottom: "x" top: "y" }',
        "net.prototxt:2: layer 'x': needs 'y', which depends on it",
    ),
    "dangling": (one("ReLU", bottoms='bottom: "dat"'), "no layer makes 'dat'; did you mean 'data'"),
    "no data": (IP, "net.prototxt:1: layer 'ip': no layer makes 'data'"),
    "twice": (DUMMY + IP + IP, "net.prototxt:3: layer 'ip': makes 'ip', which is made above it"),
    "top twice": (DUMMY.replace('"label"', '"data"') + IP, "has 'data' as a top twice"),
    "in place": (one("InnerProduct", top="data"), "InnerProduct can't work in place on 'data'"),
    "in place of many": (
        DUMMY + IP + 'layer { name: "r" type: "ReLU" bottom: "data" top: "data" }',
        "layer 'r': works in place on 'data', but 'ip' reads that too",
    ),
    "shapes": (
        one("Eltwise", bottoms='bottom: "data" bottom: "label"'),
        "layer 'x': its bottoms differ in shape",
    ),
    "window": (
        one("Convolution", "convolution_param { num_output: 1 kernel_size: 20 }"),
        "a window of 20 does not fit in 8",
    ),
    "spatial axes": (
        one("Convolution", "convolution_param { num_output: 1 kernel_size: 1 axis: 3 }"),
        "net.prototxt: layer 'x': convolves 0 spatial axes; 1 to 3 are supported",
    ),
    "stride": (
        one("Pooling", "pooling_param { kernel_size: 2 stride: 0 }"),
        "kernel_size and stride must be positive",
    ),
    "dropout": (one("Dropout", "dropout_param { dropout_ratio: 1 }"), "dropout_ratio"),
    "dropout above 1": (one("Dropout", "dropout_param { dropout_ratio: 1.5 }"), "dropout_ratio"),
    "one bottom": (
        DUMMY + IP + LOSS.replace('bottom: "label"', ""),
        "SoftmaxWithLoss takes 2 bottoms, not 1",
    ),
    "labels": (
        DUMMY.replace("dim: 2 } }", "dim: 3 } }") + IP + LOSS,
        "layer 'loss': 3 labels for 2 predictions",
    ),
    "label of dummy data": (
        DUMMY.replace("dim: 2 } }", "dim: 2 } data_filler { } data_filler { value: 10 } }")
        + IP
        + LOSS,
        "layer 'loss': label 10 (item 0 of the batch)",
    ),
    "top_k": (
        DUMMY
        + IP
        + 'layer { name: "a" type: "Accuracy" bottom: "ip" bottom: "label" top: "a"'
        + " accuracy_param { top_k: 11 } }",
        "layer 'a': top_k 11 is above its 10 classes",
    ),
    "loss_weight": (
        DUMMY
        + IP
        + 'layer { name: "a" type: "Accuracy" bottom: "ip" bottom: "label" top: "a"'
        + " loss_weight: 1 }",
        "layer 'a': Accuracy has no gradient for its bottom 'ip', which depends on learned"
        " parameters; take its loss_weight out",
    ),
    "index of an Embed": (
        one("Embed", "embed_param { num_output: 2 input_dim: 10 }", 'bottom: "label"').replace(
            "dim: 2 } }", "dim: 2 } data_filler { } data_filler { value: 10 } }"
        ),
        "layer 'x': index 10 (number 0 of the blob) is not from 0 to 9",
    ),
    "index of a BatchReindex": (
        one("BatchReindex", "", 'bottom: "data" bottom: "label"').replace(
            "dim: 2 } }", "dim: 2 } data_filler { } data_filler { value: -0.5 } }"
        ),
        "layer 'x': index -1 (number 0 of the blob) is not from 0 to 1",
    ),
    "infogain matrix": (
        DUMMY + IP + INFOGAIN.replace("FILE", "gone"),
        "layer 'loss': gone: no such file",
    ),
    "infogain matrix of another size": (
        DUMMY + IP + INFOGAIN.replace("FILE", "small.binaryproto"),
        "layer 'loss': small.binaryproto: the infogain matrix has 4 elements, not 10 x 10",
    ),
    "no infogain matrix": (
        DUMMY + IP + INFOGAIN.replace("FILE", ""),
        "layer 'loss': give the infogain matrix as source, or as a third bottom",
    ),
    "no gradient": (
        DUMMY
        + IP
        + 'layer { name: "t" type: "Threshold" bottom: "ip" top: "t" }'
        + LOSS.replace('bottom: "ip"', 'bottom: "t"'),
        "net.prototxt:3: layer 't': Threshold has no gradient for its bottom 'ip', which depends on"
        " learned parameters; give it propagate_down: false",
    ),
    "no gradient of labels": (
        DUMMY
        + IP
        + 'layer { name: "l" type: "Slice" bottom: "ip" top: "l" top: "m"'
        + " slice_param { slice_point: 1 } }"
        + LOSS.replace('bottom: "ip"', 'bottom: "m"').replace('bottom: "label"', 'bottom: "l"'),
        "layer 'loss': SoftmaxWithLoss has no gradient for its bottom 'l', which depends on learned"
        " parameters; give it propagate_down: true propagate_down: false",
    ),
    "filler": (DUMMY + IP.replace("xavier", "xaver"), "no filler 'xaver'; did you mean 'xavier'?"),
    "deviation": (DUMMY + IP.replace('"xavier"', '"gaussian" std: -1'), "std"),
    "bounds": (DUMMY + IP.replace('"xavier"', '"uniform" min: 1 max: -1'), "min"),
    "shared": (
        DUMMY
        + IP.replace("inner_product", 'param { name: "w" } inner_product')
        + one("InnerProduct", 'param { name: "w" } inner_product_param { num_output: 3 }')[
            len(DUMMY) :
        ],
        "shares 'w' with 'ip', but it is (10, 216) there and (3, 216) here",
    ),
    "params": (
        DUMMY + IP.replace("inner_product", "param { } param { } param { } inner_product"),
        "has 3 param entries, but 2 parameter blobs",
    ),
    "propagate_down": (
        DUMMY + IP + LOSS.replace("top", "propagate_down: true top"),
        "layer 'loss': has 2 bottoms but 1 propagate_down",
    ),
    "include and exclude": (
        DUMMY + IP.replace("bottom", "include { } exclude { phase: TEST } bottom"),
        "include",
    ),
    "other phase": (
        DUMMY.replace("top", "include { phase: TEST } top", 1) + IP,
        "layer 'ip': no layer makes 'data'",
    ),
    "memory data": (
        MEMORY_DATA + IP + LOSS,
        "layer 'data': MemoryDataLayer needs to be initialized by calling Reset",
    ),
    "outputs": (DUMMY + IP.replace("10", "4294967295"), "is more than Caffe can count"),
    "negative": (DUMMY + IP.replace("10", "-1"), "net.prototxt:2:"),
    "field": (
        DUMMY + IP.replace("num_output", "num_outputs"),
        "net.prototxt:2:88: InnerProductParameter has no field 'num_outputs'; did you mean",
    ),
    "syntax": (DUMMY + "layer { name: ", "net.prototxt:2:"),
    "not closed": (DUMMY + "layer { ", "net.prototxt:2:"),
    "solver": ('net: "n.prototxt" base_lr: 1', "net.prototxt: is a solver, not a net"),
}


@pytest.mark.parametrize("case", NETS)
def test_net(refused: Refused, case: str) -> None:
    net, said = NETS[case]
    blob = BlobProto()
    fill_blob(blob, np.ones((2, 2), np.float32))
    Path("small.binaryproto").write_bytes(blob.SerializeToString())
    line = timed(refused, net)
    assert said in line
    assert "net.prototxt" in line or "layer '" in line


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\1\2", "is binary, not text; give the .prototxt"),
        (b"\x1f\x8b123", "is binary, not text"),
        (None, "no such file or directory"),
    ],
)
@pytest.mark.parametrize("flag", ["--model", "--solver"])
def test_prototxt(refused: Refused, flag: str, data: bytes | None, said: str) -> None:
    if data is not None:
        Path("net.prototxt").write_bytes(data)
    action = "train" if flag == "--solver" else "time"
    assert refused(action, f"{flag}=net.prototxt").startswith(f"net.prototxt: {said}")


def test_weights_are_no_prototxt(refused: Refused) -> None:
    line = refused("time", "--model=w.caffemodel")
    assert line.startswith("w.caffemodel: is binary, not text; give the .prototxt")


def test_exact_where_it_means_nothing(refused: Refused) -> None:
    make_lmdb(Path("db"), map(raw, range(8)))
    line = scored(refused, data_net(), "--exact")
    assert line == "--exact tests every record once, so it takes no --iterations; give one"
    Path("deploy.prototxt").write_text(INPUT + IP)
    line = refused("test", "--model=deploy.prototxt", "--weights=w.caffemodel", "--exact")
    assert line.startswith("--exact needs a Data, ImageData or HDF5Data layer in the TEST phase")


# Memory

LARGE_BYTES = 300 * 3 * 200 * 200 * 4
LARGE = (
    DUMMY.replace("dim: 2 dim: 3 dim: 8 dim: 9", "dim: 300 dim: 3 dim: 200 dim: 200")
    .replace("dim: 2 }", "dim: 300 }")
    .replace("dim: 8 dim: 9", "")
)


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: count)


@pytest.mark.parametrize("action", ["test", "time", "train"])
def test_a_batch_that_is_larger_than_memory(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """The one blob that the data layer makes does not fit."""
    free(monkeypatch, LARGE_BYTES * 9 // 10)
    net = LARGE + IP + LOSS
    if action == "train":
        line = trained(refused, net=net)
    elif action == "test":
        line = scored(refused, net)
    else:
        line = timed(refused, net, "--phase=TEST")
    assert re.fullmatch(
        r"net.prototxt: its blobs for a batch of 300 need about \d+\.\d GiB, and \d+\.\d GiB of"
        r" memory are free; use a smaller batch_size",
        line,
    )


def test_parameters_that_are_larger_than_memory(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 8 << 30)
    line = timed(refused, DUMMY + IP.replace("10", "9000000"))
    assert line.startswith("net.prototxt: its parameters need about 29.1 GiB, and 8.0 GiB")


# Solvers

SOLVERS: dict[str, str] = {
    "net: none": "names no net to train",
    'train_net: "net.prototxt"': "names net and train_net to train; give one",
    'net: "gone.prototxt"': "gone.prototxt",
    'net: "."': "is a folder",
    'net: "solver.prototxt"': "is a solver, not a net",
    "lr_policy: none": "no lr_policy ''; one of fixed, step",
    'lr_policy: "poli"': "no lr_policy 'poli'; did you mean 'poly'?",
    'lr_policy: "step"': "lr_policy step needs a positive stepsize",
    'type: "SDG"': "no type 'SDG'; did you mean 'SGD'?",
    'type: "SGD"; solver_type: ADAM': "sets both solver_type (old) and type; keep type",
    'type: "AdaGrad"; momentum: 0.9': "AdaGrad takes no momentum",
    'type: "RMSProp"; rms_decay: 1.5': "rms_decay 1.5 is not from 0 to 1",
    'type: "Adam"; momentum: 1; momentum2: 0.9': "momentum",
    'weight_decay: 1; regularization_type: "L3"': "no regularization_type 'L3'",
    "gamma: -1": "gamma -1 is less than 0",
    "base_lr: nan": "base_lr",
    "average_loss: 0": "average_loss 0 is less than 1",
    "iter_size: 0": "iter_size 0 is less than 1",
    "snapshot: -1": "snapshot -1 is less than 0",
    "test_iter: 1": "test_iter without test_interval",
    "test_iter: 1; test_interval: -1": "test_interval -1 is less than 0",
    'test_net: "net.prototxt"; test_interval: 1': "0 test_iter for 1 test nets; give each one",
    "snapshot_format: XML": "solver.prototxt:7:18: SolverParameter.SnapshotFormat has no value",
    'snapshot: 1; snapshot_prefix: "gone/s"': "; make the folder gone, or change the solver's",
    'snapshot: 1; snapshot_prefix: "w.caffemodel/s"': ": not a directory; change the",
    'snapshot: 1; snapshot_prefix: "a\\000b"': "Cannot write to snapshot prefix",
    'weights: "gone"': "gone: no such file or directory",
    "gama: 1": "solver.prototxt:7:1: SolverParameter has no field 'gama'; did you mean 'gamma'?",
    "solver_mode: FPGA": "solver.prototxt:7:14: SolverParameter.SolverMode has no value 'FPGA'",
    "base_lr: ": "solver.prototxt:3:1: ",
}


@pytest.mark.parametrize("lines", SOLVERS)
def test_solver(refused: Refused, lines: str) -> None:
    assert SOLVERS[lines] in trained(refused, lines)


@pytest.mark.parametrize("text", ["", "hello", DUMMY + IP])
def test_what_is_no_solver(refused: Refused, text: str) -> None:
    Path("x.prototxt").write_text(text)
    assert refused("train", "--solver=x.prototxt", "--cpu").startswith("x.prototxt:")


@pytest.mark.parametrize(
    "lines",
    [
        'lr_policy: "exp"; gamma: 1e30; max_iter: 20',
        'lr_policy: "step"; gamma: 1e30; stepsize: 1; max_iter: 20',
        'lr_policy: "inv"; gamma: 1e30; power: -20; max_iter: 5',
    ],
)
def test_rates_without_bound(accepted: Refused, lines: str) -> None:
    """In Caffe such a rate is inf, and the loss not a number; nothing breaks off."""
    log = trained(accepted, lines + "; display: 1")
    assert "lr = inf" in log
    assert "Optimization Done." in log


def test_training_needs_no_loss(accepted: Refused) -> None:
    assert "Optimization Done." in trained(accepted, net=DUMMY + IP)


def test_prefix_that_caffe_finds_by_itself(accepted: Refused) -> None:
    """Without snapshot_prefix it is the solver's name, in a folder the solver's name in it
    (UpgradeSnapshotPrefixProperty, src/caffe/util/upgrade_proto.cpp)."""
    log = trained(accepted, "snapshot: 2; snapshot_prefix: none")
    assert "snapshot_prefix was not specified and is set to solver\n" in log
    assert Path("solver_iter_2.solverstate").is_file()
    Path("kept").mkdir()
    log = trained(accepted, 'snapshot: 2; snapshot_prefix: "kept"')
    assert "snapshot_prefix was a directory and is replaced to kept/solver\n" in log
    assert Path("kept/solver_iter_2.solverstate").is_file()


# What is there stays there


@pytest.mark.skipif(os.name != "posix", reason="needs limits of a process")
def test_snapshot_that_finds_no_room(accepted: Refused) -> None:
    trained(accepted, "snapshot: 2")
    before = content()
    train = [engine_server.python(), "-m", "sqgen.engine", "train", "--solver=solver.prototxt"]
    command_line = ["sh", "-c", 'ulimit -f 8 && exec "$@"', "sh", *train, "--cpu"]  # 4 or 8 KiB
    done = subprocess.run(command_line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert verdict(done.stderr).startswith("s_iter_2.caffemodel: can't write: file too large")
    assert content() == before


def test_data_that_breaks_off_leaves_snapshots_whole(accepted: Refused, refused: Refused) -> None:
    make_lmdb(Path("db"), map(raw, range(8)))
    net = data_net(batch=2)
    trained(accepted, "snapshot: 2; max_iter: 4", net=net)
    shutil.rmtree("db")
    make_lmdb(Path("db"), [*map(raw, range(6)), b"garbage!"])
    assert "record 6 (from 0)" in trained(refused, "snapshot: 9; max_iter: 9", net=net)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="may write everywhere")
def test_folder_that_is_read_only(refused: Refused, folder: Path) -> None:
    Path("closed").mkdir(0o555)
    line = trained(refused, 'snapshot: 1; snapshot_prefix: "closed/s"')
    assert line.startswith("Cannot write to snapshot prefix 'closed/s': permission denied; change")


def test_encoded_and_raw_records_in_one_lmdb(accepted: Refused) -> None:
    make_lmdb(Path("db"), [raw(1), encoded(2), raw(3)])
    scored(accepted, data_net(batch=3))
