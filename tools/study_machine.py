"""Check that this machine has what the runs of a study need: files, an engine, GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DesignError, SqgenError
from ..formats.near_path import missing_hint
from ..runner.engines import TORCH
from ..runner.preflight import CPU_HINT, has_no_gpu
from ..sweep.job import missing_trials, share_cores
from ..sweep.plan import Plan, Trial
from ..sweep.steps import DATA, ENGINE, STEPS
from ..text import printable
from .option_checks import run_options_of
from .study_commands import design_of, parse_step, paths_of

Spec = Mapping[str, Any]  # a step of a `trial.json`


def check_machine(root: Path, plan: Plan, jobs: int | None, retry: bool, runs_engine: bool) -> None:
    """Check what the missing runs of a study need, before any starts here.

    Args:
        root: folder of the study, which may not be there.
        plan: its runs.
        jobs: runs at a time; None: as many as there are cores for.
        retry: whether those that failed run again.
        runs_engine: whether the engine that this Python finds is that of the runs.

    Raises:
        SqgenError: this machine lacks something; the message names the file and the key.
    """
    missing = missing_trials(root, plan, retry)
    if missing:
        share_cores(plan, jobs)  # refuses GPUs that are not there
    try:
        for trial in missing:
            _check_data(plan, trial.spec["data"])
        for step, build in _distinct_steps(missing):
            _check_step(step, build, plan.study.folder, runs_engine)
    except SqgenError as error:
        raise type(error)(f"{printable(plan.study.source)}: {error}") from None


def _distinct_steps(trials: Sequence[Trial]) -> Iterator[tuple[Spec, Spec | None]]:
    """Yield each step with the one that built its net, if any, once for all seeds."""
    seen: set[tuple[str, ...]] = set()
    for trial in trials:
        build = None
        for step in trial.spec["steps"]:
            build = step if step["command"] == "build" else build
            key = step["name"], *step["options"], "", *(build["options"] if build else ())
            if key not in seen:
                seen.add(key)
                yield step, build


def _check_data(plan: Plan, data: Mapping[str, str]) -> None:
    """Check that datasets are there, unless the study makes them."""
    if plan.study.data is not None and not plan.study.data.command:
        for key, path in data.items():
            _check_path(f"[{DATA}] {key}", path, plan.study.folder)


def _check_path(place: str, path: str, folder: Path) -> None:
    if not Path(path).is_absolute() or not Path(path).exists():
        hint = missing_hint(folder / path, "paths are relative to the file")
        raise DesignError(f"{place}: {printable(path)}: no such file or folder{hint}")


def _check_step(step: Spec, build: Spec | None, folder: Path, runs_engine: bool) -> None:
    """Check that there are the files of a step, and where it runs one, the engine with its GPUs.

    Raises:
        SqgenError: there are not.
    """
    for flag, path in paths_of(step["command"], step["options"]):
        _check_path(f"{step['name']}.{flag}", path, folder)
    if not runs_engine or step["command"] not in ENGINE:
        return
    parsed = dict(parse_step(step["command"], step["options"]))
    if not {"engine", "caffe"} & set(step["given"]):
        parsed["engine"] = TORCH  # as a run has it
    options = run_options_of(parsed)
    try:
        options.select_engine()
    except SqgenError as error:
        message = str(error).replace(CPU_HINT, "; write cpu = true instead")
        raise type(error)(f"[{step['name']}] {message}") from None
    has_choice = options.cpu or options.gpu is not None or options.caffe is not None
    if STEPS[step["command"]].trains and "solver" not in step["given"] and not has_choice:
        _check_solver(build)


def _check_solver(build: Spec | None) -> None:
    """Check that there is a GPU for a solver that wants one."""
    if build is not None and not design_of(build["options"]).cpu and has_no_gpu():
        raise DesignError(f"[{build['name']}] cpu: no GPU to train on is here; write cpu = true")
