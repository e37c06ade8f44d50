"""`sqgen classify`: what a net says of images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import FormatError, NetError
from ..extras import required
from ..formats.files import read_bytes
from ..report.table import table
from ..text import printable
from .terminal import echo, parse_size

if TYPE_CHECKING:
    import numpy as np

    from ..engine.api import Net

IMAGENET_MEAN = "104,117,123"
IMAGENET_INPUTS, IMAGENET_SIZE = (224, 227), 256  # images are resized to 256 and cropped
LABELS_LIMIT = 16 << 20
BATCH = 32


class Preparation(NamedTuple):
    """From an image file to a net's input (tools/convert_imageset.cpp, data_transformer.cpp).

    Attributes:
        resize: (height, width) that the whole image is brought to.
        crop: (height, width) of its centre that the net takes.
        mean: of each channel, B, G, R; subtracted.
        scale: to multiply with then.
    """

    resize: tuple[int, int]
    crop: tuple[int, int]
    mean: list[float]
    scale: float
    channels: int

    def read(self, path: str) -> np.ndarray:
        """(channels, height, width) as float32.

        Raises:
            FormatError: the file is no image.
        """
        import numpy as np

        from ..formats import images

        shown = printable(path)
        flag = images.COLOR if self.channels == 3 else images.GRAY
        data = read_bytes(path, 1 << 30, "an image")
        pixels = images.resize(images.decode(data, flag, shown), *self.resize)
        top, left = ((a - b) // 2 for a, b in zip(self.resize, self.crop, strict=True))
        pixels = pixels[top : top + self.crop[0], left : left + self.crop[1]]
        values = pixels.astype(np.float32) - np.array(self.mean, dtype=np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1) * np.float32(self.scale))


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--model", "--net", "model", required=True, metavar="NET", help="the deploy prototxt")
@click.option("--weights", required=True, metavar="W", help="its .caffemodel")
@click.option("--labels", metavar="FILE", help="a line for each class, in the net's order")
@click.option("--top", default=5, show_default=True, help="classes to show")
@click.option("--resize", metavar="HxW", help="[256x256 for nets of ImageNet, else the input]")
@click.option("--mean", metavar="B,G,R", help=f"[{IMAGENET_MEAN}; 0 for gray images]")
@click.option("--scale", default=1.0, show_default=True, help="multiply after the mean")
@click.option("--output", metavar="BLOB", help="the output to read, where there are several")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def classify(
    images: tuple[str, ...],
    model: str,
    weights: str,
    labels: str | None,
    top: int,
    resize: str | None,
    mean: str | None,
    scale: float,
    output: str | None,
    as_json: bool,
) -> None:
    """Say what images show: classes and their probabilities.

    An image is resized whole, and its centre is what the net sees: as in the published tests.

    \b
    Example:
      sqgen classify --model deploy.prototxt --weights squeezenet.caffemodel \\
        --labels synset_words.txt cat.jpg dog.png
    """
    if top < 1:
        raise click.UsageError(f"--top {top}: give one or more")
    names = None if labels is None else read_labels(labels)
    net = load(model, weights)
    preparation = prepare(net, resize, mean, scale)
    blob = _output(net, output)
    results = []
    for start in range(0, len(images), BATCH):
        chosen = images[start : start + BATCH]
        for path, scores in zip(chosen, _scores(net, preparation, chosen, blob), strict=True):
            results.append({"image": path, "classes": best(scores, top, names)})
    if as_json:
        echo(json.dumps(results, indent=2))
        return
    for result in results:
        _print(result, len(results) > 1)


def load(model: str, weights: str) -> Net:
    """The net with its weights.

    Raises:
        SqgenError: it can't be read, or the engine is not installed.
    """
    with required("torch", "sqgen classify"):
        from ..engine.api import Net
    net = Net(model, weights, partial=True)
    if net.uninitialized:
        raise NetError(
            f"{printable(weights)}: has no weights for layer '{printable(net.uninitialized[0])}'"
            f" ({len(net.uninitialized)} in all); the net would guess"
        )
    return net


def read_labels(path: str) -> list[str]:
    """The names of the classes, a line each.

    Raises:
        FormatError: it can't be read.
    """
    text = read_bytes(path, LABELS_LIMIT, "a list of labels").decode(errors="replace")
    return [printable(line.strip()) for line in text.splitlines()]


def prepare(net: Net, resize: str | None, mean: str | None, scale: float) -> Preparation:
    """How images are made fit for a net.

    Raises:
        NetError: the net takes no images.
        click.UsageError: an option that does not fit it.
    """
    shapes = list(net.inputs.values())
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (1, 3):
        shown = ", ".join(f"{name} {shape}" for name, shape in net.inputs.items()) or "none"
        raise NetError(
            f"classifies by nets with one input of images, not {shown}; give the deploy prototxt"
        )
    channels, *crop = shapes[0][1:]
    usual = IMAGENET_SIZE if crop[0] == crop[1] and crop[0] in IMAGENET_INPUTS else 0
    size = parse_size(resize) if resize else (usual or crop[0], usual or crop[1])
    if size[0] < crop[0] or size[1] < crop[1]:
        raise click.UsageError(
            f"--resize {size[0]}x{size[1]}: the net takes {crop[0]}x{crop[1]} of it"
        )
    values = _mean(mean if mean is not None else IMAGENET_MEAN if channels == 3 else "0")
    if len(values) not in (1, channels):
        raise click.UsageError(f"--mean has {len(values)} values for {channels} channels")
    return Preparation(size, (crop[0], crop[1]), values, scale, channels)


def _mean(text: str) -> list[float]:
    try:
        return [float(value) for value in text.split(",")]
    except ValueError:
        raise click.UsageError(
            f"--mean '{printable(text)}' is no list such as 104,117,123"
        ) from None


def _output(net: Net, asked: str | None) -> str:
    if asked is not None and asked not in net.outputs:
        raise NetError(f"no output '{printable(asked)}'; the net has {', '.join(net.outputs)}")
    if asked is None and len(net.outputs) != 1:
        raise NetError(f"the net's outputs are {', '.join(net.outputs)}; choose with --output")
    return asked or net.outputs[0]


def _scores(net: Net, preparation: Preparation, paths: tuple[str, ...], blob: str) -> np.ndarray:
    """(images, classes)."""
    import numpy as np

    batch = np.stack([preparation.read(path) for path in paths])
    scores = net.forward(batch)[blob].reshape(len(paths), -1).astype(np.float64)
    if net.producer_type(blob) == "Softmax":
        return scores
    # The published deploy nets of some end before it.
    powers = np.exp(scores - scores.max(1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(1, keepdims=True)
    return probabilities


def best(scores: np.ndarray, top: int, names: list[str] | None) -> list[dict[str, Any]]:
    """The largest scores, of equal ones the first class first.

    Raises:
        FormatError: labels for another number of classes.
    """
    if names is not None and len(names) != len(scores):
        raise FormatError(f"{len(names)} labels for {len(scores)} classes; give the net's own")
    order = (-scores).argsort(kind="stable")[:top]
    return [
        {
            "class": int(index),
            "name": names[index] if names else None,
            "probability": float(scores[index]),
        }
        for index in order
    ]


def _print(result: dict[str, Any], titled: bool) -> None:
    if titled:
        echo(printable(result["image"]))
    rows = [
        [f"{row['probability']:.4f}", row["name"] or f"class {row['class']}"]
        for row in result["classes"]
    ]
    for line in table(["probability", "class"], rows, right=[0]):
        echo(line)
