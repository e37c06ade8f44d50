"""The table of layer types against BVLC Caffe's results.

`data/caffe_shapes.json` has small nets that BVLC Caffe (master, 9b89154) set up: one layer,
named `it`, over every type that reads no file, with windows that differ by axis. Recorded are its
tops and parameter blobs, or the check that failed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import NetError, parse_net, summary
from sqgen.formats.ristretto import RISTRETTO_TYPES
from sqgen.nets.layer_types import LAYER_TYPES, UNSUPPORTED, is_caffe_type
from sqgen.nets.shapes import infer_shapes, require_shapes
from sqgen.nets.windows import Window

from .conftest import DATA
from .grouped import by_kind, check_each

CASES = json.loads((DATA / "caffe_shapes.json").read_text())
FROM_FILES = {"Data", "ImageData", "HDF5Data", "HDF5Output"}


def last_type(case: dict[str, object]) -> str:
    return str(re.findall('type: "(\\w+)"', str(case["net"]))[-1])


KINDS = by_kind((f"{number}-{last_type(case)}", case) for number, case in enumerate(CASES))


@pytest.mark.parametrize("kind", KINDS)
def test_layer_is_as_caffe_makes_it(kind: str) -> None:
    check_each(KINDS[kind], check_shapes)


def check_shapes(case: dict[str, object]) -> None:
    inferred = infer_shapes(parse_net(str(case["net"])), "TRAIN")
    if "refused" in case:
        assert inferred.problems, f"Caffe refuses it: {case['refused']}"
        return
    tops = case["tops"]
    assert isinstance(tops, list)
    if any(0 in top for top in tops):
        # Caffe goes on with blobs of no elements; nobody means that.
        assert [problem.rule for problem in inferred.problems] == ["shape"]
        return
    assert inferred.problems == []
    made = next(item for item in inferred.layers if item.layer.name == "it")
    assert [list(shape) for shape in made.tops] == tops
    assert [list(blob.shape) for blob in made.blobs] == case["blobs"]


def test_every_type_is_recorded() -> None:
    kinds = Counter(kind for case in CASES for kind in re.findall('type: "(\\w+)"', case["net"]))
    assert set(kinds) | FROM_FILES == set(LAYER_TYPES) - set(RISTRETTO_TYPES)
    assert kinds["Convolution"] > 50
    assert kinds["Pooling"] > 50
    assert sum("refused" in case for case in CASES) > 100


def test_no_type_is_both_supported_and_not() -> None:
    assert not UNSUPPORTED & set(LAYER_TYPES)
    of_caffe = {*LAYER_TYPES, *UNSUPPORTED} - set(RISTRETTO_TYPES)
    assert len(of_caffe) == 61  # registered in Caffe
    assert set(filter(is_caffe_type, [*of_caffe, *RISTRETTO_TYPES])) == of_caffe


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_other_types_of_caffe_are_known_by_name(name: str) -> None:
    with pytest.raises(NetError, match=f"type '{name}' is Caffe's, but not supported here"):
        require_shapes(parse_net(f'layer {{ name: "a" type: "{name}" top: "a" }}'), "TEST")


def test_a_misspelt_type_has_a_suggestion() -> None:
    with pytest.raises(NetError, match="n:2: layer 'a': no layer type 'Convolutoin'; did you mean"):
        require_shapes(parse_net('\nlayer { name: "a" type: "Convolutoin" top: "a" }', "n"), "TEST")


@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(0, 4), st.integers(1, 3)
)
def test_convolution_counts_positions(
    size: int, kernel: int, stride: int, pad: int, dilation: int
) -> None:
    """By walking: a position every stride, as long as the window stays inside the padding."""
    span = dilation * (kernel - 1) + 1
    starts = [at for at in range(-pad, size + pad, stride) if at + span <= size + pad]
    extent = Window(kernel, stride, pad, dilation).extent(size)
    assert extent == len(starts) or (not starts and extent <= 1)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.data(), st.booleans())
def test_pooling_counts_positions(
    size: int, kernel: int, stride: int, data: st.DataObject, round_up: bool
) -> None:
    """Rounded up, windows go on until all is covered, but none starts behind the image."""
    pad = data.draw(st.integers(0, kernel - 1))
    if size + 2 * pad < kernel:
        return
    window = Window(kernel, stride, pad, pooling=True, round_up=round_up, clip=pad > 0)
    end = size + pad
    starts = [-pad]
    while starts[-1] + kernel < end if round_up else starts[-1] + stride + kernel <= end:
        starts.append(starts[-1] + stride)
    if pad and starts[-1] >= size:
        starts.pop()
    assert window.extent(size) == len(starts)


SOURCE = """layer {{ name: "it" type: "{kind}" top: "data" top: "label"
  transform_param {{ {transform} }} {params} }}"""


@pytest.mark.parametrize(
    ("kind", "transform", "params", "image", "shape"),
    [
        ("Data", "crop_size: 5", "data_param { batch_size: 2 }", None, (2, 3, 5, 5)),
        ("Data", "crop_size: 5 mean_value: 1", "data_param { batch_size: 2 }", None, (2, 3, 5, 5)),
        (
            "Data",
            "crop_size: 5 mean_value: 1 mean_value: 2",
            "data_param { batch_size: 2 }",
            None,
            (2, 2, 5, 5),
        ),
        (
            "Data",
            "crop_size: 5 force_gray: true",
            "data_param { batch_size: 2 }",
            None,
            (2, 1, 5, 5),
        ),
        ("Data", "", "data_param { batch_size: 2 }", (1, 8, 9), (2, 1, 8, 9)),
        ("Data", "crop_size: 5", "data_param { batch_size: 2 }", (4, 8, 9), (2, 4, 5, 5)),
        (
            "ImageData",
            "",
            "image_data_param { batch_size: 2 new_height: 8 new_width: 9 }",
            None,
            (2, 3, 8, 9),
        ),
        (
            "ImageData",
            "crop_size: 7",
            "image_data_param { batch_size: 2 new_height: 8 new_width: 9 is_color: false }",
            None,
            (2, 1, 7, 7),
        ),
        ("ImageData", "", "image_data_param { }", (3, 8, 9), (1, 3, 8, 9)),
    ],
)
def test_sources(
    kind: str,
    transform: str,
    params: str,
    image: tuple[int, ...] | None,
    shape: tuple[int, ...],
) -> None:
    net = parse_net(SOURCE.format(kind=kind, transform=transform, params=params))
    assert summary(net, image=image).layers[0].tops == [("data", shape), ("label", shape[:1])]


@pytest.mark.parametrize(
    ("kind", "transform", "params", "message"),
    [
        ("Data", "", "data_param { batch_size: 2 }", "no crop_size.*--image CxHxW"),
        ("Data", "crop_size: 5", "data_param { }", "batch_size is missing"),
        (
            "ImageData",
            "crop_size: 9",
            "image_data_param { new_height: 8 new_width: 9 }",
            "crop_size 9 is larger than its images, 8x9",
        ),
    ],
)
def test_sources_that_do_not_work_out(kind: str, transform: str, params: str, message: str) -> None:
    net = parse_net(SOURCE.format(kind=kind, transform=transform, params=params))
    with pytest.raises(NetError, match=message):
        summary(net)


def test_costs_by_hand() -> None:
    """A grouped, asymmetric convolution and an inner product, counted on paper."""
    net = parse_net(
        'layer { name: "in" type: "Input" top: "in" input_param {'
        " shape { dim: 2 dim: 4 dim: 9 dim: 7 } } }"
        'layer { name: "conv" type: "Convolution" bottom: "in" top: "conv" convolution_param {'
        " num_output: 6 group: 2 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_w: 1"
        " pad_h: 0 } }"
        'layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"'
        " inner_product_param { num_output: 10 bias_term: false } }"
    )
    conv, fc = summary(net).layers[1:]
    assert conv.tops == [("conv", (2, 6, 4, 8))]
    assert conv.parameters == 6 * 2 * 3 * 2 + 6
    assert conv.macs == 6 * 4 * 8 * (2 * 3 * 2)
    assert fc.parameters == fc.macs == 10 * 6 * 4 * 8
    assert conv.activation_bytes == 4 * prod((2, 6, 4, 8))


def test_costs_of_an_upsampling_by_hand() -> None:
    """Each input element times each weight of its filter; a look-up multiplies nothing."""
    net = parse_net(
        'layer { name: "in" type: "Input" top: "in" input_param {'
        " shape { dim: 2 dim: 4 dim: 5 dim: 3 } } }"
        'layer { name: "up" type: "Deconvolution" bottom: "in" top: "up" convolution_param {'
        " num_output: 6 group: 2 kernel_h: 4 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 1"
        " pad_w: 0 } }"
        'layer { name: "words" type: "Input" top: "words" input_param { shape { dim: 2 dim: 7 } } }'
        'layer { name: "embed" type: "Embed" bottom: "words" top: "embed"'
        " embed_param { num_output: 8 input_dim: 100 } }"
    )
    _, up, _, embed = summary(net).layers
    assert up.tops == [("up", (2, 6, 10, 5))]
    assert up.parameters == 4 * 3 * 4 * 3 + 6
    assert up.macs == 4 * 5 * 3 * (3 * 4 * 3)
    assert embed.tops == [("embed", (2, 7, 8))]
    assert (embed.parameters, embed.macs) == (100 * 8 + 8, 0)


def test_shared_weights_count_once() -> None:
    layer = """layer { name: "%s" type: "InnerProduct" bottom: "in" top: "%s" param { name: "w" }
      param { name: "%s" } inner_product_param { num_output: 5 } }"""
    source = 'layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 1 dim: 3 } } }'
    net = parse_net(source + layer % ("a", "a", "b1") + layer % ("b", "b", "b2"))
    assert summary(net).totals.parameters == 5 * 3 + 5 + 5
