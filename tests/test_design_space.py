"""The design space: valid designs build valid files; invalid ones give a one-line error."""

from __future__ import annotations

import math
import re
import shlex
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import Design, DesignError, NetError, build, build_solver, parse_net, summary
from sqgen.formats import toml
from sqgen.generator.design_fields import FIELDS
from sqgen.generator.layer_list import NET_PHASES
from sqgen.generator.options import (
    command_line,
    design_from_table,
    format_design,
    parse_value,
)
from sqgen.generator.presets import PRESETS, preset
from sqgen.nets.definition import parse_solver
from sqgen.nets.lint import ERROR, lint_net

from .designs import designs, options


def from_command(line: str) -> tuple[Design, str]:
    """The design and net of a command as a shell reads it, by the table of options alone."""
    words = shlex.split(line)[2:]
    design, net, flags = Design(), "trainval", {f.metadata["flag"]: n for n, f in FIELDS.items()}
    chosen: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word == "--preset":
            design = preset(words.pop(0))
        elif word == "--net":
            net = words.pop(0)
        elif word.startswith("--no-"):
            chosen[flags[f"--{word[5:]}"]] = False
        elif str(FIELDS[flags[word]].type) == "bool":
            chosen[flags[word]] = True
        else:
            chosen[flags[word]] = parse_value(flags[word], words.pop(0))
    return design.with_options(**chosen), net


@pytest.mark.slow
@given(designs(), st.sampled_from(list(NET_PHASES)))
def test_legal_designs_make_nets(design: Design, net: str) -> None:
    text = build(design, net)
    assert build(design, net) == text
    assert min(text.replace("\n", " ")) == " ", "a control character stands unescaped"
    parsed = parse_net(text)
    summaries = [summary(parsed, phase, design.image) for phase in NET_PHASES[net]]
    findings = lint_net(parsed, design.image, NET_PHASES[net])
    assert [finding for finding in findings if finding.rule.severity == ERROR] == []
    for one in summaries:
        convolutions = [layer for layer in one.layers if layer.type == "Convolution"]
        shape = convolutions[-1].tops[0][1]
        assert shape is not None
        assert shape[1] == design.classes
        assert one.unknown == []
        assert one.totals.batch >= 1


@given(designs())
def test_legal_designs_make_solvers(design: Design) -> None:
    try:
        text = build_solver(design)
    except DesignError as error:
        assert str(error).startswith("--effective-batch")
        assert design.effective_batch % (design.batch_size * design.gpus)
        return
    solver = parse_solver(text)
    assert solver.net == design.net_path
    assert solver.snapshot_prefix == design.snapshot_prefix
    if design.iter_size is None:
        images = solver.iter_size * design.batch_size * design.gpus
        assert images == design.effective_batch
    if design.test_iter is None:
        tested = solver.test_iter[0] * design.val_batch_size
        assert design.val_images <= tested < design.val_images + design.val_batch_size


@given(designs())
def test_design_file_brings_the_design_back(design: Design) -> None:
    text = format_design(design)
    assert text.startswith(f"# {command_line('build', design)}\n[net]")
    assert design_from_table(toml.parse(text.encode(), "design.toml"), "design.toml") == design


@given(designs(), st.sampled_from(list(NET_PHASES)))
def test_the_command_in_the_header_makes_the_same_bytes(design: Design, net: str) -> None:
    text = build(design, net)
    line = text.splitlines()[0].removeprefix("# ")
    assert line == command_line("build", design, net)
    if "$'" in line:  # bash, not shlex, reads those: test_cli.py
        return
    again, wanted = from_command(line)
    assert (again, wanted) == (design, net)


@given(options())
def test_what_makes_no_net_is_told_in_one_line(chosen: dict[str, Any]) -> None:
    try:
        design = Design(**chosen)
    except DesignError as error:
        line = str(error)
        assert line.isprintable(), repr(line)
        assert line.startswith("--")
        return
    assert design.fire_filters[-1].outputs > 0


# A layer may be called `/`, so what is drawn has a character that no name has.
ODD_TEXT = st.text(max_size=5).filter(
    lambda text: not text.isalnum() and not re.fullmatch(r"[\w./+ -]+", text, re.ASCII)
)
OUT_OF_RANGE = {
    str: st.integers() | ODD_TEXT,
    bool: st.integers() | st.text(max_size=3),
    int: st.sampled_from([-2, -(10**9), 2**64, math.nan, math.inf, "x", True, None]),
    float: st.sampled_from([-1e40, math.nan, math.inf, -math.inf, "x", True]),
    tuple: st.just(3) | st.just(("x",)) | st.just((math.nan,)) | st.just((True,)),
}


