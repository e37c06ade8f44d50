"""ONNX in: nets that compute what ONNX Runtime does, and refusals that name operator and node."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sqgen import FormatError, NetError, parse_net, read_net
from sqgen.exchange.onnx_export import onnx_model
from sqgen.exchange.onnx_file import read_onnx
from sqgen.exchange.onnx_import import Imported, import_onnx
from sqgen.exchange.onnx_proof import compare
from sqgen.formats.prototxt import to_text
from sqgen.generator.presets import PRESETS
from sqgen.nets.definition import NetDefinition
from sqgen.nets.deploy import deploy_net
from sqgen.nets.diff import diff_nets
from sqgen.text import agreement_text

from . import small_nets
from .conftest import ROOT, Run
from .test_onnx_export import trained

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def proven(model: onnx.ModelProto) -> Imported:
    """The net of a model, whose blobs are those of ONNX Runtime."""
    made = import_onnx(model, "m.onnx")
    done = compare(model, made.net, made.arrays, made.values)
    assert done.blobs
    return made


def kinds(made: Imported) -> list[str]:
    return [layer.type for layer in made.net.param.layer]


def graph(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str] = (2, 4, 7, 6),
    opset: int = 13,
    out: str = "y",
    **constants: Any,
) -> onnx.ModelProto:
    """A model with the input x and one output; arrays of float64 become float32."""
    initializers = [
        numpy_helper.from_array(a.astype("f4") if a.dtype == np.float64 else a, name)
        for name, a in ((name, np.asarray(value)) for name, value in constants.items())
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
            initializers,
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def one(operator: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs or ["x"], ["y"], "it", **attributes)


def spread(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 1, shape)


# There and back


def there_and_back(net: NetDefinition) -> tuple[Imported, dict[str, list[Any]]]:
    """A net exported and imported, and the weights that it had."""
    arrays = trained(net)
    model = onnx.ModelProto.FromString(onnx_model(net, arrays).SerializeToString())
    return import_onnx(model, "m.onnx"), arrays


def assert_same_bits(made: Imported, arrays: dict[str, list[Any]]) -> None:
    assert made.arrays.keys() == arrays.keys()
    for name, blobs in arrays.items():
        for mine, blob in zip(made.arrays[name], blobs, strict=True):
            assert (mine.shape, mine.tobytes()) == (blob.shape, blob.tobytes()), name


@pytest.mark.parametrize("name", PRESETS)
def test_published_nets_come_back_bit_for_bit(name: str) -> None:
    net = deploy_net(read_net(ROOT / "models" / name / "train_val.prototxt")).definition
    arrays = trained(net)
    for layer in net.param.layer:
        if layer.type == "BatchNorm":
            arrays[layer.name][2][:] = 1  # ONNX has mean and variance, not sums and their weight
    made = import_onnx(onnx_model(net, arrays), "m.onnx")
    assert_same_bits(made, arrays)
    made.net.param.name = net.param.name
    assert [each.message for each in diff_nets(net, made.net)] == []


@settings(max_examples=15)
@given(small_nets.wild_twins())
def test_nets_of_any_wiring_come_back(texts: tuple[str, str]) -> None:
    net = parse_net(texts[0])
    try:
        made, arrays = there_and_back(net)
    except NetError as error:
        assert "Mul" in str(error)  # LRN within a channel, in pieces
        assume(False)
    for layer in net.param.layer:
        if layer.type == "BatchNorm":
            mean, variance, weight = arrays[layer.name]
            inverse = np.float32(1) / weight[0]
            arrays[layer.name] = [mean * inverse, variance * inverse, np.ones(1, "f4")]
    assert_same_bits(made, arrays)
    if "WITHIN" in texts[0]:  # which ONNX has in pieces
        return
    again = onnx_model(made.net, made.arrays)
    assert [node.op_type for node in again.graph.node] == [
        node.op_type for node in onnx_model(net, trained(net)).graph.node
    ]


# Exports of PyTorch


class Fire(nn.Module):
    """As in torchvision/models/squeezenet.py."""

    def __init__(self, inputs: int, squeeze: int, expand1x1: int, expand3x3: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand1x1, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand3x3, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        expanded1x1 = self.expand1x1_activation(self.expand1x1(x))
        return torch.cat([expanded1x1, self.expand3x3_activation(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """The same with fewer modules; `view` flattens with the size of the batch, as before 2019."""

    def __init__(self, view: bool) -> None:
        super().__init__()
        self.view = view
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, kernel_size=3, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
            Fire(8, 4, 6, 6),
            nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
            Fire(12, 4, 6, 6),
        )
        final = nn.Conv2d(12, 5, kernel_size=1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=0.5), final, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.classifier(self.features(x))
        return x.view(x.size(0), -1) if self.view else torch.flatten(x, 1)


class Residual(nn.Module):
    """A block of a ResNet, with its stem and classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = torch.nn.functional.relu6(self.bn2(self.conv2(x)) + x)
        x = nn.functional.adaptive_avg_pool2d(x, (2, 2)) * 2 + 0.5
        return torch.softmax(self.fc(x.flatten(1)), 1)


