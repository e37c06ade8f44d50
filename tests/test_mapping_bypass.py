"""`sqgen weights map --ignore-bypass`: weights of a net with a bypass for one without, and back."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import Design, NetError, build, parse_net, preset
from sqgen.engine.equivalence import prove
from sqgen.engine.executor import Executor
from sqgen.formats.caffemodel import blob_array, fill_blob, read_caffemodel
from sqgen.generator.design_fields import CONCAT_ORDERS, NAMINGS
from sqgen.generator.naming import layer_role
from sqgen.nets.inference_graph import inference_graph, inference_graph_of_model
from sqgen.weights.mapping import WeightMapping, make_mapped_caffemodel, map_weights

from .conftest import Run, published_weights
from .small_nets import conv, layer, net_input, outcome, random_model, save

SMALL = Design(
    base_e=8,
    incr_e=4,
    fire_modules=5,
    size=32,
    classes=5,
    stem_filters=8,
    classifier="conv10",
)
BYPASSES = ("none", "simple", "complex", "3,5:conv", "2:conv,4:conv,6:conv")
DIALECTS = tuple(zip(NAMINGS, CONCAT_ORDERS * 2, strict=True))


def map_all(model: Any, target: str, source: str | None = None) -> WeightMapping:
    """Map the weights of the net that they have with them, or of `source`."""
    theirs = inference_graph_of_model(model, "source")
    if source is not None:
        theirs = inference_graph(parse_net(source))
    ours = inference_graph(parse_net(target, "target"))
    return map_weights(theirs, ours, model, layer_role, ignore_bypass=True)


def arrays(model: Any) -> dict[str, list[Any]]:
    return {one.name: [blob_array(b) for b in one.blobs] for one in model.layer if one.blobs}


def is_bypass(name: str) -> bool:
    return "bypass" in name


def check_pair(source: str, target: str, seed: int = 0) -> WeightMapping:
    """Map there, prove it, and map back: all but the bypasses' own weights are those of before."""
    model = random_model(source, seed)
    found = map_all(model, target)
    graphs = inference_graph_of_model(model, "source"), inference_graph(parse_net(target))
    assert prove(Executor, *graphs, found, model).largest < 1e-12
    assert {*found.arrays, *found.missing} == set(arrays(random_model(target)))
    assert all(map(is_bypass, [*found.missing, *found.unused]))
    there = make_mapped_caffemodel(parse_net(target), found)
    back = map_all(there, source, target)
    before = arrays(model)
    assert all(is_bypass(name) for name in set(before) - set(back.arrays))
    for name, blobs in back.arrays.items():
        np.testing.assert_equal(blobs, before[name])
    return found


@pytest.mark.parametrize(
    ("number", "one", "other"),
    [(number, *pair) for number, pair in enumerate(itertools.permutations(BYPASSES, 2))],
)
def test_bypasses_of_all_kinds(number: int, one: str, other: str) -> None:
    """To a dialect and order of channels in turn."""
    source = build(SMALL.with_options(bypass=one), "deploy")
    naming, order = DIALECTS[number % len(DIALECTS)]
    more = {"naming": naming, "concat_order": order, "bypass": other}
    found = check_pair(source, build(SMALL.with_options(**more), "deploy"))
    assert {row.how for row in found.rows} <= {"name", "dialect"}


@pytest.mark.parametrize(("version", "dialects"), [("v1.0", DIALECTS[:2]), ("v1.1", DIALECTS[2:])])
@pytest.mark.parametrize("bypass", ["simple", "complex"])
def test_published_nets(version: str, dialects: Sequence[tuple[str, str]], bypass: str) -> None:
    """Of the published widths and depths, on small images."""
    sizes = {"size": 67, "classes": 10, "classifier": "conv10"}
    plain = preset(version).with_options(**sizes)
    source = build(plain, "deploy")
    model = random_model(source)
    for naming, order in dialects:
        more = {"naming": naming, "concat_order": order, "bypass": bypass}
        target = build(plain.with_options(**more), "deploy")
        found = map_all(model, target)
        assert len(found.rows) == 26
        fresh = {"simple": 0, "complex": 4}[bypass]
        assert (len(found.missing), found.unused) == (fresh, [])
        back = map_all(make_mapped_caffemodel(parse_net(target), found), source, target)
        np.testing.assert_equal(back.arrays, arrays(model))


def test_residual_maps_to_plain_and_complex() -> None:
    """The published net with a simple bypass."""
    sizes = {"size": 67, "classes": 10, "classifier": "conv10"}
    residual = build(preset("residual").with_options(**sizes), "deploy")
    plain = build(preset("v1.0").with_options(**sizes), "deploy")
    complex_ = build(preset("complex").with_options(**sizes), "deploy")
    assert check_pair(residual, plain).missing == []
    found = check_pair(residual, complex_)
    convolutions = [f"fire{number}/bypass1x1" for number in (2, 4, 6, 8)]
    assert found.missing == convolutions
    assert check_pair(complex_, residual).unused == convolutions


