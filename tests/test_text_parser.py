"""Parsing protobuf text: as protobuf's C++ library (3.21.12) reads it, which Caffe uses."""

from __future__ import annotations

import math
import shutil
import subprocess
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen.formats.schema import PROTO, LayerParameter, NetParameter
from sqgen.formats.text_parser import Field, TextError, TextParser

# What `protoc --encode=caffe.NetParameter` made of each text.
ACCEPTED = r"""
input_dim: - 1 ; input_dim: -2147483648, input_dim:0x10 input_dim: 010
input_dim: []
input_dim: [1, 2]
input: "a" "b" 'c'
layer{loss_weight: 1.e5f loss_weight:.5 loss_weight: - inf loss_weight: INFINITY}
layer{loss_weight: 18446744073709551616 loss_weight: 1e400 loss_weight: 0e1 loss_weight: 1f}
force_backward: 0x1
force_backward: t
layer: [{name: "a"}, <name: "b">];
layer [{name: "a"}]
layer{phase: 1}
layer{phase: -0}
name: "\777\xff\x4\?\u00e9\U0001F600\ud83d\ude00"
name: "a" # caf\xe9
layer { convolution_param { kernel_size: 3 kernel_h: 3 } }
""".strip().split("\n")
REFUSED = r"""
input_dim: 08
input_dim: 1input_dim: 2
input_dim: 1.0
input_dim: 12_0
input_dim: +8
input_dim: - - 1
input_dim: 2147483648
input_dim: [1, 2,]
input_dim: 1;;
layer{loss_weight: 0x10}
layer{loss_weight: 010}
layer{loss_weight: 1e}
layer{loss_weight: 1.2.3}
layer{loss_weight: 00.5}
layer{loss_weight: 1ff}
force_backward: TRUE
force_backward: 2
layer{phase: 7}
layer{phase: "TEST"}
layer { clip_param { min: 1 } }
layer { name: "a" >
layer {}}
name: "a" name: "b"
name: "\q"
name: "\x"
name: "a
name "a"
name:: "a"
na?me: 1
[foo.bar]: 1
{name: "a"}
""".strip().split("\n")
# Values of Python's own that protoc prints: bytes of a message in wire format.
STRINGS = [
    (r'"\101\x41\n\t\\\"\'"', "AA\n\t\\\"'"),
    (r"'\ud83d\ude00\U0001F600\u00e9'", "\U0001f600\U0001f600\u00e9"),
    (r'"\377"', "\\xff"),
    (r'"\ud83d"', "\\xed\\xa0\\xbd"),
    ("\"\u00e9\" 'x'", "\u00e9x"),
]


def parse(text: str) -> tuple[Any, list[Field]]:
    parser, net = TextParser(text), NetParameter()
    fields = parser.parse(net)
    assert not parser.unknown
    return net, fields


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_caffe_reads(text: str) -> None:
    parse(text)


@pytest.mark.parametrize("text", [*REFUSED, 'name: "a\nb"', 'name: "a\\\nb"', "name:\u00a0'a'"])
def test_what_caffe_refuses(text: str) -> None:
    parser = TextParser(text)
    try:
        parser.parse(NetParameter())
    except TextError:
        return
    assert parser.unknown


@pytest.mark.parametrize(("text", "value"), STRINGS)
def test_strings(text: str, value: str) -> None:
    assert parse(f"name: {text}")[0].name == value


def test_numbers() -> None:
    net, _ = parse("layer { loss_weight: [-1e-3, 1E+5, .5f, 7, -inf, Infinity, 1e39, nan, - 2.F] }")
    values = list(net.layer[0].loss_weight)
    assert math.isnan(values.pop(7))
    expected = [-1e-3, 1e5, 0.5, 7, -math.inf, math.inf, math.inf, -2]
    assert values == pytest.approx(expected, rel=1e-6)


