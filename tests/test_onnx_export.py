"""ONNX out: ONNX Runtime and OpenCV compute what Caffe recorded, and what our engine does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sqgen import NetError, parse_net, read_net
from sqgen.engine.executor import Executor
from sqgen.exchange.layer_to_onnx import RULES
from sqgen.exchange.onnx_export import blob_values, encode_onnx, newest_opset, onnx_model
from sqgen.exchange.onnx_proof import compare
from sqgen.formats.ristretto import RISTRETTO_TYPES
from sqgen.generator.presets import PRESETS
from sqgen.nets.definition import NetDefinition
from sqgen.nets.deploy import deploy_net
from sqgen.nets.layer_types import LAYER_TYPES
from sqgen.nets.shapes import infer_shapes, require_shapes
from sqgen.nets.windows import pooling_window

from . import reference_layers, small_nets
from .conftest import ROOT, Run
from .grouped import by_kind, check_each
from .test_engine_layers import LONG, with_inputs
from .test_reference_layers import (
    CASES,
    DIFFERENTIABLE,
    IDS,
    SINKS,
    SOURCES,
    Array,
    Case,
    array,
    assert_near,
    blobs_for,
    kind,
    layer_text,
    spread_out,
)
from .test_reference_layers import given as all_of

LOSSES = {name for name in LAYER_TYPES if name.endswith("Loss")} | {"Accuracy"}  # no deploy net has
# Layers that a deploy net may have, and ONNX can't express.
INEXPRESSIBLE = {"Filter", *RISTRETTO_TYPES}


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def is_taken(opset: int) -> bool:
    """Whether ONNX Runtime, which may be older than onnx, knows an opset."""
    net = parse_net(small_nets.net_input() + small_nets.layer("AbsVal", "abs", "data"))
    try:
        session(onnx_model(net, {}, opset))
    except Exception:  # of a class of its own
        return False
    return True


OPSETS = (13, next(filter(is_taken, range(newest_opset(), 13, -1))))


def run(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> dict[str, Array]:
    runtime = session(model)
    names = [output.name for output in runtime.get_outputs()]
    feed = {name: np.asarray(value, "f4") for name, value in inputs.items()}
    return dict(zip(names, runtime.run(None, feed), strict=True))


def of_one_layer(
    layer: str, bottoms: Sequence[Array], blobs: Sequence[Array], opset: int
) -> dict[str, Array]:
    net = parse_net(with_inputs(layer, bottoms))
    model = onnx_model(net, {"it": [np.asarray(blob) for blob in blobs]}, opset)
    return run(model, {f"b{i}": bottom for i, bottom in enumerate(bottoms)})


def test_every_type_of_a_deploy_net_has_a_rule() -> None:
    computing = set(LAYER_TYPES) - SOURCES - SINKS - LOSSES - INEXPRESSIBLE
    assert computing == set(RULES)


def is_of_training(case: Case) -> bool:
    """Whether the layer does something else in TEST."""
    return case["phase"] == "TRAIN" and (
        kind(case) == "Dropout"
        or (kind(case) == "BatchNorm" and "use_global_stats: true" not in case["layer"])
        or "STOCHASTIC" in case["layer"]
    )


def has_empty_windows(case: Case) -> bool:
    """Whether a mean is taken, or a mask made, of windows of nothing."""
    if kind(case) != "Pooling" or ("AVE" not in case["layer"] and len(case["tops"]) == 1):
        return False
    param = parse_net(case["layer"]).param.layer[0].pooling_param
    sizes = case["bottoms"][0]["shape"][2:]
    windows = [pooling_window(param, axis, size) for axis, size in enumerate(sizes)]
    return any(
        (window.extent(size) - 1) * window.stride - window.pad >= size
        for window, size in zip(windows, sizes, strict=True)
    )


RECORDED = [
    pytest.param(case, id=name)
    for case, name in zip(CASES, IDS, strict=True)
    if kind(case) in RULES.keys() - {"Silence"}
    and not is_of_training(case)
    and not has_empty_windows(case)
]


RECORDED_KINDS: dict[str, dict[str, Case]] = by_kind(
    (str(each.id), cast(Case, each.values[0])) for each in RECORDED
)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", RECORDED_KINDS)
def test_onnx_runtime_computes_what_caffe_recorded(name: str, opset: int) -> None:
    check_each(RECORDED_KINDS[name], lambda case: check_recorded(case, opset))


def check_recorded(case: Case, opset: int) -> None:
    tops = of_one_layer(case["layer"], all_of(case["bottoms"]), all_of(case["blobs"]), opset)
    for index, recorded in enumerate(case["tops"]):
        assert_near(tops[f"t{index}"], array(recorded), f"top {index}", rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "params", "shapes", "tops"),
    [row for row in DIFFERENTIABLE + LONG if row[0] in set(RULES) - {"Silence"}],
)
def test_onnx_runtime_computes_what_the_reference_does(
    name: str, params: str, shapes: list[tuple[int, ...]], tops: int
) -> None:
    bottoms = [spread_out(shape, seed) for seed, shape in enumerate(shapes)]
    params = "".join(part for part in params.split("loss_weight: 2"))
    check(layer_text(name, params, len(shapes), tops), bottoms, blobs_for(name, params, bottoms))


def check(text: str, bottoms: Sequence[Array], blobs: Sequence[Array]) -> None:
    """Compare a layer in ONNX Runtime with the reference."""
    tops = of_one_layer(text, bottoms, blobs, 13)
    for index, top in enumerate(reference_layers.run(text, "TEST", bottoms, blobs).tops):
        assert_near(tops[f"t{index}"], np.asarray(top), f"top {index}", rtol=1e-4)


def check_drawn(name: str, params: str, shape: Sequence[int], tops: int = 1) -> None:
    """As `check`, if Caffe takes the layer."""
    text, bottom = layer_text(name, params, 1, tops), spread_out(tuple(shape), 3)
    if "STOCHASTIC" in params:
        bottom = np.abs(bottom)
    assume(not infer_shapes(parse_net(with_inputs(text, [bottom])), "TEST").problems)
    check(text, [bottom], blobs_for(name, params, [bottom]))


sizes = st.integers(1, 9)
two = st.tuples(st.integers(1, 4), st.integers(1, 4))
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=40)
@given(sizes, sizes, two, two, pads, st.booleans(),
       st.sampled_from(["MAX", "AVE", "STOCHASTIC"]))  # fmt: skip
def test_poolings_as_drawn(
    height: int,
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    floor: bool,
    method: str,
) -> None:
    # Caffe takes no padding as large as the kernel, and no kernel larger than the padded plane.
    pad = pad[0] % kernel[0], pad[1] % kernel[1]
    height, width = max(height, kernel[0] - 2 * pad[0]), max(width, kernel[1] - 2 * pad[1])
    fields = {"kernel": kernel, "stride": stride, "pad": pad}
    sides = " ".join(f"{field}_h: {h} {field}_w: {w}" for field, (h, w) in fields.items())
    rounding = "FLOOR" if floor else "CEIL"
    params = f"pooling_param {{ pool: {method} {sides} round_mode: {rounding} }}"
    outside = any(
        (extent - 1) * s - p >= size
        for extent, size, s, p in zip(
            (-(-(height + 2 * pad[0] - kernel[0]) // stride[0]) + 1,
             -(-(width + 2 * pad[1] - kernel[1]) // stride[1]) + 1),
            (height, width), stride, pad, strict=True,
        )
    )  # fmt: skip
    assume(method == "MAX" or not outside)  # of nothing
    check_drawn("Pooling", params, (2, 2, height, width))


@settings(max_examples=20)
@given(st.sampled_from(["Convolution", "Deconvolution", "Im2col"]), sizes, sizes, two, two, two,
       pads, st.integers(1, 2), st.booleans())  # fmt: skip
def test_convolutions_as_drawn(
    name: str,
    height: int,
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int],
    group: int,
    bias: bool,
) -> None:
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = max(height, extent[0] - 2 * pad[0]), max(width, extent[1] - 2 * pad[1])
    fields = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    sides = " ".join(f"{field}: {h} {field}: {w}" for field, (h, w) in fields.items())
    rest = f"num_output: {2 * group} group: {group} bias_term: {str(bias).lower()}"
    params = f"convolution_param {{ {sides} {rest if name != 'Im2col' else ''} }}"
    check_drawn(name, params, (2, 2 * group, height, width))


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 5), sizes, sizes, st.booleans(),
       st.sampled_from([1, 3, 5]), st.sampled_from([0.0001, 0.5, 2]))  # fmt: skip
def test_normalizations_as_drawn(
    batch: int, channels: int, height: int, width: int, across: bool, size: int, alpha: float
) -> None:
    region = "ACROSS_CHANNELS" if across else "WITHIN_CHANNEL"
    params = f"lrn_param {{ norm_region: {region} local_size: {size} alpha: {alpha} k: 1.5 }}"
    check_drawn("LRN", params, (batch, channels, height, width))


# Whole nets


def trained(net: NetDefinition, seed: int = 0) -> dict[str, list[Any]]:
    """Random weights that keep the outputs apart: those of layers with a window as He's."""
    random = np.random.default_rng(seed)
    arrays: dict[str, list[Any]] = {}
    for item in require_shapes(net, "TEST").layers:
        blobs = []
        for index, blob in enumerate(item.blobs):
            values = random.normal(0, 0.2, blob.shape)
            if index == 0 and len(blob.shape) > 1:
                values *= 5 * (2 / np.prod(blob.shape[1:])) ** 0.5
            elif item.layer.type in ("BatchNorm", "Scale"):
                values = np.abs(values) + 0.5
            blobs.append(values.astype("f4"))
        arrays[item.layer.name] = blobs
    return {name: blobs for name, blobs in arrays.items() if blobs}


