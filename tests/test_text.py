"""The text of generated files: golden files, templates, escaping, options."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta

from sqgen import Design, build, build_solver, parse_net, preset
from sqgen import templates as room
from sqgen.formats import prototxt
from sqgen.formats.schema import NetParameter
from sqgen.generator.layer_list import NET_PHASES
from sqgen.templates.compile_templates import compile_template

from .conftest import DATA

GOLDEN = {
    "simple.trainval.prototxt": lambda: build(Design(bypass="simple")),
    "residual.trainval.prototxt": lambda: build(preset("residual")),
    "small.deploy.prototxt": lambda: build(
        Design(
            version="1.1",
            bypass="2:conv,3",
            bypass_relu=True,
            batch_norm=True,
            fire_modules=3,
            size=32,
            classes=10,
        ),
        "deploy",
    ),
    "simple.solver.prototxt": lambda: build_solver(Design(bypass="simple")),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    """Written again only by SQGEN_GOLDEN=write make test."""
    path, text = DATA / "golden" / name, GOLDEN[name]()
    if os.environ.get("SQGEN_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


VARIABLES = {
    "net.prototxt.j2": {"net"},
    "solver.prototxt.j2": {"design", "passes", "phase", "tested"},
    "layers.j2": set(),
    "page.html.j2": {"dark", "hashes", "kind", "page", "scripts", "specs", "style"},
    "page_style.css.j2": {"colours"},
    "page_script.js.j2": set(),
    "drawing.svg.j2": {
        *("colours", "font", "has_ground", "height", "left", "legend", "legend_y", "nets"),
        *("title", "top", "width"),
    },
    "net_page.html.j2": {"dark", "data", "nets", "script", "source", "style", "svg", "title"},
    "net_page_style.css.j2": {"colours"},
    "net_page_script.js.j2": set(),
}


@pytest.mark.parametrize("name", room.NAMES)
def test_templates_use_just_what_they_are_given(name: str) -> None:
    tree = room.environment().parse(room.source(name))
    assert meta.find_undeclared_variables(tree) == VARIABLES[name]


@pytest.mark.parametrize("name", room.NAMES)
def test_compiled_templates_are_fresh(name: str) -> None:
    path = room.FOLDER / "compiled" / f"{room.module_name(name)}.py"
    assert path.read_text(encoding="utf-8") == compile_template(name), "run `make templates`"


@pytest.mark.process
def test_templates_work_without_the_compiled_ones() -> None:
    """Another series of Jinja2, or an edited template: compiled on the spot, the same text."""
    code = (
        "import sys; from sqgen import Design, build, templates\n"
        "from sqgen.templates.compiled import net\n"
        "templates.jinja_series, net.root = lambda: '0.0', None\n"
        "sys.stdout.write(build(Design()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, build(Design()), "")


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        room.environment().from_string("{{ nothing }}").render()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_no_string_breaks_out_of_its_quotes(text: str) -> None:
    net: Any = NetParameter()
    prototxt.parse(f"name: {room.quote(text)}\nforce_backward: true", net, "net")
    assert net.name == text
    assert net.force_backward


LAYERS = build(Design()).count("\nlayer {")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_paths_come_through(text: str) -> None:
    design = Design(train_source=text, mean_file=text, snapshot_prefix=text, net_path=text)
    net = build(design)
    data = parse_net(net).param.layer[0]
    assert data.data_param.source == data.transform_param.mean_file == text
    assert net.count("\nlayer {") == LAYERS


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20))
def test_numbers_come_through(value: float) -> None:
    assert float(room.number(value)) == float(value)


def layers(net: str = "trainval", **options: object) -> dict[str, Any]:
    """Layer name -> layer; the data layers as data/TRAIN and data/TEST."""
    parsed = parse_net(build(Design().with_options(**options), net))
    found: dict[str, Any] = {}
    for layer in parsed.param.layer:
        phase = ["TRAIN", "TEST"][layer.include[0].phase] if layer.include else ""
        found[f"{layer.name}/{phase}" if layer.name == "data" and phase else layer.name] = layer
    return found


def test_clean_by_default() -> None:
    net = layers()
    assert net["data/TRAIN"].transform_param.mirror
    assert not net["data/TEST"].transform_param.HasField("mirror")
    assert not net["loss"].include
    assert [rule.phase for rule in net["accuracy_top1"].include] == [1]
    assert [rule.phase for rule in net["accuracy_top5"].include] == [1]
    assert not net["data/TRAIN"].data_param.source.startswith("/")
    assert "accuracy_top5" not in layers(classes=4)
    assert "accuracy_top5" in layers(classes=5)


@pytest.mark.parametrize("net", NET_PHASES)
def test_one_phase_nets(net: str) -> None:
    kinds = [layer.type for layer in layers(net).values()]
    assert ("Data" in kinds) == (net != "deploy")
    assert ("Accuracy" in kinds) == (net in ("trainval", "val"))
    assert ("SoftmaxWithLoss" in kinds) == (net != "deploy")
    assert ("Softmax" in kinds) == (net == "deploy")
    if net != "trainval":
        assert not any(layer.include for layer in layers(net).values())


def test_deploy_is_what_npu_toolchains_take() -> None:
    """One phase, Input, batch 1, top equal to name unless in place, no Dropout."""
    net = layers("deploy", bypass="complex", batch_norm=True)
    assert list(net["data"].input_param.shape[0].dim) == [1, 3, 227, 227]
    for layer in net.values():
        assert layer.type not in ("Data", "Accuracy", "Dropout", "SoftmaxWithLoss")
        assert layer.type == "Input" or list(layer.top) in ([layer.name], list(layer.bottom))
        assert not layer.convolution_param.HasField("weight_filler")


def test_fine_tuning_renames_the_classifier() -> None:
    """forresti/SqueezeNet#9, NVIDIA/DIGITS#1488: which layer, which learning rates."""
    net = layers(classes=10)
    assert "conv10" not in net
    classifier = net["conv10_10"]
    assert [(p.lr_mult, p.decay_mult) for p in classifier.param] == [(10, 1), (20, 0)]
    assert list(classifier.top) == ["conv10_10"]
    cats = layers(classes=10, classifier="cats")["cats"]
    assert [p.lr_mult for p in cats.param] == [10, 20]
    assert not layers(classes=10, classifier="conv10")["conv10"].param
    assert not layers(classes=10, classifier_lr=1)["conv10_10"].param
    assert [p.lr_mult for p in layers(classes=10, classifier_lr=5)["conv10_10"].param] == [5, 10]
    assert not layers()["conv10"].param


