"""`sqgen weights convert`: formats to and fro, and the SqueezeNets of torchvision and Keras."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import sqgen
from sqgen import Design, NetError, build, parse_net
from sqgen.exchange.convert import convert_weights
from sqgen.exchange.known_nets import (
    KERAS,
    TORCHVISION,
    keras_net,
    torchvision_names,
    torchvision_net,
)
from sqgen.exchange.normalization import BGR, RGB, Normalization, fold
from sqgen.exchange.npz_weights import write_npz
from sqgen.exchange.torchvision_module import EXACT, ROUNDED, SqueezeNet, prove_torchvision
from sqgen.exchange.weight_file import read_weights
from sqgen.formats.caffemodel import blob_array, read_caffemodel
from sqgen.formats.safetensors_file import write_safetensors
from sqgen.weights.make_caffemodel import make_caffemodel

from .conftest import Run
from .small_nets import random_model, save
from .test_weights import model_of

Array = np.ndarray[Any, Any]
FOREIGN = (".npz", ".safetensors", ".pth")
SMALL = Design(base_e=8, incr_e=4, fire_modules=2, size=32, classes=5, batch_norm=True)
SMALL = SMALL.with_options(classifier="conv10")
CLASSES = 7
# Quiet and signalling nan with payloads, infinity, the smallest denormals, and -0.
PATTERNS = [0x7FC12345, 0xFF812345, 0xFF800000, 1, 0x80000001, 0x80000000, 0x3F800000]
ODD = np.array(PATTERNS, np.uint32).view(np.float32)
ODD_DOUBLES = np.array([0x7FF0000000012345, 1, 1 << 63], np.uint64).view(np.float64)


def blobs(model: Any) -> dict[str, list[tuple[str, tuple[int, ...], bytes]]]:
    """Type, shape and bytes of each blob by layer."""
    return {
        layer.name: [
            (array.dtype.name, array.shape, array.tobytes())
            for array in map(blob_array, layer.blobs)
        ]
        for layer in model.layer
        if layer.blobs
    }


@pytest.mark.parametrize("suffix", [".caffemodel", ".h5", *FOREIGN])
def test_round_trips_keep_every_bit(suffix: str, tmp_path: Path) -> None:
    model = model_of(
        ("a.b weight", [ODD, ODD[:1]]),
        ("bn", [ODD[:2], ODD[2:4], ODD[:1]]),
        ("scalar", [np.array(0.25, np.float32)]),
        ("double", [ODD_DOUBLES]),
        ("ünï", [np.zeros((0, 3), np.float32)]),
    )
    if suffix != ".h5":
        model.layer.add(name="fire2/squeeze1x1").blobs.add().CopyFrom(model.layer[0].blobs[0])
    save(model, tmp_path / "in.caffemodel")
    there = convert_weights(tmp_path / "in.caffemodel", tmp_path / f"there{suffix}")
    assert there.layers == len(model.layer)
    convert_weights(tmp_path / f"there{suffix}", tmp_path / "back.caffemodel")
    assert blobs(read_caffemodel(tmp_path / "back.caffemodel")) == blobs(model)


def test_round_trips_by_keras_keep_every_bit(sqgen: Run, tmp_path: Path) -> None:
    """Of convolutions, the first of which has another order of axes in Keras."""
    weights = np.resize(ODD, (2, 3, 5, 7))
    doubles = np.resize(ODD_DOUBLES, (1, 2, 1, 1))
    model = model_of(("fire2/a", [weights, ODD[:2]]), ("fire2", [doubles]))
    save(model, tmp_path / "in.caffemodel")
    for pair in (("in.caffemodel", "w.keras.h5"), ("w.keras.h5", "back.caffemodel")):
        assert sqgen("weights", "convert", *pair).returncode == 0
    assert blobs(read_caffemodel(tmp_path / "back.caffemodel")) == blobs(model)
    for layer in (("bn", [ODD, ODD, ODD]), ("fc", [weights[0, 0]]), ("\0", [weights])):
        save(model_of(layer), tmp_path / "no.caffemodel")
        done = sqgen("weights", "convert", "no.caffemodel", "no.keras.h5")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("suffix", FOREIGN)
def test_with_its_net_the_whole_caffemodel_comes_back(suffix: str, tmp_path: Path) -> None:
    """Definitions, order and types too; equal weights are equal bytes in every format."""
    net = parse_net(build(SMALL, "deploy"))
    arrays = {
        layer.name: list(map(blob_array, layer.blobs))
        for layer in random_model(build(SMALL, "deploy")).layer
    }
    path = save(make_caffemodel(net, arrays), tmp_path / "in.caffemodel")
    for name in ("one", "two"):
        convert_weights(path, tmp_path / f"{name}{suffix}", proof=False)
    there = tmp_path / f"one{suffix}"
    assert there.read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    convert_weights(there, tmp_path / "back.caffemodel", net)
    assert (tmp_path / "back.caffemodel").read_bytes() == Path(path).read_bytes()


@pytest.mark.parametrize("suffix", FOREIGN)
def test_names_of_another_dialect_go_into_a_net(suffix: str, sqgen: Run, tmp_path: Path) -> None:
    text = build(SMALL.with_options(naming="generator", classifier="conv_final"), "deploy")
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(build(SMALL, "deploy")), tmp_path / "w.caffemodel")
    assert sqgen("weights", "convert", "w.caffemodel", f"w{suffix}").returncode == 0
    done = sqgen("weights", "convert", f"w{suffix}", "o.caffemodel", "--to", "net.prototxt")
    assert done.returncode == 0, done.stderr
    assert "not run to compare the nets" in done.stdout
    ours, theirs = (read_caffemodel(tmp_path / f"{n}.caffemodel") for n in "ow")
    assert list(blobs(ours).values()) == list(blobs(theirs).values())
    other = build(SMALL.with_options(base_e=16), "deploy")
    (tmp_path / "net.prototxt").write_text(other)
    done = sqgen("weights", "convert", f"w{suffix}", "p.caffemodel", "--to", "net.prototxt")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "p.caffemodel").exists()


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_becomes_float32_exactly(kind: str, tmp_path: Path) -> None:
    bits = np.arange(0, 1 << 16, 7, dtype=np.uint16)
    halves = torch.from_numpy(bits).view(getattr(torch, kind))
    expected = halves.float().numpy()
    torch.save({"a.weight": halves}, tmp_path / "w.pth")
    read = blob_array(read_weights(tmp_path / "w.pth").model.layer[0].blobs[0])
    np.testing.assert_array_equal(read, expected)
    if kind == "float16":
        tensors = {"a.weight": bits.view(np.float16)}
        (tmp_path / "w.npz").write_bytes(write_npz(tensors, "w"))
        (tmp_path / "w.safetensors").write_bytes(write_safetensors(tensors, "w"))
    else:
        head = {
            "a.weight": {"dtype": "BF16", "shape": [bits.size], "data_offsets": [0, bits.nbytes]}
        }
        text = json.dumps(head).encode()
        data = len(text).to_bytes(8, "little") + text + bits.tobytes()
        (tmp_path / "w.safetensors").write_bytes(data)
    for path in tmp_path.glob("w.[ns]*"):
        read = blob_array(read_weights(path).model.layer[0].blobs[0])
        np.testing.assert_array_equal(read, expected)


def test_safetensors_are_read_in_one_order(tmp_path: Path) -> None:
    tensors = {f"l{n:02}.weight": np.full(1, n, np.float32) for n in reversed(range(20))}
    (tmp_path / "w.safetensors").write_bytes(write_safetensors(tensors, "w"))
    layers = read_weights(tmp_path / "w.safetensors").model.layer
    assert [each.name for each in layers] == [f"l{n:02}" for n in range(20)]


@pytest.mark.parametrize(
    "build_state",
    [
        lambda state: {"epoch": 3, "state_dict": state},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {name: torch.nn.Parameter(value) for name, value in state.items()},
    ],
    ids=["checkpoint", "DataParallel", "Parameter"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_common_state_dicts_are_read(build_state: Any, zipped: bool, tmp_path: Path) -> None:
    state = {"conv1.weight": torch.ones(2, 3, 1, 1), "conv1.bias": torch.arange(2.0)}
    path = tmp_path / "w.pth"
    torch.save(build_state(state), path, _use_new_zipfile_serialization=zipped)
    (layer,) = read_weights(path).model.layer
    assert (layer.name, len(layer.blobs)) == ("conv1", 2)
    assert blob_array(layer.blobs[1]).tolist() == [0, 1]


class OldTensor:
    """Pickled as PyTorch did before 0.4."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        tensor = self.tensor
        storage = torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
            wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True
        )
        return torch._utils._rebuild_tensor, (storage, 0, tuple(tensor.shape), tensor.stride())


