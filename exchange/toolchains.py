"""The toolchains that read Caffe's files, and what each wants besides: in its own words.

docs/export.md says which version was measured. A script reads an image as the net was trained on
it: resized as cv::resize does, its centre taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import NetError

NET, WEIGHTS, LABELS = "deploy.prototxt", "deploy.caffemodel", "labels.txt"


class DeployedNet(NamedTuple):
    """What scripts and settings say of a net.

    Attributes:
        input, output: names of its blobs.
        size: (height, width) of its input.
        resize: (height, width) of the image whose centre that is.
        channels: one of `image_transform.ORDERS`.
        mean: of each channel, in that order.
        scale: multiplied after the mean.
        has_labels: whether labels.txt is there.
    """

    input: str
    output: str
    size: tuple[int, int]
    resize: tuple[int, int]
    channels: str
    mean: tuple[float, ...]
    scale: float
    has_labels: bool

    @property
    def means(self) -> str:
        """The means, as Python and most command lines write them."""
        return "[" + ", ".join(map(number, self.mean)) + "]"

    def repeated(self, value: float, separator: str = ", ") -> str:
        """Return a value for each channel."""
        return separator.join([number(value)] * len(self.mean))

    @property
    def pixels(self) -> str:
        """The expression of an image in the order of the net: height, width, channels."""
        orders = {"BGR": "image", "RGB": "image[:, :, ::-1]", "gray": "image[:, :, None]"}
        return orders[self.channels]

    @property
    def blob(self) -> str:
        """The lines that make the net's input of an image."""
        scale = number(self.scale)
        return (
            f"values = ({self.pixels} - np.float32({self.means})) * np.float32({scale})\n"
            "blob = np.ascontiguousarray(values.transpose(2, 0, 1)[None])\n"
        )

    def script(self, name: str, imports: str, body: str) -> str:
        """Return a Python script that classifies an image; `body` makes `scores` of `image`."""
        flag = "GRAYSCALE" if self.channels == "gray" else "COLOR"
        (height, width), (tall, wide) = self.size, self.resize
        top, left = (tall - height) // 2, (wide - width) // 2
        centre = f"[{top}:{top + height}, {left}:{left + width}]" if top or left else ""
        labels = f'(HERE / "{LABELS}").read_text(encoding="utf-8").splitlines()'
        label = "labels[index]" if self.has_labels else "index"
        return (
            f'"""Classify an image: python run_{name}.py IMAGE [test_output.npy]."""\n'
            "import sys\nfrom pathlib import Path\n\nimport cv2\nimport numpy as np\n"
            f"{imports}\n"
            "HERE = Path(__file__).resolve().parent\n"
            f"image = cv2.imread(sys.argv[1], cv2.IMREAD_{flag})  # BGR, or gray\n"
            f"image = cv2.resize(image, ({wide}, {tall})){centre}  # width, height; the centre\n"
            f"{body}"
            "scores = np.asarray(scores, dtype=np.float32).reshape(-1)\n"
            + (f"labels = {labels}\n" if self.has_labels else "")
            + "for index in scores.argsort()[::-1][:5]:\n"
            f'    print(f"{{scores[index]:.4f}} {{{label}}}")\n'
            "if len(sys.argv) > 2:\n"
            "    expected = np.load(sys.argv[2]).reshape(-1)\n"
            '    print("largest difference:", np.abs(scores - expected).max())\n'
        )


class Toolchain(NamedTuple):
    """A toolchain.

    Attributes:
        about: its name and the version that was measured, or that none was.
        files: makes the files for it: name -> text; raises NetError for what it can't take.
        commands: what to type in the folder: to convert, then to classify IMAGE.
        needs_identifiers: whether it makes variables of names.
    """

    about: str
    files: Callable[[DeployedNet], dict[str, str]]
    commands: tuple[str, ...]
    needs_identifiers: bool = False


