"""Runs as arrays of Slurm jobs: scripts that we write and anyone can read, sbatch and squeue.

DIR/slurm/
    array-1.sh      the script of an array of jobs
    array-1.txt     its runs, a folder a line
    jobs.json       the arrays that were submitted, so that a study that was killed waits for them
    123_4.log       what a job wrote

A job that Slurm requeues goes on where it was, as each run does.
"""

from __future__ import annotations

import getpass
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import DesignError, RefusedError
from ..formats.files import write_files
from ..text import printable, shell_quote
from .launcher import Ended, Job, is_unfit
from .outcome import OUTCOME

FOLDER, JOBS, EXIT_CODE = "slurm", "jobs.json", "exit-code"
ARRAY = 1000  # jobs of an array: Slurm's default of MaxArraySize is 1001
INTERVAL = 10.0  # seconds between two questions to squeue
_OF_SRUN = "srun: error: "  # that a command failed, after what that says
GRACE = 20.0  # seconds until a file of a job that ended is seen by this machine


class SlurmLauncher:
    """Submits runs to Slurm, and watches them.

    Args:
        job: what it is given.
        interval: seconds between two questions to squeue.
        grace: seconds to wait for the files of a job that ended.

    Raises:
        DesignError: there is no Slurm here.
    """

    def __init__(self, job: Job, interval: float = INTERVAL, grace: float = GRACE) -> None:
        self._job, self._interval, self._grace = job, interval, grace
        self._folder = job.root / FOLDER
        for program in ("sbatch", "squeue"):
            if shutil.which(program) is None:
                raise DesignError(
                    f"--on slurm: there is no {program} here; run it where jobs are submitted"
                )
        self._tasks: dict[Path, str] = {}  # run -> its job, such as 123_4
        self._gone: dict[Path, float] = {}  # runs whose job is gone -> since when
        self._asked = 0.0

    def submit(self, folders: Sequence[Path]) -> None:
        """Submit the runs that no array has, of a study that was killed.

        Raises:
            RefusedError: sbatch refuses them.
        """
        arrays = self._submitted()
        alive = self._alive() or set()
        for array in arrays:
            for index, folder in enumerate(array["folders"]):
                task = f"{array['id']}_{index}"
                if task in alive:
                    self._tasks[self._job.root / folder] = task
        self._tasks = {folder: self._tasks[folder] for folder in folders if folder in self._tasks}
        # Those that jobs have finished meanwhile have no job any more.
        self._tasks |= {folder: "" for folder in folders if (folder / OUTCOME).exists()}
        left = [folder for folder in folders if folder not in self._tasks]
        for start in range(0, len(left), ARRAY):
            self._submit_array(left[start : start + ARRAY], arrays)

    def _submitted(self) -> list[dict[str, Any]]:
        with suppress(OSError, ValueError):
            arrays: list[dict[str, Any]] = json.loads((self._folder / JOBS).read_bytes())
            return arrays
        return []

    def _submit_array(self, folders: Sequence[Path], arrays: list[dict[str, Any]]) -> None:
        name = f"array-{len(arrays) + 1}"
        listed, script = self._folder / f"{name}.txt", self._folder / f"{name}.sh"
        for folder in folders:
            (folder / EXIT_CODE).unlink(missing_ok=True)
        lines = "".join(f"{folder}\n" for folder in folders)
        text = array_script(self._job, listed, len(folders))
        write_files({listed: lines.encode(), script: text.encode()}, force=True)
        done = _run(["sbatch", "--parsable", str(script)])
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
            raise RefusedError(f"--on slurm: sbatch {printable(str(script))}: {printable(reason)}")
        number = done.stdout.strip().partition(";")[0]
        relative = [str(folder.relative_to(self._job.root)) for folder in folders]
        arrays.append({"id": number, "folders": relative})
        write_files({self._folder / JOBS: json.dumps(arrays, indent=1).encode()}, force=True)
        self._tasks |= {folder: f"{number}_{index}" for index, folder in enumerate(folders)}

    def _alive(self) -> set[str] | None:
        """Return the jobs that wait or run; None where Slurm does not answer."""
        words = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
        done = _run(words)
        return None if done.returncode else set(done.stdout.split())

    def ended(self) -> list[Ended]:
        """Return the runs that have an outcome, or whose job is gone without one."""
        found = [Ended(folder) for folder in self._tasks if (folder / OUTCOME).exists()]
        now = time.monotonic()
        if now - self._asked >= self._interval:
            self._asked, alive = now, self._alive()
            for folder, task in self._tasks.items():
                if alive is not None and task not in alive:
                    self._gone.setdefault(folder, now)
                else:
                    self._gone.pop(folder, None)
        done = {each.folder for each in found}
        for folder, since in list(self._gone.items()):
            if folder not in done and now - since >= self._grace:
                found.append(self._died(folder))
        for each in found:
            del self._tasks[each.folder]
            self._gone.pop(each.folder, None)
        return found

    def _died(self, folder: Path) -> Ended:
        """Return why a job ended that left no outcome."""
        task = self._tasks[folder]
        log, code, last = self._folder / f"{task}.log", None, ""
        with suppress(OSError, ValueError):
            code = int((folder / EXIT_CODE).read_text())
        with suppress(OSError):
            lines = log.read_bytes()[-1 << 16 :].decode(errors="replace").split("\n")
            own = [line for line in lines if line.strip() and not line.startswith(_OF_SRUN)]
            last = own[-1] if own else ""
        last = last.removeprefix("sqgen: ").strip()
        if code is None:
            return Ended(folder, f"Slurm ended job {task}{_state(task)}; {FOLDER}/{log.name}")
        why = last or f"ended with exit code {code}"
        return Ended(folder, why, refused=is_unfit(code, last))

    def stop(self, *, cancel: bool) -> str:
        """Leave the jobs to Slurm, or cancel them."""
        numbers = sorted({task.partition("_")[0] for task in self._tasks.values() if task})
        if not numbers:
            return ""
        if cancel:
            with suppress(OSError):
                _run(["scancel", *numbers])
            return ""
        return f", and Slurm goes on with them; scancel {' '.join(numbers)} ends them"


