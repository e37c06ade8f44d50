"""Fine-tune the published 660 KB SqueezeNet on 200 ImageNet images, against logistic regression.

    python benchmarks/finetune.py ../shared/imagenet_sample [--seeds 5] [--tasks two,six]

Two tasks: animal or object (a label below 398 or not), and six groups (`GROUPS`). Each seed is
another split: 160 images to train on and 40 to validate, of which no method sees the labels but
fine-tuning all layers, which keeps its best weights by them; `last` is the score without that
choice. The baseline is scikit-learn's LogisticRegression, with its defaults, on the features of
fire9/concat of the frozen net, averaged over positions, of the same 160 images.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

SQGEN = [sys.executable, "-m", "sqgen"]
FIRST_OBJECT = 398
CANINES, FOOD = range(151, 281), (*range(924, 970), *range(984, 999))  # and plants and fungi
CLOTHES = (399, 414, 443, 445, 461, 465, 501, 518, 601, 617, 652, 655, 735, 774, 793, 834)
# Buildings and vehicles; labels of the sample only.
PLACES = (
    *(415, 442, 449, 460, 468, 471, 475, 510, 565, 581, 609, 612, 640, 663, 671, 743, 762, 791),
    *(812, 825, 847, 864, 866, 870, 873, 874),
)
GROUPS = ("canine", "other animal", "food or plant", "clothing", "building or vehicle", "object")


def two(label: int) -> str:
    return "animal" if label < FIRST_OBJECT else "object"


def six(label: int) -> str:
    kinds = (CANINES, range(FIRST_OBJECT), FOOD, CLOTHES, PLACES)
    return GROUPS[next((i for i, kind in enumerate(kinds) if label in kind), len(kinds))]


TASKS = {"two": two, "six": six}


class Run(NamedTuple):
    """Accuracies on the 40 validation images of a seed, and seconds: by the clock, and of CPU."""

    majority: float
    baseline: float
    linear: float
    all_layers: float
    last: float
    linear_seconds: tuple[float, float]
    all_seconds: tuple[float, float]


def sqgen(*arguments: str | Path) -> str:
    command = [*SQGEN, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def make_pictures(sample: Path, task: str, folder: Path) -> Path:
    """Link the images into a folder for each class."""
    for line in (sample / "val.txt").read_text().splitlines():
        name, label = line.split()
        group = folder / TASKS[task](int(label))
        group.mkdir(parents=True, exist_ok=True)
        (group / name).symlink_to((sample / "images" / name).resolve())
    return folder


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def finetune(
    pictures: Path, weights: Path, out: Path, seed: int, *more: str
) -> tuple[Any, tuple[float, float]]:
    """Return the result of the command, and its seconds."""
    start, cpu = time.perf_counter(), cpu_seconds()
    options = ("--weights", weights, "--seed", str(seed), "-o", out, "--cpu", "--quiet", "--json")
    result = json.loads(sqgen("finetune", pictures, *options, *more))
    return result, (time.perf_counter() - start, cpu_seconds() - cpu)


def baseline(folder: Path) -> float:
    """Fit and score scikit-learn's logistic regression on the split of a fine-tuning."""
    sets = []
    for name in ("train", "val"):
        out = folder / f"{name}.npz"
        net = ("--net", folder / "deploy.prototxt", "--weights", folder / "mapped.caffemodel")
        sqgen(
            "features",
            *net,
            "--layer",
            "fire9/concat",
            "--pool",
            folder / f"{name}_lmdb",
            "-o",
            out,
        )
        with np.load(out) as file:
            sets.append((file["features"].astype(np.float64), file["labels"]))
    (x, y), (x_val, y_val) = sets
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(max_iter=1000).fit(x, y)
    return float(model.score(x_val, y_val))


def run(pictures: Path, weights: Path, folder: Path, seed: int) -> Run:
    linear, linear_seconds = finetune(pictures, weights, folder / "linear", seed, "--linear")
    result, seconds = finetune(pictures, weights, folder / "all", seed)
    record = json.loads((folder / "all" / "train" / "result.json").read_text())
    last = record["segments"][-1]["test"][-1]["outputs"]["accuracy_top1"]
    scores = (linear["majority"]["value"], baseline(folder / "linear"), top1(linear))
    return Run(*scores, top1(result), last, linear_seconds, seconds)


def top1(result: Any) -> float:
    return float(result["accuracies"][0]["value"])


def mean(values: Sequence[float], sign: str = "") -> str:
    """Format the mean, and over several seeds its standard error."""
    text = f"{statistics.fmean(values):{sign}.4f}"
    if len(values) == 1:
        return text
    return f"{text} +- {statistics.stdev(values) / math.sqrt(len(values)):.4f}"


def report(task: str, runs: Sequence[Run]) -> None:
    print(f"{task} classes, {len(runs)} {'seeds' if len(runs) > 1 else 'seed'}")
    for name in ("majority", "baseline", "linear", "all_layers", "last"):
        value = mean([getattr(each, name) for each in runs])
        gain = mean([getattr(each, name) - each.baseline for each in runs], "+")
        print(f"  {name:<12} top1 {value}   minus baseline {gain}")
    for name in ("linear_seconds", "all_seconds"):
        clock, cpu = zip(*(getattr(each, name) for each in runs), strict=True)
        print(
            f"  {name:<15} {statistics.median(clock):.0f} s (at most {max(clock):.0f}),"
            f" {statistics.median(cpu):.0f} s of CPU (at most {max(cpu):.0f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sample", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", default="two,six")
    options = parser.parse_args()
    weights = options.sample / "compressed_SqueezeNet.net"
    for task in options.tasks.split(","):
        runs = []
        with tempfile.TemporaryDirectory() as name:
            pictures = make_pictures(options.sample, task, Path(name) / "pictures")
            for seed in range(options.seeds):
                folder = Path(name) / str(seed)
                folder.mkdir()
                runs.append(run(pictures, weights, folder, seed))
                print(f"{task} seed {seed}: {runs[-1]}", flush=True)
                shutil.rmtree(folder)
        report(task, runs)


if __name__ == "__main__":
    main()
