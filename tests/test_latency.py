"""Latency tables: what they predict, how they are measured, and what is refused."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import Design, build, parse_net, preset, summary
from sqgen.errors import FormatError
from sqgen.nets.definition import NetDefinition
from sqgen.nets.deploy import deploy_net
from sqgen.nets.latency_fill import LayerRange, fill
from sqgen.nets.latency_net import Point, latency_net
from sqgen.nets.latency_table import Grid, LatencyTable, position, read_latency_table
from sqgen.nets.shapes import NetShapes, require_shapes
from sqgen.nets.timed_layers import LayerKind, timed_layers
from sqgen.progress import no_bar
from sqgen.pruning.channel_groups import ChannelGroups
from sqgen.pruning.latency import LatencyCosts, layer_ranges

from .conftest import Run
from .databases import make_lmdb, raw
from .small_nets import random_model, save
from .small_runs import PYTHON

NET = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "a" type: "Convolution" bottom: "c1" top: "a"
  convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "b" type: "Convolution" bottom: "c1" top: "b"
  convolution_param { num_output: 10 kernel_size: 1 } }
layer { name: "join" type: "Concat" bottom: "a" bottom: "b" top: "join" }
layer { name: "pool" type: "Pooling" bottom: "join" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "c2" type: "Convolution" bottom: "pool" top: "c2"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "prob" type: "Softmax" bottom: "c2" top: "prob" }
"""

# A table written by hand: without what the embedded engine fuses.
TABLE = """
[[layer]]
type = "Convolution"
size = [8, 8]
kernel = [3, 3]
pad = 1
inputs = [3]
outputs = [4, 8]
ms = [[1, 2]]

[[layer]]
type = "Convolution"
size = 8
inputs = [1, 8]
outputs = [1, 11]
ms = [[0, 10], [7, 17]]

[[layer]]
type = "ReLU"
size = 8
inputs = [8]
ms = [0.5]

[[layer]]
type = "Concat"
size = 8
bottoms = 2
inputs = [16]
ms = [0.25]

[[layer]]
type = "Pooling"
size = 8
kernel = 2
stride = 2
inputs = [16]
ms = [0.125]

[[layer]]
type = "Convolution"
size = 4
inputs = [16]
outputs = [4]
ms = [[100]]

[[layer]]
type = "Softmax"
size = 4
inputs = [4]
ms = [1000]
"""


def shapes_of(text: str) -> NetShapes:
    return require_shapes(parse_net(text), "TEST")


def read(folder: Path, text: str) -> LatencyTable:
    path = folder / "table.toml"
    path.write_text(text)
    return read_latency_table(str(path))


def test_a_table_by_hand_predicts_the_sum_of_its_layers(tmp_path: Path) -> None:
    # c1 2, its ReLU 0.5; a: 7 + 5 and b: 7 + 9 by their filters, linear between 1 and 11.
    expected = 2 + 0.5 + 12 + 16 + 0.25 + 0.125 + 100 + 1000
    assert read(tmp_path, TABLE).predict(shapes_of(NET), "net") == pytest.approx(expected)


@pytest.mark.parametrize("whole", [2000.0, 3.0])
def test_a_pass_takes_what_its_layers_do_not(tmp_path: Path, whole: float) -> None:
    """The whole net takes as long as was measured, or what its layers take if that is more."""
    entry = '[[layer]]\ntype = "Input"\nsize = 8\ninputs = [3]\nms = [nan]\n'
    plain = read(tmp_path, TABLE).predict(shapes_of(NET), "net")
    times = read(tmp_path, TABLE + entry)
    times.set_pass_time(shapes_of(NET), "net", whole)
    assert times.predict(shapes_of(NET), "net") == pytest.approx(max(whole, plain), rel=1e-3)
    times.set_pass_time(shapes_of(NET), "net", 9000.0)  # it is known already
    assert times.predict(shapes_of(NET), "net") == pytest.approx(max(whole, plain), rel=1e-3)


