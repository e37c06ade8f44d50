"""Where a net errs, as charts and sections of a page."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen.datasets.thumbnails import encode_thumbnail
from sqgen.evaluation.class_order import order_classes
from sqgen.evaluation.evaluate import evaluate_predictions
from sqgen.formats.predictions import Predictions
from sqgen.nets.imagenet import imagenet_class_names
from sqgen.report.charts import Chart, render_chart
from sqgen.report.class_labels import class_labels
from sqgen.report.confusion_chart import LIMIT, confusion_chart
from sqgen.report.error_sections import Pictures, error_sections, pictured_keys
from sqgen.report.errors_text import evaluation_json
from sqgen.report.page import Images, Page, Section, Table, Text, render_page

from .browser import NARROW, opened, overflow
from .test_evaluation import predictions_of, random_scores
from .test_page import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def sections_of(found: Predictions, names: Any = None, pictures: Any = None) -> list[Section]:
    evaluation = evaluate_predictions(found)
    return error_sections(found, evaluation, names, pictures or Pictures(remark="none here"))


def charts_of(sections: list[Section]) -> dict[str, Chart]:
    blocks = [block for section in sections for block in section.blocks]
    return {block.name: block for block in blocks if isinstance(block, Chart)}


# The order of classes


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    random=st.randoms(use_true_random=False),
    strays=st.integers(0, 3),
)
def test_classes_that_are_confused_stand_together(
    sizes: list[int], random: Any, strays: int
) -> None:
    blocks = [number for number, size in enumerate(sizes) for _ in range(size)]
    random.shuffle(blocks)
    count = len(blocks)
    matrix = np.array([[random.randint(8, 12) * (a == b) for b in blocks] for a in blocks])
    matrix += 30 * np.eye(count, dtype=int)
    for _ in range(strays):
        matrix[random.randrange(count), random.randrange(count)] += 1
    order = order_classes(matrix)
    assert sorted(order) == list(range(count))
    shown = [blocks[row] for row in order]
    changes = sum(a != b for a, b in itertools.pairwise(shown))
    assert changes == len(sizes) - 1


def test_classes_that_are_never_confused_keep_their_order() -> None:
    matrix = np.diag([3, 0, 2, 5, 1])
    assert order_classes(matrix) == [0, 1, 2, 3, 4]
    matrix[3, 1] = 1
    assert order_classes(matrix) in ([0, 1, 3, 2, 4], [0, 3, 1, 2, 4])


def test_the_most_similar_ends_meet() -> None:
    """A chain of classes, each taken for the next, is a chain in the matrix."""
    places = [3, 0, 4, 1, 5, 2]
    matrix = 10 * np.eye(6, dtype=int)
    for one, other in itertools.pairwise(places):
        matrix[one, other] += 3
    assert order_classes(matrix) in (places, places[::-1])


# Numbers


def test_charts_have_the_numbers_of_the_json() -> None:
    found = predictions_of(*random_scores(5, 300, 9))
    evaluation = evaluate_predictions(found)
    names = [f"name{number}" for number in range(9)]
    plain = evaluation_json(found, evaluation, names, 24)
    charts = charts_of(sections_of(found, names))
    assert charts.keys() == {"confusion", "classes", "calibration", "confidence"}
    pairs = {tuple(row[:3]) for row in charts["confusion"].rows}
    assert pairs == {tuple(pair.values()) for pair in plain["confusions"]}
    drawn = charts["confusion"].spec["data"]["values"]
    assert sum(images for _, _, images in drawn) == 300
    classes = {row[0]: tuple(row[1:5]) for row in charts["classes"].rows}
    assert classes == {
        each["class"]: (each["name"], each["images"], each["right"], each["recall"])
        for each in plain["classes"]
        if each["images"]
    }
    for row, each in zip(charts["calibration"].rows, plain["calibration"]["bins"], strict=True):
        assert row[:3] == (each["low"], each["high"], each["images"])
        assert row[3:] == (
            (each["accuracy"], each["confidence"]) if each["images"] else (None,) * 2
        )


def test_a_page_has_them_too() -> None:
    found = predictions_of(*random_scores(5, 300, 60))
    plain = evaluation_json(found, evaluate_predictions(found), None, 24)
    first, classes, _, worst, unsure = sections_of(found)
    [named] = [block for block in first.blocks if isinstance(block, Table)]
    wrong = [pair for pair in plain["confusions"] if pair["label"] != pair["predicted"]]
    assert [[int(str(cell)) for cell in row[:3]] for row in named.rows] == [
        [pair["label"], pair["predicted"], pair["images"]] for pair in wrong[: len(named.rows)]
    ]
    chart, table = classes.blocks
    assert isinstance(chart, Chart)
    assert isinstance(table, Table)
    assert len(chart.spec["data"]["values"]) == 36
    assert len(chart.rows) == len([each for each in plain["classes"] if each["images"]])
    assert len(table.rows) == len(plain["classes"])
    assert table.folded
    for section, key in ((worst, "highest_losses"), (unsure, "least_sure")):
        note, images = section.blocks
        assert isinstance(note, Text)
        assert isinstance(images, Table)
        assert [row[0] for row in images.rows] == [image["key"] for image in plain[key]]


@pytest.mark.parametrize("classes", [2, 60])
def test_any_number_of_classes_is_drawn(classes: int) -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    scores, labels = random_scores(3, 900, classes)
    for chart in charts_of(sections_of(predictions_of(scores, labels))).values():
        assert render_chart(chart, "svg").startswith(b"<svg")


def test_every_class_has_a_label_where_there_is_room() -> None:
    pytest.importorskip("vl_convert", reason="needs vl-convert, the extra sqgen[plot]")
    names = [f"name{number}" for number in range(50)]
    evaluation = evaluate_predictions(predictions_of(*random_scores(3, 900, 50)))
    chart = confusion_chart(evaluation, names)
    assert chart is not None
    texts = re.findall(r"<text[^>]*>(name\d+)</text>", render_chart(chart, "svg").decode())
    hidden = re.findall(r'opacity="0"[^>]*>(name\d+)<', render_chart(chart, "svg").decode())
    assert set(texts) == set(names)
    assert hidden == []


def test_a_matrix_is_small_and_not_endless() -> None:
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(1000, dtype=np.int32), 20)
    guesses = np.where(random.random(20_000) < 0.3, random.integers(0, 1000, 20_000), labels)
    one = np.ones((20_000, 1), np.float32)
    ranks = np.where(guesses == labels, 1, 2).astype(np.int32)
    keys = tuple(map(str, range(20_000)))
    found = Predictions(keys, labels, ranks, one[:, 0], guesses[:, None].astype(np.int32), one)
    chart = confusion_chart(evaluate_predictions(found), imagenet_class_names())
    assert chart is not None
    assert len(json.dumps(chart.spec)) < 200_000
    far = replace(found, labels=labels * 3 + random.integers(0, 3, 20_000).astype(np.int32))
    assert len(evaluate_predictions(far).classes) > LIMIT
    assert confusion_chart(evaluate_predictions(far), None) is None


# Names


def test_labels_are_short_and_all_different() -> None:
    names = ["n02012849 crane", "n03126707 crane", "n02127052 lynx, catamount", "", "x" * 90]
    assert class_labels(range(5), names, 20) == [
        *("crane 0", "crane 1", "lynx", "3"),
        "xxxxxxxx...xxxxxxxx",
    ]
    assert class_labels([7, 9], None) == ["7", "9"]
    labels = class_labels(range(1000), imagenet_class_names())
    assert len(set(labels)) == 1000
    assert max(map(len, labels)) <= 28


@pytest.mark.usefixtures("vega")
def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    scores, labels = random_scores(4, 60, len(HOSTILE))
    found = predictions_of(scores, labels)
    found = replace(found, keys=tuple(f"{HOSTILE[n % len(HOSTILE)]}{n}" for n in range(60)))
    keys = sorted(pictured_keys(found))
    picture = encode_thumbnail(np.full((200, 300, 3), 90, np.uint8))
    bad = ValueError(HOSTILE[0])
    pictures = Pictures({key: picture if number else bad for number, key in enumerate(keys)})
    sections = sections_of(found, HOSTILE, pictures)
    shown = [b for s in sections for b in s.blocks if isinstance(b, Images)]
    page = tmp_path / "page.html"
    matrix = charts_of(sections)["confusion"]
    spec = {**matrix.spec, "usermeta": {**matrix.spec["usermeta"], "canvas": True}}
    sections.append(Section("", "large", [replace(matrix, name="canvas", spec=spec)]))
    page.write_text(render_page(Page("errors", sections)), encoding="utf-8")
    with opened(browser, page, NARROW) as there:
        assert there.title() == "errors"
        assert overflow(there) <= 0
        assert there.locator("img").count() == sum(not i.missing for b in shown for i in b.images)
        assert there.locator(".missing").first.text_content() == HOSTILE[0]
        captions = there.locator("#worst figcaption small").all_text_contents()
        assert [text.splitlines()[-1] for text in captions] == [
            image.detail.splitlines()[-1] for image in shown[0].images
        ]
        cell = there.locator("#confusion .mark-rect path").first
        cell.hover()
        there.locator("#vg-tooltip-element.visible").wait_for()
        assert there.title() == "errors"
        colour = "() => views.get('canvas').scale('fill')('right')"
        light = there.evaluate(colour)
        there.locator("#theme").click()
        there.wait_for_function(f"(light) => ({colour})() !== light", arg=light)
        there.locator("#canvas canvas").scroll_into_view_if_needed()
        whole = there.evaluate("() => views.get('canvas').scale('x').domain()")
        there.locator("#canvas canvas").hover()
        there.keyboard.down("Control")
        there.mouse.wheel(0, -300)
        there.wait_for_function(
            "(width) => { const [a, b] = views.get('canvas').scale('x').domain();"
            " return b - a < width; }",
            arg=whole[1] - whole[0],
        )
