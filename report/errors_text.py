"""Where a net errs, as text, JSON and CSV: scores, classes, confusions, images."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import FormatError
from ..evaluation.confusion import ClassResult, confusion_matrix
from ..evaluation.evaluate import Evaluation, highest_losses, lowest_confidences
from ..evaluation.paired import PairedComparison
from ..formats.predictions import Predictions
from ..text import csv_cell, escaped, number_text
from .table import table

Names = Sequence[str] | None  # of the classes, in their order

MATRIX_WIDTH = 80  # columns of a confusion matrix as text
MATRIX_CLASSES = 5000  # of a confusion matrix as CSV, at most
COUNT = 10  # images to list of each kind
FREQUENT = 10  # confusions to list where their matrix is too wide


def class_text(number: int, names: Names) -> str:
    """Return a class's number and name."""
    return str(number) if names is None else f"{number} {names[number]}"


def format_evaluation(
    predictions: Predictions, evaluation: Evaluation, names: Names, count: int, width: int | None
) -> Iterator[str]:
    """Yield all there is to say: scores, images, confusions, classes.

    Args:
        predictions: the predictions.
        evaluation: of them.
        names: of the classes, or None.
        count: how many images to list of each kind.
        width: of the terminal.
    """
    yield f"{evaluation.images:,} images of {_label_count(evaluation):,} classes"
    yield ""
    yield from format_scores(evaluation, names, width)
    yield from format_details(predictions, evaluation, names, count, width)


def _label_count(evaluation: Evaluation) -> int:
    return sum(each.images > 0 for each in evaluation.classes)


def format_scores(
    evaluation: Evaluation, names: Names, width: int | None, with_accuracies: bool = True
) -> list[str]:
    """Return a table of the scores, with the majority's beside top-1."""
    rows = []
    for each in evaluation.accuracies if with_accuracies else ():
        low, high = each.interval
        numbers = number_text(each.value), f"{each.standard_error:.2g}", f"{low:.3f} to {high:.3f}"
        rows.append([f"top{each.k}", *numbers, f"{each.right:,} of {evaluation.images:,}"])
    majority = number_text(evaluation.majority_accuracy)
    always = f"always {class_text(evaluation.majority, names)}"
    rows.insert(1, ["majority", majority, "", "", always])
    error = "" if evaluation.loss_error is None else f"{evaluation.loss_error:.2g}"
    rows.append(["loss", number_text(evaluation.loss), error, "", "nats an image"])
    calibration = evaluation.calibration
    remark = f"calibration error, {len(calibration.bins)} bins"
    rows.append(["ECE", f"{calibration.error:.3g}", "", "", remark])
    heads = ["score", "value", "standard error", "95% interval", ""]
    return table(heads, rows, right=(1, 2), width=width)


def format_details(
    predictions: Predictions, evaluation: Evaluation, names: Names, count: int, width: int | None
) -> Iterator[str]:
    """Yield the images with the highest losses and the least sure, confusions and classes."""
    for title, chosen in (
        ("highest losses", highest_losses(predictions, count)),
        ("least sure", lowest_confidences(predictions, count)),
    ):
        yield from ("", f"{title}:")
        yield from _image_table(predictions, chosen, names, width)
    yield from ("", "confusion matrix (rows: labels, columns: predictions):")
    yield from format_confusion(evaluation, names)
    yield from ("", "classes, the least recalled first:")
    yield from class_table(evaluation, names, width)


def _image_table(
    predictions: Predictions, chosen: Sequence[int], names: Names, width: int | None
) -> list[str]:
    rows = [
        [
            predictions.keys[number],
            class_text(int(predictions.labels[number]), names),
            class_text(int(predictions.predicted[number]), names),
            f"{predictions.confidences[number]:.4f}",
            f"{predictions.losses[number]:.4g}",
        ]
        for number in chosen
    ]
    lines = table(["image", "label", "predicted", "probability", "loss"], rows, right=(3, 4))
    if width is None or max(map(len, lines)) <= width:
        return lines
    # A name that is shortened names no image.
    return [
        line
        for key, label, predicted, probability, loss in rows
        for line in (key, f"    {label}, predicted {predicted} ({probability}), loss {loss}")
    ]