def test_data_options() -> None:
    net = layers(
        train_source="t",
        val_source='v"x',
        backend="leveldb",
        batch_size=7,
        val_batch_size=9,
        mean_values=(1.5, 2.0, 3.0),
        scale=0.017,
        mirror=False,
        crop=False,
    )
    train, val = net["data/TRAIN"], net["data/TEST"]
    assert (train.data_param.source, val.data_param.source) == ("t", 'v"x')
    assert (train.data_param.batch_size, val.data_param.batch_size) == (7, 9)
    assert train.data_param.backend == val.data_param.backend == 0
    assert list(train.transform_param.mean_value) == [1.5, 2, 3]
    assert train.transform_param.scale == pytest.approx(0.017)
    assert not train.transform_param.HasField("mirror")
    assert not train.transform_param.HasField("crop_size")
    mean = layers(mean_file="mean.binaryproto")["data/TEST"].transform_param
    assert (mean.mean_file, list(mean.mean_value)) == ("mean.binaryproto", [])
    gray = layers(backend="imagedata", channels=1, size=28)["data/TRAIN"].image_data_param
    assert (gray.new_height, gray.is_color, gray.shuffle) == (32, False, True)
    assert layers(backend="imagedata")["data/TRAIN"].image_data_param.new_width == 256
    assert layers(channels=1)["data/TEST"].transform_param.force_gray


def test_other_options() -> None:
    assert list(layers(concat_order="3x3,1x1")["fire2/concat"].bottom) == [
        "fire2/expand3x3",
        "fire2/expand1x1",
    ]
    assert list(layers(conv10_pad=0)["conv10"].convolution_param.pad) == []
    assert list(layers()["conv10"].convolution_param.pad) == [1]
    assert layers(explicit_pool10=True)["pool10"].pooling_param.kernel_size == 15
    assert layers()["pool10"].pooling_param.global_pooling
    assert "drop9" not in layers(dropout=0)
    assert "fire2/conv1x1_1" in layers(naming="firenet")
    assert "2/squeeze1x1" in layers(naming="generator")
    assert parse_net(build(Design(name="mine"))).param.name == "mine"
    assert not parse_net(build(Design(name=""))).param.HasField("name")
    scaled = layers(batch_norm=True)
    assert scaled["conv1_bn"].type == "BatchNorm"
    assert scaled["conv1_scale"].scale_param.bias_term


def test_presets_keep_their_stem_and_padding_at_any_size() -> None:
    small = preset("residual").with_options(size=64)
    assert small.stem_kind == "1.0"
    assert small.classifier_pad == 1
    assert Design(size=64).stem_kind == "small"


def test_solvers_that_caffe_takes() -> None:
    """sgd_solvers.hpp: no momentum with AdaGrad and RMSProp."""
    for kind in ("AdaGrad", "RMSProp"):
        assert "momentum" not in build_solver(Design(solver_type=kind))
    assert "momentum: 0.9\n" in build_solver(Design(solver_type="Nesterov"))


def test_solver_batches() -> None:
    """BVLC/caffe#4143: batch size x iter_size x GPUs is the effective batch."""
    text = build_solver(Design(effective_batch=512, batch_size=32, gpus=2))
    assert "iter_size: 8\n" in text
    assert "32 x 8 passes x 2 GPU = 512 images an update" in text
    assert "solver_mode: CPU" in build_solver(Design(cpu=True))
    assert "test_iter: 2000\n" in build_solver(Design())
    odd = build_solver(Design(val_images=297, val_batch_size=25))
    assert "test_iter: 12\n" in odd
    assert "the first 3 of 297 count twice" in odd
