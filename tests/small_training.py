"""A net of 413 weights, with data and initial weights, that trains in milliseconds."""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sqgen import LogResult, parse_log
from sqgen.engine import command
from sqgen.formats.caffemodel import (
    blob_array,
    fill_blob,
    read_caffemodel,
    read_solver_state,
)
from sqgen.formats.schema import Datum, NetParameter, NetState, SolverState
from sqgen.nets.definition import NetDefinition, parse_net
from sqgen.nets.shapes import require_shapes

from . import engine_server
from .databases import image_file, make_lmdb

RECORDS, CLASSES, IMAGE = 64, 5, (3, 12, 10)

Array = np.ndarray[Any, Any]

# What solvers start from, and what nets read: seen from the folder of a run.
START, DATA = "start.caffemodel", "../data"
SOLVER = f'net: "net.prototxt" weights: "{START}" snapshot_prefix: "s" solver_mode: CPU '

TRANSFORM = "mean_value: 120 scale: 0.015625"
RANDOM = f"{TRANSFORM} mirror: true crop_size: 9"


def data(phase: str, batch: int, transform: str = TRANSFORM, rule: str = "") -> str:
    """A Data layer for one phase."""
    return (
        f'layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: {phase}'
        f" {rule} }} transform_param {{ {transform} }}"
        f' data_param {{ source: "{DATA}" backend: LMDB batch_size: {batch} }} }}\n'
    )


def convolution(
    name: str, bottom: str, outputs: int, params: str = "", kernel: int = 3, more: str = ""
) -> str:
    """A Convolution."""
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {params}'
        f" convolution_param {{ num_output: {outputs} kernel_size: {kernel}"
        f' weight_filler {{ type: "msra" }} {more} }} }}\n'
    )


RELU1 = 'layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }\n'
POOL1 = (
    'layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"'
    " pooling_param { pool: MAX kernel_size: 3 stride: 2 } }\n"
)
POOL2 = (
    'layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"'
    " pooling_param { pool: AVE global_pooling: true } }\n"
)


def inner_product(name: str = "ip", bottom: str = "pool2", params: str = "") -> str:
    """An InnerProduct with an output for each class."""
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {params}'
        f" inner_product_param {{ num_output: {CLASSES}"
        ' weight_filler { type: "xavier" } } }\n'
    )


def loss(bottom: str = "ip", name: str = "loss", more: str = "") -> str:
    """A SoftmaxWithLoss."""
    return (
        f'layer {{ name: "{name}" type: "SoftmaxWithLoss" bottom: "{bottom}" bottom: "label"'
        f' top: "{name}" {more} }}\n'
    )


def accuracy(more: str = "include { phase: TEST }", name: str = "accuracy") -> str:
    """An Accuracy."""
    return (
        f'layer {{ name: "{name}" type: "Accuracy" bottom: "ip" bottom: "label"'
        f' top: "{name}" {more} }}\n'
    )


def net(
    *,
    inputs: str = data("TRAIN", 8) + data("TEST", 16),
    conv1: str = "",
    middle: str = RELU1 + POOL1,
    conv2: str = "",
    ip: str = "",
    scores: str = loss() + accuracy(),
) -> str:
    """The net, with `param`s or more of its layers, or with layers of its own in a part."""
    return (
        'name: "small"\n'
        + inputs
        + convolution("conv1", "data", 6, conv1)
        + middle
        + convolution("conv2", "pool1", 4, conv2)
        + POOL2
        + inner_product(params=ip)
        + scores
    )


def batch_norm(name: str, more: str = "") -> str:
    """A BatchNorm with its Scale, both in place."""
    return (
        f'layer {{ name: "{name}/bn" type: "BatchNorm" bottom: "{name}" top: "{name}" {more} }}\n'
        f'layer {{ name: "{name}/scale" type: "Scale" bottom: "{name}" top: "{name}"'
        " scale_param { bias_term: true } }\n"
    )


def dropout(name: str) -> str:
    """A Dropout in place."""
    return (
        f'layer {{ name: "{name}/drop" type: "Dropout" bottom: "{name}" top: "{name}"'
        " dropout_param { dropout_ratio: 0.3 } }\n"
    )


def records() -> list[bytes]:
    """Serialized Datums: a colour and a pattern for each class, and noise."""
    random = np.random.default_rng(20)
    colors = random.uniform(50, 200, (CLASSES, IMAGE[0], 1, 1))
    patterns = colors + random.normal(0, 20, (CLASSES, *IMAGE))
    made = []
    for _ in range(RECORDS):
        label = int(random.integers(CLASSES))
        noisy = patterns[label] + random.normal(0, 40, IMAGE)
        pixels = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
        channels, height, width = IMAGE
        datum = Datum(channels=channels, height=height, width=width, label=label)
        datum.data = pixels.tobytes()
        made.append(bytes(datum.SerializeToString()))
    return made


def write_data(folder: Path) -> None:
    """The database, and twelve images with their list."""
    make_lmdb(folder / "data", records())
    lines = []
    for number in range(12):
        (folder / f"{number}.png").write_bytes(image_file(number, *IMAGE[1:]))
        lines.append(f"../{number}.png {number % CLASSES}\n")
    (folder / "list.txt").write_text("".join(lines))


