"""Fixtures of all tests: recorded facts, running `sqgen`, order of tests, GPUs."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from . import engine_server, made_once
from .browser import browser as browser
from .browser import vega as vega

# Before PyTorch loads: threads that wait must not spin, or two workers with two threads each starve
# each other on two cores (150 s instead of 20 for one training). Results are the same.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# As scikit-learn sets them when it is imported: a server of engine_server.py that started before
# could not fork for a test that comes after.
os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "True")
os.environ.setdefault("KMP_INIT_AT_FORK", "FALSE")

# Tests start hundreds of interpreters, each of which would compile sqgen again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No test depends on how fast the machine is.
settings.register_profile(
    "sqgen", max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("sqgen")

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

# A shell's background jobs ignore these, and so would all commands of the tests that send them.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def made_for_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    """This process, all workers and all their forks share what takes seconds to make."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    made_once.share(folder)
    engine_server.SHARED[:] = [str(folder)]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded runs, images and weights, where there is one."""
    if not (SHARED / "README.md").is_file():
        pytest.skip("needs the recorded material in ../shared, which is not here")
    return SHARED


@pytest.fixture
def sqgen(tmp_path: Path) -> Run:
    """Run the command in an empty folder, forked from a process that has it imported."""

    def run(
        *arguments: str, stdin: str | bytes = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        result = engine_server.run("sqgen", arguments, stdin=data, cwd=tmp_path, env=env)
        return subprocess.CompletedProcess(
            result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
        )

    return run


def run_alone(code: str, folder: Path) -> str:
    """Run Python code in a process of its own, which C may end; return what it prints."""
    done = engine_server.run(engine_server.CODE, [code], cwd=folder, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


@pytest.fixture
def forked_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner in this process starts `sqgen-caffe` as a fork of a process that has PyTorch."""
    monkeypatch.setattr(sys, "executable", engine_server.python())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `device`, PyTorch's name of one, runs on the CPU, and on a GPU if any."""
    if "device" in metafunc.fixturenames:
        asked = metafunc.config.option.markexpr == "cuda"
        gpus = [pytest.param("cuda:0", marks=pytest.mark.cuda)]
        devices = ["cpu", *(gpus if asked or not missing_gpu() else [])]
        metafunc.parametrize("device", devices, scope="session")


@cache
def missing_gpu() -> str:
    """Why no test can run on a GPU here; empty where one can."""
    if importlib.util.find_spec("torch") is None:
        return "needs PyTorch, which is not installed"
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return f"needs a GPU, and PyTorch {torch.__version__} is built without CUDA"
    return "" if torch.cuda.is_available() else "needs a GPU, and PyTorch sees none"


def describe_gpu() -> str:
    """The GPU that tests run on: its name, memory and driver, and PyTorch's version."""
    import torch

    gpu = torch.cuda.get_device_properties(0)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return (
        f"{gpu.name}, {gpu.total_memory >> 20} MiB, compute capability {gpu.major}.{gpu.minor};"
        f" driver {_driver()}; PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN"
        f" {cudnn}"
    )


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown (no nvidia-smi)"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


def pytest_report_header(config: pytest.Config) -> str | None:
    """With `-m cuda`, say first what the tests run on."""
    if config.option.markexpr != "cuda":
        return None
    return f"gpu: {missing_gpu() or describe_gpu()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slowest tests first, so that no worker ends waiting for one; skip without a GPU."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    needs_gpu = [item for item in items if item.get_closest_marker("cuda")]
    reason = missing_gpu() if needs_gpu else ""
    for item in needs_gpu if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end: modules and collected tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)  # after a file, each test makes some thousands of objects


def published(name: str) -> dict[str, Any]:
    """The set fields of a published file, as recorded in `data/published/`."""
    fields = json.loads((DATA / "published" / f"{name}.json").read_text())
    assert isinstance(fields, dict)
    return fields


@cache
def published_weights(shared: Path) -> bytes:
    """The published 660 KB file as a caffemodel for the preset `deep-compression`."""
    from sqgen import build, parse_net, preset
    from sqgen.compress.encoding import read_compressed

    net = parse_net(build(preset("deep-compression"), "deploy"))
    path = shared / "imagenet_sample" / "compressed_SqueezeNet.net"
    return bytes(read_compressed(path, net).SerializeToString())
