"""Numbers of an evaluation, against scikit-learn, brute force and their own laws."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sqgen.evaluation.calibration import calibrate
from sqgen.evaluation.confusion import class_results, count_confusions
from sqgen.evaluation.confusion import confusion_matrix as our_matrix
from sqgen.evaluation.evaluate import evaluate_predictions, highest_losses, lowest_confidences
from sqgen.evaluation.intervals import mean_error, wilson_interval
from sqgen.evaluation.mcnemar import exact_mcnemar
from sqgen.evaluation.paired import compare_predictions
from sqgen.evaluation.ranking import rank_classes
from sqgen.formats.predictions import Predictions

counts = st.integers(0, 60)


def random_scores(seed: int, images: int = 400, classes: int = 7) -> tuple[Any, Any]:
    """Scores of which some are right, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes - 1, images)  # a class without images
    scores = random.normal(0, 1, (images, classes)).astype(np.float32)
    scores[np.arange(images), labels] += 1.5
    return scores, labels


def predictions_of(scores: Any, labels: Any, top: int = 5, prefix: str = "k") -> Predictions:
    """The predictions of scores, by NumPy alone."""
    ranks, classes = rank_classes(scores, labels, top)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    probabilities = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
    losses = -np.log(np.take_along_axis(probabilities, labels[:, None], 1)[:, 0])
    return Predictions(
        tuple(f"{prefix}{number}" for number in range(len(labels))),
        labels.astype(np.int32),
        ranks.astype(np.int32),
        losses,
        classes.astype(np.int32),
        np.take_along_axis(probabilities, classes, 1),
    )


@given(
    scores=arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.sampled_from([0.0, 1.0, 2.0]),
    ),
    top=st.integers(1, 8),
    data=st.data(),
)
def test_ranks_are_those_of_caffes_accuracy(scores: Any, top: int, data: st.DataObject) -> None:
    """With ties everywhere: accuracy_layer.cpp counts the classes that are at least as good."""
    images, classes = scores.shape
    labels = np.array([data.draw(st.integers(0, classes - 1)) for _ in range(images)])
    ranks, first = rank_classes(scores, labels, top)
    for row in range(images):
        label = labels[row]
        better = sum(scores[row, c] >= scores[row, label] for c in range(classes)) - 1
        assert ranks[row] == better + 1
        wanted = sorted(range(classes), key=lambda c: (-scores[row, c], c == label, c))[:top]
        assert first[row].tolist() == wanted


@pytest.mark.parametrize("seed", range(3))
def test_as_scikit_learn(seed: int) -> None:
    from sklearn.metrics import classification_report, confusion_matrix, log_loss

    scores, labels = random_scores(seed)
    found = predictions_of(scores, labels)
    evaluation = evaluate_predictions(found)
    report = classification_report(
        labels, found.predicted, output_dict=True, zero_division=float("nan")
    )
    assert evaluation.accuracies[0].value == pytest.approx(report["accuracy"])
    for one in evaluation.classes:
        row = report[str(one.class_index)]
        assert one.images == row["support"]
        assert one.recall == pytest.approx(row["recall"], nan_ok=True)
        assert one.precision == pytest.approx(row["precision"], nan_ok=True)
    classes, matrix = our_matrix(list(evaluation.confusions))
    np.testing.assert_array_equal(matrix, confusion_matrix(labels, found.predicted, labels=classes))
    powers = np.exp(scores.astype(np.float64))
    wanted = log_loss(labels, powers / powers.sum(1, keepdims=True), labels=range(7))
    assert evaluation.loss == pytest.approx(wanted, rel=1e-6)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_confusions_add_up(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = map(np.array, zip(*pairs, strict=True))
    confusions = count_confusions(labels, predicted)
    assert sum(pair.images for pair in confusions) == len(pairs)
    counted = [pair.images for pair in confusions]
    assert counted == sorted(counted, reverse=True)
    results = class_results(confusions)
    assert sum(one.images for one in results) == sum(one.predicted for one in results) == len(pairs)
    assert sum(one.right for one in results) == sum(a == b for a, b in pairs)
    for one in results:
        others = [b for a, b in pairs if a == one.class_index != b]
        most = max(map(others.count, others), default=0)
        assert (one.confusion.images if one.confusion else 0) == most


def fraction_mcnemar(b: int, c: int) -> Fraction:
    """The definition, in fractions."""
    n = b + c
    tail = sum((Fraction(math.comb(n, i), 2**n) for i in range(min(b, c) + 1)), Fraction(0))
    return min(Fraction(1), 2 * tail)


@given(b=counts, c=counts)
def test_mcnemar_is_exact(b: int, c: int) -> None:
    assert exact_mcnemar(b, c) == pytest.approx(float(fraction_mcnemar(b, c)), rel=1e-14)
    assert exact_mcnemar(b, c) == exact_mcnemar(c, b)
    assert 0 < exact_mcnemar(b, c) <= 1
    if b >= c:
        assert exact_mcnemar(b + 1, c) <= exact_mcnemar(b, c)


@pytest.mark.parametrize(
    ("wrong", "right", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (6, 0, 2 / 64),
        (12, 3, 0.03515625),
        (59_700, 60_300, 0.0837),  # a normal distribution says as much
        (0, 5000, 0.0),
    ],
)
def test_mcnemar_of_known_numbers(wrong: int, right: int, p: float) -> None:
    assert exact_mcnemar(wrong, right) == pytest.approx(p, rel=2e-3)


@given(st.lists(st.integers(0, 14), min_size=1, max_size=12), st.data())
def test_a_calibrated_net_has_no_error(bins: list[int], data: st.DataObject) -> None:
    """In each bin as many right as the confidence says: k of 30 at confidence k / 30."""
    confidences, correct = [], []
    for number in set(bins):
        right = data.draw(st.sampled_from([2 * number + 1, 2 * number + 2]))
        confidences += [right / 30] * 30
        correct += [True] * right + [False] * (30 - right)
    found = calibrate(np.array(confidences), np.array(correct))
    assert found.error == pytest.approx(0, abs=1e-12)
    assert sum(each.images for each in found.bins) == len(correct)


@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=50),
    st.integers(1, 20),
)
def test_calibration_by_its_formula(images: list[tuple[float, bool]], bins: int) -> None:
    found = calibrate(np.array([c for c, _ in images]), np.array([r for _, r in images]), bins)
    error = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [x for x in images if low < x[0] <= high or (not number and not x[0])]
        assert found.bins[number].images == len(inside)
        error += abs(sum(r for _, r in inside) - sum(c for c, _ in inside)) / len(images)
    assert found.error == pytest.approx(error, abs=1e-9)
    assert 0 <= found.error <= 1


