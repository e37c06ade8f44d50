"""Deploy pairs: what is written for each toolchain, and that those at hand run it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sqgen import Design, ExportOptions, Net, NetError, build, export_net, parse_net, read_net
from sqgen.engine.classify import read_model
from sqgen.exchange.targets import TARGETS
from sqgen.exchange.toolchains import TOOLCHAINS, DeployedNet
from sqgen.formats.caffemodel import read_caffemodel
from sqgen.nets.image_transform import ImageTransform
from sqgen.nets.lint import lint_net

from .conftest import Run
from .databases import make_lmdb, raw
from .small_nets import conv, layer, net_input, random_model, save

BGR = ImageTransform("BGR", (24, 20), mean=(104.0, 117.5, 123.25), scale=0.0625)
INTERFACES = {
    "BGR": (3, BGR),
    "RGB": (3, BGR._replace(channels="RGB", resize=None)),
    "gray": (1, BGR._replace(channels="gray", mean=(33.5,))),
    "one mean": (3, ImageTransform(mean=(7.0,))),
}
SIZE = (17, 16)


def small_net(channels: int = 3) -> str:
    """A net with a BatchNorm behind a convolution, another behind a sum, and a Dropout."""
    return (
        'name: "Small_v1.0"\n'
        + net_input(channels, *SIZE).replace("dim: 1", "dim: 4", 1)
        + conv("1/c", "data", 6, 3, "bias_term: false weight_filler { type: 'xavier' }")
        + layer("BatchNorm", "1/bn", "1/c", "1/c")
        + layer("Scale", "1/s", "1/c", "1/c", "scale_param { bias_term: true }")
        + layer("ReLU", "1/r", "1/c", "1/c")
        + conv("b.c", "1/c", 6)
        + layer("Eltwise", "sum", "1/c b.c")
        + layer("BatchNorm", "bn", "sum")
        + layer("Dropout", "drop", "bn", "bn")
        + conv("classifier", "bn", 5)
        + layer(
            "Pooling", "pool", "classifier", rest="pooling_param { pool: AVE global_pooling: true }"
        )
        + layer("Softmax", "prob", "pool")
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    text = small_net()
    (tmp_path / "net.prototxt").write_text(text)
    save(random_model(text), tmp_path / "w.caffemodel")
    return tmp_path


def export(target: str, folder: Path, kind: str = "BGR", **options: Any) -> Path:
    """The folder of a target, of random weights."""
    channels, transform = INTERFACES[kind]
    text = small_net(channels)
    weights = folder / f"{channels}.caffemodel"
    save(random_model(text), weights)
    exported = export_net(
        parse_net(text, "n"),
        weights,
        target,
        transform=transform,
        labels=[f"class {i}" for i in range(5)],
        options=ExportOptions(**options),
    )
    exported.save(folder / target)
    return folder / target


def run_script(folder: Path, name: str) -> float:
    """The largest difference that a script prints for the test image."""
    arguments = [folder / f"run_{name}.py", folder / "test_image.png", folder / "test_output.npy"]
    done = subprocess.run(  # in another folder
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    classes = re.findall(r"^[\d.]+ class \d$", done.stdout, re.MULTILINE)
    assert len(classes) == 5, done.stdout
    match = re.search(r"^largest difference: (\S+)$", done.stdout, re.MULTILINE)
    assert match is not None, done.stdout
    return float(match[1])


TOLERANCE = 1e-5  # of probabilities


def test_the_pair_is_one_that_every_program_takes(tmp_path: Path) -> None:
    folder = export("opencv", tmp_path)
    net = read_net(folder / "deploy.prototxt")
    findings = lint_net(net, deploy=True)
    assert [(each.rule.name, each.layer and each.layer.name) for each in findings] == [
        ("deploy-name", "in")  # names that OpenCV takes
    ]
    assert net.param.name == "Small_v1_0"
    assert [each.type for each in net.param.layer].count("BatchNorm") == 1
    assert "filler" not in (folder / "deploy.prototxt").read_text()
    model = read_caffemodel(folder / "deploy.caffemodel")
    kept = [(each.name, each.type) for each in net.param.layer]
    assert [(each.name, each.type) for each in model.layer] == kept
    blobs = [blob for each in model.layer for blob in each.blobs]
    assert all(blob.data and not (blob.diff or blob.double_data) for blob in blobs)
    size = (folder / "deploy.caffemodel").stat().st_size
    assert size < sum(4 * len(blob.data) for blob in blobs) + 200 * len(kept)


def test_the_same_net_makes_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    folders = export("mnn", tmp_path), export("mnn", tmp_path / "again")
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == [
        "README.md",
        "convert_mnn.py",
        "deploy.caffemodel",
        "deploy.prototxt",
        "labels.txt",
        "mnn_quantize.json",
        "preprocessing.toml",
        "run_mnn.py",
        "test_image.png",
        "test_input.npy",
        "test_output.npy",
    ]
    assert [(folders[0] / n).read_bytes() for n in names] == [
        (folders[1] / n).read_bytes() for n in names
    ]


@pytest.mark.parametrize("kind", INTERFACES)
def test_the_vector_is_what_the_source_computes(kind: str, tmp_path: Path) -> None:
    folder = export("caffe", tmp_path, kind)
    channels, transform = INTERFACES[kind]
    image: Any = cv2.imread(str(folder / "test_image.png"), cv2.IMREAD_UNCHANGED)
    assert transform.mean is not None
    resize = transform.resize or SIZE
    assert image.shape == (*resize, 3)[: 2 + (channels == 3)]
    # By hand, as docs/nets.md says.
    top, left = (resize[0] - SIZE[0]) // 2, (resize[1] - SIZE[1]) // 2
    pixels = image[top : top + SIZE[0], left : left + SIZE[1]].astype("f4").reshape(*SIZE, channels)
    if transform.channels == "RGB":
        pixels = pixels[..., ::-1]
    pixels = (pixels - np.array(transform.mean, "f4")) * np.float32(transform.scale or 1)
    blob = np.load(folder / "test_input.npy")
    assert np.array_equal(blob, pixels.transpose(2, 0, 1)[None])
    source = Net(parse_net(small_net(channels)), tmp_path / f"{channels}.caffemodel")
    expected = source.forward(blob)["prob"]
    assert np.abs(np.load(folder / "test_output.npy") - expected).max() < 1e-6
    # The header tells sqgen classify the same.
    told = read_model(str(folder / "deploy.prototxt")).transform
    assert told is not None
    assert (told.resize, told.scale or 1) == (resize, transform.scale or 1)


@pytest.mark.parametrize("kind", INTERFACES)
def test_opencv_runs_the_script(kind: str, tmp_path: Path) -> None:
    assert run_script(export("opencv", tmp_path, kind), "opencv") < TOLERANCE


def test_opencv_runs_batch_norm_that_is_kept(tmp_path: Path) -> None:
    folder = export("opencv", tmp_path, keep_batch_norm=True)
    kinds = [each.type for each in read_net(folder / "deploy.prototxt").param.layer]
    assert (kinds.count("BatchNorm"), kinds.count("Scale")) == (2, 1)
    assert run_script(folder, "opencv") < TOLERANCE


@pytest.mark.parametrize("kind", INTERFACES)
def test_mnn_runs_the_script(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("MNN", reason="needs the package MNN")
    folder = export("mnn", tmp_path, kind)
    convert = [sys.executable, str(folder / "convert_mnn.py")]
    subprocess.run(convert, check=True, capture_output=True, timeout=300)
    assert run_script(folder, "mnn") < TOLERANCE


@pytest.mark.parametrize("kind", INTERFACES)
def test_ncnn_runs_the_script(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("ncnn", reason="needs the package ncnn")
    if shutil.which("caffe2ncnn") is None:
        pytest.skip("needs ncnn's caffe2ncnn on the path")
    folder = export("ncnn", tmp_path, kind)
    subprocess.run(["sh", str(folder / "convert_ncnn.sh")], check=True, timeout=300)
    assert run_script(folder, "ncnn") < TOLERANCE


@pytest.mark.parametrize("kind", INTERFACES)
@pytest.mark.parametrize("target", TOOLCHAINS)
def test_scripts_are_valid(target: str, kind: str, tmp_path: Path) -> None:
    folder = export(target, tmp_path, kind)
    scripts = [*folder.glob("*.py"), *folder.glob("*.sh")]
    for path in scripts:
        if path.suffix == ".py":
            compile(path.read_text(), path.name, "exec")
        else:
            subprocess.run(["sh", "-n", str(path)], check=True, timeout=60)
    commands = [command.split() for command in TOOLCHAINS[target].commands]
    assert {words[1] for words in commands} == {path.name for path in scripts}
    assert all(command[0] in (folder / "README.md").read_text() for command in commands)


MADE = DeployedNet(
    "data", "prob", (227, 227), (256, 256), "BGR", (104.0, 116.67, 122.68), 0.017, True
)
WORDS = [
    ("opencv", "run_opencv.py", "mean=[104, 116.67, 122.68]"),
    ("opencv", "run_opencv.py", "(256, 256))[14:241, 14:241]"),
    ("opencv", "run_opencv.py", "scalefactor=0.017"),
    ("opencv", "run_opencv.py", "swapRB=False"),
    ("rknn", "convert_rknn.py", "mean_values=[[104.0, 116.67, 122.68]]"),
    ("rknn", "convert_rknn.py", "std_values=[[58.8235294, 58.8235294, 58.8235294]]"),
    ("rknn", "convert_rknn.py", "quant_img_RGB2BGR=True"),
    ("openvino", "convert_openvino.sh", "--mean_values '[104,116.67,122.68]'"),
    ("openvino", "convert_openvino.sh", "--scale_values '[58.8235294,58.8235294,58.8235294]'"),
    ("ncnn", "run_ncnn.py", "PixelType.PIXEL_BGR, 227, 227)"),
    ("ncnn", "run_ncnn.py", "mean_normalize([104, 116.67, 122.68], [0.017, 0.017, 0.017])"),
    ("tpu-mlir", "convert_tpu_mlir.sh", "--mean 104,116.67,122.68 --scale 0.017,0.017,0.017"),
    ("tpu-mlir", "convert_tpu_mlir.sh", "--pixel_format bgr"),
    ("tpu-mlir", "convert_tpu_mlir.sh", "'[[1,3,227,227]]' --resize_dims 256,256"),
    ("atc", "aipp.cfg", "rbuv_swap_switch: true"),
    ("atc", "aipp.cfg", "mean_chn_1: 116\n  min_chn_1: 0.67\n  var_reci_chn_1: 0.017\n"),
]


@pytest.mark.parametrize(("target", "file", "words"), WORDS)
def test_preprocessing_in_a_toolchain_s_own_words(target: str, file: str, words: str) -> None:
    assert words in TOOLCHAINS[target].files(MADE)[file]


def test_preprocessing_of_other_orders() -> None:
    rgb, gray = MADE._replace(channels="RGB"), MADE._replace(channels="gray", mean=(9.0,))
    for net, swap, pixels, kind in (
        (rgb, "false", "PIXEL_BGR2RGB", "RGB888_U8"),
        (gray, "false", "PIXEL_GRAY", "YUV400_U8"),
    ):
        aipp = TOOLCHAINS["atc"].files(net)["aipp.cfg"]
        assert f"rbuv_swap_switch: {swap}" in aipp
        assert f"input_format: {kind}" in aipp
        assert pixels in TOOLCHAINS["ncnn"].files(net)["run_ncnn.py"]
    assert "quant_img_RGB2BGR" not in TOOLCHAINS["rknn"].files(gray)["convert_rknn.py"]
    assert "quant_img_RGB2BGR=False" in TOOLCHAINS["rknn"].files(rgb)["convert_rknn.py"]
    settings = json.loads(TOOLCHAINS["mnn"].files(gray)["mnn_quantize.json"])
    assert (settings["format"], settings["mean"], settings["normal"]) == ("GRAY", [9.0], [0.017])
    with pytest.raises(NetError, match="AIPP"):
        TOOLCHAINS["atc"].files(MADE._replace(mean=(-1.0, 0.0, 0.0)))


def test_x2paddle_gets_identifiers(tmp_path: Path) -> None:
    folder = export("x2paddle", tmp_path)
    net = read_net(folder / "deploy.prototxt")
    assert lint_net(net, deploy=True) == []
    assert [each.name for each in net.param.layer][:4] == ["_in", "_1/c", "_1/r", "b_c"]
    model = read_caffemodel(folder / "deploy.caffemodel")
    assert [each.name for each in model.layer] == [each.name for each in net.param.layer]
    blob = np.load(folder / "test_input.npy")
    (output,) = Net(net, folder / "deploy.caffemodel").forward(blob).values()
    assert np.array_equal(output, np.load(folder / "test_output.npy"))


def test_names_that_would_meet_stay_apart(tmp_path: Path) -> None:
    text = (
        net_input(3, *SIZE) + conv("a.b", "data", 3) + conv("a/b", "a.b", 3) + conv("a_b", "a/b", 3)
    )
    save(random_model(text), tmp_path / "w")
    exported = export_net(parse_net(text), tmp_path / "w", "x2paddle", transform=BGR)
    exported.save(tmp_path / "out")
    net = read_net(tmp_path / "out" / "deploy.prototxt")
    names = [each.name for each in net.param.layer]
    assert names == ["_in", "a_b", "a/b_", "a_b__"]
    assert [list(each.bottom) for each in net.param.layer[1:]] == [["data"], ["a_b"], ["a/b_"]]


COMMAND = ("export", "net.prototxt", "--weights", "w.caffemodel", "--mean", "1,2,3")


def test_command(sqgen: Run, files: Path) -> None:
    done = sqgen(*COMMAND, "--for", "rknn", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(Path("out", "deploy.prototxt"))
    written = {path.name for path in (files / "out").iterdir()}
    assert {Path(line).name for line in done.stdout.splitlines()} == written
    assert "labels.txt" not in written
    assert "nothing tells the names of classes; --labels FILE does" in done.stderr
    assert "folded into convolutions: 2 BatchNorm and Scale; followed by a Scale of 1: 1" in (
        done.stderr
    )
    assert "run on random inputs in float64: 7 blobs equal those before within" in done.stderr
    again = sqgen(*COMMAND, "--for", "rknn", "-o", "out")
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists" in again.stderr
    assert sqgen(*COMMAND, "--for", "rknn", "-o", "out", "--force").returncode == 0
    text = (files / "net.prototxt").read_text()
    done = sqgen(*COMMAND[:1], "-", *COMMAND[2:], "--json", "-o", "piped", stdin=text)
    result = json.loads(done.stdout)
    assert (result["target"], result["comparison"]["blobs"]) == ("caffe", 1)
    assert {Path(each["file"]).name for each in result["files"]} >= {"run_caffe.py", "README.md"}


BAD = [
    (("--for", "tensorrt"), "'tensorrt' is not one of 'caffe', 'opencv'"),
    (("--opset", "13"), "--opset: goes with --for onnx"),
    (("--for", "onnx", "--keep-batch-norm"), "--keep-batch-norm: --for onnx keeps them anyway"),
    (("--mean", "1,2"), "--mean has 2 values for 3 channels"),
    (("--labels", "few.txt"), "2 labels for 5 classes; give the net's own"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: tuple[str, ...], said: str, sqgen: Run, files: Path
) -> None:
    (files / "few.txt").write_text("a\nb\n")
    done = sqgen(*COMMAND, "-o", "out", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[-1]
    assert not (files / "out").exists()


def test_weights_that_do_not_fit(files: Path) -> None:
    text = small_net()
    model = random_model(text)
    del model.layer[2:]
    save(model, files / "few.caffemodel")
    save(random_model(text.replace("num_output: 6", "num_output: 9")), files / "wide.caffemodel")
    for name, said in (
        ("few", "few.caffemodel: has no weights for 5 layers of the net, such as 1/bn"),
        ("wide", "wide.caffemodel: layer '1/c', blob 0 is 9x3x3x3 there and 6x3x3x3 in the net"),
    ):
        with pytest.raises(NetError, match=said):
            export_net(parse_net(text), files / f"{name}.caffemodel", transform=BGR)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (net_input() + conv("a", "data", 2) + conv("b", "data", 2), "has the outputs a, b, where"),
        (
            'layer { name: "in" type: "Input" top: "x" top: "y" input_param {'
            " shape { dim: 1 dim: 3 } } } " + layer("Eltwise", "sum", "x y"),
            r"n: has the inputs x \(1, 3\), y \(1, 3\), where one of images is wanted",
        ),
        (
            net_input()
            + layer("BatchNorm", "b", "data", rest="batch_norm_param { use_global_stats: false }"),
            "n:2: layer 'b': use_global_stats: false in TEST takes the statistics",
        ),
    ],
)
def test_nets_that_no_toolchain_takes(text: str, said: str, tmp_path: Path) -> None:
    save(random_model(text), tmp_path / "w")
    with pytest.raises(NetError, match=said):
        export_net(parse_net(text, "n"), tmp_path / "w", transform=BGR)


def test_what_nothing_tells_is_not_guessed(sqgen: Run, files: Path) -> None:
    done = sqgen(*COMMAND[:-2], "-o", "out")
    assert done.returncode == 2
    assert "nothing tells how images become its input; --like TRAIN_VAL" in done.stderr
    assert not (files / "out").exists()
    design = Design(size=32, classes=10)
    (files / "train_val.prototxt").write_text(build(design))
    done = sqgen(*COMMAND[:-2], "--like", "train_val.prototxt", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "mean = [104, 117, 123]" in (files / "out" / "preprocessing.toml").read_text()


def test_a_train_val_with_its_data_tells_all(sqgen: Run, files: Path) -> None:
    make_lmdb(files / "val_lmdb", [raw(0, 3, 40, 44)])
    (files / "val_lmdb" / "labels.txt").write_text("cat\ndog\nmoth\n")
    text = build(Design(size=32, classes=3, val_source="val_lmdb", train_source="none"))
    (files / "net.prototxt").write_text(text)
    save(random_model(build(Design(size=32, classes=3), "deploy")), files / "w.caffemodel")
    done = sqgen(*COMMAND[:-2], "--for", "opencv", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert (files / "out" / "labels.txt").read_text() == "cat\ndog\nmoth\n"
    assert lint_net(read_net(files / "out" / "deploy.prototxt"), deploy=True) == []
    assert run_script_of(files / "out") < TOLERANCE


def run_script_of(folder: Path) -> float:
    """As `run_script`, of three classes."""
    (folder / "labels.txt").write_text("class 0\nclass 1\nclass 2\n")
    arguments = ["run_opencv.py", "test_image.png", "test_output.npy"]
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


def test_python_lists_the_targets(tmp_path: Path) -> None:
    with pytest.raises(NetError, match="'opencl'; did you mean 'opencv'\\?; one of caffe"):
        export_net(parse_net(small_net()), tmp_path / "w", "opencl")
    assert set(TARGETS) == {*TOOLCHAINS, "onnx"}


@pytest.mark.parametrize("target", ["onnx", "caffe"])
def test_a_net_of_ristretto_is_written_as_the_plain_one(files: Path, target: str) -> None:
    fixed = "bw_params: 4 fl_params: 3 bw_layer_in: 5 bw_layer_out: 5"
    text = re.sub(
        '"Convolution"(.*)}',
        rf'"ConvolutionRistretto"\1 quantization_param {{ {fixed} }} }}',
        small_net(),
    )
    weights = files / "w.caffemodel"
    plain, found = (
        export_net(parse_net(each, "n"), weights, target, transform=BGR)
        for each in (small_net(), text)
    )
    assert found.files == plain.files
    assert found.warnings[1:] == plain.warnings
    assert found.warnings[0] == (
        "n: written in full precision, without the quantization_param of 3 layers of Ristretto"
    )