def test_fresh_convolutions_that_are_zero_change_nothing(tmp_path: Path) -> None:
    """The target as it is, run apart from the proof."""
    source = build(SMALL, "deploy")
    more = {"bypass": "2:conv,3:conv,6:conv", "naming": "generator", "concat_order": "3x3,1x1"}
    target = build(SMALL.with_options(**more), "deploy")
    model = random_model(source)
    written = make_mapped_caffemodel(parse_net(target), map_all(model, target))
    fresh = [one for one in random_model(target).layer if is_bypass(one.name) and one.blobs]
    assert len(fresh) == 3
    for one in fresh:
        zeros = written.layer.add(name=one.name, type=one.type)
        for blob in one.blobs:
            fill_blob(zeros.blobs.add(), np.zeros_like(blob_array(blob)))
    save(model, tmp_path / "in")
    save(written, tmp_path / "out")
    (one_way,) = outcome(source, tmp_path / "in").values()
    (other,) = outcome(target, tmp_path / "out").values()
    np.testing.assert_allclose(one_way, other, rtol=1e-9, atol=1e-12)


STEM = net_input(4) + conv("a", "data", 4) + layer("ReLU", "r", "a", "a")
ENDS = {
    "a sum of two convolutions alike": conv("b", "a", 4)
    + conv("c", "a", 4)
    + layer("Eltwise", "s", "b c")
    + conv("y", "s", 3),
    "a difference": conv("b", "a", 4)
    + layer("Eltwise", "s", "a b", rest="eltwise_param { coeff: 1 coeff: -1 }")
    + conv("y", "s", 3),
    "a maximum": conv("b", "a", 4)
    + layer("Eltwise", "s", "a b", rest="eltwise_param { operation: MAX }")
    + conv("y", "s", 3),
}


@pytest.mark.parametrize("kind", ENDS)
def test_what_is_no_bypass_is_refused(kind: str) -> None:
    model = random_model(STEM + conv("b", "a", 4) + conv("y", "b", 3))
    with pytest.raises(NetError):
        map_all(model, STEM + ENDS[kind])


def test_bypasses_that_both_have_stay() -> None:
    """Their convolutions get weights; the sum at the end is an output."""
    more = conv("b", "a", 4, 3) + conv("p", "a", 4) + layer("Eltwise", "s", "b p")
    end = conv("c", "s", 4, 3) + layer("Eltwise", "t", "s c")
    found = map_all(random_model(STEM + more + end), STEM + more + conv("c", "s", 4, 3))
    assert [row.target for row in found.rows] == ["a", "b", "p", "c"]
    assert found.bypasses == (["t"], [])
    found = map_all(random_model(STEM + more + conv("c", "s", 4, 3)), STEM + more + end)
    assert [row.target for row in found.rows] == ["a", "b", "p", "c"]
    assert found.bypasses == ([], ["t"])


def test_the_command(sqgen: Run, tmp_path: Path) -> None:
    save(random_model(build(SMALL, "deploy")), tmp_path / "in.caffemodel")
    bypassed = SMALL.with_options(bypass="complex", naming="generator")
    (tmp_path / "to.prototxt").write_text(build(bypassed, "trainval"))
    words = ("weights", "map", "in.caffemodel", "out.caffemodel", "--to", "to.prototxt")
    refused = sqgen(*words)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.endswith("; --ignore-bypass maps all but the bypasses\n")
    done = sqgen(*words, "--ignore-bypass")
    assert done.returncode == 0, done.stderr
    convolutions = [
        name for name in arrays(random_model(build(bypassed, "deploy"))) if is_bypass(name)
    ]
    assert convolutions
    fresh = "no weights for, so that they start from their fillers: " + ", ".join(convolutions)
    assert fresh in done.stderr
    assert "bypasses of NET alone" in done.stderr
    stored = arrays(read_caffemodel(tmp_path / "out.caffemodel"))
    assert not set(stored) & set(convolutions)
    shown = json.loads(sqgen(*words, "--ignore-bypass", "--force", "--json").stdout)
    assert shown["missing"] == convolutions
    assert shown["bypasses"]["in"] == []
    assert len(shown["bypasses"]["net"]) == 5
    other = net_input() + conv("z", "data", 2)
    (tmp_path / "to.prototxt").write_text(other)
    assert "--ignore-bypass" not in sqgen(*words, "--force").stderr


def test_the_published_file(shared: Path, tmp_path: Path) -> None:
    """Deep Compression's v1.0 in a net with complex bypass, and back: the same bits."""
    (tmp_path / "w").write_bytes(published_weights(shared))
    model = read_caffemodel(tmp_path / "w")
    target = build(preset("complex").with_options(naming="generator"), "deploy")
    found = map_all(model, target)
    assert (len(found.rows), len(found.missing)) == (26, 4)
    there = make_mapped_caffemodel(parse_net(target), found)
    back = map_all(there, build(preset("deep-compression"), "deploy"), target)
    np.testing.assert_equal(back.arrays, arrays(model))
