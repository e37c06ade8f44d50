"""Time SqueezeNet v1.0 at 227x227 in the engine, ONNX Runtime and a plain PyTorch training loop.

The engine runs the whole command on a raw LMDB, timed by its log from the second batch on. ONNX
Runtime computes the same net without data; the plain loop trains on random tensors in memory. They
take turns, and each figure is the median, so that a slowdown of the machine affects all.

    python benchmarks/engine.py [--rounds 5]

needs `pip install 'sqgen[engine,bench]'`; with `openvino` too, it times its int8. Where int8 is
refused, the benchmark ends with the line that says so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

RECORDS, TEST_BATCH, TRAIN_BATCH = 500, 50, 32
TEST_ITERATIONS, TRAIN_ITERATIONS = 12, 8
GOALS = {"test fp32": 0.95, "test bf16": 1.9, "train fp32": 1.4, "train bf16": 2.3}
FIRE = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192)}
FIRE |= {8: (64, 256), 9: (64, 256)}
POOL_BEHIND = {4, 8}  # and conv1


def main() -> None:
    """Run all benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("ort", "plain", "openvino"))
    arguments = parser.parse_args()
    if arguments.child:
        peers = {"ort": onnx_runtime, "plain": plain_loop, "openvino": openvino_int8}
        print(peers[arguments.child]())
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        report(run_all(Path(folder), arguments.rounds))


def prepare(folder: Path) -> None:
    """Write a raw LMDB of random images, the net, a solver, and weights."""
    import lmdb

    import sqgen
    from sqgen.formats.schema import Datum

    random = np.random.default_rng(1)
    database = lmdb.open(str(folder / "lmdb"), map_size=1 << 30)
    with database.begin(write=True) as transaction:
        for number in range(RECORDS):
            pixels = random.integers(0, 256, (3, 256, 256), dtype=np.uint8)
            label = int(random.integers(1000))
            record = Datum(channels=3, height=256, width=256, label=label)
            record.data = pixels.tobytes()
            transaction.put(f"{number:08d}".encode(), record.SerializeToString())
    database.close()
    design = sqgen.preset("v1.0").with_options(
        train_source="lmdb", val_source="lmdb", batch_size=TRAIN_BATCH, val_batch_size=TEST_BATCH
    )
    (folder / "net.prototxt").write_text(sqgen.build(design))
    (folder / "solver.prototxt").write_text(
        'net: "net.prototxt"\nbase_lr: 0.001\nlr_policy: "fixed"\nmomentum: 0.9\n'
        f"weight_decay: 0.0002\ndisplay: 1\nmax_iter: {TRAIN_ITERATIONS}\n"
        'snapshot_prefix: "run"\nrandom_seed: 1\n'
    )
    start = (folder / "solver.prototxt").read_text().replace(f": {TRAIN_ITERATIONS}\n", ": 0\n")
    (folder / "start.prototxt").write_text(start)
    caffe(folder, "train", "--solver", "start.prototxt")


