"""`sqgen classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..extras import required
from ..formats.files import read_bytes
from ..report.table import table
from ..text import printable
from .terminal import echo, parse_size, print_json, print_lines, warn

if TYPE_CHECKING:
    from ..engine.classify import ClassScore

LABELS_LIMIT = 16 << 20


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--model", "--net", "model", required=True, metavar="NET", help="the deploy prototxt")
@click.option("--weights", required=True, metavar="W", help="its .caffemodel")
@click.option("--labels", metavar="FILE", help="a line per class, in the net's order")
@click.option("--top", default=5, show_default=True, help="classes to show")
@click.option(
    "--resize", metavar="HxW", help="resize images [256x256 for nets of ImageNet, else the input]"
)
@click.option("--like", metavar="TRAIN_VAL", help="mean and scale as in this net's data layer")
@click.option(
    "--mean",
    metavar="B,G,R|FILE",
    help="subtract per channel, or a mean file's means [104,117,123; gray: 0]",
)
@click.option("--scale", type=float, help="factor on pixels after the mean [1]")
@click.option("--output", metavar="BLOB", help="output blob, if the net has several")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def classify(
    images: tuple[str, ...],
    model: str,
    weights: str,
    labels: str | None,
    top: int,
    resize: str | None,
    like: str | None,
    mean: str | None,
    scale: float | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Print the most probable classes of images.

    Each image is resized, and the net sees its centre, as in the published tests. A deploy net
    does not say how its images were preprocessed: --like names the net that it was trained by.

    \b
    Examples:
      sqgen classify --model deploy.prototxt --weights squeezenet.caffemodel \\
        --labels synset_words.txt cat.jpg dog.png
      sqgen classify --model deploy.prototxt --weights my.caffemodel \\
        --like train_val.prototxt cat.jpg
    """
    if top < 1:
        raise click.UsageError(f"--top {top}: give one or more")
    names = None if labels is None else read_labels(labels)
    size = None if resize is None else parse_size(resize)
    if like is not None and (mean is not None or scale is not None):
        raise click.UsageError("--like: tells mean and scale; give it or --mean and --scale")
    numbers = None if mean is None or Path(mean).is_file() else _parse_mean(mean)
    with required("torch", "sqgen classify"):
        from ..engine import classify as engine
    net = engine.load_net(model, weights)
    means = numbers
    if like is not None:
        means, scale = engine.trained_transform(like)
    elif mean is not None and numbers is None:
        means = engine.channel_means(mean, "--mean")
    preprocessing = engine.choose_preprocessing(net, size, means, 1.0 if scale is None else scale)
    blob = engine.choose_output(net, output)
    probabilities = engine.class_probabilities(net, preprocessing, images, blob)
    results = [
        (path, engine.top_classes(values, top, names))
        for path, values in zip(images, probabilities, strict=True)
    ]
    if numbers is None:
        is_assumed = means is None and scale is None
        _report_preprocessing(engine.describe_preprocessing(preprocessing), is_assumed)
    if as_json:
        print_json([_as_dict(path, classes) for path, classes in results])
        return
    for path, classes in results:
        if len(results) > 1:
            echo(path)
        print_lines(_table(classes))


def _report_preprocessing(done: str, is_assumed: bool) -> None:
    """Say what was done to the images, where the user did not type it."""
    if is_assumed:
        warn(
            f"nothing tells how the net's images were preprocessed, so they were {done}; --like"
            " TRAIN_VAL tells it, or --mean and --scale"
        )
    else:
        click.echo(f"sqgen: images were {done}", err=True)


def read_labels(path: str) -> list[str]:
    """Read the labels of the classes, a line each.

    Raises:
        FormatError: the file can't be read.
    """
    text = read_bytes(path, LABELS_LIMIT, "a list of labels").decode(errors="replace")
    return [printable(line.strip()) for line in text.splitlines()]


def _parse_mean(text: str) -> list[float]:
    try:
        return [float(value) for value in text.split(",")]
    except ValueError:
        raise click.UsageError(
            f"--mean '{printable(text)}' is no list such as 104,117,123"
        ) from None


def _as_dict(path: str, classes: list[ClassScore]) -> dict[str, Any]:
    plain = [
        {"class": score.class_index, "name": score.label, "probability": score.probability}
        for score in classes
    ]
    return {"image": path, "classes": plain}


def _table(classes: list[ClassScore]) -> list[str]:
    rows = [
        [f"{score.probability:.4f}", score.label or f"class {score.class_index}"]
        for score in classes
    ]
    return table(["probability", "class"], rows, right=[0])
