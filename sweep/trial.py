"""Run one run of a study in its folder: `python -m sqgen.sweep.trial FOLDER`.

The folder has all that it needs in `trial.json`, and gets all that comes of it:

runs/simple/seed-1/
    trial.json      the steps, the seed, the data
    build/, train/  a folder of each step, with what its command printed as JSON (output.json)
    train/run/      the run folder of a training
    log.txt         command lines, and what the commands wrote to standard error
    outcome.json    scores and costs, or why it failed; its existence ends the run

Steps that several runs share are in a folder of their own, in DIR/shared.

A run that was stopped goes on: finished steps are kept, and a training goes on from its newest
snapshot. So any engine may start it again, on another machine that sees the folder.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import FormatError, OutputError, RefusedError, RunError, SqgenError
from ..formats.files import error_reason, write_files
from ..text import printable, shell_join, shell_quote
from ..version import __version__
from .folder_lock import FolderLock
from .launcher import REFUSED
from .outcome import Outcome, read_outcome, write_outcome
from .steps import ENGINE, OUTPUT, RUN, STEPS, Call, Context, Made

SPEC, LOG = "trial.json", "log.txt"
RESULT = "result.json"  # of a run folder
WITH_PARENT = "--with-parent"  # end when standard input does: its writer is gone
PATIENCE = 60.0  # seconds for the process of a stopped study to leave the folder
GRACE = 30.0  # seconds for a command to write a snapshot and end
REASON = 300  # characters


class Trial:
    """A run of a study in its folder.

    Args:
        folder: has `trial.json`.
        spec: what that says.
    """

    def __init__(self, folder: Path, spec: Mapping[str, Any]) -> None:
        self._folder, self._spec = folder, spec
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> Outcome:
        """Run all steps that are not finished; return what came of it, or why it failed."""
        from .measures import measure_trial

        start = time.time()
        data = self._spec["data"]
        made = Made(train_data=data.get("train"), val_data=data.get("val"))
        printed: dict[str, Any] = {}
        try:
            for step in self._spec["steps"]:
                with self._shared_lock(step):
                    made, printed[step["name"]] = self._run_step(step, made)
            measures = measure_trial(self._folder, self._spec["steps"], printed, made)
        except SqgenError as error:
            reason = printable(str(error), REASON)
            return Outcome(failed=reason, seconds=time.time() - start, sqgen=__version__)
        return Outcome(measures=measures, seconds=time.time() - start, sqgen=__version__)

    def _shared_lock(self, step: Mapping[str, Any]) -> AbstractContextManager[object]:
        """Return a lock on the folder of a step that several runs share: one of them runs it.

        Raises:
            OutputError: the file system has no locks.
        """
        if "shared" not in step:
            return nullcontext()
        folder = self._folder / step["shared"]
        lock = FolderLock(folder, "a step that runs share", patience=math.inf)
        if not lock.is_held:
            raise OutputError(f"{printable(str(folder))}: has no locks; leave share = true out")
        return lock

    def _run_step(self, step: Mapping[str, Any], made: Made) -> tuple[Made, Any]:
        """Run a step unless it is finished; return what is there after it, and what it printed."""
        name = f"{step['shared']}/{step['name']}" if "shared" in step else step["name"]
        kind, place = STEPS[step["command"]], self._folder / name
        at = Context(name, made, self._spec["seed"], step["given"])
        output = place / OUTPUT
        if not output.exists():
            record = _finished_training(step, place)
            if record is None:
                start = time.time()
                number, text = self._run_calls(step, place, at)
                printed = _parse_output(text)
                record = {"attempts": number, "seconds": time.time() - start, "printed": printed}
            write_files({output: json.dumps(record, indent=1).encode()}, force=True)
        record = _read_record(output)
        return kind.leaves(at, record["printed"]), record

    def _run_calls(self, step: Mapping[str, Any], place: Path, at: Context) -> tuple[int, bytes]:
        """Run the commands of a step; return the number of the attempt, and the output."""
        is_plain = step["command"] == "train" and "dsd" not in step["given"]
        if is_plain and any(place.glob("*.solverstate*")):
            number = 1 + max(1, len(list(place.glob(f"{RUN}*"))))
            (call,) = STEPS["train"].calls(at._replace(number=number, resume=True))
            try:
                return number, self._run_call(step, call, place)
            except RunError:
                # No training to go on with, such as one that wrote its last snapshot: begin anew.
                if (place / at._replace(number=number).run / RESULT).exists():
                    raise
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        texts = [self._run_call(step, call, place) for call in STEPS[step["command"]].calls(at)]
        return 1, next(filter(None, texts), b"")

    def _run_call(self, step: Mapping[str, Any], call: Call, place: Path) -> bytes:
        """Run a command of a step; return its output.

        Raises:
            RunError: it failed; the message ends with its last line.
        """
        words = [*call.words, *(step["options"] if call.takes_options else [])]
        threads, env = self._spec.get("threads", 1), {**os.environ, "NO_COLOR": "1"}
        if step["command"] in ENGINE and call.takes_options:
            if not {"engine", "caffe"} & set(step["given"]):
                words += ["--engine", "torch"]
            if "caffe" not in step["given"]:
                words += ["--", "--threads", str(threads)]
        elif step["command"] != "build":
            env["OMP_NUM_THREADS"] = str(threads)
        with open(self._folder / LOG, "ab") as log:
            where = shell_quote(os.path.relpath(place, self._folder))
            log.write(f"$ cd {where}; sqgen {shell_join(words)}\n".encode())
            log.flush()
            before = log.tell()
            code, output = self._supervise(words, place, env, log)
        if code:
            raise RunError(f"{step['name']}: {self._last_line(before) or f'exit code {code}'}")
        return output

    def _supervise(
        self, words: Sequence[str], place: Path, env: Mapping[str, str], log: BinaryIO
    ) -> tuple[int, bytes]:
        command = [sys.executable, "-m", "sqgen", *words]
        self._child = subprocess.Popen(  # noqa: S603
            command,
            cwd=place,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            output, _ = self._child.communicate()
        except BaseException:
            # It got the signal, too, and may write a snapshot.
            with suppress(subprocess.TimeoutExpired):
                self._child.communicate(timeout=GRACE)
            self._child.kill()
            raise
        return self._child.returncode, output

    def _last_line(self, start: int) -> str:
        """Return the last line that a command wrote to the log."""
        with open(self._folder / LOG, "rb") as log:
            log.seek(start)
            lines = log.read()[-1 << 16 :].decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("sqgen: ") if lines else ""


def _finished_training(step: Mapping[str, Any], place: Path) -> dict[str, Any] | None:
    """Return the record of a training that ended when nobody was there to read what it printed."""
    runs = list(place.glob(f"{RUN}*")) if step["command"] == "train" else []
    for run in runs:
        with suppress(OSError, ValueError):
            result = json.loads((run / RESULT).read_bytes())
            if result["completed"] and result["run"]["error"] is None:
                seconds = result["run"]["seconds"]
                return {"attempts": len(runs), "seconds": seconds, "printed": result}
    return None


def _read_record(path: Path) -> dict[str, Any]:
    """Return the record of a finished step.

    Raises:
        FormatError: it is damaged.
    """
    with suppress(ValueError):
        record = json.loads(path.read_bytes())
        if isinstance(record, dict) and {"attempts", "seconds", "printed"} <= record.keys():
            return record
    shown = printable(str(path))
    raise FormatError(f"{shown}: damaged; remove it, and --retry-failed runs that step again")


def _parse_output(text: bytes) -> Any:
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        raise RunError("a command printed no JSON where it should") from None


def main(arguments: Sequence[str]) -> int:
    """Run the run of a folder; return 0 if it has an outcome, be it a failure."""
    *flags, name = arguments
    folder = Path(name)
    if WITH_PARENT in flags:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _raise_exit)
    try:
        _check_machine(folder)
        with FolderLock(folder, "a run of a study", PATIENCE):
            if read_outcome(folder) is None:
                spec = json.loads((folder / SPEC).read_bytes())
                write_outcome(folder, Trial(folder, spec).run())
    except OSError as error:
        where = printable(str(error.filename or folder))
        print(f"sqgen: {where}: {error_reason(error)}", file=sys.stderr)
        return REFUSED
    except (SqgenError, ValueError) as error:
        print(f"sqgen: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return 130
    return 0


def _check_machine(folder: Path) -> None:
    """Check that this machine sees the folder, and has the version of sqgen that planned the run.

    Raises:
        RefusedError: it does not.
    """
    shown, host = printable(str(folder)), platform.node()
    try:
        wanted = json.loads((folder / SPEC).read_bytes())["sqgen"]
    except (OSError, ValueError, KeyError):
        raise RefusedError(f"{shown}: has no {SPEC} that {host} can read") from None
    if wanted != __version__:
        raise RefusedError(f"{host} has sqgen {__version__}, the study {printable(wanted)}")


def _raise_exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    """Wait until the writer of standard input is gone, then end this process group."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    # A group of its own: the launcher made it.
    with suppress(OSError):
        os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE)
    with suppress(OSError):
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
