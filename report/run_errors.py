"""Where the net of a run errs: the sections of a report, from what its test kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .page import Section, Text
from .report_options import ReportOptions
from .reported_run import ReportedRun

if TYPE_CHECKING:
    from .errors_text import Names


def run_errors(run: ReportedRun, options: ReportOptions) -> Sequence[Section]:
    """Return the sections of a test that kept predictions; one that says so where they are gone."""
    if run.predictions is None or run.evaluation is None:
        return [_gone()] if run.result.run.get("predictions") else []
    # These import NumPy, which other reports need not.
    from .error_sections import error_sections, pictured_keys
    from .tested_pictures import read_pictures

    names, remark = _names(run, options)
    source = "" if run.folder is None else str(run.folder)
    pictures = read_pictures(run.result, source, pictured_keys(run.predictions))
    first, *others = error_sections(run.predictions, run.evaluation, names, pictures, False)
    if remark:
        first = Section(first.title, first.id, [*first.blocks, Text(remark, "trouble")])
    return [first, *others]


def _gone() -> Section:
    text = "The predictions that its test kept are gone, or replaced by others; test again."
    return Section("Where it errs", "errors", [Text(text, "trouble")])


def _names(run: ReportedRun, options: ReportOptions) -> tuple[Names, str]:
    """Return the names of the classes, and what to say of those that are asked for."""
    from ..runner.tested_data import class_names_of_test

    assert run.evaluation is not None
    classes, names = run.evaluation.classes[-1].class_index + 1, options.class_names
    if names is not None and len(names) >= classes:
        return names, ""
    source = "" if run.folder is None else str(run.folder)
    remark = (
        ""
        if names is None
        else f"--labels has {len(names)} names, and class {classes - 1} occurs: they are not shown."
    )
    return class_names_of_test(run.result, classes, source), remark
