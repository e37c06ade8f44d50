"""Time `sqgen data create` with one job and with two; check that its memory stays constant.

The images are JPEGs of ImageNet's usual size, resized to 256x256. Every run is a process of its
own; the time of its start, measured with two images, is subtracted. The goals are 1.7 times as many
images per second on two cores, and memory that does not grow with the number of images. (BVLC's
converter reaches about 256 per second.)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

GOAL = 1.7
FLAT = 1.1  # times the memory of half the images
IMAGES = 1600
TIMES = 3


def make_images(folder: Path, count: int) -> None:
    """Write the requested number of files of a few different pictures, and their list."""
    random = np.random.default_rng(1)
    files = []
    for _ in range(16):
        coarse = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC)
        grain = random.integers(0, 24, picture.shape, dtype=np.uint8)
        files.append(cv2.imencode(".jpg", cv2.add(picture, grain))[1].tobytes())
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(files[number % len(files)])


def run(folder: Path, count: int, jobs: int, *options: str) -> tuple[float, float]:
    """Return the seconds and peak megabytes of one run."""
    (folder / "list").write_text("".join(f"{n}.jpg {n % 10}\n" for n in range(count)))
    command = [sys.executable, "-m", "sqgen", "data", "create", str(folder), "--force"]
    command += ["--list", str(folder / "list"), "-o", str(folder / "lmdb"), "--jobs", str(jobs)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--resize", "256x256", *options], stderr=subprocess.PIPE)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        assert process.stderr is not None
        raise SystemExit(process.stderr.read().decode())
    process.returncode = 0
    return seconds, used.ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20)


def rate(folder: Path, jobs: int, *options: str) -> float:
    """Return images per second in the best of a few runs."""
    empty = min(run(folder, 2, jobs, *options)[0] for _ in range(TIMES))
    full = min(run(folder, IMAGES, jobs, *options)[0] for _ in range(TIMES))
    return (IMAGES - 2) / (full - empty)


def main() -> None:
    """Measure and print; return exit code 1 if a goal is missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder, 2 * IMAGES)
        missed = False
        for title, options in (("raw", ()), ("encoded", ("--encoded", "jpg"))):
            one, two = (rate(folder, jobs, *options) for jobs in (1, 2))
            missed |= two < GOAL * one
            print(
                f"{title}: {one:.0f} images/s on one job, {two:.0f} on two: {two / one:.2f} times"
            )
        part, whole = (run(folder, count, 2)[1] for count in (IMAGES, 2 * IMAGES))
        missed |= whole > FLAT * part
        print(f"memory: {part:.0f} MB for {IMAGES} images, {whole:.0f} MB for {2 * IMAGES}")
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
