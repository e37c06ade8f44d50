"""The result of a log: a frozen value, and its JSON form (docs/log.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import FormatError
from ..json_form import from_json, to_json
from ..text import printable
from .scores import TOP_K, Score, find_score

FORMAT = 1  # of the JSON form; raised when a reader would have to change


@dataclass(frozen=True, slots=True)
class TrainRow:
    """A displayed iteration. Seconds count from the segment's first line."""

    iteration: int
    seconds: float | None
    loss: float | None
    lr: float | None
    outputs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TestRow:
    """A test while training, of one net."""

    iteration: int
    seconds: float | None
    net: int
    outputs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch of `caffe test`."""

    batch: int
    outputs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LayerTime:
    """A layer of `caffe time`, in milliseconds."""

    layer: str
    forward: float | None = None
    backward: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One run within a log: from a start or a resume to the next.

    Attributes:
        start, end: stamps as printed, `20261123 02:37:17.360940` or without the year.
        seconds: between them.
        resumed_from: the solver state, if any.
        first_iteration: of the displays and tests.
        last_iteration: of the displays, tests and snapshots.
        train, test: the rows; empty if they were not stored.
        done: whether the run completed.
    """

    start: str | None = None
    end: str | None = None
    seconds: float | None = None
    resumed_from: str | None = None
    first_iteration: int | None = None
    last_iteration: int | None = None
    train: tuple[TrainRow, ...] = ()
    test: tuple[TestRow, ...] = ()
    done: bool = False


@dataclass(frozen=True, slots=True)
class Fatal:
    """A fatal error: Caffe's message, its place in Caffe's source, the cause and the remedy."""

    message: str
    place: str
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure that a run did not report itself, and its usual remedy.

    `segment` is the run's number within the log.
    """

    name: str
    message: str
    remedy: str
    segment: int = 0


@dataclass(frozen=True, slots=True)
class LogResult:
    """The result of a log.

    Attributes:
        source: the log's name.
        command: `train`, `test`, `time` or `unknown`.
        device: `CPU`, or `GPU` and its numbers.
        net: the name of the net.
        net_digest: of the TEST net's layers, wherever their data lies; None if not in the log.
        dataset: a digest of the data that was tested on, where the runner knows it.
        solver: the solver's fields as Caffe printed them, empty without one.
        start, end: stamps of the first and last line.
        segments: the runs within the log, in order; one for `caffe test` and `caffe time`.
        scores: the last value of every output of every test net.
        images: number of images that the scores average, where the log has the batch size.
        batch_size: of the TEST data layer.
        has_test_loss: whether a test net has a loss, which would show a diverged net.
        batches: the rows of `caffe test`.
        layer_times: of `caffe time`.
        total_ms: of `caffe time`, its sums and averages by name.
        snapshots, finetuned_from, signals, ignored_layers: as logged.
        warnings: what is odd about the log or the run.
        troubles: see `Trouble`.
        fatal: the error that ended the run, or None.
        completed: whether the last run completed.
        run: what the runner adds to the log, plain data (docs/running.md); empty for a bare log.
    """

    source: str
    command: str = "unknown"
    device: str = ""
    net: str = ""
    net_digest: str | None = None
    dataset: str | None = None
    solver: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    end: str | None = None
    segments: tuple[Segment, ...] = ()
    scores: tuple[Score, ...] = ()
    images: int | None = None
    batch_size: int | None = None
    has_test_loss: bool = False
    batches: tuple[BatchRow, ...] = ()
    layer_times: tuple[LayerTime, ...] = ()
    total_ms: Mapping[str, float] = field(default_factory=dict)
    snapshots: tuple[str, ...] = ()
    finetuned_from: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    ignored_layers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    fatal: Fatal | None = None
    completed: bool = False
    run: Mapping[str, Any] = field(default_factory=dict)

    def score(self, name: str, net: int = 0) -> Score | None:
        """Return a score, or None where the result has none of that name.

        Args:
            name: `top1`, `top5`, `loss` or an output's own name; `top-1` and `top_1` are `top1`,
                and `top-k` is the accuracy of the largest k.
            net: the test net's number.

        Raises:
            DesignError: several outputs are that.
        """
        scores = [score for score in self.scores if score.net == net]
        if name == TOP_K:
            accuracies = [score for score in scores if score.role == TOP_K]
            return max(accuracies, key=lambda score: score.k or 0) if accuracies else None
        return find_score(scores, f"net{net}:{name}")

    @property
    def stops(self) -> list[str]:
        """The signals that may have stopped the run: all but snapshots out of turn."""
        return [text for text in self.signals if "out of turn" not in text]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; nan and inf are the strings `nan`, `inf`, `-inf`."""
        return {"format": FORMAT, **to_json(self)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> LogResult:
        """Return the result of its JSON form.

        Raises:
            FormatError: it is not one, or of another format.
        """
        if plain.get("format") != FORMAT:
            raise FormatError(f"is no result of sqgen log parse (format {FORMAT})")
        values = {key: value for key, value in plain.items() if key != "format"}
        try:
            return from_json(cls, values)
        except ValueError as error:
            raise FormatError(f"is no result of sqgen log parse: {printable(str(error))}") from None
