"""The folder of a run: everything that it was, and all that it said.

runs/20261124-093000-train_val/
    command         what was run, as a shell reads it
    net.prototxt    the nets (and solver.prototxt) as they were run
    caffe.log       all that caffe printed
    result.json     the result, as `sqgen log parse --json` and `sqgen gate` have it
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..errors import OutputError
from ..formats.files import error_reason, write_files
from ..logs.result import LogResult
from ..text import printable
from .overrides import Copy

RUNS = "runs"
LOG, RESULT, COMMAND = "caffe.log", "result.json", "command"
_MOST = 1000  # runs of one name in a second


class RunFolder:
    """The folder; made when something is first put into it."""

    def __init__(self, given: str | None, name: str) -> None:
        """Choose it.

        Args:
            given: the folder to make, or None for `runs/<time>-<name>`.
            name: what is run, such as the file of a net.

        Raises:
            OutputError: `given` is there already.
        """
        self._given = given is not None
        stem = re.sub(r"[^\w.+-]+", "_", Path(name).stem) or "net"
        moment = time.strftime("%Y%m%d-%H%M%S")
        self.path = Path(given) if given is not None else Path(RUNS) / f"{moment}-{stem}"
        if given is not None and self._is_taken():
            raise OutputError(f"{printable(given)}: is there already; --run-dir takes a new folder")

    def _is_taken(self) -> bool:
        """Whether something is there, other than an empty folder."""
        try:
            return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from None

    def make(self) -> None:
        """Make it; of two runs that began in the same second, one gets a number.

        Raises:
            OutputError: it can't be made.
        """
        wanted = self.path
        for number in range(2, _MOST):
            try:
                self.path.mkdir(parents=True, exist_ok=self._given)
                return
            except FileExistsError:
                self.path = wanted.with_name(f"{wanted.name}-{number}")
            except (OSError, ValueError) as error:
                raise self._unwritable(error) from None
        raise OutputError(f"{printable(str(wanted))}: is there {_MOST} times; use --run-dir")

    def _unwritable(self, error: OSError | ValueError) -> OutputError:
        shown, reason = printable(str(self.path)), error_reason(error)
        return OutputError(f"{shown}: can't write: {reason}; --run-dir DIR says where")

    def file(self, name: str) -> str:
        """The path of a file in it, as caffe is given it."""
        return str(self.path / name)

    def put(self, copy: Copy) -> None:
        """Write a net or a solver."""
        text = copy.text.encode("utf-8", "surrogateescape")
        write_files({self.path / copy.name: text}, force=True)

    def put_command(self, commands: Sequence[Sequence[str]]) -> None:
        """Write the commands, a line each."""
        text = "".join(f"{shlex.join(command)}\n" for command in commands)
        write_files({self.path / COMMAND: text.encode("utf-8", "surrogateescape")}, force=True)

    def open_log(self, name: str = LOG) -> IO[bytes]:
        """The log, to be written as it comes."""
        try:
            return open(self.path / name, "wb", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from None

    def put_result(self, result: LogResult) -> None:
        """Write the result."""
        text = json.dumps(result.as_dict(), indent=2) + "\n"
        write_files({self.path / RESULT: text.encode()}, force=True)