def format_confusion(evaluation: Evaluation, names: Names) -> list[str]:
    """Return the confusion matrix as a table; where that is too wide, the frequent confusions."""
    if len(evaluation.classes) <= MATRIX_WIDTH // 3:
        classes, matrix = confusion_matrix(list(evaluation.confusions))
        rows = [
            [class_text(number, names), *(str(n) if n else "." for n in row)]
            for number, row in zip(classes, matrix.tolist(), strict=True)
        ]
        right = range(1, len(classes) + 1)
        lines = table(["", *map(str, classes)], rows, right, width=MATRIX_WIDTH)
        if max(map(len, lines)) <= MATRIX_WIDTH:
            return lines
    wrong = [pair for pair in evaluation.confusions if pair.label != pair.predicted]
    rows = [
        [str(pair.images), class_text(pair.label, names), class_text(pair.predicted, names)]
        for pair in wrong[:FREQUENT]
    ]
    return [
        "too wide for text (--confusion FILE writes it as CSV); most frequent confusions:",
        *table(["images", "label", "predicted"], rows, right=(0,), width=MATRIX_WIDTH),
    ]


def by_recall(each: ClassResult) -> tuple[bool, float, int]:
    """Return a key that sorts the least recalled first, and those without images last."""
    return not each.images, each.recall if each.images else 0.0, -each.images


def class_table(evaluation: Evaluation, names: Names, width: int | None) -> list[str]:
    """Return a table of the classes, the least recalled first."""
    rows = []
    for each in sorted(evaluation.classes, key=by_recall):
        confusion = each.confusion
        taken = (
            ""
            if confusion is None
            else f"{class_text(confusion.predicted, names)} ({confusion.images})"
        )
        recall = f"{each.recall:.3f}" if each.images else ""
        precision = f"{each.precision:.3f}" if each.predicted else ""
        shown = class_text(each.class_index, names)
        rows.append([shown, str(each.images), recall, precision, taken])
    heads = ["class", "images", "recall", "precision", "most confused with"]
    return table(heads, rows, right=(1, 2, 3), width=width)


def format_comparison(found: PairedComparison, count: int) -> Iterator[str]:
    """Yield what changed between two tests, and up to `count` images of each kind."""
    yield str(found)
    for title, keys in (("newly wrong", found.newly_wrong), ("newly right", found.newly_right)):
        if keys:
            more = f" ({len(keys) - count:,} more)" if len(keys) > count else ""
            yield from ("", f"{title}{more}:")
            yield from (f"  {key}" for key in keys[:count])


def confusion_csv(evaluation: Evaluation, names: Names) -> str:
    """Return the confusion matrix as CSV: a row for each label, a column for each prediction.

    Raises:
        FormatError: it would be huge.
    """
    if len(evaluation.classes) > MATRIX_CLASSES:
        raise FormatError(
            f"a confusion matrix of {len(evaluation.classes):,} classes, and {MATRIX_CLASSES:,} are"
            " the most; --json has the confusions that occur"
        )
    classes, matrix = confusion_matrix(list(evaluation.confusions))
    shown = [csv_cell(escaped(class_text(number, names))) for number in classes]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label \\ predicted", *shown])
    writer.writerows([name, *row] for name, row in zip(shown, matrix.tolist(), strict=True))
    return text.getvalue()


def evaluation_json(
    predictions: Predictions, evaluation: Evaluation, names: Names, count: int
) -> dict[str, Any]:
    """Return an evaluation as plain data (docs/errors.md)."""
    majority = {"class": evaluation.majority, "value": evaluation.majority_accuracy}
    bins = [each._asdict() for each in evaluation.calibration.bins]
    worst, unsure = highest_losses(predictions, count), lowest_confidences(predictions, count)
    return {
        "images": evaluation.images,
        "accuracies": [asdict(each) for each in evaluation.accuracies],
        "loss": {"value": evaluation.loss, "standard_error": evaluation.loss_error},
        "majority": majority,
        "calibration": {"error": evaluation.calibration.error, "bins": bins},
        "classes": [_class_json(each, names) for each in evaluation.classes],
        "confusions": [pair._asdict() for pair in evaluation.confusions],
        "highest_losses": [_image_json(predictions, number) for number in worst],
        "least_sure": [_image_json(predictions, number) for number in unsure],
    }


def _class_json(result: ClassResult, names: Names) -> dict[str, Any]:
    return {
        "class": result.class_index,
        "name": None if names is None else names[result.class_index],
        "images": result.images,
        "predicted": result.predicted,
        "right": result.right,
        "recall": result.recall,
        "precision": result.precision,
    }


def _image_json(predictions: Predictions, number: int) -> dict[str, Any]:
    return {
        "key": predictions.keys[number],
        "label": int(predictions.labels[number]),
        "predicted": int(predictions.predicted[number]),
        "probability": float(predictions.confidences[number]),
        "loss": float(predictions.losses[number]),
    }
