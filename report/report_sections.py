"""The sections of a report, in their order: to add one, add a function here.

A function of a run returns a section of it, or several, or None where it has nothing to say;
likewise one of all runs. Where a report has several runs, `report_page.py` numbers ids and names
of charts, and puts the sections of a run below its name, so that a section need not care.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .comparison_section import comparison_section
from .curves_section import curves_section
from .net_section import net_section
from .page import Section
from .record_section import record_section
from .report_options import ReportOptions
from .reported_run import ReportedRun
from .run_errors import run_errors
from .time_section import time_section

Made = Section | Sequence[Section] | None  # what a function returns

# Of all runs together, behind the verdict or the comparison.
REPORT_SECTIONS: tuple[Callable[[Sequence[ReportedRun], ReportOptions], Made], ...] = (
    comparison_section,
    curves_section,
    net_section,
)
# Of each run, behind its verdict.
RUN_SECTIONS: tuple[Callable[[ReportedRun, ReportOptions], Made], ...] = (
    run_errors,
    time_section,
    record_section,
)


def sections_of(made: Made) -> Sequence[Section]:
    """Return what a function made as a sequence."""
    if made is None:
        return ()
    return (made,) if isinstance(made, Section) else made
