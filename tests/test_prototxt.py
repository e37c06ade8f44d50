"""Parsing prototxt: line numbers, suggestions, unusual encodings, hostile input."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqgen import FormatError, parse_net, read_net
from sqgen.formats import prototxt
from sqgen.formats.schema import NetParameter
from sqgen.nets.definition import parse_solver


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'layer {\n  nane: "a"\n}',
            "net.prototxt:2:3: LayerParameter has no field 'nane'; did you mean 'name'?",
        ),
        (
            "layer {\n  convolution_param {\n    kernel_sise: 3 } }",
            "net.prototxt:3:5: ConvolutionParameter has no field 'kernel_sise';"
            " did you mean 'kernel_size'?",
        ),
        (
            "layer { pooling_param { pool: MAXX } }",
            "net.prototxt:1:31: PoolingParameter.PoolMethod has no value 'MAXX';"
            " did you mean 'MAX'?",
        ),
        (
            "layer { include { phase: TRIAN } }",
            "net.prototxt:1:26: Phase has no value 'TRIAN'; did you mean 'TRAIN'?",
        ),
        ("layer {\n", "net.prototxt:2:1: Expected '}', but the file ends"),
        ('name: "a\nb"', "net.prototxt:1:7: "),
        ("layer { dropout_param { dropout_ratio: half } }", "net.prototxt:1:40: "),
        ("input_dim: 99999999999999999999", "net.prototxt:1:12: "),
        ('name: "a" name: "b"', "net.prototxt:1:11: name is set twice"),
        ("layer {\n  clip_param { min: 1 } }", "net.prototxt:1:1: layer[0].clip_param.max is"),
        ("zzzzqqqq: 1", "net.prototxt:1:1: NetParameter has no field 'zzzzqqqq'"),
    ],
)
def test_mistakes_have_a_place(text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_net(text, "net.prototxt")
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()


def test_a_solver_is_no_net_and_a_net_no_solver() -> None:
    with pytest.raises(FormatError, match=r"s\.prototxt: is a solver, not a net"):
        parse_net('net: "a"\nbase_lr: 0.1', "s.prototxt")
    with pytest.raises(FormatError, match=r"n\.prototxt: is a net, not a solver"):
        parse_solver("layer { }", "n.prototxt")
    with pytest.raises(FormatError, match=r"t\.prototxt:1:1: SolverParameter has no field"):
        parse_solver("bse_lr: 1", "t.prototxt")


@pytest.mark.parametrize("depth", [99, 5_000, 200_000])
def test_nested_braces(depth: int) -> None:
    with pytest.raises(FormatError):
        parse_net("layer {" * depth, "deep.prototxt")
    with pytest.raises(FormatError):
        parse_net("{" * depth, "deep.prototxt")


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\2",
        b"\x89HDF\r\n",
        b"\x1f\x8b\x08",
        b"PK\x03\x04",
        b"layer {\0}",
        b"\x0a\x03abc\x12\0",
    ],
)
def test_binary_is_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(FormatError, match="is binary, not text"):
        read_net(tmp_path / "a")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a folder"):
        read_net(tmp_path)
    with pytest.raises(FormatError, match="no such file"):
        read_net(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="null"):
        read_net("a\0b")
    big = tmp_path / "big.prototxt"
    with open(big, "wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(FormatError, match="larger than 16 MiB"):
        read_net(big)


def test_odd_encodings(tmp_path: Path) -> None:
    latin = tmp_path / "latin.prototxt"
    latin.write_bytes(b'# caf\xe9\r\nname: "net"\r\nlayer { name: "a" type: "Silence" }\r\n')
    assert read_net(latin).param.name == "net"
    (tmp_path / "bom").write_bytes(b'\xef\xbb\xbfname: "net"')
    assert read_net(tmp_path / "bom").param.name == "net"
    (tmp_path / "bad").write_bytes(b'name:\n"caf\xe9" input: "\\351"')
    net = read_net(tmp_path / "bad")
    assert (net.param.name, net.warnings[0]) == (
        "caf\\xe9",
        f"{tmp_path}/bad:2: a string that is not UTF-8 is read with its bytes as escapes; write the"
        " file as UTF-8",
    )


def test_lines_of_layers() -> None:
    text = (
        '# layer {\nname: "layer {"\n'
        "layer { name: 'a' # }\n}\n\n"
        "layer <\n  name: 'layer { \\' }'\n>\nlayer{}layer: [{ },\n{}]"
    )
    net = parse_net(text, "n")
    places = [net.place(layer) for layer in net.param.layer]
    assert places == ["n:3", "n:6", "n:9", "n:9", "n:10"]
    assert parse_net('layer { name: "a" }\n\nlayer { name: "b" }', "n").place(None) == "n"


def test_a_net_made_of_text_knows_its_places() -> None:
    net = parse_net('input: "data" input_shape { dim: 1 }\nlayer {}\n\nlayer {}', "n")
    assert [net.place(layer) for layer in net.param.layer] == ["n:1", "n:2", "n:4"]


def test_text_comes_back() -> None:
    net = NetParameter()
    layer = net.layer.add(name='quo"te\n', type="Eltwise")
    layer.eltwise_param.coeff.extend([1, -0.1, 1e-38, float("inf")])
    again = NetParameter()
    assert prototxt.parse(prototxt.to_text(net), again, "net").warnings == []
    assert again == net