def from_torch(module: nn.Module, size: int, file: Path, **options: Any) -> onnx.ModelProto:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.zeros(1, 3, size, size),),
            file,
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            **options,
        )
    return onnx.load(file)


FREE = {"dynamic_axes": {"input": {0: "n"}, "output": {0: "n"}}}


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
@pytest.mark.parametrize("view", [False, True])
@pytest.mark.parametrize("free", [False, True])
def test_squeezenet_of_torchvision(opset: int, view: bool, free: bool, tmp_path: Path) -> None:
    """Shape, Gather, Unsqueeze and Concat of a view are folded."""
    options = FREE if free else {}
    model = from_torch(SqueezeNet(view), 41, tmp_path / "m", opset_version=opset, **options)
    made = proven(model)
    assert kinds(made).count("Convolution") == 8
    assert set(kinds(made)) == {"Input", "Convolution", "ReLU", "Pooling", "Concat", "Flatten"}
    names = [layer.name for layer in made.net.param.layer if layer.type == "Convolution"]
    assert names[:3] == ["features.0", "features.3.squeeze", "features.3.expand1x1"]
    tops = {layer.type: layer.top[0] for layer in made.net.param.layer}
    assert tops["Flatten"] == "output"


@pytest.mark.parametrize("folding", [True, False])
def test_a_residual_net_of_torch(folding: bool, tmp_path: Path) -> None:
    """Unfolded BatchNormalization is a BatchNorm and a Scale, the sum an Eltwise."""
    training = torch.onnx.TrainingMode.EVAL if folding else torch.onnx.TrainingMode.PRESERVE
    options = {"opset_version": 13, "training": training, **FREE}
    model = from_torch(Residual(), 32, tmp_path / "m", **options)
    made = proven(model)
    assert ("BatchNorm" in kinds(made)) is not folding
    assert {"Eltwise", "Clip", "Power", "InnerProduct", "Softmax"} <= set(kinds(made))
    assert any("rounds down" in line for line in made.warnings)


# Files of onnx/models, whose graphs the onnx package has


def light(name: str) -> onnx.ModelProto:
    """A model with random weights: the file has each as ConstantOfShape."""
    path = LIGHT / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip("needs the test models of the onnx package, which are not here")
    model = onnx.load(path)
    shapes = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    random = np.random.default_rng(0)
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = shapes[node.input[0]].tolist()
        scale = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1
        values = random.normal(0, scale, shape).astype("f4")
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    gone = [each for each in model.graph.input if each.name.endswith("__SHAPE")]
    for each in gone:
        model.graph.input.remove(each)
        model.graph.initializer.remove(
            next(tensor for tensor in model.graph.initializer if tensor.name == each.name)
        )
    return model


