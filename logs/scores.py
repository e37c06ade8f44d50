"""Scores of test nets, and the names that sqgen prints and accepts for them.

A score is called `top1`, `top5` or `loss` after its role, or else by its output's own name. Where
several outputs of a net share a role, each goes by its own name. `net1:` before the name means the
second test net.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import DesignError
from ..text import did_you_mean, printable

# Roles, as in the JSON form of a result.
TOP1, TOP_K, LOSS, OTHER = "top-1", "top-k", "loss", "output"


@dataclass(frozen=True, slots=True)
class Score:
    """An output of a test net, averaged over its batches.

    Attributes:
        name: the output's own name.
        value: as printed; nan and inf are floats.
        role: `top-1`, `top-k`, `loss` or `output`.
        k: of `top-1` and `top-k`.
        by: `net` if the role is read from the net in the log, `name` if guessed from the name.
        net: the test net's number; 0 for `caffe test`.
        valid: false for an accuracy beside a loss that is not finite.
    """

    name: str
    value: float
    role: str = OTHER
    k: int | None = None
    by: str = "name"
    net: int = 0
    valid: bool = True

    @property
    def short_name(self) -> str:
        """`top1`, `top5`, `loss`, or the output's own name; the same for every test net."""
        if self.k:
            return f"top{self.k}"
        return LOSS if self.role == LOSS else self.name


def score_names(scores: Sequence[Score]) -> list[str]:
    """Return the name of each score, unique among `scores`."""
    shared = Counter((score.net, score.short_name) for score in scores)
    # An output called `top1` may have another role: its own name is taken.
    taken = {(score.net, score.name) for score in scores if score.name != score.short_name}
    names = []
    for score in scores:
        key = (score.net, score.short_name)
        name = score.name if shared[key] > 1 or key in taken else score.short_name
        names.append(f"net{score.net}:{name}" if score.net else name)
    return names


def find_score(scores: Sequence[Score], text: str) -> Score | None:
    """Return the score that a user means, or None.

    Args:
        scores: those of a result.
        text: a name of `score_names`, an output's own name, or another spelling of a role, such as
            `top-1`, `top_1` or `TOP1`; `net1:` before it for the second test net.

    Raises:
        DesignError: several scores fit.
    """
    names = score_names(scores)
    if text in names:
        return scores[names.index(text)]
    prefix = re.match(r"net([0-9]{1,3}):", text)
    net, name = (int(prefix[1]), text[prefix.end() :]) if prefix else (0, text)
    in_net = [score for score in scores if score.net == net]
    matches = [score for score in in_net if score.name == name] or [
        score for score in in_net if score.short_name == _role_name(name)
    ]
    if len(matches) > 1:
        several = ", ".join(score.name for score in matches)
        raise DesignError(f"{printable(text)} may be {printable(several)}: name one")
    return matches[0] if matches else None


def require_score(scores: Sequence[Score], text: str, where: str) -> Score:
    """Return the score that a user means.

    Args:
        scores: those to choose from.
        text: as for `find_score`.
        where: what they are of, for the message.

    Raises:
        DesignError: no score fits, or several.
    """
    score = find_score(scores, text)
    if score is None:
        names = score_names(scores)
        hint = did_you_mean(text, names) or f"; there: {', '.join(names) or 'none'}"
        raise DesignError(f"no score '{printable(text)}' in {where}{printable(hint)}")
    return score


def is_accuracy_name(text: str) -> bool:
    """Decide whether a name that a user typed is that of a top-k accuracy."""
    return re.fullmatch(r"(?:net\d+:)?top[-_]?\d+", text.lower()) is not None


def _role_name(text: str) -> str:
    """Return `top1` for `top-1`, `Top_1` and the like."""
    return re.sub("[-_]", "", text.lower())


def value_in_test(outputs: Mapping[str, float], score: Score, scores: Sequence[Score]) -> float:
    """Return a score's value in one test while training.

    Args:
        outputs: of that test.
        score: which of them.
        scores: all scores of the result, which identify the losses.

    Returns:
        The value; nan for an accuracy beside a loss that is not finite.
    """
    losses = [other.name for other in scores if other.role == LOSS and other.net == score.net]
    if score.role != LOSS and not all(math.isfinite(outputs.get(name, 0.0)) for name in losses):
        return math.nan
    return outputs.get(score.name, math.nan)
