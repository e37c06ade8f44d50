"""What a result is of besides its net and data: versions, and the machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from ..version import __version__
from .engines import TORCH, Engine

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "lmdb", "protobuf")


def versions(engine: Engine) -> dict[str, str]:
    """Of the engine and of what it computes with."""
    found = {"sqgen": __version__, "python": platform.python_version(), "engine": engine.version}
    if engine.kind == TORCH:
        found |= {name: told for name in _PACKAGES if (told := _version(name))}
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
