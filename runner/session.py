"""A session: one test, training or timing, with its run folder, commands and record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import OutputError, RunError
from ..host import describe_machine
from ..logs.read_result import LOG
from ..logs.result import LogResult
from .engines import Engine
from .environment import collect_versions
from .live_progress import ProgressSteps
from .options import RunOptions, path_or_none
from .overrides import RunFile
from .run_folder import RunFolder
from .run_lock import RunLock
from .run_record import RunRecord, TestRecord, TrainRecord
from .supervise import Watch, supervise


class Session:
    """A run in its folder: write its files, run the engine, write the result.

    A context manager, at whose end the run folder is no longer locked.

    Args:
        options: the options of the run.
        engine: the selected engine.
        name: the file that is run, such as a net; names the folder.

    Raises:
        OutputError: `options.run_dir` is not empty.
    """

    def __init__(self, options: RunOptions, engine: Engine, name: str) -> None:
        self.options, self.engine = options, engine
        self.folder = RunFolder(path_or_none(options.run_dir), name)
        self._commands: list[tuple[str, ...]] = []
        self._changes: list[str] = []
        self._start_time = time.monotonic()
        self._lock: RunLock | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *details: object) -> None:
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def create_folder(self, files: Sequence[RunFile]) -> None:
        """Make the folder, lock it, and write nets and solvers into it; once.

        Raises:
            OutputError: they can't be written.
        """
        if self._lock is not None:
            return
        self.folder.create()
        self._lock = RunLock(self.folder.path)
        try:
            for file in files:
                self.write_file(file)
        except OutputError:
            self._unlock()
            self.folder.remove_empty()
            raise

    def write_file(self, file: RunFile) -> None:
        """Write a net or solver into the folder, and log its changes.

        Raises:
            OutputError: it can't be written.
        """
        self.folder.write_file(file)
        self._changes += file.changes
        for change in file.changes:
            self.options.log_line(f"in the copy: {change}")

    def run(
        self,
        arguments: Sequence[str],
        steps: ProgressSteps,
        subject: TestRecord | TrainRecord | None,
        log_name: str = LOG,
        watch: Watch | None = None,
    ) -> LogResult:
        """Run the engine, as `supervise` does; if it fails, write the partial result.

        Raises:
            RunError: it did not complete.
        """
        options, arguments = self.options, self.arguments(arguments)
        self._commands.append((*self.engine.command, *arguments))
        self.folder.write_commands(self._commands)
        try:
            return supervise(self.engine, arguments, self.folder, steps, options, log_name, watch)
        except RunError as error:
            error.result = self._add_record(error.result, subject, str(error))
            with contextlib.suppress(OutputError):  # the error may be a full disk
                self.folder.write_result(error.result)
            raise

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """Return arguments of the engine, with those of the device and the user's own."""
        return [*arguments, *self.options.device_flags(self.engine), *self.options.arguments]

    def write_result(
        self,
        result: LogResult,
        subject: TestRecord | TrainRecord | None,
        error: str | None = None,
    ) -> LogResult:
        """Add the record of the run to the result, write it, and return it."""
        result = self._add_record(result, subject, error)
        self.folder.write_result(result)
        return result

    def _add_record(
        self, result: LogResult, subject: TestRecord | TrainRecord | None, error: str | None
    ) -> LogResult:
        record = RunRecord(
            folder=str(self.folder.path),
            working_folder=str(Path.cwd()),
            typed=tuple(self.options.typed),
            commands=tuple(self._commands),
            engine=self.engine,
            versions=collect_versions(self.engine),
            machine=describe_machine(),
            changes=tuple(self._changes),
            seconds=round(time.monotonic() - self._start_time, 3),
            error=error,
            subject=subject,
        )
        return replace(result, run=record.as_dict())