@pytest.mark.slow
def test_squeezenet_of_onnx_models() -> None:
    made = proven(light("squeezenet"))
    names = [layer.name for layer in made.net.param.layer if layer.type == "Convolution"]
    assert names[:3] == ["conv1", "fire2/squeeze1x1", "fire2/expand1x1"]
    assert len(names) == 26


@pytest.mark.parametrize(
    ("name", "layers"), [("resnet50", 229), ("inception_v2", 365), ("densenet121", 667)]
)
def test_other_nets_of_onnx_models_are_read(name: str, layers: int) -> None:
    """With the weights as they are there: ConstantOfShape is folded."""
    path = LIGHT / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip("needs the test models of the onnx package, which are not here")
    assert abs(len(import_onnx(read_onnx(path), name).net.param.layer) - layers) <= 60


# Operators


def gone(made: Imported) -> list[str]:
    return [each for each in kinds(made) if each != "Input"]


SIX = np.array([0, -1, 6], "i8")
OPERATORS: dict[str, tuple[Callable[[], onnx.ModelProto], list[str]]] = {
    "relu": (lambda: graph([one("Relu")]), ["ReLU"]),
    "leaky": (lambda: graph([one("LeakyRelu", alpha=0.2)]), ["ReLU"]),
    "elu": (lambda: graph([one("Elu", alpha=0.5)]), ["ELU"]),
    "clip": (lambda: graph([one("Clip", "x", "a", "b")], a=0.0, b=6.0), ["Clip"]),
    "clip 6": (lambda: graph([one("Clip", min=0.0, max=6.0)], opset=6 + 1), ["Clip"]),
    "clip low": (lambda: graph([one("Clip", "x", "a")], a=-1.0), ["Clip"]),
    "softplus": (lambda: graph([one("Softplus")]), ["BNLL"]),
    "abs": (lambda: graph([one("Abs")]), ["AbsVal"]),
    "neg": (lambda: graph([one("Neg")]), ["Power"]),
    "tanh": (lambda: graph([one("Tanh")]), ["TanH"]),
    "prelu": (lambda: graph([one("PRelu", "x", "s")], s=spread(4, 1, 1)), ["PReLU"]),
    "prelu shared": (lambda: graph([one("PRelu", "x", "s")], s=spread(1)), ["PReLU"]),
    "mul": (lambda: graph([one("Mul", "x", "s")], s=spread(1, 4, 1, 1)), ["Scale"]),
    "mul left": (lambda: graph([one("Mul", "s", "x")], s=spread(4, 1, 1)), ["Scale"]),
    "mul width": (lambda: graph([one("Mul", "x", "s")], s=spread(6)), ["Scale"]),
    "mul plane": (lambda: graph([one("Mul", "x", "s")], s=spread(7, 6)), ["Scale"]),
    "div": (lambda: graph([one("Div", "x", "s")], s=spread(4, 1, 1) + 5), ["Scale"]),
    "div number": (lambda: graph([one("Div", "x", "s")], s=255.0), ["Power"]),
    "number div": (lambda: graph([one("Div", "s", "x")], s=2.0), ["Power", "Power"]),
    "sub": (lambda: graph([one("Sub", "x", "s")], s=spread(4, 1, 1)), ["Bias"]),
    "sub left": (lambda: graph([one("Sub", "s", "x")], s=spread(4, 1, 1)), ["Power", "Bias"]),
    "add number": (lambda: graph([one("Add", "x", "s")], s=2.0), ["Power"]),
    "pow": (lambda: graph([one("Pow", "x", "s")], s=2.0), ["Power"]),
    "twice": (lambda: graph([one("Add", "x", "x")]), ["Eltwise"]),
    "max": (lambda: graph([one("Max", "x", "x")]), ["Eltwise"]),
    "softmax": (lambda: graph([one("Softmax", axis=1)], opset=13), ["Softmax"]),
    "softmax last": (lambda: graph([one("Softmax")], opset=13), ["Softmax"]),
    "softmax 2d": (
        lambda: graph([one("Softmax")], opset=11),
        ["Flatten", "Softmax", "Reshape"],
    ),
    "log softmax": (
        lambda: graph(
            [helper.make_node("Mul", ["x", "s"], ["z"]), one("LogSoftmax", "z", axis=1)], s=0.01
        ),
        ["Power", "Softmax", "Log"],
    ),
    "lrn": (lambda: graph([one("LRN", size=3, alpha=0.1, beta=0.6, bias=2.0)]), ["LRN"]),
    "flatten": (lambda: graph([one("Flatten")]), ["Flatten"]),
    "flatten 2": (lambda: graph([one("Flatten", axis=2)]), ["Reshape"]),
    "reshape": (lambda: graph([one("Reshape", "x", "s")], s=SIX), ["Reshape"]),
    "squeeze": (
        lambda: graph([one("Squeeze", axes=[2, 3])], (2, 4, 1, 1), opset=11),
        ["Flatten"],
    ),
    "unsqueeze": (lambda: graph([one("Unsqueeze", axes=[2])], (2, 4), opset=11), ["Reshape"]),
    "transpose": (lambda: graph([one("Transpose", perm=[0, 2, 3, 1])], (2, 4, 1, 1)), ["Reshape"]),
    "concat": (lambda: graph([one("Concat", "x", "x", axis=2)]), ["Concat"]),
    "slice": (
        lambda: graph([one("Slice", axes=[1, 2], starts=[1, 0], ends=[3, -2])], opset=9),
        ["Slice", "Slice", "Silence"],
    ),
    "tile": (lambda: graph([one("Tile", "x", "s")], s=np.array([1, 2, 1, 3], "i8")), ["Tile"] * 2),
    "mean of planes": (lambda: graph([one("ReduceMean", axes=[2, 3])]), ["Pooling"]),
    "mean of planes, flat": (
        lambda: graph([one("ReduceMean", axes=[-1, -2], keepdims=0)]),
        ["Pooling", "Flatten"],
    ),
    "sum of records": (
        lambda: graph([one("ReduceSum", "x", "a", keepdims=0)], a=np.array([1, 2, 3], "i8")),
        ["Reduction"],
    ),
    "global max": (lambda: graph([one("GlobalMaxPool")]), ["Pooling"]),
    "arg max": (
        lambda: graph(
            [helper.make_node("ArgMax", ["x"], ["z"], axis=1), one("Cast", "z", to=1)]
        ),
        ["ArgMax"],
    ),
    "gemm": (
        lambda: graph([one("Gemm", "x", "w", "b", alpha=0.5, beta=2.0)], (3, 4), w=spread(4, 5),
                      b=spread(5)),
        ["InnerProduct"],
    ),
    "matmul": (lambda: graph([one("MatMul", "x", "w")], (3, 4), w=spread(4, 5)), ["InnerProduct"]),
    "matmul 3": (
        lambda: graph([one("MatMul", "x", "w")], (2, 3, 4), w=spread(4, 5)),
        ["InnerProduct"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str) -> None:
    make, layers = OPERATORS[name]
    assert gone(proven(make())) == layers


def test_a_value_times_a_gate_per_channel() -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Sigmoid", ["p"], ["g"]),
        one("Mul", "x", "g"),
    ]
    assert gone(proven(graph(nodes))) == ["Pooling", "Sigmoid", "Flatten", "Scale"]


def test_constants_become_part_of_the_layer_before() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Mul", ["d", "s"], ["e"]),
        helper.make_node("Add", ["e", "t"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("MatMul", ["g", "m"], ["h"]),
        helper.make_node("Add", ["h", "u"], ["y"]),
    ]
    model = graph(
        nodes, w=spread(3, 4, 1, 1), b=spread(3, 1, 1), s=spread(3, 1, 1), t=spread(3, 1, 1),
        m=spread(126, 2), u=spread(2),
    )  # fmt: skip
    made = proven(model)
    assert gone(made) == ["Convolution", "Scale", "InnerProduct"]
    assert {name: len(blobs) for name, blobs in made.arrays.items()} == {"c": 2, "e": 2, "h": 2}


pads = st.integers(0, 2)
AUTOMATIC = ["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]


@settings(max_examples=30)
@given(
    st.tuples(st.integers(3, 9), st.integers(3, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(pads, pads, pads, pads),
    st.sampled_from(["MaxPool", "AveragePool", "Conv"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(AUTOMATIC),
    st.booleans(),
)
def test_windows_as_drawn(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    operator: str,
    ceil: bool,
    counted: bool,
    automatic: str,
    apart: bool,
) -> None:
    """Whatever is read computes what ONNX Runtime does, within the node or with a Pad before."""
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": stride}
    if automatic != "NOTSET":
        attributes["auto_pad"] = automatic
    elif not apart:
        attributes["pads"] = padding
    if operator != "Conv" and automatic == "NOTSET":
        attributes["ceil_mode"] = int(ceil)
    if operator == "AveragePool":
        attributes["count_include_pad"] = int(counted)
    inputs = ["x", "w"] if operator == "Conv" else ["x"]
    nodes = [one(operator, *inputs, **attributes)]
    if apart and automatic == "NOTSET":
        pad = [0, 0, *padding[:2], 0, 0, *padding[2:]]
        nodes[0].input[0] = "p"
        nodes.insert(0, helper.make_node("Pad", ["x"], ["p"], pads=pad, mode="constant"))
        if operator == "MaxPool":
            nodes.insert(0, helper.make_node("Relu", ["x"], ["r"]))
            nodes[1].input[0] = "r"
    model = graph(nodes, (2, 2, *size), opset=10, w=spread(3, 2, *kernel))
    try:
        made = import_onnx(model, "m.onnx")
    except NetError as error:
        assert "operator" in str(error)
        assume(False)
    try:
        compare(model, made.net, made.arrays, made.values)
    except NetError as error:
        assume("refuses the model" not in str(error))  # a window larger than what is padded
        raise


# What Caffe has not


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: graph([one("Transpose", perm=[0, 2, 3, 1])]),
            "operator Transpose 'it', which makes 'y': Caffe has no layer that swaps axes",
        ),
        (lambda: graph([one("Erf")]), "operator Erf 'it', which makes 'y': Caffe has no layer"),
        (lambda: graph([one("Conv", "x", "x")]), "its filter is computed"),
        (
            lambda: graph([one("AveragePool", kernel_shape=[3, 3], pads=[0, 0, 2, 2])]),
            "AVE pooling has windows at other places",
        ),
        (
            lambda: graph([one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])]),
            "pooling has no dilations",
        ),
        (lambda: graph([one("Sum", "x", "s")], s=spread(2, 4, 7, 6)), "input 1 is a constant"),
        (
            lambda: graph(
                [helper.make_node("Pad", ["x"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1]),
                 one("Relu", "p")], opset=10),
            "operator Relu 'it', which makes 'y': it reads a Pad",
        ),
        (lambda: graph([one("Identity", "s")], s=spread(2)), "output 'y': is an input, a constant"),
        (lambda: graph([one("Relu")], ("n", 3, "h", "w")), "give --image CxHxW"),
        (lambda: graph([helper.make_node("Foo", ["x"], ["y"], domain="my")]), "but of my"),
        (
            lambda: graph([one("InstanceNormalization", "x", "s", "s")], s=spread(4)),
            "operator InstanceNormalization",
        ),
    ],
)  # fmt: skip
def test_what_caffe_lacks_is_named(model: Callable[[], onnx.ModelProto], message: str) -> None:
    with pytest.raises(NetError) as error:
        import_onnx(model(), "m.onnx")
    assert message in str(error.value)
    assert str(error.value).startswith("m.onnx: ")


# Damaged and hostile files


def relu(**changes: Any) -> onnx.ModelProto:
    model = graph([one("Relu")])
    for name, value in changes.items():
        setattr(model, name, value)
    return model


def with_tensor(edit: Callable[[onnx.TensorProto], None]) -> onnx.ModelProto:
    model = graph([one("Mul", "x", "s")], s=spread(4, 1, 1))
    edit(model.graph.initializer[0])
    return model


def of_dims(*dims: int) -> Callable[[onnx.TensorProto], None]:
    def edit(tensor: onnx.TensorProto) -> None:
        tensor.dims[:] = dims

    return edit


def external(location: str, **entries: str) -> Callable[[onnx.TensorProto], None]:
    def edit(tensor: onnx.TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)

    return edit


def truncated(tensor: onnx.TensorProto) -> None:
    tensor.raw_data = tensor.raw_data[:-1]


def of_type(kind: int) -> Callable[[onnx.TensorProto], None]:
    def edit(tensor: onnx.TensorProto) -> None:
        tensor.data_type = kind

    return edit


def cyclic() -> onnx.ModelProto:
    return graph(
        [helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    )


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "truncated data": (lambda: with_tensor(truncated), "'s': has 3.75 elements for shape 4x1x1"),
    "huge dims": (lambda: with_tensor(of_dims(1 << 40, 1 << 40)), "'s': has a shape that Caffe"),
    "negative dims": (lambda: with_tensor(of_dims(-4, -1)), "'s': has a shape that Caffe"),
    "other dims": (lambda: with_tensor(of_dims(5, 1, 1)), "'s': has 4 elements for shape 5x1x1"),
    "strings": (lambda: with_tensor(of_type(TensorProto.STRING)), "'s': is of type STRING"),
    "no type": (lambda: with_tensor(of_type(999)), "'s': is of type unknown"),
    "a file outside": (lambda: with_tensor(external("../secret")), "outside of the model's folder"),
    "an absolute file": (lambda: with_tensor(external("/etc/passwd")), "outside of the model's"),
    "a link outside": (lambda: with_tensor(external("link")), "outside of the model's folder"),
    "no file": (lambda: with_tensor(external("missing.bin")), "missing.bin: no such file"),
    "a file too short": (
        lambda: with_tensor(external("data.bin", offset="8", length="16")),
        "goes past the end of 'data.bin'",
    ),
    "an offset of no number": (
        lambda: with_tensor(external("data.bin", offset="x")),
        "can't be read; damaged",
    ),
    "a cycle": (cyclic, "operator Add, which makes 'z': reads 'y', which nothing above it makes"),
    "two makers": (
        lambda: graph([one("Relu"), one("Abs")]),
        "two nodes make 'y'; the file is damaged",
    ),
    "no maker": (lambda: graph([one("Relu", "q")]), "reads 'q', which nothing above it makes"),
    "no output": (lambda: graph([one("Relu")], out="q"), "output 'q': nothing makes it"),
    "no opset": (lambda: graph([one("Relu")], opset=3), "has opset 3; sqgen reads 7 and later"),
    "a bomb": (
        lambda: graph(
            [helper.make_node("ConstantOfShape", ["s"], ["c"]), one("Add", "x", "c")],
            s=np.array([1 << 20, 1 << 20], "i8"),
        ),
        "operator ConstantOfShape, which makes 'c': makes a constant that is too large",
    ),
    "a bomb in two steps": (
        lambda: graph(
            [helper.make_node("ConstantOfShape", ["s"], ["c"]),
             helper.make_node("Concat", ["c"] * 9999, ["d"], axis=0), one("Add", "x", "d")],
            s=np.array([1 << 12], "i8"),
        ),
        "operator Concat, which makes 'd': makes a constant that is too large",
    ),
    "an attribute of another type": (lambda: graph([one("LeakyRelu", alpha="x")]), "is invalid"),
    "a wrong fold": (
        lambda: graph([helper.make_node("Gather", ["s", "s"], ["c"]), one("Add", "x", "c")],
                      s=np.array([99], "i8")),
        "operator Gather, which makes 'c': can't be computed",
    ),
    "sizes that overflow": (lambda: graph([one("Relu")], (1 << 40, 3, 4, 4)), "has a shape that"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_models_are_refused_in_one_line(sqgen: Run, tmp_path: Path, name: str) -> None:
    make, message = HOSTILE[name]
    (tmp_path / "data.bin").write_bytes(bytes(16))
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "m.onnx").write_bytes(make().SerializeToString())
    done = sqgen("import", "m.onnx", "-o", "out")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "m.onnx: is not an ONNX model"),
        (b"name: 'net'\n", "m.onnx: is not an ONNX model, or is truncated"),
        (relu().SerializeToString()[:-9], "m.onnx: is not an ONNX model, or is truncated"),
        (b"\x3a\x02" * 3 + b"\x3a" * 9, "m.onnx: is not an ONNX model"),
        (b"<!DOCTYPE html><html>", "is a web page, not an ONNX model"),
    ],
)
def test_what_is_no_model_is_refused(sqgen: Run, tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    done = sqgen("import", "m.onnx", "-o", "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    data = b""
    for number in range(300):
        field = (7, *[1, 5, 6] * 100)[-1 - number]  # graph, then node, attribute, graph...
        size = len(data)
        varint = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        data = bytes([field << 3 | 2]) + varint + data
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(FormatError, match="is not an ONNX model"):
        read_onnx(tmp_path / "m.onnx")


# The command


@pytest.mark.parametrize(
    ("blobs", "largest", "said"),
    [
        (1, 0.0, "the output equals theirs exactly"),
        (1, 2e-7, "the output equals theirs within 2.0e-07 of its largest element"),
        (3, 0.0, "3 blobs equal theirs exactly"),
        (3, 2e-7, "3 blobs equal theirs within 2.0e-07 of their largest element"),
    ],
)
def test_how_far_two_runs_agree(blobs: int, largest: float, said: str) -> None:
    assert agreement_text(blobs, "theirs", largest) == said


def test_data_beside_the_model_is_read(sqgen: Run, tmp_path: Path) -> None:
    values = spread(4, 1, 1).astype("f4")
    (tmp_path / "data.bin").write_bytes(bytes(8) + values.tobytes() + bytes(4))
    model = with_tensor(external("data.bin", offset="8", length="16"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    done = sqgen("import", "m.onnx", "-o", "out")
    assert (done.returncode, done.stdout) == (0, "out/deploy.prototxt\nout/weights.caffemodel\n")
    assert "run on random inputs: the output equals ONNX Runtime's" in done.stderr


def test_a_model_of_sqgen_comes_back_as_it_was(sqgen: Run, tmp_path: Path) -> None:
    """The exported model of what was imported has the same bytes."""
    text = small_nets.net_input() + small_nets.conv("conv", "data", 4, 3)
    text += small_nets.layer("ReLU", "relu", "conv", "conv")
    text += small_nets.layer("Softmax", "prob", "conv")
    head = "# preprocessing\n#   channels: BGR\n#   mean: 104,117,123\nname: 'n'\n"
    (tmp_path / "net.prototxt").write_text(head + text)
    small_nets.save(small_nets.random_model(text), tmp_path / "w.caffemodel")
    (tmp_path / "labels.txt").write_text("\n".join("abcd"))
    export = ("export", "--for", "onnx", "--no-proof")
    done = sqgen(*export, "net.prototxt", "--weights", "w.caffemodel", "-o", "a.onnx")
    assert done.returncode == 0, done.stderr
    done = sqgen("import", "a.onnx", "-o", "back", "--json")
    assert done.returncode == 0, done.stderr
    assert '"blobs": 2' in done.stdout
    back = read_net(tmp_path / "back" / "deploy.prototxt")
    assert "#   mean: 104,117,123\n" in back.text
    net = parse_net(head + text)
    net.param.layer[0].name = "data"  # an input of ONNX has one name
    assert to_text(back.param) == to_text(net.param)
    back_files = ("back/deploy.prototxt", "--weights", "back/weights.caffemodel")
    done = sqgen(*export, *back_files, "-o", "b.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