@given(right=st.integers(0, 200), wrong=st.integers(0, 200))
def test_wilson_holds_the_accuracy(right: int, wrong: int) -> None:
    images = right + wrong
    if images:
        low, high = wilson_interval(right, images)
        assert 0 <= low <= right / images <= high <= 1
        p = Fraction(right, images)
        for bound in (low, high):  # its definition: z standard errors of the bound itself
            if 0 < bound < 1:
                z = abs(float(p) - bound) / math.sqrt(bound * (1 - bound) / images)
                assert z == pytest.approx(1.96, abs=1e-3)


def test_the_error_of_a_mean() -> None:
    values = np.random.default_rng(1).gamma(1, 1, 500)
    assert mean_error(values.tolist()) == pytest.approx(values.std(ddof=1) / math.sqrt(500))
    assert mean_error([1.0]) is None


def test_majority_and_worst_images() -> None:
    scores, labels = random_scores(4)
    found = predictions_of(scores, labels)
    evaluation = evaluate_predictions(found)
    frequent = np.bincount(labels)
    assert evaluation.majority == int(frequent.argmax())
    assert evaluation.majority_accuracy == frequent.max() / len(labels)
    worst = highest_losses(found, 9)
    assert found.losses[worst].tolist() == sorted(found.losses.tolist(), reverse=True)[:9]
    unsure = lowest_confidences(found, 9)
    assert found.confidences[unsure].tolist() == sorted(found.confidences.tolist())[:9]


def outcomes(before: list[bool], after: list[bool]) -> tuple[Predictions, Predictions]:
    """Two tests of the same images, the second in the opposite order."""
    made = []
    for right in (before, after):
        scores = np.where(np.array(right)[:, None], [[1.0, 0.0]], [[0.0, 1.0]]).astype(np.float32)
        made.append(predictions_of(scores, np.zeros(len(right), int)))
    first, second = made
    order = np.arange(len(after))[::-1]
    columns = {field.name: getattr(second, field.name)[order] for field in fields(second)[1:]}
    return first, replace(second, keys=second.keys[::-1], **columns)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_images_are_paired_by_key(images: list[tuple[bool, bool]]) -> None:
    before, after = outcomes([a for a, _ in images], [b for _, b in images])
    found = compare_predictions(before, after)
    assert found.images == len(images)
    assert sorted(found.newly_wrong) == sorted(
        f"k{i}" for i, x in enumerate(images) if x == (True, False)
    )
    assert sorted(found.newly_right) == sorted(
        f"k{i}" for i, x in enumerate(images) if x == (False, True)
    )
    assert (found.only_before, found.only_after, found.relabelled) == (0, 0, 0)
    back = compare_predictions(after, before)
    assert back.p_value == found.p_value
    assert set(back.newly_wrong) == set(found.newly_right)


def test_sets_that_differ_are_said() -> None:
    scores, labels = random_scores(5, 20)
    before = predictions_of(scores[:12], labels[:12])
    relabelled = labels.copy()
    relabelled[0] = (labels[0] + 1) % 7
    after = predictions_of(scores[:15], relabelled[:15])
    found = compare_predictions(before.first_classes(1), after)
    assert (found.images, found.only_before, found.only_after, found.relabelled) == (12, 0, 3, 1)
    assert ", 3 only now, 1 with another label" in str(found)
    nothing = compare_predictions(before, predictions_of(scores[:3], labels[:3], prefix="other"))
    assert (nothing.images, nothing.p_value) == (0, 1.0)
    assert "12 only before, 3 only now" in str(nothing)


def test_equal_keys_are_paired_in_their_order() -> None:
    found = {}
    for name, right in (("before", [True, False, True]), ("after", [True, True, False])):
        scores = np.where(np.array(right)[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
        plain = predictions_of(scores, np.zeros(3, int))
        found[name] = replace(plain, keys=("a", "a", "b"))
    compared = compare_predictions(found["before"], found["after"])
    assert (compared.newly_wrong, compared.newly_right, compared.images) == (("b",), ("a",), 3)


def test_every_pair_of_outcomes() -> None:
    for before, after in product([True, False], repeat=2):
        found = compare_predictions(*outcomes([before], [after]))
        assert len(found.newly_wrong) == (before and not after)
        assert len(found.newly_right) == (after and not before)
