"""`sqgen classify`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..errors import FormatError
from ..extras import required
from ..nets.imagenet import imagenet_class_names
from ..report.table import table
from ..text import csv_cell, escaped
from .class_names import labels_option, read_labels
from .image_options import (
    PreprocessingOptions,
    check_preprocessing,
    choose_preprocessing,
    find_images,
    preprocessing_options,
)
from .progress_bar import print_note
from .state_options import stage_option
from .terminal import print_csv_row, print_json_rows, print_lines, terminal_width, warn

if TYPE_CHECKING:
    from ..engine.classify import ClassScore

Result = tuple[str, "list[ClassScore] | FormatError"]


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--model", "--net", "model", required=True, metavar="NET", help="the deploy prototxt")
@click.option("--weights", required=True, metavar="W", help="its .caffemodel")
@labels_option
@click.option("--top", default=5, show_default=True, help="classes to show")
@preprocessing_options
@stage_option
@click.option("--output", metavar="BLOB", help="output blob, if the net has several")
@click.option("--csv", "as_csv", is_flag=True, help="print CSV, a row per image")
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
    as_csv: bool,
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
      sqgen classify --model deploy.prototxt --weights my.caffemodel \\
        --labels classes.txt --csv photos/ > classes.csv
    """
    if top < 1:
        raise click.UsageError(f"--top {top}: give one or more")
    if as_csv and as_json:
        raise click.UsageError("--csv and --json: give one")
    names = None if labels is None else read_labels(labels)
    options = PreprocessingOptions(resize, like, mean, scale)
    check_preprocessing(options)
    with required("torch", "sqgen classify"):
        from ..engine import classify as engine
    paths = find_images(images)
    read = engine.read_model(model, stages)
    net = engine.load_net(read, weights)
    warn(*read.definition.warnings)
    choice = choose_preprocessing(net, read, model, options)
    if names is None and read.is_imagenet:
        names = imagenet_class_names()
    blob = engine.choose_output(net, output)
    results: Iterator[Result] = (
        (path, row if isinstance(row, FormatError) else engine.top_classes(row, top, names))
        for path, row in engine.class_probabilities(net, choice.preprocessing, paths, blob, warn)
    )
    is_titled = len(images) > 1 or os.path.isdir(images[0])
    show = _print_csv if as_csv else _print_json if as_json else partial(_print_tables, is_titled)
    raise SystemExit(_print_results(results, show, choice.report))


def _print_results(
    results: Iterable[Result],
    show: Callable[[Iterator[Result]], None],
    remark: Callable[[], None],
) -> int:
    """Show each result as it comes, the remark before the first; return the exit code."""
    counts = {True: 0, False: 0}

    def noted() -> Iterator[Result]:
        for path, result in results:
            is_bad = isinstance(result, FormatError)
            counts[is_bad] += 1
            if is_bad:
                print_note(f"sqgen: {result}")
            elif counts[False] == 1:
                remark()
            yield path, result

    show(noted())
    return 0 if not counts[True] else 1 if counts[False] else 2


def _print_tables(is_titled: bool, results: Iterator[Result]) -> None:
    for path, result in results:
        if not isinstance(result, FormatError):
            print_lines([path] * is_titled + _table(result))


def _print_json(results: Iterator[Result]) -> None:
    print_json_rows(_as_dict(path, result) for path, result in results)


def _print_csv(results: Iterator[Result]) -> None:
    """Print a row for each image that could be read: its classes, the most probable first."""
    is_first = True
    for path, result in results:
        if isinstance(result, FormatError):
            continue
        if is_first:
            columns = ("class", "name", "probability")
            ranks = range(1, len(result) + 1)
            print_csv_row(["image", *(f"{name}{rank}" for rank in ranks for name in columns)])
            is_first = False
        cells = [
            cell
            for each in result
            for cell in (each.class_index, csv_cell(each.label or ""), f"{each.probability:.9g}")
        ]
        print_csv_row([csv_cell(escaped(path)), *cells])


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