def with_spread_outputs(net: NetDefinition) -> dict[str, list[Any]]:
    """Random weights with which scores have a deviation of 2, as trained ones have."""
    arrays = trained(net)
    engine = Executor(net, "TEST")
    for name, blobs in arrays.items():
        engine.set_blobs(name, blobs)
    softmax = next((each for each in net.param.layer if each.type == "Softmax"), None)
    scores = softmax.bottom[0] if softmax is not None else engine.outputs[0]
    image = np.random.default_rng(0).normal(
        0, 64, tuple(net.param.layer[0].input_param.shape[0].dim)
    )
    deviation = engine.forward({"data": image}, keep={scores})[scores].std()
    classifier = [each.name for each in net.param.layer if each.type == "Convolution"][-1]
    return arrays | {classifier: [blob * (2 / deviation) for blob in arrays[classifier]]}


def by_opencv(data: bytes, image: Array) -> Array:
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(image)
    return np.asarray(net.forward())


# Of `dsd` and `deep-compression`, only names differ from v1.0; of the large ones, only sizes.
DIFFERENT = [
    name for name in PRESETS if name not in ("dsd", "deep-compression") and "large" not in name
]


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENT)
def test_published_nets_in_onnx_runtime_and_opencv(name: str) -> None:
    """Every blob is the engine's within 1e-4, and OpenCV's output too; with smaller images."""
    net = deploy_net(read_net(ROOT / "models" / name / "train_val.prototxt")).definition
    net.param.layer[0].input_param.shape[0].dim[2:] = [67, 83]
    arrays = with_spread_outputs(net)
    model = onnx_model(net, arrays)
    data = encode_onnx(model)
    done = compare(model, net, arrays, blob_values(model, net))
    assert done.largest < 1e-4
    assert not done.constant
    assert done.blobs > 20
    (output,) = model.graph.output
    assert output.type.tensor_type.shape.dim[0].dim_param == "batch"
    image = np.random.default_rng(0).normal(0, 64, (1, 3, 67, 83)).astype("f4")
    expected = run(model, {"data": image})[output.name]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(by_opencv(data, image), expected, atol=1e-4 * scale)