def number(value: float) -> str:
    """Return a number with the digits of float32."""
    return f"{value:.9g}"


def _caffe(net: DeployedNet) -> dict[str, str]:
    body = f"""{net.blob}\
caffe.set_mode_cpu()
net = caffe.Net(str(HERE / "{NET}"), str(HERE / "{WEIGHTS}"), caffe.TEST)
net.blobs[{net.input!r}].data[...] = blob
scores = net.forward()[{net.output!r}]
"""
    return {"run_caffe.py": net.script("caffe", "import caffe\n", body)}


def _opencv(net: DeployedNet) -> dict[str, str]:
    height, width = net.size
    swap = net.channels == "RGB"
    body = f"""\
net = cv2.dnn.readNetFromCaffe(str(HERE / "{NET}"), str(HERE / "{WEIGHTS}"))
net.setInput(
    cv2.dnn.blobFromImage(
        image,
        scalefactor={number(net.scale)},
        size=({width}, {height}),
        mean={net.means},
        swapRB={swap},
    )
)
scores = net.forward()
"""
    return {"run_opencv.py": net.script("opencv", "", body)}


def _mnn(net: DeployedNet) -> dict[str, str]:
    convert = f'''\
"""Convert the net with the package MNN, but without its command mnnconvert, which reports usage."""
from pathlib import Path

import _tools

HERE = Path(__file__).resolve().parent
_tools.mnnconvert(
    ["mnnconvert", "-f", "CAFFE", "--bizCode", "sqgen"]
    + ["--modelFile", str(HERE / "{WEIGHTS}"), "--prototxt", str(HERE / "{NET}")]
    + ["--MNNModel", str(HERE / "model.mnn")]
)
'''
    body = f"""{net.blob}\
interpreter = MNN.Interpreter(str(HERE / "model.mnn"))
session = interpreter.createSession()
layout = MNN.Tensor_DimensionType_Caffe
tensor = MNN.Tensor(blob.shape, MNN.Halide_Type_Float, blob, layout)
interpreter.getSessionInput(session).copyFrom(tensor)
interpreter.runSession(session)
output = interpreter.getSessionOutput(session)
result = MNN.Tensor(
    output.getShape(), MNN.Halide_Type_Float, np.zeros(output.getShape(), "f4"), layout
)
output.copyToHostTensor(result)
scores = result.getData()
"""
    settings = {
        "format": net.channels.upper(),
        "mean": list(net.mean),
        "normal": [net.scale] * len(net.mean),
        "width": net.size[1],
        "height": net.size[0],
        "path": "calibration_images/",
        "used_image_num": 100,
        "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS",
    }
    return {
        "convert_mnn.py": convert,
        "mnn_quantize.json": json.dumps(settings, indent=2) + "\n",
        "run_mnn.py": net.script("mnn", "import MNN\n", body),
    }


def _ncnn(net: DeployedNet) -> dict[str, str]:
    height, width = net.size
    kind = {"BGR": "PIXEL_BGR", "RGB": "PIXEL_BGR2RGB", "gray": "PIXEL_GRAY"}[net.channels]
    body = f"""\
net = ncnn.Net()
net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
net.load_param(str(HERE / "model.param"))
net.load_model(str(HERE / "model.bin"))
pixels = np.ascontiguousarray(image)
mat = ncnn.Mat.from_pixels(pixels, ncnn.Mat.PixelType.{kind}, {width}, {height})
mat.substract_mean_normalize({net.means}, [{net.repeated(net.scale)}])
extractor = net.create_extractor()
extractor.input({net.input!r}, mat)
_, scores = extractor.extract({net.output!r})
"""
    convert = _shell(f"caffe2ncnn {NET} {WEIGHTS} model.param model.bin")
    return {
        "convert_ncnn.sh": convert,
        "run_ncnn.py": net.script("ncnn", "import ncnn\n", body),
    }