def test_what_an_engine_fuses_takes_the_time_of_both(tmp_path: Path) -> None:
    fused = '[[layer]]\ntype = "Convolution"\nthen = ["ReLU"]\nsize = 8\nkernel = 3\npad = 1\n'
    fused += "inputs = [3]\noutputs = [8]\nms = [[30]]\n"
    expected = 30 + 12 + 16 + 0.25 + 0.125 + 100 + 1000
    assert read(tmp_path, TABLE + fused).predict(shapes_of(NET), "net") == pytest.approx(expected)


def test_filters_take_the_time_of_whole_blocks() -> None:
    knots = [16, 32, 64]
    assert [position(n, knots, 16) for n in (1, 16, 17, 32, 33, 48, 49, 64)] == [
        *(0, 0, 1, 1, 1.5, 1.5, 2, 2)
    ]
    assert [position(n, [1, 5]) for n in (0, 1, 2, 5)] == [0, 0, 0.25, 1]
    assert position(1000, [16, 1000], 16) == 1  # the last block is not whole


rows = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.floats(0, 10), min_size=width, max_size=width), min_size=1, max_size=4
    )
)


@given(rows, st.sampled_from([1, 4, 16]))
def test_more_channels_never_take_less(ms: list[list[float]], block: int) -> None:
    inputs, outputs = (tuple(range(3, 3 + 5 * n, 5)) for n in (len(ms), len(ms[0])))
    kind = LayerKind.of("Convolution", {"size": (8, 8)})
    table = LatencyTable("t", 1, block, {}, [Grid(kind, inputs, outputs, ms)])
    (layer,) = [each for each in timed_layers(shapes_of(NET), fused=False) if each.name == "a"]

    def time(i: int, o: int) -> float:
        return table.time(layer._replace(inputs=i, outputs=o), table.grids[0])

    for i in range(1, inputs[-1] + 1):
        for o in range(1, outputs[-1] + 1):
            assert time(i, o) >= max(time(max(1, i - 1), o), time(i, max(1, o - 1))) - 1e-9
    assert min(map(min, ms)) - 1e-9 <= time(inputs[-1], outputs[-1]) <= max(map(max, ms)) + 1e-9


def test_a_monotone_grid_stays_as_it_is() -> None:
    grid = Grid(LayerKind("X"), (1, 2), (1, 2), [[1.0, 2.0], [1.5, 4.0]])
    assert grid.monotone() == grid.ms
    assert Grid(LayerKind("X"), (1, 2), (0,), [[3.0], [1.0]]).monotone() == [[2.0], [2.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("ms = [0.5]", "ms = [0.5, 1]"), "[[layer]] 3: ms is to be 1 numbers"),
        (("ms = [0.5]", "ms = [-1]"), "[[layer]] 3: ms has -1; give milliseconds"),
        (("ms = [0.5]", "ms = [inf]"), "[[layer]] 3: ms has inf"),
        (("outputs = [4, 8]", "outputs = [8, 4]"), "[[layer]] 1: outputs has to ascend"),
        (("inputs = [3]", "inputs = []"), "[[layer]] 1: inputs takes numbers of channels"),
        (("inputs = [8]\n", ""), "[[layer]] 3: has no inputs"),
        (("kernel = [3, 3]", "kernels = 3"), "no setting 'kernels'; did you mean 'kernel'?"),
        (("kernel = [3, 3]", "kernel = 3.5"), "[[layer]] 1: kernel takes whole numbers"),
        (('type = "ReLU"', ""), "[[layer]] 3: has no type"),
        (("ms = [[1, 2]]", "ms = [[1, 2]"), "not a TOML file: "),
        (("\n[[layer]]", "batches = 2\n[[layer]]"), "'batches' is not of a latency table"),
        (("\n[[layer]]", "batch = 0\n[[layer]]"), "batch = 0: give 1 or more"),
        (("\n[[layer]]", "format = 9\n[[layer]]"), "is of format 9; this sqgen reads 1"),
    ],
)
def test_a_table_that_is_none_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(FormatError) as caught:
        read(tmp_path, TABLE.replace(*change, 1))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_that_are_missing_are_named(tmp_path: Path) -> None:
    text = TABLE.replace("size = 4\ninputs = [16]", "size = 5\ninputs = [16]")
    with pytest.raises(FormatError) as caught:
        read(tmp_path, text).predict(shapes_of(NET), "net.prototxt")
    assert str(caught.value) == (
        f"{tmp_path}/table.toml: lacks 1 layer of net.prototxt: 'c2' (Convolution at 4x4, 16 -> 4);"
        f" measure them: sqgen time --table {tmp_path}/table.toml --space net.prototxt"
    )
    wider = NET.replace("num_output: 10", "num_output: 12")
    with pytest.raises(FormatError, match=r"lacks 4 layers of net: 'b' .*8 -> 12"):
        read(tmp_path, TABLE).predict(shapes_of(wider), "net")


