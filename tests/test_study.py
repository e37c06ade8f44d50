"""`sqgen study`: runs in their folders, what is missing, failures, and the numbers in the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sqgen.errors import DesignError, FormatError, OutputError, SqgenError
from sqgen.host import available_cores
from sqgen.runner import preflight
from sqgen.sweep import job, local
from sqgen.sweep.launcher import Ended
from sqgen.sweep.outcome import Outcome, read_outcome, write_outcome
from sqgen.sweep.plan import Plan, make_plan
from sqgen.sweep.ready_studies import find_study
from sqgen.sweep.results import read_results, result_json
from sqgen.sweep.steps import STEPS, Context, Made
from sqgen.sweep.study_file import read_study, with_settings
from sqgen.sweep.t_interval import mean_of, t_probability, t_quantile
from sqgen.sweep.trial import SPEC, Trial
from sqgen.sweep.trial import main as trial_main
from sqgen.tools.study_commands import CommandOptions
from sqgen.tools.study_machine import check_machine

from .conftest import Run
from .test_study_file import plan_of

# Nets alone: a run takes no training.
NETS = """
format = 1
seeds = 2
measure = ["parameters", "macs"]
[build]
size = 32
classes = 10
fire-modules = 2
pool-after = "none"
[grid]
build.sr = [0.125, 0.25]
"""

TRAINS = NETS + "[data]\ntrain = '.'\nval = '.'\n[train]\nmax-iter = 1000\n"


class InProcess:
    """Runs each run when it is asked; `die` after so many."""

    def __init__(self, after: int | None = None) -> None:
        self.left: list[Path] = []
        self.ran: list[str] = []
        self._after = after

    def submit(self, folders: Any) -> None:
        self.left += folders

    def ended(self) -> list[Ended]:
        if self._after is not None and len(self.ran) >= self._after:
            raise KeyboardInterrupt
        folder = self.left.pop(0)
        self.ran.append(folder.name)
        write_outcome(folder, self.outcome(folder))
        return [Ended(folder)]

    def outcome(self, folder: Path) -> Outcome:
        spec = json.loads((folder / SPEC).read_text())
        top1 = 0.5 + 0.01 * spec["seed"] + (0.1 if "0.25" in spec["label"] else 0.0)
        return Outcome(measures={"top1": top1, "parameters": 100.0}, seconds=30.0)

    def stop(self, *, cancel: bool) -> str:
        return ""


class Failing(InProcess):
    def outcome(self, folder: Path) -> Outcome:
        if folder.name == "seed-2" and "0.25" in folder.parent.name:
            return Outcome(failed="train: the loss is nan")
        return super().outcome(folder)


def run_study(root: Path, plan: Plan, engine: InProcess | None = None, **more: Any) -> InProcess:
    engine = engine or InProcess()
    lines: list[str] = []
    job.RunStudy(root, lambda given: engine, log=lines.append, **more).run(plan)
    return engine


def test_a_stopped_study_runs_what_is_missing(tmp_path: Path) -> None:
    plan = plan_of(NETS)
    with pytest.raises(SqgenError, match="stopped with 3 runs left; the same command goes on"):
        run_study(tmp_path / "s", plan, InProcess(after=1))
    assert len(run_study(tmp_path / "s", plan).ran) == 3
    assert run_study(tmp_path / "s", plan).ran == []
    more = plan_of(NETS.replace("0.25]", "0.25, 0.5]").replace("seeds = 2", "seeds = 3"))
    assert len(run_study(tmp_path / "s", more).ran) == 5


def test_other_options_need_another_folder(tmp_path: Path) -> None:
    run_study(tmp_path / "s", plan_of(NETS))
    other = plan_of(NETS.replace("classes = 10", "classes = 11"))
    with pytest.raises(DesignError, match=r"is of a study with build .*--classes 10.* not .*11"):
        run_study(tmp_path / "s", other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    with pytest.raises(OutputError, match="is no folder of a study, and not empty"):
        run_study(tmp_path / "mine", other)


def test_a_second_study_in_a_folder_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sqgen.sweep.folder_lock import FolderLock\n"
        "with FolderLock(Path(sys.argv[1]), 'a study'): print('x', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", code, str(tmp_path / "s")]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputError, match=f"process {other.pid} runs a study there"):
            run_study(tmp_path / "s", plan_of(NETS))
        other.communicate()
    run_study(tmp_path / "s", plan_of(NETS))


def test_failed_runs_stay_with_their_reason(tmp_path: Path) -> None:
    plan = plan_of(TRAINS.replace('["parameters", "macs"]', '["top1", "seconds"]'))
    run_study(tmp_path / "s", plan, Failing())
    found = read_results(tmp_path / "s", plan)
    assert [run.outcome and run.outcome.failed for run in found.failed] == [
        "train: the loss is nan"
    ]
    assert found.points[1].means["top1"].n == 1
    assert found.points[1].differences["top1"].seeds == (1,)
    assert run_study(tmp_path / "s", plan).ran == []
    assert run_study(tmp_path / "s", plan, retry=True).ran == ["seed-2"]
    assert read_results(tmp_path / "s", plan).failed == []


def test_numbers_say_from_which_runs_they_come(tmp_path: Path) -> None:
    plan = plan_of(TRAINS.replace('["parameters", "macs"]', '["top1", "parameters"]'))
    run_study(tmp_path / "s", plan)
    plain = result_json(read_results(tmp_path / "s", plan))
    first, second = plain["points"]
    assert first["baseline"] is None
    assert second["baseline"] == "0.125"
    top1 = second["measures"]["top1"]
    assert top1["mean"] == pytest.approx(0.615)
    assert top1["standard_error"] == pytest.approx(0.005)
    difference = top1["difference"]
    assert (difference["n"], difference["seeds"]) == (2, [1, 2])
    assert [difference[key] for key in ("low", "mean", "high")] == pytest.approx([0.1] * 3)
    for run in second["runs"]:
        assert (tmp_path / "s" / run["folder"] / "outcome.json").is_file()


def test_the_t_interval_is_that_of_the_tables() -> None:
    """Student's t of 0.975, as any table has it."""
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 10: 2.228, 30: 2.042, 99: 1.984}
    for freedom, t in table.items():
        assert t_quantile(0.975, freedom) == pytest.approx(t, abs=6e-4)
        assert t_probability(t_quantile(0.975, freedom), freedom) == pytest.approx(0.95)
    mean = mean_of([1.0, 2.0, 3.0])
    assert mean is not None
    low, high = mean.interval() or (0, 0)
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    alone = mean_of([1.0])
    assert alone is not None
    assert (alone.error, alone.interval()) == (None, None)