DEPLOY = small_nets.net_input(3, 12, 10) + small_nets.conv("conv", "data", 4, 3)
RELU = 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }\n'
SOFTMAX = small_nets.layer("Softmax", "prob", "conv")


# What OpenCV 4.14 takes of the layers of image nets.
BY_OPENCV = set(
    "AbsVal BNLL Clip Concat Convolution ELU Eltwise Exp Flatten Im2col LRN Log PReLU Pooling ReLU"
    " Reshape SPP Scale Sigmoid Slice Softmax Swish TanH".split()
)


@pytest.mark.parametrize("name", sorted(RECORDED_KINDS.keys() & BY_OPENCV))
def test_opencv_computes_what_caffe_recorded(name: str) -> None:
    check_each(RECORDED_KINDS[name], check_in_opencv)


def check_in_opencv(case: Case) -> None:
    net = parse_net(with_inputs(case["layer"], all_of(case["bottoms"])))
    blobs = [np.asarray(blob) for blob in all_of(case["blobs"])]
    data = encode_onnx(onnx_model(net, {"it": blobs}))
    reader = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    for index, bottom in enumerate(all_of(case["bottoms"])):
        reader.setInput(bottom.astype("f4"), f"b{index}")
    tops = reader.forward([f"t{index}" for index in range(len(case["tops"]))])
    for index, recorded in enumerate(case["tops"]):
        wanted = array(recorded)  # of one axis at least in OpenCV
        assert_near(np.reshape(tops[index], wanted.shape), wanted, f"top {index}", rtol=1e-4)