def test_a_written_table_reads_the_same(tmp_path: Path) -> None:
    table = read(tmp_path, TABLE.replace("ms = [[100]]", "ms = [[nan]]"))
    table.conditions = {"engine": 'a "b"\n', "threads": 2, "on": ["x"]}
    again = read(tmp_path, table.to_toml().decode())
    assert again.to_toml() == table.to_toml()
    assert again.conditions == table.conditions
    assert len(again.grids) == len(table.grids)
    with pytest.raises(FormatError, match=r"is not finished; go on: sqgen time --table"):
        again.predict(shapes_of(NET), "net")


def test_only_what_the_embedded_engine_fuses_is_a_layer_with_another() -> None:
    fused = {each.name: each.kind for each in timed_layers(shapes_of(NET), fused=True)}
    assert dict(fused["c1"].settings)["then"] == ("ReLU",)
    assert "r1" not in fused
    assert dict(fused["pool"].settings)["parts"] == 2
    assert dict(fused["c2"].settings)["parts"] == 2
    leaky = NET.replace(
        'top: "c1" }\nlayer { name: "a"',
        'top: "c1" relu_param { negative_slope: 0.1 } }\nlayer { name: "a"',
    )
    assert "r1" in {each.name for each in timed_layers(shapes_of(leaky), fused=True)}


def test_lazy_blobs_of_squeezenet() -> None:
    shapes = shapes_of(build(preset("v1.0"), "deploy"))
    layers = timed_layers(shapes, fused=True)
    lazy = {each.name: dict(each.kind.settings).keys() & {"parts", "padded"} for each in layers}
    squeezes = [f"fire{number}/squeeze1x1" for number in range(3, 10)]
    assert {name for name, words in lazy.items() if "parts" in words} == {
        *("pool4", "pool8", "conv10"),
        *squeezes,
    }
    assert {name for name, words in lazy.items() if "padded" in words} == {"pool10"}
    points = [Point(each, each.inputs, each.outputs) for each in layers]
    param, branches = latency_net(points[1:], 10)
    made = require_shapes(NetDefinition(param), "TEST")
    tops = {item.layer.name: item.tops for item in made.layers}
    whole = {item.layer.name: item.tops for item in shapes.layers}
    for point, branch in zip(points[1:], branches, strict=True):
        assert tops[branch.timed[0]] == whole[point.layer.name]