def _openvino(net: DeployedNet) -> dict[str, str]:
    means = net.means.replace(" ", "")
    command = "# opt_in_out --opt_out turns its reports of usage off.\n"
    command += f"mo --input_model {WEIGHTS} --input_proto {NET} \\\n  --mean_values '{means}'"
    if net.scale != 1:
        command += f" --scale_values '[{net.repeated(1 / net.scale, ',')}]'"
    body = f"""\
settings = {{"INFERENCE_PRECISION_HINT": "f32"}}  # some CPUs take bfloat16 otherwise
model = Core().compile_model(str(HERE / "model.xml"), "CPU", settings)
pixels = np.float32({net.pixels}).transpose(2, 0, 1)[None]  # mean and scale are in the model
scores = model([pixels])[model.output(0)]
"""
    return {
        "convert_openvino.sh": _shell(f"{command} --model_name model"),
        "run_openvino.py": net.script("openvino", "from openvino.runtime import Core\n", body),
    }


def _rknn(net: DeployedNet) -> dict[str, str]:
    order = f"    quant_img_RGB2BGR={net.channels == 'BGR'},\n" if len(net.mean) == 3 else ""
    convert = f'''\
"""Convert the net with RKNN-Toolkit2; build(True, dataset="images.txt") quantizes it."""
from pathlib import Path

from rknn.api import RKNN

HERE = Path(__file__).resolve().parent
rknn = RKNN()
rknn.config(
    mean_values=[{_floats(net.mean)}],
    std_values=[{_floats([1 / net.scale] * len(net.mean))}],
{order}    target_platform="rk3588",
)
assert rknn.load_caffe(model=str(HERE / "{NET}"), blobs=str(HERE / "{WEIGHTS}")) == 0
assert rknn.build(do_quantization=False) == 0
assert rknn.export_rknn(str(HERE / "model.rknn")) == 0
'''
    body = f"""\
rknn = RKNNLite()
assert rknn.load_rknn(str(HERE / "model.rknn")) == 0
assert rknn.init_runtime() == 0
pixels = np.ascontiguousarray({net.pixels})[None]  # mean and scale are in the model
scores = rknn.inference(inputs=[pixels])[0]
"""
    return {
        "convert_rknn.py": convert,
        "run_rknn.py": net.script("rknn", "from rknnlite.api import RKNNLite\n", body),
    }


def _floats(values: Sequence[float]) -> str:
    """Return a list of floats: RKNN refuses one that has integers, too."""
    return str([float(number(value)) for value in values])


def _atc(net: DeployedNet) -> dict[str, str]:
    if not all(0 <= value < 256 for value in net.mean):
        raise NetError(f"means {net.means}: AIPP of ATC takes those from 0 to 255; scale 1 if so")
    height, width = net.size
    kind = "YUV400_U8" if net.channels == "gray" else "RGB888_U8"
    lines = [
        "aipp_mode: static",
        f"input_format: {kind}",
        f"src_image_size_w: {width}",
        f"src_image_size_h: {height}",
        "csc_switch: false",
        f"rbuv_swap_switch: {str(net.channels == 'BGR').lower()}",
    ]
    for index, mean in enumerate(net.mean):  # after the swap; mean_chn takes integers
        lines.append(f"mean_chn_{index}: {int(mean)}")
        lines.append(f"min_chn_{index}: {number(mean - int(mean))}")
        lines.append(f"var_reci_chn_{index}: {number(net.scale)}")
    settings = "aipp_op {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
    command = (
        f"atc --framework=0 --model={NET} --weight={WEIGHTS} --output=model \\\n"
        '  --insert_op_conf=aipp.cfg --soc_version="${SOC_VERSION:-Ascend310P3}"'
    )
    order = "image[:, :, None]" if net.channels == "gray" else "image[:, :, ::-1]"
    body = f"""\
session = InferSession(0, str(HERE / "model.om"))
pixels = np.ascontiguousarray({order})[None]  # RGB, or gray; AIPP does the rest
scores = session.infer([pixels])[0]
"""
    imports = "from ais_bench.infer.interface import InferSession\n"
    return {
        "aipp.cfg": settings,
        "convert_atc.sh": _shell(command),
        "run_atc.py": net.script("atc", imports, body),
    }


