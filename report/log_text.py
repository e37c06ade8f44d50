"""A result as a person reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..logs.collector import Rows
from ..logs.events import Output
from ..logs.result import LogResult, Score
from ..text import number_text
from .table import table


def report(result: LogResult) -> Iterator[str]:
    """The lines that tell of a result."""
    state = "completed" if result.completed else "not completed"
    yield f"{result.source}: caffe {result.command}, {state}"
    facts = [("net", result.net), ("device", result.device), ("started", result.start or "")]
    for segment in result.segments if result.command == "train" else []:
        resumed = f", resumed from {segment.resumed_from}" if segment.resumed_from else ""
        spent = "" if segment.seconds is None else f" in {segment.seconds:.1f} s"
        if segment.first_iteration is not None:
            span = f"{segment.first_iteration} to {segment.last_iteration}"
            facts.append(("iterations", f"{span}{spent}{resumed}"))
    if result.images is not None:
        facts.append(("images", f"{result.images:,} a test"))
    facts += [("finetuned", path) for path in result.finetuned_from]
    facts += [("snapshot", path) for path in result.snapshots[-1:]]
    facts += [("signal", text) for text in result.signals]
    for head, text in facts:
        if text:
            yield f"  {head:10} {text}"
    if result.scores:
        yield ""
        yield from (f"  {line}" for line in _score_lines(result))
    if result.layer_times:
        yield ""
        yield from (f"  {line}" for line in _time_lines(result))
    for trouble in result.troubles:
        run = f" in run {trouble.segment + 1}" if len(result.segments) > 1 else ""
        yield f"  trouble{run}: {trouble.message}; {trouble.remedy}"
    for warning in result.warnings:
        yield f"  warning: {warning}"
    if result.fatal is not None:
        fatal = result.fatal
        place = f" ({fatal.place})" if fatal.place else ""
        yield f"  fatal: {fatal.cause}{place}: {fatal.message}"
        yield f"  do: {fatal.remedy}"


def _score_lines(result: LogResult) -> list[str]:
    several = len({score.net for score in result.scores}) > 1
    rows = [
        [
            f"{score.name} (net {score.net})" if several else score.name,
            struck(score),
            f"top-{score.k}" if score.k else score.role,
            f"by {score.by}",
        ]
        for score in result.scores
    ]
    return table(["score", "value", "is", "known"], rows, right=(1,))


def struck(score: Score) -> str:
    """A score's value; one that means nothing is struck out."""
    shown = number_text(score.value)
    return shown if score.valid or score.role == "loss" else f"~~{shown}~~"


def _time_lines(result: LogResult) -> list[str]:
    def shown(value: float | None) -> str:
        return "" if value is None else number_text(value)

    rows = [[time.layer, shown(time.forward), shown(time.backward)] for time in result.layer_times]
    lines = table(["layer", "forward ms", "backward ms"], rows, right=(1, 2))
    return [*lines, *(f"{name}: {number_text(ms)} ms" for name, ms in result.total_ms.items())]


class TellingRows(Rows):
    """Tells every row as it comes, a line each; for logs that are followed."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def train(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        loss: str | None,
        lr: str | None,
        names: tuple[str, ...],
        values: Sequence[str],
    ) -> None:
        """A display."""
        facts = [f"loss {loss}" if loss else "", f"lr {lr}" if lr else ""]
        facts += [f"{name} {value}" for name, value in zip(names, values, strict=True)]
        self._tell(f"iteration {iteration}: {', '.join(filter(None, facts))}")

    def test(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        net: str,
        outputs: Sequence[Output],
    ) -> None:
        """A test."""
        shown = ", ".join(f"{output.name} {output.value}" for output in outputs)
        self._tell(f"iteration {iteration}: test net {net}: {shown}")

    def batch(self, index: str, name: str, value: str) -> None:
        """An output of a batch."""
        self._tell(f"batch {index}: {name} {value}")
