"""Baselines: the scores of an earlier result, in a file, and checks against them.

A baseline of a result that kept predictions keeps the most probable class of each image in an .npz
beside it, whose name has its digest.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FormatError
from ..formats.files import BINARY_LIMIT, read_bytes, write_files
from ..json_form import dumps, from_json, loads, to_json
from ..text import printable
from .expectation import Check, Expectation, Tolerance
from .result import LogResult
from .scores import LOSS, OTHER, find_score, score_names

if TYPE_CHECKING:
    from ..formats.predictions import Predictions

FORMAT = 1
LIMIT = 1 << 20  # bytes
PREDICTIONS = ".npz"
STEM, DIGITS = 50, 16  # characters of the baseline's name and the digest in that of predictions
_NAME = re.compile(rf"[^/\\\0]{{0,{STEM}}}-[0-9a-f]{{{DIGITS}}}\.npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The content of a baseline file.

    Attributes:
        net, net_digest, dataset: as in `LogResult`.
        images: number of images that the scores average, if known.
        scores: by the names of `score_names`; older files name them by their outputs.
        predictions: the name of the .npz beside it, or None.
    """

    format: int
    net: str = ""
    net_digest: str | None = None
    dataset: str | None = None
    images: int | None = None
    scores: Mapping[str, float]
    predictions: str | None = None


def baseline_of(result: LogResult, images: int | None) -> Baseline:
    """Return the baseline that a result makes."""
    named = zip(score_names(result.scores), result.scores, strict=True)
    scores = {name: score.value for name, score in named if math.isfinite(score.value)}
    return Baseline(
        format=FORMAT,
        net=result.net,
        net_digest=result.net_digest,
        dataset=result.dataset,
        images=images,
        scores=scores,
    )


def write_baseline(
    path: Path, result: LogResult, images: int | None, predictions: Predictions | None = None
) -> None:
    """Write or replace a baseline file, and the predictions beside it."""
    baseline = to_json(baseline_of(result, images))
    files: dict[Path, bytes] = {}
    if predictions is not None:
        from ..formats.predictions import encode_predictions  # imports NumPy

        data = encode_predictions(predictions.first_classes(1), PREDICTIONS)
        stem = re.sub(r"[\\\0]", "_", path.stem)[:STEM]
        baseline["predictions"] = f"{stem}-{_digest(data)}{PREDICTIONS}"
        files[path.with_name(baseline["predictions"])] = data
    else:
        del baseline["predictions"]
    before = _predictions_beside(path)
    write_files({**files, path: dumps(baseline).encode()}, force=True)
    if before is not None and before not in files:
        before.unlink(missing_ok=True)


def _predictions_beside(path: Path) -> Path | None:
    """Return the predictions that the baseline in a file was written with; None without any."""
    try:
        name = read_baseline(path).predictions
        if name is not None:
            _read_named(path.with_name(name))
    except FormatError:
        return None
    return None if name is None else path.with_name(name)


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:DIGITS]


def read_baseline_predictions(path: Path, name: str) -> Predictions:
    """Return the predictions beside a baseline.

    Args:
        path: of the baseline.
        name: of the file.

    Raises:
        FormatError: it can't be read, or is another file than the baseline was written with.
    """
    from ..formats.predictions import decode_predictions  # imports NumPy

    file = path.with_name(name)
    return decode_predictions(_read_named(file), printable(str(file)))


def _read_named(file: Path) -> bytes:
    """Return the bytes of predictions, after checking that they have the digest of their name."""
    shown = printable(str(file))
    if not os.path.isfile(file):
        raise FormatError(
            f"{shown}: the predictions of the baseline are not there; fetch the file, or write both"
            " with --update-baseline"
        )
    data = read_bytes(file, BINARY_LIMIT, "a file of predictions")
    if not file.stem.endswith(_digest(data)):
        raise FormatError(
            f"{shown}: its bytes are not those of its name; fetch the file again, or write both"
            " with --update-baseline"
        )
    return data


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        FormatError: there is no such file, or it is no baseline.
    """
    name = printable(str(path))
    if not os.path.exists(path):
        raise FormatError(f"{name}: no baseline yet; --update-baseline makes it")
    try:
        baseline = from_json(Baseline, loads(read_bytes(path, LIMIT, "a baseline")))
        if baseline.format != FORMAT:
            raise ValueError(f"its format is {baseline.format}, not {FORMAT}")
        if not baseline.scores:
            raise ValueError("it has no scores")
        if not all(map(math.isfinite, baseline.scores.values())):
            raise ValueError("a score is not a number")
        if baseline.predictions is not None and not _NAME.fullmatch(baseline.predictions):
            raise ValueError("its predictions are no file beside it")
    except ValueError as error:
        reason = printable(str(error))
        raise FormatError(f"{name}: is no baseline of sqgen gate: {reason}") from None
    return baseline


def check_baseline(
    baseline: Baseline, result: LogResult, images: int | None, tolerance: Tolerance
) -> Iterator[Check]:
    """Check that net, data and images are the baseline's, and that no score is worse.

    Args:
        baseline: of `read_baseline`.
        result: the result.
        images: number of images that its scores average, if known.
        tolerance: of a score; a loss may also be 1% above.
    """
    yield from _check_identity(baseline, result, images)
    for name, value in baseline.scores.items():
        score = find_score(result.scores, name)
        if score is not None and score.role == LOSS:
            of_baseline = 0.0 if tolerance.unit == "se" else tolerance.width(value, images)
            width = Tolerance(max(0.01 * abs(value), of_baseline))
            yield Expectation(name, "<=", value, width, True).check(result, images)
        else:
            # Whether a higher value of any other output is better is not known.
            relation = "=" if score is not None and score.role == OTHER else ">="
            yield Expectation(name, relation, value, tolerance, True).check(result, images)


def _check_identity(baseline: Baseline, result: LogResult, images: int | None) -> Iterator[Check]:
    """Yield a failed check for another net, other data, and fewer images."""
    for word, before, now in (
        ("net", baseline.net, result.net),
        ("net's layers", baseline.net_digest, result.net_digest),
        ("dataset", baseline.dataset, result.dataset),
    ):
        if before and before != now:
            reason = f"another {word} than the baseline's"
            yield Check(word, before, now or "not known", reason=reason)
    if baseline.images and (images is None or images < baseline.images):
        got = "not known" if images is None else f"{images}"
        yield Check("images", f"{baseline.images}", got, reason="fewer images than the baseline's")
