"""Fields of Caffe's forks: dropped if the meaning stays, else refused, as other unknown fields."""

from __future__ import annotations

import pytest

from sqgen import FormatError, parse_net
from sqgen.formats.fork_fields import FORK_FIELDS
from sqgen.nets.definition import parse_solver

from .conftest import Run


def test_a_file_of_nvcaffe() -> None:
    net = parse_net(
        'name: "n"\ndefault_forward_type: FLOAT16\nlayer { name: "d" type: "Data"\n'
        "  data_param { threads: 4 cache: true source: 's' }\n"
        "  transform_param { use_gpu_transform: true crop_size: 5 } }\n"
        'layer { name: "c" type: "Convolution" forward_math: FLOAT\n'
        '  convolution_param { num_output: 3 kernel_size: 1 conv_algos_override: "1,2,3"} }',
        "nv.prototxt",
    )
    assert len(net.warnings) == 6
    assert all("(NVCaffe) is dropped: Caffe computes the same" in w for w in net.warnings)
    assert net.warnings[-1].startswith("nv.prototxt:2: NetParameter.default_forward_type")
    assert net.param.layer[0].data_param.source == "s"
    assert net.param.layer[0].transform_param.crop_size == 5
    assert net.param.layer[1].convolution_param.num_output == 3


def test_a_file_of_intel() -> None:
    net = parse_net(
        'engine: "MKLDNN"\nlayer { name: "c" type: "Convolution" engine: "MKL2017"\n'
        "  convolution_param { num_output: 3 kernel_size: 1 engine: MKL2017 relu: false } }",
        "intel.prototxt",
    )
    assert any("intel.prototxt:3: ConvolutionParameter.relu" in w for w in net.warnings)
    assert any("engine MKL2017 (Intel Caffe) is dropped" in w for w in net.warnings)
    assert not net.param.layer[0].convolution_param.HasField("engine")


@pytest.mark.parametrize(("value", "mode"), [("true", "CEIL"), ("false", "FLOOR")])
def test_ceil_mode_is_round_mode(value: str, mode: str) -> None:
    """forresti/SqueezeNet#33, apache/tvm PR#9828: two spellings of one rule."""
    text = f"layer {{ type: 'Pooling' pooling_param {{ kernel_size: 3 ceil_mode: {value} }} }}"
    net = parse_net(text, "n")
    param = net.param.layer[0].pooling_param
    modes = param.DESCRIPTOR.enum_types_by_name["RoundMode"].values_by_number
    assert modes[param.round_mode].name == mode
    assert net.warnings == [
        f"n:1: PoolingParameter.ceil_mode (SSD and others) is read as Caffe's round_mode: {mode}"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer { batch_norm_param { scale_bias: true } }", "n:1: BatchNormParameter.scale_bias"),
        (
            "layer { convolution_param {\n relu: true } }",
            "n:2: ConvolutionParameter.relu is a",
        ),
        ("layer { pooling_param { ceil_mode: true round_mode: FLOOR } }", "n:1: ceil_mode and"),
        (
            "layer { data_param { shuffle: true } }",
            "n:1: DataParameter.shuffle is a field",
        ),
        ("layer { pooling_param { avg_include_pad: false } }", "n:1: PoolingParameter.avg_inc"),
        (
            "layer { batch_norm_param { scale_bias: false } nane: 'a' }",
            "n:1:48: LayerParameter has",
        ),
        ("layer { pooling_param { ceil_mod: true } }", "n:1:25: PoolingParameter has no field"),
    ],
)
def test_what_changes_the_function_is_refused(text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_net(text, "n")
    assert str(caught.value).startswith(message)


def test_solvers_too() -> None:
    assert parse_solver('net: "n" solver_data_type: FLOAT16').net == "n"
    with pytest.raises(FormatError, match=r"min_lr is a field of NVCaffe, and 0\.1 changes"):
        parse_solver('net: "n" min_lr: 0.1')


def test_no_field_is_listed_twice_or_is_caffe_s_own() -> None:
    from sqgen.formats.schema import message_class

    paths = [field.path for field in FORK_FIELDS]
    assert len(paths) == len(set(paths))
    for field in FORK_FIELDS:
        assert field.name not in message_class(field.message).DESCRIPTOR.fields_by_name


def test_warnings_are_on_stderr(sqgen: Run) -> None:
    text = (
        'layer { name: "in" type: "Input" top: "a" input_param { shape { dim: 1 dim: 1 dim: 6'
        ' dim: 6 } } } layer { name: "p" type: "Pooling" bottom: "a" top: "p" pooling_param {'
        " kernel_size: 3 stride: 2 ceil_mode: false } }"
    )
    done = sqgen("summary", "-", stdin=text)
    assert done.returncode == 0
    assert done.stderr.startswith("sqgen: warning: standard input:1: PoolingParameter.ceil_mode")
    assert "1x1x2x2" in done.stdout