def array_script(job: Job, listed: Path, count: int) -> str:
    """Return the script of an array of jobs, of the runs that are listed in a file."""
    resources = job.resources
    options = [
        f"--job-name={_one_word(job.title)}",
        f"--array=0-{count - 1}" + (f"%{job.slots}" if job.slots < count else ""),
        "--ntasks=1",
        f"--cpus-per-task={resources.threads or 1}",
        *([f"--gres=gpu:{resources.gpus}"] if resources.gpus else ()),
        *([f"--mem={resources.memory}"] if resources.memory else ()),
        *([f"--time={resources.time}"] if resources.time else ()),
        f"--output={listed.parent}/%A_%a.log",
        "--open-mode=append",
        "--requeue",
        *resources.sbatch,
    ]
    lines = [f"#SBATCH {option}" for option in options]
    python = shell_quote(job.python)
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            "# Each job runs one run of a study, which goes on where it was stopped.",
            f'folder=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {shell_quote(str(listed))})',
            f'srun --ntasks=1 {python} -m sqgen.sweep.trial "$folder"',
            f'echo $? > "$folder/{EXIT_CODE}"',
            "",
        ]
    )


def _one_word(title: str) -> str:
    word = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return f"sqgen-{word.strip('-')[:40]}"


def _state(task: str) -> str:
    """Return how Slurm says that a job ended, in brackets; nothing where it keeps no account."""
    if shutil.which("sacct") is None:
        return ""
    done = _run(["sacct", "--noheader", "--allocations", "--format=State", f"--jobs={task}"])
    state = done.stdout.split()
    return f" ({printable(state[0])})" if state and not done.returncode else ""


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
