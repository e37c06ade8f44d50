"""A result as text for the terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..logs.events import Output
from ..logs.result import LogResult, Segment
from ..logs.rows import LastLosses
from ..logs.scores import LOSS, Score, score_names
from ..text import number_text
from .table import table

Losses = Mapping[int, tuple[str, str]]  # segment -> its last training loss and learning rate


def format_result(
    result: LogResult, losses: Losses | None = None, width: int | None = None
) -> Iterator[str]:
    """Yield the lines that describe a result.

    Args:
        result: the result.
        losses: those of `last_losses`, where the result has no rows.
        width: of the terminal, for its tables.
    """
    losses = last_losses(result) if losses is None else losses
    state = "completed" if result.completed else "not completed"
    yield f"{result.source}: caffe {result.command}, {state}"
    facts = [("net", result.net), ("device", result.device), ("started", result.start or "")]
    for number, segment in enumerate(result.segments if result.command == "train" else ()):
        resumed = f", resumed from {segment.resumed_from}" if segment.resumed_from else ""
        duration = "" if segment.seconds is None else f" in {segment.seconds:.1f} s"
        if segment.last_iteration is not None:
            first = "" if segment.first_iteration is None else f"{segment.first_iteration} "
            span = f"{first}to {segment.last_iteration}"
            facts.append(("iterations", f"{span}{duration}{resumed}"))
            facts.append(("training", _training_text(*losses.get(number, ("", "")))))
    if result.images is not None:
        facts.append(("images", f"{result.images:,} a test"))
    facts += [("finetuned", path) for path in result.finetuned_from]
    facts += [("snapshot", path) for path in result.snapshots[-1:]]
    facts += [("signal", text) for text in result.signals]
    for head, text in facts:
        if text:
            yield f"  {head:10} {text}"
    inner = None if width is None else width - 2
    for lines in (_score_lines(result, inner), _time_lines(result, inner)):
        if lines:
            yield ""
            yield from (f"  {line}" for line in lines)
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


def last_losses(result: LogResult) -> Losses:
    """Return the losses and learning rates displayed last, from the rows of a result."""
    last: dict[int, tuple[str, str]] = {}
    for number, segment in enumerate(result.segments):
        losses = [row.loss for row in segment.train if row.loss is not None]
        rates = [row.lr for row in segment.train if row.lr is not None]
        loss, rate = (number_text(values[-1]) if values else "" for values in (losses, rates))
        last[number] = (loss, rate)
    return last


def _training_text(loss: str, lr: str) -> str:
    return ", ".join(filter(None, (loss and f"loss {loss}", lr and f"learning rate {lr}")))


def format_results(
    results: Sequence[tuple[LogResult, Losses]], width: int | None = None
) -> list[str]:
    """Return a table of several results, a row each; `width` is that of the terminal."""
    named = [dict(zip(score_names(r.scores), r.scores, strict=True)) for r, _ in results]
    names = list(dict.fromkeys(name for scores in named for name in scores))
    heads = ["log", "caffe", "completed", "iteration", "training loss", *names]
    rows = []
    # What all logs share tells none of them from another.
    shared = os.path.commonprefix([result.source for result, _ in results])  # noqa: RUF071 - cut next
    folder = shared[: shared.rfind("/") + 1]
    for (result, losses), scores in zip(results, named, strict=True):
        last = result.segments[-1] if result.segments else Segment()
        iteration = "" if last.last_iteration is None else str(last.last_iteration)
        loss, _ = losses.get(len(result.segments) - 1, ("", ""))
        cells = [format_score(scores[name]) if name in scores else "" for name in names]
        completed = "yes" if result.completed else "no"
        source = result.source if width is None else result.source.removeprefix(folder)
        rows.append([source, result.command, completed, iteration, loss, *cells])
    used = [c for c in range(len(heads)) if c < 3 or any(row[c] for row in rows)]
    picked = [[row[column] for column in used] for row in rows]
    heads = [heads[column] for column in used]
    # On a narrow terminal, the scores of further test nets go first, and then the command.
    further = [c for c in reversed(range(3, len(heads))) if re.match(r"net\d+:", heads[c])]
    return table(heads, picked, range(3, len(heads)), width, [*further, 1])


def _score_lines(result: LogResult, width: int | None) -> list[str]:
    if not result.scores:
        return []
    rows = [
        [name, format_score(score), score.name, f"by {score.by}"]
        for name, score in zip(score_names(result.scores), result.scores, strict=True)
    ]
    return table(["score", "value", "output", "known"], rows, right=(1,), width=width)


def format_score(score: Score) -> str:
    """Return a score's value, struck out where it means nothing."""
    text = number_text(score.value)
    return text if score.valid or score.role == LOSS else f"~~{text}~~"


def _time_lines(result: LogResult, width: int | None) -> list[str]:
    if not result.layer_times:
        return []
    rows = [
        [time.layer, format_optional(time.forward), format_optional(time.backward)]
        for time in result.layer_times
    ]
    lines = table(["layer", "forward ms", "backward ms"], rows, right=(1, 2), width=width)
    return [*lines, *(f"{name}: {number_text(ms)} ms" for name, ms in result.total_ms.items())]


def format_optional(value: float | None) -> str:
    """Return a number as Caffe prints it, or nothing for None."""
    return "" if value is None else number_text(value)


class RowPrinter(LastLosses):
    """Prints every row as it comes, for logs that are followed.

    `print_line` receives a line each.
    """

    def __init__(self, print_line: Callable[[str], None]) -> None:
        super().__init__()
        self._print = print_line

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
        """Print a display."""
        super().train(segment, iteration, seconds, loss, lr, names, values)
        facts = [f"loss {loss}" if loss else "", f"lr {lr}" if lr else ""]
        facts += [f"{name} {value}" for name, value in zip(names, values, strict=True)]
        self._print(f"iteration {iteration}: {', '.join(filter(None, facts))}")

    def test(
        self,
        segment: int,
        iteration: str,
        seconds: float | None,
        net: str,
        outputs: Sequence[Output],
    ) -> None:
        """Print a test."""
        values = ", ".join(f"{output.name} {output.value}" for output in outputs)
        self._print(f"iteration {iteration}: test net {net}: {values}")

    def batch(self, index: str, name: str, value: str) -> None:
        """Print an output of a batch."""
        self._print(f"batch {index}: {name} {value}")
