"""What a search found, in words, as plain data, and as charts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..report.table import table
from ..text import printable
from .terminal import echo, print_json, print_table, terminal_width

if TYPE_CHECKING:
    from ..report.charts import Chart
    from ..search.journal import Trial
    from ..search.record import SearchRecord

JOURNAL = "trials.jsonl"  # in the folder of a search
_BEGIN = b'{"format": '  # of a journal, whose first line is JSON; other JSON of sqgen is indented
_AXES = {  # of a score: the title of its chart, and that of the axis
    "divergence": ("Divergence from the whole net", "divergence, nats"),
    "top-1": ("Top-1 error", "top-1 error"),
}


def find_journal(files: Sequence[str]) -> Path | None:
    """Return the journal of a search where that, or the folder of the search, is the only file.

    It loads nothing that other logs don't need.

    Raises:
        click.UsageError: it is one of several files.
    """
    found = [path for path in map(_journal, files) if path is not None]
    if found and len(files) > 1:
        raise click.UsageError(f"{printable(str(found[0]))}: give the journal of a search alone")
    return found[0] if found else None


def _journal(file: str) -> Path | None:
    path = Path(file, JOURNAL)
    path = path if path.is_file() else Path(file)
    try:
        with path.open("rb") as opened:
            return path if opened.read(len(_BEGIN)) == _BEGIN else None
    except (OSError, ValueError):
        return None


def print_search(search: SearchRecord, as_json: bool) -> None:
    """Print how far a search is, and its best trial; as JSON, all trials."""
    best = None if search.best is None else search.choice_table(search.tried[search.best])
    if as_json:
        chosen = None if best is None else best.chosen
        print_json({**vars(search), **search_summary(search), search.choice_name: chosen})
        return
    echo(describe_search(search))
    if best is not None:
        print_table(
            table(best.heads, best.rows, right=range(1, len(best.heads)), width=terminal_width())
        )


def search_summary(search: SearchRecord) -> dict[str, Any]:
    """Return how far a search is, and its best trial, as plain data."""
    best = search.best
    return {
        "score": search.score,
        "trials": search.trials,
        "tried": len(search.tried),
        "best": None if best is None else search.tried[best].score,
        "best_trial": None if best is None else best + 1,
    }


def describe_search(search: SearchRecord) -> str:
    """Say in a line how far a search is, and what its best trial is."""
    best, tried = search.best, f"{len(search.tried):,} of {search.trials:,} trials"
    if best is None:
        return f"{search.by}: {tried}, none within the budget"
    name = "top-1 error" if search.score == "top-1" else search.score
    score = f"{name} {search.tried[best].score:.4g}"
    return f"{search.by}: {tried}, the best is number {best + 1:,} ({score})"


def shares_title(by: str, budgets: Sequence[str]) -> str:
    """Return the title of the chart of channels that are kept."""
    return f"Channels kept ({', '.join([by, *budgets])})"


def search_charts(search: SearchRecord) -> list[Chart]:
    """Return the best trial's channels or bits, and all scores; nothing without trials."""
    if not search.tried:
        return []
    best = None if search.best is None else search.tried[search.best]
    chart = None if best is None else _choice_chart(search, best)
    return [*([] if chart is None else [chart]), scores_of(search)]


def _choice_chart(search: SearchRecord, trial: Trial) -> Chart | None:
    from ..compress.bits_file import MAXIMUM_BITS
    from ..pruning.search_record import PruningRecord
    from ..quantization.search_record import QuantizationRecord
    from ..report.search_chart import ChosenBits, LayerShare, bits_chart, shares_chart

    if isinstance(search, PruningRecord):
        kept = zip(search.decisions, search.kept(trial), strict=True)
        shares = [LayerShare(each.layers, each.channels, count) for each, count in kept]
        return shares_chart(shares, shares_title(search.by, search.budgets))
    if isinstance(search, QuantizationRecord):
        rows = zip(search.layers, search.bits(trial), strict=True)
        bits = [ChosenBits(each.layer, *row) for each, row in rows]
        return bits_chart(bits, MAXIMUM_BITS, bits_title(search.by, search.budgets))
    return None


def bits_title(by: str, budgets: Sequence[str]) -> str:
    """Return the title of the chart of bits."""
    return f"Bits ({', '.join([by, *budgets])})"


def scores_of(search: SearchRecord) -> Chart:
    """Return the chart of a search's scores."""
    from ..report.search_chart import TrialScore, scores_chart

    trials = [TrialScore(trial.score, trial.use <= 1) for trial in search.tried]
    return scores_chart(trials, *_AXES.get(search.score, (search.score, search.score)))
