"""What the tests share: where the facts are, and `sqgen` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Before PyTorch is loaded: threads that wait must not spin, or two workers with two threads each
# starve each other on two cores (150 s instead of 20 for one training). Results are the same.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# No test depends on how fast the machine is.
settings.register_profile("sqgen", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sqgen")

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda:0", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """PyTorch's name of the device: a test that takes it runs on the CPU, and on a GPU if any."""
    name: str = request.param
    return name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    needs_gpu = [item for item in items if item.get_closest_marker("cuda")]
    if needs_gpu:
        import torch

        for item in [] if torch.cuda.is_available() else needs_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a GPU, and PyTorch sees none"))


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded runs, images and weights, where there is one."""
    if not (SHARED / "README.md").is_file():
        pytest.skip("needs the recorded material in ../shared, which is not here")
    return SHARED


@pytest.fixture
def sqgen(tmp_path: Path) -> Run:
    """Run the command in a process of its own, in an empty folder."""

    def run(
        *arguments: str, stdin: str | bytes = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, "-m", "sqgen", *arguments],
            input=data,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


def published(name: str) -> dict[str, Any]:
    """The set fields of a published file, as recorded in `data/published/`."""
    fields = json.loads((DATA / "published" / f"{name}.json").read_text())
    assert isinstance(fields, dict)
    return fields


def published_weights(shared: Path) -> bytes:
    """The published 660 KB file as a caffemodel for the preset `deep-compression`."""
    from sqgen import build, parse_net, preset
    from sqgen.compress.encoding import read_compressed

    net = parse_net(build(preset("deep-compression"), "deploy"))
    path = shared / "imagenet_sample" / "compressed_SqueezeNet.net"
    return bytes(read_compressed(path, net).SerializeToString())
