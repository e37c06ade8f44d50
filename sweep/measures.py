"""Measure a run: scores of its tests, and what its net and its training cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError, SqgenError
from ..json_form import from_json
from ..logs.scores import Score, score_names
from ..nets.definition import read_net
from ..nets.shapes import require_shapes
from ..nets.totals import Totals, totals
from .steps import STEPS, Made

FORWARD = "Forward pass"  # of `caffe time`


def measure_trial(
    folder: Path,
    steps: Sequence[Mapping[str, Any]],
    printed: Mapping[str, Mapping[str, Any]],
    made: Made,
) -> dict[str, float]:
    """Return name -> value of all that is known of a run.

    A score of step `tune` is `tune.top1`, and `top1` if no later step has it. `seconds` are those
    of all trainings, unless one was stopped and went on; `ms` are those of a forward pass.

    Args:
        folder: of the run.
        steps: of its `trial.json`.
        printed: step -> what it printed and took.
        made: what all steps left.

    Raises:
        RunError: a score that was printed is none.
    """
    measures: dict[str, float] = {}
    for step in steps:
        output = printed[step["name"]]
        own = _scores_of(step["command"], output["printed"])
        if own:
            measures |= own | {f"{step['name']}.{name}": value for name, value in own.items()}
        if step["command"] == "time":
            measures["ms"] = output["printed"]["total_ms"][FORWARD]
    trainings = [step for step in steps if STEPS[step["command"]].trains]
    if trainings and all(printed[step["name"]]["attempts"] == 1 for step in trainings):
        measures["seconds"] = sum(_seconds(step, printed[step["name"]]) for step in trainings)
    return measures | _costs(folder, made)


def _seconds(step: Mapping[str, Any], output: Mapping[str, Any]) -> float:
    """Return how long a training took; of Deep Compression, with its tests."""
    is_plain = step["command"] == "train"
    return float(output["printed"]["run"]["seconds"] if is_plain else output["seconds"])


def _scores_of(command: str, printed: Any) -> dict[str, float]:
    """Return the scores that a command printed, by name."""
    if command in ("train", "test"):
        return _scores(printed)
    if command == "compress train":
        scores = printed["points"][-1]["scores"]
        return {name.replace("top-", "top"): float(value) for name, value in scores.items()}
    return {}


def _scores(result: Mapping[str, Any]) -> dict[str, float]:
    try:
        scores = [from_json(Score, plain) for plain in result["scores"]]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"the result of a run has no scores: {error}") from None
    return {
        name: score.value
        for name, score in zip(score_names(scores), scores, strict=True)
        if score.valid
    }


def _costs(folder: Path, made: Made) -> dict[str, float]:
    """Return parameters, MACs and bytes of the net that is left; nothing where there is none."""
    if made.deploy is None:
        return {}
    found = net_totals(folder / made.deploy)
    if found is None:
        return {}
    bytes_ = found.weight_bytes if made.compressed is None else made.compressed
    return {"parameters": found.parameters, "macs": found.macs, "bytes": bytes_}


def net_totals(deploy: Path) -> Totals | None:
    """Return the totals of a deploy net; None if its shapes are unknown."""
    try:
        return totals(require_shapes(read_net(str(deploy)), "TEST"))
    except SqgenError:
        return None