def start(definition: NetDefinition, seed: int = 1) -> Any:
    """A NetParameter with weights for the layers of a net."""
    random = np.random.default_rng(seed)
    model = NetParameter(name="small")
    for layer in require_shapes(definition, "TRAIN", IMAGE).layers:
        if not layer.blobs or layer.layer.type in ("BatchNorm", "Scale"):
            continue
        written = model.layer.add(name=layer.layer.name, type=layer.layer.type)
        for blob in layer.blobs:
            fan = int(np.prod(blob.shape[1:])) if len(blob.shape) > 1 else 400
            values = random.normal(0, fan**-0.5, blob.shape)
            fill_blob(written.blobs.add(), values.astype(np.float32))
    return model


def state(history: Sequence[tuple[int, ...]], iteration: int, step: int, seed: int = 2) -> bytes:
    """A solver state with small values, whose weights are those of the start."""
    random = np.random.default_rng(seed)
    made = SolverState(iter=iteration, learned_net=START, current_step=step)
    for shape in history:
        fill_blob(made.history.add(), random.uniform(0, 0.01, shape).astype(np.float32))
    return bytes(made.SerializeToString())


def make_run(folder: Path, name: str, text: str, solver: str, stages: Sequence[str] = ()) -> Path:
    """A folder beside the data with a net, a solver and weights to start from."""
    place = folder / name
    place.mkdir()
    (place / "net.prototxt").write_text(text)
    (place / "solver.prototxt").write_text(solver)
    trained = parse_net(text).in_state(NetState(stage=stages), 0)
    (place / START).write_bytes(bytes(start(trained).SerializeToString()))
    return place


def engine(arguments: Iterable[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the engine in this process: the exit code, and the log."""
    capsys.readouterr()
    code = command.run(list(arguments))
    return code, capsys.readouterr().err


def spawn(arguments: Iterable[str], folder: Path) -> subprocess.Popen[str]:
    """Run the engine in a process of its own, whose log is to be read line by line.

    The pipe is small, where that is possible: the process can't run far ahead of its reader.
    """
    return subprocess.Popen(
        [engine_server.python(), "-m", "sqgen.engine", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        pipesize=4096,
    )


def parsed(log: str) -> LogResult:
    return parse_log(io.BytesIO(log.encode()))


def weights(path: Path) -> dict[str, list[Array]]:
    """The blobs of a caffemodel, by layer."""
    model = read_caffemodel(path)
    return {layer.name: [blob_array(b) for b in layer.blobs] for layer in model.layer}


def flat(blobs: Iterable[Array]) -> Array:
    """All elements in a row."""
    return np.concatenate([blob.reshape(-1) for blob in blobs]).astype(np.float64)


def messages(log: str) -> list[str]:
    """The lines of a log without what glog puts in front."""
    return [re.sub(r"^[IWEF]\d{4,8} [\d:.]+ +\d+ [\w.]+:\d+\] ", "", x) for x in log.splitlines()]


# Lines of the threads that read, and of the clock, come when they come.
_ELSEWHERE = ("Restarting data prefetching", "Waiting for data", "Prefetch batch", "    Read time")
_SPEED = re.compile(r" \(\S+ iter/s, \S+s/(\d+) iters\)")
_NUMBER = re.compile(r"(?<=[ (])-?(?:\d[\d.]*(?:e[+-]\d+)?|nan|inf)(?= |$|\))")


def run_messages(log: str) -> list[str]:
    """What a log says from the first step on, without what depends on the clock."""
    lines = messages(log)
    first = next(i for i, x in enumerate(lines) if x.startswith(("Starting", "Running for")))
    return [
        _SPEED.sub(r" (1 iter/s, 1s/\1 iters)", line)
        for line in lines[first:]
        if not line.startswith(_ELSEWHERE)
    ]


def assert_same_messages(ours: list[str], wanted: list[str], rtol: float) -> None:
    """The same lines; losses and norms near each other, all other numbers the same."""
    for line, recorded in zip(ours, wanted, strict=False):
        assert _NUMBER.sub("#", line) == _NUMBER.sub("#", recorded)
        rounded = "loss" in recorded or "clipping" in recorded or "norm" in recorded
        pairs = zip(_NUMBER.findall(line), _NUMBER.findall(recorded), strict=True)
        for a, b in pairs:
            if rounded and a != b:
                assert math.isclose(float(a), float(b), rel_tol=rtol, abs_tol=1e-8), (
                    line,
                    recorded,
                )
            else:
                assert a == b, (line, recorded)
    assert len(ours) == len(wanted)


def final(place: Path) -> dict[str, Array]:
    """The last snapshot: all weights in a row, all history, and diffs where they are kept."""
    last = max(place.glob("s_iter_*.solverstate"), key=lambda path: int(path.stem.split("_")[-1]))
    model = weights(last.with_suffix(".caffemodel"))
    history = read_solver_state(last).history
    blobs = [
        blob
        for layer in read_caffemodel(last.with_suffix(".caffemodel")).layer
        for blob in layer.blobs
    ]
    diffs = [np.array(blob.diff) for blob in blobs if blob.diff]
    kept = {"diffs": flat(diffs)} if diffs else {}
    return kept | {
        "weights": flat([blob for blobs in model.values() for blob in blobs]),
        "history": flat([blob_array(blob) for blob in history]),
    }


def caffe(arguments: Sequence[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run BVLC Caffe; skips where there is none."""
    if "CAFFE_ROOT" not in os.environ:
        pytest.skip("needs a build of BVLC Caffe in the folder that CAFFE_ROOT names")
    program = Path(os.environ["CAFFE_ROOT"]) / "build" / "tools" / "caffe"
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [str(program), *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
