"""Names of scores: every spelling parses, printed names included; results are values."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqgen import DesignError, FormatError, LogResult, parse_log
from sqgen.logs.baseline import check_baseline, read_baseline
from sqgen.logs.expectation import Tolerance
from sqgen.logs.scores import LOSS, OTHER, TOP1, TOP_K, Score, find_score, score_names

from .conftest import DATA

LOG = DATA / "logs" / "test_digits.log.gz"
TOP1_SCORE = Score("accuracy_top1", 0.5, TOP1, 1)
TOP5_SCORE = Score("acc/top-5", 0.9, TOP_K, 5)
LOSS_SCORE = Score("softmax", 1.5, LOSS)
MSE = Score("mse", 2.0, OTHER)
SCORES = (TOP1_SCORE, TOP5_SCORE, LOSS_SCORE, MSE)


def second(score: Score) -> Score:
    return dataclasses.replace(score, net=1)


def test_a_score_goes_by_its_role_or_else_by_its_own_name() -> None:
    assert score_names(SCORES) == ["top1", "top5", "loss", "mse"]
    assert score_names([TOP1_SCORE, second(TOP1_SCORE)]) == ["top1", "net1:top1"]


def test_scores_that_share_a_role_go_by_their_own_names() -> None:
    heads = [dataclasses.replace(TOP1_SCORE, name=f"loss{i}/top-1") for i in (1, 3)]
    assert score_names([*heads, TOP5_SCORE]) == ["loss1/top-1", "loss3/top-1", "top5"]
    misnamed = Score("top5", 0.5, TOP1, 1)  # an Accuracy layer of top_k 1 whose top is called so
    assert score_names([misnamed, TOP5_SCORE]) == ["top1", "acc/top-5"]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        *((text, TOP1_SCORE) for text in ("top1", "top-1", "top_1", "TOP-1", "accuracy_top1")),
        *((text, TOP5_SCORE) for text in ("top5", "top-5", "acc/top-5")),
        *((text, LOSS_SCORE) for text in ("loss", "Loss", "softmax")),
        *((text, MSE) for text in ("mse",)),
        *((f"net1:{text}", second(TOP1_SCORE)) for text in ("top1", "top-1", "accuracy_top1")),
        *((text, None) for text in ("top2", "net2:top1", "top", "")),
    ],
)
def test_spellings(text: str, score: Score | None) -> None:
    assert find_score((*SCORES, second(TOP1_SCORE)), text) == score


def test_a_result_takes_the_same_names() -> None:
    result = LogResult("", scores=(*SCORES, second(LOSS_SCORE)))
    assert result.score("top-1") == result.score("top1") == TOP1_SCORE
    assert result.score("top-k") == TOP5_SCORE
    assert result.score("softmax", net=1) == second(LOSS_SCORE)
    heads = LogResult("", scores=(TOP1_SCORE, dataclasses.replace(TOP1_SCORE, name="other")))
    with pytest.raises(DesignError, match="may be accuracy_top1, other: name one"):
        heads.score("top1")


roles = st.sampled_from([(TOP1, 1), (TOP_K, 5), (LOSS, None), (OTHER, None)])
names = st.sampled_from(["top1", "top5", "loss", "a", "top-1", "net1:a"])


@given(st.lists(st.tuples(names, roles, st.integers(0, 2)), unique_by=lambda s: (s[0], s[2])))
def test_what_is_printed_is_accepted(drawn: list[tuple[str, Any, int]]) -> None:
    scores = [Score(name, 0.5, role, k, net=net) for name, (role, k), net in drawn]
    printed = score_names(scores)
    if len(set(printed)) == len(printed):  # `a` of net 1 and `net1:a` of net 0 print alike
        assert [find_score(scores, name) for name in printed] == scores


def test_a_baseline_of_output_names_still_holds(tmp_path: Path) -> None:
    result = parse_log(LOG)
    old = {"accuracy_top1": 0.794613, "accuracy_top5": 0.986532, "loss": 0.717864}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"format": 1, "images": 297, "scores": old}))
    checks = list(check_baseline(read_baseline(path), result, 297, Tolerance(0.0)))
    assert [(check.name, check.passed) for check in checks] == [
        ("top1", True),
        ("top5", True),
        ("loss", True),
    ]


def test_a_result_is_a_value() -> None:
    result = parse_log(LOG)
    for value in (result, result.segments[0], result.scores[0], result.batches[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)
    assert isinstance(result.scores, tuple)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": "297"}, "images: expected an integer, got '297'"),
        ({"images": True}, "images: expected an integer, got True"),
        ({"completed": 1}, "completed: expected true or false, got 1"),
        ({"scores": {}}, "scores: expected a list, got an object"),
        ({"scores": [{"value": 1}]}, "scores[0].name: is missing"),
        (
            {"scores": [{"name": "a", "value": None}]},
            "scores[0].value: expected a number, got null",
        ),
        ({"total_ms": {"all": "much"}}, "total_ms.all: expected a number, got 'much'"),
        ({"segments": [7]}, "segments[0]: expected an object, got 7"),
        ({"fatal": {}}, "fatal.message: is missing"),
        ({"tomorrow": 1}, "tomorrow: no such field"),
        ({"total_ms": {"all": 10**400}}, "one of more than 64 bits"),
    ],
)
def test_a_field_of_another_type_is_refused(change: dict[str, Any], words: str) -> None:
    plain = {**parse_log(LOG).as_dict(), **change}
    with pytest.raises(FormatError) as caught:
        LogResult.from_dict(plain)
    assert words in str(caught.value)


def test_an_output_may_be_called_nan() -> None:
    """Only a number is read as one."""
    result = LogResult("", scores=(Score("nan", float("inf"), LOSS),))
    assert LogResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result