def test_old_files_and_those_of_a_gpu_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(
        {"a.weight": OldTensor(torch.arange(6.0).reshape(2, 3))},
        path,
        _use_new_zipfile_serialization=False,
    )
    of_gpu = path.read_bytes().replace(b"ctorch\nFloat", b"ctorch.cuda\nFloat")
    of_gpu = of_gpu.replace(b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0")
    assert of_gpu.count(b"cuda") == 2
    for data in (path.read_bytes(), of_gpu):
        path.write_bytes(data)
        blob = blob_array(read_weights(path).model.layer[0].blobs[0])
        assert blob.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_suffix_that_lies_is_said(sqgen: Run, tmp_path: Path) -> None:
    data = write_npz({"a.weight": np.ones(3, np.float32)}, "w")
    (tmp_path / "w.pth").write_bytes(data)
    done = sqgen("weights", "show", "w.pth")
    assert (done.returncode, done.stderr) == (
        0,
        "sqgen: warning: w.pth: its contents are npz, not PyTorch\n",
    )
    (tmp_path / "w.npz").write_bytes(data)
    assert sqgen("weights", "diff", "w.npz", "-", stdin=data).returncode == 0


def test_other_commands_name_convert(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(build(SMALL, "deploy"))
    (tmp_path / "w.npz").write_bytes(write_npz({"a.weight": np.ones(3, np.float32)}, "w"))
    keras_file(tmp_path / "w.h5", random_model(build(SMALL, "deploy")), "kernel")
    for file in ("w.npz", "w.h5"):
        done = sqgen("compress", "encode", file, "--net", "net.prototxt", "-o", "o.sqz")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "sqgen weights convert makes a .caffemodel of it" in done.stderr


# torchvision


def squeezenet(version: str) -> SqueezeNet:
    """A net whose scores depend on the image."""
    torch.manual_seed(0)
    module = SqueezeNet(torchvision_net(version, CLASSES))
    for parameter in module.parameters():
        if parameter.dim() == 4:
            torch.nn.init.kaiming_uniform_(parameter)
    return module.eval()


FIRES = {"1.0": "3 4 5 7 8 9 10 12", "1.1": "3 4 6 7 9 10 11 12"}


@pytest.mark.parametrize("version", FIRES)
def test_the_state_dict_has_torchvisions_names(version: str) -> None:
    """Recorded from torchvision 0.28.0's own model."""
    modules = ["features.0", "classifier.1"]
    for number in FIRES[version].split():
        modules += [f"features.{number}.{part}" for part in "squeeze expand1x1 expand3x3".split()]
    names = {f"{module}.{part}" for module in modules for part in ("weight", "bias")}
    assert {*SqueezeNet(torchvision_net(version)).state_dict()} == names


def rgb_images(size: int) -> Array:
    return np.random.default_rng(5).integers(0, 256, (2, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("version", FIRES)
def test_torchvision_to_caffe_and_back(version: str, sqgen: Run, tmp_path: Path) -> None:
    """What the command says suffices: its net, and the mean that its header gives."""
    module = squeezenet(version)
    torch.save(module.state_dict(), tmp_path / "in.pth")
    arguments = ("in.pth", "w.caffemodel", "--fold-preprocessing", "--json")
    done = sqgen("weights", "convert", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert 0 < shown["torch_proof"]["largest"] < 1e-7
    assert (shown["images"]["channels"], shown["images"]["scale"]) == ("BGR", [1, 1, 1])
    built = sqgen(*shown["net"]["command"].split()[1:])
    (tmp_path / "net.prototxt").write_text(built.stdout)
    mean = np.reshape([103.53, 116.28, 123.675], (3, 1, 1))
    assert "#   channels: BGR\n#   crop: 224x224\n#   mean: 103.53,116.28,123.675\n" in built.stdout

    rgb = rgb_images(224)
    net = _net(tmp_path / "net.prototxt", tmp_path / "w.caffemodel")
    ours = net.forward((rgb[:, ::-1] - mean).astype(np.float32))["prob"].reshape(2, CLASSES)
    deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    average = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    with torch.inference_mode():
        scores = module((torch.from_numpy(rgb) / 255 - average) / deviation)
    theirs = scores.softmax(1).numpy()
    assert np.ptp(theirs) > 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-5)

    done = sqgen(
        *("weights", "convert", "w.caffemodel", "back.pth"),
        *("--from", "net.prototxt", "--fold-preprocessing"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(back[name], value, rtol=1e-6, atol=1e-7)
    assert list(back) == list(module.state_dict())


def _net(net: Path, weights: Path) -> Any:
    from sqgen import Net

    return Net(net, weights)


def test_caffes_mean_is_folded_into_the_biases(tmp_path: Path) -> None:
    """A net of Caffe's own mean for torchvision's input, from another dialect and order."""
    design = torchvision_net("1.1", CLASSES).design.with_options(
        mean_values=(104, 117, 123), naming="generator", concat_order="3x3,1x1"
    )
    net = parse_net(build(design, "deploy"))
    save(random_model(build(design, "deploy")), tmp_path / "w.caffemodel")
    done = convert_weights(
        tmp_path / "w.caffemodel", tmp_path / "w.pth", trained=net, fold_preprocessing=True
    )
    assert done.torch_proof is not None
    assert 0 < done.torch_proof.largest < 1e-6
    assert (done.normalization, done.notes) == (TORCHVISION, ())


def test_without_folding_the_input_is_said(tmp_path: Path) -> None:
    module = squeezenet("1.1")
    torch.save(module.state_dict(), tmp_path / "in.pth")
    done = convert_weights(tmp_path / "in.pth", tmp_path / "w.caffemodel")
    assert done.normalization == TORCHVISION
    assert "takes RGB of 0 to 255, minus 123.675,116.28,103.53, times 0.0171" in done.notes[0]
    assert done.torch_proof is not None
    assert done.torch_proof.largest < EXACT
    back = convert_weights(tmp_path / "w.caffemodel", tmp_path / "back.pth")
    assert "an input that is not known" in back.notes[0]
    with pytest.raises(NetError, match=r"its input is not known: give the net .* --from NET"):
        convert_weights(tmp_path / "w.caffemodel", tmp_path / "no.pth", fold_preprocessing=True)
    for name, value in torch.load(tmp_path / "back.pth", weights_only=True).items():
        assert torch.equal(value, module.state_dict()[name])
    # A net whose mean is another than the weights need.
    target = parse_net(
        build(torchvision_net("1.1", CLASSES).design.with_options(mean_values=(1, 2, 3)), "deploy")
    )
    done = convert_weights(
        tmp_path / "in.pth", tmp_path / "o.caffemodel", target, fold_preprocessing=True
    )
    assert done.notes[-1].startswith(
        "net gives BGR of 0 to 255, minus 1,2,3; these weights need BGR"
    )
    assert done.proof is not None


def test_map_says_that_the_input_is_torchvisions(sqgen: Run, tmp_path: Path) -> None:
    state = squeezenet("1.1").state_dict()
    torch.save(state, tmp_path / "in.pth")
    design = torchvision_net("1.1", CLASSES).design.with_options(naming="generator")
    (tmp_path / "net.prototxt").write_text(build(design, "deploy"))
    done = sqgen("weights", "map", "in.pth", "o.caffemodel", "--to", "net.prototxt")
    assert done.returncode == 0, done.stderr
    assert "takes RGB of 0 to 255, minus 123.675" in done.stderr


def test_without_a_classifier_the_nets_are_not_run(tmp_path: Path) -> None:
    """As torchvision's users cut it off; the rest goes into another net's layers."""
    state = squeezenet("1.0").state_dict()
    features = {name: value for name, value in state.items() if name.startswith("features.")}
    torch.save(features, tmp_path / "in.pth")
    done = convert_weights(tmp_path / "in.pth", tmp_path / "o.caffemodel", fold_preprocessing=True)
    assert (done.layers, done.torch_proof) == (25, None)
    assert "has no weights of the classifier" in done.notes[0]
    assert "not run" in done.notes[1]


def test_a_net_that_is_not_torchvisions_keeps_caffes_names(tmp_path: Path) -> None:
    """v1.0 as published pads conv10, so that it computes something else."""
    design = Design(classes=CLASSES, classifier="conv10", size=224)
    save(random_model(build(design, "deploy")), tmp_path / "w.caffemodel")
    done = convert_weights(tmp_path / "w.caffemodel", tmp_path / "w.pth")
    assert "has Caffe's names, not torchvision's" in done.notes[0]
    assert "pad" in done.notes[0]
    state = torch.load(tmp_path / "w.pth", weights_only=True)
    assert "fire2/squeeze1x1.weight" in state
    with pytest.raises(NetError, match=r"not torchvision's net: .*pad"):
        convert_weights(tmp_path / "w.caffemodel", tmp_path / "no.pth", fold_preprocessing=True)
    assert not (tmp_path / "no.pth").exists()


def test_the_proof_finds_swapped_weights_and_channels() -> None:
    """Two layers of one shape, or RGB for BGR; without either it passes."""
    known = torchvision_net("1.1", CLASSES)
    module = squeezenet("1.1")
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    arrays = {
        layer: [state[f"{name}.weight"], state[f"{name}.bias"]]
        for layer, name in torchvision_names("1.1").items()
    }
    same = (TORCHVISION, TORCHVISION)
    assert prove_torchvision(known, state, arrays, same, EXACT).largest < EXACT
    swapped = arrays | {
        "fire2/expand1x1": arrays["fire3/expand1x1"],
        "fire3/expand1x1": arrays["fire2/expand1x1"],
    }
    with pytest.raises(NetError, match="differ: scores of random images by"):
        prove_torchvision(known, state, swapped, same, ROUNDED)
    with pytest.raises(NetError, match="differ: scores of random images by"):
        prove_torchvision(known, state, arrays, (TORCHVISION, TORCHVISION.reordered(BGR)), ROUNDED)


@pytest.mark.parametrize("channels", [RGB, BGR])
def test_folding_is_exact_to_rounding(channels: str) -> None:
    """Other means, orders and scales; and back to the first."""
    random = np.random.default_rng(2)
    source = Normalization(RGB, (120.0, 110.0, 100.0), (0.017, 0.018, 0.019))
    target = Normalization(channels, (104.0, 117.0, 123.0), (1.0, 0.5, 2.0))
    first = [random.normal(size=(4, 3, 3, 3)), random.normal(size=4)]
    second = fold(first, source, target)
    pixels = random.integers(0, 256, (1, 3, 3, 3)).astype(np.float64)

    def output(arrays: list[Array], normalization: Normalization) -> Array:
        result: Array = np.einsum("ochw,nchw->no", arrays[0], normalization.apply(pixels))
        return result + arrays[1]

    np.testing.assert_allclose(output(first, source), output(second, target), rtol=1e-12)
    for there, back in zip(first, fold(second, target, source), strict=True):
        np.testing.assert_allclose(there, back, rtol=1e-12)
    np.testing.assert_allclose(TORCHVISION.apply(np.full((1, 3, 1, 1), 255.0)).ravel(), [
        (1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225
    ])  # fmt: skip


# Keras


def keras_file(path: Path, model: Any, kernel: str, group: str = "/") -> None:
    """Write convolutions as Keras does (legacy_h5_format.py)."""
    with h5py.File(path, "w") as file:
        root = file.require_group(group)
        layers = [layer for layer in model.layer if layer.blobs]
        root.attrs["layer_names"] = [b"input_1", *(layer.name.encode() for layer in layers)]
        root.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for layer in layers:
            names = [f"{layer.name}/{part}:0" for part in (kernel, "bias")]
            if kernel == "W":
                names = [f"{layer.name}_{part}:0" for part in "Wb"]
            made = root.create_group(layer.name)
            made.attrs["weight_names"] = [name.encode() for name in names[: len(layer.blobs)]]
            for name, blob in zip(names, map(blob_array, layer.blobs), strict=False):
                made[name] = blob.transpose(2, 3, 1, 0) if blob.ndim == 4 else blob


@pytest.mark.parametrize(("kernel", "group"), [("kernel", "/"), ("W", "model_weights")])
def test_keras_squeezenet(kernel: str, group: str, sqgen: Run, tmp_path: Path) -> None:
    """Kernels are (height, width, inputs, outputs); the input is Caffe's, with Keras's mean."""
    text = build(keras_net(CLASSES).design, "deploy")
    model = random_model(text)
    keras_file(tmp_path / "k.h5", model, kernel, group)
    done = sqgen("weights", "convert", "k.h5", "o.caffemodel", "--fold-preprocessing", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["formats"] == ["Keras's HDF5", "caffemodel"]
    assert shown["images"]["mean"] == list(KERAS.mean)
    assert shown["torch_proof"] is None
    assert "nothing is to fold" in shown["notes"][0]
    assert "not run" in shown["notes"][1]
    assert sqgen(*shown["net"]["command"].split()[1:]).stdout == text
    assert blobs(read_caffemodel(tmp_path / "o.caffemodel")) == blobs(model)
    assert sqgen("weights", "diff", "k.h5", "o.caffemodel").returncode == 0


def test_keras_without_its_classifier(tmp_path: Path) -> None:
    model = random_model(build(keras_net().design, "deploy"))
    del model.layer[[layer.name for layer in model.layer].index("conv10")].blobs[:]
    keras_file(tmp_path / "k.h5", model, "kernel")
    done = convert_weights(tmp_path / "k.h5", tmp_path / "o.caffemodel")
    assert (done.layers, done.known) == (25, keras_net())
    assert "has no weights of the classifier" in done.notes[0]


def test_keras_for_torchvision(tmp_path: Path) -> None:
    """The same v1.1: its input becomes torchvision's."""
    model = random_model(build(keras_net(CLASSES).design, "deploy"))
    keras_file(tmp_path / "k.h5", model, "kernel")
    done = convert_weights(tmp_path / "k.h5", tmp_path / "o.pth", fold_preprocessing=True)
    assert (done.known, done.normalization) == (torchvision_net("1.1", CLASSES), TORCHVISION)
    assert done.torch_proof is not None


def test_compressed_weights_are_decoded_for_their_net(sqgen: Run, tmp_path: Path) -> None:
    text = build(SMALL.with_options(batch_norm=False), "deploy")
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    encode = ("compress", "encode", "w.caffemodel", "--net", "net.prototxt", "-o", "w.sqz")
    assert sqgen(*encode).returncode == 0
    done = sqgen("weights", "convert", "w.sqz", "w.npz", "--from", "net.prototxt")
    assert done.returncode == 0, done.stderr
    sqgen("compress", "decode", "w.sqz", "--net", "net.prototxt", "-o", "d.caffemodel")
    assert sqgen("weights", "diff", "w.npz", "d.caffemodel").returncode == 0
    done = sqgen("weights", "convert", "w.sqz", "no.npz")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_what_a_format_can_not_hold_is_refused(sqgen: Run, tmp_path: Path) -> None:
    ones = np.ones(2, np.float32)
    save(model_of(("a", [ones]), ("a", [ones])), tmp_path / "twice.caffemodel")
    save(model_of(("a\\b\0", [ones])), tmp_path / "odd.caffemodel")
    for file, out, message in (
        ("twice.caffemodel", "o.npz", "two layers are called 'a'"),
        ("odd.caffemodel", "o.npz", "an npz can't have the name"),
        ("odd.caffemodel", "o.h5", "HDF5"),
        ("odd.caffemodel", "o.onnx", "end it in one of .keras.h5, .caffemodel"),
        ("odd.caffemodel", "o", "end it in one of"),
        ("odd.caffemodel", "odd.caffemodel", "exists already; --force"),
    ):
        done = sqgen("weights", "convert", file, out)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert message in done.stderr
        assert not (tmp_path / "o.npz").exists()
    done = sqgen("weights", "convert", "twice.caffemodel", "o.caffemodel", "--fold-preprocessing")
    assert "none of torchvision's nets" in done.stderr


def test_what_a_missing_package_leaves(tmp_path: Path) -> None:
    """Each format names its extra; npz needs PyTorch for torchvision's proof alone."""
    state = {name: value.numpy() for name, value in squeezenet("1.1").state_dict().items()}
    (tmp_path / "w.npz").write_bytes(write_npz(state, "w"))
    code = """
import sys
sys.modules |= dict.fromkeys(["torch", "safetensors", "h5py"])
import sqgen
for out, extra, proof in (
    ("a.caffemodel", "engine", True), ("a.pth", "engine", False),
    ("a.safetensors", "safetensors", False), ("a.keras.h5", "hdf5", False),
):
    try:
        sqgen.convert_weights("w.npz", out, proof=proof)
    except sqgen.MissingExtraError as error:
        assert f"sqgen[{extra}]" in str(error), error
    else:
        raise AssertionError(out)
sqgen.convert_weights("w.npz", "a.caffemodel", proof=False)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.caffemodel", "w.npz"]


def test_the_python_interface() -> None:
    assert sqgen.convert_weights is convert_weights
