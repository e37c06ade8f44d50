"""How a run is done, whatever is run: the engine, device, folder, patience, what is told."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import OutputError, RunError, SqgenError
from ..host import machine
from ..logs.result import LogResult
from ..progress import StartBar, no_bar
from ..text import printable
from . import engines
from .dataset import Dataset
from .engines import Engine
from .environment import versions
from .overrides import Copy
from .preflight import check_gpu
from .run_folder import RunFolder
from .subprocess_guard import STALL_TIMEOUT
from .supervise import Patience, Steps, run

# What the runner gives the engine by itself, and counts images by.
_SET_HERE = ("exact", "gpu", "iterations", "model", "phase", "snapshot", "solver", "weights")


@dataclass(frozen=True)
class RunOptions:
    """The options that testing, training and timing share.

    Attributes:
        engine: `auto`, `caffe` or `torch`.
        caffe: a command line that runs a caffe.
        gpu: `0` or 0, `0,1` or `all`; None leaves it to the solver.
        cpu: run on the CPU, whatever the solver says.
        run_dir: the folder to make; None is `runs/<time>-<name>`.
        stall_timeout: seconds of silence until that is told; 0 is never.
        stop_stalled: whether a silent run is then ended.
        arguments: more of them for the engine, untouched.
        tell: given what happens, a line each; None is quiet.
        progress: shows how far the run is.
    """

    engine: str = engines.AUTO
    caffe: str | None = None
    gpu: str | int | None = None
    cpu: bool = False
    run_dir: str | os.PathLike[str] | None = None
    stall_timeout: float = STALL_TIMEOUT
    stop_stalled: bool = False
    arguments: Sequence[str] = ()
    tell: Callable[[str], None] | None = None
    progress: StartBar = no_bar

    def __post_init__(self) -> None:
        if isinstance(self.arguments, str):
            raise SqgenError(
                f"arguments '{printable(self.arguments)}': give a list, such as ['--level=1']"
            )
        if self.arguments and not self.arguments[0].startswith("-"):
            raise SqgenError(
                f"unexpected '{printable(self.arguments[0])}'; options for caffe stand behind --"
            )
        for argument in self.arguments:
            flag = argument.lstrip("-").partition("=")[0]
            if argument.startswith("-") and flag in _SET_HERE:
                raise SqgenError(
                    f"{printable(argument)} behind --: sqgen sets --{flag} itself, and says what"
                    " was run by it; give its own options before the --"
                )

    def say(self, line: str) -> None:
        """Tell a line."""
        if self.tell is not None:
            self.tell(line)

    def warn(self, *lines: str) -> None:
        """Tell what may be wrong, a line each."""
        for line in lines:
            self.say(f"warning: {line}")

    def choose(self) -> Engine:
        """The engine, once the device is known to be there.

        Raises:
            SqgenError: one of them is not.
        """
        if self.engine not in engines.CHOICES:
            raise SqgenError(f"no engine '{self.engine}'; one of {', '.join(engines.CHOICES)}")
        if self.gpu is not None and self.cpu:
            raise SqgenError("--gpu and --cpu: give one")
        check_gpu(self.asked_gpu, self.caffe is not None)
        engine = engines.choose(self.engine, self.caffe)
        self.say(f"engine {engine}")
        return engine

    @property
    def asked_gpu(self) -> str | None:
        """`gpu` as it is typed."""
        return None if self.gpu is None else str(self.gpu)

    @property
    def device(self) -> list[str]:
        """The flag that says on what it runs."""
        return [f"--gpu={self.gpu}"] if self.gpu is not None else []

    @property
    def gpus(self) -> int:
        """How many devices compute a batch each; `all` counts those that the driver knows."""
        if self.gpu == "all":
            return max(1, len(machine()["gpus"]))
        return len((self.asked_gpu or "0").split(","))


def path_of(given: str | os.PathLike[str] | None) -> str | None:
    """A path that was given, or not, as text."""
    return None if given is None else os.fspath(given)


def check_iterations(count: int) -> None:
    """Refuse a number of iterations that is none.

    Raises:
        SqgenError: it is below 1.
    """
    if count < 1:
        raise SqgenError(f"{count} iterations; give one or more")


class Session:
    """A run with its folder: what is put there before, what runs, what is kept behind."""

    def __init__(self, options: RunOptions, engine: Engine, name: str) -> None:
        self.options, self.engine = options, engine
        self.folder = RunFolder(path_of(options.run_dir), name)
        self._commands: list[list[str]] = []
        self._changes: list[str] = []
        self._begun = time.monotonic()

    def begin(self, copies: Sequence[Copy]) -> None:
        """Make the folder, and put nets and solvers there.

        Raises:
            OutputError: they can't be written.
        """
        self.folder.make()
        for copy in copies:
            self.add(copy)

    def add(self, copy: Copy) -> None:
        """Put one more there.

        Raises:
            OutputError: it can't be written.
        """
        self.folder.put(copy)
        self._changes += copy.changes
        for change in copy.changes:
            self.options.say(f"in the copy: {change}")

    def run(
        self, arguments: Sequence[str], steps: Steps, facts: dict[str, Any], log: str
    ) -> LogResult:
        """Run the engine; if it does not come to its end, what there is of a result is kept.

        Raises:
            RunError: it does not.
        """
        arguments = [*arguments, *self.options.device, *self.options.arguments]
        self._commands.append([*self.engine.command, *arguments])
        self.folder.put_command(self._commands)
        patience = Patience(self.options.stall_timeout, self.options.stop_stalled)
        try:
            return run(
                self.engine,
                arguments,
                self.folder,
                steps,
                patience,
                self.options.tell,
                self.options.progress,
                log,
            )
        except RunError as error:
            error.result = self._with_run(error.result, facts, str(error))
            with contextlib.suppress(OutputError):  # the disk may be what the error is about
                self.folder.put_result(error.result)
            raise

    def keep(self, result: LogResult, facts: dict[str, Any], error: str | None = None) -> LogResult:
        """Add what the log does not tell to the result, write it, and return it."""
        result = self._with_run(result, facts, error)
        self.folder.put_result(result)
        return result

    def _with_run(self, result: LogResult, facts: dict[str, Any], error: str | None) -> LogResult:
        run = {
            "folder": str(self.folder.path),
            "working_folder": str(Path.cwd()),
            "commands": list(self._commands),
            "engine": {
                "kind": self.engine.kind,
                "name": self.engine.name,
                "why": self.engine.why,
                "version": self.engine.version,
            },
            "versions": versions(self.engine),
            "machine": machine(),
            "changes": list(self._changes),
            "seconds": round(time.monotonic() - self._begun, 3),
            "error": error,
            **facts,
        }
        return replace(result, run=run)


def data_facts(data: Sequence[Dataset], layers: Sequence[Any]) -> list[dict[str, Any]]:
    """What is kept of the data of a phase: where, how many, which, and how it is taken."""
    return [
        {
            "source": one.source,
            "records": one.records,
            "digest": one.digest,
            "transform": _plain(layer),
        }
        for one, layer in zip(data, layers, strict=True)
    ]


def _plain(layer: Any) -> dict[str, Any]:
    """A layer's preprocessing: the fields that are set."""
    return {
        field.name: list(value) if hasattr(value, "append") else value
        for field, value in layer.transform_param.ListFields()
    }
