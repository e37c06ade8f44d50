"""What a log says happened: the result, and its JSON form (docs/log.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import FormatError
from ..text import printable

FORMAT = 1  # of the JSON form; raised when a reader would have to change

TOP1, TOP_K, LOSS, OTHER = "top-1", "top-k", "loss", "output"


@dataclass
class Score:
    """An output of a test net, averaged over its batches.

    Attributes:
        name: the output's name.
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


@dataclass
class TrainRow:
    """A displayed iteration. Seconds count from the segment's first line."""

    iteration: int
    seconds: float | None
    loss: float | None
    lr: float | None
    outputs: dict[str, float]


@dataclass
class TestRow:
    """A test while training, of one net."""

    iteration: int
    seconds: float | None
    net: int
    outputs: dict[str, float]


@dataclass
class BatchRow:
    """A batch of `caffe test`."""

    batch: int
    outputs: dict[str, float]


@dataclass
class LayerTime:
    """A layer of `caffe time`, in milliseconds."""

    layer: str
    forward: float | None = None
    backward: float | None = None


@dataclass
class Segment:
    """One run within a log: from a start or a resume to the next.

    Attributes:
        start, end: stamps as printed, `20261123 02:37:17.360940` or without the year.
        seconds: between them.
        resumed_from: the solver state, if any.
        first_iteration, last_iteration: of the displays and tests.
        train, test: the rows; empty if they were not asked for.
        done: whether it came to its end.
    """

    start: str | None = None
    end: str | None = None
    seconds: float | None = None
    resumed_from: str | None = None
    first_iteration: int | None = None
    last_iteration: int | None = None
    train: list[TrainRow] = field(default_factory=list)
    test: list[TestRow] = field(default_factory=list)
    done: bool = False


@dataclass
class Fatal:
    """A fatal error: what Caffe said and where, what it means, what to do."""

    message: str
    place: str
    cause: str
    remedy: str


@dataclass
class Trouble:
    """Something that went wrong in a run that did not say so, and what helped others.

    `segment` is the run's number within the log.
    """

    name: str
    message: str
    remedy: str
    segment: int = 0


@dataclass
class LogResult:
    """Everything a log says.

    Attributes:
        source: the log's name.
        command: `train`, `test`, `time` or `unknown`.
        device: `CPU`, or `GPU` and its numbers.
        net: the name of the net.
        net_digest: of the TEST net's layers, but for where its data lies; None if not in the log.
        dataset: a digest of the data that was tested on, where the runner knows it.
        solver: the solver's fields as Caffe printed them, empty without one.
        start, end: stamps of the first and last line.
        segments: the runs within the log, in order; one for `caffe test` and `caffe time`.
        scores: the last word on every output of every test net.
        images: images that the scores are of, where the log tells the batch size.
        batch_size: of the TEST data layer.
        has_test_loss: whether a test net has a loss that could tell a bad accuracy.
        batches: the rows of `caffe test`.
        layer_times: of `caffe time`; the entry with an empty name holds the sums.
        snapshots, finetuned_from, signals, ignored_layers: as told.
        warnings: what is odd about the log or the run.
        troubles: see `Trouble`.
        fatal: the error that ended it, or None.
        completed: whether the last run came to its end.
        run: what the runner knows beside the log (docs/running.md); empty for a bare log.
    """

    source: str
    command: str = "unknown"
    device: str = ""
    net: str = ""
    net_digest: str | None = None
    dataset: str | None = None
    solver: dict[str, Any] = field(default_factory=dict)
    start: str | None = None
    end: str | None = None
    segments: list[Segment] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    images: int | None = None
    batch_size: int | None = None
    has_test_loss: bool = False
    batches: list[BatchRow] = field(default_factory=list)
    layer_times: list[LayerTime] = field(default_factory=list)
    total_ms: dict[str, float] = field(default_factory=dict)
    snapshots: list[str] = field(default_factory=list)
    finetuned_from: list[str] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    ignored_layers: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    fatal: Fatal | None = None
    completed: bool = False
    run: dict[str, Any] = field(default_factory=dict)

    def score(self, role: str, net: int = 0, k: int | None = None) -> Score | None:
        """The score of a role: `top-1`, `top-5` (`top5` will do) or `loss`.

        `top-k` is that of the largest k.
        """
        number = re.fullmatch(r"top[-_]?(\d+)", role)
        if number is not None:
            k = int(number[1])
            role = TOP1 if k == 1 else TOP_K
        found = [one for one in self.scores if one.role == role and one.net == net]
        if k is not None:
            found = [one for one in found if one.k == k]
        return max(found, key=lambda one: one.k or 0) if found else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; nan and inf are the strings `nan`, `inf`, `-inf`."""
        plain = to_json({"format": FORMAT, **asdict(self)})
        assert isinstance(plain, dict)
        return plain


def test_value(outputs: dict[str, float], score: Score, scores: Sequence[Score]) -> float:
    """A test's value; nan for an accuracy beside a loss that is not finite."""
    losses = [one.name for one in scores if one.role == LOSS and one.net == score.net]
    if score.role != LOSS and not all(math.isfinite(outputs.get(name, 0.0)) for name in losses):
        return math.nan
    return outputs.get(score.name, math.nan)


def from_dict(plain: dict[str, Any]) -> LogResult:
    """The result of its JSON form.

    Raises:
        FormatError: it is not one, or of another format.
    """
    if plain.get("format") != FORMAT:
        raise FormatError(f"is no result of sqgen log parse (format {FORMAT})")
    values = {key: value for key, value in plain.items() if key != "format"}
    try:
        for key, kind in _LISTS.items():
            values[key] = [_filled(kind, item) for item in values.get(key, [])]
        for segment in values["segments"]:
            segment.train = [_filled(TrainRow, row) for row in segment.train]
            segment.test = [_filled(TestRow, row) for row in segment.test]
        if values.get("fatal") is not None:
            values["fatal"] = _filled(Fatal, values["fatal"])
        result = LogResult(**values)
        for score in result.scores:
            if not isinstance(score.name, str) or not isinstance(score.value, int | float):
                raise ValueError("a score without a name or a value")
        if not isinstance(result.images, int | None) or not isinstance(result.completed, bool):
            raise ValueError("images or completed is something else")
        return result
    except (AttributeError, TypeError, ValueError) as error:
        raise FormatError(f"is no result of sqgen log parse: {printable(str(error))}") from None


_LISTS = {
    "segments": Segment,
    "scores": Score,
    "batches": BatchRow,
    "layer_times": LayerTime,
    "troubles": Trouble,
}
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _filled(kind: Any, plain: dict[str, Any]) -> Any:
    """A dataclass of plain data, with the words for nan and inf as floats again."""
    return kind(**{key: _unplain(value) for key, value in plain.items()})


def _unplain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unplain(item) for key, item in value.items()}
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def to_json(value: Any) -> Any:
    """Plain data as JSON has it: nan and inf in words."""
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
