"""`sqgen study`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..progress import no_bar
from ..text import counted, first_few, printable, wrapped
from .progress_bar import ProgressBar, print_note
from .terminal import echo, print_json, print_lines, print_table, terminal_width, warn

if TYPE_CHECKING:
    from ..sweep.estimate import Estimate
    from ..sweep.launcher import Job, Launcher
    from ..sweep.plan import Plan
    from ..sweep.results import StudyResult

ENGINES = ("local", "slurm", "ray")


@click.command()
@click.argument("file", metavar="FILE|NAME", required=False)
@click.option("-o", "--out", metavar="DIR", help="folder of the study: runs and results")
@click.option("--list", "as_list", is_flag=True, help="list the studies that sqgen ships")
@click.option("--dry-run", is_flag=True, help="list the runs with an estimate of time, and stop")
@click.option("--seeds", type=click.IntRange(1, 1000), metavar="N", help="1 to N, not the file's")
@click.option("--set", "settings", multiple=True, metavar="STEP.OPTION=X", help="of all runs")
@click.option("--only", multiple=True, metavar="PATTERN", help="points of these labels: 'sr=*'")
@click.option("--jobs", type=click.IntRange(1, 4096), metavar="N", help="runs at a time [cores]")
@click.option("--on", type=click.Choice(ENGINES), default="local", help="where it runs [local]")
@click.option("--python", metavar="PATH", help="the Python of the cluster's machines [this one]")
@click.option("--retry-failed", is_flag=True, help="run those again that failed")
@click.option("--quiet", is_flag=True, help="hide progress and remarks, but no warning")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def study(
    file: str | None,
    out: str | None,
    as_list: bool,
    dry_run: bool,
    seeds: int | None,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    jobs: int | None,
    on: str,
    python: str | None,
    retry_failed: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run a study: a base, what varies, seeds, and what is measured.

    FILE is a TOML file (docs/studies.md), or the name of a study that sqgen ships. Each run is a
    folder in DIR/runs. The same command goes on with a study that was stopped: it runs what is
    missing. A run that fails stays with its reason, and the exit code is 1.

    \b
    Examples:
      sqgen study --list
      sqgen study bypass --dry-run
      sqgen study bypass -o bypass --jobs 2
      sqgen study mine.toml -o mine --on slurm --jobs 50
    """
    if as_list:
        _print_list(as_json)
        return 0
    if file is None:
        raise click.UsageError("name a study, or give --list")
    if out is None and not dry_run:
        raise click.UsageError("give -o DIR, the study's folder; --dry-run does without")
    plan = _plan(file, seeds, settings, only)
    root = Path(out or os.devnull)
    if on == "local":
        from .study_machine import check_machine

        check_machine(root, plan, jobs, retry_failed, runs_engine=python is None)
    if dry_run:
        _print_plan(plan, root, jobs, as_json, on != "local")
        return 0
    from ..sweep.job import RunStudy
    from ..sweep.results import read_results

    RunStudy(
        root,
        _launcher(on),
        jobs=jobs,
        retry=retry_failed,
        python=python or sys.executable,
        on_cluster=on != "local",
        log=_ignore if quiet else _log,
        progress=no_bar if quiet else ProgressBar,
    ).run(plan)
    result = read_results(root, plan)
    _print_result(result, as_json)
    _write_files(root, result, quiet)
    return 1 if result.failed else 0


def _write_files(root: Path, result: StudyResult, quiet: bool) -> None:
    from ..sweep.result_files import write_results

    names, why = write_results(root, result)
    if why:
        warn(why)
    if not quiet:
        _log(f"wrote {first_few(names)} in {printable(str(root))}")


def _log(line: str) -> None:
    print_note(f"sqgen: {line}")


def _ignore(line: str) -> None:
    pass


def _plan(file: str, seeds: int | None, settings: tuple[str, ...], only: tuple[str, ...]) -> Plan:
    from ..sweep.plan import make_plan
    from ..sweep.ready_studies import find_study
    from ..sweep.study_file import read_study, with_settings
    from .study_commands import CommandOptions

    study = with_settings(read_study(find_study(file)), settings)
    if seeds is not None:
        study = replace(study, seeds=tuple(range(1, seeds + 1)))
    return make_plan(study, CommandOptions(), only)


def _launcher(on: str) -> Callable[[Job], Launcher]:
    if on == "slurm":
        from ..sweep.slurm import SlurmLauncher

        return SlurmLauncher
    if on == "ray":
        from ..sweep.on_ray import RayLauncher

        return RayLauncher
    from ..sweep.local import LocalLauncher

    return LocalLauncher


def _print_list(as_json: bool) -> None:
    """Print the studies that sqgen ships."""
    from ..report.table import table
    from ..sweep.ready_studies import find_study, ready_names
    from ..sweep.study_file import read_study

    studies = {name: read_study(find_study(name)) for name in ready_names()}
    if as_json:
        print_json(
            [
                {"name": name, "title": each.title, "about": each.about, "file": each.source}
                for name, each in studies.items()
            ]
        )
        return
    rows = [[name, each.title] for name, each in studies.items()]
    print_table(table(["study", "what it asks"], rows, width=terminal_width()))


def _print_plan(plan: Plan, root: Path, jobs: int | None, as_json: bool, on_cluster: bool) -> None:
    """Print the runs of a study, and how long those take that are missing."""
    from ..sweep.estimate import estimate
    from ..sweep.job import check_folder, share_cluster, share_cores

    if root.is_dir():
        check_folder(root, plan)
    slots, resources = (share_cluster if on_cluster else share_cores)(plan, jobs)
    threads = resources.threads or 1
    found = estimate(root, plan, slots, threads)
    if as_json:
        more = {"seconds": found.total, "measured_runs": found.measured}
        print_json({"jobs": slots, "threads": threads, "runs": _plan_json(plan, found), **more})
    else:
        _print_plan_table(plan, found, f"{slots} at a time of {counted(threads, 'thread')}")


def _plan_json(plan: Plan, found: Estimate) -> list[dict[str, Any]]:
    return [
        {
            "folder": trial.folder,
            "label": trial.point.label,
            "seed": trial.seed,
            "missing": trial.folder in found.seconds,
            "seconds": found.seconds.get(trial.folder),
            "steps": trial.spec["steps"],
        }
        for trial in plan.trials
    ]


def _print_plan_table(plan: Plan, found: Estimate, how: str) -> None:
    from ..report.table import table
    from ..sweep.estimate import duration_text

    rows = []
    for trial in plan.trials:
        seconds = found.seconds.get(trial.folder)
        missing = "unknown" if seconds is None else duration_text(seconds)
        left = missing if trial.folder in found.seconds else "there"
        rows.append([trial.point.label, str(trial.seed), left])
    print_table(table(["run", "seed", "time"], rows, (1, 2), width=terminal_width()))
    total = "unknown" if found.total is None else f"about {duration_text(found.total)}"
    based = (
        f"as {counted(found.measured, 'run')} took"
        if found.measured
        else "a guess: none has run yet"
    )
    echo(f"{len(found.seconds)} of {len(plan.trials)} runs to do, {how}: {total} ({based})")


def _print_result(result: StudyResult, as_json: bool) -> None:
    from ..report.table import table
    from ..sweep.result_table import result_table
    from ..sweep.results import result_json

    if as_json:
        print_json(result_json(result))
        return
    found = result_table(result)
    first = [number for number in found.right if number > found.right[0] + 2]
    print_table(table(found.heads, found.rows, found.right, terminal_width(), optional=first[::-1]))
    for note in found.notes:
        print_lines(wrapped(note, terminal_width()))
