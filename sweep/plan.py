"""The runs of a study: a folder and the command lines of each, checked before any starts."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from ..errors import DesignError, SqgenError
from ..generator.design_fields import FIELDS
from ..json_form import dumps
from ..text import did_you_mean, first_few, printable
from ..version import __version__
from .points import Point, points_of
from .step_needs import check_needs, steps_of
from .steps import DATA, NO_STEP, OF_OWN_NET, OWN, OWN_OF, STEPS, TEST_LMDB, TRAIN_LMDB
from .study_file import Step, Study, Value
from .study_tables import COUNTS

TRIAL_FORMAT = 1
RUNS, DATA_FOLDER, SHARED = "runs", "data", "shared"  # in the folder of a study
UP = "../../.."  # from the folder of a run to that of the study


class Commands(Protocol):
    """The options of sqgen's commands, which only the command line knows."""

    def words(self, command: str, flag: str, value: Value, folder: Path) -> list[str]:
        """Return an option as words of a command line.

        Args:
            command: such as `build` or `compress encode`.
            flag: without dashes.
            value: as the study has it.
            folder: that a path is relative to.

        Raises:
            DesignError: the command has no such option, or it takes no such value.
        """

    def check(
        self,
        command: str,
        words: Sequence[str],
        given: Container[str] = (),
        build: Sequence[str] | None = None,
    ) -> None:
        """Check all options of a command together and against its net, and of `build` the net.

        Args:
            command: its name.
            words: its options.
            given: what the study gives it besides, as `step_needs.check_needs` returns it.
            build: words of the `sqgen build` that makes its net; None of another net.

        Raises:
            SqgenError: they fit no run.
        """

    def scores(self, build: Sequence[str]) -> list[str]:
        """Return the names of the scores that a test of the net of `sqgen build` has."""

    def cost(self, build: Sequence[str], trainings: Sequence[Mapping[str, Value]]) -> float | None:
        """Return about how many multiply-accumulates a run takes; None: unknown.

        Args:
            build: words of `sqgen build`.
            trainings: options of each `sqgen train`.
        """


@dataclass(frozen=True)
class Trial:
    """A run of a study.

    Attributes:
        point: what it asks for.
        seed: its own.
        folder: from that of the study.
        spec: of its `trial.json`: all that it needs.
        cost: about how many multiply-accumulates; None: unknown.
    """

    point: Point
    seed: int
    folder: str
    spec: Mapping[str, Any]
    cost: float | None = None


