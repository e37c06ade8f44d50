"""Fields and layer types of Caffe's forks: each stops only what it touches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqgen import FormatError, Net, NetError, diff_nets, lint_net, parse_net, summary
from sqgen.formats.fork_fields import COMPUTED, TESTED, TRAINED, Effect, fork_fields, fork_values
from sqgen.formats.schema import message_class
from sqgen.nets.definition import parse_solver
from sqgen.nets.deploy import deploy_net
from sqgen.nets.fork_types import FORK_TYPES
from sqgen.nets.inference_graph import inference_graph
from sqgen.nets.layer_types import is_caffe_type
from sqgen.nets.solver_rules import lint_solver

from . import engine_server
from .conftest import Run
from .small_nets import conv, net_input

DATA = """name: "n"
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param {
    crop_size: 8
    %s
  }
  data_param {
    source: "nowhere" batch_size: 4
    %s
  }
}
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 8 }
  data_param { source: "nowhere" batch_size: 2 }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


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
    assert net.warnings[0].startswith("nv.prototxt:2: NetParameter.default_forward_type")
    assert net.param.layer[0].data_param.source == "s"
    assert net.param.layer[0].transform_param.crop_size == 5
    assert net.param.layer[1].convolution_param.num_output == 3
    net.require_caffe("TRAIN", TRAINED)


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
        (
            "layer { pooling_param {\n ceil_mode: true round_mode: FLOOR } }",
            "n:2:2: ceil_mode and",
        ),
        (
            "layer { type: 'BatchNorm' batch_norm_param { scale_bias: false } nane: 'a' }",
            "n:1:66: LayerParameter has no field 'nane'; did you mean 'name'?",
        ),
        ("layer { pooling_param { ceil_mod: true } }", "n:1:25: PoolingParameter has no field"),
        # `max_iter` is set already: who follows the suggestion sets it twice.
        ("max_iter: 1 max_itre: 2", "n:1:13: SolverParameter has no field 'max_itre'"),
    ],
)
def test_what_no_fork_has_is_an_error(text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_net(text, "n")
    assert str(caught.value).startswith(message)
    assert message.endswith("?") or "did you mean" not in str(caught.value) or "ceil" in message


@pytest.mark.parametrize(
    ("transform", "data", "fork"),
    [
        ("", "shuffle: true", "NVCaffe, Intel Caffe and others"),
        ("resize_param { prob: 1 height: 9 width: 9 interp_mode: LINEAR }", "", "SSD and others"),
        ("img_rand_resize_lower: 256", "", "NVCaffe"),
        ("random_resize_param { }", "side: 1 side: 2", "Intel Caffe"),
    ],
)
def test_records_of_a_fork_stop_only_runs_that_read_them(
    transform: str, data: str, fork: str, sqgen: Run, tmp_path: Path
) -> None:
    """13 and 14 of the reports: 24 and 131 public files were refused for nothing else."""
    ours, theirs = parse_net(DATA % ("", ""), "n"), parse_net(DATA % (transform, data), "n")
    line = 6 if transform else 10
    assert theirs.warnings[0].startswith(f"n:{line}: ")
    assert f"({fork}) is left out: it " in theirs.warnings[0]
    for phase in ("TRAIN", "TEST"):
        assert summary(theirs, phase) == summary(ours, phase)
    assert lint_net(theirs) == [] == lint_net(ours)
    (difference, *_) = diff_nets(ours, theirs)
    assert (difference.layer, difference.phases) == ("data", ("TRAIN",))
    assert "is not set in A" in difference.message
    theirs.require_caffe("TRAIN", COMPUTED)
    theirs.require_caffe("TEST", TESTED)  # the layer of TEST has none
    with pytest.raises(FormatError, match=rf"n:{line}: layer 'data': .*; prepare the records so"):
        theirs.require_caffe("TRAIN", TRAINED)
    (tmp_path / "n").write_text(DATA % (transform, data))
    for command in ("summary", "lint"):
        assert sqgen(command, "n").returncode == 0
    assert sqgen("diff", "n", "n").returncode == 0
    written = sqgen("upgrade", "n")
    assert (written.returncode, written.stderr.count("is left out")) == (0, len(theirs.warnings))
    assert parse_net(written.stdout).param == ours.param


def test_the_engine_names_the_field_that_stops_it(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "n").write_text(DATA % ("", "shuffle: true"))
    (tmp_path / "s").write_text('net: "n" base_lr: 0.1 lr_policy: "fixed" max_iter: 2')
    result = engine_server.run("sqgen.engine", ["train", "--solver=s"], cwd=tmp_path)
    assert result.returncode == 2
    message = "n:10: layer 'data': DataParameter.shuffle (NVCaffe, Intel Caffe and others) shuffles"
    assert message in result.stderr.decode()


@pytest.mark.parametrize(
    ("kind", "fields", "about"),
    [
        ("ELU", "elu_param { lambda: 1.5 }", "scales the output"),
        ("ReLU", "quantization_param { precision: INTEGER }", "quantizes"),
        ("SoftmaxWithLoss", "loss_param { label_smoothing: 0.1 }", "smoothes the labels"),
    ],
)
def test_another_function_stops_what_computes(kind: str, fields: str, about: str) -> None:
    bottoms = "a b" if kind.endswith("Loss") else "a"
    text = net_input(2) + conv("a", "data", 2) + conv("b", "data", 1)
    text += f'layer {{ name: "x" type: "{kind}" top: "x" {fields} '
    text += " ".join(f'bottom: "{name}"' for name in bottoms.split()) + " }"
    net = parse_net(text, "n")
    assert summary(net).layers[-1].name == "x"
    with pytest.raises(FormatError, match=rf"n:4: layer 'x': .* {about}.*; write it with Caffe's"):
        Net(net)
    if not kind.endswith("Loss"):
        with pytest.raises(FormatError, match=about):
            deploy_net(net)
    if kind.endswith("Loss"):
        inference_graph(net)  # weights can be mapped: a loss takes no part
    else:
        with pytest.raises(FormatError, match=about):
            inference_graph(net)


def test_another_shape_is_unknown() -> None:
    text = net_input(2) + (
        'layer { name: "p" type: "Pooling" bottom: "data" top: "p"\n'
        " pooling_param { kernel_size: 2 torch_pooling: true } }"
    )
    found = summary(parse_net(text, "n"))
    assert (found.unknown, found.layers[-1].tops) == (["p"], [("p", None)])
    assert found.warnings[0].startswith("n:2: layer 'p': PoolingParameter.torch_pooling (NVCaffe)")
    with pytest.raises(NetError, match="torch_pooling"):
        Net(parse_net(text, "n"))


@pytest.mark.parametrize(
    "field",
    [
        "rampup_interval: 5",
        "min_lr: 0.1",
        "larc: true",
        'momentum_policy: "poly"',
        "warmup_iter: 9",
        "local_lr_auto: true",
        "stagelr: 1 stagelr: 2",
        "sparse_mode: SPARSE_UPDATE",
    ],
)
def test_a_training_of_a_fork(field: str, sqgen: Run, tmp_path: Path) -> None:
    """17 of the reports: of 431 public solvers, 73 were refused with a wrong suggestion."""
    text = f'net: "n"\nbase_lr: 1\nlr_policy: "fixed"\nmax_iter: 3\n{field}'
    with pytest.raises(FormatError) as caught:
        parse_solver(text, "s")
    assert str(caught.value).startswith("s:5: SolverParameter.")
    assert "did you mean" not in str(caught.value)
    (tmp_path / "n").write_text(DATA % ("", ""))
    (tmp_path / "s").write_text(text)
    done = sqgen("lint", "s", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert done.stderr.startswith("sqgen: warning: s:5: SolverParameter.")


def test_solvers_without_effect() -> None:
    text = 'net: "n" solver_data_type: FLOAT16 larc: false larc_policy: "clip" warmup_iter: 0'
    warnings: list[str] = []
    assert parse_solver(text, "s", warnings).net == "n"
    assert len(warnings) == 4


@pytest.mark.parametrize("case", ["intel_solver.prototxt", "nv_solver.prototxt"])
def test_reported_solvers(case: str, sqgen: Run, shared: Path) -> None:
    done = sqgen("lint", str(shared / "reported" / "17-solver-fields-of-forks-misnamed" / case))
    assert done.returncode == 0
    assert "did you mean" not in done.stdout + done.stderr
    assert ("Intel Caffe" if "intel" in case else "NVCaffe") in done.stderr


@pytest.mark.parametrize(
    "case", ["13-data-shuffle-refused", "14-transform-of-a-fork-blocks-summary"]
)
def test_reported_nets(case: str, sqgen: Run, shared: Path) -> None:
    net = str(shared / "reported" / case / "train_val.prototxt")
    assert sqgen("summary", net).returncode == 0
    assert sqgen("lint", net).returncode == 0
    assert sqgen("diff", net, net).returncode == 0
    assert sqgen("upgrade", net).returncode == 0


def test_a_field_of_a_layer_that_caffe_lacks(sqgen: Run) -> None:
    text = net_input() + (
        'layer { name: "x" type: "Mine" bottom: "data" top: "x" mine_param { a { b: [1] } } }\n'
        'layer { name: "y" type: "PriorBox" bottom: "x" prior_box_param { min_size: 3 } }'
    )
    net = parse_net(text, "n")
    assert [layer.type for layer in net.param.layer] == ["Input", "Mine", "PriorBox"]
    assert net.warnings == []  # the types are remarked
    (difference,) = diff_nets(net, parse_net(text.replace("min_size: 3", "min_size: 4"), "n"))
    assert difference.layer == "y"
    assert difference.message.startswith("LayerParameter.prior_box_param is { min_size : 3 } in A")
    done = sqgen("upgrade", "-", stdin=text)  # it would lose the field
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input:2: layer 'x': LayerParameter.mine_param (type Mine) is" in done.stderr
    with pytest.raises(FormatError, match="n:1:27: LayerParameter has no field 'mine_param'"):
        parse_net('layer { type: "Pooling"    mine_param { a: 1 } }'.replace("    ", "   "), "n")


@pytest.mark.parametrize("name", ["PriorBox", "Axpy", "L1Loss"])
def test_layer_types_of_forks_are_no_misspellings(name: str) -> None:
    net = parse_net(net_input() + f'layer {{ name: "x" type: "{name}" bottom: "data" top: "x" }}')
    (finding,) = [each for each in lint_net(net, phases="TEST") if each.rule.name == "type"]
    assert FORK_TYPES[name] in finding.message
    assert "did you mean" not in finding.message


@pytest.mark.parametrize(
    ("policy", "whose"), [("multifixed", "Intel Caffe's"), ("stepearly", "SegNet's")]
)
def test_policies_of_forks_are_no_misspellings(policy: str, whose: str) -> None:
    (problem, *_) = lint_solver(parse_solver(f'net: "n" lr_policy: "{policy}" base_lr: 1'))
    assert problem[1].startswith(f"no lr_policy '{policy}' in Caffe; it is {whose}")


def test_fillers_of_forks_are_no_misspellings() -> None:
    more = "weight_filler { type: 'gaussianstatic' }"
    net = parse_net(net_input() + conv("a", "data", 2, more=more))
    (finding,) = lint_net(net, phases="TEST")
    assert "no filler type 'gaussianstatic' in Caffe; it is NVCaffe's" in finding.message


def test_the_tables_list_nothing_twice_nor_what_is_caffe_s() -> None:
    paths = [field.path for field in (*fork_fields(), *fork_values())]
    assert len(paths) == len(set(paths))
    for field in fork_fields():
        assert field.name not in message_class(field.message).DESCRIPTOR.fields_by_name
        assert field.effect is not Effect.NOTHING or field.neutral is None
    for value in fork_values():
        owner, _, enum = value.message.partition(".")
        values = message_class(owner).DESCRIPTOR.enum_types_by_name[enum].values_by_name
        assert value.name not in values
    assert not any(map(is_caffe_type, FORK_TYPES))


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