def test_the_error_and_the_rank_correlation_of_predictions() -> None:
    from sqgen.studies.latency_experiment import Row, WholeNet, relative_error, summary_lines
    from sqgen.studies.latency_experiment import rank_correlation as ranks

    assert relative_error([1.0, 3.0], [2.0, 2.0]) == 0.5
    assert ranks([1, 2, 3], [10, 200, 30]) == pytest.approx(0.5)  # 1 - 6 * 2 / (3 * 8)
    assert ranks([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    rows = [Row(n, 100, 2.0 * n, 1.0 * n, n / 4, odd=n % 3, even=n) for n in (1, 2, 3)]
    lines = summary_lines(rows, WholeNet(8.0, 4.0))  # twice too much, as of the whole net
    assert lines[1].split()[-3:] == ["100.0", "+100.0", "1.000"]
    assert lines[2].split()[-3:] == ["0.0", "+0.0", "1.000"]
    assert lines[3].split()[-1] == f"{ranks([1, 2, 0], [1, 2, 3]):.3f}"


def test_the_experiment_draws_measures_and_writes(tmp_path: Path) -> None:
    from sqgen.studies import latency_experiment

    (tmp_path / "net.prototxt").write_text(NET)
    table = filled()
    table.conditions = {"threads": 1}
    (tmp_path / "t.toml").write_bytes(table.to_toml())
    words = [str(tmp_path / "t.toml"), "--net", str(tmp_path / "net.prototxt")]
    words += ["-o", str(tmp_path / "out"), "--nets", "3", "--rounds", "2", "--iterations", "1"]
    assert latency_experiment.main([*words, "--threads", "2"]) == 2
    assert not (tmp_path / "out").exists()
    assert latency_experiment.main([*words, "--threads", "1"]) == 0
    rows = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(rows) == 4
    predicted = [float(row.split(",")[2]) for row in rows[1:]]
    whole = table.predict(shapes_of(NET), "net")
    assert len(set(predicted)) > 1
    assert all(0 < each <= whole for each in predicted)


def test_nets_of_many_sizes_differ_more_than_others() -> None:
    from sqgen.studies.latency_experiment import random_net

    whole = parse_net(build(Design(classes=10, size=64), "deploy"))
    spreads = []
    for sizes in (True, False):
        rng = np.random.default_rng(0)
        nets = [random_net(whole, 0.2, rng, sizes) for _ in range(8)]
        macs = [summary(net).totals.macs for net in nets]
        spreads.append(max(macs) / min(macs))
    assert spreads[0] > 2 * spreads[1]


def ranges_of(text: str, fused: bool = True) -> list[LayerRange]:
    return layer_ranges(parse_net(text), None, fused=fused)


def by_channels(points: Sequence[Point]) -> list[float]:
    return [1 + point.inputs + 3 * point.outputs for point in points]


def filled(measure: Callable[[Sequence[Point]], Sequence[float]] = by_channels) -> LatencyTable:
    table = LatencyTable("t", 1, 1)
    fill(table, ranges_of(NET), measure, lambda: None, no_bar, repeat=True)
    return table


def test_a_table_has_what_pruning_can_leave() -> None:
    found = {each.layer.name: each for each in ranges_of(NET)}
    assert (found["c1"].least_inputs, found["c1"].least_outputs) == (3, 1)
    assert (found["c2"].least_inputs, found["c2"].least_outputs) == (1, 4)
    grids = {each.kind: each for each in filled().grids}
    assert grids[found["c1"].layer.kind].inputs == (3,)
    assert grids[found["c2"].layer.kind].outputs == (4,)
    # a and b are of one kind, and b has more filters: one grid serves both.
    assert found["a"].layer.kind == found["b"].layer.kind
    assert len([g for g in filled().grids if g.kind == found["a"].layer.kind]) == 1


def test_measuring_goes_on_where_it_was_stopped() -> None:
    whole, calls = filled(), []
    table = LatencyTable("t", 1, 1)
    saved: list[bytes] = []

    def stopping(points: Sequence[Point]) -> list[float]:
        calls.append(points)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return by_channels(points)

    def go(measure: Callable[[Sequence[Point]], Sequence[float]]) -> int:
        return fill(
            table,
            ranges_of(NET),
            measure,
            lambda: saved.append(table.to_toml()),
            no_bar,
            repeat=False,
        )

    with pytest.raises(KeyboardInterrupt):
        go(stopping)
    assert len(saved) == 3
    left = sum(len(grid.missing) for grid in table.grids)
    assert 0 < left == go(by_channels)
    assert table.to_toml() == whole.to_toml()
    assert go(by_channels) == 0


def test_times_that_other_work_made_longer_are_measured_again() -> None:
    calls = 0

    def disturbed(points: Sequence[Point]) -> list[float]:
        nonlocal calls
        calls += 1
        return [(9 if calls == 2 else 1) * time for time in by_channels(points)]

    assert filled(disturbed).to_toml() == filled().to_toml()
    rounds = max(len(grid.inputs) * len(grid.outputs) for grid in filled().grids)
    assert calls > rounds
    calls = 2
    filled(disturbed)
    assert calls == 2 + rounds  # none again


def test_another_net_adds_its_layers() -> None:
    table = filled()
    before = len(table.grids)
    other = NET.replace("kernel_size: 3 pad: 1", "kernel_size: 5 pad: 2")
    fill(table, ranges_of(other), by_channels, lambda: None, no_bar, repeat=True)
    assert len(table.grids) == before + 1
    for text in (NET, other):
        assert not math.isnan(table.predict(shapes_of(text), "net"))


NETS = {
    "simple": build(preset("residual"), "deploy"),
    "complex": build(preset("complex"), "deploy"),
    "train_val": build(preset("v1.1"), "trainval"),
}


@pytest.mark.parametrize("name", NETS)
def test_costs_are_those_of_the_pruned_net(name: str) -> None:
    """What `LatencyCosts` adds up over arrays is what the table predicts of the smaller net."""
    from sqgen.formats.prototxt import to_text
    from sqgen.pruning.shrink import Shrinking

    net = parse_net(NETS[name])
    table = LatencyTable("t", 1, 16)
    fill(table, layer_ranges(net, None, fused=True), by_channels, lambda: None, no_bar, repeat=True)
    groups = ChannelGroups(net)
    costs = LatencyCosts(groups, net, None, table)
    free = [root for root, group in groups.groups.items() if group.reason is None]
    shares: list[list[int]] = [[], free[::2], [root for root in free if root % 7]]
    for removed in shares:
        shrinking = Shrinking(groups, removed)
        left = parse_net(to_text(shrinking.shrink_net(net.param)))
        deploy = deploy_net(left).definition  # has a Softmax that train_val has not in TEST
        expected = table.predict(require_shapes(deploy, "TEST"), "left")
        assert costs.cost(removed) == pytest.approx(expected, rel=1e-9)
    times = [costs.cost(removed) for removed in shares[:2]]
    assert times[0] > times[1]


def test_each_kind_of_layer_gets_a_net_that_caffe_takes() -> None:
    """Also depthwise convolutions, Slice, Eltwise and LRN, with fewer channels than the net's."""
    text = (
        NET
        + """
layer { name: "d" type: "Convolution" bottom: "c1" top: "d"
  convolution_param { num_output: 16 kernel_size: 3 group: 8 } }
layer { name: "cut" type: "Slice" bottom: "d" top: "x" top: "y" slice_param { slice_point: 5 } }
layer { name: "n" type: "LRN" bottom: "x" top: "n" }
layer { name: "e" type: "Eltwise" bottom: "a" bottom: "a" top: "e" }
layer { name: "ip" type: "InnerProduct" bottom: "e" top: "ip"
  inner_product_param { num_output: 5 } }
"""
    )
    net = parse_net(text)
    layers = timed_layers(require_shapes(net, "TEST"), fused=True)
    assert {"d", "cut", "n", "e", "ip"} <= {each.name for each in layers}
    points = [
        Point(each, max(2, each.inputs // 2), min(3, each.outputs))
        for each in layers
        if each.kind.type != "Input"
    ]
    param, branches = latency_net(points, 2)
    shapes = require_shapes(NetDefinition(param), "TEST")
    by_name = {item.layer.name: item for item in shapes.layers}
    for point, branch in zip(points, branches, strict=True):
        item = by_name[branch.timed[0]]
        joined = [item] if point.layer.kind.type != "Concat" else []
        assert [each.bottoms[0][:2] for each in joined] == [(2, point.inputs)] * len(joined)
        if point.outputs:
            assert item.tops[0][1] == point.outputs


def test_the_embedded_engine_measures(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    command = ["time", "--table", "t.toml", "--space", "net.prototxt", "--iterations", "1"]
    command += ["--engine", "torch", "--json", "--batch-size", "2", "--", "--threads", "2"]
    done = sqgen(*command)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    made = json.loads(done.stdout)
    table = read_latency_table(str(tmp_path / "t.toml"))
    assert table.batch == 2
    assert table.conditions["threads"] == 2
    assert made["milliseconds"] == pytest.approx(table.predict(shapes_of(NET), "net"))
    assert made["measured"] == sum(len(g.inputs) * len(g.outputs) for g in table.grids)
    again = json.loads(sqgen(*command).stdout)
    assert again == {**made, "measured": 0}
    refused = sqgen(*command[:-1], "1")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "sqgen: t.toml: is a table of other conditions: threads is 2 there, 1 here; give --table"
        " another file"
    )


FAKE_CAFFE = """
import os, re, sys
if sys.argv[1:] == ["--version"]:
    sys.exit("caffe version 1.0.0")
folder = sys.argv[0] + ".calls"
with open(folder, "a") as file:
    file.write("\\n")
if os.path.getsize(folder) == int(os.environ.get("FAIL_AT", "0")):
    os.kill(os.getpid(), 9)
assert sys.argv[1] == "time" and "--iterations=4" in sys.argv and "--threads=1" in sys.argv
(model,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--model=")]
stamp = "I20261123 02:37:19.758137 12154 caffe.cpp:%d] "
print(stamp % 347 + "Use CPU.", file=sys.stderr)
print(stamp % 397 + "Average time per layer: ", file=sys.stderr)
for text in open(model).read().split("\\nlayer {"):
    name, count = re.search('name: "(.*)"', text), re.search("num_output: (.*)", text)
    ms = int(count[1]) if count else 1
    print(stamp % 400 + f"{name[1]:>10}\\tforward: {ms} ms.", file=sys.stderr)
    print(stamp % 403 + f"{name[1]:>10}\\tbackward: 99 ms.", file=sys.stderr)
print(stamp % 415 + "*** Benchmark ends ***", file=sys.stderr)
"""


def test_a_caffe_measures_and_a_killed_run_goes_on(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    fake = tmp_path / "fake.py"
    fake.write_text(FAKE_CAFFE.replace("sys.exit(", "sys.exit(print(").replace('0")', '0"))', 1))
    command = ["time", "--table", "t.toml", "--space", "net.prototxt", "--iterations", "4"]
    command += ["--caffe", shlex.join([PYTHON, "-I", "-S", str(fake)]), "--", "--threads=1"]
    killed = sqgen(*command, env={"FAIL_AT": "3", "TMPDIR": str(tmp_path)})
    assert killed.returncode == 5, killed.stderr
    (kept,) = tmp_path.glob("sqgen-latency-*")
    assert str(kept / "run" / "caffe.log") in killed.stderr
    done = sqgen(*command, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("sqgen-latency-*")) == [kept]
    # c1 8, its ReLU, a 6, b 10, join, pool, c2 4, prob: what the fake prints by num_output.
    assert done.stdout == "net.prototxt: 32 ms a batch of 1 by t.toml\n"
    table = read_latency_table(str(tmp_path / "t.toml"))
    rounds = max(len(g.inputs) * len(g.outputs) for g in table.grids)
    assert len((tmp_path / "fake.py.calls").read_text()) == rounds + 1
    assert table.conditions["arguments"] == "--threads=1"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--table", "t.toml"], "--table FILE and --space NET go together"),
        (["--space", "net.prototxt"], "--table FILE and --space NET go together"),
        ([], "give --model NET, or --table FILE --space NET"),
        (["--model", "net.prototxt", "--image", "3x8x8"], "--image goes with --table"),
        (
            ["--table", "t.toml", "--space", "net.prototxt", "--phase", "TEST"],
            "--table measures layers of --space in TEST: leave out --phase",
        ),
        (
            ["--table", "t.toml", "--space", "net.prototxt", "--model", "net.prototxt"],
            "leave out --model",
        ),
        (
            ["--table", "t.toml", "--space", "net.prototxt", "--", "--minloglevel=1"],
            "'minloglevel' behind --: a table takes --threads and --precision",
        ),
        (["--table", ".", "--space", "net.prototxt"], "'.' is not a file name"),
        (["--table", "net.prototxt", "--space", "net.prototxt"], "net.prototxt: not a TOML file"),
    ],
)
def test_options_that_contradict_are_refused(
    sqgen: Run, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    done = sqgen("time", *words)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "t.toml").exists()


def prune(sqgen: Run, folder: Path, *options: str, table: bytes | None = None) -> Any:
    (folder / "net.prototxt").write_text(NET)
    save(random_model(NET), folder / "w.caffemodel")
    (folder / "t.toml").write_bytes(filled().to_toml() if table is None else table)
    command = ("prune", "w.caffemodel", "--net", "net.prototxt", "--out", "small", "--no-proof")
    return sqgen(*command, *options)


@pytest.mark.parametrize("budget", ["0.6", "50"])
def test_a_budget_of_milliseconds_is_met(sqgen: Run, tmp_path: Path, budget: str) -> None:
    done = prune(sqgen, tmp_path, "--ms", budget, "--latency", "t.toml", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)["ms"]
    table = filled()
    left = parse_net((tmp_path / "small" / "deploy.prototxt").read_text())
    assert made["before"] == pytest.approx(table.predict(shapes_of(NET), "net"))
    assert made["after"] == pytest.approx(table.predict(require_shapes(left, "TEST"), "left"))
    limit = float(budget) if budget == "50" else 0.6 * made["before"]
    assert 0.9 * limit < made["after"] <= limit  # few channels: steps are large


def without_c2() -> bytes:
    table = filled()
    table.grids = [grid for grid in table.grids if ("size", 4) not in grid.kind.settings]
    return table.to_toml()


@pytest.mark.parametrize(
    ("options", "table", "message"),
    [
        (("--ms", "0.5"), None, "--ms X and --latency FILE go together; sqgen time --table"),
        (("--macs", "0.5", "--latency", "t.toml"), None, "--ms X and --latency FILE go together"),
        (("--ms", "5e3", "--latency", "t.toml"), None, "--ms 5,000: the whole net has 166 ms"),
        (("--ms", "2", "--latency", "t.toml"), None, "--ms 2: can't be met; "),
        (("--ms", "70%", "--latency", "t.toml"), None, "--ms 70%: write 0.7"),
        (("--ms", "0.5", "--latency", "no.toml"), None, "no.toml: no such file"),
        (("--ms", "0.5", "--latency", "t.toml"), b"[[layer]", "t.toml: not a TOML file"),
        (
            ("--ms", "0.5", "--latency", "t.toml"),
            without_c2(),
            "t.toml: lacks 2 layers of net.prototxt: 'c2' (Convolution at 4x4, 16 -> 4), 'prob'"
            " (Softmax at 4x4, 4 channels); measure them: sqgen time --table t.toml --space"
            " net.prototxt",
        ),
    ],
)
def test_a_mistaken_budget_is_one_line(
    sqgen: Run, tmp_path: Path, options: tuple[str, ...], table: bytes | None, message: str
) -> None:
    done = prune(sqgen, tmp_path, *options, table=table)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "small").exists()


def test_a_table_of_another_machine_is_said(sqgen: Run, tmp_path: Path) -> None:
    table = filled()
    table.conditions = {"processor": "a board", "threads": 999}
    done = prune(
        sqgen, tmp_path, "--ms", "0.6", "--latency", "t.toml", "--json", table=table.to_toml()
    )
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("sqgen: warning: t.toml: is of another machine: processor a board, here")
    assert "; threads 999, here " in line


def test_a_search_goes_on_by_the_same_table_alone(sqgen: Run, tmp_path: Path) -> None:
    """Otherwise its journal would go on with trials that cost something else."""
    pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")
    make_lmdb(tmp_path / "lmdb", [raw(number, 3, 8, 8) for number in range(4)])
    search = ["--ms", "0.6", "--latency", "t.toml", "--data", "lmdb", "--by", "random"]
    search += ["--trials", "2", "--json"]
    first = prune(sqgen, tmp_path, *search)
    assert first.returncode == 0, first.stderr
    again = prune(sqgen, tmp_path, *search, "--resume", "--force")
    assert json.loads(again.stdout)["decisions"] == json.loads(first.stdout)["decisions"]
    other = filled(lambda points: [2 * each for each in by_channels(points)]).to_toml()
    refused = prune(sqgen, tmp_path, *search, "--resume", "--force", table=other)
    assert refused.returncode == 2
    assert "trials.jsonl" in refused.stderr.splitlines()[-1]