@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_values_out_of_range_are_told_by_option(name: str, data: st.DataObject) -> None:
    kind = str(FIELDS[name].type)
    base = {"s": str, "b": bool, "i": int, "f": float, "t": tuple}[kind[0]]
    value = data.draw(OUT_OF_RANGE[base])
    if value is None and kind.endswith("| None"):
        return
    try:
        Design().with_options(**{name: value})
    except DesignError as error:
        assert str(FIELDS[name].metadata["flag"]) in str(error)
        assert str(error).isprintable()
    else:
        # Only a text field takes an odd text: as a path, or as no name at all.
        assert isinstance(value, str)
        assert name.endswith(("source", "file", "prefix", "path")) or not value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"squeeze_ratio": 0.003}, "--sr 0.003: gives fire2 0 squeeze filters; raise --sr"),
        ({"freq": 0}, "--freq 0: must be from 1 to 64"),
        ({"pct3x3": 0.0}, "--pct3x3 0.0: gives fire2 0 expand3x3 filters"),
        ({"pct3x3": 1.0}, "--pct3x3 1.0: gives fire2 0 expand1x1 filters"),
        ({"pct3x3": 1.5}, "--pct3x3 1.5: must be from 0 to 1"),
        ({"fire_modules": 0}, "--fire-modules 0: must be from 1 to 64"),
        ({"classes": 1}, "--classes 1: must be from 2"),
        ({"size": 20, "stem": "1.0"}, "--size 20: shrinks to nothing at pool8"),
        ({"size": 3, "stem": "1.0"}, "--size 3: shrinks to nothing at conv1"),
        ({"version": "1.2"}, "--version 1.2: not known"),
        ({"name": 'a"b'}, '--name a"b: a name may hold'),
        ({"name": "a\nb"}, r"--name a\nb: a name may hold"),
        ({"name": "{{ 7 }}"}, "--name {{ 7 }}: a name may hold"),
        ({"classifier": "a'b"}, "--classifier a'b: a name may hold"),
        ({"val_source": ""}, "--val-source '': must not be empty"),
        ({"pool_after": (4, 11)}, "--pool-after 4,11: there is no fire11"),
        ({"pool_after": (8, 4)}, "--pool-after 8,4: must increase"),
        ({"mean_values": (1.0, 2.0)}, "--mean-values 1.0,2.0: give 1 value or 3"),
        ({"lr_policy": "step"}, "--lr-policy step: needs --gamma"),
        ({"gamma": 0.1}, "--gamma 0.1: is not used by --lr-policy poly"),
        ({"gamma": -0.1, "lr_policy": "exp"}, "--gamma -0.1: must be from 0 to 1000000"),
        ({"gpus": 2, "cpu": True}, "--gpus 2: --cpu runs on none"),
        ({"scale": 0.0}, "--scale 0.0: makes every image the same"),
        ({"scale": 1e-50}, "--scale 1e-50: is too small"),
        ({"mean_values": (1e40,)}, "--mean-values 1e+40: must be a finite number"),
        ({"squeeze_ratio": 0.0}, "--sr 0.0: gives fire2 0 squeeze filters; raise --sr"),
        ({"channels": 1, "mean_values": (1.0, 2.0)}, "--mean-values 1.0,2.0: give 1, one a"),
        ({"classes": 10**5000}, "--classes a number of thousands of digits: must be from 2"),
        ({"mean_file": "a", "mean_values": (1.0,)}, "--mean-file a: give a mean file or"),
        (
            {"classifier_filler": "xaiver"},
            "--classifier-filler xaiver: not known; did you mean 'xa",
        ),
        ({"classifier_relu": 0}, "--classifier-relu 0: must be true or false"),
        ({"backend": "imagedata", "channels": 4}, "--channels 4: image files have 3"),
        ({"fires": ()}, "--fires '': must have from 1 to 64 Fire modules"),
        ({"fires": ((1, 1, 1),) * 65}, "--fires of 65 Fire modules: must have from 1 to 64"),
        ({"fires": (16, 64, 64)}, "--fires: fire2 16: must be 3 numbers, squeeze/expand1x1/"),
        ({"fires": [[8, 8, 9], [16, 64]]}, "--fires: fire3 16/64: must be 3 numbers, squeeze"),
        ({"fires": [["8", 8, 9]]}, "--fires: fire2 '8'/8/9: each must be a whole number"),
        ({"fires": [[8, 8, 9], [8, 8.5, 9]]}, "--fires: fire3 8/8.5/9: each must be a whole"),
        ({"fires": [[8, True, 9]]}, "--fires: fire2 8/True/9: each must be a whole number"),
        ({"fires": [[8, [9], 9]]}, "--fires: fire2 8/(9,)/9: each must be a whole number"),
        ({"fires": [[8, 0, 9]]}, "--fires: fire2 8/0/9: each must be from 1 to 65536"),
        ({"fires": [[8, 9, -1]]}, "--fires: fire2 8/9/-1: each must be from 1 to 65536"),
        ({"fires": [[8, 9, 10**9]]}, "--fires: fire2 8/9/1000000000: each must be from 1 to"),
        ({"fires": [[8, 9, 10**5000]]}, "--fires: fire2 a number of thousands of digits: each"),
        ({"fires": "8/8/9"}, "--fires 8/8/9: must be a list of lists"),
        (
            {"fires": [[8, 9, 9], [8, 9, 8]], "bypass": "3"},
            "--bypass 3: fire3 has 18 input and 17 output channels",
        ),
        ({"fires": [[8, 8, 9]], "pool_after": (3,)}, "--pool-after 3: there is no fire3"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DesignError) as caught:
        Design(**options)
    assert str(caught.value).startswith(message)


