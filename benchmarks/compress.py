"""Time `sqgen compress`, and compare its k-means with a library's.

The weights are random ones of SqueezeNet v1.0, a third of them nonzero, which is harder than the
published ones, whose values are shared already. Times are of whole commands; the goals are less
than 10 s to encode and 1 s to decode. k-means is compared with scikit-learn's, layer by layer in
the same process, by time and squared error. Needs `sqgen[digits]`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from sqgen import build, parse_net, preset
from sqgen.compress.prune import prune
from sqgen.compress.sharing import k_means
from sqgen.compress.weighted_layers import find_weighted_layers, to_model
from sqgen.formats.caffemodel import serialize

ENCODE, DECODE = 10.0, 1.0  # seconds
BITS = 6
TIMES = 3


def weights() -> list[list[np.ndarray]]:
    """Return random blobs of the net, heavy-tailed as trained weights are."""
    random = np.random.default_rng(1)
    slots = find_weighted_layers(parse_net(build(preset("v1.0"), "deploy")))
    made = []
    for slot in slots:
        first, *rest = (random.laplace(0, 0.05, shape).astype(np.float32) for shape in slot.shapes)
        made.append([prune(first, 1 / 3), *rest])
    return made


def seconds(*arguments: str) -> float:
    """Return the shortest time of a few runs of a command."""
    spent = []
    for _ in range(TIMES):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "sqgen", "compress", *arguments, "--force"],
            check=True,
            capture_output=True,
        )
        spent.append(time.perf_counter() - start)
    return min(spent)


def commands(blobs: list[list[np.ndarray]], folder: Path) -> bool:
    """Time encoding and decoding; return whether a goal is missed."""
    text = build(preset("v1.0"), "deploy")
    (folder / "net").write_text(text)
    net = parse_net(text)
    model = to_model(net, find_weighted_layers(net), blobs)
    (folder / "w.caffemodel").write_bytes(serialize(model, "w"))
    of = ["--net", str(folder / "net"), "-o"]
    encode = seconds("encode", str(folder / "w.caffemodel"), *of, str(folder / "w.sqz"))
    decode = seconds("decode", str(folder / "w.sqz"), *of, str(folder / "back.caffemodel"))
    print(f"encode {encode:.2f} s (goal {ENCODE:g}), decode {decode:.2f} s (goal {DECODE:g})")
    return encode > ENCODE or decode > DECODE


def against_library(blobs: list[list[np.ndarray]]) -> bool:
    """Run both k-means on the largest layers; return whether sqgen's is worse or slower."""
    ours = theirs = error = other = 0.0
    for first, *_ in sorted(blobs, key=lambda one: -one[0].size)[:4]:
        there = first[first != 0]
        start = time.perf_counter()
        values = k_means(there, (1 << BITS) - 1)
        ours += time.perf_counter() - start
        error += float(((there[:, None] - values) ** 2).min(1).sum())
        start = time.perf_counter()
        fitted = KMeans((1 << BITS) - 1, n_init=1, random_state=1).fit(there[:, None])
        theirs += time.perf_counter() - start
        other += float(fitted.inertia_)
    print(f"k-means: {theirs / ours:.1f} times scikit-learn's speed, {error / other:.3f} its error")
    return theirs < ours or error > other


def main() -> None:
    """Measure and print; return exit code 1 if a goal is missed."""
    blobs = weights()
    with tempfile.TemporaryDirectory() as name:
        missed = commands(blobs, Path(name))
    missed |= against_library(blobs)
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
