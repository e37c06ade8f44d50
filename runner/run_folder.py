"""The folder of a run: commands, nets as run, log and result.

runs/20261124-093000-train_val/
    command         the commands, as a shell reads them
    net.prototxt    the nets (and solver.prototxt) as run
    caffe.log       the output of caffe
    predictions.npz what a test keeps of each image, if it does
    result.json     the result, as `sqgen log parse --json` prints it and `sqgen gate` reads it
    gate.json       the verdict of a test whose scores were checked
    .running        locked as long as the run goes on (`run_lock.py`)
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..errors import OutputError
from ..formats.files import error_reason, missing_folders, remove_empty, write_files
from ..json_form import dumps
from ..logs.read_result import LOG, RESULT
from ..logs.result import LogResult
from ..text import printable, shell_join
from .overrides import RunFile

RUNS = "runs"
TESTS = "tests"  # folder in that of a training whose stages are tested, as of compress train
COMMAND, NET = "command", "net.prototxt"
_MAXIMUM_NUMBER = 1000  # runs of one name in a second


class RunFolder:
    """The folder of a run; `create` makes it."""

    def __init__(self, path: str | None, name: str) -> None:
        """Choose the path.

        Args:
            path: the folder to make, or None for `runs/<time>-<name>`.
            name: the file that is run, such as a net.

        Raises:
            OutputError: `path` exists and is not an empty folder.
        """
        self._is_given = path is not None
        stem = re.sub(r"[^\w.+-]+", "_", Path(name).stem) or "net"
        timestamp = time.strftime("%Y%m%d-%H%M%S")
        self.path = Path(path) if path is not None else Path(RUNS) / f"{timestamp}-{stem}"
        if path is not None and self._is_occupied():
            raise OutputError(f"{printable(path)}: is there already; --run-dir takes a new folder")

    def _is_occupied(self) -> bool:
        """Return whether the path exists and is anything but an empty folder."""
        try:
            return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))
        except (OSError, ValueError) as error:
            raise self._write_error(error) from None

    def create(self) -> None:
        """Make the folder; a second run of the same second gets a number appended.

        Raises:
            OutputError: it can't be made.
        """
        wanted = self.path
        for number in range(2, _MAXIMUM_NUMBER):
            self._new_folders = missing_folders(self.path)
            try:
                self.path.mkdir(parents=True, exist_ok=self._is_given)
                return
            except FileExistsError:
                self.path = wanted.with_name(f"{wanted.name}-{number}")
            except (OSError, ValueError) as error:
                raise self._write_error(error) from None
        raise OutputError(
            f"{printable(str(wanted))}: exists {_MAXIMUM_NUMBER} times; give --run-dir DIR"
        )

    def remove_empty(self) -> None:
        """Remove what `create` made, as far as it is empty."""
        remove_empty(self._new_folders)

    def _write_error(self, error: OSError | ValueError) -> OutputError:
        shown, reason = printable(str(self.path)), error_reason(error)
        return OutputError(f"{shown}: can't write: {reason}; --run-dir DIR says where")

    def file_path(self, name: str) -> str:
        """Return the path of a file in the folder, as caffe's arguments name it."""
        return str(self.path / name)

    def write_file(self, file: RunFile) -> None:
        """Write a net or a solver."""
        text = file.text.encode("utf-8", "surrogateescape")
        write_files({self.path / file.name: text}, force=True)

    def write_commands(self, commands: Sequence[Sequence[str]]) -> None:
        """Write the commands, a line each."""
        text = "".join(f"{shell_join(command)}\n" for command in commands)
        write_files({self.path / COMMAND: text.encode("utf-8", "surrogateescape")}, force=True)

    def open_log(self, name: str = LOG) -> IO[bytes]:
        """Open the log for unbuffered writing, behind what an earlier run of the folder wrote."""
        try:
            return open(self.path / name, "ab", buffering=0)
        except OSError as error:
            raise self._write_error(error) from None

    def write_result(self, result: LogResult) -> None:
        """Write the result as JSON."""
        text = dumps(result.as_dict())
        write_files({self.path / RESULT: text.encode()}, force=True)