def test_cores_are_shared() -> None:
    plan = plan_of(NETS)
    cores = available_cores()
    slots, resources = job.share_cores(plan, None)
    assert slots * (resources.threads or 0) <= cores
    assert job.share_cores(plan, 1)[1].threads == cores
    assert job.share_cores(plan, 3 * cores)[1].threads == 1
    fixed = plan_of(NETS + "[resources]\nthreads = 1000")
    assert job.share_cores(fixed, None)[0] == 1


def stub_python(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\nfor folder; do :; done\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


DONE = """printf '{"measures": {"parameters": 1.0}}' > "$folder/outcome.json" """


def test_processes_that_die_are_failed_runs(tmp_path: Path) -> None:
    script = f'case "$folder" in *0.25/seed-1) kill -9 $$;; *) {DONE};; esac'
    plan, root = plan_of(NETS), tmp_path / "s"
    run = job.RunStudy(root, local.LocalLauncher, jobs=2, python=stub_python(tmp_path, script))
    run.run(plan)
    found = read_results(root, plan)
    assert [(run.folder, run.outcome and run.outcome.failed) for run in found.failed] == [
        ("runs/0.25/seed-1", "killed by SIGKILL")
    ]
    assert len(found.points[0].finished) == 2


def test_each_run_has_its_own_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that this process sees; the last two runs take what the first two leave."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    script = f"echo $CUDA_VISIBLE_DEVICES >> {tmp_path}/seen; sleep 0.1; {DONE}"
    plan = plan_of(NETS + "[resources]\ngpus = 1\nthreads = 1")
    python = stub_python(tmp_path, script)
    job.RunStudy(tmp_path / "s", local.LocalLauncher, jobs=2, python=python).run(plan)
    assert sorted((tmp_path / "seen").read_text().split()) == ["4", "4", "7", "7"]
    monkeypatch.setattr(job, "list_gpus", list)
    with pytest.raises(DesignError, match="gpus: 1 a run; this machine has 0"):
        job.share_cores(plan, None)


LACKS = {
    "[data]\ntrain = 'tr'\nval = '.'": r"\[data\] train: .*/tr: no such file or folder; paths are",
    "[data]\ntrain = '.'\nval = 'here'": "did you mean '.*/there'",
    "[train]\nweights = 'there,gone'": "train.weights: gone: no such file or folder",
    "[build]\nmean-file = 'm.binaryproto'": "build.mean-file: m.binaryproto: no such file",
    "[train]\ngpu = '0'": r"\[train\] --gpu 0: this machine has no GPU .*; write cpu = true",
    "[train]": r"\[build\] cpu: no GPU to train on is here; write cpu = true",
}


@pytest.mark.parametrize("text", LACKS)
def test_what_this_machine_lacks_is_told_before_a_run_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    if "data" not in text:
        pytest.importorskip("cv2", reason="needs the extra sqgen[engine]")
        pytest.importorskip("torch", reason="needs the extra sqgen[engine]")
    monkeypatch.setattr(preflight, "list_gpus", list)
    monkeypatch.setattr(preflight, "_driver_lists_gpus", lambda: True)
    (tmp_path / "there").mkdir()
    heading = text.partition("\n")[0]
    old = "[data]\ntrain = '.'\nval = '.'" if heading == "[data]" else heading
    (tmp_path / "s.toml").write_text(TRAINS.replace(old, text))
    plan = make_plan(read_study(tmp_path / "s.toml"), CommandOptions())
    root = tmp_path / "s"
    with pytest.raises(SqgenError, match=rf"^{tmp_path}/s\.toml: .*{LACKS[text]}") as caught:
        check_machine(root, plan, None, False, runs_engine=True)
    assert caught.value.exit_code == 2
    assert not root.exists()
    run_study(root, plan)
    check_machine(root, plan, None, False, runs_engine=True)  # nothing is left to run


def test_what_damages_a_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An outcome or a finished step of garbage, and a file where a step has its folder."""
    plan, root = plan_of(NETS), tmp_path / "s"
    run_study(root, plan)
    first, second = (root / trial.folder for trial in plan.trials[:2])
    (first / "outcome.json").write_bytes(b"\xe1\xff")
    with pytest.raises(FormatError, match=r"outcome\.json: damaged \(.*\); remove it to run that"):
        run_study(root, plan)
    (second / "outcome.json").unlink()
    (second / "build").write_text("")
    assert trial_main([str(second)]) == 3
    assert capsys.readouterr().err == f"sqgen: {second}/build: file exists\n"
    (second / "build").unlink()
    for garbage in ("{", "[]", "{}"):
        (second / "build").mkdir(exist_ok=True)
        (second / "build" / "output.json").write_text(garbage)
        failed = Trial(second, plan.trials[1].spec).run().failed
        assert failed is not None
        assert failed.startswith(f"{second}/build/output.json: damaged; remove it")


def test_a_machine_that_can_run_nothing_ends_the_study(tmp_path: Path) -> None:
    python = stub_python(tmp_path, "echo 'sqgen: no such disk' >&2; exit 3")
    run = job.RunStudy(tmp_path / "s", local.LocalLauncher, python=python)
    with pytest.raises(SqgenError, match=r"runs/0\.125/seed-1: no such disk") as caught:
        run.run(plan_of(NETS))
    assert caught.value.exit_code == 2


def test_runs_end_with_a_study_that_is_killed(tmp_path: Path) -> None:
    """Nothing of it is left, and the same command goes on."""
    (tmp_path / "s.toml").write_text(NETS)
    # In place of the first command of a run; it would go on for a minute.
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if 'build' in sys.argv or '-m' in sys.orig_argv and 'build' in sys.orig_argv:\n"
        "    open(os.environ['STARTED'], 'a').write(f'{os.getpid()}\\n'); time.sleep(60)\n"
    )
    started = tmp_path / "started"
    env = {**os.environ, "PYTHONPATH": str(slow), "STARTED": str(started)}
    words = [sys.executable, "-m", "sqgen", "study", "s.toml", "-o", "s", "--jobs", "1"]
    with subprocess.Popen(words, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as study:
        wait_for(lambda: started.exists() and started.read_text().endswith("\n"))
        study.kill()
    pid = int(started.read_text().split()[0])
    wait_for(lambda: not is_alive(pid))
    done = subprocess.run(
        [*words, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    plain = json.loads(done.stdout)
    assert [point["n"] for point in plain["points"]] == [2, 2]
    assert plain["points"][0]["measures"]["parameters"]["standard_error"] == 0


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_bad_input_is_one_line(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(NETS)
    for words, message in {
        (): "name a study, or give --list; see sqgen study --help",
        ("s.toml",): "give -o DIR",
        ("bypas", "-o", "s"): "no such file, and no study of that name; did you mean 'bypass'?",
        ("no.toml", "-o", "s"): "no.toml: no such file",
        ("s.toml", "-o", "s", "--set", "build.sr=1"): "this varies in the study",
        ("s.toml", "-o", "s.toml"): "s.toml",
    }.items():
        done = sqgen("study", *words)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "s").exists()


def test_a_dry_run_starts_nothing(sqgen: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(NETS)
    done = sqgen("study", "s.toml", "--dry-run", "--jobs", "1")
    assert "4 of 4 runs to do, 1 at a time" in done.stdout
    assert "(a guess: none has run yet)" in done.stdout
    plain = json.loads(sqgen("study", "s.toml", "--dry-run", "--json").stdout)
    assert [run["label"] for run in plain["runs"]] == ["0.125", "0.25", "0.125", "0.25"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.toml"]


def test_the_estimate_follows_what_runs_took(tmp_path: Path) -> None:
    from sqgen.sweep.estimate import estimate

    plan = plan_of(TRAINS)
    before = estimate(tmp_path / "s", plan, 1, 1)
    with pytest.raises(SqgenError):
        run_study(tmp_path / "s", plan, InProcess(after=2))
    after = estimate(tmp_path / "s", plan, 1, 1)
    assert (before.measured, after.measured) == (0, 2)
    assert after.total == pytest.approx(2 * 30, rel=0.2)


@pytest.mark.slow
def test_a_run_trains_and_compresses(tmp_path: Path, forked_engine: None) -> None:
    """Each step takes what the one before left; a run that was stopped keeps what it has."""
    pytest.importorskip("torch", reason="needs the extra sqgen[engine]")
    pytest.importorskip("sklearn", reason="needs the extra sqgen[digits]")
    plan = plan_of(PIPELINE)
    root = tmp_path / "s"
    (root / "runs").mkdir(parents=True)
    job.make_data(root, plan.datasets, lambda line: None)
    (trial,) = plan.trials
    folder = root / trial.folder
    folder.mkdir(parents=True)
    outcome = Trial(folder, trial.spec).run()
    assert outcome.failed is None
    found = outcome.measures
    assert found["top1"] == found["compress.top1"]
    assert {"train.top1", "train.loss", "compress.loss", "seconds"} < set(found)
    assert found["bytes"] == (folder / "compress" / "weights.sqz").stat().st_size
    assert (folder / "train" / "run" / "result.json").is_file()
    # Killed before it kept what the training printed, and before its result: with the snapshot of
    # iteration 2, it begins anew; with that of 1, it goes on.
    (folder / "train" / "output.json").unlink()
    assert Trial(folder, trial.spec).run().measures == found
    for last in (2, 1):
        (folder / "train" / "output.json").unlink()
        shutil.rmtree(folder / "train" / "run")
        for path in (folder / "train").glob("net_iter_*"):
            if last == 1 and "_2." in path.name:
                path.unlink()
        log = (folder / "log.txt").read_text()
        again = Trial(folder, trial.spec).run()
        assert again.failed is None
        assert again.measures["train.loss"] == found["train.loss"]
        assert ("seconds" in again.measures) == (last == 2)
        new = (folder / "log.txt").read_text().removeprefix(log)
        assert re.findall(r"sqgen (train)\b", new) == ["train"] * last


@pytest.mark.slow
def test_a_shipped_study_runs(tmp_path: Path, forked_engine: None) -> None:
    """That with most steps: training, pruning, fine-tuning."""
    pytest.importorskip("torch", reason="needs the extra sqgen[engine]")
    pytest.importorskip("sklearn", reason="needs the extra sqgen[digits]")
    settings = ["dense.max-iter=1", "tune.max-iter=1", "data.train=1700"]
    found = with_settings(read_study(find_study("pruning")), settings)
    plan = make_plan(replace(found, seeds=(1,)), CommandOptions())
    trial = next(trial for trial in plan.trials if trial.point.label == "uniform")
    (data,) = (each for each in plan.datasets if each.folder in trial.spec["data"]["train"])
    job.make_data(tmp_path, [data], lambda line: None)
    folder = tmp_path / trial.folder
    folder.mkdir(parents=True)
    outcome = Trial(folder, trial.spec).run()
    assert outcome.failed is None
    assert set(outcome.measures) >= {*found.measures}


PIPELINE = """
format = 1
[data]
command = "data digits"
train = 1790
[build]
version = "1.1"
fire-modules = 2
base-e = 8
incr-e = 8
stem-filters = 8
pool-after = "none"
classes = 10
size = 32
classifier-filler = "xavier"
classifier-relu = false
batch-size = 20
effective-batch = 20
crop = false
mean-values = [77.6]
scale = 0.0078125
max-iter = 2
test-interval = 2
snapshot = 1
val-images = 7
val-batch-size = 7
cpu = true
[train]
[compress]
command = "compress train"
bits = 4
density = "0.5"
steps = 1
max-iter = 1
"""


def test_runs_of_a_seed_share_steps(tmp_path: Path) -> None:
    """Once for each seed; what comes after finds what they left."""
    text = NETS.replace("[build]", "[build]\nshare = true").partition("[grid]")[0]
    text += "[again]\ncommand = 'build'\nclasses = 3\n[[list]]\nname = 'one'\nsteps = ['build']\n"
    plan = plan_of(text + "[[list]]\nname = 'two'\nagain.size = 40\n")
    labels = [trial.point.label for trial in plan.trials]
    assert labels == ["one", "one", "two", "two"]
    places = {trial.spec["steps"][0]["shared"] for trial in plan.trials}
    assert len(places) == 2
    for trial in plan.trials:
        folder = tmp_path / trial.folder
        folder.mkdir(parents=True)
        outcome = Trial(folder, trial.spec).run()
        assert outcome.failed is None
        assert outcome.measures["parameters"] > 1000
        log = folder / "log.txt"
        shown = log.read_text() if log.exists() else ""
        # The first of each seed builds it.
        assert shown.count("/build; sqgen build") == (trial.point.label == "one")
        assert (folder / "again" / "deploy.prototxt").exists() == (trial.point.label == "two")
    assert len(list((tmp_path / "shared").glob("*/*/build/deploy.prototxt"))) == 2


def test_steps_take_what_others_left() -> None:
    """As paths from the folder of a step."""
    made = Made("/d/train", "../data/val")
    lines: list[str] = []
    printed = {"snapshots": ["a.caffemodel", "b.caffemodel"], "bytes": 7}
    for command in ("build", "train", "prune", "train", "quantize", "test", "compress encode"):
        at = Context("tune" if lines[1:] and command == "train" else command, made, 3, ["seed"])
        lines.append(" ".join(STEPS[command].calls(at)[0].words))
        made = STEPS[command].leaves(at, printed)
    assert lines == [
        "build --out . --snapshot-prefix net --random-seed 3",
        "train --run-dir run --json --solver ../build/solver.prototxt --data /d/train"
        " --val-data ../../data/val",
        "prune ../train/b.caffemodel --out pruned --json --net ../build/train_val.prototxt"
        " --data /d/train",
        "train --run-dir run --json --solver ../prune/pruned/solver.prototxt --data /d/train"
        " --val-data ../../data/val --weights ../prune/pruned/pruned.caffemodel",
        "quantize ../tune/b.caffemodel --out bits --json --net ../prune/pruned/deploy.prototxt"
        " --data /d/train",
        "test --run-dir run --json --model ../prune/pruned/train_val.prototxt"
        " --weights ../tune/b.caffemodel --data ../../data/val"
        " --quantize ../quantize/bits/bits.toml",
        "compress encode ../tune/b.caffemodel -o weights.sqz --json"
        " --net ../prune/pruned/deploy.prototxt",
    ]
    assert (made.weights, made.compressed) == ("compress encode/decoded.caffemodel", 7)
    # Fine-tuned weights are floats again, unless they are trained with bits.
    for bits, size in ((None, None), ("bits.toml", 7)):
        at = Context("tune", replace(made, bits=bits), 3, [])
        assert STEPS["train"].leaves(at, printed).compressed == size


def test_a_step_that_fails_is_named_with_its_last_line(tmp_path: Path) -> None:
    plan = plan_of(NETS.replace("[grid]", "[train]\nsolver = 'none.prototxt'\n[grid]"))
    folder = tmp_path / plan.trials[0].folder
    folder.mkdir(parents=True)
    outcome = Trial(folder, plan.trials[0].spec).run()
    assert outcome.failed is not None
    assert outcome.failed.startswith("train: none.prototxt: no such file")
    assert read_outcome(folder) is None
