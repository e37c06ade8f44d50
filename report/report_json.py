"""The numbers of a report as plain data (docs/report.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .curves import Curve, Training
from .reported_run import ReportedRun
from .run_facts import run_facts
from .run_scores import best_scores, outcome, score_rows

FORMAT = 1


def report_json(runs: Sequence[ReportedRun]) -> dict[str, Any]:
    """Return what the page of these runs shows in numbers."""
    return {"format": FORMAT, "runs": [_run_json(run) for run in runs]}


def _run_json(run: ReportedRun) -> dict[str, Any]:
    result = run.result
    evaluation = run.evaluation
    majority = None
    if evaluation is not None:
        majority = {"class": evaluation.majority, "value": evaluation.majority_accuracy}
    return {
        "name": run.name,
        "source": run.source,
        "command": result.command,
        "net": result.net,
        "outcome": outcome(run).text,
        "completed": result.completed,
        "images": result.images,
        "scores": [row.as_dict() for row in score_rows(run)],
        "majority": majority,
        "gate": run.verdict,
        "troubles": [asdict(trouble) for trouble in result.troubles],
        "fatal": None if result.fatal is None else asdict(result.fatal),
        "warnings": result.warnings,
        "iterations_per_second": run.speed,
        "facts": [list(fact) for fact in run_facts(run)],
        "solver": result.solver,
        "trainings": [_training_json(training) for training in run.trainings],
        "layer_times": [asdict(time) for time in result.layer_times],
        "total_ms": result.total_ms,
        "errors": _errors_json(run),
    }


def _errors_json(run: ReportedRun) -> dict[str, Any] | None:
    if run.predictions is None or run.evaluation is None:
        return None
    from .error_sections import IMAGES  # imports NumPy
    from .errors_text import evaluation_json

    return evaluation_json(run.predictions, run.evaluation, None, IMAGES)


def _training_json(training: Training) -> dict[str, Any]:
    return {
        "number": training.number,
        "best": [asdict(best) for best in best_scores(training)],
        "resumed_at": [mark.x for mark in training.resumes],
        "curves": [_curve_json(curve) for curve in training.curves],
    }


def _curve_json(curve: Curve) -> dict[str, Any]:
    return {
        "panel": curve.panel,
        "label": curve.label,
        "points": curve.points,
        "sampled": curve.is_sampled,
        "iterations": curve.xs,
        "values": curve.ys,
        "not_finite_at": [mark.x for mark in curve.breaks],
    }
