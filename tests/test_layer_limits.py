"""The table of what toolchains can't do of a layer is right: OpenCV, which is at hand, shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sqgen import PRESETS, NetError, build, export_net, parse_net, preset
from sqgen.exchange import layer_limits
from sqgen.exchange.layer_limits import LIMITS, VARIANTS, limits
from sqgen.exchange.layer_to_onnx import RULES
from sqgen.exchange.toolchains import TOOLCHAINS
from sqgen.nets.deploy import deploy_net
from sqgen.nets.image_transform import ImageTransform

from .small_nets import conv, layer, net_input, random_model, save

# type or phrase -> the fields of a layer `x` that reads `c`, (1, 6, 9, 7).
ONE_BOTTOM = {
    "AbsVal": "",
    "ArgMax": "argmax_param { axis: 1 }",
    "ArgMax of several classes": "argmax_param { axis: 1 top_k: 2 }",
    "BNLL": "",
    "BatchNorm": "",
    "BatchNorm with eps": "batch_norm_param { eps: 0.0001 }",
    "BatchNorm with eps above 0.001": "batch_norm_param { eps: 0.5 }",
    "Bias": "",
    "Clip": "clip_param { min: -0.5 max: 0.5 }",
    "Convolution": "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2"
    " stride_w: 1 pad_h: 0 pad_w: 1 }",
    "Convolution dilated": "convolution_param { num_output: 6 kernel_size: 3 dilation: 2"
    " group: 3 }",
    "Deconvolution": "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 6 }",
    "Dropout": "",
    "ELU": "elu_param { alpha: 0.7 }",
    "Exp": "",
    "Exp with base, scale or shift": "exp_param { base: 2 scale: 0.5 }",
    "Flatten": "",
    "Im2col": "convolution_param { kernel_size: 2 }",
    "InnerProduct": "inner_product_param { num_output: 5 }",
    "InnerProduct with axis": "inner_product_param { num_output: 5 axis: 2 }",
    "InnerProduct without bias_term": "inner_product_param { num_output: 5 bias_term: false }",
    "InnerProduct with transpose": "inner_product_param { num_output: 5 transpose: true }",
    "LRN": "",
    "LRN in three": "lrn_param { local_size: 3 alpha: 0.7 beta: 0.6 }",
    "LRN across channels with k": "lrn_param { local_size: 3 alpha: 0.7 k: 2 }",
    "LRN within channels": "lrn_param { norm_region: WITHIN_CHANNEL }",
    "LRN within channels with k": "lrn_param { local_size: 3 k: 2 norm_region: WITHIN_CHANNEL }",
    "MVN": "mvn_param { normalize_variance: false }",
    "MVN across channels": "mvn_param { across_channels: true normalize_variance: false }",
    "MVN by the variance": "",
    "MVN with eps": "mvn_param { eps: 0.5 }",
    "PReLU": "",
    "PReLU with channel_shared": "prelu_param { channel_shared: true }",
    "Pooling": "pooling_param { kernel_size: 3 stride: 2 pad: 1 }",
    "Pooling global": "pooling_param { global_pooling: true }",
    "Pooling of averages": "pooling_param { pool: AVE kernel_size: 4 }",
    "Pooling of averages with stride": "pooling_param { pool: AVE kernel_size: 4 stride: 3 }",
    "Pooling of averages with pad": "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
    "Pooling with round_mode": "pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }",
    "Power": "power_param { scale: 0.5 shift: 1 }",
    "Power other than 1": "power_param { power: 2 scale: 0.5 shift: 1 }",
    "ReLU": "relu_param { negative_slope: 0.1 }",
    "Reduction": "",
    "Reduction other than means": "reduction_param { operation: ASUM }",
    "Reduction other than sums from axis 0 or 1": "reduction_param { operation: MEAN axis: 1 }",
    "Reduction with coeff": "reduction_param { coeff: 2 }",
    "Reshape": "reshape_param { shape { dim: 0 dim: -1 dim: 7 dim: 1 } }",
    "Reshape with axis or num_axes": "reshape_param { axis: 1 num_axes: 2 shape { dim: -1 } }",
    "SPP": "spp_param { pyramid_height: 2 }",
    "Scale": "scale_param { bias_term: true }",
    "Scale along other axes than the channels": "scale_param { axis: 2 }",
    "Scale by one factor": "scale_param { num_axes: 0 }",
    "Sigmoid": "",
    "Softmax": "softmax_param { axis: 2 }",
    "Swish": "",
    "Swish with beta": "swish_param { beta: 1.5 }",
    "TanH": "",
    "Threshold": "threshold_param { threshold: 0.1 }",
    "Tile": "tile_param { tiles: 2 }",
}
RELU = layer("ReLU", "r", "c")
D = conv("d", "data", 6)
SLICE = 'layer { name: "s" type: "Slice" bottom: "c" top: "s1" top: "s2" %s }'
POSITIVE = layer("AbsVal", "a", "c") + layer("Power", "b", "a", rest="power_param { shift: 1 }")
CASES = {
    phrase: RELU + layer(phrase.partition(" ")[0], "x", "r", rest=fields)
    for phrase, fields in ONE_BOTTOM.items()
} | {
    "Concat": D + layer("Concat", "x", "c d", rest="concat_param { axis: 2 }"),
    "Crop": layer("Pooling", "p", "c", rest="pooling_param { kernel_size: 3 }")
    + layer("Crop", "x", "c p", rest="crop_param { axis: 2 offset: 1 }"),
    "Crop with unequal offsets": layer("Pooling", "p", "c", rest="pooling_param { kernel_size: 3 }")
    + layer("Crop", "x", "c p", rest="crop_param { axis: 2 offset: 1 offset: 0 }"),
    "Eltwise": D + layer("Eltwise", "x", "c d"),
    "Eltwise with coeff": D
    + layer("Eltwise", "x", "c d", rest="eltwise_param { coeff: 2 coeff: 1 }"),
    "Eltwise of three blobs": D + layer("Eltwise", "x", "c d c"),
    "Eltwise of three blobs with coeff": D
    + layer("Eltwise", "x", "c d c", rest="eltwise_param { coeff: 2 coeff: 1 coeff: -1 }"),
    "Eltwise of maxima": D + layer("Eltwise", "x", "c d", rest="eltwise_param { operation: MAX }"),
    "Log": POSITIVE + layer("Log", "x", "b"),
    "Log with base, scale or shift": POSITIVE
    + layer("Log", "x", "b", rest="log_param { base: 2 }"),
    "Parameter": 'layer { name: "w" type: "Parameter" top: "w" parameter_param {'
    " shape { dim: 1 dim: 6 dim: 9 dim: 7 } } }" + layer("Eltwise", "x", "c w"),
    "Scale of two blobs": layer("Pooling", "p", "c", rest="pooling_param { global_pooling: true }")
    + layer("Flatten", "d", "p")
    + layer("Scale", "x", "c d", rest="scale_param { axis: 0 }"),
    "Slice": SLICE % "slice_param { axis: 2 slice_point: 4 }"
    + layer("TanH", "t", "s2")
    + layer("Concat", "x", "s1 t", rest="concat_param { axis: 2 }"),
    "Slice without slice_point": SLICE % ""
    + layer("TanH", "t", "s2")
    + layer("Eltwise", "x", "s1 t"),
    "Split": 'layer { name: "s" type: "Split" bottom: "c" top: "s1" top: "s2" }'
    + layer("Eltwise", "x", "s1 s2"),
}


def text_of(case: str) -> str:
    return net_input() + conv("c", "data", 6, 3) + CASES[case]


def export(case: str, folder: Path) -> Path:
    text = text_of(case)
    save(random_model(text), folder / "w")
    transform = ImageTransform("BGR", mean=(104.0, 117.0, 123.0), scale=0.01)
    export_net(parse_net(text, "n"), folder / "w", "opencv", transform=transform).save(folder / "o")
    return folder / "o"


def opencv_agrees(folder: Path) -> bool:
    expected = np.load(folder / "test_output.npy")
    files = [str(folder / name) for name in ("deploy.prototxt", "deploy.caffemodel")]
    try:
        net: Any = cv2.dnn.readNetFromCaffe(*files)
        net.setInput(np.load(folder / "test_input.npy"))
        result = net.forward()
    except cv2.error:
        return False
    return result.size == expected.size and bool(
        np.abs(result.reshape(-1) - expected.reshape(-1)).max() <= 1e-4 * np.abs(expected).max()
    )


DONE = sorted(case for case in CASES if not {case, case.partition(" ")[0]} & LIMITS["opencv"])


@pytest.mark.parametrize("case", DONE)
def test_opencv_does_the_rest(case: str, tmp_path: Path) -> None:
    assert opencv_agrees(export(case, tmp_path))


@pytest.mark.parametrize("case", sorted(LIMITS["opencv"]))
def test_opencv_can_not(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = rf"n:\d+: layer '[wx]': OpenCV 4.14 has no {case}, or gets it wrong; write it"
    with pytest.raises(NetError, match=said):
        export(case, tmp_path)
    monkeypatch.setattr(layer_limits, "LIMITS", {})
    assert not opencv_agrees(export(case, tmp_path))


def test_tables_fit_each_other() -> None:
    assert LIMITS.keys() <= TOOLCHAINS.keys()
    for refused in LIMITS.values():
        assert refused <= VARIANTS.keys() | RULES.keys()
    assert {kind for kind, _ in VARIANTS.values()} <= RULES.keys()
    # All that a deploy net may have is tried; Embed and BatchReindex read no images.
    tried = {each.type for case in CASES for each in parse_net(text_of(case)).param.layer}
    assert tried >= RULES.keys() - {"BatchReindex", "Embed", "Silence"}


# Variants that another case has, too.
ALSO = {
    "BatchNorm with eps": {"BatchNorm with eps above 0.001"},
    "Eltwise of three blobs": {"Eltwise of three blobs with coeff"},
    "LRN within channels": {"LRN within channels with k"},
    "Pooling of averages with stride": {"Pooling of averages with pad"},
    "Reduction other than means": {"Reduction", "Reduction with coeff"},
    "Eltwise with coeff": {"Eltwise of three blobs with coeff"},
    "MVN by the variance": {"MVN with eps"},
    "Reduction other than sums from axis 0 or 1": {
        "Reduction other than means",
        "Reduction with coeff",
    },
    "Scale along other axes than the channels": {"Scale by one factor"},
}


@pytest.mark.parametrize("phrase", VARIANTS)
def test_a_variant_is_that_of_its_field_alone(phrase: str) -> None:
    kind, applies = VARIANTS[phrase]
    found = {
        case
        for case in CASES
        for each in parse_net(text_of(case)).param.layer
        if each.type == kind and applies(each)
    }
    assert found == {phrase} | ALSO.get(phrase, set())


@pytest.mark.parametrize("name", PRESETS)
def test_published_nets_go_everywhere(name: str) -> None:
    net = deploy_net(parse_net(build(preset(name))), 1).param
    found = {(t, phrase) for each in net.layer for t in TOOLCHAINS for phrase in limits(each, t)}
    assert found == set()