def test_a_padded_1x1_convolution_has_its_pad_in_a_node() -> None:
    """OpenCV 5.0 would read outside its memory."""
    net = parse_net(small_nets.net_input() + small_nets.conv("c", "data", 4))
    net.param.layer[1].convolution_param.pad[:] = [2]
    nodes = onnx_model(net, trained(net)).graph.node
    assert [(node.op_type, node.name) for node in nodes] == [("Pad", "c/Pad"), ("Conv", "c")]
    assert {a.name: list(a.ints) for a in nodes[1].attribute}["pads"] == [0, 0, 0, 0]


def test_values_and_nodes_have_the_names_of_blobs_and_layers() -> None:
    net = parse_net(DEPLOY + RELU + SOFTMAX)
    model = onnx_model(net, trained(net))
    nodes = [(node.name, *node.input[:1], *node.output) for node in model.graph.node]
    assert nodes == [
        ("conv", "data", "conv/output"),
        ("relu", "conv/output", "conv"),
        ("prob", "conv", "prob"),
    ]
    assert [each.name for each in model.graph.initializer] == ["conv.weight", "conv.bias"]


def test_layers_that_pass_on_their_bottom_make_no_nodes_but_outputs() -> None:
    dropout = small_nets.layer("Dropout", "drop", "conv")
    split = small_nets.layer("Split", "split", "drop", rest='top: "b"')
    net = parse_net(DEPLOY + dropout + split + small_nets.layer("AbsVal", "abs", "b"))
    model = onnx_model(net, trained(net))
    assert [node.op_type for node in model.graph.node] == ["Conv", "Abs", "Identity"]
    assert sorted(value.name for value in model.graph.output) == ["abs", "split"]


def test_the_batch_is_fixed_where_a_layer_depends_on_it() -> None:
    for rest, free in (("dim: 0 dim: -1", True), ("dim: 1 dim: -1", False)):
        shape = f"reshape_param {{ shape {{ {rest} }} }}"
        net = parse_net(DEPLOY + small_nets.layer("Reshape", "flat", "conv", rest=shape))
        model = onnx_model(net, trained(net))
        dims = [value.type.tensor_type.shape.dim[0] for value in model.graph.output]
        assert [dim.dim_param or dim.dim_value for dim in dims] == (["batch"] if free else [1])


@pytest.mark.parametrize("opset", OPSETS)
def test_a_net_for_any_batch_computes_it(opset: int) -> None:
    """Reshapes and two-bottom layers too."""
    rest = "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }"
    text = DEPLOY + RELU + small_nets.layer("Reshape", "shaped", "conv", rest=rest)
    text += small_nets.layer("Softmax", "soft", "shaped", rest="softmax_param { axis: 2 }")
    text += small_nets.layer(
        "InnerProduct", "gate", "conv", rest="inner_product_param { num_output: 4 }"
    )
    text += small_nets.layer("Scale", "gated", "conv gate", rest="scale_param { axis: 0 }")
    text += small_nets.layer(
        "Slice", "slice", "gated", rest='top: "rest" slice_param { slice_point: 1 }'
    )
    text += small_nets.layer("ArgMax", "best", "rest", rest="argmax_param { top_k: 3 }")
    net = parse_net(text)
    arrays = trained(net)
    model = onnx_model(net, arrays, opset)
    images = np.random.default_rng(1).normal(0, 1, (5, 3, 12, 10))
    made = run(model, {"data": images})
    engine = Executor(net, "TEST")
    for name, blobs in arrays.items():
        engine.set_blobs(name, blobs)
    wanted = engine.forward({"data": images})
    assert sorted(made) == sorted(wanted) == ["best", "slice", "soft"]
    for name, blob in wanted.items():
        assert_near(made[name], blob.astype("f8"), name, 1e-4)


def test_the_bytes_are_the_same_each_time() -> None:
    net = parse_net(DEPLOY + RELU + SOFTMAX)
    texts = [
        encode_onnx(onnx_model(net, trained(net), metadata={"b": "1", "a": "2"})) for _ in range(2)
    ]
    assert texts[0] == texts[1]


