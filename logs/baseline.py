"""Baselines: the scores of an earlier result, in a file, and checks against them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import FormatError
from ..formats.files import read_bytes, write_files
from ..text import printable
from .expectation import Check, Expectation, Tolerance
from .result import LogResult
from .scores import LOSS, OTHER, find_score, score_names

FORMAT = 1


def baseline_of(result: LogResult, images: int | None) -> dict[str, Any]:
    """Return the plain data of a baseline file."""
    named = zip(score_names(result.scores), result.scores, strict=True)
    return {
        "format": FORMAT,
        "net": result.net,
        "net_digest": result.net_digest,
        "dataset": result.dataset,
        "images": images,
        "scores": {name: score.value for name, score in named if math.isfinite(score.value)},
    }


def write_baseline(path: Path, result: LogResult, images: int | None) -> None:
    """Write or replace a baseline file."""
    text = json.dumps(baseline_of(result, images), indent=2) + "\n"
    write_files({path: text.encode()}, force=True)


def read_baseline(path: Path) -> dict[str, Any]:
    """Read a baseline file. Older ones name the scores by their outputs.

    Raises:
        FormatError: there is no such file, or it is no baseline.
    """
    if not path.exists():
        raise FormatError(f"{printable(str(path))}: no baseline yet; --update-baseline makes it")
    try:
        plain = json.loads(read_bytes(path, 1 << 20, "a baseline"))
    except ValueError as error:
        raise FormatError(f"{printable(str(path))}: is not JSON: {error}") from None
    if not _is_baseline(plain):
        raise FormatError(f"{printable(str(path))}: is no baseline of sqgen gate")
    assert isinstance(plain, dict)
    return plain


def _is_baseline(plain: Any) -> bool:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        return False
    scores, images = plain.get("scores"), plain.get("images")
    return (
        isinstance(scores, dict)
        and bool(scores)
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in scores.values())
        and (images is None or isinstance(images, int))
    )


def check_baseline(
    baseline: dict[str, Any], result: LogResult, images: int | None, tolerance: Tolerance
) -> Iterator[Check]:
    """Check that net, data and images are the baseline's, and that no score is worse.

    Args:
        baseline: of `read_baseline`.
        result: the result.
        images: number of images that its scores average, if known.
        tolerance: of a score; a loss may also be 1% above.
    """
    yield from _check_identity(baseline, result, images)
    for name, value in baseline["scores"].items():
        score = find_score(result.scores, name)
        if score is not None and score.role == LOSS:
            of_baseline = 0.0 if tolerance.unit == "se" else tolerance.width(value, images)
            width = Tolerance(max(0.01 * abs(value), of_baseline))
            yield Expectation(name, "<=", value, width, True).check(result, images)
        else:
            # Whether a higher value of any other output is better is not known.
            relation = "=" if score is not None and score.role == OTHER else ">="
            yield Expectation(name, relation, value, tolerance, True).check(result, images)


def _check_identity(
    baseline: dict[str, Any], result: LogResult, images: int | None
) -> Iterator[Check]:
    """Yield a failed check for another net, other data, and fewer images."""
    current = baseline_of(result, images)
    for key, word in (("net", "net"), ("net_digest", "net's layers"), ("dataset", "dataset")):
        if baseline.get(key) and baseline[key] != current[key]:
            got = str(current[key] or "not known")
            yield Check(word, str(baseline[key]), got, reason=f"another {word} than the baseline's")
    expected = baseline.get("images")
    if expected and (images is None or images < expected):
        got = "not known" if images is None else f"{images}"
        yield Check("images", f"{expected}", got, reason="fewer images than the baseline's")