def test_numbers_of_other_libraries_and_lists() -> None:
    given: dict[str, Any] = {"squeeze_ratio": np.float32(0.25), "classes": np.int64(10)}
    given |= {"pool_after": [4, 8], "mean_values": [1, 2, 3]}
    design = Design(**given)
    assert design == Design(
        squeeze_ratio=0.25, classes=10, pool_after=(4, 8), mean_values=(1.0, 2.0, 3.0)
    )
    assert repr(Design(classes=10, bypass="simple")) == "Design(bypass='simple', classes=10)"


@pytest.mark.parametrize(
    "options", [{"batch_size": 2048}, {"size": 4096, "batch_size": 512}], ids=["batch", "size"]
)
def test_blobs_that_caffe_cannot_count(options: dict[str, int]) -> None:
    """blob.cpp: blob size exceeds INT_MAX."""
    with pytest.raises(NetError, match="is more than Caffe can count"):
        build(Design().with_options(**options))


def test_a_classifier_named_as_another_layer() -> None:
    with pytest.raises(NetError, match="layer 'relu_conv10': an earlier one has its name"):
        build(Design(classifier="relu_conv10"))
    with pytest.raises(DesignError, match="take a Design"):
        build("v1.1")  # type: ignore[arg-type]


def test_unknown_field_and_net() -> None:
    with pytest.raises(DesignError, match="no design option 'clases'; did you mean 'classes'"):
        Design().with_options(clases=10)
    with pytest.raises(TypeError, match=r"^Design\.__init__\(\) got an unexpected .*'clases'"):
        Design(clases=10)  # type: ignore[call-arg]
    with pytest.raises(DesignError, match="--net trainvl: not known; did you mean 'trainval'"):
        build(net="trainvl")


def test_papers_formulas() -> None:
    """Section 5.1 with the values of SqueezeNet, against table 1 of the paper."""
    fires = Design().fire_filters
    assert [fire.squeeze for fire in fires] == [16, 16, 32, 32, 48, 48, 64, 64]
    assert [fire.expand1x1 for fire in fires] == [64, 64, 128, 128, 192, 192, 256, 256]
    assert [fire.expand3x3 for fire in fires] == [64, 64, 128, 128, 192, 192, 256, 256]
    assert [fire.inputs for fire in fires] == [96, 128, 128, 256, 256, 384, 384, 512]


@pytest.mark.parametrize(("ratio", "megabytes"), [(0.125, 4.8), (0.5, 13.0), (0.75, 19.0)])
def test_sizes_of_the_papers_sweep(ratio: float, megabytes: float) -> None:
    """Figure 3(a): model size over the squeeze ratio, which the paper gives to two digits."""
    total = summary(parse_net(build(Design(squeeze_ratio=ratio)))).totals
    assert total.weight_bytes / 2**20 == pytest.approx(megabytes, rel=0.05)


def test_fillers_of_the_classifier_and_of_all_others() -> None:
    text = build(Design(filler="msra", classifier_filler="xavier", bypass="complex"))
    of_layer = {
        layer.name: layer.convolution_param.weight_filler.type
        for layer in parse_net(text).param.layer
        if layer.type == "Convolution"
    }
    assert of_layer.pop("conv10") == "xavier"
    assert set(of_layer.values()) == {"msra"}


@pytest.mark.parametrize("name", PRESETS)
def test_options_on_a_preset_change_just_what_they_name(name: str) -> None:
    base = build(preset(name)).splitlines()[2:]
    changed = build(preset(name).with_options(batch_size=7)).splitlines()[2:]
    lines = [pair for pair in zip(base, changed, strict=True) if pair[0] != pair[1]]
    assert lines == [(f"    batch_size: {preset(name).batch_size}", "    batch_size: 7")]