# The command


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A net with its weights, and labels."""
    text = DEPLOY + RELU + small_nets.layer("Pooling", "pool", "conv",
        rest="pooling_param { pool: AVE global_pooling: true }")  # fmt: skip
    text += small_nets.layer("Softmax", "prob", "pool")
    comment = "# preprocessing\n#   channels: BGR\n#   mean: 104,117,123\n#   scale: 0.5\n"
    (tmp_path / "net.prototxt").write_text(comment + text)
    small_nets.save(small_nets.random_model(text), tmp_path / "w.caffemodel")
    (tmp_path / "labels.txt").write_text("cat\ndog\nbird\nfish\n")
    return tmp_path


EXPORT = ("export", "net.prototxt", "--weights", "w.caffemodel", "--for", "onnx")


def test_export_writes_a_model_with_labels(sqgen: Run, files: Path) -> None:
    done = sqgen(*EXPORT, "--labels", "labels.txt", "-o", "out")
    assert (done.returncode, done.stdout) == (0, "out/model.onnx\n")
    assert "run: 3 blobs equal the engine's" in done.stderr
    model = onnx.load(files / "out" / "model.onnx")
    assert (model.producer_name, model.opset_import[0].version) == ("sqgen", 13)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["labels"] == "cat\ndog\nbird\nfish"
    assert metadata["preprocessing"] == "channels: BGR\nmean: 104,117,123\nscale: 0.5"
    again = sqgen(*EXPORT, "-o", "out")
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize("as_bytes", [False, True])
def test_preprocessing_in_the_graph(sqgen: Run, files: Path, as_bytes: bool) -> None:
    """An image in RGB gives what Caffe's blob of it does."""
    assert sqgen(*EXPORT, "-o", "plain.onnx").returncode == 0
    options = ["--with-preprocessing", *["--as-bytes"] * as_bytes]
    done = sqgen(*EXPORT, *options, "-o", "rgb.onnx")
    assert (done.returncode, "equal the engine's" in done.stderr) == (0, True)
    image = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3)).astype(np.uint8)
    blob = (image[..., ::-1] - np.array([104.0, 117, 123])).transpose(0, 3, 1, 2) * 0.5
    wanted = run(onnx.load(files / "plain.onnx"), {"data": blob})["prob"]
    runtime = session(onnx.load(files / "rgb.onnx"))
    fed = image if as_bytes else image.transpose(0, 3, 1, 2).astype("f4")
    (made,) = runtime.run(None, {"data": fed})
    assert_near(made, wanted.astype("f8"), "prob")


@pytest.mark.parametrize(
    ("edit", "arguments", "message"),
    [
        (("ReLU", "Python"), (), "net.prototxt:7: layer 'relu': type 'Python'"),
        (("", ""), ("--opset", "12"), "opset 12: sqgen writes 13 to"),
        (("", ""), ("--opset", "99"), "opset 99: sqgen writes 13 to"),
        (("", ""), ("--labels", "net.prototxt"), "labels for 4 classes"),
        (("#   mean: 104,117,123\n", ""), ("--with-preprocessing",), "which mean is subtracted"),
        (("dim: 3 ", "dim: 5 "), (), "blob 0 is 4x3x3x3 there and 4x5x3x3 in the net"),
        (('name: "conv"', 'name: "other"'), (), "has no weights for 1 layers"),
    ],
)
def test_what_is_refused_leaves_no_file(
    sqgen: Run, files: Path, edit: tuple[str, str], arguments: tuple[str, ...], message: str
) -> None:
    text = (files / "net.prototxt").read_text().replace(*edit)
    (files / "net.prototxt").write_text(text)
    done = sqgen(*EXPORT, *arguments, "-o", "out/m.onnx")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert message in done.stderr
    assert not (files / "out").exists()


def test_a_layer_that_onnx_lacks_is_named_with_its_line(sqgen: Run, files: Path) -> None:
    text = (files / "net.prototxt").read_text()
    selector = small_nets.layer("Reduction", "sel", "prob", rest="reduction_param { axis: 1 }")
    text += selector + small_nets.layer("Filter", "some", "prob sel")
    (files / "net.prototxt").write_text(text)
    done = sqgen(*EXPORT, "-o", "m.onnx")
    assert done.returncode == 2
    line = text.count("\n")
    assert f"net.prototxt:{line}: layer 'some': ONNX has no operators for Filter" in done.stderr


def test_a_model_that_differs_is_not_written() -> None:
    net = parse_net(DEPLOY + RELU + SOFTMAX)
    arrays = trained(net)
    model = onnx_model(net, arrays)
    arrays["conv"][0] = arrays["conv"][0] * np.float32(1.001)
    with pytest.raises(
        NetError, match="layer 'relu': on a random input its output in ONNX Runtime"
    ):
        compare(model, net, arrays, blob_values(model, net))


def test_windows_of_nothing_are_refused() -> None:
    cases = list(filter(has_empty_windows, CASES))
    assert len(cases) == 3
    for case in cases:
        with pytest.raises(NetError, match="net:2: layer 'it': ONNX can't express it: a window"):
            of_one_layer(case["layer"], all_of(case["bottoms"]), [], 13)
