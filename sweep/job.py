"""Run a study: what is missing, wherever it runs, until every run has an outcome."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DesignError, OutputError, RunError, StoppedError
from ..formats.files import read_bytes, write_files
from ..host import available_cores, list_gpus, visible_gpus
from ..json_form import dumps, loads
from ..progress import Bar, StartBar, no_bar
from ..text import counted, printable
from .folder_lock import FolderLock
from .launcher import Ended, Job, Launcher, last_message
from .outcome import OUTCOME, Outcome, read_outcome, write_outcome
from .plan import DataSet, Plan, Trial
from .steps import TEST_LMDB, TRAIN_LMDB
from .study_tables import Resources
from .trial import SPEC

INTERVAL = 0.2  # seconds between two looks at the runs
MARK = "study.json"  # in the folder of a study
NOT_OF_IT = ("sqgen", "threads")  # of a spec: two that differ in these alone ask for the same


@dataclass(frozen=True)
class RunStudy:
    """How a study runs.

    Attributes:
        root: its folder.
        jobs: runs at a time; None: as many as there are cores for.
        retry: whether runs that failed start again.
        python: the interpreter of the machines that run it.
        log: prints a line.
        on_cluster: whether runs go to other machines, whose cores the engine shares out.
        progress: draws a bar.
        launch: makes the engine.
    """

    root: Path
    launch: Callable[[Job], Launcher]
    jobs: int | None = None
    retry: bool = False
    python: str = sys.executable
    on_cluster: bool = False
    log: Callable[[str], None] = print
    progress: StartBar = no_bar

    def run(self, plan: Plan) -> None:
        """Run what is missing.

        Raises:
            OutputError: another study runs in the folder, or it can't be written.
            DesignError: a run there has other options.
            RunError: the engine refused the runs.
            StoppedError: it was interrupted.
        """
        with FolderLock(self.root, "a study"):
            check_folder(self.root, plan)
            missing = self._missing(plan)
            done = len(plan.trials) - len(missing)
            if done:
                self.log(f"{done} of {len(plan.trials)} runs are there already")
            if not missing:
                return
            share = share_cluster if self.on_cluster else share_cores
            slots, resources = share(plan, self.jobs)
            slots = min(slots, len(missing))
            job = Job(self.root.resolve(), plan.study.title, resources, slots, self.python)
            launcher = self.launch(job)
            write_files({self.root / MARK: dumps(describe(plan)).encode()}, force=True)
            make_data(self.root, plan.datasets, self.log)
            self._write_specs(missing, resources.threads or 1)
            runs, threads = (
                counted(n, what)
                for n, what in ((len(missing), "run"), (resources.threads or 1, "thread"))
            )
            self.log(f"{runs}, {slots} at a time, {threads} each")
            self._run_all(launcher, missing)

    def _missing(self, plan: Plan) -> list[Trial]:
        """Return the runs to run, without the outcomes of those that failed."""
        missing = missing_trials(self.root, plan, self.retry)
        for trial in missing:
            (self.root / trial.folder / OUTCOME).unlink(missing_ok=True)
        return missing

    def _write_specs(self, missing: Sequence[Trial], threads: int) -> None:
        """Write what each run needs."""
        for trial in missing:
            spec = dumps({**trial.spec, "threads": threads})
            write_files({self.root / trial.folder / SPEC: spec.encode()}, force=True)

    def _run_all(self, launcher: Launcher, missing: Sequence[Trial]) -> None:
        """Run trials to their ends."""
        left = {self.root.resolve() / trial.folder: trial for trial in missing}
        with self.progress(len(missing)) as bar:
            try:
                launcher.submit(list(left))
                self._watch(launcher, left, bar)
            except (KeyboardInterrupt, SystemExit) as error:
                self._stop(launcher, left, error)
            except BaseException:
                launcher.stop(cancel=True)
                raise

    def _watch(self, launcher: Launcher, left: dict[Path, Trial], bar: Bar) -> None:
        total, failed = len(left), 0
        while left:
            ended = launcher.ended()
            for each in ended:
                trial = left.pop(each.folder)
                failed += self._settle(each, trial)
            failures = f", {failed} failed" if failed else ""
            bar.update(total - len(left), f"runs done{failures}")
            if left and not ended:
                time.sleep(INTERVAL)

    def _settle(self, ended: Ended, trial: Trial) -> bool:
        """Record how a run ended; return whether it failed."""
        outcome = read_outcome(ended.folder)
        if outcome is None:
            if ended.refused:
                raise UnfitMachineError(f"{printable(trial.folder)}: {ended.why}")
            outcome = Outcome(failed=ended.why)
            write_outcome(ended.folder, outcome)
        if outcome.failed is not None:
            self.log(f"failed: {trial.folder}: {outcome.failed}")
        return outcome.failed is not None

    def _stop(self, launcher: Launcher, left: Mapping[Path, Trial], error: BaseException) -> None:
        goes_on = launcher.stop(cancel=False)
        count = sum(not (folder / OUTCOME).exists() for folder in left)
        stopped = StoppedError(
            f"stopped with {counted(count, 'run')} left{goes_on}; the same command goes on"
        )
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            stopped.exit_code = error.code
        raise stopped from None


def missing_trials(root: Path, plan: Plan, retry: bool) -> list[Trial]:
    """Return the runs that have no outcome in a study's folder, or failed and shall run again.

    Raises:
        FormatError: an outcome is damaged.
    """
    outcomes = [(trial, read_outcome(root / trial.folder)) for trial in plan.trials]
    return [
        trial
        for trial, outcome in outcomes
        if outcome is None or (retry and outcome.failed is not None)
    ]


class UnfitMachineError(RunError):
    """A machine that can't run a study."""

    exit_code = 2


