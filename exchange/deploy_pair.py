"""A net as a folder for a toolchain: Caffe's two files, what they don't say, and a test vector."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np

from ..engine.api import Net
from ..engine.classify import Preprocessing, choose_preprocessing
from ..engine.equivalence import load_engine, prove_rewritten
from ..errors import NetError
from ..formats import prototxt
from ..formats.caffemodel import encode_caffemodel, parse_caffemodel
from ..formats.images import opencv
from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition, parse_net
from ..nets.image_transform import ImageTransform
from ..nets.shapes import require_shapes
from ..text import agreement_text, first_few, printable
from ..version import __version__
from ..weights.make_caffemodel import make_caffemodel
from ..weights.net_arrays import Arrays, net_arrays
from .fold_batch_norm import fold_batch_norm
from .identifiers import identifier, rename_layers
from .layer_limits import limits
from .toolchains import LABELS, NET, TOOLCHAINS, WEIGHTS, DeployedNet, number
from .trained_net import Comparison, Exported, ExportOptions, TrainedNet

if TYPE_CHECKING:
    from ..formats.images import Pixels

TOLERANCE = 1e-4  # of float32, relative to the largest element of the output
# Fields that are written even where they have Caffe's default: OpenCV takes another one.
_WRITTEN_OUT = {
    "LRN": ("lrn_param", ("local_size", "alpha", "beta")),
    "Pooling": ("pooling_param", ("pool",)),
}
_SEED = 0
_TILE = 8  # side of the squares of the test image


def write_deploy_pair(name: str, trained: TrainedNet, options: ExportOptions) -> Exported:
    """Make the files for a toolchain.

    Args:
        name: of the toolchain.
        trained: its net has batch 1.
        options: what a user chose.

    Raises:
        NetError: the net has not one image as its input and one output, nothing says how images
            become its input, the toolchain has no such layer, or the files compute something else.
    """
    toolchain = TOOLCHAINS[name]
    net, where = trained.net, printable(trained.net.source)
    source = _load(net, trained.arrays)
    output = _sole_output(source, where)
    if trained.transform is None or trained.transform.mean is None:
        raise NetError(
            f"{where}: nothing tells how images become its input; --like TRAIN_VAL tells it, or"
            " --mean and --scale"
        )
    preprocessing = choose_preprocessing(source, trained.transform, ImageTransform())
    notes = [f"images are {preprocessing}"]
    arrays = trained.arrays
    if not options.keep_batch_norm:
        net, arrays, done = _fold(trained, options)
        notes += done
    _check_limits(name, net)
    param = _plain_param(net)
    if toolchain.needs_identifiers:
        arrays = rename_layers(param, arrays)
    text = _header(name, preprocessing) + prototxt.to_text(param)
    weights = encode_caffemodel(_make_model(param, arrays), WEIGHTS)
    exported = _reload(text, weights)
    image = _test_image(preprocessing)
    blob = preprocessing.transform(image)[None]
    expected, result = source.forward(blob)[output], exported.forward(blob)[exported.outputs[0]]
    largest = float(np.abs(expected - result).max()) / (float(np.abs(expected).max()) or 1.0)
    if not largest <= TOLERANCE:
        raise NetError(
            f"{where}: its output for a test image is not finite, or changed by {largest:.1e} as"
            " the weights were written; inspect them with sqgen weights show"
        )
    deployed = _describe(exported, preprocessing, bool(trained.labels))
    files = {
        NET: text.encode(),
        WEIGHTS: weights,
        "preprocessing.toml": _toml(deployed).encode(),
        "test_image.png": _png(image),
        "test_input.npy": _npy(blob),
        "test_output.npy": _npy(result),
        **{file: lines.encode() for file, lines in toolchain.files(deployed).items()},
        "README.md": _readme(name, preprocessing, deployed).encode(),
    }
    warnings = []
    if trained.labels:
        files[LABELS] = "".join(f"{label}\n" for label in trained.labels).encode()
    else:
        warnings.append(f"without {LABELS}: nothing tells the names of classes; --labels FILE does")
    return Exported(files, Comparison(1, largest, []), warnings, notes)


def _load(definition: NetDefinition, arrays: Arrays) -> Net:
    net = Net(definition)
    for layer in net.layers:
        net.set_blobs(layer, [np.asarray(blob, "f4") for blob in arrays[layer]])
    return net


def _sole_output(net: Net, where: str) -> str:
    if len(net.outputs) != 1:
        raise NetError(
            f"{where}: has the outputs {first_few(net.outputs)}, where one is wanted; take out the"
            " layers of the others"
        )
    return net.outputs[0]


def _check_limits(name: str, net: NetDefinition) -> None:
    for layer in net.param.layer:
        for limit in limits(layer, name):
            raise NetError(
                f"{net.place(layer)}: layer '{printable(layer.name)}': {TOOLCHAINS[name].about} has"
                f" no {limit}, or gets it wrong; write it otherwise, or export for another program"
            )


def _fold(trained: TrainedNet, options: ExportOptions) -> tuple[NetDefinition, Arrays, list[str]]:
    """Fold BatchNorm, and prove that; return the net, its arrays, and what was done."""
    folded = fold_batch_norm(trained.net, trained.arrays)
    notes = []
    if folded.folded or folded.scaled:
        notes.append(
            f"folded into convolutions: {len(folded.folded)} BatchNorm and Scale; followed by a"
            f" Scale of 1: {len(folded.scaled)} BatchNorm"
        )
        if options.prove:
            proof = prove_rewritten(load_engine(), *trained[:2], folded.net, folded.arrays)
            agreement = agreement_text(proof.blobs, "those before", proof.largest)
            notes.append(f"run on random inputs in float64: {agreement}")
    return folded.net, folded.arrays, notes


def _plain_param(net: NetDefinition) -> NetParameter:
    """Copy a net as programs other than Caffe read it, with an identifier as its name."""
    param = NetParameter()
    param.CopyFrom(net.param)
    param.name = identifier(param.name) if param.name else ""
    for layer in param.layer:
        del layer.param[:]  # names of shared blobs: each layer gets its own
        field, defaults = _WRITTEN_OUT.get(layer.type, ("", ()))
        for default in defaults:
            message = getattr(layer, field)
            setattr(message, default, getattr(message, default))
    return param


def _make_model(param: NetParameter, arrays: Arrays) -> NetParameter:
    rounded = {name: [np.asarray(blob, "f4") for blob in blobs] for name, blobs in arrays.items()}
    return make_caffemodel(NetDefinition(param), rounded)


def _reload(text: str, weights: bytes) -> Net:
    """Load the two files as anybody does."""
    net = parse_net(text, NET)
    model = parse_caffemodel(weights, WEIGHTS, [])
    return _load(net, net_arrays(require_shapes(net, "TEST"), [(WEIGHTS, model)]))


def _describe(net: Net, preprocessing: Preprocessing, has_labels: bool) -> DeployedNet:
    ((name, shape),) = net.inputs.items()
    mean = tuple(preprocessing.mean)
    return DeployedNet(
        name,
        net.outputs[0],
        preprocessing.crop,
        preprocessing.resize,
        preprocessing.channels,
        mean * shape[1] if len(mean) == 1 else mean,
        preprocessing.scale,
        has_labels,
    )


def _header(name: str, preprocessing: Preprocessing) -> str:
    resize, crop, mean, scale, channels = preprocessing
    transform = ImageTransform(channels, resize, crop, tuple(mean), scale=scale)
    return f"# sqgen export --for {name}\n# sqgen {__version__}\n{transform.comment()}"


def _test_image(preprocessing: Preprocessing) -> Pixels:
    """Return an image of random squares, of the size to which images are resized."""
    random = np.random.default_rng(_SEED)
    channels = 1 if preprocessing.channels == "gray" else 3
    tiles = [-(-size // _TILE) for size in preprocessing.resize]
    squares = random.integers(0, 256, (*tiles, channels), dtype=np.uint8)
    large = squares.repeat(_TILE, axis=0).repeat(_TILE, axis=1)
    return large[: preprocessing.resize[0], : preprocessing.resize[1]]


def _png(image: Pixels) -> bytes:
    _, data = opencv().imencode(".png", image)
    return bytes(data)


def _npy(array: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, np.ascontiguousarray(array, "f4"))
    return data.getvalue()


def _toml(net: DeployedNet) -> str:
    (tall, wide), (height, width) = net.resize, net.size
    return f"""\
# How an image becomes the input, in this order. Pixels are 0 to 255.
channels = {json.dumps(net.channels)}
resize = [{tall}, {wide}]  # height, width; bilinear, whatever its own ratio
crop = [{height}, {width}]  # the centre of that
mean = {net.means}  # subtracted from each channel, in the order of channels
scale = {number(net.scale)}  # multiplied after that
layout = "NCHW"

[input]
name = {json.dumps(net.input)}
shape = [1, {len(net.mean)}, {height}, {width}]

[output]
name = {json.dumps(net.output)}
"""


def _readme(name: str, preprocessing: Preprocessing, net: DeployedNet) -> str:
    toolchain = TOOLCHAINS[name]
    commands = "".join(f"    {command}\n" for command in toolchain.commands)
    check = toolchain.commands[-1].replace("IMAGE", "test_image.png test_output.npy")
    return f"""\
# A net for {toolchain.about}

{commands}
The input `{net.input}` is (1, channels, height, width) in {net.channels}, of pixels from 0 to 255:
an image is {preprocessing}.
`preprocessing.toml` says the same. The output is `{net.output}`.

`test_image.png` becomes `test_input.npy`, and that `test_output.npy`, as sqgen computes it in
float32. This prints the largest difference:

    {check}
"""