def caffe(folder: Path, *arguments: str) -> tuple[str, int]:
    """Run the engine; return its log and its peak memory in MiB."""
    command = [sys.executable, "-m", "sqgen.engine", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return done.stderr, max(before, after) >> 10


STAMP = r"(\d\d):(\d\d):(\d\d\.\d+) \d+ \S+\] "


def seconds(log: str, line: str) -> list[float]:
    """Return the times of matching log lines, in seconds of the day."""
    found = re.findall(STAMP + line, log)
    return [int(h) * 3600 + int(m) * 60 + float(s) for h, m, s in found]


def rate(stamps: list[float], batch: int) -> float:
    """Return images per second from the first time stamp to the last."""
    return batch * (len(stamps) - 1) / (stamps[-1] - stamps[0])


def test_rate(folder: Path, precision: str) -> float:
    """Return images per second of `test`."""
    weights = f"--weights={'run_iter_0.caffemodel'}"
    count = f"--iterations={TEST_ITERATIONS}"
    log, _ = caffe(
        folder, "test", "--model=net.prototxt", weights, count, f"--precision={precision}"
    )
    return rate(seconds(log, r"Batch \d+, accuracy ="), TEST_BATCH)


def train_rate(folder: Path, precision: str) -> float:
    """Return images per second of `train`."""
    log, _ = caffe(folder, "train", "--solver=solver.prototxt", f"--precision={precision}")
    return rate(seconds(log, r"Iteration \d+ \(")[1:], TRAIN_BATCH)


def child(name: str) -> float:
    """Return images per second of a peer, run in its own process."""
    command = [sys.executable, os.fspath(Path(__file__).resolve()), "--child", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def run_all(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Measure images per second of all contestants, in turns."""
    runs: dict[str, Callable[[], float]] = {
        "ONNX Runtime fp32": lambda: child("ort"),
        "test fp32": lambda: test_rate(folder, "fp32"),
        "test bf16": lambda: test_rate(folder, "bf16"),
        "test int8": lambda: test_rate(folder, "int8"),
        "plain loop fp32": lambda: child("plain"),
        "train fp32": lambda: train_rate(folder, "fp32"),
        "train bf16": lambda: train_rate(folder, "bf16"),
    }
    if find_spec("openvino") is not None:
        runs["OpenVINO int8"] = lambda: child("openvino")
    results: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            results[name].append(run())
    return results


def report(results: dict[str, list[float]]) -> None:
    """Print the table and all figures as JSON."""
    peers = {"test": "ONNX Runtime fp32", "train": "plain loop fp32"}
    for name, values in results.items():
        line = f"{name:<20} {median(values):7.1f} images/s"
        peer = peers.get(name.split()[0])
        if peer is not None:
            ratios = [a / b for a, b in zip(values, results[peer], strict=True)]
            goal = f" (goal {GOALS[name]})" if name in GOALS else ""
            line += f"  {median(ratios):5.2f} of {peer}{goal}"
        print(line)
    if "OpenVINO int8" not in results:
        print("OpenVINO int8: not measured, since openvino is not installed")
    print(json.dumps(results))


# The peers


def onnx_runtime() -> float:
    """Return images per second of ONNX Runtime: batch 50, all cores, without data."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_net(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).standard_normal((TEST_BATCH, 3, 227, 227), dtype=np.float32)
    times = []
    for _ in range(8):
        start = perf_counter()
        session.run(None, {"data": images})
        times.append(perf_counter() - start)
    return TEST_BATCH / median(times[1:])


def openvino_int8() -> float:
    """Return images per second of OpenVINO: int8 by ONNX Runtime's static quantization (QDQ)."""
    import openvino  # type: ignore[import-not-found]
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    images = np.random.default_rng(1).standard_normal((TEST_BATCH, 3, 227, 227), dtype=np.float32)

    class Images(CalibrationDataReader):  # type: ignore[misc]
        """The images, once."""

        def __init__(self) -> None:
            self.rest = iter([{"data": images}])

        def get_next(self) -> Any:
            """Return the next inputs; None at the end."""
            return next(self.rest, None)

    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder, "net.onnx"), Path(folder, "int8.onnx")
        whole.write_bytes(onnx_net())
        quantize_static(whole, small, Images(), per_channel=True, weight_type=QuantType.QInt8)
        model = openvino.Core().compile_model(small, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    times = []
    for _ in range(8):
        start = perf_counter()
        model({"data": images})
        times.append(perf_counter() - start)
    return TEST_BATCH / median(times[1:])


def onnx_net() -> bytes:
    """Return SqueezeNet v1.0 with random weights as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(1)
    nodes: list[Any] = []
    weights: list[Any] = []

    def conv(
        x: str, ins: int, outs: int, kernel: int, name: str, stride: int = 1, pad: int = 0
    ) -> str:
        shape = (outs, ins, kernel, kernel)
        values = random.standard_normal(shape, dtype=np.float32) * (2 / (ins * kernel**2)) ** 0.5
        weights.append(numpy_helper.from_array(values, f"{name}_w"))
        weights.append(numpy_helper.from_array(np.zeros(outs, np.float32), f"{name}_b"))
        inputs = [x, f"{name}_w", f"{name}_b"]
        nodes.append(
            helper.make_node("Conv", inputs, [f"{name}_c"], strides=[stride] * 2, pads=[pad] * 4)
        )
        nodes.append(helper.make_node("Relu", [f"{name}_c"], [name]))
        return name

    def pool(x: str) -> str:
        top = f"{x}_pool"
        nodes.append(
            helper.make_node(
                "MaxPool", [x], [top], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
            )
        )
        return top

    x, channels = pool(conv("data", 3, 96, 7, "conv1", stride=2)), 96
    for number, (squeeze, expand) in FIRE.items():
        s = conv(x, channels, squeeze, 1, f"s{number}")
        parts = [conv(s, squeeze, expand, 1, f"a{number}")]
        parts.append(conv(s, squeeze, expand, 3, f"b{number}", pad=1))
        nodes.append(helper.make_node("Concat", parts, [f"fire{number}"], axis=1))
        x, channels = f"fire{number}", 2 * expand
        x = pool(x) if number in POOL_BEHIND else x
    conv(x, channels, 1000, 1, "conv10", pad=1)
    nodes.append(helper.make_node("GlobalAveragePool", ["conv10"], ["pool10"]))
    shape = [TEST_BATCH, 3, 227, 227]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("pool10", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "squeezenet", [data], [out], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def plain_loop() -> float:
    """Return images per second of a plain PyTorch loop: channels-last, batch 32, data in memory."""
    import torch

    nn: Any = torch.nn

    class Fire(torch.nn.Module):
        def __init__(self, ins: int, squeeze: int, expand: int) -> None:
            super().__init__()
            self.squeeze, self.relu = nn.Conv2d(ins, squeeze, 1), nn.ReLU(inplace=True)
            self.one = nn.Conv2d(squeeze, expand, 1)
            self.three = nn.Conv2d(squeeze, expand, 3, padding=1)

        def forward(self, x: Any) -> Any:
            x = self.relu(self.squeeze(x))
            return torch.cat([self.relu(self.one(x)), self.relu(self.three(x))], 1)

    layers: list[Any] = [nn.Conv2d(3, 96, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)]
    channels = 96
    for number, (squeeze, expand) in FIRE.items():
        layers.append(Fire(channels, squeeze, expand))
        channels = 2 * expand
        if number in POOL_BEHIND:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
    layers += [nn.Dropout(0.5), nn.Conv2d(channels, 1000, 1, padding=1), nn.ReLU(inplace=True)]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9, weight_decay=2e-4)
    images = torch.randn(TRAIN_BATCH, 3, 227, 227).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (TRAIN_BATCH,))
    times = []
    for _ in range(TRAIN_ITERATIONS):
        start = perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
        times.append(perf_counter() - start)
    return TRAIN_BATCH * len(times[1:]) / sum(times[1:])


if __name__ == "__main__":
    main()