def share_cores(plan: Plan, jobs: int | None) -> tuple[int, Resources]:
    """Return how many runs go at a time, and what each takes: together no more than there is.

    The number of threads does not depend on what is done already, since a training repeats bit for
    bit only with the same number.

    Raises:
        DesignError: a run wants more GPUs than there are.
    """
    wanted, cores = plan.study.resources, available_cores()
    if wanted.threads is None:
        slots = jobs or min(cores, len(plan.trials))
        threads = max(1, cores // slots)
    else:
        threads = wanted.threads
        slots = jobs or max(1, cores // threads)
    if wanted.gpus and jobs is None:
        there = len(visible_gpus(list_gpus()))
        slots = there // wanted.gpus
        if not slots:
            raise DesignError(
                f"{printable(plan.study.source)}: [resources] gpus: {wanted.gpus} a run; this"
                f" machine has {there}"
            )
    return slots, replace(wanted, threads=threads)


def share_cluster(plan: Plan, jobs: int | None) -> tuple[int, Resources]:
    """Return how many runs may go at a time on a cluster, and what each takes."""
    wanted = plan.study.resources
    return jobs or len(plan.trials), replace(wanted, threads=wanted.threads or 1)


def check_folder(root: Path, plan: Plan) -> None:
    """Check that a study's folder has no run of the same name with other options.

    Raises:
        DesignError: it has.
        OutputError: it has files of others.
    """
    shown = printable(str(root))
    if not (root / MARK).exists():
        others = [path.name for path in root.iterdir() if not path.name.startswith(".")]
        if others:
            raise OutputError(f"{shown}: is no folder of a study, and not empty; give a new one")
    for trial in plan.trials:
        path = root / trial.folder / SPEC
        if not path.exists():
            continue
        try:
            there = loads(read_bytes(path, 1 << 24, "a run of a study"))
        except ValueError:
            there = None
        difference = _difference(there, json.loads(dumps(trial.spec)))
        if difference:
            raise DesignError(
                f"{shown}: {printable(trial.folder)} is of a study with {difference}; give -o"
                " another folder"
            )


def _difference(there: object, wanted: Mapping[str, Any]) -> str:
    """Return in what a run that is there differs from the one wanted; empty: in nothing."""
    if not isinstance(there, dict):
        return "a damaged trial.json"
    for key, value in wanted.items():
        if key in NOT_OF_IT or there.get(key) == value:
            continue
        if key == "steps":
            return _step_difference(there.get(key), value)
        return f"another {key}"
    return ""


def _step_difference(there: Any, wanted: Sequence[Mapping[str, Any]]) -> str:
    names = [step["name"] for step in wanted]
    if not isinstance(there, list) or [step.get("name") for step in there] != names:
        return "other steps"
    for old, new in zip(there, wanted, strict=True):
        if old != new:
            words = [" ".join(map(str, step.get("options", []))) for step in (old, new)]
            return f"{new['name']} {printable(words[0], 80)}, not {printable(words[1], 80)}"
    return ""


def make_data(root: Path, datasets: Sequence[DataSet], log: Callable[[str], None]) -> None:
    """Make the datasets that are not there yet.

    Raises:
        RunError: one can't be made.
    """
    wanted = [
        each
        for each in datasets
        if not all((root / each.folder / name).exists() for name in (TRAIN_LMDB, TEST_LMDB))
    ]
    if wanted:
        log(f"making {counted(len(wanted), 'dataset')}")
    with ThreadPoolExecutor(available_cores()) as pool:
        for _ in pool.map(lambda each: _make_dataset(root, each), wanted):
            pass


def _make_dataset(root: Path, data: DataSet) -> None:
    words = [sys.executable, "-m", "sqgen", *data.words, "-o", str(root / data.folder), "--force"]
    done = subprocess.run(  # noqa: S603
        words, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        raise UnfitMachineError(f"[data] {last_message(done.stderr)}")


def describe(plan: Plan) -> dict[str, Any]:
    """Return what `study.json` says of a study."""
    study = plan.study
    return {
        "format": 1,
        "title": study.title,
        "about": study.about,
        "source": study.source,
        "seeds": study.seeds,
        "measure": study.measures,
        "points": [
            {"label": point.label, "axes": point.axes, "options": point.options}
            for point in plan.points
        ],
    }