def _tpu_mlir(net: DeployedNet) -> dict[str, str]:
    (height, width), (tall, wide) = net.size, net.resize
    shape = f"[[1,{len(net.mean)},{height},{width}]]"
    means = ",".join(map(number, net.mean))
    command = (
        f"model_transform.py --model_name model --model_def {NET} \\\n"
        f"  --model_data {WEIGHTS} --mlir model.mlir \\\n"
        f"  --input_shapes '{shape}' --resize_dims {tall},{wide} \\\n"
        f"  --mean {means} --scale {net.repeated(net.scale, ',')} \\\n"
        f"  --pixel_format {net.channels.lower()} \\\n"
        "  --test_input test_image.png --test_result model_outputs.npz\n"
        "model_deploy.py --mlir model.mlir --quantize F16 --model model.bmodel \\\n"
        '  --processor "${PROCESSOR:-bm1684x}"'
    )
    body = f"""{net.blob}\
outputs = mlir_inference({{{net.input!r}: blob}}, str(HERE / "model.mlir"), dump_all=False)
scores = next(iter(outputs.values()))
"""
    imports = "from tools.model_runner import mlir_inference\n"
    return {
        "convert_tpu_mlir.sh": _shell(command),
        "run_tpu_mlir.py": net.script("tpu_mlir", imports, body),
    }


def _x2paddle(net: DeployedNet) -> dict[str, str]:
    command = (
        "# Without disable_feedback it reports usage.\n"
        f"x2paddle --framework=caffe --prototxt={NET} --weight={WEIGHTS} --save_dir=paddle \\\n"
        "  --disable_feedback=1"
    )
    body = f"""{net.blob}\
net = paddle.jit.load(str(HERE / "paddle" / "inference_model" / "model"))
net.eval()
scores = net(paddle.to_tensor(blob))
"""
    return {
        "convert_x2paddle.sh": _shell(command),
        "run_x2paddle.py": net.script("x2paddle", "import paddle\n", body),
    }


def _shell(commands: str) -> str:
    return f'#!/bin/sh\nset -e\ncd "$(dirname "$0")"\n{commands}\n'


_NOT_MEASURED = "not run: needs CANN"
TOOLCHAINS = {
    "caffe": Toolchain("Caffe", _caffe, ("python run_caffe.py IMAGE",)),
    "opencv": Toolchain("OpenCV 4.14", _opencv, ("python run_opencv.py IMAGE",)),
    "mnn": Toolchain("MNN 3.6", _mnn, ("python convert_mnn.py", "python run_mnn.py IMAGE")),
    "ncnn": Toolchain("ncnn", _ncnn, ("sh convert_ncnn.sh", "python run_ncnn.py IMAGE")),
    "openvino": Toolchain(
        "OpenVINO 2022.3", _openvino, ("sh convert_openvino.sh", "python run_openvino.py IMAGE")
    ),
    "rknn": Toolchain(
        "RKNN-Toolkit2 2.3", _rknn, ("python convert_rknn.py", "python run_rknn.py IMAGE")
    ),
    "atc": Toolchain(
        f"Huawei ATC ({_NOT_MEASURED})", _atc, ("sh convert_atc.sh", "python run_atc.py IMAGE")
    ),
    "tpu-mlir": Toolchain(
        "tpu-mlir 1.30", _tpu_mlir, ("sh convert_tpu_mlir.sh", "python run_tpu_mlir.py IMAGE")
    ),
    "x2paddle": Toolchain(
        "X2Paddle 1.6",
        _x2paddle,
        ("sh convert_x2paddle.sh", "python run_x2paddle.py IMAGE"),
        needs_identifiers=True,
    ),
}