def test_fields_have_places() -> None:
    text = "name: 'layer'\nlayer { # layer\n  top: 'x' top: 'y'\n} layer [{},\n <bottom: 'layer'>]"
    _, fields = parse(text)
    assert [(f.name, text.count("\n", 0, f.offset) + 1) for f in fields] == [
        ("name", 1),
        ("layer", 2),
        ("layer", 4),
        ("layer", 5),
    ]
    assert [text[f.offset :][:8] for f in fields[1].fields] == ["top: 'x'", "top: 'y'"]


def test_unknown_fields_are_listed_with_their_values() -> None:
    text = (
        "layer { a: -1.5 b: true c: Word d: 'x' 'y' e { f: [1, <g: '}'>] } }\nlayer { a: [] }"
        " layer { convolution_param { engine: MKL num_output: 3 } }"
    )
    parser, net = TextParser(text), NetParameter()
    parser.parse(net)
    assert [(each.name, each.value, each.entry) for each in parser.unknown] == [
        ("a", -1.5, 0),
        ("b", True, 0),
        ("c", "Word", 0),
        ("d", "xy", 0),
        ("e", "{ f : [ 1 , < g : '}' > ] }", 0),
        ("a", "[ ]", 1),
        ("engine", "MKL", 2),
    ]
    assert parser.unknown[-1].enum == "ConvolutionParameter.Engine"
    assert isinstance(parser.unknown[-1].path[1], LayerParameter)
    assert net.layer[2].convolution_param.num_output == 3


def test_a_lone_surrogate() -> None:
    with pytest.raises(TextError, match="surrogate"):
        parse("name: '\ud800'")


def test_a_deep_message_of_a_fork() -> None:
    parser = TextParser("x { " * 50_000 + "}" * 50_000)
    parser.parse(NetParameter())
    with pytest.raises(TextError, match="the end of a message"):
        TextParser("x { " * 50_000).parse(NetParameter())


PIECES = (
    'name: "a"',
    "name: 'b' \"c\"",
    'layer { name: "x" }',
    "layer: <name: 'y'>",
    "input_dim: 1,",
    "input_dim: [1, -2];",
    "input_dim: 0x1f",
    "layer { loss_weight: [1.5, .5, 1e3, 7, inf] }",
    "force_backward: true",
    "state { phase: TEST stage: 'a' level: -3 }",
    "input_shape { dim: 1, dim: 2; }",
    "layer { convolution_param { kernel_size: [3, 3] stride: 2 engine: CAFFE } }",
    "# comment",
)
NOISE = st.sampled_from([*"0123456789.eExXfF_ab\"'\\#{}[]<>:;,-+ \n", "dim", "inf", "\u00e9"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Whole fields, some with a few characters more or less."""
    text = "\n".join(draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(NOISE) + text[at + draw(st.integers(0, 2)) :]
    return text


@given(st.lists(st.sampled_from(PIECES), max_size=6, unique_by=lambda piece: piece[:4]))
def test_python_s_parser_agrees_on_what_both_read(pieces: list[str]) -> None:
    text, theirs = "\n".join(pieces), NetParameter()
    text_format.Parse(text, theirs)
    assert parse(text)[0] == theirs


def protoc_version() -> str:
    """That of the protoc on the PATH; empty if there is none."""
    if shutil.which("protoc") is None:
        return ""
    return subprocess.run(
        ["protoc", "--version"], capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.skipif(
    not protoc_version().startswith("libprotoc 3."),
    reason="needs protoc 3 on the PATH: its parser is Caffe's",
)
@settings(max_examples=60)
@given(texts())
def test_protoc_agrees(text: str) -> None:
    command = ["protoc", "--encode=caffe.NetParameter", PROTO.name]
    done = subprocess.run(
        command, input=text.encode(), capture_output=True, check=False, cwd=PROTO.parent
    )
    parser, net = TextParser(text), NetParameter()
    try:
        parser.parse(net)
        is_read = not parser.unknown
    except TextError:
        is_read = False
    assert is_read == (done.returncode == 0)
    if is_read and not parser.escaped:
        assert net == NetParameter.FromString(done.stdout)
