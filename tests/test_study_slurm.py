"""`sqgen study --on slurm`, with a Slurm that runs the scripts on this machine."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sqgen.errors import DesignError, SqgenError
from sqgen.sweep import job
from sqgen.sweep.launcher import Ended, Job
from sqgen.sweep.results import read_results
from sqgen.sweep.slurm import SlurmLauncher, array_script
from sqgen.sweep.study_tables import Resources

from .test_study import DONE, NETS, stub_python
from .test_study_file import plan_of

SBATCH = """
import os, re, subprocess, sys
from pathlib import Path
script = Path(sys.argv[-1])
text, state = script.read_text(), Path(os.environ["FAKE_SLURM"])
if (state / "refuse").exists():
    sys.exit("sbatch: error: invalid partition")
options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.M))
first, last = map(int, options["array"].partition("%")[0].split("-"))
number = 100 + len(list(state.glob("*.job")))
(state / f"{number}.job").write_text(text)
for index in range(first, last + 1):
    task = f"{number}_{index}"
    (state / "alive" / task).write_text("")
    log = options["output"].replace("%A", str(number)).replace("%a", str(index))
    env = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index)}
    line = 'bash "$0" >> "$1" 2>&1; rm "$2"'
    words = ["sh", "-c", line, str(script), log, str(state / "alive" / task)]
    subprocess.Popen(words, env=env, start_new_session=True, stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(f"{number};cluster")
"""
SQUEUE = """
import os, sys
from pathlib import Path
state = Path(os.environ["FAKE_SLURM"])
if (state / "down").exists():
    sys.exit("squeue: error: Unable to contact slurm controller")
print("\\n".join(path.name for path in (state / "alive").iterdir()))
"""
SRUN = """
import subprocess, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    del words[0]
try:
    code = subprocess.run(words).returncode
except OSError as error:
    print(f"slurmstepd: error: execve(): {words[0]}: {error.strerror}", file=sys.stderr)
    code = 2
if code:
    print(f"srun: error: node1: task 0: Exited with exit code {code}", file=sys.stderr)
sys.exit(code)
"""
SACCT = "print('OUT_OF_MEMORY')"
SCANCEL = """
import os, sys
from pathlib import Path
(Path(os.environ["FAKE_SLURM"]) / "cancelled").write_text(" ".join(sys.argv[1:]))
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm on PATH; its state is in the folder returned."""
    state, programs = tmp_path / "slurm", tmp_path / "bin"
    (state / "alive").mkdir(parents=True)
    programs.mkdir()
    for name, text in {
        "sbatch": SBATCH,
        "squeue": SQUEUE,
        "srun": SRUN,
        "sacct": SACCT,
        "scancel": SCANCEL,
    }.items():
        path = programs / name
        path.write_text(f"#!{sys.executable} -IS\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    return state


def launcher(given: Job) -> SlurmLauncher:
    return SlurmLauncher(given, interval=0.1, grace=0.3)


def study(root: Path, python: str = sys.executable) -> job.RunStudy:
    return job.RunStudy(root, launcher, python=python, on_cluster=True, log=lambda line: None)


def test_the_scripts_run_the_runs(slurm: Path, tmp_path: Path) -> None:
    plan = plan_of(NETS.replace("seeds = 2", "seeds = 1"))
    study(tmp_path / "s").run(plan)
    found = read_results(tmp_path / "s", plan)
    assert [len(point.finished) for point in found.points] == [1, 1]
    assert found.points[0].means["parameters"].value > 1000
    assert (tmp_path / "s" / "slurm" / "array-1.txt").read_text().splitlines() == [
        str(tmp_path / "s" / "runs" / each / "seed-1") for each in ("0.125", "0.25")
    ]


def test_the_script_asks_for_what_a_run_takes() -> None:
    wanted = Resources(4, 1, "8G", "2:00:00", ("--partition=gpu",))
    given = Job(Path("/s"), "Bypasses & more", wanted, 2, "/opt/my python")
    script = array_script(given, Path("/s/slurm/array-1.txt"), 5)
    assert script == "\n".join(
        [
            "#!/bin/bash",
            "#SBATCH --job-name=sqgen-bypasses---more",
            "#SBATCH --array=0-4%2",
            "#SBATCH --ntasks=1",
            "#SBATCH --cpus-per-task=4",
            "#SBATCH --gres=gpu:1",
            "#SBATCH --mem=8G",
            "#SBATCH --time=2:00:00",
            "#SBATCH --output=/s/slurm/%A_%a.log",
            "#SBATCH --open-mode=append",
            "#SBATCH --requeue",
            "#SBATCH --partition=gpu",
            "# Each job runs one run of a study, which goes on where it was stopped.",
            'folder=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" /s/slurm/array-1.txt)',
            "srun --ntasks=1 '/opt/my python' -m sqgen.sweep.trial \"$folder\"",
            'echo $? > "$folder/exit-code"',
            "",
        ]
    )


# The script of the job, which started srun, which started this.
KILL = "read -r _ _ _ job _ < /proc/$PPID/stat; kill -9 $job"


def test_a_job_that_slurm_ends_is_a_failed_run(slurm: Path, tmp_path: Path) -> None:
    """With its script: nothing says how it ended but the account of Slurm."""
    script = f'case "$folder" in *0.25/seed-1) {KILL};; *) {DONE};; esac'
    plan = plan_of(NETS)
    study(tmp_path / "s", stub_python(tmp_path, script)).run(plan)
    (failed,) = read_results(tmp_path / "s", plan).failed
    assert failed.outcome is not None
    assert failed.outcome.failed == "Slurm ended job 100_1 (OUT_OF_MEMORY); slurm/100_1.log"


def test_a_study_that_was_killed_waits_for_its_jobs(slurm: Path, tmp_path: Path) -> None:
    """The jobs go on meanwhile, and none is submitted twice; squeue may be out of reach."""
    go = tmp_path / "go"
    script = f"while [ ! -e {go} ]; do sleep 0.05; done; {DONE}; echo x >> {tmp_path}/ran"
    plan, python = plan_of(NETS), stub_python(tmp_path, script)

    class Interrupted(SlurmLauncher):
        def ended(self) -> list[Ended]:
            raise KeyboardInterrupt

    first = job.RunStudy(
        tmp_path / "s", Interrupted, python=python, on_cluster=True, log=lambda line: None
    )
    with pytest.raises(SqgenError, match="stopped with 4 runs left, and Slurm goes on with them;"):
        first.run(plan)
    assert not (slurm / "cancelled").exists()
    (slurm / "down").write_text("")
    given = Job((tmp_path / "s").resolve(), "", Resources(), 4, python)
    blind = launcher(given)
    blind._tasks = {tmp_path / "s" / plan.trials[0].folder: "100_0"}
    time.sleep(0.4)
    assert blind.ended() == []
    (slurm / "down").unlink()
    go.write_text("")
    study(tmp_path / "s", python).run(plan)
    assert read_results(tmp_path / "s", plan).missing == []
    arrays = json.loads((tmp_path / "s" / "slurm" / "jobs.json").read_text())
    assert [array["id"] for array in arrays] == ["100"]
    assert (tmp_path / "ran").read_text() == "x\n" * 4


LACKS = "echo 'python: No module named sqgen' >&2; exit 1"
WAIT = "while [ ! -e $FAKE_SLURM/cancelled ]; do sleep 0.05; done"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            f"case $folder in */0.125/seed-1) {LACKS};; *) {WAIT};; esac",
            r"runs/0\.125/seed-1: python: No module named sqgen",
        ),
        (None, r"execve\(\): .*no-python: No such file"),
    ],
)
def test_machines_that_lack_sqgen_end_the_study(
    slurm: Path, tmp_path: Path, script: str | None, message: str
) -> None:
    python = str(tmp_path / "no-python") if script is None else stub_python(tmp_path, script)
    with pytest.raises(SqgenError, match=message) as caught:
        study(tmp_path / "s", python).run(plan_of(NETS))
    assert caught.value.exit_code == 2
    assert script is None or (slurm / "cancelled").read_text() == "100"
    assert not list((tmp_path / "s").rglob("outcome.json"))


def test_a_machine_with_another_version_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "trial.json").write_text('{"sqgen": "9.9"}')
    words = [sys.executable, "-m", "sqgen.sweep.trial", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "the study 9.9" in done.stderr
    (folder / "trial.json").unlink()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "has no trial.json that" in done.stderr
    assert list(folder.iterdir()) == []


def test_without_slurm_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DesignError, match="--on slurm: there is no sbatch here"):
        study(tmp_path / "s").run(plan_of(NETS))
    assert not (tmp_path / "s" / "runs").exists()


def test_what_sbatch_refuses_is_one_line(slurm: Path, tmp_path: Path) -> None:
    (slurm / "refuse").write_text("")
    with pytest.raises(SqgenError, match=r"sbatch .*: sbatch: error: invalid partition") as caught:
        study(tmp_path / "s").run(plan_of(NETS))
    assert caught.value.exit_code == 2