@dataclass(frozen=True)
class DataSet:
    """A dataset that a study makes before its runs.

    Attributes:
        folder: from that of the study.
        words: of the command.
    """

    folder: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All runs of a study, and the data that they need."""

    study: Study
    points: tuple[Point, ...]
    trials: tuple[Trial, ...]
    datasets: tuple[DataSet, ...] = field(default=())


def make_plan(study: Study, commands: Commands, only: Sequence[str] = ()) -> Plan:
    """Return the runs of a study, each point's options checked.

    Args:
        study: as its file says.
        commands: check the options.
        only: patterns of the labels of points; none: all.

    Raises:
        SqgenError: a point has an option that its command lacks, or makes no net.
    """
    points = every = points_of(study)
    if only:
        chosen = [point for point in points if any(fnmatchcase(point.label, p) for p in only)]
        if not chosen:
            labels = [point.label for point in points]
            hint = did_you_mean(only[0], labels) or f"; there: {first_few(labels)}"
            raise DesignError(f"--only {printable(only[0])}: fits no point{hint}")
        points = chosen
    maker = _Maker(study, commands)
    planned = [maker.trials(point) for point in points]
    maker.check_scores(every)
    # By seed, so that after a while there are results of each point; where runs share steps, by
    # point, so that none waits for another that runs at the same time.
    trials = [runs[number] for number in range(len(study.seeds)) for runs in planned]
    if any(step.share for step in study.steps):
        trials = [trial for runs in planned for trial in runs]
    return Plan(study, tuple(points), tuple(trials), tuple(maker.datasets.values()))


class _Maker:
    """Makes the trials of points."""

    def __init__(self, study: Study, commands: Commands) -> None:
        self._study, self._commands = study, commands
        self.datasets: dict[str, DataSet] = {}
        self._checked: set[tuple[object, ...]] = set()

    def trials(self, point: Point) -> list[Trial]:
        """Return the run of each seed of a point."""
        try:
            steps = self._steps(point)
            cost = self._cost(point, steps)
            return [self._trial(point, seed, steps, cost) for seed in self._study.seeds]
        except SqgenError as error:
            message = str(error)
            if point.axes:
                message = f"{printable(point.label)}: {message}"
            raise type(error)(f"{printable(self._study.source)}: {message}") from None

    def _steps(self, point: Point) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = []
        build = None
        finds = check_needs(self._study, point)
        for step, options in steps_of(self._study, point):
            if step.command == "build":
                words = build = self._build_words(point, step, options)
            else:
                net = None if OF_OWN_NET & options.keys() else build
                words = self._words(step, options, finds[step.name], net)
            steps.append(
                {
                    "name": step.name,
                    "command": step.command,
                    "given": sorted(options),
                    "options": words,
                }
            )
        return steps

    def _build_words(self, point: Point, step: Step, options: Mapping[str, Value]) -> list[str]:
        return self._words(step, options, more=self._test_interval(point))

    def _test_interval(self, point: Point) -> list[str]:
        """Return the option that tests the weights at the end of each training.

        Nothing where the study sets it, or the number of updates is unknown.
        """
        own = list(steps_of(self._study, point))
        build = next(options for step, options in own if step.command == "build")
        trainings = [options for step, options in own if step.command == "train"]
        if "test-interval" in build or any("epochs" in each for each in trainings):
            return []
        default = FIELDS["max_iter"].default
        ends = [str(each.get("max-iter", build.get("max-iter", default))) for each in trainings]
        if not ends or not all(end.isdecimal() for end in ends):
            return []
        return ["--test-interval", str(math.gcd(*map(int, ends)) or 1)]

    def check_scores(self, points: Sequence[Point]) -> None:
        """Check that a run of one of these points has each score that is measured.

        Raises:
            DesignError: none has.
        """
        wanted = [measure for measure in self._study.measures if is_score(measure)]
        there: dict[str, None] = {}
        for point in points:
            names = self._scores(point) if wanted else None
            if names is None:
                return
            there |= dict.fromkeys(names)
            wanted = [measure for measure in wanted if measure not in there]
        if wanted:
            raise DesignError(
                f"{printable(self._study.source)}: measure {printable(wanted[0])}: no run has it;"
                f" there: {', '.join(name for name in there if '.' not in name)}"
            )

    def _scores(self, point: Point) -> list[str] | None:
        """Return the names of the scores that a run of a point has; None where they are unknown."""
        build, names = None, []
        for step, options in steps_of(self._study, point):
            if step.command == "build":
                build = self._build_words(point, step, options)
            if STEPS[step.command].tests:
                if build is None or {*OF_OWN_NET, "stage", "level"} & options.keys():
                    return None
                own = self._commands.scores(build)
                names += [*own, *(f"{step.name}.{name}" for name in own)]
        return names

    def _words(
        self,
        step: Step,
        options: Mapping[str, Value],
        given: frozenset[str] = frozenset(),
        build: Sequence[str] | None = None,
        more: Sequence[str] = (),
    ) -> list[str]:
        """Return the words of a step, checked; `more` are added to those of its options."""
        words = []
        for flag, value in options.items():
            if flag in OWN or (step.command, flag) in OWN_OF:
                raise DesignError(f"{step.name}.{flag}: the study sets --{flag} itself")
            if (step.command, flag) in NO_STEP:
                raise DesignError(
                    f"{step.name}.{flag}: no step has it; run sqgen {step.command} --{flag} before"
                )
            try:
                words += self._commands.words(step.command, flag, value, self._study.folder)
            except SqgenError as error:
                raise type(error)(f"{step.name}.{flag}: {error}") from None
        words += more
        key = (step.command, given, None if build is None else tuple(build), *words)
        if key not in self._checked:
            try:
                self._commands.check(step.command, words, given, build)
            except SqgenError as error:
                raise type(error)(f"[{step.name}] {error}") from None
            self._checked.add(key)
        return words

    def _cost(self, point: Point, steps: Sequence[Mapping[str, Any]]) -> float | None:
        build = next((step["options"] for step in steps if step["command"] == "build"), None)
        trainings = [point.options[each["name"]] for each in steps if each["command"] == "train"]
        return None if build is None else self._commands.cost(build, trainings)

    def _trial(
        self, point: Point, seed: int, steps: Sequence[dict[str, Any]], cost: float | None
    ) -> Trial:
        folder = f"{RUNS}/{point.slug}/seed-{seed}"
        data = self._data(point, seed)
        spec = {
            "format": TRIAL_FORMAT,
            "label": point.label,
            "seed": seed,
            "data": data,
            "steps": self._place(steps, seed, data),
            "sqgen": __version__,
        }
        return Trial(point, seed, folder, spec, cost)

    def _place(
        self, steps: Sequence[dict[str, Any]], seed: int, data: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Add to the steps that are shared the folder where they run, from that of the run."""
        shared = {step.name for step in self._study.steps if step.share}
        last = max((n for n, step in enumerate(steps, 1) if step["name"] in shared), default=0)
        if not last:
            return list(steps)
        digest = sha256(dumps({"steps": steps[:last], "data": data}).encode()).hexdigest()[:8]
        place = f"{UP}/{SHARED}/{steps[last - 1]['name']}-{digest}/seed-{seed}"
        return [{**step, "shared": place} for step in steps[:last]] + list(steps[last:])

    def _data(self, point: Point, seed: int) -> dict[str, str]:
        """Return the LMDBs of a run, as paths from its folder."""
        step = self._study.data
        if step is None:
            return {}
        options = dict(point.options[DATA])
        if not step.command:
            return {
                name: str((self._study.folder / str(path)).resolve())
                for name, path in options.items()
            }
        options.setdefault("seed", seed)
        words = self._words(step, options)
        name = f"{step.command.split()[-1]}-{sha256(dumps(words).encode()).hexdigest()[:8]}"
        place = f"{DATA_FOLDER}/{name}"
        self.datasets.setdefault(place, DataSet(place, (*step.command.split(), *words)))
        return {"train": f"{UP}/{place}/{TRAIN_LMDB}", "val": f"{UP}/{place}/{TEST_LMDB}"}


def is_score(measure: str) -> bool:
    """Return whether a measure is a score of a test, not what a run costs."""
    return measure not in COUNTS


def is_accuracy(measure: str) -> bool:
    """Return whether a measure is shown in percent."""
    name = measure.rpartition(".")[2].lower()
    return name.startswith(("top", "accuracy"))
