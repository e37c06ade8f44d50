"""`reference_layers.py` against Caffe's recorded results and numerical gradients.

`data/engine/layers.json` has layers that BVLC Caffe (master, 9b89154) ran for one iteration: the
tops, the updated statistics of BatchNorm, and the gradients of bottoms and parameter blobs, given
those of the tops (for a loss: its weight). Values are float32, but tops without gradients have the
6 digits that Caffe prints.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sqgen import parse_net
from sqgen.formats.ristretto import RISTRETTO_TYPES
from sqgen.nets.layer_types import LAYER_TYPES

from . import reference_layers
from .conftest import DATA
from .grouped import by_kind, check_each

Array = npt.NDArray[np.float64]
Case = dict[str, Any]

CASES: list[Case] = json.loads((DATA / "engine" / "layers.json").read_text())
SOURCES = {"Data", "ImageData", "MemoryData", "DummyData", "Input", "HDF5Data"}
SINKS = {"HDF5Output"}


def kind(case: Case) -> str:
    """The layer type of a case."""
    found = re.search(r'type: "(\w+)"', case["layer"])
    assert found
    return found[1]


IDS = [f"{index}-{kind(case)}" for index, case in enumerate(CASES)]


def array(recorded: Any) -> Array:
    """A recorded blob."""
    return np.array(recorded["values"], np.float64).reshape(recorded["shape"])


def arrays(recorded: Sequence[Any]) -> list[Array | None]:
    """Recorded blobs, some of which may be missing."""
    return [None if item is None else array(item) for item in recorded]


def given(recorded: Sequence[Any]) -> list[Array]:
    """Recorded blobs, none of which is missing."""
    return [array(item) for item in recorded]


def assert_near(actual: Any, recorded: Array, what: str, rtol: float = 1e-5) -> None:
    """Equal but for the rounding of float32: sums make it relative to their terms, here about 1."""
    actual = np.asarray(actual, np.float64)
    assert actual.shape == recorded.shape, what
    finite = np.abs(recorded[np.isfinite(recorded)])
    scale = float(finite.max()) if finite.size else 0.0
    atol = rtol * (0.2 * scale + 0.01)
    np.testing.assert_allclose(actual, recorded, rtol=rtol, atol=atol, err_msg=what)


KINDS = by_kind(zip(IDS, CASES, strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_reference_is_as_caffe(name: str) -> None:
    check_each(KINDS[name], check_reference)


def check_reference(case: Case) -> None:
    layer = parse_net(case["layer"]).param.layer[0]
    result = reference_layers.run(
        layer, case["phase"], given(case["bottoms"]), given(case["blobs"])
    )
    for index, (top, recorded) in enumerate(zip(result.tops, case["tops"], strict=True)):
        assert_near(top, array(recorded), f"top {index}")
    for index, recorded in enumerate(case.get("blobs_after", [])):
        assert_near(result.blobs[index], array(recorded), f"blob {index} after it")
    if "bottom_gradients" not in case:
        return
    if "top_gradients" in case:
        gradients = arrays(case["top_gradients"])
    else:
        gradients = reference_layers.training_gradients(layer, result)
    found = result.backward(gradients)
    wanted = [arrays(case["bottom_gradients"]), arrays(case["blob_gradients"])]
    for what, ours, caffes in zip(("bottom", "blob"), found, wanted, strict=True):
        for index, (mine, recorded) in enumerate(zip(ours, caffes, strict=True)):
            assert (mine is None) == (recorded is None), f"{what} {index}"
            if recorded is not None:
                assert_near(mine, recorded, f"gradient of {what} {index}")


def test_every_type_that_computes_is_recorded() -> None:
    computing = set(LAYER_TYPES) - SOURCES - SINKS - set(RISTRETTO_TYPES)
    assert set(reference_layers.RULES) == computing
    kinds = Counter(map(kind, CASES))
    assert set(kinds) == computing
    for name, least in {"Convolution": 15, "Pooling": 20, "SoftmaxWithLoss": 15}.items():
        assert kinds[name] >= least


# Where a layer is differentiable, by differences. Shapes are asymmetric, and no value lies at a
# kink: neighbours of a maximum and of zero are further away than the step.

DIFFERENTIABLE = [
    ("Convolution", "convolution_param { num_output: 2 kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 0"
     " stride_h: 1 stride_w: 2 dilation: 2 dilation: 1 group: 2 }", [(2, 4, 5, 6)], 1),
    ("Convolution", "convolution_param { num_output: 2 kernel_size: 2 }", [(2, 1, 3)] * 2, 2),
    ("Pooling", "pooling_param { kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 1"
     " pad_w: 0 }", [(2, 2, 5, 4)], 1),
    ("Pooling", "pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride: 2 pad_h: 0 pad_w: 1 }",
     [(2, 2, 5, 4)], 1),
    ("LRN", "lrn_param { local_size: 3 alpha: 0.7 k: 2 }", [(2, 4, 2, 3)], 1),
    ("LRN", "lrn_param { local_size: 3 alpha: 0.7 norm_region: WITHIN_CHANNEL }",
     [(2, 2, 3, 4)], 1),
    ("InnerProduct", "inner_product_param { num_output: 3 axis: 2 }", [(2, 2, 3, 2)], 1),
    ("InnerProduct", "inner_product_param { num_output: 3 transpose: true }", [(2, 2, 3)], 1),
    ("ReLU", "relu_param { negative_slope: 0.2 }", [(2, 3, 4)], 1),
    ("PReLU", "", [(2, 3, 4)], 1),
    ("PReLU", "prelu_param { channel_shared: true }", [(2, 3, 4)], 1),
    ("ELU", "elu_param { alpha: 0.6 }", [(2, 3, 4)], 1),
    ("Sigmoid", "", [(2, 3)], 1),
    ("TanH", "", [(2, 3)], 1),
    ("Power", "power_param { power: 3 scale: 2 shift: 0.5 }", [(2, 3)], 1),
    ("Power", "power_param { power: 3 scale: -2 }", [(2, 3)], 1),
    ("Power", "power_param { power: 2 scale: 3 shift: -1 }", [(2, 3)], 1),
    ("Power", "power_param { scale: 3 shift: -1 }", [(2, 3)], 1),
    ("Exp", "exp_param { base: 2 scale: -0.5 shift: 1 }", [(2, 3)], 1),
    ("Log", "log_param { base: 2 scale: 0.5 shift: 3 }", [(2, 3)], 1),
    ("AbsVal", "", [(2, 3)], 1),
    ("BNLL", "", [(2, 3)], 1),
    ("Swish", "swish_param { beta: 1.5 }", [(2, 3)], 1),
    ("Clip", "clip_param { min: -0.9 max: 0.7 }", [(2, 3, 2)], 1),
    ("BatchNorm", "", [(3, 2, 2, 4)], 1),
    ("BatchNorm", "batch_norm_param { use_global_stats: true }", [(3, 2, 4)], 1),
    ("Scale", "scale_param { num_axes: 2 bias_term: true }", [(2, 3, 2, 4)], 1),
    ("Scale", "scale_param { axis: 0 bias_term: true }", [(2, 3, 4), (2, 3)], 1),
    ("Bias", "bias_param { axis: -2 num_axes: 1 }", [(2, 3, 4)], 1),
    ("Bias", "bias_param { axis: 1 }", [(2, 3, 4), (3, 4)], 1),
    ("Concat", "concat_param { axis: -1 }", [(2, 3, 1), (2, 3, 4)], 1),
    ("Slice", "slice_param { slice_point: 1 slice_point: 3 }", [(2, 4, 3)], 3),
    ("Split", "", [(2, 3)], 3),
    ("Eltwise", "eltwise_param { operation: PROD }", [(2, 3)] * 3, 1),
    ("Eltwise", "eltwise_param { operation: PROD stable_prod_grad: false }", [(2, 3)] * 3, 1),
    ("Eltwise", "eltwise_param { coeff: 2 coeff: -0.5 }", [(2, 3)] * 2, 1),
    ("Eltwise", "eltwise_param { operation: MAX }", [(2, 5)] * 3, 1),
    ("Flatten", "flatten_param { axis: 2 }", [(2, 3, 2, 4)], 1),
    ("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 2 } }", [(2, 4, 3)], 1),
    ("Softmax", "softmax_param { axis: 2 }", [(2, 2, 4, 3)], 1),
    ("Deconvolution", "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 0"
     " stride_h: 1 stride_w: 2 dilation: 2 dilation: 1 group: 2 }", [(2, 2, 4, 3)], 1),
    ("Deconvolution", "convolution_param { num_output: 2 kernel_size: 3 stride: 2 }",
     [(2, 1, 3)] * 2, 2),
    ("Im2col", "convolution_param { kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 0"
     " pad_w: 1 }", [(2, 2, 4, 3)], 1),
    ("SPP", "spp_param { pyramid_height: 2 }", [(2, 2, 3, 4)], 1),
    ("SPP", "spp_param { pyramid_height: 3 pool: AVE }", [(1, 2, 7, 4)], 1),
    ("MVN", "", [(2, 3, 2, 4)], 1),
    ("MVN", "mvn_param { across_channels: true }", [(2, 3, 4)], 1),
    ("MVN", "mvn_param { normalize_variance: false }", [(2, 3, 2, 2)], 1),
    ("Crop", "crop_param { axis: 1 offset: 1 offset: 0 }", [(2, 4, 5), (1, 3, 4)], 1),
    ("Tile", "tile_param { tiles: 3 }", [(2, 3, 2)], 1),
    ("Reduction", "", [(2, 3, 2)], 1),
    ("Reduction", "reduction_param { operation: ASUM axis: 1 coeff: -2 }", [(2, 3, 2)], 1),
    ("Reduction", "reduction_param { operation: SUMSQ axis: 2 }", [(2, 3, 2)], 1),
    ("Reduction", "reduction_param { operation: MEAN axis: 1 coeff: 3 }", [(2, 3, 2)], 1),
    ("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", [], 1),
    ("EuclideanLoss", "", [(3, 4), (3, 2, 2)], 1),
    ("SigmoidCrossEntropyLoss", "", [(3, 4), (3, 2, 2)], 1),
    ("SigmoidCrossEntropyLoss", "loss_param { ignore_label: 0 normalization: VALID }",
     [(3, 4), (3, 4)], 1),
]  # fmt: skip


def layer_text(name: str, params: str, bottoms: int, tops: int) -> str:
    """The text of one layer, called `it`, with bottoms b0, b1... and tops t0, t1..."""
    ends = [f'bottom: "b{i}"' for i in range(bottoms)] + [f'top: "t{i}"' for i in range(tops)]
    return f'layer {{ name: "it" type: "{name}" {" ".join(ends)} {params} }}'


def spread_out(shape: tuple[int, ...], seed: int) -> Array:
    """Values of both signs, all 0.05 or more apart from each other and from zero."""
    generator = np.random.default_rng(seed)
    size = int(np.prod(shape))
    values = generator.permutation(size) - size // 2 + 0.25 + 0.5 * (seed % 2)
    return np.asarray(values / max(size, 8) * 4).reshape(shape)


def blobs_for(name: str, params: str, bottoms: Sequence[Array]) -> list[Array]:
    """Parameter blobs for a layer: the table knows their shapes."""
    layer = parse_net(layer_text(name, params, len(bottoms), 1)).param.layer[0]
    shapes = [blob.shape for blob in LAYER_TYPES[name].blobs(layer, [b.shape for b in bottoms])]
    generator = np.random.default_rng(5)
    blobs = [generator.uniform(0.5, 1.5, shape) for shape in shapes]
    return [np.asarray(blob) for blob in blobs]


@pytest.mark.parametrize(("name", "params", "shapes", "tops"), DIFFERENTIABLE)
def test_reference_gradients_by_differences(
    name: str, params: str, shapes: list[tuple[int, ...]], tops: int
) -> None:
    text = layer_text(name, params, len(shapes), tops)
    bottoms = [spread_out(shape, seed) for seed, shape in enumerate(shapes)]
    if name == "EuclideanLoss":
        bottoms = [bottom * 0.5 for bottom in bottoms]
    if (name, tops, len(shapes)) == ("Eltwise", 1, 3):
        bottoms[2] = bottoms[2] + 0.11  # apart from the others too
    check_by_differences(text, bottoms, blobs_for(name, params, bottoms))


LABELS = np.array([[0, 3, 1], [2, 1, 3]], np.float64)
MATRIX = spread_out((4, 4), 2)
PAIRS = [spread_out((6, 2), 0), spread_out((6, 2), 1) * 0.8]
SIMILAR = np.array([1, 0, 0, 1, 0, 0], np.float64)


@pytest.mark.parametrize(
    ("name", "params", "bottoms"),
    [
        ("SoftmaxWithLoss", "", [spread_out((2, 4, 3), 0), LABELS]),
        (
            "SoftmaxWithLoss",
            "loss_param { ignore_label: 1 normalization: BATCH_SIZE }",
            [spread_out((2, 4, 3), 0), LABELS],
        ),
        ("InfogainLoss", "", [spread_out((2, 4, 3), 0), LABELS, MATRIX]),
        (
            "InfogainLoss",
            "infogain_loss_param { axis: 2 } loss_param { ignore_label: 3 normalization: FULL }",
            [spread_out((2, 3, 4), 0), LABELS, MATRIX],
        ),
        ("MultinomialLogisticLoss", "", [np.abs(spread_out((3, 4), 0)), LABELS[0]]),
        ("HingeLoss", "", [spread_out((3, 4), 0) + 0.01, LABELS[0]]),
        ("HingeLoss", "hinge_loss_param { norm: L2 }", [spread_out((3, 2, 2), 0), LABELS[0]]),
        (
            "ContrastiveLoss",
            "contrastive_loss_param { margin: 4 legacy_version: true }",
            [*PAIRS, SIMILAR],
        ),
    ],
)
def test_gradients_of_losses_with_labels_by_differences(
    name: str, params: str, bottoms: list[Array]
) -> None:
    text = layer_text(name, params, len(bottoms), 1)
    check_by_differences(text, [bottom.copy() for bottom in bottoms], [])


def check_by_differences(text: str, bottoms: list[Array], blobs: list[Array]) -> None:
    """Hold the gradient of a weighted sum of the tops against central differences."""

    def output() -> reference_layers.Result:
        return reference_layers.run(text, "TRAIN", bottoms, blobs)

    generator = np.random.default_rng(11)
    weights = [np.asarray(generator.uniform(-1, 1, top.shape)) for top in output().tops]

    def total() -> float:
        pairs = zip(output().tops, weights, strict=True)
        return float(sum((top * weight).sum() for top, weight in pairs))

    gradients = output().backward(weights)
    checked = 0
    for values, found in zip((bottoms, blobs), gradients, strict=True):
        for value, gradient in zip(values, found, strict=True):
            if gradient is None:
                continue
            assert gradient.shape == value.shape
            for at in np.ndindex(*value.shape):
                kept, step = value[at], 1e-5
                value[at] = kept + step
                above = total()
                value[at] = kept - step
                below = total()
                value[at] = kept
                slope = (above - below) / (2 * step)
                assert gradient[at] == pytest.approx(slope, rel=1e-5, abs=1e-7)
                checked += 1
    assert checked
