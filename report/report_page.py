"""The page of a report: the sections of its runs, and their numbers as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..text import first_few, printable
from .charts import Chart
from .page import Block, Charts, Page, Section
from .report_options import ReportOptions
from .report_sections import REPORT_SECTIONS, RUN_SECTIONS, sections_of
from .reported_run import ReportedRun
from .verdict_section import VERDICT, verdict_section


def report_page(runs: Sequence[ReportedRun], options: ReportOptions) -> Page:
    """Return the page: the verdict first, of several runs their comparison."""
    if not runs:
        return Page("Compression", options.more, first_few(options.sources, 5))
    several = len(runs) > 1
    shared = [each for make in REPORT_SECTIONS for each in sections_of(make(runs, options))]
    shared += options.more
    if not several:
        verdict, *others = _run_sections(runs[0], options)
        return Page(_title(runs), [verdict, *shared, *others], _subtitle(runs))
    own = [
        _numbered(section, number, run.name)
        for number, run in enumerate(runs, 1)
        for section in _run_sections(run, options)
    ]
    return Page(_title(runs), [*shared, *own], _subtitle(runs))


def _run_sections(run: ReportedRun, options: ReportOptions) -> Iterator[Section]:
    for make in (verdict_section, *RUN_SECTIONS):
        yield from sections_of(make(run, options))


def _numbered(section: Section, number: int, name: str) -> Section:
    """Return the section of one of several runs, its names unlike those of the others.

    The verdict gets the run's name, and the others belong to it.
    """
    is_first = section.id == VERDICT
    return Section(
        printable(name) if is_first else section.title,
        f"{section.id}-{number}",
        [numbered_block(block, number) for block in section.blocks],
        is_part=not is_first,
    )


def numbered_block(block: Block, number: int) -> Block:
    """Return a block whose charts have a number in their names."""
    if isinstance(block, Chart):
        return replace(block, name=f"{block.name}-{number}")
    if isinstance(block, Charts):
        return Charts([replace(each, name=f"{each.name}-{number}") for each in block.charts])
    return block


def _title(runs: Sequence[ReportedRun]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs"
    result = runs[0].result
    word = {"train": "Training", "test": "Test", "time": "Timing"}.get(result.command, "Run")
    return printable(f"{word} of {result.net}" if result.net else f"{word} {runs[0].name}")


def _subtitle(runs: Sequence[ReportedRun]) -> str:
    return first_few([run.source for run in runs], 5)
