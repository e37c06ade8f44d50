"""The state of a net: phases, stages and levels that its layers' rules select."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqgen import NetError, parse_net, summary

from .conftest import Run
from .small_runs import StandIn, calls

ALL_IN_ONE = """
layer { name: "in" type: "DummyData" top: "data" include { stage: "wide" }
  dummy_data_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "in" type: "DummyData" top: "data" include { stage: "narrow" min_level: 1 }
  dummy_data_param { shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 2 } }
"""


def test_a_summary_without_a_stage_names_them(sqgen: Run, shared: Path) -> None:
    case = shared / "reported" / "33-summary-does-not-name-stages" / "original.prototxt"
    done = sqgen("summary", str(case))
    assert done.returncode == 2
    assert "no layer makes 'data'; it has layers for stages deploy, train, val" in done.stderr
    assert sqgen("summary", str(case), "--stage", "val").returncode == 0


def test_a_command_without_stages_names_one_that_has_them(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "in" type: "DummyData" top: "data" include { stage: "wide" } }'
        'layer { name: "last" type: "InnerProduct" bottom: "data" top: "last" }'
    )
    (tmp_path / "w.sqz").write_bytes(b"x")
    net = ("--net", "net.prototxt")
    for command in (
        ("prune", "w.sqz", *net, "--out", "small", "--macs", "0.5"),
        ("compress", "decode", "w.sqz", *net, "-o", "x.caffemodel"),
    ):
        told = sqgen(*command).stderr
        assert "stages wide: sqgen deploy NET --stage NAME makes a net of them" in told
    assert "stages wide: give --stage NAME" in sqgen("summary", "net.prototxt").stderr


def test_errors_of_a_net_in_a_stage_name_none() -> None:
    net = parse_net(ALL_IN_ONE.replace('top: "data"', 'top: "date"'))
    with pytest.raises(NetError, match="stages narrow, wide: give --stage NAME"):
        summary(net)
    with pytest.raises(NetError) as caught:
        summary(parse_net('state { stage: "wide" }' + ALL_IN_ONE.replace("num_output: 2", "")))
    assert "--stage" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (("--stage", "wide"), "1 3 8 8"),
        (("--stage", "narrow", "--level", "1"), "1 3 2 2"),
    ],
)
def test_time_runs_the_stage(
    options: tuple[str, ...], shape: str, tmp_path: Path, sqgen: Run
) -> None:
    (tmp_path / "net.prototxt").write_text(ALL_IN_ONE)
    command = ("time", "--model", "net.prototxt", "--iterations", "1", "--engine", "torch", "--cpu")
    done = sqgen(*command, *options, "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    assert f"Top shape: {shape}" in (tmp_path / "run" / "caffe.log").read_text()
    none = sqgen(*command)
    assert none.returncode == 2
    assert "no layer makes 'data' (without a stage; --stage NAME)" in none.stderr


def test_flags_of_the_state_reach_caffe(
    tmp_path: Path, sqgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text('state { stage: "wide" }' + ALL_IN_ONE)
    caffe = StandIn(tmp_path)("time_digits", calls=tmp_path / "calls")
    sqgen("time", "--model", "net.prototxt", "--caffe", caffe, "--stage", "a b", "--level", "2")
    assert calls(tmp_path / "calls")[-1][3:] == ["--stage=a b", "--level=2"]
    behind = sqgen("time", "--model", "net.prototxt", "--", "--stage=wide")
    assert behind.returncode == 2
    assert "sqgen sets --stage itself" in behind.stderr
