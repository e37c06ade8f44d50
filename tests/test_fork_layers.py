"""Layers of forks written as Caffe's own: the outputs are those of the fork's formulas."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import FormatError, Net, lint_net, parse_net, summary
from sqgen.formats.caffemodel import fill_blob, read_caffemodel
from sqgen.formats.schema import BlobProto, NetParameter

from .conftest import Run
from .small_nets import layer, net_input, save

Array = np.ndarray[Any, Any]
CHANNELS, SIZE = 4, 6
RNG = np.random.default_rng(5)
MEAN, BIAS = RNG.normal(size=(2, CHANNELS)).astype(np.float32)
VARIANCE, SCALE = RNG.uniform(0.5, 2, (2, CHANNELS)).astype(np.float32)
ONE = np.ones(1, np.float32)
IMAGE = RNG.normal(size=(2, CHANNELS, SIZE, SIZE)).astype(np.float32)
IN_PLACE = ("data", "bn")


def batch_norm(fields: str, top: str = "bn", more: str = "") -> str:
    """A net of one BatchNorm and a reader of its top."""
    return (
        net_input(CHANNELS, SIZE, SIZE)
        + layer("BatchNorm", "bn", "data", top, f"batch_norm_param {{ {fields} }} {more}")
        + layer("Power", "p", top, "out", "power_param { scale: 2 }")
    )


def model(*arrays: Array) -> NetParameter:
    """Weights of the BatchNorm."""
    net = NetParameter()
    written = net.layer.add(name="bn", type="BatchNorm")
    for array in arrays:
        fill_blob(written.blobs.add(), array)
    return net


def expected(eps: float) -> Array:
    """What NVCaffe computes in TEST (batch_norm_layer.cpp), and the Power behind it."""
    mean, variance, scale, bias = (
        each.astype(np.float64)[:, None, None] for each in (MEAN, VARIANCE, SCALE, BIAS)
    )
    result: Array = 2 * ((IMAGE - mean) / np.sqrt(variance + eps) * scale + bias)
    return result


def run(text: str, weights: NetParameter, folder: Path) -> Array:
    save(weights, folder / "w.caffemodel")
    net = Net(parse_net(text, "n"), folder / "w.caffemodel", precision="fp64")
    result: Array = net.forward(IMAGE)["out"]
    return result


@pytest.mark.parametrize("top", IN_PLACE)
@pytest.mark.parametrize(
    ("fields", "eps"),
    [
        ("scale_bias: true", 1e-5),
        ("scale_bias: true eps: 1e-9", 1e-5),  # NVCaffe's minimum
        ("scale_bias: true eps: 0.3 use_global_stats: false", 0.3),  # which it does not read
        ("scale_filler { type: 'constant' value: 3 } bias_filler { value: -1 }", 1e-5),
    ],
)
def test_batch_norm_of_nvcaffe(top: str, fields: str, eps: float, tmp_path: Path) -> None:
    text = batch_norm(fields, top)
    weights = model(MEAN, VARIANCE, ONE, SCALE, BIAS)
    np.testing.assert_allclose(run(text, weights, tmp_path), expected(eps), rtol=1e-6)
    net = parse_net(text, "n")
    assert [each.type for each in net.param.layer] == ["Input", "BatchNorm", "Scale", "Power"]
    assert net.place(net.param.layer[2]) == "n:2"
    assert [finding.message for finding in lint_net(net, phases="TEST")] == []
    assert summary(net).totals.parameters == 2 * CHANNELS
    assert net.warnings == ["n: upgraded BatchNorm with scale and bias to BatchNorm and Scale: bn"]


def test_fillers_go_to_the_scale() -> None:
    fields = "scale_filler { type: 'constant' value: 3 } bias_filler { value: -1 }"
    more = "include { phase: TEST } param { lr_mult: 0 } param { } param { } param { name: 's' }"
    bn, scale = parse_net(batch_norm(fields, more=more)).param.layer[1:3]
    assert (len(bn.param), scale.name, scale.param[0].name) == (3, "bn/scale", "s")
    assert (scale.scale_param.filler.value, scale.scale_param.bias_filler.value) == (3, -1)
    assert scale.include == bn.include


@pytest.mark.parametrize("axes", [1, 4])
def test_the_order_of_nvcaffe_before_0_16(axes: int, tmp_path: Path) -> None:
    """Scale, bias, mean, variance, a counter: Net::CopyTrainedLayersFrom of NVCaffe reads it."""
    arrays = [SCALE, BIAS, MEAN, VARIANCE, np.zeros(1, np.float32)]
    shaped = [array.reshape((1, -1, 1, 1)) if axes == 4 else array for array in arrays]
    result = run(batch_norm("scale_bias: true"), model(*shaped), tmp_path)
    np.testing.assert_allclose(result, expected(1e-5), rtol=1e-6)


@pytest.mark.parametrize(("code", "kind"), [(0, "<f8"), (1, "<f4"), (2, "<f2")])
def test_raw_data_of_nvcaffe(code: int, kind: str, tmp_path: Path) -> None:
    """NVCaffe from 0.16 on stores bytes and their type in fields of its own (Blob::ToProto)."""
    arrays = [each.astype(kind) for each in (MEAN, VARIANCE, ONE, SCALE, BIAS)]
    net = NetParameter()
    written = net.layer.add(name="bn", type="BatchNorm")
    for array in arrays:
        data = array.tobytes()
        raw = BlobProto().SerializeToString() + bytes([10 << 3, code, 12 << 3 | 2, len(data)])
        blob = written.blobs.add()
        blob.MergeFromString(raw + data)
        blob.shape.dim.append(len(array))
    result = run(batch_norm("scale_bias: true"), net, tmp_path)
    np.testing.assert_allclose(result, expected(1e-5), rtol=1e-6, atol=0 if code < 2 else 1e-2)
    again = read_caffemodel(tmp_path / "w.caffemodel")
    assert [len(blob.data) + len(blob.double_data) for blob in again.layer[0].blobs] == [4, 4, 1]


def test_raw_data_of_another_size_or_type(tmp_path: Path) -> None:
    for code, data, message in ((1, b"12345", "damaged"), (5, b"1234", "no numbers")):
        net = model()
        blob = net.layer[0].blobs.add()
        blob.MergeFromString(bytes([10 << 3, code, 12 << 3 | 2, len(data)]) + data)
        blob.shape.dim.append(1)
        save(net, tmp_path / "w")
        with pytest.raises(FormatError, match=message):
            read_caffemodel(tmp_path / "w")


def test_a_name_that_is_taken() -> None:
    text = batch_norm("scale_bias: true") + layer("ReLU", "bn/scale", "out")
    with pytest.raises(FormatError, match="'bn/scale', but another has this name; rename it"):
        parse_net(text, "n")


def depthwise(image: Array, weights: Array, pad: int, stride: int) -> Array:
    """Each channel convolved with its own filter (conv_dw_layer.cpp of BVLC/caffe#5665)."""
    padded = np.pad(image, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    kernel = weights.shape[-1]
    size = (padded.shape[2] - kernel) // stride + 1
    out = np.zeros((*image.shape[:2], size, size))
    for y in range(size):
        for x in range(size):
            top, left = y * stride, x * stride
            window = padded[:, :, top : top + kernel, left : left + kernel]
            out[:, :, y, x] = (window * weights[None, :, 0]).sum(axis=(2, 3))
    return out


@given(
    st.sampled_from(
        [
            ("ConvolutionDepthwise", ""),
            ("ConvolutionDepthwise", "group: 4"),
            ("DepthwiseConvolution", "group: 4"),
            ("DepthwiseConvolution", "engine: CAFFE"),
        ]
    ),
    st.integers(1, 3),
    st.integers(0, 1),
    st.integers(1, 2),
)
def test_depthwise_layers(kind: tuple[str, str], kernel: int, pad: int, stride: int) -> None:
    name, more = kind
    fields = f"num_output: {CHANNELS} bias_term: false kernel_size: {kernel} pad: {pad}"
    text = net_input(CHANNELS, SIZE, SIZE) + layer(
        name,
        "dw",
        "data",
        "out",
        f"convolution_param {{ {fields} stride: {stride} {more} }}",
    )
    net = parse_net(text, "n")
    assert net.warnings == ["n: upgraded depthwise layers to group = num_output: dw"]
    assert summary(net).totals.parameters == CHANNELS * kernel * kernel
    weights = np.random.default_rng(kernel).normal(size=(CHANNELS, 1, kernel, kernel))
    stored = NetParameter()
    fill_blob(stored.layer.add(name="dw", type=name).blobs.add(), weights)
    with tempfile.TemporaryDirectory() as folder:
        result = run(text, stored, Path(folder))
    np.testing.assert_allclose(result, depthwise(IMAGE, weights, pad, stride), rtol=1e-9, atol=1e-9)


def test_the_command_writes_both_files(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "n").write_text(batch_norm("scale_bias: true"))
    save(model(MEAN, VARIANCE, ONE, SCALE, BIAS), tmp_path / "w")
    assert sqgen("upgrade", "n", "-o", "new.prototxt").returncode == 0
    done = sqgen("upgrade", "w", "-o", "new.caffemodel")
    assert done.returncode == 0
    assert "w: upgraded BatchNorm with scale and bias to BatchNorm and Scale: bn" in done.stderr
    new = NetParameter.FromString((tmp_path / "new.caffemodel").read_bytes())
    assert [(each.name, len(each.blobs)) for each in new.layer] == [("bn", 3), ("bn/scale", 2)]
    text = (tmp_path / "new.prototxt").read_text()
    net = Net(parse_net(text), tmp_path / "new.caffemodel", precision="fp64")
    np.testing.assert_allclose(net.forward(IMAGE)["out"], expected(1e-5), rtol=1e-6)
    assert parse_net(text).warnings == []


@pytest.mark.parametrize("file", ["deploy.prototxt", "with_group.prototxt"])
def test_reported_depthwise_nets(file: str, sqgen: Run, shared: Path) -> None:
    """18 of the reports: Convolution without a group has 3,248 parameters in place of 1,088."""
    net = str(shared / "reported" / "18-depthwise-did-you-mean-convolution" / file)
    done = sqgen("summary", net)
    assert (done.returncode, "1,088 parameters" in done.stdout) == (0, True)
    assert "did you mean" not in done.stderr
