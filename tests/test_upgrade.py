"""Upgrades of old files, against those of Caffe's upgrade_net_proto_text (master, 9b89154).

`data/upgrade/X.old.prototxt` is its input, `X.new.prototxt` its output.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sqgen import FormatError, build, parse_net, preset, read_net, summary
from sqgen.formats import prototxt
from sqgen.formats.caffemodel import parse_solver_state
from sqgen.formats.schema import BlobProto, NetParameter, SolverState, V1LayerParameter
from sqgen.nets.definition import parse_solver

from .conftest import DATA, Run

FOLDER = DATA / "upgrade"
CASES = sorted(path.name.partition(".")[0] for path in FOLDER.glob("*.old.prototxt"))


def recorded(name: str) -> object:
    net = NetParameter()
    path = FOLDER / f"{name}.new.prototxt"
    assert prototxt.parse(path.read_text(), net, path.name).warnings == []
    return net


@pytest.mark.parametrize("name", CASES)
def test_net_is_upgraded_as_caffe_does(name: str) -> None:
    net = read_net(FOLDER / f"{name}.old.prototxt")
    assert net.param == recorded(name)
    assert any("upgraded" in line for line in net.warnings + net.notes)


@pytest.mark.parametrize("name", CASES)
def test_command_writes_it_out(name: str, sqgen: Run, tmp_path: Path) -> None:
    done = sqgen("upgrade", str(FOLDER / f"{name}.old.prototxt"), "-o", "new.prototxt")
    assert (done.returncode, done.stdout) == (0, "")
    again = read_net(tmp_path / "new.prototxt")
    assert again.param == recorded(name)
    assert again.warnings == []


def test_an_input_header_is_no_warning(sqgen: Run, tmp_path: Path) -> None:
    """Published deploy nets begin so, and nothing is lost; only `upgrade` has to say it."""
    text = build(preset("v1.0"), "deploy")
    assert "\ninput: " in text
    assert parse_net(text).warnings == []
    (tmp_path / "deploy.prototxt").write_text(text)
    assert sqgen("summary", "deploy.prototxt").stderr == ""
    done = sqgen("upgrade", "deploy.prototxt")
    assert done.stderr == "sqgen: warning: deploy.prototxt: upgraded the input header\n"


def test_binary(sqgen: Run, tmp_path: Path) -> None:
    """A V1 caffemodel: layers are renamed, the numbers stay, extra fields too."""
    old = NetParameter()
    prototxt.parse((FOLDER / "v1.old.prototxt").read_text(), old, "v1")
    blob = next(layer for layer in old.layers if layer.name == "conv1").blobs.add(
        num=6, channels=1, height=1, width=2
    )
    blob.data.extend(range(12))
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    assert sqgen("upgrade", "old.caffemodel").returncode == 2
    done = sqgen("upgrade", "old.caffemodel", "-o", "new.caffemodel")
    assert done.returncode == 0, done.stderr
    new = NetParameter.FromString((tmp_path / "new.caffemodel").read_bytes())
    conv = next(layer for layer in new.layer if layer.name == "conv1")
    assert list(conv.blobs[0].data) == list(range(12))
    assert conv.blobs[0] == blob
    del conv.blobs[:]
    assert new == recorded("v1")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "is not a .caffemodel, or is truncated"),
        (lambda data: data.replace(b"\x08\x06\x10\x01", b"\x08\x07\x10\x01"), "12 elements for"),
    ],
)
def test_a_damaged_caffemodel_is_refused(
    damage: Callable[[bytes], bytes], message: str, sqgen: Run, tmp_path: Path
) -> None:
    """In the words of `weights show`, which reads the same file."""
    old = NetParameter()
    layer = old.layers.add(name="conv1", type=V1LayerParameter.CONVOLUTION, bottom=["DATA"])
    layer.blobs.add(num=6, channels=1, height=1, width=2).data.extend(range(12))
    (tmp_path / "w").write_bytes(damage(old.SerializeToString()))
    done = sqgen("upgrade", "w", "-o", "new.caffemodel")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr == sqgen("weights", "show", "w").stderr
    assert not (tmp_path / "new.caffemodel").exists()


@pytest.mark.parametrize("old", [True, False])
def test_names_that_are_not_utf_8(old: bool, sqgen: Run, tmp_path: Path) -> None:
    """Caffe takes them; their bytes become escapes, as in a prototxt, so that weights match."""
    net = NetParameter()
    kind = {"type": V1LayerParameter.CONVOLUTION} if old else {"type": "Convolution"}
    layer = (net.layers if old else net.layer).add(name="conv1", bottom=["DATA", "x"], **kind)
    layer.data_param.source = "FOLDER"
    layer.blobs.add(num=6, channels=1, height=1, width=2).data.extend(range(12))
    data = net.SerializeToString()
    for word in (b"conv1", b"DATA", b"FOLDER"):
        data = data.replace(word, word[:-1] + b"\xff")
    (tmp_path / "w").write_bytes(data)
    done = sqgen("upgrade", "w", "-o", "new.caffemodel")
    assert (done.returncode, done.stdout) == (0, "")
    assert "w: upgraded strings that are not UTF-8: their bytes are escapes" in done.stderr
    (new,) = NetParameter.FromString((tmp_path / "new.caffemodel").read_bytes()).layer
    assert (new.name, list(new.bottom)) == ("conv\\xff", ["DAT\\xff", "x"])
    assert new.data_param.source == "FOLDE\\xff"
    text = 'layer { name: "conv\\377" type: "Convolution" }'
    assert parse_net(text).param.layer[0].name == new.name
    shown = sqgen("weights", "show", "w")
    assert (shown.returncode, "conv" in shown.stdout) == (0, True)


def test_a_solver_state_whose_weights_have_such_a_name() -> None:
    state = SolverState(iter=3, learned_net="X/n.caffemodel", history=[BlobProto(data=[1.0])])
    state.history[0].shape.dim.append(1)
    data = state.SerializeToString().replace(b"X/", b"\xff/")
    assert parse_solver_state(data, "s").learned_net == "\\xff/n.caffemodel"


def test_v1_shapes() -> None:
    """The upgraded net is a net: its shapes work out."""
    net = read_net(FOLDER / "v1_deploy.old.prototxt")
    assert summary(net).layers[-1].tops == [("prob", (1, 6, 25, 29))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'layers { name: "a" type: RELU } layer { name: "b" type: "ReLU" }',
            "has both 'layers' .V1. and 'layer'",
        ),
        (
            'input: "d" layers { layer { name: "a" type: "relux" } bottom: "d" top: "x" }',
            "layer 'a': no V0 type 'relux'; did you mean 'relu'",
        ),
        (
            'layers { layer { name: "a" type: "relu" } bottom: "d" }',
            "layer 'a' reads unknown blob 'd'",
        ),
        (
            'input: "d" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "d" top: "p" }'
            ' layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" }',
            "padding layer 'p' feeds 'r'",
        ),
        (
            'input: "d" layers { layer { name: "a" type: "relu" pad: 1 } bottom: "d" top: "a" }',
            "layer 'a': a relu has no pad",
        ),
        ('input: "a" input_dim: 1 input_dim: 2', "2 input_dim; each input needs four"),
        ('input: "a" input: "b" input_shape { dim: 1 }', "2 input blobs, but dimensions for 1"),
    ],
)
def test_what_caffe_cannot_upgrade_is_told(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=f"old.prototxt: {message}"):
        parse_net(text, "old.prototxt")


def test_solver(sqgen: Run) -> None:
    """As upgrade_solver_proto_text: the enum becomes a name."""
    text = 'net: "a"\nsolver_type: NESTEROV\nlr_policy: "fixed"\n'
    done = sqgen("upgrade", "-", stdin=text)
    assert sorted(done.stdout.split("\n")) == [
        "",
        'lr_policy: "fixed"',
        'net: "a"',
        'type: "Nesterov"',
    ]
    assert parse_solver("solver_type: RMSPROP").type == "RMSProp"
    with pytest.raises(FormatError, match="sets both solver_type"):
        parse_solver('solver_type: SGD type: "SGD"', "s")


def test_current_files_stay_as_they_are() -> None:
    net = parse_net('name: "n" layer { name: "a" type: "Silence" bottom: "b" }')
    assert net.warnings == []
