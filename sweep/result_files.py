"""The results of a study as files: JSON, CSV, Markdown, LaTeX, and the picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import MissingExtraError
from ..formats.files import write_files
from ..json_form import dumps
from ..text import csv_cell, escaped
from .result_table import PLUS_MINUS, ResultTable, result_table
from .results import PointResult, StudyResult, result_json

JSON, POINTS, RUNS = "results.json", "results.csv", "runs.csv"
MARKDOWN, LATEX, PICTURE = "results.md", "results.tex", "results.svg"
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
}


def write_results(root: Path, result: StudyResult) -> tuple[list[str], str]:
    """Write all files into the folder of a study, in place of those that are there.

    Returns:
        Their names, and why there is no picture, or nothing.

    Raises:
        OutputError: they can't be written.
    """
    table = result_table(result)
    files = {
        JSON: dumps(result_json(result)).encode(),
        POINTS: csv_bytes(_point_rows(result)),
        RUNS: csv_bytes(_run_rows(result)),
        MARKDOWN: markdown(table, result.title).encode(),
        LATEX: latex(table, result.title).encode(),
    }
    why = ""
    try:
        picture = _draw(result)
    except MissingExtraError as error:
        picture, why = None, f"no picture: {error}"
    if picture is not None:
        files[PICTURE] = picture
    write_files({root / name: data for name, data in files.items()}, force=True)
    return list(files), why


def _draw(result: StudyResult) -> bytes | None:
    from ..report.charts import render_chart
    from .study_chart import study_chart

    chart = study_chart(result)
    return None if chart is None else render_chart(chart, "svg")


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as CSV; a name that a spreadsheet would run gets an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_csv_value(cell) for cell in row])
    return text.getvalue().encode()


def _csv_value(cell: object) -> object:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return csv_cell(escaped(cell)) if isinstance(cell, str) else cell


def _point_rows(result: StudyResult) -> list[list[object]]:
    """Return a row a point, with its numbers in full and the folders of its runs."""
    heads: list[object] = ["point", *result.axes, "baseline", "n", "failed"]
    for name in result.measures:
        heads += [name, *(f"{name} {each}" for each in _NUMBERS)]
    rows = [[*heads, "runs"]]
    for point in result.points:
        axes, base = point.point.axes, point.baseline or ""
        row: list[object] = [point.point.label, *axes.values(), base]
        row += [len(point.finished), len(point.failed)]
        for name in result.measures:
            row += _numbers(point, name)
        rows.append([*row, " ".join(run.folder for run in point.finished)])
    return rows


_NUMBERS = ("standard error", "difference", "low", "high", "pairs")


def _numbers(point: PointResult, name: str) -> list[object]:
    mean, difference = point.means.get(name), point.differences.get(name)
    own = [None, None] if mean is None else [mean.value, mean.error]
    if difference is None:
        return [*own, None, None, None, None]
    return [*own, difference.mean.value, difference.low, difference.high, difference.mean.n]


def _run_rows(result: StudyResult) -> list[list[object]]:
    rows: list[list[object]] = [["point", "seed", "folder", "failed", *result.measures]]
    for point in result.points:
        for run in point.runs:
            measures: Mapping[str, float] = run.outcome.measures if run.outcome else {}
            reason = "missing" if run.outcome is None else run.outcome.failed or ""
            values = [measures.get(name) for name in result.measures]
            rows.append([point.point.label, run.seed, run.folder, reason, *values])
    return rows


def markdown(table: ResultTable, title: str) -> str:
    """Return the table in Markdown, with a head for a document to include."""
    lines = [_markdown_row(table.heads)]
    lines.append(
        "|" + "|".join("--:" if n in table.right else "---" for n in range(len(table.heads))) + "|"
    )
    lines += [_markdown_row(row) for row in table.rows]
    notes = [f"- {_markdown_text(note.strip())}" for note in table.notes]
    return "\n".join([f"**{_markdown_text(title)}**", "", *lines, "", *notes, ""])


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_markdown_text(cell).replace(PLUS_MINUS, "±") for cell in cells) + " |"


def _markdown_text(text: str) -> str:
    shown = escaped(text)
    for character in "\\|*_`<":
        shown = shown.replace(character, f"\\{character}")
    return shown


def latex(table: ResultTable, title: str) -> str:
    """Return the table as a LaTeX tabular, with its notes as comments."""
    columns = "".join("r" if n in table.right else "l" for n in range(len(table.heads)))
    comments = [f"% {escaped(line)}" for line in (title, *table.notes)]
    return "\n".join(
        [
            *comments,
            f"\\begin{{tabular}}{{{columns}}}",
            r"\hline",
            _latex_row(table.heads),
            r"\hline",
            *(_latex_row(row) for row in table.rows),
            r"\hline",
            r"\end{tabular}",
            "",
        ]
    )


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex_text, cells)) + r" \\"


def _latex_text(text: str) -> str:
    parts = escaped(text).split(PLUS_MINUS)
    return r"$\pm$".join("".join(_LATEX.get(c, c) for c in part) for part in parts)
