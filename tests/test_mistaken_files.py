"""Files of another kind than was meant: each is named in one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sqgen import FormatError, diff_nets, parse_net, read_net
from sqgen.engine.transform import read_mean
from sqgen.formats import prototxt
from sqgen.formats.caffemodel import read_caffemodel, read_solver_state
from sqgen.formats.lmdb_reader import open_lmdb
from sqgen.formats.schema import NetParameter
from sqgen.nets.stored_net import stored_net

from .conftest import Run
from .small_nets import conv, layer, net_input, random_model, save

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
PAGE = b"\n\xef\xbb\xbf"[1:] + b"\n<!-- x -->\n<!DOCTYPE html>\n<html><body>404</body></html>"
NET = 'name: "caf\u00e9"\nlayer { name: "a" type: "Silence" }\n'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (POINTER, "is a pointer of Git LFS, not {}; fetch the file: git lfs pull"),
        (PAGE, "is a web page, not {}; download the file itself (on GitHub: Raw)"),
        (b"<HTML>", "is a web page, not {}"),
    ],
)
def test_what_lies_in_place_of_a_file(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(data)
    file = tmp_path / "data.mdb"
    readers: dict[str, Callable[[], object]] = {
        "a prototxt": lambda: read_net(file),
        "a caffemodel": lambda: read_caffemodel(file),
        "a solver state": lambda: read_solver_state(file),
        "a mean file": lambda: read_mean(file, "net:1"),
        "an LMDB": lambda: open_lmdb(tmp_path),
    }
    for kind, read in readers.items():
        with pytest.raises(FormatError) as caught:
            read()
        assert message.format(kind) in str(caught.value)
        assert str(file) in str(caught.value)


def test_comments_on_web_pages_and_lfs_are_text(tmp_path: Path) -> None:
    (tmp_path / "n").write_text(f"# <html> version https://git-lfs.github.com/spec/v1\n{NET}")
    assert read_net(tmp_path / "n").param.name == "caf\u00e9"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE")],
)
def test_utf_16(encoding: str, name: str, sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "n").write_bytes(NET.encode(encoding))
    for command in ("lint", "summary", "upgrade"):
        done = sqgen(command, "n")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"n: is {name} text, which Caffe can't read; save it as UTF-8" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["layer { name: \u201ca\u201d }", "layer { name: \u2018a\u2019 }"],
)
def test_curly_quotes(text: str) -> None:
    with pytest.raises(FormatError, match=r"n:1:15: U\+201. .*; write straight quotes"):
        parse_net(text, "n")


def test_a_caffemodel_in_place_of_a_prototxt(sqgen: Run, shared: Path) -> None:
    """20 of the reports: each hint leads on, and the last one to the net."""
    case = shared / "reported" / "20-caffemodel-hint-is-a-dead-end"
    model = str(case / "small.caffemodel")
    done = sqgen("summary", model)
    assert done.returncode == 2
    assert "sqgen upgrade --text FILE writes that of a .caffemodel" in done.stderr
    assert "--text writes its net" in sqgen("upgrade", model).stderr
    binary = sqgen("upgrade", model, "-o", "layers.prototxt")
    assert binary.returncode == 0
    assert "layers.prototxt: holds weights, in binary; --text writes the net" in binary.stderr
    written = sqgen("upgrade", "--text", model)
    assert (written.returncode, written.stderr) == (0, "")
    assert sqgen("diff", "-", str(case / "deploy.prototxt"), stdin=written.stdout).returncode == 0


def test_a_large_caffemodel_in_place_of_a_prototxt(tmp_path: Path) -> None:
    with open(tmp_path / "w.caffemodel", "wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(FormatError, match="upgrade --text FILE"):
        read_net(tmp_path / "w.caffemodel")


def test_splits_and_phases_of_a_stored_net() -> None:
    """Net::ToProto stores the splits that Caffe inserted, and the phase that it ran in."""
    text = net_input() + conv("a", "data", 4) + conv("b", "a", 3) + conv("c", "a", 3)
    model = random_model(text)
    split = model.layer.add(name="a_a_0_split", type="Split", bottom=["a"])
    split.top.extend(["a_a_0_split_0", "a_a_0_split_1"])
    for index, name in enumerate("bc"):
        reader = next(each for each in model.layer if each.name == name)
        reader.bottom[0] = f"a_a_0_split_{index}"
        reader.phase = 1
    ordered = [model.layer[index] for index in (0, 1, 4, 2, 3)]
    model = NetParameter(layer=ordered)
    net = stored_net(model, "w")
    assert net == parse_net(text).param
    in_place = NetParameter.FromString(model.SerializeToString())
    in_place.layer.extend(
        parse_net(layer("ReLU", "r", "a_a_0_split_0", "a_a_0_split_0")).param.layer
    )
    assert [each.type for each in stored_net(in_place, "w").layer].count("Split") == 1


def test_stored_nets_of_caffe(shared: Path) -> None:
    """Weights that BVLC Caffe saved, against the prototxt that it trained."""
    for run, name in (("sgd_multistep_batchnorm", "d_bn"), ("nesterov_step_complex", "d_complex")):
        model = read_caffemodel(shared / "parity" / run / "run_iter_60.caffemodel")
        net = parse_net(prototxt.to_text(stored_net(model, run)))
        original = read_net(shared / "parity" / f"{name}.prototxt")
        assert [each for each in diff_nets(net, original) if "TRAIN" in each.phases] == []


def test_weights_without_definitions_have_no_net(sqgen: Run, tmp_path: Path) -> None:
    text = net_input() + conv("a", "data", 4)
    save(random_model(text, definitions=False), tmp_path / "w")
    done = sqgen("upgrade", "--text", "w")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has weights, but not the definitions of their layers" in done.stderr
    (tmp_path / "n").write_text(text)
    assert "is text already" in sqgen("upgrade", "--text", "n").stderr


@pytest.mark.parametrize("command", ["summary", "lint", "upgrade -o x", "weights show"])
def test_an_onnx_model_in_place_of_caffes_files(command: str, sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x12\x05sqgen:\x03\n\x01\0B\x02\x10\r")
    done = sqgen(*command.split(), "m.onnx")
    assert done.returncode == 2
    assert done.stderr == (
        "sqgen: m.onnx: is an ONNX model; sqgen import makes a net and weights of it\n"
    )


def test_a_prototxt_in_place_of_weights(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "n").write_text(NET, encoding="utf-8")
    for command in (["show", "n"], ["convert", "n", "o.npz"], ["diff", "n", "n"]):
        done = sqgen("weights", *command)
        assert done.returncode == 2
        assert done.stderr == (
            "sqgen: n: is text, not a .caffemodel; give the weights, or fetch them again\n"
        )


@pytest.mark.parametrize(
    ("text", "kind"), [(NET, "a net"), ('net: "n"\nbase_lr: 0.1\n', "a solver")]
)
def test_a_prototxt_in_place_of_a_design(text: str, kind: str, tmp_path: Path, sqgen: Run) -> None:
    (tmp_path / "n.prototxt").write_text(text)
    done = sqgen("build", "--design", "n.prototxt")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"n.prototxt: is {kind}, not a design in TOML; sqgen build with" in done.stderr
