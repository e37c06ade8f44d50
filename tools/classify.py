"""`sqgen classify`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from ..errors import FormatError
from ..extras import required
from ..formats.files import read_bytes
from ..nets.image_transform import ImageTransform
from ..nets.imagenet import imagenet_class_names
from ..report.table import table
from ..text import printable
from .progress_bar import print_note
from .state_options import stage_option
from .terminal import parse_size, print_json_rows, print_lines, terminal_width, warn

if TYPE_CHECKING:
    from ..engine.classify import ClassScore, Model, Preprocessing

LABELS_LIMIT = 16 << 20
Result = tuple[str, "list[ClassScore] | FormatError"]


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--model", "--net", "model", required=True, metavar="NET", help="the deploy prototxt")
@click.option("--weights", required=True, metavar="W", help="its .caffemodel")
@click.option("--labels", metavar="FILE", help="a line per class, in the net's order")
@click.option("--top", default=5, show_default=True, help="classes to show")
@click.option(
    "--resize", metavar="HxW", help="resize images [256x256 for nets of ImageNet, else the input]"
)
@click.option("--like", metavar="TRAIN_VAL", help="preprocess as this net's data layer says")
@click.option(
    "--mean", metavar="B,G,R|FILE", help="subtract per channel, or a mean file's channel means"
)
@click.option("--scale", type=float, help="factor on pixels after the mean")
@stage_option
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
    stages: tuple[str, ...],
    output: str | None,
    as_json: bool,
) -> None:
    """Print the most probable classes of images.

    IMAGE is a file, or a folder with images at any depth. Each is resized, and the net sees its
    centre, as in the published tests. --like says how images are preprocessed, else NET's
    header (sqgen deploy) or data layer; SqueezeNets of 1000 classes have ImageNet's mean
    and names. Exit code 1 if an image can't be read, 2 if none can.

    \b
    Examples:
      sqgen classify --model deploy.prototxt --weights squeezenet.caffemodel \\
        cat.jpg photos/
      sqgen classify --model deploy.prototxt --weights my.caffemodel \\
        --like train_val.prototxt --labels classes.txt cat.jpg
    """
    if top < 1:
        raise click.UsageError(f"--top {top}: give one or more")
    names = None if labels is None else read_labels(labels)
    size = None if resize is None else parse_size(resize)
    if like is not None and (mean is not None or scale is not None):
        raise click.UsageError("--like: tells mean and scale; give it or --mean and --scale")
    numbers = None if mean is None or os.path.isfile(mean) else _parse_mean(mean)
    with required("torch", "sqgen classify"):
        from ..engine import classify as engine
    paths = _find_images(images)
    read = engine.read_model(model, stages)
    net = engine.load_net(read, weights)
    warn(*read.definition.warnings)
    means = numbers
    if mean is not None and numbers is None:
        means = engine.channel_means(mean, "--mean")
    overrides = ImageTransform(resize=size, mean=means, scale=scale)
    told, origin = _tell(read, model, like, means is None)
    preprocessing = engine.choose_preprocessing(net, told, overrides)
    if names is None and read.is_imagenet:
        names = imagenet_class_names()
    blob = engine.choose_output(net, output)
    results: Iterator[Result] = (
        (path, row if isinstance(row, FormatError) else engine.top_classes(row, top, names))
        for path, row in engine.class_probabilities(net, preprocessing, paths, blob, warn)
    )
    is_titled = len(images) > 1 or os.path.isdir(images[0])
    remark = None
    if numbers is None or told is not None:
        is_assumed = told is None and means is None and scale is None
        remark = partial(_report, preprocessing, origin, is_assumed)
    raise SystemExit(_print_results(results, is_titled, as_json, remark))


def _tell(
    read: Model, model: str, like: str | None, needs_mean: bool
) -> tuple[ImageTransform | None, str]:
    """Return what says how images are preprocessed, and its name."""
    from ..engine import classify as engine

    told, source = read.transform, model
    if like is not None:
        told, source = engine.trained_transform(like), like
    if told is not None:
        return (engine.resolve_mean(told, source) if needs_mean else told), printable(source)
    if read.is_imagenet:
        return engine.IMAGENET_TRANSFORM, "ImageNet's nets"
    return None, ""


def _report(done: Preprocessing, origin: str, is_assumed: bool) -> None:
    """Say what is done to the images, where the user did not type it."""
    if is_assumed:
        warn(
            f"nothing tells how the net's images were preprocessed, so they are {done}; --like"
            " TRAIN_VAL tells it, or --mean and --scale"
        )
    else:
        told = f" (as {origin})" if origin else ""
        click.echo(f"sqgen: images are {done}{told}", err=True)


def read_labels(path: str) -> list[str]:
    """Read the labels of the classes, a line each.

    Raises:
        FormatError: the file can't be read.
    """
    text = read_bytes(path, LABELS_LIMIT, "a list of labels").decode(errors="replace")
    return [printable(line.strip()) for line in text.splitlines()]


def _parse_mean(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError:
        raise click.UsageError(
            f"--mean '{printable(text)}' is no list such as 104,117,123"
        ) from None


def _find_images(arguments: Sequence[str]) -> Iterator[str]:
    """Yield files as they are, and the images of folders.

    Raises:
        FormatError: a folder can't be read, or has no images.
    """
    from ..formats.images import SUFFIXES, find_images

    for path in arguments:
        if not os.path.isdir(path):
            yield path
            continue
        found = find_images(path)
        first = next(found, None)
        if first is None:
            raise FormatError(f"{printable(path)}: has no images ({', '.join(SUFFIXES)})")
        yield from chain([first], found)


def _print_results(
    results: Iterable[Result],
    is_titled: bool,
    as_json: bool,
    remark: Callable[[], None] | None,
) -> int:
    """Print each result as it comes, the remark before the first; return the exit code."""
    counts = {True: 0, False: 0}

    def noted() -> Iterator[Result]:
        for path, result in results:
            is_bad = isinstance(result, FormatError)
            counts[is_bad] += 1
            if is_bad:
                print_note(f"sqgen: {result}")
            elif remark is not None and counts[False] == 1:
                remark()
            yield path, result

    if as_json:
        print_json_rows(_as_dict(path, result) for path, result in noted())
    else:
        for path, result in noted():
            if not isinstance(result, FormatError):
                print_lines([path] * is_titled + _table(result))
    return 0 if not counts[True] else 1 if counts[False] else 2


def _as_dict(path: str, result: list[ClassScore] | FormatError) -> dict[str, Any]:
    if isinstance(result, FormatError):
        return {"image": path, "error": str(result)}
    plain = [
        {"class": score.class_index, "name": score.label, "probability": score.probability}
        for score in result
    ]
    return {"image": path, "classes": plain}


def _table(classes: list[ClassScore]) -> list[str]:
    rows = [
        [f"{score.probability:.4f}", score.label or f"class {score.class_index}"]
        for score in classes
    ]
    return table(["probability", "class"], rows, right=[0], width=terminal_width())
