"""Where a net errs, as sections of a page: scores, confusions, classes, calibration, images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..evaluation.calibration import Calibration
from ..evaluation.evaluate import Evaluation, highest_losses, lowest_confidences
from ..formats.predictions import Predictions
from ..text import number_text, printable
from .calibration_chart import calibration_charts
from .class_chart import class_chart, class_rows
from .class_labels import class_labels, class_name
from .confusion_chart import LIMIT, confusion_chart
from .errors_text import Names
from .page import Block, Fact, Facts, Image, Images, Section, Table, Text

IMAGES = 24  # of each kind
CONFUSIONS = 15  # that are named
_KEY = 60  # characters of an image's name below it


class Pictures(NamedTuple):
    """Thumbnails of images.

    Attributes:
        found: by key, a JPEG, or the error of one that can't be shown.
        remark: why there are none at all; empty where there are.
    """

    found: Mapping[str, bytes | Exception] = {}
    remark: str = ""


def pictured_keys(predictions: Predictions) -> set[str]:
    """Return the keys of the images that `error_sections` shows."""
    numbers = {*highest_losses(predictions, IMAGES), *lowest_confidences(predictions, IMAGES)}
    return {predictions.keys[number] for number in numbers}


def error_sections(
    predictions: Predictions,
    evaluation: Evaluation,
    names: Names,
    pictures: Pictures,
    with_scores: bool = True,
) -> list[Section]:
    """Return the sections on where a net errs.

    Args:
        predictions: of at least one image.
        evaluation: of them.
        names: of the classes, or None.
        pictures: of `pictured_keys`.
        with_scores: whether to begin with the scores, which a report has in its verdict.
    """
    scores = _scores(evaluation) if with_scores else ()
    confusions = [*scores, _images_of(evaluation, names), *_confusions(evaluation, names)]
    chart = class_chart(evaluation, names)
    calibration = _calibration(evaluation.calibration)
    worst, unsure = highest_losses(predictions, IMAGES), lowest_confidences(predictions, IMAGES)
    return [
        Section("Where it errs", "errors", confusions),
        Section("Classes", "by-class", [chart, class_rows(evaluation, names)]),
        Section("Calibration", "calibrated", calibration),
        Section(
            "Highest losses",
            "worst",
            list(_images(predictions, worst, names, pictures)),
        ),
        Section(
            "Least sure",
            "unsure",
            list(_images(predictions, unsure, names, pictures)),
        ),
    ]


def _scores(evaluation: Evaluation) -> Iterator[Block]:
    facts = []
    for each in evaluation.accuracies:
        low, high = each.interval
        error = f"± {each.standard_error:.2g}; 95%: {low:.3f} to {high:.3f}"
        facts.append(Fact(f"top-{each.k}", number_text(each.value), error))
    error = "" if evaluation.loss_error is None else f"± {evaluation.loss_error:.2g}"
    yield Facts([*facts, Fact("loss", f"{evaluation.loss:.4g}", error)], large=True)
    yield Text("± is one standard error.", "note")


def _images_of(evaluation: Evaluation, names: Names) -> Text:
    labels = sum(each.images > 0 for each in evaluation.classes)
    return Text(
        f"{evaluation.images:,} images of {labels:,} classes. Always predicting"
        f" {class_name(evaluation.majority, names)} would score {evaluation.majority_accuracy:.3g}."
    )


def _calibration(calibration: Calibration) -> list[Block]:
    error = f"{calibration.error:.3g}"
    remark = Fact("ECE", error, f"expected calibration error, {len(calibration.bins)} bins")
    return [Facts([remark], large=True), *calibration_charts(calibration)]


def _confusions(evaluation: Evaluation, names: Names) -> Iterator[Block]:
    """Yield the matrix, and the largest confusions by name."""
    chart = confusion_chart(evaluation, names)
    if chart is None:
        yield Text(f"A matrix of more than {LIMIT:,} classes is not drawn.", "note")
    else:
        yield chart
    images = {each.class_index: each.images for each in evaluation.classes}
    wrong = [pair for pair in evaluation.confusions if pair.label != pair.predicted]
    rows = [
        [
            class_name(pair.label, names),
            class_name(pair.predicted, names),
            str(pair.images),
            f"{pair.images / images[pair.label]:.1%}",
        ]
        for pair in wrong[:CONFUSIONS]
    ]
    if not rows:
        yield Text("No image was taken for another class.")
    else:
        of = f" of {len(wrong):,}" if len(wrong) > len(rows) else ""
        heads = ("label", "predicted", "images", "share of the label")
        yield Table(heads, rows, (2, 3), f"The {len(rows)} most frequent confusions{of}")


def _images(
    predictions: Predictions, chosen: Sequence[int], names: Names, pictures: Pictures
) -> Iterator[Block]:
    if pictures.remark:
        yield Text(pictures.remark, "note")
        yield _image_table(predictions, chosen, names)
        return
    classes = [
        (int(predictions.labels[number]), int(predictions.predicted[number])) for number in chosen
    ]
    short = dict(
        zip(
            known := sorted({c for pair in classes for c in pair}),
            class_labels(known, names),
            strict=True,
        )
    )
    images = []
    for number, (label, predicted) in zip(chosen, classes, strict=True):
        key, sure = predictions.keys[number], f"{predictions.confidences[number]:.1%}"
        said = (
            f"right, {sure}"
            if predictions.correct[number]
            else f"taken for {short[predicted]}, {sure}"
        )
        detail = f"{said}\nloss {predictions.losses[number]:.3g}\n{printable(key, _KEY)}"
        found = pictures.found.get(key, KeyError("the dataset has no such image"))
        missing = "" if isinstance(found, bytes) else str(found.args[0])
        data = found if isinstance(found, bytes) else b""
        images.append(Image(data, "image/jpeg", short[label], detail=detail, missing=missing))
    yield Images(images, small=True)


def _image_table(predictions: Predictions, chosen: Sequence[int], names: Names) -> Table:
    rows = [
        [
            predictions.keys[number],
            class_name(int(predictions.labels[number]), names),
            class_name(int(predictions.predicted[number]), names),
            f"{predictions.confidences[number]:.4f}",
            f"{predictions.losses[number]:.4g}",
        ]
        for number in chosen
    ]
    return Table(("image", "label", "predicted", "probability", "loss"), rows, (3, 4))
