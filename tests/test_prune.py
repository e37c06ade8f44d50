"""`sqgen prune`: which channels go, the files of what is left, and mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import Design, DesignError, build, parse_net, preset
from sqgen.errors import NetError
from sqgen.formats.caffemodel import blob_array, read_caffemodel
from sqgen.nets.definition import read_net
from sqgen.nets.shapes import require_shapes
from sqgen.nets.totals import totals
from sqgen.pruning.budgets import Budget, Limits
from sqgen.pruning.channel_groups import ChannelGroups
from sqgen.pruning.costs import NetCosts
from sqgen.pruning.criteria import score_groups
from sqgen.pruning.decisions import (
    Decision,
    PatternValue,
    RatioRules,
    find_decisions,
    format_ratios,
    read_ratios,
)
from sqgen.pruning.lossless import find_lossless
from sqgen.pruning.problem import PruningProblem
from sqgen.pruning.prune import Pruner
from sqgen.search.run import Search
from sqgen.weights.net_arrays import net_arrays

from .conftest import Run
from .small_nets import conv, layer, net_input, outcome, random_model, save

PUBLISHED = Path(__file__).parents[2] / "shared/imagenet_sample/compressed_SqueezeNet.net"
SMALL = Design(
    fire_modules=3, base_e=8, incr_e=4, freq=2, squeeze_ratio=0.5, stem_filters=6, stem="small",
    size=32, classes=5, bypass="simple", pool_after=(2,),
)  # fmt: skip


def loaded(text: str, seed: int = 0) -> tuple[ChannelGroups, dict[str, list[np.ndarray]]]:
    net = parse_net(text)
    return ChannelGroups(net), net_arrays(
        require_shapes(net, "TEST"), [("w", random_model(text, seed))]
    )


# ---- which channels


def test_scores_sum_the_weights_that_read_or_make_a_channel() -> None:
    text = net_input() + conv("a", "data", 4) + conv("b", "a", 2, 3)
    text += layer("Concat", "c", "a b")
    text += layer("InnerProduct", "last", "c", rest="inner_product_param { num_output: 3 }")
    groups, arrays = loaded(text)
    channels = {root: group.channels[0] for root, group in groups.groups.items()}
    readers = score_groups("l1-inputs", groups, arrays)
    makers = score_groups("l1-filters", groups, arrays)
    inner = np.abs(arrays["last"][0]).reshape(3, 6, -1).sum((0, 2))
    for root, (name, index) in channels.items():
        if name == "last":
            continue
        assert makers[root] == pytest.approx(np.abs(arrays[name][0][index]).sum(), rel=1e-6)
        expected = inner[index + 4 * (name == "b")]
        if name == "a":
            expected += np.abs(arrays["b"][0][:, index]).sum()
        assert readers[root] == pytest.approx(expected, rel=1e-6)
    assert score_groups("random", groups, arrays, 1) != score_groups("random", groups, arrays, 2)


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        (RatioRules((PatternValue("*", 0.5),)), [3, 2, 4, 2]),
        (RatioRules((PatternValue("a", 0.01),)), [1, 4, 8, 5]),
        (RatioRules((PatternValue("*", 0.5),), multiple=4), [4, 4, 4, 4]),
        (RatioRules((PatternValue("*", 0.5),), at_least=(PatternValue("c", 7.0),)), [3, 2, 7, 2]),
        (RatioRules((PatternValue("*", 0.5),), leave=("[ab]",)), [6, 4, 4, 2]),
        (RatioRules((PatternValue("a", 0.5), PatternValue("*", 1.0))), [3, 4, 8, 5]),
    ],
)
def test_counts_follow_ratios(rules: RatioRules, kept: list[int]) -> None:
    text = net_input() + conv("a", "data", 6) + conv("b", "a", 4) + conv("c", "b", 8)
    text += conv("d", "c", 5) + conv("last", "d", 2)
    decisions = find_decisions(ChannelGroups(parse_net(text)))
    assert [decision.layers for decision in decisions] == [("a",), ("b",), ("c",), ("d",)]
    assert rules.counts(decisions, {}) == kept


# ---- channels that can't matter


def test_what_nothing_reads_goes_and_then_what_only_that_read() -> None:
    text = net_input() + conv("a", "data", 4) + conv("b", "a", 4) + conv("last", "b", 2)
    groups, arrays = loaded(text)
    arrays["last"][0][:, 2] = 0
    arrays["b"][0][[0, 1, 3], 1] = 0  # now only filter 2 of b reads channel 1 of a
    found = find_lossless(groups, arrays)
    assert sorted(groups.groups[root].channels for root in found.unread) == [
        (("a", 1),),
        (("b", 2),),
    ]
    assert not found.constant


@pytest.mark.parametrize(
    ("kernel", "pad", "bias", "goes"),
    [(1, 0, 0.5, True), (3, 1, 0.5, False), (3, 0, 0.5, True), (3, 1, -0.5, True)],
)
def test_a_constant_is_folded_where_that_is_exact(
    tmp_path: Path, kernel: int, pad: int, bias: float, goes: bool
) -> None:
    """A negative one is zero behind the ReLU, which padding is, too."""
    pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")
    text = net_input() + conv("a", "data", 4) + layer("ReLU", "relu", "a", "a")
    text += layer("Pooling", "pool", "a", rest="pooling_param { kernel_size: 2 stride: 2 pad: 1 }")
    text += layer(
        "Convolution", "b", "pool",
        rest=f"convolution_param {{ num_output: 3 kernel_size: {kernel} pad: {pad} }}",
    )  # fmt: skip
    groups, arrays = loaded(text)
    arrays["a"][0][2], arrays["a"][1][2] = 0, bias
    found = find_lossless(groups, arrays)
    assert [groups.groups[r].channels for r in found.constant] == ([(("a", 2),)] if goes else [])
    model = random_model(text)
    for stored in model.layer:
        for blob, array in zip(stored.blobs, arrays.get(stored.name, ()), strict=True):
            blob.data[:] = array.reshape(-1)
    before = outcome(text, Path(save(model, tmp_path / "before.caffemodel")))
    arrays = found.arrays
    arrays["b"][0][:, 2] *= 0 if goes else 1
    for stored in model.layer:
        for blob, array in zip(stored.blobs, arrays.get(stored.name, ()), strict=True):
            blob.data[:] = array.reshape(-1)
    after = outcome(text, Path(save(model, tmp_path / "after.caffemodel")))
    np.testing.assert_allclose(after["b"], before["b"], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs the weights in ../shared")
def test_the_published_weights_have_one_channel_that_nothing_reads(
    tmp_path: Path, sqgen: Run
) -> None:
    (tmp_path / "net.prototxt").write_text(build(preset("deep-compression"), "deploy"))
    done = sqgen(
        "prune", str(PUBLISHED), "--net", "net.prototxt", "--out", "same", "--lossless", "--json"
    )
    result = json.loads(done.stdout)
    assert [each for each in result["decisions"] if each["kept"] < each["channels"]] == [
        {"layers": ["fire7/conv1x1_2"], "channels": 192, "kept": 191}
    ]
    assert result["macs"]["after"] == 861_258_288
    assert result["parameters"]["after"] == 1_248_311
    assert result["proof"]["largest"] < 1e-12
    assert "fires = [" in (tmp_path / "same" / "design.toml").read_text()


# ---- files


def prune_small(tmp_path: Path, sqgen: Run, *options: object, net: str = "trainval") -> Any:
    text = build(SMALL, net)
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    return sqgen("prune", "w.caffemodel", "--net", "net.prototxt", "--out", "small", *options)


def test_a_design_builds_what_is_left(tmp_path: Path, sqgen: Run) -> None:
    done = prune_small(tmp_path, sqgen, "--ratio-for", "fire*/expand3x3=0.5", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["files"] == [
        *("train_val.prototxt", "deploy.prototxt", "solver.prototxt"),
        *("design.toml", "pruned.caffemodel", "ratios.toml", "prune.json"),
    ]
    kept = {each["layers"][0]: each["kept"] for each in result["decisions"]}
    assert kept["fire2/expand3x3"] == 2
    small = tmp_path / "small"
    assert (
        sqgen("build", "--design", "small/design.toml").stdout
        == (small / "train_val.prototxt").read_text()
    )
    shapes = require_shapes(read_net(small / "train_val.prototxt"), "TEST")
    assert totals(shapes).macs == result["macs"]["after"] < result["macs"]["before"]
    model = read_caffemodel(str(small / "pruned.caffemodel"))
    net_arrays(shapes, [("w", model)])  # all of them fit


def test_a_design_whose_stem_is_tied_to_a_module_builds_what_is_left(
    tmp_path: Path, sqgen: Run
) -> None:
    """A bypass around fire2 adds the stem's channels: all of them shrink together."""
    design = SMALL.with_options(stem_filters=8, size=20, crop=False, mean_values=(9.0,))
    text = build(design)
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(build(design, "deploy")), tmp_path / "w.caffemodel")
    done = sqgen(
        *("prune", "w.caffemodel", "--net", "net.prototxt", "--out", "small"),
        *("--macs", "0.5", "--no-proof"),
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    built = sqgen("build", "--design", "small/design.toml").stdout
    assert built == (tmp_path / "small" / "train_val.prototxt").read_text()
    assert "fire2/bypass" in built
    assert len(read_net(tmp_path / "small" / "train_val.prototxt").param.layer) == len(
        parse_net(text).param.layer
    )


def test_the_kept_filters_are_those_that_matter_most(tmp_path: Path, sqgen: Run) -> None:
    done = prune_small(
        tmp_path, sqgen, "--ratio-for", "fire2/squeeze1x1=0.5", "--criterion", "l1-filters"
    )
    assert done.returncode == 0, done.stderr
    name = "fire2/squeeze1x1"
    before, after = (
        {x.name: blob_array(x.blobs[0]) for x in read_caffemodel(str(path)).layer if x.blobs}
        for path in (tmp_path / "w.caffemodel", tmp_path / "small" / "pruned.caffemodel")
    )
    sums = np.abs(before[name]).sum((1, 2, 3))
    kept = np.sort(np.argsort(-sums)[:2])
    np.testing.assert_array_equal(after[name], before[name][kept])
    np.testing.assert_array_equal(after["fire2/expand3x3"], before["fire2/expand3x3"][:, kept])


@pytest.mark.parametrize("seed", range(5))
def test_ratios_of_a_pruning_keep_the_same_channels_again(tmp_path: Path, seed: int) -> None:
    """Also where only some channels of a layer are tied to others, and of names like patterns."""
    text = (
        net_input()
        + conv("a[1]", "data", 7)
        + conv("b", "data", 3)
        + layer("Concat", "c", "a[1] b")
    )
    text += conv("d*", "c", 5) + conv("e", "c", 5, 3) + layer("Concat", "f", "d* e")
    text += layer("Eltwise", "g", "c f") + conv("last", "g", 2)
    decisions = find_decisions(ChannelGroups(parse_net(text)))
    assert ("a[1]", "d*") in [decision.layers for decision in decisions]
    assert ("a[1]", "e") in [decision.layers for decision in decisions]
    random = np.random.default_rng(seed)
    counts = [int(random.integers(1, len(each.roots) + 1)) for each in decisions]
    path = tmp_path / "ratios.toml"
    path.write_text(format_ratios(decisions, counts, "# Made by hand\n"))
    assert RatioRules(read_ratios(str(path))).counts(decisions, {}) == counts


def test_the_command_makes_the_same_net_of_its_ratios(tmp_path: Path, sqgen: Run) -> None:
    chosen = ("--criterion", "random", "--seed", "3", "--no-proof")
    assert prune_small(tmp_path, sqgen, "--macs", "0.6", *chosen).returncode == 0
    done = sqgen(
        *("prune", "w.caffemodel", "--net", "net.prototxt", "--out", "again"),
        *("--ratios", "small/ratios.toml", *chosen),
    )
    assert done.returncode == 0, done.stderr
    for name in ("pruned.caffemodel", "train_val.prototxt", "ratios.toml"):
        made = [(tmp_path / folder / name).read_bytes() for folder in ("small", "again")]
        assert made[0] == made[1]


@pytest.mark.parametrize("net", ["trainval", "deploy"])
def test_a_net_of_no_design_keeps_its_form(tmp_path: Path, sqgen: Run, net: str) -> None:
    text = build(SMALL, net).replace("fire2/", "two/")
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    done = sqgen(
        *("prune", "w.caffemodel", "--net", "net.prototxt", "--out", "small"),
        *("--ratio-for", "conv1=0.5"),
    )
    assert done.returncode == 0, done.stderr
    assert "no design.toml: the net is another than its header's command builds" in done.stderr
    names = {path.name for path in (tmp_path / "small").iterdir()}
    both = {"deploy.prototxt", "pruned.caffemodel", "ratios.toml", "prune.json"}
    assert names == both | ({"train_val.prototxt"} if net == "trainval" else set())


def test_opencv_computes_the_same(tmp_path: Path, sqgen: Run) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV, the extra sqgen[engine]")
    pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV has no Caffe importer")
    done = prune_small(
        tmp_path, sqgen, "--ratio-for", "*=0.6", "--criterion", "random", net="deploy"
    )
    assert done.returncode == 0, done.stderr
    files = [tmp_path / "small" / name for name in ("deploy.prototxt", "pruned.caffemodel")]
    expected = outcome(files[0].read_text(), files[1])["prob"]
    image = np.random.default_rng(3).normal(0, 2, (2, 3, 32, 32))
    net = cv2.dnn.readNetFromCaffe(*map(str, files))
    net.setInput(image.astype(np.float32))
    np.testing.assert_allclose(net.forward().reshape(expected.shape), expected, atol=1e-5)


# ---- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give one: ratios (--ratio-for, --ratios), a budget"),
        (("--lossless", "--ratio-for", "conv1=0.5"), "give one: ratios"),
        (("--lossless", "--round", "8"), "--lossless takes what can't matter"),
        (("--ratio-for", "conv1"), "--ratio-for conv1: write PATTERN=X, as conv1=0.5"),
        (("--ratio-for", "conv1=0"), "'conv1' is to keep 0: give a share above 0, up to 1"),
        (("--ratio-for", "conv1=1.5"), "'conv1' is to keep 1.5: give a share above 0, up to 1"),
        (("--ratio-for", "conv1=nan"), "--ratio-for conv1=nan: write PATTERN=X, as conv1=0.5"),
        (("--ratio-for", "conv1=70%"), "--ratio-for conv1=70%: write conv1=0.7"),
        (("--ratio-for", "conv1=x%"), "--ratio-for conv1=x%: write PATTERN=X, as conv1=0.5"),
        (("--macs", "70%"), "--macs 70%: write 0.7"),
        (("--macs", "0.5", "--scale", "nan"), "--scale nan: give a number"),
        (("--macs", "0.5", "--mean", "nan,1,1"), "--mean 'nan,1,1' is no list such as"),
        (("--ratio-for", "fire2/squeeze=0.5"), "did you mean 'fire2/squeeze1x1'?"),
        (
            ("--ratio-for", "conv5_5=0.5"),
            "'conv5_5' matches no layer that can lose channels: 'loss'",
        ),
        (("--ratio-for", "fire2/expand1x1=0.5", "--ratio-for", "fire3/expand1x1=0.6"), "together"),
        (("--ratio-for", "conv1=0.5", "--at-least", "conv1=0"), "--at-least conv1=0: give 1 or"),
        (("--ratio-for", "conv1=0.5", "--leave", "conv1,x"), "'x' matches no layer that can lose"),
        (("--ratio-for", "conv1=0.5", "--out", "-"), "--out -: give a folder"),
        (("--ratio-for", "conv1=0.5", "--round", "0"), "--round 0: give 1 or more"),
        (("--ratio-for", "conv1=0.5", "--criterion", "l2"), "--criterion l2: one of l1-inputs,"),
        (("--macs", "0"), "--macs 0: give a share of the net's MACs, such as 0.7"),
        (("--macs", "nan"), "--macs nan: give a share of the net's MACs, such as 0.7"),
        (("--macs", "1e12"), "--macs 1,000,000,000,000: the whole net has "),
        (("--parameters", "0.001"), "--parameters 0.001: can't be met; "),
        (("--macs", "0.5", "--lossless"), "give one: ratios (--ratio-for, --ratios), a budget"),
        (("--ratios", "none.toml"), "none.toml"),
        (("--ratios", "w.caffemodel"), "w.caffemodel"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, sqgen: Run, options: tuple[str, ...], message: str
) -> None:
    done = prune_small(tmp_path, sqgen, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "small").exists()


def test_two_ratios_for_layers_that_go_together_are_refused() -> None:
    rules = RatioRules((PatternValue("a", 0.5), PatternValue("b", 0.25)))
    with pytest.raises(DesignError, match=r"'a' 0\.5, 'b' 0\.25, 'c' none: these layers lose"):
        rules.counts([Decision(("a", "b", "c"), (0, 1))], {})


def test_weights_of_another_net_are_one_line(tmp_path: Path, sqgen: Run) -> None:
    prune_small(tmp_path, sqgen)
    (tmp_path / "net.prototxt").write_text(build(Design(), "deploy"))
    done = sqgen(
        *("prune", "w.caffemodel", "--net", "net.prototxt", "--out", "small"),
        *("--ratio-for", "conv1=0.5"),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sqgen: w.caffemodel: ")
    assert done.stderr.count("\n") == 1


# ---- budgets


@pytest.mark.parametrize(
    "options",
    [
        ("--macs", "0.7"),
        ("--parameters", "0.3"),
        ("--macs", "0.5", "--parameters", "0.6"),
        ("--macs", "400000000"),
    ],
)
def test_a_budget_is_met_within_2_percent(options: tuple[str, ...]) -> None:
    groups, arrays = loaded(build(Design(bypass="simple"), "deploy"))
    costs, decisions = NetCosts(groups), find_decisions(groups)
    values = [float(value) for value in options[1::2]]
    names = [flag[2:] for flag in options[::2]]
    resources = [getattr(costs, name) for name in names]
    budgets = [Budget(each, value) for each, value in zip(resources, values, strict=True)]
    scores = score_groups("l1-inputs", groups, arrays)
    problem = PruningProblem(decisions, RatioRules(), scores, Limits(budgets))
    removed = problem.removed(Search("uniform", 1, 0).first(problem))
    used = []
    for resource, value in zip(resources, values, strict=True):
        whole, left = resource.cost(()), resource.cost(removed)
        used.append(left / (value if value > 1 else value * whole))
    assert 0.98 <= max(used) <= 1


# ---- nets that can't be pruned


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            layer("Convolution", "extra", "a", rest='include { stage: "x" }'),
            "net.prototxt:4: layer 'extra' is in neither phase without a stage or level",
        ),
        (layer("ReLU", "r", "a", rest="include { min_level: 3 }"), "'r'"),
    ],
    ids=["stage", "level"],
)
def test_layers_in_neither_phase_are_refused(rest: str, message: str) -> None:
    text = net_input() + conv("a", "data", 4) + conv("b", "a", 2)
    with pytest.raises(NetError, match=re.escape(message)):
        Pruner(parse_net(text + rest, "net.prototxt"), [("w", random_model(text))])


def test_a_net_without_test_layers_is_refused() -> None:
    text = net_input() + conv("a", "data", 4) + conv("b", "a", 2)
    net = parse_net(text.replace(" }\n", " include { phase: TRAIN } }\n"))
    with pytest.raises(NetError, match="has no layers in TEST, whose costs count"):
        Pruner(net, [("w", random_model(text))])


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    text = net_input() + conv("a", "data", 4) + conv("b", "a", 2)
    model = random_model(text)
    model.layer[2].blobs[1].data[0] = value
    with pytest.raises(NetError, match="w: has weights that are nan or infinite in b"):
        Pruner(parse_net(text), [("w", model)])
